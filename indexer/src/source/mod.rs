//! Where blocks come from.

mod block;
mod error;
mod rpc;

pub use block::SourceBlock;
pub use error::{Remedy, SourceError};
pub use rpc::{JsonRpcOptions, JsonRpcSource};
