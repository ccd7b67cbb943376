//! Completeness as a person meets it: one block by itself, blocks attested later, what is shown of both.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use obsqra_devnode::{DevNode, DevNodeOptions, Fault, FaultScope, Spec, TwinOptions};
use obsqra_store::chain_tip;
use obsqra_types::BlockNumber;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::process::{Ended, Process, obsqra, run, succeed};
use support::servers::{Servers, chain_id};
use support::until;
use tempfile::TempDir;

const BLOCKS: u64 = 20;

async fn node(spec: Spec) -> DevNode {
    let options = DevNodeOptions {
        blocks: BLOCKS,
        blocks_per_second: 0.0,
        spec,
        ..DevNodeOptions::seeded(5)
    };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(BLOCKS - 1).await;
    node
}

/// What a node answers about a block.
async fn answer(node: &DevNode, height: u64) -> Value {
    let question = json!({
        "jsonrpc": "2.0", "id": 1, "method": "starknet_getBlockWithReceipts",
        "params": [{ "block_number": height }],
    });
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.post(node.url()).json(&question).send().await.unwrap();
    response.json().await.unwrap()
}

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }
}

async fn verify(file: &Path) -> Ended {
    let mut command = obsqra();
    command.args(["block", "verify"]).arg(file);
    run(command).await
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_block_is_verified_by_itself() {
    let (files, whole) = (Files::new(), answer(&node(Spec::V0_10).await, 7).await);
    let text = whole.to_string();
    for file in [
        files.write("answer.json", text.as_bytes()),
        files.write("answer.json.gz", &gzipped(text.as_bytes())),
        files.write("block.json", whole["result"].to_string().as_bytes()),
    ] {
        let ended = verify(&file).await;
        assert_eq!(ended.code(), 0, "{}", ended.output());
        for said in ["block 7", "event commitment        holds", "block hash              holds"] {
            assert!(ended.stdout.contains(said), "{}", ended.output());
        }
    }

    let event = "/result/transactions/0/receipt/events/0";
    let dropped = {
        let mut answer = whole.clone();
        answer["result"]["transactions"][0]["receipt"]["events"].as_array_mut().unwrap().remove(0);
        answer["result"]["event_count"] =
            json!(whole["result"]["event_count"].as_u64().unwrap() - 1);
        answer
    };
    let mut changed = whole.clone();
    *changed.pointer_mut(event).unwrap() = json!({ "from_address": "0x1", "keys": [], "data": [] });
    let mut bare = whole.clone();
    bare["result"]["event_commitment"] = json!("0x0");
    for (what, answer, said) in [
        ("an event less", dropped, "event_commitment"),
        ("another event", changed, "mismatch"),
        ("no commitment", bare, "unverifiable: the source does not supply event_commitment"),
    ] {
        let ended = verify(&files.write("spoilt.json", answer.to_string().as_bytes())).await;
        assert_eq!(ended.code(), 1, "{what}: {}", ended.output());
        assert!(ended.stdout.contains(said), "{what}: {}", ended.output());
    }
    let cut = gzipped(text.as_bytes());
    for (bytes, said) in [
        (&b"<html>"[..], "no JSON"),
        (b"", "no JSON"),
        (b"{}", "no block"),
        (b"[1]", "no block"),
        (&cut[..cut.len() / 2], "gzip"),
        (br#"{"result":{"transactions":[]}}"#, "missing field"),
    ] {
        let ended = verify(&files.write("bad.json", bytes)).await;
        assert_eq!(ended.code(), 1, "{}", ended.output());
        assert!(ended.stderr.contains(said), "{said}: {}", ended.output());
    }
    assert_eq!(verify(&files.0.path().join("nothing.json")).await.code(), 2);
}

#[tokio::test]
async fn real_blocks_are_told_apart() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/chain");
    if !folder.is_dir() {
        println!("skipped: the blocks of the shared folder are not there");
        return;
    }
    for (name, code) in [
        ("feeder/mainnet_2238855_feeder.json.gz", 0),
        ("feeder/mainnet_6500_feeder.json.gz", 0),
        ("feeder/sepolia_100000_feeder.json.gz", 0),
        ("rpc/sepolia_3100000_rpc-getblockwithreceipts.json", 0),
        ("rpc/sepolia_0_rpc-getblockwithreceipts.json", 0),
        ("rpc/mainnet_16618_rpc-getblockwithreceipts.json", 1),
        ("rpc/sepolia_1833335_rpc-getblockwithreceipts.json", 1),
        ("rpc/sepolia_1833338_rpc-getblockwithreceipts.json", 1),
    ] {
        let ended = verify(&folder.join(name)).await;
        assert_eq!(ended.code(), code, "{name}: {}", ended.output());
    }
}

struct World {
    servers: Servers,
    node: DevNode,
}

impl World {
    async fn new(spec: Spec) -> Self {
        let (servers, node) = tokio::join!(Servers::start(), node(spec));
        Self { servers, node }
    }

    /// The binary with these servers and a node.
    fn with(&self, arguments: &[&str], node: &DevNode) -> Command {
        let mut command = self.servers.obsqra();
        command.args(arguments).env("OBSQRA_RPC_URL", node.url());
        command
    }

    /// Follows the node up to a height.
    async fn index(&self, last: u64, settings: &[(&str, &str)]) {
        let mut command = self.with(&["index"], &self.node);
        command.envs(settings.iter().copied());
        let mut process = Process::start(command);
        let chain = chain_id("OBSQRA_DEV");
        until("the blocks are in", async || {
            let tip = chain_tip::load(&self.servers.store, &chain).await.unwrap();
            tip.is_some_and(|tip| tip.number == BlockNumber(last))
        })
        .await;
        process.signal(Signal::TERM);
        assert_eq!(process.ends().await.code(), 0);
    }

    async fn completeness(&self) -> String {
        let ended = run(self.with(&["doctor"], &self.node)).await;
        let line = ended.stdout.lines().find(|line| line.contains("completeness"));
        line.unwrap_or_else(|| panic!("{}", ended.output())).to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_applied_unverified_is_attested_and_shown() {
    let world = World::new(Spec::V0_9).await;
    let newer = world.node.twin(TwinOptions::default()).await.unwrap();
    world.index(BLOCKS - 1, &[]).await;
    let shown = world.completeness().await;
    assert!(shown.contains("0 verified, 20 unverifiable, 0 unchecked"), "{shown}");

    let ended = run(world.with(&["attest", "--from", "3", "--to", "7"], &world.node)).await;
    assert_eq!(ended.code(), 1, "{}", ended.output());
    assert!(ended.stdout.contains("cannot be checked by this node"), "{}", ended.output());

    let said = succeed(world.with(&["attest", "--from", "3", "--to", "7"], &newer)).await;
    assert!(said.contains("5 blocks are verified"), "{said}");
    let shown = world.completeness().await;
    assert!(shown.contains("5 verified, 15 unverifiable, 0 unchecked"), "{shown}");
    for range in ["8 to 19 unverifiable", "3 to 7 verified", "0 to 2 unverifiable"] {
        assert!(shown.contains(range), "{shown}");
    }
    succeed(world.with(&["attest"], &newer)).await;
    let shown = world.completeness().await;
    assert!(shown.contains("20 verified, 0 unverifiable, 0 unchecked"), "{shown}");
    for check in [&["log", "verify", "--decode"][..], &["project", "verify"]] {
        succeed(world.with(check, &newer)).await;
    }
    for (range, said) in [
        (["--from", "9", "--to", "3"], "--from 9 is above --to 3"),
        (["--from", "0", "--to", "99"], "the log has blocks 0 to 19"),
    ] {
        let ended = run(world.with(&[&["attest"][..], &range].concat(), &newer)).await;
        assert_eq!(ended.code(), 1, "{}", ended.output());
        assert!(ended.stderr.contains(said), "{}", ended.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_are_repeated_from_the_log_where_leaves_are_kept() {
    let world = World::new(Spec::V0_10).await;
    world.index(BLOCKS - 1, &[("OBSQRA_KEEP", "watched_and_leaves")]).await;
    let said = succeed(world.with(&["attest", "--offline"], &world.node)).await;
    assert!(said.contains("20 blocks checked again from the log alone"), "{said}");

    let other = World::new(Spec::V0_10).await;
    other.index(BLOCKS - 1, &[("OBSQRA_CHECK", "off")]).await;
    let shown = other.completeness().await;
    assert!(shown.contains("0 verified, 0 unverifiable, 20 unchecked"), "{shown}");
    succeed(other.with(&["attest"], &other.node)).await;
    let ended = run(other.with(&["attest", "--offline"], &other.node)).await;
    assert_eq!(ended.code(), 1, "nothing was shown: {}", ended.output());
    assert!(ended.stdout.contains("20 verified blocks cannot be"), "{}", ended.output());
    let mut wrong = other.with(&["doctor"], &other.node);
    wrong.env("OBSQRA_KEEP", "everything");
    let ended = run(wrong).await;
    assert_eq!(ended.code(), 2, "{}", ended.output());
    assert!(ended.stderr.contains("keep"), "{}", ended.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_is_not_whole_stops_the_follower_and_is_kept_as_evidence() {
    let world = World::new(Spec::V0_10).await;
    let scope = FaultScope::method("starknet_getBlockWithReceipts", u32::MAX).at_block(11);
    world.node.faults().inject(Fault::LostEvent, scope);
    let ended = run(world.with(&["index"], &world.node)).await;
    assert_eq!(ended.code(), 1, "{}", ended.output());
    for word in ["block 11 is not whole", "event_count", world.node.url().trim_end_matches('/')] {
        assert!(ended.stderr.contains(word), "{word}: {}", ended.output());
    }
    let said = succeed(world.with(&["block", "evidence"], &world.node)).await;
    assert_eq!(said.trim(), "block 11: 1");
    let (files, out) = (Files::new(), "answer.json");
    let file = files.0.path().join(out);
    let mut command = world.with(&["block", "evidence", "11", "--out"], &world.node);
    command.arg(&file);
    let said = succeed(command).await;
    assert!(said.contains("chain.mismatch_found"), "{said}");
    assert_eq!(verify(&file).await.code(), 1, "the evidence shows it");
    let ended = run(world.with(&["doctor"], &world.node)).await;
    assert!(ended.stdout.contains("about block 11"), "{}", ended.output());
    let ended = run(world.with(&["block", "evidence", "12"], &world.node)).await;
    assert_eq!(ended.code(), 1, "{}", ended.output());
}
