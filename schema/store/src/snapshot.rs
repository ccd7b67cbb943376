//! Snapshots of folds, so that a restart or a deep revert does not read the log from its start.

use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Partition, Seq};

use crate::{Store, StoreError, Transaction, row};

/// A fold's state after a block.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The block.
    pub number: BlockNumber,
    /// Its branch.
    pub epoch: BranchEpoch,
    /// The last position covered.
    pub seq: Seq,
    /// The state, in the fold's own encoding.
    pub state: Vec<u8>,
}

/// How many snapshots a partition keeps.
pub const KEPT: i64 = 8;

/// The newest snapshot of the given version whose block was canonical as of a position, and at or below
/// a height that was canonical then.
///
/// # Errors
/// When the database fails.
pub async fn newest(
    store: &Store,
    chain: &ChainId,
    partition: &Partition,
    version: &str,
    (at_most, as_of): (BlockNumber, Seq),
) -> Result<Option<Snapshot>, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT s.block_number, s.branch_epoch, s.seq, s.state
        FROM fold_snapshot s
        WHERE s.partition = $1
          AND s.version = $2
          AND s.block_number <= $3
          AND s.branch_epoch = (
              SELECT max(k.branch_epoch) FROM block_key k
              WHERE k.chain_id = $4 AND k.block_number = s.block_number AND k.seq <= $5
          )
        ORDER BY s.block_number DESC
        LIMIT 1
        "#,
        partition.to_string(),
        version,
        row::to_i64(at_most.0, "block number")?,
        chain.as_str(),
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_optional(&store.pool)
    .await?;
    found
        .map(|found| {
            Ok(Snapshot {
                number: row::number(found.block_number)?,
                epoch: row::epoch(found.branch_epoch)?,
                seq: row::seq(found.seq)?,
                state: found.state,
            })
        })
        .transpose()
}

/// Keeps a snapshot and drops the oldest beyond [`KEPT`].
///
/// # Errors
/// When the database fails.
pub async fn save(
    tx: &mut Transaction,
    partition: &Partition,
    version: &str,
    snapshot: &Snapshot,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO fold_snapshot (partition, block_number, branch_epoch, seq, version, state)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (partition, block_number, branch_epoch) DO UPDATE
        SET seq = excluded.seq, version = excluded.version, state = excluded.state
        "#,
        partition.to_string(),
        row::to_i64(snapshot.number.0, "block number")?,
        row::to_i32(snapshot.epoch.0, "branch epoch")?,
        row::to_i64(snapshot.seq.0, "seq")?,
        version,
        snapshot.state,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        r#"
        DELETE FROM fold_snapshot
        WHERE partition = $1 AND (block_number, branch_epoch) NOT IN (
            SELECT block_number, branch_epoch FROM fold_snapshot
            WHERE partition = $1
            ORDER BY seq DESC
            LIMIT $2
        )
        "#,
        partition.to_string(),
        KEPT,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
