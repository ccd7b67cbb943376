//! Verification against checkpoints, and what hashes alone do not tell.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::{Duration, Instant};

use obsqra_events::merkle::{Frontier, leaf_hash};
use obsqra_events::{
    BlockFinalized, Checkpoint, Draft, Entry, EventData, Fact, PublicKey, SignedCheckpoint,
    SigningKey, chain_hash,
};
use obsqra_store::checkpoint::{self, StoredCheckpoint};
use obsqra_store::log::{self, FileCheckpoints, Verdict, VerifyOptions, VerifyReport};
use obsqra_store::{Key, Keyed, Role, Store};
use obsqra_testkit::{ChainWriter, TestDatabase, felt};
use obsqra_types::{
    BlockHash, ChainId, ContractAddress, EventIndex, Hash32, Partition, Seq, TransactionHash,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Entries of the log that most tests work on: five blocks of two events.
const ENTRIES: u64 = 15;

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
    writer: ChainWriter,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        let writer = ChainWriter::new(&store, &chain()).await;
        let world = Self { database, store, writer };
        for number in 1..=5 {
            world.block(number, 99 + number, 100 + number).await;
        }
        world
    }

    /// With checkpoints at 5, 10 and 15.
    async fn signed() -> Self {
        let world = Self::new().await;
        world.sign(&[5, 10, 15]).await;
        world
    }

    async fn block(&self, number: u64, parent: u64, hash: u64) {
        let block = self.writer.block(number, 0, parent, hash, 2);
        self.writer.append(block, 0).await.unwrap();
    }

    async fn append(&self, drafts: Vec<Draft>) {
        let mut tx = self.store.begin().await.unwrap();
        let facts = vec![Keyed { key: Key::Plain, drafts }];
        log::append(&mut tx, self.writer.fence(), facts).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Signs the log at these positions, as it stands.
    async fn sign(&self, at: &[u64]) {
        let entries = self.entries().await;
        let known = checkpoint::last(&self.store).await.unwrap();
        let mut frontier =
            known.as_ref().map_or_else(Frontier::new, |known| known.frontier.clone());
        let mut previous = known.map_or(Hash32::ZERO, |known| known.signed.checkpoint.hash());
        let mut tx = self.store.begin().await.unwrap();
        for entry in entries.iter().skip(usize::try_from(frontier.size()).unwrap()) {
            frontier.push(leaf_hash(entry.hash.as_bytes()));
            if at.contains(&entry.seq.0) {
                let checkpoint = Checkpoint {
                    seq: entry.seq,
                    head: entry.hash,
                    root: frontier.root(),
                    recorded_at: entry.recorded_at,
                    previous,
                };
                previous = checkpoint.hash();
                let signed = signer().sign(checkpoint);
                let stored = StoredCheckpoint { signed, frontier: frontier.clone() };
                checkpoint::insert(&mut tx, &stored).await.unwrap();
            }
        }
        tx.commit().await.unwrap();
    }

    async fn entries(&self) -> Vec<Entry> {
        log::read_after(&self.store, Seq::BEFORE_FIRST, 1_000).await.unwrap()
    }

    /// What the file would hold.
    async fn lines(&self) -> Vec<SignedCheckpoint> {
        let stored = checkpoint::after(&self.store, Seq::BEFORE_FIRST, 1_000).await.unwrap();
        stored.into_iter().map(|stored| stored.signed).collect()
    }

    async fn tamper(&self, sql: &str) {
        self.database.execute(&format!("SET session_replication_role = replica; {sql}")).await;
    }

    async fn verify(&self, from: u64, file: Option<Vec<SignedCheckpoint>>) -> VerifyReport {
        self.verify_with(VerifyOptions {
            file: file.map(as_file),
            keys: Some(keys()),
            ..VerifyOptions::hashes(Seq(from))
        })
        .await
    }

    async fn verify_with(&self, options: VerifyOptions) -> VerifyReport {
        log::verify_with(&self.store, options, |_, _| {}).await.unwrap()
    }

    async fn decoded(&self) -> VerifyReport {
        self.verify_with(VerifyOptions { decode: true, ..VerifyOptions::hashes(Seq(1)) }).await
    }

    async fn check_broken(&self, file: Option<Vec<SignedCheckpoint>>, at: u64, words: &str) {
        check_broken(&self.verify(1, file).await, at, words);
    }

    /// Writes an entry anew, and every hash after it, as somebody could who owns the database.
    async fn forge_from(&self, at: u64) {
        let entries = self.entries().await;
        let mut previous = Hash32::ZERO;
        for entry in &entries {
            let mut draft = entry.draft.clone();
            if entry.seq.0 == at {
                let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(666)) });
                draft = Draft::new(&chain(), None, &fact);
            }
            let hash = chain_hash(entry.seq, entry.recorded_at, &draft.content_hash, &previous);
            previous = hash;
            if entry.seq.0 == at {
                let payload: String = draft.payload.iter().map(|b| format!("{b:02x}")).collect();
                self.tamper(&format!(
                    "UPDATE log SET kind = {}, schema_version = {}, block_number = NULL, \
                     branch_epoch = NULL, occurred_at = NULL, payload = '\\x{payload}', \
                     content_hash = '\\x{}' WHERE seq = {at}",
                    draft.kind.code(),
                    draft.version,
                    draft.content_hash
                ))
                .await;
            }
            self.tamper(&format!("UPDATE log SET hash = '\\x{hash}' WHERE seq = {}", entry.seq))
                .await;
        }
        self.tamper(&format!("UPDATE log_head SET hash = '\\x{previous}'")).await;
    }

    /// Cuts the log off, so that nothing in it tells.
    async fn cut_to(&self, seq: u64) {
        self.tamper(&format!(
            "DELETE FROM log WHERE seq > {seq}; UPDATE log_head SET (seq, hash, recorded_at) = \
             (SELECT seq, hash, recorded_at FROM log WHERE seq = {seq})"
        ))
        .await;
    }
}

fn as_file(lines: Vec<SignedCheckpoint>) -> FileCheckpoints {
    Box::new(lines.into_iter().map(Ok))
}

fn check_broken(report: &VerifyReport, at: u64, words: &str) {
    match &report.verdict {
        Verdict::Broken { seq, problem } => {
            assert_eq!(*seq, Seq(at), "{problem}");
            assert!(problem.contains(words), "`{words}` in: {problem}");
        }
        other => panic!("not noticed: {other:?}"),
    }
}

#[tokio::test]
async fn a_signed_log_verifies_from_any_position_with_and_without_the_file() {
    let world = World::signed().await;
    for file in [None, Some(world.lines().await)] {
        for from in 1..=ENTRIES + 1 {
            let report = world.verify(from, file.clone()).await;
            assert_eq!(report.verdict, Verdict::Intact, "from {from}");
            assert_eq!(report.entries, ENTRIES + 1 - from);
            let tally = report.checkpoints;
            let matched = [5, 10, 15].into_iter().filter(|seq| *seq >= from).count();
            assert_eq!(tally.matched, matched as u64, "from {from}");
            assert_eq!((tally.signed, tally.signatures), (Seq(15), true));
        }
    }
    world.block(6, 105, 106).await;
    let report = world.verify(1, None).await;
    assert_eq!((report.verdict, report.checkpoints.proven), (Verdict::Intact, Seq(15)));
}

#[tokio::test]
async fn a_tail_with_hashes_made_anew_is_caught_by_checkpoints_alone() {
    for at in [1, 7, 12, 15] {
        let world = World::new().await;
        world.forge_from(at).await;
        assert_eq!(world.verify(1, None).await.verdict, Verdict::Intact, "hashes agree");
        let world = World::signed().await;
        let file = world.lines().await;
        world.forge_from(at).await;
        let first_unproven = (at - 1) / 5 * 5 + 1;
        world.check_broken(None, first_unproven, "not the one that was signed").await;
        // A forger who owns the table too cannot sign.
        world.tamper("TRUNCATE checkpoint").await;
        assert_eq!(world.verify(1, None).await.verdict, Verdict::Intact);
        world.check_broken(Some(file), first_unproven, "not the one that was signed").await;
    }
}

#[tokio::test]
async fn a_log_that_was_cut_off_is_a_prefix_of_what_was_signed() {
    for (end, proven) in [(14, 10), (11, 10), (10, 10), (9, 5), (3, 0)] {
        let world = World::signed().await;
        world.cut_to(end).await;
        let hashes = log::verify(&world.store, Seq(1), |_, _| {}).await.unwrap();
        assert_eq!(hashes.entries, end);
        let cut = Verdict::Cut { proven: Seq(proven), signed: Seq(15) };
        assert_eq!(world.verify(1, None).await.verdict, cut);
        let file = world.lines().await;
        // An older copy of the database lacks the checkpoints too.
        world.tamper(&format!("DELETE FROM checkpoint WHERE seq > {end}")).await;
        assert_eq!(world.verify(1, None).await.verdict, Verdict::Intact, "nothing tells");
        assert_eq!(world.verify(1, Some(file)).await.verdict, cut);
    }
    let world = World::signed().await;
    world.tamper("DELETE FROM log").await;
    world.tamper("UPDATE log_head SET seq = 0, hash = decode(repeat('00', 32), 'hex')").await;
    let cut = Verdict::Cut { proven: Seq(0), signed: Seq(15) };
    assert_eq!(world.verify(1, None).await.verdict, cut);
}

#[tokio::test]
async fn every_bit_of_an_entry_counts() {
    let world = World::signed().await;
    let mut dice = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..60 {
        let seq = dice.random_range(1..=ENTRIES);
        let column = ["payload", "content_hash", "hash"][dice.random_range(0..3)];
        let bit = dice.random_range(0..256);
        let flip = format!(
            "UPDATE log SET {column} = set_bit({column}, {bit}::bigint, \
             1 - get_bit({column}, {bit}::bigint)) WHERE seq = {seq}"
        );
        world.tamper(&flip).await;
        check_broken(&world.verify(1, None).await, seq, "hash");
        world.tamper(&flip).await;
    }
    assert_eq!(world.verify(1, None).await.verdict, Verdict::Intact);
}

#[tokio::test]
async fn changed_checkpoints_are_found_and_named() {
    for (change, words) in [
        ("head = decode(repeat('ab', 32), 'hex')", "signature"),
        ("root = decode(repeat('ab', 32), 'hex')", "signature"),
        ("previous = decode(repeat('ab', 32), 'hex')", "signature"),
        ("recorded_at = recorded_at + interval '1 microsecond'", "signature"),
        ("signature = set_byte(signature, 3, 9)", "signature"),
        ("key_id = decode(repeat('ab', 8), 'hex')", "not one of the keys given"),
        ("frontier = set_byte(frontier, 20, get_byte(frontier, 20) # 1)", "frontier"),
        ("frontier = 'x'", "frontier"),
    ] {
        let world = World::signed().await;
        world.tamper(&format!("UPDATE checkpoint SET {change} WHERE seq = 10")).await;
        // What cannot be read of a row is told before the entries up to it are looked at.
        check_broken(&world.verify(1, None).await, 10, words);
        check_broken(&world.verify(12, None).await, 10, "");
    }
    let world = World::signed().await;
    world.tamper("DELETE FROM checkpoint WHERE seq = 10").await;
    world.check_broken(None, 15, "does not follow from the checkpoint before").await;
}

#[tokio::test]
async fn a_root_that_is_not_the_logs_is_found_without_any_key() {
    let world = World::signed().await;
    world
        .tamper("UPDATE checkpoint SET root = decode(repeat('ab', 32), 'hex') WHERE seq = 10")
        .await;
    let report = world.verify_with(VerifyOptions::hashes(Seq(1))).await;
    check_broken(&report, 6, "not the one that was signed");
    assert!(!report.checkpoints.signatures);
}

#[tokio::test]
async fn the_keys_decide_what_counts() {
    let world = World::signed().await;
    let with = |keys: Vec<PublicKey>| {
        let options = VerifyOptions { keys: Some(keys), ..VerifyOptions::hashes(Seq(1)) };
        world.verify_with(options)
    };
    let other = SigningKey::from_secret(&[6; 32]).public();
    assert_eq!(with(vec![other.clone(), signer().public()]).await.verdict, Verdict::Intact);
    check_broken(&with(vec![other]).await, 5, "not one of the keys given");
    check_broken(&with(Vec::new()).await, 5, "not one of the keys given");
}

#[tokio::test]
async fn table_and_file_hold_the_same_checkpoints() {
    let world = World::signed().await;
    let lines = world.lines().await;
    for end in 0..=lines.len() {
        let report = world.verify(1, Some(lines[..end].to_vec())).await;
        assert_eq!(report.verdict, Verdict::Intact, "the file's writer was stopped at {end}");
    }
    let without_middle = vec![lines[0], lines[2]];
    world.check_broken(Some(without_middle), 10, "different checkpoints").await;
    let without_first = lines[1..].to_vec();
    world.check_broken(Some(without_first), 5, "different checkpoints").await;
    let twice = vec![lines[0], lines[0]];
    world.check_broken(Some(twice), 5, "different checkpoints").await;
    let unreadable: FileCheckpoints =
        Box::new([Err("line 1: not a checkpoint".into())].into_iter());
    let options = VerifyOptions {
        file: Some(unreadable),
        keys: Some(keys()),
        ..VerifyOptions::hashes(Seq(1))
    };
    check_broken(&world.verify_with(options).await, 1, "line 1");
    // From a later place the lines before it count too.
    let mut forged = lines.clone();
    forged[0].signature[0] ^= 1;
    check_broken(&world.verify(12, Some(forged)).await, 5, "signature");
    let foreign = vec![signer().sign(Checkpoint { head: Hash32::ZERO, ..lines[0].checkpoint })];
    world.check_broken(Some(foreign), 5, "different checkpoints").await;
}

#[tokio::test]
async fn a_bad_entry_is_named_before_a_bad_checkpoint_after_it() {
    let world = World::signed().await;
    world
        .tamper("UPDATE checkpoint SET root = decode(repeat('ab', 32), 'hex') WHERE seq = 10")
        .await;
    world.tamper("UPDATE log SET payload = set_byte(payload, 5, 1) WHERE seq = 8").await;
    world.check_broken(None, 8, "content hash").await;
    world.check_broken(Some(Vec::new()), 8, "content hash").await;
}

fn event(world: &World, index: u32) -> Draft {
    let block = world.writer.block(9, 0, 0, 109, 0).drafts[0].block;
    let event = EventData {
        index: EventIndex(index),
        transaction_index: 0,
        transaction_hash: TransactionHash(felt(1)),
        from_address: ContractAddress(felt(1)),
        keys: Vec::new(),
        data: Vec::new(),
    };
    Draft::new(&chain(), block, &Fact::Event(event))
}

#[tokio::test]
async fn what_entries_say_is_checked_when_asked_for() {
    let world = World::new().await;
    assert_eq!(world.decoded().await.verdict, Verdict::Intact);
    for from in 1..=ENTRIES {
        let options = VerifyOptions { decode: true, ..VerifyOptions::hashes(Seq(from)) };
        assert_eq!(world.verify_with(options).await.verdict, Verdict::Intact, "from {from}");
    }
    let one_too_many = vec![event(&world, 7)];
    let mut unreadable = event(&world, 7);
    unreadable.payload = b"\x82".to_vec();
    unreadable.content_hash = unreadable.recomputed_content_hash();
    let mut too_few = world.writer.block(6, 0, 105, 106, 2).drafts;
    too_few.pop();
    let mut others = world.writer.block(6, 0, 105, 106, 2).drafts;
    others[2] = event(&world, 1);
    for (drafts, at, words) in [
        (one_too_many, 16, "event that no block counts"),
        (vec![unreadable], 16, "malformed payload"),
        (too_few, 18, "1 events that entry 16 counts are missing"),
        (others, 18, "not those that entry 16 states"),
    ] {
        let world = World::new().await;
        world.append(drafts).await;
        assert_eq!(world.verify(1, None).await.verdict, Verdict::Intact, "hashes agree");
        check_broken(&world.decoded().await, at, words);
    }
}

#[tokio::test]
async fn checkpoints_are_written_once_and_never_changed() {
    let world = World::signed().await;
    for role in ["obsqra_writer", "obsqra_reader"] {
        for sql in
            ["UPDATE checkpoint SET seq = 1", "DELETE FROM checkpoint", "TRUNCATE checkpoint"]
        {
            let refused = world.database.try_execute(&format!("SET ROLE {role}; {sql}")).await;
            assert!(refused.expect_err(sql).contains("permission denied"), "{role}: {sql}");
        }
    }
    for sql in ["UPDATE checkpoint SET seq = 1", "DELETE FROM checkpoint", "TRUNCATE checkpoint"] {
        let refused = world.database.try_execute(&format!("SET ROLE obsqra_owner; {sql}")).await;
        assert!(refused.expect_err(sql).contains("append-only"), "{sql}");
    }
    let again = checkpoint::last(&world.store).await.unwrap().unwrap();
    let mut tx = world.store.begin().await.unwrap();
    assert!(checkpoint::insert(&mut tx, &again).await.is_err());
    drop(tx);
    let at = async |seq| {
        let found = checkpoint::at_or_before(&world.store, Seq(seq)).await.unwrap();
        found.map_or(0, |found| found.seq().0)
    };
    assert_eq!((at(4).await, at(5).await, at(14).await, at(99).await), (0, 5, 10, 15));
    let covering = async |seq| {
        let found = checkpoint::covering(&world.store, Seq(seq)).await.unwrap();
        found.map_or(0, |found| found.seq().0)
    };
    assert_eq!((covering(0).await, covering(1).await, covering(5).await), (5, 5, 5));
    assert_eq!((covering(6).await, covering(15).await, covering(16).await), (10, 15, 0));
}

/// Payloads of the measured log: what an event of a few felts takes.
const PAYLOAD: usize = 330;
const BATCH: u64 = 5_000;

/// Reads a long log, over several ranges of `COPY`, and prints how it compares with the bare one.
#[tokio::test]
#[ignore = "takes minutes; a release build gives figures"]
async fn a_long_log_is_read_nearly_as_fast_as_it_can_be_copied() {
    let entries: u64 =
        std::env::var("OBSQRA_TEST_ENTRIES").map_or(200_000, |text| text.parse().unwrap());
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let lease = obsqra_store::Lease::acquire(
        &store,
        Partition::Follower(chain()),
        "test",
        Duration::from_secs(6_000),
    );
    let lease = lease.await.unwrap().unwrap();
    for batch in 0..entries / BATCH {
        let draft = |index: u64| {
            let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(index)) });
            let mut draft = Draft::new(&chain(), None, &fact);
            draft.payload.resize(PAYLOAD, 7);
            draft.content_hash = draft.recomputed_content_hash();
            draft
        };
        let drafts = (0..BATCH).map(|index| draft(batch * BATCH + index)).collect();
        let mut tx = store.begin().await.unwrap();
        let facts = vec![Keyed { key: Key::Plain, drafts }];
        log::append(&mut tx, lease.fence(), facts).await.unwrap();
        tx.commit().await.unwrap();
    }
    sign_every(&store, 1_000).await;
    database.execute("VACUUM ANALYZE log").await;
    let rate = |began: Instant| entries as f64 / began.elapsed().as_secs_f64();
    for round in 0..6 {
        let began = Instant::now();
        assert_eq!(log::copy_out_nowhere(&store, Seq(0), Seq(entries)).await.unwrap(), entries);
        let copied = rate(began);
        let began = Instant::now();
        let options = VerifyOptions { keys: Some(keys()), ..VerifyOptions::hashes(Seq(1)) };
        let report = log::verify_with(&store, options, |_, _| {}).await.unwrap();
        let verified = rate(began);
        assert_eq!((report.entries, report.verdict), (entries, Verdict::Intact));
        assert_eq!(report.checkpoints.matched, entries / 1_000);
        println!(
            "round {round}: COPY {copied:.0} rows/s, verify {verified:.0} rows/s, ratio {:.2}",
            verified / copied
        );
    }
}

async fn sign_every(store: &Store, interval: u64) {
    let mut frontier = Frontier::new();
    let mut previous = Hash32::ZERO;
    let mut tx = store.begin().await.unwrap();
    loop {
        let after = Seq(frontier.size());
        let links = log::links(store, after, Seq(i64::MAX.unsigned_abs()), 10_000).await.unwrap();
        if links.is_empty() {
            break;
        }
        for link in links {
            frontier.push(leaf_hash(link.hash.as_bytes()));
            if link.seq.0.is_multiple_of(interval) {
                let checkpoint = Checkpoint {
                    seq: link.seq,
                    head: link.hash,
                    root: frontier.root(),
                    recorded_at: link.recorded_at,
                    previous,
                };
                previous = checkpoint.hash();
                let stored = StoredCheckpoint {
                    signed: signer().sign(checkpoint),
                    frontier: frontier.clone(),
                };
                checkpoint::insert(&mut tx, &stored).await.unwrap();
            }
        }
    }
    tx.commit().await.unwrap();
}
