//! Allocation snapshots: what each policy makes of scores and yields.

use std::sync::Arc;

use async_graphql::{Context, ID, Object, SimpleObject};
use chrono::{DateTime, Utc};
use obsqra_events as events;
use obsqra_events::{AllocationBasis, Fact, Measured};
use obsqra_store::read::allocation;
use obsqra_types::{Bps, Seq};

use super::{Absent, Cause, height, instant, int};
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::loaders::EntryFacts;

/// A snapshot with those that were read together.
pub(crate) struct Allocation {
    found: allocation::Snapshot,
    facts: Arc<EntryFacts>,
}

impl Allocation {
    pub(crate) fn list(found: Vec<allocation::Snapshot>) -> Vec<Self> {
        let facts = EntryFacts::new(found.iter().map(|snapshot| snapshot.entry).collect());
        found.into_iter().map(|found| Self { found, facts: Arc::clone(&facts) }).collect()
    }

    /// Position of the log entry that states it.
    pub(crate) fn entry(&self) -> Seq {
        self.found.entry
    }

    async fn fact(&self, ctx: &Context<'_>) -> Result<Arc<Fact>, ApiError> {
        let store = &RequestContext::of(ctx)?.shared.store;
        self.facts.of(store, self.found.entry).await
    }

    fn unexpected(&self) -> ApiError {
        ApiError::UnexpectedEntry { seq: self.found.entry, expected: "allocation" }
    }
}

/// What a policy allocates as of a block. A new one is stated where a score, a yield or the policy
/// changes.
#[Object]
impl Allocation {
    /// Id of the snapshot over all types.
    async fn id(&self) -> ID {
        ID(format!("Allocation:{}", self.found.entry))
    }

    /// The policy's name, such as `balanced`.
    async fn policy(&self) -> &str {
        &self.found.policy
    }

    /// Name and version of the policy file, as adopted into the log.
    async fn policy_version(&self) -> &str {
        &self.found.version
    }

    /// Name and version of the rule, such as `allocation-v1`.
    async fn rule(&self) -> &str {
        &self.found.rule
    }

    /// The parts of the protocols that take part, 10,000 bps together; null where the policy has no
    /// allocation, and `failure` says why.
    async fn shares(&self) -> Result<Option<Vec<Share>>, ApiError> {
        let shares = self.found.outcome.as_ref().ok();
        let share = |(protocol, share): &(obsqra_types::ProtocolId, Bps)| {
            Ok(Share { protocol: protocol.to_string(), share_bps: int(share.0, "share")? })
        };
        shares.map(|shares| shares.iter().map(share).collect()).transpose()
    }

    /// Why there is no allocation: `no_protocol_left`, `caps_below_whole` or `too_few_protocols`.
    async fn failure(&self) -> Option<&str> {
        self.found.outcome.as_ref().err().map(String::as_str)
    }

    /// The constraints that shaped the shares, or that together leave no allocation.
    async fn constraints(&self, ctx: &Context<'_>) -> Result<Vec<Constraint>, ApiError> {
        let fact = self.fact(ctx).await?;
        let bindings = match fact.as_ref() {
            Fact::AllocationProposed(fact) => &fact.binding,
            Fact::AllocationInfeasible(fact) => &fact.conflicts,
            _ => return Err(self.unexpected()),
        };
        bindings.iter().map(Constraint::new).collect()
    }

    /// Every protocol that was looked at, with its inputs.
    async fn candidates(&self, ctx: &Context<'_>) -> Result<Vec<Candidate>, ApiError> {
        let fact = self.fact(ctx).await?;
        let basis = basis(&fact).ok_or_else(|| self.unexpected())?;
        basis.candidates.iter().map(|candidate| Candidate::new(candidate, basis)).collect()
    }

    /// Height of the block whose end the snapshot is as of.
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

    /// The log entries that it was computed from, at most 64 references.
    async fn causes(&self, ctx: &Context<'_>) -> Result<Vec<Cause>, ApiError> {
        let fact = self.fact(ctx).await?;
        let basis = basis(&fact).ok_or_else(|| self.unexpected())?;
        basis.causes.as_slice().iter().map(Cause::new).collect()
    }
}

fn basis(fact: &Fact) -> Option<&AllocationBasis> {
    match fact {
        Fact::AllocationProposed(fact) => Some(&fact.basis),
        Fact::AllocationInfeasible(fact) => Some(&fact.basis),
        _ => None,
    }
}

/// A protocol's part of an allocation.
#[derive(SimpleObject)]
pub(crate) struct Share {
    /// Key of the protocol.
    protocol: String,
    /// Its part in basis points (1/10,000).
    share_bps: i32,
}

/// A constraint of a policy.
#[derive(SimpleObject)]
pub(crate) struct Constraint {
    /// `allow_list`, `max_score`, `max_volatility`, `min_liquidity`, `max_single`, `protocol_cap` or
    /// `min_diversification`.
    name: String,
    /// Its limit, in its own unit; null for a list.
    limit: Option<i32>,
    /// Keys of the protocols that it dropped, holds at their cap, or found too small.
    protocols: Vec<String>,
}

impl Constraint {
    fn new(binding: &events::Binding) -> Result<Self, ApiError> {
        let limit = binding.constraint.limit();
        Ok(Self {
            name: binding.constraint.name().to_owned(),
            limit: limit.map(|limit| int(limit, "limit")).transpose()?,
            protocols: binding.protocols.iter().map(ToString::to_string).collect(),
        })
    }
}

/// A protocol that a policy looked at.
#[derive(SimpleObject)]
pub(crate) struct Candidate {
    /// Key of the protocol.
    protocol: String,
    /// Risk score, 5 to 95.
    score: Option<i32>,
    /// Yield a year, in basis points.
    apy_bps: Option<i32>,
    /// Realised volatility over 7 days, in basis points.
    volatility_bps: Option<i32>,
    /// Liquidity class, 0 to 3.
    liquidity_class: Option<i32>,
    /// What is missing, and why.
    absent: Vec<Absent>,
    /// Why it takes no part; empty where it does. A constraint's name, `no_yield`, or
    /// `input_absent`.
    dropped_for: Vec<String>,
}

impl Candidate {
    fn new(candidate: &events::Candidate, basis: &AllocationBasis) -> Result<Self, ApiError> {
        let mut absent = Vec::new();
        let bps = |value: &Measured<Bps>| value.known().map(|bps| int(bps.0, "bps")).transpose();
        let small = |value: &Measured<u8>| value.known().map(|value| i32::from(*value));
        note("score", &candidate.score, &mut absent);
        note("apyBps", &candidate.apy, &mut absent);
        note("volatilityBps", &candidate.volatility, &mut absent);
        note("liquidityClass", &candidate.liquidity_class, &mut absent);
        let dropped = basis.dropped.iter().find(|one| one.protocol == candidate.protocol);
        let reasons = dropped.iter().flat_map(|dropped| &dropped.reasons);
        Ok(Self {
            protocol: candidate.protocol.to_string(),
            score: small(&candidate.score),
            apy_bps: bps(&candidate.apy)?,
            volatility_bps: bps(&candidate.volatility)?,
            liquidity_class: small(&candidate.liquidity_class),
            absent,
            dropped_for: reasons.map(|reason| reason.name().to_owned()).collect(),
        })
    }
}

fn note<T>(field: &str, measured: &Measured<T>, absent: &mut Vec<Absent>) {
    if let Measured::Absent { reason, detail } = measured {
        absent.push(Absent::new(field, reason, detail.clone()));
    }
}
