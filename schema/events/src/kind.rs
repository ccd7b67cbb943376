//! The kinds of entries. Codes and names are fixed for good; a changed layout is a new version.

/// What an entry states. The code is stored, the name is hashed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(i16)]
pub enum Kind {
    /// Bytes that shape numbers (registry, decoder set, formula, policy) count from here on.
    Adopted = 1,
    /// A block is part of the canonical chain.
    BlockApplied = 10,
    /// A watched event of the block before it, undecoded.
    Event = 11,
    /// How a block was checked.
    BlockAttested = 12,
    /// A block is no longer part of the canonical chain.
    BlockReverted = 13,
    /// A block and all below it can no longer be reverted.
    BlockFinalized = 14,
    /// Contracts are watched from here on that were not before.
    WatchWidened = 15,
    /// Events of added contracts in a block that was applied without them.
    BlockSupplemented = 16,
    /// Nothing is missing any more of what a widening asked for.
    WatchCompleted = 17,
    /// A source's block contradicts itself.
    MismatchFound = 18,
    /// Two sources have different blocks at one height.
    SourcesDisagreed = 19,
    /// The log has not what it should have of a block.
    IncompleteFound = 20,
    /// A protocol's risk score as of a block.
    RiskScored = 30,
    /// A protocol has no risk score as of a block, and why.
    RiskAbsent = 31,
    /// What a policy allocates as of a block.
    AllocationProposed = 40,
    /// A policy has no allocation as of a block, and why.
    AllocationInfeasible = 41,
    /// Something out of the ordinary as of a block.
    AnomalyFound = 50,
    /// A derived fact no longer counts: its as-of block was reverted.
    Retracted = 90,
}

/// Which writer an entry belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lane {
    /// What was read from the chain, and what was adopted to read it.
    Chain,
    /// What was derived from the chain lane.
    Derived,
}

/// The code or name belongs to no kind of this version.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown entry kind {0}: the log was written by a newer version")]
pub struct UnknownKind(pub i16);

impl Kind {
    /// Every kind, by code.
    pub const ALL: [Self; 18] = [
        Self::Adopted,
        Self::BlockApplied,
        Self::Event,
        Self::BlockAttested,
        Self::BlockReverted,
        Self::BlockFinalized,
        Self::WatchWidened,
        Self::BlockSupplemented,
        Self::WatchCompleted,
        Self::MismatchFound,
        Self::SourcesDisagreed,
        Self::IncompleteFound,
        Self::RiskScored,
        Self::RiskAbsent,
        Self::AllocationProposed,
        Self::AllocationInfeasible,
        Self::AnomalyFound,
        Self::Retracted,
    ];

    /// The number stored in the log.
    #[must_use]
    pub fn code(self) -> i16 {
        self as i16
    }

    /// The name, as hashed and published.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::BlockApplied => "chain.block_applied",
            Self::Event => "chain.event",
            Self::BlockAttested => "chain.block_attested",
            Self::BlockReverted => "chain.block_reverted",
            Self::BlockFinalized => "chain.block_finalized",
            Self::WatchWidened => "chain.watch_widened",
            Self::BlockSupplemented => "chain.block_supplemented",
            Self::WatchCompleted => "chain.watch_completed",
            Self::MismatchFound => "chain.mismatch_found",
            Self::SourcesDisagreed => "chain.sources_disagreed",
            Self::IncompleteFound => "chain.incomplete_found",
            Self::RiskScored => "risk.scored",
            Self::RiskAbsent => "risk.absent",
            Self::AllocationProposed => "allocation.proposed",
            Self::AllocationInfeasible => "allocation.infeasible",
            Self::AnomalyFound => "anomaly.found",
            Self::Retracted => "retracted",
        }
    }

    /// The version of the payload's layout that this code writes. It reads the earlier ones too.
    #[must_use]
    pub fn version(self) -> i16 {
        match self {
            Self::BlockAttested => 3,
            Self::BlockApplied => 2,
            _ => 1,
        }
    }

    /// The lane the kind belongs to.
    #[must_use]
    pub fn lane(self) -> Lane {
        match self {
            Self::RiskScored
            | Self::RiskAbsent
            | Self::AllocationProposed
            | Self::AllocationInfeasible
            | Self::AnomalyFound
            | Self::Retracted => Lane::Derived,
            _ => Lane::Chain,
        }
    }
}

impl TryFrom<i16> for Kind {
    type Error = UnknownKind;

    fn try_from(code: i16) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.code() == code).ok_or(UnknownKind(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_names_are_unique() {
        let mut names = std::collections::BTreeSet::new();
        for kind in Kind::ALL {
            assert_eq!(Kind::try_from(kind.code()), Ok(kind));
            assert!(names.insert(kind.name()));
        }
        assert_eq!(Kind::try_from(9), Err(UnknownKind(9)));
    }
}
