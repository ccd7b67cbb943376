//! Looking at jobs: how many there are, and what one is about.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use obsqra_types::{JobId, JobKind, JobToken};

use super::row::{self as columns};
use super::step::JobState;
use crate::{Store, StoreError, row};

/// Most jobs of one list.
pub const MAX_LISTED: u32 = 1_000;

/// How many jobs of a kind stand where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Nobody holds them.
    pub queued: u64,
    /// A process holds them.
    pub leased: u64,
    /// Set aside.
    pub dead: u64,
    /// How long the queued one that is due longest has been so; `None` where none is.
    pub longest_due: Option<Duration>,
}

/// A job as it stands.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs, reason = "the columns, which the migration describes")]
pub struct JobRecord {
    pub id: JobId,
    pub kind: JobKind,
    pub key: String,
    pub payload_version: i16,
    pub payload: serde_json::Value,
    pub priority: i16,
    pub state: JobState,
    pub attempts: u32,
    pub max_attempts: u32,
    pub token: JobToken,
    pub holder: Option<String>,
    pub cancel_requested: bool,
    pub last_error: Option<String>,
    pub traceparent: Option<String>,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
}

/// Which jobs to list. What is `None` does not restrict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobFilter {
    /// Of this kind.
    pub kind: Option<JobKind>,
    /// In the state of this name, see [`JobState::NAMES`].
    pub state: Option<&'static str>,
    /// Enqueued before this one.
    pub before: Option<JobId>,
}

struct RecordRow {
    id: i64,
    kind: String,
    key: String,
    payload_version: i16,
    payload: serde_json::Value,
    priority: i16,
    state: i16,
    not_before: DateTime<Utc>,
    attempts: i32,
    max_attempts: i32,
    token: i64,
    holder: Option<String>,
    lease_until: Option<DateTime<Utc>>,
    cancel_requested: bool,
    last_error: Option<String>,
    traceparent: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

impl TryFrom<RecordRow> for JobRecord {
    type Error = StoreError;

    fn try_from(found: RecordRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: JobId(found.id),
            kind: columns::kind(found.kind)?,
            key: found.key,
            payload_version: found.payload_version,
            payload: found.payload,
            priority: found.priority,
            state: columns::state(found.state, found.not_before, found.lease_until)?,
            attempts: row::count(found.attempts)?,
            max_attempts: row::count(found.max_attempts)?,
            token: JobToken(found.token),
            holder: found.holder,
            cancel_requested: found.cancel_requested,
            last_error: found.last_error,
            traceparent: found.traceparent,
            created_at: found.created_at,
            updated_at: found.updated_at,
        })
    }
}

/// Jobs that are queued, leased or dead, by kind. A kind with none of them is left out.
///
/// # Errors
/// When the database fails.
pub async fn counts(store: &Store) -> Result<BTreeMap<JobKind, Counts>, StoreError> {
    sqlx::query!(
        r#"
        SELECT kind,
               count(*) FILTER (WHERE state = 0) AS "queued!",
               count(*) FILTER (WHERE state = 1) AS "leased!",
               count(*) FILTER (WHERE state = 3) AS "dead!",
               floor(extract(epoch FROM clock_timestamp() - min(not_before)
                   FILTER (WHERE state = 0 AND not_before <= statement_timestamp())))::bigint AS due
        FROM job WHERE state IN (0, 1, 3)
        GROUP BY kind
        ORDER BY kind
        "#,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| {
        let due = found.due.and_then(|seconds| u64::try_from(seconds).ok());
        let counts = Counts {
            queued: row::total(found.queued)?,
            leased: row::total(found.leased)?,
            dead: row::total(found.dead)?,
            longest_due: due.map(Duration::from_secs),
        };
        Ok((columns::kind(found.kind)?, counts))
    })
    .collect()
}

/// Up to `limit` jobs, at most [`MAX_LISTED`], newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(
    store: &Store,
    filter: &JobFilter,
    limit: u32,
) -> Result<Vec<JobRecord>, StoreError> {
    let code = filter.state.and_then(|name| {
        let place = JobState::NAMES.iter().position(|known| *known == name);
        place.and_then(|place| i16::try_from(place).ok())
    });
    sqlx::query_as!(
        RecordRow,
        r#"
        SELECT id, kind, key, payload_version, payload, priority, state, not_before, attempts,
               max_attempts, token, holder, lease_until, cancel_requested, last_error, traceparent,
               created_at, updated_at
        FROM job
        WHERE ($1::text IS NULL OR kind = $1)
          AND ($2::smallint IS NULL OR state = $2)
          AND ($3::bigint IS NULL OR id < $3)
        ORDER BY id DESC
        LIMIT $4
        "#,
        filter.kind.as_ref().map(JobKind::as_str),
        code,
        filter.before.map(|id| id.0),
        i64::from(limit.min(MAX_LISTED)),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(JobRecord::try_from)
    .collect()
}

/// One job; `None` where there is no such job.
///
/// # Errors
/// When the database fails.
pub async fn get(store: &Store, id: JobId) -> Result<Option<JobRecord>, StoreError> {
    sqlx::query_as!(
        RecordRow,
        r#"
        SELECT id, kind, key, payload_version, payload, priority, state, not_before, attempts,
               max_attempts, token, holder, lease_until, cancel_requested, last_error, traceparent,
               created_at, updated_at
        FROM job WHERE id = $1
        "#,
        id.0,
    )
    .fetch_optional(&store.pool)
    .await?
    .map(JobRecord::try_from)
    .transpose()
}
