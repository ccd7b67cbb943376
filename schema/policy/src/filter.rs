//! The first step of the rule: which candidates take part. A candidate is held against every filter,
//! so that a drop names all its reasons and not the one that was looked at first.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use obsqra_events::{
    Binding, Candidate, CandidateInput, Constraint, DropReason, Dropped, Measured,
};
use obsqra_types::{Bps, ProtocolId};

use crate::Limits;

/// A candidate that takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Weighted {
    pub(crate) protocol: ProtocolId,
    /// `floor(apy_bps · 10000 / (score + 1))`; no score is so great that a yield weighs nothing.
    pub(crate) weight: NonZeroU64,
}

/// The candidate's weight, or all that stands against it.
pub(crate) fn weigh(limits: &Limits, candidate: &Candidate) -> Result<Weighted, Dropped> {
    let mut reasons = Vec::new();
    if !limits.allow.contains(&candidate.protocol) {
        reasons.push(DropReason::Constraint(Constraint::AllowList));
    }
    let score = passing(&candidate.score, CandidateInput::Score, &mut reasons, |score| {
        (*score > limits.max_score).then_some(Constraint::MaxScore(limits.max_score))
    });
    passing(&candidate.volatility, CandidateInput::Volatility, &mut reasons, |volatility| {
        let limit = limits.max_volatility;
        (*volatility > limit).then_some(Constraint::MaxVolatility(limit))
    });
    passing(&candidate.liquidity_class, CandidateInput::LiquidityClass, &mut reasons, |class| {
        let limit = limits.min_liquidity_class;
        (*class < limit).then_some(Constraint::MinLiquidity(limit))
    });
    let apy = passing(&candidate.apy, CandidateInput::Apy, &mut reasons, |_| None);
    let protocol = candidate.protocol.clone();
    let weight = score.zip(apy).and_then(|(score, apy)| weight(*score, *apy));
    if apy == Some(&Bps(0)) {
        reasons.push(DropReason::NoYield);
    }
    match weight {
        Some(weight) if reasons.is_empty() => Ok(Weighted { protocol, weight }),
        _ => Err(Dropped { protocol, reasons }),
    }
}

/// The published weight; `None` without a yield.
fn weight(score: u8, apy: Bps) -> Option<NonZeroU64> {
    NonZeroU64::new(u64::from(apy.0) * 10_000 / (u64::from(score) + 1))
}

/// The figure, with what is against it noted.
fn passing<'a, T>(
    measured: &'a Measured<T>,
    input: CandidateInput,
    reasons: &mut Vec<DropReason>,
    violated: impl FnOnce(&T) -> Option<Constraint>,
) -> Option<&'a T> {
    match measured.known() {
        None => reasons.push(DropReason::InputAbsent(input)),
        Some(value) => reasons.extend(violated(value).map(DropReason::Constraint)),
    }
    measured.known()
}

/// The filters that dropped a protocol, each with those that it dropped.
pub(crate) fn bindings(dropped: &[Dropped]) -> Vec<Binding> {
    let mut by_filter: BTreeMap<&Constraint, Vec<ProtocolId>> = BTreeMap::new();
    for one in dropped {
        for reason in &one.reasons {
            if let DropReason::Constraint(constraint) = reason {
                by_filter.entry(constraint).or_default().push(one.protocol.clone());
            }
        }
    }
    let binding = |(constraint, protocols): (&Constraint, _)| Binding {
        constraint: constraint.clone(),
        protocols,
    };
    by_filter.into_iter().map(binding).collect()
}
