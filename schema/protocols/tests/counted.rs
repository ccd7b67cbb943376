//! Which markets count, and that one that does not changes nothing beside itself.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::{BlockOutput, InputsAt};
use support::pool::{Key, Swap, initialized, position, swapped};
use support::wide::{
    CHILD_POOL, Config, DEBT_TOKEN, POOL, SINGLETONS, VESU_FACTORY, VESU_POOL, asset_added,
    context_v1, context_v2, created, interest, started, wide_scene,
};
use support::{
    BTC, DAI, ETH, ETH_BTC, ETH_UNLISTED, Event, Scene, USDC, USDC_ETH, event, inputs, lend, pair,
    protocol,
};

const MEGA_USDC: u128 = 10u128.pow(12);
const WHOLE_ETH: u128 = 10u128.pow(18);
const T0: u64 = 100_000_800 / 86_400 * 86_400;
const HOUR: u64 = 3_600;

/// Listed, of the test registry.
const LISTED: Key = [USDC, ETH, 3, 200, 0];
/// Another fee, and so another pool.
const UNLISTED: Key = [USDC, ETH, 9, 200, 0];
const UNLISTED_ID: &str = "0x10/0x11/0x9/0xc8/0x0";

/// A pair that prices ETH at 2,000 USDC with 2 M USDC of depth.
fn eth_at_2000() -> Event {
    pair::sync(USDC_ETH, 2 * MEGA_USDC, 1_000 * WHOLE_ETH)
}

/// `u v l a d yield`.
fn all_inputs(found: &InputsAt) -> String {
    let apy =
        found.apy_bps.as_ref().map_or_else(|absent| absent.reason.clone(), ToString::to_string);
    format!("{} {apy}", inputs(found))
}

fn inputs_of(output: &BlockOutput, id: &str) -> String {
    all_inputs(&output.inputs[&protocol(id)])
}

/// 100 of an asset lent out beside 900.
fn lent(asset: u128, at: u64, price: Option<u128>) -> Config {
    let (nominal_debt, reserve) = (100 * WHOLE_ETH, 900 * WHOLE_ETH);
    let (scale, accumulator) = (WHOLE_ETH, WHOLE_ETH);
    let (shares, fee_shares, fee_rate) = (1_000 * WHOLE_ETH, 0, 0);
    Config {
        asset,
        shares,
        fee_shares,
        nominal_debt,
        reserve,
        scale,
        at,
        accumulator,
        fee_rate,
        price,
    }
}

#[test]
fn governance_or_the_registry_makes_a_market_count() {
    let mut scene = wide_scene();
    let sides = [lent(ETH, T0, None), lent(0x99, T0, None)];
    let new_pool = event(VESU_FACTORY, "CreatePool", []);
    let mut new_pool = Event { keys: vec![], ..new_pool };
    new_pool.keys = [0xda_u128, 1, 2, 3, 4].map(Into::into).to_vec();
    let events = [
        lend::new_reserve(ETH),
        lend::new_reserve(0x99),
        pair::sync(USDC_ETH, 1, 1),
        pair::sync(ETH_UNLISTED, 1, 1),
        pair::created(0xfff, ETH, DAI),
        initialized(LISTED, 0, 0, 20_000),
        initialized(UNLISTED, 0, 0, 20_000),
        started(POOL, 20_000, 0),
        created(CHILD_POOL, 3_000),
        context_v1(SINGLETONS[0], 7, sides),
        context_v1(SINGLETONS[1], 8, sides),
        context_v2(VESU_POOL, sides),
        new_pool,
        asset_added(0xda, ETH),
        interest(DEBT_TOKEN, [1, 1], [WHOLE_ETH, WHOLE_ETH]),
    ];
    scene.block(T0, &events);
    let rows: Vec<_> = scene.fold.markets().collect();
    let of = |counted: bool| -> Vec<String> {
        let chosen = rows.iter().filter(|row| row.counted == counted);
        chosen.map(|row| format!("{} {}", row.protocol, row.market.0)).collect()
    };
    let counted = [
        "jediswap_v2 0xc1",
        "lend 0x11",
        "nostra_money_market 0x11",
        "pairs 0xf1",
        "pools 0x10/0x11/0x3/0xc8/0x0",
        "vesu_v1 0xd0/0x7/0x11",
        "vesu_v2 0xd9/0x11",
    ];
    assert_eq!(of(true), counted);
    let others = [
        "jediswap_v2 0xc2",
        "lend 0x99",
        "pairs 0xf3",
        "pairs 0xfff",
        "pools 0x10/0x11/0x9/0xc8/0x0",
        "vesu_v1 0xd0/0x7/0x99",
        "vesu_v1 0xd1/0x8/0x11",
        "vesu_v1 0xd1/0x8/0x99",
        "vesu_v2 0xd9/0x99",
        "vesu_v2 0xda/0x11",
    ];
    assert_eq!(of(false), others);
}

/// A pair without a `Sync`, a pool without liquidity, one whose beginning is not in the log: each would make
/// the inputs of its protocol absent.
#[test]
fn a_market_that_does_not_count_changes_no_inputs() {
    let mut scene = Scene::default();
    let balances = (4_000_000, 0);
    let first = [
        pair::created(USDC_ETH, USDC, ETH),
        eth_at_2000(),
        initialized(LISTED, 0, 0, 20_000),
        position(LISTED, (-9, 9), 20_000, balances),
    ];
    let before = scene.block(T0, &first);
    let strange = [
        pair::created(0xfff, ETH, DAI),
        initialized(UNLISTED, 0, 0, 20_000),
        initialized([ETH, BTC, 3, 200, 0], 0, 0, 20_000),
        swapped(&Swap {
            key: [ETH, DAI, 7, 200, 0],
            delta: (1, -1),
            sqrt_ratio: (0, 1),
            tick: 0,
            liquidity: 1,
        }),
    ];
    let after = scene.block(T0, &strange);
    for id in ["pairs", "pools"] {
        assert_eq!(inputs_of(&after, id), inputs_of(&before, id), "{id}");
    }
    assert!(inputs_of(&after, "pairs").starts_with("0 insufficient_history 1 "));
    assert_eq!(after.inputs_changed.len() + after.yields_changed.len(), 0);
    // They are markets all the same, with figures of their own.
    assert_eq!(after.changed_markets.len(), 4);
    let row = scene.market("pools", UNLISTED_ID);
    assert_eq!((row.counted, row.tvl.map(|tvl| tvl.0.to_string())), (false, Some("0".into())));
}

#[test]
fn a_protocol_whose_markets_do_not_count_has_none() {
    let mut scene = Scene::default();
    let liquidity = position(UNLISTED, (-9, 9), 20_000, (4_000_000, 0));
    let output = scene.block(T0, &[initialized(UNLISTED, 0, 0, 20_000), liquidity]);
    let none = "no_markets no_markets no_markets audits_unknown deployment_unknown no_markets";
    assert_eq!(inputs_of(&output, "pools"), none);
}

/// One tick wide and worth nothing, but deep there: at 2,500 USDC an ETH.
fn deep_pool(key: Key) -> [Event; 2] {
    let liquidity = 4 * 10i128.pow(20);
    [initialized(key, 0, 0, 20_000), position(key, (0, 1), liquidity, (1, 1))]
}

#[test]
fn a_deep_pool_that_does_not_count_gives_no_price() {
    let price = |key: Key| {
        let mut scene = Scene::default();
        let events =
            [vec![eth_at_2000(), lend::new_reserve(ETH)], deep_pool(key).to_vec()].concat();
        let first = scene.block(T0, &events);
        let price = scene.market("lend", "0x11").price.unwrap().0.to_string();
        let told = scene.block(T0 + HOUR, &[]).anomalies;
        assert!(told.iter().all(|one| one.rule.name() == "price_gap"), "{told:?}");
        let places: Vec<_> =
            first.changed_prices.into_iter().filter_map(|one| Some(one.market?.1.0)).collect();
        (price, told.len(), places.join(" "))
    };
    let (whole_2000, whole_2500) = ("2000000000000000000000", "2500000000000000000000");
    assert_eq!(price(UNLISTED), (whole_2000.to_owned(), 0, "0xf1".to_owned()));
    let listed = "0x10/0x11/0x3/0xc8/0x0".to_owned();
    assert_eq!(price(LISTED), (whole_2500.to_owned(), 1, listed));
}

#[test]
fn a_token_of_uncounted_pools_alone_has_no_price() {
    let mut scene = Scene::default();
    let key = [USDC, DAI, 9, 200, 0];
    let output = scene.block(T0, &deep_pool(key));
    assert_eq!(output.changed_prices, []);
    assert_eq!(scene.fold.prices().count(), 0);
    let row = scene.market("pools", "0x10/0x13/0x9/0xc8/0x0");
    let reason = row.absent.iter().find(|absent| absent.field == "priceUsdc").unwrap();
    assert_eq!(reason.reason, "no_usdc_pool");
    // Its own depth needs no price but USDC's.
    assert!(row.pool.depth_up.is_some());
}

#[test]
fn oracle_prices_are_of_markets_that_count() {
    let mut scene = wide_scene();
    let usdc = lent(USDC, T0, None);
    scene.block(T0, &[context_v1(SINGLETONS[0], 7, [lent(ETH, T0, Some(2_600)), usdc])]);
    // Newer, with an oracle of its own.
    let mine = context_v1(SINGLETONS[0], 8, [lent(ETH, T0 + 9, Some(1)), usdc]);
    let output = scene.block(T0 + 9, &[mine]);
    assert_eq!(output.changed_prices, []);
    let row = scene.market("vesu_v1", "0xd0/0x8/0x11");
    assert_eq!(row.oracle_price.unwrap().0.to_string(), "1");
    let prices: Vec<_> = scene.fold.prices().map(|one| one.market.unwrap().1.0).collect();
    assert_eq!(prices, ["0xd0/0x7/0x10", "0xd0/0x7/0x11"]);
}

#[test]
fn an_empty_market_adds_nothing_and_is_asked_no_more() {
    // A reserve without a deposit, and without rates; an empty pair of a token without a price.
    let mut scene = Scene::default();
    let full = [
        pair::created(USDC_ETH, USDC, ETH),
        eth_at_2000(),
        lend::new_reserve(USDC),
        lend::minted(USDC, MEGA_USDC),
        lend::rates(USDC, 30, 100),
    ];
    let before = scene.block(T0, &full);
    assert!(inputs_of(&before, "lend").starts_with("3000 0 1 "));
    let empty = [lend::new_reserve(BTC), lend::new_reserve(ETH), pair::sync(ETH_BTC, 0, 0)];
    let after = scene.block(T0, &empty);
    // BTC has no price and thus no value, which is not a value of 0.
    assert!(inputs_of(&after, "lend").starts_with("no_usdc_pool no_usdc_pool no_usdc_pool "));
    assert_eq!(inputs_of(&after, "pairs"), inputs_of(&before, "pairs"));

    let mut scene = Scene::default();
    scene.block(T0, &full);
    let after = scene.block(T0, &[lend::new_reserve(ETH)]);
    assert_eq!(inputs_of(&after, "lend"), inputs_of(&before, "lend"));
    assert_eq!(scene.market("lend", "0x11").utilization_bps, None);
}

#[test]
fn markets_that_are_all_empty_are_zero() {
    let mut scene = Scene::default();
    let output = scene.block(T0, &[lend::new_reserve(USDC), pair::sync(USDC_ETH, 0, 0)]);
    let zero = ["zero_tvl"; 3].join(" ");
    for id in ["lend", "pairs"] {
        let found = inputs_of(&output, id);
        assert!(found.starts_with(&zero) && found.ends_with(" zero_tvl"), "{id}: {found}");
    }
}

/// 4 and 3 USDC with a fee of one unit each: 0 and 1 bps alone, whose mean is below 1; together 7,300,000
/// over 7,000,000.
#[test]
fn the_yield_of_an_amm_is_of_its_sums() {
    let other: Key = [USDC, ETH, 4, 200, 0];
    let traded = |key: Key, usdc: i128| {
        let swap = Swap { key, delta: (1, 0), sqrt_ratio: (0, 20_000), tick: 0, liquidity: 20_000 };
        let balances = position(key, (-9, 9), 1, (usdc - 1, 0));
        [initialized(key, 0, 0, 20_000), balances, swapped(&swap)]
    };
    let mut scene = Scene::default();
    let events = [traded(LISTED, 4_000_000), traded(other, 3_000_000)].concat();
    let output = scene.block(T0, &events);
    let apy = |id: &str| scene.market("pools", id).supply_apy_bps.unwrap().0;
    assert_eq!((apy("0x10/0x11/0x3/0xc8/0x0"), apy("0x10/0x11/0x4/0xc8/0x0")), (0, 1));
    assert_eq!(output.inputs[&protocol("pools")].apy_bps, Ok(1));
}
