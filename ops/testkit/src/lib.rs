//! What tests share: a fresh database on a real server, a NATS server of their own, a writer of made-up
//! chains. For tests alone; nothing of the product depends on it.

mod chain;
mod database;
mod nats;

pub use chain::{ChainWriter, felt};
pub use database::TestDatabase;
pub use nats::TestNats;
