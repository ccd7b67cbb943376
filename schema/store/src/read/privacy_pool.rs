//! Privacy pools: as of a block, and as a history of changes.

use obsqra_types::{BlockCursor, BlockNumber, ChainId, ContractAddress, ProtocolId, Seq, U512};

use super::{Direction, Page, PageRequest, state_key};
use crate::{Store, StoreError, row};

/// The most rows that [`at`] returns: chambers times tokens times decades, which a registry bounds.
pub const MAX_POOLS: u32 = 5_000;

/// What went into a chamber and came out of it, of one token and one decade of amounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PrivacyPool {
    /// The protocol that the chamber belongs to.
    pub protocol: ProtocolId,
    /// The chamber.
    pub chamber: ContractAddress,
    /// The token.
    pub token: ContractAddress,
    /// k of 10ᵏ ≤ amount < 10ᵏ⁺¹, in the token's smallest unit; 0 to 77.
    pub bucket: u8,
    /// Transfers to the chamber.
    pub deposits: u64,
    /// Transfers from the chamber.
    pub withdrawals: u64,
    /// Sum of the deposits, in the token's smallest unit.
    pub deposited: U512,
    /// Sum of the withdrawals, in the token's smallest unit.
    pub withdrawn: U512,
    /// Deposits less withdrawals, not below 0.
    pub anonymity_set: u64,
    /// The block from which these values hold.
    pub since: BlockNumber,
}

impl PrivacyPool {
    /// Where it stands in a history.
    #[must_use]
    pub fn cursor(&self) -> BlockCursor {
        BlockCursor { block: self.since, place: self.bucket.into() }
    }
}

/// Which pools to read. What is `None` does not restrict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PoolFilter {
    /// Of this chamber.
    pub chamber: Option<ContractAddress>,
    /// Of this token.
    pub token: Option<ContractAddress>,
}

/// Whose history to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolHistory {
    /// The chamber.
    pub chamber: ContractAddress,
    /// The token.
    pub token: ContractAddress,
    /// Only this decade of amounts.
    pub bucket: Option<u8>,
    /// Only what holds from a block up to this one, inclusive.
    pub to_block: BlockNumber,
}

struct PoolRow {
    protocol: String,
    chamber: Vec<u8>,
    token: Vec<u8>,
    bucket: i16,
    from_block: i64,
    deposits: i64,
    withdrawals: i64,
    deposited: String,
    withdrawn: String,
    anonymity_set: i64,
}

impl TryFrom<PoolRow> for PrivacyPool {
    type Error = StoreError;

    fn try_from(found: PoolRow) -> Result<Self, StoreError> {
        Ok(Self {
            protocol: state_key::protocol_id(&found.protocol)?,
            chamber: row::felt(&found.chamber).map(ContractAddress)?,
            token: row::felt(&found.token).map(ContractAddress)?,
            bucket: u8::try_from(found.bucket).map_err(|_| StoreError::Range("bucket"))?,
            deposits: row::total(found.deposits)?,
            withdrawals: row::total(found.withdrawals)?,
            deposited: sum(&found.deposited)?,
            withdrawn: sum(&found.withdrawn)?,
            anonymity_set: row::total(found.anonymity_set)?,
            since: row::number(found.from_block)?,
        })
    }
}

fn sum(digits: &str) -> Result<U512, StoreError> {
    U512::from_str_radix(digits, 10).map_err(|_| StoreError::Range("sum of transfers"))
}

fn bytes(address: ContractAddress) -> Vec<u8> {
    row::felt_bytes(&address.0)
}

/// The pools as of a block, as known at a position, by chamber, token and decade.
///
/// Steps from pool to pool along the key's index and takes each one's row by walking back from the block, so
/// that the time depends on the number of pools and not on the length of their history.
///
/// # Errors
/// When the database fails, or there are more than [`MAX_POOLS`].
pub async fn at(
    store: &Store,
    chain: &ChainId,
    (known_at, block): (Seq, BlockNumber),
    filter: &PoolFilter,
) -> Result<Vec<PrivacyPool>, StoreError> {
    let (chamber, token) = (filter.chamber.map(bytes), filter.token.map(bytes));
    let found = sqlx::query_as!(
        PoolRow,
        r#"
        WITH RECURSIVE pool AS (
            SELECT first.chamber, first.token, first.bucket
            FROM (
                SELECT p.chamber, p.token, p.bucket FROM privacy_pool p
                WHERE p.chain_id = $1
                ORDER BY p.chamber, p.token, p.bucket
                LIMIT 1
            ) AS first
            UNION ALL
            SELECT next.chamber, next.token, next.bucket
            FROM pool s
            CROSS JOIN LATERAL (
                SELECT p.chamber, p.token, p.bucket FROM privacy_pool p
                WHERE p.chain_id = $1
                  AND (p.chamber, p.token, p.bucket) > (s.chamber, s.token, s.bucket)
                ORDER BY p.chamber, p.token, p.bucket
                LIMIT 1
            ) AS next
        )
        SELECT v.protocol, s.chamber AS "chamber!", s.token AS "token!", s.bucket AS "bucket!",
               v.from_block, v.deposits, v.withdrawals, v.deposited::text AS "deposited!",
               v.withdrawn::text AS "withdrawn!", v.anonymity_set
        FROM pool s
        CROSS JOIN LATERAL (
            SELECT p.protocol, p.from_block, p.deposits, p.withdrawals, p.deposited, p.withdrawn,
                   p.anonymity_set
            FROM privacy_pool p
            WHERE p.chain_id = $1 AND p.chamber = s.chamber AND p.token = s.token
              AND p.bucket = s.bucket
              AND p.from_block <= $2 AND p.to_block > $2
              AND p.from_seq <= $3 AND p.to_seq > $3
            ORDER BY p.from_block DESC, p.from_seq DESC
            LIMIT 1
        ) AS v
        WHERE ($4::bytea IS NULL OR s.chamber = $4)
          AND ($5::bytea IS NULL OR s.token = $5)
        ORDER BY s.chamber, s.token, s.bucket
        LIMIT $6
        "#,
        chain.as_str(),
        row::to_i64(block.0, "block number")?,
        row::to_i64(known_at.0, "seq")?,
        chamber.as_deref(),
        token.as_deref(),
        i64::from(MAX_POOLS) + 1,
    )
    .fetch_all(&store.pool)
    .await?;
    if u32::try_from(found.len()).map_or(true, |count| count > MAX_POOLS) {
        return Err(StoreError::Range("number of privacy pools"));
    }
    found.into_iter().map(PrivacyPool::try_from).collect()
}

/// A page of the changes of a chamber and token that stand at a position: one for each block and decade at
/// which sums changed, with the sums from there on.
///
/// # Errors
/// When the database fails.
pub async fn history(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    of: &PoolHistory,
    page: &PageRequest<BlockCursor>,
) -> Result<Page<PrivacyPool>, StoreError> {
    let found = match page.direction {
        Direction::Forward => oldest(store, chain, known_at, of, page).await?,
        Direction::Backward => newest(store, chain, known_at, of, page).await?,
    };
    let pools = found.into_iter().map(PrivacyPool::try_from).collect::<Result<_, _>>()?;
    Ok(page.page(pools))
}

async fn oldest(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    of: &PoolHistory,
    page: &PageRequest<BlockCursor>,
) -> Result<Vec<PoolRow>, StoreError> {
    let (after, before) = (page.after_row()?, page.before_row()?);
    Ok(sqlx::query_as!(
        PoolRow,
        r#"
        SELECT protocol, chamber, token, bucket, from_block, deposits, withdrawals,
               deposited::text AS "deposited!", withdrawn::text AS "withdrawn!", anonymity_set
        FROM privacy_pool
        WHERE chain_id = $1 AND chamber = $2 AND token = $3
          AND ($4::smallint IS NULL OR bucket = $4)
          AND from_block <= $5
          AND from_seq <= $6 AND to_seq > $6
          AND (from_block, bucket) > ($7, $8::bigint)
          AND (from_block, bucket) < ($9, $10::bigint)
        ORDER BY from_block, bucket
        LIMIT $11
        "#,
        chain.as_str(),
        bytes(of.chamber),
        bytes(of.token),
        of.bucket.map(i16::from),
        row::to_i64(of.to_block.0, "block number")?,
        row::to_i64(known_at.0, "seq")?,
        after.0,
        after.1,
        before.0,
        before.1,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}

async fn newest(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    of: &PoolHistory,
    page: &PageRequest<BlockCursor>,
) -> Result<Vec<PoolRow>, StoreError> {
    let (after, before) = (page.after_row()?, page.before_row()?);
    Ok(sqlx::query_as!(
        PoolRow,
        r#"
        SELECT protocol, chamber, token, bucket, from_block, deposits, withdrawals,
               deposited::text AS "deposited!", withdrawn::text AS "withdrawn!", anonymity_set
        FROM privacy_pool
        WHERE chain_id = $1 AND chamber = $2 AND token = $3
          AND ($4::smallint IS NULL OR bucket = $4)
          AND from_block <= $5
          AND from_seq <= $6 AND to_seq > $6
          AND (from_block, bucket) > ($7, $8::bigint)
          AND (from_block, bucket) < ($9, $10::bigint)
        ORDER BY from_block DESC, bucket DESC
        LIMIT $11
        "#,
        chain.as_str(),
        bytes(of.chamber),
        bytes(of.token),
        of.bucket.map(i16::from),
        row::to_i64(of.to_block.0, "block number")?,
        row::to_i64(known_at.0, "seq")?,
        after.0,
        after.1,
        before.0,
        before.1,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}
