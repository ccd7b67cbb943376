//! Reading some entries of a range: those of a few kinds, heights and times, as the server's own bytes.
//!
//! One scan is one `COPY`, and so one snapshot of the database: whoever reads much reads many short ranges. The
//! conditions are numbers and dates alone, since `COPY` takes no parameters.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use obsqra_events::{Draft, Entry, Kind};
use obsqra_types::{BlockNumber, BlockRef, ChainId, Seq, UnixSeconds};

use super::copy::{RawEntry, Rows, copy_where};
use crate::{Store, StoreError, row};

/// Which entries a scan brings; what is empty or absent bounds nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScanFilter {
    /// Entries of these kinds.
    pub kinds: BTreeSet<Kind>,
    /// Entries of blocks from this height on.
    pub from_block: Option<BlockNumber>,
    /// Entries of blocks up to this height, inclusive.
    pub to_block: Option<BlockNumber>,
    /// Entries of blocks whose header's time is this or later.
    pub since: Option<UnixSeconds>,
    /// Entries of blocks whose header's time is before this.
    pub until: Option<UnixSeconds>,
    /// Entries of these kinds come whatever else is asked for.
    pub always: BTreeSet<Kind>,
}

/// The most that one batch of a scan holds.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimit {
    /// Entries.
    pub entries: usize,
    /// Canonical bytes of all entries, reached by the last one.
    pub bytes: usize,
}

impl ScanFilter {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.kinds.is_empty() && !self.bounds_blocks()
    }

    /// Whether it asks for some heights or times.
    #[must_use]
    pub fn bounds_blocks(&self) -> bool {
        self.from_block.is_some()
            || self.to_block.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }

    /// As SQL, with `AND` before it.
    fn condition(&self) -> Result<String, StoreError> {
        let mut text = String::from("true");
        let mut and = |condition: String| {
            // Writing to a string cannot fail.
            write!(text, " AND {condition}").ok();
        };
        if !self.kinds.is_empty() {
            and(format!("kind IN ({})", codes(&self.kinds)));
        }
        if let Some(from) = self.from_block {
            and(format!("block_number >= {}", row::to_i64(from.0, "block number")?));
        }
        if let Some(to) = self.to_block {
            and(format!("block_number <= {}", row::to_i64(to.0, "block number")?));
        }
        if let Some(since) = self.since {
            and(format!("occurred_at >= '{}'", row::timestamp(since)?.to_rfc3339()));
        }
        if let Some(until) = self.until {
            and(format!("occurred_at < '{}'", row::timestamp(until)?.to_rfc3339()));
        }
        if self.is_everything() {
            return Ok(String::new());
        }
        if self.always.is_empty() {
            return Ok(format!(" AND {text}"));
        }
        Ok(format!(" AND (({text}) OR kind IN ({}))", codes(&self.always)))
    }
}

fn codes(kinds: &BTreeSet<Kind>) -> String {
    kinds.iter().map(|kind| kind.code().to_string()).collect::<Vec<_>>().join(", ")
}

/// The entries of a range that a filter lets through, in order.
pub struct Scan {
    pieces: BoxStream<'static, Result<Bytes, sqlx::Error>>,
    rows: Rows,
    /// The chain of the entry before, which most entries share.
    chain: Option<ChainId>,
}

impl std::fmt::Debug for Scan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scan").finish_non_exhaustive()
    }
}

impl Scan {
    /// Begins to read the entries after a position and up to another, inclusive.
    ///
    /// # Errors
    /// When the database fails, or a bound lies beyond what it can hold.
    pub async fn open(
        store: &Store,
        (after, up_to): (Seq, Seq),
        filter: &ScanFilter,
    ) -> Result<Self, StoreError> {
        let pieces = copy_where(store, (after, up_to), &filter.condition()?).await?;
        Ok(Self { pieces, rows: Rows::default(), chain: None })
    }

    /// The next entries, at least one; `None` at the end of the range.
    ///
    /// # Errors
    /// When the database fails or an entry cannot be read.
    pub async fn next(&mut self, limit: BatchLimit) -> Result<Option<Vec<Entry>>, StoreError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        while entries.len() < limit.entries && bytes < limit.bytes {
            let Some(piece) = self.pieces.next().await else {
                break;
            };
            let piece = piece?;
            let chain = &mut self.chain;
            let read = self.rows.read(&piece, |raw| {
                bytes += raw.payload.len();
                entries.push(entry(&raw, chain)?);
                Ok::<(), StoreError>(())
            });
            read.map_err(|_| StoreError::Corrupt {
                seq: Seq::BEFORE_FIRST,
                problem: "the server sent something else than entries".into(),
            })??;
        }
        Ok(Some(entries).filter(|entries| !entries.is_empty()))
    }
}

fn entry(raw: &RawEntry<'_>, known: &mut Option<ChainId>) -> Result<Entry, StoreError> {
    let seq = row::seq(raw.seq)?;
    read(raw, seq, known).map_err(|error| match error {
        StoreError::Range(what) => {
            StoreError::Corrupt { seq, problem: format!("{what} is out of range") }
        }
        other => other,
    })
}

fn read(raw: &RawEntry<'_>, seq: Seq, known: &mut Option<ChainId>) -> Result<Entry, StoreError> {
    let kind = Kind::try_from(raw.kind)
        .map_err(|unknown| StoreError::Corrupt { seq, problem: unknown.to_string() })?;
    let recorded_at = raw.recorded_at.ok_or(StoreError::Range("recorded_at"))?;
    let draft = Draft {
        kind,
        version: raw.version,
        chain: chain(raw.chain, known)?,
        block: block(raw)?,
        payload: raw.payload.to_vec(),
        content_hash: row::hash32(raw.content_hash)?,
    };
    Ok(Entry { seq, recorded_at, draft, hash: row::hash32(raw.hash)? })
}

fn chain(name: &[u8], known: &mut Option<ChainId>) -> Result<ChainId, StoreError> {
    if let Some(chain) = known.as_ref().filter(|chain| chain.as_str().as_bytes() == name) {
        return Ok(chain.clone());
    }
    let name = std::str::from_utf8(name).map_err(|_| StoreError::Range("chain id"))?;
    Ok(known.insert(row::chain_id(name)?).clone())
}

fn block(raw: &RawEntry<'_>) -> Result<Option<BlockRef>, StoreError> {
    match (raw.block_number, raw.branch_epoch, raw.occurred_at) {
        (None, None, None) => Ok(None),
        (Some(number), Some(epoch), Some(Some(micros))) => {
            let seconds = u64::try_from(micros.div_euclid(1_000_000));
            let epoch = row::epoch(epoch)?;
            let timestamp = seconds.map(UnixSeconds).map_err(|_| StoreError::Range("timestamp"))?;
            Ok(Some(BlockRef { number: row::number(number)?, epoch, timestamp }))
        }
        _ => Err(StoreError::Range("block reference")),
    }
}

/// Whether a range has an event of a chain in the heights and times of a filter.
///
/// # Errors
/// When the database fails.
pub async fn has_events(
    store: &Store,
    chain: &ChainId,
    (after, up_to): (Seq, Seq),
    filter: &ScanFilter,
) -> Result<bool, StoreError> {
    let found = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM log
            WHERE seq > $1 AND seq <= $2 AND kind = 11 AND chain_id = $3
              AND ($4::bigint IS NULL OR block_number >= $4)
              AND ($5::bigint IS NULL OR block_number <= $5)
              AND ($6::timestamptz IS NULL OR occurred_at >= $6)
              AND ($7::timestamptz IS NULL OR occurred_at < $7)
        ) AS "found!"
        "#,
        row::to_i64(after.0, "seq")?,
        row::to_i64(up_to.0, "seq")?,
        chain.as_str(),
        filter.from_block.map(|from| row::to_i64(from.0, "block number")).transpose()?,
        filter.to_block.map(|to| row::to_i64(to.0, "block number")).transpose()?,
        filter.since.map(row::timestamp).transpose()?,
        filter.until.map(row::timestamp).transpose()?,
    )
    .fetch_one(&store.pool)
    .await?;
    Ok(found)
}
