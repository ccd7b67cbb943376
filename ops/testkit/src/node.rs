//! What a Starknet node says its blocks hold, read with nothing of the product, and the same of a log, so
//! that the two can be compared.

use std::collections::BTreeSet;

use obsqra_events::{Entry, EventData, Fact};
use obsqra_store::{Store, log};
use obsqra_types::{ContractAddress, Felt, Seq, felt_hex};
use serde_json::{Value, json};

/// A block with the events of watched contracts: felts as nodes write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainBlock {
    /// Height.
    pub number: u64,
    /// Hash.
    pub hash: String,
    /// The hash of the block below.
    pub parent_hash: String,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Watched events, in block order.
    pub events: Vec<ChainEvent>,
}

/// An event of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainEvent {
    /// Its place among all events of the block.
    pub index: u64,
    /// The transaction that emitted it.
    pub transaction_hash: String,
    /// The contract that emitted it.
    pub contract: String,
    /// Its keys.
    pub keys: Vec<String>,
    /// Its data.
    pub data: Vec<String>,
}

/// Asks a node for its blocks of a range of heights, both inclusive.
///
/// # Panics
/// When the node does not answer as the specification says.
pub async fn node_blocks(
    url: &str,
    (from, to): (u64, u64),
    watched: &BTreeSet<ContractAddress>,
) -> Vec<ChainBlock> {
    let watched: BTreeSet<String> = watched.iter().map(ToString::to_string).collect();
    let client = reqwest::Client::new();
    let mut blocks = Vec::new();
    for number in from..=to {
        let request = json!({
            "jsonrpc": "2.0", "id": 1, "method": "starknet_getBlockWithReceipts",
            "params": [{ "block_number": number }],
        });
        let answer = client.post(url).json(&request).send().await.expect("the node answers");
        let answer: Value = answer.json().await.expect("the node answers in JSON");
        blocks.push(block(&answer["result"], &watched));
    }
    blocks
}

fn block(block: &Value, watched: &BTreeSet<String>) -> ChainBlock {
    let mut events = Vec::new();
    let mut index = 0;
    for transaction in list(&block["transactions"]) {
        let receipt = &transaction["receipt"];
        for event in list(&receipt["events"]) {
            if watched.contains(&text(&event["from_address"])) {
                events.push(ChainEvent {
                    index,
                    transaction_hash: text(&receipt["transaction_hash"]),
                    contract: text(&event["from_address"]),
                    keys: list(&event["keys"]).iter().map(text).collect(),
                    data: list(&event["data"]).iter().map(text).collect(),
                });
            }
            index += 1;
        }
    }
    ChainBlock {
        number: number(&block["block_number"]),
        hash: text(&block["block_hash"]),
        parent_hash: text(&block["parent_hash"]),
        timestamp: number(&block["timestamp"]),
        events,
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// The whole log, which must be dense.
///
/// # Panics
/// When it is not, or the database does not answer.
pub async fn read_log(store: &Store) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(Seq::BEFORE_FIRST, |entry| entry.seq);
        let more = log::read_after(store, after, 5_000).await.expect("the database answers");
        if more.is_empty() {
            return entries;
        }
        assert_eq!(more[0].seq, after.next(), "the log is dense");
        entries.extend(more);
    }
}

/// The canonical blocks of a log, lowest first.
///
/// # Panics
/// When an entry cannot be read, an event does not follow its block, or a revert does not name the newest
/// block.
#[must_use]
pub fn canonical_blocks(entries: &[Entry]) -> Vec<ChainBlock> {
    let mut blocks: Vec<ChainBlock> = Vec::new();
    for entry in entries {
        match entry.draft.fact().expect("a readable entry") {
            Fact::BlockApplied(applied) => {
                let at = entry.draft.block.expect("a block's entry");
                let block = ChainBlock {
                    number: at.number.0,
                    hash: applied.hash.to_string(),
                    parent_hash: applied.parent_hash.to_string(),
                    timestamp: at.timestamp.0,
                    events: Vec::new(),
                };
                blocks.push(block);
            }
            Fact::Event(event) => {
                let block = blocks.last_mut().expect("an event follows its block");
                assert_eq!(entry.draft.block.map(|at| at.number.0), Some(block.number));
                block.events.push(logged(&event));
            }
            Fact::BlockReverted(reverted) => {
                let block = blocks.pop().expect("a revert follows its block");
                assert_eq!(entry.draft.block.map(|at| at.number.0), Some(block.number));
                assert_eq!(reverted.hash.to_string(), block.hash);
            }
            _ => {}
        }
    }
    blocks
}

fn logged(event: &EventData) -> ChainEvent {
    let felts = |felts: &[Felt]| felts.iter().map(felt_hex).collect();
    ChainEvent {
        index: u64::from(event.index.0),
        transaction_hash: event.transaction_hash.to_string(),
        contract: event.from_address.to_string(),
        keys: felts(&event.keys),
        data: felts(&event.data),
    }
}
