//! The canonical chain as a fold over the log, with the metrics of its markets.
//!
//! Entries go in one by one. A block comes out when its last watched event is in; a revert takes the
//! state back to before the block, from a ring of recent states, or, deeper, from an older state or a
//! snapshot and the blocks above it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use obsqra_events::{AdoptedWhat, BlockApplied, Entry, EventData, Fact, Kind};
use obsqra_policy::Policies;
use obsqra_protocols::{
    BlockInput, BlockOutput, Contracts, MarketMetrics, MetricFold, Registry, TokenPrice,
};
use obsqra_store::key::AppliedBlock;
use obsqra_store::snapshot::{self, Snapshot};
use obsqra_store::watch::{self, Supplement};
use obsqra_store::{Store, chain_tip, key, log};
use obsqra_types::{BlockHash, BlockNumber, BlockRef, ChainId, Hash32, Partition, Seq};

use crate::{WorkError, adopted};

mod snapshots;

pub use snapshots::DueSnapshot;

/// Recent states kept for reverts, one a block.
const RING: usize = 64;
/// Older states kept for deeper reverts, one each [`STRIDE`] blocks. Still deeper ones start from a snapshot.
const STRIDES: usize = 16;
/// Blocks between two older states.
const STRIDE: u64 = 256;
/// Blocks between two snapshots.
const SNAPSHOT_EVERY: u64 = 500;
/// Entries read at a time when blocks are folded again.
const REPLAY_BATCH: u64 = 256;

/// What an entry completed.
#[derive(Debug)]
pub enum Folded {
    /// A block is in, with all its watched events.
    Block(Box<FoldedBlock>),
    /// A block is out again.
    Reverted(BlockRef),
    /// Another registry counts from here on; all markets and prices as they are under it.
    Reread(Vec<MarketMetrics>, Vec<TokenPrice>),
}

/// A block and what it changed.
#[derive(Debug)]
pub struct FoldedBlock {
    /// The block.
    pub block: BlockRef,
    /// Its hash.
    pub hash: BlockHash,
    /// Its entry's fact.
    pub applied: BlockApplied,
    /// Position of that entry.
    pub applied_seq: Seq,
    /// Position of its last watched event, or of the block where it has none.
    pub last_seq: Seq,
    /// Its watched events.
    pub events: Vec<(Seq, Hash32, EventData)>,
    /// What changed; `None` while no registry is adopted.
    pub output: Option<BlockOutput>,
    /// Whether the output tells of all markets and prices, not of those alone that changed.
    pub tells_all: bool,
    /// Position of the entry of the block below; `None` for the first.
    pub below: Option<Seq>,
    /// The policy file that counts as of the block, and where it was adopted.
    pub policies: Option<(Arc<Policies>, Seq)>,
}

/// The fold.
#[derive(Debug)]
pub struct ChainFold {
    store: Store,
    chain: ChainId,
    /// Whose snapshots are used.
    partition: Partition,
    registry: Option<(Arc<Registry>, Seq)>,
    /// The tip when the registry was adopted. What it changed is told at that height: after a revert from there
    /// down, the first block tells all of it again.
    adopted_tip: Option<BlockNumber>,
    /// Whether the block at hand is that first one.
    tells_all: bool,
    policies: Option<(Arc<Policies>, Seq)>,
    fold: Option<MetricFold>,
    /// States before recent blocks, by the block.
    ring: VecDeque<(BlockNumber, MetricFold)>,
    /// As the ring, further apart. States share what they have in common, so that one costs little.
    strides: VecDeque<(BlockNumber, MetricFold)>,
    pending: Option<Pending>,
    /// Events of a supplement that are still to come. They count once a registry knows their contracts.
    supplement: u32,
    /// Reverted down to here, and no block applied since.
    reverted_to: Option<BlockNumber>,
    last_snapshot: Option<BlockNumber>,
}

#[derive(Debug)]
struct Pending {
    block: BlockRef,
    applied: BlockApplied,
    applied_seq: Seq,
    events: Vec<(Seq, Hash32, EventData)>,
}

impl ChainFold {
    /// The fold before the first entry.
    #[must_use]
    pub fn new(store: &Store, chain: &ChainId, partition: &Partition) -> Self {
        Self {
            store: store.clone(),
            chain: chain.clone(),
            partition: partition.clone(),
            registry: None,
            adopted_tip: None,
            tells_all: false,
            policies: None,
            fold: None,
            ring: VecDeque::new(),
            strides: VecDeque::new(),
            pending: None,
            supplement: 0,
            reverted_to: None,
            last_snapshot: None,
        }
    }

    /// The fold after a position at which it was settled.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn resume(
        store: &Store,
        chain: &ChainId,
        partition: &Partition,
        at: Seq,
    ) -> Result<Self, WorkError> {
        let mut fold = Self::new(store, chain, partition);
        fold.registry = adopted::registry(store, chain, at).await?;
        fold.policies = adopted::policies(store, chain, at).await?;
        if let Some((_, seq)) = &fold.registry {
            let tip = key::tip_as_of(store, chain, *seq).await?;
            fold.adopted_tip = tip.map(|tip| tip.block.number);
        }
        if let Some(tip) = key::tip_as_of(store, chain, at).await? {
            fold.restore(tip.block.number, at).await?;
            fold.last_snapshot = Some(tip.block.number);
        } else {
            fold.start();
        }
        Ok(fold)
    }

    /// The registry that counts now.
    #[must_use]
    pub fn registry(&self) -> Option<&Arc<Registry>> {
        self.registry.as_ref().map(|(registry, _)| registry)
    }

    /// The contracts that are known now: those of the registry, and those that factories announced since.
    #[must_use]
    pub fn contracts(&self) -> Option<&Contracts> {
        self.fold.as_ref().map(MetricFold::contracts)
    }

    /// Whether no block is half in and no revert waits for the block that replaces: where a cursor may
    /// stand.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.pending.is_none() && self.supplement == 0 && self.reverted_to.is_none()
    }

    /// Takes the next entry of the log.
    ///
    /// # Errors
    /// When the entry cannot be read or does not follow.
    pub async fn take(&mut self, entry: &Entry) -> Result<Option<Folded>, WorkError> {
        if entry.draft.chain != self.chain || !concerns(entry.draft.kind) {
            return Ok(None);
        }
        let fact =
            entry.draft.fact().map_err(|source| WorkError::Entry { seq: entry.seq, source })?;
        match (fact, entry.draft.block) {
            (Fact::Adopted(adopted), _) => match adopted.what {
                AdoptedWhat::Registry => self.adopt(&adopted.bytes, entry.seq).await,
                AdoptedWhat::Policy => {
                    self.policies =
                        Some((adopted::policies_of(&adopted.bytes, entry.seq)?, entry.seq));
                    Ok(None)
                }
                AdoptedWhat::Metrics | AdoptedWhat::RiskFormula => Ok(None),
            },
            (Fact::BlockApplied(applied), Some(block)) => {
                self.begin(block, applied, entry.seq).await
            }
            (Fact::Event(_), _) if self.supplement > 0 => {
                self.supplement -= 1;
                Ok(None)
            }
            (Fact::Event(event), Some(block)) => self.event(block, event, entry),
            (Fact::BlockSupplemented(supplement), _) => {
                self.supplement = supplement.watched_events;
                Ok(None)
            }
            (Fact::BlockReverted(_), Some(block)) => self.revert(block, entry.seq),
            _ => Ok(None),
        }
    }

    async fn adopt(&mut self, bytes: &[u8], seq: Seq) -> Result<Option<Folded>, WorkError> {
        let registry = adopted::registry_of(bytes, seq)?;
        let tip = self.fold.as_ref().and_then(MetricFold::tip);
        self.registry = Some((registry, seq));
        self.adopted_tip = tip.map(|tip| tip.block.number);
        let Some(tip) = tip else {
            self.start();
            return Ok(None);
        };
        self.restore(tip.block.number, seq).await?;
        Ok(self
            .fold
            .as_ref()
            .map(|fold| Folded::Reread(fold.markets().collect(), fold.prices().collect())))
    }

    fn start(&mut self) {
        self.ring.clear();
        self.strides.clear();
        self.fold = self
            .registry
            .as_ref()
            .map(|(registry, seq)| MetricFold::new(Arc::clone(registry), *seq));
    }

    async fn begin(
        &mut self,
        block: BlockRef,
        applied: BlockApplied,
        seq: Seq,
    ) -> Result<Option<Folded>, WorkError> {
        if let Some(pending) = &self.pending {
            return Err(WorkError::log(
                seq,
                format!("block {} is not complete", pending.block.number),
            ));
        }
        self.tells_all = false;
        if self.reverted_to.take().is_some() {
            self.back_to(block.number, seq).await?;
            self.tells_all = self.adopted_tip >= Some(block.number);
        }
        self.pending = Some(Pending { block, applied, applied_seq: seq, events: Vec::new() });
        self.complete(seq)
    }

    fn event(
        &mut self,
        block: BlockRef,
        event: EventData,
        entry: &Entry,
    ) -> Result<Option<Folded>, WorkError> {
        match &mut self.pending {
            Some(pending) if pending.block == block => {
                pending.events.push((entry.seq, entry.draft.content_hash, event));
            }
            _ => return Err(WorkError::log(entry.seq, "an event outside its block".into())),
        }
        self.complete(entry.seq)
    }

    fn complete(&mut self, seq: Seq) -> Result<Option<Folded>, WorkError> {
        let complete = |pending: &Pending| {
            pending.events.len() as u64 >= u64::from(pending.applied.watched_events)
        };
        let Some(pending) = self.pending.take_if(|pending| complete(pending)) else {
            return Ok(None);
        };
        let input = BlockInput {
            block: pending.block,
            hash: pending.applied.hash,
            applied_seq: pending.applied_seq,
            events: &pending.events,
        };
        let tip = self.fold.as_ref().and_then(MetricFold::tip);
        let number = pending.block.number;
        let tells_all = self.tells_all;
        let output = match &mut self.fold {
            Some(fold) => {
                keep(&mut self.ring, RING, (number, fold.clone()));
                if number.0.is_multiple_of(STRIDE) {
                    keep(&mut self.strides, STRIDES, (number, fold.clone()));
                }
                let mut output =
                    fold.apply(&input).map_err(|source| WorkError::Fold { seq, source })?;
                if tells_all {
                    output.changed_markets = fold.markets().collect();
                    output.changed_prices = fold.prices().collect();
                }
                Some(output)
            }
            None => None,
        };
        Ok(Some(Folded::Block(Box::new(FoldedBlock {
            block: pending.block,
            hash: pending.applied.hash,
            applied_seq: pending.applied_seq,
            last_seq: seq,
            events: pending.events,
            applied: pending.applied,
            output,
            tells_all,
            below: tip.map(|tip| tip.applied_seq),
            policies: self.policies.clone(),
        }))))
    }

    fn revert(&mut self, block: BlockRef, seq: Seq) -> Result<Option<Folded>, WorkError> {
        if self.pending.is_some() {
            return Err(WorkError::log(seq, "a revert inside a block".into()));
        }
        self.reverted_to = Some(block.number);
        Ok(Some(Folded::Reverted(block)))
    }

    /// The state before a block: from the ring, else from an older state or a snapshot.
    async fn back_to(&mut self, next: BlockNumber, as_of: Seq) -> Result<(), WorkError> {
        while self.strides.pop_back_if(|(number, _)| *number > next).is_some() {}
        while let Some((number, state)) = self.ring.pop_back() {
            if number == next {
                self.fold = Some(state);
                return Ok(());
            }
        }
        let Some(fork) = next.previous() else {
            self.start();
            return Ok(());
        };
        let as_of = Seq(as_of.0.saturating_sub(1));
        match self.strides.back().cloned() {
            // What came before that block stands still, since it was not reverted.
            Some((number, state)) => {
                self.fold = Some(state);
                self.replay_through((number, fork), as_of).await
            }
            None => self.restore(fork, as_of).await,
        }
    }

    /// The state after a block that was canonical as of a position: the newest snapshot below it, and
    /// the blocks in between once more.
    async fn restore(&mut self, at: BlockNumber, as_of: Seq) -> Result<(), WorkError> {
        self.start();
        let Some((registry, registry_seq)) = self.registry.clone() else {
            return Ok(());
        };
        let version = snapshots::version_of(&registry, registry_seq);
        let found =
            snapshot::newest(&self.store, &self.chain, &self.partition, &version, (at, as_of))
                .await?;
        let tip = chain_tip::load(&self.store, &self.chain).await?;
        let mut from = tip.map_or(BlockNumber(0), |tip| tip.first);
        if let Some(found) = found {
            match MetricFold::decode(Arc::clone(&registry), &found.state) {
                Ok(state) => {
                    from = found.number.next();
                    self.fold = Some(state);
                }
                // A snapshot only saves time.
                Err(error) => tracing::warn!(%error, "snapshot not usable, folding from the start"),
            }
        }
        self.replay_through((from, at), as_of).await
    }

    /// Folds the blocks of a range again that were canonical as of a position.
    async fn replay_through(
        &mut self,
        (mut from, at): (BlockNumber, BlockNumber),
        as_of: Seq,
    ) -> Result<(), WorkError> {
        while from <= at {
            let to = at.min(BlockNumber(from.0.saturating_add(REPLAY_BATCH - 1)));
            let blocks = key::canonical_as_of(&self.store, &self.chain, (from, to), as_of).await?;
            let mut gained: BTreeMap<_, Vec<Supplement>> = BTreeMap::new();
            for (place, supplement) in
                watch::supplements(&self.store, &self.chain, (from, to), as_of).await?
            {
                gained.entry(place).or_default().push(supplement);
            }
            for block in blocks {
                let place = (block.block.number, block.block.epoch);
                self.replay(&block, gained.get(&place).map_or(&[], Vec::as_slice)).await?;
            }
            from = to.next();
        }
        Ok(())
    }

    async fn replay(
        &mut self,
        block: &AppliedBlock,
        gained: &[Supplement],
    ) -> Result<(), WorkError> {
        let mut events = events_of(&self.store, (block.seq, block.watched_events)).await?;
        if !gained.is_empty() {
            for supplement in gained {
                let place = (supplement.seq, supplement.watched_events);
                events.extend(events_of(&self.store, place).await?);
            }
            events.sort_by_key(|(seq, _, event)| (event.index, *seq));
            events.dedup_by_key(|(_, _, event)| event.index);
        }
        let input = BlockInput {
            block: block.block,
            hash: block.hash,
            applied_seq: block.seq,
            events: &events,
        };
        if let Some(fold) = &mut self.fold {
            fold.apply(&input).map_err(|source| WorkError::Fold { seq: block.seq, source })?;
        }
        Ok(())
    }

    /// The state as it is now, when enough blocks have passed since the last that was given.
    pub fn due_snapshot(&mut self) -> Option<DueSnapshot> {
        let number = self.fold.as_ref()?.tip()?.block.number;
        let due = self
            .last_snapshot
            .is_none_or(|last| number.0 >= last.0.saturating_add(SNAPSHOT_EVERY) || number < last);
        if !due {
            return None;
        }
        let snapshot = self.snapshot_for(&self.partition)?;
        self.last_snapshot = Some(number);
        Some(snapshot)
    }

    /// The state as it is now, for a partition to resume from; `None` without a block, or where no cursor may stand.
    pub fn snapshot_for(&self, partition: &Partition) -> Option<DueSnapshot> {
        let (registry, registry_seq) = self.registry.as_ref()?;
        let fold = self.fold.as_ref()?;
        let tip = fold.tip()?;
        if !self.is_settled() {
            return None;
        }
        let (number, epoch) = (tip.block.number, tip.block.epoch);
        let snapshot = Snapshot { number, epoch, seq: tip.last_seq, state: fold.encode() };
        let version = snapshots::version_of(registry, *registry_seq);
        Some(DueSnapshot { partition: partition.clone(), version, snapshot })
    }
}

/// Keeps a state as the newest of at most `most`, instead of what stands at its height or above.
fn keep(
    states: &mut VecDeque<(BlockNumber, MetricFold)>,
    most: usize,
    state: (BlockNumber, MetricFold),
) {
    while states.pop_back_if(|(number, _)| *number >= state.0).is_some() {}
    states.push_back(state);
    if states.len() > most {
        states.pop_front();
    }
}

fn concerns(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Adopted
            | Kind::BlockApplied
            | Kind::Event
            | Kind::BlockReverted
            | Kind::BlockSupplemented
    )
}

/// The watched events of an applied block or a supplement, which directly follow its entry.
async fn events_of(
    store: &Store,
    (seq, count): (Seq, u32),
) -> Result<Vec<(Seq, Hash32, EventData)>, WorkError> {
    let entries = log::read_after(store, seq, count).await?;
    entries
        .into_iter()
        .map(|entry| {
            let seq = entry.seq;
            match entry.draft.fact().map_err(|source| WorkError::Entry { seq, source })? {
                Fact::Event(event) => Ok((seq, entry.draft.content_hash, event)),
                _ => Err(WorkError::log(seq, "not an event of the block before it".into())),
            }
        })
        .collect()
}
