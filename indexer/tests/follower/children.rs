//! Contracts that a factory creates: their events are kept from the creating event on, whatever the blocks' way.
//!
//! What should be kept is told by [`Script`], which knows the rule and nothing of the product.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use obsqra_devnode::{DevNode, DevNodeOptions};
use obsqra_events::{AdoptedWhat, Entry, Fact, Kind};
use obsqra_indexer::attest::{AttestReport, OfflineReport};
use obsqra_indexer::completeness::{Effort, Keep};
use obsqra_indexer::{Feed, FollowerOptions};
use obsqra_store::attested::AttestedAs;
use obsqra_store::child_contract::{self, ChildContract};
use obsqra_store::watch;
use obsqra_testkit::read_log;
use obsqra_types::{BlockNumber, Hash32};
use serde_json::{Value, json};

use crate::attest::{attest_all, check_offline, ranges};
use crate::support::{NEVER, World, count, nodes, stream};

const MARKET: u64 = 0xa1;
const FACTORY: u64 = 0xf0;
const STRANGER: u64 = 0x5000;
/// Two children.
const PAIR: u64 = 0xc1;
const OTHER: u64 = 0xc2;
const PAIR_CREATED: &str = "0x19437bf1c5c394fc8509a2e38c9c72c152df0bac8be777d4fc8f959ac817189";

/// What the factory is to a registry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Factory {
    Unknown,
    /// A contract whose events announce nothing.
    Plain,
    Known,
}

fn registry(factory: Factory, version: u64) -> Vec<u8> {
    let protocol = |id: &str, kind: &str, decoder: &str, contract: Value| {
        json!({
            "id": id, "name": id, "kind": kind, "decoder": decoder, "contracts": [contract],
            "deployed_at": null, "audits": {"state": "unknown", "detail": "made up"}, "sources": [],
        })
    };
    let address = |number: u64| format!("{number:#x}");
    let market = json!({"address": address(MARKET), "role": "market"});
    let mut protocols = vec![protocol("lend", "lending", "zklend", market)];
    match factory {
        Factory::Unknown => {}
        Factory::Plain => {
            let plain = json!({"address": address(FACTORY), "role": "core"});
            protocols.push(protocol("pools", "amm", "ekubo", plain));
        }
        Factory::Known => {
            let known = json!({"address": address(FACTORY), "role": "factory"});
            protocols.push(protocol("pairs", "amm", "jediswap_v1", known));
        }
    }
    let registry = json!({
        "registry": "made-up", "version": version, "chain_ids": ["OBSQRA_REC"],
        "quote_token": "0x10",
        "tokens": [{"address": "0x10", "symbol": "USDC", "decimals": 6}],
        "protocols": protocols,
    });
    registry.to_string().into_bytes()
}

/// An event of a made-up block.
#[derive(Clone, Copy)]
enum Made {
    /// The factory says that it created this contract.
    Created(u64),
    /// Any event of a contract.
    By(u64),
}

use Made::{By, Created};

/// A made-up chain.
#[derive(Clone, Default)]
struct Script(Vec<Vec<Made>>);

impl Script {
    /// Blocks with an event of every contract.
    fn blocks(mut self, count: usize) -> Self {
        let busy = vec![By(PAIR), By(STRANGER), By(MARKET), By(OTHER)];
        self.0.extend(std::iter::repeat_n(busy, count));
        self
    }

    fn block(mut self, events: &[Made]) -> Self {
        self.0.push(events.to_vec());
        self
    }

    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn last(&self) -> u64 {
        self.len() - 1
    }

    /// Height and index of each event that is to be kept.
    fn kept(&self) -> BTreeSet<(u64, u32)> {
        let mut watched = BTreeSet::from([MARKET, FACTORY]);
        let mut kept = BTreeSet::new();
        for (number, events) in (0..).zip(&self.0) {
            for (index, event) in (0..).zip(events) {
                match event {
                    Created(child) => {
                        watched.insert(*child);
                        kept.insert((number, index));
                    }
                    By(contract) if watched.contains(contract) => {
                        kept.insert((number, index));
                    }
                    By(_) => {}
                }
            }
        }
        kept
    }

    fn line(number: usize, events: &[Made]) -> Value {
        let events: Vec<Value> =
            (0..).zip(events).map(|(index, made)| event(index, *made)).collect();
        let hash = format!("0x{:x}", number + 1_000);
        json!({
            "chain": "MADE_UP", "number": number, "hash": hash, "parent_hash": "0x1",
            "timestamp": 1_700_000_000 + number * 30,
            "transactions": [{"hash": hash, "index": 0, "events": events}],
        })
    }

    /// A node that has some of the blocks.
    async fn node(&self, blocks: u64) -> DevNode {
        let lines = self.0.iter().enumerate();
        let lines: Vec<String> =
            lines.map(|(number, events)| Self::line(number, events).to_string()).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let options = DevNodeOptions {
            blocks,
            l1_lag: NEVER,
            dna_listen: Some(SocketAddr::from(([127, 0, 0, 1], 0))),
            ..DevNodeOptions::recorded(file.path())
        };
        let node = DevNode::start(options).await.unwrap();
        node.wait_for_height(blocks - 1).await;
        node
    }

    async fn whole_node(&self) -> DevNode {
        self.node(self.len()).await
    }
}

fn event(index: u32, made: Made) -> Value {
    let (from, keys, data) = match made {
        Created(child) => (
            FACTORY,
            PAIR_CREATED,
            vec!["0x10".into(), "0x11".into(), format!("{child:#x}"), "0x1".into()],
        ),
        By(contract) => (contract, "0x7", vec![format!("{index:#x}")]),
    };
    json!({"index": index, "from_address": format!("{from:#x}"), "keys": [keys], "data": data})
}

/// A child that emits before and behind its creating event, and in the blocks below and above; then another one.
fn script() -> Script {
    Script::default()
        .blocks(4)
        .block(&[By(PAIR), By(MARKET), Created(PAIR), By(PAIR), By(STRANGER), By(OTHER), By(PAIR)])
        .blocks(3)
        .block(&[Created(OTHER), By(OTHER), Created(PAIR), By(PAIR)])
        .blocks(4)
}

/// Height and index of each event that the log has of canonical blocks.
fn kept(entries: &[Entry]) -> BTreeSet<(u64, u32)> {
    let mut canonical = std::collections::BTreeMap::new();
    for entry in entries {
        let Some(block) = entry.draft.block else { continue };
        match entry.draft.kind {
            Kind::BlockApplied => drop(canonical.insert(block.number, block.epoch)),
            Kind::BlockReverted => drop(canonical.remove(&block.number)),
            _ => {}
        }
    }
    let mut kept = BTreeSet::new();
    for entry in entries {
        let (Some(block), Fact::Event(event)) = (entry.draft.block, entry.draft.fact().unwrap())
        else {
            continue;
        };
        if canonical.get(&block.number) == Some(&block.epoch) {
            let place = (block.number.0, event.index.0);
            assert!(kept.insert(place), "{place:?} stands twice");
        }
    }
    kept
}

fn lane(entries: &[Entry]) -> Vec<Hash32> {
    let lane = entries.iter().filter(|entry| entry.draft.kind != Kind::BlockAttested);
    lane.map(|entry| entry.draft.content_hash).collect()
}

async fn world() -> World {
    World::of("OBSQRA_REC", registry(Factory::Known, 1).leak()).await
}

fn options(world: &World, factory: Factory, version: u64) -> FollowerOptions {
    let mut options = world.options();
    let bytes = registry(factory, version);
    options.adopt = vec![(AdoptedWhat::Registry, format!("made-up/{version}"), bytes)];
    options
}

async fn follow_to_head(world: &World, node: &DevNode, feed: Feed, options: FollowerOptions) {
    let following = world.follow_feed(feed, options);
    // A log that is there already says nothing about this follower.
    let head = node.head().map(|head| BlockNumber(head.number));
    world
        .until(&following, "the follower has looked at the node", async |_| {
            following.progress.borrow().node_head == head
        })
        .await;
    world.caught_up(node, &following).await;
    following.stop().await;
}

async fn rows(world: &World) -> Vec<ChildContract> {
    child_contract::all(&world.store, &world.chain).await.unwrap()
}

/// The log has what the script says, and its rows are those that the log says.
async fn check(world: &World, node: &DevNode, script: &Script) -> Vec<Entry> {
    let entries = read_log(&world.store).await;
    assert_eq!(kept(&entries), script.kept());
    check_rows(world, node).await;
    entries
}

async fn check_rows(world: &World, node: &DevNode) {
    let before = rows(world).await;
    world.database.execute("DELETE FROM child_contract").await;
    follow_to_head(world, node, Feed::Nodes(nodes(&[node])), options(world, Factory::Known, 1))
        .await;
    let again = rows(world).await;
    if before.is_empty() {
        return;
    }
    assert_eq!(again, before, "rows that were made anew");
    for row in again {
        let entry = obsqra_store::log::entry(&world.store, row.seq).await.unwrap().unwrap();
        let Fact::Event(event) = entry.draft.fact().unwrap() else { panic!("{row:?}") };
        assert_eq!(event.index, row.index);
        assert_eq!(entry.draft.block.map(|at| (at.number, at.epoch)), Some((row.block, row.epoch)));
        assert_eq!(event.data[2], row.address.0);
    }
}

#[tokio::test]
async fn children_are_kept_from_their_creating_event_on_whatever_the_way() {
    let script = script();
    let node = script.whole_node().await;
    let mut lanes = Vec::new();
    for (batch_blocks, fetch_ahead, streamed) in
        [(64, 16, false), (1, 1, false), (3, 8, false), (64, 1, true), (1, 1, true)]
    {
        let world = world().await;
        let mut options = world.options();
        (options.batch_blocks, options.fetch_ahead) = (batch_blocks, fetch_ahead);
        options.keep = Keep::WatchedAndLeaves;
        let feed = if streamed { stream(&node) } else { Feed::Nodes(nodes(&[&node])) };
        follow_to_head(&world, &node, feed, options).await;
        let entries = check(&world, &node, &script).await;
        lanes.push(lane(&entries));
        if streamed {
            let report = attest_all(&world, &node, script.last(), Keep::WatchedAndLeaves).await;
            let all = AttestReport { verified: script.len(), ..AttestReport::default() };
            assert_eq!(report, all);
        }
        let repeated = check_offline(&world, script.last()).await;
        assert_eq!(repeated, OfflineReport { repeated: script.len(), ..OfflineReport::default() });
        assert!(ranges(&world).await.iter().all(|range| range.verdict == AttestedAs::Verified));
    }
    for other in &lanes {
        assert!(*other == lanes[0], "the chain lane depends on the way");
    }
}

#[tokio::test]
async fn children_are_kept_through_restarts_and_at_the_head() {
    let script = script();
    for streamed in [false, true] {
        let (world, node) = (world().await, script.node(1).await);
        let feed = |node: &DevNode| match streamed {
            true => stream(node),
            false => Feed::Nodes(nodes(&[node])),
        };
        // Half of the blocks come live, the others between two followers.
        let mut following = world.follow_feed(feed(&node), world.options());
        for number in 1..script.len() {
            if number % 2 == 0 {
                world.caught_up(&node, &following).await;
                following.stop().await;
                node.push_blocks(1).await.unwrap();
                following = world.follow_feed(feed(&node), world.options());
            } else {
                node.push_blocks(1).await.unwrap();
            }
            world.caught_up(&node, &following).await;
        }
        following.stop().await;
        check(&world, &node, &script).await;
    }
}

/// Chains of 11 blocks that part above block 3: the child is created at different places, or not at all. They are
/// equally long, since a stream of a shorter chain is waited for.
fn branches() -> [Script; 4] {
    let common = || Script::default().blocks(4);
    [
        common().block(&[By(PAIR), Created(PAIR), By(PAIR), By(MARKET)]).blocks(6),
        common().block(&[By(MARKET), By(PAIR), By(PAIR), Created(PAIR), By(PAIR)]).blocks(6),
        common().blocks(7),
        common().blocks(3).block(&[By(PAIR), Created(PAIR), Created(OTHER)]).blocks(3),
    ]
}

#[tokio::test]
async fn a_child_counts_on_its_own_branch_alone() {
    let scripts = branches();
    let mut all = Vec::new();
    for script in &scripts {
        all.push(script.whole_node().await);
    }
    let mut ends = Vec::new();
    for streamed in [false, true] {
        let world = world().await;
        for turn in [0, 1, 0, 2, 3, 1, 2, 0, 0, 3] {
            let (node, script) = (&all[turn], &scripts[turn]);
            let feed = if streamed { stream(node) } else { Feed::Nodes(nodes(&[node])) };
            let mut options = world.options();
            options.keep = Keep::WatchedAndLeaves;
            follow_to_head(&world, node, feed, options).await;
            assert_eq!(kept(&read_log(&world.store).await), script.kept(), "branch {turn}");
            let report = attest_all(&world, node, script.last(), Keep::WatchedAndLeaves).await;
            assert_eq!((report.incomplete, report.other_branch), (Vec::new(), 0));
            let repeated = check_offline(&world, script.last()).await;
            assert_eq!(repeated.repeated, script.len(), "{repeated:?}");
        }
        ends.push(lane(&check(&world, &all[3], &scripts[3]).await));
    }
    assert!(ends[0] == ends[1], "the chain lane depends on the source");
}

#[tokio::test]
async fn the_creating_block_is_reorganised_live() {
    let script = script();
    for streamed in [false, true] {
        let (world, node) = (world().await, script.whole_node().await);
        let feed = if streamed { stream(&node) } else { Feed::Nodes(nodes(&[&node])) };
        let following = world.follow_feed(feed, world.options());
        world.caught_up(&node, &following).await;
        // The same events on another branch: 13 blocks, of which 4 and 8 announce.
        for depth in [2, 6, 9, 11] {
            node.reorg(depth, depth).await.unwrap();
            world.caught_up(&node, &following).await;
        }
        following.stop().await;
        check(&world, &node, &script).await;
    }
}

async fn completed(world: &World) -> bool {
    let known = watch::all(&world.store, &world.chain).await.unwrap();
    !known.is_empty()
        && known.iter().all(|watch| watch.widening.is_some_and(|w| w.completed.is_some()))
}

async fn adopted(world: &World) -> usize {
    count(&read_log(&world.store).await, Kind::Adopted)
}

/// Follows under a registry that does not know the factory, then under one that does.
async fn adopted_later(before: Factory, restarts: bool) -> (World, DevNode, Script) {
    let script = script();
    let (world, node) = (world().await, script.node(10).await);
    let mut first = options(&world, before, 1);
    first.effort = Effort::Off;
    follow_to_head(&world, &node, Feed::Nodes(nodes(&[&node])), first).await;
    let second = || options(&world, Factory::Known, 2);
    let mut following = world.follow_with(&node, second());
    for depth in [3, 0, 7] {
        if restarts {
            if depth > 0 {
                node.reorg(depth, depth).await.unwrap();
            }
            following.stop().await;
            following = world.follow_with(&node, second());
        }
        node.push_blocks(1).await.unwrap();
        world.caught_up(&node, &following).await;
    }
    world
        .until(&following, "the registry is adopted", async |world| {
            completed(world).await && adopted(world).await == 2
        })
        .await;
    following.stop().await;
    (world, node, script)
}

#[tokio::test]
async fn a_registry_that_knows_the_factory_is_adopted_when_its_children_have_their_events() {
    for (before, restarts) in [
        (Factory::Unknown, false),
        (Factory::Unknown, true),
        (Factory::Plain, false),
        (Factory::Plain, true),
    ] {
        let (world, node, script) = adopted_later(before, restarts).await;
        let entries = read_log(&world.store).await;
        assert_eq!(kept(&entries), script.kept());
        let last = entries.iter().rev().find(|entry| {
            matches!(entry.draft.kind, Kind::Adopted | Kind::WatchCompleted | Kind::WatchWidened)
        });
        assert_eq!(last.unwrap().draft.kind, Kind::Adopted, "adopted before nothing was missing");
        let report = attest_all(&world, &node, script.last(), Keep::WatchedAndLeaves).await;
        assert_eq!((report.incomplete, report.unverifiable), (Vec::new(), 0));
        let repeated = check_offline(&world, script.last()).await;
        assert!(repeated.broken.is_empty(), "{repeated:?}");
        // Once more changes nothing.
        let again = options(&world, Factory::Known, 2);
        follow_to_head(&world, &node, Feed::Nodes(nodes(&[&node])), again).await;
        assert_eq!(read_log(&world.store).await.len(), {
            let attested = count(&read_log(&world.store).await, Kind::BlockAttested);
            entries.len() - count(&entries, Kind::BlockAttested) + attested
        });
        check_rows(&world, &node).await;
    }
}
