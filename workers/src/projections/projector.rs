//! The projector: applies the log to the read models, batch by batch.
//!
//! Read models of another program are made anew beside the live ones, which stand until those are whole.

use std::mem;

use obsqra_events::Kind;
use obsqra_store::{LeaseKeeper, Store};
use obsqra_types::{ChainId, Partition, Seq};

use super::ReadModels;
use super::batch::{Batch, Reach, Right, Snapshots, Writing};
use super::remake::{Remade, Remake};
use crate::WorkError;
use crate::runtime::{Progress, Role, WakesOn};

/// Projects one chain.
#[derive(Debug)]
pub struct Projector {
    store: Store,
    chain: ChainId,
    models: ReadModels,
    /// What is committed.
    position: Seq,
    /// Made already, and not written.
    ahead: Batch,
    /// What is made instead of read models of another program.
    remake: Option<Remake>,
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
            position: Seq::BEFORE_FIRST,
            ahead: Batch::default(),
            remake: None,
        }
    }

    /// The position that the read models stand for.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position
    }

    /// Works a stretch at read models that are to stand instead of those of another program: a table that it did
    /// not know cannot be filled from where the others stand.
    async fn make_anew(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        let Some(remake) = &mut self.remake else {
            self.remake = Remake::begin(&self.store, &self.chain, lease.fence()).await?;
            return Ok(if self.remake.is_some() { Progress::Worked } else { Progress::Idle });
        };
        match remake.work(lease, self.position).await? {
            Remade::Partly => Ok(Progress::Worked),
            Remade::Waits => Ok(Progress::Idle),
            Remade::Whole => {
                if let Some(remake) = self.remake.take() {
                    remake.close().await;
                }
                self.load().await?;
                Ok(Progress::Worked)
            }
        }
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
        self.ahead = Batch::default();
        self.models = ReadModels::load(&self.store, &self.chain, &self.partition()).await?;
        self.position = self.models.state().seq;
        self.models.misfits().publish();
        match self.remake.take() {
            Some(remake) if self.models.is_outdated() => self.remake = remake.resume().await?,
            _ => {}
        }
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        if self.models.is_outdated() {
            return self.make_anew(lease).await;
        }
        let Self { store, chain, models, position, ahead, .. } = self;
        let reach = Reach { store, upto: None, snapshots: Snapshots::Kept };
        let mut batch = mem::take(ahead);
        if batch.entries == 0 {
            batch = Batch::read(reach, models, *position).await?;
        }
        let Some(end) = batch.end() else {
            return Ok(Progress::Idle);
        };
        let entries = batch.entries;
        let writing = Writing { store, chain, right: Right::Live(lease) };
        let (misfits, next) = batch.write(writing, reach, models).await?;
        (*position, *ahead) = (end, next);
        misfits.publish();
        metrics::counter!("obsqra_projector_entries_total").increment(entries);
        Ok(Progress::Worked)
    }
}
