//! Seeded blocks of a fixed number of events, in memory, as a source hands them on.
//!
//! An event has three keys and five felts of data, all of full width, and comes from the one watched contract: what
//! is measured is how fast blocks are taken in, and no decoder ever reads them. Commitments and hashes are the
//! blocks' own where they are to be checked, and made up where they are not.

use obsqra_events::commitments::{
    Era, EventFields, ReceiptFields, event_commitment, receipt_commitment, transaction_commitment,
};
use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_indexer::completeness::header_hash;
use obsqra_indexer::source::{SourceBlock, SourceReceipt, SourceTransaction, TransactionKind};
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

/// Whether blocks are to be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Seal {
    /// Commitments and hashes are right.
    Right,
    /// They are made up, at no cost.
    MadeUp,
}

/// Makes blocks one after the other.
pub(super) struct Blocks {
    events: u32,
    seal: Seal,
    rng: StdRng,
    next: BlockNumber,
    parent: BlockHash,
}

impl Blocks {
    pub(super) fn new(events: u32, seal: Seal) -> Self {
        let rng = StdRng::seed_from_u64(SEED);
        Self { events, seal, rng, next: BlockNumber(0), parent: BlockHash(Felt::ZERO) }
    }

    pub(super) fn contract() -> ContractAddress {
        ContractAddress(CONTRACT)
    }

    pub(super) fn take(&mut self, count: usize) -> Vec<SourceBlock> {
        (0..count).map(|_| self.block()).collect()
    }

    fn block(&mut self) -> SourceBlock {
        let mut block = self.unsealed();
        if self.seal == Seal::Right {
            seal(&mut block);
        }
        self.next = block.number.next();
        self.parent = block.hash;
        block
    }

    fn unsealed(&mut self) -> SourceBlock {
        let events = self.events();
        let transactions: Vec<_> = events
            .chunk_by(|one, other| one.transaction_hash == other.transaction_hash)
            .filter_map(|events| Some(events.first()?.transaction_hash))
            .map(|hash| self.transaction(hash))
            .collect();
        let number = self.next;
        SourceBlock {
            number,
            hash: BlockHash(self.felt()),
            parent_hash: self.parent,
            timestamp: UnixSeconds(GENESIS + number.0 * BLOCK_SECONDS),
            new_root: self.felt(),
            sequencer: ContractAddress(self.felt()),
            starknet_version: "0.14.1".into(),
            da_mode: DaMode::Blob,
            l1_gas: GasPrice { fri: 22_000_000_000_000, wei: 1_000_000_000 },
            l1_data_gas: GasPrice { fri: 22_085, wei: 1 },
            l2_gas: Some(GasPrice { fri: 3_000_000_000, wei: 136_000 }),
            supplied: Some(SuppliedCommitments {
                transaction_count: transactions.len() as u64,
                event_count: self.events.into(),
                state_diff_length: transactions.len() as u64 * 2,
                transaction_commitment: self.felt(),
                event_commitment: self.felt(),
                receipt_commitment: self.felt(),
                state_diff_commitment: self.felt(),
            }),
            transactions: Some(transactions),
            events,
        }
    }

    fn transaction(&mut self, hash: TransactionHash) -> SourceTransaction {
        SourceTransaction {
            hash,
            kind: TransactionKind::Invoke,
            signature: Some(vec![self.felt(), self.felt()]),
            receipt: Some(SourceReceipt {
                actual_fee: self.rng.next_u64().into(),
                messages: Vec::new(),
                revert_reason: None,
                l1_gas: 0,
                l1_data_gas: 128,
            }),
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

/// Gives a block the commitments and the hash that follow from it.
fn seal(block: &mut SourceBlock) {
    let fields: Vec<EventFields<'_>> = block
        .events
        .iter()
        .map(|event| EventFields {
            from_address: event.from_address.0,
            transaction_hash: event.transaction_hash.0,
            keys: &event.keys,
            data: &event.data,
        })
        .collect();
    let transactions = block.transactions.iter().flatten();
    let signed: Vec<(Felt, &[Felt])> = transactions
        .clone()
        .filter_map(|one| Some((one.hash.0, one.signature.as_deref()?)))
        .collect();
    let receipts: Vec<ReceiptFields<'_>> = transactions
        .filter_map(|one| Some((one.hash.0, one.receipt.as_ref()?)))
        .map(|(transaction_hash, receipt)| ReceiptFields {
            transaction_hash,
            actual_fee: receipt.actual_fee,
            messages: &[],
            revert_reason: None,
            l1_gas: receipt.l1_gas,
            l1_data_gas: receipt.l1_data_gas,
        })
        .collect();
    let sealed = (
        event_commitment(&fields),
        transaction_commitment(Era::GasPricesHashed, &signed),
        receipt_commitment(&receipts),
    );
    if let Some(supplied) = &mut block.supplied {
        (supplied.event_commitment, supplied.transaction_commitment, supplied.receipt_commitment) =
            sealed;
    }
    if let Some(hash) = header_hash(block, None) {
        block.hash = BlockHash(hash);
    }
}
