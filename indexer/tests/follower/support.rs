//! A database, a node, and a follower between them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use obsqra_devnode::{
    DevNode, DevNodeOptions, LIGHT_CHAIN_ID, LIGHT_REGISTRY, SEEDED_REGISTRY, Spec,
};
use obsqra_events::{AdoptedWhat, Entry, Kind};
use obsqra_indexer::completeness::{Effort, Keep};
use obsqra_indexer::source::pool::selection::Rules;
use obsqra_indexer::source::{
    DnaOptions, DnaSource, JsonRpcOptions, JsonRpcSource, NodePool, PoolOptions,
};
use obsqra_indexer::{Feed, Follower, FollowerOptions, IndexError, Progress};
use obsqra_protocols::Registry;
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::{Role, Store};
use obsqra_testkit::{TestDatabase, canonical_blocks, node_blocks, read_log};
use obsqra_types::{BlockHash, BlockNumber, ChainId, ContractAddress};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) const SEED: u64 = 3;

/// A node of the seeded chain with so many blocks; the newest that is accepted on L1 lies `l1_lag` below
/// its head.
pub(crate) async fn node(blocks: u64, l1_lag: u64) -> DevNode {
    let options =
        DevNodeOptions { blocks, blocks_per_second: 0.0, l1_lag, ..DevNodeOptions::seeded(SEED) };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(blocks - 1).await;
    node
}

/// A node of an edition of the specification, none of whose blocks is final.
pub(crate) async fn node_of(blocks: u64, spec: Spec) -> DevNode {
    let options = DevNodeOptions {
        blocks,
        blocks_per_second: 0.0,
        l1_lag: NEVER,
        spec,
        ..DevNodeOptions::seeded(SEED)
    };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(blocks - 1).await;
    node
}

/// No block is final.
pub(crate) const NEVER: u64 = 1_000_000;

pub(crate) struct World {
    pub(crate) database: TestDatabase,
    pub(crate) store: Store,
    pub(crate) chain: ChainId,
    registry: &'static [u8],
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::of("OBSQRA_DEV", SEEDED_REGISTRY).await
    }

    /// Of the light chain, whose blocks cost next to nothing.
    pub(crate) async fn light() -> Self {
        Self::of(LIGHT_CHAIN_ID, LIGHT_REGISTRY).await
    }

    pub(crate) async fn of(chain: &str, registry: &'static [u8]) -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        Self { database, store, chain: ChainId::new(chain).unwrap(), registry }
    }

    fn watched(&self) -> BTreeSet<ContractAddress> {
        Registry::parse(self.registry).unwrap().watched().collect()
    }

    pub(crate) fn options(&self) -> FollowerOptions {
        FollowerOptions {
            chain: self.chain.clone(),
            start: BlockNumber(0),
            adopt: vec![(AdoptedWhat::Registry, "test/1".into(), self.registry.to_vec())],
            poll_interval: Duration::from_millis(10),
            batch_blocks: 7,
            batch_events: 5_000,
            fetch_ahead: 4,
            effort: Effort::Whole,
            keep: Keep::Watched,
            attempts: 4,
            first_wait: Duration::from_millis(5),
            holder: format!("follower {:?}", Instant::now()),
            lease_ttl: Duration::from_secs(10),
        }
    }

    pub(crate) fn follow(&self, node: &DevNode) -> Following {
        self.follow_with(node, self.options())
    }

    pub(crate) fn follow_with(&self, node: &DevNode, options: FollowerOptions) -> Following {
        self.follow_feed(Feed::Nodes(nodes(&[node])), options)
    }

    pub(crate) fn follow_feed(&self, feed: Feed, options: FollowerOptions) -> Following {
        let follower = Follower::new(self.store.clone(), feed, options);
        let (stop, progress) = (CancellationToken::new(), follower.progress());
        let stopped = stop.clone();
        let task = tokio::spawn(async move { follower.run(&stopped).await });
        Following { stop, progress, task }
    }

    pub(crate) async fn tip(&self) -> Option<ChainTip> {
        chain_tip::load(&self.store, &self.chain).await.unwrap()
    }

    /// Waits until the log's newest block is the node's.
    pub(crate) async fn caught_up(&self, node: &DevNode, following: &Following) {
        self.until(following, "the log has the node's head", async |world| {
            let head = node.head().unwrap();
            world.tip().await.is_some_and(|tip| {
                tip.number == BlockNumber(head.number) && tip.hash == BlockHash(head.hash)
            })
        })
        .await;
    }

    /// Waits until `holds` says so, as long as the follower runs.
    pub(crate) async fn until(
        &self,
        following: &Following,
        what: &str,
        mut holds: impl AsyncFnMut(&Self) -> bool,
    ) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self).await {
            assert!(!following.task.is_finished(), "the follower ended before {what}");
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The log, after checking that its canonical blocks are the node's up to a height.
    pub(crate) async fn check(&self, node: &DevNode, (first, last): (u64, u64)) -> Vec<Entry> {
        let entries = read_log(&self.store).await;
        let blocks = canonical_blocks(&entries);
        let expected = node_blocks(&node.url(), (first, last), &self.watched()).await;
        let numbers: Vec<u64> = blocks.iter().map(|block| block.number).collect();
        assert_eq!(numbers, (first..=last).collect::<Vec<_>>());
        assert!(blocks == expected, "the log has other blocks than the node");
        entries
    }

    /// As [`Self::check`], up to the node's head.
    pub(crate) async fn check_all(&self, node: &DevNode) -> Vec<Entry> {
        self.check(node, (0, node.head().unwrap().number)).await
    }
}

/// Nodes that are asked, the first leading.
pub(crate) fn nodes(nodes: &[&DevNode]) -> NodePool {
    let sources = nodes.iter().map(|node| {
        let url = node.url().parse().unwrap();
        JsonRpcSource::new(JsonRpcOptions { url, timeout: Duration::from_millis(1_500) }).unwrap()
    });
    let rules = Rules { first_cool_down: Duration::from_millis(200), ..Rules::default() };
    let probe_interval = Duration::from_millis(50);
    // No test depends on how fast a second node answers.
    let compare_timeout = PATIENCE;
    let options = PoolOptions { probe_interval, rules, compare_timeout, ..PoolOptions::default() };
    NodePool::new(sources.collect(), options).unwrap()
}

/// The stream of a node.
pub(crate) fn stream(node: &DevNode) -> Feed {
    let source = DnaSource::new(DnaOptions {
        url: node.dna_url().expect("it streams").parse().unwrap(),
        token: None,
        heartbeat: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
    });
    Feed::Stream { source: Box::new(source.unwrap()), nodes: None }
}

pub(crate) fn count(entries: &[Entry], kind: Kind) -> usize {
    entries.iter().filter(|entry| entry.draft.kind == kind).count()
}

/// A follower at work.
pub(crate) struct Following {
    stop: CancellationToken,
    pub(crate) progress: watch::Receiver<Progress>,
    task: JoinHandle<Result<(), IndexError>>,
}

impl Following {
    /// Stops it, which must not fail.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it stops");
        ended.expect("no panic").expect("no error");
    }

    /// Waits until it stops by itself; why it did.
    pub(crate) async fn fails(self) -> IndexError {
        let ended = tokio::time::timeout(PATIENCE, self.task).await.expect("it stops");
        ended.expect("no panic").expect_err("it fails")
    }
}
