//! The figures of a lending reserve, worked out from the list of who holds what.

use ruint::aliases::{U256, U512};

use super::super::math::{RAY, mul_div};
use super::super::zklend::{Reserve, SECONDS_PER_YEAR};
use super::figures::{Absences, Figure, LendingTruth, Reason, bps, capped_bps};

/// Holdings that count among the greatest.
const GREATEST: usize = 5;

/// The figures that reserves alone have.
pub(super) fn figures(reserve: &Reserve, absences: &mut Absences) -> LendingTruth {
    let holdings = Holdings::of(reserve);
    let supplied = at_ray(holdings.total, reserve.lending_accumulator);
    let borrowed = at_ray(U256::from(reserve.raw_debt), reserve.debt_accumulator);
    let sound = if borrowed > supplied { Err(Reason::Quarantined) } else { Ok(()) };
    let headroom = sound.map(|()| supplied.saturating_sub(borrowed));
    let exit_shock = holdings.greatest().and_then(|greatest| {
        sound?;
        let left = supplied.saturating_sub(at_ray(greatest, reserve.lending_accumulator));
        Ok(if left.is_zero() { 10_000 } else { capped_bps(borrowed, left) })
    });
    LendingTruth {
        borrow_rate: Some(U256::from(reserve.borrowing_rate / 1_000_000_000)),
        supply_rate: Some(supply_rate(reserve)),
        supplied: Some(supplied),
        borrowed: Some(borrowed),
        withdraw_headroom: absences.take("withdrawHeadroom", headroom),
        exit_shock_bps: absences.take("exitShockBps", exit_shock),
        suppliers: absences.take("suppliers", holdings.count()),
        top1_bps: absences.take("top1Bps", holdings.top(1)),
        top5_bps: absences.take("top5Bps", holdings.top(GREATEST)),
        hhi_bps: absences.take("hhiBps", holdings.hhi()),
        accumulator_excess_ppb: absences.take("accumulatorExcessPpb", accumulator_excess(reserve)),
    }
}

/// What is supplied, in the token's smallest unit.
pub(super) fn supplied(reserve: &Reserve) -> U256 {
    at_ray(Holdings::of(reserve).total, reserve.lending_accumulator)
}

/// Lending rate over borrowing rate.
pub(super) fn utilization(reserve: &Reserve) -> Figure<u32> {
    match (reserve.lending_rate, reserve.borrowing_rate) {
        (0, 0) => Ok(0),
        (_, 0) => Err(Reason::InvalidRates),
        (lending, borrowing) => bps(U256::from(lending), U256::from(borrowing)),
    }
}

/// `floor(lending_rate · (RAY − reserve_factor) · 10000 / 10⁵⁴)`
pub(super) fn supply_apy(reserve: &Reserve) -> Figure<u32> {
    bps(after_factor(reserve), U256::from(RAY) * U256::from(RAY))
}

/// `floor(lending_rate · (RAY − reserve_factor) / 10³⁶)`
fn supply_rate(reserve: &Reserve) -> U256 {
    after_factor(reserve) / U256::from(10).pow(U256::from(36))
}

fn after_factor(reserve: &Reserve) -> U256 {
    U256::from(reserve.lending_rate) * U256::from(RAY - reserve.reserve_factor)
}

fn at_ray(raw_amount: U256, accumulator: U256) -> U256 {
    mul_div(raw_amount, accumulator, U256::from(RAY))
}

/// All raw holdings, the greatest first.
pub(super) struct Holdings {
    sorted: Vec<U256>,
    total: U256,
}

impl Holdings {
    fn of(reserve: &Reserve) -> Self {
        Self::over(reserve.holdings.values())
    }

    pub(super) fn over<'a>(holdings: impl Iterator<Item = &'a u128>) -> Self {
        let mut sorted: Vec<U256> = holdings.copied().map(U256::from).collect();
        sorted.sort_by(|a, b| b.cmp(a));
        let total = sorted.iter().copied().sum();
        Self { sorted, total }
    }

    pub(super) fn greatest(&self) -> Figure<U256> {
        self.sorted.first().copied().ok_or(Reason::NoSuppliers)
    }

    pub(super) fn count(&self) -> Figure<u64> {
        u64::try_from(self.sorted.len()).map_err(|_| Reason::Overflow)
    }

    pub(super) fn top(&self, holders: usize) -> Figure<u32> {
        self.greatest()?;
        bps(self.sorted.iter().take(holders).copied().sum(), self.total)
    }

    pub(super) fn hhi(&self) -> Figure<u32> {
        self.greatest()?;
        let squares: U512 = self.sorted.iter().map(|held| square(*held)).sum();
        let index = squares * U512::from(10_000) / square(self.total);
        u32::try_from(index).map_err(|_| Reason::Overflow)
    }
}

fn square(value: U256) -> U512 {
    U512::from(value) * U512::from(value)
}

/// How much more the lending accumulator grew between the two newest syncs than the supply rate explains.
fn accumulator_excess(reserve: &Reserve) -> Figure<i64> {
    let earlier = reserve.journal.earlier.ok_or(Reason::NoState)?;
    let newest = reserve.journal.newest;
    let kept = RAY - newest.before.reserve_factor;
    let rate = mul_div(U256::from(newest.before.lending_rate), U256::from(kept), U256::from(RAY));
    let year = U512::from(RAY) * U512::from(SECONDS_PER_YEAR);
    let before = U512::from(earlier.lending_accumulator);
    let grown = U512::from(newest.lending_accumulator) * year;
    let explained = before * (year + U512::from(rate) * U512::from(newest.at - earlier.at));
    let ppb = |difference: U512| {
        let ratio = difference * U512::from(1_000_000_000) / (before * year);
        i64::try_from(ratio).map_err(|_| Reason::Overflow)
    };
    if grown >= explained {
        ppb(grown - explained)
    } else {
        ppb(explained - grown).map(|ratio| -ratio)
    }
}
