//! Reports of finished days: a job a day, that any process may do.
//!
//! The role of this module only says when a day is finished and everything about it is in the read models; it
//! enqueues the day in the transaction that moves its cursor. The handler reads the models as known at the position
//! that the job names, so that it writes the same whenever it runs.

use std::time::Duration;

use obsqra_events::Kind;
use obsqra_store::daily_report::{self, FinishedDay, PAYLOAD_VERSION};
use obsqra_store::job::{self, Backoff, LeasedJob, NewJob};
use obsqra_store::projection::state;
use obsqra_store::{LeaseKeeper, Store, StoreError, cursor, lease, log};
use obsqra_types::{ChainId, InvalidJobKind, JobKind, Partition, ProtocolId, Seq};
use tokio_util::sync::CancellationToken;

use crate::runtime::jobs::{Handler, Outcome, Rules};
use crate::runtime::{Progress, Role, WakesOn};
use crate::{WorkError, adopted};

/// The kind of these jobs.
const KIND: &str = "report_day";
/// Most days that wait for a report or are being reported.
const MAX_OPEN: u32 = 64;
/// Attempts at a day. The last ones are an hour apart: read models that are made anew are there by then.
const MAX_ATTEMPTS: u32 = 12;
const RULES: Rules = Rules {
    backoff: Backoff { first: Duration::from_secs(2), cap: Duration::from_secs(3_600) },
    time_limit: Duration::from_secs(600),
};

/// Enqueues the finished days of a chain.
#[derive(Debug)]
pub struct EnqueueReports {
    store: Store,
    chain: ChainId,
    kind: JobKind,
    /// The days below this block are enqueued.
    cursor: Seq,
    /// The end of the log when everything about the day after the cursor was in it.
    known_at: Option<Seq>,
}

impl EnqueueReports {
    /// Prepares the role; nothing is read yet.
    ///
    /// # Errors
    /// Never: the kind's name is a constant.
    pub fn new(store: &Store, chain: &ChainId) -> Result<Self, InvalidJobKind> {
        let (store, chain, kind) = (store.clone(), chain.clone(), JobKind::new(KIND)?);
        Ok(Self { store, chain, kind, cursor: Seq::BEFORE_FIRST, known_at: None })
    }

    /// The position to read at; `None` while something about the day is not in the log or not in the read models.
    async fn known_at(&mut self, day: &FinishedDay) -> Result<Option<Seq>, WorkError> {
        let known_at = match self.known_at {
            Some(known_at) => known_at,
            None if !self.is_derived(day).await? => return Ok(None),
            None => log::head(&self.store).await?.seq,
        };
        self.known_at = Some(known_at);
        let projected = state::load(&self.store, &self.chain).await?.seq;
        Ok((projected >= known_at).then_some(known_at))
    }

    /// Whether every risk worker is past the day: then the facts about its blocks are in the log.
    async fn is_derived(&self, day: &FinishedDay) -> Result<bool, WorkError> {
        let Some((registry, _)) = adopted::registry(&self.store, &self.chain, day.next_seq).await?
        else {
            return Ok(false);
        };
        for protocol in registry.protocols().filter(|protocol| protocol.kind.has_markets()) {
            let worker = Partition::RiskWorker(self.chain.clone(), protocol.id.clone());
            if cursor::load(&self.store, &worker).await? < day.next_seq {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn enqueue(
        &mut self,
        lease: &LeaseKeeper,
        day: &FinishedDay,
        known_at: Seq,
    ) -> Result<Progress, WorkError> {
        let job = NewJob {
            key: format!("{}/{}", self.chain, day.day),
            payload_version: PAYLOAD_VERSION,
            payload: day.payload(known_at)?,
            priority: 0,
            max_attempts: MAX_ATTEMPTS,
            delay: Duration::ZERO,
            trace: None,
        };
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        cursor::advance(&mut tx, &self.partition(), day.next_seq).await?;
        match job::enqueue(&mut tx, &self.kind, MAX_OPEN, &[job]).await {
            // The day waits, and the cursor with it.
            Err(StoreError::JobsFull { .. }) => return Ok(Progress::Idle),
            enqueued => enqueued?,
        };
        tx.commit().await.map_err(StoreError::from)?;
        (self.cursor, self.known_at) = (day.next_seq, None);
        Ok(Progress::Worked)
    }
}

impl Role for EnqueueReports {
    fn partition(&self) -> Partition {
        Partition::Reporter(self.chain.clone())
    }

    fn wakes_on(&self) -> WakesOn {
        WakesOn::Facts(&[Kind::BlockFinalized])
    }

    async fn load(&mut self) -> Result<(), WorkError> {
        self.cursor = cursor::load(&self.store, &self.partition()).await?;
        self.known_at = None;
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        let day = daily_report::next_finished(&self.store, &self.chain, self.cursor).await?;
        let Some(day) = day else {
            return Ok(Progress::Idle);
        };
        match self.known_at(&day).await? {
            Some(known_at) => self.enqueue(lease, &day, known_at).await,
            None => Ok(Progress::Idle),
        }
    }
}

/// Reports days.
#[derive(Debug)]
pub struct ReportDay {
    store: Store,
    kind: JobKind,
}

impl ReportDay {
    /// A handler on a database.
    ///
    /// # Errors
    /// Never: the kind's name is a constant.
    pub fn new(store: &Store) -> Result<Self, InvalidJobKind> {
        Ok(Self { store: store.clone(), kind: JobKind::new(KIND)? })
    }

    async fn report(&self, day: &FinishedDay, known_at: Seq) -> Result<Outcome, WorkError> {
        let Some((registry, _)) = adopted::registry(&self.store, &day.chain, known_at).await?
        else {
            return Ok(Outcome::dead("no registry is adopted at the position of the report"));
        };
        let protocols: Vec<ProtocolId> =
            registry.protocols().map(|protocol| protocol.id.clone()).collect();
        let made = daily_report::make(&self.store, day, known_at, &protocols).await?;
        let reports = match made {
            Ok(reports) => reports,
            Err(at) => {
                let reason = format!("the read models are at {at}, the report needs {known_at}");
                return Ok(Outcome::retry(reason));
            }
        };
        let day = day.clone();
        Ok(Outcome::Done(Box::new(move |tx| {
            Box::pin(async move { daily_report::insert(tx, &day, known_at, &reports).await })
        })))
    }
}

impl Handler for ReportDay {
    fn kind(&self) -> JobKind {
        self.kind.clone()
    }

    fn rules(&self) -> Rules {
        RULES
    }

    async fn run(&self, job: &LeasedJob, _cancel: &CancellationToken) -> Outcome {
        if job.payload_version != PAYLOAD_VERSION {
            // A process of a newer program may know it.
            return Outcome::retry(format!("payload version {} is not known", job.payload_version));
        }
        let (day, known_at) = match FinishedDay::read(&job.payload) {
            Ok(read) => read,
            Err(error) => return Outcome::dead(error),
        };
        match self.report(&day, known_at).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_transient() => Outcome::retry(error),
            Err(error) => Outcome::dead(error),
        }
    }
}
