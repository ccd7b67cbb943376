//! The sealed load chain: the light chain's contract, in blocks with all commitments.
//!
//! For measuring what checking costs: a block has N events of three keys and five data, of full width, and is
//! sealed as any other. Nothing in it is true to a protocol. Its blocks are kept, so that serving them costs
//! little.

use starknet_types_core::felt::Felt;

use crate::chain::block::{BlockDraft, Event, Origin, TransactionDraft};
use crate::chain::felts::made_up;
use crate::light::{LIGHT_CONTRACT, LIGHT_SELECTOR, MAX_LIGHT_EVENTS};
use crate::seeded::GENESIS_TIMESTAMP;

/// Chain time between two blocks, in seconds.
const BLOCK_SECONDS: u64 = 6;
/// Events of one transaction; a block's last one may have fewer.
const EVENTS_PER_TRANSACTION: u32 = 10;

/// A block's events: a function of seed and height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SealedLoad {
    seed: u64,
    events_per_block: u32,
}

impl SealedLoad {
    pub(crate) fn new(seed: u64, events_per_block: u32) -> Self {
        Self { seed, events_per_block: events_per_block.min(MAX_LIGHT_EVENTS) }
    }

    pub(crate) fn draft(self, number: u64) -> BlockDraft {
        let starts = (0..self.events_per_block).step_by(EVENTS_PER_TRANSACTION as usize);
        let transactions = starts.map(|first| self.transaction(number, first)).collect();
        BlockDraft {
            timestamp: GENESIS_TIMESTAMP + number.saturating_mul(BLOCK_SECONDS),
            origin: Origin::Seeded,
            transactions,
        }
    }

    fn transaction(self, number: u64, first: u32) -> TransactionDraft {
        let end = (first + EVENTS_PER_TRANSACTION).min(self.events_per_block);
        let event = |index: u32| {
            let felt = |place: u8| {
                let parts: [&[u8]; 4] = [
                    &self.seed.to_be_bytes(),
                    &number.to_be_bytes(),
                    &index.to_be_bytes(),
                    &[place],
                ];
                made_up("sealed load", &parts)
            };
            let (key, other) = (felt(0), felt(1));
            let data: Vec<Felt> = (2..7).map(felt).collect();
            let keys = vec![LIGHT_SELECTOR, key, other];
            Event { from_address: LIGHT_CONTRACT, keys, data }
        };
        let events = (first..end).map(event).collect();
        TransactionDraft { recorded_hash: None, sender: None, events }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_depends_on_seed_and_height() {
        let load = SealedLoad::new(1, 25);
        assert_eq!(load.draft(7), SealedLoad::new(1, 25).draft(7));
        assert_ne!(load.draft(7).transactions, load.draft(8).transactions);
        assert_ne!(load.draft(7).transactions, SealedLoad::new(2, 25).draft(7).transactions);
        let draft = load.draft(3);
        let sizes: Vec<usize> = draft.transactions.iter().map(|one| one.events.len()).collect();
        assert_eq!(sizes, [10, 10, 5]);
    }
}
