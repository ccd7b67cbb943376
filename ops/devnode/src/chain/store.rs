//! Where a node's blocks are: kept in memory, or made when asked for.
//!
//! Sealed blocks are kept, all of them, and found by hash through an index. Light blocks are not: of them
//! the last few that were asked for are kept, whatever the height of the chain.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use starknet_types_core::felt::Felt;

use super::producer::ProducedBlock;
use super::served::Served;
use crate::light::LightChain;

/// Newest sealed blocks whose bodies are kept.
pub(crate) const KEPT_BODIES: u64 = 4_096;

/// Light blocks that are kept, those asked for last.
pub(crate) const KEPT_LIGHT_BLOCKS: usize = 64;

/// The blocks of a node.
#[derive(Debug)]
pub(crate) enum Store {
    Kept(Kept),
    Light(Light),
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    blocks: Vec<Arc<Served>>,
    heights: BTreeMap<[u8; 32], u64>,
}

#[derive(Debug)]
pub(crate) struct Light {
    chain: LightChain,
    length: u64,
    recent: Mutex<VecDeque<Arc<Served>>>,
}

/// Blocks from some height on: what stands there, or what is to stand there.
#[derive(Debug, Clone)]
pub(crate) enum Tail {
    Kept(Vec<Arc<Served>>),
    /// The blocks of this chain up to that many in all.
    Light {
        chain: LightChain,
        length: u64,
    },
}

impl Store {
    pub(crate) fn light(chain: LightChain) -> Self {
        Self::Light(Light { chain, length: 0, recent: Mutex::default() })
    }

    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Kept(kept) => u64::try_from(kept.blocks.len()).unwrap_or(u64::MAX),
            Self::Light(light) => light.length,
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<Arc<Served>> {
        match self {
            Self::Kept(kept) => kept.blocks.get(usize::try_from(number).ok()?).cloned(),
            Self::Light(light) => (number < light.length).then(|| light.get(number)),
        }
    }

    pub(crate) fn hash_at(&self, number: u64) -> Option<Felt> {
        match self {
            Self::Kept(_) => self.get(number).map(|served| served.block.hash),
            Self::Light(light) => (number < light.length).then(|| light.chain.hash_at(number)),
        }
    }

    pub(crate) fn number_of(&self, hash: &Felt) -> Option<u64> {
        match self {
            Self::Kept(kept) => kept.heights.get(&hash.to_bytes_be()).copied(),
            Self::Light(light) => {
                light.chain.number_of(hash).filter(|number| *number < light.length)
            }
        }
    }

    /// How many blocks stand in memory.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Kept(kept) => kept.blocks.len(),
            Self::Light(light) => light.lock().len(),
        }
    }

    /// The blocks from a height on.
    pub(crate) fn tail_from(&self, from: u64) -> Tail {
        match self {
            Self::Kept(kept) => Tail::Kept(kept.blocks.iter().skip(index(from)).cloned().collect()),
            Self::Light(light) => Tail::Light { chain: light.chain.clone(), length: light.length },
        }
    }

    /// Puts blocks in place of everything from a height on, which comes back. They must be consecutive
    /// from there, and of the kind that this store is of; others change nothing.
    pub(crate) fn replace_from(&mut self, from: u64, tail: Tail) -> Tail {
        match (self, tail) {
            (Self::Kept(kept), Tail::Kept(blocks)) => Tail::Kept(kept.replace_from(from, blocks)),
            (Self::Light(light), Tail::Light { chain, length }) => {
                let chain = std::mem::replace(&mut light.chain, chain);
                let length = std::mem::replace(&mut light.length, length);
                light.lock().clear();
                Tail::Light { chain, length }
            }
            (_, tail) => tail,
        }
    }

    /// The lowest height at which another store has another block, or none.
    pub(crate) fn parts_from(&self, other: &Self) -> u64 {
        let mut same = self.len().min(other.len());
        while let Some(below) = same.checked_sub(1)
            && self.hash_at(below) != other.hash_at(below)
        {
            same = below;
        }
        same
    }
}

impl Clone for Store {
    /// The same blocks; light ones asked for lately are not taken along.
    fn clone(&self) -> Self {
        match self {
            Self::Kept(kept) => Self::Kept(kept.clone()),
            Self::Light(light) => Self::Light(Light {
                chain: light.chain.clone(),
                length: light.length,
                recent: Mutex::default(),
            }),
        }
    }
}

impl Kept {
    fn replace_from(&mut self, from: u64, blocks: Vec<Arc<Served>>) -> Vec<Arc<Served>> {
        let from = index(from).min(self.blocks.len());
        let replaced = self.blocks.split_off(from);
        for served in &replaced {
            self.heights.remove(&served.block.hash.to_bytes_be());
        }
        for served in blocks {
            self.heights.insert(served.block.hash.to_bytes_be(), served.block.number);
            let old = served.block.number.checked_sub(KEPT_BODIES);
            if let Some(old) = old.and_then(|old| self.blocks.get(index(old))) {
                old.drop_bodies();
            }
            self.blocks.push(served);
        }
        replaced
    }
}

impl Light {
    fn get(&self, number: u64) -> Arc<Served> {
        let kept = self.lock().iter().find(|served| served.block.number == number).cloned();
        if let Some(served) = kept {
            return served;
        }
        // Made outside the lock, so that several callers make several blocks at once.
        let made = Served::new(ProducedBlock { block: self.chain.block(number), truth: None });
        let mut recent = self.lock();
        if recent.len() >= KEPT_LIGHT_BLOCKS {
            recent.pop_front();
        }
        recent.push_back(Arc::clone(&made));
        made
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Arc<Served>>> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
