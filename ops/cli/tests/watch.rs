//! A protocol that joins a log which has begun: its events are supplemented, its registry is adopted, and
//! everything that folds the log agrees about it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::path::PathBuf;

use obsqra_devnode::SEEDED_REGISTRY;
use obsqra_events::Kind;
use obsqra_store::projection::state;
use obsqra_testkit::read_log;
use rustix::process::Signal;
use serde_json::Value;
use support::api::Api;
use support::chain::count;
use support::process::{Process, run, succeed};
use support::servers::{Goal, Servers, chain_id};
use support::until;

const BLOCKS: u64 = 40;

struct World {
    servers: Servers,
    part: PathBuf,
    whole: PathBuf,
}

impl World {
    async fn new() -> Self {
        let servers = Servers::start().await;
        let mut whole: Value = serde_json::from_slice(SEEDED_REGISTRY).unwrap();
        let mut part = whole.clone();
        part["protocols"].as_array_mut().unwrap().retain(|protocol| protocol["id"] != "ekubo");
        whole["version"] = 2.into();
        let write = |name: &str, registry: &Value| {
            let file = servers.data_dir().join(name);
            std::fs::write(&file, registry.to_string()).unwrap();
            file
        };
        let (part, whole) = (write("part.json", &part), write("whole.json", &whole));
        Self { servers, part, whole }
    }

    fn run(&self, registry: &PathBuf) -> Process {
        let mut command = self.servers.obsqra();
        command.args(["run", "--seed", "6", "--blocks", &BLOCKS.to_string()]);
        command.args(["--blocks-per-second", "0", "--listen", "127.0.0.1:0", "--registry"]);
        Process::start({
            command.arg(registry);
            command
        })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_protocol_joins_and_every_fold_agrees() {
    let world = World::new().await;
    let mut first = world.run(&world.part);
    let api = Api::new(&first.announces("GraphQL").await);
    until("the read models are at the tip", async || {
        let chain = chain_id("OBSQRA_DEV");
        let state = state::load(&world.servers.store, &chain).await.unwrap();
        state.block.is_some_and(|(block, _)| block.number.0 == BLOCKS - 1)
    })
    .await;
    let known = |events: &[Value]| events.iter().any(|event| event["protocol"] == "ekubo");
    assert!(!known(&api.events().await));

    let mut add = world.servers.obsqra();
    add.args(["watch", "add", "--registry"]).arg(&world.whole);
    let said = succeed(add).await;
    assert!(said.contains("complete at entry"), "{said}");
    until("its events can be asked for", async || known(&api.events().await)).await;
    first.signal(Signal::INT);
    assert_eq!(first.ends().await.code(), 0);

    let mut second = world.run(&world.whole);
    let goal = Goal { tip: BLOCKS - 1, finalized: None };
    world.servers.reach(&chain_id("OBSQRA_DEV"), goal).await;
    second.signal(Signal::INT);
    assert_eq!(second.ends().await.code(), 0);
    let entries = read_log(&world.servers.store).await;
    assert_eq!(count(&entries, Kind::WatchCompleted), 1);
    for check in [["project", "verify"], ["derive", "verify"], ["log", "verify"]] {
        let mut command = world.servers.obsqra();
        command.args(check);
        succeed(command).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_watched_is_refused() {
    let world = World::new().await;
    for (arguments, said) in
        [(vec!["watch", "add"], "required"), (vec!["watch", "add", "0x1"], "the log is empty")]
    {
        let mut command = world.servers.obsqra();
        command.args(&arguments);
        let ended = run(command).await;
        assert_ne!(ended.code(), 0);
        assert!(ended.output().contains(said), "{}", ended.output());
    }
}
