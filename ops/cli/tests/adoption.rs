//! What a follower adopts: a version names its bytes, and a changed file has a version of its own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::path::Path;
use std::process::Command;

use obsqra_events::{Adopted, AdoptedWhat, Fact};
use obsqra_policy::PRESETS;
use obsqra_protocols::{Definitions, METRICS_VERSION};
use obsqra_testkit::read_log;
use rustix::process::Signal;
use serde_json::Value;
use support::process::{Process, run};
use support::servers::Servers;
use support::until;

const BLOCKS: u64 = 5;

fn command(servers: &Servers, policies: &Path) -> Command {
    let mut command = servers.obsqra();
    command.args(["run", "--seed", "6", "--blocks", &BLOCKS.to_string()]);
    command.args(["--blocks-per-second", "0", "--listen", "127.0.0.1:0", "--policies"]);
    command.arg(policies);
    command
}

/// Runs until so many policy files were adopted.
async fn follow(servers: &Servers, policies: &Path, wanted: usize) {
    let mut process = Process::start(command(servers, policies));
    until("the policies are adopted", async || {
        adopted(servers, AdoptedWhat::Policy).await.len() == wanted
    })
    .await;
    process.signal(Signal::INT);
    assert_eq!(process.ends().await.code(), 0);
}

async fn adopted(servers: &Servers, what: AdoptedWhat) -> Vec<Adopted> {
    let entries = read_log(&servers.store).await;
    let facts = entries.iter().map(|entry| entry.draft.fact().unwrap());
    facts
        .filter_map(|fact| match fact {
            Fact::Adopted(adopted) if adopted.what == what => Some(adopted),
            _ => None,
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_policy_file_needs_a_version_of_its_own() {
    let servers = Servers::start().await;
    let file = servers.data_dir().join("policies.json");
    std::fs::write(&file, PRESETS).unwrap();
    follow(&servers, &file, 1).await;

    let mut changed: Value = serde_json::from_slice(PRESETS).unwrap();
    changed["presets"][0]["max_score"] = 30.into();
    std::fs::write(&file, changed.to_string()).unwrap();
    let before = servers.log_end().await;
    let refused = run(command(&servers, &file)).await;
    assert_eq!(refused.code(), 1);
    assert!(refused.output().contains("adopted with other bytes"), "{}", refused.output());
    assert_eq!(servers.log_end().await, before);

    changed["version"] = 2.into();
    std::fs::write(&file, changed.to_string()).unwrap();
    follow(&servers, &file, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_which_layouts_are_read() {
    let servers = Servers::start().await;
    let file = servers.data_dir().join("policies.json");
    std::fs::write(&file, PRESETS).unwrap();
    follow(&servers, &file, 1).await;
    let definitions = adopted(&servers, AdoptedWhat::Metrics).await;
    let [one] = definitions.as_slice() else { panic!("{definitions:?}") };
    assert_eq!((one.version.as_str(), one.hash), (METRICS_VERSION, Definitions::own().hash()));
    let text = str::from_utf8(&one.bytes).unwrap();
    assert!(text.lines().any(|line| line.starts_with("zklend AccumulatorsSync 0x")), "{text}");
}
