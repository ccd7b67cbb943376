//! Shared jobs by the binary: what operators see and decide, and the reports of finished days, made by several
//! processes of which some are killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use obsqra_devnode::{DevNode, DevNodeOptions};
use obsqra_store::job::{self, Backoff, Enqueued, Kinds, NewJob};
use obsqra_store::{Role, Store, daily_report};
use obsqra_types::{JobId, JobKind};
use serde_json::Value;
use support::process::{Ended, Process, run, succeed};
use support::servers::{PROTOCOLS, Servers, chain_id};
use support::until;

/// Blocks of the chain: two days of 144 blocks, and what finality is behind.
const BLOCKS: u64 = 360;
/// The chain's own seed.
const CHAIN_SEED: u64 = 17;

fn kind() -> JobKind {
    JobKind::new("prove").unwrap()
}

/// A database with jobs in every state an operator may meet.
struct World {
    servers: Servers,
    writer: Store,
}

impl World {
    async fn new() -> Self {
        let servers = Servers::start().await;
        let writer = servers.database.store(Role::Writer).await;
        Self { servers, writer }
    }

    async fn enqueue(&self, key: &str) -> JobId {
        let new = NewJob {
            key: key.to_owned(),
            payload_version: 1,
            payload: serde_json::json!({ "what": key }),
            priority: 0,
            max_attempts: 3,
            delay: Duration::ZERO,
            trace: None,
        };
        let mut tx = self.writer.begin().await.unwrap();
        let enqueued = job::enqueue(&mut tx, &kind(), 10, &[new]).await.unwrap();
        tx.commit().await.unwrap();
        match enqueued[..] {
            [Enqueued::New(id)] => id,
            ref other => panic!("{other:?}"),
        }
    }

    /// Takes every job that is due.
    async fn lease(&self) -> Vec<job::LeasedJob> {
        let backoff = Backoff { first: Duration::from_secs(1), cap: Duration::from_secs(1) };
        let (kinds, ttl) = (Kinds::from([(kind(), backoff)]), Duration::from_secs(600));
        job::lease(&self.writer, &kinds, ("a test", ttl), 9).await.unwrap()
    }

    async fn run(&self, args: &[&str]) -> Ended {
        let mut command = self.servers.obsqra();
        command.args(args);
        run(command).await
    }

    async fn json(&self, args: &[&str]) -> Value {
        let mut command = self.servers.obsqra();
        command.args(args);
        serde_json::from_str(&succeed(command).await).expect("JSON")
    }

    async fn check_refused(&self, args: &[&str], code: i32, says: &str) {
        let ended = self.run(args).await;
        assert_eq!(ended.code(), code, "{args:?}: {}", ended.output());
        assert!(ended.stderr.contains(says), "{args:?}: {}", ended.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_dead_jobs_and_decides_about_them() {
    let world = World::new().await;
    assert_eq!(world.run(&["dead", "list"]).await.stdout.trim(), "there are none");
    let [retried, dropped] = [world.enqueue("a").await, world.enqueue("b\u{1b}[2J").await];
    for held in world.lease().await {
        job::reject(&world.writer, (held.id, held.token), "the circuit refuses").await.unwrap();
    }
    let listed = world.run(&["dead", "list"]).await;
    assert_eq!(listed.code(), 0, "{}", listed.output());
    assert!(listed.stdout.contains("1 of 3 attempts: the circuit refuses"), "{}", listed.stdout);
    assert!(!listed.stdout.contains('\u{1b}'), "what a terminal would obey is not printed");
    let listed = world.json(&["dead", "list", "--json", "--limit", "1"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    assert_eq!(listed[0]["id"], dropped.0, "newest first");

    let (one, other) = (retried.to_string(), dropped.to_string());
    let shown = world.json(&["dead", "show", &one, "--json"]).await;
    assert_eq!((&shown["state"], &shown["payload"]["what"]), (&"dead".into(), &"a".into()));
    assert_eq!(shown["lastError"], "the circuit refuses");
    let shown = world.run(&["dead", "show", &one]).await.stdout;
    assert!(shown.contains("payload   version 1: {\"what\":\"a\"}"), "{shown}");
    world.check_doctor(false, "prove: 0 queued, 0 leased, 2 dead").await;

    let said = world.run(&["dead", "retry", &one]).await.stdout;
    assert_eq!(said.trim(), format!("job {one} is queued again"));
    let said = world.run(&["dead", "drop", &other]).await.stdout;
    assert_eq!(said.trim(), format!("job {other} is given up"));
    for action in ["show", "retry", "drop"] {
        world.check_refused(&["dead", action, &one], 1, "is queued, not dead").await;
        world.check_refused(&["dead", action, &other], 1, "is cancelled, not dead").await;
        world.check_refused(&["dead", action, "999"], 1, "there is no job 999").await;
        world.check_refused(&["dead", action, "none"], 2, "give a job's number").await;
    }
    world.check_doctor(true, "prove: 1 queued, 0 leased, 0 dead, one is due for").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_jobs_and_cancels_them() {
    let world = World::new().await;
    let running = world.enqueue("running").await;
    let held = world.lease().await.pop().unwrap();
    let queued = world.enqueue("queued").await;
    let listed = world.json(&["job", "list", "--json"]).await;
    assert_eq!(listed.as_array().map(Vec::len), Some(2));
    assert_eq!((&listed[1]["holder"], &listed[1]["token"]), (&"a test".into(), &1.into()));
    let listed = world.json(&["job", "list", "--json", "--state", "queued"]).await;
    assert_eq!(listed[0]["id"], queued.0);
    let listed = world.json(&["job", "list", "--json", "--kind", "report_day"]).await;
    assert_eq!(listed, serde_json::json!([]));
    let said = world.run(&["job", "cancel", &queued.to_string()]).await.stdout;
    assert_eq!(said.trim(), format!("job {queued} is cancelled"));
    let said = world.run(&["job", "cancel", &running.to_string()]).await.stdout;
    assert!(said.contains("its process is told"), "{said}");
    let state = job::release(&world.writer, (held.id, held.token)).await.unwrap();
    assert_eq!(state.name(), "cancelled");
    world.check_refused(&["job", "cancel", &queued.to_string()], 1, "is cancelled").await;
    world.check_refused(&["job", "cancel", "999"], 1, "there is no job 999").await;
    world.check_refused(&["job", "list", "--state", "gone"], 2, "invalid value").await;
    world.check_refused(&["job", "list", "--limit", "0"], 2, "invalid value").await;
    world.check_refused(&["job", "list", "--kind", "A B"], 2, "no kind of job").await;
}

impl World {
    async fn check_doctor(&self, is_good: bool, says: &str) {
        let report = self.run(&["doctor"]).await.stdout;
        let line = report.lines().find(|line| line.contains(" jobs ")).expect(&report);
        assert!(line.contains(says), "{line}");
        assert_eq!(line.starts_with("ok"), is_good, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_days_are_reported_once_by_processes_of_which_some_are_killed() {
    let servers = Servers::start().await;
    let options = DevNodeOptions {
        blocks: BLOCKS,
        blocks_per_second: 0.0,
        ..DevNodeOptions::seeded(CHAIN_SEED)
    };
    let node = DevNode::start(options).await.unwrap();
    let start = |role: &str| {
        let mut command = servers.obsqra();
        command
            .arg(role)
            .env("OBSQRA_RPC_URL", node.url())
            .env("OBSQRA_LEASE_TTL_MS", "500")
            .env("OBSQRA_POLL_INTERVAL_MS", "50")
            .env("OBSQRA_LONGEST_REST_MS", "200");
        Process::start(command)
    };
    let mut steady: BTreeMap<&str, Process> =
        ["index", "relay", "project", "work"].into_iter().map(|role| (role, start(role))).collect();
    let chain = chain_id("OBSQRA_DEV");
    // A second process that works, killed and started again until the days are reported.
    let mut other = start("work");
    let mut kills = 0;
    until("two days are reported", async || {
        if kills < 5 && servers.log_end().await.0 > kills * 4_000 {
            other.kill();
            other = start("work");
            kills += 1;
        }
        daily_report::reported(&servers.store, &chain).await.unwrap().len() == 2
    })
    .await;
    println!("the days are reported after {kills} kills");
    for (role, process) in &mut steady {
        assert!(process.is_running(), "{role} ended by itself: {}", process.stderr());
    }
    let days = daily_report::reported(&servers.store, &chain).await.unwrap();
    let days: Vec<_> = days.into_iter().map(|(day, rows)| (day.to_string(), rows)).collect();
    let rows = PROTOCOLS.len() as u64;
    assert_eq!(days, [("2025-01-01".to_owned(), rows), ("2025-01-02".to_owned(), rows)]);
    let jobs = "SELECT count(*) FROM job WHERE kind = 'report_day' AND state = 2";
    until("both jobs are done", async || servers.database.number(jobs).await == 2).await;
    let others = "SELECT count(*) FROM job WHERE state <> 2";
    assert_eq!(servers.database.number(others).await, 0);
    let said = "SELECT count(*) FROM daily_report \
                WHERE (score_end IS NULL) = (jsonb_array_length(absent) > 0)";
    assert_eq!(servers.database.number(said).await, 2 * i64::try_from(rows).unwrap());
    let events = "SELECT sum(events)::bigint FROM daily_report";
    assert!(servers.database.number(events).await > 0);
}
