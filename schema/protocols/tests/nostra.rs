//! Reserves of Nostra Money Market: rates and indices as stated, and nothing that needs a deployment.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::MarketMetrics;
use support::figure;
use support::wide::{DEBT_TOKEN, SUPPLY_TOKEN, interest, wide_scene};

const E18: u128 = 10u128.pow(18);
const T0: u64 = 100_000_800;
const TENTH_OF_YEAR: u64 = 3_153_600;

/// `borrow rate, supply rate, APY, accumulator excess`.
fn rates(row: &MarketMetrics) -> String {
    let excess = row.lending.accumulator_excess;
    [
        figure(row, "borrowRate", row.lending.borrow_rate, |rate| rate.0.to_string()),
        figure(row, "supplyRate", row.lending.supply_rate, |rate| rate.0.to_string()),
        figure(row, "supplyApyBps", row.supply_apy_bps, |bps| bps.0.to_string()),
        figure(row, "accumulatorExcessPpb", excess, |excess| excess.0.to_string()),
    ]
    .join(" ")
}

#[test]
fn rates_are_as_stated() {
    let mut scene = wide_scene();
    // 3.45678 % are earned, 7 % are paid; indices of 1.2 and 1.3.
    let stated = [3_456_780_000_000_000 * 10, 7 * E18 / 100];
    scene.block(T0, &[interest(DEBT_TOKEN, stated, [12 * E18 / 10, 13 * E18 / 10])]);
    let row = scene.market("nostra_money_market", "0x11");
    assert_eq!(rates(&row), "70000000000000000 34567800000000000 345 no_state");
    // Both rates say nothing of utilization, and no event tells the beginning of supply and debt.
    let starts = "history_starts_at";
    assert_eq!(
        figure(&row, "utilizationBps", row.utilization_bps, |bps| bps.0.to_string()),
        starts
    );
    assert_eq!(figure(&row, "supplied", row.lending.supplied, |it| it.to_string()), starts);
    assert_eq!(figure(&row, "borrowed", row.lending.borrowed, |it| it.to_string()), starts);
    assert_eq!(figure(&row, "suppliers", row.lending.suppliers, |it| it.to_string()), starts);
    assert_eq!(figure(&row, "tvlUsdc", row.tvl, |it| it.0.to_string()), starts);
    assert_eq!(row.oracle_price, None);
}

#[test]
fn growth_is_held_against_the_rate() {
    let mut scene = wide_scene();
    let stated = |index| interest(DEBT_TOKEN, [E18 / 10, E18 / 5], [index, E18]);
    scene.block(T0, &[stated(E18)]);
    // 10 % a year over a tenth of one explain 1 %; half a per cent is on top.
    let output = scene.block(T0 + TENTH_OF_YEAR, &[stated(1_015 * E18 / 1_000)]);
    assert_eq!(output.anomalies, []);
    let row = scene.market("nostra_money_market", "0x11");
    assert_eq!(rates(&row), "200000000000000000 100000000000000000 1000 5000000");
    // A second later it is a tenth higher.
    let output = scene.block(T0 + TENTH_OF_YEAR + 1, &[stated(1_116 * E18 / 1_000)]);
    assert_eq!(output.anomalies[0].rule.name(), "accumulator_jump");
    // And then lower than before.
    let output = scene.block(T0 + TENTH_OF_YEAR + 2, &[stated(E18)]);
    assert_eq!(output.violations[0].rule.name(), "index_fell");
    let row = scene.market("nostra_money_market", "0x11");
    assert!(rates(&row).ends_with(" 1000 quarantined"));
}

#[test]
fn a_token_that_is_no_debt_has_no_market() {
    let mut scene = wide_scene();
    let events = [SUPPLY_TOKEN, 0x99].map(|token| interest(token, [1, 2], [E18, E18]));
    scene.block(T0, &events);
    assert_eq!(scene.fold.markets().count(), 0);
    let beyond = interest(DEBT_TOKEN, [u128::MAX, u128::MAX], [E18, E18]);
    let mut beyond_256 = beyond.clone();
    beyond_256.data[2] = beyond.data[1];
    scene.block(T0 + 1, &[beyond_256]);
    assert_eq!(scene.fold.markets().count(), 0);
}
