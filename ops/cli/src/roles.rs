//! Roles as tasks: each runs until it is told to stop, and the first that fails stops them all.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use obsqra_bus::{Bus, ChainStream, CheckpointStream, StreamLimits};
use obsqra_graphql::{Server, ServerOptions};
use obsqra_indexer::source::{
    DnaOptions, DnaSource, JsonRpcOptions, JsonRpcSource, NodePool, PoolOptions, Remedy, Secret,
};
use obsqra_indexer::{Feed, Follower, FollowerOptions};
use obsqra_store::{Role, Store, key};
use obsqra_types::{BlockNumber, ChainId, ProtocolId, Seq};
use obsqra_workers::adopted;
use obsqra_workers::checkpoint::file::CheckpointFile;
use obsqra_workers::checkpoint::{Checkpointer, CheckpointerOptions};
use obsqra_workers::jobs::propose_allocation::ProposeAllocation;
use obsqra_workers::jobs::report_day::{EnqueueReports, ReportDay};
use obsqra_workers::jobs::retract::Retract;
use obsqra_workers::jobs::score_risk::ScoreRisk;
use obsqra_workers::projections::Projector;
use obsqra_workers::relay::Relay;
use obsqra_workers::runtime::jobs::{JobRunner, RunnerOptions};
use obsqra_workers::runtime::{self, RoleContext};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::{CompareNodes, Settings};
use crate::instance::Instance;
use crate::{adoption, checkpoint_key, progress, telemetry};

/// Longest time that roles get to stop. Private servers need the rest of the ten seconds.
const STOP_TIMEOUT: Duration = Duration::from_secs(6);
/// Most events, kept or not, of the blocks in one transaction of the follower.
pub(crate) const BATCH_EVENTS: u64 = 5_000;
/// Most blocks fetched at once.
const FETCH_AHEAD: usize = 16;
/// Tries before an answer that stays unusable stops the follower.
const ATTEMPTS: u32 = 8;
/// Wait after a first failure of following.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Time between two tries to hear a node's chain.
const NODE_RETRY: Duration = Duration::from_secs(1);
/// Longest time for one answer of a node.
const NODE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest silence asked of a DNA server.
const DNA_HEARTBEAT: Duration = Duration::from_secs(30);
/// Most database connections of the writing roles of a process.
const WRITER_CONNECTIONS: u32 = 16;
/// Jobs that a process has under way at once.
const JOB_SLOTS: usize = 4;
/// Longest time that jobs get to finish when the process stops; then they are given back, which takes a little of
/// what is left of [`STOP_TIMEOUT`].
const JOB_STOP_TIMEOUT: Duration = Duration::from_secs(4);
/// Time between two looks for what another role has yet to bring.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The roles of one process.
pub(crate) struct Roles {
    tasks: JoinSet<(String, Result<()>)>,
    stop: CancellationToken,
}

impl Roles {
    /// No roles yet; a termination signal will stop them.
    pub(crate) fn new() -> Result<Self> {
        let stop = CancellationToken::new();
        let mut interrupt = signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut terminate = signal(tokio::signal::unix::SignalKind::terminate())?;
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            tracing::info!("stopping");
            stopped.cancel();
        });
        Ok(Self { tasks: JoinSet::new(), stop })
    }

    /// Is cancelled when the roles are to stop.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// What comes before the roles; `None` when they are to stop already, which drops it half done.
    pub(crate) async fn unless_stopped<T>(
        &self,
        preparing: impl Future<Output = Result<T>>,
    ) -> Result<Option<T>> {
        tokio::select! {
            () = self.stop.cancelled() => Ok(None),
            prepared = preparing => prepared.map(Some),
        }
    }

    /// Starts a role.
    pub(crate) fn start(
        &mut self,
        name: impl Into<String>,
        role: impl Future<Output = Result<()>> + Send + 'static,
    ) {
        let name = name.into();
        self.tasks.spawn(async move { (name, role.await) });
    }

    /// Waits for all roles. The first failure stops the others and is returned.
    pub(crate) async fn finish(mut self) -> Result<()> {
        let mut failure = None;
        loop {
            let joined = tokio::select! {
                joined = self.tasks.join_next() => joined,
                () = overdue(&self.stop) => {
                    tracing::error!("some roles did not stop in time and are cut off; nothing is lost");
                    break;
                }
            };
            let outcome = match joined {
                None => break,
                Some(Ok((name, outcome))) => outcome.with_context(|| format!("{name} stopped")),
                Some(Err(error)) => Err(anyhow!("a role ended in a panic: {error}")),
            };
            if let Err(error) = outcome {
                failure.get_or_insert(error);
                self.stop.cancel();
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(STOP_TIMEOUT).await;
}

fn signal(kind: tokio::signal::unix::SignalKind) -> Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(kind).context("cannot listen for termination signals")
}

/// What writing roles share.
pub(crate) struct Writing {
    pub(crate) store: Store,
    pub(crate) bus: Bus,
    pub(crate) context: RoleContext,
}

impl Writing {
    pub(crate) async fn open(
        instance: &Instance,
        settings: &Settings,
        chain: &ChainId,
        name: &str,
    ) -> Result<Self> {
        let mut options = obsqra_store::StoreOptions::new(Role::Writer);
        options.max_connections = WRITER_CONNECTIONS;
        let store = instance.store(options).await?;
        let bus = instance.bus(name).await?;
        let stream = ChainStream::open(&bus, chain, StreamLimits::default()).await?;
        let context = RoleContext {
            store: store.clone(),
            stream,
            holder: holder(name),
            lease_ttl: Duration::from_millis(settings.lease_ttl_ms),
            longest_rest: Duration::from_millis(settings.longest_rest_ms),
        };
        Ok(Self { store, bus, context })
    }
}

/// A name for this process on its leases. It differs at every start, so that a process that was killed
/// is not taken for the one that follows it.
pub(crate) fn holder(name: &str) -> String {
    let started = chrono::Utc::now().timestamp_micros();
    format!("{name}/{}/{started}", std::process::id())
}

/// The chain that the nodes serve.
async fn chain_of_nodes(nodes: &NodePool, stop: &CancellationToken) -> Result<Option<ChainId>> {
    let mut unusable = 0;
    loop {
        let error = match nodes.chain_id().await {
            Ok(chain) => return Ok(Some(chain)),
            Err(error) => error,
        };
        let wait = match error.remedy() {
            Remedy::Wait(asked) => asked.unwrap_or(NODE_RETRY).clamp(NODE_RETRY, NODE_TIMEOUT),
            Remedy::RetryBounded if unusable + 1 < ATTEMPTS => {
                unusable += 1;
                NODE_RETRY
            }
            Remedy::RetryBounded | Remedy::None => return Err(error.into()),
        };
        tracing::warn!(%error, "waiting for the node");
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// The chain that a setting names, or that the log holds alone.
pub(crate) async fn known_chain(settings: &Settings, store: &Store) -> Result<Option<ChainId>> {
    if let Some(chain) = settings.chain()? {
        return Ok(Some(chain));
    }
    let mut chains =
        key::chains(store).await.context("is the database migrated? run `obsqra migrate`")?;
    match chains.len() {
        0 | 1 => Ok(chains.pop()),
        _ => Err(anyhow!("the log holds several chains: name one with OBSQRA_CHAIN")),
    }
}

/// Waits until the log names its chain.
pub(crate) async fn wait_for_chain(
    settings: &Settings,
    store: &Store,
    stop: &CancellationToken,
) -> Result<Option<ChainId>> {
    let mut told = false;
    loop {
        if let Some(chain) = known_chain(settings, store).await? {
            return Ok(Some(chain));
        }
        if !told {
            tracing::info!("waiting for a follower to begin the log");
            told = true;
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(None),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// The nodes that are set: one address, or several with commas or spaces between them.
pub(crate) fn node_list(urls: &str) -> Result<Vec<JsonRpcSource>> {
    urls.split([',', ' ', '\n', '\t'])
        .filter(|url| !url.is_empty())
        .map(|url| {
            // The address may hold a key: it is not repeated in the error.
            let url = url.parse().map_err(|_| {
                anyhow!("OBSQRA_RPC_URL is no address: expected http:// or https://")
            })?;
            Ok(JsonRpcSource::new(JsonRpcOptions { url, timeout: NODE_TIMEOUT })?)
        })
        .collect()
}

/// Where blocks come from: the stream that is set, else the nodes.
pub(crate) fn feed(
    settings: &Settings,
    urls: Option<&str>,
    chain: Option<ChainId>,
) -> Result<Feed> {
    let nodes = urls.map(|urls| nodes(settings, urls, chain)).transpose()?;
    let Some(url) = &settings.dna_url else {
        return Ok(Feed::Nodes(nodes.context(
            "no node is set: set OBSQRA_RPC_URL (`obsqra devnode` runs one for development)",
        )?));
    };
    let url = url
        .parse()
        .map_err(|_| anyhow!("OBSQRA_DNA_URL is no address: expected http:// or https://"))?;
    let token = settings.dna_token.as_deref().map(Secret::new).transpose().context("DNA token")?;
    let source =
        DnaSource::new(DnaOptions { url, token, heartbeat: DNA_HEARTBEAT, timeout: NODE_TIMEOUT })?;
    Ok(Feed::Stream { source: Box::new(source), nodes })
}

/// The chain that a feed is of: of a stream only the settings or the log can tell.
pub(crate) async fn chain_of(feed: &Feed, stop: &CancellationToken) -> Result<Option<ChainId>> {
    match feed {
        Feed::Nodes(nodes) | Feed::Stream { nodes: Some(nodes), .. } => {
            chain_of_nodes(nodes, stop).await
        }
        Feed::Stream { nodes: None, .. } => Err(anyhow!(
            "a DNA stream does not say which chain it is of: name it with OBSQRA_CHAIN"
        )),
    }
}

/// The nodes that are set, of which the first leads; all must serve the chain, where it is known.
pub(crate) fn nodes(settings: &Settings, urls: &str, chain: Option<ChainId>) -> Result<NodePool> {
    let compare = settings.compare_nodes == CompareNodes::EachBlock;
    let options = PoolOptions { chain, compare, ..PoolOptions::default() };
    Ok(NodePool::new(node_list(urls)?, options)?)
}

/// The follower of a chain.
pub(crate) async fn follow(
    settings: Settings,
    store: Store,
    feed: Feed,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let adopt = adoption::due(&settings, &store, &chain).await?;
    let follower = Follower::new(
        store,
        feed,
        FollowerOptions {
            chain,
            start: BlockNumber(settings.start_block),
            adopt,
            poll_interval: Duration::from_millis(settings.poll_interval_ms),
            batch_blocks: settings.batch_blocks,
            batch_events: BATCH_EVENTS,
            fetch_ahead: FETCH_AHEAD,
            attempts: ATTEMPTS,
            first_wait: FIRST_WAIT,
            effort: settings.check.into(),
            keep: settings.keep.into(),
            holder: holder("index"),
            lease_ttl: Duration::from_millis(settings.lease_ttl_ms),
        },
    );
    let shown = tokio::spawn(progress::show_following(follower.progress()));
    let followed = follower.run(&stop).await;
    drop(follower);
    shown.await.ok();
    Ok(followed?)
}

/// The relay of a chain.
pub(crate) async fn relay(
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let mut role = Relay::new(&context.store, &context.stream, &chain);
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The relay that repeats facts of a chain once their block is final.
pub(crate) async fn relay_final(
    bus: Bus,
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let stream = ChainStream::open_final(&bus, &chain, StreamLimits::of_final()).await?;
    let mut role = Relay::of_final(&context.store, &stream, &chain);
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The projector of a chain.
pub(crate) async fn project(
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let mut role = Projector::new(&context.store, &chain);
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The checkpointer of the log.
pub(crate) async fn checkpoint(
    settings: Settings,
    bus: Bus,
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let key = checkpoint_key::load_or_make(&settings, &context.store).await?;
    if settings.checkpoint_file.is_none() {
        std::fs::create_dir_all(&settings.data_dir)
            .with_context(|| format!("data directory {}", settings.data_dir.display()))?;
    }
    let mut chains: BTreeSet<ChainId> = key::chains(&context.store).await?.into_iter().collect();
    chains.insert(chain);
    let streams = chains.iter().map(|chain| CheckpointStream::new(&bus, chain)).collect();
    let options = CheckpointerOptions {
        key,
        file: CheckpointFile::new(settings.checkpoint_file()),
        rest: Duration::from_millis(settings.checkpoint_rest_ms),
    };
    let mut role = Checkpointer::new(&context.store, streams, options);
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The risk worker of one protocol.
pub(crate) async fn score(
    context: RoleContext,
    chain: ChainId,
    protocol: ProtocolId,
    stop: CancellationToken,
) -> Result<()> {
    let mut role = ScoreRisk::new(&context.store, &chain, &protocol);
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The allocator of a chain.
pub(crate) async fn allocate(
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let mut role = ProposeAllocation::new(&context.store, &chain);
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The retractor of a chain.
pub(crate) async fn retract(
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let mut role = Retract::new(&context.store, &chain);
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The role that enqueues the reports of finished days.
pub(crate) async fn enqueue_reports(
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let mut role = EnqueueReports::new(&context.store, &chain)?;
    Ok(runtime::run(&mut role, &context, &stop).await?)
}

/// The jobs that processes share.
pub(crate) async fn run_jobs(context: RoleContext, stop: CancellationToken) -> Result<()> {
    let options = RunnerOptions {
        slots: JOB_SLOTS,
        lease_ttl: context.lease_ttl,
        longest_rest: context.longest_rest,
        stop_within: JOB_STOP_TIMEOUT,
    };
    let runner = JobRunner::new(&context.store, &context.holder, options)
        .with(ReportDay::new(&context.store)?);
    Ok(runner.run(&stop).await?)
}

/// The protocols with markets of the registry that the log adopted last, once it has.
pub(crate) async fn protocols(
    store: &Store,
    chain: &ChainId,
    stop: &CancellationToken,
) -> Result<Vec<ProtocolId>> {
    let newest = Seq(u64::try_from(i64::MAX)?);
    loop {
        if let Some((registry, _)) = adopted::registry(store, chain, newest).await? {
            let scored = registry.protocols().filter(|protocol| protocol.kind.has_markets());
            return Ok(scored.map(|protocol| protocol.id.clone()).collect());
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(Vec::new()),
            () = tokio::time::sleep(LOOK_AGAIN) => {}
        }
    }
}

/// The risk workers of all protocols.
pub(crate) async fn score_all(
    context: RoleContext,
    chain: ChainId,
    stop: CancellationToken,
) -> Result<()> {
    let mut workers = JoinSet::new();
    for protocol in protocols(&context.store, &chain, &stop).await? {
        workers.spawn(score(context.clone(), chain.clone(), protocol, stop.clone()));
    }
    while let Some(ended) = workers.join_next().await {
        ended.context("a worker ended in a panic")??;
    }
    Ok(())
}

/// The GraphQL server, listening.
pub(crate) async fn bind_server(
    settings: &Settings,
    instance: &Instance,
    bus: &Bus,
    chain: &ChainId,
) -> Result<Server> {
    let bus = bus.clone();
    let options = ServerOptions {
        listen: settings.listen,
        store: instance.store_as(Role::Reader).await?,
        bus: Arc::new(move || bus.is_connected()),
        chain: chain.clone(),
        max_lag_blocks: settings.max_lag_blocks,
        metrics: Arc::new(telemetry::metrics_text),
    };
    Ok(Server::bind(options).await?)
}

/// Says where the server answers.
pub(crate) fn announce(server: &Server) {
    let address = server.local_addr();
    println!("GraphQL   http://{address}/graphql");
    println!("GraphiQL  http://{address}/");
    println!("ready     http://{address}/health/ready");
}
