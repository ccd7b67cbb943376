//! The scenario files that come with the node: each parses, and all of its steps happen.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use obsqra_devnode::{Incident, Network, Scenario};
use serde_json::json;
use tokio::task::JoinSet;

use support::{hashes, request};

/// Longer than any scenario runs; a test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(180);

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(format!("{name}.toml"))
}

async fn start(scenario: Scenario) -> Network {
    let listen = SocketAddr::from(([127, 0, 0, 1], 0));
    Network::of_scenario(scenario, listen).await.expect("it starts")
}

/// Asks a node for its head and for blocks, over and over, whatever it answers.
async fn keep_asking(url: String) {
    let client = Arc::new(reqwest::Client::new());
    for number in (0..40_u64).cycle() {
        let head = request("starknet_blockHashAndNumber", &json!([]));
        let block = request("starknet_getBlockWithReceipts", &json!([{ "block_number": number }]));
        for request in [head, block] {
            let sent = client.post(&url).body(request.to_string()).send().await;
            if let Ok(response) = sent {
                // A body that breaks off is one of the things that are meant to happen.
                drop(response.bytes().await);
            }
        }
    }
}

/// Runs a scenario to the end of its steps while clients ask every node.
async fn run(name: &str) -> Network {
    let scenario = Scenario::read(&file(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let steps = scenario.steps.len();
    let network = start(scenario).await;
    let mut clients = JoinSet::new();
    for node in network.nodes() {
        clients.spawn(keep_asking(node.url()));
    }
    tokio::time::timeout(LIMIT, network.wait_for_steps(steps))
        .await
        .unwrap_or_else(|_| panic!("{name}: only {} of {steps} steps", network.steps_done()))
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    clients.shutdown().await;
    assert_eq!(network.steps_done(), steps);
    network
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_reorg() {
    let network = run("deep_reorg").await;
    let [node] = network.nodes() else { panic!("one node") };
    assert!(node.head().is_some_and(|head| head.number >= 5_021));
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_b_a() {
    let network = run("a_b_a").await;
    let [node] = network.nodes() else { panic!("one node") };
    // Four changes: A → B → A → B → A, and five blocks on A.
    assert_eq!(node.head().map(|head| head.number), Some(64));
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lagging_node() {
    let network = run("lagging_node").await;
    let [_, lagging] = network.nodes() else { panic!("two nodes") };
    assert!(lagging.head().is_some_and(|head| head.number >= 48));
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn disagreeing_nodes() {
    let network = run("disagreeing_nodes").await;
    let [leader, other, third] = network.nodes() else { panic!("three nodes") };
    for node in [other, third] {
        node.wait_for_height(53).await;
        assert_eq!(hashes(node, 44..=44).await.len(), 1);
        assert_eq!(node.head(), leader.head());
    }
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flaky_node() {
    let network = run("flaky_node").await;
    let [node] = network.nodes() else { panic!("one node") };
    node.faults().clear();
    assert_eq!(hashes(node, 0..=3).await.len(), 4, "it answers again");
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_answers() {
    let network = run("bad_answers").await;
    let [node] = network.nodes() else { panic!("one node") };
    node.faults().clear();
    assert_eq!(node.head().map(|head| head.number), Some(39), "faults change no chain");
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn zklend_incident() {
    let network = run("zklend_incident").await;
    let [node] = network.nodes() else { panic!("one node") };
    let rules = |height| {
        let truth = node.truth(height).expect("a seeded block");
        let rules = truth.anomalies.iter().map(|anomaly| anomaly.rule);
        // A large supplier may leave another reserve at any time.
        rules.filter(|rule| *rule != "net_outflow").collect::<Vec<_>>()
    };
    let incident = Incident::from_height(300);
    assert_eq!(rules(incident.opened), [""; 0]);
    assert_eq!(rules(incident.first_flash_loan), ["accumulator_jump", "flash_loan_surplus"]);
    assert_eq!(rules(incident.halted), ["contract_upgraded"]);
    assert_eq!(rules(incident.loss + 36), ["utilization_high"; 4]);
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_file_is_run_here() {
    let mut names: Vec<String> = std::fs::read_dir(file("x").parent().expect("a folder"))
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "a_b_a",
            "bad_answers",
            "deep_reorg",
            "disagreeing_nodes",
            "flaky_node",
            "lagging_node",
            "zklend_incident"
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_cannot_be_done_ends_the_script_and_is_named() {
    let scenario = Scenario::parse(
        r#"
        title = "a reorganisation deeper than the chain"
        chain = { seed = 1, blocks = 3, blocks_per_second = 0.0 }
        nodes = [{}, { alone = true }]

        [[steps]]
        when = { at_height = 2 }
        action = { push = 1 }

        [[steps]]
        action = { reorg = { depth = 9, new_len = 1 } }

        [[steps]]
        action = { push = 1 }
        "#,
    )
    .expect("a scenario");
    let network = start(scenario).await;
    let failed = network.wait_for_steps(3).await.expect_err("step 2 cannot be done");
    assert_eq!(
        failed.to_string(),
        "step 2 of the scenario: cannot replace the top 9 of 4 blocks: block 0 stays, and at \
         least one block goes"
    );
    let [first, alone] = network.nodes() else { panic!("two nodes") };
    let heights = [first, alone].map(|node| node.head().map(|head| head.number));
    assert_eq!(heights, [Some(3), Some(2)]);
    network.stop().await;
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let message = Scenario::read(Path::new("/nowhere.toml")).expect_err("no file").to_string();
    assert!(message.starts_with("cannot read the scenario /nowhere.toml: "), "{message}");
}
