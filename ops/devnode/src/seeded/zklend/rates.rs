//! What a reserve lends at: the kinked interest-rate model, and growth over time.
//!
//! Rates and factors are at scale 10²⁷. Nothing here knows a reserve's state.

use ruint::aliases::U256;

use crate::seeded::math::{RAY, mul_div, mul_div_128};
use crate::seeded::tokens::Token;

/// zkLend's year.
pub(in crate::seeded) const SECONDS_PER_YEAR: u128 = 31_536_000;

/// One percent at scale 10²⁷.
pub(in crate::seeded) const PERCENT: u128 = RAY / 100;

/// What the model fixes about a reserve.
#[derive(Debug, Clone, Copy)]
pub(in crate::seeded) struct ReserveSpec {
    pub(in crate::seeded) token: Token,
    /// First deposit in whole USDC.
    pub(in crate::seeded) initial_usdc: u64,
    /// First debt, percent of the deposit.
    pub(in crate::seeded) initial_debt_percent: u64,
    slope0: u128,
    slope1: u128,
    y_intercept: u128,
    optimal: u128,
}

/// The reserves, in the order of their listing.
pub(in crate::seeded) const RESERVES: [ReserveSpec; 4] = [
    ReserveSpec {
        token: Token::Eth,
        initial_usdc: 21_500_000,
        initial_debt_percent: 38,
        slope0: 4 * PERCENT,
        slope1: 150 * PERCENT,
        y_intercept: PERCENT / 2,
        optimal: 65 * PERCENT,
    },
    ReserveSpec {
        token: Token::Usdc,
        initial_usdc: 13_000_000,
        initial_debt_percent: 72,
        slope0: 6 * PERCENT,
        slope1: 60 * PERCENT,
        y_intercept: PERCENT,
        optimal: 80 * PERCENT,
    },
    ReserveSpec {
        token: Token::Strk,
        initial_usdc: 8_000_000,
        initial_debt_percent: 30,
        slope0: 9 * PERCENT,
        slope1: 250 * PERCENT,
        y_intercept: 2 * PERCENT,
        optimal: 50 * PERCENT,
    },
    ReserveSpec {
        token: Token::Wbtc,
        initial_usdc: 7_600_000,
        initial_debt_percent: 45,
        slope0: 3 * PERCENT,
        slope1: 120 * PERCENT,
        y_intercept: PERCENT / 4,
        optimal: 60 * PERCENT,
    },
];

/// The reserve that the incident opens. Nobody else uses it.
pub(in crate::seeded) const WSTETH: ReserveSpec = ReserveSpec {
    token: Token::WstEth,
    initial_usdc: 0,
    initial_debt_percent: 0,
    slope0: 4 * PERCENT,
    slope1: 150 * PERCENT,
    y_intercept: PERCENT / 2,
    optimal: 65 * PERCENT,
};

impl ReserveSpec {
    /// The kinked model: a gentle slope up to the optimal utilization, a steep one above it.
    pub(super) fn borrowing_rate(&self, utilization: u128) -> u128 {
        if utilization == 0 {
            0
        } else if utilization <= self.optimal {
            self.y_intercept + mul_div_128(self.slope0, utilization, self.optimal)
        } else {
            let above = mul_div_128(self.slope1, utilization - self.optimal, RAY - self.optimal);
            self.y_intercept + self.slope0 + above
        }
    }
}

/// `accumulator · (1 + rate · seconds / year)`.
pub(super) fn grown(accumulator: U256, rate: u128, seconds: u64) -> U256 {
    let growth = mul_div_128(rate, u128::from(seconds), SECONDS_PER_YEAR);
    mul_div(accumulator, U256::from(RAY + growth), U256::from(RAY))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_has_a_kink_at_the_optimum() {
        let spec = RESERVES[0];
        assert_eq!(spec.borrowing_rate(0), 0);
        assert_eq!(spec.borrowing_rate(spec.optimal), spec.y_intercept + spec.slope0);
        assert_eq!(spec.borrowing_rate(RAY), spec.y_intercept + spec.slope0 + spec.slope1);
        assert!(spec.borrowing_rate(spec.optimal / 2) < spec.borrowing_rate(spec.optimal));
    }

    #[test]
    fn an_accumulator_grows_by_rate_and_time() {
        let ray = U256::from(RAY);
        let grown = |seconds| grown(ray, 10 * PERCENT, seconds);
        assert_eq!(grown(31_536_000), ray + U256::from(10 * PERCENT));
        assert_eq!(grown(0), ray);
        let day = mul_div_128(10 * PERCENT, 86_400, SECONDS_PER_YEAR);
        assert_eq!(grown(86_400), ray + U256::from(day));
    }
}
