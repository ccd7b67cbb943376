//! A table that counts what jobs leave behind: a row an effect, with nothing that would refuse a second one.

use obsqra_store::Transaction;
use obsqra_types::{JobId, JobToken};
use sqlx::{Connection, PgConnection};

use crate::TestDatabase;

/// The effects of jobs in a test's database.
#[derive(Clone, Debug)]
pub struct Effects {
    url: String,
}

/// One effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Effect {
    /// The job that left it.
    pub job: JobId,
    /// The token that it was written under.
    pub token: JobToken,
    /// The process that wrote it.
    pub by: String,
}

impl Effects {
    /// Makes the table.
    ///
    /// # Panics
    /// When there is one.
    pub async fn create(database: &TestDatabase) -> Self {
        database
            .execute(
                "CREATE TABLE test_effect (job bigint NOT NULL, token bigint NOT NULL, by text NOT NULL); \
                 GRANT SELECT, INSERT ON test_effect TO obsqra_writer",
            )
            .await;
        Self::of(database.url())
    }

    /// The table that another process made in a database.
    #[must_use]
    pub fn of(url: &str) -> Self {
        Self { url: url.to_owned() }
    }

    /// Writes an effect.
    ///
    /// # Panics
    /// When the database fails.
    pub async fn record(&self, tx: &mut Transaction, job: JobId, token: JobToken, by: &str) {
        sqlx::query("INSERT INTO test_effect (job, token, by) VALUES ($1, $2, $3)")
            .bind(job.0)
            .bind(token.0)
            .bind(by)
            .execute(&mut **tx)
            .await
            .expect("an effect is written");
    }

    /// Every effect, by job.
    ///
    /// # Panics
    /// When the database fails.
    pub async fn all(&self) -> Vec<Effect> {
        let mut connection = PgConnection::connect(&self.url).await.expect("database answers");
        let rows: Vec<(i64, i64, String)> =
            sqlx::query_as("SELECT job, token, by FROM test_effect ORDER BY job, token")
                .fetch_all(&mut connection)
                .await
                .expect("effects are read");
        rows.into_iter()
            .map(|(job, token, by)| Effect { job: JobId(job), token: JobToken(token), by })
            .collect()
    }
}
