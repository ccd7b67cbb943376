//! What the GraphQL server reads: read models as of a block, as known at a position.
//!
//! Every function takes the position that the request is pinned to and returns what stood then, so
//! that several statements of one request agree without a transaction around them. Nothing here
//! writes, and nothing returns more rows than its caller named.

use obsqra_types::{BlockNumber, ProtocolId};

pub mod activity;
pub mod allocation;
pub mod anomaly;
pub mod event;
pub mod market_metrics;
pub mod position;
pub mod price;
pub mod privacy_pool;
pub mod registry;
pub mod risk_score;

mod page;
mod state_key;

pub use crate::projection::Absent;
pub use page::{Direction, Page, PageRequest};
pub use position::Position;

/// A protocol as of a block: the key under which state is loaded.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ProtocolAt {
    /// The protocol.
    pub protocol: ProtocolId,
    /// The block at whose end the state is read.
    pub block: BlockNumber,
}
