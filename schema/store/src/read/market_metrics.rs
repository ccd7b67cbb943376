//! Metrics of a protocol's markets as of a block.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use obsqra_types::{
    BlockNumber, Bps, ChainId, ContractAddress, MarketId, PriceUsdc, RateE18, RawAmount, Seq,
    SignedPpb, U256, UnixSeconds, UsdcValue,
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
    /// Whether it takes part in prices, and in the inputs and the yield of its protocol.
    pub counted: bool,
    /// Price of the asset.
    pub price: Option<PriceUsdc>,
    /// Value locked.
    pub tvl: Option<UsdcValue>,
    /// The same over 1 day.
    pub volatility_1d: Option<Bps>,
    /// The same over 30 days.
    pub volatility_30d: Option<Bps>,
    /// How far the value locked is below its greatest in the log.
    pub drawdown: Option<Bps>,
    /// What suppliers earn in a year, not compounded.
    pub supply_apy: Option<Bps>,
    /// When the market began.
    pub opened_at: Option<UnixSeconds>,
    /// What borrowers pay.
    pub borrow_rate: Option<RateE18>,
    /// What suppliers earn, after the reserve factor.
    pub supply_rate: Option<RateE18>,
    /// What is supplied, with its interest.
    pub supplied: Option<RawAmount>,
    /// What is lent out, with its interest.
    pub borrowed: Option<RawAmount>,
    /// What could be withdrawn now.
    pub withdraw_headroom: Option<RawAmount>,
    /// Utilization after the largest supplier leaves.
    pub exit_shock: Option<Bps>,
    /// How many hold shares.
    pub suppliers: Option<u64>,
    /// Share of the greatest holder.
    pub top1: Option<Bps>,
    /// Share of the five greatest holders.
    pub top5: Option<Bps>,
    /// Herfindahl–Hirschman index of the holders' shares.
    pub hhi: Option<Bps>,
    /// How much more the lending accumulator grew than the supply rate explains.
    pub accumulator_excess: Option<SignedPpb>,
    /// Value swapped in 24 hours.
    pub volume_24h: Option<UsdcValue>,
    /// Fees that swaps paid in 24 hours.
    pub fees_24h: Option<UsdcValue>,
    /// Value that raises the price by 2 %.
    pub depth_up: Option<UsdcValue>,
    /// Value that is paid out until the price is 2 % lower.
    pub depth_down: Option<UsdcValue>,
    /// What the protocol's events carry of its oracle: US dollars, at the same scale.
    pub oracle_price: Option<PriceUsdc>,
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
    volatility_1d_bps: Option<i32>,
    volatility_30d_bps: Option<i32>,
    drawdown_bps: Option<i32>,
    supply_apy_bps: Option<i32>,
    opened_at: Option<DateTime<Utc>>,
    borrow_rate: Option<String>,
    supply_rate: Option<String>,
    supplied: Option<String>,
    borrowed: Option<String>,
    withdraw_headroom: Option<String>,
    exit_shock_bps: Option<i32>,
    suppliers: Option<i64>,
    top1_bps: Option<i32>,
    top5_bps: Option<i32>,
    hhi_bps: Option<i32>,
    accumulator_excess_ppb: Option<i64>,
    volume_24h_usdc: Option<String>,
    fees_24h_usdc: Option<String>,
    depth_up_usdc: Option<String>,
    depth_down_usdc: Option<String>,
    oracle_price_usd: Option<String>,
    counted: bool,
    absent: serde_json::Value,
}

impl TryFrom<MarketRow> for MarketState {
    type Error = StoreError;

    fn try_from(found: MarketRow) -> Result<Self, StoreError> {
        let number = |digits: Option<String>| digits.as_deref().map(amount).transpose();
        let bps = |value: Option<i32>| value.map(|v| row::count(v).map(Bps)).transpose();
        Ok(Self {
            market: MarketId(found.market),
            asset: found.asset,
            asset_address: row::felt(&found.asset_address).map(ContractAddress)?,
            utilization: bps(found.utilization_bps)?,
            turnover: bps(found.turnover_bps)?,
            volatility: bps(found.volatility_bps)?,
            liquidity_class: found.liquidity_class,
            price: number(found.price_usdc)?.map(PriceUsdc),
            tvl: number(found.tvl_usdc)?.map(UsdcValue),
            volatility_1d: bps(found.volatility_1d_bps)?,
            volatility_30d: bps(found.volatility_30d_bps)?,
            drawdown: bps(found.drawdown_bps)?,
            supply_apy: bps(found.supply_apy_bps)?,
            opened_at: found.opened_at.map(row::unix_seconds).transpose()?,
            borrow_rate: number(found.borrow_rate)?.map(RateE18),
            supply_rate: number(found.supply_rate)?.map(RateE18),
            supplied: number(found.supplied)?.map(RawAmount),
            borrowed: number(found.borrowed)?.map(RawAmount),
            withdraw_headroom: number(found.withdraw_headroom)?.map(RawAmount),
            exit_shock: bps(found.exit_shock_bps)?,
            suppliers: found.suppliers.map(row::total).transpose()?,
            top1: bps(found.top1_bps)?,
            top5: bps(found.top5_bps)?,
            hhi: bps(found.hhi_bps)?,
            accumulator_excess: found.accumulator_excess_ppb.map(SignedPpb),
            volume_24h: number(found.volume_24h_usdc)?.map(UsdcValue),
            fees_24h: number(found.fees_24h_usdc)?.map(UsdcValue),
            depth_up: number(found.depth_up_usdc)?.map(UsdcValue),
            depth_down: number(found.depth_down_usdc)?.map(UsdcValue),
            oracle_price: number(found.oracle_price_usd)?.map(PriceUsdc),
            counted: found.counted,
            since: row::number(found.from_block)?,
            absent: serde_json::from_value(found.absent)
                .map_err(|_| StoreError::Range("absent"))?,
        })
    }
}

pub(super) fn amount(digits: &str) -> Result<U256, StoreError> {
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
    let found = sqlx::query_file_as!(
        MarketRow,
        "queries/market_metrics_at.sql",
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
