//! Reserves of Vesu, which their events state in full, and the prices of their oracle.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::{BlockOutput, MarketMetrics};
use support::wide::{
    Config, SINGLETONS, VESU_POOL, asset_added, context_v1, context_v2, wide_scene,
};
use support::{ETH, Event, Scene, USDC, USDC_ETH, figure, pair};

const E18: u128 = 10u128.pow(18);
const T0: u64 = 100_000_800;
const TENTH_OF_YEAR: u64 = 3_153_600;

/// 100 ETH of nominal debt at an accumulator of 1.1, beside 90 ETH: 200 are supplied, 110 lent out.
const LENT_ETH: Config = Config {
    asset: ETH,
    shares: 1,
    fee_shares: 0,
    nominal_debt: 100 * E18,
    reserve: 90 * E18,
    scale: E18,
    at: T0,
    accumulator: 11 * E18 / 10,
    fee_rate: E18 / 10,
    price: Some(2_600 * E18),
};

/// 1,000 USDC lent out beside 3,000.
const LENT_USDC: Config = Config {
    asset: USDC,
    shares: 1,
    fee_shares: 0,
    nominal_debt: 1_000 * E18,
    reserve: 3_000_000_000,
    scale: 1_000_000,
    at: T0,
    accumulator: E18,
    fee_rate: 0,
    price: None,
};

/// A tenth of a year later the accumulator is a hundredth higher.
const GROWN_ETH: Config =
    Config { at: T0 + TENTH_OF_YEAR, accumulator: 1_111 * E18 / 1_000, ..LENT_ETH };

fn context(sides: [Config; 2]) -> Event {
    context_v1(SINGLETONS[0], 7, sides)
}

/// `utilization supplied borrowed headroom TVL oracle`.
fn state(row: &MarketMetrics) -> String {
    [
        figure(row, "utilizationBps", row.utilization_bps, |bps| bps.0.to_string()),
        figure(row, "supplied", row.lending.supplied, |amount| amount.to_string()),
        figure(row, "borrowed", row.lending.borrowed, |amount| amount.to_string()),
        figure(row, "withdrawHeadroom", row.lending.withdraw_headroom, |amount| amount.to_string()),
        figure(row, "tvlUsdc", row.tvl, |value| value.0.to_string()),
        figure(row, "oraclePriceUsd", row.oracle_price, |price| price.0.to_string()),
    ]
    .join(" ")
}

/// `borrow rate, supply rate, APY`.
fn rates(row: &MarketMetrics) -> String {
    [
        figure(row, "borrowRate", row.lending.borrow_rate, |rate| rate.0.to_string()),
        figure(row, "supplyRate", row.lending.supply_rate, |rate| rate.0.to_string()),
        figure(row, "supplyApyBps", row.supply_apy_bps, |bps| bps.0.to_string()),
    ]
    .join(" ")
}

#[test]
fn one_event_states_two_reserves() {
    let mut scene = wide_scene();
    let eth = pair::sync(USDC_ETH, 2_000_000_000_000, 1_000 * E18);
    scene.block(T0, &[eth, context([LENT_ETH, LENT_USDC])]);
    let row = scene.market("vesu_v1", "0xd0/0x7/0x11");
    let expected = "5500 200000000000000000000 110000000000000000000 90000000000000000000 \
                    400000000000 2600000000000000000000";
    assert_eq!(state(&row), expected);
    assert_eq!(rates(&row), "no_state no_state no_state");
    // The events of those who supplied are not in the log, and none tells when the asset was added.
    let suppliers = figure(&row, "suppliers", row.lending.suppliers, |count| count.to_string());
    assert_eq!(suppliers, "history_starts_at");
    assert!(row.absent.iter().all(|absent| absent.field != "accumulatorExcessPpb"));
    assert_eq!(figure(&row, "openedAt", row.opened_at, |at| at.0.to_string()), "no_state");
    let row = scene.market("vesu_v1", "0xd0/0x7/0x10");
    assert_eq!(state(&row), "2500 4000000000 1000000000 3000000000 4000000000 no_state");
}

#[test]
fn rates_are_growth_between_two_instants() {
    let mut scene = wide_scene();
    scene.block(T0, &[context([LENT_ETH, LENT_USDC])]);
    scene.block(T0 + TENTH_OF_YEAR, &[context([GROWN_ETH, LENT_USDC])]);
    // 10 % a year, on 55 % of the supply, less a tenth.
    let row = scene.market("vesu_v1", "0xd0/0x7/0x11");
    assert_eq!(rates(&row), "100000000000000000 49500000000000000 495");
    // Of one instant the last statement counts; the rates stay those since the earlier instant.
    let withdrawn = Config { reserve: 0, nominal_debt: 1, ..GROWN_ETH };
    scene.block(T0 + TENTH_OF_YEAR, &[context([withdrawn, LENT_USDC])]);
    let row = scene.market("vesu_v1", "0xd0/0x7/0x11");
    assert_eq!(rates(&row), "100000000000000000 49500000000000000 495");
    // Then the supply is lent out whole: 1 wei of nominal debt.
    let later = Config {
        at: T0 + 2 * TENTH_OF_YEAR,
        accumulator: 1_222_100 * E18 / 1_000_000,
        ..withdrawn
    };
    scene.block(T0 + 2 * TENTH_OF_YEAR, &[context([later, LENT_USDC])]);
    let row = scene.market("vesu_v1", "0xd0/0x7/0x11");
    assert_eq!(rates(&row), "1000000000000000000 900000000000000000 9000");
}

#[test]
fn reasons_of_rates() {
    let after = |base: Config| {
        let mut scene = wide_scene();
        scene.block(T0, &[context([base, LENT_USDC])]);
        scene.block(T0 + 1, &[context([Config { at: T0 + 1, ..GROWN_ETH }, LENT_USDC])]);
        rates(&scene.market("vesu_v1", "0xd0/0x7/0x11"))
    };
    let empty = Config { accumulator: 0, ..LENT_ETH };
    assert_eq!(after(empty), "overflow overflow overflow");
    let beyond = Config { accumulator: 1_111 * E18 / 1_000, fee_rate: E18 + 1, ..LENT_ETH };
    assert_eq!(after(beyond), "0 invalid_rates invalid_rates");
    let unused = Config { nominal_debt: 0, reserve: 0, ..LENT_ETH };
    assert!(after(unused).ends_with(" 0 0"));
}

#[test]
fn an_accumulator_that_falls_is_quarantined() {
    let mut scene = wide_scene();
    scene.block(T0, &[context([GROWN_ETH, LENT_USDC])]);
    let fallen = Config { at: GROWN_ETH.at + 1, ..LENT_ETH };
    let broken = scene.block(T0 + 1, &[context([fallen, LENT_USDC])]).violations;
    let rules: Vec<_> = broken.iter().map(|one| (one.market.0.as_str(), one.rule.name())).collect();
    assert_eq!(rules, [("0xd0/0x7/0x11", "index_fell")]);
    let row = scene.market("vesu_v1", "0xd0/0x7/0x11");
    let q = "quarantined";
    let expected = format!("{q} {q} {q} 90000000000000000000 {q} 2600000000000000000000");
    assert_eq!(state(&row), expected);
    assert_eq!(rates(&row), [q; 3].join(" "));
    // A later instant that does not fall states all again.
    let later = Config { at: GROWN_ETH.at + 2, ..LENT_ETH };
    scene.block(T0 + 2, &[context([later, LENT_USDC])]);
    assert_eq!(rates(&scene.market("vesu_v1", "0xd0/0x7/0x11")), "0 0 0");
}

#[test]
fn pools_of_version_2_are_contracts() {
    let mut scene = wide_scene();
    scene.block(T0, &[asset_added(VESU_POOL, ETH), asset_added(0x99, ETH)]);
    let row = scene.market("vesu_v2", "0xd9/0x11");
    assert_eq!(row.opened_at.unwrap().0, T0);
    assert_eq!(state(&row), ["no_state"; 6].join(" "));
    // A position without debt names the address zero.
    let none = Config { asset: 0, nominal_debt: 0, reserve: 0, ..LENT_USDC };
    scene.block(T0 + 1, &[context_v2(VESU_POOL, [LENT_ETH, none])]);
    let row = scene.market("vesu_v2", "0xd9/0x11");
    assert!(state(&row).starts_with("5500 200000000000000000000 "));
    assert_eq!(scene.fold.markets().filter(|row| row.protocol.as_str() == "vesu_v2").count(), 1);
}

fn oracle_prices(output: &BlockOutput) -> Vec<String> {
    let prices = output.changed_prices.iter().filter(|price| price.source.to_string() != "pools");
    prices
        .map(|one| {
            let price = one.price.map_or_else(|reason| reason.to_string(), |it| it.0.to_string());
            let (_, market) = one.market.clone().unwrap();
            format!("{} {} {price} {}", one.source, one.symbol, market.0)
        })
        .collect()
}

#[test]
fn the_newest_statement_gives_the_oracle_price() {
    let mut scene: Scene = wide_scene();
    let unlisted = Config { asset: 0x99, ..LENT_ETH };
    let first = scene.block(T0, &[context([LENT_ETH, unlisted])]);
    let price = "2600000000000000000000";
    assert_eq!(oracle_prices(&first), [format!("oracle/vesu_v1 ETH {price} 0xd0/0x7/0x11")]);
    // Another singleton with the same pool: its statement is newer.
    let other = Config { at: T0 + 1, price: Some(5), ..LENT_ETH };
    let second = scene.block(T0 + 1, &[context_v1(SINGLETONS[1], 7, [other, LENT_USDC])]);
    let expected = [
        "oracle/vesu_v1 USDC no_state 0xd1/0x7/0x10".to_owned(),
        "oracle/vesu_v1 ETH 5 0xd1/0x7/0x11".to_owned(),
    ];
    assert_eq!(oracle_prices(&second), expected);
    // An older statement changes nothing; a newer one without a valid price takes it away.
    let older = scene.block(T0 + 2, &[context([LENT_ETH, unlisted])]);
    assert_eq!(oracle_prices(&older), [] as [String; 0]);
    let invalid = Config { at: T0 + 3, price: None, ..LENT_ETH };
    let last = scene.block(T0 + 3, &[context([invalid, unlisted])]);
    assert_eq!(oracle_prices(&last), ["oracle/vesu_v1 ETH no_state 0xd0/0x7/0x11"]);
    assert_eq!(scene.fold.prices().filter(|one| one.symbol == "ETH").count(), 1);
}
