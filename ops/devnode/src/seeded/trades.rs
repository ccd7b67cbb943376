//! The rolling windows the truth needs of each pool: a day of volume and a week of hourly sums.

use std::collections::{BTreeMap, VecDeque};

use ruint::aliases::U256;

use super::Venue;
use super::actions::Trade;

/// Seconds of a volume window.
const DAY: u64 = 86_400;

/// Hours of a volatility window.
pub(super) const WINDOW_HOURS: u64 = 168;

/// Sums of what moved on both sides.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) amount0: U256,
    pub(super) amount1: U256,
}

/// One pool's windows.
#[derive(Debug, Clone, Default)]
pub(super) struct Windows {
    trades: VecDeque<(u64, u128, u128)>,
    pub(super) day: Sums,
    pub(super) hours: VecDeque<(u64, Sums)>,
    /// Volatility of the window before an hour, worked out once an hour.
    pub(super) volatility: Option<(u64, Option<u32>)>,
}

/// The windows of all pools.
#[derive(Debug, Clone)]
pub(super) struct TradeLog {
    venues: BTreeMap<Venue, Windows>,
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
    fn add(&mut self, timestamp: u64, trade: &Trade) {
        let (amount0, amount1) = (trade.moved.amount0, trade.moved.amount1);
        self.trades.push_back((timestamp, amount0, amount1));
        self.day.amount0 += U256::from(amount0);
        self.day.amount1 += U256::from(amount1);
        let hour = timestamp / 3_600;
        if self.hours.back().is_none_or(|(last, _)| *last != hour) {
            self.hours.push_back((hour, Sums::default()));
        }
        if let Some((_, sums)) = self.hours.back_mut() {
            sums.amount0 += U256::from(amount0);
            sums.amount1 += U256::from(amount1);
        }
    }

    fn trim(&mut self, timestamp: u64) {
        while let Some(&(time, amount0, amount1)) = self.trades.front()
            && time + DAY <= timestamp
        {
            self.trades.pop_front();
            self.day.amount0 -= U256::from(amount0);
            self.day.amount1 -= U256::from(amount1);
        }
        let hour = timestamp / 3_600;
        while self.hours.front().is_some_and(|(first, _)| first + WINDOW_HOURS < hour) {
            self.hours.pop_front();
        }
    }
}
