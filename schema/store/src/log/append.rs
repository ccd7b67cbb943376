//! Appending. Facts arrive encoded and hashed; under the head lock they get their position, time and
//! entry hash, and their key rows.
//!
//! This program may not insert into the log. It asks two functions of the database to, which check epoch,
//! last entry, time and hashes again (`ops/docs/decisions/0012-append-function.md`).

use chrono::{DateTime, Utc};
use obsqra_events::{AdoptedWhat, Draft, EntryHash, Kind, chain_hash};
use obsqra_types::{BlockHash, Hash32, RecordedAt, Seq};

use crate::{Fence, StoreError, Transaction, key, row};

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
    let (before, recorded_at) = open(tx, fence).await?;
    let mut outcome = AppendOutcome { before, after: before, unchanged: 0, superseded: 0 };
    let mut rows = Rows::new(recorded_at);
    for fact in facts {
        match key::standing(tx, &fact).await? {
            key::Standing::New => {
                let seq = outcome.after.seq.next();
                for draft in &fact.drafts {
                    outcome.after = rows.push(outcome.after, draft)?;
                }
                key::insert(tx, &fact, seq).await?;
            }
            key::Standing::Unchanged => outcome.unchanged += 1,
            key::Standing::Superseded => outcome.superseded += 1,
        }
    }
    if outcome.after.seq > outcome.before.seq {
        rows.append(tx, fence, before).await?;
    }
    Ok(outcome)
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

fn refusal(error: sqlx::Error, fence: &Fence) -> StoreError {
    let Some(refused) = error.as_database_error() else {
        return error.into();
    };
    match refused.code().as_deref() {
        Some(NOT_HELD) => StoreError::LeaseLost(fence.partition.clone()),
        Some(DOES_NOT_FOLLOW) => StoreError::AppendRefused(refused.message().to_owned()),
        _ => error.into(),
    }
}

/// Columns of the entries to append.
struct Rows {
    recorded_at: DateTime<Utc>,
    kind: Vec<i16>,
    schema_version: Vec<i16>,
    chain_id: Vec<String>,
    block_number: Vec<Option<i64>>,
    branch_epoch: Vec<Option<i32>>,
    occurred_at: Vec<Option<DateTime<Utc>>>,
    payload: Vec<Vec<u8>>,
    content_hash: Vec<Vec<u8>>,
    hash: Vec<Vec<u8>>,
}

impl Rows {
    fn new(recorded_at: DateTime<Utc>) -> Self {
        Self {
            recorded_at,
            kind: Vec::new(),
            schema_version: Vec::new(),
            chain_id: Vec::new(),
            block_number: Vec::new(),
            branch_epoch: Vec::new(),
            occurred_at: Vec::new(),
            payload: Vec::new(),
            content_hash: Vec::new(),
            hash: Vec::new(),
        }
    }

    fn push(&mut self, previous: Head, draft: &Draft) -> Result<Head, StoreError> {
        let seq = previous.seq.next();
        let recorded_at = RecordedAt(self.recorded_at.timestamp_micros());
        let hash = chain_hash(seq, recorded_at, &draft.content_hash, &previous.hash);
        let block = draft.block.as_ref();
        self.kind.push(draft.kind.code());
        self.schema_version.push(draft.version);
        self.chain_id.push(draft.chain.to_string());
        self.block_number.push(block.map(|b| row::to_i64(b.number.0, "block number")).transpose()?);
        self.branch_epoch.push(block.map(|b| row::to_i32(b.epoch.0, "branch epoch")).transpose()?);
        self.occurred_at.push(block.map(|b| row::timestamp(b.timestamp)).transpose()?);
        self.payload.push(draft.payload.clone());
        self.content_hash.push(draft.content_hash.as_bytes().to_vec());
        self.hash.push(hash.as_bytes().to_vec());
        Ok(Head { seq, hash })
    }

    async fn append(
        self,
        tx: &mut Transaction,
        fence: &Fence,
        previous: Head,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            SELECT log_append(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14
            ) AS "appended: ()"
            "#,
            fence.partition.to_string(),
            fence.epoch.0,
            row::to_i64(previous.seq.0, "seq")?,
            previous.hash.as_bytes().as_slice(),
            self.recorded_at,
            &self.kind,
            &self.schema_version,
            &self.chain_id,
            &self.block_number as &[Option<i64>],
            &self.branch_epoch as &[Option<i32>],
            &self.occurred_at as &[Option<DateTime<Utc>>],
            &self.payload,
            &self.content_hash,
            &self.hash,
        )
        .execute(&mut **tx)
        .await
        .map_err(|error| refusal(error, fence))?;
        Ok(())
    }
}
