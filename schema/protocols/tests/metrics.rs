//! Each definition by a worked example, and each reason for which a figure is absent.
//!
//! Rows read `price tvl utilization turnover volatility class`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::pool::{Key, Swap, fees_accumulated, fees_collected, initialized, position, swapped};
use support::{
    BTC, DAI, ETH, ETH_BTC, ETH_UNLISTED, Event, LOW, Scene, USDC, USDC_ETH, event, lend, pair, row,
};

const RAY: u128 = 10u128.pow(27);
const MEGA_USDC: u128 = 10u128.pow(12);
const KILO_ETH: u128 = 10u128.pow(21);
const WHOLE_ETH: u128 = 10u128.pow(18);
/// Divides the hour and the day.
const T0: u64 = 100_000_800 / 86_400 * 86_400;
const HOUR: u64 = 3_600;
const DAY: u64 = 86_400;

/// A pair that prices ETH at 2,000 USDC with 2 M USDC of depth.
fn eth_at_2000() -> Event {
    pair::sync(USDC_ETH, 2 * MEGA_USDC, KILO_ETH)
}

/// Rows of markets after blocks at given times.
fn check(blocks: &[(u64, &[Event])], expected: &[(&str, &str, &str)]) -> Scene {
    let mut scene = Scene::default();
    for (timestamp, events) in blocks {
        scene.block(*timestamp, events);
    }
    for (protocol, market, figures) in expected {
        assert_eq!(row(&scene.market(protocol, market)), *figures, "{protocol} {market}");
    }
    scene
}

#[test]
fn a_pair_is_priced_and_valued_by_its_usdc_reserve() {
    // 2 M USDC to 1,000 ETH: 2,000 USDC; twice the USDC side is 4 M.
    check(
        &[(T0, &[eth_at_2000()])],
        &[(
            "pairs",
            "0xf1",
            "2000000000000000000000 4000000000000 - history_starts_at insufficient_history 1",
        )],
    );
}

#[test]
fn a_pair_without_usdc_is_valued_by_token0_or_token1() {
    // 1 ETH = 2,000 USDC, so 10 ETH to 1 BTC is 40,000 by the ETH side; BTC has no pool of its own.
    check(
        &[(T0, &[eth_at_2000(), pair::sync(ETH_BTC, 10 * WHOLE_ETH, 100_000_000)])],
        &[(
            "pairs",
            "0xf2",
            "2000000000000000000000 40000000000 - history_starts_at insufficient_history 0",
        )],
    );
    // BTC alone is priced: 30,000 USDC a BTC, by a concentrated pool. 2^256 · 10^20 / S² with
    // S² = 2^256 / 300.. is not whole; S = 2^128 / 2 gives 4 · 10^20.
    let key: Key = [USDC, BTC, 1, 1, 0];
    let half = 1u128 << 127;
    check(
        &[(
            T0,
            &[
                initialized(key, 0, half, 0),
                position(key, (-5, 5), 1_000_000, (0, 0)),
                pair::sync(ETH_BTC, 10 * WHOLE_ETH, 100_000_000),
            ],
        )],
        &[
            (
                "pools",
                "0x10/0x12/0x1/0x1/0x0",
                "400000000000000000000 0 - zero_tvl insufficient_history 0",
            ),
            // One BTC is worth 400 USDC; the asset, ETH, has no price.
            ("pairs", "0xf2", "no_usdc_pool 800000000 - history_starts_at no_usdc_pool 0"),
        ],
    );
}

#[test]
fn turnover_counts_24_hours_of_the_usdc_side() {
    let swap = pair::swap(USDC_ETH, 100_000_000_000, 0, 0, 50 * WHOLE_ETH);
    let both_ways = pair::swap(USDC_ETH, 0, WHOLE_ETH, 2_000_000_000, 0);
    let created = pair::created(USDC_ETH, USDC, ETH);
    let mut scene = Scene::default();
    let turnover = |scene: &Scene| scene.market("pairs", "0xf1").turnover_bps.map(|bps| bps.0);
    // 100,000 of 4,000,000 USDC is 250 bps; 102,000 is 255.
    scene.block(T0, &[created, eth_at_2000(), swap]);
    assert_eq!(turnover(&scene), Some(250));
    scene.block(T0 + HOUR, &[both_ways]);
    assert_eq!(turnover(&scene), Some(255));
    // The first swap counts until the window's open end reaches it.
    scene.block(T0 + DAY - 1, &[]);
    assert_eq!(turnover(&scene), Some(255));
    let output = scene.block(T0 + DAY, &[]);
    assert_eq!(turnover(&scene), Some(5));
    assert_eq!(output.changed_markets.len(), 1);
    assert_eq!(scene.block(T0 + DAY + 1, &[]).changed_markets.len(), 0);
    scene.block(T0 + DAY + HOUR, &[]);
    assert_eq!(turnover(&scene), Some(0));
    // Capped: 9 M USDC through a pool of 4 M.
    let large = pair::swap(USDC_ETH, 9 * MEGA_USDC, 0, 0, 1);
    scene.block(T0 + 2 * DAY, &[large]);
    assert_eq!(turnover(&scene), Some(10_000));
}

#[test]
fn turnover_waits_for_a_day_of_log_where_the_pool_is_older() {
    let mut scene = Scene::default();
    scene.block(T0, &[eth_at_2000()]);
    scene.block(T0 + DAY - 1, &[]);
    let market = scene.market("pairs", "0xf1");
    assert!(row(&market).contains("history_starts_at"), "{market:?}");
    assert_eq!(market.absent[0].detail.as_deref(), Some("the log starts at block 100"));
    let output = scene.block(T0 + DAY, &[]);
    assert_eq!(output.changed_markets[0].turnover_bps.map(|bps| bps.0), Some(0));
}

#[test]
fn a_reserve_follows_its_accumulator() {
    let open = [eth_at_2000(), lend::new_reserve(ETH), lend::minted(ETH, 100 * WHOLE_ETH)];
    let rates = lend::rates(ETH, 3 * RAY / 100, RAY / 10);
    // 100 ETH at 2,000; 3 % over 10 %.
    check(
        &[(T0, &open), (T0 + 1, std::slice::from_ref(&rates))],
        &[("lend", "0x11", "2000000000000000000000 200000000000 3000 - insufficient_history 0")],
    );
    // The accumulator at 1.1 makes 110 of them; 10 raw that are burnt are 11, and leave 99.
    let withdrawn = [lend::accumulators(ETH, RAY / 10 * 11), lend::burnt(ETH, 10 * WHOLE_ETH)];
    check(
        &[(T0, &open), (T0 + 1, &[withdrawn[0].clone()])],
        &[(
            "lend",
            "0x11",
            "2000000000000000000000 220000000000 no_state - insufficient_history 0",
        )],
    );
    check(
        &[(T0, &open), (T0 + 1, &withdrawn)],
        &[(
            "lend",
            "0x11",
            "2000000000000000000000 198000000000 no_state - insufficient_history 0",
        )],
    );
    // USDC itself has price 1 and volatility 0.
    let usdc = [lend::new_reserve(USDC), lend::minted(USDC, 5), lend::rates(USDC, 0, 0)];
    check(&[(T0, &usdc)], &[("lend", "0x10", "1000000000000000000 5 0 - 0 0")]);
}

const POOL: Key = [USDC, ETH, 3, 200, 0];
const POOL_ID: &str = "0x10/0x11/0x3/0xc8/0x0";

#[test]
fn a_concentrated_pool_is_priced_by_its_ratio_and_valued_by_its_balances() {
    // S = 20,000 · 2^128: 10^30 / 4·10^8 is 2,500 USDC an ETH. 1 M USDC and 400 ETH are 2 M.
    let mut scene = check(
        &[(
            T0,
            &[
                initialized(POOL, 19_806_975, 0, 20_000),
                position(
                    POOL,
                    (0, 20_000_000),
                    4 * 10i128.pow(16),
                    (10i128.pow(12), 4 * 10i128.pow(20)),
                ),
                fees_accumulated(POOL, 10, 0),
                fees_collected(POOL, (-4, 0)),
            ],
        )],
        &[("pools", POOL_ID, "2500000000000000000000 2000000000006 - 0 insufficient_history 1")],
    );
    // A swap of 50,000 USDC for 20 ETH leaves 1.05 M and 380 ETH and moves nothing else here.
    scene.block(
        T0 + 1,
        &[swapped(&Swap {
            key: POOL,
            delta: (50_000_000_000, -20 * 10i128.pow(18)),
            sqrt_ratio: (0, 20_000),
            tick: 19_806_975,
            liquidity: 4 * 10u128.pow(16),
        })],
    );
    assert_eq!(
        row(&scene.market("pools", POOL_ID)),
        "2500000000000000000000 2000000000006 - 249 insufficient_history 1"
    );
    // Drained beyond what its events say came in.
    scene.block(T0 + 2, &[fees_collected(POOL, (-2 * 10i128.pow(12), 0))]);
    assert_eq!(
        row(&scene.market("pools", POOL_ID)),
        "2500000000000000000000 negative_balance - negative_balance insufficient_history negative_balance"
    );
}

#[test]
fn usdc_as_token1_prices_the_other_way_round() {
    let key: Key = [LOW, USDC, 3, 200, 0];
    // S = 2^112: floor(10^30 / 2^32).
    check(
        &[(
            T0,
            &[
                initialized(key, -22_000_000, 1 << 112, 0),
                position(key, (-30_000_000, 0), 1 << 40, (0, 0)),
            ],
        )],
        &[(
            "pools",
            "0xe/0x10/0x3/0xc8/0x0",
            "232830643653869628906 0 - zero_tvl insufficient_history 0",
        )],
    );
}

#[test]
fn the_deepest_pool_gives_the_price() {
    let price = |scene: &Scene| scene.market("lend", "0x11").price.map(|price| price.0.to_string());
    let mut scene = Scene::default();
    // A virtual USDC reserve of L / 20,000 = 1 M against the pair's 2 M.
    let shallow = 2 * 10i128.pow(16);
    scene.block(
        T0,
        &[
            lend::new_reserve(ETH),
            eth_at_2000(),
            initialized(POOL, 0, 0, 20_000),
            position(POOL, (-1, 1), shallow, (0, 0)),
        ],
    );
    assert_eq!(price(&scene).as_deref(), Some("2000000000000000000000"));
    // Equal depth: `pairs` stands before `pools`.
    scene.block(T0 + 1, &[position(POOL, (-1, 1), shallow, (0, 0))]);
    assert_eq!(price(&scene).as_deref(), Some("2000000000000000000000"));
    // Out of range or at the upper tick it adds nothing, then one unit of USDC decides.
    scene.block(
        T0 + 2,
        &[position(POOL, (1, 9), shallow, (0, 0)), position(POOL, (-9, 0), shallow, (0, 0))],
    );
    assert_eq!(price(&scene).as_deref(), Some("2000000000000000000000"));
    let output = scene.block(T0 + 3, &[position(POOL, (0, 1), 20_000, (0, 0))]);
    assert_eq!(price(&scene).as_deref(), Some("2500000000000000000000"));
    // Every market of the token changed with the price, the pair's own value did not.
    let changed: Vec<&str> =
        output.changed_markets.iter().map(|row| row.market.0.as_str()).collect();
    assert_eq!(changed, ["0x11", "0xf1", POOL_ID]);
    // A price of 0 is no candidate, nor is an active liquidity that the events contradict.
    scene.block(
        T0 + 4,
        &[pair::sync(USDC_ETH, 1, u128::MAX), position(POOL, (0, 1), -10i128.pow(18), (0, 0))],
    );
    assert_eq!(price(&scene), None);
}

/// Swaps of one ETH an hour for `hours` hours, at 2,000 and 2,010 USDC in turn.
fn hourly(scene: &mut Scene, hours: u64) {
    for hour in 0..hours {
        let usdc = if hour % 2 == 0 { 2_000_000_000 } else { 2_010_000_000 };
        let half = pair::swap(USDC_ETH, usdc / 2, 0, 0, WHOLE_ETH / 2);
        scene.block(T0 + hour * HOUR + 7, &[eth_at_2000(), half.clone(), half]);
    }
}

#[test]
fn volatility_is_of_the_hours_before() {
    let volatility =
        |scene: &Scene| row(&scene.market("pairs", "0xf1")).split(' ').nth(4).unwrap().to_owned();
    let mut scene = Scene::default();
    hourly(&mut scene, 120);
    // The 120th hour is not over.
    assert_eq!(volatility(&scene), "insufficient_history");
    let absent = scene.market("pairs", "0xf1").absent;
    let detail =
        absent.iter().find(|absent| absent.field == "volatilityBps").unwrap().detail.clone();
    assert_eq!(detail.as_deref(), Some("ETH: 119 of 168 hours have trades, 120 are needed"));
    // 119 steps of ln 1.005: 10,000 · sqrt(119 · ln²1.005 · 365/7).
    let output = scene.block(T0 + 120 * HOUR, &[]);
    assert_eq!(output.changed_markets.len(), 1);
    assert_eq!(volatility(&scene), "3928");
    // Two days without trades, and the first hour is still inside; then it is not.
    scene.block(T0 + 168 * HOUR, &[]);
    assert_eq!(volatility(&scene), "3928");
    scene.block(T0 + 169 * HOUR, &[]);
    assert_eq!(volatility(&scene), "insufficient_history");

    let mut scene = Scene::default();
    hourly(&mut scene, 400);
    // 167 steps.
    assert_eq!(volatility(&scene), "4654");
}

#[test]
fn reasons_of_markets() {
    let small = [eth_at_2000(), lend::new_reserve(ETH)];
    check(
        &[(T0, &small), (T0, &[lend::burnt(ETH, 1)])],
        &[(
            "lend",
            "0x11",
            "2000000000000000000000 negative_balance no_state - insufficient_history negative_balance",
        )],
    );
    check(
        &[(T0, &[lend::deposit(ETH, 1), lend::rates(ETH, 1, 0)])],
        &[(
            "lend",
            "0x11",
            "no_usdc_pool history_starts_at invalid_rates - no_usdc_pool history_starts_at",
        )],
    );
    check(
        &[(T0, &[pair::created(USDC_ETH, USDC, ETH), pair::sync(ETH_UNLISTED, 1, 1)])],
        &[
            ("pairs", "0xf1", "no_usdc_pool no_state - no_state no_usdc_pool no_state"),
            (
                "pairs",
                "0xf3",
                "token_unlisted token_unlisted - token_unlisted token_unlisted token_unlisted",
            ),
        ],
    );
    // A pool whose beginning is not in the log has a price and no value.
    let swap = Swap {
        key: POOL,
        delta: (1, -1),
        sqrt_ratio: (0, 20_000),
        tick: 0,
        liquidity: 10u128.pow(18),
    };
    check(
        &[(T0, &[swapped(&swap)])],
        &[(
            "pools",
            POOL_ID,
            "2500000000000000000000 history_starts_at - history_starts_at insufficient_history history_starts_at",
        )],
    );
    // A pair that the registry does not list is a market from its creation on; what cannot be a pair is none.
    let pairs = [
        pair::sync(0xfff, 1, 1),
        pair::created(0xfff, ETH, DAI),
        pair::created(0xffe, DAI, ETH),
        pair::created(0, ETH, DAI),
    ];
    let scene = check(&[(T0, &pairs)], &[]);
    let markets: Vec<String> = scene.fold.markets().map(|row| row.market.0).collect();
    assert_eq!(markets, ["0xfff"]);
}

#[test]
fn what_leaves_256_bits_is_absent() {
    let max = u128::MAX;
    // Reserves of 2^256 − 1 USDC: the price fits no amount, and neither does its double.
    let sync = event(USDC_ETH, "Sync", [max, max, 1, 0]);
    check(
        &[(T0, &[sync, lend::new_reserve(ETH), lend::rates(ETH, max, 1)])],
        &[
            ("pairs", "0xf1", "overflow overflow - overflow insufficient_history overflow"),
            ("lend", "0x11", "overflow overflow overflow - insufficient_history overflow"),
        ],
    );
    // An accumulator of 0 makes the shares of a face value unknowable, for good.
    let broken = [
        lend::new_reserve(USDC),
        lend::accumulators(USDC, 0),
        lend::face_moved(USDC, [0, 0x77], 1),
        lend::accumulators(USDC, RAY),
    ];
    check(
        &[(T0, &broken)],
        &[("lend", "0x10", "1000000000000000000 overflow no_state - 0 overflow")],
    );
    // Hours whose sums give a vwap outside 256 bits.
    let huge = event(USDC_ETH, "Swap", [0x77, max, max, 0, 0, 0, 0, 1, 0, 0x78]);
    check(
        &[(T0, &[eth_at_2000(), huge.clone(), huge]), (T0 + HOUR, &[])],
        &[("pairs", "0xf1", "2000000000000000000000 4000000000000 - history_starts_at overflow 1")],
    );
}
