//! Risk scores, and the reasons where there is none.

use chrono::{DateTime, Utc};

use super::{Absent, HistoryRow, Ranges, RowBytes};
use crate::{Store, StoreError, Transaction};

/// A protocol's score from a height on; without a score, why.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct RiskScoreRow {
    pub chain_id: String,
    pub protocol: String,
    pub ranges: Ranges,
    /// The log entry that states it.
    pub entry_seq: i64,
    pub block_hash: Vec<u8>,
    pub occurred_at: DateTime<Utc>,
    pub formula: String,
    pub score: Option<i16>,
    /// Utilization, volatility, liquidity, audit, age.
    pub components: Option<Vec<i32>>,
    /// Utilization bps, volatility bps, liquidity class, audit score, age in days.
    pub inputs: Option<Vec<i32>>,
    pub absent: Vec<Absent>,
}

impl HistoryRow for RiskScoreRow {
    type Key = (String, String);

    const READ_MODEL: &'static str = "risk_score";

    fn key(&self) -> Self::Key {
        (self.chain_id.clone(), self.protocol.clone())
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).text(&self.protocol).put(&self.block_hash);
        bytes.int(self.occurred_at.timestamp()).text(&self.formula);
        bytes.option(self.score.map(i16::to_be_bytes));
        for list in [&self.components, &self.inputs] {
            bytes.option(list.as_ref().map(|list| {
                list.iter().flat_map(|value| value.to_be_bytes()).collect::<Vec<u8>>()
            }));
        }
        Absent::put_all(&self.absent, bytes);
    }

    fn log_columns(&self, bytes: &mut RowBytes) {
        bytes.int(self.entry_seq);
    }
}

struct ScoreRow {
    chain_id: String,
    protocol: String,
    from_block: i64,
    to_block: i64,
    from_seq: i64,
    to_seq: i64,
    entry_seq: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    formula: String,
    score: Option<i16>,
    components: Option<Vec<i32>>,
    inputs: Option<Vec<i32>>,
    absent: serde_json::Value,
}

impl TryFrom<ScoreRow> for RiskScoreRow {
    type Error = StoreError;

    fn try_from(row: ScoreRow) -> Result<Self, StoreError> {
        Ok(Self {
            chain_id: row.chain_id,
            protocol: row.protocol,
            ranges: Ranges {
                from_block: row.from_block,
                to_block: row.to_block,
                from_seq: row.from_seq,
                to_seq: row.to_seq,
            },
            entry_seq: row.entry_seq,
            block_hash: row.block_hash,
            occurred_at: row.occurred_at,
            formula: row.formula,
            score: row.score,
            components: row.components,
            inputs: row.inputs,
            absent: serde_json::from_value(row.absent).map_err(|_| StoreError::Range("absent"))?,
        })
    }
}

/// Rows open in both ranges: what each protocol's score is now.
///
/// # Errors
/// When the database fails.
pub async fn open(store: &Store, chain: &str) -> Result<Vec<RiskScoreRow>, StoreError> {
    sqlx::query_as!(
        ScoreRow,
        r#"
        SELECT chain_id, protocol, from_block, to_block, from_seq, to_seq, entry_seq, block_hash,
               occurred_at, formula, score, components, inputs, absent
        FROM risk_score
        WHERE chain_id = $1
          AND to_block = 9223372036854775807 AND to_seq = 9223372036854775807
        "#,
        chain,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(RiskScoreRow::try_from)
    .collect()
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
) -> Result<Vec<RiskScoreRow>, StoreError> {
    sqlx::query_as!(
        ScoreRow,
        r#"
        SELECT chain_id, protocol, from_block, to_block, from_seq, to_seq, entry_seq, block_hash,
               occurred_at, formula, score, components, inputs, absent
        FROM risk_score
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
    .await?
    .into_iter()
    .map(RiskScoreRow::try_from)
    .collect()
}

/// Inserts rows. Lists of integers go as text: `unnest` would take lists of lists apart.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[RiskScoreRow]) -> Result<(), StoreError> {
    let absent: Vec<serde_json::Value> = rows
        .iter()
        .map(|row| serde_json::to_value(&row.absent))
        .collect::<Result<_, _>>()
        .map_err(|_| StoreError::Range("absent"))?;
    let lists = |list: fn(&RiskScoreRow) -> &Option<Vec<i32>>| {
        rows.iter().map(|row| list(row).as_deref().map(array_literal)).collect::<Vec<_>>()
    };
    sqlx::query!(
        r#"
        INSERT INTO risk_score (
            chain_id, protocol, from_block, to_block, from_seq, to_seq, entry_seq,
            block_hash, occurred_at, formula, score, components, inputs, absent
        )
        SELECT u.chain_id, u.protocol, u.from_block, u.to_block, u.from_seq, u.to_seq, u.entry_seq,
               u.block_hash, u.occurred_at, u.formula, u.score, u.components::integer[],
               u.inputs::integer[], u.absent
        FROM unnest(
            $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bytea[], $9::timestamptz[], $10::text[], $11::smallint[],
            $12::text[], $13::text[], $14::jsonb[]
        ) AS u (
            chain_id, protocol, from_block, to_block, from_seq, to_seq, entry_seq,
            block_hash, occurred_at, formula, score, components, inputs, absent
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.entry_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.block_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.formula.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.score).collect::<Vec<_>>() as &[Option<i16>],
        &lists(|row| &row.components) as &[Option<String>],
        &lists(|row| &row.inputs) as &[Option<String>],
        &absent,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A list as the database spells it: `{1,2,3}`.
fn array_literal(list: &[i32]) -> String {
    let numbers: Vec<String> = list.iter().map(i32::to_string).collect();
    format!("{{{}}}", numbers.join(","))
}

/// Closes rows, each given with the position that replaces it.
///
/// # Errors
/// When the database fails.
pub async fn close(tx: &mut Transaction, rows: &[(RiskScoreRow, i64)]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE risk_score AS r SET to_seq = u.to_seq
        FROM unnest(
            $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]
        ) AS u (chain_id, protocol, from_block, from_seq, to_seq)
        WHERE r.chain_id = u.chain_id AND r.protocol = u.protocol
          AND r.from_block = u.from_block AND r.from_seq = u.from_seq
        "#,
        &rows.iter().map(|(row, _)| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|(_, to_seq)| *to_seq).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
