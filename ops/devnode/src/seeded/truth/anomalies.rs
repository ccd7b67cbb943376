//! Which anomalies are told with a block: points once a block, lasting ones when they open and close.

use std::collections::VecDeque;

use ruint::aliases::{U256, U512};
use serde::Serialize;

use super::super::Model;
use super::super::jediswap_v2::{V2_POOL, V2_SPEC};
use super::super::math::RAY;
use super::super::positions::{Delta, signed};
use super::super::registry::{EKUBO, JEDISWAP, JEDISWAP_V2, VESU, ZKLEND};
use super::super::tokens::Token;
use super::super::vesu::Asset;
use super::super::zklend::{Instant, Reserve, SECONDS_PER_YEAR};
use super::figures::Figure;
use super::pools::reference;
use super::prices::Prices;
use super::{Memory, asset_id, lending, stated};
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

/// What an anomaly is about: protocol and market id.
pub(super) type Subject = (&'static str, String);

/// A value at the end of each block of the last 24 hours, and of the last block before them.
#[derive(Debug, Clone, Default)]
pub(super) struct DayBack<T>(VecDeque<(u64, T)>);

impl<T: Copy> DayBack<T> {
    /// Notes a block's value; the value of 24 hours ago, if there was one.
    fn note(&mut self, now: u64, value: T) -> Option<T> {
        self.0.push_back((now, value));
        while self.0.get(1).is_some_and(|(at, _)| at + DAY <= now) {
            self.0.pop_front();
        }
        self.0.front().filter(|(at, _)| at + DAY <= now).map(|(_, value)| *value)
    }
}

/// What is told after a block at a time.
pub(super) fn after_block(
    model: &Model,
    prices: &Prices,
    memory: &mut Memory,
    now: u64,
) -> Vec<AnomalyTruth> {
    let mut told = Vec::new();
    if model.lending_halted && !memory.halt_told {
        memory.halt_told = true;
        let (protocol, rule, phase) = (ZKLEND.id, "contract_upgraded", AnomalyPhase::Point);
        told.push(AnomalyTruth { protocol, market: None, rule, phase });
    }
    for reserve in &model.reserves {
        told.extend(of_reserve(reserve, memory, now));
    }
    for pool in &model.pools {
        let balances = (pool.balance0, pool.balance1);
        let flow = Flow::of((pool.spec.token0, pool.spec.token1), balances, pool.provided);
        told.extend(of_pool((EKUBO.id, pool.spec.market_id()), &flow, prices, memory, now));
    }
    for pair in &model.pairs {
        let balances = (signed(pair.reserve0), signed(pair.reserve1));
        let flow = Flow::of((pair.spec.token0, pair.spec.token1), balances, pair.provided);
        told.extend(of_pool((JEDISWAP.id, hex(&pair.spec.address)), &flow, prices, memory, now));
    }
    for pool in &model.v2_pools {
        let flow = Flow::of(
            (V2_SPEC.token0, V2_SPEC.token1),
            (pool.balance0, pool.balance1),
            pool.provided,
        );
        told.extend(of_pool((JEDISWAP_V2.id, hex(&V2_POOL)), &flow, prices, memory, now));
    }
    for asset in model.vesu.iter().flat_map(|pool| &pool.assets) {
        told.extend(of_asset(asset, memory, now));
    }
    told.sort();
    told
}

fn of_asset(asset: &Asset, memory: &mut Memory, now: u64) -> Vec<AnomalyTruth> {
    let subject: Subject = (VESU.id, asset_id(asset));
    let Some(shares) = asset.newest.map(|newest| newest.shares) else {
        return Vec::new();
    };
    let outflow = large_outflow(memory, &subject, U256::from(shares), now);
    let high = high_for_long(memory, &subject, stated::utilization(asset), now);
    let rules = [
        ("near_zero_supply", is_near_zero(shares)),
        ("net_outflow", outflow),
        ("utilization_high", high),
    ];
    rules.into_iter().filter_map(|(rule, holds)| lasting(memory, &subject, rule, holds)).collect()
}

fn of_reserve(reserve: &Reserve, memory: &mut Memory, now: u64) -> Vec<AnomalyTruth> {
    let subject: Subject = (ZKLEND.id, hex(&reserve.spec.token.address()));
    let points =
        [("accumulator_jump", jumped(reserve, now)), ("flash_loan_surplus", surplus(reserve, now))];
    let points = points.into_iter().filter(|(_, holds)| *holds);
    let mut told: Vec<_> =
        points.map(|(rule, _)| notice(&subject, rule, AnomalyPhase::Point)).collect();
    let supply = reserve.raw_supply();
    told.extend(lasting(memory, &subject, "near_zero_supply", is_near_zero(supply)));
    let outflow = large_outflow(memory, &subject, U256::from(supply), now);
    told.extend(lasting(memory, &subject, "net_outflow", outflow));
    let high = high_for_long(memory, &subject, lending::utilization(reserve), now);
    told.extend(lasting(memory, &subject, "utilization_high", high));
    told
}

fn of_pool(
    subject: Subject,
    flow: &Flow,
    prices: &Prices,
    memory: &mut Memory,
    now: u64,
) -> Option<AnomalyTruth> {
    let then = memory.provided.entry(subject.clone()).or_default().note(now, flow.provided);
    let holds = flow.is_large(then.unwrap_or_default(), prices);
    lasting(memory, &subject, "net_outflow", holds)
}

fn notice((protocol, market): &Subject, rule: &'static str, phase: AnomalyPhase) -> AnomalyTruth {
    AnomalyTruth { protocol, market: Some(market.clone()), rule, phase }
}

/// The notice of a change between lasting and not.
fn lasting(
    memory: &mut Memory,
    subject: &Subject,
    rule: &'static str,
    holds: bool,
) -> Option<AnomalyTruth> {
    let key = (subject.clone(), rule);
    let changed = if holds { memory.open.insert(key) } else { memory.open.remove(&key) };
    let phase = if holds { AnomalyPhase::Opened } else { AnomalyPhase::Closed };
    changed.then(|| notice(subject, rule, phase))
}

/// Whether so few shares are held that an accumulator is moved at little cost.
fn is_near_zero(supply: u128) -> bool {
    (1..=NEAR_ZERO).contains(&supply)
}

/// Whether three tenths or more of what was supplied a day ago are gone. What was opened since had none.
fn large_outflow(memory: &mut Memory, subject: &Subject, supply: U256, now: u64) -> bool {
    let then = memory.supplies.entry(subject.clone()).or_default().note(now, supply);
    let before = then.unwrap_or_default();
    let lost = before.saturating_sub(supply) * U256::from(10);
    before > U256::from(NEAR_ZERO) && lost >= before * U256::from(3)
}

/// A pool's tokens, what it holds of them, and what was provided in all.
struct Flow {
    tokens: (Token, Token),
    balances: (i128, i128),
    provided: Delta,
}

impl Flow {
    fn of(tokens: (Token, Token), balances: (i128, i128), provided: Delta) -> Self {
        Self { tokens, balances, provided }
    }

    /// Whether three tenths or more of the side that values the pool were taken out since then, beyond what
    /// was brought. A pool of an unlisted token is not valued.
    fn is_large(&self, then: Delta, prices: &Prices) -> bool {
        let (token0, token1) = self.tokens;
        let Ok(side) = reference(token0, token1, prices) else {
            return false;
        };
        let (balance, taken) = if side == token0 {
            (self.balances.0, then.amount0 - self.provided.amount0)
        } else {
            (self.balances.1, then.amount1 - self.provided.amount1)
        };
        let before = balance + taken;
        let is_listed = token0.is_listed() && token1.is_listed();
        let is_large = taken > 0 && taken * 10 >= before * 3;
        is_listed && balance >= 0 && before > signed(NEAR_ZERO) && is_large
    }
}

/// Whether utilization has been high at the end of every block for long enough.
fn high_for_long(
    memory: &mut Memory,
    subject: &Subject,
    utilization: Figure<u32>,
    now: u64,
) -> bool {
    if utilization.is_ok_and(|bps| bps >= HIGH_UTILIZATION) {
        let since = memory.high_since.entry(subject.clone()).or_insert(now);
        now - *since >= HIGH_SECONDS
    } else {
        memory.high_since.remove(subject);
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
    use super::super::super::SeededChain;
    use super::*;

    #[test]
    fn an_outflow_is_large_from_three_tenths_in_a_day_on() {
        let mut memory = Memory::default();
        let subject = ("zklend", "0x1".to_owned());
        let mut at = |now, supply| large_outflow(&mut memory, &subject, U256::from(supply), now);
        assert!(!at(0, 1_000_000));
        assert!(!at(DAY, 700_001));
        assert!(at(DAY + 600, 700_000));
        assert!(at(2 * DAY, 490_000));
        assert!(!at(4 * DAY, 490_000));
    }

    #[test]
    fn an_outflow_of_a_pool_counts_what_was_there_before() {
        let prices = Prices::of(&SeededChain::new(1).model);
        let flow = |balance, provided| Flow {
            tokens: (Token::Eth, Token::Usdc),
            balances: (0, balance),
            provided: Delta { amount0: 0, amount1: provided },
        };
        let then = Delta { amount0: 0, amount1: 100_000 };
        assert!(flow(70_000, 70_000).is_large(then, &prices));
        assert!(!flow(70_001, 70_001).is_large(then, &prices));
        // Swaps brought more than went.
        assert!(!flow(70_002, 70_000).is_large(then, &prices));
        assert!(!flow(0, 0).is_large(Delta { amount0: 0, amount1: 10_000 }, &prices));
        let odd = Flow { tokens: (Token::Usdc, Token::Unlisted), ..flow(0, 0) };
        assert!(!odd.is_large(Delta { amount0: 100_000, amount1: 0 }, &prices));
    }

    #[test]
    fn what_lasts_is_told_when_it_begins_and_ends() {
        let mut memory = Memory::default();
        let subject = ("zklend", "0x1".to_owned());
        let mut phase = |holds| {
            let told = lasting(&mut memory, &subject, "near_zero_supply", holds);
            told.map(|told| told.phase)
        };
        assert_eq!(phase(false), None);
        assert_eq!(phase(true), Some(AnomalyPhase::Opened));
        assert_eq!(phase(true), None);
        assert_eq!(phase(false), Some(AnomalyPhase::Closed));
    }
}
