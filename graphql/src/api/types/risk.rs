//! Risk scores, and what they were computed from.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use obsqra_events as events;
use obsqra_store::read::risk_score::Score;
use obsqra_types::{Cursor, Seq};

use super::{height, instant, int};
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::loaders::EntryCauses;

/// The risk score of a protocol as of a block.
pub(crate) struct RiskScore {
    score: Score,
    causes: Arc<EntryCauses>,
}

impl RiskScore {
    /// A score whose causes are read with those of the scores beside it.
    pub(crate) fn new(score: Score, causes: Arc<EntryCauses>) -> Self {
        Self { score, causes }
    }

    /// The scores of a list.
    pub(crate) fn list(scores: Vec<Score>) -> Vec<Self> {
        let causes = EntryCauses::new(scores.iter().map(|score| score.entry).collect());
        scores.into_iter().map(|score| Self::new(score, Arc::clone(&causes))).collect()
    }

    /// Position of the log entry that states it.
    pub(crate) fn entry(&self) -> Seq {
        self.score.entry
    }
}

/// The risk score of a protocol as of a block. Lower is safer.
#[Object]
impl RiskScore {
    /// Id of the score over all types.
    async fn id(&self) -> ID {
        ID(format!("RiskScore:{}", self.score.entry))
    }

    /// Key of the protocol, such as `zklend`.
    async fn protocol(&self) -> &str {
        self.score.protocol.as_str()
    }

    /// Name and version of the formula, such as `risk-v1.2`.
    async fn formula(&self) -> &str {
        &self.score.formula
    }

    /// The score: 5 (least risk) to 95 (most).
    async fn score(&self) -> i32 {
        self.score.score.into()
    }

    /// The terms of the score, in points. Their sum, clamped to 5 to 95, is the score.
    async fn components(&self) -> Result<RiskComponents, ApiError> {
        RiskComponents::new(&self.score.components)
    }

    /// The inputs of the formula.
    async fn inputs(&self) -> Result<RiskInputs, ApiError> {
        RiskInputs::new(&self.score.inputs)
    }

    /// Height of the block whose end the score is as of.
    async fn block_number(&self) -> Result<i32, ApiError> {
        height(self.score.block)
    }

    /// Hash of that block: a felt in hex without leading zeros.
    async fn block_hash(&self) -> String {
        self.score.hash.to_string()
    }

    /// Header timestamp of that block, to the second.
    async fn timestamp(&self) -> Result<DateTime<Utc>, ApiError> {
        instant(self.score.timestamp)
    }

    /// Position of the log entry that states the score: a decimal integer.
    async fn seq(&self) -> String {
        self.score.entry.to_string()
    }

    /// The score's cursor: as `after` of `riskScored` or `riskHistory` it begins with the score
    /// after this one.
    async fn cursor(&self) -> String {
        Cursor(self.score.entry).encode()
    }

    /// The log entries that the score was computed from, at most 64 references.
    async fn causes(&self, ctx: &Context<'_>) -> Result<Vec<Cause>, ApiError> {
        let store = &RequestContext::of(ctx)?.shared.store;
        let causes = self.causes.of(store, self.score.entry).await?;
        causes.iter().map(Cause::new).collect()
    }
}

/// The five terms of a risk score, in points.
#[derive(SimpleObject)]
pub(crate) struct RiskComponents {
    /// Of the utilization or turnover: 35 points at 10,000 bps.
    utilization: i32,
    /// Of the volatility: 30 points at 10,000 bps.
    volatility: i32,
    /// Of the liquidity class: 5 points for each class below 3.
    liquidity: i32,
    /// Of the audit score: 20 points at 0.
    audit: i32,
    /// Of the age: 10 points at 0 days, 1 less for each 100 days.
    age: i32,
}

impl RiskComponents {
    fn new(components: &events::RiskComponents) -> Result<Self, ApiError> {
        let points = |value| int(value, "risk component");
        Ok(Self {
            utilization: points(components.utilization)?,
            volatility: points(components.volatility)?,
            liquidity: points(components.liquidity)?,
            audit: points(components.audit)?,
            age: points(components.age)?,
        })
    }
}

/// The five inputs of a risk score.
#[derive(SimpleObject)]
pub(crate) struct RiskInputs {
    /// Utilization of a lending protocol or turnover of an exchange over its markets, in basis
    /// points (1/10,000).
    utilization_bps: i32,
    /// Volatility of the markets' assets over 7 days, weighted by value locked, in basis points, 0
    /// to 10,000.
    volatility_bps: i32,
    /// Class of the value locked: 0 below 1,000,000 USDC, 1 from there, 2 from 10,000,000, 3 from
    /// 50,000,000.
    liquidity_class: i32,
    /// Audit score, 0 (none) to 100.
    audit_score: i32,
    /// Whole days since deployment.
    age_days: i32,
}

impl RiskInputs {
    fn new(inputs: &events::RiskInputs) -> Result<Self, ApiError> {
        Ok(Self {
            utilization_bps: int(inputs.utilization_bps, "utilization")?,
            volatility_bps: int(inputs.volatility_bps, "volatility")?,
            liquidity_class: inputs.liquidity_class.into(),
            audit_score: inputs.audit_score.into(),
            age_days: int(inputs.age_days, "age")?,
        })
    }
}

/// A reference to what a score was computed from: one log entry (`seq`), or the entries of a range
/// that a selector names (the other fields).
#[derive(SimpleObject, Default)]
pub(crate) struct Cause {
    /// Position of the entry: a decimal integer.
    seq: Option<String>,
    /// First position of the range: a decimal integer.
    from_seq: Option<String>,
    /// Last position of the range, inclusive: a decimal integer.
    to_seq: Option<String>,
    /// Which entries of the range count, such as `event protocol=zklend`.
    selector: Option<String>,
    /// How many entries they are.
    count: Option<i32>,
    /// Their digest: 64 hex digits.
    digest: Option<String>,
}

impl Cause {
    pub(super) fn new(cause: &events::Cause) -> Result<Self, ApiError> {
        Ok(match cause {
            events::Cause::Entry(seq) => Self { seq: Some(seq.to_string()), ..Self::default() },
            events::Cause::Window { from_seq, to_seq, selector, count, digest } => Self {
                seq: None,
                from_seq: Some(from_seq.to_string()),
                to_seq: Some(to_seq.to_string()),
                selector: Some(selector.clone()),
                count: Some(i32::try_from(*count).map_err(|_| ApiError::Range("cause count"))?),
                digest: Some(digest.to_string()),
            },
        })
    }
}
