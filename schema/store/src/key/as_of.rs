//! Which blocks were canonical at a position, for readers that judge entries one by one.
//!
//! A block is canonical as of a position when it is not above the tip of that time and no block of its height was
//! applied on a higher branch up to there. Key rows are only added, so that what was true at a position stays true.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Seq, UnixSeconds};

use crate::{Store, StoreError, row};

/// The branch epoch of the newest block applied up to a position at each of some heights; those without one are
/// left out. Right for heights at or below [`canonical_tip_as_of`].
///
/// # Errors
/// When the database fails.
pub async fn epochs_as_of(
    store: &Store,
    chain: &ChainId,
    heights: &BTreeSet<BlockNumber>,
    as_of: Seq,
) -> Result<BTreeMap<BlockNumber, BranchEpoch>, StoreError> {
    let heights: Vec<i64> = heights
        .iter()
        .map(|number| row::to_i64(number.0, "block number"))
        .collect::<Result<_, _>>()?;
    sqlx::query!(
        r#"
        SELECT block_number, max(branch_epoch) AS "branch_epoch!"
        FROM block_key
        WHERE chain_id = $1 AND block_number = ANY($2) AND seq <= $3
        GROUP BY block_number
        "#,
        chain.as_str(),
        &heights,
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((row::number(found.block_number)?, row::epoch(found.branch_epoch)?)))
    .collect()
}

/// The height of the canonical tip as of a position, which may lie between the reverts of a reorganisation and the
/// blocks that replace; `None` while no block stands.
///
/// # Errors
/// When the database fails.
pub async fn canonical_tip_as_of(
    store: &Store,
    chain: &ChainId,
    as_of: Seq,
) -> Result<Option<BlockNumber>, StoreError> {
    // The kind stands in the text, as in the condition of the index of reverts.
    let tip = sqlx::query_scalar!(
        r#"
        SELECT LEAST(
            n.block_number,
            (
                SELECT min(l.block_number) - 1 FROM log l
                WHERE l.kind = 13 AND l.chain_id = $1 AND l.seq > n.seq AND l.seq <= $2
            )
        ) AS "tip!"
        FROM (
            SELECT block_number, seq FROM block_key
            WHERE chain_id = $1 AND seq <= $2
            ORDER BY seq DESC
            LIMIT 1
        ) n
        "#,
        chain.as_str(),
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_optional(&store.pool)
    .await?;
    // Below the first block of all lies -1.
    tip.filter(|tip| *tip >= 0).map(row::number).transpose()
}

/// The position of the first entry about any block of some heights and times; `None` when no such block was
/// applied. Times are of block headers, the first included and the second not.
///
/// # Errors
/// When the database fails.
pub async fn first_seq_within(
    store: &Store,
    chain: &ChainId,
    (from, to): (Option<BlockNumber>, Option<BlockNumber>),
    (since, until): (Option<UnixSeconds>, Option<UnixSeconds>),
) -> Result<Option<Seq>, StoreError> {
    let height = |number: BlockNumber| row::to_i64(number.0, "block number");
    let first = sqlx::query_scalar!(
        r#"
        SELECT min(seq) FROM block_key
        WHERE chain_id = $1
          AND ($2::bigint IS NULL OR block_number >= $2)
          AND ($3::bigint IS NULL OR block_number <= $3)
          AND ($4::timestamptz IS NULL OR occurred_at >= $4)
          AND ($5::timestamptz IS NULL OR occurred_at < $5)
        "#,
        chain.as_str(),
        from.map(height).transpose()?,
        to.map(height).transpose()?,
        since.map(row::timestamp).transpose()?,
        until.map(row::timestamp).transpose()?,
    )
    .fetch_one(&store.pool)
    .await?;
    first.map(row::seq).transpose()
}
