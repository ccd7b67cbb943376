//! What can go wrong at the database.

use obsqra_types::{BlockNumber, Partition, Seq};

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
    /// A stored value is not what this program writes.
    #[error("log entry {seq}: {problem}")]
    Corrupt {
        /// The entry's position; 0 where the value stands in another table.
        seq: Seq,
        /// What is wrong with it.
        problem: String,
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
            _ => false,
        }
    }
}
