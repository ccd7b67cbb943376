//! The trades that the truth looks back on: those of a day one by one, those of 30 days by the hour.

use std::collections::{BTreeMap, VecDeque};

use ruint::aliases::U256;

use super::Venue;
use super::math::{mul_div_up, to_u128};
use super::positions::Delta;

/// Seconds of a volume window.
const DAY: u64 = 86_400;

/// Hours of the longest volatility window.
pub(super) const LONGEST_WINDOW_HOURS: u64 = 720;

/// A swap: what moved, and the fee on what was paid in, rounded up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trade {
    venue: Venue,
    moved: Sums,
    fees: Sums,
}

/// Amounts of both sides of a pool, in each token's smallest unit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) amount0: U256,
    pub(super) amount1: U256,
}

/// One pool's trades.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows {
    /// The swaps of the last 24 hours with their times, oldest first.
    day: VecDeque<(u64, Trade)>,
    /// What moved in each hour that had a swap, oldest first.
    pub(super) hours: VecDeque<(u64, Sums)>,
    /// Volatilities before an hour, worked out once an hour.
    pub(super) volatilities: Option<(u64, [Option<u32>; 3])>,
}

/// The trades of all pools.
#[derive(Debug, Clone)]
pub(super) struct TradeLog {
    venues: BTreeMap<Venue, Windows>,
}

impl Trade {
    /// A swap at an Ekubo pool whose fee is a fraction of 2¹²⁸.
    pub(super) fn at_pool(index: usize, delta: Delta, fee: u128) -> Self {
        Self::new(Venue::Pool(index), delta, (U256::from(fee), U256::from(1) << 128))
    }

    /// A swap at a JediSwap pair.
    pub(super) fn at_pair(index: usize, delta: Delta) -> Self {
        Self::new(Venue::Pair(index), delta, (U256::from(3), U256::from(1_000)))
    }

    /// A swap at a JediSwap v2 pool whose fee is in parts of a million.
    pub(super) fn at_v2_pool(index: usize, delta: Delta, fee_ppm: u32) -> Self {
        Self::new(Venue::V2Pool(index), delta, (U256::from(fee_ppm), U256::from(1_000_000)))
    }

    fn new(venue: Venue, delta: Delta, (numerator, denominator): (U256, U256)) -> Self {
        let fee = |amount: i128| {
            let paid_in = u128::try_from(amount).unwrap_or(0);
            U256::from(to_u128(mul_div_up(U256::from(paid_in), numerator, denominator)))
        };
        let magnitude = |amount: i128| U256::from(amount.unsigned_abs());
        let (amount0, amount1) = (delta.amount0, delta.amount1);
        Self {
            venue,
            moved: Sums { amount0: magnitude(amount0), amount1: magnitude(amount1) },
            fees: Sums { amount0: fee(amount0), amount1: fee(amount1) },
        }
    }
}

impl TradeLog {
    pub(super) fn new() -> Self {
        Self { venues: BTreeMap::new() }
    }

    /// Adds a block's trades and lets go of what left the windows.
    pub(super) fn record(&mut self, timestamp: u64, trades: &[Trade]) {
        for trade in trades {
            self.of(trade.venue).add(timestamp, trade);
        }
        for windows in self.venues.values_mut() {
            windows.trim(timestamp);
        }
    }

    pub(super) fn of(&mut self, venue: Venue) -> &mut Windows {
        self.venues.entry(venue).or_default()
    }
}

impl Windows {
    /// What moved in the last 24 hours.
    pub(super) fn moved_in_a_day(&self) -> Sums {
        self.day.iter().fold(Sums::default(), |sums, (_, trade)| sums.plus(&trade.moved))
    }

    /// The fees of the last 24 hours.
    pub(super) fn fees_of_a_day(&self) -> Sums {
        self.day.iter().fold(Sums::default(), |sums, (_, trade)| sums.plus(&trade.fees))
    }

    fn add(&mut self, timestamp: u64, trade: &Trade) {
        self.day.push_back((timestamp, *trade));
        let hour = timestamp / 3_600;
        match self.hours.back_mut() {
            Some((last, sums)) if *last == hour => *sums = sums.plus(&trade.moved),
            _ => self.hours.push_back((hour, trade.moved)),
        }
    }

    fn trim(&mut self, timestamp: u64) {
        while self.day.front().is_some_and(|(time, _)| time + DAY <= timestamp) {
            self.day.pop_front();
        }
        let hour = timestamp / 3_600;
        while self.hours.front().is_some_and(|(first, _)| first + LONGEST_WINDOW_HOURS < hour) {
            self.hours.pop_front();
        }
    }
}

impl Sums {
    fn plus(self, other: &Self) -> Self {
        Self { amount0: self.amount0 + other.amount0, amount1: self.amount1 + other.amount1 }
    }
}
