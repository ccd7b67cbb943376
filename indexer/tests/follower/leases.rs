//! Several followers of one chain.

use obsqra_events::Kind;
use obsqra_types::BlockNumber;

use crate::support::{NEVER, World, count, node};

#[tokio::test]
async fn a_second_follower_waits_and_takes_over() {
    let (world, node) = (World::new().await, node(20, NEVER).await);
    let first = world.follow(&node);
    world.caught_up(&node, &first).await;
    let second = world.follow(&node);
    node.push_blocks(20).await.unwrap();
    world.caught_up(&node, &first).await;
    assert_eq!(second.progress.borrow().tip, None, "the second has not begun");
    first.stop().await;
    node.push_blocks(20).await.unwrap();
    world.caught_up(&node, &second).await;
    assert_eq!(second.progress.borrow().blocks, 20);
    second.stop().await;
    let entries = world.check_all(&node).await;
    assert_eq!(count(&entries, Kind::BlockApplied), 60);
}

#[tokio::test]
async fn a_follower_whose_lease_was_taken_stops_and_says_so() {
    let (world, node) = (World::new().await, node(20, NEVER).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    world
        .database
        .execute("UPDATE lease SET epoch = epoch + 1, holder = 'another', expires_at = clock_timestamp()")
        .await;
    node.push_blocks(20).await.unwrap();
    let error = following.fails().await;
    assert_eq!(
        error.to_string(),
        "follower/OBSQRA_DEV is held by another process: this one stops writing to it"
    );
    world.check(&node, (0, 19)).await;
    let next = world.follow(&node);
    world.caught_up(&node, &next).await;
    next.stop().await;
    let entries = world.check_all(&node).await;
    assert_eq!(count(&entries, Kind::BlockApplied), 40);
    let epochs = world.database.number("SELECT epoch FROM lease").await;
    assert_eq!(epochs, 3, "the next took the lease anew");
}

#[tokio::test]
async fn a_log_that_begins_above_the_first_block_stays_so() {
    let (world, node) = (World::new().await, node(30, NEVER).await);
    for expected_end in [29, 39] {
        let mut options = world.options();
        // Where the log begins was settled by the first start.
        options.start = BlockNumber(if expected_end == 29 { 12 } else { 0 });
        let following = world.follow_with(&node, options);
        world.caught_up(&node, &following).await;
        following.stop().await;
        world.check(&node, (12, expected_end)).await;
        assert_eq!(world.tip().await.unwrap().first, BlockNumber(12));
        node.push_blocks(10).await.unwrap();
    }
}

#[tokio::test]
async fn a_start_above_the_nodes_head_waits_for_it() {
    let (world, node) = (World::new().await, node(10, NEVER).await);
    let mut options = world.options();
    options.start = BlockNumber(15);
    let following = world.follow_with(&node, options);
    world
        .until(&following, "the node's head is seen", async |_| {
            following.progress.borrow().node_head.is_some()
        })
        .await;
    node.push_blocks(10).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check(&node, (15, 19)).await;
}
