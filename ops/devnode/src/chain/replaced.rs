//! The blocks that a reorganisation took off the chain, as far as finding the way back needs them: the
//! hash, and where its parent stands. The oldest are forgotten first.

use std::collections::{BTreeMap, VecDeque};

use starknet_types_core::felt::Felt;

use super::block::SealedBlock;

/// Replaced blocks remembered.
const MAX_REPLACED: usize = 65_536;

/// Links from replaced blocks to their parents.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    parents: BTreeMap<[u8; 32], Parent>,
    oldest_first: VecDeque<[u8; 32]>,
}

#[derive(Debug, Clone, Copy)]
struct Parent {
    number: u64,
    hash: Felt,
}

impl Replaced {
    pub(crate) fn remember(&mut self, block: &SealedBlock) {
        // Block 0 is never replaced, so every replaced block has a parent.
        let Some(number) = block.number.checked_sub(1) else { return };
        let hash = block.hash.to_bytes_be();
        let parent = Parent { number, hash: block.parent_hash };
        if self.parents.insert(hash, parent).is_none() {
            self.oldest_first.push_back(hash);
        }
        if self.oldest_first.len() > MAX_REPLACED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.parents.remove(&oldest);
        }
    }

    /// Goes down from a replaced block to the first parent that the chain holds; `None` for a block that
    /// is not remembered.
    pub(crate) fn last_common(
        &self,
        hash: &Felt,
        holds: impl Fn(u64, &Felt) -> bool,
    ) -> Option<(u64, Felt)> {
        let mut parent = self.parents.get(&hash.to_bytes_be())?;
        while !holds(parent.number, &parent.hash) {
            parent = self.parents.get(&parent.hash.to_bytes_be())?;
        }
        Some((parent.number, parent.hash))
    }
}
