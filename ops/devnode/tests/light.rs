//! The light chain over the wire: determinism, links, memory, reorganisations, and its registry.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use obsqra_devnode::{
    Chain, DevNode, DevNodeOptions, LIGHT_CHAIN_ID, LIGHT_CONTRACT, LIGHT_REGISTRY,
};
use obsqra_protocols::Registry;
use serde_json::json;
use starknet::core::types::{BlockId, MaybePreConfirmedBlockWithReceipts};
use starknet::providers::Provider;

use support::{block, call, client, hashes};

async fn light(blocks: u64) -> DevNode {
    support::start(DevNodeOptions { l1_lag: 10, ..DevNodeOptions::light(9, 25, blocks) }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_chain_is_there_at_once_and_not_in_memory() {
    let node = light(200_000).await;
    let mut parent = None;
    for number in (0..500).chain(199_500..200_000) {
        let block = block(&node, number).await;
        if let Some(parent) = parent.take().filter(|_| number != 199_500) {
            assert_eq!(block["parent_hash"], parent, "{number}");
        }
        parent = Some(block["block_hash"].clone());
    }
    assert!(node.blocks_in_memory() <= 64, "{}", node.blocks_in_memory());
    let by_hash = json!([{ "block_hash": parent }]);
    let found = call(&node, "starknet_getBlockWithTxHashes", by_hash).await;
    assert_eq!(found["result"]["block_number"], 199_999);
    let other = light(1_000).await;
    assert_eq!(block(&node, 777).await["transactions"], block(&other, 777).await["transactions"]);
    assert_eq!(hashes(&node, 770..=777).await, hashes(&other, 770..=777).await);
    node.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_reads_it_and_it_says_what_it_is() {
    let node = light(3).await;
    let parsed =
        client(&node).get_block_with_receipts(BlockId::Number(1)).await.expect("it parses");
    let MaybePreConfirmedBlockWithReceipts::Block(parsed) = parsed else { panic!("a whole block") };
    let events: Vec<_> =
        parsed.transactions.iter().flat_map(|entry| entry.receipt.events()).collect();
    assert_eq!(events.len(), 25);
    assert!(events.iter().all(|event| event.from_address == LIGHT_CONTRACT));
    let block = block(&node, 1).await;
    assert_eq!(block["obsqra"]["source"], "light");
    assert!(block.get("event_commitment").is_none() && block.get("event_count").is_none());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_blocks_are_replaced_and_come_back() {
    let node = light(5_000).await;
    let a = hashes(&node, 2_995..=3_005).await;
    let branch = node.prepare_branch(2_000, 2_001).await.expect("a branch");
    let branch_a = node.switch_to(branch).await.expect("it fits");
    assert_eq!(branch_a.blocks(), 2_000);
    assert_eq!(node.head().map(|head| head.number), Some(5_000));
    let b = hashes(&node, 2_995..=3_005).await;
    assert_eq!(a[..5], b[..5]);
    assert!(a[5..].iter().zip(&b[5..]).all(|(a, b)| a != b));
    node.switch_to(branch_a).await.expect("it fits");
    assert_eq!(hashes(&node, 2_995..=3_005).await, a);
    node.push_blocks(1).await.expect("a block");
    assert_eq!(node.head().map(|head| head.number), Some(5_000));
    node.stop().await;
}

#[test]
fn a_chain_without_a_node_makes_the_same_blocks() {
    let mut chain = Chain::light(9, 25);
    let first = chain.next_block().expect("it never ends").block;
    let second = chain.next_block().expect("it never ends").block;
    assert_eq!(second.parent_hash, first.hash);
    chain.fork_at(1, first.hash);
    let other = chain.next_block().expect("it never ends").block;
    assert_eq!((other.number, other.parent_hash), (1, first.hash));
    assert_ne!(other.hash, second.hash);
    assert_eq!(second.event_count(), 25);
}

#[test]
fn the_product_reads_its_registry() {
    let registry = Registry::parse(LIGHT_REGISTRY).expect("a registry");
    let [chain] = registry.chain_ids() else { panic!("one chain") };
    assert_eq!(chain.as_str(), LIGHT_CHAIN_ID);
    let watched: Vec<_> = registry.watched().map(|address| address.0).collect();
    assert_eq!(watched, [LIGHT_CONTRACT]);
}
