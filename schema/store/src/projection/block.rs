//! Canonical blocks.

use chrono::{DateTime, Utc};

use super::{HistoryRow, OPEN, Ranges, RowBytes};
use crate::{StoreError, Transaction};

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

/// Closes the standing row at a height because its block was reverted, and returns it as it was.
///
/// # Errors
/// When the database fails.
pub async fn close_at(
    tx: &mut Transaction,
    chain: &str,
    number: i64,
    to_seq: i64,
) -> Result<Vec<BlockRow>, StoreError> {
    let closed = sqlx::query!(
        r#"
        UPDATE block SET to_seq = $3
        WHERE chain_id = $1 AND from_block = $2 AND to_seq = 9223372036854775807
        RETURNING to_block, from_seq, branch_epoch, block_hash, parent_hash, occurred_at, event_count
        "#,
        chain,
        number,
        to_seq,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(closed
        .into_iter()
        .map(|row| BlockRow {
            chain_id: chain.to_owned(),
            ranges: Ranges {
                from_block: number,
                to_block: row.to_block,
                from_seq: row.from_seq,
                to_seq: OPEN,
            },
            branch_epoch: row.branch_epoch,
            block_hash: row.block_hash,
            parent_hash: row.parent_hash,
            occurred_at: row.occurred_at,
            event_count: row.event_count,
        })
        .collect())
}
