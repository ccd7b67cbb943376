//! What the log holds: kinds of entries, their canonical bytes, their hashes, and the subjects and
//! bodies under which they are published.
//!
//! The bytes are fixed for good (see `ops/docs/decisions/0001-entry-format.md`): golden files hold
//! one example of each kind. The package does no I/O, reads no clock and makes no randomness; it never
//! hashes JSON.

mod cause;
mod cbor;
mod chain;
pub mod commitments;
mod derived;
mod entry;
mod fact;
mod kind;
mod message;
mod set_digest;
mod subject;

pub use cause::{Cause, Causes, MAX_CAUSES, TooManyCauses};
pub use cbor::DecodeError;
pub use chain::{
    Adopted, AdoptedWhat, BlockApplied, BlockAttested, BlockFinalized, BlockReverted, Check,
    DaMode, EventData, GasPrice, SuppliedCommitments, Verdict,
};
pub use derived::{AbsentInput, RiskAbsent, RiskComponents, RiskInputs, RiskScored};
pub use entry::{Draft, Entry, EntryHash, chain_hash, content_hash};
pub use fact::{Fact, FactError};
pub use kind::{Kind, Lane, UnknownKind};
pub use message::{Finality, Message, MessageContext};
pub use set_digest::SetDigest;
pub use subject::{Subject, chain_filter, derived_filter};
