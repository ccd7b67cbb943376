//! Who holds shares of Vesu's reserves: figures are there where no holding can be missing, and only there.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::{BlockOutput, MarketMetrics};
use support::wide::{
    Config, SINGLETONS, VESU_POOL, asset_added, context_v1, context_v2, fees_accrued,
    liquidated_v1, migrated, modified_v1, modified_v2, pool_created, transferred, wide_scene,
};
use support::{ETH, Event, Scene, USDC, figure};

const E18: u128 = 10u128.pow(18);
const T0: u64 = 100_000_800 / 86_400 * 86_400;
const HOUR: u64 = 3_600;
const V1: u128 = SINGLETONS[0];
const V1_ETH: (&str, &str) = ("vesu_v1", "0xd0/0x7/0x11");
const V2_ETH: (&str, &str) = ("vesu_v2", "0xd9/0x11");
const A: u128 = 0x71;
const B: u128 = 0x72;

/// 200 ETH are supplied, 22 of them lent out.
fn eth(shares: u128) -> Config {
    Config {
        asset: ETH,
        shares,
        fee_shares: 0,
        nominal_debt: 20 * E18,
        reserve: 178 * E18,
        scale: E18,
        at: T0,
        accumulator: 11 * E18 / 10,
        fee_rate: 0,
        price: None,
    }
}

fn usdc(shares: u128) -> Config {
    let (nominal_debt, accumulator) = (0, E18);
    Config { asset: USDC, nominal_debt, reserve: 1, scale: 1_000_000, accumulator, ..eth(shares) }
}

/// Of pool 7 of the first singleton.
fn stated_v1(shares: u128) -> Event {
    context_v1(V1, 7, [eth(shares), usdc(0)])
}

fn stated_v2(shares: u128, fee_shares: u128) -> Event {
    context_v2(VESU_POOL, [Config { fee_shares, ..eth(shares) }, usdc(0)])
}

/// `suppliers top1 top5 hhi exit shock`.
fn held(row: &MarketMetrics) -> String {
    let lending = &row.lending;
    let bps = |name, value| figure(row, name, value, |bps: obsqra_types::Bps| bps.0.to_string());
    [
        figure(row, "suppliers", lending.suppliers, |count| count.to_string()),
        bps("top1Bps", lending.top1_bps),
        bps("top5Bps", lending.top5_bps),
        bps("hhiBps", lending.hhi_bps),
        bps("exitShockBps", lending.exit_shock_bps),
    ]
    .join(" ")
}

fn held_in(scene: &Scene, (protocol, market): (&str, &str)) -> String {
    held(&scene.market(protocol, market))
}

fn absent(reason: &str) -> String {
    [reason; 5].join(" ")
}

fn violations(output: &BlockOutput) -> Vec<String> {
    let show = |v: &obsqra_protocols::Violation| format!("{} {}", v.market.0, v.rule.name());
    output.violations.iter().map(show).collect()
}

#[test]
fn version_2_burns_2000_units_and_keeps_fees_apart() {
    let mut scene = wide_scene();
    scene.block(T0, &[asset_added(VESU_POOL, ETH)]);
    assert_eq!(held_in(&scene, V2_ETH), absent("no_state"));
    // 6,000 and 4,000 shares, 500 of fees and 2,000 burnt.
    let supplied =
        [modified_v2(VESU_POOL, (ETH, A), 6_000), modified_v2(VESU_POOL, (ETH, B), 4_000)];
    let [a, b] = supplied;
    scene.block(T0 + 1, &[stated_v2(8_500, 500), a, stated_v2(12_500, 500), b]);
    // 6,000 of 12,500 are worth 96 of 200 ETH, and 22 of the 104 that stay are lent out.
    assert_eq!(held_in(&scene, V2_ETH), "2 6000 10000 5200 2115");
    for (total, fees) in [(12_501, 500), (12_500, 501), (12_499, 500)] {
        scene.block(T0 + 2, &[stated_v2(total, fees)]);
        assert_eq!(held_in(&scene, V2_ETH), absent("history_starts_at"), "{total} {fees}");
    }
    // Fees that were paid out leave the total.
    scene.block(T0 + 3, &[stated_v2(12_000, 0)]);
    assert!(held_in(&scene, V2_ETH).starts_with("2 6000 10000 5200 "));
    // 2,000 units of USDC are shares with 12 places more.
    let usdc = usdc(2_000 * 10u128.pow(12));
    scene.block(T0 + 4, &[context_v2(VESU_POOL, [usdc, eth(12_000)])]);
    let empty = "0 no_suppliers no_suppliers no_suppliers no_suppliers";
    assert_eq!(held_in(&scene, ("vesu_v2", "0xd9/0x10")), empty);
    // More fees than shares, and no unit.
    for config in [Config { fee_shares: 99_999, ..eth(9) }, Config { scale: 0, ..eth(2_000) }] {
        scene.block(T0 + 5, &[context_v2(VESU_POOL, [config, usdc])]);
        assert_eq!(
            figure(&scene.market(V2_ETH.0, V2_ETH.1), "suppliers", None::<u64>, |n| n.to_string()),
            "history_starts_at"
        );
    }
}

/// 6,000 and 4,000 shares, and the 1,000 of the first deposit.
fn supplied_v1() -> Vec<Event> {
    let of = |user, shares| modified_v1(V1, 7, (ETH, user), shares);
    vec![stated_v1(7_000), of(A, 6_000), stated_v1(11_000), of(B, 4_000)]
}

#[test]
fn the_first_deposit_of_version_1_loses_1000_shares() {
    let mut scene = wide_scene();
    scene.block(T0, &[stated_v1(0)]);
    assert!(held_in(&scene, V1_ETH).starts_with("0 no_suppliers"));
    scene.block(T0 + 1, &supplied_v1());
    // 6,000 of 11,000 are worth 109.09 ETH: 22 of the 90.91 that stay.
    assert_eq!(held_in(&scene, V1_ETH), "2 6000 10000 5200 2419");
}

#[test]
fn holdings_from_before_the_log_are_missed() {
    let mut scene = wide_scene();
    let [_, _, rest @ ..] = &supplied_v1()[..] else { panic!() };
    scene.block(T0, rest);
    assert_eq!(held_in(&scene, V1_ETH), absent("history_starts_at"));
    // The one that is missed leaves: its holding is below zero, and that is no contradiction.
    let left = [stated_v1(5_000), modified_v1(V1, 7, (ETH, A), -6_000)];
    assert!(violations(&scene.block(T0 + 1, &left)).is_empty());
    assert_eq!(held_in(&scene, V1_ETH), absent("history_starts_at"));
}

#[test]
fn fees_and_transfers_count_between_statements() {
    let mut scene = wide_scene();
    scene.block(T0, &supplied_v1());
    let complete = held_in(&scene, V1_ETH);
    scene.block(T0 + 1, &[fees_accrued(V1, 7, (ETH, 0x70), 2_000)]);
    assert!(held_in(&scene, V1_ETH).starts_with("3 5000 10000 3888 "));
    let moved = |from, to, shares| transferred(V1, 7, (ETH, from, to), shares);
    scene.block(T0 + 2, &[moved(0x70, B, Some(-2_000))]);
    assert!(held_in(&scene, V1_ETH).starts_with("2 5000 10000 5000 "));
    // From one of an account's positions to another.
    scene.block(T0 + 3, &[moved(A, A, Some(-5)), moved(A, A, None), stated_v1(13_000)]);
    assert!(held_in(&scene, V1_ETH).starts_with("2 5000 10000 5000 "));
    scene.block(T0 + 4, &[stated_v1(12_999)]);
    assert_eq!(held_in(&scene, V1_ETH), absent("history_starts_at"));
    // What moved before the first statement is not known, and opens no market.
    let mut scene = wide_scene();
    scene.block(T0, &[fees_accrued(V1, 7, (ETH, 0x70), 2_000)]);
    assert_eq!(scene.fold.markets().count(), 0);
    scene.block(T0 + 1, &supplied_v1());
    assert_eq!(held_in(&scene, V1_ETH), complete);
}

#[test]
fn liquidations_and_migrations_move_shares_too() {
    let mut scene = wide_scene();
    scene.block(T0, &supplied_v1());
    let sold = liquidated_v1(V1, 7, (ETH, A), (-2_000, -9));
    scene.block(T0 + 1, &[stated_v1(9_000), sold]);
    assert!(held_in(&scene, V1_ETH).starts_with("2 5000 10000 5000 "));
    let came = migrated(V1, 7, (ETH, B), 4_000);
    scene.block(T0 + 2, &[came, stated_v1(13_000)]);
    assert!(held_in(&scene, V1_ETH).starts_with("2 6666 10000 5555 "));
    // What is burnt is nobody's.
    scene.block(T0 + 3, &[migrated(V1, 7, (ETH, 0), 1_000), stated_v1(13_000)]);
    assert!(held_in(&scene, V1_ETH).starts_with("2 6666 "));
}

#[test]
fn shares_that_move_untold_hide_the_holders_for_good() {
    let untold = [
        transferred(V1, 7, (ETH, A, B), None),
        transferred(V1, 7, (ETH, A, B), Some(5)),
        // The liquidator takes the collateral as shares.
        liquidated_v1(V1, 7, (ETH, A), (0, -9)),
    ];
    for event in untold {
        let mut scene = wide_scene();
        scene.block(T0, &supplied_v1());
        scene.block(T0 + 1, &[event, stated_v1(11_000)]);
        assert_eq!(held_in(&scene, V1_ETH), absent("no_state"));
        scene.block(T0 + 2, &[stated_v1(11_000)]);
        assert_eq!(held_in(&scene, V1_ETH), absent("no_state"));
    }
    let mut scene = wide_scene();
    scene.block(T0, &supplied_v1());
    scene.block(T0 + 1, &[liquidated_v1(V1, 7, (ETH, A), (0, 0)), stated_v1(11_000)]);
    assert!(held_in(&scene, V1_ETH).starts_with("2 6000 "));
}

#[test]
fn a_holding_below_zero_contradicts_a_pool_that_began_in_the_log() {
    let below = [stated_v1(11_000), modified_v1(V1, 7, (ETH, A), -5)];
    let mut scene = wide_scene();
    scene.block(T0, &[pool_created(V1, 7)]);
    let output = scene.block(T0 + 1, &below);
    assert_eq!(violations(&output), ["0xd0/0x7/0x11 negative_amount"]);
    assert_eq!(held_in(&scene, V1_ETH), absent("history_starts_at"));
    let back = modified_v1(V1, 7, (ETH, A), 10_005);
    assert!(violations(&scene.block(T0 + 2, &[stated_v1(11_000), back])).is_empty());
    assert!(held_in(&scene, V1_ETH).starts_with("1 10000 10000 10000 "));
    // The same pool of another singleton is another, as is another pool.
    for created in [pool_created(SINGLETONS[1], 7), pool_created(V1, 8)] {
        let mut scene = wide_scene();
        scene.block(T0, &[created]);
        assert!(violations(&scene.block(T0 + 1, &below)).is_empty());
    }
    // Of version 2 the asset is added.
    let below = [stated_v2(2_000, 0), modified_v2(VESU_POOL, (ETH, A), -5)];
    assert!(violations(&wide_scene().block(T0, &below)).is_empty());
    let mut scene = wide_scene();
    scene.block(T0, &[asset_added(VESU_POOL, ETH)]);
    assert_eq!(violations(&scene.block(T0 + 1, &below)), ["0xd9/0x11 negative_amount"]);
    // The sum is right, and one holding cannot be.
    let other = [modified_v2(VESU_POOL, (ETH, B), 5), stated_v2(2_000, 0)];
    scene.block(T0 + 2, &other);
    assert_eq!(held_in(&scene, V2_ETH), absent("negative_balance"));
}

#[test]
fn an_accumulator_that_falls_says_nothing_of_the_holders() {
    let mut scene = wide_scene();
    scene.block(T0, &supplied_v1());
    let fallen = Config { at: T0 + 1, accumulator: E18, ..eth(11_000) };
    scene.block(T0 + 1, &[context_v1(V1, 7, [fallen, usdc(0)])]);
    assert_eq!(held_in(&scene, V1_ETH), absent("quarantined"));
}

fn anomalies(output: &BlockOutput) -> Vec<String> {
    let show = |told: &obsqra_protocols::Anomaly| {
        let detail: Vec<_> =
            told.detail.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let (rule, phase) = (told.rule.name(), told.phase.name());
        let market = told.market.as_ref().unwrap();
        format!("{} {rule} {phase} @{}: {}", market.0, told.cause, detail.join(", "))
    };
    output.anomalies.iter().map(show).collect()
}

#[test]
fn a_total_that_fell_by_a_third_within_a_day_is_told() {
    let mut scene = wide_scene();
    scene.block(T0, &[stated_v1(100_000)]);
    // What stood a day ago is not known yet.
    assert!(anomalies(&scene.block(T0 + HOUR, &[stated_v1(70_000)])).is_empty());
    assert!(anomalies(&scene.block(T0 + 24 * HOUR - 1, &[])).is_empty());
    // The clock opens it.
    let output = scene.block(T0 + 24 * HOUR, &[]);
    let told = "rawSupplyBefore 100000, rawSupply 70000";
    let opened = format!("0xd0/0x7/0x11 net_outflow opened @7: {told}");
    assert_eq!(anomalies(&output), [opened]);
    // And closes it.
    let output = scene.block(T0 + 25 * HOUR, &[]);
    let closed = "0xd0/0x7/0x11 net_outflow closed @8: rawSupplyBefore 70000, rawSupply 70000";
    assert_eq!(anomalies(&output), [closed]);
    // One share less than three tenths.
    assert!(anomalies(&scene.block(T0 + 26 * HOUR, &[stated_v1(49_001)])).is_empty());
    let output = scene.block(T0 + 27 * HOUR, &[stated_v1(49_000)]);
    let opened = "0xd0/0x7/0x11 net_outflow opened @12: rawSupplyBefore 70000, rawSupply 49000";
    assert_eq!(anomalies(&output), [opened]);
    let output = scene.block(T0 + 28 * HOUR, &[stated_v1(49_001)]);
    assert!(anomalies(&output)[0].starts_with("0xd0/0x7/0x11 net_outflow closed @14"));
    // Ten thousand shares may go anywhere.
    let mut scene = wide_scene();
    scene.block(T0, &[context_v1(V1, 7, [eth(10_000), usdc(10_001)])]);
    let output = scene.block(T0 + 24 * HOUR, &[context_v1(V1, 7, [eth(0), usdc(0)])]);
    let told: Vec<_> =
        anomalies(&output).into_iter().filter(|told| told.contains("outflow")).collect();
    assert_eq!(told, ["0xd0/0x7/0x10 net_outflow opened @5: rawSupplyBefore 10001, rawSupply 0"]);
}

#[test]
fn few_shares_are_told_while_there_are_any() {
    let mut scene = wide_scene();
    let told =
        |scene: &mut Scene, at, shares| anomalies(&scene.block(T0 + at, &[stated_v1(shares)]));
    assert!(told(&mut scene, 0, 10_001).is_empty());
    let opened = "0xd0/0x7/0x11 near_zero_supply opened @5: rawSupply 10000";
    assert_eq!(told(&mut scene, 1, 10_000), [opened]);
    assert!(told(&mut scene, 2, 1).is_empty());
    let closed = "0xd0/0x7/0x11 near_zero_supply closed @9: rawSupply 0";
    assert_eq!(told(&mut scene, 3, 0), [closed]);
}

#[test]
fn utilization_that_stays_high_is_told_of_vesu_too() {
    let lent = |reserve: u128, at: u64, accumulator: u128| {
        let nominal_debt = 99 * E18;
        let config = Config { nominal_debt, reserve, at, accumulator, ..eth(0) };
        context_v1(V1, 7, [config, usdc(0)])
    };
    let mut scene = wide_scene();
    scene.block(T0, &[lent(E18, T0, E18)]);
    assert!(anomalies(&scene.block(T0 + 6 * HOUR - 1, &[])).is_empty());
    let output = scene.block(T0 + 6 * HOUR, &[]);
    let opened =
        format!("0xd0/0x7/0x11 utilization_high opened @5: since {T0}, utilizationBps 9900");
    assert_eq!(anomalies(&output), [opened]);
    let output = scene.block(T0 + 7 * HOUR, &[lent(2 * E18, T0, E18)]);
    let closed = "0xd0/0x7/0x11 utilization_high closed @7: utilizationBps 9801";
    assert_eq!(anomalies(&output), [closed]);
    // While the accumulator is known to be wrong, utilization is not known to be high.
    scene.block(T0 + 8 * HOUR, &[lent(0, T0, E18)]);
    scene.block(T0 + 9 * HOUR, &[lent(0, T0 + 1, E18 - 1)]);
    assert!(anomalies(&scene.block(T0 + 20 * HOUR, &[])).is_empty());
}
