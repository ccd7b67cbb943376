//! One attempt at a job, from its handler's first step to the transaction that ends it.

use std::time::{Duration, Instant};

use obsqra_store::job::{self, JobState, LeasedJob};
use obsqra_store::{Store, StoreError};
use obsqra_types::JobKind;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument as _;

use super::handler::{Effect, Outcome, Registered};
use super::holding::Held;

/// An attempt that is under way.
pub(super) struct Settling {
    pub(super) store: Store,
    pub(super) known: Registered,
    pub(super) held: Held,
    /// Cancelled when handlers are not waited for any longer.
    pub(super) abandon: CancellationToken,
    pub(super) stop_within: Duration,
    pub(super) job: LeasedJob,
}

/// Why a handler's result is there, or is not waited for.
enum Attempt {
    Came(Outcome),
    Panicked,
    TimedOut,
    /// The process stops, or the job was cancelled and the handler does not listen.
    GivenUp,
}

impl Settling {
    /// Runs the handler and writes what it says. Errors are told here: the job then goes back in the queue when
    /// its lease runs out.
    pub(super) async fn run(self) {
        let begun = Instant::now();
        let attempt = self.attempt().await;
        let kind = self.job.kind.clone();
        metrics::histogram!("obsqra_job_run_seconds", "kind" => kind.to_string())
            .record(begun.elapsed().as_secs_f64());
        match self.settle(attempt).await {
            Ok(outcome) => count(&kind, outcome),
            Err(error @ StoreError::JobLost(_)) => {
                tracing::warn!(%error, "another process took the job over");
                count(&kind, "refused");
            }
            Err(error) => {
                tracing::warn!(%error, "the end of a job is not written; its lease runs out by itself");
                count(&kind, "unwritten");
            }
        }
    }

    async fn attempt(&self) -> Attempt {
        let run = (self.known.run)(self.job.clone(), self.held.cancel.clone());
        // A task of its own, so that a handler that panics takes nothing with it. Dropping the handle ends it.
        let mut run = AbortOnDropHandle::new(tokio::spawn(run.in_current_span()));
        tokio::select! {
            came = &mut run => came.map_or(Attempt::Panicked, Attempt::Came),
            () = tokio::time::sleep(self.known.rules.time_limit) => Attempt::TimedOut,
            () = self.abandon.cancelled() => Attempt::GivenUp,
            () = overdue(&self.held.cancel, self.stop_within) => Attempt::GivenUp,
        }
    }

    async fn settle(&self, attempt: Attempt) -> Result<&'static str, StoreError> {
        match attempt {
            Attempt::Came(Outcome::Done(effect)) => self.done(effect).await,
            Attempt::Came(Outcome::Retry { reason, after }) => self.failed(&reason, after).await,
            Attempt::Came(Outcome::Dead { reason }) => self.rejected(&reason).await,
            Attempt::Panicked => self.failed("its handler panicked", None).await,
            Attempt::TimedOut => {
                let limit = self.known.rules.time_limit.as_secs_f64();
                self.failed(&format!("it took longer than {limit} s"), None).await
            }
            Attempt::GivenUp => {
                let state = job::release(&self.store, self.ended()).await?;
                Ok(if state == JobState::Cancelled { "cancelled" } else { "released" })
            }
        }
    }

    fn ended(&self) -> job::Ended {
        (self.job.id, self.job.token)
    }

    async fn done(&self, effect: Effect) -> Result<&'static str, StoreError> {
        match self.commit(effect).await {
            Ok(()) => Ok("done"),
            Err(error @ StoreError::JobLost(_)) => Err(error),
            // A commit whose answer was lost may have been made: then the job is done, and this is refused.
            Err(error) if error.is_transient() => self.failed(&error.to_string(), None).await,
            Err(error) => self.rejected(&error.to_string()).await,
        }
    }

    /// The token is checked first and the row held until the commit: the effect is written once or not at all.
    async fn commit(&self, effect: Effect) -> Result<(), StoreError> {
        let mut tx = self.store.begin().await?;
        job::complete(&mut tx, self.ended()).await?;
        effect(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    async fn failed(
        &self,
        reason: &str,
        after: Option<Duration>,
    ) -> Result<&'static str, StoreError> {
        let backoff = self.known.rules.backoff;
        let wait = backoff.wait(self.job.attempt, rand::random()).max(after.unwrap_or_default());
        let state = job::fail(&self.store, self.ended(), wait, reason).await?;
        let (state, outcome) = (
            state.name(),
            match state {
                JobState::Dead => "dead",
                JobState::Cancelled => "cancelled",
                _ => "retried",
            },
        );
        tracing::warn!(reason, state, attempt = self.job.attempt, "an attempt at a job failed");
        Ok(outcome)
    }

    async fn rejected(&self, reason: &str) -> Result<&'static str, StoreError> {
        job::reject(&self.store, self.ended(), reason).await?;
        tracing::warn!(reason, "a job is set aside: see `obsqra dead list`");
        Ok("dead")
    }
}

async fn overdue(cancel: &CancellationToken, within: Duration) {
    cancel.cancelled().await;
    tokio::time::sleep(within).await;
}

/// Counts how an attempt ended.
pub(super) fn count(kind: &JobKind, outcome: &'static str) {
    metrics::counter!("obsqra_jobs_total", "kind" => kind.to_string(), "outcome" => outcome)
        .increment(1);
}
