//! Events that a node leaves out: found out, noted, and not in the log.

use obsqra_devnode::{DevNode, Fault, FaultScope, Spec, TwinOptions};
use obsqra_events::{Check, Fact, Kind, Verdict};
use obsqra_indexer::completeness::{Effort, Keep, Outcome, check};
use obsqra_indexer::source::{SourceError, read_block_file};
use obsqra_indexer::{Feed, IndexError};
use obsqra_store::attested::{AttestedAs, AttestedRange};
use obsqra_store::finding;
use obsqra_testkit::read_log;
use obsqra_types::BlockNumber;

use crate::attest::ranges;
use crate::support::{NEVER, World, count, node, node_of, nodes};

const BLOCK: &str = "starknet_getBlockWithReceipts";

/// From a block on, the node leaves the last event out of each answer about it.
fn lose_events_of(node: &DevNode, block: u64) {
    let scope = FaultScope::method(BLOCK, u32::MAX).at_block(block);
    node.faults().inject(Fault::LostEvent, scope);
}

fn range(first: u64, last: u64, verdict: AttestedAs) -> AttestedRange {
    AttestedRange { first: BlockNumber(first), last: BlockNumber(last), verdict }
}

#[tokio::test]
async fn a_lost_event_stops_the_follower_of_a_single_node() {
    let (world, node) = (World::new().await, node(30, NEVER).await);
    lose_events_of(&node, 17);
    for _ in 0..2 {
        let error = world.follow(&node).fails().await;
        let text = error.to_string();
        for word in ["block 17 is not whole", "event_count", "event_commitment"] {
            assert!(text.contains(word), "{text}");
        }
        let IndexError::Source(error) = error else { panic!("{text}") };
        assert!(matches!(error.cause(), SourceError::Mismatch(_)));
    }
    // All below it is in, and it was told of once.
    let entries = world.check(&node, (0, 16)).await;
    assert_eq!(count(&entries, Kind::MismatchFound), 1);
    let found = finding::at(&world.store, &world.chain, BlockNumber(17)).await.unwrap();
    let (_, block) = read_block_file(found[0].answer.as_ref().unwrap()).unwrap();
    assert!(matches!(check(&block).outcome, Outcome::Mismatch(_)), "the evidence shows it");
    // A node that has been mended is followed on.
    node.faults().clear();
    let following = world.follow(&node);
    world.caught_up(&node, &following).await;
    following.stop().await;
    world.check_all(&node).await;
    assert_eq!(ranges(&world).await, [range(0, 29, AttestedAs::Verified)]);
}

#[tokio::test]
async fn every_kind_of_spoilt_block_is_found_out() {
    for fault in [Fault::LostEvent, Fault::DuplicateEvent, Fault::WrongHash, Fault::WrongParentHash]
    {
        let (world, node) = (World::new().await, node(12, NEVER).await);
        let scope = FaultScope::method(BLOCK, u32::MAX).at_block(9);
        node.faults().inject(fault.clone(), scope);
        let error = world.follow(&node).fails().await;
        assert!(error.to_string().contains("block 9 is not whole"), "{fault:?}: {error}");
        world.check(&node, (0, 8)).await;
    }
}

#[tokio::test]
async fn a_node_that_loses_events_is_demoted() {
    let (world, first) = (World::new().await, node(30, NEVER).await);
    let second = first.twin(TwinOptions::default()).await.unwrap();
    second.follow_from(&first);
    lose_events_of(&first, 12);
    lose_events_of(&first, 35);
    let feed = Feed::Nodes(nodes(&[&first, &second]));
    let following = world.follow_feed(feed, world.options());
    world.caught_up(&first, &following).await;
    first.push_blocks(10).await.unwrap();
    world.caught_up(&first, &following).await;
    following.stop().await;
    first.faults().clear();
    let entries = world.check_all(&first).await;
    assert!(count(&entries, Kind::MismatchFound) >= 1);
    assert_eq!(count(&entries, Kind::BlockReverted), 0);
    assert_eq!(ranges(&world).await, [range(0, 39, AttestedAs::Verified)]);
}

#[tokio::test]
async fn of_two_nodes_the_one_that_can_be_checked_is_followed() {
    let (world, old) = (World::new().await, node_of(30, Spec::V0_9).await);
    let new = old.twin(TwinOptions::default()).await.unwrap();
    // What a node of 0.9 has wrong does not show by itself.
    let scope = FaultScope::method(BLOCK, u32::MAX).at_block(11);
    old.faults().inject(Fault::DuplicateEvent, scope);
    let pool = nodes(&[&old, &new]);
    pool.probe().await;
    let following = world.follow_feed(Feed::Nodes(pool), world.options());
    world.caught_up(&new, &following).await;
    following.stop().await;
    old.faults().clear();
    let entries = world.check_all(&new).await;
    let disagreed: Vec<_> = entries
        .iter()
        .filter_map(|entry| match entry.draft.fact().unwrap() {
            Fact::SourcesDisagreed(fact) => Some(fact),
            _ => None,
        })
        .collect();
    assert_eq!(disagreed.len(), 1);
    assert_eq!(disagreed[0].number, BlockNumber(11));
    let [one, other] = disagreed[0].statements.as_slice() else { panic!("two statements") };
    assert_eq!(one.hash, other.hash);
    assert_ne!(one.digest, other.digest);
    let verdicts = [&one.verdict, &other.verdict];
    assert_eq!(verdicts.iter().filter(|verdict| ***verdict == Verdict::Verified).count(), 1);
}

#[tokio::test]
async fn where_neither_can_be_checked_nothing_is_taken() {
    let (world, one) = (World::new().await, node_of(30, Spec::V0_9).await);
    let spec = Spec::V0_8;
    let other = one.twin(TwinOptions { spec, ..TwinOptions::default() }).await.unwrap();
    lose_events_of(&one, 11);
    let pool = nodes(&[&one, &other]);
    pool.probe().await;
    let error = world.follow_feed(Feed::Nodes(pool), world.options()).fails().await;
    let text = error.to_string();
    assert!(text.contains("block 11") && text.contains("neither can be checked"), "{text}");
    assert_eq!(world.tip().await.unwrap().number, BlockNumber(10));
    let entries = read_log(&world.store).await;
    assert_eq!(count(&entries, Kind::SourcesDisagreed), 1);
    one.faults().clear();
    let pool = nodes(&[&one, &other]);
    pool.probe().await;
    let following = world.follow_feed(Feed::Nodes(pool), world.options());
    world.caught_up(&one, &following).await;
    following.stop().await;
    let entries = world.check_all(&one).await;
    let compared = entries.iter().filter(|entry| match entry.draft.fact().unwrap() {
        Fact::BlockAttested(fact) => fact.checks.contains(&Check::SecondSource),
        _ => false,
    });
    assert!(compared.count() >= 20, "both have the blocks");
    assert_eq!(ranges(&world).await, [range(0, 29, AttestedAs::Unverifiable)]);
}

#[tokio::test]
async fn ranges_follow_reorganisations_and_changes_of_source() {
    let (world, new) = (World::new().await, node(20, NEVER).await);
    let spec = Spec::V0_9;
    let old = new.twin(TwinOptions { spec, ..TwinOptions::default() }).await.unwrap();
    old.follow_from(&new);
    let mut expected = Vec::new();
    for (round, node) in [&new, &old, &new, &old].into_iter().enumerate() {
        let mut options = world.options();
        options.effort = if round == 2 { Effort::Off } else { Effort::Whole };
        let following = world.follow_with(node, options);
        // The twin has what the first node has a moment later.
        world.caught_up(&new, &following).await;
        if round == 1 {
            new.reorg(7, 9).await.unwrap();
            world.caught_up(&new, &following).await;
        }
        following.stop().await;
        let head = new.head().unwrap().number;
        expected.push((head, ranges(&world).await));
        new.push_blocks(5).await.unwrap();
    }
    let verdicts: Vec<Vec<_>> = expected
        .iter()
        .map(|(_, ranges)| ranges.iter().map(|range| range.verdict).collect())
        .collect();
    let (verified, unverifiable) = (AttestedAs::Verified, AttestedAs::Unverifiable);
    let unchecked = AttestedAs::Unchecked;
    assert_eq!(verdicts[0], [verified]);
    assert_eq!(verdicts[1], [verified, unverifiable]);
    assert_eq!(verdicts[2], [verified, unverifiable, unchecked]);
    assert_eq!(verdicts[3], [verified, unverifiable, unchecked, unverifiable]);
    for (head, ranges) in &expected {
        assert_eq!(ranges.last().unwrap().last, BlockNumber(*head));
    }
}

#[tokio::test]
async fn leaves_are_kept_where_they_are_wanted() {
    for keep in [Keep::Watched, Keep::WatchedAndLeaves] {
        let (world, node) = (World::new().await, node(10, NEVER).await);
        let mut options = world.options();
        options.keep = keep;
        let following = world.follow_with(&node, options);
        world.caught_up(&node, &following).await;
        following.stop().await;
        for entry in world.check_all(&node).await {
            if let Fact::BlockAttested(fact) = entry.draft.fact().unwrap() {
                assert_eq!(fact.other_leaves.is_some(), keep == Keep::WatchedAndLeaves);
            }
        }
    }
}
