//! How the canonical chain was checked, as runs of blocks with the same verdict.
//!
//! A block counts by its newest attestation; one that is older than a widening of the watched set below which
//! the block lies no longer counts, since nothing vouches for the events of the contracts that joined. Whoever
//! appends blocks, reverts, attestations or a widening changes the runs in the same transaction, after the
//! append, which holds the head lock: so they change in the order of the log. [`rebuild`] makes them anew, and
//! the result equals what was there. A block in no run is unchecked.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use obsqra_events::{Entry, Fact, Kind, Verdict, WatchWidened};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Seq};

use crate::{Store, StoreError, Transaction, log, row};

/// How a block was checked, by the newest word on it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AttestedAs {
    /// Its events, commitments and hash belong together.
    Verified,
    /// That cannot be told from what its source supplies.
    Unverifiable,
    /// It was not looked at.
    Unchecked,
}

/// Blocks one above the other that were checked alike, both ends inclusive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AttestedRange {
    /// The lowest.
    pub first: BlockNumber,
    /// The highest.
    pub last: BlockNumber,
    /// How they were checked.
    pub verdict: AttestedAs,
}

impl AttestedAs {
    /// All of them, the best first.
    pub const ALL: [Self; 3] = [Self::Verified, Self::Unverifiable, Self::Unchecked];

    /// The name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Unverifiable => "unverifiable",
            Self::Unchecked => "unchecked",
        }
    }

    fn code(self) -> i16 {
        match self {
            Self::Verified => 0,
            Self::Unverifiable => 1,
            Self::Unchecked => 2,
        }
    }

    fn read(code: i16) -> Result<Self, StoreError> {
        let known = Self::ALL.into_iter().find(|verdict| verdict.code() == code);
        known.ok_or(StoreError::Range("verdict"))
    }
}

impl From<&Verdict> for AttestedAs {
    fn from(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Verified => Self::Verified,
            Verdict::Unverifiable(_) => Self::Unverifiable,
            Verdict::Unchecked(_) => Self::Unchecked,
        }
    }
}

impl AttestedRange {
    /// How many blocks they are.
    #[must_use]
    pub fn blocks(&self) -> u64 {
        self.last.0.saturating_sub(self.first.0).saturating_add(1)
    }
}

/// Runs of blocks that are given one by one, in ascending order of height.
#[must_use]
pub fn runs(blocks: impl IntoIterator<Item = (BlockNumber, AttestedAs)>) -> Vec<AttestedRange> {
    let mut runs = Vec::new();
    blocks.into_iter().for_each(|block| push(&mut runs, block));
    runs
}

fn push(runs: &mut Vec<AttestedRange>, (number, verdict): (BlockNumber, AttestedAs)) {
    match runs.last_mut() {
        Some(run) if run.verdict == verdict && run.last.next() == number => run.last = number,
        _ => runs.push(AttestedRange { first: number, last: number, verdict }),
    }
}

/// What becomes of runs that overlap or touch a new one, which counts.
fn covered(old: &[AttestedRange], new: AttestedRange) -> Vec<AttestedRange> {
    let mut pieces = Vec::with_capacity(old.len() + 2);
    for run in old {
        if run.first < new.first {
            let last = run.last.min(BlockNumber(new.first.0 - 1));
            pieces.push(AttestedRange { last, ..*run });
        }
    }
    pieces.push(new);
    for run in old {
        if run.last > new.last {
            pieces.push(AttestedRange { first: run.first.max(new.last.next()), ..*run });
        }
    }
    let mut merged: Vec<AttestedRange> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        match merged.last_mut() {
            Some(run) if run.verdict == piece.verdict && run.last.next() == piece.first => {
                run.last = piece.last;
            }
            _ => merged.push(piece),
        }
    }
    merged
}

/// Notes how blocks were checked; what was noted of them before no longer counts.
///
/// # Errors
/// When the database fails.
pub async fn cover(
    tx: &mut Transaction,
    chain: &ChainId,
    new: AttestedRange,
) -> Result<(), StoreError> {
    let first = row::to_i64(new.first.0, "block number")?;
    let last = row::to_i64(new.last.0, "block number")?;
    if extend(tx, chain, (first, last), new.verdict).await? {
        return Ok(());
    }
    let old = sqlx::query!(
        r#"
        DELETE FROM attested_range
        WHERE chain_id = $1 AND first_block <= $3::bigint + 1 AND last_block >= $2::bigint - 1
        RETURNING first_block, last_block, verdict
        "#,
        chain.as_str(),
        first,
        last,
    )
    .fetch_all(&mut **tx)
    .await?;
    let mut old: Vec<AttestedRange> = old
        .into_iter()
        .map(|found| range(found.first_block, found.last_block, found.verdict))
        .collect::<Result<_, _>>()?;
    old.sort_by_key(|run| run.first);
    for run in covered(&old, new) {
        insert(tx, chain, run).await?;
    }
    Ok(())
}

/// The newest run goes on: all there is to do at the head of the chain.
async fn extend(
    tx: &mut Transaction,
    chain: &ChainId,
    (first, last): (i64, i64),
    verdict: AttestedAs,
) -> Result<bool, StoreError> {
    let extended = sqlx::query!(
        r#"
        UPDATE attested_range SET last_block = $3
        WHERE chain_id = $1 AND last_block = $2::bigint - 1 AND verdict = $4
          AND first_block = (SELECT max(first_block) FROM attested_range WHERE chain_id = $1)
        "#,
        chain.as_str(),
        first,
        last,
        verdict.code(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(extended.rows_affected() > 0)
}

async fn insert(
    tx: &mut Transaction,
    chain: &ChainId,
    run: AttestedRange,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO attested_range (chain_id, first_block, last_block, verdict)
        VALUES ($1, $2, $3, $4)
        "#,
        chain.as_str(),
        row::to_i64(run.first.0, "block number")?,
        row::to_i64(run.last.0, "block number")?,
        run.verdict.code(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Nothing above a block counts any more.
///
/// # Errors
/// When the database fails.
pub async fn cut_above(
    tx: &mut Transaction,
    chain: &ChainId,
    fork: BlockNumber,
) -> Result<(), StoreError> {
    let fork = row::to_i64(fork.0, "block number")?;
    sqlx::query!(
        "DELETE FROM attested_range WHERE chain_id = $1 AND first_block > $2",
        chain.as_str(),
        fork,
    )
    .execute(&mut **tx)
    .await?;
    sqlx::query!(
        "UPDATE attested_range SET last_block = $2 WHERE chain_id = $1 AND last_block > $2",
        chain.as_str(),
        fork,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The runs from the newest down, at most `limit`, cut to blocks up to a height.
///
/// # Errors
/// When the database fails.
pub async fn newest(
    store: &Store,
    chain: &ChainId,
    up_to: BlockNumber,
    limit: u32,
) -> Result<Vec<AttestedRange>, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT first_block, LEAST(last_block, $2) AS "last_block!", verdict FROM attested_range
        WHERE chain_id = $1 AND first_block <= $2
        ORDER BY first_block DESC
        LIMIT $3
        "#,
        chain.as_str(),
        row::to_i64(up_to.0, "block number")?,
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?;
    let mut runs: Vec<AttestedRange> = found
        .into_iter()
        .map(|found| range(found.first_block, found.last_block, found.verdict))
        .collect::<Result<_, _>>()?;
    runs.reverse();
    let Some(lowest) = runs.first().map(|run| run.first) else {
        return Ok(runs);
    };
    let mut runs = filled(&runs, (lowest, up_to));
    runs.reverse();
    runs.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(runs)
}

/// The runs of a range of heights, lowest first and without a gap.
///
/// # Errors
/// When the database fails.
pub async fn within(
    store: &Store,
    chain: &ChainId,
    (first, last): (BlockNumber, BlockNumber),
) -> Result<Vec<AttestedRange>, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT first_block, last_block, verdict FROM attested_range
        WHERE chain_id = $1 AND first_block <= $3 AND last_block >= $2
        ORDER BY first_block
        "#,
        chain.as_str(),
        row::to_i64(first.0, "block number")?,
        row::to_i64(last.0, "block number")?,
    )
    .fetch_all(&store.pool)
    .await?;
    let runs: Vec<AttestedRange> = found
        .into_iter()
        .map(|found| {
            let run = range(found.first_block, found.last_block, found.verdict)?;
            Ok(AttestedRange { first: run.first.max(first), last: run.last.min(last), ..run })
        })
        .collect::<Result<_, StoreError>>()?;
    Ok(filled(&runs, (first, last)))
}

/// Runs without a gap over a range of heights, lowest first: what is in none is unchecked.
fn filled(runs: &[AttestedRange], (first, last): (BlockNumber, BlockNumber)) -> Vec<AttestedRange> {
    let unchecked = AttestedRange { first, last, verdict: AttestedAs::Unchecked };
    runs.iter().fold(vec![unchecked], |all, run| covered(&all, *run))
}

/// How many blocks from the first of the log up to a height there are of each verdict that there is.
///
/// # Errors
/// When the database fails.
pub async fn totals(
    store: &Store,
    chain: &ChainId,
    up_to: BlockNumber,
) -> Result<BTreeMap<AttestedAs, u64>, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT verdict, sum(LEAST(last_block, $2) - first_block + 1)::bigint AS "blocks!",
               min(first_block) AS "first!",
               (SELECT first_number FROM chain_tip WHERE chain_id = $1) AS log_first
        FROM attested_range
        WHERE chain_id = $1 AND first_block <= $2
        GROUP BY verdict
        "#,
        chain.as_str(),
        row::to_i64(up_to.0, "block number")?,
    )
    .fetch_all(&store.pool)
    .await?;
    let mut totals = BTreeMap::new();
    let mut first = up_to.next();
    for found in found {
        first = first.min(row::number(found.log_first.unwrap_or(found.first))?);
        totals.insert(AttestedAs::read(found.verdict)?, row::total(found.blocks)?);
    }
    let (all, told) = ((up_to.0 + 1).saturating_sub(first.0), totals.values().sum::<u64>());
    if all > told {
        *totals.entry(AttestedAs::Unchecked).or_default() += all - told;
    }
    Ok(totals)
}

/// The newest attestation of each block of a range of heights that has one, on whatever branch.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn newest_in(
    store: &Store,
    chain: &ChainId,
    (first, last): (BlockNumber, BlockNumber),
) -> Result<BTreeMap<(BlockNumber, BranchEpoch), Entry>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT max(seq) AS "seq!" FROM log
        WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND kind = 12
        GROUP BY block_number, branch_epoch
        "#,
        chain.as_str(),
        row::to_i64(first.0, "block number")?,
        row::to_i64(last.0, "block number")?,
    )
    .fetch_all(&store.pool)
    .await?;
    let seqs: Vec<Seq> = found.into_iter().map(row::seq).collect::<Result<_, _>>()?;
    let entries = log::entries(store, &seqs).await?.into_iter();
    let placed = entries.filter_map(|entry| {
        let block = entry.draft.block?;
        Some(((block.number, block.epoch), entry))
    });
    Ok(placed.collect())
}

/// Whether the runs reach from one height to another without a gap.
///
/// # Errors
/// When the database fails.
pub async fn is_whole(
    store: &Store,
    chain: &ChainId,
    (first, last): (BlockNumber, BlockNumber),
) -> Result<bool, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT min(first_block) AS first, max(last_block) AS last,
               sum(last_block - first_block + 1)::bigint AS blocks
        FROM attested_range
        WHERE chain_id = $1
        "#,
        chain.as_str(),
    )
    .fetch_one(&store.pool)
    .await?;
    let first = row::to_i64(first.0, "block number")?;
    let last = row::to_i64(last.0, "block number")?;
    let is_there = (found.first, found.last) == (Some(first), Some(last));
    Ok(is_there && found.blocks == Some(last - first + 1))
}

/// Makes the runs anew, in a transaction that holds the head lock.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn rebuild(tx: &mut Transaction, chain: &ChainId) -> Result<(), StoreError> {
    let runs = fold(tx, chain).await?;
    sqlx::query!("DELETE FROM attested_range WHERE chain_id = $1", chain.as_str())
        .execute(&mut **tx)
        .await?;
    for run in runs {
        insert(tx, chain, run).await?;
    }
    Ok(())
}

/// The runs as the log has them: a scan of all of it.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn from_log(store: &Store, chain: &ChainId) -> Result<Vec<AttestedRange>, StoreError> {
    fold(&mut store.begin().await?, chain).await
}

async fn fold(tx: &mut Transaction, chain: &ChainId) -> Result<Vec<AttestedRange>, StoreError> {
    let widenings = widenings(tx, chain).await?;
    let mut found = sqlx::query!(
        r#"
        SELECT DISTINCT ON (l.block_number)
               l.block_number AS "block_number!", l.seq, l.schema_version, l.payload
        FROM log l
        JOIN block_key k
          ON k.chain_id = l.chain_id AND k.block_number = l.block_number
         AND k.branch_epoch = l.branch_epoch
        JOIN chain_tip t ON t.chain_id = l.chain_id AND t.block_number >= l.block_number
        WHERE l.chain_id = $1 AND l.kind = 12
          AND k.branch_epoch = (
              SELECT max(o.branch_epoch) FROM block_key o
              WHERE o.chain_id = k.chain_id AND o.block_number = k.block_number
          )
        ORDER BY l.block_number, l.seq DESC
        "#,
        chain.as_str(),
    )
    .fetch(&mut **tx);
    let mut runs = Vec::new();
    while let Some(found) = found.try_next().await? {
        let (seq, number) = (row::seq(found.seq)?, row::number(found.block_number)?);
        let is_outdated = widenings
            .iter()
            .any(|(widened, fact)| seq < *widened && fact.first <= number && number <= fact.last);
        let verdict = match is_outdated {
            true => AttestedAs::Unchecked,
            false => verdict(seq, found.schema_version, &found.payload)?,
        };
        push(&mut runs, (number, verdict));
    }
    Ok(runs)
}

/// All widenings, by the positions of their entries.
async fn widenings(
    tx: &mut Transaction,
    chain: &ChainId,
) -> Result<Vec<(Seq, WatchWidened)>, StoreError> {
    sqlx::query!(
        "SELECT seq, schema_version, payload FROM log WHERE chain_id = $1 AND kind = 15",
        chain.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(|found| {
        let seq = row::seq(found.seq)?;
        match Fact::decode(Kind::WatchWidened, found.schema_version, &found.payload) {
            Ok(Fact::WatchWidened(fact)) => Ok((seq, fact)),
            Ok(_) => Err(StoreError::Range("kind")),
            Err(problem) => Err(StoreError::Corrupt { seq, problem: problem.to_string() }),
        }
    })
    .collect()
}

fn verdict(seq: Seq, version: i16, payload: &[u8]) -> Result<AttestedAs, StoreError> {
    match Fact::decode(Kind::BlockAttested, version, payload) {
        Ok(Fact::BlockAttested(fact)) => Ok(AttestedAs::from(&fact.verdict)),
        Ok(_) => Err(StoreError::Range("kind")),
        Err(problem) => Err(StoreError::Corrupt { seq, problem: problem.to_string() }),
    }
}

fn range(first: i64, last: i64, verdict: i16) -> Result<AttestedRange, StoreError> {
    Ok(AttestedRange {
        first: row::number(first)?,
        last: row::number(last)?,
        verdict: AttestedAs::read(verdict)?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(first: u64, last: u64, verdict: AttestedAs) -> AttestedRange {
        AttestedRange { first: BlockNumber(first), last: BlockNumber(last), verdict }
    }

    fn blocks(runs: &[AttestedRange]) -> Vec<(u64, AttestedAs)> {
        runs.iter()
            .flat_map(|run| (run.first.0..=run.last.0).map(|number| (number, run.verdict)))
            .collect()
    }

    fn verdicts() -> impl Strategy<Value = AttestedAs> {
        proptest::sample::select(AttestedAs::ALL.to_vec())
    }

    proptest! {
        #[test]
        fn a_new_run_counts_and_the_others_stay(
            old in proptest::collection::vec(verdicts(), 1..40),
            (first, length, verdict) in (0u64..42, 1u64..20, verdicts()),
        ) {
            let all = runs((0..).map(BlockNumber).zip(old.iter().copied()));
            // As the table has it: a new run overlaps the old ones, or touches the last.
            let first = first.min(old.len() as u64);
            let new = run(first, first + length - 1, verdict);
            let touches = |run: &AttestedRange| {
                run.first <= new.last.next() && new.first <= run.last.next()
            };
            let (near, far): (Vec<_>, Vec<_>) = all.into_iter().partition(touches);
            let mut result = covered(&near, new);
            result.extend(far);
            result.sort_by_key(|run| run.first);
            let mut expected = old;
            for place in first..first + length {
                let place = usize::try_from(place).unwrap();
                if place < expected.len() {
                    expected[place] = verdict;
                } else {
                    expected.push(verdict);
                }
            }
            let expected: Vec<_> = (0u64..).zip(expected).collect();
            prop_assert_eq!(blocks(&result), expected.clone());
            // As few runs as there can be.
            let fewest = runs(expected.into_iter().map(|(number, one)| (BlockNumber(number), one)));
            prop_assert_eq!(result, fewest);
        }
    }
}
