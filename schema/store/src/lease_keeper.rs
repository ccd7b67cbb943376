//! Holding a lease: waits for it, renews it, and tells its holder when it is lost.

use std::time::Duration;

use obsqra_types::Partition;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Fence, Lease, Store, StoreError, Transaction};

/// A lease under renewal. Its fence goes into every append, so that losing it between two renewals
/// does no harm.
#[derive(Debug)]
pub struct LeaseKeeper {
    lease: Lease,
    lost: CancellationToken,
    _renewal: AbortOnDropHandle<()>,
}

impl LeaseKeeper {
    /// Waits until the partition is free; `None` when `shutdown` comes first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn acquire(
        store: &Store,
        partition: Partition,
        holder: &str,
        ttl: Duration,
        shutdown: &CancellationToken,
    ) -> Result<Option<Self>, StoreError> {
        let mut told = false;
        loop {
            // The row stays locked while a transaction of its holder is open: of one that is stopped inside
            // it until the server ends the session. A shutdown does not wait for that.
            let taken = tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                taken = Lease::acquire(store, partition.clone(), holder, ttl) => taken?,
            };
            if let Some(lease) = taken {
                return Ok(Some(Self::keep(lease)));
            }
            if !told {
                tracing::info!(%partition, "waiting: another process holds the partition");
                told = true;
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(None),
                () = tokio::time::sleep(ttl / 4) => {}
            }
        }
    }

    /// Renews a lease that is held from here on.
    #[must_use]
    pub fn keep(lease: Lease) -> Self {
        let lost = CancellationToken::new();
        let renewal = tokio::spawn(renew(lease.clone(), lost.clone()));
        Self { lease, lost, _renewal: AbortOnDropHandle::new(renewal) }
    }

    /// What to state with each append.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        self.lease.fence()
    }

    /// Renews the lease as the last step of a long transaction; see [`Lease::renew_in`].
    ///
    /// # Errors
    /// As [`Lease::renew`].
    pub async fn renew_in(&self, tx: &mut Transaction) -> Result<(), StoreError> {
        self.lease.renew_in(tx).await
    }

    /// Is cancelled when the lease is lost.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Gives the partition up.
    ///
    /// # Errors
    /// As [`Lease::release`].
    pub async fn release(self) -> Result<(), StoreError> {
        self.lease.release().await
    }
}

async fn renew(lease: Lease, lost: CancellationToken) {
    loop {
        tokio::time::sleep(lease.ttl() / 3).await;
        match lease.renew().await {
            Ok(()) => {}
            Err(StoreError::LeaseLost(partition)) => {
                tracing::warn!(%partition, "lease lost to another process");
                lost.cancel();
                return;
            }
            // The database may be back before the lease runs out; if not, the next append tells.
            Err(error) => tracing::warn!(%error, "lease not renewed"),
        }
    }
}
