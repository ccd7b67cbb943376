//! Watched events.

use async_graphql::{Json, Object};
use chrono::{DateTime, Utc};
use obsqra_store::read::event;
use obsqra_types::{Seq, felt_hex};
use serde_json::Value;

use super::{height, instant, int};
use crate::error::ApiError;

/// An event of a watched contract.
pub(crate) struct Event(pub(crate) event::Event);

impl Event {
    /// Its log entry.
    pub(crate) fn entry(&self) -> Seq {
        self.0.seq
    }
}

/// An event that a watched contract emitted in a canonical block. Felts are hex without leading
/// zeros.
#[Object]
impl Event {
    /// Position of the event's log entry: a decimal integer.
    async fn seq(&self) -> String {
        self.0.seq.to_string()
    }

    /// Key of the protocol that the contract belongs to, such as `zklend`.
    async fn protocol(&self) -> &str {
        self.0.protocol.as_str()
    }

    /// Name of the event; null where no known layout fits it.
    async fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// The contract that emitted it: a felt.
    async fn contract(&self) -> String {
        self.0.contract.to_string()
    }

    /// The event's keys, the selector first: felts.
    async fn keys(&self) -> Vec<String> {
        self.0.keys.iter().map(felt_hex).collect()
    }

    /// The event's data: felts.
    async fn data(&self) -> Vec<String> {
        self.0.data.iter().map(felt_hex).collect()
    }

    /// The decoded members by name; null where no known layout fits. Felts are hex, integers beyond
    /// 53 bits decimal strings, amounts in the token's smallest unit.
    async fn decoded(&self) -> Option<Json<&Value>> {
        self.0.decoded.as_ref().map(Json)
    }

    /// Height of the block.
    async fn block_number(&self) -> Result<i32, ApiError> {
        height(self.0.block)
    }

    /// Hash of the block: a felt.
    async fn block_hash(&self) -> String {
        self.0.block_hash.to_string()
    }

    /// Hash of the transaction that emitted it: a felt.
    async fn transaction_hash(&self) -> String {
        self.0.transaction.to_string()
    }

    /// Place of the event in its block, counted over all events of the block from 0.
    async fn event_index(&self) -> Result<i32, ApiError> {
        int(self.0.index.0, "event index")
    }

    /// Header timestamp of the block, to the second.
    async fn timestamp(&self) -> Result<DateTime<Utc>, ApiError> {
        instant(self.0.timestamp)
    }
}
