//! Watched events, decoded where a layout fits.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{HistoryRow, OPEN, Ranges, RowBytes};
use crate::{StoreError, Transaction};

/// A watched event of a canonical block. `ranges.from_seq` is its log entry.
#[derive(Clone, PartialEq, Debug)]
#[allow(missing_docs)]
pub struct EventRow {
    pub chain_id: String,
    pub ranges: Ranges,
    pub branch_epoch: i32,
    pub block_hash: Vec<u8>,
    pub occurred_at: DateTime<Utc>,
    pub protocol: String,
    pub name: Option<String>,
    pub contract: Vec<u8>,
    pub transaction_hash: Vec<u8>,
    pub event_index: i32,
    /// Felts of 32 bytes, one after the other.
    pub keys: Vec<u8>,
    /// Felts of 32 bytes, one after the other.
    pub data: Vec<u8>,
    pub decoded: Option<Value>,
}

impl HistoryRow for EventRow {
    type Key = i64;

    const READ_MODEL: &'static str = "event";

    fn key(&self) -> i64 {
        self.ranges.from_seq
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    // `decoded` is left out: it is a function of the other columns, and JSON is never hashed.
    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).put(&self.block_hash).int(self.occurred_at.timestamp());
        bytes.text(&self.protocol).option(self.name.as_deref()).put(&self.contract);
        bytes.put(&self.transaction_hash).int(self.event_index.into());
        bytes.put(&self.keys).put(&self.data);
    }

    fn log_columns(&self, bytes: &mut RowBytes) {
        bytes.int(self.branch_epoch.into());
    }
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[EventRow]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO event (
            chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash,
            occurred_at, protocol, name, contract, transaction_hash, event_index,
            keys, data, decoded
        )
        SELECT u.chain_id, u.from_block, u.to_block, u.from_seq, u.to_seq, u.branch_epoch,
               u.block_hash, u.occurred_at, u.protocol, u.name, u.contract, u.transaction_hash,
               u.event_index,
               ARRAY(SELECT substring(u.keys FROM i * 32 + 1 FOR 32)
                     FROM generate_series(0, length(u.keys) / 32 - 1) AS i ORDER BY i),
               ARRAY(SELECT substring(u.data FROM i * 32 + 1 FOR 32)
                     FROM generate_series(0, length(u.data) / 32 - 1) AS i ORDER BY i),
               u.decoded
        FROM unnest(
            $1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[],
            $7::bytea[], $8::timestamptz[], $9::text[], $10::text[], $11::bytea[], $12::bytea[],
            $13::integer[], $14::bytea[], $15::bytea[], $16::jsonb[]
        ) AS u (
            chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash,
            occurred_at, protocol, name, contract, transaction_hash, event_index,
            keys, data, decoded
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.branch_epoch).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.block_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.name.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|row| row.contract.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.transaction_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event_index).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.keys.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.data.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.decoded.clone()).collect::<Vec<_>>() as &[Option<Value>],
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
) -> Result<Vec<(EventRow, i64)>, StoreError> {
    let numbers: Vec<i64> = reverted.iter().map(|(number, _)| *number).collect();
    let seqs: Vec<i64> = reverted.iter().map(|(_, seq)| *seq).collect();
    // No join, whose plan would depend on statistics that a young table does not have: one range of the
    // index by height.
    let closed = sqlx::query!(
        r#"
        UPDATE event
        SET to_seq = ($3::bigint[])[array_position($2::bigint[], from_block)]
        WHERE chain_id = $1 AND from_block BETWEEN $4 AND $5 AND from_block = ANY($2)
          AND to_seq = 9223372036854775807
        RETURNING from_block, to_block, from_seq, to_seq, branch_epoch, block_hash,
                  occurred_at, protocol, name, contract, transaction_hash,
                  event_index, keys, data, decoded
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
            let row = EventRow {
                chain_id: chain.to_owned(),
                ranges,
                branch_epoch: closed.branch_epoch,
                block_hash: closed.block_hash,
                occurred_at: closed.occurred_at,
                protocol: closed.protocol,
                name: closed.name,
                contract: closed.contract,
                transaction_hash: closed.transaction_hash,
                event_index: closed.event_index,
                keys: closed.keys.concat(),
                data: closed.data.concat(),
                decoded: closed.decoded,
            };
            (row, closed.to_seq)
        })
        .collect())
}
