//! The only SQL of the project: the log, keys, leases, cursors, snapshots and read models, one module
//! a table.
//!
//! A unit of progress is one transaction. Locks are taken in one order: lease, then the writer's own
//! cursor and read-model rows, then `log_head`; key rows are written while `log_head` is held (see
//! `ops/docs/decisions/0003-leases-and-lock-order.md`). Nothing slow or external happens inside a
//! transaction.

mod connect;
mod error;
mod migrate;
mod row;
mod whole;

pub mod attested;
pub mod chain_tip;
pub mod checkpoint;
pub mod child_contract;
pub mod cursor;
pub mod daily_report;
pub mod dead_letter;
pub mod finding;
pub mod job;
pub mod key;
pub mod lease;
mod lease_keeper;
pub mod log;
pub mod notify;
pub mod projection;
pub mod read;
pub mod relay_subject;
pub mod retraction;
pub mod snapshot;
pub mod watch;

pub use connect::{Role, Store, StoreOptions};
pub use error::StoreError;
pub use lease::{Fence, Lease};
pub use lease_keeper::LeaseKeeper;
pub use log::{AppendOutcome, Head, Key, Keyed};
pub use migrate::migrate;

/// A transaction of the store.
pub type Transaction = sqlx::Transaction<'static, sqlx::Postgres>;
