//! Taking jobs, holding them, and taking back those whose lease ran out.
//!
//! Rows that another transaction has locked are skipped, so that processes do not wait for one another.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use obsqra_types::{JobId, JobKind, JobToken, TraceParent};

use super::backoff::Backoff;
use super::row::{self as columns, Locked, StateRow};
use super::step::{Job, JobEvent, JobState};
use crate::{Store, StoreError, Transaction, row};

/// Most jobs taken, held or taken back in one statement.
pub const MAX_LEASED_AT_ONCE: usize = 256;

/// The kinds that a process knows, and how long each rests after a failure.
pub type Kinds = BTreeMap<JobKind, Backoff>;

/// A job that this process holds.
#[derive(Clone, PartialEq, Debug)]
pub struct LeasedJob {
    /// Its row.
    pub id: JobId,
    /// What it states with each write.
    pub token: JobToken,
    /// What sort of work it is.
    pub kind: JobKind,
    /// Names it within its kind.
    pub key: String,
    /// Layout of the payload.
    pub payload_version: u16,
    /// What its handler is told.
    pub payload: serde_json::Value,
    /// This attempt's number, from 1.
    pub attempt: u32,
    /// Attempts after which a failure is the last.
    pub max_attempts: u32,
    /// What enqueued it.
    pub trace: Option<TraceParent>,
}

/// What a renewal found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Renewal {
    /// The lease runs for its whole time again.
    Renewed,
    /// The same, and somebody wants the job not to be done.
    CancelAsked,
    /// Another process holds the job, or it was taken back.
    Lost,
}

/// A job whose lease ran out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lapse {
    /// The job.
    pub id: JobId,
    /// What sort of work it is.
    pub kind: JobKind,
    /// Where it stands now.
    pub state: JobState,
}

struct DueRow {
    id: i64,
    kind: String,
    key: String,
    payload_version: i16,
    payload: serde_json::Value,
    not_before: DateTime<Utc>,
    attempts: i32,
    max_attempts: i32,
    token: i64,
    cancel_requested: bool,
    last_error: Option<String>,
    traceparent: Option<String>,
    now: DateTime<Utc>,
}

/// Takes up to `limit` jobs of some kinds that are due: by priority, then by time, then by id. The attempt is
/// counted here, so that a job that kills its process runs out of attempts all the same.
///
/// # Errors
/// When the database fails; nothing is taken then.
pub async fn lease(
    store: &Store,
    kinds: &Kinds,
    (holder, ttl): (&str, Duration),
    limit: usize,
) -> Result<Vec<LeasedJob>, StoreError> {
    let names: Vec<String> = kinds.keys().map(|kind| kind.as_str().to_owned()).collect();
    let limit = row::to_i64(limit.min(MAX_LEASED_AT_ONCE) as u64, "limit")?;
    let mut tx = store.begin().await?;
    // One time for the whole statement: a time for each row could not use the index.
    let due = sqlx::query_as!(
        DueRow,
        r#"
        SELECT id, kind, key, payload_version, payload, not_before, attempts, max_attempts, token,
               cancel_requested, last_error, traceparent, statement_timestamp() AS "now!"
        FROM job
        WHERE state = 0 AND kind = ANY($1) AND not_before <= statement_timestamp()
        ORDER BY priority, not_before, id
        LIMIT $2
        FOR UPDATE SKIP LOCKED
        "#,
        &names,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    if due.is_empty() {
        return Ok(Vec::new());
    }
    let mut leased = Vec::with_capacity(due.len());
    let mut jobs = Vec::with_capacity(due.len());
    let ttl = columns::delta(ttl)?;
    for found in due {
        let (job, id) = (found.job()?, JobId(found.id));
        // A row whose time has not come is not among them.
        let Ok(job) = job.step(JobEvent::Lease { now: found.now, ttl }) else { continue };
        leased.push(found.leased(&job)?);
        jobs.push((id, job));
    }
    write_leases(&mut tx, holder, &jobs).await?;
    tx.commit().await?;
    Ok(leased)
}

impl DueRow {
    fn job(&self) -> Result<Job, StoreError> {
        Ok(Job {
            state: JobState::Queued { not_before: self.not_before },
            attempts: row::count(self.attempts)?,
            max_attempts: row::count(self.max_attempts)?,
            token: JobToken(self.token),
            cancel_requested: self.cancel_requested,
            last_error: self.last_error.clone(),
        })
    }

    fn leased(self, job: &Job) -> Result<LeasedJob, StoreError> {
        let version = u16::try_from(self.payload_version);
        Ok(LeasedJob {
            id: JobId(self.id),
            token: job.token,
            kind: columns::kind(self.kind)?,
            key: self.key,
            payload_version: version.map_err(|_| StoreError::Range("payload version"))?,
            payload: self.payload,
            attempt: job.attempts,
            max_attempts: job.max_attempts,
            trace: self.traceparent.as_deref().and_then(TraceParent::parse),
        })
    }
}

/// Writes leases of one holder, taken or renewed. Every job is leased.
async fn write_leases(
    tx: &mut Transaction,
    holder: &str,
    jobs: &[(JobId, Job)],
) -> Result<(), StoreError> {
    let ids: Vec<i64> = jobs.iter().map(|(id, _)| id.0).collect();
    let tokens: Vec<i64> = jobs.iter().map(|(_, job)| job.token.0).collect();
    let attempts: Vec<i32> = jobs
        .iter()
        .map(|(_, job)| row::to_i32(job.attempts, "attempts"))
        .collect::<Result<_, _>>()?;
    let until = |job: &Job| match job.state {
        JobState::Leased { until } => Ok(until),
        _ => Err(StoreError::Range("state of a job")),
    };
    let untils: Vec<DateTime<Utc>> =
        jobs.iter().map(|(_, job)| until(job)).collect::<Result<_, _>>()?;
    sqlx::query!(
        r#"
        UPDATE job
        SET state = 1, token = u.token, attempts = u.attempts, lease_until = u.until, holder = $5,
            updated_at = clock_timestamp()
        FROM unnest($1::bigint[], $2::bigint[], $3::integer[], $4::timestamptz[])
            AS u (id, token, attempts, until)
        WHERE job.id = u.id
        "#,
        &ids,
        &tokens,
        &attempts,
        &untils,
        holder,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Lets the leases of held jobs run for their whole time again. A job that is left out of the answer is locked at
/// this moment, by the transaction of its own effect most likely; the next renewal finds it.
///
/// # Errors
/// When the database fails.
pub async fn renew(
    store: &Store,
    held: &BTreeMap<JobId, JobToken>,
    (holder, ttl): (&str, Duration),
) -> Result<BTreeMap<JobId, Renewal>, StoreError> {
    let ids: Vec<i64> = held.keys().map(|id| id.0).collect();
    let ttl = columns::delta(ttl)?;
    let mut found_all = BTreeMap::new();
    for ids in ids.chunks(MAX_LEASED_AT_ONCE) {
        let mut tx = store.begin().await?;
        let found = sqlx::query_as!(
            StateRow,
            r#"
            SELECT id, kind, state, not_before, attempts, max_attempts, token, lease_until,
                   cancel_requested, last_error, clock_timestamp() AS "now!"
            FROM job WHERE id = ANY($1)
            ORDER BY id
            FOR UPDATE SKIP LOCKED
            "#,
            ids,
        )
        .fetch_all(&mut *tx)
        .await?;
        let mut renewed = Vec::new();
        for found in found {
            let Locked { id, job, now, .. } = Locked::try_from(found)?;
            let Some(token) = held.get(&id).copied() else { continue };
            let Ok(job) = job.step(JobEvent::Renew { token, now, ttl }) else {
                found_all.insert(id, Renewal::Lost);
                continue;
            };
            let renewal =
                if job.cancel_requested { Renewal::CancelAsked } else { Renewal::Renewed };
            found_all.insert(id, renewal);
            renewed.push((id, job));
        }
        write_leases(&mut tx, holder, &renewed).await?;
        tx.commit().await?;
    }
    Ok(found_all)
}

/// Takes back jobs of some kinds whose lease ran out, up to [`MAX_LEASED_AT_ONCE`]: they are queued again after a
/// wait, or dead after their last attempt. `random` is asked once a job.
///
/// # Errors
/// When the database fails; nothing is taken back then.
pub async fn take_back(
    store: &Store,
    kinds: &Kinds,
    mut random: impl FnMut() -> u64,
) -> Result<Vec<Lapse>, StoreError> {
    let names: Vec<String> = kinds.keys().map(|kind| kind.as_str().to_owned()).collect();
    let limit = row::to_i64(MAX_LEASED_AT_ONCE as u64, "limit")?;
    let mut tx = store.begin().await?;
    let found = sqlx::query_as!(
        StateRow,
        r#"
        SELECT id, kind, state, not_before, attempts, max_attempts, token, lease_until,
               cancel_requested, last_error, statement_timestamp() AS "now!"
        FROM job
        WHERE state = 1 AND kind = ANY($1) AND lease_until <= statement_timestamp()
        ORDER BY lease_until
        LIMIT $2
        FOR UPDATE SKIP LOCKED
        "#,
        &names,
        limit,
    )
    .fetch_all(&mut *tx)
    .await?;
    let mut lapses = Vec::new();
    for found in found {
        let Locked { id, kind, job, now } = Locked::try_from(found)?;
        let Some(backoff) = kinds.get(&kind) else { continue };
        let wait = columns::delta(backoff.wait(job.attempts, random()))?;
        // A row that was renewed meanwhile is not among them.
        let Ok(job) = job.step(JobEvent::Lapse { now, wait }) else { continue };
        columns::write(&mut tx, id, &job).await?;
        lapses.push(Lapse { id, kind, state: job.state });
    }
    tx.commit().await?;
    Ok(lapses)
}

/// How long until a job of some kinds is due or its lease runs out; zero when one is already. `None` when there is
/// neither.
///
/// # Errors
/// When the database fails.
pub async fn next_due(store: &Store, kinds: &Kinds) -> Result<Option<Duration>, StoreError> {
    let names: Vec<String> = kinds.keys().map(|kind| kind.as_str().to_owned()).collect();
    let millis = sqlx::query_scalar!(
        r#"
        SELECT ceil(extract(epoch FROM min(d.due) - clock_timestamp()) * 1000)::bigint
        FROM (
            SELECT min(not_before) AS due FROM job WHERE state = 0 AND kind = ANY($1)
            UNION ALL
            SELECT min(lease_until) FROM job WHERE state = 1 AND kind = ANY($1)
        ) AS d
        "#,
        &names,
    )
    .fetch_one(&store.pool)
    .await?;
    Ok(millis.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0))))
}
