//! Keys of blocks, derived facts, retractions and adopted bytes: what makes each appear in the log once.
//!
//! Every question is asked under the head lock, so that its answer holds until the commit. A derived fact
//! is written only while its as-of block is canonical, a retraction only while it is not.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{AdoptedWhat, Draft, Kind};
use obsqra_types::{BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Hash32, Seq};

use crate::{Key, Keyed, Store, StoreError, Transaction, row};

/// How a fact stands to the log. Asked under the head lock, so that the answer holds until commit.
pub(crate) enum Standing {
    New,
    Unchanged,
    Superseded,
}

/// No derived fact has this subject: attestations have no key rows.
const ATTESTED: &str = "";

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

pub(crate) async fn standing(tx: &mut Transaction, fact: &Keyed) -> Result<Standing, StoreError> {
    let Some(draft) = fact.drafts.first() else {
        return Ok(Standing::Unchanged);
    };
    match (&fact.key, draft.block) {
        (Key::Block { .. }, Some(block)) => {
            let found = sqlx::query!(
                r#"
                SELECT seq, content_hash FROM block_key
                WHERE chain_id = $1 AND block_number = $2 AND branch_epoch = $3
                "#,
                draft.chain.as_str(),
                row::to_i64(block.number.0, "block number")?,
                row::to_i32(block.epoch.0, "branch epoch")?,
            )
            .fetch_optional(&mut **tx)
            .await?;
            let found = found.map(|found| (found.seq, found.content_hash));
            compare("block", block.number, draft, found)
        }
        (Key::Derived { subject }, Some(block)) => {
            derived_standing(tx, draft, subject, block).await
        }
        (Key::Retracted { kind, subject }, Some(block)) => {
            retracted_standing(tx, draft, &retracted_subject(*kind, subject), block).await
        }
        (Key::Adopted { what, .. }, _) => {
            let newest = sqlx::query!(
                r#"
                SELECT content_hash FROM adopted_key
                WHERE chain_id = $1 AND what = $2
                ORDER BY seq DESC
                LIMIT 1
                "#,
                draft.chain.as_str(),
                what.name(),
            )
            .fetch_optional(&mut **tx)
            .await?;
            let same = newest.is_some_and(|found| found.content_hash == draft.content_hash.0);
            Ok(if same { Standing::Unchanged } else { Standing::New })
        }
        (Key::Plain, _) => Ok(Standing::New),
        (Key::Attested, Some(block)) => {
            let place = derived_place(tx, draft, ATTESTED, block).await?;
            Ok(if place.is_canonical { Standing::New } else { Standing::Superseded })
        }
        (Key::Block { .. } | Key::Derived { .. } | Key::Retracted { .. } | Key::Attested, None) => {
            Err(StoreError::Range("block reference"))
        }
    }
}

async fn derived_standing(
    tx: &mut Transaction,
    draft: &Draft,
    subject: &str,
    block: BlockRef,
) -> Result<Standing, StoreError> {
    let place = derived_place(tx, draft, subject, block).await?;
    match place.found {
        Some(found) => compare(subject, block.number, draft, Some(found)),
        None if place.is_canonical => Ok(Standing::New),
        None => Ok(Standing::Superseded),
    }
}

/// The other way round: only what stands on a branch that lost may be retracted.
async fn retracted_standing(
    tx: &mut Transaction,
    draft: &Draft,
    subject: &str,
    block: BlockRef,
) -> Result<Standing, StoreError> {
    let place = derived_place(tx, draft, subject, block).await?;
    match place.found {
        Some(found) => compare(subject, block.number, draft, Some(found)),
        None if place.is_canonical => Err(StoreError::StillCanonical {
            subject: subject.to_owned(),
            block: block.number,
            epoch: block.epoch,
        }),
        None => Ok(Standing::New),
    }
}

/// The subject of a retraction's key row.
fn retracted_subject(kind: Kind, subject: &str) -> String {
    format!("{}/{subject}", kind.name())
}

struct DerivedPlace {
    /// Position and content hash of the fact that has the key already.
    found: Option<(i64, Vec<u8>)>,
    /// Whether its block is on the canonical chain: at or below the tip, with the highest epoch there.
    is_canonical: bool,
}

/// Both in one statement, since it runs under the head lock for every derived fact.
async fn derived_place(
    tx: &mut Transaction,
    draft: &Draft,
    subject: &str,
    block: BlockRef,
) -> Result<DerivedPlace, StoreError> {
    let epoch = row::to_i32(block.epoch.0, "branch epoch")?;
    let place = sqlx::query!(
        r#"
        SELECT d.seq AS "seq?", d.content_hash AS "content_hash?",
               (
                   SELECT max(k.branch_epoch)
                   FROM block_key k
                   JOIN chain_tip t ON t.chain_id = k.chain_id AND t.block_number >= k.block_number
                   WHERE k.chain_id = $1 AND k.block_number = $5
               ) AS newest_epoch
        FROM (VALUES (true)) AS one (row)
        LEFT JOIN derived_key d
               ON d.chain_id = $1 AND d.kind = $2 AND d.schema_version = $3 AND d.subject = $4
              AND d.block_number = $5 AND d.branch_epoch = $6
        "#,
        draft.chain.as_str(),
        draft.kind.code(),
        draft.version,
        subject,
        row::to_i64(block.number.0, "block number")?,
        epoch,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok(DerivedPlace {
        found: place.seq.zip(place.content_hash),
        is_canonical: place.newest_epoch == Some(epoch),
    })
}

fn compare(
    subject: &str,
    block: BlockNumber,
    draft: &Draft,
    found: Option<(i64, Vec<u8>)>,
) -> Result<Standing, StoreError> {
    match found {
        None => Ok(Standing::New),
        Some((_, content_hash)) if content_hash == draft.content_hash.0 => Ok(Standing::Unchanged),
        Some((seq, _)) => Err(StoreError::KeyConflict {
            subject: format!("{} {subject}", draft.kind.name()),
            block,
            seq: row::seq(seq)?,
        }),
    }
}

pub(crate) async fn insert(tx: &mut Transaction, fact: &Keyed, seq: Seq) -> Result<(), StoreError> {
    let Some(draft) = fact.drafts.first() else {
        return Ok(());
    };
    match (&fact.key, draft.block) {
        (Key::Block { hash, parent, watched_events }, Some(block)) => {
            sqlx::query!(
                r#"
                INSERT INTO block_key (
                    chain_id, block_number, branch_epoch, block_hash, parent_hash,
                    occurred_at, seq, watched_events, content_hash
                ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
                "#,
                draft.chain.as_str(),
                row::to_i64(block.number.0, "block number")?,
                row::to_i32(block.epoch.0, "branch epoch")?,
                row::felt_bytes(&hash.0),
                row::felt_bytes(&parent.0),
                row::timestamp(block.timestamp)?,
                row::to_i64(seq.0, "seq")?,
                row::to_i32(*watched_events, "number of watched events")?,
                draft.content_hash.as_bytes().as_slice(),
            )
            .execute(&mut **tx)
            .await?;
        }
        (Key::Derived { subject }, Some(block)) => {
            insert_derived(tx, draft, subject, (block, seq)).await?;
        }
        (Key::Retracted { kind, subject }, Some(block)) => {
            let subject = retracted_subject(*kind, subject);
            insert_derived(tx, draft, &subject, (block, seq)).await?;
        }
        (Key::Adopted { what, version, hash }, _) => {
            insert_adopted(tx, draft, seq, (what.name(), version, hash)).await?;
        }
        (
            Key::Plain
            | Key::Attested
            | Key::Block { .. }
            | Key::Derived { .. }
            | Key::Retracted { .. },
            _,
        ) => {}
    }
    Ok(())
}

async fn insert_derived(
    tx: &mut Transaction,
    draft: &Draft,
    subject: &str,
    (block, seq): (BlockRef, Seq),
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO derived_key (
            chain_id, kind, schema_version, subject, block_number, branch_epoch,
            seq, content_hash
        ) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        "#,
        draft.chain.as_str(),
        draft.kind.code(),
        draft.version,
        subject,
        row::to_i64(block.number.0, "block number")?,
        row::to_i32(block.epoch.0, "branch epoch")?,
        row::to_i64(seq.0, "seq")?,
        draft.content_hash.as_bytes().as_slice(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn insert_adopted(
    tx: &mut Transaction,
    draft: &Draft,
    seq: Seq,
    (what, version, hash): (&str, &str, &Hash32),
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO adopted_key (chain_id, what, seq, version, bytes_hash, content_hash)
        VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        draft.chain.as_str(),
        what,
        row::to_i64(seq.0, "seq")?,
        version,
        hash.as_bytes().as_slice(),
        draft.content_hash.as_bytes().as_slice(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
