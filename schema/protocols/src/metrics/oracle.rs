//! Prices that protocols' events carry of their oracles.
//!
//! They are told beside the prices of pools and enter no other figure. The unit is the oracle's own, US
//! dollars, which is not converted to USDC. Of several counted reserves of a token in a protocol
//! the one whose statement is the newest gives the price.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use obsqra_types::{ContractAddress, ProtocolId, U256};

use super::absence::Figure;
use super::market::{Body, Market};
use super::quotes::Markets;

/// Whose oracle, and of which token.
pub(crate) type OracleKey = (ProtocolId, ContractAddress);

/// A price and the market that gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OraclePrice {
    pub(crate) price: Figure<U256>,
    pub(crate) market: usize,
}

/// The price of each token at each protocol's oracle.
#[derive(Clone, Debug, Default)]
pub(crate) struct OraclePrices(BTreeMap<OracleKey, OraclePrice>);

impl OraclePrices {
    /// Takes up what a block's events stated, and returns the prices that differ.
    pub(crate) fn update(
        &mut self,
        markets: Markets<'_>,
        touched: &BTreeSet<usize>,
    ) -> BTreeSet<OracleKey> {
        let keys: BTreeSet<OracleKey> =
            touched.iter().filter_map(|place| oracle_key(markets.list.get(*place)?)).collect();
        let mut differing = BTreeSet::new();
        for key in keys {
            let Some(new) = newest(markets, &key) else {
                continue;
            };
            if self.0.get(&key) != Some(&new) {
                self.0.insert(key.clone(), new);
                differing.insert(key);
            }
        }
        differing
    }

    pub(crate) fn get(&self, key: &OracleKey) -> Option<&OraclePrice> {
        self.0.get(key)
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &OracleKey> {
        self.0.keys()
    }
}

/// Of a counted reserve that an event has stated.
fn oracle_key(market: &Market) -> Option<OracleKey> {
    let Body::Stated(reserve) = &market.body else {
        return None;
    };
    let known = reserve.newest.is_some() && market.is_counted();
    known.then(|| (market.identity.protocol.clone(), market.identity.asset))
}

fn newest(markets: Markets<'_>, key: &OracleKey) -> Option<OraclePrice> {
    let of_key = markets.index.of_token(&key.1).iter().filter_map(|place| {
        let market = markets.list.get(*place).filter(|market| market.is_counted())?;
        let Body::Stated(reserve) = &market.body else {
            return None;
        };
        let at = reserve.newest?.at;
        let age = (at, market.state_seq, Reverse(&market.identity.id));
        (market.identity.protocol == key.0).then(|| (age, *place, reserve.oracle_price()))
    });
    let (_, market, price) = of_key.max_by(|(a, ..), (b, ..)| a.cmp(b))?;
    Some(OraclePrice { price, market })
}
