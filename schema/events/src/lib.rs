//! What the log holds: kinds of entries, their canonical bytes, their hashes, and the subjects and
//! bodies under which they are published.
//!
//! The bytes are fixed for good (see `ops/docs/decisions/0001-entry-format.md`): golden files hold
//! one example of each kind. The package does no I/O, reads no clock and makes no randomness; it never
//! hashes JSON.

mod allocation;
mod anomaly;
mod cause;
mod cbor;
mod chain;
mod checkpoint;
pub mod commitments;
mod completeness;
mod derived;
mod entry;
mod events_digest;
mod export;
mod fact;
mod kind;
pub mod merkle;
mod message;
pub mod poseidon;
mod proof;
mod retracted;
mod set_digest;
mod subject;
mod watch;

pub use allocation::{
    AllocationBasis, AllocationInfeasible, AllocationProposed, Binding, Candidate, CandidateInput,
    Constraint, DropReason, Dropped, Infeasibility, Measured, PolicyRef, Share, WHOLE,
};
pub use anomaly::{AnomalyFound, Phase, Severity};
pub use cause::{Cause, Causes, MAX_CAUSES, TooManyCauses};
pub use cbor::DecodeError;
pub use chain::{
    Adopted, AdoptedWhat, BlockApplied, BlockAttested, BlockFinalized, BlockReverted, Check,
    ComputedCommitments, DaMode, EventData, GasPrice, SuppliedCommitments, Verdict,
};
pub use checkpoint::{
    CHECKPOINT_INTERVAL, Checkpoint, CheckpointError, InvalidKey, KeyId, PublicKey,
    SignedCheckpoint, SigningKey,
};
pub use completeness::{
    Difference, IncompleteFound, MismatchFound, SourceStatement, SourcesDisagreed,
};
pub use derived::{AbsentInput, RiskAbsent, RiskComponents, RiskInputs, RiskScored};
pub use entry::{Draft, Entry, EntryHash, chain_hash, content_hash};
pub use events_digest::EventsDigest;
pub use export::{export_checkpoint, export_end, export_entry, export_header, export_manifest};
pub use fact::{Fact, FactError};
pub use kind::{Kind, Lane, UnknownKind};
pub use message::{
    Finality, Message, MessageContext, MessageSchema, entry_body, message_schema, message_schemas,
};
pub use proof::{Proof, ProofError};
pub use retracted::Retracted;
pub use set_digest::SetDigest;
pub use subject::{Subject, chain_filters, checkpoint_subject, derived_filter, final_filter};
pub use watch::{BlockSupplemented, WatchCompleted, WatchWidened};
