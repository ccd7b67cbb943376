//! Rows of read models with good defaults; a test changes what it is about.

use chrono::DateTime;
use obsqra_store::projection::activity::ActivityRow;
use obsqra_store::projection::allocation_snapshot::AllocationSnapshotRow;
use obsqra_store::projection::anomaly::AnomalyRow;
use obsqra_store::projection::block::BlockRow;
use obsqra_store::projection::event::EventRow;
use obsqra_store::projection::market_metrics::MarketMetricsRow;
use obsqra_store::projection::price::PriceRow;
use obsqra_store::projection::privacy_pool::PrivacyPoolRow;
use obsqra_store::projection::risk_score::RiskScoreRow;
use obsqra_store::projection::{Absent, Ranges};
use obsqra_types::U512;

use super::OPEN;

const CHAIN: &str = "SN_MAIN";

pub(crate) fn felt(value: i64) -> Vec<u8> {
    let mut bytes = vec![0; 32];
    bytes[24..].copy_from_slice(&value.to_be_bytes());
    bytes
}

pub(crate) fn absent(field: &str, reason: &str) -> Absent {
    Absent { field: field.into(), reason: reason.into(), detail: None }
}

/// A market's metrics, standing from a block on.
pub(crate) fn market(
    protocol: &str,
    market: &str,
    from_block: i64,
    from_seq: i64,
) -> MarketMetricsRow {
    MarketMetricsRow {
        chain_id: CHAIN.into(),
        protocol: protocol.into(),
        market: market.into(),
        ranges: Ranges::open(from_block, from_seq),
        asset: "ETH".into(),
        asset_address: felt(77),
        utilization_bps: Some(1_714),
        turnover_bps: None,
        volatility_bps: None,
        liquidity_class: Some(2),
        price_usdc: Some("2500000000000000000000".into()),
        tvl_usdc: Some("12345678".into()),
        volatility_1d_bps: Some(900),
        volatility_30d_bps: None,
        drawdown_bps: Some(50),
        supply_apy_bps: Some(210),
        opened_at: None,
        borrow_rate: Some("40000000000000000".into()),
        supply_rate: None,
        supplied: Some("123456789000000000000".into()),
        borrowed: None,
        withdraw_headroom: None,
        exit_shock_bps: None,
        suppliers: Some(3),
        top1_bps: None,
        top5_bps: None,
        hhi_bps: None,
        accumulator_excess_ppb: Some(-7),
        volume_24h_usdc: None,
        fees_24h_usdc: None,
        depth_up_usdc: None,
        depth_down_usdc: None,
        oracle_price_usd: None,
        counted: true,
        absent: vec![absent("volatilityBps", "insufficient_history")],
    }
}

/// A protocol's score, standing from a block on.
pub(crate) fn score(protocol: &str, score: i16, from_block: i64, entry_seq: u64) -> RiskScoreRow {
    let entry_seq = i64::try_from(entry_seq).unwrap();
    RiskScoreRow {
        chain_id: CHAIN.into(),
        protocol: protocol.into(),
        ranges: Ranges::open(from_block, entry_seq),
        entry_seq,
        block_hash: felt(from_block),
        occurred_at: DateTime::from_timestamp(1_700_000_000 + from_block, 0).unwrap(),
        formula: "risk-v1.2".into(),
        score: Some(score),
        components: Some(vec![1, 2, 3, 4, 5]),
        inputs: Some(vec![10, 20, 3, 85, 400]),
        absent: Vec::new(),
    }
}

/// A block that stands.
pub(crate) fn block(number: i64, seq: i64) -> BlockRow {
    BlockRow {
        chain_id: CHAIN.into(),
        ranges: Ranges { from_block: number, to_block: number + 1, from_seq: seq, to_seq: OPEN },
        branch_epoch: 0,
        block_hash: felt(number),
        parent_hash: felt(number - 1),
        occurred_at: DateTime::from_timestamp(1_700_000_000 + number, 0).unwrap(),
        event_count: 1,
    }
}

/// An event of a block.
pub(crate) fn event(protocol: &str, name: Option<&str>, block: i64, seq: i64) -> EventRow {
    EventRow {
        chain_id: CHAIN.into(),
        ranges: Ranges { from_block: block, to_block: block + 1, from_seq: seq, to_seq: OPEN },
        branch_epoch: 0,
        block_hash: felt(block),
        occurred_at: DateTime::from_timestamp(1_700_000_000 + block, 0).unwrap(),
        protocol: protocol.into(),
        name: name.map(str::to_owned),
        contract: felt(0x5e0),
        transaction_hash: felt(9),
        event_index: 3,
        keys: [felt(1), felt(2)].concat(),
        data: felt(3),
        decoded: name.map(|_| serde_json::json!({ "amount": "5" })),
    }
}

/// A deposit in a block: the first activity of its event.
pub(crate) fn activity(protocol: &str, wallet: i64, block: i64, seq: i64) -> ActivityRow {
    ActivityRow {
        chain_id: CHAIN.into(),
        ranges: Ranges { from_block: block, to_block: block + 1, from_seq: seq, to_seq: OPEN },
        branch_epoch: 0,
        block_hash: felt(block),
        occurred_at: DateTime::from_timestamp(1_700_000_000 + block, 0).unwrap(),
        protocol: protocol.into(),
        kind: "deposit".into(),
        contract: felt(0x5e0),
        wallet: felt(wallet),
        counterparty: None,
        token: Some(felt(77)),
        amount: "5".into(),
        counter_token: None,
        counter_amount: None,
        transaction_hash: felt(9),
        event_index: 3,
        ordinal: 0,
        place: seq * 16,
    }
}

/// What went through chamber 0xc of token 0x4d, standing from a block on.
pub(crate) fn pool(bucket: i16, deposits: i64, from_block: i64, from_seq: i64) -> PrivacyPoolRow {
    PrivacyPoolRow {
        chain_id: CHAIN.into(),
        protocol: "mist_cash".into(),
        chamber: felt(0xc),
        token: felt(0x4d),
        bucket,
        ranges: Ranges::open(from_block, from_seq),
        deposits,
        withdrawals: 1,
        deposited: U512::from(deposits.unsigned_abs() * 10),
        withdrawn: U512::from(10u8),
    }
}

/// What a rule says of zkLend's market `0x1` from a block on.
pub(crate) fn anomaly(
    rule: &str,
    severity: &str,
    phase: &str,
    from_block: i64,
    entry_seq: i64,
) -> AnomalyRow {
    AnomalyRow {
        chain_id: CHAIN.into(),
        protocol: "zklend".into(),
        market: "0x1".into(),
        rule: rule.into(),
        ranges: Ranges::open(from_block, entry_seq),
        entry_seq,
        block_hash: felt(from_block),
        occurred_at: DateTime::from_timestamp(1_700_000_000 + from_block, 0).unwrap(),
        severity: severity.into(),
        phase: phase.into(),
        detail: "measured".into(),
    }
}

/// A policy's shares from a block on; without them it is infeasible.
pub(crate) fn allocation(
    policy: &str,
    shares: Option<Vec<(String, i32)>>,
    from_block: i64,
    entry_seq: i64,
) -> AllocationSnapshotRow {
    AllocationSnapshotRow {
        chain_id: CHAIN.into(),
        policy: policy.into(),
        ranges: Ranges::open(from_block, entry_seq),
        entry_seq,
        block_hash: felt(from_block),
        occurred_at: DateTime::from_timestamp(1_700_000_000 + from_block, 0).unwrap(),
        version: "obsqra/1".into(),
        rule: "allocation-v1".into(),
        failure: shares.is_none().then(|| "too_few_protocols".into()),
        shares,
    }
}

/// A token's price from a block on; without digits there is none.
pub(crate) fn price(token: i64, digits: Option<&str>, from_block: i64) -> PriceRow {
    PriceRow {
        chain_id: CHAIN.into(),
        token: felt(token),
        source: "pools".into(),
        ranges: Ranges::open(from_block, from_block),
        symbol: "ETH".into(),
        price_usdc: digits.map(str::to_owned),
        protocol: digits.map(|_| "ekubo".to_owned()),
        market: digits.map(|_| "0x1".to_owned()),
        reason: digits.is_none().then(|| "no_usdc_pool".to_owned()),
    }
}
