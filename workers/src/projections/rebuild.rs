//! `project rebuild`: makes read models anew beside the live ones, while the projector keeps these up to date, and puts
//! them in their place.
//!
//! The projector is stopped for the last stretch only: its lease is taken over, so that the position of the live rows
//! stands still, the tables beside are brought to that very position, and the tables change places. Then it gets the
//! partition back and reads the new rows. Where somebody's reading is in the way it gets the partition back at once,
//! and the next attempt folds what came meanwhile. Killed at any point, this leaves the live tables as they are, or the
//! new ones in their place; a lease that nobody renews ends by itself, and what is left beside goes with the next
//! rebuild.

use std::time::Duration;

use obsqra_store::projection::beside::Swap;
use obsqra_store::projection::state::{self, READ_MODELS};
use obsqra_store::{Lease, LeaseKeeper, Store};
use obsqra_types::{ChainId, Partition, Seq};
use tokio::time::Instant;

use super::changes::RULES;
use super::making::{MAKING_TTL, Making};
use crate::WorkError;

/// Entries that may be left to fold when the projector is stopped.
const LAST_STRETCH: u64 = 4_000;
/// Times that the live position is caught up with before the projector is stopped anyhow: one that has much to catch
/// up with itself is not overtaken.
const CHASES: u32 = 16;
/// Wait after the first attempt that met a reader, and the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Which read models are put in the place of the live ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Which {
    /// Each of them.
    All,
    /// One of [`READ_MODELS`]. All are folded, because they are made together, and the others are dropped.
    One(String),
}

impl Which {
    fn names(&self) -> Vec<String> {
        match self {
            Self::All => READ_MODELS.map(String::from).to_vec(),
            Self::One(name) => vec![name.clone()],
        }
    }
}

/// How a rebuild goes about it.
#[derive(Clone, Debug)]
pub struct RebuildOptions {
    /// This process's name on its leases.
    pub holder: String,
    /// How long the projector's lease runs without renewal.
    pub lease_ttl: Duration,
    /// How long somebody's reading may be in the way, over all attempts.
    pub patience: Duration,
}

/// What came of a rebuild.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rebuilt {
    /// The position that old and new rows stood for when they changed places; before the first entry where there is
    /// nothing to rebuild yet.
    pub seq: Seq,
    /// How often it met somebody's reading.
    pub busy: u32,
}

/// A rebuild under way.
#[derive(Debug)]
pub struct Rebuild {
    live: Store,
    chain: ChainId,
    which: Which,
    options: RebuildOptions,
    making: Making,
}

/// The projectors rest: what holds them. Dropping it lets their leases run out, [`Rebuild::give_back`] ends them.
#[derive(Debug)]
pub struct TakenOver {
    projector: LeaseKeeper,
    others: Vec<LeaseKeeper>,
}

impl Rebuild {
    /// Makes empty tables beside the live ones. Another rebuild that is under way is refused its next write.
    ///
    /// # Errors
    /// [`WorkError::OtherRules`] when one read model is to be rebuilt and the others are another program's. When the
    /// database fails.
    pub async fn begin(
        live: &Store,
        chain: &ChainId,
        which: Which,
        options: RebuildOptions,
    ) -> Result<Self, WorkError> {
        if let Which::One(name) = &which {
            check_others(live, chain, name).await?;
        }
        let holder = &options.holder;
        let lease = Lease::take_over(live, Partition::Rebuilder, holder, MAKING_TTL).await?;
        let making = Making::begin(live, chain, lease).await?;
        Ok(Self { live: live.clone(), chain: chain.clone(), which, options, making })
    }

    /// Does it all.
    ///
    /// # Errors
    /// [`WorkError::InUse`] when somebody's reading is in the way for longer than the options allow. As
    /// [`Rebuild::begin`] when the log cannot be folded or the database fails.
    pub async fn run(mut self, mut progress: impl FnMut(Seq, Seq)) -> Result<Rebuilt, WorkError> {
        let begun = Instant::now();
        let (mut busy, mut wait) = (0, FIRST_WAIT);
        let seq = loop {
            if self.catch_up(&mut progress).await? == Seq::BEFORE_FIRST {
                break Seq::BEFORE_FIRST;
            }
            if let Some(seq) = self.attempt().await? {
                break seq;
            }
            if begun.elapsed() >= self.options.patience {
                let seconds = self.options.patience.as_secs();
                return Err(WorkError::InUse { seconds });
            }
            busy += 1;
            tracing::info!(
                busy,
                "somebody reads the read models in a transaction that lasts: trying again"
            );
            tokio::time::sleep(wait).await;
            wait = LONGEST_WAIT.min(wait * 2);
        };
        self.making.close().await;
        Ok(Rebuilt { seq, busy })
    }

    /// Folds beside the live projector until little is left; where that is.
    ///
    /// # Errors
    /// When another rebuild has begun, the log cannot be folded, or the database fails.
    pub async fn catch_up(&mut self, mut progress: impl FnMut(Seq, Seq)) -> Result<Seq, WorkError> {
        for _ in 0..CHASES {
            let live = state::load(&self.live, &self.chain).await?.seq;
            if live.0.saturating_sub(self.making.position().0) <= LAST_STRETCH
                && self.making.position() > Seq::BEFORE_FIRST
            {
                break;
            }
            while self.making.position() < live {
                self.making.fold(live).await?;
                progress(self.making.position(), live);
            }
            if live == Seq::BEFORE_FIRST {
                break;
            }
        }
        self.making.filled().await?;
        Ok(self.making.position())
    }

    /// One attempt at the swap; `None` when somebody reads.
    async fn attempt(&mut self) -> Result<Option<Seq>, WorkError> {
        self.making.analyze().await?;
        // Looked at before the projector is stopped: who reads for long is not to stop it again and again.
        if !self.making.is_seen_by_all().await? {
            return Ok(None);
        }
        let taken = self.take_over().await?;
        let swapped = self.swap(&taken).await;
        self.give_back(taken).await;
        swapped
    }

    /// Makes the projectors rest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_over(&self) -> Result<TakenOver, WorkError> {
        let RebuildOptions { holder, lease_ttl, .. } = &self.options;
        let projector = Partition::Projector(self.chain.clone());
        let lease = Lease::take_over(&self.live, projector, holder, *lease_ttl).await?;
        let projector = LeaseKeeper::keep(lease);
        let others = self.making.others_rest(holder).await?;
        Ok(TakenOver { projector, others })
    }

    /// Folds the last stretch and puts the tables in the place of the live ones, at the position of these; `None`
    /// when somebody reads.
    ///
    /// # Errors
    /// When a lease is lost, the log cannot be folded, or the database fails.
    pub async fn swap(&mut self, taken: &TakenOver) -> Result<Option<Seq>, WorkError> {
        let live = state::load(&self.live, &self.chain).await?.seq;
        while self.making.position() < live {
            self.making.fold(live).await?;
        }
        if self.making.position() > live {
            let problem = "the live read models were emptied meanwhile: begin again".to_owned();
            return Err(WorkError::log(live, problem));
        }
        let held = (taken.projector.fence(), taken.others.as_slice());
        match self.making.swap(&self.which.names(), held).await? {
            Swap::Done => Ok(Some(live)),
            Swap::Busy => Ok(None),
        }
    }

    /// Lets the projectors go on. Where that fails their leases run out.
    pub async fn give_back(&self, taken: TakenOver) {
        give_back(taken.others).await;
        give_back(vec![taken.projector]).await;
    }
}

/// Ends leases; one that cannot be ended now runs out.
pub(super) async fn give_back(leases: Vec<LeaseKeeper>) {
    for lease in leases {
        let partition = lease.fence().partition.clone();
        if let Err(error) = lease.release().await {
            tracing::warn!(%partition, %error, "lease not released; it runs out by itself");
        }
    }
}

/// One read model alone is put beside the others: these must be of this program.
async fn check_others(live: &Store, chain: &ChainId, name: &str) -> Result<(), WorkError> {
    let seq = state::load(live, chain).await?.seq;
    let own = state::reached(live, chain, (seq, &RULES)).await?;
    let others = READ_MODELS.into_iter().filter(|other| *other != name);
    match others.into_iter().find(|other| !own.contains(*other)) {
        Some(_) if seq > Seq::BEFORE_FIRST => Err(WorkError::OtherRules),
        _ => Ok(()),
    }
}
