//! The relay of final facts against a real database and a real NATS server: each published fact again once its block is
//! final, in the order of the log, and nothing that was taken back, through every loss that the first relay gets over.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use obsqra_bus::{ChainStream, StreamLimits};
use obsqra_events::Kind;
use obsqra_store::{Role as DatabaseRole, Store, chain_tip, cursor, key, log, relay_subject};
use obsqra_testkit::{StoredMessage, TestDatabase, TestNats};
use obsqra_types::{BlockNumber, Partition, Seq};
use obsqra_workers::relay::Relay;
use obsqra_workers::runtime::{self, Progress, Role as _, RoleContext};
use support::bodies::check_bodies;
use support::{Script, chain, hold, run_to_end};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

const FIRST: &str = "OBSQRA_OBSQRA_DEV";
const FINAL: &str = "OBSQRA_OBSQRA_DEV-final";
/// A test that is still waiting by then hangs.
const DEADLINE: Duration = Duration::from_secs(120);

struct World {
    database: TestDatabase,
    store: Store,
    nats: TestNats,
    first: ChainStream,
    stream: ChainStream,
    script: Script,
}

impl World {
    async fn begin() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(DatabaseRole::Writer).await;
        let nats = TestNats::start().await;
        let bus = nats.bus().await;
        let first = ChainStream::open(&bus, &chain(), StreamLimits::default()).await.unwrap();
        let stream = open(&nats).await;
        let script = Script::start(&store).await;
        Self { database, store, nats, first, stream, script }
    }

    fn relay(&self) -> Relay {
        Relay::of_final(&self.store, &self.stream, &chain())
    }

    /// Both relays up to where they can come.
    async fn publish(&self) {
        run_to_end(&mut Relay::new(&self.store, &self.first, &chain()), &self.store).await.unwrap();
        run_to_end(&mut self.relay(), &self.store).await.unwrap();
    }

    /// As the runtime does it: trouble that may pass is tried again.
    async fn repeat_patiently(&self) {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = run_to_end(&mut self.relay(), &self.store).await {
            assert!(error.is_transient() && Instant::now() < deadline, "{error}");
        }
    }

    async fn cursor(&self) -> Seq {
        cursor::load(&self.store, &Partition::FinalRelay(chain())).await.unwrap()
    }

    async fn repeated(&self) -> Vec<StoredMessage> {
        self.nats.messages(FINAL).await
    }

    /// What is to be repeated, by reading the whole log: the first relay's messages in their order, without those of
    /// blocks that were reverted, up to the first whose block may still be.
    async fn expected(&self) -> Vec<(u64, String, Vec<u8>)> {
        let tip = chain_tip::load(&self.store, &chain()).await.unwrap().unwrap();
        let canonical: BTreeSet<(BlockNumber, u32)> =
            key::canonical(&self.store, &chain(), tip.first, tip.number)
                .await
                .unwrap()
                .iter()
                .map(|block| (block.block.number, block.block.epoch.0))
                .collect();
        let entries = log::read_after(&self.store, Seq::BEFORE_FIRST, 1_000_000).await.unwrap();
        let blocks: BTreeMap<u64, (BlockNumber, u32)> = entries
            .iter()
            .filter_map(|entry| Some((entry.seq.0, entry.draft.block?)))
            .map(|(seq, block)| (seq, (block.number, block.epoch.0)))
            .collect();
        let end = blocks
            .iter()
            .find(|(_, block)| {
                canonical.contains(block) && tip.finalized.is_none_or(|last| block.0 > last)
            })
            .map_or(u64::MAX, |(seq, _)| *seq);
        self.nats
            .messages(FIRST)
            .await
            .into_iter()
            .map(|message| {
                let id = format!("{}:final", message.header("Nats-Msg-Id"));
                (message.position("Obsqra-Seq"), id, message.body)
            })
            .filter(|(seq, ..)| *seq < end && canonical.contains(&blocks[seq]))
            .collect()
    }

    async fn check_whole(&self) {
        let repeated = self.repeated().await;
        let found: Vec<(u64, String, Vec<u8>)> = repeated
            .iter()
            .map(|message| {
                let id = message.header("Nats-Msg-Id").to_owned();
                (message.position("Obsqra-Seq"), id, message.body.clone())
            })
            .collect();
        let expected = self.expected().await;
        assert!(found == expected, "{} found, {} expected", found.len(), expected.len());
        let mut tails: BTreeMap<String, Seq> = BTreeMap::new();
        for message in &repeated {
            assert_eq!(message.header("Obsqra-Finality"), "final");
            assert!(message.subject.starts_with("obsqra.v1.OBSQRA_DEV.final."));
            assert!(
                !message.subject.contains("reverted") && !message.subject.contains("retracted")
            );
            let seq = message.position("Obsqra-Seq");
            let before = tails.insert(message.subject.clone(), Seq(seq)).map_or(0, |seq| seq.0);
            assert_eq!(message.position("Obsqra-Prev"), before, "{} at {seq}", message.subject);
        }
        assert_eq!(relay_subject::load_final(&self.store, &chain()).await.unwrap(), tails);
        let first = relay_subject::load(&self.store, &chain()).await.unwrap();
        assert!(first.keys().all(|subject| !subject.contains(".final.")));
        check_bodies(&repeated);
    }

    async fn finalize(&self, number: u64) {
        self.script.writer.finalize(number).await.unwrap();
    }
}

async fn open(nats: &TestNats) -> ChainStream {
    let bus = nats.bus().await;
    ChainStream::open_final(&bus, &chain(), StreamLimits::of_final()).await.unwrap()
}

#[tokio::test]
async fn a_fact_comes_again_when_its_block_is_final_and_not_before() {
    let mut world = World::begin().await;
    world.script.grow(6).await;
    support::score(&world.store).await;
    world.publish().await;
    assert_eq!(world.repeated().await, []);
    world.finalize(0).await;
    world.publish().await;
    world.check_whole().await;
    let after_one = world.repeated().await.len();
    assert!(after_one > 1);
    world.finalize(3).await;
    world.publish().await;
    world.check_whole().await;
    let after_four = world.repeated().await.len();
    assert!(after_four > after_one);
    // What stands behind the tip's facts waits for these, whatever its height.
    world.finalize(5).await;
    world.publish().await;
    world.check_whole().await;
    let subjects: BTreeSet<String> =
        world.repeated().await.into_iter().map(|message| message.subject).collect();
    for tail in ["chain.block_applied", "chain.block_finalized", "risk.zklend.absent"] {
        let subject = format!("obsqra.v1.OBSQRA_DEV.final.{tail}");
        assert!(subjects.contains(&subject), "{subject} in {subjects:?}");
    }
    let head = log::head(&world.store).await.unwrap().seq;
    assert_eq!(world.cursor().await, head);
}

#[tokio::test]
async fn what_was_reverted_or_retracted_never_comes() {
    let mut world = World::begin().await;
    world.script.adopt_policies().await;
    world.script.grow(8).await;
    support::score(&world.store).await;
    support::propose(&world.store).await;
    world.finalize(2).await;
    world.publish().await;
    world.script.reorganise(3, 2).await;
    support::score(&world.store).await;
    support::propose(&world.store).await;
    world.publish().await;
    world.check_whole().await;
    // A, B, A: the block that comes back does so under another branch epoch.
    world.script.detour(2, 3).await;
    support::score(&world.store).await;
    world.script.grow(3).await;
    support::score(&world.store).await;
    world.publish().await;
    world.check_whole().await;
    let tip = world.script.tip().number;
    world.finalize(tip).await;
    world.publish().await;
    world.check_whole().await;
    let entries = log::read_after(&world.store, Seq::BEFORE_FIRST, 1_000_000).await.unwrap();
    assert!(entries.iter().any(|entry| entry.draft.kind == Kind::Retracted));
    assert_eq!(world.cursor().await, log::head(&world.store).await.unwrap().seq);
}

#[tokio::test]
async fn a_role_is_woken_by_finality_and_repeats_what_is_written_while_it_runs() {
    let mut world = World::begin().await;
    let shutdown = CancellationToken::new();
    let context = RoleContext {
        store: world.store.clone(),
        stream: world.first.clone(),
        holder: "test".into(),
        lease_ttl: Duration::from_secs(600),
        longest_rest: Duration::from_secs(1),
    };
    let relays = [Relay::new(&world.store, &world.first, &chain()), world.relay()];
    let running: Vec<_> = relays
        .into_iter()
        .map(|mut relay| {
            let (context, until) = (context.clone(), shutdown.clone());
            tokio::spawn(async move { runtime::run(&mut relay, &context, &until).await })
        })
        .collect();
    for round in 1..=5 {
        world.script.grow(3).await;
        world.script.detour(1, 1).await;
        world.finalize(3 * round - 2).await;
    }
    let tip = world.script.tip().number;
    world.finalize(tip).await;
    let head = log::head(&world.store).await.unwrap().seq;
    let deadline = Instant::now() + DEADLINE;
    for partition in [Partition::Relay(chain()), Partition::FinalRelay(chain())] {
        while cursor::load(&world.store, &partition).await.unwrap() < head {
            assert!(Instant::now() < deadline, "{partition} does not reach {head}");
            tokio::task::yield_now().await;
        }
    }
    shutdown.cancel();
    for relay in running {
        relay.await.unwrap().unwrap();
    }
    world.check_whole().await;
}

#[tokio::test]
async fn a_window_whose_commit_was_lost_is_not_sent_again() {
    let mut world = World::begin().await;
    world.script.grow(4).await;
    world.finalize(1).await;
    world.publish().await;
    let (cursor_before, tails_before) =
        (world.cursor().await, relay_subject::load_final(&world.store, &chain()).await.unwrap());
    world.finalize(3).await;
    world.publish().await;
    let repeated = world.repeated().await;

    // As if it had been killed between the acknowledgement and its commit.
    let partition = Partition::FinalRelay(chain());
    world.database.execute("DELETE FROM relay_subject WHERE subject LIKE '%.final.%'").await;
    let mut tx = world.store.begin().await.unwrap();
    cursor::advance(&mut tx, &partition, cursor_before).await.unwrap();
    relay_subject::save(&mut tx, &chain(), &tails_before).await.unwrap();
    tx.commit().await.unwrap();

    world.publish().await;
    assert_eq!(world.repeated().await, repeated);
    world.check_whole().await;
    world.script.grow(2).await;
    world.finalize(5).await;
    world.publish().await;
    world.check_whole().await;
}

#[tokio::test]
async fn one_that_lost_its_lease_after_publishing_leaves_the_rest_to_its_successor() {
    let mut world = World::begin().await;
    world.script.grow(4).await;
    world.finalize(3).await;
    run_to_end(&mut Relay::new(&world.store, &world.first, &chain()), &world.store).await.unwrap();
    let mut relay = world.relay();
    let lease = hold(&world.store, relay.partition()).await;
    relay.load().await.unwrap();
    world
        .database
        .execute("UPDATE lease SET epoch = epoch + 1 WHERE partition LIKE 'final-relay%'")
        .await;
    assert!(relay.work(&lease).await.is_err());
    assert!(!world.repeated().await.is_empty());
    assert_eq!(world.cursor().await, Seq::BEFORE_FIRST);
    world.publish().await;
    world.check_whole().await;
}

#[tokio::test]
async fn a_second_one_is_refused_by_the_stream() {
    let mut world = World::begin().await;
    world.script.grow(2).await;
    world.finalize(1).await;
    run_to_end(&mut Relay::new(&world.store, &world.first, &chain()), &world.store).await.unwrap();
    let mut slow = world.relay();
    let lease = hold(&world.store, slow.partition()).await;
    slow.load().await.unwrap();
    let mut quick = world.relay();
    quick.load().await.unwrap();
    assert_eq!(quick.work(&lease).await.unwrap(), Progress::Worked);
    assert!(slow.work(&lease).await.is_err());
    slow.load().await.unwrap();
    while slow.work(&lease).await.unwrap() == Progress::Worked {}
    world.check_whole().await;
}

#[tokio::test]
async fn a_stream_that_was_deleted_or_emptied_is_filled_again() {
    let mut world = World::begin().await;
    world.script.grow(6).await;
    world.script.reorganise(2, 2).await;
    world.finalize(4).await;
    world.publish().await;
    world.check_whole().await;
    world.nats.delete_stream(FINAL).await;
    world.finalize(5).await;
    world.publish().await;
    world.check_whole().await;
    world.nats.purge(FINAL).await;
    world.script.grow(1).await;
    world.finalize(6).await;
    run_to_end(&mut Relay::new(&world.store, &world.first, &chain()), &world.store).await.unwrap();
    // For a moment the server still knows the ids of what was purged.
    world.repeat_patiently().await;
    world.check_whole().await;
}

#[tokio::test]
async fn a_stream_restored_from_an_older_copy_is_filled_from_where_it_ends() {
    let mut world = World::begin().await;
    world.script.grow(5).await;
    world.finalize(2).await;
    world.publish().await;
    let older = world.repeated().await;
    world.finalize(4).await;
    world.publish().await;
    assert!(world.repeated().await.len() > older.len());
    world.nats.delete_stream(FINAL).await;
    world.stream = open(&world.nats).await;
    world.nats.put_back(&older).await;
    assert_eq!(world.repeated().await.len(), older.len());
    // For a moment the server still knows the ids of what was put back.
    world.repeat_patiently().await;
    world.check_whole().await;
}

#[tokio::test]
async fn a_stream_that_is_ahead_of_the_log_is_an_error_that_stays() {
    let mut world = World::begin().await;
    world.script.grow(3).await;
    world.finalize(2).await;
    world.publish().await;
    let other = TestDatabase::create().await;
    let store = other.store(DatabaseRole::Writer).await;
    let mut relay = Relay::of_final(&store, &world.stream, &chain());
    let lease = hold(&store, relay.partition()).await;
    let error = relay.load().await.expect_err("the log is empty");
    assert!(!error.is_transient(), "{error}");
    drop(lease);
}
