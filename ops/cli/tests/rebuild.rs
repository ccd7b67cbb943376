//! `obsqra project rebuild` beside a running instance: GraphQL answers as before at every moment, `kill -9` at any step
//! leaves whole read models, and the next one works.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use serde_json::json;
use support::api::{Api, list};
use support::process::{Process, run, succeed};
use support::servers::{Goal, PROTOCOLS, Servers, chain_id};
use support::until;

/// Enough for several batches.
const BLOCKS: u64 = 400;

/// Where a rebuild is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// It has its tables.
    Begun,
    /// Some of them have rows.
    Folding,
    /// All is folded, and somebody's reading holds it off.
    Waiting,
}

/// Positions that are folded beside, by a rebuild with an epoch above one; -1 where none has begun.
async fn folded(servers: &Servers, above: i64) -> i64 {
    let mut session = servers.database.session("").await;
    let begun =
        format!("SELECT count(*) FROM lease WHERE partition = 'rebuilder' AND epoch > {above}");
    if session.numbers(&begun).await.unwrap() == [0] {
        return -1;
    }
    let there = session.numbers("SELECT coalesce(max(seq), 0) FROM rebuild.projection_state").await;
    there.map_or(-1, |found| found[0])
}

async fn epoch(servers: &Servers) -> i64 {
    let epoch = "SELECT coalesce(max(epoch), 0) FROM lease WHERE partition = 'rebuilder'";
    servers.database.number(epoch).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_beside_a_running_instance_is_not_noticed_and_may_be_killed() {
    let servers = Servers::start().await;
    let mut command = servers.obsqra();
    command.args(["run", "--listen", "127.0.0.1:0", "--blocks-per-second", "0"]);
    command.args(["--seed", "7", "--blocks", &BLOCKS.to_string()]);
    let mut instance = Process::start(command);
    let api = Api::new(&instance.announces("GraphQL").await);
    let chain = chain_id("OBSQRA_DEV");
    servers.reach(&chain, Goal { tip: BLOCKS - 1, finalized: Some(BLOCKS - 1 - 50) }).await;
    let before = api.protocol(PROTOCOLS[0], BLOCKS - 1).await;
    assert!(!list(&before["metrics"]).is_empty());

    for point in [Point::Begun, Point::Folding, Point::Waiting] {
        let mut session = servers.database.session("obsqra_reader").await;
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        session.numbers("SELECT count(*) FROM block").await.unwrap();
        let earlier = epoch(&servers).await;
        let mut command = servers.obsqra();
        command.args(["project", "rebuild", "all"]);
        let mut rebuild = Process::start(command);
        until(&format!("the rebuild is at {point:?}"), async || {
            assert!(rebuild.is_running(), "{}", rebuild.stderr());
            match point {
                Point::Begun => folded(&servers, earlier).await >= 0,
                Point::Folding => folded(&servers, earlier).await > 0,
                Point::Waiting => rebuild.stderr().contains("somebody reads"),
            }
        })
        .await;
        rebuild.kill();
        session.execute("COMMIT").await.unwrap();
        assert_eq!(api.protocol(PROTOCOLS[0], BLOCKS - 1).await, before, "{point:?}");
        verify(&servers).await;
    }

    for name in ["all", "market_metrics", "event", "all"] {
        let mut command = servers.obsqra();
        command.args(["project", "rebuild", name]);
        let mut rebuild = Process::start(command);
        let mut asked = 0;
        while asked == 0 || rebuild.is_running() {
            assert_eq!(api.protocol(PROTOCOLS[0], BLOCKS - 1).await, before, "{name}");
            assert_eq!(api.head().await["blockNumber"], json!(BLOCKS - 1));
            asked += 1;
        }
        let ended = rebuild.ends().await;
        assert_eq!(ended.code(), 0, "{}", ended.output());
        assert!(ended.stdout.contains("is in place"), "{}", ended.stdout);
    }
    verify(&servers).await;
    instance.signal(rustix::process::Signal::TERM);
    let ended = instance.ends().await;
    assert_eq!(ended.code(), 0, "{}", ended.output());
}

async fn verify(servers: &Servers) {
    let mut command = servers.obsqra();
    command.args(["project", "verify"]);
    succeed(command).await;
}

#[tokio::test]
async fn a_name_that_is_no_read_model_is_wrong_use() {
    let mut command = support::process::obsqra();
    command.args(["project", "rebuild", "log"]);
    let ended = run(command).await;
    assert_eq!(ended.code(), 2, "{}", ended.output());
    assert!(ended.stderr.contains("market_metrics"), "{}", ended.stderr);
}
