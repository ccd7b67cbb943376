//! Ekubo's positions: ranges of liquidity, what they hold at a price, and signed amounts.
//!
//! Amounts are exact for constant liquidity between two sqrt ratios; the caller says which way to round.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::math::{mul_div, mul_div_up, sqrt_ratio_at, to_u128};
use crate::chain::felts::i129;

/// A range of liquidity.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub(super) owner: Felt,
    pub(super) salt: u64,
    pub(super) lower: i64,
    pub(super) upper: i64,
    pub(super) lower_ratio: U256,
    pub(super) upper_ratio: U256,
    pub(super) liquidity: u128,
}

impl Position {
    /// An empty position over `lower..upper`.
    pub(super) fn over(owner: Felt, salt: u64, lower: i64, upper: i64) -> Self {
        Self {
            owner,
            salt,
            lower,
            upper,
            lower_ratio: sqrt_ratio_at(lower),
            upper_ratio: sqrt_ratio_at(upper),
            liquidity: 0,
        }
    }

    pub(super) fn holds(&self, tick: i64) -> bool {
        self.lower <= tick && tick < self.upper
    }

    pub(super) fn key(&self) -> Vec<Felt> {
        let mut key = vec![Felt::from(self.salt), self.owner];
        key.extend(self.bounds());
        key
    }

    pub(super) fn bounds(&self) -> Vec<Felt> {
        [i129(self.lower.into()), i129(self.upper.into())].concat()
    }

    /// What so much liquidity of this range holds at a price.
    pub(super) fn amounts(&self, liquidity: u128, at: U256, rounding: Rounding) -> (u128, u128) {
        let split = at.clamp(self.lower_ratio, self.upper_ratio);
        (
            amount0(liquidity, split, self.upper_ratio, rounding),
            amount1(liquidity, self.lower_ratio, split, rounding),
        )
    }
}

/// Which way an amount is rounded: up for what the pool is owed, down for what it owes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rounding {
    Up,
    Down,
}

pub(super) fn amount0(liquidity: u128, low: U256, high: U256, rounding: Rounding) -> u128 {
    let liquidity = U256::from(liquidity) << 128;
    to_u128(match rounding {
        Rounding::Up => mul_div_up(U256::from(1), mul_div_up(liquidity, high - low, high), low),
        Rounding::Down => mul_div(liquidity, high - low, high) / low,
    })
}

pub(super) fn amount1(liquidity: u128, low: U256, high: U256, rounding: Rounding) -> u128 {
    let one = U256::from(1) << 128;
    to_u128(match rounding {
        Rounding::Up => mul_div_up(U256::from(liquidity), high - low, one),
        Rounding::Down => mul_div(U256::from(liquidity), high - low, one),
    })
}

/// Two signed amounts as the core sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Delta {
    pub(super) amount0: i128,
    pub(super) amount1: i128,
}

impl Delta {
    pub(super) fn paid_in(amounts: (u128, u128)) -> Self {
        Self { amount0: signed(amounts.0), amount1: signed(amounts.1) }
    }

    pub(super) fn paid_out(amounts: (u128, u128)) -> Self {
        Self { amount0: -signed(amounts.0), amount1: -signed(amounts.1) }
    }

    pub(super) fn felts(&self) -> Vec<Felt> {
        [i129(self.amount0), i129(self.amount1)].concat()
    }
}

pub(super) fn signed(amount: u128) -> i128 {
    i128::try_from(amount).unwrap_or(i128::MAX)
}
