//! What a pool's swaps moved: the last 24 hours exactly, and sums by the hour. And what came into and
//! left a reserve in the last 24 hours.
//!
//! Memory is bounded: one item for each instant of the last day with an event, and 721 hours. Items are
//! kept in [`Chunks`], so that a copy of the fold shares all but the chunk being written.

use obsqra_types::{U256, U512};

use super::chunks::Chunks;
use crate::I257;
use crate::fixed::{Wide, floor_div, ln_ratio};

/// The window of volumes, seconds.
pub(crate) const DAY: u64 = 86_400;
const HOUR: u64 = 3_600;
/// Hours that the longest volatility looks back.
pub(crate) const LONGEST_WINDOW: u64 = 720;

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

/// What a window adds up.
pub(crate) trait Summed: Copy + Default {
    fn add(&mut self, other: &Self);
    /// Of what was added before.
    fn subtract(&mut self, other: &Self);
}

impl Summed for Volumes {
    fn add(&mut self, other: &Self) {
        self.side0 += other.side0;
        self.side1 += other.side1;
    }

    fn subtract(&mut self, other: &Self) {
        self.side0 -= other.side0;
        self.side1 -= other.side1;
    }
}

/// What swaps moved, and the fees on what was paid in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Flows {
    pub(crate) moved: Volumes,
    pub(crate) fees: Volumes,
}

impl Summed for Flows {
    fn add(&mut self, other: &Self) {
        self.moved.add(&other.moved);
        self.fees.add(&other.fees);
    }

    fn subtract(&mut self, other: &Self) {
        self.moved.subtract(&other.moved);
        self.fees.subtract(&other.fees);
    }
}

/// Raw shares that came into and left a reserve.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct ShareFlows {
    pub(crate) came: U512,
    pub(crate) left: U512,
}

impl Summed for ShareFlows {
    fn add(&mut self, other: &Self) {
        self.came += other.came;
        self.left += other.left;
    }

    fn subtract(&mut self, other: &Self) {
        self.came -= other.came;
        self.left -= other.left;
    }
}

/// Tokens that liquidity providers put into a pool and took out, by side.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct LiquidityFlows {
    pub(crate) came: Volumes,
    pub(crate) left: Volumes,
}

impl LiquidityFlows {
    /// Of what came, above zero, or left, below.
    pub(crate) fn of(delta0: I257, delta1: I257) -> Self {
        let amount = |delta: I257, negative: bool| match delta.is_negative() == negative {
            true => U512::from(delta.magnitude()),
            false => U512::ZERO,
        };
        let way =
            |negative| Volumes { side0: amount(delta0, negative), side1: amount(delta1, negative) };
        Self { came: way(false), left: way(true) }
    }
}

impl Summed for LiquidityFlows {
    fn add(&mut self, other: &Self) {
        self.came.add(&other.came);
        self.left.add(&other.left);
    }

    fn subtract(&mut self, other: &Self) {
        self.came.subtract(&other.came);
        self.left.subtract(&other.left);
    }
}

/// What happened in the last 24 hours, summed by instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct DayWindow<T> {
    instants: Chunks<(u64, T)>,
    total: T,
}

impl<T: Summed> DayWindow<T> {
    pub(crate) fn total(&self) -> &T {
        &self.total
    }

    pub(crate) fn items(&self) -> impl Iterator<Item = &(u64, T)> {
        self.instants.iter()
    }

    /// Adds what happened at `now`, which is not before any item.
    pub(crate) fn add(&mut self, now: u64, flows: &T) {
        self.total.add(flows);
        if self.instants.back().is_some_and(|(instant, _)| *instant == now) {
            self.instants.back_mut().into_iter().for_each(|(_, sum)| sum.add(flows));
        } else {
            self.instants.push_back((now, *flows));
        }
    }

    /// The instant from which on [`Self::expire`] drops an item.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.instants.front()?.0.checked_add(DAY)
    }

    /// Drops what is a day old or older.
    pub(crate) fn expire(&mut self, now: u64) {
        while self.expires_at().is_some_and(|end| end <= now) {
            self.instants.front().into_iter().for_each(|(_, flows)| self.total.subtract(flows));
            self.instants.pop_front();
        }
    }
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
pub(crate) struct Hours(Chunks<Hour>);

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

    /// Adds what moved in an hour, which is not before any hour held.
    pub(crate) fn add(&mut self, hour: u64, volumes: &Volumes, side: &UsdcSide) {
        if self.0.back().is_some_and(|last| last.hour == hour) {
            self.0.back_mut().into_iter().for_each(|last| last.volumes.add(volumes));
            return;
        }
        let closed = self.close_last(side);
        self.0.back_mut().into_iter().for_each(|last| last.closed = closed);
        self.0.push_back(Hour { hour, volumes: *volumes, closed: None });
        let left = |first: &Hour| first.hour.saturating_add(LONGEST_WINDOW) < hour;
        while self.0.front().is_some_and(left) {
            self.0.pop_front();
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

    /// The steps of the `window` hours before `hour`; hours without trades are among those.
    pub(crate) fn steps_before(&self, hour: u64, window: u64, side: &UsdcSide) -> HourlySteps {
        let mut known = (0u64, U512::ZERO);
        let inside = |item: &&Hour| item.hour < hour && item.hour.saturating_add(window) >= hour;
        for item in self.0.iter().filter(inside) {
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
