//! The blocks the node serves: by height and by hash, with the bodies of the newest ones ready.
//!
//! A reader takes a block out under a short lock and encodes or copies outside of it. Bodies of old
//! blocks are let go and encoded again when somebody asks, so that a node that runs for days holds felts
//! and not text.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use starknet_types_core::felt::Felt;

use super::block::SealedBlock;
use super::encode::{Body, Detail, Finality};
use super::producer::ProducedBlock;
use crate::seeded::BlockTruth;

/// Newest blocks whose bodies are kept.
const KEPT_BODIES: usize = 4_096;

/// A served block.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) block: SealedBlock,
    pub(crate) truth: Option<BlockTruth>,
    body: Mutex<Option<Arc<Body>>>,
}

impl Served {
    pub(crate) fn new(produced: ProducedBlock) -> Arc<Self> {
        let body = Arc::new(Body::encode(&produced.block, Detail::Receipts));
        Arc::new(Self {
            block: produced.block,
            truth: produced.truth,
            body: Mutex::new(Some(body)),
        })
    }

    /// The body at a level of detail; only the one with receipts is kept.
    pub(crate) fn body(&self, detail: Detail) -> Arc<Body> {
        if detail == Detail::Receipts
            && let Some(body) = self.body.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            return Arc::clone(body);
        }
        Arc::new(Body::encode(&self.block, detail))
    }

    fn drop_body(&self) {
        *self.body.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// All served blocks.
#[derive(Debug)]
pub(crate) struct Ledger {
    inner: RwLock<Inner>,
    l1_lag: u64,
}

#[derive(Debug, Default)]
struct Inner {
    blocks: Vec<Arc<Served>>,
    heights: BTreeMap<[u8; 32], usize>,
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
    pub(crate) fn new(l1_lag: u64) -> Self {
        Self { inner: RwLock::default(), l1_lag }
    }

    pub(crate) fn head(&self) -> Option<Head> {
        self.read(|inner| {
            inner
                .blocks
                .last()
                .map(|served| Head { number: served.block.number, hash: served.block.hash })
        })
    }

    /// Height of the newest block that is accepted on L1.
    pub(crate) fn l1_head(&self) -> Option<u64> {
        self.head()?.number.checked_sub(self.l1_lag)
    }

    pub(crate) fn finality_of(&self, number: u64) -> Finality {
        match self.l1_head() {
            Some(l1_head) if number <= l1_head => Finality::AcceptedOnL1,
            _ => Finality::AcceptedOnL2,
        }
    }

    pub(crate) fn by_number(&self, number: u64) -> Option<Arc<Served>> {
        let index = usize::try_from(number).ok()?;
        self.read(|inner| inner.blocks.get(index).cloned())
    }

    pub(crate) fn by_hash(&self, hash: &Felt) -> Option<Arc<Served>> {
        self.read(|inner| inner.blocks.get(*inner.heights.get(&hash.to_bytes_be())?).cloned())
    }

    /// Puts blocks in place of everything from a height on. Blocks must be consecutive from there.
    pub(crate) fn replace_from(&self, number: u64, blocks: Vec<Arc<Served>>) {
        let Ok(from) = usize::try_from(number) else {
            return;
        };
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        let from = from.min(inner.blocks.len());
        for served in inner.blocks.split_off(from) {
            inner.heights.remove(&served.block.hash.to_bytes_be());
        }
        for served in blocks {
            let height = inner.blocks.len();
            inner.heights.insert(served.block.hash.to_bytes_be(), height);
            inner.blocks.push(served);
            if let Some(old) = height.checked_sub(KEPT_BODIES).and_then(|old| inner.blocks.get(old))
            {
                old.drop_body();
            }
        }
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }
}
