//! Anomalies, by log entry. What says that one is over is no row of its own here: it ends the row of what
//! it closes.

use chrono::{DateTime, Utc};
use obsqra_types::{BlockHash, BlockNumber, ChainId, MarketId, ProtocolId, Seq, UnixSeconds};

use super::{Direction, Page, PageRequest, state_key};
use crate::{Store, StoreError, row};

/// An anomaly that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anomaly {
    /// The log entry that states it.
    pub entry: Seq,
    /// Whose market it is about.
    pub protocol: ProtocolId,
    /// Which market; `None` where it is about the protocol.
    pub market: Option<MarketId>,
    /// The rule's name.
    pub rule: String,
    /// `info`, `warning` or `critical`.
    pub severity: String,
    /// Whether it lasts from its block on.
    pub lasts: bool,
    /// The block as of which it was found.
    pub block: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Its header timestamp.
    pub timestamp: UnixSeconds,
    /// Of one that lasts, the block as of which it was over; `None` while it is not.
    pub closed_at: Option<BlockNumber>,
    /// What was measured, for people.
    pub detail: String,
}

/// Which anomalies to read. What is `None` does not restrict.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnomalyFilter {
    /// Of this protocol.
    pub protocol: Option<ProtocolId>,
    /// Of this rule.
    pub rule: Option<String>,
    /// Of these severities.
    pub severities: Option<Vec<String>>,
    /// Only those that last, and are not over as of [`Self::to_block`].
    pub only_open: bool,
    /// Found as of this block or a later one.
    pub from_block: BlockNumber,
    /// Found as of this block or an earlier one.
    pub to_block: BlockNumber,
}

struct Found {
    entry_seq: i64,
    protocol: String,
    market: String,
    rule: String,
    severity: String,
    phase: String,
    from_block: i64,
    to_block: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    detail: String,
}

impl Found {
    /// The anomaly as of a block: what closed it later is not known there.
    fn into_anomaly(self, block: BlockNumber) -> Result<Anomaly, StoreError> {
        let found = self;
        let lasts = found.phase == "opened";
        let closed = lasts && found.to_block <= row::to_i64(block.0, "block number")?;
        Ok(Anomaly {
            entry: row::seq(found.entry_seq)?,
            protocol: state_key::protocol_id(&found.protocol)?,
            market: (!found.market.is_empty()).then_some(MarketId(found.market)),
            rule: found.rule,
            severity: found.severity,
            lasts,
            block: row::number(found.from_block)?,
            hash: row::block_hash(&found.block_hash)?,
            timestamp: row::unix_seconds(found.occurred_at)?,
            closed_at: closed.then(|| row::number(found.to_block)).transpose()?,
            detail: found.detail,
        })
    }
}

/// A page of the anomalies that stand at a position, by log entry.
///
/// # Errors
/// When the database fails.
pub async fn list(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &AnomalyFilter,
    page: &PageRequest,
) -> Result<Page<Anomaly>, StoreError> {
    let found = match page.direction {
        Direction::Forward => oldest(store, chain, known_at, filter, page).await?,
        Direction::Backward => newest(store, chain, known_at, filter, page).await?,
    };
    let anomalies = found.into_iter().map(|found| found.into_anomaly(filter.to_block));
    Ok(page.page(anomalies.collect::<Result<_, _>>()?))
}

async fn oldest(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &AnomalyFilter,
    page: &PageRequest,
) -> Result<Vec<Found>, StoreError> {
    Ok(sqlx::query_as!(
        Found,
        r#"
        SELECT entry_seq, protocol, market, rule, severity, phase, from_block, to_block, block_hash,
               occurred_at, detail
        FROM anomaly
        WHERE chain_id = $1 AND entry_seq > $2 AND entry_seq < $3
          AND from_seq <= $4 AND to_seq > $4
          AND phase <> 'closed'
          AND ($5::text IS NULL OR protocol = $5)
          AND ($6::text IS NULL OR rule = $6)
          AND ($7::text[] IS NULL OR severity = ANY($7))
          AND from_block BETWEEN $8 AND $9
          AND (NOT $10::bool OR (phase = 'opened' AND to_block > $9))
        ORDER BY entry_seq
        LIMIT $11
        "#,
        chain.as_str(),
        page.after_seq()?,
        page.before_seq()?,
        row::to_i64(known_at.0, "seq")?,
        filter.protocol.as_ref().map(ProtocolId::as_str),
        filter.rule,
        filter.severities.as_deref(),
        row::to_i64(filter.from_block.0, "block number")?,
        row::to_i64(filter.to_block.0, "block number")?,
        filter.only_open,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}

async fn newest(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &AnomalyFilter,
    page: &PageRequest,
) -> Result<Vec<Found>, StoreError> {
    Ok(sqlx::query_as!(
        Found,
        r#"
        SELECT entry_seq, protocol, market, rule, severity, phase, from_block, to_block, block_hash,
               occurred_at, detail
        FROM anomaly
        WHERE chain_id = $1 AND entry_seq > $2 AND entry_seq < $3
          AND from_seq <= $4 AND to_seq > $4
          AND phase <> 'closed'
          AND ($5::text IS NULL OR protocol = $5)
          AND ($6::text IS NULL OR rule = $6)
          AND ($7::text[] IS NULL OR severity = ANY($7))
          AND from_block BETWEEN $8 AND $9
          AND (NOT $10::bool OR (phase = 'opened' AND to_block > $9))
        ORDER BY entry_seq DESC
        LIMIT $11
        "#,
        chain.as_str(),
        page.after_seq()?,
        page.before_seq()?,
        row::to_i64(known_at.0, "seq")?,
        filter.protocol.as_ref().map(ProtocolId::as_str),
        filter.rule,
        filter.severities.as_deref(),
        row::to_i64(filter.from_block.0, "block number")?,
        row::to_i64(filter.to_block.0, "block number")?,
        filter.only_open,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}
