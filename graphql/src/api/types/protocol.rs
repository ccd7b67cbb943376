//! Protocols and the metrics of their markets.

use std::sync::Arc;

use async_graphql::{Context, Object, SimpleObject};
use chrono::{DateTime, Utc};
use obsqra_store::read::market_metrics::MarketState;
use obsqra_store::read::risk_score::RiskState;
use obsqra_store::read::{self, ProtocolAt};
use obsqra_types::Bps;

use super::{RiskScore, height, instant, int};
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::limits::MARKETS_COST;
use crate::loaders::{ProtocolStates, Risk};

/// A protocol as of a block.
pub(crate) struct Protocol {
    at: ProtocolAt,
    name: String,
    states: Arc<ProtocolStates>,
}

impl Protocol {
    /// The protocols of a list, each as of its block and with its name.
    pub(crate) fn list(named: Vec<(ProtocolAt, String)>) -> Vec<Self> {
        let states = ProtocolStates::new(named.iter().map(|(at, _)| at.clone()).collect());
        let protocol = |(at, name)| Self { at, name, states: Arc::clone(&states) };
        named.into_iter().map(protocol).collect()
    }

    async fn loaded_risk(&self, ctx: &Context<'_>) -> Result<Option<Risk>, ApiError> {
        let context = RequestContext::of(ctx)?;
        self.states.risk(&context.shared, context.pinned()?, &self.at).await
    }
}

/// A protocol as of a block.
#[Object]
impl Protocol {
    /// Key of the protocol, such as `zklend`.
    async fn id(&self) -> &str {
        self.at.protocol.as_str()
    }

    /// Name for people.
    async fn name(&self) -> &str {
        &self.name
    }

    /// Metrics of each of its markets, in byte order of their ids.
    #[graphql(complexity = "MARKETS_COST + child_complexity")]
    async fn metrics(&self, ctx: &Context<'_>) -> Result<Vec<MarketMetrics>, ApiError> {
        let context = RequestContext::of(ctx)?;
        let markets = self.states.markets(&context.shared, context.pinned()?, &self.at).await?;
        markets.iter().map(MarketMetrics::new).collect()
    }

    /// Its risk score; null where the log does not support one, and `absent` says why.
    async fn risk(&self, ctx: &Context<'_>) -> Result<Option<RiskScore>, ApiError> {
        let risk = self.loaded_risk(ctx).await?;
        Ok(risk.and_then(|risk| match risk.state.as_ref() {
            RiskState::Scored(score) => Some(RiskScore::new(score.clone(), risk.causes)),
            RiskState::Absent(_) => None,
        }))
    }

    /// Why there is no risk score; empty where there is one.
    async fn absent(&self, ctx: &Context<'_>) -> Result<Vec<Absent>, ApiError> {
        let risk = self.loaded_risk(ctx).await?;
        Ok(match risk.as_ref().map(|risk| risk.state.as_ref()) {
            Some(RiskState::Scored(_)) => Vec::new(),
            Some(RiskState::Absent(reasons)) => reasons.iter().map(Absent::from).collect(),
            None => vec![Absent::unknown("risk")],
        })
    }
}

/// Something that the log does not support, and why.
#[derive(SimpleObject)]
pub(crate) struct Absent {
    /// What is missing: a field's name.
    field: String,
    /// Why: `no_state`, `history_starts_at`, `no_usdc_pool`, `token_unlisted`,
    /// `insufficient_history`, `invalid_rates`, `zero_tvl`, `negative_balance`, `no_markets`,
    /// `audits_unknown`, `deployment_unknown`, `not_deployed`, `no_suppliers`, `quarantined`,
    /// `fee_unknown` or `overflow`.
    reason: String,
    /// What it is about, for people.
    detail: Option<String>,
}

impl Absent {
    pub(super) fn new(field: &str, reason: &str, detail: Option<String>) -> Self {
        Self { field: field.to_owned(), reason: reason.to_owned(), detail }
    }

    fn unknown(field: &str) -> Self {
        Self::new(field, "no_state", None)
    }
}

impl From<&read::Absent> for Absent {
    fn from(absent: &read::Absent) -> Self {
        Self {
            field: absent.field.clone(),
            reason: absent.reason.clone(),
            detail: absent.detail.clone(),
        }
    }
}

/// Metrics of a market as of a block. A field that is null is explained in `absent`, unless it does
/// not apply to this kind of market.
#[derive(SimpleObject)]
pub(crate) struct MarketMetrics {
    /// Id of the market inside its protocol: a token, a pool key or a pair.
    market: String,
    /// Symbol of the market's asset, or its address where no symbol is known.
    asset: String,
    /// Contract of the asset: a felt in hex without leading zeros.
    asset_address: String,
    /// Borrowed share of what is supplied, in basis points (1/10,000). Lending markets only.
    utilization_bps: Option<i32>,
    /// Volume of 24 hours over value locked, in basis points, 0 to 10,000. Pools only.
    turnover_bps: Option<i32>,
    /// Realised volatility of the asset's price over 7 days, in basis points, 0 to 10,000.
    volatility_bps: Option<i32>,
    /// Class of the value locked: 0 below 1,000,000 USDC, 1 from there, 2 from 10,000,000, 3 from
    /// 50,000,000.
    liquidity_class: Option<i32>,
    /// Price of one whole token of the asset in USDC: a decimal number with 18 places.
    price_usdc: Option<String>,
    /// Value locked in USDC: a decimal number with 6 places.
    tvl_usdc: Option<String>,
    /// Realised volatility over 1 day, in basis points, 0 to 10,000.
    #[graphql(name = "volatility1dBps")]
    volatility_1d_bps: Option<i32>,
    /// Realised volatility over 30 days, in basis points, 0 to 10,000.
    #[graphql(name = "volatility30dBps")]
    volatility_30d_bps: Option<i32>,
    /// How far the value locked is below its greatest in the log, in basis points.
    drawdown_bps: Option<i32>,
    /// What suppliers earn in a year, not compounded, in basis points.
    supply_apy_bps: Option<i32>,
    /// Instant at which the market was opened, to the second.
    opened_at: Option<DateTime<Utc>>,
    /// What borrowers pay: a share per year, a decimal number with 18 places. Lending markets only, as
    /// are the next ten.
    borrow_rate: Option<String>,
    /// What suppliers earn after the reserve factor: a share per year, a decimal number with 18 places.
    supply_rate: Option<String>,
    /// What is supplied, in the asset's smallest unit: a decimal integer.
    supplied: Option<String>,
    /// What is lent out, in the asset's smallest unit: a decimal integer.
    borrowed: Option<String>,
    /// What could be withdrawn now, in the asset's smallest unit: a decimal integer.
    withdraw_headroom: Option<String>,
    /// Utilization after the largest supplier leaves, in basis points.
    exit_shock_bps: Option<i32>,
    /// How many hold shares: a decimal integer.
    suppliers: Option<String>,
    /// Share of the greatest holder, in basis points.
    #[graphql(name = "top1Bps")]
    top1_bps: Option<i32>,
    /// Share of the five greatest holders, in basis points.
    #[graphql(name = "top5Bps")]
    top5_bps: Option<i32>,
    /// Herfindahl–Hirschman index of the holders' shares, in basis points.
    hhi_bps: Option<i32>,
    /// How much more the lending accumulator grew than the supply rate explains, in parts per billion: a
    /// decimal integer, which may be negative.
    accumulator_excess_ppb: Option<String>,
    /// Value swapped in 24 hours, in USDC: a decimal number with 6 places. Pools only, as are the next
    /// three.
    #[graphql(name = "volume24hUsdc")]
    volume_24h_usdc: Option<String>,
    /// Fees that swaps paid in 24 hours, in USDC: a decimal number with 6 places.
    #[graphql(name = "fees24hUsdc")]
    fees_24h_usdc: Option<String>,
    /// Value that raises the asset's price by 2 %, in USDC: a decimal number with 6 places.
    depth_up_usdc: Option<String>,
    /// Value that is paid out until the asset's price is 2 % lower, in USDC: a decimal number with 6
    /// places.
    depth_down_usdc: Option<String>,
    /// Price of one whole token of the asset in US dollars, as the protocol's events carry it of its oracle: a
    /// decimal number with 18 places.
    oracle_price_usd: Option<String>,
    /// Whether the market takes part in prices, and in the inputs and the yield of its protocol: one that
    /// governance opened or the registry lists. Anybody can open pools.
    counted: bool,
    /// Height of the block from which these values hold.
    block_number: i32,
    /// What is missing, and why.
    absent: Vec<Absent>,
}

impl MarketMetrics {
    fn new(state: &MarketState) -> Result<Self, ApiError> {
        let bps = |value: Option<Bps>| value.map(|bps| int(bps.0, "basis points")).transpose();
        Ok(Self {
            market: state.market.to_string(),
            asset: state.asset.clone(),
            asset_address: state.asset_address.to_string(),
            utilization_bps: bps(state.utilization)?,
            turnover_bps: bps(state.turnover)?,
            volatility_bps: bps(state.volatility)?,
            liquidity_class: state.liquidity_class.map(i32::from),
            price_usdc: state.price.map(|price| price.to_string()),
            tvl_usdc: state.tvl.map(|value| value.to_string()),
            volatility_1d_bps: bps(state.volatility_1d)?,
            volatility_30d_bps: bps(state.volatility_30d)?,
            drawdown_bps: bps(state.drawdown)?,
            supply_apy_bps: bps(state.supply_apy)?,
            opened_at: state.opened_at.map(instant).transpose()?,
            borrow_rate: state.borrow_rate.map(|rate| rate.to_string()),
            supply_rate: state.supply_rate.map(|rate| rate.to_string()),
            supplied: state.supplied.map(|amount| amount.to_string()),
            borrowed: state.borrowed.map(|amount| amount.to_string()),
            withdraw_headroom: state.withdraw_headroom.map(|amount| amount.to_string()),
            exit_shock_bps: bps(state.exit_shock)?,
            suppliers: state.suppliers.map(|count| count.to_string()),
            top1_bps: bps(state.top1)?,
            top5_bps: bps(state.top5)?,
            hhi_bps: bps(state.hhi)?,
            accumulator_excess_ppb: state.accumulator_excess.map(|excess| excess.0.to_string()),
            volume_24h_usdc: state.volume_24h.map(|value| value.to_string()),
            fees_24h_usdc: state.fees_24h.map(|value| value.to_string()),
            depth_up_usdc: state.depth_up.map(|value| value.to_string()),
            depth_down_usdc: state.depth_down.map(|value| value.to_string()),
            oracle_price_usd: state.oracle_price.map(|price| price.to_string()),
            counted: state.counted,
            block_number: height(state.since)?,
            absent: state.absent.iter().map(Absent::from).collect(),
        })
    }
}
