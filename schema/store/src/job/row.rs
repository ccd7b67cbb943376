//! A job's columns, read and written.

use chrono::{DateTime, TimeDelta, Utc};
use obsqra_types::{JobId, JobKind, JobToken};

use super::step::{Job, JobEvent, JobState, Refusal};
use crate::{StoreError, Transaction, row};

/// The columns that [`Job::step`] knows, and the time of the statement that read them.
pub(super) struct StateRow {
    pub(super) id: i64,
    pub(super) kind: String,
    pub(super) state: i16,
    pub(super) not_before: DateTime<Utc>,
    pub(super) attempts: i32,
    pub(super) max_attempts: i32,
    pub(super) token: i64,
    pub(super) lease_until: Option<DateTime<Utc>>,
    pub(super) cancel_requested: bool,
    pub(super) last_error: Option<String>,
    pub(super) now: DateTime<Utc>,
}

/// A locked row, as a job.
pub(super) struct Locked {
    pub(super) id: JobId,
    pub(super) kind: JobKind,
    pub(super) job: Job,
    pub(super) now: DateTime<Utc>,
}

impl TryFrom<StateRow> for Locked {
    type Error = StoreError;

    fn try_from(found: StateRow) -> Result<Self, StoreError> {
        let job = Job {
            state: state(found.state, found.not_before, found.lease_until)?,
            attempts: row::count(found.attempts)?,
            max_attempts: row::count(found.max_attempts)?,
            token: JobToken(found.token),
            cancel_requested: found.cancel_requested,
            last_error: found.last_error,
        };
        Ok(Self { id: JobId(found.id), kind: kind(found.kind)?, job, now: found.now })
    }
}

pub(super) fn kind(text: String) -> Result<JobKind, StoreError> {
    JobKind::new(text).map_err(|_| StoreError::Range("kind of job"))
}

pub(super) fn state(
    code: i16,
    not_before: DateTime<Utc>,
    lease_until: Option<DateTime<Utc>>,
) -> Result<JobState, StoreError> {
    match (code, lease_until) {
        (0, None) => Ok(JobState::Queued { not_before }),
        (1, Some(until)) => Ok(JobState::Leased { until }),
        (2, None) => Ok(JobState::Done),
        (3, None) => Ok(JobState::Dead),
        (4, None) => Ok(JobState::Cancelled),
        _ => Err(StoreError::Range("state of a job")),
    }
}

impl JobState {
    /// Its code in the table.
    pub(super) fn code(self) -> i16 {
        match self {
            Self::Queued { .. } => 0,
            Self::Leased { .. } => 1,
            Self::Done => 2,
            Self::Dead => 3,
            Self::Cancelled => 4,
        }
    }
}

/// A duration as the database's clock counts it.
pub(super) fn delta(duration: std::time::Duration) -> Result<TimeDelta, StoreError> {
    TimeDelta::from_std(duration).map_err(|_| StoreError::Range("duration"))
}

/// Locks a job's row; `None` where there is no such job.
pub(super) async fn lock(tx: &mut Transaction, id: JobId) -> Result<Option<Locked>, StoreError> {
    sqlx::query_as!(
        StateRow,
        r#"
        SELECT id, kind, state, not_before, attempts, max_attempts, token, lease_until,
               cancel_requested, last_error, clock_timestamp() AS "now!"
        FROM job WHERE id = $1
        FOR UPDATE
        "#,
        id.0,
    )
    .fetch_optional(&mut **tx)
    .await?
    .map(Locked::try_from)
    .transpose()
}

/// Stores a job that stays with its holder, if it has one.
pub(super) async fn write(tx: &mut Transaction, id: JobId, job: &Job) -> Result<(), StoreError> {
    let (not_before, lease_until) = match job.state {
        JobState::Queued { not_before } => (Some(not_before), None),
        JobState::Leased { until } => (None, Some(until)),
        JobState::Done | JobState::Dead | JobState::Cancelled => (None, None),
    };
    sqlx::query!(
        r#"
        UPDATE job
        SET state = $2::smallint,
            not_before = coalesce($3, not_before),
            attempts = $4,
            lease_until = $5,
            holder = CASE WHEN $2::smallint = 1 THEN holder END,
            cancel_requested = $6,
            last_error = $7,
            updated_at = clock_timestamp()
        WHERE id = $1
        "#,
        id.0,
        job.state.code(),
        not_before,
        row::to_i32(job.attempts, "attempts")?,
        lease_until,
        job.cancel_requested,
        job.last_error,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Locks a job, has an event happen to it, and stores what comes out.
pub(super) async fn apply(
    tx: &mut Transaction,
    id: JobId,
    event: impl FnOnce(DateTime<Utc>) -> JobEvent,
) -> Result<Job, StoreError> {
    let Some(Locked { job, now, .. }) = lock(tx, id).await? else {
        return Err(StoreError::NoSuchJob(id));
    };
    let state = job.state;
    let job = job.step(event(now)).map_err(|why| match why {
        Refusal::Stale => StoreError::JobLost(id),
        Refusal::NotDue | Refusal::WrongState => StoreError::JobRefused { id, state: state.name() },
    })?;
    write(tx, id, &job).await?;
    Ok(job)
}
