//! Many writers at once: no gap, no duplicate, nothing missed by a reader, no deadlock.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use obsqra_events::{AbsentInput, Causes};
use obsqra_events::{BlockFinalized, Draft, Entry, Fact, RiskAbsent, chain_hash};
use obsqra_store::log::{self, Verdict};
use obsqra_store::projection::state::{self, ProjectionState};
use obsqra_store::{Fence, Key, Keyed, Lease, Role, Store, StoreError, cursor, lease};
use obsqra_testkit::{ChainWriter, TestDatabase, felt};
use obsqra_types::{
    BlockHash, BlockNumber, BranchEpoch, ChainId, Hash32, Partition, ProtocolId, Seq,
};
use rand::Rng as _;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

const TTL: Duration = Duration::from_secs(600);
/// A test that is still not done by then hangs.
const DEADLINE: Duration = Duration::from_secs(240);

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

fn protocol(index: u64) -> ProtocolId {
    ProtocolId::new(format!("p{index}")).unwrap()
}

fn worker(index: u64) -> Partition {
    Partition::RiskWorker(chain(), protocol(index))
}

async fn hold(store: &Store, partition: Partition) -> Lease {
    Lease::acquire(store, partition, "test", TTL).await.unwrap().expect("the partition is free")
}

fn plain(number: u64) -> Keyed {
    let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(number)) });
    Keyed { key: Key::Plain, drafts: vec![Draft::new(&chain(), None, &fact)] }
}

fn number_of(entry: &Entry) -> u64 {
    let Fact::BlockFinalized(fact) = entry.draft.fact().unwrap() else {
        panic!("not an entry of this test")
    };
    u64::try_from(fact.hash.0.to_biguint()).unwrap()
}

const APPENDERS: u64 = 8;
const BATCHES: u64 = 60;

/// Appends batches of random sizes, a third of which it drops; returns the numbers that stayed.
async fn append_some(store: Store, index: u64) -> BTreeSet<u64> {
    let mut rng = ChaCha8Rng::seed_from_u64(index);
    let lease = hold(&store, worker(index)).await;
    let mut kept = BTreeSet::new();
    let mut next = index * 1_000_000;
    for _ in 0..BATCHES {
        let numbers: Vec<u64> = (next..next + rng.random_range(1..=40)).collect();
        next += numbers.len() as u64;
        let mut tx = store.begin().await.unwrap();
        let facts = numbers.iter().copied().map(plain).collect();
        log::append(&mut tx, lease.fence(), facts).await.unwrap();
        if rng.random_ratio(1, 3) {
            tx.rollback().await.unwrap();
        } else {
            tx.commit().await.unwrap();
            kept.extend(numbers);
        }
    }
    kept
}

/// Reads from its cursor on until all appenders are done and nothing is left.
async fn read_all(store: Store, running: Arc<AtomicUsize>) -> Vec<Entry> {
    let mut read: Vec<Entry> = Vec::new();
    loop {
        let done = running.load(Ordering::Acquire) == 0;
        let after = read.last().map_or(Seq::BEFORE_FIRST, |entry| entry.seq);
        let entries = log::read_after(&store, after, 64).await.unwrap();
        if entries.is_empty() {
            if done {
                return read;
            }
            tokio::task::yield_now().await;
        }
        read.extend(entries);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_misses_nothing_while_eight_writers_append_and_roll_back() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let running = Arc::new(AtomicUsize::new(usize::try_from(APPENDERS).unwrap()));
    let reader = database.store(Role::Reader).await;
    let reader = tokio::spawn(read_all(reader, Arc::clone(&running)));
    let appenders: Vec<_> = (1..=APPENDERS)
        .map(|index| {
            let (store, running) = (store.clone(), Arc::clone(&running));
            tokio::spawn(async move {
                let kept = append_some(store, index).await;
                running.fetch_sub(1, Ordering::AcqRel);
                kept
            })
        })
        .collect();
    let mut kept = BTreeSet::new();
    for appender in appenders {
        kept.append(&mut appender.await.unwrap());
    }
    let read = tokio::time::timeout(DEADLINE, reader).await.expect("the reader ends").unwrap();

    let mut previous = Hash32::ZERO;
    for (entry, seq) in read.iter().zip(1..) {
        assert_eq!(entry.seq, Seq(seq), "a gap or a duplicate");
        let hash = chain_hash(entry.seq, entry.recorded_at, &entry.draft.content_hash, &previous);
        assert_eq!(entry.hash, hash);
        previous = entry.hash;
    }
    let numbers: Vec<u64> = read.iter().map(number_of).collect();
    assert_eq!(numbers.len(), kept.len());
    assert_eq!(numbers.into_iter().collect::<BTreeSet<_>>(), kept);
    let report = log::verify(&store, Seq(1), |_, _| {}).await.unwrap();
    assert_eq!((report.verdict, report.entries), (Verdict::Intact, kept.len() as u64));
}

const BLOCKS: u64 = 400;
const EVENTS: u32 = 5;
const WORKERS: u64 = 4;

/// Applies blocks, with a replaced block now and then.
async fn follow(store: Store) -> Result<(), StoreError> {
    let writer = ChainWriter::new(&store, &chain()).await;
    let mut epoch = 0;
    for number in 1..=BLOCKS {
        let block = writer.block(number, epoch, number + 9_999, number + 10_000, EVENTS);
        writer.append(block, epoch).await?;
        if number % 16 == 0 {
            epoch += 1;
            let other = writer.block(number, epoch, number + 9_999, number + 10_000, EVENTS);
            writer.replace(1, other, epoch).await?;
        }
    }
    Ok(())
}

fn absent(index: u64, entry: &Entry) -> Option<Keyed> {
    let Ok(Fact::BlockApplied(applied)) = entry.draft.fact() else {
        return None;
    };
    let fact = Fact::RiskAbsent(RiskAbsent {
        protocol: protocol(index),
        block_hash: applied.hash,
        formula: "risk-v1.2".into(),
        absent: vec![AbsentInput { field: "f".into(), reason: "r".into(), detail: None }],
        causes: Causes::new(Vec::new()).unwrap(),
    });
    Some(Keyed {
        key: Key::Derived { subject: protocol(index).to_string() },
        drafts: vec![Draft::new(&chain(), entry.draft.block, &fact)],
    })
}

/// What a writer with a cursor does with a stretch, in the order that all of them keep: lease, own
/// rows, log.
async fn stretch(
    store: &Store,
    fence: &Fence,
    entries: &[Entry],
    facts: Vec<Keyed>,
) -> Result<(), StoreError> {
    let last = entries.last().expect("a stretch is not empty").seq;
    let mut tx = store.begin().await?;
    lease::check(&mut tx, fence).await?;
    cursor::advance(&mut tx, &fence.partition, last).await?;
    if matches!(fence.partition, Partition::Projector(_)) {
        state::save(&mut tx, &chain(), &ProjectionState { seq: last, ..ProjectionState::START })
            .await?;
    }
    if !facts.is_empty() {
        log::append(&mut tx, fence, facts).await?;
    }
    tx.commit().await.map_err(StoreError::from)
}

/// Works through the log until it has seen the last block of the chain.
async fn work_through(
    store: Store,
    partition: Partition,
    index: Option<u64>,
) -> Result<(), StoreError> {
    let lease = hold(&store, partition.clone()).await;
    let last = (BlockNumber(BLOCKS), BranchEpoch(u32::try_from(BLOCKS / 16).unwrap()));
    loop {
        let from = cursor::load(&store, &partition).await?;
        let entries = log::read_after(&store, from, 100).await?;
        if entries.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        let facts = entries.iter().filter_map(|entry| absent(index?, entry)).collect::<Vec<_>>();
        stretch(&store, lease.fence(), &entries, facts).await?;
        lease.renew().await?;
        let seen = |entry: &Entry| {
            entry.draft.block.is_some_and(|block| (block.number, block.epoch) == last)
        };
        if entries.iter().any(seen) {
            return Ok(());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn follower_projector_relay_and_workers_do_not_block_each_other() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let mut roles = tokio::task::JoinSet::new();
    roles.spawn(follow(store.clone()));
    roles.spawn(work_through(store.clone(), Partition::Projector(chain()), None));
    roles.spawn(work_through(store.clone(), Partition::Relay(chain()), None));
    for index in 1..=WORKERS {
        roles.spawn(work_through(store.clone(), worker(index), Some(index)));
    }
    let finished = tokio::time::timeout(DEADLINE, roles.join_all()).await;
    for result in finished.expect("every role ends") {
        result.expect("no role fails, by a deadlock or otherwise");
    }
    let report = log::verify(&store, Seq(1), |_, _| {}).await.unwrap();
    assert_eq!(report.verdict, Verdict::Intact);
    let blocks = BLOCKS * (1 + u64::from(EVENTS));
    let reorgs = BLOCKS / 16 * (2 + u64::from(EVENTS));
    let derived = database.number("SELECT count(*) FROM derived_key").await;
    assert_eq!(report.entries, blocks + reorgs + u64::try_from(derived).unwrap());
    // Each worker states a fact for each block that stood when it came to it.
    assert!(derived >= i64::try_from(WORKERS * (BLOCKS - BLOCKS / 16)).unwrap(), "{derived}");
}
