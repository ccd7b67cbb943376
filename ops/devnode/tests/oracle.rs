//! The seeded chain, read by `ops/checks/oracle`, against the chain's own books: two implementations of
//! `ops/docs/metrics.md` that share nothing, neither with each other nor with the product.

#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use obsqra_devnode::{
    BlockTruth, GENESIS_TIMESTAMP, Incident, MarketTruth, SEEDED_REGISTRY, SeededBlock, SeededChain,
};
use ruint::aliases::U256;
use serde_json::{Map, Value, json};

/// The odd pool comes and goes, and every window of a day is full.
const BLOCKS: u64 = 420;

/// What the books do not keep: which pools' prices are apart is for the reading alone to say.
const OTHERS: &[&str] = &["price_gap"];

#[test]
fn the_reading_of_a_quiet_chain_agrees_with_its_books() {
    compare(SeededChain::new(21));
}

#[test]
fn the_reading_of_an_incident_agrees_with_its_books() {
    compare(SeededChain::with_incident(4, Incident::from_height(200)));
}

fn compare(mut chain: SeededChain) {
    let blocks: Vec<SeededBlock> = (0..BLOCKS).map(|_| chain.next_block()).collect();
    let Some(reading) = read(&blocks) else {
        println!("skipped: python3 does not run");
        return;
    };
    let heights = reading["heights"].as_array().expect("heights");
    assert_eq!(heights.len(), blocks.len());
    for (found, block) in heights.iter().zip(&blocks) {
        let height = block.truth.block_number;
        for market in &block.truth.markets {
            let found = &found["markets"][market.protocol][&*market.market];
            assert_eq!(
                *found,
                published(market),
                "{} {} at {height}",
                market.protocol,
                market.market
            );
        }
        let markets = found["markets"].as_object().expect("protocols").values();
        let count: usize = markets.map(|of| of.as_object().expect("markets").len()).sum();
        assert_eq!(count, block.truth.markets.len(), "markets at {height}");
        assert_eq!(told(found), known(&block.truth), "anomalies at {height}");
    }
}

/// What the script prints of the chain's blocks.
fn read(blocks: &[SeededBlock]) -> Option<Value> {
    let folder = tempfile::tempdir().expect("a folder");
    let (lines, registry) =
        (folder.path().join("blocks.ndjson"), folder.path().join("registry.json"));
    let text: Vec<String> = blocks.iter().map(|block| line(block).to_string()).collect();
    std::fs::write(&lines, text.join("\n")).expect("written");
    std::fs::write(&registry, SEEDED_REGISTRY).expect("written");
    let script: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../checks/oracle/recorded.py");
    let output = Command::new("python3").arg(script).arg(&lines).arg(&registry).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn line(block: &SeededBlock) -> Value {
    let felts = |felts: &[starknet::core::types::Felt]| -> Vec<String> {
        felts.iter().map(|felt| format!("{felt:#x}")).collect()
    };
    let transactions = block.draft.transactions.iter().map(|transaction| {
        let events = transaction.events.iter().map(|event| {
            let (keys, data) = (felts(&event.keys), felts(&event.data));
            json!({ "from_address": format!("{:#x}", event.from_address), "keys": keys, "data": data })
        });
        json!({ "events": events.collect::<Vec<_>>() })
    });
    json!({
        "number": block.truth.block_number,
        "timestamp": block.draft.timestamp,
        "transactions": transactions.collect::<Vec<_>>(),
    })
}

fn told(found: &Value) -> BTreeSet<String> {
    let rules = found["anomalies"].as_array().expect("anomalies").iter();
    rules.filter(|of| !OTHERS.iter().any(|rule| of[2] == *rule)).map(Value::to_string).collect()
}

fn known(truth: &BlockTruth) -> BTreeSet<String> {
    let notices = truth.anomalies.iter();
    notices.map(|of| json!([of.protocol, of.market, of.rule]).to_string()).collect()
}

/// A whole number with so many decimal places.
fn places(number: U256, count: usize) -> Value {
    let digits = format!("{number:0>width$}", width = count + 1);
    let (whole, fraction) = digits.split_at(digits.len() - count);
    json!(format!("{whole}.{fraction}"))
}

/// A time in the chain's first month.
fn instant(seconds: u64) -> Value {
    let since = seconds - GENESIS_TIMESTAMP;
    let (day, hour) = (since / 86_400 + 1, since / 3_600 % 24);
    let (minute, second) = (since / 60 % 60, since % 60);
    json!(format!("2025-01-{day:02}T{hour:02}:{minute:02}:{second:02}+00:00"))
}

/// The figures as the script prints them, each a value or its reason.
fn published(market: &MarketTruth) -> Value {
    let (lending, pool) = (&market.lending, &market.pool);
    let usdc = |value: Option<U256>| value.map(|value| places(value, 6));
    let e18 = |value: Option<U256>| value.map(|value| places(value, 18));
    let raw = |value: Option<U256>| value.map(|value| json!(value.to_string()));
    let number = |value: Option<u32>| value.map(|value| json!(value));
    let figures = [
        ("asset", Some(json!(market.asset))),
        ("assetAddress", Some(json!(&*market.asset_address))),
        ("counted", Some(json!(market.counted))),
        ("utilizationBps", number(market.utilization_bps)),
        ("turnoverBps", number(market.turnover_bps)),
        ("volatilityBps", number(market.volatility_bps)),
        ("volatility1dBps", number(market.volatility_1d_bps)),
        ("volatility30dBps", number(market.volatility_30d_bps)),
        ("liquidityClass", number(market.liquidity_class)),
        ("priceUsdc", e18(market.price_usdc)),
        ("oraclePriceUsd", e18(market.oracle_price_usd)),
        ("tvlUsdc", usdc(market.tvl_usdc)),
        ("drawdownBps", number(market.drawdown_bps)),
        ("supplyApyBps", number(market.supply_apy_bps)),
        ("openedAt", market.opened_at.map(instant)),
        ("borrowRate", e18(lending.borrow_rate)),
        ("supplyRate", e18(lending.supply_rate)),
        ("supplied", raw(lending.supplied)),
        ("borrowed", raw(lending.borrowed)),
        ("withdrawHeadroom", raw(lending.withdraw_headroom)),
        ("exitShockBps", number(lending.exit_shock_bps)),
        ("suppliers", lending.suppliers.map(|count| json!(count))),
        ("top1Bps", number(lending.top1_bps)),
        ("top5Bps", number(lending.top5_bps)),
        ("hhiBps", number(lending.hhi_bps)),
        ("accumulatorExcessPpb", lending.accumulator_excess_ppb.map(|ppb| json!(ppb.to_string()))),
        ("volume24hUsdc", usdc(pool.volume_24h_usdc)),
        ("fees24hUsdc", usdc(pool.fees_24h_usdc)),
        ("depthUpUsdc", usdc(pool.depth_up_usdc)),
        ("depthDownUsdc", usdc(pool.depth_down_usdc)),
    ];
    let present = figures.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let mut all: Map<String, Value> = present.collect();
    let absent = market.absent.iter();
    all.extend(absent.map(|of| (of.field.to_owned(), json!({ "absent": of.reason }))));
    Value::Object(all)
}
