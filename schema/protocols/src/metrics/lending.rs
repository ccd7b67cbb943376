//! The figures that lending reserves alone have.

use obsqra_types::{Bps, RateE18, SignedPpb, U256};

use super::absence::{Absence, Figure};
use super::conservation::{ConservationRule, Faults};
use super::figures::{Activity, ByKind, Surroundings, capped_ratio, token_unlisted, value};
use super::market::Market;
use super::reserve::Reserve;
use super::stated::StatedReserve;
use super::suppliers::Suppliers;
use crate::fixed::Wide;

/// Holders that count among the greatest.
const TOP_HOLDERS: usize = 5;

/// A reserve's figures beside its value; amounts count the token's smallest unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LendingFigures {
    pub(crate) utilization: Figure<Bps>,
    pub(crate) borrow_rate: Figure<RateE18>,
    pub(crate) supply_rate: Figure<RateE18>,
    pub(crate) supplied: Figure<U256>,
    pub(crate) borrowed: Figure<U256>,
    pub(crate) headroom: Figure<U256>,
    pub(crate) followed: FollowedFigures,
    /// `None` of a reserve whose events state no accumulator of its supply.
    pub(crate) accumulator_excess: Option<Figure<SignedPpb>>,
    /// Of a reserve whose events carry a price of its oracle.
    pub(crate) oracle_price: Option<Figure<U256>>,
}

/// What needs every event of a reserve's suppliers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct FollowedFigures {
    pub(crate) exit_shock: Figure<Bps>,
    pub(crate) suppliers: Figure<u64>,
    pub(crate) top1: Figure<Bps>,
    pub(crate) top5: Figure<Bps>,
    pub(crate) hhi: Figure<Bps>,
}

impl LendingFigures {
    pub(crate) fn by_kind(market: &Market, reserve: &Reserve, around: Surroundings<'_>) -> ByKind {
        let figures = Self::of(reserve, market.faults, around.history);
        ByKind {
            tvl: supplied_value(market, &figures.supplied, around),
            supply_apy: reserve.supply_apy(around.history),
            opened_at: reserve.opened_at(around.history),
            activity: Activity::Lending(Box::new(figures)),
        }
    }

    /// Of a reserve whose events state it in full: all but what is available comes from its accumulator.
    pub(crate) fn of_stated(
        market: &Market,
        reserve: &StatedReserve,
        around: Surroundings<'_>,
    ) -> ByKind {
        let faults = market.faults;
        let supplied = sound(faults, reserve.supplied());
        let borrowed = sound(faults, reserve.borrowed());
        let largest = sound(faults, reserve.largest_supply(around.history));
        let shock = exit_shock(&supplied, &borrowed, &largest);
        let figures = Self {
            utilization: sound(faults, reserve.utilization()),
            borrow_rate: sound(faults, reserve.borrow_rate()),
            supply_rate: sound(faults, reserve.supply_rate()),
            headroom: reserve.available(),
            followed: FollowedFigures::of(faults, reserve.suppliers(around.history), shock),
            accumulator_excess: None,
            oracle_price: Some(reserve.oracle_price()),
            supplied,
            borrowed,
        };
        ByKind {
            tvl: supplied_value(market, &figures.supplied, around),
            supply_apy: sound(faults, reserve.supply_apy()),
            opened_at: reserve.opened_at(),
            activity: Activity::Lending(Box::new(figures)),
        }
    }

    fn of(reserve: &Reserve, faults: Faults, history: &Absence) -> Self {
        let supplied = sound(faults, reserve.supplied(history));
        let borrowed = sound(faults, reserve.borrowed(history));
        let largest = sound(faults, reserve.largest_supply(history));
        let exceeds = ConservationRule::BorrowedExceedsSupplied;
        let shock = exit_shock(&supplied, &borrowed, &largest);
        let shock = Faults::unless(faults.overdrawn, exceeds, shock);
        Self {
            utilization: reserve.utilization(),
            borrow_rate: reserve.borrow_rate(),
            supply_rate: reserve.supply_rate(history),
            headroom: Faults::unless(faults.overdrawn, exceeds, headroom(&supplied, &borrowed)),
            followed: FollowedFigures::of(faults, reserve.suppliers(history), shock),
            accumulator_excess: Some(sound(faults, reserve.accumulator_excess(history))),
            oracle_price: None,
            supplied,
            borrowed,
        }
    }
}

impl FollowedFigures {
    fn of(faults: Faults, held: Figure<&Suppliers>, exit_shock: Figure<Bps>) -> Self {
        let shares =
            |figure: fn(&Suppliers) -> Figure<Bps>| sound(faults, held.clone().and_then(figure));
        Self {
            exit_shock,
            suppliers: sound(faults, held.clone().and_then(Suppliers::count)),
            top1: shares(|all| all.top(1)),
            top5: shares(|all| all.top(TOP_HOLDERS)),
            hhi: shares(Suppliers::hhi),
        }
    }
}

fn supplied_value(
    market: &Market,
    supplied: &Figure<U256>,
    around: Surroundings<'_>,
) -> Figure<U256> {
    let identity = &market.identity;
    match (&identity.unlisted, supplied) {
        (Some(token), _) => Err(token_unlisted(token)),
        (None, Ok(supplied)) => value(around, &identity.asset, Wide::from(*supplied)),
        (None, Err(absence)) => Err(absence.clone()),
    }
}

/// What is made from accumulators, unless one of them fell.
fn sound<T>(faults: Faults, figure: Figure<T>) -> Figure<T> {
    Faults::unless(faults.index_fell, ConservationRule::IndexFell, figure)
}

fn headroom(supplied: &Figure<U256>, borrowed: &Figure<U256>) -> Figure<U256> {
    Ok(supplied.clone()?.saturating_sub(borrowed.clone()?))
}

/// Utilization after the largest supplier leaves; all of it where nothing remains.
fn exit_shock(
    supplied: &Figure<U256>,
    borrowed: &Figure<U256>,
    largest: &Figure<U256>,
) -> Figure<Bps> {
    let (supplied, borrowed) = (supplied.clone()?, borrowed.clone()?);
    let remaining = supplied.saturating_sub(largest.clone()?);
    if remaining.is_zero() {
        return Ok(Bps::ONE);
    }
    Ok(capped_ratio(Wide::from(borrowed), Wide::from(remaining)))
}
