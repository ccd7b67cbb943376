//! A block's commitments and its hash, from plain values.
//!
//! Covers the rules in force since Starknet 0.13.2: Poseidon, a Patricia tree of height 64 over the
//! positions of the leaves, and one hash over the header. Which rule applies follows from the header's
//! `starknet_version` alone ([`Version::era`]); for anything older that is `None`, and the rules are those
//! of [`pedersen`], with the same tree over another hash: [`patricia_root`] takes the hash of two nodes as a
//! parameter.
//!
//! The functions say nothing about who is right: equal results show that events, header and block hash
//! belong together, not that the chain ever accepted them.

pub mod pedersen;

use sha3::{Digest, Keccak256};
use starknet_crypto::Felt;

use crate::poseidon::{hash_lists, hash_many, hash_pairs};

/// Levels of the tree: keys are 64-bit positions.
const TREE_HEIGHT: u64 = 64;

/// A block's `starknet_version`, compared number by number (`0.13.1.1 < 0.13.2 < 0.14.0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 4]);

impl Version {
    /// Reads three or four decimal numbers separated by dots; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = [0_u32; 4];
        let mut count = 0;
        for part in text.split('.') {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            *parts.get_mut(count)? = part.parse().ok()?;
            count += 1;
        }
        (count >= 3).then_some(Self(parts))
    }

    /// The rules this version is hashed under, or `None` before 0.13.2.
    pub fn era(self) -> Option<Era> {
        if self >= Self([0, 13, 4, 0]) {
            Some(Era::GasPricesHashed)
        } else if self >= Self([0, 13, 2, 0]) {
            Some(Era::GasPricesListed)
        } else {
            None
        }
    }
}

/// The two sets of Poseidon rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// 0.13.2 and 0.13.3: prefix `STARKNET_BLOCK_HASH0`, the L1 gas prices as four elements.
    GasPricesListed,
    /// From 0.13.4: prefix `STARKNET_BLOCK_HASH1`, all gas prices as one hash.
    GasPricesHashed,
}

/// An event as its leaf sees it.
#[derive(Debug, Clone, Copy)]
pub struct EventFields<'a> {
    /// The emitting contract.
    pub from_address: Felt,
    /// The transaction whose receipt lists the event.
    pub transaction_hash: Felt,
    /// Keys in order; the first is the selector.
    pub keys: &'a [Felt],
    /// Data in order.
    pub data: &'a [Felt],
}

/// A message to L1 as the receipt's leaf sees it.
#[derive(Debug, Clone, Copy)]
pub struct MessageFields<'a> {
    /// The sending contract.
    pub from_address: Felt,
    /// The L1 address.
    pub to_address: Felt,
    /// The payload in order.
    pub payload: &'a [Felt],
}

/// A receipt as its leaf sees it.
#[derive(Debug, Clone, Copy)]
pub struct ReceiptFields<'a> {
    /// The transaction.
    pub transaction_hash: Felt,
    /// The fee charged, in the unit of the fee token.
    pub actual_fee: u128,
    /// Messages to L1, in order.
    pub messages: &'a [MessageFields<'a>],
    /// The exact revert text, if the transaction was reverted.
    pub revert_reason: Option<&'a str>,
    /// Total L1 gas.
    pub l1_gas: u64,
    /// Total L1 data gas.
    pub l1_data_gas: u64,
}

/// The price of one gas in both units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GasPrice {
    /// Price in wei (10⁻¹⁸ ETH).
    pub wei: u128,
    /// Price in fri (10⁻¹⁸ STRK).
    pub fri: u128,
}

/// Where a block's state diff is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DataAvailability {
    /// In a blob.
    Blob,
    /// In calldata.
    Calldata,
}

/// Everything of a header that its hash covers.
#[derive(Debug, Clone, Copy)]
pub struct HeaderFields<'a> {
    /// Height.
    pub block_number: u64,
    /// `new_root` of JSON-RPC, `state_root` of the feeder gateway.
    pub state_root: Felt,
    /// The sequencer's address.
    pub sequencer_address: Felt,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Number of transactions.
    pub transaction_count: u64,
    /// Number of events.
    pub event_count: u64,
    /// Length of the state diff.
    pub state_diff_length: u64,
    /// Where the state diff is published.
    pub l1_da_mode: DataAvailability,
    /// Commitment to the state diff.
    pub state_diff_commitment: Felt,
    /// Commitment to transactions and signatures.
    pub transaction_commitment: Felt,
    /// Commitment to the events.
    pub event_commitment: Felt,
    /// Commitment to the receipts.
    pub receipt_commitment: Felt,
    /// L1 gas.
    pub l1_gas_price: GasPrice,
    /// L1 data gas.
    pub l1_data_gas_price: GasPrice,
    /// L2 gas.
    pub l2_gas_price: GasPrice,
    /// Exactly as the header prints it.
    pub starknet_version: &'a str,
    /// Hash of the parent block.
    pub parent_hash: Felt,
}

/// The ASCII bytes of a text as one big-endian number; `None` for more than 31 bytes or other
/// characters.
pub fn ascii_felt(text: &str) -> Option<Felt> {
    (text.len() <= 31 && text.is_ascii()).then(|| Felt::from_bytes_be_slice(text.as_bytes()))
}

/// The root of the Patricia tree of height 64 whose keys are the positions of the leaves; 0 if there
/// are none. `hash_pairs` is the era's hash of two nodes, for many at once: the pairs of a level are
/// independent of each other.
pub fn patricia_root(
    leaves: &[Felt],
    mut hash_pairs: impl FnMut(&[[Felt; 2]]) -> Vec<Felt>,
) -> Felt {
    let Some((last, first)) = leaves.split_last() else {
        return Felt::ZERO;
    };
    let mut level = first.to_vec();
    // The last node of a level may be the single child of levels above it, which become one edge.
    let mut last = PendingNode { hash: *last, levels: 0 };
    for _ in 0..TREE_HEIGHT {
        if level.len() % 2 == 0 {
            last.levels += 1;
        } else {
            level.push(last.finish(&mut hash_pairs));
            last = PendingNode { hash: Felt::ZERO, levels: 0 };
        }
        let (pairs, _) = level.as_chunks::<2>();
        level = hash_pairs(pairs);
        if last.levels == 0
            && let Some(hash) = level.pop()
        {
            last.hash = hash;
        }
    }
    last.finish(&mut hash_pairs)
}

/// A node and the run of single-child levels above it.
#[derive(Clone, Copy)]
struct PendingNode {
    hash: Felt,
    levels: u64,
}

impl PendingNode {
    fn finish(self, hash_pairs: &mut impl FnMut(&[[Felt; 2]]) -> Vec<Felt>) -> Felt {
        if self.levels == 0 {
            return self.hash;
        }
        // One pair, one hash.
        let hash = hash_pairs(&[[self.hash, Felt::ZERO]]).pop().unwrap_or(Felt::ZERO);
        hash + Felt::from(self.levels)
    }
}

/// The root over leaves under the Poseidon rules.
pub fn poseidon_root(leaves: &[Felt]) -> Felt {
    patricia_root(leaves, hash_pairs)
}

/// The leaf of one event.
pub fn event_leaf(event: &EventFields<'_>) -> Felt {
    let mut input = Vec::with_capacity(4 + event.keys.len() + event.data.len());
    push_event(&mut input, event);
    hash_many(&input)
}

/// The leaves of many events, in their order. Leaves are independent of each other, so a caller may
/// compute them on several threads and hand them to [`poseidon_root`].
pub fn event_leaves(events: &[EventFields<'_>]) -> Vec<Felt> {
    let mut lists = FlatLists::with_capacity(events.len());
    for event in events {
        push_event(&mut lists.felts, event);
        lists.end_list();
    }
    lists.hashes()
}

/// How many permutations the leaves and the tree of so many events take, by the lengths of their keys and
/// data: what a bound on the time of checking starts from.
pub fn event_permutations(events: &[EventFields<'_>]) -> usize {
    let leaves = events.iter().map(|event| {
        crate::poseidon::permutations_of_list(4 + event.keys.len() + event.data.len())
    });
    let mut nodes = 0;
    let mut level = events.len();
    while level > 1 {
        nodes += level / 2;
        level = level.div_ceil(2);
    }
    leaves.sum::<usize>() + nodes
}

fn push_event(input: &mut Vec<Felt>, event: &EventFields<'_>) {
    input.push(event.from_address);
    input.push(event.transaction_hash);
    push_list(input, event.keys);
    push_list(input, event.data);
}

/// Lists one behind the other, to be hashed together.
#[derive(Default)]
struct FlatLists {
    felts: Vec<Felt>,
    ends: Vec<usize>,
}

impl FlatLists {
    fn with_capacity(lists: usize) -> Self {
        Self { felts: Vec::with_capacity(12 * lists), ends: Vec::with_capacity(lists) }
    }

    fn end_list(&mut self) {
        self.ends.push(self.felts.len());
    }

    fn hashes(&self) -> Vec<Felt> {
        let mut start = 0;
        let lists = self.ends.iter().map(|&end| {
            let list = self.felts.get(start..end).unwrap_or_default();
            start = end;
            list
        });
        hash_lists(lists)
    }
}

/// The commitment to all events of a block, in block order.
pub fn event_commitment(events: &[EventFields<'_>]) -> Felt {
    poseidon_root(&event_leaves(events))
}

/// The leaf of one transaction: its hash and its signature. Without a signature 0.13.2 and 0.13.3 put
/// a zero in its place.
pub fn transaction_leaf(era: Era, transaction_hash: Felt, signature: &[Felt]) -> Felt {
    let mut input = Vec::with_capacity(1 + signature.len());
    push_transaction(&mut input, era, (transaction_hash, signature));
    hash_many(&input)
}

fn push_transaction(input: &mut Vec<Felt>, era: Era, (hash, signature): (Felt, &[Felt])) {
    input.push(hash);
    input.extend_from_slice(signature);
    if signature.is_empty() && era == Era::GasPricesListed {
        input.push(Felt::ZERO);
    }
}

/// The commitment to all transactions of a block, each as (hash, signature).
pub fn transaction_commitment(era: Era, transactions: &[(Felt, &[Felt])]) -> Felt {
    let mut lists = FlatLists::with_capacity(transactions.len());
    for &(hash, signature) in transactions {
        push_transaction(&mut lists.felts, era, (hash, signature));
        lists.end_list();
    }
    poseidon_root(&lists.hashes())
}

/// The leaf of one receipt. The place of L2 gas is always 0, whatever the transaction consumed.
pub fn receipt_leaf(receipt: &ReceiptFields<'_>) -> Felt {
    let mut messages = Vec::new();
    push_messages(&mut messages, receipt.messages);
    hash_many(&receipt_list(receipt, hash_many(&messages)))
}

/// The commitment to all receipts of a block, in block order.
pub fn receipt_commitment(receipts: &[ReceiptFields<'_>]) -> Felt {
    let mut messages = FlatLists::with_capacity(receipts.len());
    for receipt in receipts {
        push_messages(&mut messages.felts, receipt.messages);
        messages.end_list();
    }
    let mut lists = FlatLists::with_capacity(receipts.len());
    for (receipt, messages) in receipts.iter().zip(messages.hashes()) {
        lists.felts.extend(receipt_list(receipt, messages));
        lists.end_list();
    }
    poseidon_root(&lists.hashes())
}

fn receipt_list(receipt: &ReceiptFields<'_>, messages: Felt) -> [Felt; 7] {
    [
        receipt.transaction_hash,
        Felt::from(receipt.actual_fee),
        messages,
        receipt.revert_reason.map_or(Felt::ZERO, revert_hash),
        Felt::ZERO,
        Felt::from(receipt.l1_gas),
        Felt::from(receipt.l1_data_gas),
    ]
}

fn push_messages(input: &mut Vec<Felt>, messages: &[MessageFields<'_>]) {
    input.push(count(messages.len()));
    for message in messages {
        input.push(message.from_address);
        input.push(message.to_address);
        push_list(input, message.payload);
    }
}

/// Keccak-256 of the text with the top six bits cleared.
fn revert_hash(reason: &str) -> Felt {
    let mut digest: [u8; 32] = Keccak256::digest(reason.as_bytes()).into();
    if let Some(top) = digest.first_mut() {
        *top &= 0x03;
    }
    Felt::from_bytes_be(&digest)
}

/// The commitment to a state diff, from its flattened list: everything after the prefix
/// `STARKNET_STATE_DIFF0`, each group sorted by its key and led by its count.
pub fn state_diff_commitment(flattened: &[Felt]) -> Felt {
    let mut input = Vec::with_capacity(1 + flattened.len());
    input.push(prefix(b"STARKNET_STATE_DIFF0"));
    input.extend_from_slice(flattened);
    hash_many(&input)
}

/// The hash over the three pairs of gas prices, from 0.13.4.
pub fn gas_prices_hash(l1: GasPrice, l1_data: GasPrice, l2: GasPrice) -> Felt {
    hash_many(&[
        prefix(b"STARKNET_GAS_PRICES0"),
        Felt::from(l1.wei),
        Felt::from(l1.fri),
        Felt::from(l1_data.wei),
        Felt::from(l1_data.fri),
        Felt::from(l2.wei),
        Felt::from(l2.fri),
    ])
}

/// Counts and data availability packed into one element: transactions, events, state diff length at
/// 64 bits each, then one bit.
pub fn packed_counts(header: &HeaderFields<'_>) -> Felt {
    let mut bytes = [0_u8; 32];
    let da_mode = match header.l1_da_mode {
        DataAvailability::Blob => 1_u64 << 63,
        DataAvailability::Calldata => 0,
    };
    let words = [header.transaction_count, header.event_count, header.state_diff_length, da_mode];
    for (place, word) in bytes.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_be_bytes());
    }
    Felt::from_bytes_be(&bytes)
}

/// The block hash of a header from 0.13.2 on; `None` for an older version or one that is no version.
pub fn block_hash(header: &HeaderFields<'_>) -> Option<Felt> {
    let era = Version::parse(header.starknet_version)?.era()?;
    let mut input = vec![
        match era {
            Era::GasPricesListed => prefix(b"STARKNET_BLOCK_HASH0"),
            Era::GasPricesHashed => prefix(b"STARKNET_BLOCK_HASH1"),
        },
        Felt::from(header.block_number),
        header.state_root,
        header.sequencer_address,
        Felt::from(header.timestamp),
        packed_counts(header),
        header.state_diff_commitment,
        header.transaction_commitment,
        header.event_commitment,
        header.receipt_commitment,
    ];
    push_gas_prices(&mut input, era, header);
    input.push(ascii_felt(header.starknet_version)?);
    input.push(Felt::ZERO);
    input.push(header.parent_hash);
    Some(hash_many(&input))
}

fn push_gas_prices(input: &mut Vec<Felt>, era: Era, header: &HeaderFields<'_>) {
    let (l1, l1_data) = (header.l1_gas_price, header.l1_data_gas_price);
    match era {
        Era::GasPricesListed => {
            input.extend([l1.wei, l1.fri, l1_data.wei, l1_data.fri].map(Felt::from));
        }
        Era::GasPricesHashed => input.push(gas_prices_hash(l1, l1_data, header.l2_gas_price)),
    }
}

fn push_list(input: &mut Vec<Felt>, list: &[Felt]) {
    input.push(count(list.len()));
    input.extend_from_slice(list);
}

fn count(len: usize) -> Felt {
    Felt::from(len)
}

fn prefix(ascii: &'static [u8; 20]) -> Felt {
    Felt::from_bytes_be_slice(ascii)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests;
