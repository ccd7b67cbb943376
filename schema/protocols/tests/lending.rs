//! Figures of lending reserves, each by a worked example and its reasons for absence.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::{LendingMetrics, MarketMetrics};
use support::{ETH, Event, Scene, USDC, figure, lend};

const RAY: u128 = 10u128.pow(27);
const T0: u64 = 100_000_800 / 86_400 * 86_400;
const YEAR: u64 = 31_536_000;

/// A reserve's row after blocks at given times.
fn reserve(blocks: &[(u64, &[Event])], market: &str) -> MarketMetrics {
    let mut scene = Scene::default();
    for (timestamp, events) in blocks {
        scene.block(*timestamp, events);
    }
    scene.market("lend", market)
}

type Column = fn(&MarketMetrics) -> String;

fn shown<T: ToString>(
    row: &MarketMetrics,
    name: &str,
    field: fn(&LendingMetrics) -> Option<T>,
) -> String {
    figure(row, name, field(&row.lending), |value| value.to_string())
}

/// `borrow rate, supply rate, APY`.
fn rates(row: &MarketMetrics) -> String {
    [
        shown(row, "borrowRate", |lending| lending.borrow_rate),
        shown(row, "supplyRate", |lending| lending.supply_rate),
        figure(row, "supplyApyBps", row.supply_apy_bps, |bps| bps.0.to_string()),
    ]
    .join(" ")
}

/// `supplied, borrowed, headroom, exit shock`.
fn amounts(row: &MarketMetrics) -> String {
    [
        shown(row, "supplied", |lending| lending.supplied),
        shown(row, "borrowed", |lending| lending.borrowed),
        shown(row, "withdrawHeadroom", |lending| lending.withdraw_headroom),
        shown(row, "exitShockBps", |lending| lending.exit_shock_bps.map(|bps| bps.0)),
    ]
    .join(" ")
}

/// `count, top-1, top-5, HHI`.
fn suppliers(row: &MarketMetrics) -> String {
    [
        shown(row, "suppliers", |lending| lending.suppliers),
        shown(row, "top1Bps", |lending| lending.top1_bps.map(|bps| bps.0)),
        shown(row, "top5Bps", |lending| lending.top5_bps.map(|bps| bps.0)),
        shown(row, "hhiBps", |lending| lending.hhi_bps.map(|bps| bps.0)),
    ]
    .join(" ")
}

fn excess(row: &MarketMetrics) -> String {
    shown(row, "accumulatorExcessPpb", |lending| lending.accumulator_excess.map(|ppb| ppb.0))
}

fn check(events: &[Event], column: Column, expected: &str) {
    assert_eq!(column(&reserve(&[(T0, events)], "0x10")), expected, "{events:?}");
}

#[test]
fn rates_are_the_last_stated_after_the_reserve_factor() {
    // 10 % borrowed, 3 % lent, a tenth kept: 2.7 %.
    let open = lend::new_reserve_keeping(USDC, RAY / 10);
    let stated = lend::rates(USDC, 3 * RAY / 100, RAY / 10);
    let expected = "0.100000000000000000 0.027000000000000000 270";
    check(&[open.clone(), stated.clone()], rates, expected);
    // The factor is halved: 2.85 %.
    let halved = lend::reserve_factor(USDC, RAY / 20);
    let expected = "0.100000000000000000 0.028500000000000000 285";
    check(&[open.clone(), stated.clone(), halved.clone()], rates, expected);
    // The factor alone does not need the reserve's beginning.
    check(&[stated.clone(), halved], rates, expected);
    check(
        std::slice::from_ref(&stated),
        rates,
        "0.100000000000000000 history_starts_at history_starts_at",
    );
    check(&[open], rates, "no_state no_state no_state");
    let above_one = lend::reserve_factor(USDC, RAY + 1);
    check(&[stated, above_one], rates, "0.100000000000000000 invalid_rates invalid_rates");
}

#[test]
fn supply_and_debt_grow_with_their_accumulators() {
    let opened = [
        lend::new_reserve(USDC),
        lend::minted_to(1, USDC, 600),
        lend::minted_to(2, USDC, 400),
        lend::borrowing(USDC, 500),
    ];
    // 500 of 1,000; without the 600 the debt exceeds what remains.
    check(&opened, amounts, "1000 500 500 10000");
    // At 1.1 and 1.2: 1,100 and 600. A quarter is paid back, a tenth liquidated, of the raw 500.
    let mut grown = opened.to_vec();
    grown.extend([
        lend::both_accumulators(USDC, RAY / 10 * 11, RAY / 10 * 12),
        lend::repayment(USDC, 125),
        lend::liquidation(USDC, 50, ETH),
    ]);
    // 325 raw are 390; 390 of 1,100 − 660 is 88.63 %.
    check(&grown, amounts, "1100 390 710 8863");
    check(&[lend::deposit(USDC, 1)], amounts, &["history_starts_at"; 4].join(" "));
    let drained = [lend::new_reserve(USDC), lend::minted(USDC, 5), lend::repayment(USDC, 1)];
    check(&drained, amounts, "5 negative_balance negative_balance negative_balance");
    let lone = [lend::new_reserve(USDC), lend::minted(USDC, 5)];
    check(&lone, amounts, "5 0 5 10000");
    check(&[lend::new_reserve(USDC)], amounts, "0 0 0 no_suppliers");
}

#[test]
fn suppliers_are_who_holds_shares() {
    let mut events = vec![lend::new_reserve(USDC)];
    events.extend(
        [60, 20, 10, 5, 3, 2]
            .iter()
            .zip(1..)
            .map(|(amount, user)| lend::minted_to(user, USDC, *amount)),
    );
    // 3600 + 400 + 100 + 25 + 9 + 4 of 10,000.
    check(&events, suppliers, "6 6000 9800 4138");
    // 60 move to the second; the first is none any more: 6400 + 100 + 25 + 9 + 4.
    events.push(lend::shares_moved(USDC, [1, 2], 60));
    check(&events, suppliers, "5 8000 10000 6538");
    // What the market says of it changes no holding, and nor do tokens that no reserve names.
    events.extend([lend::deposit(USDC, 50), lend::withdrawal(USDC, 80), lend::minted(ETH, 50)]);
    check(&events, suppliers, "5 8000 10000 6538");
    events.push(lend::burnt_from(2, USDC, 80));
    check(&events, suppliers, "4 5000 10000 3450");
    // Shares that no event gave.
    events.push(lend::burnt_from(9, USDC, 1));
    check(&events, suppliers, &["negative_balance"; 4].join(" "));
    check(&[lend::new_reserve(USDC)], suppliers, "0 no_suppliers no_suppliers no_suppliers");
    check(&[lend::deposit(USDC, 5)], suppliers, &["history_starts_at"; 4].join(" "));
}

#[test]
fn a_face_value_without_its_shares_is_divided_by_the_accumulator() {
    let events = [
        lend::new_reserve(USDC),
        lend::face_moved(USDC, [0, 1], 100),
        lend::accumulators(USDC, 2 * RAY),
        lend::face_moved(USDC, [0, 2], 101),
    ];
    // 100 and 50 raw; 300 in all, and 200 of them may leave.
    check(&events, suppliers, "2 6666 10000 5555");
    let mut lent = events.to_vec();
    lent.push(lend::borrowing(USDC, 30));
    check(&lent, amounts, "300 60 240 6000");
}

#[test]
fn shares_told_right_after_their_face_value_count_alone() {
    let open = [lend::new_reserve(USDC), lend::accumulators(USDC, RAY / 2 * 3)];
    let after = |events: &[Event]| {
        let events: Vec<Event> = open.iter().chain(events).cloned().collect();
        shown(&reserve(&[(T0, &events)], "0x10"), "supplied", |lending| lending.supplied)
    };
    let face = lend::face_moved(USDC, [0, 1], 300);
    let shares = lend::shares_restated(USDC, [0, 1], 100, 300);
    // 100 raw are 150; 300 by the accumulator are 200 raw.
    assert_eq!(after(std::slice::from_ref(&shares)), "150");
    assert_eq!(after(std::slice::from_ref(&face)), "300");
    assert_eq!(after(&[face.clone(), shares.clone()]), "150");
    // Something between them, the other order, or another movement: each counts.
    assert_eq!(after(&[face.clone(), lend::rates(USDC, 0, 0), shares.clone()]), "450");
    assert_eq!(after(&[shares.clone(), face.clone()]), "450");
    assert_eq!(after(&[face.clone(), lend::shares_restated(USDC, [0, 2], 100, 300)]), "450");
    assert_eq!(after(&[face.clone(), lend::shares_restated(USDC, [0, 1], 100, 299)]), "450");
    assert_eq!(after(&[face, lend::new_reserve(ETH), lend::minted(ETH, 1), shares]), "450");
}

#[test]
fn who_gives_the_face_of_all_that_he_holds_keeps_nothing() {
    let grown = RAY / 1_000 * 1_003;
    let open = [
        lend::new_reserve(USDC),
        lend::accumulators(USDC, grown),
        lend::minted_to(1, USDC, 999),
        lend::minted_to(2, USDC, 1),
    ];
    // 999 raw are worth 1001, and 1001 divided again are 998.
    let after = |event: Event| {
        let events: Vec<Event> = open.iter().cloned().chain([event]).collect();
        suppliers(&reserve(&[(T0, &events)], "0x10"))
    };
    assert_eq!(after(lend::face_moved(USDC, [1, 0], 1_001)), "1 10000 10000 10000");
    assert_eq!(after(lend::face_moved(USDC, [1, 2], 1_001)), "1 10000 10000 10000");
    assert_eq!(after(lend::face_moved(USDC, [1, 0], 1_000)), "2 6666 10000 5555");
    // The shares themselves leave nothing to be told.
    assert_eq!(after(lend::burnt_from(1, USDC, 998)), "2 5000 10000 5000");
}

#[test]
fn a_reserve_that_is_opened_again_begins_with_nothing() {
    let mut events = vec![
        lend::new_reserve(USDC),
        lend::minted(USDC, 100),
        lend::borrowing(USDC, 50),
        lend::accumulators(USDC, 2 * RAY),
        lend::rates(USDC, RAY / 10, RAY / 5),
    ];
    check(&events, amounts, "200 100 100 10000");
    check(&events, rates, "0.200000000000000000 0.099999999999999999 999");
    events.push(lend::new_reserve(USDC));
    check(&events, amounts, "0 0 0 no_suppliers");
    check(&events, rates, "no_state no_state no_state");
    check(&events, suppliers, "0 no_suppliers no_suppliers no_suppliers");
    // Without rates a doubling is unexplained, as at the first opening.
    let again = [lend::accumulators(USDC, 2 * RAY)];
    let row = reserve(&[(T0, &events), (T0 + 1, &again)], "0x10");
    assert_eq!(excess(&row), "1000000000");
}

#[test]
fn excess_is_growth_that_the_rate_does_not_explain() {
    let open = [
        lend::new_reserve_keeping(USDC, RAY / 10),
        lend::accumulators(USDC, RAY),
        lend::rates(USDC, RAY / 10, RAY / 5),
    ];
    let after = |seconds, events: &[Event]| {
        excess(&reserve(&[(T0, &open), (T0 + seconds, events)], "0x10"))
    };
    assert_eq!(after(0, &[]), "no_state");
    // 10 % less a tenth over a tenth of a year is 0.9 %.
    let tenth = YEAR / 10;
    assert_eq!(after(tenth, &[lend::accumulators(USDC, RAY / 1_000 * 1_009)]), "0");
    assert_eq!(after(tenth, &[lend::accumulators(USDC, RAY / 1_000 * 1_010)]), "1000000");
    assert_eq!(after(tenth, &[lend::accumulators(USDC, RAY / 1_000 * 1_008)]), "-1000000");
    // The rates of the same instant come later, and its last accumulators count.
    let twice = [
        lend::accumulators(USDC, RAY / 1_000 * 1_009),
        lend::rates(USDC, 0, 0),
        lend::accumulators(USDC, RAY / 1_000 * 1_010),
    ];
    assert_eq!(after(tenth, &twice), "1000000");
    // Without the reserve's beginning the factor is unknown, and before any rates the rate is.
    let stated = [lend::accumulators(USDC, RAY), lend::rates(USDC, 1, 2)];
    let later = [lend::accumulators(USDC, RAY)];
    let row = reserve(&[(T0, &stated), (T0 + 1, &later)], "0x10");
    assert_eq!(excess(&row), "history_starts_at");
    assert_eq!(excess(&reserve(&[(T0, &later), (T0 + 1, &later)], "0x10")), "no_state");
    // After the beginning the rates are 0 until they are stated: a doubling is an excess of 1.
    let doubled = [lend::accumulators(USDC, 2 * RAY)];
    let row = reserve(&[(T0, &[lend::new_reserve(USDC)]), (T0 + 1, &doubled)], "0x10");
    assert_eq!(excess(&row), "1000000000");
}

#[test]
fn what_needs_no_price_is_known_of_an_unlisted_token() {
    let events = [
        lend::new_reserve(0x99),
        lend::minted(0x99, 5),
        lend::borrowing(0x99, 1),
        lend::rates(0x99, 1, 2),
    ];
    let row = reserve(&[(T0, &events)], "0x99");
    assert_eq!(amounts(&row), "5 1 4 10000");
    assert_eq!(row.opened_at.map(|instant| instant.0), Some(T0));
    assert_eq!(
        figure(&row, "drawdownBps", row.drawdown_bps, |bps| bps.0.to_string()),
        "token_unlisted"
    );
}
