//! The position that a request is pinned to.

use obsqra_types::{BlockHash, BlockNumber, ChainId, Seq, UnixSeconds};

use crate::{Store, StoreError, row};

/// Where a chain's read models stand, and how far the chain itself is known to reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// Every entry up to here is applied.
    pub seq: Seq,
    /// The newest block applied.
    pub block: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Its header timestamp.
    pub timestamp: UnixSeconds,
    /// The highest block accepted on L1, as known at `seq`.
    pub finalized: Option<BlockNumber>,
    /// The highest block known to exist: the node's head as last heard, or the follower's tip where
    /// that is higher.
    pub chain_head: BlockNumber,
}

impl Position {
    /// Blocks that exist and are not applied.
    #[must_use]
    pub fn lag_blocks(&self) -> u64 {
        self.chain_head.0.saturating_sub(self.block.0)
    }

    /// Whether the newest block applied is accepted on L1.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.finalized.is_some_and(|finalized| self.block <= finalized)
    }
}

/// The position now; `None` before the first block is applied.
///
/// # Errors
/// When the database fails.
pub async fn load(store: &Store, chain: &ChainId) -> Result<Option<Position>, StoreError> {
    sqlx::query!(
        r#"
        SELECT p.seq,
               p.block_number AS "block_number!",
               p.block_hash AS "block_hash!",
               p.occurred_at AS "occurred_at!",
               p.finalized_number,
               GREATEST(p.block_number, t.block_number, t.node_head) AS "chain_head!"
        FROM projection_state p
        LEFT JOIN chain_tip t ON t.chain_id = p.chain_id
        WHERE p.chain_id = $1
          AND p.block_number IS NOT NULL
          AND p.block_hash IS NOT NULL
          AND p.occurred_at IS NOT NULL
        "#,
        chain.as_str(),
    )
    .fetch_optional(&store.pool)
    .await?
    .map(|found| {
        Ok(Position {
            seq: row::seq(found.seq)?,
            block: row::number(found.block_number)?,
            hash: row::block_hash(&found.block_hash)?,
            timestamp: row::unix_seconds(found.occurred_at)?,
            finalized: found.finalized_number.map(row::number).transpose()?,
            chain_head: row::number(found.chain_head)?,
        })
    })
    .transpose()
}

/// Seconds since a follower of the chain last heard from its node; `None` where none ever did.
///
/// # Errors
/// When the database fails.
pub async fn node_silent_for(store: &Store, chain: &ChainId) -> Result<Option<u64>, StoreError> {
    let seconds = sqlx::query_scalar!(
        r#"
        SELECT floor(extract(epoch FROM clock_timestamp() - node_seen_at))::bigint
        FROM chain_tip
        WHERE chain_id = $1
        "#,
        chain.as_str(),
    )
    .fetch_optional(&store.pool)
    .await?;
    Ok(seconds.flatten().and_then(|seconds| u64::try_from(seconds).ok()))
}

#[cfg(test)]
mod tests {
    use obsqra_types::Felt;

    use super::*;

    fn at(block: u64, chain_head: u64, finalized: Option<u64>) -> Position {
        Position {
            seq: Seq(1),
            block: BlockNumber(block),
            hash: BlockHash(Felt::ONE),
            timestamp: UnixSeconds(0),
            finalized: finalized.map(BlockNumber),
            chain_head: BlockNumber(chain_head),
        }
    }

    #[test]
    fn lag_is_never_negative_and_finality_includes_its_block() {
        assert_eq!(at(10, 12, None).lag_blocks(), 2);
        assert_eq!(at(10, 9, None).lag_blocks(), 0);
        assert!(at(10, 10, Some(10)).is_final());
        assert!(!at(10, 10, Some(9)).is_final());
        assert!(!at(10, 10, None).is_final());
    }
}
