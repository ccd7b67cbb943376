//! Several nodes: who leads, when that changes, and that answers of two are never mixed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use obsqra_indexer::source::pool::selection::{Generation, Rules, Standing};
use obsqra_indexer::source::{NodePool, PoolOptions, Remedy, SourceError, Spec};
use obsqra_types::{BlockNumber, ChainId};

use crate::fake::{FakeNode, Trouble};
use crate::raw::{RawServer, Way};
use crate::{PATIENCE, source, until};

const HEAD: &str = "starknet_blockHashAndNumber";
const BLOCK: &str = "starknet_getBlockWithReceipts";

fn pool(urls: &[&str]) -> NodePool {
    pool_with(urls, PoolOptions::default())
}

fn pool_with(urls: &[&str], options: PoolOptions) -> NodePool {
    NodePool::new(urls.iter().map(|url| source(url)).collect(), options).unwrap()
}

async fn two() -> (FakeNode, FakeNode, NodePool) {
    let (first, second) = (FakeNode::start(5).await, FakeNode::start(5).await);
    let pool = pool(&[&first.url, &second.url]);
    (first, second, pool)
}

#[tokio::test]
async fn after_a_few_strikes_the_next_node_leads_and_the_old_answers_no_more() {
    let (first, second, pool) = two().await;
    let old = pool.leader().await.unwrap();
    assert_eq!(old.name(), source(&first.url).name());
    assert_eq!(old.head().await.unwrap(), Some(first.script().head()));
    first.trouble(BLOCK, Trouble::Garbage);
    for _ in 0..2 {
        let error = old.block(BlockNumber(2)).await.expect_err("garbage");
        assert!(matches!(error, SourceError::Unusable { .. }), "{error}");
        // Other answers are good, and do not make up for it.
        old.head().await.unwrap();
        assert!(old.leads());
    }
    let mut changes = pool.changes();
    let error = old.block(BlockNumber(2)).await.expect_err("garbage");
    assert_eq!(error.remedy(), Remedy::Wait(None));
    let text = error.to_string();
    for named in [source(&first.url).name(), source(&second.url).name(), "unusable answer"] {
        assert!(text.contains(named), "{text}");
    }
    assert!(matches!(error, SourceError::LeaderChanged { because: Some(_), .. }), "{text}");
    assert_eq!(*changes.wait_for(|now| *now > Generation(0)).await.unwrap(), Generation(1));

    let calls = first.script().calls.len();
    let stale = old.head().await.expect_err("it does not lead");
    assert!(matches!(stale, SourceError::LeaderChanged { because: None, .. }), "{stale}");
    assert_eq!(first.script().calls.len(), calls, "it is not even asked");
    let new = pool.leader().await.unwrap();
    assert_eq!((new.name(), new.generation()), (source(&second.url).name(), Generation(1)));
    new.block(BlockNumber(2)).await.unwrap();
}

#[tokio::test]
async fn a_question_under_way_ends_with_the_lead() {
    let (first, _second, pool) = two().await;
    let old = pool.leader().await.unwrap();
    first.trouble(BLOCK, Trouble::Hang);
    let asking = tokio::spawn({
        let old = old.clone();
        async move { old.block(BlockNumber(2)).await }
    });
    until("the block is asked for", async || first.calls_of(BLOCK) > 0).await;
    first.trouble(HEAD, Trouble::Garbage);
    while old.leads() {
        old.head().await.expect_err("garbage");
    }
    let ended = tokio::time::timeout(PATIENCE / 2, asking).await.expect("it ends").unwrap();
    assert!(matches!(ended, Err(SourceError::LeaderChanged { .. })));
}

#[tokio::test]
async fn a_block_missing_well_below_the_head_counts_against_a_node() {
    let (first, second) = (FakeNode::start(20).await, FakeNode::start(20).await);
    let pool = pool(&[&first.url, &second.url]);
    let old = pool.leader().await.unwrap();
    first.trouble(BLOCK, Trouble::NotThere);
    for _ in 0..10 {
        let error = old.block(BlockNumber(2)).await.expect_err("it is not there");
        assert!(matches!(error, SourceError::NoBlock { .. }), "{error}");
    }
    assert!(old.leads(), "the node did not tell of a head yet");
    old.head().await.unwrap();
    for number in [99, 20, 19, 15] {
        old.block(BlockNumber(number)).await.expect_err("it is not there yet");
    }
    assert!(old.leads());
    while old.leads() {
        old.block(BlockNumber(2)).await.expect_err("it is not there");
    }
}

#[tokio::test]
async fn a_node_of_another_chain_or_edition_is_put_out() {
    let (first, second, pool) = two().await;
    first.script().chain = "OBSQRA_OTHER".to_owned();
    second.script().spec = "0.7.1".to_owned();
    let third = FakeNode::start(5).await;
    third.script().spec = "0.9.0".to_owned();
    let chain = Some(ChainId::new("OBSQRA_TEST").unwrap());
    let options = PoolOptions { chain, ..PoolOptions::default() };
    let three = pool_with(&[&first.url, &second.url, &third.url], options.clone());
    let leader = three.leader().await.unwrap();
    assert_eq!(leader.name(), source(&third.url).name());
    let status = three.status();
    assert!(matches!(status[0].standing, Standing::Refused(_)), "{status:?}");
    assert!(status[0].trouble.as_ref().unwrap().contains("OBSQRA_OTHER"), "{status:?}");
    assert!(status[1].trouble.as_ref().unwrap().contains("0.7.1"), "{status:?}");
    assert_eq!((status[2].leads, status[2].spec), (true, Some(Spec::V0_9)));

    let none = pool_with(&[&first.url, &second.url], options);
    let error = none.leader().await.expect_err("none is fit");
    assert_eq!(error.remedy(), Remedy::None, "{error}");
    // Without a chain that was set, the first that answers says which it is.
    second.script().spec = "0.10.0".to_owned();
    assert_eq!(pool.chain_id().await.unwrap(), ChainId::new("OBSQRA_OTHER").unwrap());
    pool.probe().await;
    assert!(matches!(pool.status()[1].standing, Standing::Refused(_)));
}

#[tokio::test]
async fn a_node_that_comes_back_as_another_chain_is_put_out() {
    let (first, second) = (FakeNode::start(5).await, FakeNode::start(5).await);
    let rules = Rules { first_cool_down: Duration::from_millis(1), ..Rules::default() };
    let pool =
        pool_with(&[&first.url, &second.url], PoolOptions { rules, ..PoolOptions::default() });
    let old = pool.leader().await.unwrap();
    first.trouble(HEAD, Trouble::Garbage);
    while old.leads() {
        old.head().await.expect_err("garbage");
    }
    first.script().trouble = None;
    first.script().chain = "OBSQRA_OTHER".to_owned();
    until("it is asked again and put out", async || {
        pool.probe().await;
        matches!(pool.status()[0].standing, Standing::Refused(_))
    })
    .await;
    assert_eq!(pool.leader().await.unwrap().name(), source(&second.url).name());
}

#[tokio::test]
async fn a_node_that_is_not_there_costs_no_try_when_another_is() {
    let gone = RawServer::start(Way::Reset).await;
    let node = FakeNode::start(5).await;
    let pool = pool(&[&gone.url, &node.url]);
    assert_eq!(pool.leader().await.unwrap().name(), source(&node.url).name());
    let alone = pool_with(&[&gone.url], PoolOptions::default());
    for _ in 0..3 {
        let error = alone.leader().await.expect_err("nobody answers");
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error}");
    }
    assert!(matches!(NodePool::new(Vec::new(), PoolOptions::default()), Err(SourceError::NoNodes)));
}

#[tokio::test]
async fn a_node_that_asks_for_rest_is_not_asked_meanwhile() {
    let (first, second, pool) = two().await;
    let old = pool.leader().await.unwrap();
    first.trouble("*", Trouble::TooMany { retry_after: 100 });
    old.head().await.expect_err("it asks for rest");
    assert!(!old.leads());
    let calls = first.script().calls.len();
    let new = pool.leader().await.unwrap();
    assert_eq!(new.name(), source(&second.url).name());
    second.trouble("*", Trouble::TooMany { retry_after: 50 });
    new.head().await.expect_err("it asks for rest");
    pool.probe().await;
    let error = pool.leader().await.expect_err("both rest");
    let Remedy::Wait(Some(rest)) = error.remedy() else { panic!("{error}") };
    assert!(rest > Duration::from_secs(20) && rest <= Duration::from_secs(50), "{rest:?}");
    assert_eq!(first.script().calls.len(), calls);
}

#[tokio::test]
async fn a_leader_that_stays_behind_is_left_at_the_second_probe() {
    let (first, second) = (FakeNode::start(5).await, FakeNode::start(20).await);
    let pool = pool(&[&first.url, &second.url]);
    let old = pool.leader().await.unwrap();
    pool.probe().await;
    assert!(old.leads());
    assert_eq!(old.standing(), Standing::Lagging);
    pool.probe().await;
    assert!(!old.leads());
    assert_eq!(pool.leader().await.unwrap().name(), source(&second.url).name());
    let heads: Vec<_> = pool.status().iter().map(|node| node.head.unwrap().number.0).collect();
    assert_eq!(heads, [4, 19]);
}

#[tokio::test]
async fn probing_goes_on_until_it_is_told_to_stop() {
    let (first, second) = (FakeNode::start(5).await, FakeNode::start(20).await);
    let options =
        PoolOptions { probe_interval: Duration::from_millis(5), ..PoolOptions::default() };
    let pool = pool_with(&[&first.url, &second.url], options);
    let stop = tokio_util::sync::CancellationToken::new();
    let watching = tokio::spawn({
        let (pool, stop) = (pool.clone(), stop.clone());
        async move { pool.watch(&stop).await }
    });
    until("another leads", async || pool.generation() > Generation(0)).await;
    stop.cancel();
    tokio::time::timeout(PATIENCE, watching).await.expect("it stops").unwrap();
}

/// Counters by name, of the thread that holds them.
#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<String, u64>>>);

struct Count(String, Counts);

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        *self.1.0.lock().unwrap().entry(self.0.clone()).or_default() += value;
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::new(Count(key.name().to_owned(), self.clone())))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[tokio::test]
async fn disagreement_is_counted_once_a_height_and_the_leader_is_followed() {
    let counts = Counts::default();
    let guard = metrics::set_default_local_recorder(&counts);
    let counted = || counts.0.lock().unwrap().get("obsqra_source_disagreements_total").copied();
    let (first, second, pool) = two().await;
    pool.probe().await;
    pool.probe().await;
    assert_eq!(counted(), None);
    second.script().reorg(3);
    for _ in 0..3 {
        pool.probe().await;
    }
    assert_eq!(counted(), Some(1));
    // At another height, where the leader's head is above.
    second.script().blocks.pop();
    pool.probe().await;
    assert_eq!(counted(), Some(2));
    assert_eq!(pool.leader().await.unwrap().name(), source(&first.url).name());
    assert_eq!(pool.generation(), Generation(0));
    drop(guard);
}
