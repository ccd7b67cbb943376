//! The figures of an asset of Vesu, from its two newest statements and the list of who holds shares.

use ruint::aliases::{U256, U512};

use super::super::math::mul_div;
use super::super::vesu::{Asset, ONE, Statement};
use super::super::zklend::SECONDS_PER_YEAR;
use super::figures::{Absences, Figure, LendingTruth, Reason, bps, capped_bps};
use super::lending::Holdings;

/// The figures that lending markets alone have; this kind has no accumulator excess.
pub(super) fn figures(asset: &Asset, absences: &mut Absences) -> LendingTruth {
    let amount = |of: fn(&Statement) -> u128| newest(asset).map(|newest| U256::from(of(newest)));
    let holdings = holdings(asset);
    let greatest = holdings.as_ref().map_err(|reason| *reason).and_then(Holdings::greatest);
    let exit_shock = newest(asset).and_then(|newest| {
        let (supplied, shares) = (U256::from(newest.supplied), U256::from(newest.shares));
        let left = supplied.saturating_sub(mul_div(greatest?, supplied, shares));
        let borrowed = U256::from(newest.borrowed);
        Ok(if left.is_zero() { 10_000 } else { capped_bps(borrowed, left) })
    });
    let of_holdings =
        |figure: fn(&Holdings) -> Figure<u32>| figure(holdings.as_ref().map_err(|r| *r)?);
    LendingTruth {
        borrow_rate: absences.take("borrowRate", borrow_rate(asset)),
        supply_rate: absences.take("supplyRate", supply_rate(asset, U256::from(ONE))),
        supplied: absences.take("supplied", amount(|newest| newest.supplied)),
        borrowed: absences.take("borrowed", amount(|newest| newest.borrowed)),
        withdraw_headroom: absences.take("withdrawHeadroom", amount(|newest| newest.reserve)),
        exit_shock_bps: absences.take("exitShockBps", exit_shock),
        suppliers: absences
            .take("suppliers", holdings.as_ref().map_err(|r| *r).and_then(Holdings::count)),
        top1_bps: absences.take("top1Bps", of_holdings(|holdings| holdings.top(1))),
        top5_bps: absences.take("top5Bps", of_holdings(|holdings| holdings.top(5))),
        hhi_bps: absences.take("hhiBps", of_holdings(Holdings::hhi)),
        accumulator_excess_ppb: None,
    }
}

/// What is supplied, in the token's smallest unit.
pub(super) fn supplied(asset: &Asset) -> Figure<U256> {
    newest(asset).map(|newest| U256::from(newest.supplied))
}

/// What is lent out by what is supplied.
pub(super) fn utilization(asset: &Asset) -> Figure<u32> {
    let newest = newest(asset)?;
    match newest.supplied {
        0 => Ok(0),
        supplied => bps(U256::from(newest.borrowed), U256::from(supplied)),
    }
}

/// What suppliers earned between both statements, as a share per year.
pub(super) fn supply_apy(asset: &Asset) -> Figure<u32> {
    let apy = supply_rate(asset, U256::from(10_000))?;
    u32::try_from(apy).map_err(|_| Reason::Overflow)
}

/// What the oracle gives, at scale 10⁻¹⁸.
pub(super) fn oracle_price(asset: &Asset) -> Figure<U256> {
    newest(asset)?.price.map(U256::from).ok_or(Reason::NoState)
}

fn newest(asset: &Asset) -> Figure<&Statement> {
    asset.newest.as_ref().ok_or(Reason::NoState)
}

/// All holdings, if they are all the shares that positions can hold by the newest statement.
fn holdings(asset: &Asset) -> Figure<Holdings> {
    let held: u128 = asset.holdings.values().sum();
    match &asset.newest {
        None => Err(Reason::NoState),
        Some(newest) if newest.shares == held + newest.unheld_shares => {
            Ok(Holdings::over(asset.holdings.values()))
        }
        Some(_) => Err(Reason::HistoryStartsAt),
    }
}

fn borrow_rate(asset: &Asset) -> Figure<U256> {
    let (newest, base) = (newest(asset)?, asset.base.as_ref().ok_or(Reason::NoState)?);
    let (grown, divisor) = growth(newest, base);
    Ok(U256::saturating_from(grown * U512::from(ONE) / divisor))
}

fn supply_rate(asset: &Asset, scale: U256) -> Figure<U256> {
    let (newest, base) = (newest(asset)?, asset.base.as_ref().ok_or(Reason::NoState)?);
    if base.supplied == 0 {
        return Ok(U256::ZERO);
    }
    let (grown, divisor) = growth(newest, base);
    let lent = U512::from(base.borrowed) * U512::from(ONE - base.fee_rate);
    let whole = U512::from(base.supplied) * U512::from(ONE);
    Ok(U256::saturating_from(grown * U512::from(scale) * lent / (divisor * whole)))
}

/// What the accumulator grew by in a year's time, and by what that is divided.
fn growth(newest: &Statement, base: &Statement) -> (U512, U512) {
    let grown = U512::from(newest.accumulator - base.accumulator) * U512::from(SECONDS_PER_YEAR);
    (grown, U512::from(base.accumulator) * U512::from(newest.at - base.at))
}
