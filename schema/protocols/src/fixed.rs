//! Integer arithmetic wide enough that nothing in between overflows, and a logarithm at fixed point.
//!
//! An amount is 256 bits; a result that does not fit is `None`, which the metrics report as
//! `overflow`. Nothing here wraps and nothing divides by zero.

use std::sync::LazyLock;

use obsqra_types::{U256, U512};

/// Holds the product of three amounts and a power of ten.
pub(crate) type Wide = ruint::Uint<1024, 16>;

/// Fractional bits of a logarithm.
pub(crate) const LN_BITS: usize = 64;

/// Fractional bits inside [`ln_ratio`].
const INNER_BITS: usize = 192;

/// ln 2 at 2⁻¹⁹², rounded to the nearest.
const LN_2: U512 = U512::from_limbs([
    0x40f3_4326_7298_b62e,
    0xc9e3_b398_03f2_f6af,
    0xb172_17f7_d1cf_79ab,
    0x0000_0000_0000_0000,
    0,
    0,
    0,
    0,
]);

/// Powers of ten that scales need; they are asked for in every figure.
static POWERS_OF_TEN: LazyLock<Vec<Wide>> = LazyLock::new(|| {
    (0u32..64).map(|exponent| Wide::from(10u8).pow(Wide::from(exponent))).collect()
});

/// `10^exponent`; exponents stay below 300, so that it fits.
pub(crate) fn pow10(exponent: u32) -> Wide {
    let known = usize::try_from(exponent).ok().and_then(|place| POWERS_OF_TEN.get(place));
    known.copied().unwrap_or_else(|| Wide::from(10u8).pow(Wide::from(exponent)))
}

/// `floor(numerator / denominator)`; `None` where that is outside 256 bits or undefined.
pub(crate) fn floor_div(numerator: Wide, denominator: Wide) -> Option<U256> {
    numerator.checked_div(denominator).and_then(narrow)
}

/// `ceil(numerator / denominator)`; `None` as of [`floor_div`].
pub(crate) fn ceil_div(numerator: Wide, denominator: Wide) -> Option<U256> {
    let quotient = numerator.checked_div(denominator)?;
    let rest = Wide::from(u8::from(!(numerator % denominator).is_zero()));
    narrow(quotient + rest)
}

/// `floor(sqrt(value))`, by Newton's method from above: the first step that does not fall is the root.
pub(crate) fn isqrt(value: Wide) -> Wide {
    if value.is_zero() {
        return value;
    }
    let mut root = Wide::from(1u8) << value.bit_len().div_ceil(2);
    loop {
        let next = (root + value / root) >> 1;
        if next >= root {
            return root;
        }
        root = next;
    }
}

/// The value in 256 bits, where it fits.
pub(crate) fn narrow(value: Wide) -> Option<U256> {
    (value.bit_len() <= 256).then(|| value.wrapping_to())
}

/// `|ln(a / b)|` as a multiple of 2⁻⁶⁴, rounded to the nearest; `None` where `a` or `b` is 0.
///
/// With the larger of both as `2^k · m · smaller`, `1 ≤ m < 2`, it is `k · ln 2 + 2 · artanh(z)`,
/// `z = (m − 1) / (m + 1)`, by the series `z + z³/3 + z⁵/5 + …` at 2⁻¹⁹². Each of its at most 64 terms
/// is cut by less than two units of 2⁻¹⁹², so that the sum is within 2⁻¹⁸⁰ before it is rounded.
pub(crate) fn ln_ratio(a: U256, b: U256) -> Option<U256> {
    let (large, small) = if a >= b { (a, b) } else { (b, a) };
    if small.is_zero() {
        return None;
    }
    let mut doublings = large.bit_len() - small.bit_len();
    if U512::from(small) << doublings > U512::from(large) {
        doublings -= 1;
    }
    let large = U512::from(large);
    let small = U512::from(small) << doublings;
    let z = ((large - small) << INNER_BITS) / (large + small);
    let sum = LN_2 * U512::from(doublings) + (artanh(z) << 1);
    let half = U512::from(1u8) << (INNER_BITS - LN_BITS - 1);
    let rounded: U512 = (sum + half) >> (INNER_BITS - LN_BITS);
    Some(rounded.wrapping_to())
}

/// Of a `z` below 1/3.
fn artanh(z: U512) -> U512 {
    let square = (z * z) >> INNER_BITS;
    let mut power = z;
    let mut sum = U512::ZERO;
    let mut divisor = 1u64;
    while !power.is_zero() {
        sum += power / U512::from(divisor);
        power = (power * square) >> INNER_BITS;
        divisor += 2;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference() -> impl Iterator<Item = (U256, U256, U256)> {
        let lines = include_str!("../tests/golden/ln_ratio.csv").lines();
        lines.filter(|line| !line.starts_with('#')).map(|line| {
            let numbers: Vec<U256> = line.split(',').map(|n| n.parse().unwrap()).collect();
            (numbers[0], numbers[1], numbers[2])
        })
    }

    /// The definition asks for 2⁻⁵⁶; what is documented is the nearest multiple of 2⁻⁶⁴.
    #[test]
    fn logarithms_are_the_nearest_multiple_of_their_unit() {
        let unit = U256::from(1u8) << 64;
        let mut cases = 0;
        for (a, b, expected) in reference() {
            let found = ln_ratio(a, b).unwrap();
            let scaled: U256 = found * unit;
            let error = scaled.abs_diff(expected);
            assert!(
                error * U256::from(2u8) <= unit + U256::from(2u8),
                "ln({a}/{b}) is off by {error}"
            );
            assert_eq!(ln_ratio(b, a), Some(found));
            cases += 1;
        }
        assert!(cases > 100);
    }

    #[test]
    fn logarithms_of_nothing_do_not_exist() {
        assert_eq!(ln_ratio(U256::ZERO, U256::from(1u8)), None);
        assert_eq!(ln_ratio(U256::from(1u8), U256::ZERO), None);
        assert_eq!(ln_ratio(U256::MAX, U256::MAX), Some(U256::ZERO));
    }

    #[test]
    fn roots_are_floors() {
        for value in (0u32..2_000).chain([u32::MAX - 1, u32::MAX]) {
            assert_eq!(isqrt(Wide::from(value)), Wide::from(value.isqrt()), "{value}");
        }
        let root = Wide::from(U256::MAX);
        assert_eq!(isqrt(root * root), root);
        assert_eq!(isqrt(root * root - Wide::from(1u8)), root - Wide::from(1u8));
    }

    #[test]
    fn quotients_fit_or_are_none() {
        assert_eq!(ceil_div(Wide::from(7u8), Wide::from(2u8)), Some(U256::from(4u8)));
        assert_eq!(ceil_div(Wide::from(8u8), Wide::from(2u8)), Some(U256::from(4u8)));
        assert_eq!(ceil_div(Wide::from(8u8), Wide::ZERO), None);
        let one = Wide::from(1u8);
        assert_eq!(floor_div(Wide::from(7u8), Wide::from(2u8)), Some(U256::from(3u8)));
        assert_eq!(floor_div(one, Wide::ZERO), None);
        assert_eq!(floor_div(one << 256, one), None);
        assert_eq!(floor_div((one << 256) - one, one), Some(U256::MAX));
        assert_eq!(narrow(pow10(77)).map(|n| n.to_string().len()), Some(78));
    }
}
