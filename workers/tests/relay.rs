//! The relay against a real database and a real NATS server: each fact once and in order, through lost
//! acknowledgements, lost streams and emptied ones.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use obsqra_bus::{ChainStream, StreamLimits};
use obsqra_devnode::SEEDED_REGISTRY;
use obsqra_events::{EventData, Fact, Kind};
use obsqra_protocols::{Contracts, Decoder, Registry, decode, layouts};
use obsqra_store::child_contract::{self, ChildContract};
use obsqra_store::{Role as DatabaseRole, Store, cursor, log, relay_subject};
use obsqra_testkit::{MadeBlock, StoredMessage, TestDatabase, TestNats, felt};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, EventIndex, Felt, Partition,
    Seq, TransactionHash, UnixSeconds,
};
use obsqra_workers::relay::Relay;
use obsqra_workers::runtime::{self, Progress, Role as _, RoleContext};
use support::bodies::check_bodies;
use support::{Script, chain, hold, run_to_end};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const STREAM: &str = "OBSQRA_OBSQRA_DEV";
/// A test that is still waiting by then hangs.
const DEADLINE: Duration = Duration::from_secs(120);

struct World {
    database: TestDatabase,
    store: Store,
    nats: TestNats,
    stream: ChainStream,
    script: Script,
}

impl World {
    async fn begin() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(DatabaseRole::Writer).await;
        let nats = TestNats::start().await;
        let stream = open(&nats).await;
        let script = Script::start(&store).await;
        Self { database, store, nats, stream, script }
    }

    fn relay(&self) -> Relay {
        Relay::new(&self.store, &self.stream, &chain())
    }

    async fn publish(&self) {
        run_to_end(&mut self.relay(), &self.store).await.unwrap();
    }

    /// As the runtime does it: trouble that may pass is tried again.
    async fn publish_patiently(&self) {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = run_to_end(&mut self.relay(), &self.store).await {
            assert!(error.is_transient() && Instant::now() < deadline, "{error}");
        }
    }

    async fn messages(&self) -> Vec<StoredMessage> {
        self.nats.messages(STREAM).await
    }

    /// The stream holds each published fact of the log once, in order, each linked to the one before it
    /// on its subject.
    async fn check_whole(&self) {
        let messages = self.messages().await;
        let seqs: Vec<u64> =
            messages.iter().map(|message| message.position("Obsqra-Seq")).collect();
        assert_eq!(seqs, self.published_seqs().await);
        let mut tails: BTreeMap<&str, u64> = BTreeMap::new();
        for message in &messages {
            let seq = message.position("Obsqra-Seq");
            let before = tails.insert(&message.subject, seq).unwrap_or(0);
            assert_eq!(message.position("Obsqra-Prev"), before, "{} at {seq}", message.subject);
        }
        let ids: BTreeSet<&str> =
            messages.iter().map(|message| message.header("Nats-Msg-Id")).collect();
        assert_eq!(ids.len(), messages.len());
        check_bodies(&messages);
        let head = log::head(&self.store).await.unwrap().seq;
        let cursor = cursor::load(&self.store, &Partition::Relay(chain())).await.unwrap();
        assert_eq!(cursor, head);
        let kept = relay_subject::load(&self.store, &chain()).await.unwrap();
        let kept: BTreeMap<&str, u64> =
            kept.iter().map(|(subject, seq)| (subject.as_str(), seq.0)).collect();
        assert_eq!(kept, tails);
    }

    /// Positions of what is to be published: blocks, reverts, scores, and events of contracts that the
    /// registry knows.
    async fn published_seqs(&self) -> Vec<u64> {
        let registry = Registry::parse(&support::registry()).unwrap();
        let contracts = Contracts::new(Arc::new(registry));
        let entries = log::read_after(&self.store, Seq::BEFORE_FIRST, 1_000_000).await.unwrap();
        entries
            .iter()
            .filter(|entry| match entry.draft.fact().unwrap() {
                Fact::Adopted(_) | Fact::BlockAttested(_) => false,
                Fact::Event(event) => decode(&contracts, &event).is_some(),
                _ => true,
            })
            .map(|entry| entry.seq.0)
            .collect()
    }
}

async fn open(nats: &TestNats) -> ChainStream {
    ChainStream::open(&nats.bus().await, &chain(), StreamLimits::default()).await.unwrap()
}

#[tokio::test]
async fn everything_arrives_once_and_in_order() {
    let mut world = World::begin().await;
    world.script.grow(12).await;
    world.publish().await;
    world.script.reorganise(3, 4).await;
    world.script.grow(5).await;
    support::score(&world.store).await;
    world.script.reorganise(2, 3).await;
    support::score(&world.store).await;
    world.publish().await;
    world.check_whole().await;
    let messages = world.messages().await;
    let subjects: BTreeSet<&str> = messages.iter().map(|m| m.subject.as_str()).collect();
    for subject in [
        "obsqra.v1.OBSQRA_DEV.chain.block_applied",
        "obsqra.v1.OBSQRA_DEV.chain.block_reverted",
        "obsqra.v1.OBSQRA_DEV.risk.zklend.absent",
        "obsqra.v1.OBSQRA_DEV.retracted.risk.absent",
    ] {
        assert!(subjects.contains(subject), "{subject} in {subjects:?}");
    }
    assert!(messages.iter().all(|m| m.header("Obsqra-Finality") == "provisional"));
    let stranger = format!("0x{:x}", support::STRANGER);
    assert!(!messages.iter().any(|m| String::from_utf8_lossy(&m.body).contains(&stranger)));
}

#[tokio::test]
async fn facts_of_final_blocks_say_so() {
    let mut world = World::begin().await;
    world.script.grow(6).await;
    world.script.writer.finalize(3).await.unwrap();
    world.publish().await;
    let entries = log::read_after(&world.store, Seq::BEFORE_FIRST, 100_000).await.unwrap();
    let numbers: BTreeMap<u64, u64> = entries
        .iter()
        .filter_map(|entry| Some((entry.seq.0, entry.draft.block?.number.0)))
        .collect();
    for message in world.messages().await {
        let number = numbers[&message.position("Obsqra-Seq")];
        let expected = if number <= 3 { "final" } else { "provisional" };
        assert_eq!(message.header("Obsqra-Finality"), expected, "block {number}");
    }
}

#[tokio::test]
async fn what_was_reverted_is_not_final_whatever_its_height() {
    let mut world = World::begin().await;
    world.script.grow(6).await;
    support::score(&world.store).await;
    world.script.reorganise(2, 3).await;
    support::score(&world.store).await;
    world.script.writer.finalize(6).await.unwrap();
    world.publish().await;
    let entries = log::read_after(&world.store, Seq::BEFORE_FIRST, 100_000).await.unwrap();
    let blocks: BTreeMap<u64, (u64, u32)> = entries
        .iter()
        .filter_map(|entry| Some((entry.seq.0, entry.draft.block?)))
        .map(|(seq, block)| (seq, (block.number.0, block.epoch.0)))
        .collect();
    let mut retractions = 0;
    for message in world.messages().await {
        let (number, epoch) = blocks[&message.position("Obsqra-Seq")];
        // Blocks are numbered from 0: 4 and 5 were replaced by 4, 5 and 6.
        let expected =
            if number < 4 || (number <= 6 && epoch == 1) { "final" } else { "provisional" };
        let subject = &message.subject;
        assert_eq!(message.header("Obsqra-Finality"), expected, "{subject} {number} {epoch}");
        retractions += usize::from(subject.contains(".retracted."));
    }
    assert!(retractions > 0);
    world.check_whole().await;
}

#[tokio::test]
async fn the_role_publishes_what_is_written_while_it_runs() {
    let mut world = World::begin().await;
    let shutdown = CancellationToken::new();
    let context = RoleContext {
        store: world.store.clone(),
        stream: world.stream.clone(),
        holder: "test".into(),
        lease_ttl: Duration::from_secs(600),
        longest_rest: Duration::from_secs(1),
    };
    let (mut relay, until) = (world.relay(), shutdown.clone());
    let running = tokio::spawn(async move { runtime::run(&mut relay, &context, &until).await });
    for _ in 0..5 {
        world.script.grow(2).await;
        world.script.detour(1, 1).await;
    }
    let last = *world.published_seqs().await.last().unwrap();
    let deadline = Instant::now() + DEADLINE;
    // Cursor and stream move one after the other: both have to be there.
    let partition = Partition::Relay(chain());
    while cursor::load(&world.store, &partition).await.unwrap() < Seq(last) {
        assert!(Instant::now() < deadline, "not published");
        tokio::task::yield_now().await;
    }
    shutdown.cancel();
    running.await.unwrap().unwrap();
    world.check_whole().await;
}

#[tokio::test]
async fn a_window_whose_commit_was_lost_is_not_sent_again() {
    let mut world = World::begin().await;
    world.script.grow(4).await;
    world.publish().await;
    let partition = Partition::Relay(chain());
    let cursor_before = cursor::load(&world.store, &partition).await.unwrap();
    let tails_before = relay_subject::load(&world.store, &chain()).await.unwrap();
    world.script.grow(4).await;
    world.publish().await;
    let published = world.messages().await;

    // As if the relay had been killed between the acknowledgement and its commit.
    let mut tx = world.store.begin().await.unwrap();
    cursor::advance(&mut tx, &partition, cursor_before).await.unwrap();
    tx.commit().await.unwrap();
    world.database.execute("DELETE FROM relay_subject").await;
    let mut tx = world.store.begin().await.unwrap();
    relay_subject::save(&mut tx, &chain(), &tails_before).await.unwrap();
    tx.commit().await.unwrap();

    world.publish().await;
    assert_eq!(world.messages().await, published);
    world.check_whole().await;
    world.script.grow(2).await;
    world.publish().await;
    world.check_whole().await;
}

#[tokio::test]
async fn a_relay_that_lost_its_lease_after_publishing_leaves_the_rest_to_its_successor() {
    let mut world = World::begin().await;
    world.script.grow(4).await;
    let mut relay = world.relay();
    let lease = hold(&world.store, relay.partition()).await;
    relay.load().await.unwrap();
    world
        .database
        .execute("UPDATE lease SET epoch = epoch + 1 WHERE partition LIKE 'relay%'")
        .await;
    assert!(relay.work(&lease).await.is_err());
    let published = world.messages().await;
    assert!(!published.is_empty());
    assert_eq!(
        cursor::load(&world.store, &Partition::Relay(chain())).await.unwrap(),
        Seq::BEFORE_FIRST
    );
    world.publish().await;
    world.check_whole().await;
}

#[tokio::test]
async fn a_second_relay_is_refused_by_the_stream() {
    let mut world = World::begin().await;
    world.script.grow(2).await;
    let mut slow = world.relay();
    let lease = hold(&world.store, slow.partition()).await;
    slow.load().await.unwrap();
    let mut quick = world.relay();
    quick.load().await.unwrap();
    assert_eq!(quick.work(&lease).await.unwrap(), Progress::Worked);
    assert!(slow.work(&lease).await.is_err());
    // It looks again, and goes on where the other one was.
    slow.load().await.unwrap();
    while slow.work(&lease).await.unwrap() == Progress::Worked {}
    world.check_whole().await;
}

#[tokio::test]
async fn a_stream_that_was_deleted_is_filled_again() {
    let mut world = World::begin().await;
    world.script.grow(6).await;
    world.script.reorganise(2, 2).await;
    world.publish().await;
    let mut relay = world.relay();
    let lease = hold(&world.store, relay.partition()).await;
    relay.load().await.unwrap();
    world.nats.delete_stream(STREAM).await;
    world.script.grow(1).await;
    assert!(relay.work(&lease).await.expect_err("no stream").is_transient());
    // It makes the stream anew when it looks again.
    relay.load().await.unwrap();
    while relay.work(&lease).await.unwrap() == Progress::Worked {}
    world.check_whole().await;
}

#[tokio::test]
async fn a_stream_that_was_emptied_is_filled_again() {
    let mut world = World::begin().await;
    world.script.grow(6).await;
    world.publish().await;
    world.nats.purge(STREAM).await;
    world.script.grow(2).await;
    // For a moment the server still knows the ids of what was purged.
    world.publish_patiently().await;
    world.check_whole().await;
}

#[tokio::test]
async fn an_old_registry_still_names_the_events_of_a_stream_that_is_filled_again() {
    let mut world = World::begin().await;
    world.script.grow(3).await;
    world.publish().await;
    // The registry was adopted before anything that the stream would still hold.
    world
        .database
        .execute(&format!(
            "SET session_replication_role = replica; \
             UPDATE log SET recorded_at = recorded_at - interval '1 year' WHERE kind = {}",
            Kind::Adopted.code()
        ))
        .await;
    world.nats.delete_stream(STREAM).await;
    world.stream = open(&world.nats).await;
    world.publish().await;
    world.check_whole().await;
}

#[tokio::test]
async fn events_older_than_the_stream_keeps_are_left_out_and_blocks_are_not() {
    let mut world = World::begin().await;
    world.script.grow(3).await;
    world
        .database
        .execute(
            "SET session_replication_role = replica; \
             UPDATE log SET recorded_at = recorded_at - interval '1 year'",
        )
        .await;
    world.publish().await;
    let subjects: Vec<String> = world.messages().await.into_iter().map(|m| m.subject).collect();
    assert_eq!(subjects, ["obsqra.v1.OBSQRA_DEV.chain.block_applied"; 3]);
    world.script.grow(1).await;
    world.publish().await;
    assert!(world.messages().await.len() > 4, "young events are published again");
}

const CHILD: u64 = 0xc1;

/// An event of a pair that no registry lists; with `created` the factory's word for it comes first.
fn child_block(number: u64, epoch: u32, parent: Felt, created: bool) -> MadeBlock {
    let registry = Registry::parse(SEEDED_REGISTRY).unwrap();
    let factory = registry.factories().find(|one| one.decoder == Decoder::JediSwapV1).unwrap();
    let pair_created = layouts(Decoder::JediSwapV1).find(|one| one.name == "PairCreated").unwrap();
    let event = |index: u32, from: ContractAddress, key: Felt, data: Vec<Felt>| EventData {
        index: EventIndex(index),
        transaction_index: 0,
        transaction_hash: TransactionHash(felt(7_000 + number)),
        from_address: from,
        keys: vec![key],
        data,
    };
    let mut events = Vec::new();
    if created {
        let data = vec![felt(1), felt(2), felt(CHILD), felt(1)];
        events.push(event(0, factory.address, pair_created.selector, data));
    }
    events.push(event(1, ContractAddress(felt(CHILD)), felt(3), Vec::new()));
    let timestamp = UnixSeconds(2_000_000_000 + number);
    let at = BlockRef { number: BlockNumber(number), epoch: BranchEpoch(epoch), timestamp };
    let hash = BlockHash(felt(90_000 + 1_000 * u64::from(epoch) + number));
    MadeBlock { at, hash, parent: BlockHash(parent), events }
}

#[tokio::test]
async fn a_relay_that_begins_in_the_middle_knows_the_children_announced_before() {
    let mut world = World::begin().await;
    world.script.grow(2).await;
    let writer = &world.script.writer;
    let creating = child_block(2, 0, world.script.tip().hash, true);
    let (hash, at) = (creating.hash.0, creating.at);
    let appended = writer.append(writer.made(creating), 0).await.unwrap();
    let created = Seq(appended.after.seq.0 - 1);
    let (address, index) = (ContractAddress(felt(CHILD)), EventIndex(0));
    let row = ChildContract { address, block: at.number, epoch: at.epoch, index, seq: created };
    let mut tx = world.store.begin().await.unwrap();
    child_contract::save(&mut tx, &chain(), &[row]).await.unwrap();
    tx.commit().await.unwrap();
    world.publish().await;
    // Another relay, which never saw the announcement.
    let next = child_block(3, 0, hash, false);
    let above = writer.append(writer.made(next), 0).await.unwrap().after.seq;
    world.publish().await;
    let published = |messages: Vec<StoredMessage>| -> Vec<u64> {
        messages.iter().map(|message| message.position("Obsqra-Seq")).collect()
    };
    let seqs = published(world.messages().await);
    assert!(seqs.contains(&appended.after.seq.0) && seqs.contains(&above.0), "{seqs:?}");
    // On the other branch nobody created it.
    let other = child_block(2, 1, world.script.tip().hash, false);
    let replaced = writer.replace(2, writer.made(other), 1).await.unwrap();
    world.publish().await;
    let seqs = published(world.messages().await);
    assert!(!seqs.contains(&replaced.after.seq.0), "{seqs:?}");
    // Positions between the reverts and the block that replaces count too.
    let known = async |seq: u64| {
        child_contract::canonical_as_of(&world.store, &chain(), Seq(seq)).await.unwrap()
    };
    let reverted = replaced.before.seq.0;
    for (seq, expected) in [
        (created.0 - 1, vec![]),
        (created.0, vec![row]),
        (reverted, vec![row]),
        (reverted + 1, vec![row]),
        (reverted + 2, vec![]),
        (replaced.after.seq.0, vec![]),
    ] {
        assert_eq!(known(seq).await, expected, "at {seq}");
    }
}
