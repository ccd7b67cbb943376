//! How shared jobs run: a process takes as many as it has slots, holds them while their handlers work, and commits
//! each job's effect together with its end.
//!
//! A handler decides what became of its job ([`Outcome`]); this module obeys. Nothing of a handler is written but
//! its effect, in the transaction that the job's token guards: a process that was stopped and continues after
//! another took its job over writes nothing.

mod handler;
mod holding;
mod settle;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use obsqra_store::job::{self, Kinds, LeasedJob};
use obsqra_store::notify::{Listener, Signal};
use obsqra_store::{Store, StoreError};
use obsqra_types::JobKind;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{backoff, rest};
use crate::WorkError;

pub use handler::{Effect, Handler, Outcome, Rules};
use handler::{Registered, boxed};
use holding::Holding;
use settle::Settling;

/// Time between two looks at how many jobs there are.
const GAUGES_EVERY: Duration = Duration::from_secs(5);
/// Longest time between two looks for leases that ran out, while there is always something to do.
const LOOK_BACK_EVERY: Duration = Duration::from_secs(1);
/// Shortest rest after a look that found nothing: what is due may be locked by another process.
const LEAST_REST: Duration = Duration::from_millis(20);
/// How long jobs are kept that were done or cancelled.
const ENDED_KEPT: Duration = Duration::from_secs(30 * 24 * 3_600);

/// The bounds of a process that runs jobs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RunnerOptions {
    /// Jobs under way at once.
    pub slots: usize,
    /// How long a lease runs without renewal; it is renewed every third of it.
    pub lease_ttl: Duration,
    /// Longest rest: the table is looked at after it even when nothing woke the process.
    pub longest_rest: Duration,
    /// How long a handler that was told to stop may go on before it is cut off.
    pub stop_within: Duration,
}

/// Runs the jobs of the kinds it knows; others are left to processes that know them.
#[derive(Debug)]
pub struct JobRunner {
    store: Store,
    holder: String,
    options: RunnerOptions,
    kinds: BTreeMap<JobKind, Registered>,
    wake: Arc<Notify>,
}

impl JobRunner {
    /// A runner that knows no kind yet. `holder` names the process on its leases.
    #[must_use]
    pub fn new(store: &Store, holder: &str, options: RunnerOptions) -> Self {
        let (store, holder) = (store.clone(), holder.to_owned());
        Self { store, holder, options, kinds: BTreeMap::new(), wake: Arc::new(Notify::new()) }
    }

    /// The same, with a handler for the jobs of its kind.
    #[must_use]
    pub fn with(mut self, handler: impl Handler) -> Self {
        self.kinds.insert(handler.kind(), boxed(handler));
        self
    }

    /// Wakes the runner, beside the database's own hint: for messages that say that there are jobs.
    pub fn waker(&self) -> impl Fn() + Send + Sync + 'static {
        let wake = Arc::clone(&self.wake);
        move || wake.notify_one()
    }

    /// Runs jobs until `shutdown`. Then nothing new is taken; what runs has its time to finish, and what does not
    /// is given back.
    ///
    /// # Errors
    /// When the database refuses in a way that time does not cure.
    pub async fn run(&self, shutdown: &CancellationToken) -> Result<(), WorkError> {
        let mut running = Running::new(self);
        let mut failures = 0u32;
        let mut ended = Ok(());
        while !shutdown.is_cancelled() {
            match running.work(shutdown, &mut failures).await {
                Ok(()) => break,
                Err(error) if error.is_transient() => {
                    failures += 1;
                    tracing::warn!(%error, "jobs: interrupted, trying again");
                    rest(shutdown, backoff(failures)).await;
                }
                Err(error) => {
                    ended = Err(WorkError::from(error));
                    break;
                }
            }
        }
        running.stop().await;
        ended
    }
}

/// The jobs of a runner that are under way.
struct Running<'r> {
    runner: &'r JobRunner,
    kinds: Kinds,
    tasks: JoinSet<()>,
    holding: Holding,
    /// Cancelled when handlers are not waited for any longer.
    abandon: CancellationToken,
    counted: Option<Instant>,
    /// When lapsed leases were looked for.
    looked: Option<Instant>,
}

impl<'r> Running<'r> {
    fn new(runner: &'r JobRunner) -> Self {
        let kinds = runner.kinds.iter().map(|(kind, known)| (kind.clone(), known.rules.backoff));
        Self {
            runner,
            kinds: kinds.collect(),
            tasks: JoinSet::new(),
            holding: Holding::start(&runner.store, &runner.holder, runner.options.lease_ttl),
            abandon: CancellationToken::new(),
            counted: None,
            looked: None,
        }
    }

    async fn work(
        &mut self,
        shutdown: &CancellationToken,
        failures: &mut u32,
    ) -> Result<(), StoreError> {
        let mut listener = Listener::new(&self.runner.store, Signal::Job).await?;
        let mut is_busy = false;
        while !shutdown.is_cancelled() {
            if !is_busy || self.looked.is_none_or(|at| at.elapsed() >= LOOK_BACK_EVERY) {
                self.take_back().await?;
                self.keep_house().await?;
            }
            is_busy = self.take().await? > 0;
            *failures = 0;
            if !is_busy {
                self.rest(shutdown, &mut listener).await?;
            }
            self.sweep();
        }
        Ok(())
    }

    /// Takes what is due, as far as there are free slots; how many that were.
    async fn take(&mut self) -> Result<usize, StoreError> {
        let free = self.runner.options.slots.saturating_sub(self.tasks.len());
        if free == 0 {
            return Ok(0);
        }
        let holder = (self.runner.holder.as_str(), self.runner.options.lease_ttl);
        let leased = job::lease(&self.runner.store, &self.kinds, holder, free).await?;
        let taken = leased.len();
        for job in leased {
            self.begin(job);
        }
        Ok(taken)
    }

    fn begin(&mut self, job: LeasedJob) {
        let Some(known) = self.runner.kinds.get(&job.kind) else {
            // Only known kinds are asked for.
            tracing::error!(job = %job.id, kind = %job.kind, "a job of an unknown kind was taken");
            return;
        };
        let kind = job.kind.to_string();
        metrics::counter!("obsqra_jobs_leased_total", "kind" => kind.clone()).increment(1);
        let span = tracing::info_span!(
            "jobs.job.run", job = %job.id, kind, attempt = job.attempt,
            traceparent = job.trace.as_ref().map(|trace| trace.as_str()),
        );
        let settling = Settling {
            store: self.runner.store.clone(),
            known: known.clone(),
            held: self.holding.hold(&job),
            abandon: self.abandon.clone(),
            stop_within: self.runner.options.stop_within,
            job,
        };
        self.tasks.spawn(settling.run().instrument(span));
    }

    /// Waits until a job may be due, a slot is free, or something wakes the process.
    async fn rest(
        &mut self,
        shutdown: &CancellationToken,
        listener: &mut Listener,
    ) -> Result<(), StoreError> {
        let longest = self.runner.options.longest_rest;
        if self.tasks.len() >= self.runner.options.slots {
            // Only a job that ends makes a difference, but leases of others may run out.
            tokio::select! {
                () = shutdown.cancelled() => {}
                Some(_) = self.tasks.join_next() => {}
                () = tokio::time::sleep(longest) => {}
            }
            return Ok(());
        }
        let due = job::next_due(&self.runner.store, &self.kinds).await?;
        let rest = due.map_or(longest, |due| due.clamp(LEAST_REST, longest));
        tokio::select! {
            () = shutdown.cancelled() => {}
            Some(_) = self.tasks.join_next() => {}
            () = self.runner.wake.notified() => {}
            heard = listener.wait(rest) => heard?,
        }
        Ok(())
    }

    fn sweep(&mut self) {
        while self.tasks.try_join_next().is_some() {}
    }

    /// Takes back what others let lapse.
    async fn take_back(&mut self) -> Result<(), StoreError> {
        self.looked = Some(Instant::now());
        for lapse in job::take_back(&self.runner.store, &self.kinds, rand::random).await? {
            let state = lapse.state.name();
            tracing::warn!(job = %lapse.id, kind = %lapse.kind, state, "a job's lease ran out");
            settle::count(&lapse.kind, "lapsed");
        }
        Ok(())
    }

    /// From time to time counts, and forgets what ended long ago.
    async fn keep_house(&mut self) -> Result<(), StoreError> {
        let store = &self.runner.store;
        if self.counted.is_some_and(|at| at.elapsed() < GAUGES_EVERY) {
            return Ok(());
        }
        self.counted = Some(Instant::now());
        let counts = job::counts(store).await?;
        for kind in self.kinds.keys() {
            show(kind, &counts.get(kind).copied().unwrap_or_default());
        }
        job::prune(store, ENDED_KEPT).await?;
        Ok(())
    }

    /// Nothing new is taken. Handlers have their time to finish; those that did not are cut off, and their jobs
    /// given back.
    async fn stop(&mut self) {
        let finished = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(self.runner.options.stop_within, finished).await.is_ok() {
            return;
        }
        tracing::warn!(jobs = self.tasks.len(), "jobs are given back: they did not finish in time");
        self.abandon.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

/// A kind with no open job has counts of zero, which is what is so.
fn show(kind: &JobKind, counts: &job::Counts) {
    let states = [("queued", counts.queued), ("leased", counts.leased), ("dead", counts.dead)];
    for (state, jobs) in states {
        // Counts of this size are exact in a double.
        metrics::gauge!("obsqra_jobs", "kind" => kind.to_string(), "state" => state)
            .set(u32::try_from(jobs).map_or(f64::INFINITY, f64::from));
    }
    let due = counts.longest_due.map_or(0.0, |due| due.as_secs_f64());
    metrics::gauge!("obsqra_jobs_longest_due_seconds", "kind" => kind.to_string()).set(due);
}
