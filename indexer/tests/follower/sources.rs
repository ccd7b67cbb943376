//! Where blocks come from: editions of the specification, several nodes, a stream.

use std::net::SocketAddr;

use obsqra_devnode::{DevNode, DevNodeOptions, DnaFault, Spec, TwinOptions};
use obsqra_events::{Fact, Kind, Verdict};
use obsqra_indexer::Feed;
use obsqra_testkit::read_log;
use obsqra_types::{BlockNumber, Hash32};

use crate::support::{NEVER, SEED, World, count, node, nodes, stream};

const BLOCKS: u64 = 50;

async fn node_of(change: impl FnOnce(&mut DevNodeOptions)) -> DevNode {
    let mut options = DevNodeOptions {
        blocks: BLOCKS,
        blocks_per_second: 0.0,
        l1_lag: 10,
        dna_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..DevNodeOptions::seeded(SEED)
    };
    change(&mut options);
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(BLOCKS - 1).await;
    node
}

/// Follows a feed until what is final is in; the lane without attestations, and the attestations' sources. When
/// word comes that a block is final is no matter of the blocks: those entries stand at the end here.
async fn lane(feed: Feed) -> (Vec<Hash32>, Vec<String>) {
    let world = World::new().await;
    let following = world.follow_feed(feed, world.options());
    world
        .until(&following, "all blocks are in and some are final", async |world| {
            let tip = world.tip().await;
            tip.is_some_and(|tip| {
                let finalized = Some(BlockNumber(BLOCKS - 11));
                tip.number == BlockNumber(BLOCKS - 1) && tip.finalized == finalized
            })
        })
        .await;
    following.stop().await;
    let (mut lane, mut last, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    for entry in read_log(&world.store).await {
        match entry.draft.fact().unwrap() {
            Fact::BlockAttested(attested) => {
                assert!(!matches!(attested.verdict, Verdict::Unchecked(_)));
                let is_verified = attested.verdict == Verdict::Verified;
                assert_eq!(is_verified, attested.source == "json-rpc/0.10");
                sources.push(attested.source);
            }
            Fact::BlockFinalized(_) => last.push(entry.draft.content_hash),
            _ => lane.push(entry.draft.content_hash),
        }
    }
    sources.dedup();
    lane.extend(last);
    (lane, sources)
}

#[tokio::test]
async fn every_source_gives_the_same_chain_lane() {
    let reference = node_of(|_| ()).await;
    let (expected, source) = lane(Feed::Nodes(nodes(&[&reference]))).await;
    assert_eq!(source, ["json-rpc/0.10"]);
    for (spec, name) in [(Spec::V0_8, "json-rpc/0.8"), (Spec::V0_9, "json-rpc/0.9")] {
        for padded in [false, true] {
            let node = node_of(|options| {
                (options.spec, options.padded_felts, options.null_tokens) = (spec, padded, padded);
            })
            .await;
            let (found, source) = lane(Feed::Nodes(nodes(&[&node]))).await;
            assert!(found == expected, "{name} differs");
            assert_eq!(source, [name]);
        }
    }
    let (found, source) = lane(stream(&reference)).await;
    assert!(found == expected, "the stream differs");
    assert_eq!(source, ["apibara-dna/2"]);
}

#[tokio::test]
async fn a_stream_is_followed_through_reorganisations_and_restarts() {
    let (world, node) = (World::new().await, node_of(|options| options.l1_lag = NEVER).await);
    let mut following = world.follow_feed(stream(&node), world.options());
    world.caught_up(&node, &following).await;
    let mut reverted = 0;
    for (depth, live) in [(1, true), (10, true), (3, false), (30, false)] {
        if live {
            node.reorg(depth, depth + 2).await.unwrap();
        } else {
            following.stop().await;
            node.reorg(depth, depth + 2).await.unwrap();
            following = world.follow_feed(stream(&node), world.options());
        }
        world.caught_up(&node, &following).await;
        reverted += usize::try_from(depth).unwrap();
        let entries = world.check_all(&node).await;
        assert_eq!(count(&entries, Kind::BlockReverted), reverted, "depth {depth}");
    }
    following.stop().await;
}

#[tokio::test]
async fn a_stream_that_misbehaves_is_taken_up_again() {
    let (world, node) = (World::new().await, node_of(|options| options.l1_lag = NEVER).await);
    let following = world.follow_feed(stream(&node), world.options());
    world.caught_up(&node, &following).await;
    for fault in [
        DnaFault::GarbageData,
        DnaFault::TruncatedData,
        DnaFault::FeltBeyondField,
        DnaFault::MissingHeader,
        DnaFault::Duplicate,
        DnaFault::Gap,
        DnaFault::WrongOrder,
        DnaFault::End,
        DnaFault::Disconnect,
    ] {
        let next = node.head().unwrap().number + 1;
        node.dna_faults().inject(next, fault);
        node.push_blocks(4).await.unwrap();
        world.caught_up(&node, &following).await;
    }
    node.dna_faults().refuse_calls(3);
    node.push_blocks(2).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    let entries = world.check_all(&node).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 0);
}

#[tokio::test]
async fn another_node_takes_over_and_hands_back() {
    let (world, first) = (World::new().await, node(20, NEVER).await);
    let second = first.twin(TwinOptions::default()).await.unwrap();
    second.follow_from(&first);
    let feed = Feed::Nodes(nodes(&[&first, &second]));
    let following = world.follow_feed(feed, world.options());
    for _ in 0..2 {
        first.push_blocks(5).await.unwrap();
        world.caught_up(&first, &following).await;
        first.stop_serving().await;
        first.push_blocks(5).await.unwrap();
        world.caught_up(&first, &following).await;
        first.start_serving().await.unwrap();
        second.stop_serving().await;
        first.push_blocks(5).await.unwrap();
        world.caught_up(&first, &following).await;
        second.start_serving().await.unwrap();
    }
    following.stop().await;
    let entries = world.check_all(&first).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 0, "a change of node is no reorganisation");
}

#[tokio::test]
async fn nodes_that_disagree_do_not_make_the_log_flap() {
    let (world, first) = (World::new().await, node(30, NEVER).await);
    let second = first.twin(TwinOptions::default()).await.unwrap();
    second.reorg(5, 6).await.unwrap();
    let feed = Feed::Nodes(nodes(&[&first, &second]));
    let following = world.follow_feed(feed, world.options());
    world.caught_up(&first, &following).await;
    for _ in 0..3 {
        second.push_blocks(1).await.unwrap();
        first.push_blocks(1).await.unwrap();
        world.caught_up(&first, &following).await;
    }
    assert_eq!(count(&read_log(&world.store).await, Kind::BlockReverted), 0);
    // Only when the leader is gone does the other one's branch count, as a reorganisation.
    first.stop_serving().await;
    world.caught_up(&second, &following).await;
    following.stop().await;
    let entries = world.check_all(&second).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 8);
}

#[tokio::test]
async fn a_node_that_falls_behind_is_left_for_one_that_does_not() {
    let (world, first) = (World::new().await, node(30, NEVER).await);
    let second = first.twin(TwinOptions::default()).await.unwrap();
    second.follow_from(&first);
    let feed = Feed::Nodes(nodes(&[&first, &second]));
    let following = world.follow_feed(feed, world.options());
    world.caught_up(&first, &following).await;
    first.set_lag(15);
    first.push_blocks(10).await.unwrap();
    world.caught_up(&second, &following).await;
    following.stop().await;
    let entries = world.check_all(&second).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 0);
}

#[tokio::test]
async fn new_heads_wake_a_follower_that_polls_seldom() {
    let (world, node) = (World::new().await, node(10, NEVER).await);
    let mut options = world.options();
    options.poll_interval = std::time::Duration::from_secs(3_600);
    let following = world.follow_with(&node, options);
    world.caught_up(&node, &following).await;
    for _ in 0..3 {
        node.push_blocks(2).await.unwrap();
        world.caught_up(&node, &following).await;
    }
    following.stop().await;
    world.check_all(&node).await;
}
