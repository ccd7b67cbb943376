//! A market's row under the names of the API, to be held against figures from elsewhere.

use obsqra_protocols::MarketMetrics;
use obsqra_types::Bps;
use serde_json::{Map, Value, json};

/// The market's asset, and each figure that its kind has: the value, or `{"absent": reason}`.
pub(crate) fn published(row: &MarketMetrics) -> Map<String, Value> {
    let figures = shared(row).into_iter().chain(of_lending(row)).chain(of_pool(row));
    let mut found: Map<String, Value> = figures
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    for absent in &row.absent {
        let reason = json!({ "absent": absent.reason });
        let before = found.insert(absent.field.clone(), reason);
        assert_eq!(before, None, "{} is there, and absent as well", absent.field);
    }
    found
}

fn shared(row: &MarketMetrics) -> Vec<(&'static str, Value)> {
    vec![
        ("asset", json!(row.asset)),
        ("assetAddress", json!(row.asset_address.to_string())),
        ("counted", json!(row.counted)),
        ("utilizationBps", bps(row.utilization_bps)),
        ("turnoverBps", bps(row.turnover_bps)),
        ("volatilityBps", bps(row.volatility_bps)),
        ("volatility1dBps", bps(row.volatility_1d_bps)),
        ("volatility30dBps", bps(row.volatility_30d_bps)),
        ("liquidityClass", json!(row.liquidity_class)),
        ("priceUsdc", digits(row.price)),
        ("oraclePriceUsd", digits(row.oracle_price)),
        ("tvlUsdc", digits(row.tvl)),
        ("drawdownBps", bps(row.drawdown_bps)),
        ("supplyApyBps", bps(row.supply_apy_bps)),
        ("openedAt", json!(row.opened_at.map(|at| at.0))),
    ]
}

fn of_lending(row: &MarketMetrics) -> Vec<(&'static str, Value)> {
    let lending = &row.lending;
    vec![
        ("borrowRate", digits(lending.borrow_rate)),
        ("supplyRate", digits(lending.supply_rate)),
        ("supplied", digits(lending.supplied)),
        ("borrowed", digits(lending.borrowed)),
        ("withdrawHeadroom", digits(lending.withdraw_headroom)),
        ("exitShockBps", bps(lending.exit_shock_bps)),
        ("suppliers", digits(lending.suppliers)),
        ("top1Bps", bps(lending.top1_bps)),
        ("top5Bps", bps(lending.top5_bps)),
        ("hhiBps", bps(lending.hhi_bps)),
        ("accumulatorExcessPpb", digits(lending.accumulator_excess.map(|excess| excess.0))),
    ]
}

fn of_pool(row: &MarketMetrics) -> Vec<(&'static str, Value)> {
    vec![
        ("volume24hUsdc", digits(row.pool.volume_24h)),
        ("fees24hUsdc", digits(row.pool.fees_24h)),
        ("depthUpUsdc", digits(row.pool.depth_up)),
        ("depthDownUsdc", digits(row.pool.depth_down)),
    ]
}

fn bps(value: Option<Bps>) -> Value {
    json!(value.map(|value| value.0))
}

fn digits<T: ToString>(value: Option<T>) -> Value {
    json!(value.map(|value| value.to_string()))
}
