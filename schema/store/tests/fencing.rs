//! Two holders of one partition: whatever the moment at which one is held up and the other takes over,
//! what they append never interleaves.
//!
//! Time passes by setting `expires_at` back, not by waiting.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::{Duration, Instant};

use obsqra_events::{BlockFinalized, Draft, Fact};
use obsqra_store::log::{self, Verdict};
use obsqra_store::{Fence, Key, Keyed, Lease, Role, Store, StoreError, StoreOptions, lease};
use obsqra_testkit::{TestDatabase, felt, read_log};
use obsqra_types::{BlockHash, ChainId, Partition, Seq};
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

const TTL: Duration = Duration::from_secs(600);
/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);
/// Names a seed, to repeat a run that failed.
const SEED: &str = "OBSQRA_TEST_FENCING_SEED";

fn partition() -> Partition {
    Partition::Follower(ChainId::new("OBSQRA_TEST").unwrap())
}

/// An entry that tells the epoch it was appended under.
fn mark(fence: &Fence) -> Keyed {
    let epoch = u64::try_from(fence.epoch.0).unwrap();
    let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(epoch)) });
    Keyed {
        key: Key::Plain,
        drafts: vec![Draft::new(&ChainId::new("OBSQRA_TEST").unwrap(), None, &fact)],
    }
}

async fn append(store: &Store, fence: &Fence, entries: usize) -> Result<Seq, StoreError> {
    let mut tx = store.begin().await?;
    let facts = (0..entries).map(|_| mark(fence)).collect();
    let outcome = log::append(&mut tx, fence, facts).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(outcome.after.seq)
}

struct World {
    database: TestDatabase,
    store: Store,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        Self { database, store }
    }

    async fn take(&self, holder: &str) -> Option<Lease> {
        Lease::acquire(&self.store, partition(), holder, TTL).await.unwrap()
    }

    async fn take_over(&self, holder: &str) -> Lease {
        self.run_out().await;
        self.take(holder).await.expect("it ran out")
    }

    async fn run_out(&self) {
        let sql = "UPDATE lease SET expires_at = clock_timestamp() - interval '1 s'";
        self.database.execute(sql).await;
    }

    /// Waits until so many sessions wait for a lock.
    async fn until_waiting(&self, sessions: i64) {
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        let deadline = Instant::now() + PATIENCE;
        while self.database.number(sql).await < sessions {
            assert!(Instant::now() < deadline, "nobody waits for a lock");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// The epochs that the entries were appended under; they must never fall, and the log must verify.
    async fn epochs(&self) -> Vec<u64> {
        let entries = read_log(&self.store).await;
        let epochs: Vec<u64> = entries
            .iter()
            .map(|entry| match entry.draft.fact().unwrap() {
                Fact::BlockFinalized(fact) => u64::try_from(fact.hash.0.to_biguint()).unwrap(),
                other => panic!("not an entry of this test: {other:?}"),
            })
            .collect();
        assert!(epochs.is_sorted(), "two holders interleave: {epochs:?}");
        let report = log::verify(&self.store, Seq(1), |_, _| {}).await.unwrap();
        assert_eq!(report.verdict, Verdict::Intact);
        epochs
    }
}

fn check_lost(result: Result<Seq, StoreError>) {
    match result {
        Err(error @ StoreError::LeaseLost(_)) => {
            let said = error.to_string();
            assert!(said.starts_with("follower/OBSQRA_TEST is held by another process"), "{said}");
        }
        other => panic!("a stale holder is told so, not {other:?}"),
    }
}

#[tokio::test]
async fn who_was_taken_over_stays_out_however_often_it_tries() {
    let world = World::new().await;
    let mut holder = world.take("a").await.unwrap();
    let mut stale: Vec<Lease> = Vec::new();
    for round in 0..6 {
        append(&world.store, holder.fence(), 2).await.unwrap();
        let next = world.take_over(if round % 2 == 0 { "b" } else { "a" }).await;
        stale.push(std::mem::replace(&mut holder, next));
        for lease in &stale {
            check_lost(append(&world.store, lease.fence(), 1).await);
            assert!(matches!(lease.renew().await, Err(StoreError::LeaseLost(_))));
        }
    }
    append(&world.store, holder.fence(), 1).await.unwrap();
    assert_eq!(world.epochs().await, [1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7]);
}

#[tokio::test]
async fn a_transaction_that_began_before_the_takeover_appends_nothing() {
    let world = World::new().await;
    let first = world.take("first").await.unwrap();
    append(&world.store, first.fence(), 1).await.unwrap();
    // Held up after BEGIN, before its first statement; and after its own first reading.
    let mut begun = world.store.begin().await.unwrap();
    let second = world.take_over("second").await;
    append(&world.store, second.fence(), 1).await.unwrap();
    let late = log::append(&mut begun, first.fence(), vec![mark(first.fence())]).await;
    check_lost(late.map(|outcome| outcome.after.seq));
    drop(begun);
    let mut begun = world.store.begin().await.unwrap();
    let late = lease::check(&mut begun, first.fence()).await;
    assert!(matches!(late, Err(StoreError::LeaseLost(_))));
    drop(begun);
    assert_eq!(world.epochs().await, [1, 2]);
}

#[tokio::test]
async fn a_takeover_waits_for_the_transaction_that_is_under_way() {
    let world = World::new().await;
    let first = world.take("first").await.unwrap();
    world.run_out().await;
    // Late, but nobody took it: it may still append.
    let mut tx = world.store.begin().await.unwrap();
    log::append(&mut tx, first.fence(), vec![mark(first.fence())]).await.unwrap();
    let store = world.store.clone();
    let taking = tokio::spawn(async move {
        let second = Lease::acquire(&store, partition(), "second", TTL).await.unwrap().unwrap();
        append(&store, second.fence(), 1).await.unwrap();
    });
    world.until_waiting(1).await;
    tx.commit().await.unwrap();
    taking.await.unwrap();
    check_lost(append(&world.store, first.fence(), 1).await);
    assert_eq!(world.epochs().await, [1, 2]);
}

/// Connections whose transactions the server ends soon. Not so soon that a busy machine loses one between
/// two statements.
async fn impatient(url: &str) -> Store {
    let mut options = StoreOptions::new(Role::Writer);
    options.idle_in_transaction_timeout = Some(Duration::from_secs(2));
    Store::connect(url, options).await.unwrap()
}

/// As a process that is stopped inside a transaction leaves it: locks held, nothing said.
async fn held_up_inside(url: &str, with_entries: bool) {
    let stopped = impatient(url).await;
    let store = Store::connect(url, StoreOptions::new(Role::Writer)).await.unwrap();
    let first = Lease::acquire(&stopped, partition(), "first", TTL).await.unwrap().unwrap();
    let mut tx = stopped.begin().await.unwrap();
    let facts = if with_entries { vec![mark(first.fence())] } else { Vec::new() };
    log::append(&mut tx, first.fence(), facts).await.unwrap();
    // Both are behind it: who wants the head, and who wants the lease.
    let other = Partition::Checkpointer;
    let other = Lease::acquire(&store, other, "other", TTL).await.unwrap().unwrap();
    append(&store, other.fence(), 1).await.expect("the server ends the session that stands idle");
    let renewed = first.renew().await;
    assert!(renewed.is_ok(), "nobody took the lease: {renewed:?}");

    let ended = match log::append(&mut tx, first.fence(), vec![mark(first.fence())]).await {
        Ok(_) => tx.commit().await.map_err(StoreError::from).expect_err("the session was ended"),
        Err(error) => error,
    };
    assert!(ended.is_transient(), "it may begin again: {ended}");
}

#[tokio::test]
async fn a_transaction_that_stands_open_is_ended_and_the_others_go_on() {
    for with_entries in [false, true] {
        let world = World::new().await;
        held_up_inside(world.database.url(), with_entries).await;
        assert_eq!(world.epochs().await, [1], "only what was committed");
    }
}

#[tokio::test]
async fn a_takeover_needs_no_more_than_the_end_of_the_open_transaction() {
    let world = World::new().await;
    let stopped = impatient(world.database.url()).await;
    let first = Lease::acquire(&stopped, partition(), "first", TTL).await.unwrap().unwrap();
    append(&stopped, first.fence(), 1).await.unwrap();
    world.run_out().await;
    let mut tx = stopped.begin().await.unwrap();
    log::append(&mut tx, first.fence(), vec![mark(first.fence())]).await.unwrap();
    // The lease row is locked by the open transaction: this waits for the server to end it.
    let second = world.take("second").await.expect("it ran out");
    append(&world.store, second.fence(), 1).await.unwrap();
    let ended = tx.commit().await.map_err(StoreError::from).expect_err("the session was ended");
    assert!(ended.is_transient(), "{ended}");
    check_lost(append(&stopped, first.fence(), 1).await);
    assert_eq!(world.epochs().await, [1, 2]);
}

/// Takes the partition again and again, appends a few entries each time in transactions that are dropped
/// now and then, and stops at a loss.
async fn contend(store: Store, name: String, seed: u64, rounds: usize) -> usize {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let mut lost = 0;
    for _ in 0..rounds {
        let lease = loop {
            match Lease::acquire(&store, partition(), &name, TTL).await.unwrap() {
                Some(lease) => break lease,
                None => tokio::task::yield_now().await,
            }
        };
        for _ in 0..dice.random_range(1..=8) {
            let mut tx = store.begin().await.unwrap();
            let facts = (0..dice.random_range(1..=5)).map(|_| mark(lease.fence())).collect();
            match log::append(&mut tx, lease.fence(), facts).await {
                Ok(_) if dice.random_ratio(1, 4) => tx.rollback().await.unwrap(),
                Ok(_) => tx.commit().await.unwrap(),
                Err(StoreError::LeaseLost(_)) => {
                    lost += 1;
                    break;
                }
                Err(other) => panic!("{other}"),
            }
        }
        if dice.random_bool(0.5) {
            lease.release().await.ok();
        }
    }
    lost
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holders_that_take_over_from_each_other_at_any_moment_do_not_interleave() {
    let seed = std::env::var(SEED).ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("{SEED}={seed}");
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let world = World::new().await;
    let mut holders = tokio::task::JoinSet::new();
    for name in ["a", "b", "c"] {
        let (store, seed) = (world.store.clone(), dice.random());
        holders.spawn(contend(store, name.to_owned(), seed, 25));
    }
    let deadline = Instant::now() + PATIENCE;
    let mut lost = 0;
    while !holders.is_empty() {
        assert!(Instant::now() < deadline, "somebody never gets the lease");
        world.run_out().await;
        let pause = [0, 1, 3].choose(&mut dice).copied().unwrap();
        tokio::time::sleep(Duration::from_millis(pause)).await;
        while let Some(ended) = holders.try_join_next() {
            lost += ended.unwrap();
        }
    }
    let epochs = world.epochs().await;
    println!("{} entries, {lost} takeovers noticed", epochs.len());
    assert!(!epochs.is_empty());
}
