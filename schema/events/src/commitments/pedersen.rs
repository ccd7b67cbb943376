//! The rules before Starknet 0.13.2: Pedersen, and a block hash over few of the header's members.
//!
//! The hash covers the number of events and their commitment, so that it vouches for them although the
//! header of such a block need not state a commitment. Two kinds of old blocks are hashed otherwise: some
//! name no sequencer and were hashed with one all the same, and those below 833 of mainnet were hashed
//! without sequencer, time and events, which their hash therefore says nothing about.

use starknet_crypto::{Felt, pedersen_hash};

use super::{EventFields, Version, patricia_roots};

/// The sequencer that blocks of mainnet without one were hashed with, where that is not 0.
pub const UNNAMED_SEQUENCER: Felt =
    Felt::from_hex_unchecked("0x21f4b90b0377c82bf330b7b5295820769e72d79d8acd0effa0ebde6e9988bc5");

/// From this version on a transaction's leaf covers the signature whatever its type.
const ALL_SIGNATURES: Version = Version([0, 11, 1, 0]);

/// What such a block's hash covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderFields {
    /// Height.
    pub block_number: u64,
    /// State root after the block.
    pub state_root: Felt,
    /// The sequencer's address; 0 where the header names none.
    pub sequencer_address: Felt,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// Number of transactions.
    pub transaction_count: u64,
    /// Commitment to transactions and signatures.
    pub transaction_commitment: Felt,
    /// Number of events.
    pub event_count: u64,
    /// Commitment to the events.
    pub event_commitment: Felt,
    /// Hash of the parent block.
    pub parent_hash: Felt,
}

/// How a block's hash came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Over all members of [`HeaderFields`].
    Whole,
    /// The same with [`UNNAMED_SEQUENCER`].
    UnnamedSequencer,
    /// Without sequencer, time and events, and with the name of mainnet: events are not covered.
    WithoutEvents,
}

/// The hash over a list: each element in turn, then how many there were.
pub fn list_hash(values: &[Felt]) -> Felt {
    let folded = values.iter().fold(Felt::ZERO, |hash, value| pedersen_hash(&hash, value));
    pedersen_hash(&folded, &Felt::from(values.len()))
}

/// The leaf of one event. The transaction is not part of it.
pub fn event_leaf(event: &EventFields<'_>) -> Felt {
    list_hash(&[event.from_address, list_hash(event.keys), list_hash(event.data)])
}

/// The leaf of one transaction. Before 0.11.1 only an invocation's signature counts.
pub fn transaction_leaf(
    version: Option<Version>,
    transaction_hash: Felt,
    (is_invocation, signature): (bool, &[Felt]),
) -> Felt {
    let counts = is_invocation || version.is_some_and(|version| version >= ALL_SIGNATURES);
    let signature = list_hash(if counts { signature } else { &[] });
    pedersen_hash(&transaction_hash, &signature)
}

/// The root over leaves.
pub fn root(leaves: &[Felt]) -> Felt {
    root_with(leaves, |[left, right]| pedersen_hash(left, right))
}

/// The root over leaves with another way to the same hash, as one that remembers.
pub fn root_with(leaves: &[Felt], mut hash_pair: impl FnMut(&[Felt; 2]) -> Felt) -> Felt {
    let hash_pairs = |pairs: &[[Felt; 2]]| pairs.iter().map(&mut hash_pair).collect();
    // One tree, one root.
    patricia_roots(vec![leaves.to_vec()], hash_pairs).pop().unwrap_or(Felt::ZERO)
}

/// The block hash of a header in one of the forms.
pub fn block_hash(header: &HeaderFields, form: Form) -> Felt {
    let zero = Felt::ZERO;
    let number = Felt::from(header.block_number);
    let transactions = [Felt::from(header.transaction_count), header.transaction_commitment];
    let sequencer = match form {
        Form::UnnamedSequencer => UNNAMED_SEQUENCER,
        Form::Whole | Form::WithoutEvents => header.sequencer_address,
    };
    match form {
        Form::WithoutEvents => list_hash(&[
            number,
            header.state_root,
            zero,
            zero,
            transactions[0],
            transactions[1],
            zero,
            zero,
            zero,
            zero,
            Felt::from_bytes_be_slice(b"SN_MAIN"),
            header.parent_hash,
        ]),
        Form::Whole | Form::UnnamedSequencer => list_hash(&[
            number,
            header.state_root,
            sequencer,
            Felt::from(header.timestamp),
            transactions[0],
            transactions[1],
            Felt::from(header.event_count),
            header.event_commitment,
            zero,
            zero,
            header.parent_hash,
        ]),
    }
}

/// The form in which a header hashes to `expected`. The two odd ones are tried only where the header names
/// no sequencer.
pub fn form_of(header: &HeaderFields, expected: Felt) -> Option<Form> {
    let forms: &[Form] = if header.sequencer_address == Felt::ZERO {
        &[Form::Whole, Form::UnnamedSequencer, Form::WithoutEvents]
    } else {
        &[Form::Whole]
    };
    forms.iter().copied().find(|form| block_hash(header, *form) == expected)
}
