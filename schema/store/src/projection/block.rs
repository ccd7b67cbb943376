//! Canonical blocks.

use chrono::{DateTime, Utc};
use obsqra_types::{BlockHash, BlockNumber, ChainId};

use super::{HistoryRow, OPEN, Ranges, RowBytes};
use crate::{Store, StoreError, Transaction, row};

/// A block of the canonical chain. Its height is `ranges.from_block`.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct BlockRow {
    pub chain_id: String,
    pub ranges: Ranges,
    pub branch_epoch: i32,
    pub block_hash: Vec<u8>,
    pub parent_hash: Vec<u8>,
    pub occurred_at: DateTime<Utc>,
    pub event_count: i32,
}

impl HistoryRow for BlockRow {
    type Key = (String, i64);

    const READ_MODEL: &'static str = "block";

    fn key(&self) -> Self::Key {
        (self.chain_id.clone(), self.ranges.from_block)
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).put(&self.block_hash).put(&self.parent_hash);
        bytes.int(self.occurred_at.timestamp()).int(self.event_count.into());
    }

    fn log_columns(&self, bytes: &mut RowBytes) {
        bytes.int(self.branch_epoch.into());
    }
}

/// The blocks that stand from a height on, lowest first: one a height, where the read models are
/// consistent.
///
/// # Errors
/// When the database fails.
pub async fn standing_from(
    store: &Store,
    chain: &ChainId,
    from: BlockNumber,
) -> Result<Vec<(BlockNumber, BlockHash)>, StoreError> {
    sqlx::query!(
        r#"
        SELECT from_block, block_hash FROM block
        WHERE chain_id = $1 AND from_block >= $2 AND to_seq = 9223372036854775807
        ORDER BY from_block
        "#,
        chain.as_str(),
        row::to_i64(from.0, "block number")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((row::number(found.from_block)?, row::block_hash(&found.block_hash)?)))
    .collect()
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[BlockRow]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO block (
            chain_id, from_block, to_block, from_seq, to_seq,
            branch_epoch, block_hash, parent_hash, occurred_at, event_count
        )
        SELECT * FROM unnest(
            $1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[],
            $6::integer[], $7::bytea[], $8::bytea[], $9::timestamptz[], $10::integer[]
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.branch_epoch).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.block_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.parent_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event_count).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closes the standing rows at some heights because their blocks were reverted, each height given with the
/// position that reverted it, and returns them as they were, with that position.
///
/// # Errors
/// When the database fails.
pub async fn close_reverted(
    tx: &mut Transaction,
    chain: &str,
    reverted: &[(i64, i64)],
) -> Result<Vec<(BlockRow, i64)>, StoreError> {
    let numbers: Vec<i64> = reverted.iter().map(|(number, _)| *number).collect();
    let seqs: Vec<i64> = reverted.iter().map(|(_, seq)| *seq).collect();
    // No join, whose plan would depend on statistics that a young table does not have: one range of the
    // index by height.
    let closed = sqlx::query!(
        r#"
        UPDATE block
        SET to_seq = ($3::bigint[])[array_position($2::bigint[], from_block)]
        WHERE chain_id = $1 AND from_block BETWEEN $4 AND $5 AND from_block = ANY($2)
          AND to_seq = 9223372036854775807
        RETURNING from_block, to_block, from_seq, to_seq, branch_epoch, block_hash,
                  parent_hash, occurred_at, event_count
        "#,
        chain,
        &numbers,
        &seqs,
        numbers.iter().min(),
        numbers.iter().max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(closed
        .into_iter()
        .map(|closed| {
            let ranges = Ranges {
                from_block: closed.from_block,
                to_block: closed.to_block,
                from_seq: closed.from_seq,
                to_seq: OPEN,
            };
            let row = BlockRow {
                chain_id: chain.to_owned(),
                ranges,
                branch_epoch: closed.branch_epoch,
                block_hash: closed.block_hash,
                parent_hash: closed.parent_hash,
                occurred_at: closed.occurred_at,
                event_count: closed.event_count,
            };
            (row, closed.to_seq)
        })
        .collect())
}
