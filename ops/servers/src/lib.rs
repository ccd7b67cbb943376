//! A private PostgreSQL cluster and a private nats-server under one data directory.
//!
//! `obsqra run`, the benchmarks and the tests start both here, on free ports of 127.0.0.1, so that
//! servers already on the machine are neither used nor disturbed. A server outlives a supervisor that
//! is killed; the next one on the same data directory adopts it, or starts it again after a crash.
//!
//! It takes no configuration from the environment and speaks neither SQL nor NATS to the product: it
//! hands out URLs. One data directory has one supervisor at a time, held by a file lock. Passwords and the
//! NATS token are generated once, lie in files of mode 0600, and never enter an argument list, a
//! child's environment or a log.

mod account;
mod data_dir;
mod error;
mod nats;
mod port;
mod postgres;
mod process;
mod secret;
mod tools;

pub use data_dir::scratch_dir;
pub use error::ServerError;
pub use nats::{NatsOptions, PrivateNats};
pub use postgres::{DatabaseUrls, PostgresOptions, PrivatePostgres};
pub use secret::{DatabaseUrl, Secret};
pub use tools::ToolPaths;

/// What a server promises to keep when the machine loses power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Every acknowledged write is on disk: production and benchmarks.
    Full,
    /// Nothing is synced, so a killed server loses nothing but a machine without power does: tests.
    Throwaway,
}
