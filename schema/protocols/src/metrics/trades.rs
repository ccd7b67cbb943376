//! What a pool's swaps moved: the last 24 hours exactly, and sums by the hour.
//!
//! Memory is bounded: one item for each instant of the last day with a swap, and 169 hours. Items are
//! kept in chunks behind `Arc`, so that a copy of the fold shares all but the chunk being written.

use std::collections::VecDeque;
use std::sync::Arc;

use obsqra_types::{U256, U512};

use crate::fixed::{Wide, floor_div, ln_ratio};

/// The window of volumes, seconds.
pub(crate) const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;
/// Hours that volatility looks back.
pub(crate) const WINDOW_HOURS: u64 = 168;
const CHUNK_ITEMS: usize = 64;

/// The hour that an instant lies in.
pub(crate) fn hour_of(now: u64) -> u64 {
    now / HOUR
}

/// Amounts moved on each side. 2²⁵⁶ swaps would be needed to leave 512 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Volumes {
    pub(crate) side0: U512,
    pub(crate) side1: U512,
}

impl Volumes {
    fn add(&mut self, other: &Self) {
        self.side0 += other.side0;
        self.side1 += other.side1;
    }

    fn subtract(&mut self, other: &Self) {
        self.side0 -= other.side0;
        self.side1 -= other.side1;
    }
}

/// The swaps of the last 24 hours, summed by instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct DayWindow {
    chunks: VecDeque<Arc<Vec<(u64, Volumes)>>>,
    /// Items at the front of the first chunk that have left the window.
    expired: usize,
    total: Volumes,
}

impl DayWindow {
    pub(crate) fn total(&self) -> &Volumes {
        &self.total
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &(u64, Volumes)> {
        self.chunks.iter().flat_map(|chunk| chunk.iter()).skip(self.expired)
    }

    fn oldest(&self) -> Option<(u64, Volumes)> {
        self.chunks.front()?.get(self.expired).copied()
    }

    /// Adds what moved at `now`, which is not before any item.
    pub(crate) fn add(&mut self, now: u64, volumes: &Volumes) {
        self.total.add(volumes);
        let has_room = |chunk: &Arc<Vec<(u64, Volumes)>>| {
            chunk.len() < CHUNK_ITEMS || chunk.last().is_some_and(|(instant, _)| *instant == now)
        };
        if !self.chunks.back().is_some_and(has_room) {
            self.chunks.push_back(Arc::default());
        }
        let Some(chunk) = self.chunks.back_mut().map(Arc::make_mut) else {
            return;
        };
        match chunk.last_mut() {
            Some((instant, sum)) if *instant == now => sum.add(volumes),
            _ => chunk.push((now, *volumes)),
        }
    }

    /// Whether [`Self::expire`] would drop an item.
    pub(crate) fn has_expired(&self, now: u64) -> bool {
        self.oldest().is_some_and(|(instant, _)| left_window(instant, now))
    }

    /// Drops what is a day old or older.
    pub(crate) fn expire(&mut self, now: u64) {
        while let Some((instant, volumes)) = self.oldest() {
            if !left_window(instant, now) {
                return;
            }
            self.total.subtract(&volumes);
            self.expired += 1;
            if self.chunks.front().is_some_and(|chunk| chunk.len() == self.expired) {
                self.chunks.pop_front();
                self.expired = 0;
            }
        }
    }
}

fn left_window(instant: u64, now: u64) -> bool {
    instant.checked_add(DAY).is_some_and(|end| end <= now)
}

/// One hour's swaps, and once the hour is over what follows from them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hour {
    pub(crate) hour: u64,
    pub(crate) volumes: Volumes,
    closed: Option<ClosedHour>,
}

/// A past hour's vwap and the square of its step from the hour with a vwap before it.
#[derive(Clone, Copy, Debug)]
struct ClosedHour {
    vwap: Vwap,
    squared_step: U256,
}

#[derive(Clone, Copy, Debug)]
enum Vwap {
    Absent,
    Overflow,
    Price(U256),
}

/// Which side of a pool is USDC, and the scale of the other side's price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UsdcSide {
    pub(crate) usdc_is_token0: bool,
    /// `10^(18 + dec(X) − dec(U))`.
    pub(crate) scale: Wide,
}

/// The last hours with swaps, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hours(VecDeque<Hour>);

/// What the hours of a window amount to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HourlySteps {
    /// A vwap is outside 256 bits.
    Overflow,
    /// How many hours have a vwap, and the sum of their squared steps at 2⁻¹²⁸.
    Known { hours: u64, squares: U512 },
}

impl Hours {
    pub(crate) fn items(&self) -> impl Iterator<Item = &Hour> {
        self.0.iter()
    }

    /// Adds what moved at `now`, which is not before any hour held.
    pub(crate) fn add(&mut self, hour: u64, volumes: &Volumes, side: &UsdcSide) {
        match self.0.back_mut() {
            Some(last) if last.hour == hour => last.volumes.add(volumes),
            _ => {
                let closed = self.close_last(side);
                if let Some(last) = self.0.back_mut() {
                    last.closed = closed;
                }
                self.0.push_back(Hour { hour, volumes: *volumes, closed: None });
                while self
                    .0
                    .front()
                    .is_some_and(|first| first.hour.saturating_add(WINDOW_HOURS) < hour)
                {
                    self.0.pop_front();
                }
            }
        }
    }

    fn close_last(&self, side: &UsdcSide) -> Option<ClosedHour> {
        let last = self.0.back()?;
        let vwap = vwap(&last.volumes, side);
        let before = self.0.iter().rev().skip(1).find_map(|hour| match hour.closed?.vwap {
            Vwap::Price(price) => Some(price),
            Vwap::Absent | Vwap::Overflow => None,
        });
        let squared_step = match (vwap, before) {
            (Vwap::Price(price), Some(before)) => squared_step(price, before),
            _ => U256::ZERO,
        };
        Some(ClosedHour { vwap, squared_step })
    }

    /// The steps of the 168 hours before `hour`.
    pub(crate) fn steps_before(&self, hour: u64, side: &UsdcSide) -> HourlySteps {
        let mut known = (0u64, U512::ZERO);
        let window = self
            .0
            .iter()
            .filter(|item| item.hour < hour && item.hour.saturating_add(WINDOW_HOURS) >= hour);
        for item in window {
            // Only the newest hour can be open still, and nothing comes between it and the end.
            let Some(closed) = item.closed.or_else(|| self.close_last(side)) else {
                continue;
            };
            match closed.vwap {
                Vwap::Absent => {}
                Vwap::Overflow => return HourlySteps::Overflow,
                Vwap::Price(_) => {
                    // The first one's step leads out of the window.
                    if known.0 > 0 {
                        known.1 += U512::from(closed.squared_step);
                    }
                    known.0 += 1;
                }
            }
        }
        HourlySteps::Known { hours: known.0, squares: known.1 }
    }
}

fn vwap(volumes: &Volumes, side: &UsdcSide) -> Vwap {
    let (base, quote) = match side.usdc_is_token0 {
        true => (volumes.side1, volumes.side0),
        false => (volumes.side0, volumes.side1),
    };
    if base.is_zero() || quote.is_zero() {
        return Vwap::Absent;
    }
    match floor_div(Wide::from(quote) * side.scale, Wide::from(base)) {
        None => Vwap::Overflow,
        Some(price) if price.is_zero() => Vwap::Absent,
        Some(price) => Vwap::Price(price),
    }
}

/// The square of a logarithm at 2⁻⁶⁴ is at 2⁻¹²⁸; a logarithm of 256-bit numbers is below 178, so
/// that its square takes 143 bits.
fn squared_step(price: U256, before: U256) -> U256 {
    ln_ratio(price, before).map_or(U256::ZERO, |step| step * step)
}
