//! A lending reserve: what was supplied and lent out, by whom, and at what rates.
//!
//! Rates and accumulators stand by themselves. Sums of what came and went are known only of a reserve
//! that was opened in the log.

use obsqra_types::{Bps, ContractAddress, Felt, RateE18, SignedPpb, U256, U512, UnixSeconds};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::anomalies::{Signals, Watched};
use super::growth::{FlashSurplus, Growth, Indices, Jump};
use super::signed::SignedAmount;
use super::suppliers::Suppliers;
use super::trades::{DayWindow, ShareFlows};
use crate::decoders::{Change, ReserveAmount};
use crate::fixed::{Wide, floor_div, pow10};

/// Decimals of accumulators, rates and factors.
const RAY_DECIMALS: u32 = 27;

/// A reserve's state at the end of a block.
#[derive(Clone, Debug)]
pub(crate) struct Reserve {
    /// `None` where the reserve was opened before the log begins.
    pub(crate) book: Option<Book>,
    pub(crate) rates: Option<Rates>,
    pub(crate) reserve_factor: Option<U256>,
    pub(crate) indices: Option<Indices>,
    pub(crate) growth: Option<Growth>,
    /// Whether an accumulator was ever stated below the one before, since the reserve was opened.
    pub(crate) index_fell: bool,
    pub(crate) signals: Signals,
}

/// What came and went since a reserve's beginning, in raw amounts; `None` after a sum left 256 bits,
/// from where it cannot come back.
#[derive(Clone, Debug)]
pub(crate) struct Book {
    pub(crate) opened_at: UnixSeconds,
    pub(crate) share_token: Option<ContractAddress>,
    pub(crate) raw_supply: Option<SignedAmount>,
    pub(crate) raw_debt: Option<SignedAmount>,
    pub(crate) suppliers: Option<Suppliers>,
    /// What was minted and burnt, as far as it is known.
    pub(crate) day: DayWindow<ShareFlows>,
}

/// Rates as last stated, 27 decimals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rates {
    pub(crate) lending: U256,
    pub(crate) borrowing: U256,
    /// Whether the lending rate is what suppliers earn; otherwise it is before the reserve factor.
    pub(crate) is_net: bool,
}

impl Reserve {
    pub(crate) fn unseen() -> Self {
        Self {
            book: None,
            rates: None,
            reserve_factor: None,
            indices: None,
            growth: None,
            index_fell: false,
            signals: Signals::default(),
        }
    }

    pub(crate) fn apply(&mut self, change: &Change, now: u64) {
        match *change {
            Change::Opened => self.open(now),
            Change::Accumulators { lending, debt } => self.state_indices(lending, debt, now),
            Change::Rates { lending, borrowing } => {
                self.rates = Some(Rates { lending, borrowing, is_net: false });
            }
            Change::NetRates { lending, borrowing } => {
                self.rates = Some(Rates { lending, borrowing, is_net: true });
            }
            Change::ReserveFactor { factor } => self.reserve_factor = Some(factor),
            Change::FlashLoaned { fee } => {
                self.growth.iter_mut().for_each(|growth| growth.flash_fees += U512::from(fee));
            }
            _ => self.enter_book(change, now),
        }
    }

    fn open(&mut self, now: u64) {
        self.book = Some(Book::opened(UnixSeconds(now)));
        self.rates = None;
        self.indices = Some(Indices { lending: ray(), debt: ray(), at: now });
        self.growth = None;
        self.index_fell = false;
    }

    fn state_indices(&mut self, lending: U256, debt: U256, now: u64) {
        if let Some(base) = self.indices {
            self.index_fell |= lending < base.lending || debt < base.debt;
            if base.at < now {
                let (reserve_factor, flash_fees) = (self.reserve_factor, U512::ZERO);
                let rates = self.standing_rates();
                self.growth = Some(Growth { base, rates, reserve_factor, flash_fees });
            }
        }
        self.indices = Some(Indices { lending, debt, at: now });
    }

    /// A new reserve has lent nothing, so that its rates are 0 until it says otherwise.
    fn standing_rates(&self) -> Option<Rates> {
        let fresh = Rates { lending: U256::ZERO, borrowing: U256::ZERO, is_net: false };
        self.rates.or(self.book.as_ref().map(|_| fresh))
    }

    fn enter_book(&mut self, change: &Change, now: u64) {
        let (Some(book), Some(indices)) = (&mut self.book, &self.indices) else {
            return;
        };
        match *change {
            Change::SharesMoved { from, to, amount } => {
                let raw = book.raw_shares(&from, amount, indices.lending);
                book.move_shares([from, to], raw, now);
            }
            Change::Borrowed { raw } => book.owe(raw, false),
            Change::Repaid { raw } => book.owe(raw, true),
            Change::ShareToken { token } => book.share_token = Some(token),
            _ => {}
        }
    }

    fn book(&self, history: &Absence) -> Figure<(&Book, &Indices)> {
        self.book.as_ref().zip(self.indices.as_ref()).ok_or_else(|| history.clone())
    }

    /// What is supplied.
    pub(crate) fn supplied(&self, history: &Absence) -> Figure<U256> {
        let (book, indices) = self.book(history)?;
        face(book.raw_supply, indices.lending, "supply")
    }

    /// What is lent out, with its interest.
    pub(crate) fn borrowed(&self, history: &Absence) -> Figure<U256> {
        let (book, indices) = self.book(history)?;
        face(book.raw_debt, indices.debt, "debt")
    }

    pub(crate) fn suppliers(&self, history: &Absence) -> Figure<&Suppliers> {
        let (book, _) = self.book(history)?;
        or_overflow(book.suppliers.as_ref())
    }

    /// What the largest supplier holds.
    pub(crate) fn largest_supply(&self, history: &Absence) -> Figure<U256> {
        let (_, indices) = self.book(history)?;
        or_overflow(face_of(self.suppliers(history)?.largest()?, indices.lending))
    }

    pub(crate) fn opened_at(&self, history: &Absence) -> Figure<UnixSeconds> {
        self.book(history).map(|(book, _)| book.opened_at)
    }

    fn rates(&self) -> Figure<Rates> {
        self.rates.ok_or_else(|| Absence::new(Reason::NoState, "no InterestRatesSync seen"))
    }

    pub(crate) fn utilization(&self) -> Figure<Bps> {
        let Rates { lending, borrowing, is_net } = self.rates()?;
        if is_net {
            let detail = "needs supply and debt from the deployment on";
            return Err(Absence::new(Reason::HistoryStartsAt, detail));
        }
        if borrowing.is_zero() {
            return if lending.is_zero() {
                Ok(Bps(0))
            } else {
                Err(Absence::new(
                    Reason::InvalidRates,
                    format!("lending rate {lending}, borrowing rate 0"),
                ))
            };
        }
        let ratio = floor_div(Wide::from(lending) * Wide::from(Bps::ONE.0), Wide::from(borrowing));
        or_overflow(ratio.and_then(|ratio| Bps::try_from(ratio).ok()))
    }

    pub(crate) fn borrow_rate(&self) -> Figure<RateE18> {
        let rates = self.rates()?;
        Ok(RateE18(rates.borrowing / U256::from(1_000_000_000u64)))
    }

    pub(crate) fn supply_rate(&self, history: &Absence) -> Figure<RateE18> {
        let rate = net_rate(&self.rates()?, self.reserve_factor, history)?;
        or_overflow(floor_div(rate, pow10(36))).map(RateE18)
    }

    /// The supply rate in basis points: simple interest.
    pub(crate) fn supply_apy(&self, history: &Absence) -> Figure<Bps> {
        let rate = net_rate(&self.rates()?, self.reserve_factor, history)?;
        let bps = floor_div(rate * Wide::from(Bps::ONE.0), pow10(2 * RAY_DECIMALS));
        or_overflow(bps.and_then(|bps| Bps::try_from(bps).ok()))
    }

    pub(crate) fn accumulator_excess(&self, history: &Absence) -> Figure<SignedPpb> {
        let Some((growth, newest)) = self.growth.as_ref().zip(self.indices.as_ref()) else {
            return Err(Absence::new(Reason::NoState, "fewer than two AccumulatorsSync seen"));
        };
        growth.excess(newest, history)
    }

    /// What flash loans of this instant brought beyond what was owed.
    pub(crate) fn flash_surplus(&self, now: u64) -> Option<FlashSurplus> {
        let newest = self.indices.as_ref().filter(|indices| indices.at == now)?;
        self.growth.as_ref()?.flash_surplus(newest, self.raw_supply()?)
    }

    /// The newest accumulators against the last ones of an earlier instant.
    pub(crate) fn jump(&self) -> Option<Jump> {
        self.growth.as_ref()?.jump(self.indices.as_ref()?)
    }

    pub(crate) fn watched(&self) -> Watched {
        Watched {
            supply: self.raw_supply(),
            over_a_day: self.supply_over_a_day(),
            utilization: self.utilization().ok(),
        }
    }

    /// Raw shares supplied 24 hours ago and now, where they are known and not below zero.
    fn supply_over_a_day(&self) -> Option<(U512, U512)> {
        let (now, day) = (U512::from(self.raw_supply()?), self.book.as_ref()?.day.total());
        let then = now.checked_add(day.left)?.checked_sub(day.came)?;
        Some((then, now))
    }

    /// Raw shares supplied, where they are known and not below zero.
    fn raw_supply(&self) -> Option<U256> {
        let raw = self.book.as_ref()?.raw_supply.filter(|raw| !raw.negative)?;
        Some(raw.magnitude)
    }
}

impl Book {
    fn opened(opened_at: UnixSeconds) -> Self {
        Self {
            opened_at,
            share_token: None,
            raw_supply: Some(SignedAmount::default()),
            raw_debt: Some(SignedAmount::default()),
            suppliers: Some(Suppliers::default()),
            day: DayWindow::default(),
        }
    }

    /// The shares of a movement; `None` where the accumulator is 0. Who gives away the face of all that
    /// he holds gives every share: that face is rounded down, and dividing it again would leave one.
    fn raw_shares(
        &self,
        from: &ContractAddress,
        amount: ReserveAmount,
        accumulator: U256,
    ) -> Option<U256> {
        let face = match amount {
            ReserveAmount::Raw(raw) => return Some(raw),
            ReserveAmount::Face(_) if accumulator.is_zero() => return None,
            ReserveAmount::Face(face) => face,
        };
        let held = self.suppliers.as_ref().and_then(|all| all.held(from));
        let all = held.filter(|held| face_of(*held, accumulator) == Some(face));
        all.or_else(|| floor_div(Wide::from(face) * pow10(RAY_DECIMALS), Wide::from(accumulator)))
    }

    /// Of shares that are `None` where they cannot be known. Address 0 holds none.
    fn move_shares(&mut self, [from, to]: [ContractAddress; 2], raw: Option<U256>, now: u64) {
        let nobody = ContractAddress(Felt::ZERO);
        if from == nobody {
            self.supply(raw, false, now);
        } else {
            self.hold(from, raw, true);
        }
        if to == nobody {
            self.supply(raw, true, now);
        } else {
            self.hold(to, raw, false);
        }
    }

    fn supply(&mut self, raw: Option<U256>, negative: bool, now: u64) {
        let sum = self.raw_supply.zip(raw);
        self.raw_supply = sum.and_then(|(sum, raw)| sum.plus(raw, negative));
        // Without a sum no flow is compared with it any more.
        if let Some(raw) = raw.map(U512::from) {
            let none = U512::ZERO;
            let (came, left) = if negative { (none, raw) } else { (raw, none) };
            self.day.add(now, &ShareFlows { came, left });
        }
    }

    fn hold(&mut self, account: ContractAddress, raw: Option<U256>, negative: bool) {
        let held = self.suppliers.as_mut().zip(raw);
        if held.and_then(|(all, raw)| all.add(account, raw, negative)).is_none() {
            self.suppliers = None;
        }
    }

    fn owe(&mut self, raw: U256, negative: bool) {
        self.raw_debt = self.raw_debt.and_then(|sum| sum.plus(raw, negative));
    }

    /// What is below zero, if anything is.
    pub(crate) fn negative(&self) -> Option<&'static str> {
        let below = |sum: Option<SignedAmount>| sum.is_some_and(|sum| sum.negative);
        if below(self.raw_supply) {
            Some("supply")
        } else if below(self.raw_debt) {
            Some("debt")
        } else {
            let holding = self.suppliers.as_ref().is_some_and(Suppliers::has_negative);
            holding.then_some("a supplier's holding")
        }
    }
}

/// What raw shares or raw debt have grown to.
fn face_of(raw: U256, accumulator: U256) -> Option<U256> {
    floor_div(Wide::from(raw) * Wide::from(accumulator), pow10(RAY_DECIMALS))
}

fn face(raw: Option<SignedAmount>, accumulator: U256, what: &str) -> Figure<U256> {
    let raw = or_overflow(raw)?;
    if raw.negative {
        return Err(Absence::new(Reason::NegativeBalance, what));
    }
    or_overflow(face_of(raw.magnitude, accumulator))
}

/// `lending_rate · (RAY − reserve_factor)`, 54 decimals; of a net rate nothing is taken.
fn net_rate(rates: &Rates, reserve_factor: Option<U256>, history: &Absence) -> Figure<Wide> {
    if rates.is_net {
        return Ok(Wide::from(rates.lending) * Wide::from(ray()));
    }
    let Some(factor) = reserve_factor else {
        return Err(history.clone());
    };
    let kept = ray().checked_sub(factor).ok_or_else(|| {
        Absence::new(Reason::InvalidRates, format!("reserve factor {factor} is above 1"))
    })?;
    Ok(Wide::from(rates.lending) * Wide::from(kept))
}

/// What suppliers earn, 27 decimals.
pub(crate) fn supply_rate(
    rates: &Rates,
    reserve_factor: Option<U256>,
    history: &Absence,
) -> Figure<U256> {
    or_overflow(floor_div(net_rate(rates, reserve_factor, history)?, pow10(RAY_DECIMALS)))
}

/// 1 at 27 decimals.
pub(crate) fn ray() -> U256 {
    U256::from(10u8).pow(U256::from(RAY_DECIMALS))
}
