//! Checkpoints as the database holds them: inserted once, never changed.
//!
//! With each stands the frontier of the Merkle tree, so that the next root is made from the entries
//! since. A frontier is not signed; whoever reads one compares its root with the signed one.

use chrono::{DateTime, Utc};
use obsqra_events::merkle::Frontier;
use obsqra_events::{Checkpoint, KeyId, SignedCheckpoint};
use obsqra_types::{RecordedAt, Seq};

use crate::{Store, StoreError, Transaction, row};

/// A checkpoint with the tree it was made from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredCheckpoint {
    /// The checkpoint.
    pub signed: SignedCheckpoint,
    /// The tree up to it.
    pub frontier: Frontier,
}

impl StoredCheckpoint {
    /// The last entry covered.
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.signed.checkpoint.seq
    }
}

struct CheckpointRow {
    seq: i64,
    head: Vec<u8>,
    root: Vec<u8>,
    recorded_at: DateTime<Utc>,
    previous: Vec<u8>,
    key_id: Vec<u8>,
    signature: Vec<u8>,
    frontier: Vec<u8>,
}

impl TryFrom<CheckpointRow> for StoredCheckpoint {
    type Error = StoreError;

    fn try_from(found: CheckpointRow) -> Result<Self, StoreError> {
        let seq = row::seq(found.seq)?;
        let corrupt = |what: &str| StoreError::Corrupt {
            seq,
            problem: format!("the checkpoint's {what} cannot be read"),
        };
        let frontier = Frontier::decode(&found.frontier).ok_or_else(|| corrupt("frontier"))?;
        Ok(Self {
            signed: SignedCheckpoint {
                checkpoint: Checkpoint {
                    seq,
                    head: row::hash32(&found.head)?,
                    root: row::hash32(&found.root)?,
                    recorded_at: row::recorded_at(found.recorded_at),
                    previous: row::hash32(&found.previous)?,
                },
                key: KeyId(found.key_id.try_into().map_err(|_| corrupt("key"))?),
                signature: found.signature.try_into().map_err(|_| corrupt("signature"))?,
            },
            frontier,
        })
    }
}

/// Stores a checkpoint inside a unit of progress.
///
/// # Errors
/// When the database fails, or holds one at this position.
pub async fn insert(tx: &mut Transaction, stored: &StoredCheckpoint) -> Result<(), StoreError> {
    let SignedCheckpoint { checkpoint, key, signature } = &stored.signed;
    let RecordedAt(micros) = checkpoint.recorded_at;
    let recorded_at =
        DateTime::from_timestamp_micros(micros).ok_or(StoreError::Range("recorded_at"))?;
    sqlx::query!(
        r#"
        INSERT INTO checkpoint (
            seq, head, root, recorded_at, previous, key_id, signature, frontier
        ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        row::to_i64(checkpoint.seq.0, "seq")?,
        checkpoint.head.as_bytes().as_slice(),
        checkpoint.root.as_bytes().as_slice(),
        recorded_at,
        checkpoint.previous.as_bytes().as_slice(),
        key.0.as_slice(),
        signature.as_slice(),
        stored.frontier.encode(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The newest one at or before a position.
///
/// # Errors
/// When the database fails or the row cannot be read.
pub async fn at_or_before(store: &Store, seq: Seq) -> Result<Option<StoredCheckpoint>, StoreError> {
    sqlx::query_as!(
        CheckpointRow,
        r#"
        SELECT seq, head, root, recorded_at, previous, key_id, signature, frontier
        FROM checkpoint WHERE seq <= $1 ORDER BY seq DESC LIMIT 1
        "#,
        row::to_i64(seq.0, "seq")?,
    )
    .fetch_optional(&store.pool)
    .await?
    .map(StoredCheckpoint::try_from)
    .transpose()
}

/// The newest one.
///
/// # Errors
/// As [`at_or_before`].
pub async fn last(store: &Store) -> Result<Option<StoredCheckpoint>, StoreError> {
    at_or_before(store, Seq(i64::MAX.unsigned_abs())).await
}

/// Up to `limit` of them after a position and at or before another, in order.
///
/// # Errors
/// As [`at_or_before`].
pub async fn between(
    store: &Store,
    after: Seq,
    up_to: Seq,
    limit: u32,
) -> Result<Vec<StoredCheckpoint>, StoreError> {
    sqlx::query_as!(
        CheckpointRow,
        r#"
        SELECT seq, head, root, recorded_at, previous, key_id, signature, frontier
        FROM checkpoint WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3
        "#,
        row::to_i64(after.0, "seq")?,
        row::to_i64(up_to.0, "seq")?,
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(StoredCheckpoint::try_from)
    .collect()
}

/// Up to `limit` of them after a position, in order.
///
/// # Errors
/// As [`at_or_before`].
pub async fn after(
    store: &Store,
    after: Seq,
    limit: u32,
) -> Result<Vec<StoredCheckpoint>, StoreError> {
    between(store, after, Seq(i64::MAX.unsigned_abs()), limit).await
}

/// The oldest one that covers an entry.
///
/// # Errors
/// As [`at_or_before`].
pub async fn covering(store: &Store, seq: Seq) -> Result<Option<StoredCheckpoint>, StoreError> {
    Ok(after(store, Seq(seq.0.saturating_sub(1)), 1).await?.pop())
}
