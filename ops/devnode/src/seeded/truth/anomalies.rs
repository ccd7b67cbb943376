//! Which anomalies are told with a block: points once a block, lasting ones when they open and close.

use ruint::aliases::{U256, U512};
use serde::Serialize;

use super::super::Model;
use super::super::math::RAY;
use super::super::registry::ZKLEND;
use super::super::tokens::Token;
use super::super::zklend::{Instant, Reserve, SECONDS_PER_YEAR};
use super::{Memory, lending};
use crate::chain::encode::hex;

/// Raw shares up to which a supply is near zero.
const NEAR_ZERO: u128 = 10_000;

/// Utilization from which on it is high, bps.
const HIGH_UTILIZATION: u32 = 9_900;

/// Seconds over which an outflow is counted.
const DAY: u64 = 86_400;

/// Seconds for which utilization is high before it is told.
const HIGH_SECONDS: u64 = 21_600;

/// An accumulator may grow by so much beyond its rate.
const JUMP: f64 = 1.01;

/// An anomaly of `ops/docs/metrics.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct AnomalyTruth {
    /// Key of the protocol.
    pub protocol: &'static str,
    /// Market id; `None` where it is about a contract.
    pub market: Option<String>,
    /// The rule's name.
    pub rule: &'static str,
    /// Where in its life this is.
    pub phase: AnomalyPhase,
}

/// Where in an anomaly's life a notice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AnomalyPhase {
    /// It has no duration.
    Point,
    /// It lasts from here on.
    Opened,
    /// It lasted until here.
    Closed,
}

impl AnomalyPhase {
    /// The name, as the product publishes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Point => "point",
            Self::Opened => "opened",
            Self::Closed => "closed",
        }
    }
}

/// What is told after a block at a time.
pub(super) fn after_block(model: &Model, memory: &mut Memory, now: u64) -> Vec<AnomalyTruth> {
    let mut told = Vec::new();
    if model.lending_halted && !memory.halt_told {
        memory.halt_told = true;
        told.push(notice(None, "contract_upgraded", AnomalyPhase::Point));
    }
    for reserve in &model.reserves {
        let token = reserve.spec.token;
        let points = [
            ("accumulator_jump", jumped(reserve, now)),
            ("flash_loan_surplus", surplus(reserve, now)),
        ];
        for (rule, _) in points.into_iter().filter(|(_, holds)| *holds) {
            told.push(notice(Some(token), rule, AnomalyPhase::Point));
        }
        let near_zero = (1..=NEAR_ZERO).contains(&reserve.raw_supply());
        told.extend(lasting(memory, token, "near_zero_supply", near_zero));
        let outflow = large_outflow(reserve, memory, now);
        told.extend(lasting(memory, token, "net_outflow", outflow));
        let high = high_for_long(reserve, memory, now);
        told.extend(lasting(memory, token, "utilization_high", high));
    }
    told.sort();
    told
}

fn notice(token: Option<Token>, rule: &'static str, phase: AnomalyPhase) -> AnomalyTruth {
    let market = token.map(|token| hex(&token.address()));
    AnomalyTruth { protocol: ZKLEND.id, market, rule, phase }
}

/// The notice of a change between lasting and not.
fn lasting(
    memory: &mut Memory,
    token: Token,
    rule: &'static str,
    holds: bool,
) -> Option<AnomalyTruth> {
    let changed =
        if holds { memory.open.insert((token, rule)) } else { memory.open.remove(&(token, rule)) };
    let phase = if holds { AnomalyPhase::Opened } else { AnomalyPhase::Closed };
    changed.then(|| notice(Some(token), rule, phase))
}

/// Whether three tenths or more of what was supplied a day ago are gone.
fn large_outflow(reserve: &Reserve, memory: &mut Memory, now: u64) -> bool {
    let supply = reserve.raw_supply();
    let supplies = memory.supplies.entry(reserve.spec.token).or_default();
    supplies.push_back((now, supply));
    while supplies.get(1).is_some_and(|(at, _)| at + DAY <= now) {
        supplies.pop_front();
    }
    let before = match supplies.front() {
        Some((at, supply)) if at + DAY <= now => *supply,
        // It was opened since.
        _ => 0,
    };
    let lost = U256::from(before.saturating_sub(supply)) * U256::from(10);
    before > NEAR_ZERO && lost >= U256::from(before) * U256::from(3)
}

/// Whether utilization has been high at the end of every block for long enough.
fn high_for_long(reserve: &Reserve, memory: &mut Memory, now: u64) -> bool {
    let token = reserve.spec.token;
    if lending::utilization(reserve).is_ok_and(|bps| bps >= HIGH_UTILIZATION) {
        let since = memory.high_since.entry(token).or_insert(now);
        now - *since >= HIGH_SECONDS
    } else {
        memory.high_since.remove(&token);
        false
    }
}

/// The newest instant with a sync and the one before, if the newest is now.
fn synced(reserve: &Reserve, now: u64) -> Option<(Instant, Instant)> {
    let newest = reserve.journal.newest;
    Some((reserve.journal.earlier?, newest)).filter(|_| newest.at == now)
}

/// Whether an accumulator grew by more than its rate and a hundredth.
fn jumped(reserve: &Reserve, now: u64) -> bool {
    let Some((earlier, newest)) = synced(reserve, now) else {
        return false;
    };
    let float = |value: u128| f64::from(U256::from(value));
    let years = float(u128::from(newest.at - earlier.at)) / float(SECONDS_PER_YEAR);
    let beyond = |before: U256, after: U256, rate: u128| {
        let growth = (f64::from(after) / f64::from(before)).ln();
        growth > float(rate) / float(RAY) * years + JUMP.ln()
    };
    let terms = newest.before;
    beyond(earlier.lending_accumulator, newest.lending_accumulator, terms.lending_rate)
        || beyond(earlier.debt_accumulator, newest.debt_accumulator, terms.borrowing_rate)
}

/// Whether a flash loan of now left more for the suppliers than the flash loans of now owed.
fn surplus(reserve: &Reserve, now: u64) -> bool {
    let Some((earlier, newest)) = synced(reserve, now) else {
        return false;
    };
    let wide = |value: u128| U512::from(value);
    let before = U512::from(earlier.lending_accumulator);
    let seconds = U512::from(newest.at - earlier.at);
    let interest =
        before * wide(newest.before.lending_rate) * seconds / (wide(RAY) * wide(SECONDS_PER_YEAR));
    let mut fees = 0;
    reserve.journal.flash_loans.iter().filter(|loan| loan.at == now).any(|loan| {
        fees += loan.fee;
        let raised = U512::from(loan.lending_accumulator).saturating_sub(before + interest);
        wide(loan.raw_supply) * raised / wide(RAY) > wide(fees + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::emit::{Transaction, account};
    use super::super::super::zklend::{RESERVE_FACTOR, RESERVES};
    use super::*;

    #[test]
    fn an_outflow_is_large_from_three_tenths_in_a_day_on() {
        let mut transaction = Transaction::from(account(1));
        let mut memory = Memory::default();
        let mut reserve = Reserve::list(RESERVES[0], RESERVE_FACTOR, 0, &mut transaction);
        let user = transaction.sender;
        reserve.deposit(user, 1_000_000, 0, &mut transaction);
        assert!(!large_outflow(&reserve, &mut memory, 0));
        reserve.withdraw(user, 299_999, DAY, &mut transaction);
        assert!(!large_outflow(&reserve, &mut memory, DAY));
        reserve.withdraw(user, 1, DAY + 600, &mut transaction);
        assert!(large_outflow(&reserve, &mut memory, DAY + 600));
        reserve.withdraw(user, 210_000, 2 * DAY, &mut transaction);
        assert!(large_outflow(&reserve, &mut memory, 2 * DAY));
        assert!(!large_outflow(&reserve, &mut memory, 4 * DAY));
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_and_ends() {
        let mut memory = Memory::default();
        let mut phase = |holds| {
            let told = lasting(&mut memory, Token::Eth, "near_zero_supply", holds);
            told.map(|told| told.phase)
        };
        assert_eq!(phase(false), None);
        assert_eq!(phase(true), Some(AnomalyPhase::Opened));
        assert_eq!(phase(true), None);
        assert_eq!(phase(false), Some(AnomalyPhase::Closed));
    }
}
