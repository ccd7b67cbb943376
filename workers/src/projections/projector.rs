//! The projector: applies the log to the read models, batch by batch.
//!
//! While the rows of a batch are written, the next one is read and folded: the database and this process work at
//! the same time. What was folded ahead is lost with the process, and nothing of it is visible.

use std::mem;

use obsqra_events::Kind;
use obsqra_store::notify::{Signal, notify};
use obsqra_store::projection::state;
use obsqra_store::{LeaseKeeper, Store, StoreError, lease, log};
use obsqra_types::{ChainId, Partition, Seq};

use super::ReadModels;
use super::models::Step;
use super::tables::Tables;
use crate::WorkError;
use crate::chain_fold::{ChainFold, DueSnapshot};
use crate::runtime::{Progress, Role, WakesOn};

/// Entries applied in one transaction, more where a block is larger.
const BATCH: u32 = 4_000;
/// Entries read at a time to complete a block.
const REST: u32 = 64;
/// Entries folded before the transaction that is written beside gets its turn.
const TURN: usize = 64;

/// Projects one chain.
#[derive(Debug)]
pub struct Projector {
    store: Store,
    chain: ChainId,
    models: ReadModels,
    /// Folded already, after the position of the rows.
    ahead: Batch,
}

/// Entries of one transaction.
#[derive(Debug, Default)]
struct Batch {
    steps: Vec<Step>,
    /// Whether the log is likely to have more.
    is_full: bool,
    /// The state of the fold after them, when it is to be kept.
    snapshot: Option<DueSnapshot>,
}

impl Batch {
    /// Reads the entries after a position and folds them, up to where a cursor may stand.
    ///
    /// Nothing slow may happen inside a transaction; after a deep revert or with a new registry this reads
    /// much of the log again.
    async fn read(store: &Store, fold: &mut ChainFold, after: Seq) -> Result<Self, WorkError> {
        let mut read = after;
        let entries = log::read_after(store, read, BATCH).await?;
        let is_full = entries.len() >= BATCH as usize;
        let mut steps = Vec::with_capacity(entries.len());
        for entry in entries {
            read = entry.seq;
            steps.push(Step::fold(fold, entry).await?);
            if steps.len().is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
        while !fold.is_settled() {
            for entry in rest_of_block(store, read).await? {
                read = entry.seq;
                steps.push(Step::fold(fold, entry).await?);
                if fold.is_settled() {
                    break;
                }
            }
        }
        // What one block makes due becomes visible together, such as the allocations of all policies.
        while is_full && let Some(last) = steps.last() {
            let more = log::read_after(store, last.entry.seq, 1).await?;
            let Some(entry) = more.into_iter().find(|entry| last.is_due_with(entry)) else {
                break;
            };
            steps.push(Step::fold(fold, entry).await?);
        }
        let snapshot = fold.due_snapshot().filter(|_| !steps.is_empty());
        Ok(Self { steps, is_full, snapshot })
    }

    /// Where it ends.
    fn end(&self) -> Option<Seq> {
        self.steps.last().map(|step| step.entry.seq)
    }
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
            ahead: Batch::default(),
        }
    }

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
        self.ahead = Batch::default();
        self.models = ReadModels::load(&self.store, &self.chain, &self.partition()).await?;
        self.models.publish();
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        if self.models.is_outdated() {
            self.begin_anew(lease).await?;
            return Ok(Progress::Worked);
        }
        let Self { store, models: ReadModels { fold, tables }, ahead, .. } = self;
        let mut batch = mem::take(ahead);
        if batch.steps.is_empty() {
            batch = Batch::read(store, fold, tables.state().seq).await?;
        }
        let Some(end) = batch.end() else {
            return Ok(Progress::Idle);
        };
        let next = async {
            if batch.is_full { Batch::read(store, fold, end).await } else { Ok(Batch::default()) }
        };
        let (written, next) = tokio::join!(write(store, tables, lease, &batch), next);
        written?;
        metrics::counter!("obsqra_projector_entries_total").increment(batch.steps.len() as u64);
        self.models.publish();
        self.ahead = next?;
        Ok(Progress::Worked)
    }
}

/// Writes what came of a batch, in one transaction.
async fn write(
    store: &Store,
    tables: &mut Tables,
    lease: &LeaseKeeper,
    batch: &Batch,
) -> Result<(), WorkError> {
    let mut tx = store.begin().await?;
    lease::check(&mut tx, lease.fence()).await?;
    for step in &batch.steps {
        tables.take(&mut tx, step).await?;
    }
    tables.write(&mut tx).await?;
    if let Some(snapshot) = &batch.snapshot {
        snapshot.save(&mut tx).await?;
    }
    notify(&mut tx, Signal::Projection).await?;
    lease.renew_in(&mut tx).await?;
    Ok(tx.commit().await.map_err(StoreError::from)?)
}

/// A few entries more, until the block at hand is complete. They are there: a block is appended whole.
async fn rest_of_block(store: &Store, read: Seq) -> Result<Vec<obsqra_events::Entry>, WorkError> {
    let entries = log::read_after(store, read, REST).await?;
    if entries.is_empty() {
        return Err(WorkError::Log { seq: read, problem: "the block's events are missing".into() });
    }
    Ok(entries)
}
