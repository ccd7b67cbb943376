//! A fresh database with a server, and the writes that tests make.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use obsqra_events::{
    Adopted, AdoptedWhat, Cause, Causes, Draft, Fact, RiskComponents, RiskInputs, RiskScored,
};
use obsqra_graphql::{Server, ServerOptions};
use obsqra_store::attested::{self, AttestedAs, AttestedRange};
use obsqra_store::notify::{Signal, notify};
use obsqra_store::projection::activity::ActivityRow;
use obsqra_store::projection::allocation_snapshot::AllocationSnapshotRow;
use obsqra_store::projection::anomaly::AnomalyRow;
use obsqra_store::projection::block::BlockRow;
use obsqra_store::projection::event::EventRow;
use obsqra_store::projection::market_metrics::MarketMetricsRow;
use obsqra_store::projection::price::PriceRow;
use obsqra_store::projection::privacy_pool::PrivacyPoolRow;
use obsqra_store::projection::risk_score::RiskScoreRow;
use obsqra_store::projection::state::ProjectionState;
use obsqra_store::watch::{self, Supplement};
use obsqra_store::{Key, Keyed, Lease, Role, Store, chain_tip, log, projection};
use obsqra_testkit::TestDatabase;
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Felt, Hash32, Partition, ProtocolId,
    Seq, UnixSeconds,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use obsqra_store::projection::OPEN;

/// A database of its own, writers' access to it, and a running server.
pub(crate) struct World {
    pub(crate) chain: ChainId,
    pub(crate) address: SocketAddr,
    pub(crate) stop: CancellationToken,
    /// Ends when the server does.
    pub(crate) served: JoinHandle<()>,
    pub(crate) bus_up: Arc<AtomicBool>,
    /// The server's own connections: closing them takes its database away.
    pub(crate) reader: Store,
    writer: Store,
    lease: Lease,
    http: reqwest::Client,
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create().await;
        let chain = ChainId::new("SN_MAIN").unwrap();
        let writer = database.store(Role::Writer).await;
        let reader = database.store(Role::Reader).await;
        let partition = Partition::Follower(chain.clone());
        let lease = Lease::acquire(&writer, partition, "test", Duration::from_secs(600));
        let lease = lease.await.unwrap().unwrap();
        let bus_up = Arc::new(AtomicBool::new(true));
        let stop = CancellationToken::new();
        let (address, served) = serve(&reader, &chain, &bus_up, &stop).await;
        let http = reqwest::Client::new();
        Self { chain, address, stop, served, bus_up, reader, writer, lease, http }
    }

    /// A world in which a registry is adopted and the read models stand at a block.
    pub(crate) async fn at(block: u64, seq: u64) -> Self {
        let world = Self::new().await;
        world.adopt_registry().await;
        world.advance(block, seq).await;
        world
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn append(&self, fact: Fact, key: Key) -> Seq {
        let block =
            BlockRef { number: BlockNumber(1), epoch: BranchEpoch(0), timestamp: UnixSeconds(1) };
        let facts = vec![Keyed { key, drafts: vec![Draft::new(&self.chain, Some(block), &fact)] }];
        let mut tx = self.writer.begin().await.unwrap();
        let done = log::append(&mut tx, self.lease.fence(), facts).await.unwrap();
        tx.commit().await.unwrap();
        done.after.seq
    }

    pub(crate) async fn adopt_registry(&self) -> Seq {
        let bytes = obsqra_protocols::mainnet_registry().to_vec();
        let hash = obsqra_protocols::Registry::parse(&bytes).unwrap().hash();
        let (what, version) = (AdoptedWhat::Registry, "1".to_owned());
        let key = Key::Adopted { what, version: version.clone(), hash };
        self.append(Fact::Adopted(Adopted { what, version, hash, bytes }), key).await
    }

    /// Appends a score's entry whose causes are an entry and a window.
    pub(crate) async fn append_score(&self, protocol: &str, score: u8) -> Seq {
        let causes = vec![
            Cause::Entry(Seq(1)),
            Cause::Window {
                from_seq: Seq(1),
                to_seq: Seq(2),
                selector: format!("event protocol={protocol}"),
                count: 2,
                digest: Hash32([7; 32]),
            },
        ];
        let fact = RiskScored {
            protocol: ProtocolId::new(protocol).unwrap(),
            block_hash: BlockHash(Felt::ONE),
            formula: "risk-v1.2".into(),
            score,
            components: RiskComponents {
                utilization: 1,
                volatility: 2,
                liquidity: 3,
                audit: 4,
                age: 5,
            },
            inputs: RiskInputs {
                utilization_bps: 1,
                volatility_bps: 2,
                liquidity_class: 3,
                audit_score: 4,
                age_days: 5,
            },
            causes: Causes::new(causes).unwrap(),
        };
        self.append(Fact::RiskScored(fact), Key::Plain).await
    }

    /// Moves the read models' position, with a hint as the projector sends it.
    pub(crate) async fn advance(&self, block: u64, seq: u64) {
        let block = BlockRef {
            number: BlockNumber(block),
            epoch: BranchEpoch(0),
            timestamp: UnixSeconds(1_700_000_000 + block),
        };
        let state = ProjectionState {
            seq: Seq(seq),
            block: Some((block, BlockHash(Felt::from(block.number.0)))),
            finalized: Some(BlockNumber(block.number.0 / 2)),
        };
        let mut tx = self.writer.begin().await.unwrap();
        projection::state::save(&mut tx, &self.chain, &state).await.unwrap();
        notify(&mut tx, Signal::Projection).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Blocks of a range were checked so.
    pub(crate) async fn attested(&self, (first, last): (u64, u64), verdict: AttestedAs) {
        let (first, last) = (BlockNumber(first), BlockNumber(last));
        let mut tx = self.writer.begin().await.unwrap();
        let range = AttestedRange { first, last, verdict };
        attested::cover(&mut tx, &self.chain, range).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Lets the node's head be known.
    pub(crate) async fn node_head(&self, head: u64) {
        let tip = chain_tip::ChainTip {
            first: BlockNumber(1),
            number: BlockNumber(1),
            hash: BlockHash(Felt::ONE),
            epoch: BranchEpoch(0),
            seq: Seq(1),
            finalized: None,
        };
        let mut tx = self.writer.begin().await.unwrap();
        chain_tip::store(&mut tx, &self.chain, &tip).await.unwrap();
        tx.commit().await.unwrap();
        chain_tip::note_node_head(&self.writer, &self.chain, BlockNumber(head)).await.unwrap();
    }

    pub(crate) async fn insert_scores(&self, rows: &[RiskScoreRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::risk_score::insert(&mut tx, rows).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn insert_markets(&self, rows: &[MarketMetricsRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::market_metrics::insert(&mut tx, rows.to_vec()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Inserts events and the blocks that they are in.
    pub(crate) async fn insert_events(&self, blocks: &[BlockRow], rows: &[EventRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::block::insert(&mut tx, blocks).await.unwrap();
        projection::event::insert(&mut tx, rows.to_vec()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A block gained events, which follow the position given.
    pub(crate) async fn supplemented(&self, block: u64, seq: u64, watched_events: u32) {
        let block = BlockRef {
            number: BlockNumber(block),
            epoch: BranchEpoch(0),
            timestamp: UnixSeconds(1_700_000_000 + block),
        };
        let supplement = Supplement { seq: Seq(seq), watched_events };
        let mut tx = self.writer.begin().await.unwrap();
        let place = (block, &Hash32([1; 32]));
        watch::save_supplement(&mut tx, &self.chain, place, supplement).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn insert_activities(&self, rows: &[ActivityRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::activity::insert(&mut tx, rows).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn insert_anomalies(&self, rows: &[AnomalyRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::anomaly::insert(&mut tx, rows).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn insert_allocations(&self, rows: &[AllocationSnapshotRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::allocation_snapshot::insert(&mut tx, rows).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn insert_prices(&self, rows: &[PriceRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::price::insert(&mut tx, rows).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn insert_pools(&self, rows: &[PrivacyPoolRow]) {
        let mut tx = self.writer.begin().await.unwrap();
        projection::privacy_pool::insert(&mut tx, rows).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn post(&self, content_type: Option<&str>, body: String) -> reqwest::Response {
        let mut request = self.http.post(self.url("/graphql")).body(body);
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        request.send().await.unwrap()
    }

    /// Runs an operation and returns the whole response.
    pub(crate) async fn run(&self, query: &str, variables: Value) -> Value {
        let body = json!({ "query": query, "variables": variables }).to_string();
        let response = self.post(Some("application/json"), body).await;
        assert_eq!(response.status(), 200);
        response.json().await.unwrap()
    }

    /// Runs an operation that must succeed and returns its data.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut response = self.run(query, variables).await;
        assert!(response.get("errors").is_none(), "{response:#}");
        response["data"].take()
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.http.get(self.url(path)).send().await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(
    store: &Store,
    chain: &ChainId,
    bus_up: &Arc<AtomicBool>,
    stop: &CancellationToken,
) -> (SocketAddr, JoinHandle<()>) {
    let bus = Arc::clone(bus_up);
    let server = Server::bind(ServerOptions {
        listen: ([127, 0, 0, 1], 0).into(),
        store: store.clone(),
        bus: Arc::new(move || bus.load(Ordering::Relaxed)),
        chain: chain.clone(),
        max_lag_blocks: 5,
        metrics: Arc::new(|| "obsqra_up 1\n".to_owned()),
    });
    let server = server.await.unwrap();
    let address = server.local_addr();
    let stop = stop.clone();
    let served = tokio::spawn(async move { server.run(stop).await.unwrap() });
    (address, served)
}
