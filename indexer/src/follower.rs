//! The follower: does what the planner decides.
//!
//! Where it stands is in the database and is read again before every step, so that a kill, a lost
//! connection or a lost lease at any moment leaves nothing to repair: a step is committed whole or did
//! not happen.

mod children;
mod fetch;
mod findings;
mod nodes;
mod patience;
mod stream;
mod widen;
mod write;

use std::time::Duration;

use obsqra_events::AdoptedWhat;
use obsqra_store::{LeaseKeeper, Store, StoreError, attested, chain_tip, log};
use obsqra_types::{BlockNumber, ChainId, Partition};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::IndexError;
use crate::completeness::{Checking, Comparing, Effort, Keep};
use crate::encode::Encoder;
use crate::planner::Limits;
use crate::progress::{Progress, ProgressSender};
use crate::source::{DnaSource, Leader, NodePool, Remedy};
use crate::watching::Watching;
use patience::Patience;
pub use widen::request as watch_request;

/// Most blocks that one step sets out to fetch before the node's head is looked at again.
const MOST_AHEAD: u64 = 2_000;
/// Most replacing blocks in the transaction that reverts; the rest follows as usual.
const FIRST_BRANCH_BLOCKS: u64 = 16;

/// How a chain is followed.
#[derive(Clone, Debug)]
pub struct FollowerOptions {
    /// The chain that the log follows.
    pub chain: ChainId,
    /// The first height of a new log.
    pub start: BlockNumber,
    /// Bytes that shape numbers, with their versions, to be adopted before the next block; the registry
    /// among them says which contracts' events are kept.
    pub adopt: Vec<(AdoptedWhat, String, Vec<u8>)>,
    /// Time between two looks at the node's head.
    pub poll_interval: Duration,
    /// Most blocks in one transaction.
    pub batch_blocks: usize,
    /// Most events, kept or not, of the blocks in one transaction, a single larger block aside.
    pub batch_events: u64,
    /// Most blocks fetched at once.
    pub fetch_ahead: usize,
    /// Tries before an answer that stays unusable stops the follower.
    pub attempts: u32,
    /// Wait after a failure, where the node asks for none; it doubles with each that follows.
    pub first_wait: Duration,
    /// How thoroughly blocks are checked.
    pub effort: Effort,
    /// What is kept of blocks beside the watched events.
    pub keep: Keep,
    /// This process's name on its leases.
    pub holder: String,
    /// How long the lease runs without renewal.
    pub lease_ttl: Duration,
}

impl FollowerOptions {
    fn limits(&self) -> Limits {
        Limits {
            ahead: MOST_AHEAD,
            batch_blocks: self.batch_blocks.max(1),
            batch_events: self.batch_events,
            branch_blocks: FIRST_BRANCH_BLOCKS,
        }
    }
}

/// Where a follower's blocks come from.
#[derive(Clone, Debug)]
pub enum Feed {
    /// Nodes that are asked.
    Nodes(NodePool),
    /// A stream that sends.
    Stream {
        /// The stream.
        source: Box<DnaSource>,
        /// Nodes that are asked for what a stream cannot give: blocks below the tip, for `watch add`.
        nodes: Option<NodePool>,
    },
}

impl Feed {
    fn nodes(&self) -> Option<&NodePool> {
        match self {
            Self::Nodes(nodes) => Some(nodes),
            Self::Stream { nodes, .. } => nodes.as_ref(),
        }
    }
}

/// Follows one chain.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    feed: Feed,
    options: FollowerOptions,
    progress: ProgressSender,
}

/// What a follower works with once it holds the lease.
struct Session<'a> {
    follower: &'a Follower,
    lease: &'a LeaseKeeper,
    encoder: Encoder,
    /// Who is asked, for errors.
    node: String,
    /// Whether it was said that a widening cannot go on.
    told_pending: bool,
}

impl Follower {
    /// Puts a follower together; nothing is done yet.
    #[must_use]
    pub fn new(store: Store, feed: Feed, options: FollowerOptions) -> Self {
        let (progress, _) = watch::channel(Progress::default());
        Self { store, feed, options, progress }
    }

    /// Where its progress can be watched.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Follows until `shutdown`.
    ///
    /// # Errors
    /// When it meets something that neither waiting nor trying again gets over; losing the lease to
    /// another process is such a thing.
    pub async fn run(&self, shutdown: &CancellationToken) -> Result<(), IndexError> {
        let _watch = self.feed.nodes().cloned().map(|nodes| {
            let stop = shutdown.clone();
            AbortOnDropHandle::new(tokio::spawn(async move { nodes.watch(&stop).await }))
        });
        let mut patience = Patience::new(self.options.attempts, self.options.first_wait);
        while !shutdown.is_cancelled() {
            let before = self.progress.borrow().blocks;
            match self.session(shutdown, &mut patience).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if self.progress.borrow().blocks > before {
                        patience.reset();
                    }
                    patience.bear(error, shutdown).await?;
                }
            }
        }
        Ok(())
    }

    async fn session(
        &self,
        shutdown: &CancellationToken,
        patience: &mut Patience,
    ) -> Result<(), IndexError> {
        // Whoever cannot be asked is no reason to hold the lease.
        let node = match &self.feed {
            Feed::Nodes(nodes) => self.leader_of(nodes).await?.name().to_owned(),
            Feed::Stream { source, .. } => {
                source.status().await?;
                source.name().to_owned()
            }
        };
        let partition = Partition::Follower(self.options.chain.clone());
        let holder = &self.options.holder;
        let ttl = self.options.lease_ttl;
        let acquired = LeaseKeeper::acquire(&self.store, partition, holder, ttl, shutdown).await?;
        let Some(lease) = acquired else {
            return Ok(());
        };
        let mut session = Session {
            follower: self,
            lease: &lease,
            encoder: self.encoder().await?,
            node,
            told_pending: false,
        };
        session.whole_ranges().await?;
        session.whole_children().await?;
        let followed = match &self.feed {
            Feed::Nodes(nodes) => session.follow(nodes, shutdown, patience).await,
            Feed::Stream { source, nodes } => {
                session.follow_stream((source, nodes.as_ref()), shutdown, patience).await
            }
        };
        match (followed, lease.release().await) {
            // A process that was stopped inside a transaction finds its connection closed before it finds its
            // lease gone: it is to stop all the same, not to wait as if only the connection had failed.
            (Err(error), Err(lost @ StoreError::LeaseLost(_)))
                if error.remedy() != Remedy::None =>
            {
                Err(lost.into())
            }
            (followed, Ok(()) | Err(StoreError::LeaseLost(_))) => followed,
            (followed, Err(error)) => {
                tracing::warn!(%error, "lease not released; it runs out by itself");
                followed
            }
        }
    }

    /// The node that leads, which must serve the log's chain.
    async fn leader_of(&self, nodes: &NodePool) -> Result<Leader, IndexError> {
        let leader = nodes.leader().await?;
        let chain = nodes.chain_id().await?;
        if chain != self.options.chain {
            return Err(IndexError::WrongChain {
                node: leader.name().to_owned(),
                found: chain,
                expected: self.options.chain.clone(),
            });
        }
        Ok(leader)
    }

    async fn encoder(&self) -> Result<Encoder, IndexError> {
        let tip = chain_tip::load(&self.store, &self.options.chain).await?;
        Ok(Encoder {
            chain: self.options.chain.clone(),
            watching: Watching::default(),
            source: String::new(),
            first: tip.map_or(self.options.start, |tip| tip.first),
        })
    }
}

impl Session<'_> {
    /// Makes the runs of attested blocks anew where some are missing: in a log that is older than they are, or
    /// that a program of before appended to.
    async fn whole_ranges(&self) -> Result<(), IndexError> {
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        let Some(tip) = chain_tip::load(store, chain).await? else {
            return Ok(());
        };
        if attested::is_whole(store, chain, (tip.first, tip.number)).await? {
            return Ok(());
        }
        tracing::info!("how blocks were checked is read from the log again");
        let mut tx = store.begin().await?;
        log::append(&mut tx, self.lease.fence(), Vec::new()).await?;
        attested::rebuild(&mut tx, chain).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// What is checked, and kept, of a block.
    fn checking(&self, watching: Watching) -> Checking {
        let FollowerOptions { effort, keep, .. } = self.follower.options;
        Checking { watching, effort, keep, comparison: Comparing::Nothing }
    }
}
