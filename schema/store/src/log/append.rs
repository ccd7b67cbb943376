//! Appending. Facts arrive encoded and hashed; under the head lock they get their position, time and
//! entry hash, and their key rows.
//!
//! This program may not insert into the log. It asks two functions of the database to, which check epoch,
//! last entry, time and hashes again (`ops/docs/decisions/0012-append-function.md`, `0016-append-batch.md`).

use chrono::{DateTime, Utc};
use obsqra_events::{AdoptedWhat, Draft, EntryHash, Kind};
use obsqra_types::{BlockHash, Hash32, Seq};

use super::rows::Rows;
use crate::key::{self, Standing, Stated};
use crate::{Fence, StoreError, Transaction, row};

/// The last entry of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its position; 0 for an empty log.
    pub seq: Seq,
    /// Its hash; zeros for an empty log.
    pub hash: EntryHash,
}

/// What makes a fact unique.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Key {
    /// An applied block: chain, height, branch epoch.
    Block {
        /// The block's hash.
        hash: BlockHash,
        /// The hash of the block below.
        parent: BlockHash,
        /// How many watched events follow.
        watched_events: u32,
    },
    /// A derived fact: kind, version, subject, as-of block.
    Derived {
        /// What the fact is about, such as a protocol id.
        subject: String,
    },
    /// The retraction of a derived fact: its kind and subject, the block and branch of its as-of.
    Retracted {
        /// The kind of the retracted fact.
        kind: Kind,
        /// What the retracted fact is about.
        subject: String,
    },
    /// Adopted bytes: what they are, after the newest of the same sort.
    Adopted {
        /// What they are.
        what: AdoptedWhat,
        /// The version they call themselves.
        version: String,
        /// SHA-256 of the bytes.
        hash: Hash32,
    },
    /// A later attestation of an applied block, which must be canonical still. Unique through the runs of
    /// attested blocks, which change in the same transaction.
    Attested,
    /// Unique through the writer's own state, which changes in the same transaction.
    Plain,
}

/// Facts that are appended together or not at all: a block with its events, or one fact. The key is
/// that of the first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Keyed {
    /// What makes the first fact unique.
    pub key: Key,
    /// The facts.
    pub drafts: Vec<Draft>,
}

/// What an append did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendOutcome {
    /// The head before.
    pub before: Head,
    /// The head after; the same as before when nothing was new.
    pub after: Head,
    /// Facts that were in the log already, with the same bytes.
    pub unchanged: usize,
    /// Derived facts whose as-of block is no longer canonical; they were not written.
    pub superseded: usize,
}

/// SQLSTATE of the append functions: the partition is held with another epoch.
const NOT_HELD: &str = "OB001";
/// SQLSTATE of the append functions: the entries do not follow from the last one.
const DOES_NOT_FOLLOW: &str = "OB002";

/// Appends facts in their order, as the last step of a transaction that the caller then commits.
///
/// Takes the lease row and then the head row, and holds both until the commit. A fact that is in the log
/// with the same bytes is left out; so is a derived fact whose as-of block was reverted.
///
/// # Errors
/// [`StoreError::LeaseLost`] when the fence no longer stands, [`StoreError::KeyConflict`] when a fact
/// is in the log with other bytes, [`StoreError::StillCanonical`] when a fact of the canonical chain is to
/// be retracted, [`StoreError::AppendRefused`] when the database finds that the entries do not follow from
/// its last one. The transaction is then of no use and must be dropped.
pub async fn append(
    tx: &mut Transaction,
    fence: &Fence,
    facts: Vec<Keyed>,
) -> Result<AppendOutcome, StoreError> {
    append_prepared(tx, fence, Prepared::new(facts)?).await
}

/// Facts with all that can be done for an append before the head lock is taken, and on any thread.
#[derive(Debug)]
pub struct Prepared {
    facts: Vec<Keyed>,
    /// As if every fact were new, which is the rule.
    rows: Rows,
}

impl Prepared {
    /// Packs the rows of facts.
    ///
    /// # Errors
    /// When a number does not fit its column.
    pub fn new(facts: Vec<Keyed>) -> Result<Self, StoreError> {
        let rows = Rows::of(facts.iter())?;
        Ok(Self { facts, rows })
    }

    /// The facts.
    #[must_use]
    pub fn into_facts(self) -> Vec<Keyed> {
        self.facts
    }
}

/// As [`append`], of facts that were prepared.
///
/// # Errors
/// As [`append`].
pub async fn append_prepared(
    tx: &mut Transaction,
    fence: &Fence,
    prepared: Prepared,
) -> Result<AppendOutcome, StoreError> {
    let (before, recorded_at) = open(tx, fence).await?;
    let mut outcome = AppendOutcome { before, after: before, unchanged: 0, superseded: 0 };
    let new = new_facts(tx, &prepared.facts, &mut outcome).await?;
    let rows =
        if new.len() == prepared.facts.len() { prepared.rows } else { Rows::of(new.into_iter())? };
    outcome.after = rows.append(tx, fence, (before, recorded_at)).await?;
    Ok(outcome)
}

/// The facts that are new, whose key rows it writes; counts the others.
async fn new_facts<'a>(
    tx: &mut Transaction,
    facts: &'a [Keyed],
    outcome: &mut AppendOutcome,
) -> Result<Vec<&'a Keyed>, StoreError> {
    let stated: Vec<Stated<'_>> = facts.iter().filter_map(Stated::of).collect();
    outcome.unchanged += facts.len() - stated.len();
    let mut last = outcome.before.seq;
    let mut all_new = Vec::with_capacity(facts.len());
    for run in stated.chunk_by(Stated::is_like) {
        let is_claimed = key::claim(tx, run, last).await?;
        let standings = if is_claimed {
            vec![Standing::New; run.len()]
        } else {
            key::standing(tx, run, last).await?
        };
        let mut new = Vec::new();
        for (stated, standing) in run.iter().zip(standings) {
            match standing {
                Standing::New => {
                    new.push((*stated, last.next()));
                    last = Seq(last.0 + stated.fact.drafts.len() as u64);
                    all_new.push(stated.fact);
                }
                Standing::Unchanged => outcome.unchanged += 1,
                Standing::Superseded => outcome.superseded += 1,
            }
        }
        if !is_claimed {
            key::insert(tx, &new).await?;
        }
    }
    Ok(all_new)
}

/// Locks the lease and the head; the time is the database's, and never before that of the last entry.
async fn open(tx: &mut Transaction, fence: &Fence) -> Result<(Head, DateTime<Utc>), StoreError> {
    let opened = sqlx::query!(
        r#"
        SELECT head_seq AS "seq!", head_hash AS "hash!", opened_at AS "at!"
        FROM log_open($1, $2)
        "#,
        fence.partition.to_string(),
        fence.epoch.0,
    )
    .fetch_one(&mut **tx)
    .await
    .map_err(|error| refusal(error, fence))?;
    Ok((Head { seq: row::seq(opened.seq)?, hash: row::hash32(&opened.hash)? }, opened.at))
}

pub(super) fn refusal(error: sqlx::Error, fence: &Fence) -> StoreError {
    let Some(refused) = error.as_database_error() else {
        return error.into();
    };
    match refused.code().as_deref() {
        Some(NOT_HELD) => StoreError::LeaseLost(fence.partition.clone()),
        Some(DOES_NOT_FOLLOW) => StoreError::AppendRefused(refused.message().to_owned()),
        _ => error.into(),
    }
}
