//! Watched events, decoded where a layout fits.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use obsqra_types::{BlockNumber, EventIndex, Seq};
use serde_json::Value;

use super::{HistoryRow, OPEN, Ranges, RowBytes};
use crate::{StoreError, Transaction, row};

const FELT_BYTES: usize = 32;

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

/// A row as one value of the database: one parameter takes all rows, and felts arrive as arrays. The members are
/// those of the type, in their order.
#[derive(sqlx::Type)]
#[sqlx(type_name = "event_record")]
struct Record {
    chain_id: String,
    from_block: i64,
    to_block: i64,
    from_seq: i64,
    to_seq: i64,
    branch_epoch: i32,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    protocol: String,
    name: Option<String>,
    contract: Vec<u8>,
    transaction_hash: Vec<u8>,
    event_index: i32,
    keys: Vec<Vec<u8>>,
    data: Vec<Vec<u8>>,
    decoded: Option<Value>,
}

impl From<EventRow> for Record {
    fn from(row: EventRow) -> Self {
        let felts = |bytes: &[u8]| bytes.chunks(FELT_BYTES).map(<[u8]>::to_vec).collect();
        Self {
            keys: felts(&row.keys),
            data: felts(&row.data),
            chain_id: row.chain_id,
            from_block: row.ranges.from_block,
            to_block: row.ranges.to_block,
            from_seq: row.ranges.from_seq,
            to_seq: row.ranges.to_seq,
            branch_epoch: row.branch_epoch,
            block_hash: row.block_hash,
            occurred_at: row.occurred_at,
            protocol: row.protocol,
            name: row.name,
            contract: row.contract,
            transaction_hash: row.transaction_hash,
            event_index: row.event_index,
            decoded: row.decoded,
        }
    }
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: Vec<EventRow>) -> Result<(), StoreError> {
    let records: Vec<Record> = rows.into_iter().map(Record::from).collect();
    sqlx::query!(
        r#"
        INSERT INTO event (
            chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash,
            occurred_at, protocol, name, contract, transaction_hash, event_index,
            keys, data, decoded
        )
        SELECT (r.one).* FROM (SELECT unnest($1::event_record[]) AS one) AS r
        "#,
        records as _,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Which of some positions there are rows of, each with the height and place in its block where it stands; `None`
/// where it is closed.
///
/// # Errors
/// When the database fails.
pub async fn known(
    tx: &mut Transaction,
    seqs: &[i64],
) -> Result<BTreeMap<Seq, Option<(BlockNumber, EventIndex)>>, StoreError> {
    let found = sqlx::query!(
        "SELECT from_seq, from_block, event_index, to_seq FROM event WHERE from_seq = ANY($1)",
        seqs,
    )
    .fetch_all(&mut **tx)
    .await?;
    found
        .into_iter()
        .map(|one| {
            let place = (row::number(one.from_block)?, EventIndex(row::count(one.event_index)?));
            Ok((row::seq(one.from_seq)?, (one.to_seq == OPEN).then_some(place)))
        })
        .collect()
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
