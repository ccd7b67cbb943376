//! What each policy allocates, and since when.

use chrono::{DateTime, Utc};

use super::{HistoryRow, Ranges, RowBytes};
use crate::{Store, StoreError, Transaction};

/// A policy's allocation from a height on; without one, why.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct AllocationSnapshotRow {
    pub chain_id: String,
    pub policy: String,
    pub ranges: Ranges,
    /// The log entry that states it.
    pub entry_seq: i64,
    pub block_hash: Vec<u8>,
    pub occurred_at: DateTime<Utc>,
    /// Name and version of the policy file, as adopted.
    pub version: String,
    /// The rule, such as `allocation-v1`.
    pub rule: String,
    /// Protocols with their shares, bps; `None` where the policy is infeasible.
    pub shares: Option<Vec<(String, i32)>>,
    /// Why there is no allocation.
    pub failure: Option<String>,
}

impl HistoryRow for AllocationSnapshotRow {
    type Key = (String, String);

    const READ_MODEL: &'static str = "allocation_snapshot";

    fn key(&self) -> Self::Key {
        (self.chain_id.clone(), self.policy.clone())
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).text(&self.policy).put(&self.block_hash);
        bytes.int(self.occurred_at.timestamp()).text(&self.version).text(&self.rule);
        bytes.int(self.shares.as_ref().map_or(-1, |shares| shares.len().try_into().unwrap_or(-1)));
        for (protocol, bps) in self.shares.iter().flatten() {
            bytes.text(protocol).int((*bps).into());
        }
        bytes.option(self.failure.as_deref());
    }

    fn log_columns(&self, bytes: &mut RowBytes) {
        bytes.int(self.entry_seq);
    }
}

struct Found {
    chain_id: String,
    policy: String,
    from_block: i64,
    to_block: i64,
    from_seq: i64,
    to_seq: i64,
    entry_seq: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    version: String,
    rule: String,
    protocols: Option<Vec<String>>,
    shares_bps: Option<Vec<i32>>,
    failure: Option<String>,
}

impl From<Found> for AllocationSnapshotRow {
    fn from(found: Found) -> Self {
        Self {
            chain_id: found.chain_id,
            policy: found.policy,
            ranges: Ranges {
                from_block: found.from_block,
                to_block: found.to_block,
                from_seq: found.from_seq,
                to_seq: found.to_seq,
            },
            entry_seq: found.entry_seq,
            block_hash: found.block_hash,
            occurred_at: found.occurred_at,
            version: found.version,
            rule: found.rule,
            shares: found
                .protocols
                .zip(found.shares_bps)
                .map(|(protocols, shares)| protocols.into_iter().zip(shares).collect()),
            failure: found.failure,
        }
    }
}

/// Rows open in both ranges: what each policy allocates now.
///
/// # Errors
/// When the database fails.
pub async fn open(store: &Store, chain: &str) -> Result<Vec<AllocationSnapshotRow>, StoreError> {
    let found = sqlx::query_as!(
        Found,
        r#"
        SELECT chain_id, policy, from_block, to_block, from_seq, to_seq, entry_seq, block_hash,
               occurred_at, version, rule, protocols, shares_bps, failure
        FROM allocation_snapshot
        WHERE chain_id = $1
          AND to_block = 9223372036854775807 AND to_seq = 9223372036854775807
        "#,
        chain,
    )
    .fetch_all(&store.pool)
    .await?;
    Ok(found.into_iter().map(AllocationSnapshotRow::from).collect())
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
) -> Result<Vec<AllocationSnapshotRow>, StoreError> {
    let found = sqlx::query_as!(
        Found,
        r#"
        SELECT chain_id, policy, from_block, to_block, from_seq, to_seq, entry_seq, block_hash,
               occurred_at, version, rule, protocols, shares_bps, failure
        FROM allocation_snapshot
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
    Ok(found.into_iter().map(AllocationSnapshotRow::from).collect())
}

/// Inserts rows. Lists go as text: `unnest` would take lists of lists apart.
///
/// # Errors
/// When the database fails.
pub async fn insert(
    tx: &mut Transaction,
    rows: &[AllocationSnapshotRow],
) -> Result<(), StoreError> {
    let lists = |part: fn(&(String, i32)) -> String| {
        let literal = |shares: &Vec<(String, i32)>| array_literal(shares.iter().map(part));
        rows.iter().map(|row| row.shares.as_ref().map(literal)).collect::<Vec<_>>()
    };
    sqlx::query!(
        r#"
        INSERT INTO allocation_snapshot (
            chain_id, policy, from_block, to_block, from_seq, to_seq, entry_seq, block_hash,
            occurred_at, version, rule, protocols, shares_bps, failure
        )
        SELECT u.chain_id, u.policy, u.from_block, u.to_block, u.from_seq, u.to_seq, u.entry_seq,
               u.block_hash, u.occurred_at, u.version, u.rule, u.protocols::text[],
               u.shares_bps::integer[], u.failure
        FROM unnest(
            $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bytea[], $9::timestamptz[], $10::text[], $11::text[], $12::text[],
            $13::text[], $14::text[]
        ) AS u (
            chain_id, policy, from_block, to_block, from_seq, to_seq, entry_seq, block_hash,
            occurred_at, version, rule, protocols, shares_bps, failure
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.policy.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.entry_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.block_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.version.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.rule.clone()).collect::<Vec<_>>(),
        &lists(|(protocol, _)| protocol.clone()) as &[Option<String>],
        &lists(|(_, bps)| bps.to_string()) as &[Option<String>],
        &rows.iter().map(|row| row.failure.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A list as the database spells it. Protocol ids and numbers need no quotes.
fn array_literal(list: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", list.collect::<Vec<_>>().join(","))
}

/// Closes rows, each given with the position that replaces it.
///
/// # Errors
/// When the database fails.
pub async fn close(
    tx: &mut Transaction,
    rows: &[(AllocationSnapshotRow, i64)],
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE allocation_snapshot AS s SET to_seq = u.to_seq
        FROM unnest(
            $1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]
        ) AS u (chain_id, policy, from_block, from_seq, to_seq)
        WHERE s.chain_id = u.chain_id AND s.policy = u.policy
          AND s.from_block = u.from_block AND s.from_seq = u.from_seq
        "#,
        &rows.iter().map(|(row, _)| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.policy.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|(_, to_seq)| *to_seq).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
