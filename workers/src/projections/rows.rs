//! Facts as rows.

use std::sync::Arc;

use obsqra_events::{AbsentInput, EventData, RiskAbsent, RiskScored};
use obsqra_protocols::{Contracts, MarketMetrics, Registry, decode};
use obsqra_store::projection::block::BlockRow;
use obsqra_store::projection::event::EventRow;
use obsqra_store::projection::market_metrics::MarketMetricsRow;
use obsqra_store::projection::risk_score::RiskScoreRow;
use obsqra_store::projection::{Absent, OPEN, Ranges};
use obsqra_types::{BlockHash, BlockRef, ChainId, Felt, Seq};

use crate::WorkError;
use crate::chain_fold::FoldedBlock;

/// Heights and positions beyond 63 bits do not come out of the database.
pub(super) fn signed(value: u64, seq: Seq) -> Result<i64, WorkError> {
    i64::try_from(value).map_err(|_| out_of_range(seq))
}

fn signed32(value: u32, seq: Seq) -> Result<i32, WorkError> {
    i32::try_from(value).map_err(|_| out_of_range(seq))
}

fn out_of_range(seq: Seq) -> WorkError {
    WorkError::Log { seq, problem: "a number is out of range".into() }
}

fn bytes(felt: &Felt) -> Vec<u8> {
    felt.to_bytes_be().to_vec()
}

/// The ranges of what happened in a block and holds for it alone.
fn point(block: BlockRef, seq: Seq) -> Result<Ranges, WorkError> {
    let number = signed(block.number.0, seq)?;
    Ok(Ranges {
        from_block: number,
        to_block: number + 1,
        from_seq: signed(seq.0, seq)?,
        to_seq: OPEN,
    })
}

fn time(block: BlockRef, seq: Seq) -> Result<chrono::DateTime<chrono::Utc>, WorkError> {
    block.timestamp.to_datetime().ok_or_else(|| out_of_range(seq))
}

pub(super) fn block(chain: &ChainId, folded: &FoldedBlock) -> Result<BlockRow, WorkError> {
    let seq = folded.applied_seq;
    Ok(BlockRow {
        chain_id: chain.to_string(),
        ranges: point(folded.block, seq)?,
        branch_epoch: signed32(folded.block.epoch.0, seq)?,
        block_hash: bytes(&folded.hash.0),
        parent_hash: bytes(&folded.applied.parent_hash.0),
        occurred_at: time(folded.block, seq)?,
        event_count: signed32(folded.applied.watched_events, seq)?,
    })
}

/// `None` for a contract that no protocol of the registry owns.
pub(super) fn event(
    chain: &ChainId,
    (block, hash): (BlockRef, BlockHash),
    registry: &Registry,
    (seq, event): (&Seq, &EventData),
) -> Result<Option<EventRow>, WorkError> {
    let Some(decoded) = decode(&Contracts::new(Arc::new(registry.clone())), event) else {
        return Ok(None);
    };
    Ok(Some(EventRow {
        chain_id: chain.to_string(),
        ranges: point(block, *seq)?,
        branch_epoch: signed32(block.epoch.0, *seq)?,
        block_hash: bytes(&hash.0),
        occurred_at: time(block, *seq)?,
        protocol: decoded.protocol.to_string(),
        name: decoded.name.map(str::to_owned),
        contract: bytes(&event.from_address.0),
        transaction_hash: bytes(&event.transaction_hash.0),
        event_index: signed32(event.index.0, *seq)?,
        keys: event.keys.iter().flat_map(Felt::to_bytes_be).collect(),
        data: event.data.iter().flat_map(Felt::to_bytes_be).collect(),
        decoded: decoded.event.map(|event| event.to_json()),
    }))
}

pub(super) fn market(
    chain: &ChainId,
    number: i64,
    seq: Seq,
    metrics: &MarketMetrics,
) -> Result<MarketMetricsRow, WorkError> {
    let narrow = |bps: Option<obsqra_types::Bps>| bps.map(|bps| signed32(bps.0, seq)).transpose();
    Ok(MarketMetricsRow {
        chain_id: chain.to_string(),
        protocol: metrics.protocol.to_string(),
        market: metrics.market.to_string(),
        ranges: Ranges::open(number, signed(seq.0, seq)?),
        asset: metrics.asset.clone(),
        asset_address: bytes(&metrics.asset_address.0),
        utilization_bps: narrow(metrics.utilization_bps)?,
        turnover_bps: narrow(metrics.turnover_bps)?,
        volatility_bps: narrow(metrics.volatility_bps)?,
        liquidity_class: metrics.liquidity_class.map(i16::from),
        price_usdc: metrics.price.map(|price| price.0.to_string()),
        tvl_usdc: metrics.tvl.map(|tvl| tvl.0.to_string()),
        absent: absent(&metrics.absent),
    })
}

pub(super) fn scored(
    chain: &ChainId,
    block: BlockRef,
    seq: Seq,
    fact: &RiskScored,
) -> Result<RiskScoreRow, WorkError> {
    let (c, i) = (&fact.components, &fact.inputs);
    let components = [c.utilization, c.volatility, c.liquidity, c.audit, c.age];
    let inputs = [
        i.utilization_bps,
        i.volatility_bps,
        i.liquidity_class.into(),
        i.audit_score.into(),
        i.age_days,
    ];
    let narrow = |list: [u32; 5]| {
        list.iter().map(|value| signed32(*value, seq)).collect::<Result<Vec<_>, _>>()
    };
    Ok(RiskScoreRow {
        chain_id: chain.to_string(),
        protocol: fact.protocol.to_string(),
        ranges: Ranges::open(signed(block.number.0, seq)?, signed(seq.0, seq)?),
        entry_seq: signed(seq.0, seq)?,
        block_hash: bytes(&fact.block_hash.0),
        occurred_at: time(block, seq)?,
        formula: fact.formula.clone(),
        score: Some(i16::from(fact.score)),
        components: Some(narrow(components)?),
        inputs: Some(narrow(inputs)?),
        absent: Vec::new(),
    })
}

pub(super) fn unscored(
    chain: &ChainId,
    block: BlockRef,
    seq: Seq,
    fact: &RiskAbsent,
) -> Result<RiskScoreRow, WorkError> {
    Ok(RiskScoreRow {
        chain_id: chain.to_string(),
        protocol: fact.protocol.to_string(),
        ranges: Ranges::open(signed(block.number.0, seq)?, signed(seq.0, seq)?),
        entry_seq: signed(seq.0, seq)?,
        block_hash: bytes(&fact.block_hash.0),
        occurred_at: time(block, seq)?,
        formula: fact.formula.clone(),
        score: None,
        components: None,
        inputs: None,
        absent: absent(&fact.absent),
    })
}

fn absent(list: &[AbsentInput]) -> Vec<Absent> {
    list.iter()
        .map(|absent| Absent {
            field: absent.field.clone(),
            reason: absent.reason.clone(),
            detail: absent.detail.clone(),
        })
        .collect()
}
