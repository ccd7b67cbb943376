//! Anomalies, and since when they last.

use chrono::{DateTime, Utc};

use super::{HistoryRow, Ranges, RowBytes};
use crate::{Store, StoreError, Transaction};

/// What a rule says of a market from a height on.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct AnomalyRow {
    pub chain_id: String,
    pub protocol: String,
    /// Empty where the anomaly is about the protocol.
    pub market: String,
    pub rule: String,
    pub ranges: Ranges,
    /// The log entry that states it.
    pub entry_seq: i64,
    pub block_hash: Vec<u8>,
    pub occurred_at: DateTime<Utc>,
    pub severity: String,
    pub phase: String,
    pub detail: String,
}

impl HistoryRow for AnomalyRow {
    type Key = (String, String, String, String);

    const READ_MODEL: &'static str = "anomaly";

    fn key(&self) -> Self::Key {
        (self.chain_id.clone(), self.protocol.clone(), self.market.clone(), self.rule.clone())
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).text(&self.protocol).text(&self.market).text(&self.rule);
        bytes.put(&self.block_hash).int(self.occurred_at.timestamp());
        bytes.text(&self.severity).text(&self.phase).text(&self.detail);
    }

    fn log_columns(&self, bytes: &mut RowBytes) {
        bytes.int(self.entry_seq);
    }
}

struct Found {
    chain_id: String,
    protocol: String,
    market: String,
    rule: String,
    from_block: i64,
    to_block: i64,
    from_seq: i64,
    to_seq: i64,
    entry_seq: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    severity: String,
    phase: String,
    detail: String,
}

impl From<Found> for AnomalyRow {
    fn from(found: Found) -> Self {
        Self {
            chain_id: found.chain_id,
            protocol: found.protocol,
            market: found.market,
            rule: found.rule,
            ranges: Ranges {
                from_block: found.from_block,
                to_block: found.to_block,
                from_seq: found.from_seq,
                to_seq: found.to_seq,
            },
            entry_seq: found.entry_seq,
            block_hash: found.block_hash,
            occurred_at: found.occurred_at,
            severity: found.severity,
            phase: found.phase,
            detail: found.detail,
        }
    }
}

/// Rows open in both ranges: what each rule says of each market now.
///
/// # Errors
/// When the database fails.
pub async fn open(store: &Store, chain: &str) -> Result<Vec<AnomalyRow>, StoreError> {
    let found = sqlx::query_as!(
        Found,
        r#"
        SELECT chain_id, protocol, market, rule, from_block, to_block, from_seq, to_seq, entry_seq,
               block_hash, occurred_at, severity, phase, detail
        FROM anomaly
        WHERE chain_id = $1
          AND to_block = 9223372036854775807 AND to_seq = 9223372036854775807
        "#,
        chain,
    )
    .fetch_all(&store.pool)
    .await?;
    Ok(found.into_iter().map(AnomalyRow::from).collect())
}

/// Standing rows that begin or end at a height from `lowest` to `highest`: what reverts of the blocks there
/// undo.
///
/// # Errors
/// When the database fails.
pub async fn touching(
    tx: &mut Transaction,
    chain: &str,
    (lowest, highest): (i64, i64),
) -> Result<Vec<AnomalyRow>, StoreError> {
    let found = sqlx::query_as!(
        Found,
        r#"
        SELECT chain_id, protocol, market, rule, from_block, to_block, from_seq, to_seq, entry_seq,
               block_hash, occurred_at, severity, phase, detail
        FROM anomaly
        WHERE chain_id = $1 AND to_seq = 9223372036854775807
          AND (
              from_block BETWEEN $2 AND $3
              OR (to_block BETWEEN $2 AND $3 AND to_block <> 9223372036854775807)
          )
        "#,
        chain,
        lowest,
        highest,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found.into_iter().map(AnomalyRow::from).collect())
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[AnomalyRow]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO anomaly (
            chain_id, protocol, market, rule, from_block, to_block, from_seq, to_seq, entry_seq,
            block_hash, occurred_at, severity, phase, detail
        )
        SELECT * FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bytea[], $11::timestamptz[],
            $12::text[], $13::text[], $14::text[]
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.market.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.rule.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.entry_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.block_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.severity.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.phase.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.detail.clone()).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closes rows, each given with the position that replaces it.
///
/// # Errors
/// When the database fails.
pub async fn close(tx: &mut Transaction, rows: &[(AnomalyRow, i64)]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE anomaly AS a SET to_seq = u.to_seq
        FROM unnest(
            $1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[],
            $7::bigint[]
        ) AS u (chain_id, protocol, market, rule, from_block, from_seq, to_seq)
        WHERE a.chain_id = u.chain_id AND a.protocol = u.protocol AND a.market = u.market
          AND a.rule = u.rule AND a.from_block = u.from_block AND a.from_seq = u.from_seq
        "#,
        &rows.iter().map(|(row, _)| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.market.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.rule.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|(_, to_seq)| *to_seq).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
