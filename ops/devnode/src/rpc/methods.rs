//! The methods: each takes the ledger and parameters and answers with the bytes of its result.

use serde_json::{Value, json};

use super::error::RpcError;
use super::events::get_events;
use super::params::{BlockId, Params, block_id};
use crate::chain::block::Origin;
use crate::chain::encode::{Detail, hex};
use crate::chain::ledger::{Ledger, Served};
use crate::chain::seal::chain_id_felt;
use std::sync::Arc;

/// The specification the answers follow.
pub const SPEC_VERSION: &str = "0.10.0";

/// What the methods answer from.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) ledger: Ledger,
    pub(crate) chain_id: &'static str,
}

/// Calls a method.
pub(crate) fn call(
    context: &Context,
    method: &str,
    params: Option<&Value>,
) -> Result<Vec<u8>, RpcError> {
    let ledger = &context.ledger;
    let none = || Params::read(params, &[]);
    let block = |detail| block_with(ledger, params, detail);
    match method {
        "starknet_specVersion" => none().map(|_| json!(SPEC_VERSION).to_string().into_bytes()),
        "starknet_chainId" => {
            none().map(|_| json!(hex(&chain_id_felt(context.chain_id))).to_string().into_bytes())
        }
        "starknet_syncing" => none().map(|_| b"false".to_vec()),
        "starknet_blockNumber" => {
            none()?;
            Ok(ledger.head().ok_or(RpcError::NO_BLOCKS)?.number.to_string().into_bytes())
        }
        "starknet_blockHashAndNumber" => {
            none()?;
            let head = ledger.head().ok_or(RpcError::NO_BLOCKS)?;
            bytes(&json!({ "block_hash": hex(&head.hash), "block_number": head.number }))
        }
        "starknet_getBlockWithTxHashes" => block(Detail::Hashes),
        "starknet_getBlockWithTxs" => block(Detail::Transactions),
        "starknet_getBlockWithReceipts" => block(Detail::Receipts),
        "starknet_getBlockTransactionCount" => {
            let served = named_block(ledger, params)?;
            Ok(served.block.transactions.len().to_string().into_bytes())
        }
        "starknet_getEvents" => {
            let params = Params::read(params, &["filter"])?;
            get_events(ledger, params.required(0)?)
        }
        "obsqra_truth" => {
            let served = block_at_height(ledger, params)?;
            serde_json::to_vec(&served.truth).map_err(|_| RpcError::INTERNAL)
        }
        "obsqra_recordedNumber" => {
            let served = block_at_height(ledger, params)?;
            bytes(&match served.block.origin {
                Origin::Recorded { number } => json!(number),
                Origin::Seeded => Value::Null,
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
    find(&context.ledger, block_id(first).ok()?).ok().map(|served| served.block.number)
}

fn bytes(value: &Value) -> Result<Vec<u8>, RpcError> {
    Ok(value.to_string().into_bytes())
}

fn block_with(
    ledger: &Ledger,
    params: Option<&Value>,
    detail: Detail,
) -> Result<Vec<u8>, RpcError> {
    let served = named_block(ledger, params)?;
    let mut out = Vec::new();
    served.body(detail).append_to(&mut out, ledger.finality_of(served.block.number));
    Ok(out)
}

fn named_block(ledger: &Ledger, params: Option<&Value>) -> Result<Arc<Served>, RpcError> {
    let params = Params::read(params, &["block_id"])?;
    find(ledger, block_id(params.required(0)?)?)
}

fn find(ledger: &Ledger, id: BlockId) -> Result<Arc<Served>, RpcError> {
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
