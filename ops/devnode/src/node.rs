//! The node: a chain under production behind a server.
//!
//! The server answers as soon as block 0 is there. Up to `blocks` blocks follow as fast as they can be
//! made, then one after the other at `blocks_per_second`. Whoever changes the chain holds it, so
//! production, `push_blocks`, `reorg` and `switch_to` never mix.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::chain::block::Origin;
use crate::chain::ledger::{Head, Ledger};
use crate::chain::producer::Chain;
use crate::chain::store::Tail;
use crate::dna::{self, DnaFaults, DnaSettings};
use crate::faults::{Faults, ScriptedFault};
use crate::recorded::RecordedError;
use crate::rpc::{Context, Server};
use crate::seeded::{BlockTruth, Incident};
use crate::serving::{Bound, Serving, bind};
use crate::spec::{FeltSpelling, LastPage, Spec, Style};
use crate::twin::Following;

/// Time that running answers get to finish when the node stops.
pub(crate) const STOP_TIMEOUT: Duration = Duration::from_secs(5);

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
        /// Height above 0 at which the incident at zkLend begins; `None` for none.
        incident: Option<u64>,
    },
    /// Blocks for load, made on the fly; nothing in them is true to a protocol.
    Light {
        /// Its seed.
        seed: u64,
        /// Events in each block.
        events_per_block: u32,
    },
    /// Blocks for load with all commitments, made ahead and kept.
    Sealed {
        /// Its seed.
        seed: u64,
        /// Events in each block.
        events_per_block: u32,
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
    /// The specification it answers by.
    pub spec: Spec,
    /// Whether the last page of events has a `continuation_token` of null in place of none.
    pub null_tokens: bool,
    /// Whether felts are written with leading zeros, 64 digits long.
    pub padded_felts: bool,
    /// How many blocks older than its newest one the node's head is.
    pub lag: u64,
    /// Address of the DNA stream; port 0 takes a free one, `None` serves none.
    pub dna_listen: Option<SocketAddr>,
    /// How the DNA stream is served.
    pub dna: DnaSettings,
}

impl DevNodeOptions {
    /// A seeded chain as `obsqra devnode` runs it: two weeks at once, then a block a second.
    pub fn seeded(seed: u64) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            source: Source::Seeded { seed, incident: None },
            blocks: 2_016,
            blocks_per_second: 1.0,
            l1_lag: 50,
            faults: Vec::new(),
            spec: Spec::default(),
            null_tokens: false,
            padded_felts: false,
            lag: 0,
            dna_listen: None,
            dna: DnaSettings::default(),
        }
    }

    /// A seeded chain on which the incident at zkLend begins at a height above 0.
    pub fn seeded_with_incident(seed: u64, height: u64) -> Self {
        Self { source: Source::Seeded { seed, incident: Some(height) }, ..Self::seeded(seed) }
    }

    /// A light chain, all of its blocks at once.
    pub fn light(seed: u64, events_per_block: u32, blocks: u64) -> Self {
        Self {
            source: Source::Light { seed, events_per_block },
            blocks,
            blocks_per_second: 0.0,
            ..Self::seeded(0)
        }
    }

    /// A sealed load chain, all of its blocks at once.
    pub fn sealed(seed: u64, events_per_block: u32, blocks: u64) -> Self {
        Self {
            source: Source::Sealed { seed, events_per_block },
            ..Self::light(seed, events_per_block, blocks)
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

/// How a node writes, from its options.
pub(crate) fn style(spec: Spec, null_tokens: bool, padded_felts: bool) -> Style {
    let felts = if padded_felts { FeltSpelling::Padded } else { FeltSpelling::Short };
    let last_page = if null_tokens { LastPage::NullToken } else { LastPage::NoToken };
    Style { spec, felts, last_page }
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
    /// A branch does not fit on the chain.
    #[error(
        "the branch from height {from} on does not fit: block {} is another one than below the branch; \
         prepare it again, or switch back first",
        from.saturating_sub(1)
    )]
    ForeignBranch {
        /// Height of the branch's first block.
        from: u64,
    },
    /// A task of the node ended in a panic.
    #[error("a task of the development node failed: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// A running node.
#[derive(Debug)]
pub struct DevNode {
    pub(crate) shared: Arc<Shared>,
    pub(crate) serving: Serving,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    dna_address: Option<SocketAddr>,
    dna_faults: Arc<DnaFaults>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    chain: Mutex<Chain>,
    pub(crate) server: Arc<Server>,
    head: watch::Sender<Option<Head>>,
    pub(crate) following: Mutex<Option<Following>>,
}

impl DevNode {
    /// Binds the address, makes block 0 and starts to serve and to produce.
    pub async fn start(options: DevNodeOptions) -> Result<Self, DevNodeError> {
        let pace = pace(options.blocks_per_second)?;
        let bound = bind(options.listen).await?;
        let chain = open(options.source).await?;
        let ledger = Ledger::new(chain.empty_store(), options.l1_lag, options.lag);
        let style = style(options.spec, options.null_tokens, options.padded_felts);
        let shared = Shared::new(chain, ledger, style, options.faults);
        Shared::extend(&shared, 1).await?;
        let mut node = Self::over(shared, bound);
        if let Some(listen) = options.dna_listen {
            let serving = dna::Serving {
                server: Arc::clone(&node.shared.server),
                heads: node.shared.head.subscribe(),
                faults: Arc::clone(&node.dna_faults),
                settings: options.dna,
            };
            let (address, task) = dna::serve(listen, serving).await?;
            node.dna_address = Some(address);
            node.keep(task);
        }
        node.keep(tokio::spawn(produce(Arc::clone(&node.shared), options.blocks, pace)));
        Ok(node)
    }

    /// Serves a chain that has a block already.
    pub(crate) fn over(shared: Arc<Shared>, bound: Bound) -> Self {
        let serving = Serving::start(bound, Arc::clone(&shared.server));
        Self {
            shared,
            serving,
            tasks: Mutex::default(),
            dna_address: None,
            dna_faults: Arc::default(),
        }
    }

    /// Waits for a task when the node stops.
    pub(crate) fn keep(&self, task: JoinHandle<()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
    }

    /// Where the node answers.
    pub fn url(&self) -> String {
        format!("http://{}/", self.serving.address())
    }

    /// Where the node answers over a WebSocket.
    pub fn ws_url(&self) -> String {
        format!("ws://{}/ws", self.serving.address())
    }

    /// Where the DNA stream is served, if it is.
    pub fn dna_url(&self) -> Option<String> {
        self.dna_address.map(|address| format!("http://{address}"))
    }

    /// Faults of the DNA stream to inject.
    pub fn dna_faults(&self) -> &DnaFaults {
        &self.dna_faults
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

    /// Waits until so many blocks are there, shown or not, or all that a recording has.
    pub(crate) async fn wait_for_blocks(&self, count: u64) {
        let ledger = &self.shared.server.context.ledger;
        let length = self.shared.source_chain().length();
        let wanted = length.map_or(count, |length| length.min(count));
        let reached = self.shared.heads().wait_for(|_| ledger.length() >= wanted).await.is_ok();
        // The sender lives as long as `self`, so waiting cannot fail.
        debug_assert!(reached);
    }

    /// Makes so many blocks at once and waits for them. Fewer than asked for only at a recording's end.
    /// A node that follows another one goes its own way from then on.
    pub async fn push_blocks(&self, count: u64) -> Result<Option<Head>, DevNodeError> {
        Shared::stop_following(&self.shared).await?;
        Shared::extend(&self.shared, count).await?;
        Ok(self.head())
    }

    /// From now on this block and those below it are accepted on L1, whatever the lag says.
    pub fn finalize(&self, number: u64) {
        self.shared.server.context.ledger.finalize(number);
        self.shared.tell_head();
    }

    /// From now on the node's head is so many blocks older than its newest one.
    pub fn set_lag(&self, blocks: u64) {
        self.shared.server.context.ledger.set_lag(blocks);
        self.shared.tell_head();
    }

    /// How often a method was called.
    pub fn calls(&self, method: &str) -> u64 {
        self.shared.server.calls.of(method)
    }

    /// Waits until a method was called so often. A method that the node does not know never is.
    pub async fn wait_for_calls(&self, method: &str, count: u64) {
        self.shared.server.calls.wait_for(method, count).await;
    }

    /// How many blocks stand in memory: of a light chain a few, else all of them.
    pub fn blocks_in_memory(&self) -> usize {
        self.shared.server.context.ledger.held()
    }

    /// WebSockets that are open.
    pub fn open_websockets(&self) -> usize {
        self.shared.server.open_websockets()
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
            Origin::Recorded { number } => Some(number),
            Origin::Seeded | Origin::Light => None,
        }
    }

    /// A token whose cancellation stops the node, for callers with a token of their own.
    pub fn stop_token(&self) -> CancellationToken {
        self.shared.server.stop.clone()
    }

    /// Stops: no new block, no new connection; running answers get five seconds.
    pub async fn stop(self) {
        self.end().await;
    }

    /// The same for a node that others still hold.
    pub(crate) async fn end(&self) {
        self.shared.server.stop.cancel();
        self.serving.close().await;
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            end_task(task).await;
        }
    }
}

/// Waits a bounded time for a task that was told to stop.
pub(crate) async fn end_task(mut task: JoinHandle<()>) {
    match tokio::time::timeout(STOP_TIMEOUT, &mut task).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::error!(%error, "a task of the development node failed"),
        Err(_) => task.abort(),
    }
}

impl Drop for DevNode {
    /// A node that is dropped without `stop` ends too, only without waiting.
    fn drop(&mut self) {
        self.shared.server.stop.cancel();
    }
}

impl Shared {
    pub(crate) fn new(
        chain: Chain,
        ledger: Ledger,
        style: Style,
        faults: Vec<ScriptedFault>,
    ) -> Arc<Self> {
        let (head, heads) = watch::channel(ledger.head());
        let context = Context { ledger, chain_id: chain.chain_id(), style };
        let server = Arc::new(Server::new(context, faults, heads));
        Arc::new(Self { chain: Mutex::new(chain), server, head, following: Mutex::default() })
    }

    /// Holds the chain.
    pub(crate) fn chain(&self) -> MutexGuard<'_, Chain> {
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn heads(&self) -> watch::Receiver<Option<Head>> {
        self.head.subscribe()
    }

    /// Makes and serves so many more blocks; how many there were.
    async fn extend(shared: &Arc<Self>, count: u64) -> Result<u64, DevNodeError> {
        let shared = Arc::clone(shared);
        Ok(tokio::task::spawn_blocking(move || {
            let mut chain = shared.chain();
            let first = chain.next_number();
            // Sealed blocks are shown one by one, light ones cost nothing.
            let at_a_time = if chain.is_light() { count } else { 1 };
            let mut made = 0;
            while made < count && !shared.server.stop.is_cancelled() {
                let from = chain.next_number();
                let blocks = chain.next_blocks(at_a_time);
                if chain.next_number() == from {
                    break;
                }
                shared.publish(from, blocks);
                made = chain.next_number() - first;
            }
            made
        })
        .await?)
    }

    /// Puts blocks in place of everything from a height on, which comes back.
    pub(crate) fn publish(&self, from: u64, blocks: Tail) -> Tail {
        let replaced = self.server.context.ledger.replace_from(from, blocks);
        self.tell_head();
        replaced
    }

    pub(crate) fn tell_head(&self) {
        self.head.send_replace(self.server.context.ledger.head());
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
        Source::Seeded { seed, incident: None } => Ok(Chain::seeded(seed)),
        Source::Seeded { seed, incident: Some(height) } => {
            Ok(Chain::seeded_with_incident(seed, Incident::from_height(height)))
        }
        Source::Light { seed, events_per_block } => Ok(Chain::light(seed, events_per_block)),
        Source::Sealed { seed, events_per_block } => Ok(Chain::sealed(seed, events_per_block)),
        Source::Recorded(path) => {
            Ok(tokio::task::spawn_blocking(move || Chain::recorded(&path)).await??)
        }
    }
}

/// Blocks made at a time before others may take the chain.
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
        let burst = if shared.chain().is_light() { missing } else { missing.min(BURST) };
        let made = Shared::extend(shared, burst).await?;
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
