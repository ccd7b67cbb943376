//! Yields blocks in height order, from a recording or from a generator, and goes back to make a competing
//! chain.
//!
//! Branches are numbered over a chain and all its clones, so that two nodes that began as one never make the
//! same competing block unless they are given the same branch.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use starknet_types_core::felt::Felt;

use super::block::{BlockDraft, SealedBlock};
use super::seal::{Position, Sealer};
use super::served::Served;
use super::store::{Kept, Store, Tail};
use crate::light::{LIGHT_CHAIN_ID, LightChain};
use crate::recorded::{self, RecordedError};
use crate::sealed::SealedLoad;
use crate::seeded::{BlockTruth, Incident, SeededChain};

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
    branches: Arc<AtomicU32>,
}

#[derive(Debug, Clone)]
enum Content {
    Recorded(Arc<[BlockDraft]>),
    Seeded(Box<SeededChain>),
    Light(LightChain),
    Sealed(SealedLoad),
}

impl Chain {
    /// The recorded chain of a file, which is read and checked whole.
    pub fn recorded(path: &Path) -> Result<Self, RecordedError> {
        Ok(Self::over(Content::Recorded(recorded::read(path)?.into()), RECORDED_CHAIN_ID))
    }

    /// The seeded chain of a seed.
    pub fn seeded(seed: u64) -> Self {
        Self::of_seeded(SeededChain::new(seed))
    }

    /// The seeded chain of a seed with an incident.
    pub fn seeded_with_incident(seed: u64, incident: Incident) -> Self {
        Self::of_seeded(SeededChain::with_incident(seed, incident))
    }

    fn of_seeded(chain: SeededChain) -> Self {
        Self::over(Content::Seeded(Box::new(chain)), SEEDED_CHAIN_ID)
    }

    /// The light chain of a seed with so many events a block.
    pub fn light(seed: u64, events_per_block: u32) -> Self {
        let chain = LightChain::new(seed, events_per_block);
        Self::over(Content::Light(chain), LIGHT_CHAIN_ID)
    }

    /// The light chain's contract in sealed blocks of so many events.
    pub fn sealed(seed: u64, events_per_block: u32) -> Self {
        let load = SealedLoad::new(seed, events_per_block);
        Self::over(Content::Sealed(load), LIGHT_CHAIN_ID)
    }

    fn over(content: Content, chain_id: &'static str) -> Self {
        let next = Position { number: 0, parent_hash: Felt::ZERO, branch: 0 };
        Self { content, sealer: Sealer::new(chain_id), next, branches: Arc::default() }
    }

    /// The chain's name.
    pub fn chain_id(&self) -> &'static str {
        self.sealer.chain_id()
    }

    /// How many blocks the source has in all; `None` if it never ends.
    pub fn length(&self) -> Option<u64> {
        match &self.content {
            Content::Recorded(drafts) => u64::try_from(drafts.len()).ok(),
            Content::Seeded(_) | Content::Light(_) | Content::Sealed(_) => None,
        }
    }

    /// A store for the blocks of this chain, with nothing in it.
    pub(crate) fn empty_store(&self) -> Store {
        match &self.content {
            Content::Recorded(_) | Content::Seeded(_) | Content::Sealed(_) => {
                Store::Kept(Kept::default())
            }
            Content::Light(chain) => Store::light(chain.clone()),
        }
    }

    /// Whether blocks cost nothing until somebody asks for them.
    pub(crate) fn is_light(&self) -> bool {
        matches!(self.content, Content::Light(_))
    }

    /// Height of the next block.
    pub(crate) fn next_number(&self) -> u64 {
        self.next.number
    }

    /// The next blocks: fewer than asked for only at a recording's end.
    pub(crate) fn next_blocks(&mut self, count: u64) -> Tail {
        if let Content::Light(chain) = &self.content {
            let chain = chain.clone();
            self.next.number = self.next.number.saturating_add(count);
            if let Some(top) = self.next.number.checked_sub(1) {
                self.next.parent_hash = chain.hash_at(top);
            }
            return Tail::Light { chain, length: self.next.number };
        }
        Tail::Kept((0..count).map_while(|_| self.next_block()).map(Served::new).collect())
    }

    /// Makes the next block; `None` at the end of a recording.
    pub fn next_block(&mut self) -> Option<ProducedBlock> {
        let (draft, truth) = match &mut self.content {
            Content::Recorded(drafts) => {
                (drafts.get(usize::try_from(self.next.number).ok()?)?.clone(), None)
            }
            Content::Seeded(chain) => {
                let made = chain.next_block();
                (made.draft, Some(made.truth))
            }
            Content::Sealed(load) => (load.draft(self.next.number), None),
            Content::Light(chain) => {
                let block = chain.block(self.next.number);
                return Some(self.step_over(block, None));
            }
        };
        let block = self.sealer.seal(draft, self.next);
        Some(self.step_over(block, truth))
    }

    fn step_over(&mut self, block: SealedBlock, truth: Option<BlockTruth>) -> ProducedBlock {
        self.next.number += 1;
        self.next.parent_hash = block.hash;
        ProducedBlock { block, truth }
    }

    /// Goes back: the next block is a competing one at this height, on the block below it.
    pub fn fork_at(&mut self, number: u64, parent_hash: Felt) {
        let branch = self.branches.fetch_add(1, Ordering::Relaxed) + 1;
        self.next = Position { number, parent_hash, branch };
        match &mut self.content {
            // The branch enters the state root, and so the hash.
            Content::Recorded(_) | Content::Sealed(_) => {}
            Content::Seeded(chain) => chain.fork_at(number, branch),
            Content::Light(chain) => *chain = chain.forked(number, branch),
        }
    }
}
