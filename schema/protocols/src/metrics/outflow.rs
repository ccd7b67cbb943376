//! Liquidity that left a pool within a day, told when it begins and when it is over.
//!
//! What is counted is the side that the pool is valued by. Which one that is depends on prices, so that
//! pools are looked at after the block's prices are known: those with an event or with one that leaves the
//! window, and those of whose tokens a price differs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use obsqra_events::Phase;
use obsqra_types::{ContractAddress, Seq, U256};

use super::amm::reference_side;
use super::anomalies::{self, Anomaly, AnomalyRule, large_outflow};
use super::fold::MetricFold;
use super::market::{Body, Identity, Market};
use super::pool::{Pool, PoolState};
use super::quotes::Quotes;
use crate::Registry;
use crate::decoders::{MarketRef, MarketTokens};
use crate::fixed::Wide;

/// What a pool holds of one token, and held before the day's liquidity left on balance.
struct Outflow {
    token: ContractAddress,
    before: Wide,
    balance: U256,
}

impl MetricFold {
    /// Looks at the pools among `places`, after figures and prices are those of the block.
    pub(crate) fn review_outflows(
        &mut self,
        places: &BTreeSet<usize>,
        last_events: &BTreeMap<usize, Seq>,
        applied_seq: Seq,
    ) -> Vec<Anomaly> {
        let registry = self.contracts.registry();
        let mut told = Vec::new();
        for place in places {
            let Some(market) = self.markets.get_mut(*place) else {
                continue;
            };
            let Some((outflow, before)) = turned(market, registry, &self.quotes) else {
                continue;
            };
            if let Body::Pool(pool) = &mut Arc::make_mut(market).body {
                pool.outflow = !before;
            }
            let cause = last_events.get(place).copied().unwrap_or(applied_seq);
            let phase = if before { Phase::Closed } else { Phase::Opened };
            let (rule, detail) = (AnomalyRule::NetOutflow, detail(outflow.as_ref()));
            told.push(anomalies::of(&market.identity, rule, phase, cause, detail));
        }
        told
    }
}

/// What a pool's outflow is and whether one was told, where that has changed.
fn turned(
    market: &Market,
    registry: &Registry,
    quotes: &Quotes,
) -> Option<(Option<Outflow>, bool)> {
    let Body::Pool(pool) = &market.body else {
        return None;
    };
    let outflow = outflow(&market.identity, pool, registry, quotes);
    let large = outflow.as_ref().is_some_and(|it| large_outflow(it.before, Wide::from(it.balance)));
    (large != pool.outflow).then_some((outflow, pool.outflow))
}

/// `None` where more came than left, or what the pool holds is not known.
fn outflow(
    identity: &Identity,
    pool: &Pool,
    registry: &Registry,
    quotes: &Quotes,
) -> Option<Outflow> {
    let MarketTokens::Pair(tokens) = identity.tokens else {
        return None;
    };
    let flows = pool.provided.total();
    let token = reference_side(registry, quotes, tokens).ok()?;
    let (came, left) = match token == tokens.token0 {
        true => (flows.came.side0, flows.left.side0),
        false => (flows.came.side1, flows.left.side1),
    };
    let gone = left.checked_sub(came)?;
    let balance = balance(identity, pool, token == tokens.token0)?;
    Some(Outflow { token, before: Wide::from(balance) + Wide::from(gone), balance })
}

/// Of a pair what its events state, of a concentrated pool what they add up to from its beginning on.
fn balance(identity: &Identity, pool: &Pool, of_token0: bool) -> Option<U256> {
    match (identity.reference, pool.state) {
        (MarketRef::Pool(_) | MarketRef::PoolContract(..), _) => {
            pool.opened_at?;
            let balance = if of_token0 { pool.balance0 } else { pool.balance1 };
            balance.filter(|balance| !balance.negative).map(|balance| balance.magnitude)
        }
        (_, Some(PoolState::Reserves { reserve0, reserve1 })) => {
            Some(if of_token0 { reserve0 } else { reserve1 })
        }
        _ => None,
    }
}

fn detail(outflow: Option<&Outflow>) -> Vec<(&'static str, String)> {
    outflow.map_or_else(Vec::new, |it| {
        vec![
            ("token", it.token.to_string()),
            ("balanceBefore", it.before.to_string()),
            ("balance", it.balance.to_string()),
        ]
    })
}
