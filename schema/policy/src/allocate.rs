//! The rule: filters, weights, caps, then the number of protocols. What it refuses to do is bend: a
//! policy that cannot be met has no allocation, and no constraint is relaxed to find one.

use std::collections::BTreeMap;

use obsqra_events::{
    AllocationBasis, AllocationInfeasible, AllocationProposed, Binding, Candidate, Causes,
    Constraint, Dropped, Fact, Infeasibility, Share, WHOLE,
};
use obsqra_types::{BlockHash, Bps, ProtocolId};

use crate::caps::{self, Part};
use crate::filter::{self, Weighted};
use crate::{COUNTED_SHARE, Limits, Policy};

/// The candidates of an allocation, one a protocol, in the order of their ids.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candidates(BTreeMap<ProtocolId, Candidate>);

/// A protocol stands twice among candidates.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("protocol {0} stands twice among the candidates")]
pub struct RepeatedProtocol(pub ProtocolId);

impl Candidates {
    /// Puts candidates in order.
    ///
    /// # Errors
    /// When a protocol stands twice.
    pub fn new(candidates: impl IntoIterator<Item = Candidate>) -> Result<Self, RepeatedProtocol> {
        let mut ordered = BTreeMap::new();
        for candidate in candidates {
            let protocol = candidate.protocol.clone();
            if ordered.insert(protocol.clone(), candidate).is_some() {
                return Err(RepeatedProtocol(protocol));
            }
        }
        Ok(Self(ordered))
    }

    /// The candidates, by protocol id.
    pub fn iter(&self) -> impl Iterator<Item = &Candidate> {
        self.0.values()
    }
}

/// What a policy makes of candidates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Allocation {
    /// Shares that satisfy every constraint.
    Proposed {
        /// The shares of those that take part, by protocol id; 10,000 bps together.
        shares: Vec<Share>,
        /// The filters that dropped a protocol, and the caps that hold one.
        binding: Vec<Binding>,
        /// Those that take no part, by protocol id.
        dropped: Vec<Dropped>,
    },
    /// The constraints cannot be met.
    Infeasible {
        /// What fails.
        failure: Infeasibility,
        /// The constraints that together leave no allocation.
        conflicts: Vec<Binding>,
        /// Those that take no part, by protocol id.
        dropped: Vec<Dropped>,
    },
}

impl Allocation {
    /// The snapshot as the log states it, of the policy and candidates that gave the allocation.
    #[must_use]
    pub fn into_fact(
        self,
        policy: &Policy,
        candidates: &Candidates,
        block_hash: BlockHash,
        causes: Causes,
    ) -> Fact {
        let basis = |dropped| AllocationBasis {
            policy: policy.reference().clone(),
            block_hash,
            candidates: candidates.iter().cloned().collect(),
            dropped,
            causes,
        };
        match self {
            Self::Proposed { shares, binding, dropped } => {
                let basis = basis(dropped);
                Fact::AllocationProposed(AllocationProposed { basis, shares, binding })
            }
            Self::Infeasible { failure, conflicts, dropped } => {
                let basis = basis(dropped);
                Fact::AllocationInfeasible(AllocationInfeasible { basis, failure, conflicts })
            }
        }
    }
}

/// Applies a policy to candidates: see `ops/docs/allocation.md`.
#[must_use]
pub fn allocate(policy: &Policy, candidates: &Candidates) -> Allocation {
    let limits = policy.limits();
    let mut dropped = Vec::new();
    let mut parts = Vec::new();
    for candidate in candidates.iter() {
        match filter::weigh(limits, candidate) {
            Ok(weighted) => parts.push(part(limits, weighted)),
            Err(one) => dropped.push(one),
        }
    }
    let mut binding = filter::bindings(&dropped);
    if let Some((failure, against)) = fill(limits, &mut parts) {
        binding.extend(against);
        return Allocation::Infeasible { failure, conflicts: binding, dropped };
    }
    binding.extend(cap_bindings(limits, parts.iter().filter(|part| part.is_capped)));
    let share = |part: Part| Share { protocol: part.weighted.protocol, share: part.share };
    Allocation::Proposed { shares: parts.into_iter().map(share).collect(), binding, dropped }
}

fn part(limits: &Limits, weighted: Weighted) -> Part {
    let cap = limits.cap_bps(&weighted.protocol);
    Part { weighted, cap, share: Bps(0), is_capped: false }
}

/// Gives the parts their shares; or says what fails, with what stands against it beside the filters.
fn fill(limits: &Limits, parts: &mut [Part]) -> Option<(Infeasibility, Vec<Binding>)> {
    if parts.is_empty() {
        return Some((Infeasibility::NoProtocolLeft, Vec::new()));
    }
    let caps = caps::sum_of_caps(parts);
    if caps < WHOLE {
        let failure = Infeasibility::CapsBelowWhole { caps };
        return Some((failure, cap_bindings(limits, parts.iter())));
    }
    caps::share_out(parts);
    let required = limits.min_diversification;
    let is_small = |part: &&Part| part.share < COUNTED_SHARE;
    let counted = parts.iter().filter(|part| !is_small(part));
    let found = counted.fold(0u8, |count, _| count.saturating_add(1));
    if found >= required {
        return None;
    }
    // A cap of 1,000 or more leaves others more; only one below that keeps its protocol small.
    let held = parts.iter().filter(|part| part.is_capped && is_small(part));
    let mut against = cap_bindings(limits, held);
    let small = parts.iter().filter(is_small).map(|part| part.weighted.protocol.clone());
    let constraint = Constraint::MinDiversification(required);
    against.push(Binding { constraint, protocols: small.collect() });
    Some((Infeasibility::TooFewProtocols { found, required }, against))
}

/// The caps of parts, each with those that it holds.
fn cap_bindings<'a>(limits: &Limits, parts: impl Iterator<Item = &'a Part>) -> Vec<Binding> {
    let mut by_cap: BTreeMap<Constraint, Vec<ProtocolId>> = BTreeMap::new();
    for part in parts {
        let protocol = &part.weighted.protocol;
        by_cap.entry(limits.cap(protocol)).or_default().push(protocol.clone());
    }
    let binding = |(constraint, protocols)| Binding { constraint, protocols };
    by_cap.into_iter().map(binding).collect()
}
