//! The runner of shared jobs in one process: what a handler says is what becomes of its job, and stopping loses
//! nothing. Several processes are in `job_processes.rs`.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use obsqra_store::job::{self, Backoff, Enqueued, JobRecord, LeasedJob, NewJob};
use obsqra_store::{Role, Store, StoreError};
use obsqra_testkit::{Effects, TestDatabase};
use obsqra_types::{JobId, JobKind};
use obsqra_workers::WorkError;
use obsqra_workers::runtime::jobs::{Handler, JobRunner, Outcome, Rules, RunnerOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);
const NEVER: Duration = Duration::from_secs(3_600);

fn kind(name: &str) -> JobKind {
    JobKind::new(name).unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Does what the job's key says.
#[derive(Clone)]
struct Obedient {
    effects: Effects,
    begun: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
    /// Jobs that wait take a permit each.
    gate: Arc<Semaphore>,
    time_limit: Duration,
}

impl Obedient {
    fn effect(&self, job: &LeasedJob) -> Outcome {
        let (effects, id, token) = (self.effects.clone(), job.id, job.token);
        Outcome::Done(Box::new(move |tx| {
            Box::pin(async move {
                effects.record(tx, id, token, "runner").await;
                Ok(())
            })
        }))
    }

    async fn wait(&self, job: &LeasedJob) -> Outcome {
        self.gate.acquire().await.unwrap().forget();
        self.effect(job)
    }
}

impl Handler for Obedient {
    fn kind(&self) -> JobKind {
        kind("obey")
    }

    fn rules(&self) -> Rules {
        let backoff = Backoff { first: Duration::from_millis(1), cap: Duration::from_millis(4) };
        Rules { backoff, time_limit: self.time_limit }
    }

    async fn run(&self, job: &LeasedJob, cancel: &CancellationToken) -> Outcome {
        let at_once = self.begun.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(at_once, Ordering::SeqCst);
        let what = job.key.split('/').next().unwrap();
        let outcome = match what {
            "done" => self.effect(job),
            "retry" => Outcome::retry(format!("attempt {}", job.attempt)),
            "second" if job.attempt == 1 => Outcome::retry("the first"),
            "second" => self.effect(job),
            "dead" => Outcome::dead("never"),
            "panic" => panic!("made up"),
            "bad effect" => {
                Outcome::Done(Box::new(|_| Box::pin(async { Err(StoreError::Range("made up")) })))
            }
            "listen" => {
                cancel.cancelled().await;
                Outcome::retry("cancelled")
            }
            "deaf" => std::future::pending().await,
            "wait" => self.wait(job).await,
            other => panic!("{other}"),
        };
        self.begun.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}

struct World {
    store: Store,
    effects: Effects,
    handler: Obedient,
    options: RunnerOptions,
    shutdown: CancellationToken,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let effects = Effects::create(&database).await;
        let handler = Obedient {
            effects: effects.clone(),
            begun: Arc::default(),
            most_at_once: Arc::default(),
            gate: Arc::new(Semaphore::new(0)),
            time_limit: NEVER,
        };
        let options = RunnerOptions {
            slots: 3,
            lease_ttl: Duration::from_secs(6),
            longest_rest: Duration::from_millis(100),
            stop_within: NEVER,
        };
        let store = database.store(Role::Writer).await;
        Self { store, effects, handler, options, shutdown: CancellationToken::new() }
    }

    fn start(&self) -> JoinHandle<Result<(), WorkError>> {
        let runner = JobRunner::new(&self.store, "test", self.options).with(self.handler.clone());
        let shutdown = self.shutdown.clone();
        tokio::spawn(async move { runner.run(&shutdown).await })
    }

    async fn enqueue(&self, key: &str) -> JobId {
        self.enqueue_as("obey", key).await
    }

    async fn enqueue_as(&self, of: &str, key: &str) -> JobId {
        let new = NewJob {
            key: key.to_owned(),
            payload_version: 1,
            payload: serde_json::Value::Null,
            priority: 0,
            max_attempts: 3,
            delay: Duration::ZERO,
            trace: None,
        };
        let mut tx = self.store.begin().await.unwrap();
        let enqueued = job::enqueue(&mut tx, &kind(of), 1_000, &[new]).await.unwrap();
        tx.commit().await.unwrap();
        match enqueued[..] {
            [Enqueued::New(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    async fn get(&self, id: JobId) -> JobRecord {
        job::get(&self.store, id).await.unwrap().expect("the job is there")
    }

    async fn until_state(&self, id: JobId, state: &str) -> JobRecord {
        until(&format!("job {id} is {state}"), async || self.get(id).await.state.name() == state)
            .await;
        self.get(id).await
    }

    async fn until_running(&self, jobs: usize) {
        let begun = &self.handler.begun;
        until("handlers run", async || begun.load(Ordering::SeqCst) == jobs).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_handler_says_becomes_of_its_job() {
    let world = World::new().await;
    let running = world.start();
    for (key, state, attempts, reason) in [
        ("done", "done", 1, None),
        ("second", "done", 2, None),
        ("retry", "dead", 3, Some("attempt 3")),
        ("dead", "dead", 1, Some("never")),
        ("panic", "dead", 3, Some("its handler panicked")),
        ("bad effect", "dead", 1, Some("made up is out of range")),
    ] {
        let id = world.enqueue(key).await;
        let job = world.until_state(id, state).await;
        assert_eq!((job.attempts, job.last_error.as_deref()), (attempts, reason), "{key}");
        let effects = world.effects.all().await.into_iter().filter(|effect| effect.job == id);
        assert_eq!(effects.count(), usize::from(state == "done"), "{key}");
    }
    let unknown = world.enqueue_as("unknown", "done").await;
    world.until_state(world.enqueue("done/again").await, "done").await;
    assert_eq!(world.get(unknown).await.state.name(), "queued", "it is left to who knows it");
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_takes_too_long_is_cut_off() {
    let mut world = World::new().await;
    world.handler.time_limit = Duration::from_millis(30);
    let running = world.start();
    let id = world.enqueue("deaf").await;
    let job = world.until_state(id, "dead").await;
    assert_eq!((job.attempts, job.last_error.as_deref()), (3, Some("it took longer than 0.03 s")));
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_hears_that_its_job_is_cancelled() {
    let mut world = World::new().await;
    world.options.stop_within = Duration::from_millis(30);
    let running = world.start();
    for key in ["listen", "deaf"] {
        let id = world.enqueue(key).await;
        world.until_state(id, "leased").await;
        job::ask_cancel(&world.store, id).await.unwrap();
        let job = world.until_state(id, "cancelled").await;
        assert_eq!(job.attempts, 1, "{key}: its lease was renewed all the time");
    }
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_run_at_once_than_there_are_slots() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(world.enqueue(&format!("wait/{number}")).await);
    }
    let running = world.start();
    world.until_running(3).await;
    // Their leases are renewed while they run.
    for _ in 0..2 {
        let before = world.get(ids[0]).await;
        until("its lease is renewed", async || {
            let now = world.get(ids[0]).await;
            assert_eq!((now.state.name(), now.token), ("leased", before.token));
            now.state != before.state
        })
        .await;
    }
    world.handler.gate.add_permits(10);
    for id in &ids {
        world.until_state(*id, "done").await;
    }
    assert_eq!(world.handler.most_at_once.load(Ordering::SeqCst), 3);
    assert_eq!(world.effects.all().await.len(), 10);
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stops_finishes_what_runs_and_takes_nothing_new() {
    let world = World::new().await;
    let ids = [world.enqueue("wait/1").await, world.enqueue("wait/2").await];
    let running = world.start();
    world.until_running(2).await;
    world.shutdown.cancel();
    let late = world.enqueue("done").await;
    world.handler.gate.add_permits(2);
    running.await.unwrap().unwrap();
    for id in ids {
        assert_eq!(world.get(id).await.state.name(), "done");
    }
    assert_eq!(world.get(late).await.state.name(), "queued");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_stops_gives_back_what_does_not_finish() {
    let mut world = World::new().await;
    world.options.stop_within = Duration::from_millis(30);
    let id = world.enqueue("wait").await;
    let running = world.start();
    world.until_running(1).await;
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
    let job = world.get(id).await;
    assert_eq!((job.state.name(), job.attempts, job.holder), ("queued", 1, None));
    assert!(world.effects.all().await.is_empty());
    // Another takes it up, with its attempts counted.
    world.shutdown = CancellationToken::new();
    world.handler.gate.add_permits(1);
    let running = world.start();
    let job = world.until_state(id, "done").await;
    assert_eq!(job.attempts, 2);
    assert_eq!(world.effects.all().await.len(), 1);
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_can_be_woken_from_outside() {
    let mut world = World::new().await;
    world.options.longest_rest = NEVER;
    let runner = JobRunner::new(&world.store, "test", world.options).with(world.handler.clone());
    let wake = runner.waker();
    let shutdown = world.shutdown.clone();
    let running = tokio::spawn(async move { runner.run(&shutdown).await });
    // One job, done, says that the runner listens; the next is enqueued without a hint.
    let first = world.enqueue("done").await;
    world.until_state(first, "done").await;
    let database = world.get(first).await;
    let mut tx = world.store.begin().await.unwrap();
    let new = NewJob {
        key: "done/2".into(),
        payload_version: 1,
        payload: serde_json::Value::Null,
        priority: 0,
        max_attempts: 1,
        delay: Duration::ZERO,
        trace: None,
    };
    job::enqueue(&mut tx, &database.kind, 10, &[new]).await.unwrap();
    tx.commit().await.unwrap();
    let listed = job::list(&world.store, &job::JobFilter::default(), 1).await.unwrap();
    until("the job is done", async || {
        wake();
        world.get(listed[0].id).await.state.name() == "done"
    })
    .await;
    world.shutdown.cancel();
    running.await.unwrap().unwrap();
}
