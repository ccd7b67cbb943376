//! The newest canonical block of each chain, as the follower left it. The follower moves it in the
//! transaction that appends the blocks; it can be rebuilt by folding the log.

use obsqra_types::{BlockHash, BlockNumber, BranchEpoch, ChainId, Seq};

use crate::{Store, StoreError, Transaction, row};

/// Where a chain's follower stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainTip {
    /// The first block in the log.
    pub first: BlockNumber,
    /// The newest canonical block.
    pub number: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Epoch of the next block applied.
    pub epoch: BranchEpoch,
    /// Position of the newest block's `chain.block_applied` entry.
    pub seq: Seq,
    /// The highest block known to be accepted on L1.
    pub finalized: Option<BlockNumber>,
}

/// The tip; `None` before the first block.
///
/// # Errors
/// When the database fails.
pub async fn load(store: &Store, chain: &ChainId) -> Result<Option<ChainTip>, StoreError> {
    sqlx::query!(
        r#"
        SELECT first_number, block_number, block_hash, branch_epoch, seq, finalized_number
        FROM chain_tip WHERE chain_id = $1
        "#,
        chain.as_str(),
    )
    .fetch_optional(&store.pool)
    .await?
    .map(|found| {
        Ok(ChainTip {
            first: row::number(found.first_number)?,
            number: row::number(found.block_number)?,
            hash: row::block_hash(&found.block_hash)?,
            epoch: row::epoch(found.branch_epoch)?,
            seq: row::seq(found.seq)?,
            finalized: found.finalized_number.map(row::number).transpose()?,
        })
    })
    .transpose()
}

/// Moves the tip. Called after the append of the same transaction, which holds the head lock, so that
/// a derived fact's check of its as-of block sees tip and blocks change together.
///
/// # Errors
/// When the database fails.
pub async fn store(
    tx: &mut Transaction,
    chain: &ChainId,
    tip: &ChainTip,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO chain_tip AS t (
            chain_id, first_number, block_number, block_hash, branch_epoch, seq, finalized_number
        ) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (chain_id) DO UPDATE
        SET block_number = excluded.block_number,
            block_hash = excluded.block_hash,
            branch_epoch = excluded.branch_epoch,
            seq = excluded.seq,
            finalized_number = excluded.finalized_number
        "#,
        chain.as_str(),
        row::to_i64(tip.first.0, "block number")?,
        row::to_i64(tip.number.0, "block number")?,
        row::felt_bytes(&tip.hash.0),
        row::to_i32(tip.epoch.0, "branch epoch")?,
        row::to_i64(tip.seq.0, "seq")?,
        tip.finalized.map(|number| row::to_i64(number.0, "block number")).transpose()?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Notes the head height last heard from a node, from which readers tell the lag.
///
/// # Errors
/// When the database fails.
pub async fn note_node_head(
    store: &Store,
    chain: &ChainId,
    head: BlockNumber,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE chain_tip SET node_head = $2, node_seen_at = clock_timestamp()
        WHERE chain_id = $1
          AND (node_head IS DISTINCT FROM $2
               OR node_seen_at IS NULL
               OR node_seen_at < clock_timestamp() - interval '5 seconds')
        "#,
        chain.as_str(),
        row::to_i64(head.0, "block number")?,
    )
    .execute(&store.pool)
    .await?;
    Ok(())
}
