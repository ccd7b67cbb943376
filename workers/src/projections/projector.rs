//! The projector: applies the log to the read models, batch by batch.
//!
//! While the rows of a batch are written, the next one is read, folded and made into rows: the database and this
//! process work at the same time. What was made ahead is lost with the process, and nothing of it is visible.

use std::mem;

use obsqra_events::{Entry, Kind, Lane};
use obsqra_store::notify::{Signal, notify};
use obsqra_store::projection::state;
use obsqra_store::{LeaseKeeper, Store, StoreError, Transaction, lease, log};
use obsqra_types::{ChainId, Partition, Seq};

use super::ReadModels;
use super::changes::Outcome;
use super::misfits::Misfits;
use super::models::Step;
use super::tables::Tables;
use crate::WorkError;
use crate::chain_fold::DueSnapshot;
use crate::runtime::{Progress, Role, WakesOn};

/// Entries applied in one transaction, more where a block is larger.
const BATCH: u32 = 4_000;
/// Entries read at a time to complete a block.
const REST: u32 = 64;
/// Entries made into rows before the transaction that is written beside gets its turn.
const TURN: u64 = 32;

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
}

/// Entries of one transaction.
#[derive(Debug, Default)]
struct Batch {
    entries: u64,
    /// What came of them; absent where some of them change the rows only beside the database.
    outcome: Option<Outcome>,
    /// Those that do, and what follows them: folded, and not made into rows.
    rest: Vec<Step>,
    /// The last one.
    last: Option<Entry>,
    /// Whether the log is likely to have more.
    is_full: bool,
    /// The state of the fold after them, when it is to be kept.
    snapshot: Option<DueSnapshot>,
}

impl Batch {
    /// Reads the entries after a position, folds them and changes the rows in memory, up to where a cursor may
    /// stand.
    ///
    /// Nothing slow may happen inside a transaction; after a deep revert or with a new registry this reads
    /// much of the log again.
    async fn read(store: &Store, models: &mut ReadModels, after: Seq) -> Result<Self, WorkError> {
        let entries = log::read_after(store, after, BATCH).await?;
        let mut batch = Self { is_full: entries.len() >= BATCH as usize, ..Self::default() };
        for entry in entries {
            batch.take(models, entry).await?;
            if batch.entries.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
        while !models.fold.is_settled() {
            for entry in rest_of_block(store, batch.end().unwrap_or(after)).await? {
                batch.take(models, entry).await?;
                if models.fold.is_settled() {
                    break;
                }
            }
        }
        // What one block makes due becomes visible together, such as the allocations of all policies.
        while batch.is_full
            && let Some(last) = &batch.last
        {
            let more = log::read_after(store, last.seq, 1).await?;
            let Some(entry) = more.into_iter().find(|entry| is_due_with(last, entry)) else {
                break;
            };
            batch.take(models, entry).await?;
        }
        if batch.entries > 0 {
            batch.snapshot = models.fold.due_snapshot();
        }
        if batch.rest.is_empty() {
            batch.outcome = Some(models.tables.outcome());
        }
        Ok(batch)
    }

    async fn take(&mut self, models: &mut ReadModels, entry: Entry) -> Result<(), WorkError> {
        self.entries += 1;
        self.last = Some(entry.clone());
        let step = Step::fold(&mut models.fold, entry).await?;
        if self.rest.is_empty() && !step.needs_tables() {
            models.tables.put(&step)?;
        } else {
            self.rest.push(step);
        }
        Ok(())
    }

    /// Where it ends.
    fn end(&self) -> Option<Seq> {
        self.last.as_ref().map(|entry| entry.seq)
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
            position: Seq::BEFORE_FIRST,
            ahead: Batch::default(),
        }
    }

    /// The position that the read models stand for.
    #[must_use]
    pub fn position(&self) -> Seq {
        self.position
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
        self.position = self.models.state().seq;
        self.models.misfits().publish();
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        if self.models.is_outdated() {
            self.begin_anew(lease).await?;
            return Ok(Progress::Worked);
        }
        let Self { store, models, position, ahead, .. } = self;
        let mut batch = mem::take(ahead);
        if batch.entries == 0 {
            batch = Batch::read(store, models, *position).await?;
        }
        let Some(end) = batch.end() else {
            return Ok(Progress::Idle);
        };
        let writing = Writing { store, chain: &self.chain, lease, snapshot: batch.snapshot };
        let misfits = if let Some(outcome) = batch.outcome {
            let next = async {
                if batch.is_full {
                    Batch::read(store, models, end).await
                } else {
                    Ok(Batch::default())
                }
            };
            let (written, next) = tokio::join!(writing.outcome(outcome), next);
            let misfits = written?;
            *ahead = next?;
            misfits
        } else {
            writing.steps(&mut models.tables, &batch.rest).await?
        };
        *position = end;
        misfits.publish();
        metrics::counter!("obsqra_projector_entries_total").increment(batch.entries);
        Ok(Progress::Worked)
    }
}

/// One transaction: what came of a batch, with the state of the fold when it is to be kept.
struct Writing<'a> {
    store: &'a Store,
    chain: &'a ChainId,
    lease: &'a LeaseKeeper,
    snapshot: Option<DueSnapshot>,
}

impl Writing<'_> {
    /// Writes what is made already.
    async fn outcome(self, outcome: Outcome) -> Result<Misfits, WorkError> {
        let mut tx = self.begin().await?;
        let misfits = outcome.write(&mut tx, self.chain).await?;
        self.commit(tx).await?;
        Ok(misfits)
    }

    /// Makes the rows that depend on those in the database, and writes all.
    async fn steps(self, tables: &mut Tables, steps: &[Step]) -> Result<Misfits, WorkError> {
        let mut tx = self.begin().await?;
        for step in steps {
            tables.take(&mut tx, step).await?;
        }
        let misfits = tables.write(&mut tx).await?;
        self.commit(tx).await?;
        Ok(misfits)
    }

    async fn begin(&self) -> Result<Transaction, WorkError> {
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, self.lease.fence()).await?;
        Ok(tx)
    }

    async fn commit(self, mut tx: Transaction) -> Result<(), WorkError> {
        if let Some(snapshot) = &self.snapshot {
            snapshot.save(&mut tx).await?;
        }
        notify(&mut tx, Signal::Projection).await?;
        self.lease.renew_in(&mut tx).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    }
}

/// Whether an entry is a derived fact of the same block as the one before it.
fn is_due_with(last: &Entry, next: &Entry) -> bool {
    let about = |entry: &Entry| {
        let draft = &entry.draft;
        (draft.chain.clone(), draft.block, draft.kind.lane())
    };
    last.draft.kind.lane() == Lane::Derived && about(last) == about(next)
}

/// A few entries more, until the block at hand is complete. They are there: a block is appended whole.
async fn rest_of_block(store: &Store, read: Seq) -> Result<Vec<Entry>, WorkError> {
    let entries = log::read_after(store, read, REST).await?;
    if entries.is_empty() {
        return Err(WorkError::Log { seq: read, problem: "the block's events are missing".into() });
    }
    Ok(entries)
}
