//! A block before and after sealing.
//!
//! A draft is what a source knows: time, transactions and their events. Everything else of a sealed
//! block is made up by the sealer, which lists the names of what it made up.

use obsqra_events::commitments::GasPrice;
use starknet_types_core::felt::Felt;

/// An event: emitter, keys, data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The emitting contract.
    pub from_address: Felt,
    /// Keys in order; the first is the selector.
    pub keys: Vec<Felt>,
    /// Data in order.
    pub data: Vec<Felt>,
}

/// A transaction as far as a source knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionDraft {
    /// The hash of a recorded transaction; `None` lets the sealer derive one.
    pub recorded_hash: Option<Felt>,
    /// The account; `None` lets the sealer derive one.
    pub sender: Option<Felt>,
    /// Events in order.
    pub events: Vec<Event>,
}

/// Where a block's events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A recorded block and the height it has on its own chain.
    Recorded {
        /// Height on the recorded chain.
        number: u64,
    },
    /// The generator.
    Seeded,
    /// The generator of load: nothing of it is true to any protocol.
    Light,
}

/// A block before sealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockDraft {
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Where the events come from.
    pub origin: Origin,
    /// Transactions in order.
    pub transactions: Vec<TransactionDraft>,
}

/// A transaction of a sealed block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    /// Transaction hash.
    pub hash: Felt,
    /// Sending account.
    pub sender: Felt,
    /// Two made-up felts.
    pub signature: [Felt; 2],
    /// Made-up nonce.
    pub nonce: u64,
    /// Made-up fee in fri.
    pub actual_fee: u128,
    /// Made-up L1 data gas.
    pub l1_data_gas: u64,
    /// Made-up L2 gas.
    pub l2_gas: u64,
    /// Events in order.
    pub events: Vec<Event>,
}

/// The three gas prices of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GasPrices {
    /// L1 gas.
    pub l1: GasPrice,
    /// L1 data gas.
    pub l1_data: GasPrice,
    /// L2 gas.
    pub l2: GasPrice,
}

/// A block with all header fields of spec 0.10; those of a light block that commit to something are 0 and
/// never served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedBlock {
    /// Height.
    pub number: u64,
    /// Block hash.
    pub hash: Felt,
    /// The parent's hash; 0 for block 0.
    pub parent_hash: Felt,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Made-up state root.
    pub new_root: Felt,
    /// Made-up gas prices.
    pub gas_prices: GasPrices,
    /// Commitment to the transactions.
    pub transaction_commitment: Felt,
    /// Commitment to the events.
    pub event_commitment: Felt,
    /// Commitment to the receipts.
    pub receipt_commitment: Felt,
    /// Made-up commitment to a state diff that is never served.
    pub state_diff_commitment: Felt,
    /// Made-up length of that state diff.
    pub state_diff_length: u64,
    /// Where the events come from.
    pub origin: Origin,
    /// Transactions in order.
    pub transactions: Vec<Transaction>,
}

impl SealedBlock {
    /// Number of events over all transactions.
    pub fn event_count(&self) -> usize {
        self.transactions.iter().map(|transaction| transaction.events.len()).sum()
    }

    /// All events in block order, each with its transaction's hash.
    pub fn events(&self) -> impl Iterator<Item = (Felt, &Event)> {
        self.transactions.iter().flat_map(|transaction| {
            transaction.events.iter().map(move |event| (transaction.hash, event))
        })
    }
}
