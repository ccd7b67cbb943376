//! One, two and four processes over one database: work spreads over them, some are killed, some are stopped past
//! their leases and continued, and each effect is there once.
//!
//! A child is this test binary itself, told to run `child` alone.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use obsqra_store::job::{self, Backoff, LeasedJob, NewJob};
use obsqra_store::{Role, Store, StoreOptions};
use obsqra_testkit::{Effects, TestDatabase};
use obsqra_types::{JobKind, JobToken};
use obsqra_workers::runtime::jobs::{Handler, JobRunner, Outcome, Rules, RunnerOptions};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(240);
const LEASE: Duration = Duration::from_millis(800);
const SLOTS: usize = 8;
/// Jobs of one round.
const JOBS: usize = 600;

const URL: &str = "OBSQRA_TEST_JOB_CHILD_DATABASE_URL";
const NAME: &str = "OBSQRA_TEST_JOB_CHILD_NAME";
const GATE: &str = "OBSQRA_TEST_JOB_CHILD_GATE";

fn kind() -> JobKind {
    JobKind::new("count").unwrap()
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Leaves a row a job. The first attempt at one that is to wait goes on only when the gate's file is there.
struct Count {
    effects: Effects,
    name: String,
    gate: PathBuf,
}

impl Handler for Count {
    fn kind(&self) -> JobKind {
        kind()
    }

    fn rules(&self) -> Rules {
        let backoff = Backoff { first: Duration::from_millis(10), cap: Duration::from_millis(50) };
        Rules { backoff, time_limit: PATIENCE }
    }

    async fn run(&self, job: &LeasedJob, _cancel: &CancellationToken) -> Outcome {
        if job.key.starts_with("wait") && job.attempt == 1 {
            println!("waiting with {}", job.key);
            while !self.gate.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            println!("finished {}", job.key);
        }
        let (effects, name, id, token) =
            (self.effects.clone(), self.name.clone(), job.id, job.token);
        Outcome::Done(Box::new(move |tx| {
            Box::pin(async move {
                effects.record(tx, id, token, &name).await;
                Ok(())
            })
        }))
    }
}

/// What a child does until its standard input ends: no test of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a process of the other tests"]
async fn child() {
    let (Ok(url), Ok(name), Ok(gate)) =
        (std::env::var(URL), std::env::var(NAME), std::env::var(GATE))
    else {
        println!("skipped: the other tests start it");
        return;
    };
    let mut options = StoreOptions::new(Role::Writer);
    options.acquire_timeout = PATIENCE;
    let store = Store::connect(&url, options).await.unwrap();
    let options = RunnerOptions {
        slots: SLOTS,
        lease_ttl: LEASE,
        longest_rest: Duration::from_millis(200),
        stop_within: PATIENCE,
    };
    let handler = Count { effects: Effects::of(&url), name: name.clone(), gate: gate.into() };
    let runner = JobRunner::new(&store, &name, options).with(handler);
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    std::thread::spawn(move || {
        std::io::stdin().read_line(&mut String::new()).ok();
        stop.cancel();
    });
    println!("ready");
    runner.run(&shutdown).await.unwrap();
    println!("stopped");
}

/// A child process. Dropping it kills it.
struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<String>>,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Process {
    async fn start(database: &TestDatabase, gate: &Path, name: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["child", "--exact", "--ignored", "--nocapture"]);
        command.env(URL, database.url()).env(NAME, name).env(GATE, gate);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let (stdout, sink) = (child.stdout.take().unwrap(), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let mut said = sink.lock().unwrap();
                said.push_str(&line);
                said.push('\n');
            }
        });
        let stdin = child.stdin.take();
        let process = Self { name: name.to_owned(), child, stdin, said };
        process.says("ready").await;
        process
    }

    async fn says(&self, what: &str) {
        let what_for = format!("{} says `{what}`", self.name);
        until(&what_for, async || self.said.lock().unwrap().contains(what)).await;
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("a child takes a signal");
    }

    fn kill(&mut self) {
        // One that has ended already cannot be killed, which is as good.
        self.child.kill().ok();
        self.child.wait().unwrap();
    }

    async fn stop(mut self) {
        self.stdin.take().unwrap().write_all(b"stop\n").ok();
        until("the child ends", async || self.child.try_wait().unwrap().is_some()).await;
        assert!(self.child.wait().unwrap().success());
        self.says("stopped").await;
    }
}

struct World {
    database: TestDatabase,
    store: Store,
    effects: Effects,
    folder: tempfile::TempDir,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let effects = Effects::create(&database).await;
        let store = database.store(Role::Writer).await;
        Self { database, store, effects, folder: tempfile::tempdir().unwrap() }
    }

    fn gate(&self) -> PathBuf {
        self.folder.path().join("gate")
    }

    async fn start(&self, name: &str) -> Process {
        Process::start(&self.database, &self.gate(), name).await
    }

    async fn enqueue(&self, keys: impl Iterator<Item = String>) {
        let jobs: Vec<NewJob> = keys
            .map(|key| NewJob {
                key,
                payload_version: 1,
                payload: serde_json::Value::Null,
                priority: 0,
                max_attempts: 100,
                delay: Duration::ZERO,
                trace: None,
            })
            .collect();
        let mut tx = self.store.begin().await.unwrap();
        job::enqueue(&mut tx, &kind(), 10_000, &jobs).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn done(&self) -> i64 {
        self.database.number("SELECT count(*) FROM job WHERE state = 2").await
    }

    async fn until_done(&self, jobs: usize) {
        let jobs = i64::try_from(jobs).unwrap();
        until("the jobs are done", async || self.done().await >= jobs).await;
    }

    /// Each job is done and has left one effect; how many each process left.
    async fn check(&self, jobs: usize) -> BTreeMap<String, usize> {
        let effects = self.effects.all().await;
        assert_eq!(self.done().await, i64::try_from(jobs).unwrap());
        assert_eq!(effects.len(), jobs, "one effect a job");
        assert!(effects.windows(2).all(|two| two[0].job != two[1].job), "no job has two");
        let mut by = BTreeMap::new();
        for effect in effects {
            *by.entry(effect.by).or_insert(0) += 1;
        }
        by
    }
}

async fn spread(processes: usize) {
    let world = World::new().await;
    let mut children = Vec::new();
    for number in 0..processes {
        children.push(world.start(&format!("child {number}")).await);
    }
    let begun = Instant::now();
    world.enqueue((0..JOBS).map(|number| number.to_string())).await;
    world.until_done(JOBS).await;
    let seconds = begun.elapsed().as_secs_f64();
    let by = world.check(JOBS).await;
    println!(
        "{processes} processes of {SLOTS} slots: {JOBS} jobs in {seconds:.2} s, {:.0} jobs/s: {by:?}",
        JOBS as f64 / seconds
    );
    assert_eq!(by.len(), processes, "work spreads over all");
    for child in children {
        child.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn work_spreads_over_one_two_and_four_processes() {
    for processes in [1, 2, 4] {
        spread(processes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_that_are_killed_and_stopped_lose_nothing_and_do_nothing_twice() {
    let world = World::new().await;
    let mut children = Vec::new();
    for number in 0..4 {
        children.push(world.start(&format!("child {number}")).await);
    }
    let mut enqueued = 0;
    for round in 0..6 {
        world.enqueue((0..JOBS / 4).map(|number| format!("{round}/{number}"))).await;
        let some = usize::try_from(world.done().await).unwrap() + JOBS / 16;
        enqueued += JOBS / 4;
        world.until_done(some.min(enqueued)).await;
        let mut victim = children.remove(0);
        if round % 2 == 0 {
            victim.kill();
            children.push(world.start(&format!("child {}", 4 + round)).await);
        } else {
            victim.signal(Signal::STOP);
            world.enqueue((0..JOBS / 8).map(|number| format!("more {round}/{number}"))).await;
            enqueued += JOBS / 8;
            // Whatever it held is done by others, after its leases ran out. A process that is stopped inside
            // transactions keeps their rows locked until it goes on: those jobs may be left.
            let most = i64::try_from(SLOTS).unwrap();
            let left = "SELECT count(*) FROM job WHERE state IN (0, 1)";
            until("others do its work", async || world.database.number(left).await <= most).await;
            victim.signal(Signal::CONT);
            children.push(victim);
        }
    }
    world.until_done(enqueued).await;
    let by = world.check(enqueued).await;
    println!("{enqueued} jobs: {by:?}");
    for child in children {
        child.stop().await;
    }
    world.check(enqueued).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_goes_on_after_its_lease_ran_out_is_refused() {
    let world = World::new().await;
    let stale = world.start("stale").await;
    world.enqueue(["wait".to_owned()].into_iter()).await;
    stale.says("waiting with wait").await;
    stale.signal(Signal::STOP);
    let next = world.start("next").await;
    world.until_done(1).await;
    let effects = world.effects.all().await;
    assert_eq!(effects.len(), 1);
    assert_eq!((effects[0].by.as_str(), effects[0].token), ("next", JobToken(2)));
    std::fs::write(world.gate(), "").unwrap();
    stale.signal(Signal::CONT);
    // Its handler comes to its end and hands its effect over; stopping waits until that was dealt with.
    stale.says("finished wait").await;
    stale.stop().await;
    assert_eq!(world.effects.all().await, effects, "the effect of the stale holder is refused");
    world.check(1).await;
    next.stop().await;
}
