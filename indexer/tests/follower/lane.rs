//! What the chain lane holds besides blocks, and that it does not depend on how it was fetched.

use obsqra_events::{AdoptedWhat, Fact, Kind};
use obsqra_testkit::{canonical_blocks, read_log};
use obsqra_types::{BlockNumber, Hash32};

use crate::support::{NEVER, World, count, node};

#[tokio::test]
async fn blocks_become_final_once_and_in_order() {
    let (world, node) = (World::new().await, node(60, 10).await);
    let following = world.follow(&node);
    for finalized in [49, 54, 59] {
        world
            .until(&following, "blocks are final", async |world| {
                let tip = world.tip().await;
                tip.is_some_and(|tip| tip.finalized == Some(BlockNumber(finalized)))
            })
            .await;
        node.push_blocks(5).await.unwrap();
    }
    world.caught_up(&node, &following).await;
    following.stop().await;
    let entries = world.check_all(&node).await;
    let blocks = canonical_blocks(&entries);
    let mut before = None;
    for entry in &entries {
        if let Fact::BlockFinalized(finalized) = entry.draft.fact().unwrap() {
            let number = entry.draft.block.unwrap().number.0;
            assert!(before < Some(number), "{before:?} before {number}");
            assert_eq!(finalized.hash.to_string(), blocks[usize::try_from(number).unwrap()].hash);
            before = Some(number);
        }
    }
    assert!(before >= Some(59), "{before:?}");
}

#[tokio::test]
async fn the_chain_lane_is_the_same_however_it_was_fetched() {
    let node = node(50, 10).await;
    let mut lanes: Vec<Vec<Hash32>> = Vec::new();
    for (batch_blocks, batch_events, fetch_ahead) in [(1, 5_000, 1), (64, 5_000, 16), (7, 100, 3)] {
        let world = World::new().await;
        let mut options = world.options();
        (options.batch_blocks, options.batch_events) = (batch_blocks, batch_events);
        options.fetch_ahead = fetch_ahead;
        let following = world.follow_with(&node, options);
        world
            .until(&following, "blocks are final", async |world| {
                world.tip().await.is_some_and(|tip| tip.finalized == Some(BlockNumber(39)))
            })
            .await;
        following.stop().await;
        let entries = world.check_all(&node).await;
        let lane = entries.iter().filter(|entry| entry.draft.kind != Kind::BlockAttested);
        lanes.push(lane.map(|entry| entry.draft.content_hash).collect());
        assert_eq!(count(&entries, Kind::BlockAttested), 50);
    }
    assert_eq!(lanes[0], lanes[1]);
    assert_eq!(lanes[0], lanes[2]);
}

#[tokio::test]
async fn what_shapes_numbers_is_adopted_when_it_changes() {
    let (world, node) = (World::new().await, node(5, NEVER).await);
    for (version, adopted) in [("1", 2), ("1", 2), ("2", 3), ("1", 4)] {
        let mut options = world.options();
        let bytes = version.as_bytes().to_vec();
        options.adopt.push((AdoptedWhat::Metrics, version.into(), bytes));
        let following = world.follow_with(&node, options);
        node.push_blocks(1).await.unwrap();
        world.caught_up(&node, &following).await;
        following.stop().await;
        assert_eq!(count(&read_log(&world.store).await, Kind::Adopted), adopted);
    }
    world.check_all(&node).await;
}
