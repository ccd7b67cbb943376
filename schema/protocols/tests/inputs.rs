//! The inputs of a protocol's score, their causes, and when a score is due.
//!
//! Inputs read `u v l a d`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use support::{ETH, Event, Scene, USDC, USDC_ETH, inputs, lend, pair, protocol, row};

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

#[test]
fn lending_inputs_are_weighted_by_value() {
    let mut scene = Scene::default();
    // 1,000 ETH = 2 M USDC at 30 %, 8 M USDC at 80 %: 70 %; 10 M is class 2.
    let output = scene.block(
        T0,
        &[
            eth_at_2000(),
            lend::new_reserve(ETH),
            lend::minted(ETH, KILO_ETH),
            lend::rates(ETH, 30, 100),
            lend::new_reserve(USDC),
            lend::minted(USDC, 8 * MEGA_USDC),
            lend::rates(USDC, 80, 100),
            lend::rates(0x99, 1, 2),
        ],
    );
    // One report by one firm, long ago; 99,000,000 s since deployment.
    let days = (T0 - 1_000_000) / DAY;
    let expected = format!("7000 insufficient_history 2 70 {days}");
    assert_eq!(inputs(&output.inputs[&protocol("lend")]), expected);
    let absent = output.inputs[&protocol("lend")].complete().unwrap_err();
    assert_eq!(absent.len(), 1);
    assert_eq!(
        absent[0].detail.as_deref(),
        Some("ETH market 0x11: ETH: 0 of 168 hours have trades, 120 are needed")
    );
    // The unlisted token's market exists and takes no part.
    assert_eq!(
        row(&scene.market("lend", "0x99")),
        "token_unlisted token_unlisted 5000 - token_unlisted token_unlisted"
    );
    assert_eq!(scene.market("lend", "0x99").asset, "0x99");
}

#[test]
fn full_inputs_make_a_score_and_name_their_causes() {
    let mut scene = Scene::default();
    scene.block(
        T0,
        &[pair::created(USDC_ETH, USDC, ETH), lend::new_reserve(ETH), lend::minted(ETH, KILO_ETH)],
    );
    let mut later = Scene { fold: scene.fold.clone(), chain: scene.chain.clone() };
    // One ETH goes out for 2,010 USDC and comes back for 2,000.
    let mut reserve = 2 * MEGA_USDC;
    for hour in 1..=130 {
        let (sync, swap) = if hour % 2 == 0 {
            reserve -= 2_000_000_000;
            let swap = pair::swap(USDC_ETH, 0, WHOLE_ETH, 2_000_000_000, 0);
            (pair::sync(USDC_ETH, reserve, KILO_ETH), swap)
        } else {
            reserve += 2_010_000_000;
            let swap = pair::swap(USDC_ETH, 2_010_000_000, 0, 0, WHOLE_ETH);
            (pair::sync(USDC_ETH, reserve, KILO_ETH - WHOLE_ETH), swap)
        };
        later.block(T0 + hour * HOUR, &[sync, swap]);
    }
    let output = later.block(T0 + 131 * HOUR, &[lend::rates(ETH, 50, 100)]);
    let lend_inputs = &output.inputs[&protocol("lend")];
    let complete = lend_inputs.complete().unwrap();
    assert_eq!(
        (complete.utilization_bps, complete.liquidity_class, complete.audit_score),
        (5_000, 1, 70)
    );
    assert!(complete.volatility_bps > 0);
    assert!(output.inputs_changed.contains(&protocol("lend")));
    // Hours 108 to 130 are inside the 24, 12 · 2,000 and 11 · 2,010 USDC over 4.0013 M: 115 bps. A dated source
    // says unaudited.
    let days = (T0 + 131 * HOUR - 99_000_000) / DAY;
    let expected = format!("115 {} 1 0 {days}", complete.volatility_bps);
    assert_eq!(inputs(&output.inputs[&protocol("pairs")]), expected);
    assert_eq!(
        inputs(&output.inputs[&protocol("pools")]),
        "no_markets no_markets no_markets audits_unknown deployment_unknown"
    );

    let causes: Vec<String> = lend_inputs.causes.as_slice().iter().map(cause).collect();
    // Registry, block, own events, the events of the pairs that price ETH, the rates.
    assert_eq!(causes, ["1", "396", "4-397 lend 3", "3-395 pairs 261", "397"]);
}

fn cause(cause: &obsqra_events::Cause) -> String {
    match cause {
        obsqra_events::Cause::Entry(seq) => seq.to_string(),
        obsqra_events::Cause::Window { from_seq, to_seq, selector, count, .. } => {
            let id = selector.strip_prefix("event protocol=").unwrap();
            format!("{from_seq}-{to_seq} {id} {count}")
        }
    }
}

#[test]
fn a_score_is_due_where_a_value_or_a_reason_differs() {
    let changed = |scene: &mut Scene, timestamp: u64, events: &[Event]| -> String {
        let output = scene.block(timestamp, events);
        let ids: Vec<&str> = output.inputs_changed.iter().map(|id| id.as_str()).collect();
        ids.join(" ")
    };
    let mut scene = Scene::default();
    assert_eq!(changed(&mut scene, T0, &[]), "lend pairs pools");
    assert_eq!(changed(&mut scene, T0 + DAY, &[]), "");
    let deposit = lend::minted(USDC, 1_000_000);
    let usdc = [lend::new_reserve(USDC), deposit.clone(), lend::rates(USDC, 1, 2)];
    assert_eq!(changed(&mut scene, T0 + DAY, &usdc), "lend");
    // The value locked rises inside its class, and weighs a single market.
    assert_eq!(changed(&mut scene, T0 + DAY, &[deposit]), "");
    assert_eq!(changed(&mut scene, T0 + DAY, &[lend::minted(USDC, MEGA_USDC)]), "lend");
    assert_eq!(changed(&mut scene, T0 + DAY, &[lend::rates(USDC, 2, 4)]), "");
    assert_eq!(changed(&mut scene, T0 + DAY, &[lend::rates(USDC, 3, 4)]), "lend");
    assert_eq!(changed(&mut scene, T0 + DAY, &[pair::created(USDC_ETH, USDC, ETH)]), "pairs");
}

#[test]
fn reasons_of_inputs() {
    let before_deployment = 90_000_000;
    let mut scene = Scene::default();
    let output = scene
        .block(before_deployment, &[pair::created(USDC_ETH, USDC, ETH), lend::new_reserve(USDC)]);
    let expected = "no_state no_state no_state 0 not_deployed";
    assert_eq!(inputs(&output.inputs[&protocol("pairs")]), expected);
    let days = (before_deployment - 1_000_000) / DAY;
    let expected = format!("zero_tvl zero_tvl zero_tvl 70 {days}");
    assert_eq!(inputs(&output.inputs[&protocol("lend")]), expected);
}

#[test]
fn blocks_that_do_not_follow_are_refused() {
    let mut scene = Scene::default();
    scene.block(T0, &[eth_at_2000()]);
    let before = scene.fold.encode();
    let skipped = scene.chain.block(T0, &[]);
    let mut later = scene.chain.block(T0, &[eth_at_2000()]);
    let error = scene.fold.apply(&later.input()).unwrap_err();
    assert_eq!(error.to_string(), "block 102 does not follow block 100");
    later.block.number = skipped.block.number;
    later.events[0].0 = later.applied_seq;
    let error = scene.fold.apply(&later.input()).unwrap_err();
    assert_eq!(error.to_string(), "block 101: entry 5 does not stand after entry 5");
    assert_eq!(scene.fold.encode(), before);
    assert!(scene.fold.apply(&skipped.input()).is_ok());
}
