//! Seeded blocks of a fixed number of events, in memory, as a source hands them on.
//!
//! An event has three keys and five felts of data, all of full width, and comes from the one watched contract: what
//! is measured is how fast blocks are taken in, and no decoder ever reads them.

use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_indexer::source::SourceBlock;
use obsqra_types::{
    BlockHash, BlockNumber, ContractAddress, EventIndex, Felt, TransactionHash, UnixSeconds,
};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

const SEED: u64 = 1;
const KEYS: usize = 3;
const DATA: usize = 5;
const EVENTS_PER_TRANSACTION: u32 = 8;
/// The contract of all events.
const CONTRACT: Felt = Felt::from_hex_unchecked("0x6f62737172615f62656e63685f6d61726b6574");
const GENESIS: u64 = 1_700_000_000;
const BLOCK_SECONDS: u64 = 6;

/// Makes blocks one after the other.
pub(super) struct Blocks {
    events: u32,
    rng: StdRng,
    next: BlockNumber,
    parent: BlockHash,
}

impl Blocks {
    pub(super) fn new(events: u32) -> Self {
        let rng = StdRng::seed_from_u64(SEED);
        Self { events, rng, next: BlockNumber(0), parent: BlockHash(Felt::ZERO) }
    }

    pub(super) fn contract() -> ContractAddress {
        ContractAddress(CONTRACT)
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<SourceBlock> {
        (0..count).map(|_| self.block()).collect()
    }

    fn block(&mut self) -> SourceBlock {
        let events = self.events();
        let transactions = self.events.div_ceil(EVENTS_PER_TRANSACTION).into();
        let (number, parent_hash) = (self.next, self.parent);
        let hash = BlockHash(self.felt());
        self.next = number.next();
        self.parent = hash;
        SourceBlock {
            number,
            hash,
            parent_hash,
            timestamp: UnixSeconds(GENESIS + number.0 * BLOCK_SECONDS),
            new_root: self.felt(),
            sequencer: ContractAddress(self.felt()),
            starknet_version: "0.14.1".into(),
            da_mode: DaMode::Blob,
            l1_gas: GasPrice { fri: 22_000_000_000_000, wei: 1_000_000_000 },
            l1_data_gas: GasPrice { fri: 22_085, wei: 1 },
            l2_gas: Some(GasPrice { fri: 3_000_000_000, wei: 136_000 }),
            supplied: Some(SuppliedCommitments {
                transaction_count: transactions,
                event_count: self.events.into(),
                state_diff_length: transactions * 2,
                transaction_commitment: self.felt(),
                event_commitment: self.felt(),
                receipt_commitment: self.felt(),
                state_diff_commitment: self.felt(),
            }),
            transactions: Some(transactions),
            events,
        }
    }

    fn events(&mut self) -> Vec<EventData> {
        let mut transaction_hash = TransactionHash(Felt::ZERO);
        let mut events = Vec::new();
        for index in 0..self.events {
            if index % EVENTS_PER_TRANSACTION == 0 {
                transaction_hash = TransactionHash(self.felt());
            }
            events.push(EventData {
                index: EventIndex(index),
                transaction_index: index / EVENTS_PER_TRANSACTION,
                transaction_hash,
                from_address: Self::contract(),
                keys: (0..KEYS).map(|_| self.felt()).collect(),
                data: (0..DATA).map(|_| self.felt()).collect(),
            });
        }
        events
    }

    /// Of 248 bits, so that it is one whatever they are.
    fn felt(&mut self) -> Felt {
        let mut bytes = [0; 32];
        self.rng.fill_bytes(&mut bytes[1..]);
        Felt::from_bytes_be(&bytes)
    }
}
