//! Keys of state as the columns that statements take, and back.

use obsqra_types::ProtocolId;

use super::ProtocolAt;
use crate::{StoreError, row};

/// Keys as two columns of equal length, for `unnest`.
pub(super) struct Columns {
    pub(super) protocols: Vec<String>,
    pub(super) blocks: Vec<i64>,
}

impl Columns {
    pub(super) fn of(keys: &[ProtocolAt]) -> Result<Self, StoreError> {
        Ok(Self {
            protocols: keys.iter().map(|key| key.protocol.to_string()).collect(),
            blocks: keys
                .iter()
                .map(|key| row::to_i64(key.block.0, "block number"))
                .collect::<Result<_, _>>()?,
        })
    }
}

pub(super) fn key(protocol: &str, block: i64) -> Result<ProtocolAt, StoreError> {
    Ok(ProtocolAt { protocol: protocol_id(protocol)?, block: row::number(block)? })
}

pub(super) fn protocol_id(text: &str) -> Result<ProtocolId, StoreError> {
    ProtocolId::new(text).map_err(|_| StoreError::Range("protocol id"))
}
