//! Blocks from Starknet 0.13.2 on: commitments are compared with the header's, and its hash covers them.

use obsqra_events::Check;
use obsqra_events::commitments::{
    DataAvailability, Era, GasPrice, HeaderFields, MessageFields, ReceiptFields, block_hash,
    event_leaves, poseidon_root, receipt_commitment, transaction_commitment,
};
use obsqra_events::{DaMode, SuppliedCommitments};
use obsqra_types::Felt;

use super::{Comparison, Findings, Reason, leaves_of, signed};
use crate::source::{SourceBlock, SourceReceipt, SourceTransaction};

/// Checks a block under the rules of an era.
pub(super) fn check(block: &SourceBlock, transactions: &[SourceTransaction], era: Era) -> Findings {
    let Some(supplied) = &block.supplied else {
        return Findings::unverifiable(Reason::NoCommitments);
    };
    if let Some(member) = missing(block, transactions, (supplied, era)) {
        return Findings::unverifiable(Reason::NotSupplied(member));
    }
    let mut comparison = Comparison::default();
    let (sent, events) = (transactions.len() as u64, block.events.len() as u64);
    comparison.count(
        Check::TransactionCount,
        "transaction_count",
        (supplied.transaction_count, sent),
    );
    comparison.count(Check::EventCount, "event_count", (supplied.event_count, events));
    let leaves = leaves_of(&block.events, event_leaves);
    let computed = poseidon_root(&leaves);
    comparison.felt(
        Check::EventCommitment,
        "event_commitment",
        (supplied.event_commitment, computed),
    );
    if let Some(signed) = signed(transactions) {
        let computed = transaction_commitment(era, &signed);
        comparison.felt(
            Check::TransactionCommitment,
            "transaction_commitment",
            (supplied.transaction_commitment, computed),
        );
    }
    check_receipts(&mut comparison, transactions, supplied);
    // Every version of this era has a hash.
    if let Some(computed) = block_hash(&header(block, supplied)) {
        comparison.felt(Check::BlockHash, "block_hash", (block.hash.0, computed));
    }
    comparison.findings(None, leaves)
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

fn check_receipts(
    comparison: &mut Comparison,
    transactions: &[SourceTransaction],
    supplied: &SuppliedCommitments,
) {
    let receipts: Option<Vec<(Felt, &SourceReceipt)>> = transactions
        .iter()
        .map(|transaction| Some((transaction.hash.0, transaction.receipt.as_ref()?)))
        .collect();
    let Some(receipts) = receipts else {
        return;
    };
    let messages: Vec<Vec<MessageFields<'_>>> =
        receipts.iter().map(|(_, receipt)| messages(receipt)).collect();
    let fields: Vec<ReceiptFields<'_>> = receipts
        .iter()
        .zip(&messages)
        .map(|(&(transaction_hash, receipt), messages)| ReceiptFields {
            transaction_hash,
            actual_fee: receipt.actual_fee,
            messages,
            revert_reason: receipt.revert_reason.as_deref(),
            l1_gas: receipt.l1_gas,
            l1_data_gas: receipt.l1_data_gas,
        })
        .collect();
    let computed = receipt_commitment(&fields);
    // A node may word a revert otherwise than the sequencer did.
    let may_be_reworded = receipts.iter().any(|(_, receipt)| receipt.revert_reason.is_some());
    if computed == supplied.receipt_commitment || !may_be_reworded {
        comparison.felt(
            Check::ReceiptCommitment,
            "receipt_commitment",
            (supplied.receipt_commitment, computed),
        );
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
