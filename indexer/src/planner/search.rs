//! Where two chains part. Below a block that both have they are the same, because each block names its
//! parent; so the search strides down, twice as far each time, until it meets a block that both have, and
//! then halves what is left. A reorganisation of 2,000 blocks takes about 22 comparisons.

use obsqra_types::{BlockHash, BlockNumber};

use super::BlockId;

/// A search under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Search {
    /// The lowest block of the log that the node is known not to have.
    differs: BlockId,
    /// The highest block of the log that the node is known to have.
    common: Option<BlockId>,
    /// How far down the next comparison goes while nothing common is known.
    stride: u64,
    /// The node's head.
    head: BlockNumber,
    /// The lowest height that may be compared.
    floor: BlockNumber,
}

/// What is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Finding {
    /// Not enough: this height is to be compared.
    Compare(BlockNumber),
    /// The chains part above this block.
    Fork {
        /// The highest common block.
        fork: BlockId,
        /// What the log has above it.
        own_above: BlockHash,
    },
    /// They differ at the lowest height that may be compared.
    None {
        /// That height.
        floor: BlockNumber,
    },
}

impl Search {
    pub(super) fn new(differs: BlockId, head: BlockNumber, floor: BlockNumber) -> Self {
        Self { differs, common: None, stride: 1, head, floor }
    }

    pub(super) fn head(&self) -> BlockNumber {
        self.head
    }

    /// Notes what was found at a height.
    pub(super) fn compared(&mut self, own: BlockId, node: BlockHash) {
        if own.hash == node {
            self.common = Some(own);
        } else if own.number < self.differs.number {
            self.differs = own;
            self.stride = self.stride.saturating_mul(2);
        }
    }

    pub(super) fn finding(&self) -> Finding {
        let differs = self.differs.number;
        if differs <= self.floor {
            return Finding::None { floor: differs };
        }
        let Some(common) = self.common else {
            let down = differs.0.saturating_sub(self.stride).max(self.floor.0);
            return Finding::Compare(BlockNumber(down));
        };
        if common.number.next() >= differs {
            return Finding::Fork { fork: common, own_above: self.differs.hash };
        }
        Finding::Compare(BlockNumber(common.number.0.midpoint(differs.0)))
    }
}
