//! Blocks that were applied unverified, verified later by another node.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use obsqra_devnode::{DevNode, DevNodeOptions, Fault, FaultScope, Spec, TwinOptions};
use obsqra_events::{Check, Fact, Kind};
use obsqra_indexer::IndexError;
use obsqra_indexer::attest::{AttestOptions, AttestReport, OfflineReport, attest, offline};
use obsqra_indexer::completeness::{Effort, Keep};
use obsqra_store::attested::{self, AttestedAs, AttestedRange};
use obsqra_store::log::{self, VerifyOptions};
use obsqra_store::watch;
use obsqra_types::{BlockNumber, Seq};
use tokio_util::sync::CancellationToken;

use crate::support::{NEVER, SEED, World, count, node, node_of, nodes, stream};

const BLOCK: &str = "starknet_getBlockWithReceipts";

pub(crate) async fn attest_all(
    world: &World,
    node: &DevNode,
    last: u64,
    keep: Keep,
) -> AttestReport {
    let options = options(world, last, keep);
    let stop = CancellationToken::new();
    attest(&world.store, &nodes(&[node]), &options, &stop, |_| ()).await.unwrap()
}

fn options(world: &World, last: u64, keep: Keep) -> AttestOptions {
    AttestOptions {
        chain: world.chain.clone(),
        range: (BlockNumber(0), BlockNumber(last)),
        keep,
        fetch_ahead: 4,
        holder: format!("attest {:?}", Instant::now()),
        lease_ttl: Duration::from_secs(10),
    }
}

pub(crate) async fn check_offline(world: &World, last: u64) -> OfflineReport {
    let range = (BlockNumber(0), BlockNumber(last));
    let stop = CancellationToken::new();
    offline(&world.store, &world.chain, range, &stop, |_| ()).await.unwrap()
}

pub(crate) async fn ranges(world: &World) -> Vec<AttestedRange> {
    let tip = world.tip().await.expect("there are blocks").number;
    let mut ranges = attested::newest(&world.store, &world.chain, tip, 100).await.unwrap();
    ranges.reverse();
    assert_eq!(ranges, attested::from_log(&world.store, &world.chain).await.unwrap());
    ranges
}

fn all(last: u64, verdict: AttestedAs) -> Vec<AttestedRange> {
    vec![AttestedRange { first: BlockNumber(0), last: BlockNumber(last), verdict }]
}

async fn verify(world: &World) {
    let options = VerifyOptions { decode: true, ..VerifyOptions::hashes(Seq(1)) };
    let report = log::verify_with(&world.store, options, |_, _| ()).await.unwrap();
    assert_eq!(report.verdict, log::Verdict::Intact);
}

#[tokio::test]
async fn a_node_of_an_older_specification_is_made_up_for() {
    let (world, old) = (World::new().await, node_of(40, Spec::V0_9).await);
    let new = old.twin(TwinOptions::default()).await.unwrap();
    let following = world.follow(&old);
    world.caught_up(&old, &following).await;
    following.stop().await;
    assert_eq!(ranges(&world).await, all(39, AttestedAs::Unverifiable));
    // A node that supplies no more than the first one changes nothing.
    let report = attest_all(&world, &old, 39, Keep::Watched).await;
    assert_eq!((report.verified, report.unverifiable), (0, 40));
    assert!(report.reason.unwrap().contains("counts and commitments"));

    let report = attest_all(&world, &new, 39, Keep::Watched).await;
    assert_eq!(report, AttestReport { verified: 40, ..AttestReport::default() });
    assert_eq!(ranges(&world).await, all(39, AttestedAs::Verified));
    // Twice is once.
    let before = log::head(&world.store).await.unwrap();
    let report = attest_all(&world, &new, 39, Keep::Watched).await;
    assert_eq!(report, AttestReport::default());
    assert_eq!(log::head(&world.store).await.unwrap(), before);
    let entries = world.check_all(&new).await;
    let later = entries.iter().filter(|entry| match entry.draft.fact().unwrap() {
        Fact::BlockAttested(fact) => fact.checks.contains(&Check::KeptEvents),
        _ => false,
    });
    assert_eq!(later.count(), 40);
    verify(&world).await;
}

#[tokio::test]
async fn a_stream_is_made_up_for_while_it_is_followed() {
    let options = DevNodeOptions {
        blocks: 30,
        blocks_per_second: 0.0,
        l1_lag: NEVER,
        dna_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
        ..DevNodeOptions::seeded(SEED)
    };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(29).await;
    let world = World::new().await;
    let following = world.follow_feed(stream(&node), world.options());
    world.caught_up(&node, &following).await;
    let report = attest_all(&world, &node, 29, Keep::WatchedAndLeaves).await;
    assert_eq!(report.verified, 30);
    // What was attested is reverted with its block.
    node.reorg(6, 8).await.unwrap();
    world.caught_up(&node, &following).await;
    let after = ranges(&world).await;
    assert_eq!(after[0], all(23, AttestedAs::Verified)[0]);
    assert_eq!(after[1].verdict, AttestedAs::Unverifiable);
    let report = attest_all(&world, &node, 31, Keep::WatchedAndLeaves).await;
    assert_eq!(report.verified, 8);
    following.stop().await;
    assert_eq!(ranges(&world).await, all(31, AttestedAs::Verified));
    let offline = check_offline(&world, 31).await;
    assert_eq!(offline, OfflineReport { repeated: 32, ..OfflineReport::default() });
    verify(&world).await;
}

#[tokio::test]
async fn events_that_the_log_lacks_are_found_out_later() {
    let (world, old) = (World::new().await, node_of(30, Spec::V0_9).await);
    let new = old.twin(TwinOptions::default()).await.unwrap();
    // One event too many gives those behind it another place.
    for block in 10..20 {
        let scope = FaultScope::method(BLOCK, u32::MAX).at_block(block);
        old.faults().inject(Fault::DuplicateEvent, scope);
    }
    let following = world.follow(&old);
    world.caught_up(&old, &following).await;
    following.stop().await;
    for _ in 0..2 {
        let report = attest_all(&world, &new, 29, Keep::Watched).await;
        let incomplete: Vec<_> = report.incomplete.iter().map(|(number, _)| *number).collect();
        assert!(!incomplete.is_empty(), "some have watched events behind it");
        assert!(incomplete.iter().all(|number| (10..20).contains(&number.0)), "{incomplete:?}");
        let entries = obsqra_testkit::read_log(&world.store).await;
        assert_eq!(count(&entries, Kind::IncompleteFound), incomplete.len());
        // They, and no others, stay unverified.
        let unverified: Vec<_> = ranges(&world)
            .await
            .into_iter()
            .filter(|range| range.verdict != AttestedAs::Verified)
            .flat_map(|range| (range.first.0..=range.last.0).map(BlockNumber))
            .collect();
        assert_eq!(unverified, incomplete);
    }
}

#[tokio::test]
async fn a_node_on_another_branch_attests_nothing_of_ours() {
    let (world, own) = (World::new().await, node_of(30, Spec::V0_9).await);
    let other = own.twin(TwinOptions::default()).await.unwrap();
    other.reorg(10, 10).await.unwrap();
    let following = world.follow(&own);
    world.caught_up(&own, &following).await;
    following.stop().await;
    let report = attest_all(&world, &other, 29, Keep::Watched).await;
    assert_eq!((report.verified, report.other_branch), (20, 10));
}

#[tokio::test]
async fn checks_that_were_left_out_are_made_later_and_repeated_from_the_log() {
    let (world, node) = (World::new().await, node(25, NEVER).await);
    let mut options = world.options();
    options.effort = Effort::Off;
    let following = world.follow_with(&node, options);
    world.caught_up(&node, &following).await;
    following.stop().await;
    assert_eq!(ranges(&world).await, all(24, AttestedAs::Unchecked));
    assert_eq!(check_offline(&world, 24).await.not_verified, 25);
    assert_eq!(attest_all(&world, &node, 24, Keep::Watched).await.verified, 25);
    let offline = check_offline(&world, 24).await;
    assert_eq!((offline.repeated, offline.not_repeatable), (0, 25));
    assert_eq!(ranges(&world).await, all(24, AttestedAs::Verified));
}

#[tokio::test]
async fn a_header_that_the_log_has_otherwise_is_found_out() {
    let (world, old) = (World::new().await, node_of(12, Spec::V0_9).await);
    let new = old.twin(TwinOptions::default()).await.unwrap();
    let scope = FaultScope::method(BLOCK, u32::MAX).at_block(4);
    old.faults().inject(Fault::WrongTimestamp, scope);
    let following = world.follow(&old);
    world.caught_up(&old, &following).await;
    following.stop().await;
    let report = attest_all(&world, &new, 11, Keep::Watched).await;
    let (number, difference) = &report.incomplete[0];
    assert_eq!((report.verified, report.incomplete.len(), number.0), (11, 1, 4));
    assert_eq!(difference.member, "timestamp");
}

#[tokio::test]
async fn what_is_verified_waits_for_a_widening() {
    let (world, old) = (World::new().await, node_of(12, Spec::V0_9).await);
    let new = old.twin(TwinOptions::default()).await.unwrap();
    let following = world.follow(&old);
    world.caught_up(&old, &following).await;
    following.stop().await;
    // A widening that was begun and is not complete.
    let contract = obsqra_types::ContractAddress(obsqra_types::Felt::from(0x77_u8));
    let request = obsqra_indexer::watch_request(vec![contract], None);
    watch::request(&world.store, &world.chain, &request).await.unwrap();
    let (first, last) = (BlockNumber(0), BlockNumber(11));
    let widening = watch::Widening {
        first,
        last,
        next: first,
        widened: log::head(&world.store).await.unwrap().seq,
        completed: None,
        blocks: 0,
        events: 0,
    };
    let mut tx = world.store.begin().await.unwrap();
    watch::save(&mut tx, &world.chain, &request.digest, &widening).await.unwrap();
    tx.commit().await.unwrap();
    let options = options(&world, 11, Keep::Watched);
    let stop = CancellationToken::new();
    let refused = attest(&world.store, &nodes(&[&new]), &options, &stop, |_| ()).await;
    assert!(matches!(refused, Err(IndexError::WideningUnderWay)), "{refused:?}");
    assert_eq!(ranges(&world).await, all(11, AttestedAs::Unverifiable));
}

#[tokio::test]
async fn two_at_once_attest_each_block_once() {
    let (world, old) = (World::new().await, node_of(30, Spec::V0_9).await);
    let new = old.twin(TwinOptions::default()).await.unwrap();
    let following = world.follow(&old);
    world.caught_up(&old, &following).await;
    let (one, other) = tokio::join!(
        attest_all(&world, &new, 29, Keep::Watched),
        attest_all(&world, &new, 29, Keep::Watched),
    );
    following.stop().await;
    assert_eq!(one.verified + other.verified, 30);
    let entries = obsqra_testkit::read_log(&world.store).await;
    assert_eq!(count(&entries, Kind::BlockAttested), 60);
}

#[tokio::test]
async fn ranges_that_are_missing_are_made_anew() {
    let (world, node) = (World::new().await, node(20, NEVER).await);
    let mut options = world.options();
    options.start = BlockNumber(5);
    let following = world.follow_with(&node, options.clone());
    world.caught_up(&node, &following).await;
    following.stop().await;
    let whole = ranges(&world).await;
    assert_eq!((whole[0].first, whole[0].last), (BlockNumber(5), BlockNumber(19)));
    let admin = world.database.store(obsqra_store::Role::Admin).await;
    let mut tx = admin.begin().await.unwrap();
    attested::cut_above(&mut tx, &world.chain, BlockNumber(11)).await.unwrap();
    tx.commit().await.unwrap();
    // What is in no run is unchecked, and told so.
    let told = attested::totals(&world.store, &world.chain, BlockNumber(19)).await.unwrap();
    assert_eq!(told[&AttestedAs::Verified], 7);
    assert_eq!(told[&AttestedAs::Unchecked], 8);
    let following = world.follow_with(&node, options);
    node.push_blocks(1).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    let again = ranges(&world).await;
    assert_eq!((again.len(), again[0].last), (1, BlockNumber(20)));
}
