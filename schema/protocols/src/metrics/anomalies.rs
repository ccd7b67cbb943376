//! Facts about markets that call for a person's attention, told when they happen or begin.
//!
//! A lasting anomaly is told when it opens and when it closes, and not in between; a point is told once a
//! block at most. Each is a function of the events up to its block, like any figure.

use obsqra_events::{Phase, Severity};
use obsqra_types::{Bps, MarketId, ProtocolId, Seq, U256, U512};

use super::growth::{FlashSurplus, Jump};
use super::market::Identity;
use crate::WatchedContract;
use crate::fixed::Wide;

/// Raw shares up to which a supply is near zero.
const NEAR_ZERO: u64 = 10_000;
/// Utilization from which on it is high.
const HIGH_UTILIZATION: Bps = Bps(9_900);
/// Share of a supply that leaves within a day before it is told.
const LARGE_OUTFLOW: Bps = Bps(3_000);
/// Seconds for which utilization is high before it is told.
const HIGH_SECONDS: u64 = 21_600;

/// What is told.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum AnomalyRule {
    /// An accumulator grew beyond its rate.
    AccumulatorJump,
    /// More came back with a flash loan than was owed, and was credited to the suppliers.
    FlashLoanSurplus,
    /// A reserve's supply is so small that its accumulator can be moved at little cost.
    NearZeroSupply,
    /// Much of a reserve's supply, or of what a pool holds, left within a day.
    NetOutflow,
    /// Nearly all of what is supplied has been lent out for hours.
    UtilizationHigh,
    /// Pools of several protocols have been far apart on a token's price for a while.
    PriceGap,
    /// A watched contract's code was replaced.
    ContractUpgraded,
    /// A watched contract says that it is paused.
    ContractPaused,
    /// A watched contract says that it goes on.
    ContractUnpaused,
}

/// An anomaly, or its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Anomaly {
    /// Whose it is.
    pub protocol: ProtocolId,
    /// The market; `None` where it is about a contract.
    pub market: Option<MarketId>,
    /// What is told.
    pub rule: AnomalyRule,
    /// Where in its life this is.
    pub phase: Phase,
    /// Position of the event that it came with; of the block's entry where the clock opened it.
    pub cause: Seq,
    /// The numbers behind it, by name: decimal digits, addresses as hex.
    pub detail: Vec<(&'static str, String)>,
}

impl AnomalyRule {
    /// The name, as stored and published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AccumulatorJump => "accumulator_jump",
            Self::FlashLoanSurplus => "flash_loan_surplus",
            Self::NearZeroSupply => "near_zero_supply",
            Self::NetOutflow => "net_outflow",
            Self::UtilizationHigh => "utilization_high",
            Self::PriceGap => "price_gap",
            Self::ContractUpgraded => "contract_upgraded",
            Self::ContractPaused => "contract_paused",
            Self::ContractUnpaused => "contract_unpaused",
        }
    }

    /// How bad it can be.
    #[must_use]
    pub fn severity(self) -> Severity {
        match self {
            Self::AccumulatorJump | Self::FlashLoanSurplus | Self::ContractPaused => {
                Severity::Critical
            }
            Self::NearZeroSupply
            | Self::NetOutflow
            | Self::UtilizationHigh
            | Self::PriceGap
            | Self::ContractUpgraded => Severity::Warning,
            Self::ContractUnpaused => Severity::Info,
        }
    }
}

/// What is looked at of a reserve, at the end of a block.
pub(crate) struct Watched {
    /// Raw shares supplied, where they are known and not below zero.
    pub(crate) supply: Option<U256>,
    /// Raw shares supplied 24 hours ago and now.
    pub(crate) over_a_day: Option<(U512, U512)>,
    pub(crate) utilization: Option<Bps>,
}

/// What of a reserve lasts, at the end of a block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Signals {
    pub(crate) near_zero: bool,
    pub(crate) outflow: bool,
    /// Since when utilization is high.
    pub(crate) high_since: Option<u64>,
    /// Whether that has been told.
    pub(crate) high_told: bool,
}

impl Signals {
    /// When high utilization is to be told, if it has not been.
    pub(crate) fn high_due(&self) -> Option<u64> {
        let since = self.high_since.filter(|_| !self.high_told)?;
        Some(since.saturating_add(HIGH_SECONDS))
    }
}

/// What an event of that name says of its contract as a whole.
fn rule_of_contract(event: &str) -> Option<AnomalyRule> {
    match event {
        "ContractUpgraded" | "Upgraded" | "ClassHashReplaced" => {
            Some(AnomalyRule::ContractUpgraded)
        }
        "ContractPaused" | "Paused" => Some(AnomalyRule::ContractPaused),
        "ContractUnpaused" | "Unpaused" => Some(AnomalyRule::ContractUnpaused),
        _ => None,
    }
}

/// A watched contract was upgraded or paused, or goes on, by the name of its event.
pub(crate) fn of_contract(contract: &WatchedContract, event: &str, cause: Seq) -> Option<Anomaly> {
    let rule = rule_of_contract(event)?;
    let (protocol, phase) = (contract.protocol.clone(), Phase::Point);
    let detail = vec![("contract", contract.address.to_string())];
    Some(Anomaly { protocol, market: None, rule, phase, cause, detail })
}

/// Of one market.
pub(crate) fn of(
    identity: &Identity,
    rule: AnomalyRule,
    phase: Phase,
    cause: Seq,
    detail: Vec<(&'static str, String)>,
) -> Anomaly {
    let (protocol, market) = (identity.protocol.clone(), Some(identity.id.clone()));
    Anomaly { protocol, market, rule, phase, cause, detail }
}

pub(crate) fn jumped(identity: &Identity, jump: &Jump, cause: Seq) -> Anomaly {
    let detail = vec![
        ("accumulator", jump.accumulator.to_owned()),
        ("before", jump.before.to_string()),
        ("after", jump.after.to_string()),
        ("seconds", jump.seconds.to_string()),
        ("rate", jump.rate.to_string()),
    ];
    of(identity, AnomalyRule::AccumulatorJump, Phase::Point, cause, detail)
}

pub(crate) fn surplus(identity: &Identity, surplus: &FlashSurplus, cause: Seq) -> Anomaly {
    let detail = vec![("gained", surplus.gained.to_string()), ("fees", surplus.fees.to_string())];
    of(identity, AnomalyRule::FlashLoanSurplus, Phase::Point, cause, detail)
}

/// Whether a large part of what was held a day ago is gone. An amount near zero may go anywhere.
pub(crate) fn large_outflow(then: Wide, now: Wide) -> bool {
    let lost = then.saturating_sub(now) * Wide::from(Bps::ONE.0);
    then > Wide::from(NEAR_ZERO) && lost >= then * Wide::from(LARGE_OUTFLOW.0)
}

/// What begins or ends with a block's events of a reserve, or with the clock; `cause` is where. High
/// utilization is told later, by [`high_utilization`].
pub(crate) fn review(
    identity: &Identity,
    watched: &Watched,
    signals: &mut Signals,
    now: u64,
    cause: Seq,
) -> Vec<Anomaly> {
    let old = *signals;
    let turned = |rule, before: bool, after: bool, detail| {
        let phase = if after { Phase::Opened } else { Phase::Closed };
        (before != after).then(|| of(identity, rule, phase, cause, detail))
    };
    let raw = watched.supply;
    let near_zero = raw.is_some_and(|raw| !raw.is_zero() && raw <= U256::from(NEAR_ZERO));
    let raw = raw.map(|raw| ("rawSupply", raw.to_string())).into_iter().collect();
    let outflow = watched.over_a_day.is_some_and(|(then, now)| {
        let (then, now) = (Wide::from(then), Wide::from(now));
        large_outflow(then, now)
    });
    let high = watched.utilization.is_some_and(|utilization| utilization >= HIGH_UTILIZATION);
    let high_told = high && old.high_told;
    let found = [
        turned(AnomalyRule::NearZeroSupply, old.near_zero, near_zero, raw),
        turned(AnomalyRule::NetOutflow, old.outflow, outflow, supplies(watched)),
        turned(AnomalyRule::UtilizationHigh, old.high_told, high_told, share_lent(watched)),
    ];
    let high_since = high.then(|| old.high_since.unwrap_or(now));
    *signals = Signals { near_zero, outflow, high_since, high_told };
    found.into_iter().flatten().collect()
}

fn supplies(watched: &Watched) -> Vec<(&'static str, String)> {
    watched.over_a_day.map_or_else(Vec::new, |(then, now)| {
        vec![("rawSupplyBefore", then.to_string()), ("rawSupply", now.to_string())]
    })
}

fn share_lent(watched: &Watched) -> Vec<(&'static str, String)> {
    watched.utilization.map(|bps| ("utilizationBps", bps.0.to_string())).into_iter().collect()
}

/// High utilization that has lasted long enough to be told, if this is the block for it.
pub(crate) fn high_utilization(
    identity: &Identity,
    watched: &Watched,
    signals: &mut Signals,
    now: u64,
    cause: Seq,
) -> Option<Anomaly> {
    signals.high_due().filter(|due| *due <= now)?;
    signals.high_told = true;
    let mut detail: Vec<_> =
        signals.high_since.map(|since| ("since", since.to_string())).into_iter().collect();
    detail.extend(share_lent(watched));
    Some(of(identity, AnomalyRule::UtilizationHigh, Phase::Opened, cause, detail))
}
