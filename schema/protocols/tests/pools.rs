//! Figures of pools, and those that all markets have, each by a worked example and its reasons.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::MarketMetrics;
use obsqra_types::{Bps, UsdcValue};
use support::pool::{Key, Swap, initialized, position, swapped};
use support::{ETH, ETH_UNLISTED, Event, Scene, USDC, USDC_ETH, figure, lend, pair};

const MEGA_USDC: u128 = 10u128.pow(12);
const WHOLE_ETH: u128 = 10u128.pow(18);
const T0: u64 = 100_000_800 / 86_400 * 86_400;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

fn value(row: &MarketMetrics, name: &str, value: Option<UsdcValue>) -> String {
    figure(row, name, value, |value| value.0.to_string())
}

fn bps(row: &MarketMetrics, name: &str, value: Option<Bps>) -> String {
    figure(row, name, value, |value| value.0.to_string())
}

/// `volume fees APY`.
fn trade(row: &MarketMetrics) -> String {
    [
        value(row, "volume24hUsdc", row.pool.volume_24h),
        value(row, "fees24hUsdc", row.pool.fees_24h),
        bps(row, "supplyApyBps", row.supply_apy_bps),
    ]
    .join(" ")
}

fn depth(row: &MarketMetrics) -> String {
    let up = value(row, "depthUpUsdc", row.pool.depth_up);
    let down = value(row, "depthDownUsdc", row.pool.depth_down);
    format!("{up} {down}")
}

/// A pair of 2 M USDC to 1,000 ETH.
fn eth_at_2000() -> Event {
    pair::sync(USDC_ETH, 2 * MEGA_USDC, 1_000 * WHOLE_ETH)
}

#[test]
fn fees_are_three_per_mille_of_what_comes_in() {
    let created = pair::created(USDC_ETH, USDC, ETH);
    let mut scene = Scene::default();
    // 0.3 % of 100,000 USDC, and of 10 ETH, which is 60 USDC; 360 · 365 of 4 M are 328 bps.
    let swaps = [
        pair::swap(USDC_ETH, 100_000_000_000, 0, 0, 50 * WHOLE_ETH),
        pair::swap(USDC_ETH, 0, 10 * WHOLE_ETH, 20_000_000_000, 0),
    ];
    scene.block(T0, &[created, eth_at_2000(), swaps[0].clone(), swaps[1].clone()]);
    assert_eq!(trade(&scene.market("pairs", "0xf1")), "120000000000 360000000 328");
    // Each swap's fee is rounded up: 1 unit of 1 unit.
    scene.block(T0 + 1, &[pair::swap(USDC_ETH, 1, 0, 0, 0), pair::swap(USDC_ETH, 334, 0, 0, 0)]);
    assert_eq!(trade(&scene.market("pairs", "0xf1")), "120000000335 360000003 328");
    scene.block(T0 + DAY + 1, &[]);
    assert_eq!(trade(&scene.market("pairs", "0xf1")), "0 0 0");
}

#[test]
fn reasons_of_trade() {
    let mut scene = Scene::default();
    scene.block(T0, &[eth_at_2000(), pair::sync(ETH_UNLISTED, 1, 1)]);
    let starts = ["history_starts_at"; 3].join(" ");
    assert_eq!(trade(&scene.market("pairs", "0xf1")), starts);
    assert_eq!(trade(&scene.market("pairs", "0xf3")), ["token_unlisted"; 3].join(" "));
    scene.block(T0 + DAY, &[]);
    assert_eq!(trade(&scene.market("pairs", "0xf1")), "0 0 0");
    let created = pair::created(USDC_ETH, USDC, ETH);
    let mut scene = Scene::default();
    scene.block(T0, std::slice::from_ref(&created));
    // ETH has no price: the USDC side is the pair's reference, and fees need both.
    assert_eq!(trade(&scene.market("pairs", "0xf1")), "0 no_usdc_pool no_state");
    let mut scene = Scene::default();
    scene.block(T0, &[created, pair::sync(USDC_ETH, 0, 1)]);
    assert_eq!(trade(&scene.market("pairs", "0xf1")), "0 no_usdc_pool no_usdc_pool");
}

/// A fee of a quarter: 2^126 of 2^128.
const QUARTER: Key = [USDC, ETH, 1 << 126, 200, 0];
const QUARTER_ID: &str = "0x10/0x11/0x40000000000000000000000000000000/0xc8/0x0";

fn quarter_pool() -> [Event; 2] {
    let liquidity = 4 * 10i128.pow(16);
    [
        // S = 20,000: 2,500 USDC an ETH; 2 M USDC virtually.
        initialized(QUARTER, 19_806_975, 0, 20_000),
        position(QUARTER, (0, 20_000_000), liquidity, (10i128.pow(12), 4 * 10i128.pow(20))),
    ]
}

#[test]
fn a_concentrated_pools_fee_is_of_its_key() {
    let mut scene = Scene::default();
    scene.block(T0, &quarter_pool());
    let swap = |delta| Swap {
        key: QUARTER,
        delta,
        sqrt_ratio: (0, 20_000),
        tick: 19_806_975,
        liquidity: 4 * 10u128.pow(16),
    };
    // ceil(401 / 4) of what came in, nothing of what went out; 4 ETH come in for a fee of 1.
    let inward = 4 * 10i128.pow(18);
    scene.block(T0, &[swapped(&swap((401, -1))), swapped(&swap((-10_000_000_000, inward)))]);
    let row = scene.market("pools", QUARTER_ID);
    // 1 M and 404 ETH less 10,000: 2,000,000 USDC and 401 units; 2,500 · 365 of it are 4,562 bps.
    assert_eq!(row.tvl, Some(UsdcValue("2000000000400".parse().unwrap())));
    assert_eq!(trade(&row), "10000000401 2500000101 4562");
}

#[test]
fn depth_is_what_moves_the_price_by_two_per_cent() {
    let mut scene = Scene::default();
    scene.block(T0, &[eth_at_2000()]);
    // 2·10¹² · (√1.02 − 1) = 19,900,987,... and 2·10¹² · (1 − √0.98) = 20,101,012,....
    assert_eq!(depth(&scene.market("pairs", "0xf1")), "19900987672 20101012677");
    scene.block(T0 + 1, &quarter_pool());
    // The virtual reserve is 4·10¹⁶ / 20,000 = 2·10¹², the same.
    assert_eq!(depth(&scene.market("pools", QUARTER_ID)), "19900987672 20101012677");
    // 100 units: √10,200 = 100.99 and √9,800 = 98.99.
    scene.block(T0 + 2, &[pair::sync(USDC_ETH, 100, 1)]);
    assert_eq!(depth(&scene.market("pairs", "0xf1")), "0 1");
    // Exact roots: 5,000² · 1.02 is not one, 5,000² · 0.98 = 4,949.7².
    scene.block(T0 + 3, &[pair::sync(USDC_ETH, 5_000, 1)]);
    assert_eq!(depth(&scene.market("pairs", "0xf1")), "49 50");
    let mut scene = Scene::default();
    scene.block(T0, &[pair::created(USDC_ETH, USDC, ETH), pair::sync(ETH_UNLISTED, 1, 1)]);
    assert_eq!(depth(&scene.market("pairs", "0xf1")), "no_state no_state");
    assert_eq!(depth(&scene.market("pairs", "0xf3")), "token_unlisted token_unlisted");
    // Two ETH sides: BTC pools ETH, and ETH has no price.
    scene.block(T0 + 1, &[pair::sync(support::ETH_BTC, 1_000, 1_000)]);
    assert_eq!(depth(&scene.market("pairs", "0xf2")), "no_usdc_pool no_usdc_pool");
}

#[test]
fn drawdown_is_below_the_greatest_value_so_far() {
    let mut scene = Scene::default();
    let drawdown = |scene: &Scene| {
        let row = scene.market("pairs", "0xf1");
        bps(&row, "drawdownBps", row.drawdown_bps)
    };
    let usdc = |amount: u128| [pair::sync(USDC_ETH, amount, WHOLE_ETH)];
    scene.block(T0, &usdc(0));
    assert_eq!(drawdown(&scene), "zero_tvl");
    scene.block(T0 + 1, &usdc(300));
    assert_eq!(drawdown(&scene), "0");
    // A third is gone, then nearly all, then all of it has come back twice.
    scene.block(T0 + 2, &usdc(200));
    assert_eq!(drawdown(&scene), "3333");
    scene.block(T0 + 3, &usdc(1));
    assert_eq!(drawdown(&scene), "9966");
    scene.block(T0 + 4, &usdc(600));
    assert_eq!(drawdown(&scene), "0");
    scene.block(T0 + 5, &usdc(300));
    assert_eq!(drawdown(&scene), "5000");
}

#[test]
fn a_market_is_as_old_as_its_opening_in_the_log() {
    let mut scene = Scene::default();
    let opened = |scene: &Scene, protocol, market| {
        let row = scene.market(protocol, market);
        figure(&row, "openedAt", row.opened_at, |instant| instant.0.to_string())
    };
    scene.block(T0, &[eth_at_2000(), lend::deposit(USDC, 1)]);
    assert_eq!(opened(&scene, "pairs", "0xf1"), "history_starts_at");
    assert_eq!(opened(&scene, "lend", "0x10"), "history_starts_at");
    scene.block(T0 + 9, &quarter_pool());
    scene.block(T0 + 10, &[lend::new_reserve(ETH)]);
    assert_eq!(opened(&scene, "pools", QUARTER_ID), (T0 + 9).to_string());
    assert_eq!(opened(&scene, "lend", "0x11"), (T0 + 10).to_string());
    assert!(scene.block(T0 + DAY, &[]).changed_markets.iter().all(|row| row.market.0 != "0x11"));
}

#[test]
fn volatility_has_three_windows() {
    let windows = |scene: &Scene| {
        let row = scene.market("pairs", "0xf1");
        [
            bps(&row, "volatility1dBps", row.volatility_1d_bps),
            bps(&row, "volatilityBps", row.volatility_bps),
            bps(&row, "volatility30dBps", row.volatility_30d_bps),
        ]
        .join(" ")
    };
    let mut scene = Scene::default();
    // One ETH an hour at 2,000 and 2,010 USDC in turn.
    for hour in 0..18 {
        trade_at(&mut scene, hour);
    }
    let absent = "insufficient_history insufficient_history";
    assert_eq!(windows(&scene), format!("insufficient_history {absent}"));
    // 17 steps of ln 1.005: 10,000 · √(17 · ln²1.005 · 365).
    scene.block(T0 + 18 * HOUR, &[]);
    assert_eq!(windows(&scene), format!("3928 {absent}"));
    for hour in 18..513 {
        trade_at(&mut scene, hour);
    }
    // 23 steps, 167 steps, one hour short.
    scene.block(T0 + 513 * HOUR, &[]);
    assert_eq!(windows(&scene), "4569 4654 insufficient_history");
    trade_at(&mut scene, 513);
    scene.block(T0 + 514 * HOUR, &[]);
    // 513 steps: 10,000 · √(513 · ln²1.005 · 365 / 30).
    assert_eq!(windows(&scene), "4569 4654 3940");
    for hour in 514..800 {
        trade_at(&mut scene, hour);
    }
    // 719 steps.
    assert_eq!(windows(&scene), "4569 4654 4664");
}

fn trade_at(scene: &mut Scene, hour: u64) {
    let usdc = if hour.is_multiple_of(2) { 2_000_000_000 } else { 2_010_000_000 };
    let swap = pair::swap(USDC_ETH, usdc, 0, 0, WHOLE_ETH);
    scene.block(T0 + hour * HOUR + 7, &[eth_at_2000(), swap]);
}
