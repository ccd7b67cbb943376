//! The follower: does what the planner decides.
//!
//! Where it stands is in the database and is read again before every step, so that a kill, a lost
//! connection or a lost lease at any moment leaves nothing to repair: a step is committed whole or did
//! not happen.

mod catch_up;
mod finality;
mod fork;

use std::collections::BTreeSet;
use std::time::Duration;

use obsqra_events::{Adopted, AdoptedWhat, Draft, Fact};
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::{Key, Keyed, LeaseKeeper, Store, StoreError, key, log};
use obsqra_types::{BlockHash, BlockNumber, ChainId, ContractAddress, Hash32, Partition};
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::IndexError;
use crate::encode::Encoder;
use crate::planner::{BlockId, Position, Step};
use crate::progress::{Progress, ProgressSender};
use crate::source::{JsonRpcSource, Remedy};

/// How a chain is followed.
#[derive(Clone, Debug)]
pub struct FollowerOptions {
    /// The chain that the log follows.
    pub chain: ChainId,
    /// The first height of a new log.
    pub start: BlockNumber,
    /// Contracts whose events are kept.
    pub watched: BTreeSet<ContractAddress>,
    /// Bytes that shape numbers, with their versions, to be adopted before the next block.
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
    /// This process's name on its leases.
    pub holder: String,
    /// How long the lease runs without renewal.
    pub lease_ttl: Duration,
}

/// Follows one chain from one node.
#[derive(Debug)]
pub struct Follower {
    store: Store,
    source: JsonRpcSource,
    options: FollowerOptions,
    progress: ProgressSender,
}

/// What a follower works with once it holds the lease.
struct Session<'a> {
    follower: &'a Follower,
    lease: &'a LeaseKeeper,
    encoder: Encoder,
}

/// Where the log stands, as read at the start of a step.
#[derive(Clone, Copy, Debug)]
struct Standing {
    tip: Option<ChainTip>,
    position: Position,
}

impl Follower {
    /// Puts a follower together; nothing is done yet.
    #[must_use]
    pub fn new(store: Store, source: JsonRpcSource, options: FollowerOptions) -> Self {
        let (progress, _) = watch::channel(Progress::default());
        Self { store, source, options, progress }
    }

    /// Where its progress can be watched.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Follows until `shutdown`.
    ///
    /// # Errors
    /// When it meets something that neither waiting nor trying again gets over.
    pub async fn run(&self, shutdown: &CancellationToken) -> Result<(), IndexError> {
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
        let chain = self.source.chain_id().await?;
        if chain != self.options.chain {
            return Err(IndexError::WrongChain {
                node: self.source.name().to_owned(),
                found: chain,
                expected: self.options.chain.clone(),
            });
        }
        let spec = self.source.spec_version().await?;
        let partition = Partition::Follower(self.options.chain.clone());
        let holder = &self.options.holder;
        let ttl = self.options.lease_ttl;
        let acquired = LeaseKeeper::acquire(&self.store, partition, holder, ttl, shutdown).await?;
        let Some(lease) = acquired else {
            return Ok(());
        };
        let session =
            Session { follower: self, lease: &lease, encoder: self.encoder(&spec).await? };
        let followed = session.follow(shutdown, patience).await;
        if let Err(error) = lease.release().await {
            tracing::warn!(%error, "lease not released; it runs out by itself");
        }
        followed
    }

    async fn encoder(&self, spec: &str) -> Result<Encoder, IndexError> {
        let tip = chain_tip::load(&self.store, &self.options.chain).await?;
        let spec: String = spec.split('.').take(2).collect::<Vec<_>>().join(".");
        Ok(Encoder {
            chain: self.options.chain.clone(),
            watched: self.options.watched.clone(),
            source: format!("json-rpc/{spec}"),
            first: tip.map_or(self.options.start, |tip| tip.first),
        })
    }
}

impl Session<'_> {
    async fn follow(
        &self,
        shutdown: &CancellationToken,
        patience: &mut Patience,
    ) -> Result<(), IndexError> {
        self.adopt().await?;
        let mut finality = finality::Watch::default();
        let lost = self.lease.lost();
        while !shutdown.is_cancelled() {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = lost.cancelled() => {
                    return Err(StoreError::LeaseLost(self.lease.fence().partition.clone()).into());
                }
                worked = self.step(&mut finality, shutdown) => {
                    let idle = !worked?;
                    patience.reset();
                    if idle {
                        self.rest(shutdown).await;
                    }
                }
            }
        }
        Ok(())
    }

    async fn rest(&self, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.lease.lost().cancelled() => {}
            () = tokio::time::sleep(self.follower.options.poll_interval) => {}
        }
    }

    /// Appends what shapes numbers, where it differs from what was adopted last.
    async fn adopt(&self) -> Result<(), IndexError> {
        let chain = &self.encoder.chain;
        let facts = self
            .follower
            .options
            .adopt
            .iter()
            .map(|(what, version, bytes)| {
                let hash = Hash32(Sha256::digest(bytes).into());
                let fact = Fact::Adopted(Adopted {
                    what: *what,
                    version: version.clone(),
                    hash,
                    bytes: bytes.clone(),
                });
                Keyed {
                    key: Key::Adopted { what: *what, version: version.clone(), hash },
                    drafts: vec![Draft::new(chain, None, &fact)],
                }
            })
            .collect();
        let mut tx = self.follower.store.begin().await?;
        log::append(&mut tx, self.lease.fence(), facts).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    async fn standing(&self) -> Result<Standing, IndexError> {
        let tip = chain_tip::load(&self.follower.store, &self.encoder.chain).await?;
        let position = Position {
            start: self.follower.options.start,
            tip: tip.map(|tip| BlockId { number: tip.number, hash: tip.hash }),
            finalized: tip.and_then(|tip| tip.finalized),
        };
        Ok(Standing { tip, position })
    }

    /// One look at the node and what follows from it; whether there was something to do.
    async fn step(
        &self,
        finality: &mut finality::Watch,
        shutdown: &CancellationToken,
    ) -> Result<bool, IndexError> {
        let Some(head) = self.follower.source.head().await? else {
            return Ok(false);
        };
        let standing = self.standing().await?;
        self.note(standing, head).await?;
        let own = self.own_hash(standing, head.number).await?;
        let worked = match standing.position.next_step(head, own, catch_up::MOST_AHEAD) {
            Step::Wait => false,
            Step::Fetch { from, to } => self.catch_up(standing, from, to, shutdown).await?,
            Step::FindFork { from } => self.reorganise(standing, from, head).await?,
        };
        finality.look(self, head).await?;
        Ok(worked)
    }

    async fn note(&self, standing: Standing, head: BlockId) -> Result<(), IndexError> {
        self.follower.progress.send_modify(|progress| {
            progress.tip = standing.tip.map(|tip| tip.number);
            progress.node_head = Some(head.number);
        });
        chain_tip::note_node_head(&self.follower.store, &self.encoder.chain, head.number).await?;
        Ok(())
    }

    /// The hash that the log has at a height; `None` where it has no canonical block.
    async fn own_hash(
        &self,
        standing: Standing,
        number: BlockNumber,
    ) -> Result<Option<BlockHash>, IndexError> {
        if standing.tip.is_none_or(|tip| number > tip.number) {
            return Ok(None);
        }
        let store = &self.follower.store;
        let found = key::canonical(store, &self.encoder.chain, number, number).await?;
        Ok(found.first().map(|block| block.hash))
    }

    fn node(&self) -> String {
        self.follower.source.name().to_owned()
    }
}

/// How long trouble is borne: waiting where time helps, a few tries where it may, not at all where
/// nothing does.
struct Patience {
    attempts: u32,
    first_wait: Duration,
    failures: u32,
    unusable: u32,
}

const LONGEST_WAIT: Duration = Duration::from_secs(30);

impl Patience {
    fn new(attempts: u32, first_wait: Duration) -> Self {
        Self { attempts, first_wait, failures: 0, unusable: 0 }
    }

    fn reset(&mut self) {
        self.failures = 0;
        self.unusable = 0;
    }

    async fn bear(
        &mut self,
        error: IndexError,
        shutdown: &CancellationToken,
    ) -> Result<(), IndexError> {
        self.failures += 1;
        let asked = match remedy(&error) {
            Remedy::None => return Err(error),
            Remedy::RetryBounded => {
                self.unusable += 1;
                if self.unusable >= self.attempts {
                    return Err(error);
                }
                None
            }
            Remedy::Wait(asked) => asked,
        };
        let wait = self.backoff().max(asked.unwrap_or_default()).min(LONGEST_WAIT);
        tracing::warn!(%error, wait_ms = wait.as_millis() as u64, "following interrupted, trying again");
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(wait) => {}
        }
        Ok(())
    }

    /// Doubles with each failure up to the longest wait, then a random part of a quarter off, so that
    /// several followers do not come back at once.
    fn backoff(&self) -> Duration {
        let doubled = self.first_wait * 2u32.saturating_pow(self.failures.clamp(1, 8) - 1);
        doubled.min(LONGEST_WAIT).mul_f64(rand::random_range(0.75..=1.0))
    }
}

fn remedy(error: &IndexError) -> Remedy {
    match error {
        IndexError::Source(error) => error.remedy(),
        IndexError::Store(error) if error.is_transient() => Remedy::Wait(None),
        IndexError::Unlinked { .. } | IndexError::NoCommonBlock { .. } => Remedy::RetryBounded,
        // Another process follows: this one waits until it can have the partition again.
        IndexError::Store(StoreError::LeaseLost(_)) => Remedy::Wait(None),
        IndexError::Store(_) | IndexError::WrongChain { .. } | IndexError::BelowFinal { .. } => {
            Remedy::None
        }
    }
}
