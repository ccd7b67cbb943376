//! A block out of a file: as a node answers it or as the feeder gateway does, plain or compressed, by itself
//! or inside what it was answered in (`result`, `data`, `block`).

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::value::RawValue;

use super::SourceBlock;
use super::feeder::FeederBody;
use super::rpc::body::BlockBody;

/// The largest file, after decompression, in bytes.
const MAX_FILE: u64 = 256 << 20;
/// The first bytes of what gzip compressed.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Members that a block may be inside of.
const WRAPPERS: [&str; 3] = ["result", "data", "block"];
/// Most wrappers around a block.
const MAX_DEPTH: usize = 4;

/// How a file has its block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BlockShape {
    /// `starknet_getBlockWithReceipts`.
    JsonRpc,
    /// `get_block` of the feeder gateway.
    FeederGateway,
}

impl fmt::Display for BlockShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::JsonRpc => "JSON-RPC, starknet_getBlockWithReceipts",
            Self::FeederGateway => "feeder gateway, get_block",
        })
    }
}

/// A file holds no block that can be read.
#[derive(Debug, thiserror::Error)]
pub enum BlockFileError {
    /// It is too large.
    #[error("longer than {MAX_FILE} bytes")]
    TooLong,
    /// It cannot be decompressed.
    #[error("it begins as gzip does and cannot be decompressed: {0}")]
    Gzip(#[source] std::io::Error),
    /// It is no JSON.
    #[error("no JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// It is some other JSON.
    #[error(
        "no block: expected an answer of starknet_getBlockWithReceipts or a feeder gateway's block, with block_hash and transactions"
    )]
    NoBlock,
    /// The block is not as it should be.
    #[error("{shape}: {problem}")]
    Shape {
        /// How the file has its block.
        shape: BlockShape,
        /// What is wrong.
        problem: String,
    },
}

/// Reads a block.
///
/// # Errors
/// Says what the file is instead.
pub fn read_block_file(bytes: &[u8]) -> Result<(BlockShape, SourceBlock), BlockFileError> {
    let text = decompressed(bytes)?;
    let mut value = serde_json::from_slice::<&RawValue>(&text).map_err(BlockFileError::NotJson)?;
    for _ in 0..MAX_DEPTH {
        let Ok(members) = serde_json::from_str::<BTreeMap<String, &RawValue>>(value.get()) else {
            return Err(BlockFileError::NoBlock);
        };
        if members.contains_key("transactions") {
            let is_feeder = members.contains_key("transaction_receipts");
            return if is_feeder { feeder(value.get()) } else { json_rpc(value.get()) };
        }
        let Some(inside) = WRAPPERS.iter().find_map(|name| members.get(*name)) else {
            return Err(BlockFileError::NoBlock);
        };
        value = inside;
    }
    Err(BlockFileError::NoBlock)
}

fn feeder(text: &str) -> Result<(BlockShape, SourceBlock), BlockFileError> {
    let shape = BlockShape::FeederGateway;
    let body = serde_json::from_str::<FeederBody>(text).map_err(|error| error.to_string());
    let block = body.and_then(FeederBody::assemble);
    Ok((shape, block.map_err(|problem| BlockFileError::Shape { shape, problem })?))
}

fn json_rpc(text: &str) -> Result<(BlockShape, SourceBlock), BlockFileError> {
    let shape = BlockShape::JsonRpc;
    let body = serde_json::from_str::<BlockBody>(text).map_err(|error| error.to_string());
    let block = body.and_then(BlockBody::assemble);
    Ok((shape, block.map_err(|problem| BlockFileError::Shape { shape, problem })?))
}

fn decompressed(bytes: &[u8]) -> Result<Vec<u8>, BlockFileError> {
    let mut text = Vec::new();
    if bytes.starts_with(&GZIP) {
        let mut input = GzDecoder::new(bytes).take(MAX_FILE + 1);
        input.read_to_end(&mut text).map_err(BlockFileError::Gzip)?;
    } else {
        text.extend_from_slice(bytes);
    }
    if text.len() as u64 > MAX_FILE {
        return Err(BlockFileError::TooLong);
    }
    Ok(text)
}
