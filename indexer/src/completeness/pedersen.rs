//! Blocks before Starknet 0.13.2: commitments are recomputed, and the block hash taken over them must be the
//! one that is stated. What the header says about commitments is not looked at: nodes put zeros there.

#[cfg(test)]
pub(super) use obsqra_events::commitments::pedersen::root_with;
use obsqra_events::commitments::pedersen::{Form, HeaderFields, block_hash, transaction_leaf};
pub(super) use obsqra_events::commitments::pedersen::{event_leaf, form_of, root};
use obsqra_events::commitments::{EventFields, Version};
use obsqra_events::{Check, ComputedCommitments};
use obsqra_types::Felt;
use rayon::prelude::*;

use super::{Comparison, Findings, Reason, leaves_of};
use crate::source::{SourceBlock, SourceTransaction, TransactionKind};

/// Checks a block; `version` is `None` for one whose header names none.
pub(super) fn check(
    block: &SourceBlock,
    transactions: &[SourceTransaction],
    version: Option<Version>,
) -> Findings {
    let transaction_leaves: Option<Vec<Felt>> = transactions
        .par_iter()
        .map(|transaction| {
            let is_invocation = transaction.kind == TransactionKind::Invoke;
            let signature = transaction.signature.as_deref()?;
            Some(transaction_leaf(version, transaction.hash.0, (is_invocation, signature)))
        })
        .collect();
    let Some(transaction_leaves) = transaction_leaves else {
        return Findings::unverifiable(Reason::NoSignature);
    };
    let leaves = leaves_of(&block.events, event_leaves);
    let computed = ComputedCommitments {
        transaction_count: transactions.len() as u64,
        event_count: block.events.len() as u64,
        transaction_commitment: root(&transaction_leaves),
        event_commitment: root(&leaves),
    };
    let header = header(block, &computed);
    let mut comparison = Comparison::default();
    match form_of(&header, block.hash.0) {
        Some(Form::WithoutEvents) => Findings::unverifiable(Reason::HashWithoutEvents),
        Some(Form::Whole | Form::UnnamedSequencer) => {
            comparison.checks = vec![
                Check::TransactionCount,
                Check::EventCount,
                Check::EventCommitment,
                Check::TransactionCommitment,
                Check::BlockHash,
            ];
            comparison.findings(Some(computed), leaves)
        }
        None => {
            let computed_hash = block_hash(&header, Form::Whole);
            comparison.felt(Check::BlockHash, "block_hash", (block.hash.0, computed_hash));
            comparison.findings(Some(computed), leaves)
        }
    }
}

/// The hash of a header: the one that is stated, where it follows in any form.
pub(super) fn header_hash(block: &SourceBlock, computed: &ComputedCommitments) -> Felt {
    let header = header(block, computed);
    form_of(&header, block.hash.0)
        .map_or_else(|| block_hash(&header, Form::Whole), |_| block.hash.0)
}

fn event_leaves(events: &[EventFields<'_>]) -> Vec<Felt> {
    events.iter().map(event_leaf).collect()
}

/// The header of a block with commitments that were recomputed.
pub(super) fn header(block: &SourceBlock, computed: &ComputedCommitments) -> HeaderFields {
    HeaderFields {
        block_number: block.number.0,
        state_root: block.new_root,
        sequencer_address: block.sequencer.0,
        timestamp: block.timestamp.0,
        transaction_count: computed.transaction_count,
        transaction_commitment: computed.transaction_commitment,
        event_count: computed.event_count,
        event_commitment: computed.event_commitment,
        parent_hash: block.parent_hash.0,
    }
}
