//! Every fault over the wire: what a client sees, and that the next call is right again.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

mod support;

use obsqra_devnode::{DevNode, Fault, FaultScope};
use serde_json::{Value, json};
use starknet::core::types::BlockId;
use starknet::providers::Provider;

use support::{block, call, client, node, post, request, try_post};

const RECEIPTS: &str = "starknet_getBlockWithReceipts";

fn at_two(node: &DevNode, fault: Fault, times: u32) {
    node.faults().inject(fault, FaultScope::method(RECEIPTS, times).at_block(2));
}

fn of_two() -> String {
    request(RECEIPTS, &json!([{ "block_number": 2 }])).to_string()
}

fn events(block: &Value) -> Vec<Value> {
    block["transactions"]
        .as_array()
        .expect("transactions")
        .iter()
        .flat_map(|entry| entry["receipt"]["events"].as_array().expect("events").clone())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_answer() {
    let node = node(4).await;
    let right = post(&node, &of_two()).await;
    let half = right.1[..right.1.len() / 2].to_owned();
    let cases = [
        (Fault::EmptyBody, 200, String::new()),
        (Fault::EmptyObject, 200, "{}".to_owned()),
        (Fault::NullResult, 200, r#"{"jsonrpc":"2.0","id":7,"result":null}"#.to_owned()),
        (Fault::TruncatedJson, 200, half),
        (Fault::HtmlBody, 200, "<html>not what you asked for</html>".to_owned()),
        (Fault::ServiceUnavailable, 503, "service unavailable".to_owned()),
    ];
    for (fault, status, body) in cases {
        at_two(&node, fault.clone(), 1);
        assert_eq!(post(&node, &of_two()).await, (status, body), "{fault:?}");
        assert_eq!(post(&node, &of_two()).await, right, "after {fault:?}");
    }
    at_two(&node, Fault::HtmlBody, 1);
    let response =
        reqwest::Client::new().post(node.url()).body(of_two()).send().await.expect("an answer");
    assert_eq!(response.headers()["content-type"], "text/html; charset=utf-8");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_end_early() {
    let node = node(4).await;
    for fault in [Fault::ConnectionReset, Fault::ClosedBeforeBody, Fault::TruncatedBody] {
        at_two(&node, fault.clone(), 1);
        assert!(try_post(&node, &of_two()).await.is_err(), "{fault:?}");
        assert_eq!(post(&node, &of_two()).await.0, 200, "after {fault:?}");
    }
    at_two(&node, Fault::ConnectionReset, 1);
    let mut error: &dyn std::error::Error =
        &try_post(&node, &of_two()).await.expect_err("the connection is reset");
    let mut reset = false;
    while let Some(source) = error.source() {
        let kind = source.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        reset |= kind == Some(std::io::ErrorKind::ConnectionReset);
        error = source;
    }
    assert!(reset, "reset, not closed");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_body_comes_whole() {
    let node = node(4).await;
    let right = post(&node, &of_two()).await;
    at_two(&node, Fault::SlowDrip { pieces: 20, pause_millis: 1 }, 1);
    let mut response =
        reqwest::Client::new().post(node.url()).body(of_two()).send().await.expect("an answer");
    let (mut chunks, mut body) = (0, Vec::new());
    while let Some(chunk) = response.chunk().await.expect("a piece") {
        chunks += 1;
        body.extend_from_slice(&chunk);
    }
    assert!(chunks > 1, "{chunks}");
    assert_eq!(body, right.1.into_bytes());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drip_and_a_hang_end_with_the_node() {
    let node = node(4).await;
    for fault in
        [Fault::SlowDrip { pieces: 2, pause_millis: u64::MAX }, Fault::Hang { millis: u64::MAX }]
    {
        at_two(&node, fault, 1);
    }
    let asked = [(); 2].map(|()| {
        let (url, body) = (node.url(), of_two());
        tokio::spawn(async move {
            let response = reqwest::Client::new().post(url).body(body).send().await?;
            response.bytes().await
        })
    });
    node.wait_for_calls(RECEIPTS, 2).await;
    node.stop().await;
    for answer in asked {
        // Cut off or let go early, but over.
        let over = answer.await.expect("no panic");
        assert!(over.is_err() || over.is_ok_and(|body| !body.is_empty()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_are_not_the_one_asked_for() {
    let node = node(5).await;
    let right = block(&node, 2).await;
    at_two(&node, Fault::NeighbourBlock { above: 1 }, 1);
    assert_eq!(block(&node, 2).await["block_number"], 3);
    at_two(&node, Fault::NeighbourBlock { above: -1 }, 1);
    assert_eq!(block(&node, 2).await["block_number"], 1);
    for fault in [Fault::BlockMissing, Fault::NeighbourBlock { above: -3 }] {
        at_two(&node, fault, 1);
        let answer = call(&node, RECEIPTS, json!([{ "block_number": 2 }])).await;
        assert_eq!(answer["error"]["code"], 24);
    }
    at_two(&node, Fault::AlternatingHash, 4);
    let mut hashes = Vec::new();
    for _ in 0..5 {
        hashes.push(block(&node, 2).await["block_hash"].clone());
    }
    let (own, other) = (right["block_hash"].clone(), json!("0xbadb10c"));
    assert_eq!(hashes, [other.clone(), own.clone(), other, own.clone(), own]);
    at_two(&node, Fault::WrongHash, 1);
    let wrong = block(&node, 2).await;
    assert_eq!(
        (&wrong["block_hash"], &wrong["parent_hash"]),
        (&json!("0xbadb10c"), &right["parent_hash"])
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_are_not_those_of_the_block() {
    let node = node(4).await;
    let right = block(&node, 2).await;
    let all = events(&right);
    at_two(&node, Fault::DuplicateEvent, 1);
    let doubled = block(&node, 2).await;
    assert_eq!(events(&doubled)[..2], [all[0].clone(), all[0].clone()]);
    assert_eq!(events(&doubled)[2..], all[1..]);
    assert_eq!(doubled["event_count"], right["event_count"], "the header knows better");
    at_two(&node, Fault::LostEvent, 1);
    assert_eq!(events(&block(&node, 2).await), all[..all.len() - 1]);
    at_two(&node, Fault::UnknownEventMember, 1);
    let client = client(&node);
    let whole = client.get_block_with_receipts(BlockId::Number(2)).await.expect("it parses");
    assert_eq!(client.get_block_with_receipts(BlockId::Number(2)).await.expect("it parses"), whole);
    at_two(&node, Fault::FeltOutOfRange, 1);
    let key = events(&block(&node, 2).await)[0]["keys"][0].as_str().expect("a text").to_owned();
    // The client library reduces it and finds nothing wrong, so the text is looked at.
    assert_eq!(key, format!("0x8{}11{}1", "0".repeat(12), "0".repeat(47)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_of_fifty_megabytes() {
    const BYTES: u64 = 50_000_000;
    let node = node(4).await;
    let right = post(&node, &of_two()).await.1;
    for fault in [Fault::LongEventData { bytes: BYTES }, Fault::Padding { bytes: BYTES }] {
        at_two(&node, fault.clone(), 1);
        let long = post(&node, &of_two()).await.1;
        let grown = u64::try_from(long.len() - right.len()).expect("longer");
        assert!((BYTES..BYTES + 100).contains(&grown), "{fault:?}: {grown}");
        assert!(long.ends_with("]}}"), "{fault:?}: it is whole");
    }
    node.stop().await;
}
