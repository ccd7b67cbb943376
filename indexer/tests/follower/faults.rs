//! What a node gets wrong.

use std::time::{Duration, Instant};

use obsqra_devnode::{Fault, FaultScope, Spec};
use obsqra_events::Kind;
use obsqra_indexer::IndexError;
use obsqra_testkit::read_log;
use obsqra_types::BlockNumber;

use crate::support::{NEVER, World, count, node, node_of};

const BLOCK: &str = "starknet_getBlockWithReceipts";
const HEAD: &str = "starknet_blockHashAndNumber";

#[tokio::test]
async fn a_node_of_another_chain_is_refused_by_name() {
    let (world, node) = (World::new().await, node(5, NEVER).await);
    let scope = FaultScope::method("starknet_chainId", u32::MAX);
    node.faults().inject(Fault::WrongChainId("SN_OTHER".into()), scope);
    let error = world.follow(&node).fails().await;
    assert!(matches!(error, IndexError::WrongChain { .. }), "{error}");
    let text = error.to_string();
    for named in [node.url().trim_end_matches('/'), "SN_OTHER", "OBSQRA_DEV"] {
        assert!(text.contains(named), "{text}");
    }
    assert!(read_log(&world.store).await.is_empty());
}

#[tokio::test]
async fn trouble_that_passes_leaves_nothing_missing_and_nothing_twice() {
    let (world, node) = (World::new().await, node(10, NEVER).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    let passing = [
        Fault::GarbageBody,
        Fault::TruncatedBody,
        Fault::TooManyRequests { retry_after_seconds: Some(0) },
        Fault::TooManyRequests { retry_after_seconds: None },
        Fault::RateLimitedInBody,
        Fault::ServerError,
        Fault::ServiceUnavailable,
        Fault::HtmlBody,
        Fault::EmptyBody,
        Fault::EmptyObject,
        Fault::NullResult,
        Fault::TruncatedJson,
        Fault::ClosedBeforeBody,
        Fault::ConnectionReset,
        Fault::SlowDrip { pieces: 40, pause_millis: 100 },
        Fault::NeighbourBlock { above: 1 },
        Fault::NeighbourBlock { above: -1 },
        Fault::BlockMissing,
        Fault::UnknownEventMember,
        Fault::LostEvent,
        Fault::DuplicateEvent,
        Fault::FeltOutOfRange,
        Fault::Hang { millis: 4_000 },
        Fault::MissingEvents,
        Fault::UnknownTransactionType,
        Fault::UnknownField,
        Fault::WrongParentHash,
    ];
    for fault in passing {
        let next = node.head().unwrap().number + 1;
        for block in [next, next + 3] {
            node.faults().inject(fault.clone(), FaultScope::method(BLOCK, 1).at_block(block));
        }
        if spoils_any_answer(&fault) {
            node.faults().inject(fault.clone(), FaultScope::method(HEAD, 1));
        }
        node.push_blocks(5).await.unwrap();
        world.caught_up(&node, &following).await;
        world
            .until(&following, &format!("{fault:?} is used up"), async |_| {
                node.faults().pending() == 0
            })
            .await;
    }
    following.stop().await;
    let entries = world.check_all(&node).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 0);
}

#[tokio::test]
async fn trouble_between_any_two_blocks_does_not_add_up() {
    let (world, node) = (World::new().await, node(60, NEVER).await);
    // More failures in all than a follower puts up with at one place.
    for block in (0..60).step_by(3) {
        node.faults().inject(Fault::GarbageBody, FaultScope::method(BLOCK, 1).at_block(block));
    }
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check_all(&node).await;
}

#[tokio::test]
async fn a_node_that_asks_for_time_gets_it() {
    let (world, node) = (World::new().await, node(5, NEVER).await);
    let fault = Fault::TooManyRequests { retry_after_seconds: Some(1) };
    node.faults().inject(fault, FaultScope::method(BLOCK, 1).at_block(0));
    let begun = Instant::now();
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    following.stop().await;
    world.check_all(&node).await;
}

#[tokio::test]
async fn a_block_without_its_events_stops_with_all_below_it_in_the_log() {
    let (world, node) = (World::new().await, node(30, NEVER).await);
    let scope = FaultScope::method(BLOCK, u32::MAX).at_block(17);
    node.faults().inject(Fault::MissingEvents, scope);
    let text = world.follow(&node).fails().await.to_string();
    for named in [node.url().trim_end_matches('/'), "block 17"] {
        assert!(text.contains(named), "{text}");
    }
    world.check(&node, (0, 16)).await;

    node.faults().clear();
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check_all(&node).await;
}

#[tokio::test]
async fn a_block_that_never_links_stops_with_all_below_it_in_the_log() {
    for block in [17, 14, 1] {
        // A node whose blocks cannot be checked by themselves: else the hash would tell first.
        let (world, node) = (World::new().await, node_of(30, Spec::V0_9).await);
        let scope = FaultScope::method(BLOCK, u32::MAX).at_block(block);
        node.faults().inject(Fault::WrongParentHash, scope);
        let error = world.follow(&node).fails().await;
        let text = error.to_string();
        assert!(text.contains(node.url().trim_end_matches('/')), "{text}");
        let IndexError::Unlinked { number, .. } = error else { panic!("{text}") };
        assert_eq!(number, BlockNumber(block));
        node.faults().clear();
        let entries = world.check(&node, (0, block - 1)).await;
        assert_eq!(count(&entries, Kind::BlockReverted), 0);
    }
}

#[tokio::test]
async fn a_head_that_goes_backwards_reverts_nothing() {
    let (world, node) = (World::new().await, node(30, NEVER).await);
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    node.faults().inject(Fault::HeadBackwards { blocks: 12 }, FaultScope::method(HEAD, 10));
    world.until(&following, "the heads were seen", async |_| node.faults().pending() == 0).await;
    node.push_blocks(5).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    let entries = world.check_all(&node).await;
    assert_eq!(count(&entries, Kind::BlockReverted), 0);
    assert_eq!(world.tip().await.unwrap().epoch.0, 0);
}

/// Whether a fault shows in answers that are not about a block.
fn spoils_any_answer(fault: &Fault) -> bool {
    matches!(
        fault,
        Fault::GarbageBody
            | Fault::TruncatedBody
            | Fault::TooManyRequests { .. }
            | Fault::RateLimitedInBody
            | Fault::ServerError
            | Fault::ServiceUnavailable
            | Fault::HtmlBody
            | Fault::EmptyBody
            | Fault::EmptyObject
            | Fault::TruncatedJson
            | Fault::ClosedBeforeBody
            | Fault::ConnectionReset
            | Fault::Hang { .. }
            | Fault::SlowDrip { .. }
    )
}

/// Until the block's hash is recomputed, a false one shows in the block above it: what was appended under
/// it is reverted and replaced, and nothing of it counts.
#[tokio::test]
async fn one_height_with_two_hashes_ends_as_the_node_has_it() {
    let (world, node) = (World::new().await, node(20, NEVER).await);
    for fault in [Fault::WrongHash, Fault::AlternatingHash] {
        let next = node.head().unwrap().number + 1;
        node.faults().inject(fault, FaultScope::method(BLOCK, 1).at_block(next + 2));
        let following = world.follow(&node);
        node.push_blocks(8).await.unwrap();
        world.caught_up(&node, &following).await;
        following.stop().await;
        world.check_all(&node).await;
    }
}

#[tokio::test]
async fn a_block_of_fifty_megabytes_is_read_like_any_other() {
    let (world, node) = (World::new().await, node(10, NEVER).await);
    let padding = Fault::Padding { bytes: 50 << 20 };
    node.faults().inject(padding, FaultScope::method(BLOCK, 1).at_block(5));
    let mut options = world.options();
    options.attempts = 12;
    let following = world.follow_with(&node, options);
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check_all(&node).await;
}
