//! Entries of one transaction: read, folded and made into rows, then written.
//!
//! While the rows of a batch are written, the next one is read, folded and made into rows: the database and this
//! process work at the same time. What was made ahead is lost with the process, and nothing of it is visible.

use obsqra_events::{Entry, Lane};
use obsqra_store::notify::{Signal, notify};
use obsqra_store::{Lease, LeaseKeeper, Store, StoreError, Transaction, lease, log};
use obsqra_types::{ChainId, Seq};

use super::ReadModels;
use super::changes::Outcome;
use super::misfits::Misfits;
use super::models::Step;
use super::tables::Tables;
use crate::WorkError;
use crate::chain_fold::DueSnapshot;

/// Entries applied in one transaction, more where a block is larger.
pub(super) const BATCH: u32 = 4_000;
/// Entries read at a time to complete a block.
const REST: u32 = 64;
/// Entries made into rows before the transaction that is written beside gets its turn.
const TURN: u64 = 32;

/// The part of the log that is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reach<'a> {
    pub(super) store: &'a Store,
    /// The last entry, one at which a cursor may stand; `None` for all that there is.
    pub(super) upto: Option<Seq>,
    pub(super) snapshots: Snapshots,
}

/// Whether states of the fold are kept on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Snapshots {
    Kept,
    NotKept,
}

impl Reach<'_> {
    async fn after(&self, read: Seq, at_most: u32) -> Result<Vec<Entry>, WorkError> {
        let mut entries = log::read_after(self.store, read, at_most).await?;
        if let Some(upto) = self.upto {
            entries.retain(|entry| entry.seq <= upto);
        }
        Ok(entries)
    }

    /// A few entries more, until the block at hand is complete. They are there: a block is appended whole.
    async fn rest_of_block(&self, read: Seq) -> Result<Vec<Entry>, WorkError> {
        let entries = self.after(read, REST).await?;
        if entries.is_empty() {
            return Err(WorkError::Log {
                seq: read,
                problem: "the block's events are missing".into(),
            });
        }
        Ok(entries)
    }
}

/// Entries of one transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) entries: u64,
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
    pub(super) async fn read(
        reach: Reach<'_>,
        models: &mut ReadModels,
        after: Seq,
    ) -> Result<Self, WorkError> {
        let entries = reach.after(after, BATCH).await?;
        let mut batch = Self { is_full: entries.len() >= BATCH as usize, ..Self::default() };
        for entry in entries {
            batch.take(models, entry).await?;
            if batch.entries.is_multiple_of(TURN) {
                tokio::task::yield_now().await;
            }
        }
        while !models.fold.is_settled() {
            for entry in reach.rest_of_block(batch.end().unwrap_or(after)).await? {
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
            let more = reach.after(last.seq, 1).await?;
            let Some(entry) = more.into_iter().find(|entry| is_due_with(last, entry)) else {
                break;
            };
            batch.take(models, entry).await?;
        }
        if batch.entries > 0 && reach.snapshots == Snapshots::Kept {
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
    pub(super) fn end(&self) -> Option<Seq> {
        self.last.as_ref().map(|entry| entry.seq)
    }

    /// Writes it, and makes the next one meanwhile where the log is likely to have more; the counts that hold now,
    /// and that next one.
    pub(super) async fn write(
        mut self,
        writing: Writing<'_>,
        reach: Reach<'_>,
        models: &mut ReadModels,
    ) -> Result<(Misfits, Self), WorkError> {
        let snapshot = self.snapshot.take();
        let (Some(outcome), Some(end)) = (self.outcome.take(), self.end()) else {
            let misfits = writing.steps(&mut models.tables, &self.rest, snapshot).await?;
            return Ok((misfits, Self::default()));
        };
        let next = async {
            if self.is_full { Self::read(reach, models, end).await } else { Ok(Self::default()) }
        };
        let (written, next) = tokio::join!(writing.outcome(outcome, snapshot), next);
        Ok((written?, next?))
    }
}

/// Where a batch is written, and by what right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing<'a> {
    pub(super) store: &'a Store,
    pub(super) chain: &'a ChainId,
    pub(super) right: Right<'a>,
}

/// By what right a batch is written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Right<'a> {
    /// The projector's: the rows are seen from the commit on.
    Live(&'a LeaseKeeper),
    /// That of who makes tables beside, which nobody sees.
    Beside(&'a Lease),
}

impl Writing<'_> {
    /// Writes what is made already.
    async fn outcome(
        self,
        outcome: Outcome,
        snapshot: Option<DueSnapshot>,
    ) -> Result<Misfits, WorkError> {
        let mut tx = self.begin().await?;
        let misfits = outcome.write(&mut tx, self.chain).await?;
        self.commit(tx, snapshot).await?;
        Ok(misfits)
    }

    /// Makes the rows that depend on those in the database, and writes all.
    async fn steps(
        self,
        tables: &mut Tables,
        steps: &[Step],
        snapshot: Option<DueSnapshot>,
    ) -> Result<Misfits, WorkError> {
        let mut tx = self.begin().await?;
        for step in steps {
            tables.take(&mut tx, step).await?;
        }
        let misfits = tables.write(&mut tx).await?;
        self.commit(tx, snapshot).await?;
        Ok(misfits)
    }

    async fn begin(&self) -> Result<Transaction, WorkError> {
        let mut tx = self.store.begin().await?;
        let fence = match self.right {
            Right::Live(lease) => lease.fence(),
            Right::Beside(lease) => lease.fence(),
        };
        lease::check(&mut tx, fence).await?;
        Ok(tx)
    }

    async fn commit(
        self,
        mut tx: Transaction,
        snapshot: Option<DueSnapshot>,
    ) -> Result<(), WorkError> {
        if let Some(snapshot) = snapshot {
            snapshot.save(&mut tx).await?;
        }
        match self.right {
            Right::Live(lease) => {
                notify(&mut tx, Signal::Projection).await?;
                lease.renew_in(&mut tx).await?;
            }
            Right::Beside(lease) => lease.renew_in(&mut tx).await?,
        }
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
