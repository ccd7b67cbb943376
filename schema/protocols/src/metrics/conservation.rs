//! Checks that a market's events do not contradict each other.
//!
//! The checks run after each block on the markets that it touched, before any figure is computed: what a
//! failed check concerns is quarantined in the same block. A violation is told once, when it begins.

use obsqra_events::Severity;
use obsqra_types::{MarketId, ProtocolId, U256, U512};

use super::absence::{Absence, Figure, Reason};
use super::market::{Body, Market};
use super::pool::{Pool, PoolState};
use super::reserve::Reserve;
use super::stated::StatedReserve;
use crate::decoders::Change;

/// A rule that events keep to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConservationRule {
    /// An accumulator never falls.
    IndexFell,
    /// No supply, debt, holding or balance is below zero.
    NegativeAmount,
    /// No more is lent out than was supplied.
    BorrowedExceedsSupplied,
    /// A constant-product pool holds no less than came in and did not go out.
    ReservesBelowFlows,
}

impl ConservationRule {
    /// The name, as stored and published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::IndexFell => "index_fell",
            Self::NegativeAmount => "negative_amount",
            Self::BorrowedExceedsSupplied => "borrowed_exceeds_supplied",
            Self::ReservesBelowFlows => "reserves_below_flows",
        }
    }
}

/// A market's events contradict each other, from this block on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Violation {
    /// Whose market it is.
    pub protocol: ProtocolId,
    /// Which one.
    pub market: MarketId,
    /// What does not hold.
    pub rule: ConservationRule,
    /// Whether the market counts.
    pub counted: bool,
    /// The numbers, for people.
    pub detail: String,
}

impl Violation {
    /// Critical where a contract contradicts itself in a market that counts. What others open, and what borrowing
    /// of tokens that were sent to a market without an event looks like, is a warning.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.rule {
            ConservationRule::BorrowedExceedsSupplied => Severity::Warning,
            _ if self.counted => Severity::Critical,
            _ => Severity::Warning,
        }
    }
}

/// The rules that do not hold of a market at the end of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) index_fell: bool,
    pub(crate) negative: bool,
    pub(crate) overdrawn: bool,
    pub(crate) flows: bool,
}

impl Faults {
    /// The figure, unless the rule is broken; a figure that is absent anyway keeps its own reason.
    pub(crate) fn unless<T>(broken: bool, rule: ConservationRule, figure: Figure<T>) -> Figure<T> {
        match figure {
            Ok(_) if broken => Err(Absence::new(Reason::Quarantined, rule.name())),
            figure => figure,
        }
    }
}

/// What a block's events of one constant-product pool add up to.
#[derive(Clone, Debug)]
pub(crate) struct PairFlows {
    /// Reserves at the end of the block before, where they were settled.
    before: Option<(U256, U256)>,
    synced: bool,
    /// Came in and went out, by side.
    came: [U512; 2],
    went: [U512; 2],
}

impl PairFlows {
    /// Of a pool as it stands before the block's first event of it.
    pub(crate) fn of(pool: &Pool) -> Self {
        let before = match pool.state {
            Some(PoolState::Reserves { reserve0, reserve1 }) if !pool.unsettled => {
                Some((reserve0, reserve1))
            }
            _ => None,
        };
        Self { before, synced: false, came: [U512::ZERO; 2], went: [U512::ZERO; 2] }
    }

    pub(crate) fn note(&mut self, change: &Change) {
        match *change {
            Change::Reserves { .. } => self.synced = true,
            Change::Flowed { in0, in1, out0, out1 } => {
                self.came = [self.came[0] + U512::from(in0), self.came[1] + U512::from(in1)];
                self.went = [self.went[0] + U512::from(out0), self.went[1] + U512::from(out1)];
            }
            _ => {}
        }
    }

    fn moved(&self) -> bool {
        !(self.came.iter().chain(&self.went)).all(U512::is_zero)
    }

    /// Whether the reserves are less than the flows explain; `None` where that cannot be told.
    fn below(&self, pool: &Pool) -> Option<bool> {
        let Some(PoolState::Reserves { reserve0, reserve1 }) = pool.state else {
            return None;
        };
        let (before0, before1) = self.before.filter(|_| self.synced)?;
        let sides = [(reserve0, before0), (reserve1, before1)];
        let short = |(place, (now, before)): (usize, &(U256, U256))| {
            U512::from(*now) + self.went[place] < U512::from(*before) + self.came[place]
        };
        Some(sides.iter().enumerate().any(short))
    }
}

/// Checks a market at the end of a block that had events of it; brings its faults up to date and returns
/// what began.
pub(crate) fn check(
    market: &mut Market,
    flows: Option<&PairFlows>,
    history: &Absence,
) -> Vec<Violation> {
    let old = market.faults;
    let mut details = Vec::new();
    let new = match &mut market.body {
        Body::Reserve(reserve) => check_reserve(reserve, history, &mut details),
        Body::Stated(reserve) => check_stated(reserve, &mut details),
        Body::Pool(pool) => check_pool(pool, flows, old, &mut details),
        Body::Unlisted => old,
    };
    market.faults = new;
    let identity = &market.identity;
    let began = |rule: &ConservationRule| !old.has(*rule);
    details
        .into_iter()
        .filter(|(rule, _)| began(rule))
        .map(|(rule, detail)| Violation {
            protocol: identity.protocol.clone(),
            market: identity.id.clone(),
            rule,
            counted: identity.counted,
            detail,
        })
        .collect()
}

type Details = Vec<(ConservationRule, String)>;

impl Faults {
    fn has(self, rule: ConservationRule) -> bool {
        match rule {
            ConservationRule::IndexFell => self.index_fell,
            ConservationRule::NegativeAmount => self.negative,
            ConservationRule::BorrowedExceedsSupplied => self.overdrawn,
            ConservationRule::ReservesBelowFlows => self.flows,
        }
    }
}

fn check_reserve(reserve: &Reserve, history: &Absence, details: &mut Details) -> Faults {
    if let Some(indices) = reserve.indices.filter(|_| reserve.index_fell) {
        let detail = format!("to lending {}, debt {}", indices.lending, indices.debt);
        details.push((ConservationRule::IndexFell, detail));
    }
    let negative = reserve.book.as_ref().and_then(|book| book.negative());
    if let Some(what) = negative {
        details.push((ConservationRule::NegativeAmount, what.to_owned()));
    }
    let sums = reserve.supplied(history).ok().zip(reserve.borrowed(history).ok());
    let overdrawn = sums.filter(|(supplied, borrowed)| borrowed > supplied);
    if let Some((supplied, borrowed)) = overdrawn {
        let detail = format!("borrowed {borrowed}, supplied {supplied}");
        details.push((ConservationRule::BorrowedExceedsSupplied, detail));
    }
    Faults {
        index_fell: reserve.index_fell,
        negative: negative.is_some(),
        overdrawn: overdrawn.is_some(),
        flows: false,
    }
}

fn check_stated(reserve: &StatedReserve, details: &mut Details) -> Faults {
    if let Some(newest) = reserve.newest.filter(|_| reserve.index_fell) {
        details.push((ConservationRule::IndexFell, format!("to debt {}", newest.debt_accumulator)));
    }
    let negative = reserve.has_negative();
    if negative {
        let detail = "a supplier's holding".to_owned();
        details.push((ConservationRule::NegativeAmount, detail));
    }
    Faults { index_fell: reserve.index_fell, negative, ..Faults::default() }
}

fn check_pool(
    pool: &mut Pool,
    flows: Option<&PairFlows>,
    old: Faults,
    details: &mut Details,
) -> Faults {
    let balances = [(0, pool.balance0), (1, pool.balance1)];
    let negative = balances.iter().find(|(_, sum)| sum.is_some_and(|sum| sum.negative));
    // Of a pool that was opened before the log begins the sums lack what came before.
    let negative = negative.filter(|_| pool.opened_at.is_some());
    if let Some((side, _)) = negative {
        let detail = format!("balance of token{side}");
        details.push((ConservationRule::NegativeAmount, detail));
    }
    let short = flows.and_then(|flows| flows.below(pool)).unwrap_or(old.flows);
    if short {
        let detail = "the reserves lack what the block's swaps, mints and burns moved".to_owned();
        details.push((ConservationRule::ReservesBelowFlows, detail));
    }
    if let Some(flows) = flows {
        pool.unsettled = !flows.synced && (pool.unsettled || flows.moved());
    }
    Faults { negative: negative.is_some(), flows: short, ..Faults::default() }
}
