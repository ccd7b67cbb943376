//! A fact and its payload: the one place where kinds and layouts meet.

use crate::cbor::{Canonical, DecodeError, Reader, Writer};
use crate::chain::{BlockAppliedV1, BlockAttestedV1, BlockAttestedV2};
use crate::{
    Adopted, AllocationInfeasible, AllocationProposed, AnomalyFound, BlockApplied, BlockAttested,
    BlockFinalized, BlockReverted, BlockSupplemented, Causes, EventData, IncompleteFound, Kind,
    MismatchFound, Retracted, RiskAbsent, RiskScored, SourcesDisagreed, WatchCompleted,
    WatchWidened,
};

/// What an entry states.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fact {
    /// See [`Adopted`].
    Adopted(Adopted),
    /// See [`BlockApplied`].
    BlockApplied(BlockApplied),
    /// See [`EventData`].
    Event(EventData),
    /// See [`BlockAttested`].
    BlockAttested(BlockAttested),
    /// See [`BlockReverted`].
    BlockReverted(BlockReverted),
    /// See [`BlockFinalized`].
    BlockFinalized(BlockFinalized),
    /// See [`WatchWidened`].
    WatchWidened(WatchWidened),
    /// See [`BlockSupplemented`].
    BlockSupplemented(BlockSupplemented),
    /// See [`WatchCompleted`].
    WatchCompleted(WatchCompleted),
    /// See [`MismatchFound`].
    MismatchFound(MismatchFound),
    /// See [`SourcesDisagreed`].
    SourcesDisagreed(SourcesDisagreed),
    /// See [`IncompleteFound`].
    IncompleteFound(IncompleteFound),
    /// See [`RiskScored`].
    RiskScored(RiskScored),
    /// See [`RiskAbsent`].
    RiskAbsent(RiskAbsent),
    /// See [`AllocationProposed`].
    AllocationProposed(AllocationProposed),
    /// See [`AllocationInfeasible`].
    AllocationInfeasible(AllocationInfeasible),
    /// See [`AnomalyFound`].
    AnomalyFound(AnomalyFound),
    /// See [`Retracted`].
    Retracted(Retracted),
}

/// An entry's payload cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FactError {
    /// The layout is of a version this code does not know.
    #[error("{kind} has version {found}, this program reads version {known}", kind = kind.name())]
    Version {
        /// The entry's kind.
        kind: Kind,
        /// The entry's version.
        found: i16,
        /// The version that this code reads.
        known: i16,
    },
    /// The bytes are not the layout's.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl Fact {
    /// The kind of entry that states it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Adopted(_) => Kind::Adopted,
            Self::BlockApplied(_) => Kind::BlockApplied,
            Self::Event(_) => Kind::Event,
            Self::BlockAttested(_) => Kind::BlockAttested,
            Self::BlockReverted(_) => Kind::BlockReverted,
            Self::BlockFinalized(_) => Kind::BlockFinalized,
            Self::WatchWidened(_) => Kind::WatchWidened,
            Self::BlockSupplemented(_) => Kind::BlockSupplemented,
            Self::WatchCompleted(_) => Kind::WatchCompleted,
            Self::MismatchFound(_) => Kind::MismatchFound,
            Self::SourcesDisagreed(_) => Kind::SourcesDisagreed,
            Self::IncompleteFound(_) => Kind::IncompleteFound,
            Self::RiskScored(_) => Kind::RiskScored,
            Self::RiskAbsent(_) => Kind::RiskAbsent,
            Self::AllocationProposed(_) => Kind::AllocationProposed,
            Self::AllocationInfeasible(_) => Kind::AllocationInfeasible,
            Self::AnomalyFound(_) => Kind::AnomalyFound,
            Self::Retracted(_) => Kind::Retracted,
        }
    }

    /// What a fact derived from figures names as its causes; `None` for any other.
    #[must_use]
    pub fn causes(&self) -> Option<&Causes> {
        match self {
            Self::RiskScored(fact) => Some(&fact.causes),
            Self::RiskAbsent(fact) => Some(&fact.causes),
            Self::AllocationProposed(fact) => Some(&fact.basis.causes),
            Self::AllocationInfeasible(fact) => Some(&fact.basis.causes),
            Self::AnomalyFound(fact) => Some(&fact.causes),
            _ => None,
        }
    }

    /// The canonical payload: an array of the key and the body.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(512);
        match self {
            Self::Adopted(fact) => fact.write(&mut out),
            Self::BlockApplied(fact) => fact.write(&mut out),
            Self::Event(fact) => fact.write(&mut out),
            Self::BlockAttested(fact) => fact.write(&mut out),
            Self::BlockReverted(fact) => fact.write(&mut out),
            Self::BlockFinalized(fact) => fact.write(&mut out),
            Self::WatchWidened(fact) => fact.write(&mut out),
            Self::BlockSupplemented(fact) => fact.write(&mut out),
            Self::WatchCompleted(fact) => fact.write(&mut out),
            Self::MismatchFound(fact) => fact.write(&mut out),
            Self::SourcesDisagreed(fact) => fact.write(&mut out),
            Self::IncompleteFound(fact) => fact.write(&mut out),
            Self::RiskScored(fact) => fact.write(&mut out),
            Self::RiskAbsent(fact) => fact.write(&mut out),
            Self::AllocationProposed(fact) => fact.write(&mut out),
            Self::AllocationInfeasible(fact) => fact.write(&mut out),
            Self::AnomalyFound(fact) => fact.write(&mut out),
            Self::Retracted(fact) => fact.write(&mut out),
        }
        out.into_bytes()
    }

    /// Reads a payload of this version or an earlier one.
    ///
    /// # Errors
    /// When the version is unknown, the bytes are not the kind's layout, or are not in the form that
    /// the version's encoding writes.
    pub fn decode(kind: Kind, version: i16, payload: &[u8]) -> Result<Self, FactError> {
        let fact = match (kind, version) {
            (Kind::BlockApplied, 1) => Self::BlockApplied(read::<BlockAppliedV1>(payload)?.fact),
            (Kind::BlockAttested, 1) => Self::BlockAttested(read::<BlockAttestedV1>(payload)?.0),
            (Kind::BlockAttested, 2) => Self::BlockAttested(read::<BlockAttestedV2>(payload)?.0),
            (kind, version) if version != kind.version() => {
                return Err(FactError::Version { kind, found: version, known: kind.version() });
            }
            (Kind::Adopted, _) => Self::Adopted(read(payload)?),
            (Kind::BlockApplied, _) => Self::BlockApplied(read(payload)?),
            (Kind::Event, _) => Self::Event(read(payload)?),
            (Kind::BlockAttested, _) => Self::BlockAttested(read(payload)?),
            (Kind::BlockReverted, _) => Self::BlockReverted(read(payload)?),
            (Kind::BlockFinalized, _) => Self::BlockFinalized(read(payload)?),
            (Kind::WatchWidened, _) => Self::WatchWidened(read(payload)?),
            (Kind::BlockSupplemented, _) => Self::BlockSupplemented(read(payload)?),
            (Kind::WatchCompleted, _) => Self::WatchCompleted(read(payload)?),
            (Kind::MismatchFound, _) => Self::MismatchFound(read(payload)?),
            (Kind::SourcesDisagreed, _) => Self::SourcesDisagreed(read(payload)?),
            (Kind::IncompleteFound, _) => Self::IncompleteFound(read(payload)?),
            (Kind::RiskScored, _) => Self::RiskScored(read(payload)?),
            (Kind::RiskAbsent, _) => Self::RiskAbsent(read(payload)?),
            (Kind::AllocationProposed, _) => Self::AllocationProposed(read(payload)?),
            (Kind::AllocationInfeasible, _) => Self::AllocationInfeasible(read(payload)?),
            (Kind::AnomalyFound, _) => Self::AnomalyFound(read(payload)?),
            (Kind::Retracted, _) => Self::Retracted(read(payload)?),
        };
        Ok(fact)
    }
}

/// Reads a whole payload, and refuses what its own encoding would not have written.
fn read<T: Canonical>(payload: &[u8]) -> Result<T, DecodeError> {
    let mut input = Reader::new(payload);
    let fact = T::read(&mut input)?;
    input.end()?;
    let mut again = Writer::with_capacity(payload.len());
    fact.write(&mut again);
    if again.into_bytes() != payload {
        return Err(DecodeError::NotCanonical);
    }
    Ok(fact)
}
