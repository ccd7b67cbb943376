//! How the block of an entry stands: final for good, gone for good, or neither yet.
//!
//! A block that lost its height does not come back under its branch epoch, and one at or below the final height stays:
//! two of the three answers never change, whenever they are asked for.

use std::collections::BTreeMap;

use obsqra_events::Entry;
use obsqra_types::{BlockNumber, BranchEpoch};

/// What is to be expected of the block of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It is accepted on L1.
    Final,
    /// It was reverted.
    Gone,
    /// It is canonical, and may still be reverted.
    Open,
    /// The entry belongs to no block.
    None,
}

/// Some heights of a chain.
#[derive(Debug)]
pub(super) struct Blocks {
    /// The newest height that is accepted on L1.
    pub(super) finalized: Option<BlockNumber>,
    /// The branch epoch of the canonical block at each height that was asked for and has one.
    pub(super) canonical: BTreeMap<BlockNumber, BranchEpoch>,
}

impl Blocks {
    pub(super) fn standing(&self, entry: &Entry) -> Standing {
        let Some(block) = entry.draft.block else {
            return Standing::None;
        };
        if self.canonical.get(&block.number) != Some(&block.epoch) {
            return Standing::Gone;
        }
        match self.finalized {
            Some(finalized) if block.number <= finalized => Standing::Final,
            _ => Standing::Open,
        }
    }
}
