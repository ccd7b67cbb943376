//! The bodies of allocation messages. An absent input is null, and stands under `absent` with its reason.

use obsqra_types::ProtocolId;
use schemars::JsonSchema;
use serde::Serialize;

use super::body::{AbsenceBody, CauseBody, causes};
use super::text::{DigestHex, FeltHex};
use crate::{
    AllocationBasis, AllocationInfeasible, AllocationProposed, Binding, Candidate, CandidateInput,
    DropReason, Dropped, Infeasibility, Measured, Share,
};

/// Whose allocation it is and what was looked at.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct BasisBody {
    /// The policy's name in the adopted file.
    policy: String,
    /// The name and version that the file gives itself.
    policy_version: String,
    /// SHA-256 of the file.
    policy_hash: DigestHex,
    /// The rule that the file names, such as `allocation-v1`.
    rule: String,
    /// The as-of block's hash.
    block_hash: FeltHex,
    /// Every protocol that was looked at, by id.
    candidates: Vec<CandidateBody>,
    /// Those that take no part.
    dropped: Vec<DroppedBody>,
    /// The entries that it was computed from; at most 64.
    causes: Vec<CauseBody>,
}

/// A protocol with what an allocation looks at.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct CandidateBody {
    /// The protocol.
    protocol: String,
    /// Risk score, 5 (least) to 95 (most); null where it is absent.
    score: Option<u8>,
    /// Yield a year, bps; null where it is absent.
    apy_bps: Option<u32>,
    /// Realised volatility over 7 days, bps; null where it is absent.
    volatility_bps: Option<u32>,
    /// 0 (below 1 M USDC) to 3 (from 50 M USDC); null where it is absent.
    liquidity_class: Option<u8>,
    /// Why what is null is absent.
    absent: Vec<AbsenceBody>,
}

/// A protocol that takes no part.
#[derive(Serialize, JsonSchema)]
struct DroppedBody {
    /// The protocol.
    protocol: String,
    /// Every reason there is; never empty.
    reasons: Vec<ReasonBody>,
}

/// Why a protocol takes no part.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case")]
enum ReasonBody {
    /// It does not pass a filter.
    Constraint {
        /// The constraint's name.
        constraint: &'static str,
        /// Its limit, in the unit of the constraint; null for a list.
        limit: Option<u32>,
    },
    /// An input is absent; the candidate says why.
    InputAbsent {
        /// The input's field.
        field: &'static str,
    },
    /// Its APY is 0 bps, which weighs nothing.
    NoYield,
}

/// A constraint that shaped an allocation, or stands against one.
#[derive(Serialize, JsonSchema)]
struct BindingBody {
    /// The constraint's name.
    constraint: &'static str,
    /// Its limit, in the unit of the constraint; null for a list.
    limit: Option<u32>,
    /// The protocols that it dropped, holds at their cap, or that are too small.
    protocols: Vec<String>,
}

/// A protocol's part of an allocation.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ShareBody {
    /// The protocol.
    protocol: String,
    /// Its part, bps of the whole.
    share_bps: u32,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct ProposedBody {
    #[serde(flatten)]
    basis: BasisBody,
    /// The parts of those that take part; 10,000 bps together.
    shares: Vec<ShareBody>,
    /// The filters that dropped a protocol and the caps that hold one.
    binding: Vec<BindingBody>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct InfeasibleBody {
    #[serde(flatten)]
    basis: BasisBody,
    /// What fails.
    failure: FailureBody,
    /// The constraints that together leave no allocation; empty where absent inputs alone do.
    conflicts: Vec<BindingBody>,
}

/// What an allocation fails at.
#[derive(Serialize, JsonSchema)]
#[serde(tag = "reason", rename_all = "snake_case", rename_all_fields = "camelCase")]
enum FailureBody {
    /// No protocol takes part.
    NoProtocolLeft,
    /// The caps of the protocols that take part are together below the whole.
    CapsBelowWhole {
        /// The sum of those caps, bps.
        caps_bps: u32,
    },
    /// Too few protocols have at least 1,000 bps.
    TooFewProtocols {
        /// How many have.
        found: u8,
        /// How many the policy asks for.
        required: u8,
    },
}

impl ProposedBody {
    pub(super) fn of(fact: &AllocationProposed) -> Self {
        Self {
            basis: BasisBody::of(&fact.basis),
            shares: fact.shares.iter().map(ShareBody::of).collect(),
            binding: fact.binding.iter().map(BindingBody::of).collect(),
        }
    }
}

impl InfeasibleBody {
    pub(super) fn of(fact: &AllocationInfeasible) -> Self {
        Self {
            basis: BasisBody::of(&fact.basis),
            failure: FailureBody::of(&fact.failure),
            conflicts: fact.conflicts.iter().map(BindingBody::of).collect(),
        }
    }
}

impl BasisBody {
    fn of(basis: &AllocationBasis) -> Self {
        Self {
            policy: basis.policy.id.to_string(),
            policy_version: basis.policy.version.clone(),
            policy_hash: basis.policy.hash.into(),
            rule: basis.policy.rule.clone(),
            block_hash: (&basis.block_hash.0).into(),
            candidates: basis.candidates.iter().map(CandidateBody::of).collect(),
            dropped: basis.dropped.iter().map(DroppedBody::of).collect(),
            causes: causes(&basis.causes),
        }
    }
}

impl CandidateBody {
    fn of(candidate: &Candidate) -> Self {
        let absent = [
            absence(CandidateInput::Score, &candidate.score),
            absence(CandidateInput::Apy, &candidate.apy),
            absence(CandidateInput::Volatility, &candidate.volatility),
            absence(CandidateInput::LiquidityClass, &candidate.liquidity_class),
        ];
        Self {
            protocol: candidate.protocol.to_string(),
            score: candidate.score.known().copied(),
            apy_bps: candidate.apy.known().map(|apy| apy.0),
            volatility_bps: candidate.volatility.known().map(|volatility| volatility.0),
            liquidity_class: candidate.liquidity_class.known().copied(),
            absent: absent.into_iter().flatten().collect(),
        }
    }
}

fn absence<T>(input: CandidateInput, measured: &Measured<T>) -> Option<AbsenceBody> {
    match measured {
        Measured::Known(_) => None,
        Measured::Absent { reason, detail } => Some(AbsenceBody {
            field: input.name().to_owned(),
            reason: reason.clone(),
            detail: detail.clone(),
        }),
    }
}

impl DroppedBody {
    fn of(dropped: &Dropped) -> Self {
        let reasons = dropped.reasons.iter().map(ReasonBody::of).collect();
        Self { protocol: dropped.protocol.to_string(), reasons }
    }
}

impl ReasonBody {
    fn of(reason: &DropReason) -> Self {
        match reason {
            DropReason::Constraint(constraint) => {
                Self::Constraint { constraint: constraint.name(), limit: constraint.limit() }
            }
            DropReason::InputAbsent(input) => Self::InputAbsent { field: input.name() },
            DropReason::NoYield => Self::NoYield,
        }
    }
}

impl BindingBody {
    fn of(binding: &Binding) -> Self {
        Self {
            constraint: binding.constraint.name(),
            limit: binding.constraint.limit(),
            protocols: binding.protocols.iter().map(ProtocolId::to_string).collect(),
        }
    }
}

impl ShareBody {
    fn of(share: &Share) -> Self {
        Self { protocol: share.protocol.to_string(), share_bps: share.share.0 }
    }
}

impl FailureBody {
    fn of(failure: &Infeasibility) -> Self {
        match *failure {
            Infeasibility::NoProtocolLeft => Self::NoProtocolLeft,
            Infeasibility::CapsBelowWhole { caps } => Self::CapsBelowWhole { caps_bps: caps.0 },
            Infeasibility::TooFewProtocols { found, required } => {
                Self::TooFewProtocols { found, required }
            }
        }
    }
}
