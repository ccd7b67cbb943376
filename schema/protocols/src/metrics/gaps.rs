//! Tokens whose pools do not agree on a price.
//!
//! Counted pools of several protocols that are deep enough are compared at the end of each block that touches one
//! of them. A gap is told once it has lasted, and again when it is over: under the market that it was told
//! of first, whichever pools are apart by then.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::Phase;
use obsqra_types::{ContractAddress, MarketId, ProtocolId, Seq, U256};

use super::anomalies::{Anomaly, AnomalyRule};
use super::quotes::{Markets, usdc_pool};
use crate::fixed::Wide;

/// USDC's smallest units from which on a pool's depth counts: 10,000 USDC.
const LEAST_DEPTH: u64 = 10_000_000_000;
/// Hundredths of the smaller price that prices may be apart.
const ALLOWED_HUNDREDTHS: u8 = 3;
/// Seconds for which prices are apart before it is told.
const GAP_SECONDS: u64 = 1_800;

/// The market under which a gap was told.
pub(crate) type ToldOf = (ProtocolId, MarketId);

/// A gap that lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    pub(crate) since: u64,
    /// `None` before it is told.
    pub(crate) told: Option<ToldOf>,
}

/// The gaps of all tokens at the end of a block.
#[derive(Clone, Debug, Default)]
pub(crate) struct PriceGaps(pub(crate) BTreeMap<ContractAddress, Gap>);

/// A pool that takes part in the comparison. They are ordered by price, then by name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Priced<'a> {
    price: U256,
    market: (&'a ProtocolId, &'a MarketId),
    depth: U256,
}

impl PriceGaps {
    /// Compares the tokens whose pools the block touched, and tells what ended or has lasted.
    pub(crate) fn review(
        &mut self,
        markets: Markets<'_>,
        touched: &BTreeSet<ContractAddress>,
        now: u64,
        cause: Seq,
    ) -> Vec<Anomaly> {
        let mut told = Vec::new();
        for token in touched {
            if apart(markets, token).is_some() {
                self.0.entry(*token).or_insert(Gap { since: now, told: None });
            } else if let Some((protocol, market)) = self.0.remove(token).and_then(|gap| gap.told) {
                let detail = vec![("token", token.to_string())];
                told.push(anomaly((protocol, market), Phase::Closed, cause, detail));
            }
        }
        let due = |gap: &Gap| gap.told.is_none() && gap.since.saturating_add(GAP_SECONDS) <= now;
        for (token, gap) in self.0.iter_mut().filter(|(_, gap)| due(gap)) {
            let Some([low, high]) = apart(markets, token) else {
                continue;
            };
            let thin = if high.depth < low.depth { &high } else { &low };
            let of = (thin.market.0.clone(), thin.market.1.clone());
            gap.told = Some(of.clone());
            told.push(anomaly(of, Phase::Opened, cause, opened(token, gap.since, &low, &high)));
        }
        told
    }
}

fn anomaly(
    (protocol, market): ToldOf,
    phase: Phase,
    cause: Seq,
    detail: Vec<(&'static str, String)>,
) -> Anomaly {
    Anomaly { protocol, market: Some(market), rule: AnomalyRule::PriceGap, phase, cause, detail }
}

fn opened(
    token: &ContractAddress,
    since: u64,
    low: &Priced<'_>,
    high: &Priced<'_>,
) -> Vec<(&'static str, String)> {
    let named = |pool: &Priced<'_>| format!("{}/{}", pool.market.0, pool.market.1);
    vec![
        ("token", token.to_string()),
        ("since", since.to_string()),
        ("low", low.price.to_string()),
        ("lowMarket", named(low)),
        ("high", high.price.to_string()),
        ("highMarket", named(high)),
    ]
}

/// The pools with the smallest and the greatest price, where those are too far apart.
fn apart<'a>(markets: Markets<'a>, token: &ContractAddress) -> Option<[Priced<'a>; 2]> {
    let places = markets.index.usdc_pools(token).iter();
    let mut pools: Vec<Priced<'_>> = places.filter_map(|place| priced(markets, *place)).collect();
    let venues: BTreeSet<_> = pools.iter().map(|pool| pool.market.0).collect();
    if venues.len() < 2 {
        return None;
    }
    pools.sort_unstable();
    let high = pools.pop()?;
    let low = pools.into_iter().next()?;
    let gap = Wide::from(high.price - low.price) * Wide::from(100u8);
    let too_far = gap > Wide::from(low.price) * Wide::from(ALLOWED_HUNDREDTHS);
    too_far.then_some([low, high])
}

fn priced(markets: Markets<'_>, place: usize) -> Option<Priced<'_>> {
    let (pool, usdc) = usdc_pool(markets, place)?;
    let depth = pool.usdc_depth(&usdc.side)?;
    let price = pool.usdc_price(&usdc.side)??;
    let identity = &markets.list.get(place)?.identity;
    let market = (&identity.protocol, &identity.id);
    (depth >= U256::from(LEAST_DEPTH)).then_some(Priced { price, market, depth })
}
