//! How a role runs: it takes its partition's lease, works a stretch at a time, rests until something
//! wakes it, and tries again after trouble that may pass.

pub mod jobs;

use std::time::Duration;

use obsqra_bus::{ChainStream, Wake};
use obsqra_events::Kind;
use obsqra_store::notify::{Listener, Signal};
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

/// What wakes a role that has reached the end of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WakesOn {
    /// The publication of a fact of these kinds.
    Facts(&'static [Kind]),
    /// The database's hint that the log has grown: for the relay, which does the publishing.
    Log,
}

/// A role that works through a partition.
pub trait Role: Send {
    /// The partition that one process at a time may hold.
    fn partition(&self) -> Partition;

    /// What wakes it.
    fn wakes_on(&self) -> WakesOn;

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
    let mut waker = Waker::new(role.wakes_on(), context).await?;
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
                rested = waker.wait(context.longest_rest) => rested?,
            }
        }
    }
    Ok(())
}

enum Waker {
    Bus(Box<Wake>),
    Log(Box<Listener>),
}

impl Waker {
    async fn new(on: WakesOn, context: &RoleContext) -> Result<Self, WorkError> {
        Ok(match on {
            WakesOn::Facts(kinds) => Self::Bus(Box::new(Wake::new(&context.stream, kinds))),
            WakesOn::Log => Self::Log(Box::new(Listener::new(&context.store, Signal::Log).await?)),
        })
    }

    async fn wait(&mut self, at_most: Duration) -> Result<(), WorkError> {
        match self {
            Self::Bus(wake) => wake.wait(at_most).await,
            Self::Log(listener) => listener.wait(at_most).await?,
        }
        Ok(())
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
