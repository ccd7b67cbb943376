//! Anomalies of markets.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object};
use chrono::{DateTime, Utc};
use obsqra_store::read::anomaly;
use obsqra_types::Seq;

use super::{Cause, height, instant};
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::loaders::EntryCauses;

/// How much an anomaly matters.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// Worth knowing.
    Info,
    /// May become a loss.
    Warning,
    /// A loss, or what comes right before one.
    Critical,
}

impl Severity {
    const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// As stored.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// An anomaly with those that were read together.
pub(crate) struct Anomaly {
    found: anomaly::Anomaly,
    causes: Arc<EntryCauses>,
}

impl Anomaly {
    pub(crate) fn list(found: Vec<anomaly::Anomaly>) -> Vec<Self> {
        let causes = EntryCauses::new(found.iter().map(|anomaly| anomaly.entry).collect());
        found.into_iter().map(|found| Self { found, causes: Arc::clone(&causes) }).collect()
    }

    /// Position of the log entry that states it.
    pub(crate) fn entry(&self) -> Seq {
        self.found.entry
    }
}

/// Something out of the ordinary, or a conservation rule that does not hold, as of a block. The rules
/// are those of `ops/docs/metrics.md`.
#[Object]
impl Anomaly {
    /// Id of the anomaly over all types.
    async fn id(&self) -> ID {
        ID(format!("Anomaly:{}", self.found.entry))
    }

    /// Name of the rule, such as `accumulator_jump`.
    async fn rule(&self) -> &str {
        &self.found.rule
    }

    /// How much it matters.
    async fn severity(&self) -> Result<Severity, ApiError> {
        let named = |one: &Severity| one.name() == self.found.severity;
        Severity::ALL.into_iter().find(named).ok_or(ApiError::Range("severity"))
    }

    /// Key of the protocol, such as `zklend`.
    async fn protocol(&self) -> &str {
        self.found.protocol.as_str()
    }

    /// Id of the market inside its protocol; null where it is about the protocol.
    async fn market(&self) -> Option<&str> {
        self.found.market.as_ref().map(|market| market.0.as_str())
    }

    /// Whether it lasts from its block on; one that does not is of that block alone.
    async fn lasts(&self) -> bool {
        self.found.lasts
    }

    /// Height of the block as of which it was over; null while it lasts, and for one that does not.
    async fn closed_at_block(&self) -> Result<Option<i32>, ApiError> {
        self.found.closed_at.map(height).transpose()
    }

    /// What was measured, for people.
    async fn detail(&self) -> &str {
        &self.found.detail
    }

    /// Height of the block as of which it was found.
    async fn block_number(&self) -> Result<i32, ApiError> {
        height(self.found.block)
    }

    /// Hash of that block: a felt in hex without leading zeros.
    async fn block_hash(&self) -> String {
        self.found.hash.to_string()
    }

    /// Header timestamp of that block, to the second.
    async fn timestamp(&self) -> Result<DateTime<Utc>, ApiError> {
        instant(self.found.timestamp)
    }

    /// Position of the log entry that states it: a decimal integer.
    async fn seq(&self) -> String {
        self.found.entry.to_string()
    }

    /// The log entries that it was seen in, at most 64 references.
    async fn causes(&self, ctx: &Context<'_>) -> Result<Vec<Cause>, ApiError> {
        let store = &RequestContext::of(ctx)?.shared.store;
        let causes = self.causes.of(store, self.found.entry).await?;
        causes.iter().map(Cause::new).collect()
    }
}
