//! What tests share: a fresh database on a real server, a NATS server of their own, a writer of made-up
//! chains, two readings of a chain, from a node and from a log, and a table of jobs' effects. For tests
//! alone; nothing of the product depends on it.

mod chain;
mod database;
mod effects;
mod nats;
mod node;

pub use chain::{ChainWriter, MadeBlock, felt};
pub use database::{TestDatabase, TestSession};
pub use effects::{Effect, Effects};
pub use nats::{StoredMessage, TestNats};
pub use node::{ChainBlock, ChainEvent, canonical_blocks, node_blocks, read_log};
