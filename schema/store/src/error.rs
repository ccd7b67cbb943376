//! What can go wrong at the database.

use obsqra_types::{BlockNumber, BranchEpoch, JobId, JobKind, Partition, Seq};

/// An error of the store. Which of them may pass by itself, [`StoreError::is_transient`] tells.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or cannot be reached.
    #[error("database: {0}")]
    Database(#[source] sqlx::Error),
    /// A migration failed.
    #[error("migration: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// Another process holds the partition now.
    #[error("{0} is held by another process: this one stops writing to it")]
    LeaseLost(Partition),
    /// The database found that entries do not follow from the last one of the log. Trying again does not
    /// help: something else wrote the log's head, or this program computes hashes otherwise.
    #[error(
        "the log refuses entries that do not follow: {0}; run `obsqra log verify` and compare this program's version with the database's"
    )]
    AppendRefused(String),
    /// A fact with the same key and other bytes is in the log.
    #[error(
        "{subject} at block {block} is in the log at {seq} with other content: a fact must be a function of the log"
    )]
    KeyConflict {
        /// What the fact is about.
        subject: String,
        /// Its block.
        block: BlockNumber,
        /// Where the earlier one stands.
        seq: Seq,
    },
    /// A fact is to be retracted whose block is part of the canonical chain.
    #[error(
        "{subject} at block {block} on branch {epoch} is to be retracted, but the block is canonical: a retraction must follow from the log; check it with `obsqra log verify` and `obsqra derive verify`"
    )]
    StillCanonical {
        /// Kind and subject of the fact.
        subject: String,
        /// Its block.
        block: BlockNumber,
        /// The block's branch.
        epoch: BranchEpoch,
    },
    /// A stored value is not what this program writes.
    #[error("log entry {seq}: {problem}")]
    Corrupt {
        /// The entry's position; 0 where the value stands in another table.
        seq: Seq,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process holds the job now, or it was taken back from this one.
    #[error("job {0} was taken back from this process: what it did for it is not written")]
    JobLost(JobId),
    /// There is no such job.
    #[error("there is no job {0}: it never was, or it ended long ago")]
    NoSuchJob(JobId),
    /// The job is in a state in which that cannot be done.
    #[error("job {id} is {state}: that cannot be done to it")]
    JobRefused {
        /// The job.
        id: JobId,
        /// Its state.
        state: &'static str,
    },
    /// There is no room for another job of the kind.
    #[error(
        "{max_open} jobs of kind {kind} are queued or leased, and no more may be: they have to be worked off first"
    )]
    JobsFull {
        /// The kind.
        kind: JobKind,
        /// Its bound.
        max_open: u32,
    },
    /// A number does not fit its column or its type.
    #[error("{0} is out of range")]
    Range(&'static str),
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

impl StoreError {
    /// Whether trying again later may help: the connection broke, the server starts or stops, a lock
    /// was not to be had, or its disk is full.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database(sqlx::Error::Database(error)) => error.code().is_some_and(|code| {
                // Connection exceptions, insufficient resources, operator intervention, deadlock and
                // serialization failures, and sessions ended for standing idle.
                ["08", "53", "57"].iter().any(|class| code.starts_with(class))
                    || matches!(code.as_ref(), "40001" | "40P01" | "55P03" | "25P03" | "25P04")
            }),
            Self::Database(
                sqlx::Error::Io(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::WorkerCrashed,
            ) => true,
            Self::JobsFull { .. } => true,
            _ => false,
        }
    }
}
