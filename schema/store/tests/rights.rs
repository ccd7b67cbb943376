//! What each role of the database may do to the log, and what the append functions refuse: every attempt
//! is made for real, and the log must stand afterwards as it stood before.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use obsqra_events::{BlockFinalized, Draft, Fact, chain_hash};
use obsqra_store::log::{self, Verdict};
use obsqra_store::{Head, Key, Keyed, Lease, Role, Store, StoreError, StoreOptions, Transaction};
use obsqra_testkit::{ChainWriter, TestDatabase, felt};
use obsqra_types::{BlockHash, ChainId, Hash32, Partition, ProtocolId, RecordedAt, Seq};
use sqlx::AssertSqlSafe;

const TTL: Duration = Duration::from_secs(600);
/// SQLSTATEs: a missing right, a missing value, a stale epoch, entries that do not follow, a time to come,
/// a position that is taken.
const NO_RIGHT: &str = "42501";
const NULL: &str = "23502";
const NOT_HELD: &str = "OB001";
const DOES_NOT_FOLLOW: &str = "OB002";
const TOO_EARLY: &str = "40001";
const TAKEN: &str = "23505";

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

fn worker(name: &str) -> Partition {
    Partition::RiskWorker(chain(), ProtocolId::new(name).unwrap())
}

fn draft(number: u64) -> Draft {
    Draft::new(
        &chain(),
        None,
        &Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(number)) }),
    )
}

fn plain(number: u64) -> Keyed {
    Keyed { key: Key::Plain, drafts: vec![draft(number)] }
}

/// A log of nine entries over several chunks, and who may touch it.
struct World {
    database: TestDatabase,
    admin: Store,
    lease: Lease,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        database.execute("SELECT set_chunk_time_interval('log', 4)").await;
        let admin = database.store(Role::Admin).await;
        let store = database.store(Role::Writer).await;
        let blocks = ChainWriter::new(&store, &chain()).await;
        for number in 1..=3 {
            let block = blocks.block(number, 0, 99 + number, 100 + number, 2);
            blocks.append(block, 0).await.unwrap();
        }
        let lease = Lease::acquire(&store, worker("own"), "test", TTL).await.unwrap().unwrap();
        Self { database, admin, lease }
    }

    /// Everybody who works under a role: by SET ROLE from the login that owns the server, and by a login
    /// of its own that has no other right.
    async fn members(&self, role: Role) -> Vec<(String, Store)> {
        let group = if role == Role::Writer { "obsqra_writer" } else { "obsqra_reader" };
        let login = self.login(Some(group)).await;
        let mut members = Vec::new();
        for (what, url) in [("SET ROLE", self.database.url()), ("login", &login)] {
            let store = Store::connect(url, StoreOptions::new(role)).await.unwrap();
            members.push((format!("{what} {group}"), store));
        }
        members
    }

    /// The URL of a new login. Logins belong to the server, so its name holds the database's.
    async fn login(&self, group: Option<&str>) -> String {
        let url = self.database.url();
        let database = url.rsplit('/').next().unwrap().split('?').next().unwrap();
        let name = format!("login_{}_{database}", group.unwrap_or("nobody"));
        let member = group.map(|group| format!("IN ROLE {group}")).unwrap_or_default();
        let name = &name[..name.len().min(60)];
        let sql = format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'a-test' {member}");
        self.database.execute(&sql).await;
        let (scheme, rest) = url.split_once("://").unwrap();
        format!("{scheme}://{name}:a-test@{}", rest.split_once('@').unwrap().1)
    }

    async fn chunks(&self) -> Vec<String> {
        let mut tx = self.admin.begin().await.unwrap();
        let sql = "SELECT c::text FROM show_chunks('log') c ORDER BY 1";
        sqlx::query_scalar(sql).fetch_all(&mut *tx).await.unwrap()
    }

    async fn head(&self) -> Head {
        log::head(&self.admin).await.unwrap()
    }

    /// The log has so many entries, and verifies.
    async fn check(&self, entries: u64) {
        let report = log::verify(&self.admin, Seq(1), |_, _| {}).await.unwrap();
        assert_eq!((report.entries, report.verdict), (entries, Verdict::Intact));
        let rows = self.database.number("SELECT count(*) FROM log").await;
        assert_eq!(u64::try_from(rows).unwrap(), entries);
    }
}

/// Runs SQL in a transaction that is rolled back; the SQLSTATE of what the server refuses, with its words.
async fn attempt(store: &Store, sql: &str) -> Result<(), (String, String)> {
    let mut tx = store.begin().await.unwrap();
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await;
    done.map(|_| ()).map_err(|error| refusal(&error))
}

fn refusal(error: &sqlx::Error) -> (String, String) {
    let refused = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
    (refused.code().unwrap_or_default().into_owned(), refused.message().to_owned())
}

async fn check_refused(who: &str, store: &Store, sql: &str) {
    match attempt(store, sql).await {
        Ok(()) => panic!("{who} may: {sql}"),
        Err((code, said)) => assert_eq!(code, NO_RIGHT, "{who}: {sql}: {said}"),
    }
}

const CHANGES_OF_A_TABLE: [&str; 14] = [
    "INSERT INTO {table} SELECT 10, kind, schema_version, chain_id, block_number, branch_epoch, \
     occurred_at, recorded_at, payload, content_hash, hash FROM log WHERE seq = 1",
    "UPDATE {table} SET kind = 1",
    "UPDATE {table} SET kind = 1 WHERE seq = 3",
    "DELETE FROM {table}",
    "DELETE FROM {table} WHERE seq = 3",
    "TRUNCATE {table}",
    "SELECT seq FROM {table} FOR UPDATE",
    "ALTER TABLE {table} DISABLE TRIGGER ALL",
    "ALTER TABLE {table} DROP COLUMN payload",
    "ALTER TABLE {table} ALTER COLUMN payload DROP NOT NULL",
    "ALTER TABLE {table} OWNER TO CURRENT_USER",
    "CREATE TRIGGER t BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION log_refuse_change()",
    "CREATE INDEX ON {table} (kind)",
    "DROP TABLE {table}",
];

const OTHER_CHANGES: [&str; 24] = [
    "SELECT drop_chunks('log', older_than => 1000000::bigint)",
    "SELECT set_chunk_time_interval('log', 1)",
    "SET session_replication_role = replica",
    "SET SESSION AUTHORIZATION obsqra_owner",
    "DROP TRIGGER log_no_change ON log",
    "INSERT INTO log_head SELECT false, seq, hash, recorded_at FROM log_head",
    "UPDATE log_head SET seq = 0",
    "DELETE FROM log_head",
    "TRUNCATE log_head",
    "ALTER TABLE log_head DROP COLUMN hash",
    "DROP TABLE log_head",
    "CREATE OR REPLACE FUNCTION log_refuse_change() RETURNS trigger LANGUAGE plpgsql AS \
     'BEGIN RETURN NULL; END'",
    "CREATE OR REPLACE FUNCTION log_open(held_partition text, held_epoch bigint, OUT head_seq bigint, \
     OUT head_hash bytea, OUT head_at timestamptz, OUT opened_at timestamptz) LANGUAGE plpgsql AS \
     'BEGIN RETURN; END'",
    "ALTER FUNCTION log_append SECURITY INVOKER",
    "ALTER FUNCTION log_append SET search_path = pg_temp, public",
    "DROP FUNCTION log_append",
    "ALTER FUNCTION log_append_batch SECURITY INVOKER",
    "DROP FUNCTION log_append_batch",
    "CREATE FUNCTION public.sha256(bytea) RETURNS bytea LANGUAGE sql AS 'SELECT $1'",
    "CREATE SCHEMA evil",
    "UPDATE block_key SET seq = 0",
    "DELETE FROM block_key",
    "DELETE FROM derived_key",
    "UPDATE adopted_key SET version = ''",
];

#[tokio::test]
async fn neither_writer_nor_reader_changes_what_is_written() {
    let world = World::new().await;
    let mut tables = world.chunks().await;
    assert!(tables.len() > 1, "{tables:?}");
    tables.truncate(2);
    tables.push("log".into());
    for role in [Role::Writer, Role::Reader] {
        for (who, store) in world.members(role).await {
            for table in &tables {
                for change in CHANGES_OF_A_TABLE {
                    check_refused(&who, &store, &change.replace("{table}", table)).await;
                }
            }
            for change in OTHER_CHANGES {
                // The server's own login may become anyone again; that is why no role of the product is it.
                if change.contains("AUTHORIZATION") && who.starts_with("SET ROLE") {
                    continue;
                }
                check_refused(&who, &store, change).await;
            }
        }
    }
    world.check(9).await;
}

#[tokio::test]
async fn a_login_of_one_role_cannot_take_another() {
    let world = World::new().await;
    for (role, others) in [
        (Role::Writer, ["obsqra_owner", "obsqra_reader"]),
        (Role::Reader, ["obsqra_owner", "obsqra_writer"]),
    ] {
        let (who, store) = world.members(role).await.pop().unwrap();
        for other in others {
            check_refused(&who, &store, &format!("SET ROLE {other}")).await;
            check_refused(&who, &store, &format!("GRANT {other} TO CURRENT_USER")).await;
        }
    }
}

#[tokio::test]
async fn only_the_writer_may_call_the_append_functions() {
    let world = World::new().await;
    let open = format!("SELECT log_open('{}', 1)", worker("own"));
    let append = format!(
        "SELECT log_append('{}', 1, 9, '', now(), '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', \
         '{{}}', '{{}}')",
        worker("own")
    );
    let batch = format!(
        "SELECT log_append_batch('{}', 1, 9, now(), 'X', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', \
         '{{}}', '{{}}', '', '', '')",
        worker("own")
    );
    let mut callers = world.members(Role::Reader).await;
    let nobody = world.login(None).await;
    let options = StoreOptions::new(Role::Admin);
    callers.push(("nobody".into(), Store::connect(&nobody, options).await.unwrap()));
    for (who, store) in callers {
        let lease = String::from("INSERT INTO lease VALUES ('x', 1, 'x', now())");
        for sql in [&open, &append, &batch, &lease] {
            check_refused(&who, &store, sql).await;
        }
    }
    for (_, store) in world.members(Role::Writer).await {
        attempt(&store, &open).await.unwrap();
    }
    world.check(9).await;
}

const READ_MODELS: [&str; 8] = [
    "projection_state",
    "projection_hash",
    "block",
    "event",
    "market_metrics",
    "risk_score",
    "activity",
    "privacy_pool",
];

#[tokio::test]
async fn read_models_are_written_by_the_writer_alone() {
    let world = World::new().await;
    let (writers, readers) = (world.members(Role::Writer).await, world.members(Role::Reader).await);
    for table in READ_MODELS {
        let read = format!("SELECT count(*) FROM {table}");
        let changes = [
            format!("UPDATE {table} SET chain_id = chain_id"),
            format!("DELETE FROM {table}"),
            format!("INSERT INTO {table} SELECT * FROM {table}"),
        ];
        let never = [format!("TRUNCATE {table}"), format!("DROP TABLE {table}")];
        for (who, store) in &writers {
            attempt(store, &read).await.unwrap();
            for change in &changes {
                attempt(store, change).await.unwrap();
            }
            for change in &never {
                check_refused(who, store, change).await;
            }
        }
        for (who, store) in &readers {
            attempt(store, &read).await.unwrap();
            for change in changes.iter().chain(&never) {
                check_refused(who, store, change).await;
            }
        }
    }
}

#[tokio::test]
async fn what_the_roles_are_for_works() {
    let world = World::new().await;
    let mut expected = 9;
    let (writers, readers) = (world.members(Role::Writer).await, world.members(Role::Reader).await);
    for (who, store) in &writers {
        // More than a chunk holds, in one call: chunks are made with the owner's rights.
        let mut tx = store.begin().await.unwrap();
        let facts = (0..9).map(plain).collect();
        log::append(&mut tx, world.lease.fence(), facts).await.unwrap();
        log::append(&mut tx, world.lease.fence(), vec![plain(9)]).await.unwrap();
        tx.commit().await.unwrap();
        expected += 10;
        world.check(expected).await;
        assert_eq!(world.head().await.seq, Seq(expected), "{who}");
    }
    for chunk in world.chunks().await {
        for (who, store) in &writers {
            let sql = CHANGES_OF_A_TABLE[0].replace("{table}", &chunk);
            check_refused(who, store, &sql).await;
        }
    }
    for (_, store) in &readers {
        let report = log::verify(store, Seq(1), |_, _| {}).await.unwrap();
        assert_eq!((report.entries, report.verdict), (expected, Verdict::Intact));
    }
}

#[tokio::test]
async fn the_right_to_insert_goes_from_chunks_that_were_there_before_too() {
    let world = World::new().await;
    let (_, writer) = world.members(Role::Writer).await.pop().unwrap();
    world.database.execute("GRANT INSERT ON log TO obsqra_writer").await;
    let mut chunks = world.chunks().await;
    // A position within the last of them.
    let last = chunks.pop().unwrap();
    let insert = CHANGES_OF_A_TABLE[0].replace("{table}", &last);
    attempt(&writer, &insert).await.expect("such a right reaches chunks: that is what it costs");
    let migration =
        include_str!("../../../migrations/20261121000031_writer_appends_by_function_only.sql");
    world.database.execute(migration).await;
    check_refused("login", &writer, &insert).await;
    world.check(9).await;
}

/// The functions that append: the one that programs of before call, and the one that this program calls.
#[derive(Clone, Copy, Debug)]
enum Function {
    Append,
    AppendBatch,
}

const FUNCTIONS: [Function; 2] = [Function::Append, Function::AppendBatch];

/// A call of one of them, right until something of it is forged.
#[derive(Clone)]
struct Call {
    partition: String,
    epoch: i64,
    seq: i64,
    hash: Vec<u8>,
    at: Option<DateTime<Utc>>,
    payloads: Vec<Vec<u8>>,
    content_hashes: Vec<Vec<u8>>,
    hashes: Vec<Option<Vec<u8>>>,
    /// Of a batch: places of the first and the last entries of its runs, where they are not the right ones.
    runs: Option<(Vec<i32>, Vec<i32>)>,
}

const KIND: i16 = 14;

impl Call {
    /// Three entries after the last one.
    async fn right(tx: &mut Transaction, lease: &Lease) -> Self {
        let fence = lease.fence();
        let (seq, hash, at): (i64, Vec<u8>, DateTime<Utc>) =
            sqlx::query_as("SELECT head_seq, head_hash, opened_at FROM log_open($1, $2)")
                .bind(fence.partition.to_string())
                .bind(fence.epoch.0)
                .fetch_one(&mut **tx)
                .await
                .unwrap();
        let mut call = Self {
            partition: fence.partition.to_string(),
            epoch: fence.epoch.0,
            seq,
            hash,
            at: Some(at),
            payloads: Vec::new(),
            content_hashes: Vec::new(),
            hashes: Vec::new(),
            runs: None,
        };
        call.payloads = (1..=3).map(|number| draft(number).payload).collect();
        call.content_hashes = (1..=3).map(|number| draft(number).content_hash.0.to_vec()).collect();
        call.follow();
        call
    }

    /// Hashes that follow from everything else as it is.
    fn follow(&mut self) {
        let at = RecordedAt(self.at.unwrap().timestamp_micros());
        let mut previous = Hash32::try_from(self.hash.as_slice()).unwrap();
        let mut seq = Seq(u64::try_from(self.seq).unwrap());
        self.hashes.clear();
        for content in &self.content_hashes {
            seq = seq.next();
            previous =
                chain_hash(seq, at, &Hash32::try_from(content.as_slice()).unwrap(), &previous);
            self.hashes.push(Some(previous.0.to_vec()));
        }
    }

    async fn send(self, function: Function, tx: &mut Transaction) -> Result<(), (String, String)> {
        match function {
            Function::Append => self.send_columns(tx).await,
            Function::AppendBatch => self.send_batch(tx).await,
        }
    }

    async fn send_batch(self, tx: &mut Transaction) -> Result<(), (String, String)> {
        let entries = i32::try_from(self.content_hashes.len()).unwrap();
        // The first entry is a run, and the others are another, where there are so many.
        let (firsts, lasts) = self.runs.unwrap_or_else(|| match entries {
            0 => (Vec::new(), Vec::new()),
            1 => (vec![1], vec![1]),
            _ => (vec![1, 2], vec![1, entries]),
        });
        let runs = firsts.len();
        let mut starts = vec![1];
        for payload in &self.payloads {
            starts.push(starts.last().unwrap() + i32::try_from(payload.len()).unwrap());
        }
        let hashes = [vec![self.hash], self.hashes.into_iter().flatten().collect()].concat();
        let sent = sqlx::query(
            "SELECT public.log_append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
        .bind(self.partition)
        .bind(self.epoch)
        .bind(self.seq)
        .bind(self.at)
        .bind(chain().to_string())
        .bind(firsts)
        .bind(lasts)
        .bind(vec![KIND; runs])
        .bind(vec![1_i16; runs])
        .bind(vec![None::<i64>; runs])
        .bind(vec![None::<i32>; runs])
        .bind(vec![None::<DateTime<Utc>>; runs])
        .bind(starts)
        .bind(self.payloads.concat())
        .bind(self.content_hashes.concat())
        .bind(hashes.concat())
        .execute(&mut **tx)
        .await;
        sent.map(|_| ()).map_err(|error| refusal(&error))
    }

    async fn send_columns(self, tx: &mut Transaction) -> Result<(), (String, String)> {
        let entries = self.hashes.len();
        let sent = sqlx::query(
            "SELECT public.log_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .bind(self.partition)
        .bind(self.epoch)
        .bind(self.seq)
        .bind(self.hash)
        .bind(self.at)
        .bind(vec![KIND; entries])
        .bind(vec![1_i16; entries])
        .bind(vec![chain().to_string(); entries])
        .bind(vec![None::<i64>; entries])
        .bind(vec![None::<i32>; entries])
        .bind(vec![None::<DateTime<Utc>>; entries])
        .bind(self.payloads)
        .bind(self.content_hashes)
        .bind(self.hashes)
        .execute(&mut **tx)
        .await;
        sent.map(|_| ()).map_err(|error| refusal(&error))
    }
}

type Forgery = (&'static str, &'static str, fn(&mut Call));

const FORGERIES: [Forgery; 24] = [
    ("the first hash", DOES_NOT_FOLLOW, |call| call.hashes[0] = Some(vec![7; 32])),
    ("a hash in the middle", DOES_NOT_FOLLOW, |call| call.hashes[1] = Some(vec![7; 32])),
    ("the last hash", DOES_NOT_FOLLOW, |call| call.hashes[2] = Some(vec![7; 32])),
    ("no hash in the middle", DOES_NOT_FOLLOW, |call| call.hashes[1] = None),
    ("no last hash", DOES_NOT_FOLLOW, |call| call.hashes[2] = None),
    ("a short hash", DOES_NOT_FOLLOW, |call| call.hashes[2] = Some(vec![7; 31])),
    ("hashes in another order", DOES_NOT_FOLLOW, |call| call.hashes.swap(0, 1)),
    ("a content hash that was not hashed", DOES_NOT_FOLLOW, |call| {
        call.content_hashes[1] = vec![7; 32];
    }),
    ("another previous hash, hashes that follow from it", DOES_NOT_FOLLOW, |call| {
        call.hash = vec![7; 32];
        call.follow();
    }),
    ("a gap", DOES_NOT_FOLLOW, |call| {
        call.seq += 1;
        call.follow();
    }),
    ("positions that are taken", DOES_NOT_FOLLOW, |call| {
        call.seq -= 1;
        call.follow();
    }),
    ("the start of a log", DOES_NOT_FOLLOW, |call| {
        (call.seq, call.hash) = (0, vec![0; 32]);
        call.follow();
    }),
    ("no hashes", DOES_NOT_FOLLOW, |call| call.hashes.clear()),
    ("no entries", DOES_NOT_FOLLOW, |call| {
        call.payloads.clear();
        call.content_hashes.clear();
        call.hashes.clear();
    }),
    ("a hash too few", DOES_NOT_FOLLOW, |call| {
        call.hashes.remove(1);
    }),
    ("a payload too few", NULL, |call| {
        call.payloads.pop();
    }),
    ("a time to come", TOO_EARLY, |call| {
        call.at = call.at.map(|at| at + TimeDelta::hours(1));
        call.follow();
    }),
    ("a time before the last entry's", DOES_NOT_FOLLOW, |call| {
        call.at = call.at.map(|at| at - TimeDelta::hours(1));
        call.follow();
    }),
    ("a time that was not hashed", DOES_NOT_FOLLOW, |call| {
        call.at = call.at.map(|at| at - TimeDelta::microseconds(1));
    }),
    ("no time", DOES_NOT_FOLLOW, |call| call.at = None),
    ("an epoch of before", NOT_HELD, |call| call.epoch -= 1),
    ("an epoch to come", NOT_HELD, |call| call.epoch += 1),
    ("a partition that nobody holds", NOT_HELD, |call| call.partition = "risk/X/none".into()),
    ("a partition that another holds with another epoch", NOT_HELD, |call| {
        call.partition = worker("other").to_string();
    }),
];

#[tokio::test]
async fn a_call_that_does_not_follow_changes_nothing() {
    let world = World::new().await;
    let store = world.database.store(Role::Writer).await;
    // The own lease has epoch 1; the other's is to have another.
    for _ in 0..2 {
        Lease::acquire(&store, worker("other"), "other", TTL).await.unwrap().unwrap();
    }
    let mut entries = 9;
    for function in FUNCTIONS {
        let before = world.head().await;
        for (what, expected, forge) in FORGERIES {
            let mut tx = store.begin().await.unwrap();
            let mut call = Call::right(&mut tx, &world.lease).await;
            forge(&mut call);
            let refused = call.send(function, &mut tx).await;
            let Err((code, said)) = refused else { panic!("{function:?}: {what}: accepted") };
            assert_eq!(code, expected, "{function:?}: {what}: {said}");
            // The server has given the transaction up: its commit is a rollback.
            tx.commit().await.ok();
            assert_eq!(world.head().await, before, "{function:?}: {what}");
            world.check(entries).await;
        }
        let mut tx = store.begin().await.unwrap();
        let call = Call::right(&mut tx, &world.lease).await;
        let again = call.clone();
        call.send(function, &mut tx).await.expect("nothing of this one is forged");
        tx.commit().await.unwrap();
        entries += 3;
        world.check(entries).await;
        // Without log_open before it: the function takes the locks itself, and the call is of yesterday.
        let mut tx = store.begin().await.unwrap();
        let (code, said) = again.send(function, &mut tx).await.expect_err("it was sent twice");
        assert_eq!(code, DOES_NOT_FOLLOW, "{function:?}: {said}");
        drop(tx);
        world.check(entries).await;
    }
}

#[tokio::test]
async fn runs_that_are_not_each_entry_once_change_nothing() {
    let world = World::new().await;
    let store = world.database.store(Role::Writer).await;
    let before = world.head().await;
    for (firsts, lasts, expected) in [
        (vec![], vec![], DOES_NOT_FOLLOW),
        (vec![1], vec![2], DOES_NOT_FOLLOW),
        (vec![2], vec![3], DOES_NOT_FOLLOW),
        (vec![1, 3], vec![1, 3], DOES_NOT_FOLLOW),
        (vec![3], vec![1], DOES_NOT_FOLLOW),
        (vec![1, 2], vec![2, 3], TAKEN),
        (vec![1, 2], vec![1], DOES_NOT_FOLLOW),
    ] {
        let mut tx = store.begin().await.unwrap();
        let mut call = Call::right(&mut tx, &world.lease).await;
        let runs = (firsts, lasts);
        call.runs = Some(runs.clone());
        let refused = call.send(Function::AppendBatch, &mut tx).await;
        let Err((code, said)) = refused else { panic!("{runs:?}: accepted") };
        assert_eq!(code, expected, "{runs:?}: {said}");
        drop(tx);
        assert_eq!(world.head().await, before, "{runs:?}");
        world.check(9).await;
    }
    // Places beyond the entries have no hash, and are no entries.
    for runs in [(vec![1], vec![3]), (vec![1, 4], vec![3, 9]), (vec![-5], vec![3])] {
        let mut tx = store.begin().await.unwrap();
        let mut call = Call::right(&mut tx, &world.lease).await;
        call.runs = Some(runs);
        call.send(Function::AppendBatch, &mut tx).await.unwrap();
        tx.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn the_program_tells_a_stale_epoch_from_entries_that_do_not_follow() {
    let world = World::new().await;
    let store = world.database.store(Role::Writer).await;
    let mut tx = store.begin().await.unwrap();
    let mut stale = world.lease.fence().clone();
    stale.epoch.0 += 1;
    let lost = log::append(&mut tx, &stale, vec![plain(1)]).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost(partition)) if partition == worker("own")));
    drop(tx);

    // An owner's trigger that swallows rows: what is missing then is noticed at once.
    world
        .database
        .execute(
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; \
             CREATE TRIGGER swallow BEFORE INSERT ON log FOR EACH ROW EXECUTE FUNCTION swallow()",
        )
        .await;
    let mut tx = store.begin().await.unwrap();
    let refused = log::append(&mut tx, world.lease.fence(), vec![plain(1)]).await.unwrap_err();
    assert!(matches!(refused, StoreError::AppendRefused(_)), "{refused:?}");
    assert!(
        !refused.is_transient() && refused.to_string().contains("obsqra log verify"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_a_caller_puts_before_the_functions_names_is_not_looked_at() {
    let world = World::new().await;
    let admin = "CREATE SCHEMA evil; GRANT ALL ON SCHEMA evil TO obsqra_writer";
    world.database.execute(admin).await;
    let before = world.head().await;
    let evil = "
        CREATE OR REPLACE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS
            $$ SELECT decode(repeat('07', 32), 'hex') $$;
        CREATE OR REPLACE FUNCTION evil.int8send(bigint) RETURNS bytea LANGUAGE sql IMMUTABLE AS
            $$ SELECT ''::bytea $$;
        CREATE OR REPLACE FUNCTION evil.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
            $$ SELECT '2099-01-01'::timestamptz $$;
        CREATE OR REPLACE FUNCTION evil.concatenated(bytea, bytea) RETURNS bytea LANGUAGE sql IMMUTABLE AS
            $$ SELECT $1 $$;
        CREATE OPERATOR evil.|| (LEFTARG = bytea, RIGHTARG = bytea, FUNCTION = evil.concatenated);
        CREATE TEMPORARY TABLE log_head ON COMMIT DROP AS
            SELECT true AS only_row, 0::bigint AS seq, decode(repeat('00', 32), 'hex') AS hash,
                   'epoch'::timestamptz AS recorded_at;
        CREATE TEMPORARY TABLE lease ON COMMIT DROP AS
            SELECT 'risk/OBSQRA_TEST/none'::text AS partition, 1::bigint AS epoch, 'x'::text AS holder,
                   'infinity'::timestamptz AS expires_at;
        CREATE TEMPORARY TABLE log (seq bigint) ON COMMIT DROP;
        SET LOCAL search_path = pg_temp, evil, public, pg_catalog";
    let forgeries: [fn(&mut Call); 3] = [
        |call| call.hashes = vec![Some(vec![7; 32]); 3],
        |call| {
            (call.seq, call.hash) = (0, vec![0; 32]);
            call.follow();
        },
        |call| call.partition = worker("none").to_string(),
    ];
    for (who, store) in world.members(Role::Writer).await {
        for (function, forge) in FUNCTIONS.into_iter().flat_map(|f| forgeries.map(|g| (f, g))) {
            let mut tx = store.begin().await.unwrap();
            let mut call = Call::right(&mut tx, &world.lease).await;
            sqlx::raw_sql(evil).execute(&mut *tx).await.unwrap();
            forge(&mut call);
            call.send(function, &mut tx).await.expect_err(&who);
        }
        assert_eq!(world.head().await, before, "{who}");
        world.check(9).await;
        for function in FUNCTIONS {
            let mut tx = store.begin().await.unwrap();
            let call = Call::right(&mut tx, &world.lease).await;
            sqlx::raw_sql(evil).execute(&mut *tx).await.unwrap();
            let right = call.send(function, &mut tx).await;
            right.expect("a right call lands in the log, wherever it is made");
            tx.rollback().await.unwrap();
        }
    }
}

#[tokio::test]
async fn the_time_is_hashed_to_the_microsecond_on_both_sides() {
    let world = World::new().await;
    let store = world.database.store(Role::Writer).await;
    for time in [
        "2090-01-01 00:00:00+00",
        "2090-01-01 00:00:00.000001+00",
        "2090-01-01 00:00:00.999999+00",
        "2099-12-31 23:59:59.123457+00",
        "2200-02-28 12:00:00.5+00",
        "9000-02-28 12:00:00.000003+00",
    ] {
        let sql = format!("UPDATE log_head SET recorded_at = '{time}'");
        world.database.execute(&sql).await;
        let mut tx = store.begin().await.unwrap();
        log::append(&mut tx, world.lease.fence(), vec![plain(1), plain(2)]).await.expect(time);
        tx.commit().await.unwrap();
    }
    world.check(21).await;
}

#[tokio::test]
async fn only_the_holder_of_the_rebuilder_makes_tables_beside_and_only_by_the_functions() {
    let world = World::new().await;
    let ttl = Duration::from_secs(600);
    let store = world.database.store(Role::Writer).await;
    let lease = Lease::acquire(&store, Partition::Rebuilder, "test", ttl).await.unwrap().unwrap();
    let epoch = lease.fence().epoch.0;
    let functions = [
        format!("SELECT rebuild_open({epoch})"),
        format!("SELECT rebuild_analyze({epoch})"),
        String::from("SELECT rebuild_older_readers('3')"),
        format!(
            "SELECT rebuild_swap({epoch}, ARRAY['event'], pg_snapshot_xmax(pg_current_snapshot()), '1s')"
        ),
    ];
    let (writers, readers) = (world.members(Role::Writer).await, world.members(Role::Reader).await);
    for (_, writer) in &writers {
        attempt(writer, &functions[..3].join("; ")).await.unwrap();
        attempt(writer, &[&functions[0][..], &functions[3]].join("; ")).await.unwrap();
        let stale = functions[0].replace(&epoch.to_string(), &(epoch + 1).to_string());
        assert_eq!(attempt(writer, &stale).await.unwrap_err().0, NOT_HELD);
        for table in ["log", "lease", "projection_state", "block_key"] {
            let other = functions[3].replace("event", table);
            assert_eq!(attempt(writer, &other).await.unwrap_err().0, "22023", "{table}");
        }
    }
    world.database.execute(&functions[0]).await;
    for (who, store) in writers.iter().chain(&readers) {
        for change in [
            "CREATE TABLE rebuild.mine (x int)",
            "CREATE TABLE replaced.mine (x int)",
            "DROP TABLE rebuild.event",
            "ALTER TABLE rebuild.event SET SCHEMA public",
            "ALTER TABLE event SET SCHEMA replaced",
            "INSERT INTO read_model VALUES ('log')",
            "SELECT rebuild_form('public', 'event')",
            "SELECT rebuild_check_holder(1)",
        ] {
            check_refused(who, store, change).await;
        }
    }
    for (who, reader) in &readers {
        for sql in &functions {
            check_refused(who, reader, sql).await;
        }
        check_refused(who, reader, "SELECT * FROM rebuild.event").await;
    }
}
