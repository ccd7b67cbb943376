//! Facts as rows.

use obsqra_events::{
    AbsentInput, AllocationBasis, AnomalyFound, Infeasibility, RiskAbsent, RiskScored, Share,
};
use obsqra_protocols::{MarketMetrics, TokenPrice};
use obsqra_store::projection::allocation_snapshot::AllocationSnapshotRow;
use obsqra_store::projection::anomaly::AnomalyRow;
use obsqra_store::projection::block::BlockRow;
use obsqra_store::projection::market_metrics::MarketMetricsRow;
use obsqra_store::projection::price::PriceRow;
use obsqra_store::projection::risk_score::RiskScoreRow;
use obsqra_store::projection::{Absent, OPEN, Ranges};
use obsqra_types::{BlockRef, ChainId, Felt, Seq};

use crate::WorkError;
use crate::chain_fold::FoldedBlock;

/// Heights and positions beyond 63 bits do not come out of the database.
pub(super) fn signed(value: u64, seq: Seq) -> Result<i64, WorkError> {
    i64::try_from(value).map_err(|_| out_of_range(seq))
}

pub(super) fn signed32(value: u32, seq: Seq) -> Result<i32, WorkError> {
    i32::try_from(value).map_err(|_| out_of_range(seq))
}

pub(super) fn out_of_range(seq: Seq) -> WorkError {
    WorkError::Log { seq, problem: "a number is out of range".into() }
}

pub(super) fn bytes(felt: &Felt) -> Vec<u8> {
    felt.to_bytes_be().to_vec()
}

/// The ranges of what happened in a block and holds for it alone.
pub(super) fn point(block: BlockRef, seq: Seq) -> Result<Ranges, WorkError> {
    let number = signed(block.number.0, seq)?;
    Ok(Ranges {
        from_block: number,
        to_block: number + 1,
        from_seq: signed(seq.0, seq)?,
        to_seq: OPEN,
    })
}

pub(super) fn time(block: BlockRef, seq: Seq) -> Result<chrono::DateTime<chrono::Utc>, WorkError> {
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

pub(super) fn market(
    chain: &ChainId,
    number: i64,
    seq: Seq,
    metrics: &MarketMetrics,
) -> Result<MarketMetricsRow, WorkError> {
    let narrow = |bps: Option<obsqra_types::Bps>| bps.map(|bps| signed32(bps.0, seq)).transpose();
    let (lending, pool) = (&metrics.lending, &metrics.pool);
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
        volatility_1d_bps: narrow(metrics.volatility_1d_bps)?,
        volatility_30d_bps: narrow(metrics.volatility_30d_bps)?,
        drawdown_bps: narrow(metrics.drawdown_bps)?,
        supply_apy_bps: narrow(metrics.supply_apy_bps)?,
        opened_at: metrics
            .opened_at
            .map(|at| at.to_datetime().ok_or_else(|| out_of_range(seq)))
            .transpose()?,
        borrow_rate: lending.borrow_rate.map(|rate| rate.0.to_string()),
        supply_rate: lending.supply_rate.map(|rate| rate.0.to_string()),
        supplied: lending.supplied.map(|amount| amount.0.to_string()),
        borrowed: lending.borrowed.map(|amount| amount.0.to_string()),
        withdraw_headroom: lending.withdraw_headroom.map(|amount| amount.0.to_string()),
        exit_shock_bps: narrow(lending.exit_shock_bps)?,
        suppliers: lending.suppliers.map(|count| signed(count, seq)).transpose()?,
        top1_bps: narrow(lending.top1_bps)?,
        top5_bps: narrow(lending.top5_bps)?,
        hhi_bps: narrow(lending.hhi_bps)?,
        accumulator_excess_ppb: lending.accumulator_excess.map(|excess| excess.0),
        volume_24h_usdc: pool.volume_24h.map(|value| value.0.to_string()),
        fees_24h_usdc: pool.fees_24h.map(|value| value.0.to_string()),
        depth_up_usdc: pool.depth_up.map(|value| value.0.to_string()),
        depth_down_usdc: pool.depth_down.map(|value| value.0.to_string()),
        oracle_price_usd: metrics.oracle_price.map(|price| price.0.to_string()),
        counted: metrics.counted,
        absent: absent(&metrics.absent),
    })
}

pub(super) fn price(
    chain: &ChainId,
    number: i64,
    seq: Seq,
    price: &TokenPrice,
) -> Result<PriceRow, WorkError> {
    let (protocol, market) = match &price.market {
        Some((protocol, market)) => (Some(protocol.to_string()), Some(market.to_string())),
        None => (None, None),
    };
    Ok(PriceRow {
        chain_id: chain.to_string(),
        token: bytes(&price.token.0),
        source: price.source.to_string(),
        ranges: Ranges::open(number, signed(seq.0, seq)?),
        symbol: price.symbol.clone(),
        price_usdc: price.price.ok().map(|price| price.0.to_string()),
        protocol,
        market,
        reason: price.price.err().map(|reason| reason.to_string()),
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

pub(super) fn anomaly(
    chain: &ChainId,
    block: BlockRef,
    seq: Seq,
    fact: &AnomalyFound,
) -> Result<AnomalyRow, WorkError> {
    Ok(AnomalyRow {
        chain_id: chain.to_string(),
        protocol: fact.protocol.to_string(),
        market: fact.market.as_ref().map(ToString::to_string).unwrap_or_default(),
        rule: fact.rule.clone(),
        ranges: Ranges::open(signed(block.number.0, seq)?, signed(seq.0, seq)?),
        entry_seq: signed(seq.0, seq)?,
        block_hash: bytes(&fact.block_hash.0),
        occurred_at: time(block, seq)?,
        severity: fact.severity.name().to_owned(),
        phase: fact.phase.name().to_owned(),
        detail: fact.detail.clone(),
    })
}

pub(super) fn allocation(
    chain: &ChainId,
    block: BlockRef,
    seq: Seq,
    basis: &AllocationBasis,
    outcome: Result<&[Share], &Infeasibility>,
) -> Result<AllocationSnapshotRow, WorkError> {
    let share =
        |share: &Share| signed32(share.share.0, seq).map(|bps| (share.protocol.to_string(), bps));
    let shares = outcome.ok().map(|shares| shares.iter().map(share).collect::<Result<_, _>>());
    Ok(AllocationSnapshotRow {
        chain_id: chain.to_string(),
        policy: basis.policy.id.to_string(),
        ranges: Ranges::open(signed(block.number.0, seq)?, signed(seq.0, seq)?),
        entry_seq: signed(seq.0, seq)?,
        block_hash: bytes(&basis.block_hash.0),
        occurred_at: time(block, seq)?,
        version: basis.policy.version.clone(),
        rule: basis.policy.rule.clone(),
        shares: shares.transpose()?,
        failure: outcome.err().map(|failure| failure.name().to_owned()),
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
