//! Integer arithmetic of the market model: products over 512 bits, square roots, and the two ways
//! between a tick and a sqrt ratio.
//!
//! A sqrt ratio has 128 fractional bits; its square is the price of `token0` in `token1` in raw units.
//! `1.000001^tick` is the largest such power at or below that price. No floating point.

use std::sync::LazyLock;

use ruint::aliases::{U256, U512};

/// 10²⁷, zkLend's unit of rates and accumulators.
pub(super) const RAY: u128 = 1_000_000_000_000_000_000_000_000_000;

/// `1 / log2(1.000001)` with 32 fractional bits.
const TICKS_PER_DOUBLING: i128 = 2_977_045_960_341_559;

/// Powers of the tick table: 2²⁵ ticks are a factor of about 3.7·10¹⁴.
const TICK_POWERS: usize = 26;

/// `floor(a · b / divisor)`, the greatest number if that does not fit or the divisor is 0.
pub(super) fn mul_div(a: U256, b: U256, divisor: U256) -> U256 {
    if divisor.is_zero() {
        return U256::MAX;
    }
    U256::saturating_from(U512::from(a) * U512::from(b) / U512::from(divisor))
}

/// `ceil(a · b / divisor)`, the greatest number if that does not fit or the divisor is 0.
pub(super) fn mul_div_up(a: U256, b: U256, divisor: U256) -> U256 {
    if divisor.is_zero() {
        return U256::MAX;
    }
    let (quotient, rest) = (U512::from(a) * U512::from(b)).div_rem(U512::from(divisor));
    U256::saturating_from(if rest.is_zero() { quotient } else { quotient + U512::from(1) })
}

/// The same for 128-bit numbers.
pub(super) fn mul_div_128(a: u128, b: u128, divisor: u128) -> u128 {
    to_u128(mul_div(U256::from(a), U256::from(b), U256::from(divisor)))
}

/// Cuts a 256-bit number down to 128 bits, or gives the greatest one.
pub(super) fn to_u128(value: U256) -> u128 {
    value.saturating_to()
}

/// 10 to a small power.
pub(super) fn pow10(exponent: u32) -> U256 {
    U256::from(10).pow(U256::from(exponent))
}

/// `floor(√value)` by Newton's method from above.
pub(super) fn sqrt(value: U512) -> U512 {
    if value.is_zero() {
        return value;
    }
    let mut guess = U512::from(1) << value.bit_len().div_ceil(2);
    loop {
        let next = (guess + value / guess) >> 1;
        if next >= guess {
            return guess;
        }
        guess = next;
    }
}

/// `√1.000001` to the powers of two, with 192 fractional bits.
static POWERS: LazyLock<[U512; TICK_POWERS]> = LazyLock::new(|| {
    let mut power = sqrt((U512::from(1_000_001) << 384) / U512::from(1_000_000));
    std::array::from_fn(|_| {
        let this = power;
        power = (power * power) >> 192;
        this
    })
});

/// The sqrt ratio of a tick; ticks beyond ±2²⁶ are not supported and give the ratio of 0 or 1.
pub(super) fn sqrt_ratio_at(tick: i64) -> U256 {
    let mut ratio = U512::from(1) << 192;
    let magnitude = tick.unsigned_abs();
    for (bit, power) in POWERS.iter().enumerate() {
        if magnitude >> bit & 1 == 1 {
            ratio = (ratio * power) >> 192;
        }
    }
    if tick < 0 {
        ratio = (U512::from(1) << 384) / ratio;
    }
    U256::saturating_from(ratio >> 64)
}

/// The tick of a sqrt ratio: the greatest whose ratio is not above it.
pub(super) fn tick_at(sqrt_ratio: U256) -> i64 {
    let doublings = 2 * log2(sqrt_ratio);
    let scaled = (doublings * TICKS_PER_DOUBLING) >> 96;
    let mut tick = i64::try_from(scaled).unwrap_or(0);
    while sqrt_ratio_at(tick) > sqrt_ratio {
        tick -= 1;
    }
    while sqrt_ratio_at(tick + 1) <= sqrt_ratio {
        tick += 1;
    }
    tick
}

/// The binary logarithm of a sqrt ratio, with 64 fractional bits, by repeated squaring.
fn log2(sqrt_ratio: U256) -> i128 {
    let bits = sqrt_ratio.bit_len();
    let top = i128::try_from(bits).unwrap_or(0) - 129;
    let mut mantissa =
        if bits > 128 { sqrt_ratio >> (bits - 128) } else { sqrt_ratio << (128 - bits) };
    let mut fraction = 0_i128;
    for bit in (0..64).rev() {
        let square = mantissa * mantissa;
        if square.bit(255) {
            fraction |= 1 << bit;
            mantissa = square >> 128;
        } else {
            mantissa = square >> 127;
        }
    }
    (top << 64) + fraction
}

/// The sqrt ratio at which a whole `token0` costs `price0 / price1` whole `token1`.
pub(super) fn sqrt_ratio_of(price0: u128, decimals0: u32, price1: u128, decimals1: u32) -> U256 {
    let numerator = (U512::from(price0) * U512::from(pow10(decimals1))) << 256;
    let denominator = U512::from(price1) * U512::from(pow10(decimals0));
    if denominator.is_zero() {
        return U256::MAX;
    }
    U256::saturating_from(sqrt(numerator / denominator))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_and_ratios_agree_both_ways() {
        assert_eq!(sqrt_ratio_at(0), U256::from(1) << 128);
        for tick in [-28_400_000, -19_519_367, -693_148, -1, 0, 1, 2, 999, 6_856_000, 27_631_022] {
            let ratio = sqrt_ratio_at(tick);
            assert_eq!(tick_at(ratio), tick);
            assert_eq!(tick_at(ratio - U256::from(1)), tick - 1);
        }
    }

    #[test]
    fn the_square_of_a_ratio_is_the_power() {
        for tick in [-1_000_000_i32, -1, 1, 500_000, 10_000_000] {
            let ratio = f64::from(sqrt_ratio_at(i64::from(tick))) / 2_f64.powi(128);
            let error = ratio * ratio / 1.000_001_f64.powi(tick) - 1.0;
            assert!(error.abs() < 1e-8, "{tick}: {error}");
        }
    }

    #[test]
    fn square_roots_are_floors() {
        for (value, root) in [(0_u64, 0_u64), (1, 1), (3, 1), (4, 2), (99, 9), (100, 10)] {
            assert_eq!(sqrt(U512::from(value)), U512::from(root));
        }
    }

    #[test]
    fn rounding_goes_the_stated_way() {
        let three = |a: u64, b: u64, c: u64| (U256::from(a), U256::from(b), U256::from(c));
        let (a, b, c) = three(7, 3, 2);
        assert_eq!(mul_div(a, b, c), U256::from(10));
        assert_eq!(mul_div_up(a, b, c), U256::from(11));
        assert_eq!(mul_div(a, b, U256::ZERO), U256::MAX);
    }
}
