//! Wake-up hints inside the database. A hint may be lost; a cursor never is.

use std::time::Duration;

use sqlx::postgres::PgListener;

use crate::{Store, StoreError, Transaction};

/// What a hint says has moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    /// The log has grown.
    Log,
    /// The read models have advanced.
    Projection,
    /// A job may be taken.
    Job,
}

impl Signal {
    fn channel(self) -> &'static str {
        match self {
            Self::Log => "obsqra_log",
            Self::Projection => "obsqra_projection",
            Self::Job => "obsqra_job",
        }
    }
}

/// Sends the hint when the transaction commits.
///
/// # Errors
/// When the database fails.
pub async fn notify(tx: &mut Transaction, signal: Signal) -> Result<(), StoreError> {
    sqlx::query!(r#"SELECT pg_notify($1, '') AS "sent: ()""#, signal.channel())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// Waits for hints.
#[derive(Debug)]
pub struct Listener {
    inner: PgListener,
}

impl Listener {
    /// Starts to listen.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(store: &Store, signal: Signal) -> Result<Self, StoreError> {
        let mut inner = PgListener::connect_with(&store.pool).await?;
        inner.listen(signal.channel()).await?;
        Ok(Self { inner })
    }

    /// Returns at the next hint, after `at_most`, or when the connection broke: in each case it is time
    /// to look at the cursor.
    ///
    /// # Errors
    /// When the database stays away.
    pub async fn wait(&mut self, at_most: Duration) -> Result<(), StoreError> {
        match tokio::time::timeout(at_most, self.inner.try_recv()).await {
            Ok(received) => {
                received?;
            }
            Err(_elapsed) => return Ok(()),
        }
        // Hints that came together ask for one look.
        while self.inner.next_buffered().is_some() {}
        Ok(())
    }
}
