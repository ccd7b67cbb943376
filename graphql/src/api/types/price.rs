//! Prices of tokens.

use async_graphql::SimpleObject;
use obsqra_store::read::price;

use super::height;
use crate::error::ApiError;

/// The price of a token by one source, as of a block.
#[derive(SimpleObject)]
pub(crate) struct Price {
    /// Contract of the token: a felt in hex without leading zeros.
    token: String,
    /// Its symbol.
    symbol: String,
    /// Where the price comes from: `pools`, the deepest pool with USDC; or `oracle/` and the key of the
    /// protocol whose events carry it.
    source: String,
    /// Price of one whole token in USDC, of an oracle in US dollars: a decimal number with 18 places; null where
    /// there is none, and `reason` says why.
    price_usdc: Option<String>,
    /// Why there is no price.
    reason: Option<String>,
    /// Key of the protocol whose market gives the price.
    protocol: Option<String>,
    /// Id of that market inside the protocol.
    market: Option<String>,
    /// Height of the block from which this holds.
    block_number: i32,
}

impl Price {
    pub(crate) fn new(found: &price::Price) -> Result<Self, ApiError> {
        let (protocol, market) = match &found.market {
            Some((protocol, market)) => (Some(protocol.to_string()), Some(market.to_string())),
            None => (None, None),
        };
        Ok(Self {
            token: found.token.to_string(),
            symbol: found.symbol.clone(),
            source: found.source.clone(),
            price_usdc: found.price.as_ref().ok().map(ToString::to_string),
            reason: found.price.as_ref().err().cloned(),
            protocol,
            market,
            block_number: height(found.since)?,
        })
    }
}
