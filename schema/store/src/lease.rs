//! Leases: who may write to a partition, and the fence that stops a stale holder.

use std::time::Duration;

use obsqra_types::{LeaseEpoch, Partition};

use crate::{Store, StoreError, Transaction};

/// What a writer states with each append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence {
    /// The partition it writes to.
    pub partition: Partition,
    /// The epoch of its lease.
    pub epoch: LeaseEpoch,
}

/// A held lease. Dropping it releases nothing: it then runs out by itself, or [`Lease::release`] gives
/// it up at once.
#[derive(Clone, Debug)]
pub struct Lease {
    store: Store,
    holder: String,
    fence: Fence,
    ttl: Duration,
}

impl Lease {
    /// Takes the partition if nobody holds it; `None` while another holder's lease runs. A holder that
    /// asks again with its own name takes its lease over with a new epoch.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acquire(
        store: &Store,
        partition: Partition,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<Self>, StoreError> {
        let epoch = sqlx::query_scalar!(
            r#"
            INSERT INTO lease AS l (partition, epoch, holder, expires_at)
            VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
            ON CONFLICT (partition) DO UPDATE
            SET epoch = l.epoch + 1, holder = excluded.holder, expires_at = excluded.expires_at
            WHERE l.expires_at <= clock_timestamp() OR l.holder = excluded.holder
            RETURNING epoch
            "#,
            partition.to_string(),
            holder,
            ttl.as_secs_f64(),
        )
        .fetch_optional(&store.pool)
        .await?;
        Ok(epoch.map(|epoch| Self {
            store: store.clone(),
            holder: holder.to_owned(),
            fence: Fence { partition, epoch: LeaseEpoch(epoch) },
            ttl,
        }))
    }

    /// Takes the partition from whoever holds it: the holder's next write is refused, and it waits until it can
    /// have the partition again. A transaction of the holder is waited for, so that it is whole.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn take_over(
        store: &Store,
        partition: Partition,
        holder: &str,
        ttl: Duration,
    ) -> Result<Self, StoreError> {
        let epoch = sqlx::query_scalar!(
            r#"
            INSERT INTO lease AS l (partition, epoch, holder, expires_at)
            VALUES ($1, 1, $2, clock_timestamp() + make_interval(secs => $3))
            ON CONFLICT (partition) DO UPDATE
            SET epoch = l.epoch + 1, holder = excluded.holder,
                expires_at = clock_timestamp() + make_interval(secs => $3)
            RETURNING epoch
            "#,
            partition.to_string(),
            holder,
            ttl.as_secs_f64(),
        )
        .fetch_one(&store.pool)
        .await?;
        Ok(Self {
            store: store.clone(),
            holder: holder.to_owned(),
            fence: Fence { partition, epoch: LeaseEpoch(epoch) },
            ttl,
        })
    }

    /// What to state with each append.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        &self.fence
    }

    /// How long the lease runs after a renewal.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Lets the lease run for its whole time again.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another holder took the partition.
    pub async fn renew(&self) -> Result<(), StoreError> {
        self.renew_by(&self.store.pool).await
    }

    /// The same as the last step of a long transaction, which holds the lease row: until it commits nothing
    /// else can renew, and who waits for the partition must not find the lease run out at that moment.
    ///
    /// # Errors
    /// As [`Lease::renew`].
    pub async fn renew_in(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        self.renew_by(&mut **tx).await
    }

    async fn renew_by<'e>(&self, executor: impl sqlx::PgExecutor<'e>) -> Result<(), StoreError> {
        let renewed = sqlx::query!(
            r#"
            UPDATE lease SET expires_at = clock_timestamp() + make_interval(secs => $4)
            WHERE partition = $1 AND epoch = $2 AND holder = $3
            "#,
            self.fence.partition.to_string(),
            self.fence.epoch.0,
            self.holder,
            self.ttl.as_secs_f64(),
        )
        .execute(executor)
        .await?;
        match renewed.rows_affected() {
            0 => Err(StoreError::LeaseLost(self.fence.partition.clone())),
            _ => Ok(()),
        }
    }

    /// Gives the partition up, so that another process need not wait.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`] when another holder took the partition before. When the database fails the
    /// lease runs out by itself.
    pub async fn release(self) -> Result<(), StoreError> {
        let released = sqlx::query!(
            "UPDATE lease SET expires_at = clock_timestamp() WHERE partition = $1 AND epoch = $2",
            self.fence.partition.to_string(),
            self.fence.epoch.0,
        )
        .execute(&self.store.pool)
        .await?;
        match released.rows_affected() {
            0 => Err(StoreError::LeaseLost(self.fence.partition)),
            _ => Ok(()),
        }
    }
}

/// Locks the lease row for the transaction and checks that the fence still stands.
///
/// # Errors
/// [`StoreError::LeaseLost`] when another holder took the partition.
pub async fn check(tx: &mut Transaction, fence: &Fence) -> Result<(), StoreError> {
    let epoch = sqlx::query_scalar!(
        "SELECT epoch FROM lease WHERE partition = $1 FOR UPDATE",
        fence.partition.to_string(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    if epoch == Some(fence.epoch.0) {
        Ok(())
    } else {
        Err(StoreError::LeaseLost(fence.partition.clone()))
    }
}
