//! Reading the log by position. Because `seq` is dense and in commit order, a reader needs only
//! `seq > last`.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use obsqra_events::{Draft, Entry, Fact, Kind};
use obsqra_types::{ChainId, ContractAddress, Seq};

use crate::{Head, Store, StoreError, row};

struct LogRow {
    seq: i64,
    kind: i16,
    schema_version: i16,
    chain_id: String,
    block_number: Option<i64>,
    branch_epoch: Option<i32>,
    occurred_at: Option<DateTime<Utc>>,
    recorded_at: DateTime<Utc>,
    payload: Vec<u8>,
    content_hash: Vec<u8>,
    hash: Vec<u8>,
}

impl TryFrom<LogRow> for Entry {
    type Error = StoreError;

    fn try_from(found: LogRow) -> Result<Self, StoreError> {
        let seq = row::seq(found.seq)?;
        read_row(found, seq).map_err(|error| match error {
            StoreError::Range(what) => {
                StoreError::Corrupt { seq, problem: format!("{what} is out of range") }
            }
            other => other,
        })
    }
}

fn read_row(found: LogRow, seq: Seq) -> Result<Entry, StoreError> {
    let kind = Kind::try_from(found.kind)
        .map_err(|unknown| StoreError::Corrupt { seq, problem: unknown.to_string() })?;
    Ok(Entry {
        seq,
        recorded_at: row::recorded_at(found.recorded_at),
        draft: Draft {
            kind,
            version: found.schema_version,
            chain: row::chain_id(&found.chain_id)?,
            block: row::block_ref(found.block_number, found.branch_epoch, found.occurred_at)?,
            payload: found.payload,
            content_hash: row::hash32(&found.content_hash)?,
        },
        hash: row::hash32(&found.hash)?,
    })
}

/// The last entry's position and hash.
///
/// # Errors
/// When the database fails.
pub async fn head(store: &Store) -> Result<Head, StoreError> {
    let found = sqlx::query!("SELECT seq, hash FROM log_head").fetch_one(&store.pool).await?;
    Ok(Head { seq: row::seq(found.seq)?, hash: row::hash32(&found.hash)? })
}

/// Up to `limit` entries after a position, in order.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn read_after(store: &Store, after: Seq, limit: u32) -> Result<Vec<Entry>, StoreError> {
    let rows = sqlx::query_as!(
        LogRow,
        r#"
        SELECT seq, kind, schema_version, chain_id, block_number, branch_epoch,
               occurred_at, recorded_at, payload, content_hash, hash
        FROM log
        WHERE seq > $1
        ORDER BY seq
        LIMIT $2
        "#,
        row::to_i64(after.0, "seq")?,
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?;
    rows.into_iter().map(Entry::try_from).collect()
}

/// Up to `limit` entries of a chain that revert a block, after a position and up to another, in order.
/// They are found over an index of their own, whatever else the log holds in between.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn reverts_after(
    store: &Store,
    chain: &ChainId,
    (after, up_to): (Seq, Seq),
    limit: u32,
) -> Result<Vec<Entry>, StoreError> {
    // The kind stands in the text, as in the index's condition: a parameter would not match it.
    sqlx::query_as!(
        LogRow,
        r#"
        SELECT seq, kind, schema_version, chain_id, block_number, branch_epoch,
               occurred_at, recorded_at, payload, content_hash, hash
        FROM log
        WHERE kind = 13 AND chain_id = $1 AND seq > $2 AND seq <= $3
        ORDER BY seq
        LIMIT $4
        "#,
        chain.as_str(),
        row::to_i64(after.0, "seq")?,
        row::to_i64(up_to.0, "seq")?,
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(Entry::try_from)
    .collect()
}

/// The events of some contracts among the entries of a chain after a position and up to another, in order. Which
/// entries are looked at is bounded by the positions alone: there is no index over contracts.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn events_of(
    store: &Store,
    chain: &ChainId,
    (after, up_to): (Seq, Seq),
    contracts: &BTreeSet<ContractAddress>,
) -> Result<Vec<Entry>, StoreError> {
    let addresses: Vec<Vec<u8>> =
        contracts.iter().map(|contract| row::felt_bytes(&contract.0)).collect();
    let found = sqlx::query_as!(
        LogRow,
        r#"
        SELECT seq, kind, schema_version, chain_id, block_number, branch_epoch,
               occurred_at, recorded_at, payload, content_hash, hash
        FROM log
        WHERE seq > $1 AND seq <= $2 AND kind = 11 AND chain_id = $3
          AND EXISTS (SELECT FROM unnest($4::bytea[]) a (address) WHERE position(a.address IN payload) > 0)
        ORDER BY seq
        "#,
        row::to_i64(after.0, "seq")?,
        row::to_i64(up_to.0, "seq")?,
        chain.as_str(),
        &addresses,
    )
    .fetch_all(&store.pool)
    .await?;
    let mut entries = Vec::new();
    for found in found {
        let entry = Entry::try_from(found)?;
        // The address may also stand among an event's data.
        match entry.draft.fact() {
            Ok(Fact::Event(event)) if contracts.contains(&event.from_address) => {
                entries.push(entry);
            }
            Ok(_) => {}
            Err(problem) => {
                return Err(StoreError::Corrupt { seq: entry.seq, problem: problem.to_string() });
            }
        }
    }
    Ok(entries)
}

/// The first entry beyond the head, which no append leaves there; `None` in an honest log. Head and
/// entries are read in one statement, so that an append under way does not show in one alone.
pub(super) async fn beyond_head(store: &Store) -> Result<Option<Seq>, StoreError> {
    let found = sqlx::query_scalar!(
        r#"SELECT min(l.seq) FROM log l WHERE l.seq > (SELECT h.seq FROM log_head h)"#
    )
    .fetch_one(&store.pool)
    .await?;
    found.map(row::seq).transpose()
}

/// One entry; `None` beyond the head.
///
/// # Errors
/// When the database fails or the entry cannot be read.
pub async fn entry(store: &Store, seq: Seq) -> Result<Option<Entry>, StoreError> {
    Ok(entries(store, &[seq]).await?.pop())
}

/// Some entries, in order of position; those that do not exist are left out.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn entries(store: &Store, seqs: &[Seq]) -> Result<Vec<Entry>, StoreError> {
    let seqs: Vec<i64> =
        seqs.iter().map(|seq| row::to_i64(seq.0, "seq")).collect::<Result<_, _>>()?;
    sqlx::query_as!(
        LogRow,
        r#"
        SELECT seq, kind, schema_version, chain_id, block_number, branch_epoch,
               occurred_at, recorded_at, payload, content_hash, hash
        FROM log
        WHERE seq = ANY($1)
        ORDER BY seq
        "#,
        &seqs,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(Entry::try_from)
    .collect()
}
