//! Derived facts of reverted blocks: what there is to retract.
//!
//! A fact carries the block and branch of its newest cause, so that a range of an index finds what a
//! revert takes back; no causes are followed. Retractions themselves are left out: nothing retracts them.

use obsqra_events::Kind;
use obsqra_types::{BlockRef, ChainId, Hash32, Seq};

use crate::{Store, StoreError, row};

/// A block that an entry reverts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RevertedBlock {
    /// The block, on the branch it was applied on.
    pub block: BlockRef,
    /// Position of the `chain.block_reverted` entry.
    pub seq: Seq,
}

/// A place in the order in which facts are retracted: by the revert's position, then by the fact's.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RetractionPlace {
    /// Position of the `chain.block_reverted` entry.
    pub reverted: Seq,
    /// Position of the fact.
    pub fact: Seq,
}

/// A derived fact of a reverted block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retractable {
    /// Its place in the order.
    pub place: RetractionPlace,
    /// Its kind.
    pub kind: Kind,
    /// What it is about.
    pub subject: String,
    /// Its content hash.
    pub content_hash: Hash32,
}

/// Up to `limit` derived facts as of exactly the given blocks, after a place, in order.
///
/// # Errors
/// When the database fails or a key row cannot be read.
pub async fn facts_of(
    store: &Store,
    chain: &ChainId,
    reverted: &[RevertedBlock],
    after: RetractionPlace,
    limit: u32,
) -> Result<Vec<Retractable>, StoreError> {
    let (mut numbers, mut epochs, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
    for RevertedBlock { block, seq } in reverted {
        numbers.push(row::to_i64(block.number.0, "block number")?);
        epochs.push(row::to_i32(block.epoch.0, "branch epoch")?);
        seqs.push(row::to_i64(seq.0, "seq")?);
    }
    sqlx::query!(
        r#"
        SELECT u.reverted_seq AS "reverted_seq!", d.kind, d.subject, d.seq, d.content_hash
        FROM unnest($2::bigint[], $3::integer[], $4::bigint[])
             AS u (block_number, branch_epoch, reverted_seq)
        JOIN derived_key d
          ON d.chain_id = $1 AND d.block_number = u.block_number
         AND d.branch_epoch = u.branch_epoch AND d.kind <> 90
        WHERE (u.reverted_seq, d.seq) > ($5, $6)
        ORDER BY u.reverted_seq, d.seq
        LIMIT $7
        "#,
        chain.as_str(),
        &numbers,
        &epochs,
        &seqs,
        row::to_i64(after.reverted.0, "seq")?,
        row::to_i64(after.fact.0, "seq")?,
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| {
        let place =
            RetractionPlace { reverted: row::seq(found.reverted_seq)?, fact: row::seq(found.seq)? };
        let kind = Kind::try_from(found.kind).map_err(|unknown| StoreError::Corrupt {
            seq: place.fact,
            problem: unknown.to_string(),
        })?;
        let content_hash = row::hash32(&found.content_hash)?;
        Ok(Retractable { place, kind, subject: found.subject, content_hash })
    })
    .collect()
}

/// Position of the newest retraction of a fact as of a block; `None` while there is none.
///
/// # Errors
/// When the database fails.
pub async fn newest_of(
    store: &Store,
    chain: &ChainId,
    block: BlockRef,
) -> Result<Option<Seq>, StoreError> {
    let newest = sqlx::query_scalar!(
        r#"
        SELECT max(seq) FROM derived_key
        WHERE chain_id = $1 AND block_number = $2 AND branch_epoch = $3 AND kind = 90
        "#,
        chain.as_str(),
        row::to_i64(block.number.0, "block number")?,
        row::to_i32(block.epoch.0, "branch epoch")?,
    )
    .fetch_one(&store.pool)
    .await?;
    newest.map(row::seq).transpose()
}
