//! Contracts that join the watched set after the log began.

use std::collections::BTreeSet;

use obsqra_devnode::SEEDED_REGISTRY;
use obsqra_events::{AdoptedWhat, Entry, Fact, Kind};
use obsqra_indexer::attest::{AttestReport, OfflineReport};
use obsqra_indexer::completeness::Keep;
use obsqra_indexer::{FollowerOptions, watch_request};
use obsqra_protocols::Registry;
use obsqra_store::attested::AttestedAs;
use obsqra_store::watch;
use obsqra_testkit::read_log;
use obsqra_types::{BlockNumber, BranchEpoch, ContractAddress, Hash32};
use serde_json::Value;

use crate::attest::{attest_all, check_offline, ranges};
use crate::support::{NEVER, World, count, node};

/// The seeded registry without one protocol, and the whole one with a later version.
fn registries(without: &str) -> (Vec<u8>, Vec<u8>) {
    let mut whole: Value = serde_json::from_slice(SEEDED_REGISTRY).unwrap();
    let mut part = whole.clone();
    part["protocols"].as_array_mut().unwrap().retain(|protocol| protocol["id"] != without);
    whole["version"] = 2.into();
    (part.to_string().into_bytes(), whole.to_string().into_bytes())
}

fn options(world: &World, version: &str, registry: &[u8]) -> FollowerOptions {
    let mut options = world.options();
    options.adopt = vec![(AdoptedWhat::Registry, version.to_owned(), registry.to_vec())];
    options
}

/// The watched events of canonical blocks, wherever in the log they stand.
fn events(entries: &[Entry]) -> BTreeSet<Hash32> {
    let mut canonical = std::collections::BTreeMap::<BlockNumber, BranchEpoch>::new();
    for entry in entries {
        let Some(block) = entry.draft.block else { continue };
        match entry.draft.kind {
            Kind::BlockApplied => drop(canonical.insert(block.number, block.epoch)),
            Kind::BlockReverted => drop(canonical.remove(&block.number)),
            _ => {}
        }
    }
    let mut events = BTreeSet::new();
    for entry in entries.iter().filter(|entry| entry.draft.kind == Kind::Event) {
        let block = entry.draft.block.unwrap();
        if canonical.get(&block.number) == Some(&block.epoch) {
            // Content covers the branch, which differs between logs: the fact alone is compared.
            let fact = entry.draft.payload.clone();
            let place = (block.number.0, fact);
            assert!(events.insert(hash(&place)), "an event stands twice in block {}", block.number);
        }
    }
    events
}

fn hash((number, payload): &(u64, Vec<u8>)) -> Hash32 {
    use sha2::{Digest, Sha256};
    Hash32(Sha256::new().chain_update(number.to_be_bytes()).chain_update(payload).finalize().into())
}

/// The same chain, watched whole from the start.
async fn reference(node: &obsqra_devnode::DevNode) -> BTreeSet<Hash32> {
    let world = World::new().await;
    let following = world.follow(node);
    world.caught_up(node, &following).await;
    following.stop().await;
    events(&read_log(&world.store).await)
}

async fn verdicts(world: &World) -> Vec<(u64, u64, AttestedAs)> {
    let ranges = ranges(world).await;
    ranges.iter().map(|range| (range.first.0, range.last.0, range.verdict)).collect()
}

async fn completed(world: &World) -> bool {
    let known = watch::all(&world.store, &world.chain).await.unwrap();
    !known.is_empty()
        && known.iter().all(|watch| watch.widening.is_some_and(|w| w.completed.is_some()))
}

#[tokio::test]
async fn a_registry_with_more_contracts_is_adopted_when_nothing_is_missing() {
    let (world, node) = (World::new().await, node(60, NEVER).await);
    let (part, whole) = registries("ekubo");
    let following = world.follow_with(&node, options(&world, "dev/1", &part));
    world.caught_up(&node, &following).await;
    following.stop().await;
    let following = world.follow_with(&node, options(&world, "dev/2", &whole));
    node.push_blocks(5).await.unwrap();
    world.until(&following, "the widening is complete", async |world| completed(world).await).await;
    world.caught_up(&node, &following).await;
    following.stop().await;
    let entries = read_log(&world.store).await;
    assert!(events(&entries) == reference(&node).await, "events are missing or invented");
    assert!(count(&entries, Kind::BlockSupplemented) > 0);
    let order: Vec<Kind> = entries
        .iter()
        .map(|entry| entry.draft.kind)
        .filter(|kind| matches!(kind, Kind::WatchWidened | Kind::WatchCompleted | Kind::Adopted))
        .collect();
    let expected = [Kind::Adopted, Kind::WatchWidened, Kind::WatchCompleted, Kind::Adopted];
    assert_eq!(order, expected);
    // Which blocks had events of the contracts that joined was the node's word: nothing vouches for it.
    let (unchecked, verified) = (AttestedAs::Unchecked, AttestedAs::Verified);
    let last = entries.iter().find_map(|entry| match entry.draft.fact().unwrap() {
        Fact::WatchWidened(fact) => Some(fact.last.0),
        _ => None,
    });
    // The blocks that came meanwhile are below the widening or above it.
    let last = last.unwrap();
    let mut expected = vec![(0, last, unchecked)];
    expected.extend((last < 64).then_some((last + 1, 64, verified)));
    assert_eq!(verdicts(&world).await, expected);
    let report = attest_all(&world, &node, 64, Keep::WatchedAndLeaves).await;
    assert_eq!(report, AttestReport { verified: last + 1, ..AttestReport::default() });
    assert_eq!(verdicts(&world).await, [(0, 64, verified)]);
    let repeated = check_offline(&world, last).await;
    assert_eq!(repeated, OfflineReport { repeated: last + 1, ..OfflineReport::default() });
    // The old setting does not bring the old registry back.
    let following = world.follow_with(&node, options(&world, "dev/1", &part));
    node.push_blocks(3).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    let entries = read_log(&world.store).await;
    assert_eq!(count(&entries, Kind::Adopted), 2);
    assert!(events(&entries) == reference(&node).await);
}

#[tokio::test]
async fn a_widening_goes_on_through_reorganisations_and_restarts() {
    let (world, node) = (World::new().await, node(80, NEVER).await);
    let (part, whole) = registries("zklend");
    let mut following = world.follow_with(&node, options(&world, "dev/1", &part));
    world.caught_up(&node, &following).await;
    let parsed = Registry::parse(&whole).unwrap();
    let known = Registry::parse(&part).unwrap();
    let known: BTreeSet<ContractAddress> = known.watched().collect();
    let added = parsed.watched().filter(|contract| !known.contains(contract)).collect();
    let request = watch_request(added, Some(("dev/2".to_owned(), whole.clone())));
    assert!(watch::request(&world.store, &world.chain, &request).await.unwrap());
    assert!(!watch::request(&world.store, &world.chain, &request).await.unwrap(), "once");
    for depth in [3, 20, 40] {
        node.reorg(depth, depth + 1).await.unwrap();
        world.caught_up(&node, &following).await;
        following.stop().await;
        // What is under way is not there yet: the registry waits, whoever sets it.
        let (version, set) = if depth == 20 { ("dev/1", &part) } else { ("dev/2", &whole) };
        following = world.follow_with(&node, options(&world, version, set));
    }
    world.until(&following, "the widening is complete", async |world| completed(world).await).await;
    node.push_blocks(2).await.unwrap();
    world.caught_up(&node, &following).await;
    following.stop().await;
    let entries = read_log(&world.store).await;
    assert!(events(&entries) == reference(&node).await, "events are missing or invented");
    let adopted = entries.iter().rev().find_map(|entry| match entry.draft.fact().unwrap() {
        Fact::Adopted(adopted) => Some((entry.seq, adopted.version)),
        _ => None,
    });
    let completed = entries.iter().find(|entry| entry.draft.kind == Kind::WatchCompleted).unwrap();
    let (seq, version) = adopted.unwrap();
    assert_eq!(version, "dev/2");
    assert!(seq > completed.seq, "adopted before nothing was missing");
}
