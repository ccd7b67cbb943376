//! Jobs against a real database: enqueued once, taken by one process at a time in order, ended once.
//!
//! Time passes by setting columns back, not by waiting.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use obsqra_store::job::{
    self, Backoff, Enqueued, JobFilter, JobRecord, JobState, Kinds, LeasedJob, NewJob, Renewal,
};
use obsqra_store::notify::{Listener, Signal};
use obsqra_store::{Role, Store, StoreError};
use obsqra_testkit::{Effects, TestDatabase};
use obsqra_types::{JobId, JobKind, JobToken, TraceParent};

const TTL: Duration = Duration::from_secs(600);
/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);
const MAX_OPEN: u32 = 1_000;
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

fn kind(name: &str) -> JobKind {
    JobKind::new(name).unwrap()
}

fn new(key: &str) -> NewJob {
    NewJob {
        key: key.to_owned(),
        payload_version: 1,
        payload: serde_json::json!({ "key": key }),
        priority: 0,
        max_attempts: 3,
        delay: Duration::ZERO,
        trace: None,
    }
}

struct World {
    database: TestDatabase,
    store: Store,
    kinds: Kinds,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        let backoff = Backoff { first: Duration::from_secs(60), cap: Duration::from_secs(3_600) };
        Self { database, store, kinds: Kinds::from([(kind("proof"), backoff)]) }
    }

    async fn enqueue(&self, jobs: &[NewJob]) -> Result<Vec<Enqueued>, StoreError> {
        let mut tx = self.store.begin().await?;
        let enqueued = job::enqueue(&mut tx, &kind("proof"), MAX_OPEN, jobs).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(enqueued)
    }

    async fn enqueue_new(&self, job: NewJob) -> JobId {
        match self.enqueue(&[job]).await.unwrap()[..] {
            [Enqueued::New(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    async fn lease(&self, holder: &str, limit: usize) -> Vec<LeasedJob> {
        job::lease(&self.store, &self.kinds, (holder, TTL), limit).await.unwrap()
    }

    async fn lease_one(&self, holder: &str) -> LeasedJob {
        self.lease(holder, 1).await.pop().expect("a job is due")
    }

    async fn run_out(&self) {
        let sql = "UPDATE job SET lease_until = clock_timestamp() - interval '1 s' WHERE state = 1";
        self.database.execute(sql).await;
    }

    async fn come_due(&self) {
        let sql = "UPDATE job SET not_before = clock_timestamp() - interval '1 s' WHERE state = 0";
        self.database.execute(sql).await;
    }

    async fn take_back(&self) -> Vec<JobState> {
        let lapses = job::take_back(&self.store, &self.kinds, || 7).await.unwrap();
        lapses.into_iter().map(|lapse| lapse.state).collect()
    }

    async fn get(&self, id: JobId) -> JobRecord {
        job::get(&self.store, id).await.unwrap().expect("the job is there")
    }

    async fn state(&self, id: JobId) -> &'static str {
        self.get(id).await.state.name()
    }

    /// Jobs are lost to their holder. What a refused write had locked is free a moment later.
    async fn check_not_renewed(&self, held: &BTreeMap<JobId, JobToken>) {
        let began = std::time::Instant::now();
        loop {
            let renewed = job::renew(&self.store, held, ("one", TTL)).await.unwrap();
            assert!(renewed.values().all(|renewal| *renewal == Renewal::Lost), "{renewed:?}");
            if renewed.len() == held.len() {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "a row stays locked");
            tokio::task::yield_now().await;
        }
    }

    /// Ends a job with its effect, as a holder does.
    async fn complete(&self, effects: &Effects, held: &LeasedJob) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        job::complete(&mut tx, ended(held)).await?;
        effects.record(&mut tx, held.id, held.token, "test").await;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }
}

fn ended(held: &LeasedJob) -> job::Ended {
    (held.id, held.token)
}

fn check_lost<T: std::fmt::Debug>(result: Result<T, StoreError>, id: JobId) {
    match result {
        Err(StoreError::JobLost(lost)) => assert_eq!(lost, id),
        other => panic!("a stale holder is told so, not {other:?}"),
    }
}

#[tokio::test]
async fn enqueueing_twice_changes_nothing_whatever_became_of_the_job() {
    let world = World::new().await;
    let id = world.enqueue_new(NewJob { trace: TraceParent::parse(TRACE), ..new("a") }).await;
    let other = NewJob { payload: serde_json::json!("other"), ..new("a") };
    assert_eq!(world.enqueue(&[other]).await.unwrap(), [Enqueued::Known(id)]);
    let twice = world.enqueue(&[new("b"), new("b"), new("a")]).await.unwrap();
    let [Enqueued::New(b), Enqueued::Known(again), Enqueued::Known(a)] = twice[..] else {
        panic!("{twice:?}")
    };
    assert_eq!((again, a), (b, id));
    let held = world.lease_one("one").await;
    assert_eq!(
        (held.id, held.attempt, held.payload.clone()),
        (id, 1, serde_json::json!({"key": "a"}))
    );
    assert_eq!(held.trace.as_ref().map(TraceParent::as_str), Some(TRACE));
    assert_eq!(world.enqueue(&[new("a")]).await.unwrap(), [Enqueued::Known(id)]);
    world.complete(&Effects::create(&world.database).await, &held).await.unwrap();
    assert_eq!(world.enqueue(&[new("a")]).await.unwrap(), [Enqueued::Known(id)]);
    assert_eq!(world.state(id).await, "done");
    // The same key of another kind is another job.
    let mut tx = world.store.begin().await.unwrap();
    let other = job::enqueue(&mut tx, &kind("report"), MAX_OPEN, &[new("a")]).await.unwrap();
    assert!(matches!(other[..], [Enqueued::New(_)]), "{other:?}");
}

#[tokio::test]
async fn a_job_is_there_when_its_producer_commits_and_wakes_who_waits() {
    let world = World::new().await;
    let mut listener = Listener::new(&world.store, Signal::Job).await.unwrap();
    let mut tx = world.store.begin().await.unwrap();
    job::enqueue(&mut tx, &kind("proof"), MAX_OPEN, &[new("a")]).await.unwrap();
    assert!(world.lease("one", 9).await.is_empty(), "it is not committed");
    tx.rollback().await.unwrap();
    assert!(world.lease("one", 9).await.is_empty(), "it never was");
    let began = std::time::Instant::now();
    world.enqueue_new(new("a")).await;
    listener.wait(PATIENCE).await.unwrap();
    assert!(began.elapsed() < PATIENCE, "the hint came");
    assert_eq!(world.lease("one", 9).await.len(), 1);
}

#[tokio::test]
async fn what_is_outside_its_bounds_is_not_enqueued() {
    let world = World::new().await;
    let large = serde_json::json!("x".repeat(job::MAX_PAYLOAD_BYTES));
    let bad = [
        NewJob { key: String::new(), ..new("a") },
        NewJob { key: "k".repeat(job::MAX_KEY_BYTES + 1), ..new("a") },
        NewJob { key: "a\0b".into(), ..new("a") },
        NewJob { payload: large, ..new("a") },
        NewJob { max_attempts: 0, ..new("a") },
    ];
    for job in bad {
        let refused = world.enqueue(&[job]).await;
        assert!(matches!(refused, Err(StoreError::Range(_))), "{refused:?}");
    }
    world.enqueue_new(NewJob { key: "k".repeat(job::MAX_KEY_BYTES), ..new("a") }).await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_leaves_the_transaction_usable() {
    let world = World::new().await;
    let three: Vec<NewJob> = ["a", "b", "c"].map(new).into();
    let mut tx = world.store.begin().await.unwrap();
    job::enqueue(&mut tx, &kind("proof"), 2, &three[..2]).await.unwrap();
    let full = job::enqueue(&mut tx, &kind("proof"), 2, &three).await.unwrap_err();
    assert!(matches!(&full, StoreError::JobsFull { max_open: 2, .. }) && full.is_transient());
    assert!(full.to_string().contains("2 jobs of kind proof"), "{full}");
    // What is known needs no room, and another kind has its own.
    job::enqueue(&mut tx, &kind("proof"), 2, &three[..2]).await.unwrap();
    job::enqueue(&mut tx, &kind("report"), 2, &three[..2]).await.unwrap();
    tx.commit().await.unwrap();
    // A leased job still takes room; one that ended does not.
    let held = world.lease_one("one").await;
    let mut tx = world.store.begin().await.unwrap();
    assert!(job::enqueue(&mut tx, &kind("proof"), 2, &three[2..]).await.is_err());
    drop(tx);
    job::reject(&world.store, ended(&held), "made up").await.unwrap();
    let mut tx = world.store.begin().await.unwrap();
    job::enqueue(&mut tx, &kind("proof"), 2, &three[2..]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn producers_at_once_do_not_exceed_the_bound() {
    let world = World::new().await;
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..8 {
        let store = world.store.clone();
        producers.spawn(async move {
            let mut enqueued = 0;
            for number in 0..10 {
                let mut tx = store.begin().await.unwrap();
                let job = new(&format!("{producer}/{number}"));
                match job::enqueue(&mut tx, &kind("proof"), 25, &[job]).await {
                    Ok(_) => enqueued += 1,
                    Err(StoreError::JobsFull { .. }) => continue,
                    Err(other) => panic!("{other}"),
                }
                tx.commit().await.unwrap();
            }
            enqueued
        });
    }
    let enqueued: u64 = producers.join_all().await.into_iter().sum();
    assert_eq!(enqueued, 25);
    assert_eq!(job::counts(&world.store).await.unwrap()[&kind("proof")].queued, 25);
}

#[tokio::test]
async fn jobs_are_taken_by_priority_then_time_then_id() {
    let world = World::new().await;
    let later = |key, seconds| NewJob { delay: Duration::from_secs(seconds), ..new(key) };
    let jobs = [
        new("second"),
        NewJob { priority: 5, ..new("last") },
        NewJob { priority: -5, ..new("first") },
        later("not due", 3_600),
        new("third"),
    ];
    world.enqueue(&jobs).await.unwrap();
    // A job that was due earlier is older than its id.
    let earlier = "UPDATE job SET not_before = not_before - interval '1 h' WHERE key = 'third'";
    world.database.execute(earlier).await;
    let first = world.lease("one", 3).await;
    let keys: Vec<&str> = first.iter().map(|held| held.key.as_str()).collect();
    assert_eq!(keys, ["first", "third", "second"]);
    let rest = world.lease("one", 9).await;
    assert_eq!(rest.len(), 1, "one is not due: {rest:?}");
    let due = job::next_due(&world.store, &world.kinds).await.unwrap().expect("one is to come");
    assert!(due <= Duration::from_secs(3_600) && due > Duration::ZERO, "{due:?}");
}

#[tokio::test]
async fn kinds_that_a_process_does_not_know_are_left_alone() {
    let world = World::new().await;
    let mut tx = world.store.begin().await.unwrap();
    job::enqueue(&mut tx, &kind("report"), MAX_OPEN, &[new("a")]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(world.lease("one", 9).await.is_empty());
    assert_eq!(job::next_due(&world.store, &world.kinds).await.unwrap(), None);
    let knows = Kinds::from([(kind("report"), world.kinds[&kind("proof")])]);
    let held = job::lease(&world.store, &knows, ("two", TTL), 9).await.unwrap();
    assert_eq!(held.len(), 1);
    world.run_out().await;
    assert!(world.take_back().await.is_empty(), "who does not know it does not take it back");
    assert_eq!(job::take_back(&world.store, &knows, || 7).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn processes_that_take_at_once_never_take_the_same() {
    let world = World::new().await;
    let jobs: Vec<NewJob> = (0..200).map(|number| new(&number.to_string())).collect();
    world.enqueue(&jobs).await.unwrap();
    let mut takers = tokio::task::JoinSet::new();
    for taker in 0..8 {
        let (store, kinds) = (world.store.clone(), world.kinds.clone());
        takers.spawn(async move {
            let mut taken = Vec::new();
            loop {
                let holder = format!("taker {taker}");
                let held = job::lease(&store, &kinds, (&holder, TTL), 3).await.unwrap();
                if held.is_empty() {
                    return taken;
                }
                taken.extend(held.into_iter().map(|held| held.id));
            }
        });
    }
    let taken: Vec<JobId> = takers.join_all().await.into_iter().flatten().collect();
    // Rows that another has locked are skipped, so a taker may leave before the last is taken.
    let rest = world.lease("last", 256).await;
    let all: BTreeSet<JobId> =
        taken.iter().copied().chain(rest.iter().map(|held| held.id)).collect();
    assert_eq!((all.len(), taken.len() + rest.len()), (200, 200));
}

#[tokio::test]
async fn attempts_are_counted_when_leased_so_a_job_that_kills_its_process_runs_out() {
    let world = World::new().await;
    let id = world.enqueue_new(new("a")).await;
    for attempt in 1..=3 {
        assert!(world.take_back().await.is_empty());
        let held = world.lease_one("one").await;
        assert_eq!((held.attempt, held.token), (attempt, JobToken(attempt.into())));
        assert!(world.take_back().await.is_empty(), "its lease runs");
        world.run_out().await;
        let states = world.take_back().await;
        let expected = if attempt < 3 { "queued" } else { "dead" };
        assert_eq!(states.iter().map(|state| state.name()).collect::<Vec<_>>(), [expected]);
        assert!(world.lease("one", 9).await.is_empty(), "it rests, or is dead");
        world.come_due().await;
    }
    let dead = world.get(id).await;
    assert!(dead.last_error.as_deref().unwrap().contains("the lease ran out"), "{dead:?}");
    assert_eq!((dead.state, dead.attempts, dead.holder), (JobState::Dead, 3, None));
    assert_eq!(dead.payload, serde_json::json!({ "key": "a" }));
}

#[tokio::test]
async fn a_holder_that_was_replaced_writes_nothing() {
    let world = World::new().await;
    let effects = Effects::create(&world.database).await;
    let id = world.enqueue_new(new("a")).await;
    let stale = world.lease_one("one").await;
    world.run_out().await;
    // Late, but nobody took it back: renewing it is fine.
    let held = BTreeMap::from([(id, stale.token)]);
    let renewed = job::renew(&world.store, &held, ("one", TTL)).await.unwrap();
    assert_eq!(renewed, BTreeMap::from([(id, Renewal::Renewed)]));
    world.run_out().await;
    world.take_back().await;
    for replaced in [false, true] {
        check_lost(world.complete(&effects, &stale).await, id);
        check_lost(job::fail(&world.store, ended(&stale), TTL, "late").await, id);
        check_lost(job::reject(&world.store, ended(&stale), "late").await, id);
        check_lost(job::release(&world.store, ended(&stale)).await, id);
        world.check_not_renewed(&held).await;
        if !replaced {
            world.come_due().await;
            let next = world.lease_one("two").await;
            assert!(next.token > stale.token);
        }
    }
    assert_eq!(world.get(id).await.holder.as_deref(), Some("two"), "nothing of it changed");
    assert!(effects.all().await.is_empty());
    let current = LeasedJob { token: JobToken(2), ..stale };
    world.complete(&effects, &current).await.unwrap();
    check_lost(world.complete(&effects, &current).await, id);
    assert_eq!(effects.all().await.len(), 1, "once, however often it is tried");
}

#[tokio::test]
async fn an_effect_that_fails_leaves_the_job_with_its_holder() {
    let world = World::new().await;
    let id = world.enqueue_new(new("a")).await;
    let held = world.lease_one("one").await;
    let mut tx = world.store.begin().await.unwrap();
    job::complete(&mut tx, ended(&held)).await.unwrap();
    // Its row is locked until then: a renewal passes it by, and nobody takes it back.
    let tokens = BTreeMap::from([(id, held.token)]);
    assert!(job::renew(&world.store, &tokens, ("one", TTL)).await.unwrap().is_empty());
    tx.rollback().await.unwrap();
    assert_eq!(world.state(id).await, "leased");
    let state = job::fail(&world.store, ended(&held), TTL, "made up").await.unwrap();
    assert_eq!(state.name(), "queued");
    assert_eq!(world.get(id).await.last_error.as_deref(), Some("made up"));
}

#[tokio::test]
async fn a_failure_rests_and_the_last_one_is_set_aside_with_its_reason() {
    let world = World::new().await;
    let id = world.enqueue_new(new("a")).await;
    for (attempt, expected) in [(1, "queued"), (2, "queued"), (3, "dead")] {
        let held = world.lease_one("one").await;
        let reason = format!("attempt {attempt}");
        let state = job::fail(&world.store, ended(&held), TTL, &reason).await.unwrap();
        assert_eq!(state.name(), expected);
        assert!(world.lease("one", 9).await.is_empty());
        world.come_due().await;
    }
    assert_eq!(world.get(id).await.last_error.as_deref(), Some("attempt 3"));
    job::retry_dead(&world.store, id).await.unwrap();
    let held = world.lease_one("one").await;
    assert_eq!((held.attempt, held.token), (1, JobToken(4)), "tokens go on rising");
    job::reject(&world.store, ended(&held), "never").await.unwrap();
    assert_eq!(world.get(id).await.last_error.as_deref(), Some("never"));
    job::drop_dead(&world.store, id).await.unwrap();
    assert_eq!(world.state(id).await, "cancelled");
    assert_eq!(world.enqueue(&[new("a")]).await.unwrap(), [Enqueued::Known(id)]);
    for refused in [
        job::retry_dead(&world.store, id).await.unwrap_err(),
        job::drop_dead(&world.store, id).await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains("is cancelled"), "{refused}");
    }
    let unknown = job::retry_dead(&world.store, JobId(999)).await.unwrap_err();
    assert!(matches!(unknown, StoreError::NoSuchJob(JobId(999))));
}

#[tokio::test]
async fn a_job_that_is_given_back_may_be_taken_at_once_with_its_attempts_counted() {
    let world = World::new().await;
    let id = world.enqueue_new(NewJob { max_attempts: 1, ..new("a") }).await;
    for attempt in 1..=3 {
        let held = world.lease_one("one").await;
        assert_eq!(held.attempt, attempt, "giving back is never the end of a job");
        assert_eq!(job::release(&world.store, ended(&held)).await.unwrap().name(), "queued");
    }
    let held = world.lease_one("one").await;
    job::fail(&world.store, ended(&held), TTL, "made up").await.unwrap();
    assert_eq!(world.state(id).await, "dead");
}

#[tokio::test]
async fn a_cancelled_job_ends_at_once_or_when_its_holder_hears_of_it() {
    let world = World::new().await;
    let effects = Effects::create(&world.database).await;
    let queued = world.enqueue_new(new("queued")).await;
    assert_eq!(job::ask_cancel(&world.store, queued).await.unwrap(), JobState::Cancelled);
    assert!(world.lease("one", 9).await.is_empty());

    let ids = [world.enqueue_new(new("a")).await, world.enqueue_new(new("b")).await];
    let held = world.lease("one", 2).await;
    for (id, held) in ids.into_iter().zip(&held) {
        assert_eq!(job::ask_cancel(&world.store, id).await.unwrap().name(), "leased");
        let tokens = BTreeMap::from([(id, held.token)]);
        let heard = job::renew(&world.store, &tokens, ("one", TTL)).await.unwrap();
        assert_eq!(heard, BTreeMap::from([(id, Renewal::CancelAsked)]));
    }
    // One gives it up; the other was done before it heard of it.
    job::release(&world.store, ended(&held[0])).await.unwrap();
    world.complete(&effects, &held[1]).await.unwrap();
    assert_eq!((world.state(ids[0]).await, world.state(ids[1]).await), ("cancelled", "done"));
    let refused = job::ask_cancel(&world.store, ids[1]).await.unwrap_err();
    assert!(refused.to_string().contains("is done"), "{refused}");

    let lapsing = world.enqueue_new(new("c")).await;
    world.lease_one("one").await;
    job::ask_cancel(&world.store, lapsing).await.unwrap();
    world.run_out().await;
    world.take_back().await;
    assert_eq!(world.state(lapsing).await, "cancelled");
}

#[tokio::test]
async fn lists_counts_and_pruning_tell_states_apart() {
    let world = World::new().await;
    let effects = Effects::create(&world.database).await;
    let jobs: Vec<NewJob> = (0..6).map(|number| new(&number.to_string())).collect();
    world.enqueue(&jobs).await.unwrap();
    let held = world.lease("one", 4).await;
    world.complete(&effects, &held[0]).await.unwrap();
    job::reject(&world.store, ended(&held[1]), "never").await.unwrap();
    job::ask_cancel(&world.store, held[2].id).await.unwrap();
    job::release(&world.store, ended(&held[2])).await.unwrap();
    let counts = job::counts(&world.store).await.unwrap()[&kind("proof")];
    assert_eq!((counts.queued, counts.leased, counts.dead), (2, 1, 1));
    assert!(counts.longest_due.is_some());
    for (state, expected) in JobState::NAMES.into_iter().zip([2, 1, 1, 1, 1]) {
        let filter = JobFilter { state: Some(state), ..JobFilter::default() };
        let listed = job::list(&world.store, &filter, 9).await.unwrap();
        assert!(listed.len() == expected && listed.iter().all(|job| job.state.name() == state));
    }
    let page = job::list(&world.store, &JobFilter::default(), 4).await.unwrap();
    let filter = JobFilter { before: page.last().map(|job| job.id), ..JobFilter::default() };
    assert_eq!(job::list(&world.store, &filter, 9).await.unwrap().len(), 2);
    let other = JobFilter { kind: Some(kind("report")), ..JobFilter::default() };
    assert!(job::list(&world.store, &other, 9).await.unwrap().is_empty());
    assert_eq!(job::prune(&world.store, TTL).await.unwrap(), 0, "they ended just now");
    world.database.execute("UPDATE job SET updated_at = updated_at - interval '1 h'").await;
    assert_eq!(job::prune(&world.store, TTL).await.unwrap(), 2, "what is done and cancelled");
    assert_eq!(job::list(&world.store, &JobFilter::default(), 9).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_reader_looks_and_changes_nothing() {
    let world = World::new().await;
    let id = world.enqueue_new(new("a")).await;
    let reader = world.database.store(Role::Reader).await;
    assert_eq!(job::counts(&reader).await.unwrap()[&kind("proof")].queued, 1);
    assert!(job::lease(&reader, &world.kinds, ("reader", TTL), 1).await.is_err());
    assert!(job::ask_cancel(&reader, id).await.is_err());
    let mut tx = reader.begin().await.unwrap();
    assert!(job::enqueue(&mut tx, &kind("proof"), MAX_OPEN, &[new("b")]).await.is_err());
    assert_eq!(world.state(id).await, "queued");
}
