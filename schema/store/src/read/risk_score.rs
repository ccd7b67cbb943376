//! Risk scores: as of a block, and as a history by log entry.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use obsqra_events::{RiskComponents, RiskInputs};
use obsqra_types::{BlockHash, BlockNumber, ChainId, ProtocolId, Seq, UnixSeconds};

use super::{Absent, Direction, Page, PageRequest, ProtocolAt, state_key};
use crate::{Store, StoreError, row};

/// What the log says of a protocol's risk from a block on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RiskState {
    /// It has a score.
    Scored(Score),
    /// It has none, for these reasons.
    Absent(Vec<Absent>),
}

/// A protocol's risk score.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Score {
    /// The log entry that states it.
    pub entry: Seq,
    /// Whose score it is.
    pub protocol: ProtocolId,
    /// The as-of block.
    pub block: BlockNumber,
    /// Its hash.
    pub hash: BlockHash,
    /// Its header timestamp.
    pub timestamp: UnixSeconds,
    /// The formula, such as `risk-v1.2`.
    pub formula: String,
    /// 5 (least) to 95 (most).
    pub score: u8,
    /// The terms.
    pub components: RiskComponents,
    /// The inputs.
    pub inputs: RiskInputs,
}

/// Which scores a history holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HistoryFilter {
    /// Only this protocol's.
    pub protocol: Option<ProtocolId>,
    /// Only those whose block is at or after this instant.
    pub from: Option<DateTime<Utc>>,
    /// Only those whose block is before this instant.
    pub to: Option<DateTime<Utc>>,
}

struct ScoreRow {
    entry_seq: i64,
    protocol: String,
    from_block: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    formula: String,
    score: Option<i16>,
    components: Option<Vec<i32>>,
    inputs: Option<Vec<i32>>,
}

struct StateRow {
    wanted_protocol: String,
    wanted_block: i64,
    entry_seq: i64,
    from_block: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    formula: String,
    score: Option<i16>,
    components: Option<Vec<i32>>,
    inputs: Option<Vec<i32>>,
    absent: serde_json::Value,
}

impl TryFrom<ScoreRow> for Score {
    type Error = StoreError;

    fn try_from(found: ScoreRow) -> Result<Self, StoreError> {
        let score = found.score.and_then(|score| u8::try_from(score).ok());
        Ok(Self {
            entry: row::seq(found.entry_seq)?,
            protocol: state_key::protocol_id(&found.protocol)?,
            block: row::number(found.from_block)?,
            hash: row::block_hash(&found.block_hash)?,
            timestamp: row::unix_seconds(found.occurred_at)?,
            formula: found.formula,
            score: score.ok_or(StoreError::Range("score"))?,
            components: components(found.components.as_deref())?,
            inputs: inputs(found.inputs.as_deref())?,
        })
    }
}

impl TryFrom<StateRow> for RiskState {
    type Error = StoreError;

    fn try_from(found: StateRow) -> Result<Self, StoreError> {
        if found.score.is_none() {
            return serde_json::from_value(found.absent)
                .map(Self::Absent)
                .map_err(|_| StoreError::Range("absent"));
        }
        Ok(Self::Scored(Score::try_from(ScoreRow {
            entry_seq: found.entry_seq,
            protocol: found.wanted_protocol,
            from_block: found.from_block,
            block_hash: found.block_hash,
            occurred_at: found.occurred_at,
            formula: found.formula,
            score: found.score,
            components: found.components,
            inputs: found.inputs,
        })?))
    }
}

fn components(columns: Option<&[i32]>) -> Result<RiskComponents, StoreError> {
    let Some(&[utilization, volatility, liquidity, audit, age]) = columns else {
        return Err(StoreError::Range("risk components"));
    };
    Ok(RiskComponents {
        utilization: row::count(utilization)?,
        volatility: row::count(volatility)?,
        liquidity: row::count(liquidity)?,
        audit: row::count(audit)?,
        age: row::count(age)?,
    })
}

fn inputs(columns: Option<&[i32]>) -> Result<RiskInputs, StoreError> {
    let Some(&[utilization_bps, volatility_bps, liquidity_class, audit_score, age_days]) = columns
    else {
        return Err(StoreError::Range("risk inputs"));
    };
    let small = |value: i32, what| u8::try_from(value).map_err(|_| StoreError::Range(what));
    Ok(RiskInputs {
        utilization_bps: row::count(utilization_bps)?,
        volatility_bps: row::count(volatility_bps)?,
        liquidity_class: small(liquidity_class, "liquidity class")?,
        audit_score: small(audit_score, "audit score")?,
        age_days: row::count(age_days)?,
    })
}

/// The risk of each protocol as of each block, as known at a position; a protocol of which nothing is
/// known there is left out.
///
/// # Errors
/// When the database fails.
pub async fn at(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    keys: &[ProtocolAt],
) -> Result<BTreeMap<ProtocolAt, RiskState>, StoreError> {
    let columns = state_key::Columns::of(keys)?;
    sqlx::query_as!(
        StateRow,
        r#"
        SELECT w.protocol AS "wanted_protocol!", w.at_block AS "wanted_block!",
               v.entry_seq, v.from_block, v.block_hash, v.occurred_at, v.formula, v.score,
               v.components, v.inputs, v.absent
        FROM unnest($2::text[], $3::bigint[]) AS w (protocol, at_block)
        CROSS JOIN LATERAL (
            SELECT r.entry_seq, r.from_block, r.block_hash, r.occurred_at, r.formula, r.score,
                   r.components, r.inputs, r.absent
            FROM risk_score r
            WHERE r.chain_id = $1 AND r.protocol = w.protocol
              AND r.from_block <= w.at_block AND r.to_block > w.at_block
              AND r.from_seq <= $4 AND r.to_seq > $4
            ORDER BY r.from_block DESC, r.from_seq DESC
            LIMIT 1
        ) AS v
        "#,
        chain.as_str(),
        &columns.protocols,
        &columns.blocks,
        row::to_i64(known_at.0, "seq")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| {
        let key = state_key::key(&found.wanted_protocol, found.wanted_block)?;
        Ok((key, RiskState::try_from(found)?))
    })
    .collect()
}

/// A page of the scores that stand at a position, by log entry. Blocks without a score have no row.
///
/// # Errors
/// When the database fails.
pub async fn history(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &HistoryFilter,
    page: &PageRequest,
) -> Result<Page<Score>, StoreError> {
    let found = match page.direction {
        Direction::Forward => oldest(store, chain, known_at, filter, page).await?,
        Direction::Backward => newest(store, chain, known_at, filter, page).await?,
    };
    let scores = found.into_iter().map(Score::try_from).collect::<Result<_, _>>()?;
    Ok(page.page(scores))
}

async fn oldest(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &HistoryFilter,
    page: &PageRequest,
) -> Result<Vec<ScoreRow>, StoreError> {
    Ok(sqlx::query_as!(
        ScoreRow,
        r#"
        SELECT entry_seq, protocol, from_block, block_hash, occurred_at, formula, score,
               components, inputs
        FROM risk_score
        WHERE chain_id = $1 AND entry_seq > $2 AND entry_seq < $3
          AND from_seq <= $4 AND to_seq > $4
          AND score IS NOT NULL
          AND ($5::text IS NULL OR protocol = $5)
          AND ($6::timestamptz IS NULL OR occurred_at >= $6)
          AND ($7::timestamptz IS NULL OR occurred_at < $7)
        ORDER BY entry_seq
        LIMIT $8
        "#,
        chain.as_str(),
        page.after_seq()?,
        page.before_seq()?,
        row::to_i64(known_at.0, "seq")?,
        filter.protocol.as_ref().map(ProtocolId::as_str),
        filter.from,
        filter.to,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}

async fn newest(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &HistoryFilter,
    page: &PageRequest,
) -> Result<Vec<ScoreRow>, StoreError> {
    Ok(sqlx::query_as!(
        ScoreRow,
        r#"
        SELECT entry_seq, protocol, from_block, block_hash, occurred_at, formula, score,
               components, inputs
        FROM risk_score
        WHERE chain_id = $1 AND entry_seq > $2 AND entry_seq < $3
          AND from_seq <= $4 AND to_seq > $4
          AND score IS NOT NULL
          AND ($5::text IS NULL OR protocol = $5)
          AND ($6::timestamptz IS NULL OR occurred_at >= $6)
          AND ($7::timestamptz IS NULL OR occurred_at < $7)
        ORDER BY entry_seq DESC
        LIMIT $8
        "#,
        chain.as_str(),
        page.after_seq()?,
        page.before_seq()?,
        row::to_i64(known_at.0, "seq")?,
        filter.protocol.as_ref().map(ProtocolId::as_str),
        filter.from,
        filter.to,
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?)
}
