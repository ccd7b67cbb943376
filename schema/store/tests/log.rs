//! The log against a real database: positions and hashes, keys, leases, and what verification finds after
//! tampering. What each role may do is in `rights.rs`.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use obsqra_events::{
    AbsentInput, BlockFinalized, Causes, Draft, Fact, Kind, Retracted, RiskAbsent, chain_hash,
};
use obsqra_store::log::{self, Verdict};
use obsqra_store::retraction::{self, RetractionPlace, RevertedBlock};
use obsqra_store::{AppendOutcome, Fence, Head, Key, Keyed, Lease, Role, Store, StoreError};
use obsqra_testkit::{ChainWriter, TestDatabase, felt};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Hash32, Partition, ProtocolId,
    RecordedAt, Seq, UnixSeconds,
};

const TTL: Duration = Duration::from_secs(600);

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

fn protocol() -> ProtocolId {
    ProtocolId::new("zklend").unwrap()
}

fn worker() -> Partition {
    Partition::RiskWorker(chain(), protocol())
}

/// An entry without a key, told from others by its number.
fn plain(number: u64) -> Keyed {
    let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(number)) });
    Keyed { key: Key::Plain, drafts: vec![Draft::new(&chain(), None, &fact)] }
}

/// A derived fact about a block; facts with other reasons have other bytes.
fn derived(number: u64, epoch: u32, reason: &str) -> Keyed {
    let block = BlockRef {
        number: BlockNumber(number),
        epoch: BranchEpoch(epoch),
        timestamp: UnixSeconds(1_700_000_000 + number * 600),
    };
    let absent = AbsentInput { field: "volatilityBps".into(), reason: reason.into(), detail: None };
    let fact = Fact::RiskAbsent(RiskAbsent {
        protocol: protocol(),
        block_hash: BlockHash(felt(number)),
        formula: "risk-v1.2".into(),
        absent: vec![absent],
        causes: Causes::new(Vec::new()).unwrap(),
    });
    Keyed {
        key: Key::Derived { subject: protocol().to_string() },
        drafts: vec![Draft::new(&chain(), Some(block), &fact)],
    }
}

/// The retraction of the fact about a block; `reverted` tells retractions of one fact apart.
fn retraction(number: u64, epoch: u32, reverted: u64) -> Keyed {
    let retracted = derived(number, epoch, "a").drafts.remove(0);
    let fact = Fact::Retracted(Retracted {
        kind: retracted.kind,
        subject: protocol().to_string(),
        block_hash: BlockHash(felt(number)),
        seq: Seq(3),
        content_hash: retracted.content_hash,
        reverted_seq: Seq(reverted),
    });
    Keyed {
        key: Key::Retracted { kind: retracted.kind, subject: protocol().to_string() },
        drafts: vec![Draft::new(&chain(), retracted.block, &fact)],
    }
}

async fn lease(store: &Store) -> Lease {
    Lease::acquire(store, worker(), "test", TTL).await.unwrap().expect("the partition is free")
}

async fn append(
    store: &Store,
    fence: &Fence,
    facts: Vec<Keyed>,
) -> Result<AppendOutcome, StoreError> {
    let mut tx = store.begin().await?;
    let outcome = log::append(&mut tx, fence, facts).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(outcome)
}

async fn verdict(store: &Store) -> Verdict {
    log::verify(store, Seq(1), |_, _| {}).await.unwrap().verdict
}

#[tokio::test]
async fn positions_are_dense_and_hashes_chained() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    let first = writer.append(writer.block(1, 0, 0, 100, 3), 0).await.unwrap();
    assert_eq!(first.before, Head { seq: Seq(0), hash: Hash32::ZERO });
    writer.append(writer.block(2, 0, 100, 101, 0), 0).await.unwrap();
    let last = writer.append(writer.block(3, 0, 101, 102, 2), 0).await.unwrap();

    let entries = log::read_after(&store, Seq::BEFORE_FIRST, 100).await.unwrap();
    let seqs: Vec<u64> = entries.iter().map(|entry| entry.seq.0).collect();
    assert_eq!(seqs, (1..=8).collect::<Vec<_>>());
    let mut previous = Hash32::ZERO;
    let mut clock = RecordedAt(i64::MIN);
    for entry in &entries {
        assert_eq!(entry.draft.recomputed_content_hash(), entry.draft.content_hash);
        let expected =
            chain_hash(entry.seq, entry.recorded_at, &entry.draft.content_hash, &previous);
        assert_eq!(entry.hash, expected, "{}", entry.seq);
        assert!(entry.recorded_at >= clock);
        (previous, clock) = (entry.hash, entry.recorded_at);
    }
    assert_eq!(last.after, Head { seq: Seq(8), hash: previous });
    assert_eq!(log::head(&store).await.unwrap(), last.after);
    assert_eq!(verdict(&store).await, Verdict::Intact);
}

#[tokio::test]
async fn the_same_facts_again_change_nothing() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    let adopt = || writer.adopt_registry("1", Hash32([7; 32]), b"bytes");
    adopt().await.unwrap();
    let block = writer.block(1, 0, 0, 100, 3);
    writer.append(block.clone(), 0).await.unwrap();
    let lease = lease(&store).await;
    append(&store, lease.fence(), vec![derived(1, 0, "a")]).await.unwrap();
    let head = log::head(&store).await.unwrap();
    assert_eq!(head.seq, Seq(6));

    let again = [
        adopt().await.unwrap(),
        append(&store, writer.fence(), vec![block]).await.unwrap(),
        append(&store, lease.fence(), vec![derived(1, 0, "a")]).await.unwrap(),
    ];
    for outcome in again {
        assert_eq!((outcome.unchanged, outcome.before, outcome.after), (1, head, head));
    }
    assert_eq!(log::head(&store).await.unwrap(), head);
    assert_eq!(database.number("SELECT count(*) FROM log").await, 6);
}

#[tokio::test]
async fn another_fact_under_the_same_key_is_refused_and_nothing_of_its_batch_is_written() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    writer.append(writer.block(1, 0, 0, 100, 1), 0).await.unwrap();
    let lease = lease(&store).await;
    append(&store, lease.fence(), vec![derived(1, 0, "a")]).await.unwrap();
    let head = log::head(&store).await.unwrap();

    let facts = vec![plain(1), derived(1, 0, "b"), plain(2)];
    let refused = append(&store, lease.fence(), facts).await;
    assert!(
        matches!(
            &refused,
            Err(StoreError::KeyConflict { subject, block: BlockNumber(1), seq: Seq(3) })
                if subject == "risk.absent zklend"
        ),
        "{refused:?}"
    );
    let other = writer.block(1, 0, 0, 200, 1);
    let refused = append(&store, writer.fence(), vec![other]).await;
    assert!(matches!(refused, Err(StoreError::KeyConflict { seq: Seq(1), .. })), "{refused:?}");

    assert_eq!(log::head(&store).await.unwrap(), head);
    assert_eq!(database.number("SELECT count(*) FROM log").await, 3);
    assert_eq!(database.number("SELECT count(*) FROM block_key").await, 1);
    assert_eq!(database.number("SELECT count(*) FROM derived_key").await, 1);
}

#[tokio::test]
async fn a_batch_that_states_a_key_twice_is_judged_as_two_batches() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    writer.append(writer.block(1, 0, 0, 100, 0), 0).await.unwrap();
    let lease = lease(&store).await;
    let twice = vec![derived(1, 0, "a"), derived(1, 0, "a")];
    let outcome = append(&store, lease.fence(), twice).await.unwrap();
    assert_eq!((outcome.unchanged, outcome.after.seq), (1, Seq(2)));

    // The first of the other is the second new fact of its run: its place is known before it is written.
    let other = vec![plain(1), derived(1, 0, "a"), {
        let mut other = derived(1, 0, "b");
        other.key = Key::Derived { subject: "other".into() };
        other
    }];
    let mut again = other.clone();
    again.push(derived(1, 0, "c"));
    again[3].key = Key::Derived { subject: "other".into() };
    let refused = append(&store, lease.fence(), again).await;
    assert!(matches!(refused, Err(StoreError::KeyConflict { seq: Seq(4), .. })), "{refused:?}");
    let outcome = append(&store, lease.fence(), other).await.unwrap();
    assert_eq!((outcome.unchanged, outcome.after.seq), (1, Seq(4)));

    let block = || writer.block(2, 0, 100, 101, 2);
    let outcome = append(&store, writer.fence(), vec![block(), block()]).await.unwrap();
    assert_eq!((outcome.unchanged, outcome.after.seq), (1, Seq(7)));
    let rivals = vec![writer.block(3, 0, 101, 102, 2), writer.block(3, 0, 101, 103, 2)];
    let refused = append(&store, writer.fence(), rivals).await;
    assert!(matches!(refused, Err(StoreError::KeyConflict { seq: Seq(8), .. })), "{refused:?}");
    assert_eq!(verdict(&store).await, Verdict::Intact);
}

#[tokio::test]
async fn a_batch_of_many_sorts_and_chains_keeps_its_order() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    let elsewhere = ChainId::new("OBSQRA_OTHER").unwrap();
    let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(9)) });
    let other = Draft::new(&elsewhere, None, &fact);
    let facts = vec![
        writer.block(1, 0, 0, 100, 1),
        writer.block(2, 0, 100, 101, 0),
        plain(1),
        Keyed { key: Key::Plain, drafts: vec![other.clone()] },
        Keyed { key: Key::Plain, drafts: Vec::new() },
        plain(2),
        writer.block(3, 0, 101, 102, 1),
    ];
    let drafts: Vec<Draft> = facts.iter().flat_map(|fact| fact.drafts.clone()).collect();
    let outcome = append(&store, writer.fence(), facts).await.unwrap();
    assert_eq!((outcome.unchanged, outcome.after.seq), (1, Seq(8)));
    let entries = log::read_after(&store, Seq::BEFORE_FIRST, 100).await.unwrap();
    let written: Vec<Draft> = entries.into_iter().map(|entry| entry.draft).collect();
    assert_eq!(written, drafts);
    let range = (BlockNumber(1), BlockNumber(3));
    let keys = obsqra_store::key::canonical_as_of(&store, &chain(), range, Seq(8)).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.seq).collect::<Vec<_>>(), [Seq(1), Seq(3), Seq(7)]);
    assert_eq!(verdict(&store).await, Verdict::Intact);
}

#[tokio::test]
async fn a_derived_fact_is_superseded_where_its_block_is_no_longer_canonical() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    writer.append(writer.block(1, 0, 0, 100, 0), 0).await.unwrap();
    writer.append(writer.block(2, 0, 100, 101, 0), 0).await.unwrap();
    writer.append(writer.block(3, 0, 101, 102, 0), 0).await.unwrap();
    // Blocks 3 and 2 give way to another 2: nothing stands at height 3.
    writer.replace(2, writer.block(2, 1, 100, 201, 0), 1).await.unwrap();
    let lease = lease(&store).await;
    let head = log::head(&store).await.unwrap();

    for (number, epoch) in [(2, 0), (3, 0), (3, 1), (4, 0), (1, 1)] {
        let facts = vec![derived(number, epoch, "a")];
        let outcome = append(&store, lease.fence(), facts).await.unwrap();
        assert_eq!((outcome.superseded, outcome.after), (1, head), "{number} on {epoch}");
    }
    assert_eq!(database.number("SELECT count(*) FROM derived_key").await, 0);

    let facts = vec![derived(2, 0, "a"), derived(1, 0, "a"), derived(2, 1, "a")];
    let outcome = append(&store, lease.fence(), facts).await.unwrap();
    assert_eq!((outcome.superseded, outcome.after.seq), (1, Seq(head.seq.0 + 2)));
    assert_eq!(verdict(&store).await, Verdict::Intact);
}

#[tokio::test]
async fn a_fact_is_retracted_once_its_block_is_reverted_and_not_before() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    writer.append(writer.block(1, 0, 0, 100, 0), 0).await.unwrap();
    writer.append(writer.block(2, 0, 100, 101, 0), 0).await.unwrap();
    let lease = lease(&store).await;
    append(&store, lease.fence(), vec![derived(2, 0, "a")]).await.unwrap();
    let head = log::head(&store).await.unwrap();

    let refused = append(&store, lease.fence(), vec![plain(1), retraction(2, 0, 4)]).await;
    assert!(
        matches!(
            &refused,
            Err(error @ StoreError::StillCanonical { subject, block: BlockNumber(2), .. })
                if subject == "risk.absent/zklend" && !error.is_transient()
        ),
        "{refused:?}"
    );
    assert_eq!(log::head(&store).await.unwrap(), head);

    writer.replace(1, writer.block(2, 1, 100, 201, 0), 1).await.unwrap();
    let head = append(&store, lease.fence(), vec![retraction(2, 0, 4)]).await.unwrap().after;
    assert_eq!(head.seq, Seq(6));
    let again = append(&store, lease.fence(), vec![retraction(2, 0, 4)]).await.unwrap();
    assert_eq!((again.unchanged, again.after), (1, head));
    let other = append(&store, lease.fence(), vec![retraction(2, 0, 5)]).await;
    assert!(matches!(&other, Err(StoreError::KeyConflict { seq: Seq(6), .. })), "{other:?}");
    // The block comes back: the fact about it under the new branch is another one, and stands.
    writer.replace(1, writer.block(2, 2, 100, 101, 0), 2).await.unwrap();
    append(&store, lease.fence(), vec![derived(2, 2, "a")]).await.unwrap();
    let refused = append(&store, lease.fence(), vec![retraction(2, 2, 7)]).await;
    assert!(matches!(refused, Err(StoreError::StillCanonical { .. })), "{refused:?}");
    assert_eq!(verdict(&store).await, Verdict::Intact);
}

#[tokio::test]
async fn reverts_and_what_they_take_back_are_found_in_order() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    writer.append(writer.block(1, 0, 0, 100, 2), 0).await.unwrap();
    writer.append(writer.block(2, 0, 100, 101, 2), 0).await.unwrap();
    let lease = lease(&store).await;
    append(&store, lease.fence(), vec![derived(2, 0, "a"), derived(1, 0, "a")]).await.unwrap();
    // Entries 9 and 10 revert blocks 2 and 1.
    writer.replace(2, writer.block(1, 1, 0, 200, 0), 1).await.unwrap();
    append(&store, lease.fence(), vec![derived(1, 1, "a")]).await.unwrap();

    let all = (Seq::BEFORE_FIRST, log::head(&store).await.unwrap().seq);
    let reverts = log::reverts_after(&store, &chain(), all, 100).await.unwrap();
    let seqs: Vec<Seq> = reverts.iter().map(|entry| entry.seq).collect();
    assert_eq!(seqs, [Seq(9), Seq(10)]);
    for (span, limit, expected) in [
        ((Seq(0), Seq(9)), 100, vec![Seq(9)]),
        ((Seq(9), Seq(100)), 100, vec![Seq(10)]),
        ((Seq(0), Seq(100)), 1, vec![Seq(9)]),
        ((Seq(10), Seq(100)), 100, vec![]),
    ] {
        let found = log::reverts_after(&store, &chain(), span, limit).await.unwrap();
        assert_eq!(found.iter().map(|entry| entry.seq).collect::<Vec<_>>(), expected, "{span:?}");
    }
    let other = ChainId::new("OTHER").unwrap();
    assert!(log::reverts_after(&store, &other, all, 100).await.unwrap().is_empty());

    let blocks: Vec<RevertedBlock> = reverts
        .iter()
        .map(|entry| RevertedBlock { block: entry.draft.block.unwrap(), seq: entry.seq })
        .collect();
    append(&store, lease.fence(), vec![retraction(2, 0, 9)]).await.unwrap();
    let place = |reverted, fact| RetractionPlace { reverted: Seq(reverted), fact: Seq(fact) };
    for (after, limit, expected) in [
        (place(0, 0), 100, vec![place(9, 7), place(10, 8)]),
        (place(9, 7), 100, vec![place(10, 8)]),
        (place(9, 6), 1, vec![place(9, 7)]),
        (place(10, 8), 100, vec![]),
    ] {
        let found = retraction::facts_of(&store, &chain(), &blocks, after, limit).await.unwrap();
        let places: Vec<RetractionPlace> = found.iter().map(|fact| fact.place).collect();
        assert_eq!(places, expected, "after {after:?}");
        assert!(found.iter().all(|fact| fact.kind == Kind::RiskAbsent));
    }
}

#[tokio::test]
async fn a_block_comes_back_under_a_later_branch_epoch() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    writer.append(writer.block(1, 0, 0, 100, 0), 0).await.unwrap();
    writer.append(writer.block(2, 0, 100, 101, 2), 0).await.unwrap();
    writer.replace(1, writer.block(2, 1, 100, 201, 1), 1).await.unwrap();
    writer.replace(1, writer.block(2, 2, 100, 101, 2), 2).await.unwrap();

    let range = (BlockNumber(2), BlockNumber(2));
    let canonical = obsqra_store::key::canonical(&store, &chain(), range.0, range.1).await.unwrap();
    assert_eq!(canonical.len(), 1);
    assert_eq!(canonical[0].block.epoch, BranchEpoch(2));
    assert_eq!(canonical[0].hash, BlockHash(felt(101)));
    let entries = log::read_after(&store, Seq::BEFORE_FIRST, 100).await.unwrap();
    let kinds: Vec<Kind> = entries.iter().map(|entry| entry.draft.kind).collect();
    use Kind::{BlockApplied, BlockReverted, Event};
    let expected = [
        BlockApplied,
        BlockApplied,
        Event,
        Event,
        BlockReverted,
        BlockApplied,
        Event,
        BlockReverted,
        BlockApplied,
        Event,
        Event,
    ];
    assert_eq!(kinds, expected);
    // What was known at each position stays readable.
    for (as_of, hash) in [(Seq(4), 101), (Seq(7), 201), (Seq(11), 101)] {
        let then =
            obsqra_store::key::canonical_as_of(&store, &chain(), range, as_of).await.unwrap();
        assert_eq!(then[0].hash, BlockHash(felt(hash)), "as of {as_of}");
    }
    let lease = lease(&store).await;
    let facts = vec![derived(2, 0, "a"), derived(2, 1, "a"), derived(2, 2, "a")];
    let outcome = append(&store, lease.fence(), facts).await.unwrap();
    assert_eq!((outcome.superseded, outcome.after.seq), (2, Seq(12)));
}

async fn expire(database: &TestDatabase) {
    database.execute("UPDATE lease SET expires_at = clock_timestamp() - interval '1 s'").await;
}

#[tokio::test]
async fn a_lease_is_taken_over_only_after_it_ran_out_and_the_stale_holder_writes_nothing() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let first = Lease::acquire(&store, worker(), "first", TTL).await.unwrap().unwrap();
    append(&store, first.fence(), vec![plain(1)]).await.unwrap();
    assert!(Lease::acquire(&store, worker(), "second", TTL).await.unwrap().is_none());

    expire(&database).await;
    // Nobody took it: a late holder may still write, and renew.
    append(&store, first.fence(), vec![plain(2)]).await.unwrap();
    first.renew().await.unwrap();
    assert!(Lease::acquire(&store, worker(), "second", TTL).await.unwrap().is_none());

    expire(&database).await;
    let second = Lease::acquire(&store, worker(), "second", TTL).await.unwrap().unwrap();
    let head = append(&store, second.fence(), vec![plain(3)]).await.unwrap().after;
    let stale = append(&store, first.fence(), vec![plain(4)]).await;
    assert!(matches!(&stale, Err(StoreError::LeaseLost(lost)) if *lost == worker()), "{stale:?}");
    assert!(matches!(first.renew().await, Err(StoreError::LeaseLost(_))));
    assert_eq!(log::head(&store).await.unwrap(), head);
    assert_eq!(database.number("SELECT count(*) FROM log").await, 3);

    // What the stale holder gives up is not the other's.
    assert!(matches!(first.release().await, Err(StoreError::LeaseLost(_))));
    assert!(Lease::acquire(&store, worker(), "third", TTL).await.unwrap().is_none());
    second.release().await.unwrap();
    assert!(Lease::acquire(&store, worker(), "third", TTL).await.unwrap().is_some());
}

#[tokio::test]
async fn a_waiting_holder_gets_the_lease_when_it_runs_out_and_the_other_is_told() {
    use obsqra_store::LeaseKeeper;
    use tokio_util::sync::CancellationToken;
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let shutdown = CancellationToken::new();
    let ttl = Duration::from_millis(200);
    let first = LeaseKeeper::acquire(&store, worker(), "first", ttl, &shutdown).await;
    let first = first.unwrap().unwrap();
    let waiting = {
        let (store, shutdown) = (store.clone(), shutdown.clone());
        tokio::spawn(async move {
            LeaseKeeper::acquire(&store, worker(), "second", ttl, &shutdown).await
        })
    };
    // The first renews three times as often as it must: only tampering makes it run out.
    while !first.lost().is_cancelled() {
        expire(&database).await;
        tokio::task::yield_now().await;
    }
    let second = waiting.await.unwrap().unwrap().expect("no shutdown");
    assert!(append(&store, second.fence(), vec![plain(1)]).await.is_ok());
    assert!(matches!(
        append(&store, first.fence(), vec![plain(2)]).await,
        Err(StoreError::LeaseLost(_))
    ));
}

#[tokio::test]
async fn who_waits_for_a_lease_goes_at_a_shutdown() {
    use obsqra_store::LeaseKeeper;
    use tokio_util::sync::CancellationToken;
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let _held = lease(&store).await;
    let shutdown = CancellationToken::new();
    let (waits, until) = (store.clone(), shutdown.clone());
    let waiting =
        tokio::spawn(
            async move { LeaseKeeper::acquire(&waits, worker(), "other", TTL, &until).await },
        );
    shutdown.cancel();
    assert!(waiting.await.unwrap().unwrap().is_none());
}

#[tokio::test]
async fn an_append_that_is_dropped_leaves_no_gap() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let lease = lease(&store).await;
    append(&store, lease.fence(), vec![plain(1)]).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    let dropped = log::append(&mut tx, lease.fence(), vec![plain(2), plain(3)]).await.unwrap();
    assert_eq!(dropped.after.seq, Seq(3));
    drop(tx);
    let kept = append(&store, lease.fence(), vec![plain(4)]).await.unwrap();
    assert_eq!((kept.before.seq, kept.after.seq), (Seq(1), Seq(2)));
    assert_eq!(verdict(&store).await, Verdict::Intact);
}

#[tokio::test]
async fn recorded_at_never_falls() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let lease = lease(&store).await;
    append(&store, lease.fence(), vec![plain(1)]).await.unwrap();
    // The clock was an hour ahead when the last entry was written.
    database
        .execute("UPDATE log_head SET recorded_at = clock_timestamp() + interval '1 hour'")
        .await;
    append(&store, lease.fence(), vec![plain(2), plain(3)]).await.unwrap();
    append(&store, lease.fence(), vec![plain(4)]).await.unwrap();
    let ahead = "SELECT count(*) FROM log, log_head \
                 WHERE log.recorded_at = log_head.recorded_at \
                   AND log.recorded_at > clock_timestamp() + interval '30 minutes'";
    assert_eq!(database.number(ahead).await, 3);
    assert_eq!(verdict(&store).await, Verdict::Intact);
}

/// Five blocks of two events: 15 entries.
async fn written() -> (TestDatabase, Store) {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let writer = ChainWriter::new(&store, &chain()).await;
    for number in 1..=5 {
        let block = writer.block(number, 0, 99 + number, 100 + number, 2);
        writer.append(block, 0).await.unwrap();
    }
    (database, store)
}

/// Runs SQL as a superuser who has switched the triggers off.
async fn tamper(database: &TestDatabase, sql: &str) {
    database.execute(&format!("SET session_replication_role = replica; {sql}")).await;
}

async fn check_tampering(sql: &str, at: u64, problem: &str) {
    let (database, store) = written().await;
    assert_eq!(verdict(&store).await, Verdict::Intact);
    tamper(&database, sql).await;
    match verdict(&store).await {
        Verdict::Broken { seq, problem: found } => {
            assert_eq!(seq, Seq(at), "{sql}: {found}");
            assert!(found.contains(problem), "{sql}: {found}");
        }
        other => panic!("not noticed: {sql}: {other:?}"),
    }
}

#[tokio::test]
async fn an_untouched_log_verifies_from_any_position() {
    let (_database, store) = written().await;
    let mut told = Vec::new();
    let whole = log::verify(&store, Seq(1), |at, of| told.push((at, of))).await.unwrap();
    assert_eq!((whole.entries, whole.verdict), (15, Verdict::Intact));
    assert_eq!(told.last(), Some(&(Seq(15), Seq(15))));
    let rest = log::verify(&store, Seq(8), |_, _| {}).await.unwrap();
    assert_eq!((rest.entries, rest.last, rest.verdict), (8, whole.last, Verdict::Intact));
}

#[tokio::test]
async fn an_empty_log_is_intact() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Reader).await;
    let report = log::verify(&store, Seq(1), |_, _| {}).await.unwrap();
    assert_eq!((report.entries, report.verdict), (0, Verdict::Intact));
}

#[tokio::test]
async fn changed_columns_are_found_and_named() {
    let content = "content hash is not that of the stored fact";
    let entry = "entry hash does not follow";
    for (change, problem) in [
        ("payload = set_byte(payload, length(payload) - 1, 9)", content),
        ("content_hash = decode(repeat('ab', 32), 'hex')", content),
        ("hash = decode(repeat('ab', 32), 'hex')", entry),
        ("recorded_at = recorded_at + interval '1 microsecond'", entry),
        ("recorded_at = recorded_at - interval '1 day'", "recorded_at"),
        ("kind = 10", content),
        ("kind = 99", "99"),
        ("schema_version = 2", content),
        ("schema_version = -schema_version", "schema_version is out of range"),
        ("occurred_at = occurred_at + interval '1 microsecond'", "timestamp is out of range"),
        ("chain_id = 'SN_MAIN'", content),
        ("block_number = block_number + 1", content),
        ("branch_epoch = branch_epoch + 1", content),
        ("occurred_at = occurred_at + interval '1 s'", content),
    ] {
        check_tampering(&format!("UPDATE log SET {change} WHERE seq = 9"), 9, problem).await;
    }
}

#[tokio::test]
async fn values_that_no_program_writes_are_found_and_named() {
    for change in [
        "chain_id = 'not a chain'",
        "block_number = -1",
        "branch_epoch = -1",
        "occurred_at = '1960-01-01'",
        "block_number = NULL, branch_epoch = NULL, occurred_at = NULL",
    ] {
        check_tampering(&format!("UPDATE log SET {change} WHERE seq = 9"), 9, "").await;
    }
}

#[tokio::test]
async fn rewritten_entries_with_hashes_of_their_own_are_found() {
    // Payload and content hash agree with each other, the chain does not.
    let sql = "UPDATE log SET payload = o.payload, content_hash = o.content_hash, kind = o.kind, \
               block_number = o.block_number, occurred_at = o.occurred_at \
               FROM log o WHERE log.seq = 9 AND o.seq = 3";
    check_tampering(sql, 9, "entry hash does not follow").await;
}

#[tokio::test]
async fn missing_entries_are_found_and_named() {
    check_tampering("DELETE FROM log WHERE seq = 9", 9, "missing").await;
    check_tampering("DELETE FROM log WHERE seq = 1", 1, "missing").await;
    check_tampering("DELETE FROM log WHERE seq = 15", 15, "missing").await;
    check_tampering("DELETE FROM log", 1, "missing").await;
}

#[tokio::test]
async fn swapped_entries_are_found_and_named() {
    let sql = "CREATE TEMPORARY TABLE pair AS SELECT * FROM log WHERE seq IN (6, 9); \
               DELETE FROM log WHERE seq IN (6, 9); \
               UPDATE pair SET seq = 15 - seq; \
               INSERT INTO log SELECT * FROM pair";
    check_tampering(sql, 6, "entry hash does not follow").await;
}

#[tokio::test]
async fn a_changed_head_is_found_and_named() {
    let forged = "UPDATE log_head SET hash = decode(repeat('ab', 32), 'hex')";
    check_tampering(forged, 15, "log_head").await;
    check_tampering("UPDATE log_head SET seq = 17", 16, "missing").await;
    // Entries beyond the head: what an append that never was would leave, and a shortened head.
    check_tampering("UPDATE log_head SET seq = 12", 12, "log_head").await;
    let shortened = "UPDATE log_head SET (seq, hash) = (SELECT seq, hash FROM log WHERE seq = 12)";
    check_tampering(shortened, 13, "beyond log_head").await;
}

#[tokio::test]
async fn an_owner_is_stopped_by_triggers() {
    let (database, store) = written().await;
    for sql in ["UPDATE log SET kind = 1", "DELETE FROM log WHERE seq = 3", "TRUNCATE log"] {
        let refused = database.try_execute(&format!("SET ROLE obsqra_owner; {sql}")).await;
        assert!(refused.expect_err(sql).contains("append-only"), "{sql}");
    }
    assert_eq!(verdict(&store).await, Verdict::Intact);
}
