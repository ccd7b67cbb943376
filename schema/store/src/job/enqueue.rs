//! Enqueueing, inside the caller's transaction: a job is there when what it follows from is committed, and
//! otherwise not at all.
//!
//! Producers of one kind take turns until they commit, so that its bound holds however many there are. A producer
//! of several kinds in one transaction takes them in the order of their names; all before `log_head`.

use std::collections::BTreeMap;

use obsqra_types::{JobId, JobKind, TraceParent};

use crate::notify::{Signal, notify};
use crate::{StoreError, Transaction, row};

/// Longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 200;
/// Largest payload, in bytes of JSON. What is larger stands elsewhere and is named in the payload.
pub const MAX_PAYLOAD_BYTES: usize = 64 * 1024;
/// Most jobs of one call.
const MAX_ENQUEUED_AT_ONCE: usize = 1_000;

/// A job to do.
#[derive(Clone, PartialEq, Debug)]
pub struct NewJob {
    /// Names it within its kind.
    pub key: String,
    /// Layout of the payload.
    pub payload_version: u16,
    /// What its handler is told.
    pub payload: serde_json::Value,
    /// Lower is taken first; 0 is usual.
    pub priority: i16,
    /// Attempts after which a failure is the last; at least 1.
    pub max_attempts: u32,
    /// How long from now it may not be taken.
    pub delay: std::time::Duration,
    /// What enqueues it.
    pub trace: Option<TraceParent>,
}

/// What became of a job that was to be enqueued.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Enqueued {
    /// It is new.
    New(JobId),
    /// It was enqueued before, whatever became of it since; nothing changed.
    Known(JobId),
}

/// Enqueues jobs of one kind of which at most `max_open` may be queued or leased. The answers stand in the order
/// of the jobs. Waiting processes are woken at the commit.
///
/// # Errors
/// [`StoreError::JobsFull`] when there is no room for those that are new; nothing was written then, and the
/// transaction can go on. [`StoreError::Range`] when a job is outside its bounds.
pub async fn enqueue(
    tx: &mut Transaction,
    kind: &JobKind,
    max_open: u32,
    jobs: &[NewJob],
) -> Result<Vec<Enqueued>, StoreError> {
    check(jobs)?;
    sqlx::query!(
        r#"SELECT pg_advisory_xact_lock(hashtextextended('obsqra job ' || $1::text, 0)) AS "locked: ()""#,
        kind.as_str(),
    )
    .execute(&mut **tx)
    .await?;
    let mut known = known(tx, kind, jobs).await?;
    let mut new: Vec<&NewJob> = Vec::new();
    for job in jobs {
        if !known.contains_key(&job.key) && !new.iter().any(|other| other.key == job.key) {
            new.push(job);
        }
    }
    let mut inserted = BTreeMap::new();
    if !new.is_empty() {
        check_room(tx, kind, max_open, new.len()).await?;
        inserted = insert(tx, kind, &new).await?;
        notify(tx, Signal::Job).await?;
    }
    jobs.iter()
        .map(|job| {
            if let Some(id) = known.get(&job.key) {
                return Ok(Enqueued::Known(*id));
            }
            let id = *inserted.get(&job.key).ok_or(StoreError::Range("inserted jobs"))?;
            known.insert(job.key.clone(), id);
            Ok(Enqueued::New(id))
        })
        .collect()
}

fn check(jobs: &[NewJob]) -> Result<(), StoreError> {
    if jobs.len() > MAX_ENQUEUED_AT_ONCE {
        return Err(StoreError::Range("number of jobs enqueued at once"));
    }
    for job in jobs {
        if job.key.is_empty() || job.key.len() > MAX_KEY_BYTES || job.key.contains('\0') {
            return Err(StoreError::Range("key of a job"));
        }
        if job.payload.to_string().len() > MAX_PAYLOAD_BYTES {
            return Err(StoreError::Range("payload of a job"));
        }
        if job.max_attempts == 0 {
            return Err(StoreError::Range("attempts of a job"));
        }
    }
    Ok(())
}

async fn known(
    tx: &mut Transaction,
    kind: &JobKind,
    jobs: &[NewJob],
) -> Result<BTreeMap<String, JobId>, StoreError> {
    let keys: Vec<String> = jobs.iter().map(|job| job.key.clone()).collect();
    let found = sqlx::query!(
        "SELECT id, key FROM job WHERE kind = $1 AND key = ANY($2)",
        kind.as_str(),
        &keys,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found.into_iter().map(|found| (found.key, JobId(found.id))).collect())
}

async fn check_room(
    tx: &mut Transaction,
    kind: &JobKind,
    max_open: u32,
    new: usize,
) -> Result<(), StoreError> {
    let open = sqlx::query_scalar!(
        r#"SELECT count(*) AS "open!" FROM job WHERE kind = $1 AND state IN (0, 1)"#,
        kind.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    let wanted = row::total(open)?.saturating_add(new as u64);
    if wanted > u64::from(max_open) {
        return Err(StoreError::JobsFull { kind: kind.clone(), max_open });
    }
    Ok(())
}

async fn insert(
    tx: &mut Transaction,
    kind: &JobKind,
    jobs: &[&NewJob],
) -> Result<BTreeMap<String, JobId>, StoreError> {
    let column = |of: fn(&NewJob) -> String| jobs.iter().map(|job| of(job)).collect::<Vec<_>>();
    let version = |job: &&NewJob| {
        i16::try_from(job.payload_version).map_err(|_| StoreError::Range("payload version"))
    };
    let versions: Vec<i16> = jobs.iter().map(version).collect::<Result<_, _>>()?;
    let payloads: Vec<serde_json::Value> = jobs.iter().map(|job| job.payload.clone()).collect();
    let priorities: Vec<i16> = jobs.iter().map(|job| job.priority).collect();
    let attempts: Vec<i32> = jobs
        .iter()
        .map(|job| row::to_i32(job.max_attempts, "attempts"))
        .collect::<Result<_, _>>()?;
    let delays: Vec<f64> = jobs.iter().map(|job| job.delay.as_secs_f64()).collect();
    let traces: Vec<Option<String>> =
        jobs.iter().map(|job| job.trace.as_ref().map(|trace| trace.as_str().to_owned())).collect();
    let inserted = sqlx::query!(
        r#"
        INSERT INTO job (
            kind, key, payload_version, payload, priority, state, not_before, max_attempts, traceparent
        )
        SELECT $1, u.key, u.version, u.payload, u.priority, 0,
               clock_timestamp() + make_interval(secs => u.delay), u.max_attempts, u.traceparent
        FROM unnest(
            $2::text[], $3::smallint[], $4::jsonb[], $5::smallint[], $6::float8[], $7::integer[],
            $8::text[]
        ) WITH ORDINALITY AS u (
            key, version, payload, priority, delay, max_attempts, traceparent, place
        )
        ORDER BY u.place
        RETURNING id, key
        "#,
        kind.as_str(),
        &column(|job| job.key.clone()),
        &versions,
        &payloads,
        &priorities,
        &delays,
        &attempts,
        &traces as &[Option<String>],
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(inserted.into_iter().map(|found| (found.key, JobId(found.id))).collect())
}
