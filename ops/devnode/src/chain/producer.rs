//! Yields sealed blocks in height order, from a recording or from the generator, and goes back to make
//! a competing chain.

use std::path::Path;
use std::sync::Arc;

use starknet_types_core::felt::Felt;

use super::block::{BlockDraft, SealedBlock};
use super::seal::{Position, Sealer};
use crate::recorded::{self, RecordedError};
use crate::seeded::{BlockTruth, SeededChain};

/// Chain id of a recorded chain.
pub const RECORDED_CHAIN_ID: &str = "OBSQRA_REC";

/// Chain id of a seeded chain.
pub const SEEDED_CHAIN_ID: &str = "OBSQRA_DEV";

/// A sealed block, and the truth about it if the generator made it.
#[derive(Debug, Clone)]
pub struct ProducedBlock {
    /// The block.
    pub block: SealedBlock,
    /// Every metric as of it.
    pub truth: Option<BlockTruth>,
}

/// A chain under production.
#[derive(Debug, Clone)]
pub struct Chain {
    content: Content,
    sealer: Sealer,
    next: Position,
    branches: u32,
}

#[derive(Debug, Clone)]
enum Content {
    Recorded(Arc<[BlockDraft]>),
    Seeded(Box<SeededChain>),
}

impl Chain {
    /// The recorded chain of a file, which is read and checked whole.
    pub fn recorded(path: &Path) -> Result<Self, RecordedError> {
        Ok(Self::over(Content::Recorded(recorded::read(path)?.into()), RECORDED_CHAIN_ID))
    }

    /// The seeded chain of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self::over(Content::Seeded(Box::new(SeededChain::new(seed))), SEEDED_CHAIN_ID)
    }

    fn over(content: Content, chain_id: &'static str) -> Self {
        let next = Position { number: 0, parent_hash: Felt::ZERO, branch: 0 };
        Self { content, sealer: Sealer::new(chain_id), next, branches: 0 }
    }

    /// The chain's name.
    pub fn chain_id(&self) -> &'static str {
        self.sealer.chain_id()
    }

    /// How many blocks the source has in all; `None` if it never ends.
    pub fn length(&self) -> Option<u64> {
        match &self.content {
            Content::Recorded(drafts) => u64::try_from(drafts.len()).ok(),
            Content::Seeded(_) => None,
        }
    }

    /// Seals the next block; `None` at the end of a recording.
    pub fn next_block(&mut self) -> Option<ProducedBlock> {
        let (draft, truth) = match &mut self.content {
            Content::Recorded(drafts) => {
                (drafts.get(usize::try_from(self.next.number).ok()?)?.clone(), None)
            }
            Content::Seeded(chain) => {
                let made = chain.next_block();
                (made.draft, Some(made.truth))
            }
        };
        let block = self.sealer.seal(draft, self.next);
        self.next.number += 1;
        self.next.parent_hash = block.hash;
        Some(ProducedBlock { block, truth })
    }

    /// Goes back: the next block is a competing one at this height, on the block below it.
    pub fn fork_at(&mut self, number: u64, parent_hash: Felt) {
        self.branches += 1;
        self.next = Position { number, parent_hash, branch: self.branches };
        if let Content::Seeded(chain) = &mut self.content {
            chain.fork_at(number, self.branches);
        }
    }
}
