//! The answers of each specification, against real answers and the client library.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use obsqra_devnode::{DevNode, DevNodeOptions, Fault, FaultScope, Spec, TwinOptions};
use serde_json::{Value, json};
use starknet::core::types::{BlockId, MaybePreConfirmedBlockWithReceipts};
use starknet::providers::Provider;

use support::{block, call, client, node, options, start};

/// Members of a header that came with 0.10.
const OF_0_10: [&str; 7] = [
    "transaction_commitment",
    "event_commitment",
    "receipt_commitment",
    "state_diff_commitment",
    "event_count",
    "transaction_count",
    "state_diff_length",
];

/// A twin for each specification, which serve the same blocks.
async fn of_each_spec(node: &DevNode) -> Vec<(Spec, DevNode)> {
    let mut twins = Vec::new();
    for spec in Spec::ALL {
        let options = TwinOptions { spec, ..TwinOptions::default() };
        twins.push((spec, node.twin(options).await.expect("a twin")));
    }
    twins
}

fn members(value: &Value) -> BTreeSet<String> {
    value.as_object().expect("an object").keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_have_the_members_of_real_answers() {
    let node = node(3).await;
    for ((_, twin), name) in of_each_spec(&node).await.into_iter().zip(["0.8.0", "0.9.0", "0.10.0"])
    {
        let file = format!("../../../shared/chain/rpc/spec-{name}/latest.json");
        let Ok(text) = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)) else {
            println!("skipped: the answers of the shared folder are not there");
            return;
        };
        let real: Value = serde_json::from_slice(&text).expect("JSON");
        let mut ours = members(&block(&twin, 1).await);
        assert!(ours.remove("obsqra"), "the mark of what is made up");
        assert_eq!(ours, members(&real), "{name}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_specification_has_its_version_header_and_tags() {
    let node = node(8).await;
    let cases = [
        (
            Spec::V0_8,
            "0.8.1",
            [("pending", 24), ("pre_confirmed", -32_602), ("l1_accepted", -32_602)],
        ),
        (Spec::V0_9, "0.9.0", [("pending", -32_602), ("pre_confirmed", 24), ("l1_accepted", 0)]),
        (Spec::V0_10, "0.10.0", [("pending", -32_602), ("pre_confirmed", 24), ("l1_accepted", 0)]),
    ];
    for ((spec, twin), (expected, version, tags)) in
        of_each_spec(&node).await.into_iter().zip(cases)
    {
        assert_eq!(spec, expected);
        assert_eq!(call(&twin, "starknet_specVersion", json!([])).await["result"], version);
        let header = block(&twin, 2).await;
        for member in OF_0_10 {
            assert_eq!(header[member].is_null(), spec < Spec::V0_10, "{version} {member}");
        }
        for (tag, code) in tags {
            let answer = call(&twin, "starknet_getBlockWithTxHashes", json!([tag])).await;
            assert_eq!(answer["error"]["code"].as_i64().unwrap_or(0), code, "{version} {tag}");
        }
        let parsed = client(&twin).get_block_with_receipts(BlockId::Number(2)).await;
        assert!(matches!(parsed, Ok(MaybePreConfirmedBlockWithReceipts::Block(_))), "{version}");
        let statuses =
            [block(&twin, 3).await["status"].clone(), block(&twin, 4).await["status"].clone()];
        assert_eq!(statuses, ["ACCEPTED_ON_L1", "ACCEPTED_ON_L2"]);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_have_their_place_since_0_10_and_many_addresses() {
    let node = node(4).await;
    for (spec, twin) in of_each_spec(&node).await {
        let filter = json!([{ "from_block": { "block_number": 1 }, "chunk_size": 3 }]);
        let page = call(&twin, "starknet_getEvents", filter).await["result"].clone();
        for member in ["transaction_index", "event_index"] {
            assert_eq!(page["events"][0][member].is_null(), spec < Spec::V0_10, "{spec:?}");
        }
        let filter = json!([{ "chunk_size": 3, "address": ["0x1"] }]);
        let code = &call(&twin, "starknet_getEvents", filter).await["error"]["code"];
        assert_eq!(code.as_i64() == Some(-32_602), spec < Spec::V0_10, "{spec:?}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_differ_in_spelling_and_in_nothing_else() {
    let plain = node(4).await;
    let other = plain
        .twin(TwinOptions { padded_felts: true, null_tokens: true, ..TwinOptions::default() })
        .await
        .expect("a twin");
    let (short, long) = (block(&plain, 2).await, block(&other, 2).await);
    assert!(long.to_string().len() > short.to_string().len());
    for name in ["new_root", "parent_hash", "block_hash"] {
        let text = long[name].as_str().expect("a felt");
        assert_eq!(text.len(), 66, "{name}");
        let trimmed = format!("0x{}", text.trim_start_matches("0x").trim_start_matches('0'));
        assert_eq!(short[name], trimmed, "{name}");
    }
    let (short, long) = (client(&plain), client(&other));
    assert_eq!(
        short.get_block_with_receipts(BlockId::Number(2)).await.expect("a block"),
        long.get_block_with_receipts(BlockId::Number(2)).await.expect("a block"),
    );
    assert_eq!(short.chain_id().await.expect("an id"), long.chain_id().await.expect("an id"));
    let filter = json!([{ "from_block": { "block_number": 3 }, "chunk_size": 1_024 }]);
    let last = call(&plain, "starknet_getEvents", filter.clone()).await["result"].clone();
    assert!(last.get("continuation_token").is_none());
    let last = call(&other, "starknet_getEvents", filter).await["result"].clone();
    assert_eq!(last.get("continuation_token"), Some(&Value::Null));
    plain.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_lack_its_commitments_for_once() {
    let node = start(DevNodeOptions { spec: Spec::V0_10, ..options(2) }).await;
    let scope = FaultScope::method("starknet_getBlockWithReceipts", 1);
    node.faults().inject(Fault::MissingCommitments, scope);
    let (without, with) = (block(&node, 1).await, block(&node, 1).await);
    for member in OF_0_10 {
        assert!(without.get(member).is_none(), "{member}");
        assert!(with.get(member).is_some(), "{member}");
    }
    assert_eq!(without["transactions"], with["transactions"]);
    node.stop().await;
}

#[test]
fn specifications_are_read_by_name() {
    assert_eq!("0.9".parse(), Ok(Spec::V0_9));
    let refused = "0.7".parse::<Spec>().expect_err("unknown");
    assert_eq!(
        refused.to_string(),
        "\"0.7\" is no specification served here: give 0.8, 0.9 or 0.10"
    );
}
