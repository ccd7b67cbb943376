//! Prices of tokens as of a block, by source.

use obsqra_types::{BlockNumber, ChainId, ContractAddress, MarketId, PriceUsdc, ProtocolId, Seq};

use super::market_metrics::amount;
use super::state_key;
use crate::{Store, StoreError, row};

/// A token's price from a block on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Price {
    /// The token.
    pub token: ContractAddress,
    /// Its symbol.
    pub symbol: String,
    /// `pools`, or `oracle/<protocol>`.
    pub source: String,
    /// The price, or why there is none.
    pub price: Result<PriceUsdc, String>,
    /// The market that gives it.
    pub market: Option<(ProtocolId, MarketId)>,
    /// The block from which it holds.
    pub since: BlockNumber,
}

struct Found {
    token: Vec<u8>,
    symbol: String,
    source: String,
    price_usdc: Option<String>,
    protocol: Option<String>,
    market: Option<String>,
    reason: Option<String>,
    from_block: i64,
}

impl TryFrom<Found> for Price {
    type Error = StoreError;

    fn try_from(found: Found) -> Result<Self, StoreError> {
        let market = found.protocol.zip(found.market);
        Ok(Self {
            token: row::felt(&found.token).map(ContractAddress)?,
            symbol: found.symbol,
            source: found.source,
            price: match (found.price_usdc, found.reason) {
                (Some(digits), None) => Ok(PriceUsdc(amount(&digits)?)),
                (None, Some(reason)) => Err(reason),
                _ => return Err(StoreError::Range("price")),
            },
            market: market
                .map(|(protocol, market)| {
                    Ok::<_, StoreError>((state_key::protocol_id(&protocol)?, MarketId(market)))
                })
                .transpose()?,
            since: row::number(found.from_block)?,
        })
    }
}

/// The prices of some tokens, or of all, as of a block and as known at a position, by token and source.
/// There are as many as the registries listed tokens.
///
/// # Errors
/// When the database fails.
pub async fn at(
    store: &Store,
    chain: &ChainId,
    (known_at, block): (Seq, BlockNumber),
    tokens: Option<&[ContractAddress]>,
) -> Result<Vec<Price>, StoreError> {
    let tokens: Option<Vec<Vec<u8>>> =
        tokens.map(|list| list.iter().map(|token| row::felt_bytes(&token.0)).collect());
    sqlx::query_as!(
        Found,
        r#"
        SELECT token, symbol, source, price_usdc::text, protocol, market, reason, from_block
        FROM price
        WHERE chain_id = $1 AND from_block <= $3 AND to_block > $3
          AND from_seq <= $2 AND to_seq > $2
          AND ($4::bytea[] IS NULL OR token = ANY($4))
        ORDER BY token, source
        "#,
        chain.as_str(),
        row::to_i64(known_at.0, "seq")?,
        row::to_i64(block.0, "block number")?,
        tokens.as_deref(),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(Price::try_from)
    .collect()
}
