//! Allocation snapshots: as of a block, and as a history by log entry. Inputs, constraints and causes are
//! in the entry.

use chrono::{DateTime, Utc};
use obsqra_types::{BlockHash, BlockNumber, Bps, ChainId, ProtocolId, Seq, UnixSeconds};

use super::{Direction, Page, PageRequest, state_key};
use crate::{Store, StoreError, row};

/// What a policy allocates from a block on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// The log entry that states it.
    pub entry: Seq,
    /// The policy's name.
    pub policy: String,
    /// Name and version of the policy file, as adopted.
    pub version: String,
    /// The rule, such as `allocation-v1`.
    pub rule: String,
    /// The as-of block.
    pub block: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Its header timestamp.
    pub timestamp: UnixSeconds,
    /// Shares, 10,000 bps together; or why there are none.
    pub outcome: Result<Vec<(ProtocolId, Bps)>, String>,
}

struct Found {
    entry_seq: i64,
    policy: String,
    version: String,
    rule: String,
    from_block: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    protocols: Option<Vec<String>>,
    shares_bps: Option<Vec<i32>>,
    failure: Option<String>,
}

impl TryFrom<Found> for Snapshot {
    type Error = StoreError;

    fn try_from(found: Found) -> Result<Self, StoreError> {
        let shares = found.protocols.zip(found.shares_bps);
        let outcome = match (shares, found.failure) {
            (Some((protocols, shares)), None) => Ok(protocols
                .iter()
                .zip(shares)
                .map(|(id, bps)| Ok((state_key::protocol_id(id)?, Bps(row::count(bps)?))))
                .collect::<Result<_, StoreError>>()?),
            (None, Some(failure)) => Err(failure),
            _ => return Err(StoreError::Range("allocation")),
        };
        Ok(Self {
            entry: row::seq(found.entry_seq)?,
            policy: found.policy,
            version: found.version,
            rule: found.rule,
            block: row::number(found.from_block)?,
            hash: row::block_hash(&found.block_hash)?,
            timestamp: row::unix_seconds(found.occurred_at)?,
            outcome,
        })
    }
}

/// What every policy of the newest policy file allocates as of a block, as known at a position, by policy. A policy
/// that this file no longer has proposes nothing.
///
/// # Errors
/// When the database fails.
pub async fn at(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    block: BlockNumber,
) -> Result<Vec<Snapshot>, StoreError> {
    sqlx::query_as!(
        Found,
        r#"
        WITH standing AS (
            SELECT entry_seq, policy, version, rule, from_block, block_hash, occurred_at, protocols,
                   shares_bps, failure
            FROM allocation_snapshot
            WHERE chain_id = $1 AND from_block <= $3 AND to_block > $3
              AND from_seq <= $2 AND to_seq > $2
        )
        SELECT entry_seq AS "entry_seq!", policy AS "policy!", version AS "version!",
               rule AS "rule!", from_block AS "from_block!", block_hash AS "block_hash!",
               occurred_at AS "occurred_at!", protocols, shares_bps, failure
        FROM standing
        WHERE version = (SELECT version FROM standing ORDER BY entry_seq DESC LIMIT 1)
        ORDER BY policy COLLATE "C"
        "#,
        chain.as_str(),
        row::to_i64(known_at.0, "seq")?,
        row::to_i64(block.0, "block number")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(Snapshot::try_from)
    .collect()
}

/// A page of a policy's snapshots that stand at a position, up to a block, by log entry.
///
/// # Errors
/// When the database fails.
pub async fn history(
    store: &Store,
    chain: &ChainId,
    (known_at, block): (Seq, BlockNumber),
    policy: &str,
    page: &PageRequest,
) -> Result<Page<Snapshot>, StoreError> {
    let place = (row::to_i64(known_at.0, "seq")?, row::to_i64(block.0, "block number")?);
    let found = match page.direction {
        Direction::Forward => oldest(store, chain, place, policy, page).await?,
        Direction::Backward => newest(store, chain, place, policy, page).await?,
    };
    let snapshots = found.into_iter().map(Snapshot::try_from).collect::<Result<_, _>>()?;
    Ok(page.page(snapshots))
}

async fn oldest(
    store: &Store,
    chain: &ChainId,
    (known_at, block): (i64, i64),
    policy: &str,
    page: &PageRequest,
) -> Result<Vec<Found>, StoreError> {
    Ok(sqlx::query_as!(
        Found,
        r#"
        SELECT entry_seq, policy, version, rule, from_block, block_hash, occurred_at, protocols,
               shares_bps, failure
        FROM allocation_snapshot
        WHERE chain_id = $1 AND policy = $2 AND entry_seq > $3 AND entry_seq < $4
          AND from_seq <= $5 AND to_seq > $5 AND from_block <= $6
        ORDER BY entry_seq
        LIMIT $7
        "#,
        chain.as_str(),
        policy,
        page.after_seq()?,
        page.before_seq()?,
        known_at,
        block,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}

async fn newest(
    store: &Store,
    chain: &ChainId,
    (known_at, block): (i64, i64),
    policy: &str,
    page: &PageRequest,
) -> Result<Vec<Found>, StoreError> {
    Ok(sqlx::query_as!(
        Found,
        r#"
        SELECT entry_seq, policy, version, rule, from_block, block_hash, occurred_at, protocols,
               shares_bps, failure
        FROM allocation_snapshot
        WHERE chain_id = $1 AND policy = $2 AND entry_seq > $3 AND entry_seq < $4
          AND from_seq <= $5 AND to_seq > $5 AND from_block <= $6
        ORDER BY entry_seq DESC
        LIMIT $7
        "#,
        chain.as_str(),
        policy,
        page.after_seq()?,
        page.before_seq()?,
        known_at,
        block,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}
