//! Read models in the making: folded from the log's first entry into tables beside the live ones, up to the position of
//! these, and then put in their place.
//!
//! Where they change places, both stand for one position: who read the old rows there reads the same, or what was to
//! be there, in the new ones.

use std::mem;
use std::time::Duration;

use obsqra_store::notify::{Signal, notify};
use obsqra_store::projection::beside::{Beside, FilledBefore, Swap};
use obsqra_store::projection::state::{self, READ_MODELS};
use obsqra_store::{Fence, Lease, LeaseKeeper, Store, StoreError, lease};
use obsqra_types::{ChainId, Partition, Seq};

use super::ReadModels;
use super::batch::{Batch, Reach, Right, Snapshots, Writing};
use super::changes::RULES;
use crate::WorkError;

/// Lease of who makes read models, renewed with each batch: longer than a batch and than a wait between two attempts.
pub(super) const MAKING_TTL: Duration = Duration::from_secs(60);
/// Longest wait for transactions that began before the tables were filled, the projectors resting.
const READERS_WAIT: Duration = Duration::from_secs(5);
/// Time between two looks at them.
const READERS_LOOK: Duration = Duration::from_millis(50);

/// Read models beside the live ones.
#[derive(Debug)]
pub(super) struct Making {
    live: Store,
    chain: ChainId,
    beside: Beside,
    models: ReadModels,
    /// What is committed beside.
    position: Seq,
    /// Made already, and not written.
    ahead: Batch,
    is_analyzed: bool,
    /// Since when nothing was written any more.
    filled: Option<FilledBefore>,
}

impl Making {
    /// Empty tables. No snapshot of the projector is used: what comes out rests on the log alone.
    pub(super) async fn begin(
        live: &Store,
        chain: &ChainId,
        lease: Lease,
    ) -> Result<Self, WorkError> {
        let beside = Beside::open(live, lease).await?;
        Ok(Self {
            live: live.clone(),
            chain: chain.clone(),
            models: ReadModels::empty(beside.store(), chain, &Partition::Rebuilder),
            beside,
            position: Seq::BEFORE_FIRST,
            ahead: Batch::default(),
            is_analyzed: false,
            filled: None,
        })
    }

    /// Goes on from what is committed, after an error that may have left more in memory.
    pub(super) async fn resume(mut self) -> Result<Self, WorkError> {
        self.beside.lease().renew().await?;
        self.models =
            ReadModels::load(self.beside.store(), &self.chain, &Partition::Rebuilder).await?;
        self.position = self.models.state().seq;
        (self.ahead, self.filled) = (Batch::default(), None);
        Ok(self)
    }

    /// What is committed beside.
    pub(super) fn position(&self) -> Seq {
        self.position
    }

    /// Folds one batch, not beyond a position at which the live ones stood.
    pub(super) async fn fold(&mut self, upto: Seq) -> Result<(), WorkError> {
        let Self { beside, chain, models, position, ahead, .. } = self;
        let store = beside.store();
        let reach = Reach { store, upto: Some(upto), snapshots: Snapshots::NotKept };
        let mut batch = mem::take(ahead);
        if batch.entries == 0 {
            batch = Batch::read(reach, models, *position).await?;
        }
        let Some(end) = batch.end() else {
            let problem = "the read models are ahead of the log".to_owned();
            return Err(WorkError::log(upto, problem));
        };
        let writing = Writing { store, chain, right: Right::Beside(beside.lease()) };
        let (_, next) = batch.write(writing, reach, models).await?;
        (*position, *ahead) = (end, next);
        self.filled = None;
        Ok(())
    }

    /// Statistics of what is there, once: what comes after changes them little.
    pub(super) async fn analyze(&mut self) -> Result<(), WorkError> {
        if !self.is_analyzed {
            self.beside.analyze().await?;
            self.is_analyzed = true;
        }
        Ok(())
    }

    /// Since when nothing was written: who begins later sees everything that is in the tables.
    pub(super) async fn filled(&mut self) -> Result<FilledBefore, WorkError> {
        let filled = match self.filled.take() {
            Some(filled) => filled,
            None => self.beside.filled().await?,
        };
        self.filled = Some(filled.clone());
        Ok(filled)
    }

    /// Whether nobody is left who does not see what is in the tables now.
    pub(super) async fn is_seen_by_all(&mut self) -> Result<bool, WorkError> {
        self.beside.lease().renew().await?;
        let filled = self.filled().await?;
        Ok(self.beside.older_readers(&filled).await? == 0)
    }

    /// Makes the projectors of all other chains rest: their rows are in the same tables.
    pub(super) async fn others_rest(&self, holder: &str) -> Result<Vec<LeaseKeeper>, WorkError> {
        let mut resting = Vec::new();
        for chain in state::chains(&self.live).await? {
            if chain != self.chain {
                let projector = Partition::Projector(chain);
                let lease = Lease::take_over(&self.live, projector, holder, MAKING_TTL).await?;
                resting.push(LeaseKeeper::keep(lease));
            }
        }
        Ok(resting)
    }

    /// Puts tables in the place of the live ones. The projector rests: its lease is held with the stated fence, and
    /// those of the other chains by `others`.
    pub(super) async fn swap(
        &mut self,
        names: &[String],
        (own, others): (&Fence, &[LeaseKeeper]),
    ) -> Result<Swap, WorkError> {
        if !others.is_empty() {
            self.beside.copy_others(&self.chain, names).await?;
            self.filled = None;
        }
        let filled = self.filled().await?;
        if self.is_seen_in_time(&filled).await? {
            self.change_places(names, (own, others), &filled).await
        } else {
            Ok(Swap::Busy)
        }
    }

    async fn is_seen_in_time(&self, filled: &FilledBefore) -> Result<bool, WorkError> {
        let begun = tokio::time::Instant::now();
        while self.beside.older_readers(filled).await? > 0 {
            if begun.elapsed() >= READERS_WAIT {
                return Ok(false);
            }
            tokio::time::sleep(READERS_LOOK).await;
        }
        Ok(true)
    }

    async fn change_places(
        &self,
        names: &[String],
        (own, others): (&Fence, &[LeaseKeeper]),
        filled: &FilledBefore,
    ) -> Result<Swap, WorkError> {
        let mut tx = self.live.begin().await?;
        lease::check(&mut tx, own).await?;
        for other in others {
            lease::check(&mut tx, other.fence()).await?;
        }
        if self.beside.swap(&mut tx, names, filled).await? == Swap::Busy {
            return Ok(Swap::Busy);
        }
        let hashes = self.models.tables.hashes().into_iter();
        let swapped: Vec<_> =
            hashes.filter(|(name, _)| names.iter().any(|one| one == name)).collect();
        state::save_hashes(&mut tx, &self.chain, (self.position, &RULES), &swapped).await?;
        if swapped.len() == READ_MODELS.len() {
            state::save(&mut tx, &self.chain, &self.models.state()).await?;
            let projector = Partition::Projector(self.chain.clone());
            if let Some(snapshot) = self.models.fold.snapshot_for(&projector) {
                snapshot.save(&mut tx).await?;
            }
        }
        notify(&mut tx, Signal::Projection).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(Swap::Done)
    }

    /// Gives the tables up. Where that fails their lease runs out.
    pub(super) async fn close(self) {
        if let Err(error) = self.beside.close().await {
            tracing::warn!(%error, "lease of the tables beside not released; it runs out by itself");
        }
    }
}
