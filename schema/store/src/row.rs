//! Conversions between columns and types, in one place, so that nothing is cast silently.

use chrono::{DateTime, Utc};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Felt, Hash32, RecordedAt, Seq,
    UnixSeconds, felt_from_bytes,
};

use crate::StoreError;

pub(crate) fn to_i64(value: u64, what: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Range(what))
}

pub(crate) fn to_i32(value: u32, what: &'static str) -> Result<i32, StoreError> {
    i32::try_from(value).map_err(|_| StoreError::Range(what))
}

/// A number of bytes in memory.
pub(crate) fn size(value: usize, what: &'static str) -> Result<i32, StoreError> {
    i32::try_from(value).map_err(|_| StoreError::Range(what))
}

pub(crate) fn seq(value: i64) -> Result<Seq, StoreError> {
    u64::try_from(value).map(Seq).map_err(|_| StoreError::Range("seq"))
}

pub(crate) fn number(value: i64) -> Result<BlockNumber, StoreError> {
    u64::try_from(value).map(BlockNumber).map_err(|_| StoreError::Range("block number"))
}

pub(crate) fn epoch(value: i32) -> Result<BranchEpoch, StoreError> {
    u32::try_from(value).map(BranchEpoch).map_err(|_| StoreError::Range("branch epoch"))
}

pub(crate) fn count(value: i32) -> Result<u32, StoreError> {
    u32::try_from(value).map_err(|_| StoreError::Range("count"))
}

/// A total that never falls below zero.
pub(crate) fn total(value: i64) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Range("total"))
}

pub(crate) fn hash32(bytes: &[u8]) -> Result<Hash32, StoreError> {
    Hash32::try_from(bytes).map_err(|_| StoreError::Range("digest"))
}

pub(crate) fn felt(bytes: &[u8]) -> Result<Felt, StoreError> {
    bytes.try_into().ok().and_then(felt_from_bytes).ok_or(StoreError::Range("felt"))
}

pub(crate) fn block_hash(bytes: &[u8]) -> Result<BlockHash, StoreError> {
    felt(bytes).map(BlockHash)
}

pub(crate) fn felt_bytes(value: &Felt) -> Vec<u8> {
    value.to_bytes_be().to_vec()
}

pub(crate) fn timestamp(value: UnixSeconds) -> Result<DateTime<Utc>, StoreError> {
    value.to_datetime().ok_or(StoreError::Range("timestamp"))
}

pub(crate) fn unix_seconds(value: DateTime<Utc>) -> Result<UnixSeconds, StoreError> {
    u64::try_from(value.timestamp()).map(UnixSeconds).map_err(|_| StoreError::Range("timestamp"))
}

pub(crate) fn recorded_at(value: DateTime<Utc>) -> RecordedAt {
    RecordedAt(value.timestamp_micros())
}

pub(crate) fn chain_id(text: &str) -> Result<ChainId, StoreError> {
    ChainId::new(text).map_err(|_| StoreError::Range("chain id"))
}

/// The three block columns of a row, which are set or null together.
pub(crate) fn block_ref(
    block_number: Option<i64>,
    branch_epoch: Option<i32>,
    occurred_at: Option<DateTime<Utc>>,
) -> Result<Option<BlockRef>, StoreError> {
    match (block_number, branch_epoch, occurred_at) {
        (None, None, None) => Ok(None),
        (Some(n), Some(e), Some(t)) => {
            Ok(Some(BlockRef { number: number(n)?, epoch: epoch(e)?, timestamp: unix_seconds(t)? }))
        }
        _ => Err(StoreError::Range("block reference")),
    }
}
