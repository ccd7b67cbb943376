//! Keys of blocks, derived facts, retractions and adopted bytes: what makes each appear in the log once.
//!
//! Every question is asked under the head lock, so that its answer holds until the commit. A derived fact
//! is written only while its as-of block is canonical, a retraction only while it is not.

mod as_of;
mod columns;
mod insert;
mod standing;

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{AdoptedWhat, Kind};
use obsqra_types::{BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Hash32, Seq};

use crate::{Store, StoreError, row};

pub use as_of::{canonical_tip_as_of, epochs_as_of, first_seq_within};
pub(crate) use insert::{claim, insert};
pub(crate) use standing::{Standing, Stated, standing};

/// An applied block's key row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppliedBlock {
    /// Where and when.
    pub block: BlockRef,
    /// Its hash.
    pub hash: BlockHash,
    /// The hash of the block below.
    pub parent: BlockHash,
    /// Position of its `chain.block_applied` entry.
    pub seq: Seq,
    /// How many watched events follow that entry.
    pub watched_events: u32,
}

struct KeyRow {
    block_number: i64,
    branch_epoch: i32,
    block_hash: Vec<u8>,
    parent_hash: Vec<u8>,
    occurred_at: chrono::DateTime<chrono::Utc>,
    seq: i64,
    watched_events: i32,
}

impl TryFrom<KeyRow> for AppliedBlock {
    type Error = StoreError;

    fn try_from(found: KeyRow) -> Result<Self, StoreError> {
        Ok(Self {
            block: BlockRef {
                number: row::number(found.block_number)?,
                epoch: row::epoch(found.branch_epoch)?,
                timestamp: row::unix_seconds(found.occurred_at)?,
            },
            hash: row::block_hash(&found.block_hash)?,
            parent: row::block_hash(&found.parent_hash)?,
            seq: row::seq(found.seq)?,
            watched_events: row::count(found.watched_events)?,
        })
    }
}

/// The block with the highest branch epoch at each height of a range, highest first: the canonical
/// chain, for heights at or below the tip.
///
/// # Errors
/// When the database fails.
pub async fn canonical(
    store: &Store,
    chain: &ChainId,
    from: BlockNumber,
    to: BlockNumber,
) -> Result<Vec<AppliedBlock>, StoreError> {
    sqlx::query_as!(
        KeyRow,
        r#"
        SELECT DISTINCT ON (block_number)
               block_number, branch_epoch, block_hash, parent_hash, occurred_at, seq, watched_events
        FROM block_key
        WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3
        ORDER BY block_number DESC, branch_epoch DESC
        "#,
        chain.as_str(),
        row::to_i64(from.0, "block number")?,
        row::to_i64(to.0, "block number")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(AppliedBlock::try_from)
    .collect()
}

/// As [`canonical`], as of a position: among the blocks applied up to it. Right for heights at or below
/// the tip of that time, and lowest first.
///
/// # Errors
/// When the database fails.
pub async fn canonical_as_of(
    store: &Store,
    chain: &ChainId,
    (from, to): (BlockNumber, BlockNumber),
    as_of: Seq,
) -> Result<Vec<AppliedBlock>, StoreError> {
    sqlx::query_as!(
        KeyRow,
        r#"
        SELECT DISTINCT ON (block_number)
               block_number, branch_epoch, block_hash, parent_hash, occurred_at, seq, watched_events
        FROM block_key
        WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND seq <= $4
        ORDER BY block_number, branch_epoch DESC
        "#,
        chain.as_str(),
        row::to_i64(from.0, "block number")?,
        row::to_i64(to.0, "block number")?,
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(AppliedBlock::try_from)
    .collect()
}

/// The canonical block's branch epoch at each of some heights; heights above the tip and those without a
/// block are left out.
///
/// # Errors
/// When the database fails.
pub async fn canonical_epochs(
    store: &Store,
    chain: &ChainId,
    heights: &BTreeSet<BlockNumber>,
) -> Result<BTreeMap<BlockNumber, BranchEpoch>, StoreError> {
    let heights: Vec<i64> = heights
        .iter()
        .map(|number| row::to_i64(number.0, "block number"))
        .collect::<Result<_, _>>()?;
    sqlx::query!(
        r#"
        SELECT k.block_number, max(k.branch_epoch) AS "branch_epoch!"
        FROM block_key k
        JOIN chain_tip t ON t.chain_id = k.chain_id AND t.block_number >= k.block_number
        WHERE k.chain_id = $1 AND k.block_number = ANY($2)
        GROUP BY k.block_number
        "#,
        chain.as_str(),
        &heights,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((row::number(found.block_number)?, row::epoch(found.branch_epoch)?)))
    .collect()
}

/// The newest block applied up to a position; `None` before the first. It is the canonical tip of that
/// time where no block was reverted after it, which holds at every position between two transactions.
///
/// # Errors
/// When the database fails.
pub async fn tip_as_of(
    store: &Store,
    chain: &ChainId,
    as_of: Seq,
) -> Result<Option<AppliedBlock>, StoreError> {
    sqlx::query_as!(
        KeyRow,
        r#"
        SELECT block_number, branch_epoch, block_hash, parent_hash, occurred_at, seq, watched_events
        FROM block_key
        WHERE chain_id = $1 AND seq <= $2
        ORDER BY seq DESC
        LIMIT 1
        "#,
        chain.as_str(),
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_optional(&store.pool)
    .await?
    .map(AppliedBlock::try_from)
    .transpose()
}

/// Bytes that were adopted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AdoptedAt {
    /// Position of the entry, which holds the bytes.
    pub seq: Seq,
    /// The version they call themselves.
    pub version: String,
    /// SHA-256 of the bytes.
    pub hash: Hash32,
}

/// What was adopted last up to a position; `None` when nothing of the sort was.
///
/// # Errors
/// When the database fails.
pub async fn adopted_as_of(
    store: &Store,
    chain: &ChainId,
    what: AdoptedWhat,
    as_of: Seq,
) -> Result<Option<AdoptedAt>, StoreError> {
    sqlx::query!(
        r#"
        SELECT seq, version, bytes_hash FROM adopted_key
        WHERE chain_id = $1 AND what = $2 AND seq <= $3
        ORDER BY seq DESC
        LIMIT 1
        "#,
        chain.as_str(),
        what.name(),
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_optional(&store.pool)
    .await?
    .map(|found| {
        Ok(AdoptedAt {
            seq: row::seq(found.seq)?,
            version: found.version,
            hash: row::hash32(&found.bytes_hash)?,
        })
    })
    .transpose()
}

/// Whether bytes were ever adopted.
///
/// # Errors
/// When the database fails.
pub async fn was_adopted(
    store: &Store,
    chain: &ChainId,
    what: AdoptedWhat,
    hash: &Hash32,
) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM adopted_key WHERE chain_id = $1 AND what = $2 AND bytes_hash = $3
        ) AS "found!"
        "#,
        chain.as_str(),
        what.name(),
        hash.as_bytes().as_slice(),
    )
    .fetch_one(&store.pool)
    .await?;
    Ok(found)
}

/// The chains that the log holds something of.
///
/// # Errors
/// When the database fails.
pub async fn chains(store: &Store) -> Result<Vec<ChainId>, StoreError> {
    sqlx::query_scalar!("SELECT DISTINCT chain_id FROM adopted_key ORDER BY chain_id")
        .fetch_all(&store.pool)
        .await?
        .iter()
        .map(|chain| row::chain_id(chain))
        .collect()
}

/// The subject of a retraction's key row.
fn retracted_subject(kind: Kind, subject: &str) -> String {
    format!("{}/{subject}", kind.name())
}
