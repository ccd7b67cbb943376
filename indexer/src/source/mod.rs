//! Where blocks come from: nodes over JSON-RPC, one of which leads at a time.
//!
//! [`JsonRpcSource`] is one node, [`NodePool`] several of the same chain, [`HeadWatch`] a hint when
//! to look at a node's head. No address is ever printed whole.

mod address;
mod block;
mod dna;
mod error;
mod feeder;
mod file;
mod heads;
pub mod pool;
mod rpc;
mod secret;
mod spec;

pub use address::Socket;
pub use block::{SourceBlock, SourceMessage, SourceReceipt, SourceTransaction, TransactionKind};
pub use dna::{DnaCursor, DnaMessage, DnaOptions, DnaSource, DnaStart, DnaStatus, DnaStream};
pub use error::{MismatchedBlock, Remedy, SourceError};
pub use file::{BlockFileError, BlockShape, read_block_file};
pub use heads::{HeadWatch, HeadWatchOptions, Woken};
pub use pool::{
    Leader, NodePool, NodeStatus, PoolOptions, ReceivedBlock, SourceFinding, UncheckedBlock,
};
pub use rpc::{Identity, JsonRpcOptions, JsonRpcSource};
pub use secret::{Secret, SecretError};
pub use spec::Spec;
