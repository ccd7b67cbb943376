//! The round constants of Hades, in the form the compressed partial rounds need.
//!
//! The constants are SHA-256("Hades" ‖ decimal index) modulo p, three a round. A partial round applies the
//! S-box to the third element alone, so the constants of the other two pass through the linear layers
//! unchanged but for those layers. They are carried forward here once: each partial round keeps a single
//! constant in front of its S-box, and what is left over joins the full round after the last one.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use starknet_types_core::felt::Felt;

/// Full rounds before the partial rounds, and as many after them.
pub(crate) const HALF_FULL_ROUNDS: usize = 4;

/// Partial rounds.
pub(crate) const PARTIAL_ROUNDS: usize = 83;

/// What each round adds in front of its S-boxes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RoundConstants<T> {
    /// The full rounds before the partial rounds.
    pub(crate) first: [[T; 3]; HALF_FULL_ROUNDS],
    /// The partial rounds.
    pub(crate) partial: [T; PARTIAL_ROUNDS],
    /// The full rounds after the partial rounds.
    pub(crate) last: [[T; 3]; HALF_FULL_ROUNDS],
}

/// The compressed constants as field elements.
pub(crate) static ROUND_CONSTANTS: LazyLock<RoundConstants<Felt>> = LazyLock::new(compress);

fn compress() -> RoundConstants<Felt> {
    let mut round = 0;
    let mut next_round = || {
        let constants = [0, 1, 2].map(|place| round_constant(3 * round + place));
        round += 1;
        constants
    };
    let first = [(); HALF_FULL_ROUNDS].map(|()| next_round());
    let mut carried = [Felt::ZERO; 3];
    let partial = [(); PARTIAL_ROUNDS].map(|()| {
        let [a, b, at_s_box] = add(carried, next_round());
        carried = linear_layer([a, b, Felt::ZERO]);
        at_s_box
    });
    let mut last = [(); HALF_FULL_ROUNDS].map(|()| next_round());
    last[0] = add(last[0], carried);
    RoundConstants { first, partial, last }
}

fn round_constant(index: u32) -> Felt {
    let digest: [u8; 32] = Sha256::digest(format!("Hades{index}")).into();
    Felt::from_bytes_be(&digest)
}

fn add(left: [Felt; 3], right: [Felt; 3]) -> [Felt; 3] {
    [left[0] + right[0], left[1] + right[1], left[2] + right[2]]
}

/// The matrix [[3, 1, 1], [1, -1, 1], [1, 1, -2]].
fn linear_layer([a, b, c]: [Felt; 3]) -> [Felt; 3] {
    let sum = a + b + c;
    [sum + a.double(), sum - b.double(), sum - c.double() - c]
}
