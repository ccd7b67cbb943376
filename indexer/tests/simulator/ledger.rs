//! A log that checks what is written to it, with rules of its own.

use std::collections::HashSet;

use obsqra_indexer::planner::{BlockId, BlockLink, Position};
use obsqra_types::{BlockHash, BlockNumber};

use crate::world::{Chain, World};

pub(crate) struct Ledger {
    first: BlockNumber,
    canonical: Vec<BlockLink>,
    finalized: Option<BlockNumber>,
    epoch: u32,
    keys: HashSet<(BlockNumber, u32)>,
    ever: HashSet<BlockHash>,
    pub(crate) applied: u64,
    pub(crate) reorganisations: u64,
    pub(crate) returned: u64,
    pub(crate) deepest: u64,
}

impl Ledger {
    pub(crate) fn new(first: u64) -> Self {
        Self {
            first: BlockNumber(first),
            canonical: Vec::new(),
            finalized: None,
            epoch: 0,
            keys: HashSet::new(),
            ever: HashSet::new(),
            applied: 0,
            reorganisations: 0,
            returned: 0,
            deepest: 0,
        }
    }

    pub(crate) fn first(&self) -> BlockNumber {
        self.first
    }

    pub(crate) fn position(&self) -> Position {
        let tip = self.canonical.last().map(|link| link.id);
        Position { first: self.first, tip, finalized: self.finalized }
    }

    pub(crate) fn at(&self, number: BlockNumber) -> Option<BlockHash> {
        let index = usize::try_from(number.0.checked_sub(self.first.0)?).unwrap();
        self.canonical.get(index).map(|link| link.id.hash)
    }

    /// Whether its canonical blocks are a chain's, from the first on.
    pub(crate) fn is(&self, chain: &Chain) -> bool {
        let expected = chain.iter().skip(usize::try_from(self.first.0).unwrap());
        self.canonical.iter().map(|link| &link.id.hash).eq(expected)
    }

    pub(crate) fn append(&mut self, world: &World, blocks: &[BlockLink]) {
        assert!(!blocks.is_empty(), "a write without blocks");
        for block in blocks {
            assert!(world.knows(*block), "{block:?} was never a block of any node");
            let (next, parent) = match self.canonical.last() {
                Some(tip) => (tip.id.number.next(), Some(tip.id.hash)),
                None => (self.first, None),
            };
            assert_eq!(block.id.number, next, "the log stays dense");
            assert!(parent.is_none_or(|parent| parent == block.parent), "{block:?} does not link");
            assert!(self.keys.insert((block.id.number, self.epoch)), "a key is used twice");
            if !self.ever.insert(block.id.hash) {
                self.returned += 1;
            }
            self.canonical.push(*block);
            self.applied += 1;
        }
    }

    pub(crate) fn replace(&mut self, world: &World, fork: BlockId, blocks: &[BlockLink]) {
        assert_eq!(self.at(fork.number), Some(fork.hash), "the fork is a block of the log");
        assert!(
            self.finalized.is_none_or(|known| fork.number >= known),
            "a final block is reverted"
        );
        let stays = usize::try_from(fork.number.0 - self.first.0).unwrap() + 1;
        let reverted = self.canonical.len() - stays;
        assert!(reverted > 0, "a reorganisation that reverts nothing");
        assert_ne!(self.canonical[stays].id.hash, blocks[0].id.hash, "nothing competes");
        self.canonical.truncate(stays);
        self.epoch += 1;
        self.reorganisations += 1;
        self.deepest = self.deepest.max(reverted as u64);
        self.append(world, blocks);
    }

    pub(crate) fn finalize(&mut self, block: BlockId) {
        assert_eq!(self.at(block.number), Some(block.hash), "a final block is a block of the log");
        assert!(self.finalized.is_none_or(|known| block.number > known), "finality goes up");
        self.finalized = Some(block.number);
    }
}
