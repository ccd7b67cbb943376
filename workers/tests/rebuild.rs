//! Read models made anew beside the live ones: what comes out, who may read and write meanwhile, and what is left when
//! it ends half-way.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use obsqra_store::projection::state::{self, READ_MODELS};
use obsqra_store::{LeaseKeeper, Role, Store, StoreError, log, read};
use obsqra_testkit::{TestDatabase, TestSession};
use obsqra_types::{Partition, ProtocolId, Seq};
use obsqra_workers::WorkError;
use obsqra_workers::projections::{Projector, Rebuild, RebuildOptions, Which};
use obsqra_workers::runtime::{Progress, Role as _};
use obsqra_workers::verify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use support::{Script, chain, hashes, hold, project, propose, score};

/// Short, so that what a dropped rebuild holds runs out soon.
const TTL: Duration = Duration::from_millis(400);

fn options(patience: Duration) -> RebuildOptions {
    RebuildOptions { holder: "a rebuild".into(), lease_ttl: TTL, patience }
}

fn patient() -> RebuildOptions {
    options(Duration::from_secs(60))
}

async fn begin(store: &Store, which: Which) -> Rebuild {
    Rebuild::begin(store, &chain(), which, patient()).await.unwrap()
}

async fn rebuild(store: &Store, which: Which) -> Seq {
    begin(store, which).await.run(|_, _| {}).await.unwrap().seq
}

fn one(name: &str) -> Which {
    Which::One(name.into())
}

/// A log with reorganisations, and read models of it.
struct World {
    database: TestDatabase,
    store: Store,
    script: Script,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        let mut script = Script::start(&store).await;
        script.adopt_policies().await;
        script.grow(14).await;
        score(&store).await;
        propose(&store).await;
        project(&store).await;
        script.reorganise(5, 4).await;
        script.detour(3, 2).await;
        script.writer.finalize(3).await.unwrap();
        let mut world = Self { database, store, script };
        world.step(6).await;
        world
    }

    /// Blocks, and everything that follows from them.
    async fn step(&mut self, blocks: usize) {
        self.script.grow(blocks).await;
        score(&self.store).await;
        propose(&self.store).await;
        project(&self.store).await;
    }

    /// One digest of all rows of each read model, and how many they are.
    async fn digests(&self) -> BTreeMap<&'static str, (i64, i64)> {
        let mut digests = BTreeMap::new();
        for model in READ_MODELS {
            let digest = format!(
                "SELECT coalesce(sum(hashtextextended(t::text, 0)::numeric % 1000000007), 0)::bigint FROM {model} t"
            );
            let count = format!("SELECT count(*) FROM {model}");
            let found = (self.database.number(&digest).await, self.database.number(&count).await);
            digests.insert(model, found);
        }
        digests
    }

    /// Columns, indexes, constraints, owner and rights of every read model.
    async fn forms(&self) -> Vec<Vec<String>> {
        let forms = "SELECT rebuild_form('public', m.name), c.relowner::regrole::text, c.relacl::text \
                     FROM read_model m JOIN pg_class c ON c.oid = ('public.' || m.name)::regclass ORDER BY m.name";
        self.database.session("").await.texts(forms).await.unwrap()
    }

    async fn position(&self) -> Seq {
        state::load(&self.store, &chain()).await.unwrap().seq
    }

    async fn check_verified(&self) {
        let report = verify::project(&self.store, &chain(), |_, _| {}).await.unwrap();
        assert!(report.is_equal(), "{report:?}");
    }

    async fn differing(&self) -> Vec<&'static str> {
        let report = verify::project(&self.store, &chain(), |_, _| {}).await.unwrap();
        let differing = report.differences.iter().filter(|one| one.only_folded > 0);
        differing.map(|one| one.read_model).collect()
    }

    async fn spoil(&self) {
        self.database
            .execute(
                "UPDATE market_metrics SET tvl_usdc = 1; DELETE FROM event WHERE from_block = 4; \
                 UPDATE risk_score SET formula = 'no'",
            )
            .await;
    }
}

#[tokio::test]
async fn a_rebuild_is_what_the_projector_made_in_tables_of_the_same_form() {
    let mut world = World::new().await;
    let (rows, hashed) = (world.digests().await, hashes(&world.store).await);
    let (forms, position) = (world.forms().await, world.position().await);
    for model in READ_MODELS {
        assert!(rows[model].1 > 0 || model == "anomaly", "{model} is empty: nothing is compared");
    }
    for _ in 0..2 {
        world.spoil().await;
        assert_ne!(world.digests().await, rows);
        assert_eq!(rebuild(&world.store, Which::All).await, position);
        assert_eq!(
            (world.digests().await, hashes(&world.store).await),
            (rows.clone(), hashed.clone())
        );
        assert_eq!((world.forms().await, world.position().await), (forms.clone(), position));
        world.check_verified().await;
    }
    world.step(3).await;
    world.script.reorganise(4, 4).await;
    world.step(2).await;
    world.check_verified().await;
    let left = "SELECT count(*) FROM pg_class WHERE relnamespace = 'replaced'::regnamespace";
    assert_eq!(world.database.number(left).await, 0);
}

#[tokio::test]
async fn of_one_read_model_the_others_stay_as_they_are() {
    let world = World::new().await;
    let (rows, hashed) = (world.digests().await, hashes(&world.store).await);
    world.spoil().await;
    assert_eq!(world.differing().await, ["event", "market_metrics", "risk_score"]);
    for (name, left) in [
        ("market_metrics", &["event", "risk_score"][..]),
        ("event", &["risk_score"]),
        ("block", &["risk_score"]),
        ("risk_score", &[]),
    ] {
        assert_eq!(rebuild(&world.store, one(name)).await, world.position().await);
        assert_eq!(world.differing().await, left, "after {name}");
    }
    assert_eq!((world.digests().await, hashes(&world.store).await), (rows, hashed));
    world.check_verified().await;
}

#[tokio::test]
async fn one_read_model_alone_is_refused_beside_those_of_another_program() {
    let world = World::new().await;
    let rows = world.digests().await;
    let other = "UPDATE projection_hash SET rules = 'other' WHERE read_model = 'price'";
    world.database.execute(other).await;
    let refused = Rebuild::begin(&world.store, &chain(), one("event"), patient()).await;
    assert!(matches!(refused, Err(WorkError::OtherRules)), "{refused:?}");
    // That one itself may be, and all of them.
    rebuild(&world.store, one("price")).await;
    rebuild(&world.store, one("event")).await;
    world.database.execute("UPDATE projection_hash SET rules = 'other'").await;
    rebuild(&world.store, Which::All).await;
    assert_eq!(world.digests().await, rows);
    world.check_verified().await;
}

#[tokio::test]
async fn before_the_first_projection_there_is_nothing_to_rebuild() {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let mut script = Script::start(&store).await;
    script.grow(2).await;
    assert_eq!(rebuild(&store, Which::All).await, Seq::BEFORE_FIRST);
    project(&store).await;
    assert_eq!(rebuild(&store, Which::All).await, log::head(&store).await.unwrap().seq);
}

/// A step after which a rebuild is dropped, as `kill -9` would leave it: its connections are closed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Begun,
    Folded,
    TakenOver,
    Swapped,
}

#[tokio::test]
async fn ended_at_any_step_it_leaves_old_rows_or_new_ones_and_the_next_works() {
    let mut world = World::new().await;
    let rows = world.digests().await;
    for step in [Step::Begun, Step::Folded, Step::TakenOver, Step::Swapped] {
        world.spoil().await;
        let spoilt = world.digests().await;
        let own = world.database.store(Role::Writer).await;
        end_after(begin(&own, Which::All).await, step).await;
        own.close().await;
        let expected = if step == Step::Swapped { &rows } else { &spoilt };
        assert_eq!(&world.digests().await, expected, "{step:?}");
        rebuild(&world.store, Which::All).await;
        assert_eq!(world.digests().await, rows, "{step:?}");
        world.check_verified().await;
    }
    // What it held of the projector's has run out, or was given back.
    world.step(2).await;
    world.check_verified().await;
}

async fn end_after(mut rebuild: Rebuild, step: Step) {
    if step == Step::Begun {
        return;
    }
    rebuild.catch_up(|_, _| {}).await.unwrap();
    if step == Step::Folded {
        return;
    }
    let taken = rebuild.take_over().await.unwrap();
    if step == Step::Swapped {
        assert!(rebuild.swap(&taken).await.unwrap().is_some());
    }
}

/// The swap that is not committed is none: its transaction ends with its connection.
#[tokio::test]
async fn a_swap_that_is_not_committed_changes_nothing() {
    let world = World::new().await;
    world.spoil().await;
    let rows = world.digests().await;
    begin(&world.store, Which::All).await.catch_up(|_, _| {}).await.unwrap();
    let swap = "BEGIN; SELECT rebuild_swap((SELECT epoch FROM lease WHERE partition = 'rebuilder'), \
                ARRAY['event', 'market_metrics'], pg_snapshot_xmax(pg_current_snapshot()), '800ms'); \
                SELECT pg_terminate_backend(pg_backend_pid())";
    world.database.try_execute(swap).await.unwrap_err();
    assert_eq!(world.digests().await, rows);
    rebuild(&world.store, Which::All).await;
    world.check_verified().await;
}

#[tokio::test]
async fn of_two_rebuilds_the_later_one_goes_on() {
    let world = World::new().await;
    world.spoil().await;
    let mut first = begin(&world.store, Which::All).await;
    let second = begin(&world.store, Which::All).await;
    let refused = first.catch_up(|_, _| {}).await.unwrap_err();
    assert!(
        matches!(&refused, WorkError::Store(StoreError::LeaseLost(Partition::Rebuilder))),
        "{refused:?}"
    );
    second.run(|_, _| {}).await.unwrap();
    world.check_verified().await;
}

#[tokio::test]
async fn a_migration_meanwhile_is_noticed() {
    let world = World::new().await;
    let rows = world.digests().await;
    let mut rebuild = begin(&world.store, Which::All).await;
    rebuild.catch_up(|_, _| {}).await.unwrap();
    world.database.execute("CREATE INDEX event_name_idx ON event (name)").await;
    let taken = rebuild.take_over().await.unwrap();
    let refused = rebuild.swap(&taken).await.unwrap_err();
    assert!(refused.to_string().contains("another form"), "{refused}");
    assert!(!refused.is_transient());
    rebuild.give_back(taken).await;
    assert_eq!(world.digests().await, rows);
    self::rebuild(&world.store, Which::All).await;
    let index = "SELECT count(*) FROM pg_indexes WHERE indexname = 'event_name_idx' AND schemaname = 'public'";
    assert_eq!(world.database.number(index).await, 1);
    world
        .database
        .execute("DROP INDEX event_name_idx; ALTER TABLE event ADD COLUMN extra text")
        .await;
}

#[tokio::test]
async fn rows_of_other_chains_are_kept() {
    let world = World::new().await;
    world
        .database
        .execute(
            "INSERT INTO projection_state (chain_id, seq) VALUES ('OTHER', 7); \
             INSERT INTO block SELECT 'OTHER', from_block, to_block, from_seq, to_seq, branch_epoch, block_hash, \
             parent_hash, occurred_at, event_count FROM block",
        )
        .await;
    let rows = world.digests().await;
    rebuild(&world.store, Which::All).await;
    rebuild(&world.store, one("block")).await;
    assert_eq!(world.digests().await, rows);
    world.check_verified().await;
}

async fn reader(world: &World) -> TestSession {
    world.database.session("obsqra_reader").await
}

async fn count(session: &mut TestSession, sql: &str) -> i64 {
    session.numbers(sql).await.unwrap()[0]
}

/// Each waits seconds for readers.
const MOST_ATTEMPTS: usize = 20;

/// A transaction with a snapshot from before the tables were filled would find them empty.
#[tokio::test]
async fn who_sees_the_database_as_it_was_holds_the_swap_off() {
    let world = World::new().await;
    let rows = world.digests().await;
    world.spoil().await;
    let events = "SELECT count(*) FROM event";
    let mut reader = reader(&world).await;
    reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
    let blocks = count(&mut reader, "SELECT count(*) FROM block").await;
    let impatient = options(Duration::from_millis(10));
    let refused = Rebuild::begin(&world.store, &chain(), Which::All, impatient).await.unwrap();
    let refused = refused.run(|_, _| {}).await.unwrap_err();
    assert!(matches!(refused, WorkError::InUse { .. }), "{refused:?}");
    assert_ne!(world.digests().await, rows);

    let mut rebuild = begin(&world.store, Which::All).await;
    rebuild.catch_up(|_, _| {}).await.unwrap();
    reader.execute("COMMIT").await.unwrap();
    // One that began when they were filled sees all that was there then, before and after. Its snapshot is as old as
    // the oldest transaction of the whole server, so that one in another database may hold the swap off too.
    let mut swapped = None;
    for _ in 0..MOST_ATTEMPTS {
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        assert_eq!(count(&mut reader, "SELECT count(*) FROM projection_state").await, 1);
        let taken = rebuild.take_over().await.unwrap();
        swapped = rebuild.swap(&taken).await.unwrap();
        rebuild.give_back(taken).await;
        if swapped.is_some() {
            break;
        }
        reader.execute("COMMIT").await.unwrap();
    }
    assert_eq!(swapped, Some(world.position().await));
    assert_eq!(count(&mut reader, "SELECT count(*) FROM block").await, blocks);
    assert_eq!(count(&mut reader, events).await, rows["event"].1);
    reader.execute("COMMIT").await.unwrap();
    assert_eq!(world.digests().await, rows);
}

/// Who has a lock is not waited for so long that others queue behind the swap for good.
#[tokio::test]
async fn who_is_reading_a_table_holds_the_swap_off_and_nobody_else() {
    let world = World::new().await;
    let rows = world.digests().await;
    world.spoil().await;
    let mut rebuild = begin(&world.store, Which::All).await;
    rebuild.catch_up(|_, _| {}).await.unwrap();
    let (mut reader, mut other) = (reader(&world).await, reader(&world).await);
    reader.execute("BEGIN").await.unwrap();
    let blocks = count(&mut reader, "SELECT count(*) FROM price").await;
    let taken = rebuild.take_over().await.unwrap();
    other.execute("SET statement_timeout = '30s'").await.unwrap();
    let counted = async { count(&mut other, "SELECT count(*) FROM price").await };
    let (swapped, counted) = tokio::join!(rebuild.swap(&taken), counted);
    assert_eq!((swapped.unwrap(), counted), (None, blocks));
    assert_ne!(world.digests().await, rows);
    reader.execute("COMMIT").await.unwrap();
    assert!(rebuild.swap(&taken).await.unwrap().is_some());
    rebuild.give_back(taken).await;
    assert_eq!(world.digests().await, rows);
}

/// Read models of another program: readers keep the old rows until the new ones are whole.
#[tokio::test]
async fn the_projector_makes_them_anew_beside_the_old_ones() {
    let mut world = World::new().await;
    let (rows, position) = (world.digests().await, world.position().await);
    world.spoil().await;
    world.database.execute("UPDATE projection_hash SET rules = 'other'").await;
    let spoilt = world.digests().await;
    world.script.grow(2).await;
    let mut reader = reader(&world).await;
    reader.execute("BEGIN").await.unwrap();
    count(&mut reader, "SELECT count(*) FROM block").await;

    let mut projector = Projector::new(&world.store, &chain());
    let lease = hold(&world.store, projector.partition()).await;
    projector.load().await.unwrap();
    while projector.work(&lease).await.unwrap() == Progress::Worked {
        assert_eq!((world.digests().await, world.position().await), (spoilt.clone(), position));
    }
    // An error on the way does not make it begin again from the first entry.
    projector.load().await.unwrap();
    reader.execute("COMMIT").await.unwrap();
    assert_eq!(projector.work(&lease).await.unwrap(), Progress::Worked);
    assert_eq!((world.digests().await, world.position().await), (rows, position));
    while projector.work(&lease).await.unwrap() == Progress::Worked {}
    assert!(world.position().await > position);
    lease.release().await.unwrap();
    world.check_verified().await;
}

/// A rebuild has the tables beside: the projector waits with its own, and finds that it need not.
#[tokio::test]
async fn the_projector_waits_while_somebody_rebuilds() {
    let world = World::new().await;
    world.database.execute("UPDATE projection_hash SET rules = 'other'").await;
    let rebuild = begin(&world.store, Which::All).await;
    let mut projector = Projector::new(&world.store, &chain());
    let lease = hold(&world.store, projector.partition()).await;
    projector.load().await.unwrap();
    assert_eq!(projector.work(&lease).await.unwrap(), Progress::Idle);
    rebuild.run(|_, _| {}).await.unwrap();
    let lost = projector.work(&lease).await;
    // It may have begun by itself, once the rebuild gave the tables up, but writes nothing without its lease.
    drop((lost, lease));
    projector.load().await.unwrap();
    let lease = hold(&world.store, projector.partition()).await;
    assert_eq!(projector.work(&lease).await.unwrap(), Progress::Idle);
    world.check_verified().await;
}

/// For each read model, a column that says which version a row is of.
const MARKS: [(&str, &str, &str); 9] = [
    ("block", "event_count", "-1"),
    ("event", "protocol", "'old'"),
    ("activity", "protocol", "'old'"),
    ("privacy_pool", "protocol", "'old'"),
    ("market_metrics", "asset", "'old'"),
    ("price", "symbol", "'old'"),
    ("risk_score", "formula", "'old'"),
    ("anomaly", "detail", "'old'"),
    ("allocation_snapshot", "rule", "'old'"),
];

/// Looks until it is told to stop; how often it did.
async fn look<F: Future<Output = ()>>(stop: CancellationToken, mut once: impl FnMut() -> F) -> u64 {
    let mut looks = 0;
    while !stop.is_cancelled() {
        once().await;
        looks += 1;
        tokio::task::yield_now().await;
    }
    looks
}

/// What one reader counts: all rows up to a position, and those of the old version.
#[derive(Clone)]
struct Look {
    sql: String,
    rows: i64,
}

impl Look {
    fn check(&self, found: &[i64]) {
        let [rows, old] = found else { panic!("{}: {found:?}", self.sql) };
        assert_eq!(*rows, self.rows, "{}", self.sql);
        assert!(*old == 0 || old == rows, "{}: {old} of {rows} are old", self.sql);
    }
}

async fn looks(world: &World, schema: &str) -> Vec<Look> {
    let mut looks = Vec::new();
    for (model, column, value) in MARKS {
        let sql = format!(
            "SELECT count(*) AS found, count(*) FILTER (WHERE {column} = {value}) AS old FROM {schema}.{model} WHERE from_seq <= {}",
            world.position().await.0
        );
        let rows = world.database.number(&format!("SELECT f.found FROM ({sql}) f")).await;
        looks.push(Look { sql, rows });
    }
    looks
}

/// A session that asks the same statement again and again, prepared once.
async fn read_one(mut session: TestSession, look: Look, stop: CancellationToken) -> u64 {
    let mut looks = 0;
    while !stop.is_cancelled() {
        look.check(&session.numbers(&look.sql).await.unwrap());
        looks += 1;
    }
    looks
}

/// A session that reads every table at one snapshot.
async fn read_all(mut session: TestSession, looks: Vec<Look>, stop: CancellationToken) -> u64 {
    let mut rounds = 0;
    while !stop.is_cancelled() {
        session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ").await.unwrap();
        for look in &looks {
            look.check(&session.numbers(&look.sql).await.unwrap());
        }
        session.execute("COMMIT").await.unwrap();
        rounds += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    rounds
}

/// The statements of the GraphQL server, pinned to the position as a request is.
async fn load_one(store: Store, stop: CancellationToken) -> u64 {
    let protocols = support::protocols();
    look(stop, || async {
        let position = read::position::load(&store, &chain()).await.unwrap().unwrap();
        let (seq, block) = (position.seq, position.block);
        let at = |protocol: &ProtocolId| read::ProtocolAt { protocol: protocol.clone(), block };
        let keys: Vec<_> = protocols.iter().map(at).collect();
        let prices = read::price::at(&store, &chain(), (seq, block), None).await.unwrap();
        assert!(!prices.is_empty());
        let markets = read::market_metrics::at(&store, &chain(), seq, &keys).await.unwrap();
        assert!(markets.values().any(|markets| !markets.is_empty()));
        let scores = read::risk_score::at(&store, &chain(), seq, &keys).await.unwrap();
        assert!(!scores.is_empty());
    })
    .await
}

/// The projector as its role runs it: it waits for its lease, loads, and works.
async fn project_on(store: Store, stop: CancellationToken) -> u64 {
    let mut projector = Projector::new(&store, &chain());
    let mut stretches = 0;
    while !stop.is_cancelled() {
        let partition = projector.partition();
        let ttl = Duration::from_secs(2);
        let lease = LeaseKeeper::acquire(&store, partition, "projector", ttl, &stop).await.unwrap();
        let Some(lease) = lease else { break };
        projector.load().await.unwrap();
        while !stop.is_cancelled() {
            match projector.work(&lease).await {
                Ok(Progress::Worked) => stretches += 1,
                Ok(Progress::Idle) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(WorkError::Store(StoreError::LeaseLost(_))) => break,
                Err(error) => panic!("{error}"),
            }
        }
        lease.release().await.ok();
    }
    stretches
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_and_the_projector_go_on_while_tables_change_places() {
    let mut world = World::new().await;
    let marks =
        MARKS.map(|(model, column, value)| format!("UPDATE {model} SET {column} = {value};"));
    let (tables, views) = (looks(&world, "public").await, looks(&world, "analyst").await);
    let stop = CancellationToken::new();
    let mut readers = JoinSet::new();
    for look in &tables {
        let session = reader(&world).await;
        readers.spawn(read_one(session, look.clone(), stop.clone()));
    }
    for look in
        views.iter().filter(|look| look.sql.contains("market") || look.sql.contains("event"))
    {
        let session = world.database.session("obsqra_analyst").await;
        readers.spawn(read_one(session, look.clone(), stop.clone()));
    }
    readers.spawn(read_all(reader(&world).await, tables.clone(), stop.clone()));
    readers.spawn(load_one(world.database.store(Role::Reader).await, stop.clone()));
    let projecting = tokio::spawn(project_on(world.store.clone(), stop.clone()));

    for which in [Which::All, one("market_metrics"), Which::All, one("event"), Which::All] {
        world.database.execute(&marks.concat()).await;
        world.script.grow(2).await;
        score(&world.store).await;
        rebuild(&world.store, which).await;
    }
    stop.cancel();
    for looks in readers.join_all().await {
        assert!(looks > 0);
    }
    assert!(projecting.await.unwrap() > 0);
    for look in &tables {
        assert_eq!(
            world.database.number(&format!("SELECT f.found FROM ({}) f", look.sql)).await,
            look.rows
        );
    }
    project(&world.store).await;
    world.check_verified().await;
}
