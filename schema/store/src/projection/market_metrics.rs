//! Metrics of markets.

use super::{Absent, HistoryRow, Ranges, RowBytes};
use crate::{Store, StoreError, Transaction};

/// A market's metrics from a height on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct MarketMetricsRow {
    pub chain_id: String,
    pub protocol: String,
    pub market: String,
    pub ranges: Ranges,
    pub asset: String,
    pub asset_address: Vec<u8>,
    pub utilization_bps: Option<i32>,
    pub turnover_bps: Option<i32>,
    pub volatility_bps: Option<i32>,
    pub liquidity_class: Option<i16>,
    /// USDC per whole token, scale 10⁻¹⁸, in decimal digits.
    pub price_usdc: Option<String>,
    /// USDC, scale 10⁻⁶, in decimal digits.
    pub tvl_usdc: Option<String>,
    pub absent: Vec<Absent>,
}

impl HistoryRow for MarketMetricsRow {
    type Key = (String, String, String);

    const READ_MODEL: &'static str = "market_metrics";

    fn key(&self) -> Self::Key {
        (self.chain_id.clone(), self.protocol.clone(), self.market.clone())
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).text(&self.protocol).text(&self.market);
        bytes.text(&self.asset).put(&self.asset_address);
        for value in [self.utilization_bps, self.turnover_bps, self.volatility_bps] {
            bytes.option(value.map(i32::to_be_bytes));
        }
        bytes.option(self.liquidity_class.map(i16::to_be_bytes));
        bytes.option(self.price_usdc.as_deref()).option(self.tvl_usdc.as_deref());
        Absent::put_all(&self.absent, bytes);
    }

    fn log_columns(&self, _bytes: &mut RowBytes) {}
}

struct MetricsRow {
    chain_id: String,
    protocol: String,
    market: String,
    from_block: i64,
    to_block: i64,
    from_seq: i64,
    to_seq: i64,
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

impl TryFrom<MetricsRow> for MarketMetricsRow {
    type Error = StoreError;

    fn try_from(row: MetricsRow) -> Result<Self, StoreError> {
        Ok(Self {
            chain_id: row.chain_id,
            protocol: row.protocol,
            market: row.market,
            ranges: Ranges {
                from_block: row.from_block,
                to_block: row.to_block,
                from_seq: row.from_seq,
                to_seq: row.to_seq,
            },
            asset: row.asset,
            asset_address: row.asset_address,
            utilization_bps: row.utilization_bps,
            turnover_bps: row.turnover_bps,
            volatility_bps: row.volatility_bps,
            liquidity_class: row.liquidity_class,
            price_usdc: row.price_usdc,
            tvl_usdc: row.tvl_usdc,
            absent: serde_json::from_value(row.absent).map_err(|_| StoreError::Range("absent"))?,
        })
    }
}

/// Rows open in both ranges: what each market's metrics are now.
///
/// # Errors
/// When the database fails.
pub async fn open(store: &Store, chain: &str) -> Result<Vec<MarketMetricsRow>, StoreError> {
    sqlx::query_as!(
        MetricsRow,
        r#"
        SELECT chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset,
               asset_address, utilization_bps, turnover_bps, volatility_bps, liquidity_class,
               price_usdc::text, tvl_usdc::text, absent
        FROM market_metrics
        WHERE chain_id = $1
          AND to_block = 9223372036854775807 AND to_seq = 9223372036854775807
        "#,
        chain,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(MarketMetricsRow::try_from)
    .collect()
}

/// Standing rows that begin or end at a height from `lowest` to `highest`: what reverts of the blocks there
/// undo.
///
/// # Errors
/// When the database fails.
pub async fn touching(
    tx: &mut Transaction,
    chain: &str,
    (lowest, highest): (i64, i64),
) -> Result<Vec<MarketMetricsRow>, StoreError> {
    sqlx::query_as!(
        MetricsRow,
        r#"
        SELECT chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset,
               asset_address, utilization_bps, turnover_bps, volatility_bps, liquidity_class,
               price_usdc::text, tvl_usdc::text, absent
        FROM market_metrics
        WHERE chain_id = $1 AND to_seq = 9223372036854775807
          AND (
              from_block BETWEEN $2 AND $3
              OR (to_block BETWEEN $2 AND $3 AND to_block <> 9223372036854775807)
          )
        "#,
        chain,
        lowest,
        highest,
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(MarketMetricsRow::try_from)
    .collect()
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[MarketMetricsRow]) -> Result<(), StoreError> {
    let absent: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| serde_json::to_value(&row.absent))
        .collect::<Result<_, _>>()
        .map_err(|_| StoreError::Range("absent"))?;
    sqlx::query!(
        r#"
        INSERT INTO market_metrics (
            chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset,
            asset_address, utilization_bps, turnover_bps, volatility_bps, liquidity_class,
            price_usdc, tvl_usdc, absent
        )
        SELECT u.chain_id, u.protocol, u.market, u.from_block, u.to_block, u.from_seq, u.to_seq,
               u.asset, u.asset_address, u.utilization_bps, u.turnover_bps, u.volatility_bps,
               u.liquidity_class, u.price_usdc::numeric, u.tvl_usdc::numeric, u.absent
        FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::text[], $9::bytea[], $10::integer[], $11::integer[],
            $12::integer[], $13::smallint[], $14::text[], $15::text[], $16::jsonb[]
        ) AS u (
            chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset,
            asset_address, utilization_bps, turnover_bps, volatility_bps, liquidity_class,
            price_usdc, tvl_usdc, absent
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.market.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.asset.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.asset_address.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.utilization_bps).collect::<Vec<_>>() as &[Option<i32>],
        &rows.iter().map(|row| row.turnover_bps).collect::<Vec<_>>() as &[Option<i32>],
        &rows.iter().map(|row| row.volatility_bps).collect::<Vec<_>>() as &[Option<i32>],
        &rows.iter().map(|row| row.liquidity_class).collect::<Vec<_>>() as &[Option<i16>],
        &rows.iter().map(|row| row.price_usdc.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|row| row.tvl_usdc.clone()).collect::<Vec<_>>() as &[Option<String>],
        &absent,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closes rows, each given with the position that replaces it.
///
/// # Errors
/// When the database fails.
pub async fn close(
    tx: &mut Transaction,
    rows: &[(MarketMetricsRow, i64)],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE market_metrics AS m SET to_seq = u.to_seq
        FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]
        ) AS u (chain_id, protocol, market, from_block, from_seq, to_seq)
        WHERE m.chain_id = u.chain_id AND m.protocol = u.protocol AND m.market = u.market
          AND m.from_block = u.from_block AND m.from_seq = u.from_seq
        "#,
        &rows.iter().map(|(row, _)| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.market.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|(_, to_seq)| *to_seq).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
