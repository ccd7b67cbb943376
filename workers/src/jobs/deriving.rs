//! How every job that derives facts block by block goes through the log: it folds the chain lane, appends
//! what is due at each block, and moves its cursor in the same transaction.
//!
//! What is due is a function of the log up to the block. When it is computed, and how many blocks are taken
//! together, changes nothing.

use obsqra_events::Kind;
use obsqra_store::{Keyed, LeaseKeeper, Store, StoreError, cursor, lease, log};
use obsqra_types::{ChainId, Partition, Seq};

use crate::WorkError;
use crate::chain_fold::{ChainFold, Folded, FoldedBlock};
use crate::runtime::{Progress, Role, WakesOn};

/// Entries read at a time.
const BATCH: u32 = 4_000;
/// Facts that are appended before the batch is through, in one transaction.
const MOST_FACTS: usize = 256;

/// What a job derives.
pub trait Derivation: Send {
    /// The partition that one process at a time may hold.
    fn partition(&self) -> Partition;

    /// The facts that are due at a block.
    ///
    /// # Errors
    /// When what they are made from contradicts itself.
    fn due(&self, block: &FoldedBlock) -> Result<Vec<Keyed>, WorkError>;
}

/// A role that derives.
#[derive(Debug)]
pub struct Deriver<D> {
    store: Store,
    chain: ChainId,
    derivation: D,
    fold: ChainFold,
    /// Read up to here.
    read: Seq,
}

impl<D: Derivation> Deriver<D> {
    /// Prepares the role; nothing is read yet.
    #[must_use]
    pub fn of(store: &Store, chain: &ChainId, derivation: D) -> Self {
        let fold = ChainFold::new(store, chain, &derivation.partition());
        let (store, chain) = (store.clone(), chain.clone());
        Self { store, chain, derivation, fold, read: Seq::BEFORE_FIRST }
    }

    async fn commit(
        &mut self,
        lease: &LeaseKeeper,
        facts: Vec<Keyed>,
        to: Seq,
    ) -> Result<(), WorkError> {
        let count = facts.len();
        let mut superseded = 0;
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        cursor::advance(&mut tx, &self.partition(), to).await?;
        if let Some(snapshot) = self.fold.due_snapshot() {
            snapshot.save(&mut tx).await?;
        }
        if !facts.is_empty() {
            superseded = log::append(&mut tx, lease.fence(), facts).await?.superseded;
        }
        tx.commit().await.map_err(StoreError::from)?;
        let partition = self.partition().to_string();
        metrics::counter!("obsqra_derived_facts_total", "partition" => partition.clone())
            .increment(count as u64);
        metrics::counter!("obsqra_derived_superseded_total", "partition" => partition)
            .increment(superseded as u64);
        Ok(())
    }
}

impl<D: Derivation> Role for Deriver<D> {
    fn partition(&self) -> Partition {
        self.derivation.partition()
    }

    fn wakes_on(&self) -> WakesOn {
        WakesOn::Facts(&[Kind::BlockApplied, Kind::BlockReverted])
    }

    async fn load(&mut self) -> Result<(), WorkError> {
        let partition = self.partition();
        self.read = cursor::load(&self.store, &partition).await?;
        self.fold = ChainFold::resume(&self.store, &self.chain, &partition, self.read).await?;
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        let entries = log::read_after(&self.store, self.read, BATCH).await?;
        if entries.is_empty() {
            return Ok(Progress::Idle);
        }
        let mut facts = Vec::new();
        let mut settled = None;
        for entry in &entries {
            if let Some(Folded::Block(block)) = self.fold.take(entry).await? {
                facts.extend(self.derivation.due(&block)?);
            }
            self.read = entry.seq;
            if self.fold.is_settled() {
                settled = Some(entry.seq);
                if facts.len() >= MOST_FACTS {
                    self.commit(lease, std::mem::take(&mut facts), entry.seq).await?;
                    settled = None;
                }
            }
        }
        // A block's facts are there once the block is complete, where the fold is settled: whatever is left
        // belongs to the last settled position. What is half in is completed by the next batch.
        if let Some(to) = settled {
            self.commit(lease, facts, to).await?;
        }
        Ok(Progress::Worked)
    }
}
