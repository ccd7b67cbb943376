//! Why a role stops.

use obsqra_bus::BusError;
use obsqra_events::FactError;
use obsqra_policy::PolicyError;
use obsqra_protocols::{FoldError, RegistryError};
use obsqra_store::StoreError;
use obsqra_types::Seq;

use crate::checkpoint::file::CheckpointFileError;

/// An error of a role.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// The log or a table cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The bus cannot be used.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The checkpoint file cannot be used.
    #[error(transparent)]
    CheckpointFile(#[from] CheckpointFileError),
    /// The stream holds messages of another log.
    #[error(
        "the NATS stream ends at position {stream}, but the log ends at {log}: it was filled from another log; delete the stream, and it is filled from this one"
    )]
    StreamAhead {
        /// Where the stream ends.
        stream: Seq,
        /// Where the log ends.
        log: Seq,
    },
    /// An entry's payload cannot be read.
    #[error("log entry {seq}: {source}")]
    Entry {
        /// The entry.
        seq: Seq,
        /// What is wrong with it.
        #[source]
        source: FactError,
    },
    /// An adopted registry cannot be read.
    #[error("log entry {seq}: adopted registry: {source}")]
    Registry {
        /// The entry that adopted it.
        seq: Seq,
        /// What is wrong with it.
        #[source]
        source: RegistryError,
    },
    /// An adopted policy file cannot be read.
    #[error("log entry {seq}: adopted policies: {source}")]
    Policies {
        /// The entry that adopted it.
        seq: Seq,
        /// What is wrong with it.
        #[source]
        source: PolicyError,
    },
    /// The log does not hold together.
    #[error("log entry {seq}: {problem}")]
    Log {
        /// The entry.
        seq: Seq,
        /// What is wrong.
        problem: String,
    },
    /// One read model is to be rebuilt beside others that another program made.
    #[error(
        "the read models are those of another program: run `obsqra project rebuild all`, or wait until the projector has made them anew"
    )]
    OtherRules,
    /// Somebody's reading is in the way of new read models.
    #[error(
        "for {seconds} s a transaction was open that reads the read models, or began before they were filled: the old ones stand; end it, `pg_stat_activity` shows it, and run this again"
    )]
    InUse {
        /// How long it was waited for.
        seconds: u64,
    },
    /// The fold refuses a block.
    #[error("folding the log at {seq}: {source}")]
    Fold {
        /// The entry.
        seq: Seq,
        /// Why.
        #[source]
        source: FoldError,
    },
}

impl WorkError {
    /// The log does not hold together at an entry.
    pub(crate) fn log(seq: Seq, problem: String) -> Self {
        Self::Log { seq, problem }
    }

    /// Whether trying again later may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Bus(BusError::Foreign { .. }) => false,
            Self::Bus(_) => true,
            _ => false,
        }
    }
}
