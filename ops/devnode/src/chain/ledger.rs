//! The blocks a node serves, by height and by hash, and how much of them it shows.
//!
//! A lagging node has blocks that it does not show yet; everything here but `switch` and `mirror` goes by
//! what is shown. A reader takes a block out under a short lock and encodes or copies outside of it. Bodies
//! of old blocks are let go and encoded again when somebody asks, so that a node that runs for days holds
//! felts and not text. Which blocks were replaced lately is remembered for those who tell subscribers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use starknet_types_core::felt::Felt;

use super::encode::{Body, Detail, Finality};
use super::replaced::Replaced;
use super::served::Keep;
pub(crate) use super::served::Served;
use super::store::{KEPT_BODIES, Store, Tail};
use crate::spec::BodyStyle;

/// Reorganisations that are remembered.
const KEPT_REORGS: usize = 64;

/// All served blocks.
#[derive(Debug)]
pub(crate) struct Ledger {
    inner: RwLock<Inner>,
    l1_lag: u64,
    /// How many blocks from the first one are final by word, whatever the lag says.
    finalized: AtomicU64,
    lag: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    reorgs: VecDeque<Arc<Reorg>>,
    reorg_count: u64,
    replaced: Replaced,
}

/// Blocks that were replaced.
#[derive(Debug)]
pub(crate) struct Reorg {
    /// Which one it is, counted from 1.
    pub(crate) count: u64,
    /// Height of the lowest one.
    pub(crate) from: u64,
    /// Their hashes, upwards.
    pub(crate) hashes: Vec<Felt>,
}

impl Reorg {
    /// The part of it that covers so many blocks from the lowest one.
    pub(crate) fn first(&self, blocks: u64) -> Self {
        let hashes = self.hashes.iter().copied();
        let hashes = hashes.take(usize::try_from(blocks).unwrap_or(usize::MAX)).collect();
        Self { count: self.count, from: self.from, hashes }
    }
}

/// What follows a place on a chain.
#[derive(Debug)]
pub(crate) enum Following {
    /// The next block.
    Block {
        served: Arc<Served>,
        /// Whether it is the newest.
        is_head: bool,
    },
    /// Nothing yet.
    Nothing,
    /// The place was left by the chain: this is the last block below it that was not.
    Rewind(Head),
    /// No block of that height and hash was ever served.
    Unknown,
}

/// The newest block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: Felt,
}

impl Ledger {
    pub(crate) fn new(store: Store, l1_lag: u64, lag: u64) -> Self {
        let inner =
            Inner { store, reorgs: VecDeque::new(), reorg_count: 0, replaced: Replaced::default() };
        Self {
            inner: RwLock::new(inner),
            l1_lag,
            finalized: AtomicU64::new(0),
            lag: AtomicU64::new(lag),
        }
    }

    /// A ledger of its own over the same blocks.
    pub(crate) fn twin(&self, lag: u64) -> Self {
        let twin = Self::new(self.read(|inner| inner.store.clone()), self.l1_lag, lag);
        twin.finalized.store(self.finalized.load(Ordering::Relaxed), Ordering::Relaxed);
        twin
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.read(|inner| {
            let number = self.shown(inner).checked_sub(1)?;
            Some(Head { number, hash: inner.store.hash_at(number)? })
        })
    }

    /// Height of the newest block that is accepted on L1.
    pub(crate) fn l1_head(&self) -> Option<u64> {
        let head = self.head()?.number;
        let by_word = self.finalized.load(Ordering::Relaxed).checked_sub(1);
        head.checked_sub(self.l1_lag).max(by_word.map(|number| number.min(head)))
    }

    /// From now on at least this block and those below it are accepted on L1.
    pub(crate) fn finalize(&self, number: u64) {
        self.finalized.fetch_max(number.saturating_add(1), Ordering::Relaxed);
    }

    pub(crate) fn set_lag(&self, blocks: u64) {
        self.lag.store(blocks, Ordering::Relaxed);
    }

    pub(crate) fn finality_of(&self, number: u64) -> Finality {
        match self.l1_head() {
            Some(l1_head) if number <= l1_head => Finality::AcceptedOnL1,
            _ => Finality::AcceptedOnL2,
        }
    }

    pub(crate) fn by_number(&self, number: u64) -> Option<Arc<Served>> {
        self.read(|inner| (number < self.shown(inner)).then(|| inner.store.get(number)).flatten())
    }

    pub(crate) fn by_hash(&self, hash: &Felt) -> Option<Arc<Served>> {
        self.by_number(self.read(|inner| inner.store.number_of(hash))?)
            .filter(|served| served.block.hash == *hash)
    }

    /// What follows a block; block 0 follows `None`. Looked up in one piece, so that a chain that changes
    /// in between is seen before or after, never half.
    pub(crate) fn following(&self, place: Option<Head>) -> Following {
        self.read(|inner| {
            let next = match place {
                None => 0,
                Some(at) if inner.holds(at.number, &at.hash) => at.number + 1,
                Some(at) => {
                    return inner
                        .replaced
                        .last_common(&at.hash, |number, hash| inner.holds(number, hash))
                        .map_or(Following::Unknown, |(number, hash)| {
                            Following::Rewind(Head { number, hash })
                        });
                }
            };
            let shown = self.shown(inner);
            let found = (next < shown).then(|| inner.store.get(next)).flatten();
            found.map_or(Following::Nothing, |served| Following::Block {
                served,
                is_head: next + 1 == shown,
            })
        })
    }

    /// The body of a block of this ledger.
    pub(crate) fn body(&self, served: &Served, detail: Detail, style: BodyStyle) -> Arc<Body> {
        let newest = self.read(|inner| inner.store.len());
        let keep = if served.block.number.saturating_add(KEPT_BODIES) >= newest {
            Keep::Body
        } else {
            Keep::Nothing
        };
        served.body(detail, style, keep)
    }

    /// How many blocks there are, shown or not.
    pub(crate) fn length(&self) -> u64 {
        self.read(|inner| inner.store.len())
    }

    /// The hash at a height, shown or not.
    pub(crate) fn hash_at(&self, number: u64) -> Option<Felt> {
        self.read(|inner| inner.store.hash_at(number))
    }

    /// How many blocks stand in memory.
    pub(crate) fn held(&self) -> usize {
        self.read(|inner| inner.store.held())
    }

    /// Puts blocks in place of everything from a height on, which comes back. Blocks must be consecutive
    /// from there.
    pub(crate) fn replace_from(&self, number: u64, tail: Tail) -> Tail {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        inner.remember_reorg(number);
        let replaced = inner.store.replace_from(number, tail);
        if let Tail::Kept(blocks) = &replaced {
            for served in blocks {
                inner.replaced.remember(&served.block);
            }
        }
        replaced
    }

    /// Takes over whatever another ledger has, shown there or not.
    pub(crate) fn mirror(&self, other: &Self) {
        let (from, tail) = other.read(|theirs| {
            let from = self.read(|ours| ours.store.parts_from(&theirs.store));
            (from, theirs.store.tail_from(from))
        });
        self.replace_from(from, tail);
        let finalized = other.finalized.load(Ordering::Relaxed);
        self.finalized.fetch_max(finalized, Ordering::Relaxed);
    }

    /// The remembered reorganisations after the first `seen`, oldest first.
    pub(crate) fn reorgs_after(&self, seen: u64) -> Vec<Arc<Reorg>> {
        self.read(|inner| inner.reorgs.iter().filter(|reorg| reorg.count > seen).cloned().collect())
    }

    /// How many reorganisations there were.
    pub(crate) fn reorg_count(&self) -> u64 {
        self.read(|inner| inner.reorg_count)
    }

    fn shown(&self, inner: &Inner) -> u64 {
        let length = inner.store.len();
        length.saturating_sub(self.lag.load(Ordering::Relaxed)).max(length.min(1))
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn remember_reorg(&mut self, from: u64) {
        let hashes: Vec<Felt> =
            (from..self.store.len()).map_while(|number| self.store.hash_at(number)).collect();
        if hashes.is_empty() {
            return;
        }
        self.reorg_count += 1;
        if self.reorgs.len() >= KEPT_REORGS {
            self.reorgs.pop_front();
        }
        self.reorgs.push_back(Arc::new(Reorg { count: self.reorg_count, from, hashes }));
    }

    fn holds(&self, number: u64, hash: &Felt) -> bool {
        self.store.hash_at(number) == Some(*hash)
    }
}
