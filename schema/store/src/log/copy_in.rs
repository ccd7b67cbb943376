//! What an append costs at the least: its rows by bare binary `COPY`, with a superuser's rights. For measuring.
//!
//! Nothing is checked and nobody's lease is asked for. The rows lie in files that the server reads by itself: over
//! a connection the end of each `COPY` waits up to 40 ms for an acknowledgement, since the driver does not set
//! `TCP_NODELAY`. They are the rows that an append would have written, so that appends can go on after them
//! once [`move_head`] was called.

use std::path::{Path, PathBuf};
use std::{fs, io};

use chrono::DateTime;
use obsqra_events::{Draft, chain_hash};
use obsqra_types::{RecordedAt, Seq};
use sqlx::AssertSqlSafe;

use super::copy::{COLUMN_COUNT, COLUMNS, EPOCH_2000, SIGNATURE};
use super::{Head, Key, Keyed};
use crate::{Store, StoreError, Transaction, row};

const KEY_COLUMNS: &str = "chain_id, block_number, branch_epoch, block_hash, parent_hash, occurred_at, \
                           seq, watched_events, content_hash";
const KEY_COLUMN_COUNT: u16 = 9;

/// The rows of one transaction, as `COPY` takes them.
#[derive(Debug)]
pub struct CopyIn {
    log: Vec<u8>,
    keys: Vec<u8>,
    after: Head,
    recorded_at: RecordedAt,
}

impl CopyIn {
    /// The rows of new facts that follow a head.
    ///
    /// # Errors
    /// When a number does not fit its column.
    pub fn new(before: Head, recorded_at: RecordedAt, facts: &[Keyed]) -> Result<Self, StoreError> {
        let mut rows = Self { log: begun(), keys: begun(), after: before, recorded_at };
        for fact in facts {
            let first = rows.after.seq.next();
            for draft in &fact.drafts {
                rows.entry(draft)?;
            }
            rows.key(fact, first)?;
        }
        for table in [&mut rows.log, &mut rows.keys] {
            table.extend((-1_i16).to_be_bytes());
        }
        Ok(rows)
    }

    /// Writes them to two files, of the log and of the keys of blocks, that the server is to read.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(&self, files: &CopyFiles) -> io::Result<()> {
        fs::write(&files.log, &self.log)?;
        fs::write(&files.keys, &self.keys)
    }

    /// The head after them.
    #[must_use]
    pub fn after(&self) -> Head {
        self.after
    }

    fn entry(&mut self, draft: &Draft) -> Result<(), StoreError> {
        let seq = self.after.seq.next();
        let hash = chain_hash(seq, self.recorded_at, &draft.content_hash, &self.after.hash);
        let block = draft.block.as_ref();
        let out = &mut self.log;
        out.extend(COLUMN_COUNT.to_be_bytes());
        put(out, &row::to_i64(seq.0, "seq")?.to_be_bytes());
        put(out, &draft.kind.code().to_be_bytes());
        put(out, &draft.version.to_be_bytes());
        put(out, draft.chain.as_str().as_bytes());
        match block {
            Some(block) => {
                put(out, &row::to_i64(block.number.0, "block number")?.to_be_bytes());
                put(out, &row::to_i32(block.epoch.0, "branch epoch")?.to_be_bytes());
                put(out, &since_2000(row::timestamp(block.timestamp)?.timestamp_micros()));
            }
            None => out.extend([0xff; 3 * size_of::<i32>()]),
        }
        put(out, &since_2000(self.recorded_at.0));
        put(out, &draft.payload);
        put(out, draft.content_hash.as_bytes());
        put(out, hash.as_bytes());
        self.after = Head { seq, hash };
        Ok(())
    }

    /// The key row of a block; other facts have none here.
    fn key(&mut self, fact: &Keyed, seq: Seq) -> Result<(), StoreError> {
        let Some(draft) = fact.drafts.first() else {
            return Ok(());
        };
        let (Key::Block { hash, parent, watched_events }, Some(block)) = (&fact.key, draft.block)
        else {
            return Ok(());
        };
        let out = &mut self.keys;
        out.extend(KEY_COLUMN_COUNT.to_be_bytes());
        put(out, draft.chain.as_str().as_bytes());
        put(out, &row::to_i64(block.number.0, "block number")?.to_be_bytes());
        put(out, &row::to_i32(block.epoch.0, "branch epoch")?.to_be_bytes());
        put(out, &hash.0.to_bytes_be());
        put(out, &parent.0.to_bytes_be());
        put(out, &since_2000(row::timestamp(block.timestamp)?.timestamp_micros()));
        put(out, &row::to_i64(seq.0, "seq")?.to_be_bytes());
        put(out, &row::to_i32(*watched_events, "number of watched events")?.to_be_bytes());
        put(out, draft.content_hash.as_bytes());
        Ok(())
    }
}

/// Signature, no flags, no extension of the header.
fn begun() -> Vec<u8> {
    [SIGNATURE, &[0; 2 * size_of::<i32>()]].concat()
}

fn put(out: &mut Vec<u8>, value: &[u8]) {
    // A value of 2 GiB would not fit the memory that it was made in.
    out.extend(i32::try_from(value.len()).unwrap_or(i32::MAX).to_be_bytes());
    out.extend(value);
}

fn since_2000(since_1970: i64) -> [u8; 8] {
    (since_1970 - EPOCH_2000).to_be_bytes()
}

/// Where the rows of one transaction lie.
#[derive(Clone, Debug)]
pub struct CopyFiles {
    /// Rows of the log.
    pub log: PathBuf,
    /// Key rows of blocks.
    pub keys: PathBuf,
}

/// Copies rows in, in a transaction of their own. The head of the log stays where it is.
///
/// # Errors
/// When the database refuses them.
pub async fn copy_in(store: &Store, files: &CopyFiles) -> Result<(), StoreError> {
    let mut tx = store.begin().await?;
    copy(&mut tx, &format!("log ({COLUMNS})"), &files.log).await?;
    copy(&mut tx, &format!("block_key ({KEY_COLUMNS})"), &files.keys).await?;
    Ok(tx.commit().await?)
}

async fn copy(tx: &mut Transaction, table: &str, file: &Path) -> Result<(), StoreError> {
    // `COPY` takes no parameters.
    let file = file.display().to_string().replace('\'', "''");
    let statement = format!("COPY {table} FROM '{file}' (FORMAT binary)");
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut **tx).await?;
    Ok(())
}

/// Moves the head of the log behind rows that were copied in.
///
/// # Errors
/// When the database fails, or the store has not an owner's rights.
pub async fn move_head(store: &Store, rows: &CopyIn) -> Result<(), StoreError> {
    let recorded_at = DateTime::from_timestamp_micros(rows.recorded_at.0);
    sqlx::query!(
        "UPDATE log_head SET seq = $1, hash = $2, recorded_at = $3",
        row::to_i64(rows.after.seq.0, "seq")?,
        rows.after.hash.as_bytes().as_slice(),
        recorded_at.ok_or(StoreError::Range("recorded_at"))?,
    )
    .execute(&store.pool)
    .await?;
    Ok(())
}
