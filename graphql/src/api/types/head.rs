//! The newest block.

use async_graphql::{Enum, SimpleObject};
use chrono::{DateTime, Utc};
use obsqra_store::read::Position;
use obsqra_types::ChainId;

use super::{height, instant};
use crate::error::ApiError;

/// How final a block is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finality {
    /// The block may still be reverted.
    #[graphql(name = "ACCEPTED_ON_L2")]
    AcceptedOnL2,
    /// The block's proof is verified on L1: it cannot be reverted.
    #[graphql(name = "ACCEPTED_ON_L1")]
    AcceptedOnL1,
}

/// The newest block that the read models hold.
#[derive(SimpleObject)]
pub(crate) struct Head {
    /// Position of the log up to which every entry is applied: a decimal integer.
    seq: String,
    /// Height of the block.
    block_number: i32,
    /// Hash of the block: a felt in hex without leading zeros.
    block_hash: String,
    /// Header timestamp of the block, to the second.
    timestamp: DateTime<Utc>,
    /// How final the block is.
    finality: Finality,
    /// Blocks between this one and the highest block known to exist; 0 when there is none.
    lag_blocks: i32,
    /// Name of the chain, such as `SN_MAIN`.
    chain_id: String,
}

impl Head {
    pub(crate) fn new(position: Position, chain: &ChainId) -> Result<Self, ApiError> {
        let finality =
            if position.is_final() { Finality::AcceptedOnL1 } else { Finality::AcceptedOnL2 };
        Ok(Self {
            seq: position.seq.to_string(),
            block_number: height(position.block)?,
            block_hash: position.hash.to_string(),
            timestamp: instant(position.timestamp)?,
            finality,
            lag_blocks: i32::try_from(position.lag_blocks()).unwrap_or(i32::MAX),
            chain_id: chain.to_string(),
        })
    }
}
