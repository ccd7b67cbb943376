//! What the truth says of a market: each figure, or why it is absent.
//!
//! Names and units are those of the product's metrics, so that the two can be laid side by side.

use std::sync::Arc;

use ruint::aliases::U256;
use serde::{Serialize, Serializer};

/// The metrics of one market; `None` is absent, for a reason in `absent` unless the market's kind does
/// not have the figure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarketTruth {
    /// Key of the protocol.
    pub protocol: &'static str,
    /// Market id.
    #[serde(serialize_with = "text")]
    pub market: Arc<str>,
    /// Symbol of the market's asset, its address if no registry lists it.
    pub asset: &'static str,
    /// Whether it counts in prices and in its protocol's inputs.
    pub counted: bool,
    /// Address of the asset.
    #[serde(serialize_with = "text")]
    pub asset_address: Arc<str>,
    /// Lending rate over borrowing rate, bps.
    pub utilization_bps: Option<u32>,
    /// Volume of 24 hours over value, bps.
    pub turnover_bps: Option<u32>,
    /// Volatility of the asset over 7 days, bps.
    pub volatility_bps: Option<u32>,
    /// Volatility of the asset over 1 day, bps.
    pub volatility_1d_bps: Option<u32>,
    /// Volatility of the asset over 30 days, bps.
    pub volatility_30d_bps: Option<u32>,
    /// 0 to 3.
    pub liquidity_class: Option<u32>,
    /// USDC per whole asset at 10⁻¹⁸.
    #[serde(serialize_with = "decimal")]
    pub price_usdc: Option<U256>,
    /// What the protocol's oracle gives, US dollars per whole asset at 10⁻¹⁸.
    #[serde(serialize_with = "decimal")]
    pub oracle_price_usd: Option<U256>,
    /// Value in USDC's smallest unit.
    #[serde(serialize_with = "decimal")]
    pub tvl_usdc: Option<U256>,
    /// How far the value is below its peak, bps.
    pub drawdown_bps: Option<u32>,
    /// What suppliers earn in a year, simple, bps.
    pub supply_apy_bps: Option<u32>,
    /// Seconds since 1970.
    pub opened_at: Option<u64>,
    /// What lending reserves alone have.
    pub lending: LendingTruth,
    /// What pools alone have.
    pub pool: PoolTruth,
    /// Why figures are absent, in the product's order: what the kind alone has stands first.
    pub absent: Vec<AbsentTruth>,
}

/// The figures of a lending reserve. Amounts count the token's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct LendingTruth {
    /// Share per year at 10⁻¹⁸.
    #[serde(serialize_with = "decimal")]
    pub borrow_rate: Option<U256>,
    /// Share per year after the reserve factor, at 10⁻¹⁸.
    #[serde(serialize_with = "decimal")]
    pub supply_rate: Option<U256>,
    /// What is supplied, with its interest.
    #[serde(serialize_with = "decimal")]
    pub supplied: Option<U256>,
    /// What is lent out, with its interest.
    #[serde(serialize_with = "decimal")]
    pub borrowed: Option<U256>,
    /// What could be withdrawn.
    #[serde(serialize_with = "decimal")]
    pub withdraw_headroom: Option<U256>,
    /// Utilization after the largest supplier leaves, bps.
    pub exit_shock_bps: Option<u32>,
    /// How many hold shares.
    pub suppliers: Option<u64>,
    /// Share of the greatest holding, bps.
    pub top1_bps: Option<u32>,
    /// Share of the five greatest holdings, bps.
    pub top5_bps: Option<u32>,
    /// Herfindahl–Hirschman index of the holdings, bps.
    pub hhi_bps: Option<u32>,
    /// How much more the lending accumulator grew than its rate explains, parts per billion.
    pub accumulator_excess_ppb: Option<i64>,
}

/// The figures of a pool. Values count USDC's smallest unit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct PoolTruth {
    /// Value swapped in 24 hours.
    #[serde(serialize_with = "decimal")]
    pub volume_24h_usdc: Option<U256>,
    /// Fees that swaps paid in 24 hours.
    #[serde(serialize_with = "decimal")]
    pub fees_24h_usdc: Option<U256>,
    /// Value that raises the asset's price by 2 %.
    #[serde(serialize_with = "decimal")]
    pub depth_up_usdc: Option<U256>,
    /// Value that is paid out until the asset's price is 2 % lower.
    #[serde(serialize_with = "decimal")]
    pub depth_down_usdc: Option<U256>,
}

/// A figure that is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AbsentTruth {
    /// Which one, by its name in the product's answers.
    pub field: &'static str,
    /// The reason's code.
    pub reason: &'static str,
}

/// A figure, or why it is absent.
pub(super) type Figure<T> = Result<T, Reason>;

/// The reasons of `ops/docs/metrics.md` that the model can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    NoState,
    NoUsdcPool,
    TokenUnlisted,
    InsufficientHistory,
    InvalidRates,
    ZeroTvl,
    NegativeBalance,
    NoSuppliers,
    Overflow,
    Quarantined,
    HistoryStartsAt,
}

impl Reason {
    fn code(self) -> &'static str {
        match self {
            Self::NoState => "no_state",
            Self::NoUsdcPool => "no_usdc_pool",
            Self::TokenUnlisted => "token_unlisted",
            Self::InsufficientHistory => "insufficient_history",
            Self::InvalidRates => "invalid_rates",
            Self::ZeroTvl => "zero_tvl",
            Self::NegativeBalance => "negative_balance",
            Self::NoSuppliers => "no_suppliers",
            Self::Overflow => "overflow",
            Self::Quarantined => "quarantined",
            Self::HistoryStartsAt => "history_starts_at",
        }
    }
}

/// Collects reasons while figures are taken.
#[derive(Debug, Default)]
pub(super) struct Absences(pub(super) Vec<AbsentTruth>);

impl Absences {
    pub(super) fn take<T>(&mut self, field: &'static str, figure: Figure<T>) -> Option<T> {
        figure.map_err(|reason| self.0.push(AbsentTruth { field, reason: reason.code() })).ok()
    }
}

/// `floor(part · 10000 / whole)` of a whole above 0; more than 31 bits are too many.
pub(super) fn bps(part: U256, whole: U256) -> Figure<u32> {
    let ratio = super::super::math::mul_div(part, U256::from(10_000), whole);
    let ratio = u32::try_from(ratio).map_err(|_| Reason::Overflow)?;
    if ratio > i32::MAX.unsigned_abs() { Err(Reason::Overflow) } else { Ok(ratio) }
}

/// The same, at most 10,000.
pub(super) fn capped_bps(part: U256, whole: U256) -> u32 {
    bps(part, whole).map_or(10_000, |ratio| ratio.min(10_000))
}

fn text<S: Serializer>(value: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

fn decimal<S: Serializer>(value: &Option<U256>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(number) => serializer.serialize_some(&number.to_string()),
        None => serializer.serialize_none(),
    }
}
