//! Transfers to and from the chambers of privacy pools, summed up by size.

use obsqra_types::U512;

use super::{HistoryRow, Ranges, RowBytes};
use crate::{Store, StoreError, Transaction};

/// What went into a chamber and came out of it, of one token and one decade of amounts, up to a height.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct PrivacyPoolRow {
    pub chain_id: String,
    pub protocol: String,
    pub chamber: Vec<u8>,
    pub token: Vec<u8>,
    /// k of 10ᵏ ≤ amount < 10ᵏ⁺¹, in the token's smallest unit.
    pub bucket: i16,
    pub ranges: Ranges,
    /// Transfers to the chamber.
    pub deposits: i64,
    /// Transfers from the chamber.
    pub withdrawals: i64,
    /// Sum of the deposits, in the token's smallest unit.
    pub deposited: U512,
    /// Sum of the withdrawals, in the token's smallest unit.
    pub withdrawn: U512,
}

impl PrivacyPoolRow {
    /// Deposits less withdrawals, not below 0. An upper bound of the deposits among which a withdrawal of
    /// this size hides: who deposited more than once, or is known otherwise, makes it smaller.
    #[must_use]
    pub fn anonymity_set(&self) -> i64 {
        self.deposits.saturating_sub(self.withdrawals).max(0)
    }
}

impl HistoryRow for PrivacyPoolRow {
    type Key = (String, Vec<u8>, Vec<u8>, i16);

    const READ_MODEL: &'static str = "privacy_pool";

    fn key(&self) -> Self::Key {
        (self.chain_id.clone(), self.chamber.clone(), self.token.clone(), self.bucket)
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    // The anonymity set is left out: it is a function of the other columns.
    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).text(&self.protocol).put(&self.chamber).put(&self.token);
        bytes.int(self.bucket.into()).int(self.deposits).int(self.withdrawals);
        bytes.text(&self.deposited.to_string()).text(&self.withdrawn.to_string());
    }

    fn log_columns(&self, _bytes: &mut RowBytes) {}
}

struct PoolRow {
    chain_id: String,
    protocol: String,
    chamber: Vec<u8>,
    token: Vec<u8>,
    bucket: i16,
    from_block: i64,
    to_block: i64,
    from_seq: i64,
    to_seq: i64,
    deposits: i64,
    withdrawals: i64,
    deposited: String,
    withdrawn: String,
}

impl TryFrom<PoolRow> for PrivacyPoolRow {
    type Error = StoreError;

    fn try_from(row: PoolRow) -> Result<Self, StoreError> {
        Ok(Self {
            chain_id: row.chain_id,
            protocol: row.protocol,
            chamber: row.chamber,
            token: row.token,
            bucket: row.bucket,
            ranges: Ranges {
                from_block: row.from_block,
                to_block: row.to_block,
                from_seq: row.from_seq,
                to_seq: row.to_seq,
            },
            deposits: row.deposits,
            withdrawals: row.withdrawals,
            deposited: sum(&row.deposited)?,
            withdrawn: sum(&row.withdrawn)?,
        })
    }
}

fn sum(digits: &str) -> Result<U512, StoreError> {
    U512::from_str_radix(digits, 10).map_err(|_| StoreError::Range("sum of transfers"))
}

/// Rows open in both ranges: what has gone through each chamber so far.
///
/// # Errors
/// When the database fails.
pub async fn open(store: &Store, chain: &str) -> Result<Vec<PrivacyPoolRow>, StoreError> {
    sqlx::query_as!(
        PoolRow,
        r#"
        SELECT chain_id, protocol, chamber, token, bucket, from_block, to_block, from_seq, to_seq,
               deposits, withdrawals, deposited::text AS "deposited!",
               withdrawn::text AS "withdrawn!"
        FROM privacy_pool
        WHERE chain_id = $1
          AND to_block = 9223372036854775807 AND to_seq = 9223372036854775807
        "#,
        chain,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(PrivacyPoolRow::try_from)
    .collect()
}

/// The standing rows of one pool and decade that hold at a height or above it, lowest first.
///
/// # Errors
/// When the database fails.
pub async fn standing_from(
    tx: &mut Transaction,
    (chain, chamber, token, bucket): &<PrivacyPoolRow as HistoryRow>::Key,
    height: i64,
) -> Result<Vec<PrivacyPoolRow>, StoreError> {
    sqlx::query_as!(
        PoolRow,
        r#"
        SELECT chain_id, protocol, chamber, token, bucket, from_block, to_block, from_seq, to_seq,
               deposits, withdrawals, deposited::text AS "deposited!",
               withdrawn::text AS "withdrawn!"
        FROM privacy_pool
        WHERE chain_id = $1 AND chamber = $2 AND token = $3 AND bucket = $4
          AND to_block > $5 AND to_seq = 9223372036854775807
        ORDER BY from_block
        "#,
        chain,
        chamber,
        token,
        bucket,
        height,
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(PrivacyPoolRow::try_from)
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
) -> Result<Vec<PrivacyPoolRow>, StoreError> {
    sqlx::query_as!(
        PoolRow,
        r#"
        SELECT chain_id, protocol, chamber, token, bucket, from_block, to_block, from_seq, to_seq,
               deposits, withdrawals, deposited::text AS "deposited!",
               withdrawn::text AS "withdrawn!"
        FROM privacy_pool
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
    .map(PrivacyPoolRow::try_from)
    .collect()
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[PrivacyPoolRow]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO privacy_pool (
            chain_id, protocol, chamber, token, bucket, from_block, to_block, from_seq, to_seq,
            deposits, withdrawals, deposited, withdrawn, anonymity_set
        )
        SELECT u.chain_id, u.protocol, u.chamber, u.token, u.bucket, u.from_block, u.to_block,
               u.from_seq, u.to_seq, u.deposits, u.withdrawals, u.deposited::numeric,
               u.withdrawn::numeric, u.anonymity_set
        FROM unnest(
            $1::text[], $2::text[], $3::bytea[], $4::bytea[], $5::smallint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[],
            $13::text[], $14::bigint[]
        ) AS u (
            chain_id, protocol, chamber, token, bucket, from_block, to_block, from_seq, to_seq,
            deposits, withdrawals, deposited, withdrawn, anonymity_set
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.chamber.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.token.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.bucket).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.deposits).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.withdrawals).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.deposited.to_string()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.withdrawn.to_string()).collect::<Vec<_>>(),
        &rows.iter().map(PrivacyPoolRow::anonymity_set).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closes rows, each given with the position that replaces it.
///
/// # Errors
/// When the database fails.
pub async fn close(tx: &mut Transaction, rows: &[(PrivacyPoolRow, i64)]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE privacy_pool AS p SET to_seq = u.to_seq
        FROM unnest(
            $1::text[], $2::bytea[], $3::bytea[], $4::smallint[], $5::bigint[], $6::bigint[],
            $7::bigint[]
        ) AS u (chain_id, chamber, token, bucket, from_block, from_seq, to_seq)
        WHERE p.chain_id = u.chain_id AND p.chamber = u.chamber AND p.token = u.token
          AND p.bucket = u.bucket AND p.from_block = u.from_block AND p.from_seq = u.from_seq
        "#,
        &rows.iter().map(|(row, _)| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.chamber.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.token.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.bucket).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|(_, to_seq)| *to_seq).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
