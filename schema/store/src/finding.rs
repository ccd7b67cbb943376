//! What sources were found out about, with the answers that show it; see the table `source_finding`.

use obsqra_events::{Draft, Kind};
use obsqra_types::{BlockNumber, ChainId, Hash32};

use crate::{Store, StoreError, Transaction, row};

/// Most findings about one node that are kept for one height: one that answers something else each time is told
/// of often enough by then.
pub const MAX_FINDINGS: i64 = 4;
/// Most findings about a chain.
pub const MAX_FINDINGS_OF_CHAIN: i64 = 10_000;
/// Bytes of answers that are kept of a chain. Beyond it a finding has no answer, only its digest.
pub const MAX_ANSWER_BYTES: i64 = 256 << 20;

/// A finding as it is kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The height.
    pub number: BlockNumber,
    /// Content hash of the entry.
    pub content_hash: Hash32,
    /// The entry's kind.
    pub kind: Kind,
    /// The node, by its address without what may be secret.
    pub node: String,
    /// What the node answered.
    pub answer: Option<Vec<u8>>,
}

/// Keeps a finding before it is appended; whether it is new and there is room for it.
///
/// # Errors
/// When the database fails.
pub async fn save(
    tx: &mut Transaction,
    (number, node): (BlockNumber, &str),
    draft: &Draft,
    answer: Option<&[u8]>,
) -> Result<bool, StoreError> {
    let saved = sqlx::query!(
        r#"
        INSERT INTO source_finding (chain_id, block_number, content_hash, kind, node, answer)
        SELECT $1, $2, $3, $4, $5,
               CASE WHEN kept.bytes + octet_length($6::bytea) <= $9 THEN $6::bytea END
        FROM (
            SELECT count(*) AS findings,
                   count(*) FILTER (WHERE block_number = $2 AND node = $5) AS alike,
                   coalesce(sum(octet_length(answer)), 0) AS bytes
            FROM source_finding
            WHERE chain_id = $1
        ) AS kept
        WHERE kept.alike < $7 AND kept.findings < $8
        ON CONFLICT DO NOTHING
        "#,
        draft.chain.as_str(),
        row::to_i64(number.0, "block number")?,
        draft.content_hash.as_bytes().as_slice(),
        draft.kind.code(),
        node,
        answer,
        MAX_FINDINGS,
        MAX_FINDINGS_OF_CHAIN,
        MAX_ANSWER_BYTES,
    )
    .execute(&mut **tx)
    .await?;
    Ok(saved.rows_affected() > 0)
}

/// The findings about a height, in the order in which they were found.
///
/// # Errors
/// When the database fails or a row cannot be read.
pub async fn at(
    store: &Store,
    chain: &ChainId,
    number: BlockNumber,
) -> Result<Vec<Finding>, StoreError> {
    sqlx::query!(
        r#"
        SELECT content_hash, kind, node, answer FROM source_finding
        WHERE chain_id = $1 AND block_number = $2
        ORDER BY found_at, content_hash
        "#,
        chain.as_str(),
        row::to_i64(number.0, "block number")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| {
        let kind = Kind::try_from(found.kind).map_err(|_| StoreError::Range("kind"))?;
        let content_hash = row::hash32(&found.content_hash)?;
        Ok(Finding { number, content_hash, kind, node: found.node, answer: found.answer })
    })
    .collect()
}

/// The heights that something was found out about, newest first, at most `limit`.
///
/// # Errors
/// When the database fails.
pub async fn newest(
    store: &Store,
    chain: &ChainId,
    limit: u32,
) -> Result<Vec<(BlockNumber, u64)>, StoreError> {
    sqlx::query!(
        r#"
        SELECT block_number, count(*) AS "findings!" FROM source_finding
        WHERE chain_id = $1
        GROUP BY block_number
        ORDER BY block_number DESC
        LIMIT $2
        "#,
        chain.as_str(),
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((row::number(found.block_number)?, row::total(found.findings)?)))
    .collect()
}
