//! All read models of a chain: the fold over the log, and the rows that come of it.
//!
//! Both advance on their own, so that entries can be folded while the rows of those before are written.

use obsqra_events::{Entry, Kind};
use obsqra_protocols::Contracts;
use obsqra_store::projection::state::ProjectionState;
use obsqra_store::{Store, Transaction};
use obsqra_types::{ChainId, Partition};

use super::misfits::Misfits;
use super::tables::Tables;
use crate::WorkError;
use crate::chain_fold::{ChainFold, DueSnapshot, Folded};

/// The fold, and the rows that came of it.
#[derive(Debug)]
pub struct ReadModels {
    pub(super) fold: ChainFold,
    pub(super) tables: Tables,
}

/// An entry that is folded and not written yet.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) entry: Entry,
    pub(super) folded: Option<Folded>,
    /// The contracts known after the entry.
    pub(super) contracts: Option<Contracts>,
    /// Of an entry that changes what is known at once: the contracts known before it.
    pub(super) before: Option<Contracts>,
}

impl Step {
    /// Takes the next entry of the log into the fold. May read the log again, so it is done outside of
    /// transactions.
    pub(super) async fn fold(fold: &mut ChainFold, entry: Entry) -> Result<Self, WorkError> {
        let adopts = entry.draft.kind == Kind::Adopted;
        let before = fold.contracts().filter(|_| adopts).cloned();
        let folded = fold.take(&entry).await?;
        Ok(Self { folded, contracts: fold.contracts().cloned(), before, entry })
    }

    /// Whether what it changes depends on rows that the database holds.
    pub(super) fn needs_tables(&self) -> bool {
        matches!(self.folded, Some(Folded::Reverted(_) | Folded::Reread(..)))
    }
}

impl ReadModels {
    /// Empty read models, before the first entry.
    #[must_use]
    pub fn empty(store: &Store, chain: &ChainId, partition: &Partition) -> Self {
        Self { fold: ChainFold::new(store, chain, partition), tables: Tables::empty(store, chain) }
    }

    /// The read models as the database holds them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(
        store: &Store,
        chain: &ChainId,
        partition: &Partition,
    ) -> Result<Self, WorkError> {
        let tables = Tables::load(store, chain).await?;
        // What is made anew begins at the first entry.
        let fold = if tables.is_outdated() {
            ChainFold::new(store, chain, partition)
        } else {
            ChainFold::resume(store, chain, partition, tables.state().seq).await?
        };
        Ok(Self { fold, tables })
    }

    /// Whether rows are missing of a read model that the program that wrote the others did not know: all are
    /// to be made anew.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        self.tables.is_outdated()
    }

    /// The position that the rows stand for, once written.
    #[must_use]
    pub fn state(&self) -> ProjectionState {
        self.tables.state()
    }

    /// Whether the position may be made visible: no block is half in, no revert half done.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.fold.is_settled()
    }

    /// Applies the next entry of the log: [`ReadModels::write`] then writes what came of it.
    ///
    /// # Errors
    /// When the entry cannot be read or does not follow, a value is out of range, or the database fails.
    pub async fn apply(&mut self, tx: &mut Transaction, entry: &Entry) -> Result<(), WorkError> {
        let step = Step::fold(&mut self.fold, entry.clone()).await?;
        self.tables.take(tx, &step).await
    }

    /// Writes rows, state hashes and position.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn write(&mut self, tx: &mut Transaction) -> Result<(), WorkError> {
        self.tables.write(tx).await?;
        Ok(())
    }

    /// How many standing events fit no layout.
    pub(super) fn misfits(&self) -> &Misfits {
        self.tables.misfits()
    }

    /// The snapshot of the fold that is due.
    pub fn due_snapshot(&mut self) -> Option<DueSnapshot> {
        self.fold.due_snapshot()
    }
}
