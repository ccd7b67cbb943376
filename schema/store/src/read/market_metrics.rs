//! Metrics of a protocol's markets as of a block.

use std::collections::BTreeMap;

use obsqra_types::{
    BlockNumber, Bps, ChainId, ContractAddress, MarketId, PriceUsdc, Seq, U256, UsdcValue,
};

use super::{Absent, ProtocolAt, state_key};
use crate::{Store, StoreError, row};

/// The most markets that one call returns, over all its keys. Anyone can open a pool, so there is a
/// bound; a call that would exceed it fails rather than leave markets out.
pub const MAX_MARKETS: u32 = 20_000;

/// A market's metrics. What the log does not support is `None`, and `absent` says why.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarketState {
    /// The market.
    pub market: MarketId,
    /// Symbol of its asset, or the address where no symbol is known.
    pub asset: String,
    /// Contract of its asset.
    pub asset_address: ContractAddress,
    /// Borrowed share of what is supplied.
    pub utilization: Option<Bps>,
    /// Volume of 24 hours over value locked.
    pub turnover: Option<Bps>,
    /// Realised volatility of the asset over 7 days.
    pub volatility: Option<Bps>,
    /// 0 (below 1 M USDC) to 3 (from 50 M USDC).
    pub liquidity_class: Option<i16>,
    /// Price of the asset.
    pub price: Option<PriceUsdc>,
    /// Value locked.
    pub tvl: Option<UsdcValue>,
    /// The block from which these values hold.
    pub since: BlockNumber,
    /// What is missing, and why.
    pub absent: Vec<Absent>,
}

struct MarketRow {
    protocol: String,
    at_block: i64,
    market: String,
    from_block: i64,
    asset: String,
    asset_address: Vec<u8>,
    utilization_bps: Option<i32>,
    turnover_bps: Option<i32>,
    volatility_bps: Option<i32>,
    liquidity_class: Option<i16>,
    price_usdc: Option<String>,
    tvl_usdc: Option<String>,
    absent: serde_json::Value,
}

impl TryFrom<MarketRow> for MarketState {
    type Error = StoreError;

    fn try_from(found: MarketRow) -> Result<Self, StoreError> {
        let bps = |value: Option<i32>| value.map(|v| row::count(v).map(Bps)).transpose();
        Ok(Self {
            market: MarketId(found.market),
            asset: found.asset,
            asset_address: row::felt(&found.asset_address).map(ContractAddress)?,
            utilization: bps(found.utilization_bps)?,
            turnover: bps(found.turnover_bps)?,
            volatility: bps(found.volatility_bps)?,
            liquidity_class: found.liquidity_class,
            price: found.price_usdc.as_deref().map(amount).transpose()?.map(PriceUsdc),
            tvl: found.tvl_usdc.as_deref().map(amount).transpose()?.map(UsdcValue),
            since: row::number(found.from_block)?,
            absent: serde_json::from_value(found.absent)
                .map_err(|_| StoreError::Range("absent"))?,
        })
    }
}

fn amount(digits: &str) -> Result<U256, StoreError> {
    U256::from_str_radix(digits, 10).map_err(|_| StoreError::Range("amount"))
}

/// The markets of each protocol as of each block, as known at a position, in byte order of their ids.
///
/// Finds the markets of a protocol by stepping along the key's index, and each one's row by walking
/// back from the block, so that the time depends on the number of markets and not on the length of
/// their history.
///
/// # Errors
/// When the database fails, or there are more than [`MAX_MARKETS`].
pub async fn at(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    keys: &[ProtocolAt],
) -> Result<BTreeMap<ProtocolAt, Vec<MarketState>>, StoreError> {
    let columns = state_key::Columns::of(keys)?;
    let found = sqlx::query_as!(
        MarketRow,
        r#"
        WITH RECURSIVE wanted AS (
            SELECT w.protocol, w.at_block
            FROM unnest($2::text[], $3::bigint[]) AS w (protocol, at_block)
        ),
        market AS (
            SELECT w.protocol, w.at_block, first.market
            FROM wanted w
            CROSS JOIN LATERAL (
                SELECT m.market FROM market_metrics m
                WHERE m.chain_id = $1 AND m.protocol = w.protocol
                ORDER BY m.market
                LIMIT 1
            ) AS first
            UNION ALL
            SELECT s.protocol, s.at_block, next.market
            FROM market s
            CROSS JOIN LATERAL (
                SELECT m.market FROM market_metrics m
                WHERE m.chain_id = $1 AND m.protocol = s.protocol AND m.market > s.market
                ORDER BY m.market
                LIMIT 1
            ) AS next
        )
        SELECT s.protocol AS "protocol!", s.at_block AS "at_block!", s.market AS "market!",
               v.from_block, v.asset, v.asset_address, v.utilization_bps, v.turnover_bps,
               v.volatility_bps, v.liquidity_class, v.price_usdc::text, v.tvl_usdc::text, v.absent
        FROM market s
        CROSS JOIN LATERAL (
            SELECT m.from_block, m.asset, m.asset_address, m.utilization_bps, m.turnover_bps,
                   m.volatility_bps, m.liquidity_class, m.price_usdc, m.tvl_usdc, m.absent
            FROM market_metrics m
            WHERE m.chain_id = $1 AND m.protocol = s.protocol AND m.market = s.market
              AND m.from_block <= s.at_block AND m.to_block > s.at_block
              AND m.from_seq <= $4 AND m.to_seq > $4
            ORDER BY m.from_block DESC, m.from_seq DESC
            LIMIT 1
        ) AS v
        ORDER BY s.protocol, s.at_block, s.market COLLATE "C"
        LIMIT $5
        "#,
        chain.as_str(),
        &columns.protocols,
        &columns.blocks,
        row::to_i64(known_at.0, "seq")?,
        i64::from(MAX_MARKETS) + 1,
    )
    .fetch_all(&store.pool)
    .await?;
    if u32::try_from(found.len()).map_or(true, |count| count > MAX_MARKETS) {
        return Err(StoreError::Range("number of markets"));
    }
    let mut markets: BTreeMap<ProtocolAt, Vec<MarketState>> = BTreeMap::new();
    for row in found {
        let key = state_key::key(&row.protocol, row.at_block)?;
        markets.entry(key).or_default().push(row.try_into()?);
    }
    Ok(markets)
}
