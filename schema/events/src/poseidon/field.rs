//! One element of the Stark field in Montgomery form, for the portable path.
//!
//! The modulus is p = 2^251 + 17·2^192 + 1, in 64-bit limbs `[1, 0, 0, P3]`. Its three low limbs are those
//! of 1, so a Montgomery reduction needs one multiplication a limb and no multiplication by an inverse:
//! p ≡ 1 modulo 2^192 makes the low 192 bits of a product the multiple of p to subtract.
//!
//! Elements are not canonical. 2^256 holds every value below 31p, sums are taken without reduction, and
//! each operation states the bound of its result in multiples of p. Only [`Element::to_felt`] reduces
//! fully. Nothing here checks a bound at run time; [`super::scalar`] keeps them.

use starknet_types_core::felt::Felt;

/// The top limb of p: 2^59 + 17.
const P3: u64 = (1 << 59) + 17;

/// The modulus, least significant limb first.
pub(crate) const MODULUS: [u64; 4] = [1, 0, 0, P3];

/// A value below 2^256 that stands for `value · 2^-256 mod p`; limbs from the least significant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Element([u64; 4]);

impl Element {
    /// The element 0.
    pub(crate) const ZERO: Self = Self([0; 4]);

    /// Takes over the Montgomery form that [`Felt`] keeps itself. Below p.
    #[inline(always)]
    pub(crate) fn from_felt(felt: &Felt) -> Self {
        Self(felt.to_raw_reversed())
    }

    /// Takes over a value in 64-bit words, least significant first.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn from_words(words: [u64; 4]) -> Self {
        Self(words)
    }

    /// `self/16` modulo p, from a value below 16p: adds the multiple of p that clears the low four bits.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(crate) fn sixteenth(self) -> Self {
        let [a0, a1, a2, a3] = self.plus_modulus(self.0[0].wrapping_neg() % 16).0;
        Self([a0 >> 4 | a1 << 60, a1 >> 4 | a2 << 60, a2 >> 4 | a3 << 60, a3 >> 4])
    }

    /// The canonical element as a [`Felt`]. Takes a value below 30p.
    #[inline(always)]
    pub(crate) fn to_felt(self) -> Felt {
        let [l0, l1, l2, l3] = self.plus_modulus(1).fold().subtract_modulus_once().0;
        Felt::from_raw([l3, l2, l1, l0])
    }

    /// `self + multiple·p`, for a constant that keeps a later difference from going below 0.
    #[inline(always)]
    pub(crate) fn plus_modulus(self, multiple: u64) -> Self {
        Self([multiple, 0, 0, multiple * P3]).add(self)
    }

    /// The sum. Its bound is the sum of the bounds, which must stay below 2^256.
    #[inline(always)]
    pub(crate) fn add(self, other: Self) -> Self {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (self.0, other.0);
        let (r0, carry) = a0.carrying_add(b0, false);
        let (r1, carry) = a1.carrying_add(b1, carry);
        let (r2, carry) = a2.carrying_add(b2, carry);
        Self([r0, r1, r2, a3.wrapping_add(b3).wrapping_add(u64::from(carry))])
    }

    /// The difference of two values, the second of which must not be the larger one.
    #[inline(always)]
    pub(crate) fn sub(self, smaller: Self) -> Self {
        let (difference, _) = self.borrowing_sub(smaller);
        difference
    }

    /// `2·self`.
    #[inline(always)]
    pub(crate) fn double(self) -> Self {
        self.add(self)
    }

    /// The same element above p/2 and below 2p, from any value that is not below 2^251.
    ///
    /// With q the bits from 2^251 on, subtracts (q - 1)·p: what remains is the low 251 bits plus
    /// 2^251 - (q - 1)·(17·2^192 + 1), and q is below 32.
    #[inline(always)]
    pub(crate) fn fold(self) -> Self {
        let [a0, a1, a2, a3] = self.0;
        let multiple = (a3 >> 59).wrapping_sub(1);
        let (r0, borrow) = a0.overflowing_sub(multiple);
        let (r1, borrow) = a1.borrowing_sub(0, borrow);
        let (r2, borrow) = a2.borrowing_sub(0, borrow);
        let kept = a3.wrapping_sub(multiple << 59).wrapping_sub(multiple * 17);
        Self([r0, r1, r2, kept.wrapping_sub(u64::from(borrow))])
    }

    /// The product. With factors below a·p and b·p the result is above 0 and below (1 + a·b/31.99)·p.
    #[inline(always)]
    pub(crate) fn mul(self, other: Self) -> Self {
        let ([a0, a1, a2, a3], b) = (self.0, other.0);
        let (t0, row) = add_multiple(a0, b, [0; 4]);
        let (t1, row) = add_multiple(a1, b, row);
        let (t2, row) = add_multiple(a2, b, row);
        let (t3, [t4, t5, t6, t7]) = add_multiple(a3, b, row);
        reduce([t0, t1, t2, t3, t4, t5, t6, t7])
    }

    /// The square of a value below 2^255, bounded as in [`Element::mul`].
    ///
    /// A product of two different limbs counts twice, so each limb multiplies itself and the double of
    /// all limbs above it.
    #[inline(always)]
    pub(crate) fn square(self) -> Self {
        let [a0, a1, a2, a3] = self.0;
        let (double_a2, double_a3) = ((a2 << 1) | (a1 >> 63), (a3 << 1) | (a2 >> 63));
        let (t0, [t1, t2, t3, t4]) = add_multiple(a0, [a0, a1 << 1, double_a2, double_a3], [0; 4]);
        let (l2, h2) = wide(a1, a1, 0);
        let (l3, h3) = wide(a1, a2 << 1, 0);
        let (l4, h4) = wide(a1, double_a3, 0);
        let (t2, carry) = t2.carrying_add(l2, false);
        let (t3, carry) = t3.carrying_add(l3, carry);
        let (t4, carry) = t4.carrying_add(l4, carry);
        let t5 = h4.wrapping_add(u64::from(carry));
        let (l4, g4) = wide(a2, a2, 0);
        let (l5, g5) = wide(a2, a3 << 1, 0);
        let (t3, carry) = t3.carrying_add(h2, false);
        let (t4, carry) = t4.carrying_add(h3, carry);
        let (t5, carry) = t5.carrying_add(l5, carry);
        let t6 = g5.wrapping_add(u64::from(carry));
        let (l6, h6) = wide(a3, a3, 0);
        let (t4, carry) = t4.carrying_add(l4, false);
        let (t5, carry) = t5.carrying_add(g4, carry);
        let (t6, carry) = t6.carrying_add(l6, carry);
        let t7 = h6.wrapping_add(u64::from(carry));
        reduce([t0, t1, t2, t3, t4, t5, t6, t7])
    }

    /// The S-box of Hades.
    #[inline(always)]
    pub(crate) fn cube(self) -> Self {
        self.square().mul(self)
    }

    #[inline(always)]
    fn borrowing_sub(self, other: Self) -> (Self, bool) {
        let ([a0, a1, a2, a3], [b0, b1, b2, b3]) = (self.0, other.0);
        let (r0, borrow) = a0.borrowing_sub(b0, false);
        let (r1, borrow) = a1.borrowing_sub(b1, borrow);
        let (r2, borrow) = a2.borrowing_sub(b2, borrow);
        let (r3, borrow) = a3.borrowing_sub(b3, borrow);
        (Self([r0, r1, r2, r3]), borrow)
    }

    #[inline(always)]
    fn subtract_modulus_once(self) -> Self {
        let (difference, borrow) = self.borrowing_sub(Self(MODULUS));
        if borrow { self } else { difference }
    }
}

/// Low and high word of `a·b + c`.
#[inline(always)]
fn wide(a: u64, b: u64, c: u64) -> (u64, u64) {
    a.carrying_mul(b, c)
}

/// `row + a·b`: its lowest limb, and the four above it.
#[inline(always)]
fn add_multiple(a: u64, b: [u64; 4], row: [u64; 4]) -> (u64, [u64; 4]) {
    let [b0, b1, b2, b3] = b;
    let (l0, h0) = wide(a, b0, 0);
    let (l1, h1) = wide(a, b1, 0);
    let (l2, h2) = wide(a, b2, 0);
    let (l3, h3) = wide(a, b3, 0);
    let (r0, carry) = row[0].carrying_add(l0, false);
    let (r1, carry) = row[1].carrying_add(l1, carry);
    let (r2, carry) = row[2].carrying_add(l2, carry);
    let (r3, carry) = row[3].carrying_add(l3, carry);
    let r4 = h3.wrapping_add(u64::from(carry));
    let (r1, carry) = r1.carrying_add(h0, false);
    let (r2, carry) = r2.carrying_add(h1, carry);
    let (r3, carry) = r3.carrying_add(h2, carry);
    let r4 = r4.wrapping_add(u64::from(carry));
    (r0, [r1, r2, r3, r4])
}

/// Montgomery reduction of a product t: above 0, below t/2^256 + p.
///
/// Subtracts the multiple of p that clears the low 192 bits, then adds the one that clears the next 64.
/// The second one is taken as 2^64 minus the limb, so that what is added exceeds what the first step can
/// have borrowed.
#[inline(always)]
fn reduce(t: [u64; 8]) -> Element {
    let (s0, c) = wide(t[0], P3, 0);
    let (s1, c) = wide(t[1], P3, c);
    let (s2, s3) = wide(t[2], P3, c);
    let (u0, borrow) = t[3].borrowing_sub(s0, false);
    let (u1, borrow) = t[4].borrowing_sub(s1, borrow);
    let (u2, borrow) = t[5].borrowing_sub(s2, borrow);
    let (u3, borrow) = t[6].borrowing_sub(s3, borrow);
    let u4 = t[7].wrapping_sub(u64::from(borrow));
    let (low, high) = wide(!u0, P3, P3);
    let (r0, carry) = u1.carrying_add(1, false);
    let (r1, carry) = u2.carrying_add(0, carry);
    let (r2, carry) = u3.carrying_add(low, carry);
    let r3 = u4.wrapping_add(high).wrapping_add(u64::from(carry));
    Element([r0, r1, r2, r3])
}
