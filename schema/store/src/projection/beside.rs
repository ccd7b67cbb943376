//! Tables beside the read models, in a schema of their own, and their way into the place of the live ones.
//!
//! Making them and swapping them needs an owner's rights, which the writer does not have: functions of the database
//! do it for the holder of the partition `rebuilder`. Whoever reads meanwhile must find the old rows or the new
//! ones, whatever snapshot it holds. So the swap is refused while a transaction is open that began before the tables
//! were filled: it would find them empty. And it waits for its locks for a short time only, because everybody who
//! comes later waits behind it.

use std::time::Duration;

use obsqra_types::ChainId;
use sqlx::AssertSqlSafe;

use super::state::READ_MODELS;
use crate::{Fence, Lease, Store, StoreError, Transaction};

/// Longest time that the locks of a swap are waited for, all together: below the second after which the server looks
/// for deadlocks, so that a reader is never the one that it cancels.
const LOCK_WAIT: Duration = Duration::from_millis(800);

/// Tables beside the read models.
#[derive(Debug)]
pub struct Beside {
    live: Store,
    store: Store,
    lease: Lease,
}

/// The id that the database gives out next: transactions that began before see no row of those that had their ids
/// before it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilledBefore(String);

/// What came of a swap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Swap {
    /// The tables have changed places, once the transaction commits.
    Done,
    /// Somebody reads: nothing has changed, the transaction is to be dropped, another attempt may do.
    Busy,
}

impl Beside {
    /// Makes empty tables. What another rebuild left is gone.
    ///
    /// # Errors
    /// When the lease is not that of the partition `rebuilder` or is lost, or the database fails.
    pub async fn open(live: &Store, lease: Lease) -> Result<Self, StoreError> {
        let mut tx = live.begin().await?;
        sqlx::query!("SELECT rebuild_open($1)", lease.fence().epoch.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(Self { live: live.clone(), store: live.beside(), lease })
    }

    /// The database with these tables in the place of the read models.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The lease under which they are made, to be renewed with each write.
    #[must_use]
    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    fn fence(&self) -> &Fence {
        self.lease.fence()
    }

    /// Copies the live rows of all other chains, whose tables these are too. Their projectors must rest.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn copy_others(&self, chain: &ChainId, names: &[String]) -> Result<(), StoreError> {
        let mut tx = self.live.begin().await?;
        for table in named(names) {
            // The names are constants: nothing of this text comes from outside.
            let copy = [
                format!("DELETE FROM rebuild.{table} WHERE chain_id <> $1"),
                format!(
                    "INSERT INTO rebuild.{table} SELECT * FROM public.{table} WHERE chain_id <> $1"
                ),
            ];
            for statement in copy {
                let statement = AssertSqlSafe(statement);
                sqlx::query(statement).bind(chain.as_str()).execute(&mut *tx).await?;
            }
        }
        Ok(tx.commit().await?)
    }

    /// Takes statistics, so that the first statements on the tables have good plans.
    ///
    /// # Errors
    /// When the lease is lost or the database fails.
    pub async fn analyze(&self) -> Result<(), StoreError> {
        sqlx::query!("SELECT rebuild_analyze($1)", self.fence().epoch.0)
            .execute(&self.live.pool)
            .await?;
        Ok(())
    }

    /// To be called once everything is in them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn filled(&self) -> Result<FilledBefore, StoreError> {
        let next =
            sqlx::query_scalar!(r#"SELECT pg_snapshot_xmax(pg_current_snapshot())::text AS "id!""#)
                .fetch_one(&self.live.pool)
                .await?;
        Ok(FilledBefore(next))
    }

    /// How many transactions are open that do not see everything in them.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn older_readers(&self, filled: &FilledBefore) -> Result<i64, StoreError> {
        let readers = sqlx::query_scalar!(
            r#"SELECT rebuild_older_readers($1::text::xid8) AS "readers!""#,
            filled.0
        )
        .fetch_one(&self.live.pool)
        .await?;
        Ok(readers)
    }

    /// Puts tables in the place of the live ones, inside a transaction of the live store that checked the leases of
    /// the projectors.
    ///
    /// # Errors
    /// When the lease is lost, the live tables have got another form meanwhile, or the database fails.
    pub async fn swap(
        &self,
        tx: &mut Transaction,
        names: &[String],
        filled: &FilledBefore,
    ) -> Result<Swap, StoreError> {
        let swapped = sqlx::query!(
            "SELECT rebuild_swap($1, $2, $3::text::xid8, make_interval(secs => $4))",
            self.fence().epoch.0,
            names,
            filled.0,
            LOCK_WAIT.as_secs_f64(),
        )
        .execute(&mut **tx)
        .await;
        match swapped {
            Ok(_) => Ok(Swap::Done),
            Err(error) if is_busy(&error) => Ok(Swap::Busy),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives the tables up. What is left of them goes with the next rebuild.
    ///
    /// # Errors
    /// As [`Lease::release`].
    pub async fn close(self) -> Result<(), StoreError> {
        self.store.close().await;
        self.lease.release().await
    }
}

/// A lock that was not to be had in time, or a deadlock that this side lost.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| matches!(code.as_ref(), "55P03" | "40P01"))
}

fn named(names: &[String]) -> impl Iterator<Item = &'static str> + use<'_> {
    READ_MODELS.into_iter().filter(|table| names.iter().any(|name| name == table))
}
