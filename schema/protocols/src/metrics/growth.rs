//! A reserve's accumulators, and whether they grow as its rates say.
//!
//! Growth is measured between instants, not between events: within a block the accumulators are stated
//! several times, with no time between for interest to accrue.

use obsqra_types::{SignedPpb, U256, U512};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::reserve::{Rates, ray, supply_rate};
use crate::fixed::{LN_BITS, Wide, ceil_div, floor_div, ln_ratio};

/// Seconds of a year, as rates count them.
pub(crate) const YEAR_SECONDS: u64 = 31_536_000;

/// A reserve's accumulators, 27 decimals, and when they were stated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Indices {
    pub(crate) lending: U256,
    pub(crate) debt: U256,
    pub(crate) at: u64,
}

/// What the newest accumulators are compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Growth {
    /// The last accumulators of the last earlier instant.
    pub(crate) base: Indices,
    /// The rates that stood before the newest instant, and the reserve factor.
    pub(crate) rates: Option<Rates>,
    pub(crate) reserve_factor: Option<U256>,
    /// Fees of the flash loans of the newest instant.
    pub(crate) flash_fees: U512,
}

/// What came back with flash loans beyond what was owed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct FlashSurplus {
    /// What the suppliers gained beyond interest, in the token's smallest unit.
    pub(crate) gained: U256,
    pub(crate) fees: U256,
}

/// An accumulator that grew beyond its rate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Jump {
    pub(crate) accumulator: &'static str,
    pub(crate) before: U256,
    pub(crate) after: U256,
    pub(crate) seconds: u64,
    /// 27 decimals.
    pub(crate) rate: U256,
}

impl Growth {
    /// How much more the lending accumulator grew than the supply rate explains.
    pub(crate) fn excess(&self, newest: &Indices, history: &Absence) -> Figure<SignedPpb> {
        let Some(rates) = self.rates else {
            return Err(Absence::new(Reason::NoState, "no rates before the accumulators"));
        };
        let rate = supply_rate(&rates, self.reserve_factor, history)?;
        let unit = Wide::from(ray()) * Wide::from(YEAR_SECONDS);
        let grown = Wide::from(newest.lending) * unit;
        let interest = Wide::from(rate) * Wide::from(self.seconds(newest));
        let explained = Wide::from(self.base.lending) * (unit + interest);
        let ppb = Wide::from(1_000_000_000u64) * grown.abs_diff(explained);
        let ppb = floor_div(ppb, Wide::from(self.base.lending) * unit);
        let ppb = or_overflow(ppb.and_then(|ppb| i64::try_from(ppb).ok()))?;
        Ok(SignedPpb(if grown < explained { -ppb } else { ppb }))
    }

    /// The first accumulator that grew beyond `exp(rate · Δt) · 1.01`, compared as logarithms.
    pub(crate) fn jump(&self, newest: &Indices) -> Option<Jump> {
        let rates = self.rates?;
        let seconds = self.seconds(newest);
        let beyond = |accumulator, before, after, rate| {
            let jump = Jump { accumulator, before, after, seconds, rate };
            jump.is_beyond_rate().then_some(jump)
        };
        beyond("lending", self.base.lending, newest.lending, rates.lending)
            .or_else(|| beyond("debt", self.base.debt, newest.debt, rates.borrowing))
    }

    /// Whether the suppliers gained more than interest and the fees of flash loans.
    pub(crate) fn flash_surplus(&self, newest: &Indices, raw_supply: U256) -> Option<FlashSurplus> {
        let rates = self.rates?;
        let per_share = Wide::from(rates.lending) * Wide::from(self.seconds(newest));
        let unit = Wide::from(ray()) * Wide::from(YEAR_SECONDS);
        let interest = Wide::from(self.base.lending) * per_share / unit;
        let explained = Wide::from(self.base.lending) + interest;
        let grown = Wide::from(newest.lending).saturating_sub(explained);
        let gained = floor_div(Wide::from(raw_supply) * grown, Wide::from(ray()))?;
        let beyond = U512::from(gained) > self.flash_fees + U512::from(1u8);
        let fees = crate::fixed::narrow(Wide::from(self.flash_fees))?;
        beyond.then_some(FlashSurplus { gained, fees })
    }

    fn seconds(&self, newest: &Indices) -> u64 {
        newest.at.saturating_sub(self.base.at)
    }
}

impl Jump {
    fn is_beyond_rate(&self) -> bool {
        // Most statements are within a hundredth, which no rate makes a jump; a logarithm costs more.
        let hundredths = |accumulator, parts: u8| Wide::from(accumulator) * Wide::from(parts);
        if hundredths(self.after, 100) <= hundredths(self.before, 101) {
            return false;
        }
        let Some(grown) = ln_ratio(self.after, self.before) else {
            return false;
        };
        let interest = (Wide::from(self.rate) * Wide::from(self.seconds)) << LN_BITS;
        let year = Wide::from(ray()) * Wide::from(YEAR_SECONDS);
        // A bound outside 256 bits is one that no logarithm exceeds.
        let bound = ceil_div(interest, year).zip(tolerance());
        bound.is_some_and(|(interest, tolerance)| {
            Wide::from(grown) > Wide::from(interest) + Wide::from(tolerance)
        })
    }
}

/// ln 1.01, rounded up, and one unit for the rounding of what is compared with it.
fn tolerance() -> Option<U256> {
    let nearest = ln_ratio(U256::from(101u8), U256::from(100u8))?;
    nearest.checked_add(U256::from(2u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn growth(rate: u128) -> Growth {
        let rate = U256::from(rate);
        Growth {
            base: Indices { lending: ray(), debt: ray(), at: 0 },
            rates: Some(Rates { lending: rate, borrowing: rate, is_net: false }),
            reserve_factor: Some(U256::ZERO),
            flash_fees: U512::ZERO,
        }
    }

    fn indices(lending: u128, at: u64) -> Indices {
        Indices { lending: U256::from(lending), debt: ray(), at }
    }

    const RAY: u128 = 10u128.pow(27);

    #[test]
    fn excess_is_what_the_rate_does_not_explain() {
        let history = Absence::bare(Reason::HistoryStartsAt);
        // 10 % a year over a tenth of one is 1 %.
        let tenth = YEAR_SECONDS / 10;
        let excess = |after: u128| growth(RAY / 10).excess(&indices(after, tenth), &history);
        assert_eq!(excess(RAY / 100 * 101), Ok(SignedPpb(0)));
        assert_eq!(excess(RAY / 1_000 * 1_015), Ok(SignedPpb(5_000_000)));
        assert_eq!(excess(RAY), Ok(SignedPpb(-10_000_000)));
        let unknown = Growth { reserve_factor: None, ..growth(1) };
        assert_eq!(unknown.excess(&indices(RAY, 1), &history), Err(history));
    }

    #[test]
    fn a_jump_exceeds_its_rate_by_a_hundredth() {
        // One second at no interest: 1 % is inside, a ten-thousandth more is not.
        assert_eq!(growth(0).jump(&indices(RAY / 100 * 101, 1)), None);
        let jump = growth(0).jump(&indices(RAY / 10_000 * 10_102, 1)).unwrap();
        assert_eq!((jump.accumulator, jump.seconds), ("lending", 1));
        // 100 % a year for 3.65 days is another 1 %: 1.0201 is inside exp(0.01) · 1.01 = 1.02015.
        let days = 365 * DAY / 100;
        assert_eq!(growth(RAY).jump(&indices(RAY / 10_000 * 10_201, days)), None);
        assert!(growth(RAY).jump(&indices(RAY / 10_000 * 10_202, days)).is_some());
    }

    #[test]
    fn a_surplus_is_beyond_interest_and_fees() {
        let fees = |fees: u64| Growth { flash_fees: U512::from(fees), ..growth(0) };
        // 1,000 raw at 1.009 have gained 9.
        let newest = indices(RAY / 1_000 * 1_009, 1);
        assert_eq!(fees(8).flash_surplus(&newest, U256::from(1_000u16)), None);
        let surplus = fees(7).flash_surplus(&newest, U256::from(1_000u16)).unwrap();
        assert_eq!((surplus.gained, surplus.fees), (U256::from(9u8), U256::from(7u8)));
        // 100 % a year for a year explains a doubling.
        let doubled = indices(2 * RAY, YEAR_SECONDS);
        assert_eq!(growth(RAY).flash_surplus(&doubled, U256::from(1_000u16)), None);
    }
}
