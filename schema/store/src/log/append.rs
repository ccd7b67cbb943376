//! Appending. Facts arrive encoded and hashed; under the head lock they get their position, time and
//! entry hash, and their key rows.

use chrono::{DateTime, Utc};
use obsqra_events::{AdoptedWhat, Draft, EntryHash, chain_hash};
use obsqra_types::{BlockHash, Hash32, RecordedAt, Seq};

use crate::notify::{Signal, notify};
use crate::{Fence, StoreError, Transaction, key, lease, row};

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
    /// Adopted bytes: what they are, after the newest of the same sort.
    Adopted {
        /// What they are.
        what: AdoptedWhat,
        /// The version they call themselves.
        version: String,
        /// SHA-256 of the bytes.
        hash: Hash32,
    },
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

/// Appends facts in their order, as the last step of a transaction that the caller then commits.
///
/// Takes the lease row and then the head row, and holds both until the commit. A fact that is in the log
/// with the same bytes is left out; so is a derived fact whose as-of block was reverted.
///
/// # Errors
/// [`StoreError::LeaseLost`] when the fence no longer stands, [`StoreError::KeyConflict`] when a fact
/// is in the log with other bytes. The transaction is then of no use and must be dropped.
pub async fn append(
    tx: &mut Transaction,
    fence: &Fence,
    facts: Vec<Keyed>,
) -> Result<AppendOutcome, StoreError> {
    lease::check(tx, fence).await?;
    let (before, recorded_at) = lock_head(tx).await?;
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
        rows.insert(tx).await?;
        move_head(tx, outcome.after, recorded_at).await?;
        notify(tx, Signal::Log).await?;
    }
    Ok(outcome)
}

/// Locks the head; the time is the database's, and never before that of the last entry.
async fn lock_head(tx: &mut Transaction) -> Result<(Head, DateTime<Utc>), StoreError> {
    // The row is locked before the clock is read: GREATEST is evaluated on the locked version.
    let head = sqlx::query!("SELECT seq, hash, recorded_at FROM log_head FOR UPDATE")
        .fetch_one(&mut **tx)
        .await?;
    let now =
        sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut **tx).await?;
    let recorded_at = now.max(head.recorded_at);
    Ok((Head { seq: row::seq(head.seq)?, hash: row::hash32(&head.hash)? }, recorded_at))
}

async fn move_head(
    tx: &mut Transaction,
    head: Head,
    recorded_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    sqlx::query!(
        "UPDATE log_head SET seq = $1, hash = $2, recorded_at = $3",
        row::to_i64(head.seq.0, "seq")?,
        head.hash.as_bytes().as_slice(),
        recorded_at,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Columns of the rows to insert.
struct Rows {
    recorded_at: DateTime<Utc>,
    seq: Vec<i64>,
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
            seq: Vec::new(),
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
        self.seq.push(row::to_i64(seq.0, "seq")?);
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

    async fn insert(self, tx: &mut Transaction) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            INSERT INTO log (
                seq, kind, schema_version, chain_id, block_number, branch_epoch,
                occurred_at, recorded_at, payload, content_hash, hash
            )
            SELECT u.seq, u.kind, u.schema_version, u.chain_id, u.block_number, u.branch_epoch,
                   u.occurred_at, $11, u.payload, u.content_hash, u.hash
            FROM unnest(
                $1::bigint[], $2::smallint[], $3::smallint[], $4::text[], $5::bigint[],
                $6::integer[], $7::timestamptz[], $8::bytea[], $9::bytea[], $10::bytea[]
            ) AS u (
                seq, kind, schema_version, chain_id, block_number, branch_epoch,
                occurred_at, payload, content_hash, hash
            )
            "#,
            &self.seq,
            &self.kind,
            &self.schema_version,
            &self.chain_id,
            &self.block_number as &[Option<i64>],
            &self.branch_epoch as &[Option<i32>],
            &self.occurred_at as &[Option<DateTime<Utc>>],
            &self.payload,
            &self.content_hash,
            &self.hash,
            self.recorded_at,
        )
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}
