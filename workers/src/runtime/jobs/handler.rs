//! What a kind of job is: its rules, and a handler that says what became of one.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use obsqra_store::job::{Backoff, LeasedJob};
use obsqra_store::{StoreError, Transaction};
use obsqra_types::JobKind;
use tokio_util::sync::CancellationToken;

/// A future of a known lifetime.
type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a done job leaves in the database: called once, in the transaction that marks the job done, after its
/// token was checked. It does nothing slow and nothing outside the database.
pub type Effect =
    Box<dyn for<'t> FnOnce(&'t mut Transaction) -> Boxed<'t, Result<(), StoreError>> + Send>;

/// What became of an attempt.
pub enum Outcome {
    /// It is done, and this is to be written.
    Done(Effect),
    /// This attempt failed; another may not. After the last one the job is dead.
    Retry {
        /// Why; no secrets.
        reason: String,
        /// Wait at least so long, as when a server asked for it.
        after: Option<Duration>,
    },
    /// No attempt will succeed: the job is set aside at once.
    Dead {
        /// Why; no secrets.
        reason: String,
    },
}

impl Outcome {
    /// Done, with nothing to write.
    #[must_use]
    pub fn done() -> Self {
        Self::Done(Box::new(|_| Box::pin(async { Ok(()) })))
    }

    /// This attempt failed.
    #[must_use]
    pub fn retry(reason: impl fmt::Display) -> Self {
        Self::Retry { reason: reason.to_string(), after: None }
    }

    /// No attempt will succeed.
    #[must_use]
    pub fn dead(reason: impl fmt::Display) -> Self {
        Self::Dead { reason: reason.to_string() }
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(_) => f.write_str("Done"),
            Self::Retry { reason, after } => write!(f, "Retry({reason}, {after:?})"),
            Self::Dead { reason } => write!(f, "Dead({reason})"),
        }
    }
}

/// How the jobs of a kind are treated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The waits between attempts.
    pub backoff: Backoff,
    /// Longest time that an attempt may take.
    pub time_limit: Duration,
}

/// Does the jobs of one kind.
pub trait Handler: Send + Sync + 'static {
    /// The kind.
    fn kind(&self) -> JobKind;

    /// How its jobs are treated.
    fn rules(&self) -> Rules;

    /// Does one. It may be run again, here or elsewhere, whatever it did: only its effect is written once. `cancel`
    /// says that the result is not wanted any more.
    fn run(
        &self,
        job: &LeasedJob,
        cancel: &CancellationToken,
    ) -> impl Future<Output = Outcome> + Send;
}

type Run = dyn Fn(LeasedJob, CancellationToken) -> Boxed<'static, Outcome> + Send + Sync;

/// A handler among others.
#[derive(Clone)]
pub(super) struct Registered {
    pub(super) rules: Rules,
    pub(super) run: Arc<Run>,
}

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registered").field("rules", &self.rules).finish_non_exhaustive()
    }
}

pub(super) fn boxed(handler: impl Handler) -> Registered {
    let rules = handler.rules();
    let handler = Arc::new(handler);
    let run = move |job: LeasedJob, cancel: CancellationToken| -> Boxed<'static, Outcome> {
        let handler = Arc::clone(&handler);
        Box::pin(async move { handler.run(&job, &cancel).await })
    };
    Registered { rules, run: Arc::new(run) }
}
