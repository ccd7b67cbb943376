//! Several nodes, branches, finality by word, and an address that closes.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

mod support;

use obsqra_devnode::{DevNode, DevNodeError, DevNodeOptions, TwinOptions};
use serde_json::json;

use support::{block, call, hashes, node, options, start, try_post};

async fn twin(node: &DevNode) -> DevNode {
    node.twin(TwinOptions::default()).await.expect("a twin")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_twin_has_the_same_blocks_and_its_own_way() {
    let first = node(10).await;
    let second = twin(&first).await;
    assert_ne!(first.url(), second.url());
    assert_eq!(hashes(&first, 0..=9).await, hashes(&second, 0..=9).await);
    second.reorg(3, 4).await.expect("another branch");
    let (ours, theirs) = (hashes(&first, 0..=9).await, hashes(&second, 0..=10).await);
    assert_eq!(ours[..7], theirs[..7]);
    assert!(ours[7..].iter().zip(&theirs[7..]).all(|(ours, theirs)| ours != theirs));
    // The same depth on the other one is another branch still, and grows by itself.
    first.reorg(3, 3).await.expect("another branch");
    assert_ne!(hashes(&first, 7..=9).await, theirs[7..10]);
    second.push_blocks(2).await.expect("blocks");
    assert_eq!(second.head().map(|head| head.number), Some(12));
    assert_eq!(first.head().map(|head| head.number), Some(9));
    assert_eq!(second.truth(12).map(|truth| truth.block_number), Some(12));
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_is_switched_to_and_back() {
    let node = node(12).await;
    let a = hashes(&node, 0..=11).await;
    let branch = node.prepare_branch(5, 6).await.expect("a branch");
    assert_eq!((branch.first_height(), branch.blocks()), (7, 6));
    assert_eq!(hashes(&node, 0..=11).await, a, "preparing changes nothing");
    let branch_a = node.switch_to(branch).await.expect("it fits");
    let b = hashes(&node, 0..=12).await;
    assert_eq!(a[..7], b[..7]);
    assert_ne!(a[7], b[7]);
    node.push_blocks(1).await.expect("a block on B");
    let branch_b = node.switch_to(branch_a).await.expect("it fits");
    assert_eq!(hashes(&node, 0..=11).await, a);
    assert_eq!(node.head().map(|head| head.number), Some(11));
    // A goes on as if nothing had happened, which its twin without a switch shows.
    let other = start(options(13)).await;
    node.push_blocks(1).await.expect("a block on A");
    assert_eq!(hashes(&node, 12..=12).await, hashes(&other, 12..=12).await);
    node.switch_to(branch_b).await.expect("it fits");
    assert_eq!(hashes(&node, 0..=12).await, b);
    assert_eq!(node.head().map(|head| head.number), Some(13));
    let above = node.prepare_branch(2, 2).await.expect("a branch");
    node.reorg(6, 6).await.expect("another branch below it");
    let refused = node.switch_to(above).await.expect_err("it stood on what is gone");
    assert!(matches!(refused, DevNodeError::ForeignBranch { from: 12 }), "{refused}");
    assert!(matches!(
        node.prepare_branch(14, 1).await,
        Err(DevNodeError::ReorgDepth { depth: 14, blocks: 14 })
    ));
    node.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_take_the_same_prepared_branch() {
    let first = node(8).await;
    let second = twin(&first).await;
    let branch = first.prepare_branch(3, 4).await.expect("a branch");
    first.switch_to(branch.clone()).await.expect("it fits");
    assert_ne!(first.head(), second.head());
    second.switch_to(branch).await.expect("it fits there too");
    assert_eq!(first.head(), second.head());
    first.stop().await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_follows_growth_and_reorgs_until_it_disagrees() {
    let leader = node(6).await;
    let follower = twin(&leader).await;
    follower.follow_from(&leader);
    leader.push_blocks(3).await.expect("blocks");
    follower.wait_for_height(8).await;
    leader.reorg(4, 6).await.expect("a reorg");
    follower.wait_for_height(10).await;
    assert_eq!(follower.head(), leader.head());
    follower.reorg(2, 1).await.expect("it goes its own way");
    assert_eq!(follower.head().map(|head| head.number), Some(9));
    leader.push_blocks(2).await.expect("blocks");
    assert_eq!(follower.head().map(|head| head.number), Some(9));
    let (ours, theirs) = (hashes(&leader, 8..=9).await, hashes(&follower, 8..=9).await);
    assert_eq!((ours[0] == theirs[0], ours[1] == theirs[1]), (true, false));
    follower.follow_from(&leader);
    follower.wait_for_height(12).await;
    assert_eq!(follower.head(), leader.head());
    // On its own it makes the blocks that the leader makes.
    follower.unfollow().await.expect("it stops");
    follower.push_blocks(1).await.expect("a block");
    leader.push_blocks(1).await.expect("a block");
    assert_eq!(follower.head(), leader.head());
    leader.stop().await;
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lagging_node_hides_its_newest_blocks() {
    let leader = node(10).await;
    let lagging =
        leader.twin(TwinOptions { lag: 3, ..TwinOptions::default() }).await.expect("a twin");
    lagging.follow_from(&leader);
    assert_eq!(lagging.head().map(|head| head.number), Some(6));
    let hidden = json!([{ "block_number": 7 }]);
    let answer = call(&lagging, "starknet_getBlockWithReceipts", hidden).await;
    assert_eq!(answer["error"]["code"], 24);
    let hash = hashes(&leader, 7..=7).await.remove(0);
    let by_hash = json!([{ "block_hash": hash }]);
    let answer = call(&lagging, "starknet_getBlockWithTxHashes", by_hash).await;
    assert_eq!(answer["error"]["code"], 24);
    leader.push_blocks(1).await.expect("a block");
    lagging.wait_for_height(7).await;
    lagging.set_lag(0);
    assert_eq!(lagging.head(), leader.head());
    lagging.set_lag(1_000);
    assert_eq!(lagging.head().map(|head| head.number), Some(0), "block 0 is always there");
    leader.stop().await;
    lagging.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_final_by_lag_or_by_word() {
    let node = start(DevNodeOptions { l1_lag: 100, ..options(6) }).await;
    let l1 = json!(["l1_accepted"]);
    let none = call(&node, "starknet_getBlockWithTxHashes", l1.clone()).await;
    assert_eq!(none["error"]["code"], 24);
    node.finalize(3);
    let newest = call(&node, "starknet_getBlockWithTxHashes", l1.clone()).await;
    assert_eq!(newest["result"]["block_number"], 3);
    assert_eq!(block(&node, 3).await["status"], "ACCEPTED_ON_L1");
    assert_eq!(block(&node, 4).await["status"], "ACCEPTED_ON_L2");
    node.finalize(2);
    node.finalize(3);
    let newest = call(&node, "starknet_getBlockWithTxHashes", l1).await;
    assert_eq!(newest["result"]["block_number"], 3, "finality does not go back");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_closes_and_opens_again() {
    let node = node(2).await;
    let request = support::request("starknet_blockNumber", &json!([])).to_string();
    let url = node.url();
    node.stop_serving().await;
    let refused = try_post(&node, &request).await.expect_err("nobody listens");
    assert!(refused.is_connect(), "{refused}");
    node.push_blocks(1).await.expect("the chain goes on");
    node.start_serving().await.expect("the port is still free");
    node.start_serving().await.expect("it is open already");
    assert_eq!(node.url(), url);
    assert_eq!(call(&node, "starknet_blockNumber", json!([])).await["result"], 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_method() {
    let node = node(1).await;
    assert_eq!(node.calls("starknet_chainId"), 0);
    call(&node, "starknet_chainId", json!([])).await;
    call(&node, "starknet_doesNotExist", json!([])).await;
    node.wait_for_calls("starknet_chainId", 1).await;
    assert_eq!((node.calls("starknet_chainId"), node.calls("starknet_doesNotExist")), (1, 0));
    node.stop().await;
}
