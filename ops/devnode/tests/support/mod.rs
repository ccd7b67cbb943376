//! What the tests of the node share: a node on a free port, and calls over its wire.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use obsqra_devnode::{DevNode, DevNodeOptions};
use serde_json::{Value, json};
use starknet::providers::JsonRpcClient;
use starknet::providers::jsonrpc::HttpTransport;

/// The fields of a seeded node that most tests want: no pace, four blocks until final.
pub(crate) fn options(blocks: u64) -> DevNodeOptions {
    DevNodeOptions { blocks, blocks_per_second: 0.0, l1_lag: 4, ..DevNodeOptions::seeded(1) }
}

pub(crate) async fn start(options: DevNodeOptions) -> DevNode {
    let (blocks, lag) = (options.blocks, options.lag);
    let node = DevNode::start(options).await.expect("it starts");
    node.wait_for_height(blocks - 1 - lag).await;
    node
}

pub(crate) async fn node(blocks: u64) -> DevNode {
    start(options(blocks)).await
}

pub(crate) fn client(node: &DevNode) -> JsonRpcClient<HttpTransport> {
    JsonRpcClient::new(HttpTransport::new(url::Url::parse(&node.url()).expect("a URL")))
}

/// Status and body, or why there is none.
pub(crate) async fn try_post(node: &DevNode, body: &str) -> Result<(u16, String), reqwest::Error> {
    let request =
        reqwest::Client::new().post(node.url()).header("content-type", "application/json");
    let response = request.body(body.to_owned()).send().await?;
    Ok((response.status().as_u16(), response.text().await?))
}

pub(crate) async fn post(node: &DevNode, body: &str) -> (u16, String) {
    try_post(node, body).await.expect("an answer")
}

pub(crate) fn request(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": 7, "method": method, "params": params })
}

pub(crate) async fn call(node: &DevNode, method: &str, params: Value) -> Value {
    let (status, body) = post(node, &request(method, &params).to_string()).await;
    assert_eq!(status, 200);
    let answer: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(7)));
    answer
}

/// The block at a height with its receipts.
pub(crate) async fn block(node: &DevNode, number: u64) -> Value {
    let id = json!([{ "block_number": number }]);
    call(node, "starknet_getBlockWithReceipts", id).await["result"].clone()
}

/// The hashes at some heights.
pub(crate) async fn hashes(node: &DevNode, heights: std::ops::RangeInclusive<u64>) -> Vec<String> {
    let mut hashes = Vec::new();
    for number in heights {
        let id = json!([{ "block_number": number }]);
        let answer = call(node, "starknet_getBlockWithTxHashes", id).await;
        hashes.push(answer["result"]["block_hash"].as_str().expect("a hash").to_owned());
    }
    hashes
}
