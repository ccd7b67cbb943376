//! The checkpointer against a real database, file and NATS server: killed between any two steps, it
//! loses nothing and does nothing twice.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::fs;
use std::time::Duration;

use obsqra_bus::{ChainStream, CheckpointStream, StreamLimits};
use obsqra_events::{BlockFinalized, Draft, Fact, PublicKey, SignedCheckpoint, SigningKey};
use obsqra_store::log::{self, Verdict, VerifyOptions};
use obsqra_store::{
    Key, Keyed, Lease, LeaseKeeper, Role as DatabaseRole, Store, StoreError, checkpoint, cursor,
};
use obsqra_testkit::{TestDatabase, TestNats, felt};
use obsqra_types::{BlockHash, ChainId, Partition, Seq};
use obsqra_workers::WorkError;
use obsqra_workers::checkpoint::file::{CheckpointFile, CheckpointFileError};
use obsqra_workers::checkpoint::{Checkpointer, CheckpointerOptions};
use obsqra_workers::runtime::{Progress, Role};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

const STREAM: &str = "OBSQRA_OBSQRA_TEST-checkpoints";
const TTL: Duration = Duration::from_secs(600);
/// Longer than any test takes: the log does not rest.
const RESTLESS: Duration = Duration::from_secs(3_600);

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

fn signer() -> SigningKey {
    SigningKey::from_secret(&[5; 32])
}

fn keys() -> Vec<PublicKey> {
    vec![signer().public()]
}

struct World {
    database: TestDatabase,
    store: Store,
    nats: TestNats,
    folder: TempDir,
    writer: Lease,
}

impl World {
    async fn begin() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(DatabaseRole::Writer).await;
        let partition = Partition::Follower(chain());
        let writer = Lease::acquire(&store, partition, "test", TTL).await.unwrap().unwrap();
        let nats = TestNats::start().await;
        Self { database, store, nats, folder: tempfile::tempdir().unwrap(), writer }
    }

    async fn grow(&self, entries: u64) {
        let from = log::head(&self.store).await.unwrap().seq.0;
        let draft = |number: u64| {
            let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(number)) });
            Draft::new(&chain(), None, &fact)
        };
        let drafts = (from..from + entries).map(draft).collect();
        let mut tx = self.store.begin().await.unwrap();
        let facts = vec![Keyed { key: Key::Plain, drafts }];
        log::append(&mut tx, self.writer.fence(), facts).await.unwrap();
        tx.commit().await.unwrap();
    }

    fn file(&self) -> CheckpointFile {
        CheckpointFile::new(self.folder.path().join("checkpoints.ndjson"))
    }

    async fn role(&self, rest: Duration) -> Checkpointer {
        let streams = vec![CheckpointStream::new(&self.nats.bus().await, &chain())];
        let options = CheckpointerOptions { key: signer(), file: self.file(), rest };
        Checkpointer::new(&self.store, streams, options)
    }

    async fn hold(&self) -> LeaseKeeper {
        let shutdown = CancellationToken::new();
        let partition = Partition::Checkpointer;
        let held = LeaseKeeper::acquire(&self.store, partition, "test", TTL, &shutdown).await;
        held.unwrap().expect("no shutdown")
    }

    async fn run(&self, rest: Duration) -> Result<(), WorkError> {
        let mut role = self.role(rest).await;
        let lease = self.hold().await;
        role.load().await?;
        while role.work(&lease).await? == Progress::Worked {}
        lease.release().await.unwrap();
        Ok(())
    }

    async fn signed(&self) -> Vec<SignedCheckpoint> {
        let stored = checkpoint::after(&self.store, Seq::BEFORE_FIRST, 1_000).await.unwrap();
        stored.into_iter().map(|stored| stored.signed).collect()
    }

    fn lines(&self) -> Vec<SignedCheckpoint> {
        self.file().read().unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Table, file and stream hold the same checkpoints, and the log is the one they sign.
    async fn check(&self, at: &[u64]) {
        let signed = self.signed().await;
        let seqs: Vec<u64> = signed.iter().map(|signed| signed.checkpoint.seq.0).collect();
        assert_eq!(seqs, at);
        assert_eq!(self.lines(), signed);
        let messages = self.nats.messages(STREAM).await;
        let published: Vec<u64> = messages.iter().map(|m| m.position("Obsqra-Seq")).collect();
        assert_eq!(published, at);
        for (message, signed) in messages.iter().zip(&signed) {
            assert_eq!(message.subject, "obsqra.v1.OBSQRA_TEST.log.checkpoint");
            assert_eq!(message.body, signed.message());
            assert_eq!(message.header("Nats-Msg-Id"), signed.checkpoint.hash().to_string());
        }
        let cursor = cursor::load(&self.store, &Partition::Checkpointer).await.unwrap();
        assert_eq!(Some(cursor.0), at.last().copied());
        let options = VerifyOptions {
            keys: Some(keys()),
            file: Some(Box::new(self.file().read().unwrap())),
            ..VerifyOptions::hashes(Seq(1))
        };
        let report = log::verify_with(&self.store, options, |_, _| {}).await.unwrap();
        assert_eq!(report.verdict, Verdict::Intact);
        assert_eq!(report.checkpoints.matched, at.len() as u64);
    }
}

#[tokio::test]
async fn each_thousandth_entry_is_signed_and_the_end_where_the_log_rests() {
    let world = World::begin().await;
    world.run(Duration::ZERO).await.unwrap();
    assert!(world.signed().await.is_empty(), "nothing to sign");
    world.grow(2_345).await;
    world.run(RESTLESS).await.unwrap();
    world.check(&[1_000, 2_000]).await;
    world.run(Duration::ZERO).await.unwrap();
    world.check(&[1_000, 2_000, 2_345]).await;
    world.run(Duration::ZERO).await.unwrap();
    world.grow(700).await;
    world.run(Duration::ZERO).await.unwrap();
    world.check(&[1_000, 2_000, 2_345, 3_000, 3_045]).await;
}

#[tokio::test]
async fn a_log_longer_than_one_stretch_is_caught_up_with() {
    let world = World::begin().await;
    for _ in 0..3 {
        world.grow(7_001).await;
    }
    world.run(Duration::ZERO).await.unwrap();
    let mut at: Vec<u64> = (1..=21).map(|thousand| thousand * 1_000).collect();
    at.push(21_003);
    world.check(&at).await;
}

#[tokio::test]
async fn killed_after_any_step_it_goes_on() {
    for steps in 0..=3 {
        let world = World::begin().await;
        world.grow(1_500).await;
        world.run(Duration::ZERO).await.unwrap();
        world.grow(1_000).await;
        let mut role = world.role(Duration::ZERO).await;
        let lease = world.hold().await;
        role.load().await.unwrap();
        if steps > 0 {
            assert_eq!(role.sign(&lease).await.unwrap(), Progress::Worked);
        }
        if steps > 1 {
            role.write_file().await.unwrap();
        }
        if steps > 2 {
            role.publish(&lease).await.unwrap();
        }
        lease.release().await.unwrap();
        drop(role);
        world.run(Duration::ZERO).await.unwrap();
        world.check(&[1_000, 1_500, 2_000, 2_500]).await;
    }
}

#[tokio::test]
async fn a_publication_whose_cursor_was_lost_is_not_stored_again() {
    let world = World::begin().await;
    world.grow(2_000).await;
    world.run(Duration::ZERO).await.unwrap();
    world
        .database
        .execute("UPDATE cursor_position SET seq = 1000 WHERE partition = 'checkpointer'")
        .await;
    world.run(Duration::ZERO).await.unwrap();
    world.check(&[1_000, 2_000]).await;
}

#[tokio::test]
async fn a_stream_that_was_lost_is_filled_again() {
    let world = World::begin().await;
    world.grow(2_500).await;
    world.run(Duration::ZERO).await.unwrap();
    world.nats.delete_stream(STREAM).await;
    world.run(Duration::ZERO).await.unwrap();
    world.check(&[1_000, 2_000, 2_500]).await;
}

#[tokio::test]
async fn a_line_that_a_crash_cut_off_is_written_anew_and_no_other() {
    let world = World::begin().await;
    world.grow(3_000).await;
    world.run(Duration::ZERO).await.unwrap();
    let path = world.file().path().to_owned();
    let whole = fs::read(&path).unwrap();
    let line = whole.len() / 3;
    for length in [0, 1, line - 1, line, line + 1, 2 * line + 7, whole.len() - 1] {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(world.lines().len(), length / line, "what is cut off is not read");
        world.run(Duration::ZERO).await.unwrap();
        assert!(fs::read(&path).unwrap() == whole, "cut at {length}");
    }
    fs::remove_file(&path).unwrap();
    world.run(Duration::ZERO).await.unwrap();
    assert!(fs::read(&path).unwrap() == whole);
    // Zeros are what some file systems leave of a write that was not synced.
    fs::write(&path, [&whole[..], &[0; 300]].concat()).unwrap();
    world.grow(1_000).await;
    world.run(Duration::ZERO).await.unwrap();
    world.check(&[1_000, 2_000, 3_000, 4_000]).await;
    assert!(fs::read(&path).unwrap().starts_with(&whole));
}

#[tokio::test]
async fn nothing_is_signed_while_the_file_is_ahead() {
    let world = World::begin().await;
    world.grow(3_000).await;
    world.run(Duration::ZERO).await.unwrap();
    // An older copy of the database: two thousand entries and their checkpoints.
    world
        .database
        .execute(
            "SET session_replication_role = replica; \
             DELETE FROM checkpoint WHERE seq > 2000; DELETE FROM log WHERE seq > 2000; \
             UPDATE log_head SET (seq, hash, recorded_at) = \
             (SELECT seq, hash, recorded_at FROM log WHERE seq = 2000)",
        )
        .await;
    world.grow(1_500).await;
    let refused = world.run(Duration::ZERO).await;
    let Err(WorkError::CheckpointFile(error @ CheckpointFileError::Ahead { seq: Seq(3_000), .. })) =
        refused
    else {
        panic!("{refused:?}")
    };
    assert!(error.to_string().contains("the database is older than the file"), "{error}");
    assert!(!WorkError::from(error).is_transient());
    assert_eq!(world.signed().await.len(), 2);
    // Moved away, the file begins anew; the stream, which is ahead too, is another matter.
    fs::remove_file(world.file().path()).unwrap();
    let refused = world.run(Duration::ZERO).await;
    assert!(
        matches!(refused, Err(WorkError::StreamAhead { stream: Seq(3_000), .. })),
        "{refused:?}"
    );
    world.nats.delete_stream(STREAM).await;
    world.run(Duration::ZERO).await.unwrap();
    world.check(&[1_000, 2_000, 3_000, 3_500]).await;
}

#[tokio::test]
async fn a_file_of_something_else_is_left_alone() {
    let world = World::begin().await;
    world.grow(1_000).await;
    let path = world.file().path().to_owned();
    let long = "x".repeat(20_000);
    for text in ["hello\n", "{}\n", "\n", "\u{0}\n", &format!("{long}\n"), &long] {
        fs::write(&path, text).unwrap();
        let refused = world.run(Duration::ZERO).await;
        assert!(matches!(refused, Err(WorkError::CheckpointFile(_))), "{refused:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
        assert!(world.signed().await.is_empty());
    }
    let missing = CheckpointFile::new(world.folder.path().join("nowhere").join("file"));
    let options = CheckpointerOptions { key: signer(), file: missing, rest: Duration::ZERO };
    let mut role = Checkpointer::new(&world.store, Vec::new(), options);
    fs::remove_file(&path).unwrap();
    let lease = world.hold().await;
    role.load().await.unwrap();
    let refused = role.work(&lease).await;
    assert!(matches!(refused, Err(WorkError::CheckpointFile(CheckpointFileError::Io { .. }))));
}

#[tokio::test]
async fn a_broken_chain_is_not_signed() {
    for change in [
        "UPDATE log SET hash = set_byte(hash, 3, 1) WHERE seq = 1500",
        "UPDATE log SET content_hash = set_byte(content_hash, 3, 1) WHERE seq = 1500",
        "DELETE FROM log WHERE seq = 1500",
    ] {
        let world = World::begin().await;
        world.grow(1_200).await;
        world.run(RESTLESS).await.unwrap();
        world.grow(1_000).await;
        world.database.execute(&format!("SET session_replication_role = replica; {change}")).await;
        let refused = world.run(Duration::ZERO).await;
        assert!(matches!(refused, Err(WorkError::Log { seq: Seq(1_500), .. })), "{refused:?}");
        assert_eq!(world.signed().await.len(), 1);
    }
}

#[tokio::test]
async fn a_stale_holder_signs_nothing_and_appends_nothing_twice() {
    let world = World::begin().await;
    world.grow(1_000).await;
    let mut stale = world.role(Duration::ZERO).await;
    let lease = world.hold().await;
    stale.load().await.unwrap();
    world
        .database
        .execute("UPDATE lease SET expires_at = clock_timestamp() - interval '1 s'")
        .await;
    let other = Lease::acquire(&world.store, Partition::Checkpointer, "other", TTL).await;
    other.unwrap().expect("it has run out").release().await.unwrap();
    let refused = stale.sign(&lease).await;
    assert!(matches!(refused, Err(WorkError::Store(StoreError::LeaseLost(_)))), "{refused:?}");
    assert!(world.signed().await.is_empty());
    drop(lease);
    world.run(Duration::ZERO).await.unwrap();
    // It had read an empty end before the other wrote.
    let lines = world.signed().await;
    world.file().append(None, lines).await.unwrap();
    world.check(&[1_000]).await;
}

#[tokio::test]
async fn a_stream_of_an_earlier_program_makes_room() {
    let nats = TestNats::start().await;
    nats.make_stream("OBSQRA_OBSQRA_TEST", "obsqra.v1.OBSQRA_TEST.>").await;
    let bus = nats.bus().await;
    let checkpoints = CheckpointStream::new(&bus, &chain());
    assert!(checkpoints.ensure().await.is_err(), "the subjects are taken");
    ChainStream::open(&bus, &chain(), StreamLimits::default()).await.unwrap();
    checkpoints.ensure().await.unwrap();
    checkpoints.ensure().await.unwrap();
    assert_eq!(checkpoints.last().await.unwrap(), None);
}
