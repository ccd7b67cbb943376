//! A lending reserve whose events state it in full: any one of them gives its supply and its debt, and
//! two of them give its rates.
//!
//! A rate is what the accumulator grew by between the newest statement and the last one of an earlier
//! instant; between two statements nothing moves, so that the utilization and the fee of the earlier one
//! stood for all of that time. Who supplied is added up from events, and counts where the sum is what a
//! statement says that accounts hold: holdings from before the log are not below zero, so that none is
//! missing then.

use obsqra_types::{Bps, ContractAddress, Felt, RateE18, U256, U512, UnixSeconds};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::anomalies::{Signals, Watched};
use super::conservation::ConservationRule;
use super::day_totals::DayTotals;
use super::growth::YEAR_SECONDS;
use super::reserve::ray;
use super::suppliers::Suppliers;
use crate::decoders::{Change, ReserveAmount, Statement};
use crate::fixed::{Wide, floor_div, pow10};

/// Decimals of a published rate.
const RATE_DECIMALS: u32 = 18;
/// Decimals of nominal debt and of the debt accumulator, which a debt is the product of.
const DEBT_DECIMALS: u32 = 18 + 27;

/// A reserve's statements at the end of a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct StatedReserve {
    /// When the asset was added to its pool, where an event of the log says so.
    pub(crate) opened_at: Option<UnixSeconds>,
    pub(crate) newest: Option<Statement>,
    /// The last statement of the last instant before the newest one's.
    pub(crate) base: Option<Statement>,
    /// Whether the accumulator was stated below the one before, at the newest statement's instant.
    pub(crate) index_fell: bool,
    pub(crate) holdings: Holdings,
    /// The total shares that statements of the last 24 hours say.
    pub(crate) day: DayTotals,
    pub(crate) signals: Signals,
}

/// Who holds a reserve's shares, as far as its events tell.
#[derive(Clone, Debug)]
pub(crate) struct Holdings {
    /// Whether the log has the beginning of the pool that the reserve is of, and so all that came after.
    pub(crate) pool_opened: bool,
    /// `None` after a holding left 256 bits.
    pub(crate) suppliers: Option<Suppliers>,
    /// Whether shares ever changed hands by an event that does not tell how many.
    pub(crate) untold: bool,
    /// Whether the holdings added up to what was stated at the end of the last block with a statement.
    pub(crate) complete: bool,
}

impl Default for Holdings {
    fn default() -> Self {
        let suppliers = Some(Suppliers::default());
        Self { pool_opened: false, suppliers, untold: false, complete: false }
    }
}

impl Holdings {
    fn apply(&mut self, change: &Change) {
        match *change {
            Change::SharesMoved { from, to, amount: ReserveAmount::Raw(raw) } => {
                self.hold(from, raw, true);
                self.hold(to, raw, false);
            }
            // What an amount of tokens is in shares only the contract knows.
            Change::SharesMoved { .. } | Change::SharesMovedUntold => self.untold = true,
            _ => {}
        }
    }

    /// What is minted comes from the address zero and what is burnt goes there: it is no holder.
    fn hold(&mut self, account: ContractAddress, raw: U256, negative: bool) {
        let Some(all) = self.suppliers.as_mut().filter(|_| account.0 != Felt::ZERO) else {
            return;
        };
        if all.add(account, raw, negative).is_none() {
            self.suppliers = None;
        }
    }

    fn add_up_to(&self, held: Option<U256>) -> bool {
        let sum = self.suppliers.as_ref().zip(held);
        sum.is_some_and(|(all, held)| all.add_up_to(held))
    }
}

impl StatedReserve {
    pub(crate) fn apply(&mut self, change: &Change, now: u64) {
        match *change {
            Change::Opened => self.opened_at = Some(UnixSeconds(now)),
            Change::Stated(statement) => {
                self.state(statement);
                self.day.state(now, statement.total_shares);
            }
            _ if self.newest.is_some() => self.holdings.apply(change),
            _ => {}
        }
    }

    /// Compares the holdings with the newest statement, at the end of a block with one.
    pub(crate) fn compare_holdings(&mut self) {
        let held = self.newest.and_then(|newest| newest.held_shares);
        self.holdings.complete = self.holdings.add_up_to(held);
    }

    /// Whether a holding is below zero although the log has all that came before, and tells all of it.
    pub(crate) fn has_negative(&self) -> bool {
        let from_the_start = self.opened_at.is_some() || self.holdings.pool_opened;
        let all_told = from_the_start && !self.holdings.untold;
        all_told && self.holdings.suppliers.as_ref().is_some_and(Suppliers::has_negative)
    }

    /// An accumulator that fell says nothing of the utilization.
    pub(crate) fn watched(&self) -> Watched {
        let supply = self.newest.map(|newest| newest.total_shares);
        Watched {
            supply,
            over_a_day: self.day.before().map(U512::from).zip(supply.map(U512::from)),
            utilization: self.utilization().ok().filter(|_| !self.index_fell),
        }
    }

    fn state(&mut self, statement: Statement) {
        if let Some(before) = self.newest.filter(|before| before.at < statement.at) {
            self.base = Some(before);
            self.index_fell = false;
        }
        let fell = |before: Statement| statement.debt_accumulator < before.debt_accumulator;
        self.index_fell |= self.newest.is_some_and(fell);
        self.newest = Some(statement);
    }

    fn newest(&self) -> Figure<&Statement> {
        self.newest.as_ref().ok_or_else(|| Absence::new(Reason::NoState, "no UpdateContext seen"))
    }

    /// What is supplied.
    pub(crate) fn supplied(&self) -> Figure<U256> {
        supplied(self.newest()?)
    }

    /// What is lent out, with its interest.
    pub(crate) fn borrowed(&self) -> Figure<U256> {
        borrowed(self.newest()?)
    }

    /// Who holds shares, where no holding is missing.
    pub(crate) fn suppliers(&self, history: &Absence) -> Figure<&Suppliers> {
        self.newest()?;
        let all = or_overflow(self.holdings.suppliers.as_ref())?;
        if self.holdings.untold {
            let detail = "shares changed hands, and no event tells how many";
            return Err(Absence::new(Reason::NoState, detail));
        }
        if !self.holdings.complete {
            return Err(history.clone());
        }
        Ok(all)
    }

    /// What the largest supplier's shares are worth.
    pub(crate) fn largest_supply(&self, history: &Absence) -> Figure<U256> {
        let largest = self.suppliers(history)?.largest()?;
        let worth = Wide::from(largest) * Wide::from(self.supplied()?);
        or_overflow(floor_div(worth, Wide::from(self.newest()?.total_shares)))
    }

    /// What was not lent out.
    pub(crate) fn available(&self) -> Figure<U256> {
        Ok(self.newest()?.available)
    }

    pub(crate) fn utilization(&self) -> Figure<Bps> {
        let (supplied, borrowed) = (self.supplied()?, self.borrowed()?);
        if supplied.is_zero() {
            return Ok(Bps(0));
        }
        let ratio = floor_div(Wide::from(borrowed) * Wide::from(Bps::ONE.0), Wide::from(supplied));
        or_overflow(ratio.and_then(|ratio| Bps::try_from(ratio).ok()))
    }

    pub(crate) fn borrow_rate(&self) -> Figure<RateE18> {
        let (grown, over) = self.growth()?;
        or_overflow(floor_div(grown * pow10(RATE_DECIMALS), over)).map(RateE18)
    }

    pub(crate) fn supply_rate(&self) -> Figure<RateE18> {
        let (grown, over) = self.supply_growth()?;
        or_overflow(floor_div(grown * pow10(RATE_DECIMALS), over)).map(RateE18)
    }

    /// The supply rate in basis points: simple interest.
    pub(crate) fn supply_apy(&self) -> Figure<Bps> {
        let (grown, over) = self.supply_growth()?;
        let bps = floor_div(grown * Wide::from(Bps::ONE.0), over);
        or_overflow(bps.and_then(|bps| Bps::try_from(bps).ok()))
    }

    /// The accumulator's growth a year as a fraction.
    fn growth(&self) -> Figure<(Wide, Wide)> {
        let newest = self.newest()?;
        let base = self.base()?;
        let seconds = newest.at.saturating_sub(base.at);
        let over = Wide::from(base.debt_accumulator) * Wide::from(seconds);
        if over.is_zero() {
            return Err(Absence::new(Reason::Overflow, "the accumulator is 0"));
        }
        let grown = newest.debt_accumulator.checked_sub(base.debt_accumulator);
        let fell = || Absence::new(Reason::Quarantined, ConservationRule::IndexFell.name());
        Ok((Wide::from(grown.ok_or_else(fell)?) * Wide::from(YEAR_SECONDS), over))
    }

    fn base(&self) -> Figure<&Statement> {
        let newest = self.newest()?;
        let base = self.base.as_ref().filter(|base| base.at < newest.at);
        let few = || Absence::new(Reason::NoState, "fewer than two instants with an UpdateContext");
        base.ok_or_else(few)
    }

    /// What a year's interest adds to the supply, as a fraction of it, after the protocol's fee.
    fn supply_growth(&self) -> Figure<(Wide, Wide)> {
        let (grown, over) = self.growth()?;
        let base = self.base()?;
        let kept = ray().checked_sub(base.fee_rate).ok_or_else(|| {
            Absence::new(Reason::InvalidRates, format!("fee rate {} is above 1", base.fee_rate))
        })?;
        let (supplied, borrowed) = (supplied(base)?, borrowed(base)?);
        if supplied.is_zero() {
            return Ok((Wide::ZERO, Wide::from(1u8)));
        }
        let grown = grown * Wide::from(borrowed) * Wide::from(kept);
        Ok((grown, over * Wide::from(supplied) * Wide::from(ray())))
    }

    /// The price that the oracle gives, 18 decimals.
    pub(crate) fn oracle_price(&self) -> Figure<U256> {
        let invalid = || Absence::new(Reason::NoState, "the oracle does not vouch for its price");
        self.newest()?.oracle_price.ok_or_else(invalid)
    }

    pub(crate) fn opened_at(&self) -> Figure<UnixSeconds> {
        let unknown = || Absence::new(Reason::NoState, "no event of the log adds the asset");
        self.opened_at.ok_or_else(unknown)
    }
}

fn borrowed(statement: &Statement) -> Figure<U256> {
    let Statement { nominal_debt, debt_accumulator, unit, .. } = *statement;
    let debt = Wide::from(nominal_debt) * Wide::from(debt_accumulator) * Wide::from(unit);
    or_overflow(floor_div(debt, pow10(DEBT_DECIMALS)))
}

fn supplied(statement: &Statement) -> Figure<U256> {
    or_overflow(statement.available.checked_add(borrowed(statement)?))
}
