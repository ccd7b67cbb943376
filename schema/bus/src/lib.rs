//! The only code that names NATS: the streams of each chain, publishing to them, and being woken.
//!
//! The log is the only truth. The bus carries copies of facts and wakes workers; whoever needs order or
//! completeness reads the log from a cursor. Publishing is at least once: a message id names the fact,
//! and `Obsqra-Seq` its position.

mod checkpoints;
mod connect;
mod error;
mod publish;
mod replay;
mod stream;
mod wake;

pub use checkpoints::CheckpointStream;
pub use connect::{Bus, BusOptions, Secret};
pub use error::BusError;
pub use publish::{MAX_BATCH, Outgoing};
pub use replay::{InvalidReplayName, ReplayChannel, ReplayMessage, ReplayName};
pub use stream::{ChainStream, StreamLimits, StreamPosition};
pub use wake::Wake;
