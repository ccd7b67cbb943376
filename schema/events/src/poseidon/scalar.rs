//! The Hades permutation in 64-bit words, for any machine.
//!
//! One permutation at a time. Two side by side were measured as no faster: the carries, not the latency of
//! a multiplication, are what a processor waits for.
//!
//! Bounds, in multiples of p: an S-box input stays below 9, so its square is below 81/31.99 + 1 < 3.54
//! and its cube below 3.54·9/31.99 + 1 < 2. The linear layers below keep every input under 9 and above 0
//! given cubes under 2.

use std::sync::LazyLock;

use multiversion::multiversion;
use starknet_types_core::felt::Felt;

use super::constants::{HALF_FULL_ROUNDS, PARTIAL_ROUNDS, ROUND_CONSTANTS, RoundConstants};
use super::field::Element;
use super::lanes::Lanes;

type State = [Element; 3];

/// One permutation. Between calls its elements stay below 3p.
pub(crate) struct ScalarLane(State);

impl ScalarLane {
    pub(crate) fn new() -> Self {
        Self([Element::ZERO; 3])
    }
}

impl Lanes for ScalarLane {
    const COUNT: usize = 1;

    fn set(&mut self, _lane: usize, [a, b, c]: &[Felt; 3]) {
        self.0 = [Element::from_felt(a), Element::from_felt(b), Element::from_felt(c)];
    }

    fn absorb(&mut self, _lane: usize, [left, right]: &[Felt; 2]) {
        let [a, b, c] = self.0;
        self.0 = [a.add(Element::from_felt(left)), b.add(Element::from_felt(right)), c];
    }

    fn permute(&mut self) {
        permute(&mut self.0);
    }

    fn first(&self, _lane: usize) -> Felt {
        let [a, _, _] = self.0;
        a.to_felt()
    }

    fn state(&self, _lane: usize) -> [Felt; 3] {
        let [a, b, c] = self.0;
        [a.to_felt(), b.to_felt(), c.to_felt()]
    }
}

static CONSTANTS: LazyLock<RoundConstants<Element>> = LazyLock::new(|| {
    let full = |constants: &[[Felt; 3]; HALF_FULL_ROUNDS]| {
        constants.map(|round| round.map(|constant| Element::from_felt(&constant)))
    };
    // Every S-box input of a partial round but the first is a difference: two cubes are subtracted,
    // which is at most 4p.
    let mut partial =
        ROUND_CONSTANTS.partial.map(|constant| Element::from_felt(&constant).plus_modulus(4));
    partial[0] = Element::from_felt(&ROUND_CONSTANTS.partial[0]);
    RoundConstants {
        first: full(&ROUND_CONSTANTS.first),
        partial,
        last: full(&ROUND_CONSTANTS.last),
    }
});

/// Takes elements below 4p, leaves elements below 2p. Compiled a second time for processors with BMI2,
/// whose multiplication leaves the flags alone.
#[multiversion(targets("x86_64+bmi2+adx"))]
fn permute(state: &mut State) {
    let constants = &*CONSTANTS;
    for round in &constants.first {
        full_round(state, round);
    }
    partial_rounds(state, &constants.partial);
    for round in &constants.last {
        full_round(state, round);
    }
}

// `inline(always)`, here and in `field`, makes all of this part of both versions of `permute`.
#[inline(always)]
fn full_round([a, b, c]: &mut State, constants: &[Element; 3]) {
    let x = a.add(constants[0]).cube();
    let y = b.add(constants[1]).cube();
    let z = c.add(constants[2]).cube();
    let sum = x.add(y).add(z).plus_modulus(1);
    *a = sum.add(x).add(x).fold();
    *b = sum.plus_modulus(4).sub(y).sub(y).fold();
    *c = sum.plus_modulus(6).sub(z).sub(z).sub(z).fold();
}

/// The partial rounds, which cube the third element alone.
///
/// With (a, b) the first two elements in front of a round, z the cube and s = a + b, the matrix gives
/// c' = s - 2z, s' = 4a + 2z and s'' = 2s' + 4s + 2z'. So two successive sums replace (a, b): `half` is
/// s/2 of the coming round and `last_sum` is s of the round before it, which makes the recurrence
/// half' = 2·half + 2·last_sum + z. Halves avoid a division at the end, where a = last_sum + half and
/// b = half - last_sum.
///
/// `c` may wrap below 0; the constant of the next round, or 5p at the end, brings it back.
#[inline(always)]
fn partial_rounds(state: &mut State, constants: &[Element; PARTIAL_ROUNDS]) {
    let [a, b, c] = *state;
    let z = c.add(constants[0]).cube();
    let mut last_sum = a.add(b).plus_modulus(1).fold();
    let mut half = a.double().add(z).plus_modulus(1).fold();
    let mut c = last_sum.sub(z).sub(z);
    for constant in &constants[1..] {
        let z = c.add(*constant).cube();
        let coming = half.add(last_sum);
        last_sum = half.double();
        half = coming.add(z).add(coming).fold();
        c = last_sum.sub(z).sub(z);
    }
    let b = half.plus_modulus(5).sub(last_sum);
    *state = [last_sum.add(half).fold(), b.fold(), c.plus_modulus(5).fold()];
}
