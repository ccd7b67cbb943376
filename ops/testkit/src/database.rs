//! A database of one test.

use std::sync::atomic::{AtomicU32, Ordering};

use obsqra_store::{Role, Store, StoreOptions, migrate};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};

/// Names the server that tests use: an admin's URL.
const SERVER: &str = "OBSQRA_TEST_DATABASE_URL";

/// A fresh database with all migrations applied. It is left behind on purpose: the server it stands on
/// is thrown away as a whole, and a failed test's rows can be looked at until then.
#[derive(Debug)]
pub struct TestDatabase {
    url: String,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl TestDatabase {
    /// Makes one.
    ///
    /// # Panics
    /// When no server is named or it does not do as told: a test without its database has failed.
    pub async fn create() -> Self {
        let server = std::env::var(SERVER).unwrap_or_else(|_| {
            panic!(
                "{SERVER} is not set: run `ops/test`, or `cargo run -p obsqra-servers --example \
                 throwaway -- cargo test`"
            )
        });
        let nanos = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| elapsed.as_nanos());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{nanos:x}_{count}", std::process::id());
        run_on(&server, &format!("CREATE DATABASE {name}")).await;
        let database = Self { url: with_database(&server, &name) };
        migrate(&database.store(Role::Admin).await).await.expect("migrations apply");
        database
    }

    /// An admin's URL of the database.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connects under a role.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn store(&self, role: Role) -> Store {
        let mut options = StoreOptions::new(role);
        options.acquire_timeout = std::time::Duration::from_secs(60);
        Store::connect(&self.url, options).await.expect("the test database answers")
    }

    /// Runs SQL with an admin's rights: fixtures, and tampering.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn execute(&self, sql: &str) {
        run_on(&self.url, sql).await;
    }

    /// Runs SQL with an admin's rights and says what the server refused.
    ///
    /// # Errors
    /// The server's words.
    pub async fn try_execute(&self, sql: &str) -> Result<(), String> {
        try_run(&self.url, sql).await.map_err(|error| error.to_string())
    }

    /// A single number.
    ///
    /// # Panics
    /// When the server refuses or the result is no number.
    pub async fn number(&self, sql: &str) -> i64 {
        let mut connection = PgConnection::connect(&self.url).await.expect("database answers");
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
    }
}

/// One connection that stays: what it prepared and what it sees last.
#[derive(Debug)]
pub struct TestSession {
    connection: PgConnection,
}

impl TestDatabase {
    /// Connects as a group role would, or as the admin with an empty name.
    ///
    /// # Panics
    /// When the server does not answer or has no such role.
    pub async fn session(&self, role: &str) -> TestSession {
        let connection = PgConnection::connect(&self.url).await.expect("database answers");
        let mut session = TestSession { connection };
        if !role.is_empty() {
            session.execute(&format!("SET ROLE {role}")).await.expect("the role is there");
        }
        session
    }
}

impl TestSession {
    /// Runs SQL.
    ///
    /// # Errors
    /// SQLSTATE and words of what the server refuses.
    pub async fn execute(&mut self, sql: &str) -> Result<(), (String, String)> {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(&mut self.connection).await.map(|_| ()).map_err(|e| refusal(&e))
    }

    /// Numbers of one row, by a statement that is prepared the first time and used again.
    ///
    /// # Errors
    /// SQLSTATE and words of what the server refuses.
    ///
    /// # Panics
    /// When a column is no number.
    pub async fn numbers(&mut self, sql: &str) -> Result<Vec<i64>, (String, String)> {
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.connection).await;
        let row = row.map_err(|error| refusal(&error))?;
        Ok((0..row.len()).map(|column| row.try_get(column).expect("a number")).collect())
    }

    /// Columns of text of all rows.
    ///
    /// # Errors
    /// SQLSTATE and words of what the server refuses.
    ///
    /// # Panics
    /// When a column is no text.
    pub async fn texts(&mut self, sql: &str) -> Result<Vec<Vec<String>>, (String, String)> {
        let rows = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_all(&mut self.connection).await;
        let rows = rows.map_err(|error| refusal(&error))?;
        let texts = |row: PgRow| {
            (0..row.len()).map(|column| row.try_get(column).expect("text")).collect::<Vec<String>>()
        };
        Ok(rows.into_iter().map(texts).collect())
    }
}

fn refusal(error: &sqlx::Error) -> (String, String) {
    let Some(refused) = error.as_database_error() else {
        return (String::new(), error.to_string());
    };
    (refused.code().unwrap_or_default().into_owned(), refused.message().to_owned())
}

fn with_database(server: &str, name: &str) -> String {
    let (head, query) = server.split_once('?').map_or((server, None), |(h, q)| (h, Some(q)));
    let base = head.rsplit_once('/').map_or(head, |(base, _)| base);
    match query {
        Some(query) => format!("{base}/{name}?{query}"),
        None => format!("{base}/{name}"),
    }
}

async fn run_on(url: &str, sql: &str) {
    if let Err(error) = try_run(url, sql).await {
        panic!("{sql}: {error}");
    }
}

async fn try_run(url: &str, sql: &str) -> Result<(), sqlx::Error> {
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await?;
    connection.close().await
}
