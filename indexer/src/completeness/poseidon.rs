//! Blocks from Starknet 0.13.2 on: commitments are compared with the header's, and its hash covers them.
//!
//! Blocks are checked together: what of them does not depend on each other is hashed side by side, of which a
//! small block alone has too little.

use obsqra_events::commitments::{
    DataAvailability, Era, GasPrice, HeaderFields, Lists, MessageFields, ReceiptFields, block_hash,
    permutations_of_root, poseidon_roots,
};
use obsqra_events::{Check, DaMode, SuppliedCommitments};
use obsqra_types::Felt;
use rayon::prelude::*;

use super::{Comparison, Findings, Reason, fields, signed};
use crate::source::{SourceBlock, SourceReceipt, SourceTransaction, TransactionKind};

/// Fewest lists that are hashed on several threads.
const PARALLEL_LISTS: usize = 64;

/// A block that has commitments to check.
pub(super) struct Checkable<'a> {
    block: &'a SourceBlock,
    supplied: &'a SuppliedCommitments,
    era: Era,
    /// What is missing to verify it: what is there is compared all the same.
    missing: Option<Reason>,
    transactions: &'a [SourceTransaction],
    /// Hashes and signatures, where none is left out.
    signed: Option<Vec<(Felt, &'a [Felt])>>,
    /// Receipts with their transactions, where all of them are there.
    receipts: Option<Vec<(Felt, &'a SourceReceipt)>>,
}

impl<'a> Checkable<'a> {
    /// What there is to check a block by; `None` where there is nothing.
    pub(super) fn new(
        block: &'a SourceBlock,
        transactions: &'a [SourceTransaction],
        era: Era,
    ) -> Option<Self> {
        let supplied = block.supplied.as_ref()?;
        let receipts = transactions
            .iter()
            .map(|transaction| Some((transaction.hash.0, transaction.receipt.as_ref()?)))
            .collect();
        let signed = signed(transactions);
        let missing = missing(block, transactions, (supplied, era))
            .map(Reason::NotSupplied)
            // Without it nothing vouches for the order of the transactions.
            .or(signed.is_none().then_some(Reason::NoSignature));
        Some(Self { block, supplied, era, missing, transactions, signed, receipts })
    }

    /// Leaves of events, then of transactions, then the hashes of messages: all that needs nothing before it.
    fn push_first(&self, lists: &mut Lists) {
        self.block.events.iter().for_each(|event| lists.push_event(&fields(event)));
        for transaction in self.signed.iter().flatten() {
            lists.push_transaction(self.era, *transaction);
        }
        for (_, receipt) in self.receipts.iter().flatten() {
            lists.push_messages(&messages(receipt));
        }
        if self.era == Era::GasPricesHashed {
            lists.push_gas_prices(&header(self.block, self.supplied));
        }
    }

    /// Takes the hashes of what [`Self::push_first`] pushed; then pushes what is taken over them.
    fn push_second(&self, hashes: &mut std::vec::IntoIter<Felt>, lists: &mut Lists) -> Leaves {
        let mut take = |count: usize| hashes.by_ref().take(count).collect::<Vec<_>>();
        let events = take(self.block.events.len());
        let transactions = take(self.signed.as_ref().map_or(0, Vec::len));
        let messages = take(self.receipts.as_ref().map_or(0, Vec::len));
        for ((hash, receipt), messages) in self.receipts.iter().flatten().zip(messages) {
            lists.push_receipt(&receipt_fields(*hash, receipt), messages);
        }
        let gas_prices = if self.era == Era::GasPricesHashed { hashes.next() } else { None };
        let has_header =
            lists.push_header(&header(self.block, self.supplied), gas_prices).is_some();
        Leaves { events, transactions, has_header }
    }

    /// Takes the hashes of what [`Self::push_second`] pushed: the leaves of receipts, and the block hash.
    fn take_second(
        &self,
        leaves: &Leaves,
        hashes: &mut std::vec::IntoIter<Felt>,
    ) -> (Vec<Felt>, Option<Felt>) {
        let receipts = self.receipts.as_ref().map_or(0, Vec::len);
        let receipts = hashes.by_ref().take(receipts).collect();
        (receipts, if leaves.has_header { hashes.next() } else { None })
    }

    fn compare(&self, roots: &Roots, block_hash: Option<Felt>, leaves: Vec<Felt>) -> Findings {
        let mut comparison = Comparison::default();
        self.compare_counts(&mut comparison);
        let supplied = self.supplied;
        let stated = |commitment: Felt| commitment != Felt::ZERO || self.missing.is_none();
        if stated(supplied.event_commitment) {
            let commitments = (supplied.event_commitment, roots.events);
            comparison.felt(Check::EventCommitment, "event_commitment", commitments);
        }
        let mut missing = self.missing.clone();
        if self.signed.is_some() && stated(supplied.transaction_commitment) {
            let commitments = (supplied.transaction_commitment, roots.transactions);
            let is_unsigned = |one: &SourceTransaction| one.kind == TransactionKind::Unsigned;
            if roots.transactions == supplied.transaction_commitment
                || !self.transactions.iter().any(is_unsigned)
            {
                let check = Check::TransactionCommitment;
                comparison.felt(check, "transaction_commitment", commitments);
            } else {
                missing = missing.or(Some(Reason::UnsignedTransactions));
            }
        }
        // A node may word a revert, or count gas, otherwise than the sequencer did, and nothing of a receipt but
        // its events is kept: where the commitment does not follow it is left out of the checks.
        if self.receipts.is_some() && roots.receipts == supplied.receipt_commitment {
            comparison.checks.push(Check::ReceiptCommitment);
        }
        match (missing, block_hash) {
            (None, Some(computed)) => {
                comparison.felt(Check::BlockHash, "block_hash", (self.block.hash.0, computed));
                comparison.findings(None, leaves)
            }
            (missing, _) => {
                let reason = missing
                    .unwrap_or_else(|| Reason::NoVersion(self.block.starknet_version.clone()));
                comparison.unverifiable(reason)
            }
        }
    }

    /// A count of zero beside a commitment of zero is as little supplied as that.
    fn compare_counts(&self, comparison: &mut Comparison) {
        let supplied = self.supplied;
        let is_given = |count: u64, commitment: Felt| {
            self.missing.is_none() || count != 0 || commitment != Felt::ZERO
        };
        if is_given(supplied.transaction_count, supplied.transaction_commitment) {
            let counts = (supplied.transaction_count, self.transactions.len() as u64);
            comparison.count(Check::TransactionCount, "transaction_count", counts);
        }
        if is_given(supplied.event_count, supplied.event_commitment) {
            let counts = (supplied.event_count, self.block.events.len() as u64);
            comparison.count(Check::EventCount, "event_count", counts);
        }
    }
}

/// Leaves of one block that are known after the first hashing.
struct Leaves {
    events: Vec<Felt>,
    transactions: Vec<Felt>,
    /// Whether the header has a hash under known rules.
    has_header: bool,
}

/// The commitments of one block.
struct Roots {
    events: Felt,
    transactions: Felt,
    receipts: Felt,
}

/// Checks blocks together.
pub(super) fn check(blocks: &[Checkable<'_>]) -> Vec<Findings> {
    let mut first = Lists::with_capacity(blocks.iter().map(|one| one.block.events.len()).sum());
    blocks.iter().for_each(|block| block.push_first(&mut first));
    let mut hashes = hashes(&first).into_iter();
    let mut second = Lists::default();
    let leaves: Vec<Leaves> =
        blocks.iter().map(|block| block.push_second(&mut hashes, &mut second)).collect();
    let mut hashes = second.hashes().into_iter();
    let mut trees = Vec::with_capacity(3 * blocks.len());
    let mut block_hashes = Vec::with_capacity(blocks.len());
    for (block, leaves) in blocks.iter().zip(&leaves) {
        let (receipts, block_hash) = block.take_second(leaves, &mut hashes);
        trees.extend([leaves.events.clone(), leaves.transactions.clone(), receipts]);
        block_hashes.push(block_hash);
    }
    let roots = poseidon_roots(trees);
    let (roots, _) = roots.as_chunks::<3>();
    blocks
        .iter()
        .zip(leaves)
        .zip(roots.iter().zip(block_hashes))
        .map(|((block, leaves), (&[events, transactions, receipts], block_hash))| {
            let roots = Roots { events, transactions, receipts };
            block.compare(&roots, block_hash, leaves.events)
        })
        .collect()
}

/// How many permutations checking blocks takes.
pub(super) fn permutations(blocks: &[Checkable<'_>]) -> usize {
    let (mut first, mut second) = (Lists::default(), Lists::default());
    blocks.iter().for_each(|block| block.push_first(&mut first));
    let mut hashes = vec![Felt::ZERO; first.len()].into_iter();
    let mut roots = 0;
    for block in blocks {
        let leaves = block.push_second(&mut hashes, &mut second);
        let receipts = block.receipts.as_ref().map_or(0, Vec::len);
        let trees = [leaves.events.len(), leaves.transactions.len(), receipts];
        roots += trees.into_iter().map(permutations_of_root).sum::<usize>();
    }
    first.permutations() + second.permutations() + roots
}

/// Hashes of many lists, on as many threads as there are.
fn hashes(lists: &Lists) -> Vec<Felt> {
    let threads = rayon::current_num_threads();
    if lists.len() < PARALLEL_LISTS || threads < 2 {
        return lists.hashes();
    }
    // One piece a thread: the longer a piece, the fewer lanes stand idle at its end.
    let piece = lists.len().div_ceil(threads);
    (0..lists.len().div_ceil(piece))
        .into_par_iter()
        .map(|index| lists.hashes_of(index * piece..((index + 1) * piece).min(lists.len())))
        .collect::<Vec<_>>()
        .concat()
}

/// The hash of a header, where all that it covers is there.
pub(super) fn header_hash(block: &SourceBlock, era: Era) -> Option<Felt> {
    if era == Era::GasPricesHashed && block.l2_gas.is_none() {
        return None;
    }
    block_hash(&header(block, block.supplied.as_ref()?))
}

/// A member that is zero, which the specification has for "not available", and cannot be.
fn missing(
    block: &SourceBlock,
    transactions: &[SourceTransaction],
    (supplied, era): (&SuppliedCommitments, Era),
) -> Option<&'static str> {
    let (has_events, has_transactions) = (!block.events.is_empty(), !transactions.is_empty());
    let members = [
        ("event_commitment", supplied.event_commitment, has_events || supplied.event_count > 0),
        ("transaction_commitment", supplied.transaction_commitment, has_transactions),
        ("receipt_commitment", supplied.receipt_commitment, has_transactions),
        ("state_diff_commitment", supplied.state_diff_commitment, true),
    ];
    members
        .into_iter()
        .find(|(_, value, must_be)| *must_be && *value == Felt::ZERO)
        .map(|(member, ..)| member)
        .or((era == Era::GasPricesHashed && block.l2_gas.is_none()).then_some("l2_gas_price"))
}

/// A receipt without its messages, which are hashed before.
fn receipt_fields(transaction_hash: Felt, receipt: &SourceReceipt) -> ReceiptFields<'_> {
    ReceiptFields {
        transaction_hash,
        actual_fee: receipt.actual_fee,
        messages: &[],
        revert_reason: receipt.revert_reason.as_deref(),
        l1_gas: receipt.l1_gas,
        l1_data_gas: receipt.l1_data_gas,
    }
}

fn messages(receipt: &SourceReceipt) -> Vec<MessageFields<'_>> {
    let fields = receipt.messages.iter().map(|message| MessageFields {
        from_address: message.from_address,
        to_address: message.to_address,
        payload: &message.payload,
    });
    fields.collect()
}

fn header<'a>(block: &'a SourceBlock, supplied: &SuppliedCommitments) -> HeaderFields<'a> {
    HeaderFields {
        block_number: block.number.0,
        state_root: block.new_root,
        sequencer_address: block.sequencer.0,
        timestamp: block.timestamp.0,
        transaction_count: supplied.transaction_count,
        event_count: supplied.event_count,
        state_diff_length: supplied.state_diff_length,
        l1_da_mode: match block.da_mode {
            DaMode::Blob => DataAvailability::Blob,
            DaMode::Calldata => DataAvailability::Calldata,
        },
        state_diff_commitment: supplied.state_diff_commitment,
        transaction_commitment: supplied.transaction_commitment,
        event_commitment: supplied.event_commitment,
        receipt_commitment: supplied.receipt_commitment,
        l1_gas_price: price(block.l1_gas),
        l1_data_gas_price: price(block.l1_data_gas),
        // Asked for before where the hash covers it.
        l2_gas_price: block.l2_gas.map_or(GasPrice { wei: 0, fri: 0 }, price),
        starknet_version: &block.starknet_version,
        parent_hash: block.parent_hash.0,
    }
}

fn price(price: obsqra_events::GasPrice) -> GasPrice {
    GasPrice { wei: price.wei, fri: price.fri }
}
