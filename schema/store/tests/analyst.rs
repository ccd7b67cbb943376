//! What an analyst may do, and what not: every attempt is made for real, by a login that is a member of the group and
//! of no other.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use obsqra_store::Role;
use obsqra_testkit::{ChainWriter, TestDatabase, TestSession};
use obsqra_types::ChainId;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

const NO_RIGHT: &str = "42501";

const VIEWS: [&str; 10] = [
    "position",
    "block",
    "event",
    "activity",
    "market_metrics",
    "price",
    "risk_score",
    "anomaly",
    "allocation_snapshot",
    "privacy_pool",
];

struct World {
    database: TestDatabase,
    admin: TestSession,
    analyst: PgConnection,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        let chain = ChainId::new("OBSQRA_TEST").unwrap();
        let blocks = ChainWriter::new(&store, &chain).await;
        blocks.append(blocks.block(1, 0, 100, 101, 2), 0).await.unwrap();
        let url = database.url();
        let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
        let login = format!("analyst_{name}");
        let login = &login[..login.len().min(60)];
        database
            .execute(&format!(
                "CREATE ROLE \"{login}\" LOGIN PASSWORD 'a-test' IN ROLE obsqra_analyst"
            ))
            .await;
        let (scheme, rest) = url.split_once("://").unwrap();
        let url = format!("{scheme}://{login}:a-test@{}", rest.split_once('@').unwrap().1);
        let analyst = PgConnection::connect(&url).await.unwrap();
        let admin = database.session("").await;
        Self { database, admin, analyst }
    }

    async fn attempt(&mut self, sql: &str) -> Result<(), (String, String)> {
        let sql = AssertSqlSafe(sql.to_owned());
        let done = sqlx::raw_sql(sql).execute(&mut self.analyst).await;
        done.map(|_| ()).map_err(|error| {
            let refused = error.as_database_error().unwrap_or_else(|| panic!("{error}"));
            (refused.code().unwrap_or_default().into_owned(), refused.message().to_owned())
        })
    }

    async fn check_refused(&mut self, sql: &str) {
        match self.attempt(sql).await {
            Ok(()) => panic!("an analyst may: {sql}"),
            Err((code, said)) => assert_eq!(code, NO_RIGHT, "{sql}: {said}"),
        }
    }

    async fn names(&mut self, sql: &str) -> Vec<String> {
        self.admin.texts(sql).await.unwrap().into_iter().map(|mut row| row.remove(0)).collect()
    }
}

#[tokio::test]
async fn an_analyst_reads_the_views_and_nothing_else() {
    let mut world = World::new().await;
    for view in VIEWS {
        world.attempt(&format!("SELECT * FROM analyst.{view}")).await.unwrap();
    }
    let felts =
        "SELECT analyst.felt('0x49d3'), analyst.felt('1'), analyst.hex(analyst.felt('0x0a'))";
    world.attempt(felts).await.unwrap();
    // Everything else that holds rows, whatever schema it is in; the log's chunks are among it.
    let others = "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                  WHERE c.relkind IN ('r', 'p', 'm', 'v', 'S', 'f') \
                    AND n.nspname NOT IN ('analyst', 'pg_catalog', 'information_schema', 'pg_toast') \
                    AND NOT EXISTS (SELECT FROM aclexplode(c.relacl) a WHERE a.grantee = 0)";
    let others = world.names(others).await;
    assert!(others.len() > 25, "{others:?}");
    assert!(others.iter().any(|one| one.starts_with("_timescaledb_internal")), "{others:?}");
    for other in others {
        world.check_refused(&format!("SELECT * FROM {other}")).await;
    }
    // What an extension lets everybody read tells of tables, and has none of their rows.
    let open = "SELECT DISTINCT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                CROSS JOIN aclexplode(c.relacl) a WHERE a.grantee = 0 ORDER BY 1";
    for schema in world.names(open).await {
        let is_known = ["pg_catalog", "information_schema"].contains(&schema.as_str())
            || schema.starts_with("timescaledb_")
            || schema.starts_with("_timescaledb_");
        assert!(is_known, "{schema} has something that everybody may read");
    }
    for secret in ["pg_authid", "pg_shadow", "pg_user_mapping", "pg_statistic", "pg_largeobject"] {
        world.check_refused(&format!("SELECT * FROM {secret}")).await;
    }
    let queries = "SELECT count(*) FROM pg_stat_activity \
                   WHERE pid <> pg_backend_pid() AND datname = current_database() \
                     AND query NOT IN ('<insufficient privilege>', '')";
    let seen: i64 = sqlx::query_scalar(queries).fetch_one(&mut world.analyst).await.unwrap();
    assert_eq!(seen, 0, "statements of others");
}

const REFUSED: [&str; 40] = [
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE TABLE mine (x int)",
    "CREATE TABLE public.mine (x int)",
    "CREATE TABLE analyst.mine (x int)",
    "CREATE TABLE rebuild.mine (x int)",
    "CREATE TABLE replaced.mine (x int)",
    "CREATE VIEW public.mine AS SELECT 1",
    "CREATE VIEW analyst.mine AS SELECT 1",
    "CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION analyst.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE FUNCTION pg_temp.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE EXTENSION hstore",
    "CREATE ROLE mine",
    "CREATE SEQUENCE public.mine",
    "CREATE TYPE public.mine AS (x int)",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_import('/etc/hosts')",
    "SELECT pg_read_file('PG_VERSION')",
    "SELECT pg_ls_dir('.')",
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> current_user",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "COPY (SELECT 1) TO '/tmp/never-written'",
    "SET session_replication_role = replica",
    "SET SESSION AUTHORIZATION obsqra_owner",
    "SET ROLE obsqra_owner",
    "SET ROLE obsqra_writer",
    "SET ROLE obsqra_reader",
    "GRANT obsqra_reader TO CURRENT_USER",
    "ALTER VIEW analyst.event OWNER TO CURRENT_USER",
    "ALTER VIEW analyst.event RESET (security_barrier)",
    "DROP VIEW analyst.event",
    "SELECT public.log_open('x', 1)",
    "SELECT public.rebuild_open(1)",
    "SELECT public.rebuild_analyze(1)",
    "SELECT public.rebuild_older_readers('3')",
    "SELECT public.rebuild_swap(1, ARRAY['event'], '3', '1s')",
    "SELECT public.rebuild_form('public', 'log')",
];

#[tokio::test]
async fn an_analyst_writes_and_makes_nothing() {
    let mut world = World::new().await;
    for view in VIEWS {
        for change in [
            format!("INSERT INTO analyst.{view} SELECT * FROM analyst.{view}"),
            format!("UPDATE analyst.{view} SET chain_id = chain_id"),
            format!("DELETE FROM analyst.{view}"),
            format!("TRUNCATE analyst.{view}"),
            format!("SELECT * FROM analyst.{view} FOR UPDATE"),
            format!("DO $$ BEGIN LOCK TABLE analyst.{view} IN ACCESS EXCLUSIVE MODE; END $$"),
            format!("COMMENT ON VIEW analyst.{view} IS 'mine'"),
            format!("CREATE OR REPLACE VIEW analyst.{view} AS SELECT 1 AS chain_id"),
        ] {
            // TRUNCATE of a view is refused for what it is.
            match world.attempt(&change).await {
                Err((code, _)) if code == NO_RIGHT || code == "42809" => {}
                other => panic!("{change}: {other:?}"),
            }
        }
    }
    for sql in REFUSED {
        world.check_refused(sql).await;
    }
    let left = world.database.number(
        "SELECT (SELECT count(*) FROM pg_largeobject_metadata) + (SELECT count(*) FROM pg_class WHERE relname = 'mine')",
    );
    assert_eq!(left.await, 0);
}

#[tokio::test]
async fn views_are_documented_and_read_with_their_owners_rights() {
    let mut world = World::new().await;
    let views = "SELECT relname::text FROM pg_class WHERE relnamespace = 'analyst'::regnamespace \
                 AND relkind = 'v' AND relowner = 'obsqra_owner'::regrole \
                 AND 'security_barrier=true' = ANY (reloptions) AND obj_description(oid, 'pg_class') IS NOT NULL";
    let mut found = world.names(views).await;
    let mut expected = VIEWS.map(String::from);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let silent = "SELECT count(*) FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 \
                  WHERE c.relnamespace = 'analyst'::regnamespace AND c.relkind = 'v' \
                    AND col_description(c.oid, a.attnum) IS NULL";
    assert_eq!(world.database.number(silent).await, 0);
    // Every column of a read model is in its view.
    let missing = "SELECT count(*) FROM read_model m \
                   JOIN pg_attribute t ON t.attrelid = ('public.' || m.name)::regclass AND t.attnum > 0 \
                   LEFT JOIN pg_attribute v ON v.attrelid = ('analyst.' || m.name)::regclass AND v.attname = t.attname \
                   WHERE v.attname IS NULL";
    assert_eq!(world.database.number(missing).await, 0);
}

#[tokio::test]
async fn what_is_no_felt_is_refused() {
    let mut world = World::new().await;
    for wrong in ["", "0x", "felt", "0xg", "-1", &"1".repeat(65)] {
        let refused = world.attempt(&format!("SELECT analyst.felt('{wrong}')")).await;
        assert!(refused.is_err(), "{wrong}");
    }
    for (text, shown) in
        [("0x00", "0x0"), ("A11CE", "0xa11ce"), ("0x49d36570d4e4", "0x49d36570d4e4")]
    {
        let sql = format!("SELECT analyst.hex(analyst.felt('{text}'))");
        let found: String =
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut world.analyst).await.unwrap();
        assert_eq!(found, shown);
    }
}
