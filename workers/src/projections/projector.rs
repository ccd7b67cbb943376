//! The projector: applies the log to the read models, batch by batch.

use obsqra_events::Kind;
use obsqra_store::notify::{Signal, notify};
use obsqra_store::projection::state;
use obsqra_store::{LeaseKeeper, Store, StoreError, lease, log};
use obsqra_types::{ChainId, Partition, Seq};

use super::ReadModels;
use crate::WorkError;
use crate::runtime::{Progress, Role, WakesOn};

/// Entries applied in one transaction, more where a block is larger.
const BATCH: u32 = 4_000;
/// Entries read at a time to complete a block.
const REST: u32 = 64;

/// Projects one chain.
#[derive(Debug)]
pub struct Projector {
    store: Store,
    chain: ChainId,
    models: ReadModels,
}

impl Projector {
    /// Prepares the role; nothing is read yet.
    #[must_use]
    pub fn new(store: &Store, chain: &ChainId) -> Self {
        let partition = Partition::Projector(chain.clone());
        Self {
            store: store.clone(),
            chain: chain.clone(),
            models: ReadModels::empty(store, chain, &partition),
        }
    }
}

impl Projector {
    /// The position that the read models stand for.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.models.state().seq
    }

    /// Empties the read models: an older program wrote them, and a table that it did not know cannot be filled
    /// from where they stand.
    async fn begin_anew(&mut self, lease: &LeaseKeeper) -> Result<(), WorkError> {
        tracing::info!("the read models are those of an older program and are made anew");
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        state::reset(&mut tx, &self.chain).await?;
        lease.renew_in(&mut tx).await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.load().await
    }
}

impl Role for Projector {
    fn partition(&self) -> Partition {
        Partition::Projector(self.chain.clone())
    }

    fn wakes_on(&self) -> WakesOn {
        WakesOn::Facts(&[
            Kind::BlockApplied,
            Kind::BlockReverted,
            Kind::BlockFinalized,
            Kind::RiskScored,
            Kind::RiskAbsent,
            Kind::AnomalyFound,
            Kind::AllocationProposed,
            Kind::AllocationInfeasible,
        ])
    }

    async fn load(&mut self) -> Result<(), WorkError> {
        self.models = ReadModels::load(&self.store, &self.chain, &self.partition()).await?;
        self.models.publish();
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        if self.models.is_outdated() {
            self.begin_anew(lease).await?;
            return Ok(Progress::Worked);
        }
        let mut read = self.models.state().seq;
        let entries = log::read_after(&self.store, read, BATCH).await?;
        if entries.is_empty() {
            return Ok(Progress::Idle);
        }
        // Folded first: after a deep revert or with a new registry that reads much of the log again, and
        // nothing slow happens inside a transaction.
        let mut steps = Vec::with_capacity(entries.len());
        for entry in entries {
            read = entry.seq;
            steps.push(self.models.fold(entry).await?);
        }
        while !self.models.is_settled() {
            for entry in rest_of_block(&self.store, read).await? {
                read = entry.seq;
                steps.push(self.models.fold(entry).await?);
                if self.models.is_settled() {
                    break;
                }
            }
        }
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        for step in &steps {
            self.models.write_step(&mut tx, step).await?;
        }
        self.models.write(&mut tx).await?;
        self.models.save_fold(&mut tx).await?;
        notify(&mut tx, Signal::Projection).await?;
        lease.renew_in(&mut tx).await?;
        tx.commit().await.map_err(StoreError::from)?;
        metrics::counter!("obsqra_projector_entries_total").increment(steps.len() as u64);
        self.models.publish();
        Ok(Progress::Worked)
    }
}

/// A few entries more, until the block at hand is complete. They are there: a block is appended whole.
async fn rest_of_block(store: &Store, read: Seq) -> Result<Vec<obsqra_events::Entry>, WorkError> {
    let entries = log::read_after(store, read, REST).await?;
    if entries.is_empty() {
        return Err(WorkError::Log { seq: read, problem: "the block's events are missing".into() });
    }
    Ok(entries)
}
