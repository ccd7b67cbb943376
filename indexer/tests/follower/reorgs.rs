//! Chains that compete.

use obsqra_devnode::{DevNode, DevNodeOptions};
use obsqra_events::Kind;
use obsqra_indexer::IndexError;
use obsqra_types::BlockNumber;

use crate::support::{NEVER, World, count, node};

const DEPTHS: [u64; 4] = [1, 2, 10, 60];
/// Of the light chain, whose blocks need no sealing.
const DEEP: [u64; 3] = [100, 600, 2_000];

#[tokio::test]
async fn a_reorganisation_of_any_depth_is_followed_live() {
    let (world, node) = (World::new().await, node(80, NEVER).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    let mut reverted = 0;
    for (depth, epoch) in DEPTHS.into_iter().zip(1..) {
        node.reorg(depth, depth + 3).await.unwrap();
        world.caught_up(&node, &following).await;
        let entries = world.check_all(&node).await;
        reverted += usize::try_from(depth).unwrap();
        assert_eq!(count(&entries, Kind::BlockReverted), reverted, "depth {depth}");
        assert_eq!(world.tip().await.unwrap().epoch.0, epoch);
    }
    following.stop().await;
}

#[tokio::test]
async fn a_reorganisation_while_the_follower_is_down_is_found_at_its_start() {
    let (world, node) = (World::new().await, node(80, NEVER).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    following.stop().await;
    let mut reverted = 0;
    for depth in DEPTHS {
        node.reorg(depth, depth + 3).await.unwrap();
        let following = world.follow(&node);
        world.caught_up(&node, &following).await;
        following.stop().await;
        let entries = world.check_all(&node).await;
        reverted += usize::try_from(depth).unwrap();
        assert_eq!(count(&entries, Kind::BlockReverted), reverted, "depth {depth}");
    }
}

#[tokio::test]
async fn a_shorter_chain_replaces_a_longer_one_and_grows() {
    let (world, node) = (World::new().await, node(40, NEVER).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    node.reorg(10, 4).await.unwrap();
    world.caught_up(&node, &following).await;
    world.check_all(&node).await;
    node.push_blocks(20).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    let entries = world.check_all(&node).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 10);
}

#[tokio::test]
async fn a_chain_that_only_lost_blocks_is_waited_for_until_it_competes() {
    let (world, node) = (World::new().await, node(40, NEVER).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    node.reorg(10, 0).await.unwrap();
    let shorter = node.head().unwrap().number;
    world
        .until(&following, "the shorter chain is seen", async |_| {
            let head = following.progress.borrow().node_head;
            head == Some(BlockNumber(shorter))
        })
        .await;
    assert_eq!(world.tip().await.unwrap().number, BlockNumber(39));
    node.push_blocks(3).await.unwrap();
    world.caught_up(&node, &following).await;
    let entries = world.check_all(&node).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 10);
    node.push_blocks(20).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check_all(&node).await;
}

#[tokio::test]
async fn a_block_that_comes_back_is_applied_again() {
    let world = World::new().await;
    let (first, other) = (node(40, NEVER).await, node(40, NEVER).await);
    other.reorg(5, 6).await.unwrap();
    for (node, epoch) in [(&first, 0), (&other, 1), (&first, 2)] {
        // The first node's chain is the shorter one: the follower takes a competing hash, not a length.
        let following = world.follow(node);
        world.caught_up(node, &following).await;
        following.stop().await;
        world.check_all(node).await;
        assert_eq!(world.tip().await.unwrap().epoch.0, epoch);
    }
    let entries = world.check_all(&first).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 5 + 6);
    assert_eq!(count(&entries, Kind::BlockApplied), 40 + 6 + 5);
}

#[tokio::test]
async fn nothing_that_is_accepted_on_l1_is_reverted() {
    let (world, node) = (World::new().await, node(40, 5).await);
    let following = world.follow(&node);
    world
        .until(&following, "blocks are final", async |world| {
            world.tip().await.is_some_and(|tip| tip.finalized == Some(BlockNumber(34)))
        })
        .await;
    let before = world.check_all(&node).await;
    node.reorg(10, 12).await.unwrap();
    let error = following.fails().await;
    let text = error.to_string();
    let IndexError::BelowFinal { finalized, .. } = error else { panic!("{text}") };
    assert_eq!(finalized, BlockNumber(34));
    for named in [node.url().trim_end_matches('/'), "block 34", "34 are accepted on L1"] {
        assert!(text.contains(named), "{text}");
    }
    assert_eq!(obsqra_testkit::read_log(&world.store).await, before);
}

#[tokio::test]
async fn a_reorganisation_above_what_is_final_is_followed() {
    let (world, node) = (World::new().await, node(40, 5).await);
    let following = world.follow(&node);
    world
        .until(&following, "blocks are final", async |world| {
            world.tip().await.is_some_and(|tip| tip.finalized == Some(BlockNumber(34)))
        })
        .await;
    node.reorg(5, 8).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check_all(&node).await;
}

async fn light(blocks: u64) -> DevNode {
    let options = DevNodeOptions { l1_lag: NEVER, ..DevNodeOptions::light(7, 2, blocks) };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(blocks - 1).await;
    node
}

#[tokio::test]
async fn deep_reorganisations_are_followed_there_and_back() {
    let (world, node) = (World::light().await, light(2_100).await);
    let mut options = world.options();
    (options.batch_blocks, options.fetch_ahead) = (128, 16);
    let following = world.follow_with(&node, options);
    world.caught_up(&node, &following).await;
    let mut reverted = 0;
    for depth in DEEP {
        let branch = node.prepare_branch(depth, depth + 2).await.unwrap();
        let before = node.switch_to(branch).await.unwrap();
        world.caught_up(&node, &following).await;
        node.switch_to(before).await.unwrap();
        world.caught_up(&node, &following).await;
        reverted += 2 * usize::try_from(depth).unwrap() + 2;
        let entries = world.check_all(&node).await;
        assert_eq!(count(&entries, Kind::BlockReverted), reverted, "depth {depth}");
    }
    following.stop().await;
}

#[tokio::test]
async fn a_chain_that_changes_while_blocks_are_fetched_is_followed() {
    let (world, node) = (World::light().await, light(3_000).await);
    let following = world.follow(&node);
    for (height, depth) in [(100, 2_950), (400, 2_700), (900, 500), (1_500, 1)] {
        world
            .until(&following, "the backfill is under way", async |world| {
                world.tip().await.is_some_and(|tip| tip.number.0 >= height)
            })
            .await;
        let branch = node.prepare_branch(depth, depth + 1).await.unwrap();
        node.switch_to(branch).await.unwrap();
    }
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check_all(&node).await;
}

#[tokio::test]
async fn a_reorganisation_inside_a_reorganisation_is_followed() {
    let (world, node) = (World::light().await, light(600).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    for (first, second) in [(300, 200), (200, 300), (50, 50)] {
        let before = world.tip().await.unwrap().epoch;
        node.switch_to(node.prepare_branch(first, first + 5).await.unwrap()).await.unwrap();
        world
            .until(&following, "the first is taken up", async |world| {
                world.tip().await.unwrap().epoch > before
            })
            .await;
        node.switch_to(node.prepare_branch(second, second + 5).await.unwrap()).await.unwrap();
        world.caught_up(&node, &following).await;
        world.check_all(&node).await;
    }
    following.stop().await;
}
