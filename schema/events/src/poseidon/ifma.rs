//! The Hades permutation for eight inputs in each vector, with AVX-512 IFMA.
//!
//! A vector holds one 52-bit limb of eight elements, so an element takes five vectors. The Montgomery
//! factor is 2^260. Limbs are signed 64-bit words that need not fit 52 bits: sums and differences are
//! taken limb by limb, and carries are passed on where a multiplication or a long run of sums needs them.
//! The multiplier itself reads the low 52 bits of a word and no more, which saves masking there.
//!
//! Bounds, in multiples of p (2^260 is above 511p): an S-box input is above 0 and below 34 (two inputs of
//! [`from_felt`] and a constant), so its square is below 34²/511 + 1 < 3.3 and its cube, which has p added,
//! above 1 and below 34·3.3/511 + 2 < 2.3. [`fold`] leaves elements between -0.1 and 1.1.

use std::arch::x86_64::{
    __m512i, _mm256_extract_epi64, _mm512_add_epi64, _mm512_and_si512, _mm512_castsi512_si256,
    _mm512_extracti64x4_epi64, _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_set_epi64,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_srai_epi64, _mm512_srli_epi64,
    _mm512_sub_epi64,
};
use std::sync::LazyLock;

use multiversion::multiversion;
use multiversion::target::match_target;
use starknet_types_core::felt::Felt;

use super::constants::{PARTIAL_ROUNDS, ROUND_CONSTANTS, RoundConstants};
use super::field::Element;
use super::lanes::Lanes;

/// Lanes of a vector.
const VECTOR_LANES: usize = 8;

const LIMB_BITS: u32 = 52;
const LIMB_MASK: i64 = (1 << LIMB_BITS) - 1;

/// The limbs of p: 2^251 + 17·2^192 + 1.
const MODULUS: Limbs = [1, 0, 0, 17 << 36, 1 << 43];

/// Bits of the top limb below 2^251.
const TOP_BITS: u32 = 43;
const TOP_MASK: i64 = (1 << TOP_BITS) - 1;

/// One element of one lane.
type Limbs = [i64; 5];

/// Words grow by a factor of up to 3.3 a partial round, and a cube adds less than 2^56: four rounds from
/// words of 53 bits stay below 2^62.
const ROUNDS_BETWEEN_CARRIES: usize = 4;

/// Eight elements, limb by limb.
type Elements = [__m512i; 5];

/// Eight permutations.
type State = [Elements; 3];

/// A [`State`] in memory.
type Words = [[LaneWords; 5]; 3];

/// A vector in memory.
type LaneWords = [i64; VECTOR_LANES];

/// Sixteen permutations: two states, so that one can use the multiplier while the other waits for it.
pub(crate) struct IfmaLanes {
    states: [Words; 2],
}

impl IfmaLanes {
    /// `None` on a processor without the instructions.
    pub(crate) fn detect() -> Option<Self> {
        is_supported().then_some(Self { states: [[[[0; VECTOR_LANES]; 5]; 3]; 2] })
    }

    fn element(&self, lane: usize, place: usize) -> Felt {
        let vectors = &self.states[lane / VECTOR_LANES][place];
        let [w0, w1, w2, w3, w4] = vectors;
        let lane = lane % VECTOR_LANES;
        to_felt([w0[lane], w1[lane], w2[lane], w3[lane], w4[lane]])
    }
}

impl Lanes for IfmaLanes {
    const COUNT: usize = 2 * VECTOR_LANES;

    fn set(&mut self, lane: usize, state: &[Felt; 3]) {
        for (place, felt) in state.iter().enumerate() {
            let vectors = &mut self.states[lane / VECTOR_LANES][place];
            for (words, limb) in vectors.iter_mut().zip(from_felt(felt)) {
                words[lane % VECTOR_LANES] = limb;
            }
        }
    }

    fn absorb(&mut self, lane: usize, block: &[Felt; 2]) {
        for (place, felt) in block.iter().enumerate() {
            let vectors = &mut self.states[lane / VECTOR_LANES][place];
            for (words, limb) in vectors.iter_mut().zip(from_felt(felt)) {
                words[lane % VECTOR_LANES] += limb;
            }
        }
    }

    fn permute(&mut self) {
        dispatch(&mut self.states);
    }

    fn first(&self, lane: usize) -> Felt {
        self.element(lane, 0)
    }

    fn state(&self, lane: usize) -> [Felt; 3] {
        [self.element(lane, 0), self.element(lane, 1), self.element(lane, 2)]
    }
}

/// Whether [`dispatch`] finds the instructions.
#[multiversion(targets("x86_64+avx512f+avx512ifma"))]
fn is_supported() -> bool {
    match_target! {
        "x86_64+avx512f+avx512ifma" => true,
        _ => false,
    }
}

/// Calls [`permute`] where the processor has the instructions. [`IfmaLanes::detect`] makes no lanes where
/// it has not.
#[multiversion(targets("x86_64+avx512f+avx512ifma"))]
fn dispatch(words: &mut [Words; 2]) {
    match_target! {
        "x86_64+avx512f+avx512ifma" => permute(words),
        _ => unreachable!("{} vectors without AVX-512 IFMA", words.len()),
    }
}

const fn multiple_of_modulus(factor: i64) -> Limbs {
    let [l0, l1, l2, l3, l4] = MODULUS;
    [factor * l0, factor * l1, factor * l2, factor * l3, factor * l4]
}

/// The limbs of `16·raw`: [`Felt`] keeps the factor 2^256. Below 16p.
fn from_felt(felt: &Felt) -> Limbs {
    let [a0, a1, a2, a3] = felt.to_raw_reversed();
    split([a0 << 4, a1 << 4 | a0 >> 60, a2 << 4 | a1 >> 60, a3 << 4 | a2 >> 60])
}

/// A number below 2^256 in limbs of 52 bits.
fn split([a0, a1, a2, a3]: [u64; 4]) -> Limbs {
    let low = |word: u64| word.cast_signed() & LIMB_MASK;
    [
        low(a0),
        low(a0 >> 52 | a1 << 12),
        low(a1 >> 40 | a2 << 24),
        low(a2 >> 28 | a3 << 36),
        low(a3 >> 16),
    ]
}

/// The element of limbs whose value is above -p and below 15p.
fn to_felt([l0, l1, l2, l3, l4]: Limbs) -> Felt {
    let [p0, p1, p2, p3, p4] = MODULUS;
    let l0 = l0 + p0;
    let l1 = l1 + p1 + (l0 >> LIMB_BITS);
    let l2 = l2 + p2 + (l1 >> LIMB_BITS);
    let l3 = l3 + p3 + (l2 >> LIMB_BITS);
    let l4 = l4 + p4 + (l3 >> LIMB_BITS);
    let low = |word: i64| (word & LIMB_MASK).cast_unsigned();
    Element::from_words([
        low(l0) | low(l1) << 52,
        low(l1) >> 12 | low(l2) << 40,
        low(l2) >> 24 | low(l3) << 28,
        low(l3) >> 36 | low(l4) << 16,
    ])
    .sixteenth()
    .to_felt()
}

/// The round constants times 2^260. Each has a multiple of p added that keeps its S-box input above 0: an
/// element may be as low as -0.1p, and the partial rounds after the first subtract two cubes.
static CONSTANTS: LazyLock<RoundConstants<Limbs>> = LazyLock::new(|| {
    let raised = |felt: Felt, factor: i64| {
        let limbs = split((felt * Felt::from(16)).to_raw_reversed());
        std::array::from_fn(|index| limbs[index] + factor * MODULUS[index])
    };
    let mut partial = ROUND_CONSTANTS.partial.map(|felt| raised(felt, 5));
    partial[0] = raised(ROUND_CONSTANTS.partial[0], 1);
    RoundConstants {
        first: ROUND_CONSTANTS.first.map(|round| round.map(|felt| raised(felt, 1))),
        partial,
        last: ROUND_CONSTANTS.last.map(|round| round.map(|felt| raised(felt, 1))),
    }
});

#[target_feature(enable = "avx512f,avx512ifma")]
fn permute(words: &mut [Words; 2]) {
    let constants = &*CONSTANTS;
    let mut states = [load(&words[0]), load(&words[1])];
    for round in &constants.first {
        full_round(&mut states, round);
    }
    partial_rounds(&mut states, &constants.partial);
    for round in &constants.last {
        full_round(&mut states, round);
    }
    *words = [store(&states[0]), store(&states[1])];
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn full_round([x, y]: &mut [State; 2], constants: &[Limbs; 3]) {
    [x[0], y[0]] = cubes(&x[0], &y[0], &constants[0]);
    [x[1], y[1]] = cubes(&x[1], &y[1], &constants[1]);
    [x[2], y[2]] = cubes(&x[2], &y[2], &constants[2]);
    linear_layer(x);
    linear_layer(y);
}

#[target_feature(enable = "avx512f,avx512ifma")]
fn linear_layer([a, b, c]: &mut State) {
    let sum = add(&add(a, b), c);
    *a = settle(&fold(&add(&add(&sum, a), a)));
    *b = settle(&fold(&add_constant(&sub(&sub(&sum, b), b), &multiple_of_modulus(2))));
    *c = settle(&fold(&add_constant(&sub(&sub(&sub(&sum, c), c), c), &multiple_of_modulus(4))));
}

/// The recurrence of [`super::scalar`], where it is derived: the states become (half, last sum, c).
#[target_feature(enable = "avx512f,avx512ifma")]
fn partial_rounds([x, y]: &mut [State; 2], constants: &[Limbs; PARTIAL_ROUNDS]) {
    let [xz, yz] = cubes(&x[2], &y[2], &constants[0]);
    enter_partial_rounds(x, &xz);
    enter_partial_rounds(y, &yz);
    for constants in constants[1..].chunks(ROUNDS_BETWEEN_CARRIES) {
        settle_partial_rounds(x);
        settle_partial_rounds(y);
        for constant in constants {
            let [xz, yz] = cubes(&x[2], &y[2], constant);
            partial_round(x, &xz);
            partial_round(y, &yz);
        }
    }
    leave_partial_rounds(x);
    leave_partial_rounds(y);
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn enter_partial_rounds([a, b, c]: &mut State, z: &Elements) {
    let last_sum = add(a, b);
    *a = fold(&add(&add(a, a), z));
    *c = sub(&sub(&last_sum, z), z);
    *b = last_sum;
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn partial_round([half, last_sum, c]: &mut State, z: &Elements) {
    let coming = add(half, last_sum);
    *last_sum = add(half, half);
    *half = fold(&add(&add(&coming, &coming), z));
    *c = sub(&sub(last_sum, z), z);
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn settle_partial_rounds([half, last_sum, _]: &mut State) {
    *half = settle(half);
    *last_sum = settle(last_sum);
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn leave_partial_rounds([half, last_sum, c]: &mut State) {
    let raise = multiple_of_modulus(6);
    let a = add(half, last_sum);
    let b = sub(half, last_sum);
    *half = settle(&fold(&add_constant(&a, &raise)));
    *last_sum = settle(&fold(&add_constant(&b, &raise)));
    *c = settle(&fold(&add_constant(c, &raise)));
}

/// The cubes of `x + constant` and `y + constant`, sums above 0 and below 34p: above p and below 2.3p.
#[target_feature(enable = "avx512f,avx512ifma")]
fn cubes(x: &Elements, y: &Elements, constant: &Limbs) -> [Elements; 2] {
    let x = carry(&add_constant(x, constant));
    let y = carry(&add_constant(y, constant));
    let x_square = carry(&square(&x));
    let y_square = carry(&square(&y));
    [mul_plus_modulus(&x, &x_square), mul_plus_modulus(&y, &y_square)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn square(x: &Elements) -> Elements {
    let mut columns = [zero(); 10];
    for i in 0..4 {
        for j in i + 1..5 {
            columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], x[i], x[j]);
        }
        for j in i + 1..5 {
            columns[i + j + 1] = _mm512_madd52hi_epu64(columns[i + j + 1], x[i], x[j]);
        }
    }
    for column in &mut columns[1..9] {
        *column = _mm512_add_epi64(*column, *column);
    }
    for i in 0..5 {
        columns[2 * i] = _mm512_madd52lo_epu64(columns[2 * i], x[i], x[i]);
        columns[2 * i + 1] = _mm512_madd52hi_epu64(columns[2 * i + 1], x[i], x[i]);
    }
    reduce(columns)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mul_plus_modulus(x: &Elements, y: &Elements) -> Elements {
    let [p0, p1, p2, p3, p4] = broadcast(&MODULUS);
    let mut columns = [zero(), zero(), zero(), zero(), zero(), p0, p1, p2, p3, p4];
    for i in 0..5 {
        for j in 0..5 {
            columns[i + j] = _mm512_madd52lo_epu64(columns[i + j], x[i], y[j]);
        }
        for j in 0..5 {
            columns[i + j + 1] = _mm512_madd52hi_epu64(columns[i + j + 1], x[i], y[j]);
        }
    }
    reduce(columns)
}

/// Montgomery reduction of a product: from 0 to below product/2^260 + p.
///
/// p ≡ 1 modulo 2^156, so the negated low three limbs are the multiple of p that clears them, and the next
/// two follow in the same way. The negated limb carries on -1 where the limb and its negative sum to 2^52.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn reduce([c0, c1, c2, c3, c4, c5, c6, c7, c8, c9]: [__m512i; 10]) -> Elements {
    let [_, _, _, p3, p4] = broadcast(&MODULUS);
    let n0 = _mm512_sub_epi64(zero(), c0);
    let n1 = _mm512_sub_epi64(shift_limb(n0), c1);
    let n2 = _mm512_sub_epi64(shift_limb(n1), c2);
    let c3 = _mm512_madd52lo_epu64(c3, n0, p3);
    let c4 = _mm512_madd52hi_epu64(c4, n0, p3);
    let c4 = _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(c4, n0, p4), n1, p3);
    let c5 = _mm512_madd52lo_epu64(
        _mm512_madd52lo_epu64(
            _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(c5, n0, p4), n1, p3),
            n1,
            p4,
        ),
        n2,
        p3,
    );
    let c6 = _mm512_madd52lo_epu64(
        _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(c6, n1, p4), n2, p3),
        n2,
        p4,
    );
    let c7 = _mm512_madd52hi_epu64(c7, n2, p4);
    let n3 = _mm512_sub_epi64(shift_limb(n2), c3);
    let n4 = _mm512_sub_epi64(shift_limb(n3), c4);
    let c6 = _mm512_madd52lo_epu64(c6, n3, p3);
    let c7 = _mm512_madd52lo_epu64(
        _mm512_madd52lo_epu64(_mm512_madd52hi_epu64(c7, n3, p3), n3, p4),
        n4,
        p3,
    );
    let c8 = _mm512_madd52lo_epu64(
        _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(c8, n3, p4), n4, p3),
        n4,
        p4,
    );
    let c9 = _mm512_madd52hi_epu64(c9, n4, p4);
    [_mm512_sub_epi64(c5, shift_limb(n4)), c6, c7, c8, c9]
}

/// Passes carries on so that the low 52 bits of each word are right; does not clear the bits above them.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn carry([x0, x1, x2, x3, x4]: &Elements) -> Elements {
    let x1 = _mm512_add_epi64(*x1, shift_limb(*x0));
    let x2 = _mm512_add_epi64(*x2, shift_limb(x1));
    let x3 = _mm512_add_epi64(*x3, shift_limb(x2));
    let x4 = _mm512_add_epi64(*x4, shift_limb(x3));
    [*x0, x1, x2, x3, x4]
}

/// The same elements between -0.1p and 1.1p. Takes values above p/8 and below 64p.
///
/// Subtracts q·p, with q the bits of the top limb from 2^251 on. Leaves the carries of the lower limbs.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn fold([x0, x1, x2, x3, x4]: &Elements) -> Elements {
    let [_, _, _, p3, _] = broadcast(&MODULUS);
    let quotient = _mm512_srli_epi64::<TOP_BITS>(*x4);
    let x3 = _mm512_sub_epi64(*x3, _mm512_madd52lo_epu64(zero(), quotient, p3));
    [_mm512_sub_epi64(*x0, quotient), *x1, *x2, x3, mask(*x4, TOP_MASK)]
}

/// The same elements in limbs of little more than 52 bits.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn settle([x0, x1, x2, x3, x4]: &Elements) -> Elements {
    [
        mask(*x0, LIMB_MASK),
        _mm512_add_epi64(mask(*x1, LIMB_MASK), shift_limb(*x0)),
        _mm512_add_epi64(mask(*x2, LIMB_MASK), shift_limb(*x1)),
        _mm512_add_epi64(mask(*x3, LIMB_MASK), shift_limb(*x2)),
        _mm512_add_epi64(*x4, shift_limb(*x3)),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add([x0, x1, x2, x3, x4]: &Elements, [y0, y1, y2, y3, y4]: &Elements) -> Elements {
    [
        _mm512_add_epi64(*x0, *y0),
        _mm512_add_epi64(*x1, *y1),
        _mm512_add_epi64(*x2, *y2),
        _mm512_add_epi64(*x3, *y3),
        _mm512_add_epi64(*x4, *y4),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn add_constant(x: &Elements, constant: &Limbs) -> Elements {
    add(x, &broadcast(constant))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn sub([x0, x1, x2, x3, x4]: &Elements, [y0, y1, y2, y3, y4]: &Elements) -> Elements {
    [
        _mm512_sub_epi64(*x0, *y0),
        _mm512_sub_epi64(*x1, *y1),
        _mm512_sub_epi64(*x2, *y2),
        _mm512_sub_epi64(*x3, *y3),
        _mm512_sub_epi64(*x4, *y4),
    ]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn broadcast([l0, l1, l2, l3, l4]: &Limbs) -> Elements {
    [
        _mm512_set1_epi64(*l0),
        _mm512_set1_epi64(*l1),
        _mm512_set1_epi64(*l2),
        _mm512_set1_epi64(*l3),
        _mm512_set1_epi64(*l4),
    ]
}

/// What a word carries into the next limb.
#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn shift_limb(word: __m512i) -> __m512i {
    _mm512_srai_epi64::<LIMB_BITS>(word)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn mask(word: __m512i, bits: i64) -> __m512i {
    _mm512_and_si512(word, _mm512_set1_epi64(bits))
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn zero() -> __m512i {
    _mm512_setzero_si512()
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load([a, b, c]: &Words) -> State {
    [load_elements(a), load_elements(b), load_elements(c)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_elements([w0, w1, w2, w3, w4]: &[LaneWords; 5]) -> Elements {
    [load_vector(w0), load_vector(w1), load_vector(w2), load_vector(w3), load_vector(w4)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn load_vector([w0, w1, w2, w3, w4, w5, w6, w7]: &LaneWords) -> __m512i {
    _mm512_set_epi64(*w7, *w6, *w5, *w4, *w3, *w2, *w1, *w0)
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store([a, b, c]: &State) -> Words {
    [store_elements(a), store_elements(b), store_elements(c)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_elements([x0, x1, x2, x3, x4]: &Elements) -> [LaneWords; 5] {
    [store_vector(*x0), store_vector(*x1), store_vector(*x2), store_vector(*x3), store_vector(*x4)]
}

#[inline]
#[target_feature(enable = "avx512f,avx512ifma")]
fn store_vector(vector: __m512i) -> LaneWords {
    let low = _mm512_castsi512_si256(vector);
    let high = _mm512_extracti64x4_epi64::<1>(vector);
    [
        _mm256_extract_epi64::<0>(low),
        _mm256_extract_epi64::<1>(low),
        _mm256_extract_epi64::<2>(low),
        _mm256_extract_epi64::<3>(low),
        _mm256_extract_epi64::<0>(high),
        _mm256_extract_epi64::<1>(high),
        _mm256_extract_epi64::<2>(high),
        _mm256_extract_epi64::<3>(high),
    ]
}
