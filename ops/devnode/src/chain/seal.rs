//! Seals drafts into a chain: makes up what a source does not know, computes commitments, block hash
//! and parent link under the rules of 0.14.1.
//!
//! What is made up is a function of chain name, branch, height and content, so equal drafts give equal
//! bytes. The branch number enters the state root alone: that is what gives a competing chain other
//! hashes although a recording's events are the same on both sides.

use obsqra_events::commitments::{
    DataAvailability, Era, EventFields, GasPrice, HeaderFields, ReceiptFields, block_hash,
    event_commitment, receipt_commitment, transaction_commitment,
};
use starknet_types_core::felt::Felt;

use super::block::{BlockDraft, GasPrices, Origin, SealedBlock, Transaction, TransactionDraft};
use super::felts::{made_up, name};

/// The version every sealed header carries.
pub const STARKNET_VERSION: &str = "0.14.1";

/// The sequencer every sealed header names.
pub const SEQUENCER_ADDRESS: Felt =
    Felt::from_hex_unchecked("0x6f62737172612d6465762d73657175656e636572");

/// Where the next block goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Height of the block to seal.
    pub number: u64,
    /// Hash of the block below, 0 at height 0.
    pub parent_hash: Felt,
    /// Which competing chain it belongs to; 0 is the first.
    pub branch: u32,
}

/// Seals blocks of one chain.
#[derive(Debug, Clone)]
pub struct Sealer {
    chain_id: &'static str,
}

impl Sealer {
    /// A sealer for the chain of that name.
    pub fn new(chain_id: &'static str) -> Self {
        Self { chain_id }
    }

    /// The chain's name.
    pub fn chain_id(&self) -> &'static str {
        self.chain_id
    }

    /// Seals one draft at a position.
    pub fn seal(&self, draft: BlockDraft, at: Position) -> SealedBlock {
        let transactions: Vec<Transaction> = draft
            .transactions
            .into_iter()
            .enumerate()
            .map(|(index, transaction)| self.complete(transaction, index, at))
            .collect();
        let event_commitment = event_commitment(&event_fields(&transactions));
        let signed: Vec<(Felt, &[Felt])> = transactions
            .iter()
            .map(|transaction| (transaction.hash, transaction.signature.as_slice()))
            .collect();
        let transaction_commitment = transaction_commitment(Era::GasPricesHashed, &signed);
        let receipts: Vec<ReceiptFields<'_>> = transactions.iter().map(receipt_fields).collect();
        let receipt_commitment = receipt_commitment(&receipts);
        let mut block = SealedBlock {
            number: at.number,
            hash: Felt::ZERO,
            parent_hash: at.parent_hash,
            timestamp: draft.timestamp,
            new_root: self.derive("state root", at, &event_commitment.to_bytes_be()),
            gas_prices: gas_prices(at.number),
            transaction_commitment,
            event_commitment,
            receipt_commitment,
            state_diff_commitment: self.derive("state diff", at, &event_commitment.to_bytes_be()),
            state_diff_length: u64::try_from(transactions.len())
                .unwrap_or(u64::MAX)
                .saturating_mul(2),
            origin: draft.origin,
            transactions,
        };
        block.hash = hash_of(&block);
        block
    }

    fn complete(&self, draft: TransactionDraft, index: usize, at: Position) -> Transaction {
        let place = u64::try_from(index).unwrap_or(u64::MAX).to_be_bytes();
        let hash = draft.recorded_hash.unwrap_or_else(|| self.derive("transaction", at, &place));
        let id = hash.to_bytes_be();
        let sizes = made_up("sizes", &[&id]).to_be_digits();
        Transaction {
            hash,
            sender: draft.sender.unwrap_or_else(|| made_up("sender", &[&id])),
            signature: [made_up("signature r", &[&id]), made_up("signature s", &[&id])],
            nonce: sizes[1] % 1_000_000,
            actual_fee: 1_000_000_000_000_000 + u128::from(sizes[2] % 9_000_000_000_000_000),
            l1_data_gas: 128 + sizes[3] % 8 * 64,
            l2_gas: 800_000 + sizes[3] % 40_000_000,
            events: draft.events,
        }
    }

    fn derive(&self, domain: &str, at: Position, more: &[u8]) -> Felt {
        let (branch, number) = (at.branch.to_be_bytes(), at.number.to_be_bytes());
        let parent_hash = at.parent_hash.to_bytes_be();
        made_up(domain, &[self.chain_id.as_bytes(), &branch, &number, &parent_hash, more])
    }
}

fn event_fields(transactions: &[Transaction]) -> Vec<EventFields<'_>> {
    let events = transactions
        .iter()
        .flat_map(|transaction| transaction.events.iter().map(|event| (transaction.hash, event)));
    events
        .map(|(transaction_hash, event)| EventFields {
            from_address: event.from_address,
            transaction_hash,
            keys: &event.keys,
            data: &event.data,
        })
        .collect()
}

fn receipt_fields(transaction: &Transaction) -> ReceiptFields<'static> {
    ReceiptFields {
        transaction_hash: transaction.hash,
        actual_fee: transaction.actual_fee,
        messages: &[],
        revert_reason: None,
        l1_gas: 0,
        l1_data_gas: transaction.l1_data_gas,
    }
}

/// Prices that move a little with the height, as a real chain's do.
pub(crate) fn gas_prices(number: u64) -> GasPrices {
    let step = u128::from(number % 1_000);
    GasPrices {
        l1: GasPrice {
            wei: 1_000_000_000 + step * 1_000_000,
            fri: 22_000_000_000_000 + step * 20_000_000_000,
        },
        l1_data: GasPrice { wei: 1 + step % 7, fri: 22_085 + step },
        l2: GasPrice { wei: 136_000 + step, fri: 3_000_000_000 + step * 1_000 },
    }
}

fn hash_of(block: &SealedBlock) -> Felt {
    let header = HeaderFields {
        block_number: block.number,
        state_root: block.new_root,
        sequencer_address: SEQUENCER_ADDRESS,
        timestamp: block.timestamp,
        transaction_count: u64::try_from(block.transactions.len()).unwrap_or(u64::MAX),
        event_count: u64::try_from(block.event_count()).unwrap_or(u64::MAX),
        state_diff_length: block.state_diff_length,
        l1_da_mode: DataAvailability::Blob,
        state_diff_commitment: block.state_diff_commitment,
        transaction_commitment: block.transaction_commitment,
        event_commitment: block.event_commitment,
        receipt_commitment: block.receipt_commitment,
        l1_gas_price: block.gas_prices.l1,
        l1_data_gas_price: block.gas_prices.l1_data,
        l2_gas_price: block.gas_prices.l2,
        starknet_version: STARKNET_VERSION,
        parent_hash: block.parent_hash,
    };
    // The version is a constant of a known era, so there is always a hash.
    block_hash(&header).unwrap_or(Felt::ZERO)
}

/// The members of a sealed block's JSON that its source did not supply.
pub(crate) fn made_up_names(origin: Origin) -> impl Iterator<Item = &'static str> {
    const ALWAYS: [&str; 14] = [
        "parent_hash",
        "block_hash",
        "new_root",
        "sequencer_address",
        "l1_gas_price",
        "l1_data_gas_price",
        "l2_gas_price",
        "l1_da_mode",
        "starknet_version",
        "state_diff_commitment",
        "state_diff_length",
        "transactions.transaction",
        "transactions.receipt.actual_fee",
        "transactions.receipt.execution_resources",
    ];
    let seeded: &[&str] = match origin {
        Origin::Recorded { .. } => &[],
        Origin::Seeded | Origin::Light => {
            &["timestamp", "transactions.receipt.transaction_hash", "transactions.receipt.events"]
        }
    };
    ALWAYS.into_iter().chain(seeded.iter().copied())
}

/// The chain's name as `starknet_chainId` answers it.
pub(crate) fn chain_id_felt(chain_id: &str) -> Felt {
    name(chain_id)
}
