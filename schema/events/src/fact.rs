//! A fact and its payload: the one place where kinds and layouts meet.

use crate::cbor::{Canonical, DecodeError, Reader, Writer};
use crate::{
    Adopted, BlockApplied, BlockAttested, BlockFinalized, BlockReverted, EventData, Kind,
    RiskAbsent, RiskScored,
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
    /// See [`RiskScored`].
    RiskScored(RiskScored),
    /// See [`RiskAbsent`].
    RiskAbsent(RiskAbsent),
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
            Self::RiskScored(_) => Kind::RiskScored,
            Self::RiskAbsent(_) => Kind::RiskAbsent,
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
            Self::RiskScored(fact) => fact.write(&mut out),
            Self::RiskAbsent(fact) => fact.write(&mut out),
        }
        out.into_bytes()
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// When the version is unknown, the bytes are not the kind's layout, or are not in the form that
    /// [`Fact::encode`] writes.
    pub fn decode(kind: Kind, version: i16, payload: &[u8]) -> Result<Self, FactError> {
        if version != kind.version() {
            return Err(FactError::Version { kind, found: version, known: kind.version() });
        }
        let mut input = Reader::new(payload);
        let fact = match kind {
            Kind::Adopted => Self::Adopted(Adopted::read(&mut input)?),
            Kind::BlockApplied => Self::BlockApplied(BlockApplied::read(&mut input)?),
            Kind::Event => Self::Event(EventData::read(&mut input)?),
            Kind::BlockAttested => Self::BlockAttested(BlockAttested::read(&mut input)?),
            Kind::BlockReverted => Self::BlockReverted(BlockReverted::read(&mut input)?),
            Kind::BlockFinalized => Self::BlockFinalized(BlockFinalized::read(&mut input)?),
            Kind::RiskScored => Self::RiskScored(RiskScored::read(&mut input)?),
            Kind::RiskAbsent => Self::RiskAbsent(RiskAbsent::read(&mut input)?),
        };
        input.end()?;
        if fact.encode() != payload {
            return Err(DecodeError::NotCanonical.into());
        }
        Ok(fact)
    }
}
