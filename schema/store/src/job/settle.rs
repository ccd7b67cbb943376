//! How a job ends, or goes back in the queue. Whoever holds it states its token; operators do not.

use std::time::Duration;

use obsqra_types::{JobId, JobToken};

use super::row::{apply, delta};
use super::step::{JobEvent, JobState};
use crate::notify::{Signal, notify};
use crate::{Store, StoreError, Transaction};

/// Most ended jobs deleted in one statement.
pub const MAX_PRUNED: u32 = 1_000;

/// A job and its holder's token.
pub type Ended = (JobId, JobToken);

/// Marks a job done, and holds its row until the transaction ends: the effect belongs into the same transaction,
/// after this. Whoever wants the row waits, or skips it.
///
/// # Errors
/// [`StoreError::JobLost`] when another process holds the job or it was taken back: the transaction is to be
/// dropped, and the effect with it.
pub async fn complete(tx: &mut Transaction, (id, token): Ended) -> Result<(), StoreError> {
    apply(tx, id, |_| JobEvent::Complete { token }).await?;
    Ok(())
}

/// Says that an attempt failed. Where the job stands then: queued again after a wait, dead after its last
/// attempt, or cancelled when that was asked for.
///
/// # Errors
/// As [`complete`].
pub async fn fail(
    store: &Store,
    (id, token): Ended,
    wait: Duration,
    reason: &str,
) -> Result<JobState, StoreError> {
    let (wait, reason) = (delta(wait)?, reason.to_owned());
    let mut tx = store.begin().await?;
    let job = apply(&mut tx, id, |now| JobEvent::Fail { token, now, wait, reason }).await?;
    tx.commit().await?;
    Ok(job.state)
}

/// Sets a job aside for good, whatever attempts it has left.
///
/// # Errors
/// As [`complete`].
pub async fn reject(store: &Store, (id, token): Ended, reason: &str) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    apply(&mut tx, id, |_| JobEvent::Reject { token, reason: reason.to_owned() }).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives a job back undone: it may be taken at once, and its attempts stay counted. Where it stands then.
///
/// # Errors
/// As [`complete`].
pub async fn release(store: &Store, (id, token): Ended) -> Result<JobState, StoreError> {
    let mut tx = store.begin().await?;
    let job = apply(&mut tx, id, |now| JobEvent::Release { token, now }).await?;
    notify(&mut tx, Signal::Job).await?;
    tx.commit().await?;
    Ok(job.state)
}

/// Asks for a job not to be done: a queued one is cancelled, of a leased one its holder is told at its next
/// renewal. One that is done before that stays done. Where it stands now.
///
/// # Errors
/// [`StoreError::NoSuchJob`], or [`StoreError::JobRefused`] when it has ended.
pub async fn ask_cancel(store: &Store, id: JobId) -> Result<JobState, StoreError> {
    let mut tx = store.begin().await?;
    let job = apply(&mut tx, id, |_| JobEvent::AskCancel).await?;
    tx.commit().await?;
    Ok(job.state)
}

/// Queues a dead job again, with all its attempts.
///
/// # Errors
/// [`StoreError::NoSuchJob`], or [`StoreError::JobRefused`] when it is not dead.
pub async fn retry_dead(store: &Store, id: JobId) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    apply(&mut tx, id, |now| JobEvent::RetryDead { now }).await?;
    notify(&mut tx, Signal::Job).await?;
    tx.commit().await?;
    Ok(())
}

/// Gives a dead job up. Its row stays for a while, cancelled.
///
/// # Errors
/// As [`retry_dead`].
pub async fn drop_dead(store: &Store, id: JobId) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    apply(&mut tx, id, |_| JobEvent::DropDead).await?;
    tx.commit().await?;
    Ok(())
}

/// Deletes jobs that were done or cancelled so long ago, up to [`MAX_PRUNED`]; how many those were. Their keys are
/// forgotten with them: a producer that may say the same again later has a cursor of its own.
///
/// # Errors
/// When the database fails.
pub async fn prune(store: &Store, older_than: Duration) -> Result<u64, StoreError> {
    let pruned = sqlx::query!(
        r#"
        DELETE FROM job
        WHERE id IN (
            SELECT id FROM job
            WHERE state IN (2, 4) AND updated_at < statement_timestamp() - make_interval(secs => $1)
            ORDER BY updated_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        "#,
        older_than.as_secs_f64(),
        i64::from(MAX_PRUNED),
    )
    .execute(&store.pool)
    .await?;
    Ok(pruned.rows_affected())
}
