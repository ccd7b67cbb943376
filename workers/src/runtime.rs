//! How a role runs: it takes its partition's lease, works a stretch at a time, rests until something
//! wakes it, and tries again after trouble that may pass.

use std::time::Duration;

use obsqra_bus::{ChainStream, Wake};
use obsqra_events::Kind;
use obsqra_store::{LeaseKeeper, Store, StoreError};
use obsqra_types::Partition;
use tokio_util::sync::CancellationToken;

use crate::WorkError;

/// What every role is given.
#[derive(Clone, Debug)]
pub struct RoleContext {
    /// Database, as writer.
    pub store: Store,
    /// The chain's stream.
    pub stream: ChainStream,
    /// This process's name on its leases.
    pub holder: String,
    /// How long a lease runs without renewal.
    pub lease_ttl: Duration,
    /// Longest rest: a role looks at the log after it even when nothing woke it.
    pub longest_rest: Duration,
}

/// What a stretch of work came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// There may be more to do at once.
    Worked,
    /// The end of the log is reached.
    Idle,
}

/// A role that works through a partition.
pub trait Role: Send {
    /// The partition that one process at a time may hold.
    fn partition(&self) -> Partition;

    /// The facts whose publication wakes it; none for a role that listens elsewhere.
    fn wakes_on(&self) -> &'static [Kind];

    /// Brings its state to what the database holds. Called after the lease is taken, and again after
    /// every error.
    fn load(&mut self) -> impl Future<Output = Result<(), WorkError>> + Send;

    /// Works one stretch and commits it.
    fn work(
        &mut self,
        lease: &LeaseKeeper,
    ) -> impl Future<Output = Result<Progress, WorkError>> + Send;
}

const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_secs(15);

/// Runs a role until `shutdown`.
///
/// # Errors
/// When it meets an error that time does not cure. Losing the lease is none: the role waits until it
/// can have it again.
pub async fn run<R: Role>(
    role: &mut R,
    context: &RoleContext,
    shutdown: &CancellationToken,
) -> Result<(), WorkError> {
    let mut failures = 0u32;
    while !shutdown.is_cancelled() {
        match session(role, context, shutdown, &mut failures).await {
            Ok(()) => return Ok(()),
            Err(WorkError::Store(StoreError::LeaseLost(partition))) => {
                tracing::warn!(%partition, "another process took the partition over: waiting for it");
            }
            Err(error) if error.is_transient() => {
                failures += 1;
                let wait = backoff(failures);
                tracing::warn!(
                    partition = %role.partition(), %error,
                    wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                    "interrupted, trying again"
                );
                rest(shutdown, wait).await;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

async fn session<R: Role>(
    role: &mut R,
    context: &RoleContext,
    shutdown: &CancellationToken,
    failures: &mut u32,
) -> Result<(), WorkError> {
    let partition = role.partition();
    let (store, holder, ttl) = (&context.store, &context.holder, context.lease_ttl);
    let acquired = LeaseKeeper::acquire(store, partition.clone(), holder, ttl, shutdown).await?;
    let Some(lease) = acquired else {
        return Ok(());
    };
    let worked = stretches(role, &lease, context, shutdown, failures).await;
    if let Err(error) = lease.release().await {
        tracing::warn!(%partition, %error, "lease not released; it runs out by itself");
    }
    worked
}

async fn stretches<R: Role>(
    role: &mut R,
    lease: &LeaseKeeper,
    context: &RoleContext,
    shutdown: &CancellationToken,
    failures: &mut u32,
) -> Result<(), WorkError> {
    role.load().await?;
    let kinds = role.wakes_on();
    let mut wake = (!kinds.is_empty()).then(|| Wake::new(&context.stream, kinds));
    // A stretch is not cut off half-way by a shutdown: it is bounded, and ends in a commit.
    while !shutdown.is_cancelled() {
        if lease.lost().is_cancelled() {
            return Err(StoreError::LeaseLost(role.partition()).into());
        }
        let progress = role.work(lease).await?;
        *failures = 0;
        if progress == Progress::Idle {
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = lease.lost().cancelled() => {}
                () = woken(wake.as_mut(), context.longest_rest) => {}
            }
        }
    }
    Ok(())
}

async fn woken(wake: Option<&mut Wake>, at_most: Duration) {
    match wake {
        Some(wake) => wake.wait(at_most).await,
        None => tokio::time::sleep(at_most).await,
    }
}

async fn rest(shutdown: &CancellationToken, wait: Duration) {
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

/// Doubles with each failure up to the longest wait, with a random quarter off.
fn backoff(failures: u32) -> Duration {
    let doubled = FIRST_WAIT * 2u32.saturating_pow(failures.clamp(1, 8) - 1);
    doubled.min(LONGEST_WAIT).mul_f64(rand::random_range(0.75..=1.0))
}
