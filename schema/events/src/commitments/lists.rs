//! Lists that are hashed side by side: leaves and header hashes of one block or of many.
//!
//! A Poseidon permutation waits for itself; sixteen of them side by side take little longer than one. So
//! everything of which the hashes do not depend on each other is collected first and hashed together.

use std::ops::Range;

use starknet_crypto::Felt;

use super::{Era, EventFields, HeaderFields, MessageFields, ReceiptFields, push_header};
use crate::poseidon::{hash_lists, permutations_of_list};

/// Lists one behind the other.
#[derive(Debug, Default, Clone)]
pub struct Lists {
    felts: Vec<Felt>,
    ends: Vec<usize>,
}

impl Lists {
    /// None yet, with room for so many of about a dozen elements.
    #[must_use]
    pub fn with_capacity(lists: usize) -> Self {
        Self { felts: Vec::with_capacity(12 * lists), ends: Vec::with_capacity(lists) }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The leaf of an event.
    pub fn push_event(&mut self, event: &EventFields<'_>) {
        self.felts.extend([event.from_address, event.transaction_hash]);
        self.extend_counted(event.keys);
        self.extend_counted(event.data);
        self.end();
    }

    /// The leaf of a transaction: its hash and its signature. Without a signature 0.13.2 and 0.13.3 put a
    /// zero in its place.
    pub fn push_transaction(&mut self, era: Era, (hash, signature): (Felt, &[Felt])) {
        self.felts.push(hash);
        self.felts.extend_from_slice(signature);
        if signature.is_empty() && era == Era::GasPricesListed {
            self.felts.push(Felt::ZERO);
        }
        self.end();
    }

    /// The messages of a receipt, whose hash its leaf covers.
    pub fn push_messages(&mut self, messages: &[MessageFields<'_>]) {
        self.felts.push(Felt::from(messages.len()));
        for message in messages {
            self.felts.extend([message.from_address, message.to_address]);
            self.extend_counted(message.payload);
        }
        self.end();
    }

    /// The leaf of a receipt, with the hash of its messages. The place of L2 gas is always 0, whatever the
    /// transaction consumed.
    pub fn push_receipt(&mut self, receipt: &ReceiptFields<'_>, messages: Felt) {
        self.felts.extend([
            receipt.transaction_hash,
            Felt::from(receipt.actual_fee),
            messages,
            receipt.revert_reason.map_or(Felt::ZERO, super::revert_hash),
            Felt::ZERO,
            Felt::from(receipt.l1_gas),
            Felt::from(receipt.l1_data_gas),
        ]);
        self.end();
    }

    /// The gas prices that a header of the newer era covers by their hash.
    pub fn push_gas_prices(&mut self, header: &HeaderFields<'_>) {
        super::push_gas_prices(&mut self.felts, header);
        self.end();
    }

    /// A header, with the hash of its gas prices where its era has one. `None`, and nothing is pushed, where its
    /// version is none of the Poseidon rules.
    #[must_use]
    pub fn push_header(
        &mut self,
        header: &HeaderFields<'_>,
        gas_prices: Option<Felt>,
    ) -> Option<()> {
        let start = self.felts.len();
        if push_header(&mut self.felts, header, gas_prices).is_none() {
            self.felts.truncate(start);
            return None;
        }
        self.end();
        Some(())
    }

    fn extend_counted(&mut self, list: &[Felt]) {
        self.felts.push(Felt::from(list.len()));
        self.felts.extend_from_slice(list);
    }

    fn end(&mut self) {
        self.ends.push(self.felts.len());
    }

    fn slices(&self, range: Range<usize>) -> impl Iterator<Item = &[Felt]> {
        let mut start = range.start.checked_sub(1).map_or(0, |before| self.ends[before]);
        self.ends[range].iter().map(move |&end| {
            let list = &self.felts[start..end];
            start = end;
            list
        })
    }

    /// The hash of each, in order.
    #[must_use]
    pub fn hashes(&self) -> Vec<Felt> {
        hash_lists(self.slices(0..self.len()))
    }

    /// The hashes of a part of them, so that parts can be hashed on several threads.
    ///
    /// # Panics
    /// When there are fewer lists.
    #[must_use]
    pub fn hashes_of(&self, part: Range<usize>) -> Vec<Felt> {
        hash_lists(self.slices(part))
    }

    /// How many permutations their hashes take.
    #[must_use]
    pub fn permutations(&self) -> usize {
        self.slices(0..self.len()).map(|list| permutations_of_list(list.len())).sum()
    }
}
