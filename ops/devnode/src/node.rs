//! The node: a chain under production behind an HTTP server.
//!
//! The server answers as soon as block 0 is sealed. Up to `blocks` blocks follow as fast as they can be
//! sealed, then one after the other at `blocks_per_second`. Whoever changes the chain holds it, so
//! production, `push_blocks` and `reorg` never mix.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::chain::ledger::{Head, Ledger, Served};
use crate::chain::producer::Chain;
use crate::faults::{Faults, ScriptedFault};
use crate::recorded::RecordedError;
use crate::rpc::{Context, Server, router};
use crate::seeded::BlockTruth;

/// Time that running answers get to finish when the node stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Fastest pace after the first blocks.
const MAX_BLOCKS_PER_SECOND: f64 = 1_000.0;

/// What the chain is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file of recorded blocks.
    Recorded(PathBuf),
    /// The generator.
    Seeded {
        /// Its seed.
        seed: u64,
    },
}

/// How to run a node.
#[derive(Debug, Clone, PartialEq)]
pub struct DevNodeOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What the chain is made of.
    pub source: Source,
    /// Blocks that are there at once (as many of them as a recording has); at least one.
    pub blocks: u64,
    /// Pace of the blocks after those; 0 for none.
    pub blocks_per_second: f64,
    /// A block is accepted on L1 when so many blocks lie above it.
    pub l1_lag: u64,
    /// Faults to begin with.
    pub faults: Vec<ScriptedFault>,
}

impl DevNodeOptions {
    /// A seeded chain as `obsqra devnode` runs it: two weeks at once, then a block a second.
    pub fn seeded(seed: u64) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            source: Source::Seeded { seed },
            blocks: 2_016,
            blocks_per_second: 1.0,
            l1_lag: 50,
            faults: Vec::new(),
        }
    }

    /// A recorded chain, all of it at once.
    pub fn recorded(file: impl Into<PathBuf>) -> Self {
        Self {
            source: Source::Recorded(file.into()),
            blocks: u64::MAX,
            blocks_per_second: 0.0,
            ..Self::seeded(0)
        }
    }
}

/// Why a node does not start or does not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum DevNodeError {
    /// The address is taken or not of this machine.
    #[error("cannot listen on {listen}: {source}; free the port or choose another address")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The recorded file is refused.
    #[error(transparent)]
    Recorded(#[from] RecordedError),
    /// An option makes no sense.
    #[error("blocks_per_second is {given}, it must be a number from 0 to {MAX_BLOCKS_PER_SECOND}")]
    Pace {
        /// What was given.
        given: f64,
    },
    /// A recording ends before the blocks asked for.
    #[error("the recording has {length} blocks, {wanted} are needed")]
    RecordingEnds {
        /// Its length.
        length: u64,
        /// What was asked for.
        wanted: u64,
    },
    /// A reorg would replace block 0 or nothing at all.
    #[error(
        "cannot replace the top {depth} of {blocks} blocks: block 0 stays, and at least one block goes"
    )]
    ReorgDepth {
        /// Blocks to replace.
        depth: u64,
        /// Blocks there are.
        blocks: u64,
    },
    /// A task of the node ended in a panic.
    #[error("a task of the development node failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A running node.
#[derive(Debug)]
pub struct DevNode {
    shared: Arc<Shared>,
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    chain: Mutex<Chain>,
    server: Arc<Server>,
    head: watch::Sender<Option<Head>>,
}

impl DevNode {
    /// Binds the address, makes block 0 and starts to serve and to produce.
    pub async fn start(options: DevNodeOptions) -> Result<Self, DevNodeError> {
        let pace = pace(options.blocks_per_second)?;
        let listen = options.listen;
        let listener = TcpListener::bind(listen)
            .await
            .map_err(|source| DevNodeError::Listen { listen, source })?;
        let address =
            listener.local_addr().map_err(|source| DevNodeError::Listen { listen, source })?;
        let chain = open(options.source).await?;
        let server = Arc::new(Server {
            context: Context { ledger: Ledger::new(options.l1_lag), chain_id: chain.chain_id() },
            faults: Arc::new(Faults::scripted(options.faults)),
            stop: CancellationToken::new(),
        });
        let shared =
            Arc::new(Shared { chain: Mutex::new(chain), server, head: watch::Sender::new(None) });
        Shared::extend(&shared, 1).await?;
        let tasks = vec![
            tokio::spawn(serve(listener, Arc::clone(&shared.server))),
            tokio::spawn(produce(Arc::clone(&shared), options.blocks, pace)),
        ];
        Ok(Self { shared, address, tasks })
    }

    /// Where the node answers.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The chain's name.
    pub fn chain_id(&self) -> &'static str {
        self.shared.server.context.chain_id
    }

    /// The newest block.
    pub fn head(&self) -> Option<Head> {
        self.shared.server.context.ledger.head()
    }

    /// Waits until a block of this height is served.
    pub async fn wait_for_height(&self, number: u64) {
        let mut heads = self.shared.head.subscribe();
        let reached = heads.wait_for(|head| head.is_some_and(|head| head.number >= number)).await;
        // The sender lives as long as `self`, so waiting cannot fail.
        debug_assert!(reached.is_ok());
    }

    /// Makes so many blocks at once and waits for them. Fewer than asked for only at a recording's end.
    pub async fn push_blocks(&self, count: u64) -> Result<Option<Head>, DevNodeError> {
        Shared::extend(&self.shared, count).await?;
        Ok(self.head())
    }

    /// Replaces the top `depth` blocks by `new_len` others with other hashes.
    pub async fn reorg(&self, depth: u64, new_len: u64) -> Result<Option<Head>, DevNodeError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || shared.reorg(depth, new_len)).await??;
        Ok(self.head())
    }

    /// Faults to inject.
    pub fn faults(&self) -> &Faults {
        &self.shared.server.faults
    }

    /// The truth about a block of a seeded chain.
    pub fn truth(&self, number: u64) -> Option<BlockTruth> {
        self.shared.server.context.ledger.by_number(number)?.truth.clone()
    }

    /// The height on its own chain of a recorded block.
    pub fn recorded_number(&self, number: u64) -> Option<u64> {
        match self.shared.server.context.ledger.by_number(number)?.block.origin {
            crate::chain::block::Origin::Recorded { number } => Some(number),
            crate::chain::block::Origin::Seeded => None,
        }
    }

    /// A token whose cancellation stops the node, for callers with a token of their own.
    pub fn stop_token(&self) -> CancellationToken {
        self.shared.server.stop.clone()
    }

    /// Stops: no new block, no new connection; running answers get five seconds.
    pub async fn stop(mut self) {
        self.shared.server.stop.cancel();
        for mut task in std::mem::take(&mut self.tasks) {
            match tokio::time::timeout(STOP_TIMEOUT, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(%error, "a task of the development node failed"),
                Err(_) => task.abort(),
            }
        }
    }
}

impl Drop for DevNode {
    /// A node that is dropped without `stop` ends too, only without waiting.
    fn drop(&mut self) {
        self.shared.server.stop.cancel();
    }
}

impl Shared {
    fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Seals and serves so many more blocks; how many there were.
    async fn extend(shared: &Arc<Self>, count: u64) -> Result<u64, DevNodeError> {
        let shared = Arc::clone(shared);
        Ok(tokio::task::spawn_blocking(move || {
            let mut chain = shared.chain();
            let mut made = 0;
            while made < count && !shared.server.stop.is_cancelled() {
                let Some(produced) = chain.next_block() else {
                    break;
                };
                let number = produced.block.number;
                shared.publish(number, vec![Served::new(produced)]);
                made += 1;
            }
            made
        })
        .await?)
    }

    fn publish(&self, from: u64, blocks: Vec<Arc<Served>>) {
        let ledger = &self.server.context.ledger;
        ledger.replace_from(from, blocks);
        self.head.send_replace(ledger.head());
    }

    fn reorg(&self, depth: u64, new_len: u64) -> Result<(), DevNodeError> {
        let mut chain = self.chain();
        let ledger = &self.server.context.ledger;
        let blocks = ledger.head().map_or(0, |head| head.number + 1);
        let refused = DevNodeError::ReorgDepth { depth, blocks };
        if depth == 0 || depth >= blocks {
            return Err(refused);
        }
        let from = blocks - depth;
        let wanted = from.saturating_add(new_len);
        if let Some(length) = chain.length().filter(|length| wanted > *length) {
            return Err(DevNodeError::RecordingEnds { length, wanted });
        }
        let Some(parent) = ledger.by_number(from - 1) else {
            return Err(refused);
        };
        chain.fork_at(from, parent.block.hash);
        let others = (0..new_len).map_while(|_| chain.next_block()).map(Served::new).collect();
        self.publish(from, others);
        Ok(())
    }
}

/// The time between two paced blocks; `None` for no such blocks.
fn pace(blocks_per_second: f64) -> Result<Option<Duration>, DevNodeError> {
    if !(0.0..=MAX_BLOCKS_PER_SECOND).contains(&blocks_per_second) {
        return Err(DevNodeError::Pace { given: blocks_per_second });
    }
    Ok(Duration::try_from_secs_f64(1.0 / blocks_per_second).ok())
}

async fn open(source: Source) -> Result<Chain, DevNodeError> {
    match source {
        Source::Seeded { seed } => Ok(Chain::seeded(seed)),
        Source::Recorded(path) => {
            Ok(tokio::task::spawn_blocking(move || Chain::recorded(&path)).await??)
        }
    }
}

async fn serve(listener: TcpListener, server: Arc<Server>) {
    let stop = server.stop.clone();
    let served =
        axum::serve(listener, router(server)).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(error) = served {
        tracing::error!(%error, "the development node no longer answers");
    }
}

/// Blocks sealed at a time before others may take the chain.
const BURST: u64 = 8;

async fn produce(shared: Arc<Shared>, blocks: u64, pace: Option<Duration>) {
    if let Err(error) = produce_until_stopped(&shared, blocks, pace).await {
        tracing::error!(%error, "the development node makes no more blocks");
    }
}

async fn produce_until_stopped(
    shared: &Arc<Shared>,
    blocks: u64,
    pace: Option<Duration>,
) -> Result<(), DevNodeError> {
    let stop = &shared.server.stop;
    let mut missing = blocks.saturating_sub(1);
    while missing > 0 && !stop.is_cancelled() {
        let made = Shared::extend(shared, missing.min(BURST)).await?;
        if made == 0 {
            return Ok(());
        }
        missing -= made;
    }
    let Some(pace) = pace else { return Ok(()) };
    let mut ticks = tokio::time::interval(pace);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            _ = ticks.tick() => {}
        }
        if Shared::extend(shared, 1).await? == 0 {
            return Ok(());
        }
    }
}
