//! The methods: each takes the ledger and parameters and answers with the bytes of its result.

use std::sync::Arc;

use serde_json::{Value, json};

use super::error::RpcError;
use super::events::get_events;
use super::params::{BlockId, Params, block_id};
use crate::chain::block::Origin;
use crate::chain::encode::{Detail, spelled};
use crate::chain::ledger::{Ledger, Served};
use crate::chain::seal::chain_id_felt;
use crate::spec::Style;

/// All methods that a node knows.
pub(crate) const METHODS: [&str; 14] = [
    "starknet_specVersion",
    "starknet_chainId",
    "starknet_syncing",
    "starknet_blockNumber",
    "starknet_blockHashAndNumber",
    "starknet_getBlockWithTxHashes",
    "starknet_getBlockWithTxs",
    "starknet_getBlockWithReceipts",
    "starknet_getBlockTransactionCount",
    "starknet_getEvents",
    "starknet_subscribeNewHeads",
    "starknet_unsubscribe",
    "obsqra_truth",
    "obsqra_recordedNumber",
];

/// What the methods answer from.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ledger: Ledger,
    pub(crate) chain_id: &'static str,
    pub(crate) style: Style,
}

/// Calls a method.
pub(crate) fn call(
    context: &Context,
    style: Style,
    method: &str,
    params: Option<&Value>,
) -> Result<Vec<u8>, RpcError> {
    let ledger = &context.ledger;
    let none = || Params::read(params, &[]);
    let block = |detail| block_with(ledger, style, params, detail);
    match method {
        "starknet_specVersion" => {
            none().map(|_| json!(style.spec.version()).to_string().into_bytes())
        }
        "starknet_chainId" => {
            none()?;
            bytes(&json!(spelled(&chain_id_felt(context.chain_id), style.felts)))
        }
        "starknet_syncing" => none().map(|_| b"false".to_vec()),
        "starknet_blockNumber" => {
            none()?;
            Ok(ledger.head().ok_or(RpcError::NO_BLOCKS)?.number.to_string().into_bytes())
        }
        "starknet_blockHashAndNumber" => {
            none()?;
            let head = ledger.head().ok_or(RpcError::NO_BLOCKS)?;
            bytes(
                &json!({ "block_hash": spelled(&head.hash, style.felts), "block_number": head.number }),
            )
        }
        "starknet_getBlockWithTxHashes" => block(Detail::Hashes),
        "starknet_getBlockWithTxs" => block(Detail::Transactions),
        "starknet_getBlockWithReceipts" => block(Detail::Receipts),
        "starknet_getBlockTransactionCount" => {
            let served = named_block(ledger, style, params)?;
            Ok(served.block.transactions.len().to_string().into_bytes())
        }
        "starknet_getEvents" => {
            let params = Params::read(params, &["filter"])?;
            get_events(ledger, style, params.required(0)?)
        }
        "obsqra_truth" => {
            let served = block_at_height(ledger, params)?;
            serde_json::to_vec(&served.truth).map_err(|_| RpcError::INTERNAL)
        }
        "obsqra_recordedNumber" => {
            let served = block_at_height(ledger, params)?;
            bytes(&match served.block.origin {
                Origin::Recorded { number } => json!(number),
                Origin::Seeded | Origin::Light => Value::Null,
            })
        }
        _ => Err(RpcError::METHOD_NOT_FOUND),
    }
}

/// The height that a call is about, for faults that wait for one.
pub(crate) fn height_asked_for(context: &Context, params: Option<&Value>) -> Option<u64> {
    let params = params?;
    let first =
        params.get(0).or_else(|| params.get("block_id")).or_else(|| params.get("block_number"))?;
    if let Some(number) = first.as_u64() {
        return Some(number);
    }
    find(&context.ledger, block_id(first, context.style.spec).ok()?)
        .ok()
        .map(|served| served.block.number)
}

fn bytes(value: &Value) -> Result<Vec<u8>, RpcError> {
    Ok(value.to_string().into_bytes())
}

fn block_with(
    ledger: &Ledger,
    style: Style,
    params: Option<&Value>,
    detail: Detail,
) -> Result<Vec<u8>, RpcError> {
    let served = named_block(ledger, style, params)?;
    let mut out = Vec::new();
    ledger
        .body(&served, detail, style.body())
        .append_to(&mut out, ledger.finality_of(served.block.number));
    Ok(out)
}

fn named_block(
    ledger: &Ledger,
    style: Style,
    params: Option<&Value>,
) -> Result<Arc<Served>, RpcError> {
    let params = Params::read(params, &["block_id"])?;
    find(ledger, block_id(params.required(0)?, style.spec)?)
}

/// The block that a caller names.
pub(crate) fn find(ledger: &Ledger, id: BlockId) -> Result<Arc<Served>, RpcError> {
    let found = match id {
        BlockId::Number(number) => ledger.by_number(number),
        BlockId::Hash(hash) => ledger.by_hash(&hash),
        BlockId::Latest => ledger.head().and_then(|head| ledger.by_number(head.number)),
        BlockId::L1Accepted => ledger.l1_head().and_then(|number| ledger.by_number(number)),
        // The node makes whole blocks only: there is never one in the making.
        BlockId::PreConfirmed => None,
    };
    found.ok_or(RpcError::BLOCK_NOT_FOUND)
}

fn block_at_height(ledger: &Ledger, params: Option<&Value>) -> Result<Arc<Served>, RpcError> {
    let params = Params::read(params, &["block_number"])?;
    let number = params
        .required(0)?
        .as_u64()
        .ok_or_else(|| RpcError::invalid_params("block_number is no height"))?;
    ledger.by_number(number).ok_or(RpcError::BLOCK_NOT_FOUND)
}
