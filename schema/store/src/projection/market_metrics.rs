//! Metrics of markets.

use chrono::{DateTime, Utc};
use sqlx::Type;
use sqlx::postgres::{PgHasArrayType, PgTypeInfo, Postgres};

use super::{Absent, HistoryRow, Ranges, RowBytes};
use crate::whole::Whole;
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
    pub volatility_1d_bps: Option<i32>,
    pub volatility_30d_bps: Option<i32>,
    pub drawdown_bps: Option<i32>,
    pub supply_apy_bps: Option<i32>,
    /// Of the chain's clock.
    pub opened_at: Option<DateTime<Utc>>,
    /// A share per year, scale 10⁻¹⁸, in decimal digits, as the supply rate.
    pub borrow_rate: Option<String>,
    pub supply_rate: Option<String>,
    /// Smallest unit of the asset, in decimal digits, as the next two.
    pub supplied: Option<String>,
    pub borrowed: Option<String>,
    pub withdraw_headroom: Option<String>,
    pub exit_shock_bps: Option<i32>,
    pub suppliers: Option<i64>,
    pub top1_bps: Option<i32>,
    pub top5_bps: Option<i32>,
    pub hhi_bps: Option<i32>,
    pub accumulator_excess_ppb: Option<i64>,
    /// USDC, scale 10⁻⁶, in decimal digits, as the rest.
    pub volume_24h_usdc: Option<String>,
    pub fees_24h_usdc: Option<String>,
    pub depth_up_usdc: Option<String>,
    pub depth_down_usdc: Option<String>,
    /// USD, scale 10⁻¹⁸, in decimal digits.
    pub oracle_price_usd: Option<String>,
    /// Whether it takes part in prices and in its protocol's inputs.
    pub counted: bool,
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
        self.put_common(bytes);
        self.put_lending(bytes);
        self.put_pool(bytes);
        Absent::put_all(&self.absent, bytes);
    }

    fn log_columns(&self, _bytes: &mut RowBytes) {}
}

impl MarketMetricsRow {
    fn put_common(&self, bytes: &mut RowBytes) {
        let ratios = [
            self.volatility_1d_bps,
            self.volatility_30d_bps,
            self.drawdown_bps,
            self.supply_apy_bps,
        ];
        for value in ratios {
            bytes.option(value.map(i32::to_be_bytes));
        }
        bytes.option(self.opened_at.map(|at| at.timestamp().to_be_bytes()));
    }

    fn put_lending(&self, bytes: &mut RowBytes) {
        let amounts = [
            &self.borrow_rate,
            &self.supply_rate,
            &self.supplied,
            &self.borrowed,
            &self.withdraw_headroom,
        ];
        for value in amounts {
            bytes.option(value.as_deref());
        }
        for value in [self.exit_shock_bps, self.top1_bps, self.top5_bps, self.hhi_bps] {
            bytes.option(value.map(i32::to_be_bytes));
        }
        for value in [self.suppliers, self.accumulator_excess_ppb] {
            bytes.option(value.map(i64::to_be_bytes));
        }
    }

    fn put_pool(&self, bytes: &mut RowBytes) {
        let values = [
            &self.volume_24h_usdc,
            &self.fees_24h_usdc,
            &self.depth_up_usdc,
            &self.depth_down_usdc,
            &self.oracle_price_usd,
        ];
        for value in values {
            bytes.option(value.as_deref());
        }
        bytes.int(self.counted.into());
    }
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
            volatility_1d_bps: row.volatility_1d_bps,
            volatility_30d_bps: row.volatility_30d_bps,
            drawdown_bps: row.drawdown_bps,
            supply_apy_bps: row.supply_apy_bps,
            opened_at: row.opened_at,
            borrow_rate: row.borrow_rate,
            supply_rate: row.supply_rate,
            supplied: row.supplied,
            borrowed: row.borrowed,
            withdraw_headroom: row.withdraw_headroom,
            exit_shock_bps: row.exit_shock_bps,
            suppliers: row.suppliers,
            top1_bps: row.top1_bps,
            top5_bps: row.top5_bps,
            hhi_bps: row.hhi_bps,
            accumulator_excess_ppb: row.accumulator_excess_ppb,
            volume_24h_usdc: row.volume_24h_usdc,
            fees_24h_usdc: row.fees_24h_usdc,
            depth_up_usdc: row.depth_up_usdc,
            depth_down_usdc: row.depth_down_usdc,
            oracle_price_usd: row.oracle_price_usd,
            counted: row.counted,
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
               price_usdc::text, tvl_usdc::text, volatility_1d_bps, volatility_30d_bps,
               drawdown_bps, supply_apy_bps, opened_at, borrow_rate::text, supply_rate::text,
               supplied::text, borrowed::text, withdraw_headroom::text, exit_shock_bps,
               suppliers, top1_bps, top5_bps, hhi_bps, accumulator_excess_ppb,
               volume_24h_usdc::text, fees_24h_usdc::text, depth_up_usdc::text,
               depth_down_usdc::text, oracle_price_usd::text, counted, absent
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
               price_usdc::text, tvl_usdc::text, volatility_1d_bps, volatility_30d_bps,
               drawdown_bps, supply_apy_bps, opened_at, borrow_rate::text, supply_rate::text,
               supplied::text, borrowed::text, withdraw_headroom::text, exit_shock_bps,
               suppliers, top1_bps, top5_bps, hhi_bps, accumulator_excess_ppb,
               volume_24h_usdc::text, fees_24h_usdc::text, depth_up_usdc::text,
               depth_down_usdc::text, oracle_price_usd::text, counted, absent
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

/// A row as one value of the database: one parameter takes all rows. The members are those of the type, in their
/// order.
#[derive(sqlx::Encode)]
struct Record {
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
    price_usdc: Option<Whole>,
    tvl_usdc: Option<Whole>,
    volatility_1d_bps: Option<i32>,
    volatility_30d_bps: Option<i32>,
    drawdown_bps: Option<i32>,
    supply_apy_bps: Option<i32>,
    opened_at: Option<DateTime<Utc>>,
    borrow_rate: Option<Whole>,
    supply_rate: Option<Whole>,
    supplied: Option<Whole>,
    borrowed: Option<Whole>,
    withdraw_headroom: Option<Whole>,
    exit_shock_bps: Option<i32>,
    suppliers: Option<i64>,
    top1_bps: Option<i32>,
    top5_bps: Option<i32>,
    hhi_bps: Option<i32>,
    accumulator_excess_ppb: Option<i64>,
    volume_24h_usdc: Option<Whole>,
    fees_24h_usdc: Option<Whole>,
    depth_up_usdc: Option<Whole>,
    depth_down_usdc: Option<Whole>,
    oracle_price_usd: Option<Whole>,
    counted: bool,
    absent: serde_json::Value,
}

impl Type<Postgres> for Record {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("market_metrics_record")
    }
}

impl PgHasArrayType for Record {
    fn array_type_info() -> PgTypeInfo {
        PgTypeInfo::array_of("market_metrics_record")
    }
}

impl TryFrom<MarketMetricsRow> for Record {
    type Error = StoreError;

    fn try_from(row: MarketMetricsRow) -> Result<Self, StoreError> {
        Ok(Self {
            chain_id: row.chain_id,
            protocol: row.protocol,
            market: row.market,
            from_block: row.ranges.from_block,
            to_block: row.ranges.to_block,
            from_seq: row.ranges.from_seq,
            to_seq: row.ranges.to_seq,
            asset: row.asset,
            asset_address: row.asset_address,
            utilization_bps: row.utilization_bps,
            turnover_bps: row.turnover_bps,
            volatility_bps: row.volatility_bps,
            liquidity_class: row.liquidity_class,
            price_usdc: row.price_usdc.map(Whole),
            tvl_usdc: row.tvl_usdc.map(Whole),
            volatility_1d_bps: row.volatility_1d_bps,
            volatility_30d_bps: row.volatility_30d_bps,
            drawdown_bps: row.drawdown_bps,
            supply_apy_bps: row.supply_apy_bps,
            opened_at: row.opened_at,
            borrow_rate: row.borrow_rate.map(Whole),
            supply_rate: row.supply_rate.map(Whole),
            supplied: row.supplied.map(Whole),
            borrowed: row.borrowed.map(Whole),
            withdraw_headroom: row.withdraw_headroom.map(Whole),
            exit_shock_bps: row.exit_shock_bps,
            suppliers: row.suppliers,
            top1_bps: row.top1_bps,
            top5_bps: row.top5_bps,
            hhi_bps: row.hhi_bps,
            accumulator_excess_ppb: row.accumulator_excess_ppb,
            volume_24h_usdc: row.volume_24h_usdc.map(Whole),
            fees_24h_usdc: row.fees_24h_usdc.map(Whole),
            depth_up_usdc: row.depth_up_usdc.map(Whole),
            depth_down_usdc: row.depth_down_usdc.map(Whole),
            oracle_price_usd: row.oracle_price_usd.map(Whole),
            counted: row.counted,
            absent: serde_json::to_value(&row.absent).map_err(|_| StoreError::Range("absent"))?,
        })
    }
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: Vec<MarketMetricsRow>) -> Result<(), StoreError> {
    let records = rows.into_iter().map(Record::try_from).collect::<Result<Vec<_>, _>>()?;
    sqlx::query!(
        r#"
        INSERT INTO market_metrics (
            chain_id, protocol, market, from_block, to_block, from_seq, to_seq, asset,
            asset_address, utilization_bps, turnover_bps, volatility_bps, liquidity_class,
            price_usdc, tvl_usdc, volatility_1d_bps, volatility_30d_bps, drawdown_bps,
            supply_apy_bps, opened_at, borrow_rate, supply_rate, supplied, borrowed,
            withdraw_headroom, exit_shock_bps, suppliers, top1_bps, top5_bps, hhi_bps,
            accumulator_excess_ppb, volume_24h_usdc, fees_24h_usdc, depth_up_usdc,
            depth_down_usdc, oracle_price_usd, counted, absent
        )
        SELECT (r.one).* FROM (SELECT unnest($1::market_metrics_record[]) AS one) AS r
        "#,
        records as _,
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
