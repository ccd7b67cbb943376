//! A block's commitments and its hash, from plain values.
//!
//! Covers the rules in force since Starknet 0.13.2: Poseidon, a Patricia tree of height 64 over the
//! positions of the leaves, and one hash over the header. Which rule applies follows from the header's
//! `starknet_version` alone ([`Version::era`]); for anything older that is `None`, and the rules are those
//! of [`pedersen`], with the same tree over another hash: [`patricia_roots`] takes the hash of two nodes as a
//! parameter.
//!
//! The functions say nothing about who is right: equal results show that events, header and block hash
//! belong together, not that the chain ever accepted them.

mod lists;
pub mod pedersen;
mod tree;

pub use lists::Lists;
pub use tree::{patricia_roots, permutations_of_root};

use sha3::{Digest, Keccak256};
use starknet_crypto::Felt;

use crate::poseidon::{hash_many, hash_pairs};

/// Longest version text: what fits one element of the field.
pub const MAX_VERSION_BYTES: usize = 31;

/// A block's `starknet_version`, compared number by number (`0.13.1.1 < 0.13.2 < 0.14.0`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version([u32; 4]);

impl Version {
    /// Reads three or four decimal numbers separated by dots; anything else is `None`, numbers with leading
    /// zeros and texts of more than [`MAX_VERSION_BYTES`] included: they have no place in a block hash.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_VERSION_BYTES {
            return None;
        }
        let mut parts = [0_u32; 4];
        let mut count = 0;
        for part in text.split('.') {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            if !is_number || (part.len() > 1 && part.starts_with('0')) {
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
    (text.len() <= MAX_VERSION_BYTES && text.is_ascii())
        .then(|| Felt::from_bytes_be_slice(text.as_bytes()))
}

/// The root over leaves under the Poseidon rules.
pub fn poseidon_root(leaves: &[Felt]) -> Felt {
    // One tree, one root.
    poseidon_roots(vec![leaves.to_vec()]).pop().unwrap_or(Felt::ZERO)
}

/// The roots over many lists of leaves under the Poseidon rules.
pub fn poseidon_roots(trees: Vec<Vec<Felt>>) -> Vec<Felt> {
    patricia_roots(trees, hash_pairs)
}

/// The leaf of one event.
pub fn event_leaf(event: &EventFields<'_>) -> Felt {
    one(|lists| lists.push_event(event))
}

/// The leaves of many events, in their order. Leaves are independent of each other, so a caller may
/// compute them on several threads and hand them to [`poseidon_root`].
pub fn event_leaves(events: &[EventFields<'_>]) -> Vec<Felt> {
    let mut lists = Lists::with_capacity(events.len());
    events.iter().for_each(|event| lists.push_event(event));
    lists.hashes()
}

/// The hash of a single list.
fn one(push: impl FnOnce(&mut Lists)) -> Felt {
    let mut lists = Lists::with_capacity(1);
    push(&mut lists);
    // One list, one hash.
    lists.hashes().pop().unwrap_or(Felt::ZERO)
}

/// The commitment to all events of a block, in block order.
pub fn event_commitment(events: &[EventFields<'_>]) -> Felt {
    poseidon_root(&event_leaves(events))
}

/// The leaf of one transaction; see [`Lists::push_transaction`].
pub fn transaction_leaf(era: Era, transaction_hash: Felt, signature: &[Felt]) -> Felt {
    one(|lists| lists.push_transaction(era, (transaction_hash, signature)))
}

/// The commitment to all transactions of a block, each as (hash, signature).
pub fn transaction_commitment(era: Era, transactions: &[(Felt, &[Felt])]) -> Felt {
    let mut lists = Lists::with_capacity(transactions.len());
    transactions.iter().for_each(|transaction| lists.push_transaction(era, *transaction));
    poseidon_root(&lists.hashes())
}

/// The leaf of one receipt; see [`Lists::push_receipt`].
pub fn receipt_leaf(receipt: &ReceiptFields<'_>) -> Felt {
    let messages = one(|lists| lists.push_messages(receipt.messages));
    one(|lists| lists.push_receipt(receipt, messages))
}

/// The commitment to all receipts of a block, in block order.
pub fn receipt_commitment(receipts: &[ReceiptFields<'_>]) -> Felt {
    let mut messages = Lists::with_capacity(receipts.len());
    receipts.iter().for_each(|receipt| messages.push_messages(receipt.messages));
    let mut lists = Lists::with_capacity(receipts.len());
    for (receipt, messages) in receipts.iter().zip(messages.hashes()) {
        lists.push_receipt(receipt, messages);
    }
    poseidon_root(&lists.hashes())
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
pub fn gas_prices_hash(header: &HeaderFields<'_>) -> Felt {
    one(|lists| lists.push_gas_prices(header))
}

fn push_gas_prices(input: &mut Vec<Felt>, header: &HeaderFields<'_>) {
    input.push(prefix(b"STARKNET_GAS_PRICES0"));
    for price in [header.l1_gas_price, header.l1_data_gas_price, header.l2_gas_price] {
        input.extend([price.wei, price.fri].map(Felt::from));
    }
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
    let gas_prices = match Version::parse(header.starknet_version)?.era()? {
        Era::GasPricesListed => None,
        Era::GasPricesHashed => Some(gas_prices_hash(header)),
    };
    let mut input = Vec::with_capacity(17);
    push_header(&mut input, header, gas_prices)?;
    Some(hash_many(&input))
}

/// What the block hash is taken over, given the hash of the gas prices in the era that has one.
fn push_header(
    input: &mut Vec<Felt>,
    header: &HeaderFields<'_>,
    gas_prices: Option<Felt>,
) -> Option<()> {
    let era = Version::parse(header.starknet_version)?.era()?;
    input.extend([
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
    ]);
    match era {
        Era::GasPricesListed => {
            let (l1, l1_data) = (header.l1_gas_price, header.l1_data_gas_price);
            input.extend([l1.wei, l1.fri, l1_data.wei, l1_data.fri].map(Felt::from));
        }
        Era::GasPricesHashed => input.push(gas_prices?),
    }
    input.push(ascii_felt(header.starknet_version)?);
    input.extend([Felt::ZERO, header.parent_hash]);
    Some(())
}

fn prefix(ascii: &'static [u8; 20]) -> Felt {
    Felt::from_bytes_be_slice(ascii)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests;
