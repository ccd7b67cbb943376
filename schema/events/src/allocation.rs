//! `allocation.proposed` and `allocation.infeasible`: what a policy makes of the scores and APYs as of
//! a block.
//!
//! Each names the policy by the hash of the adopted file, every input that was looked at, and what
//! bound or conflicted, so that it can be worked out again from its own bytes. Lists are in the order
//! of protocol ids; shares sum to 10,000 bps, and bytes in which they do not are refused.

mod canonical;

use obsqra_types::{BlockHash, Bps, Hash32, PolicyId, ProtocolId};

use crate::Causes;

/// What shares sum to, exactly.
pub const WHOLE: Bps = Bps::ONE;

/// A policy of an adopted file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PolicyRef {
    /// The policy's name in the file.
    pub id: PolicyId,
    /// The name and version that the file gives itself, as adopted.
    pub version: String,
    /// SHA-256 of the file's bytes.
    pub hash: Hash32,
    /// The rule that the file names, such as `allocation-v1`.
    pub rule: String,
}

/// A figure, or why the log does not support it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Measured<T> {
    /// The figure.
    Known(T),
    /// There is none.
    Absent {
        /// The reason's name, such as `insufficient_history`.
        reason: String,
        /// What it is about, for people.
        detail: Option<String>,
    },
}

impl<T> Measured<T> {
    /// The figure; `None` where it is absent.
    #[must_use]
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Absent { .. } => None,
        }
    }
}

/// A protocol with what an allocation looks at.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// The protocol.
    pub protocol: ProtocolId,
    /// Risk score, 5 (least) to 95 (most).
    pub score: Measured<u8>,
    /// Yield a year, bps.
    pub apy: Measured<Bps>,
    /// Realised volatility over 7 days, bps, 0 to 10,000.
    pub volatility: Measured<Bps>,
    /// Liquidity class, 0 (below 1 M USDC) to 3 (from 50 M USDC).
    pub liquidity_class: Measured<u8>,
}

/// Which input of a candidate.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum CandidateInput {
    /// [`Candidate::score`].
    Score,
    /// [`Candidate::apy`].
    Apy,
    /// [`Candidate::volatility`].
    Volatility,
    /// [`Candidate::liquidity_class`].
    LiquidityClass,
}

impl CandidateInput {
    pub(crate) const ALL: [Self; 4] =
        [Self::Score, Self::Apy, Self::Volatility, Self::LiquidityClass];

    /// The name, as hashed and published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Score => "score",
            Self::Apy => "apyBps",
            Self::Volatility => "volatilityBps",
            Self::LiquidityClass => "liquidityClass",
        }
    }
}

/// A constraint of a policy, with its limit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Constraint {
    /// Only named protocols take part.
    AllowList,
    /// The greatest score that takes part.
    MaxScore(u8),
    /// The greatest volatility that takes part.
    MaxVolatility(Bps),
    /// The least liquidity class that takes part.
    MinLiquidity(u8),
    /// The greatest share of any protocol.
    MaxSingle(Bps),
    /// The greatest share of one protocol, where that is below [`Constraint::MaxSingle`].
    ProtocolCap(Bps),
    /// The least number of protocols with at least 1,000 bps.
    MinDiversification(u8),
}

impl Constraint {
    /// The name, as hashed and published.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::AllowList => "allow_list",
            Self::MaxScore(_) => "max_score",
            Self::MaxVolatility(_) => "max_volatility",
            Self::MinLiquidity(_) => "min_liquidity",
            Self::MaxSingle(_) => "max_single",
            Self::ProtocolCap(_) => "protocol_cap",
            Self::MinDiversification(_) => "min_diversification",
        }
    }

    /// The limit, in the unit of its constraint; `None` for a list.
    #[must_use]
    pub fn limit(&self) -> Option<u32> {
        match self {
            Self::AllowList => None,
            Self::MaxScore(limit) | Self::MinLiquidity(limit) | Self::MinDiversification(limit) => {
                Some(u32::from(*limit))
            }
            Self::MaxVolatility(limit) | Self::MaxSingle(limit) | Self::ProtocolCap(limit) => {
                Some(limit.0)
            }
        }
    }
}

/// A constraint that shaped an allocation, or stands against one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// The constraint.
    pub constraint: Constraint,
    /// The protocols that it dropped, held at their cap, or found too small; in order.
    pub protocols: Vec<ProtocolId>,
}

/// Why a protocol takes no part.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DropReason {
    /// It does not pass a filter.
    Constraint(Constraint),
    /// An input is absent; the candidate says why.
    InputAbsent(CandidateInput),
    /// Its APY is 0 bps, which weighs nothing.
    NoYield,
}

impl DropReason {
    /// The name, as published: the constraint's, or what else drops a protocol.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Constraint(constraint) => constraint.name(),
            Self::InputAbsent(_) => "input_absent",
            Self::NoYield => "no_yield",
        }
    }
}

/// A protocol that takes no part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// The protocol.
    pub protocol: ProtocolId,
    /// Every reason there is; never empty.
    pub reasons: Vec<DropReason>,
}

/// A protocol's part of an allocation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// The protocol.
    pub protocol: ProtocolId,
    /// Its part, bps of the whole.
    pub share: Bps,
}

/// What both kinds of snapshot have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocationBasis {
    /// Whose allocation it is.
    pub policy: PolicyRef,
    /// The as-of block's hash.
    pub block_hash: BlockHash,
    /// Every protocol that was looked at, with its inputs.
    pub candidates: Vec<Candidate>,
    /// Those that take no part.
    pub dropped: Vec<Dropped>,
    /// What it was computed from.
    pub causes: Causes,
}

/// What a policy allocates as of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocationProposed {
    /// Policy, inputs and causes.
    pub basis: AllocationBasis,
    /// The parts of those that take part; 10,000 bps together.
    pub shares: Vec<Share>,
    /// The filters that dropped a protocol and the caps that hold one.
    pub binding: Vec<Binding>,
}

/// What an allocation fails at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Infeasibility {
    /// No protocol takes part.
    NoProtocolLeft,
    /// The caps of the protocols that take part are together below the whole.
    CapsBelowWhole {
        /// The sum of those caps.
        caps: Bps,
    },
    /// Too few protocols have at least 1,000 bps.
    TooFewProtocols {
        /// How many have.
        found: u8,
        /// How many the policy asks for.
        required: u8,
    },
}

impl Infeasibility {
    /// The name, as hashed and published.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NoProtocolLeft => "no_protocol_left",
            Self::CapsBelowWhole { .. } => "caps_below_whole",
            Self::TooFewProtocols { .. } => "too_few_protocols",
        }
    }
}

/// A policy that has no allocation as of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AllocationInfeasible {
    /// Policy, inputs and causes.
    pub basis: AllocationBasis,
    /// What fails.
    pub failure: Infeasibility,
    /// The constraints that together leave no allocation; empty where absent inputs alone do.
    pub conflicts: Vec<Binding>,
}
