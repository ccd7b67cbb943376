//! Conservation checks and anomaly rules, each by a case that it tells and one that it does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_events::Severity;
use obsqra_protocols::{Anomaly, BlockOutput, ConservationRule, MarketMetrics, Violation};
use obsqra_types::{ContractAddress, Felt, MarketId, ProtocolId};
use support::pool::{Key, fees_collected, initialized, position};
use support::wide::{POOL, POOL_FACTORY, VESU_FACTORY, VESU_POOL, wide_scene};
use support::{CORE, ETH, Event, Scene, USDC, USDC_ETH, event, figure, lend, pair};

const RAY: u128 = 10u128.pow(27);
const T0: u64 = 100_000_800 / 86_400 * 86_400;
const HOUR: u64 = 3_600;

fn violations(output: &BlockOutput) -> Vec<String> {
    let show = |v: &obsqra_protocols::Violation| {
        format!("{} {} {}: {}", v.protocol, v.market, v.rule.name(), v.detail)
    };
    output.violations.iter().map(show).collect()
}

fn anomaly(anomaly: &Anomaly) -> String {
    let market = anomaly.market.as_ref().map_or("-", |market| market.0.as_str());
    let detail: Vec<String> =
        anomaly.detail.iter().map(|(name, value)| format!("{name} {value}")).collect();
    format!(
        "{} {market} {} {} {} @{}: {}",
        anomaly.protocol,
        anomaly.rule.name(),
        anomaly.rule.severity().name(),
        anomaly.phase.name(),
        anomaly.cause,
        detail.join(", ")
    )
}

fn anomalies(output: &BlockOutput) -> Vec<String> {
    output.anomalies.iter().map(anomaly).collect()
}

/// The reason for which a figure is absent, and its detail; or that it is there.
fn state(row: &MarketMetrics, field: &str) -> String {
    row.absent.iter().find(|absent| absent.field == field).map_or("present".into(), |absent| {
        format!("{} {}", absent.reason, absent.detail.as_deref().unwrap_or("-"))
    })
}

/// A reserve of 1,000 raw shares with accumulators stated.
fn open_reserve() -> Vec<Event> {
    vec![
        lend::new_reserve(USDC),
        lend::minted(USDC, 1_000_000),
        lend::accumulators(USDC, 2 * RAY),
        lend::rates(USDC, 0, 0),
    ]
}

#[test]
fn an_accumulator_that_falls_quarantines_what_is_made_from_it() {
    let mut scene = Scene::default();
    assert!(violations(&scene.block(T0, &open_reserve())).is_empty());
    let output = scene.block(T0 + 1, &[lend::both_accumulators(USDC, 2 * RAY, 2 * RAY - 1)]);
    let (lending, debt) = (2 * RAY, 2 * RAY - 1);
    let expected = format!("lend 0x10 index_fell: to lending {lending}, debt {debt}");
    assert_eq!(violations(&output), [expected]);
    let row = scene.market("lend", "0x10");
    for field in ["supplied", "borrowed", "tvlUsdc", "hhiBps", "exitShockBps", "liquidityClass"] {
        assert_eq!(state(&row, field), "quarantined index_fell", "{field}");
    }
    for field in ["utilizationBps", "borrowRate", "supplyApyBps", "priceUsdc", "openedAt"] {
        assert_eq!(state(&row, field), "present", "{field}");
    }
    let inputs = &output.inputs[&support::protocol("lend")];
    assert_eq!(inputs.liquidity_class.as_ref().unwrap_err().reason, "quarantined");
    // It is told once, and lasts until the reserve begins anew.
    assert!(violations(&scene.block(T0 + 2, &[lend::accumulators(USDC, 3 * RAY)])).is_empty());
    assert_eq!(state(&scene.market("lend", "0x10"), "tvlUsdc"), "quarantined index_fell");
    scene.block(T0 + 3, &[lend::new_reserve(USDC)]);
    assert_eq!(state(&scene.market("lend", "0x10"), "tvlUsdc"), "present");
}

#[test]
fn an_amount_below_zero_is_told_when_it_begins() {
    let mut scene = Scene::default();
    scene.block(T0, &open_reserve());
    let output = scene.block(T0 + 1, &[lend::repayment(USDC, 1)]);
    assert_eq!(violations(&output), ["lend 0x10 negative_amount: debt"]);
    assert!(violations(&scene.block(T0 + 2, &[lend::repayment(USDC, 1)])).is_empty());
    assert!(violations(&scene.block(T0 + 3, &[lend::borrowing(USDC, 2)])).is_empty());
    assert_eq!(state(&scene.market("lend", "0x10"), "borrowed"), "present");
    let output = scene.block(T0 + 4, &[lend::burnt_from(9, USDC, 2)]);
    assert_eq!(violations(&output), ["lend 0x10 negative_amount: a supplier's holding"]);
    // A concentrated pool that was opened in the log, and one that was not.
    const POOL: Key = [USDC, ETH, 3, 200, 0];
    const OLD: Key = [USDC, ETH, 4, 200, 0];
    scene.block(T0 + 5, &[initialized(POOL, 0, 0, 20_000), position(POOL, (-1, 1), 9, (5, 5))]);
    let output =
        scene.block(T0 + 6, &[fees_collected(POOL, (0, -6)), fees_collected(OLD, (0, -6))]);
    let expected = "pools 0x10/0x11/0x3/0xc8/0x0 negative_amount: balance of token1";
    assert_eq!(violations(&output), [expected]);
}

#[test]
fn more_lent_than_supplied_hides_what_could_leave() {
    let mut scene = Scene::default();
    scene.block(T0, &open_reserve());
    assert!(violations(&scene.block(T0 + 1, &[lend::borrowing(USDC, 1_000_000)])).is_empty());
    assert_eq!(state(&scene.market("lend", "0x10"), "withdrawHeadroom"), "present");
    let output = scene.block(T0 + 2, &[lend::borrowing(USDC, 1)]);
    let expected = "lend 0x10 borrowed_exceeds_supplied: borrowed 2000002, supplied 2000000";
    assert_eq!(violations(&output), [expected]);
    let row = scene.market("lend", "0x10");
    for field in ["withdrawHeadroom", "exitShockBps"] {
        assert_eq!(state(&row, field), "quarantined borrowed_exceeds_supplied");
    }
    assert_eq!(
        (state(&row, "tvlUsdc"), state(&row, "borrowed")),
        ("present".into(), "present".into())
    );
    assert!(violations(&scene.block(T0 + 3, &[lend::repayment(USDC, 1)])).is_empty());
    assert_eq!(state(&scene.market("lend", "0x10"), "withdrawHeadroom"), "present");
}

#[test]
fn reserves_hold_what_came_and_did_not_go() {
    let mut scene = Scene::default();
    let sync = |usdc: u128, eth: u128| pair::sync(USDC_ETH, usdc, eth);
    let created = pair::created(USDC_ETH, USDC, ETH);
    // A first Sync has nothing to be compared with.
    let first = scene.block(T0, &[created, sync(1_000, 1_000), pair::mint(USDC_ETH, 9, 9)]);
    assert!(violations(&first).is_empty());
    // +100 −10, +5 +5, −20 −2, and a gift of 1.
    let moved = [
        sync(1_100, 990),
        pair::swap(USDC_ETH, 100, 0, 0, 10),
        sync(1_105, 995),
        pair::mint(USDC_ETH, 5, 5),
        sync(1_086, 993),
        pair::burn(USDC_ETH, 20, 2),
    ];
    assert!(violations(&scene.block(T0 + 1, &moved)).is_empty());
    // One less than 1,086 + 10.
    let short = [sync(1_095, 990), pair::swap(USDC_ETH, 10, 0, 0, 3)];
    let output = scene.block(T0 + 2, &short);
    assert_eq!(violations(&output).len(), 1);
    assert!(violations(&output)[0].starts_with("pairs 0xf1 reserves_below_flows"));
    let row = scene.market("pairs", "0xf1");
    for field in ["volume24hUsdc", "fees24hUsdc", "turnoverBps", "supplyApyBps"] {
        assert_eq!(state(&row, field), "quarantined reserves_below_flows", "{field}");
    }
    assert_eq!(
        (state(&row, "tvlUsdc"), state(&row, "priceUsdc")),
        ("present".into(), "present".into())
    );
    // Flows without a Sync settle nothing; nor does the Sync after them.
    let silent = [pair::mint(USDC_ETH, 7, 7)];
    assert!(violations(&scene.block(T0 + 3, &silent)).is_empty());
    assert!(violations(&scene.block(T0 + 4, &[sync(500, 500)])).is_empty());
    assert_eq!(
        state(&scene.market("pairs", "0xf1"), "volume24hUsdc"),
        "quarantined reserves_below_flows"
    );
    // A Sync that agrees makes the pair whole.
    scene.block(T0 + 5, &[sync(501, 500), pair::mint(USDC_ETH, 1, 0)]);
    assert_eq!(state(&scene.market("pairs", "0xf1"), "volume24hUsdc"), "present");
}

#[test]
fn the_attack_on_an_empty_reserve_is_told() {
    let mut scene = Scene::default();
    let open = [lend::new_reserve(ETH), lend::rates(ETH, 0, 0)];
    assert!(anomalies(&scene.block(T0, &open)).is_empty());
    // One unit is supplied.
    let first = [lend::accumulators(ETH, RAY), lend::minted(ETH, 1), lend::rates(ETH, 0, 0)];
    let output = scene.block(T0 + 60, &first);
    let expected = ["lend 0x11 near_zero_supply warning opened @8: rawSupply 1"];
    assert_eq!(anomalies(&output), expected);
    // A flash loan of one unit comes back as 851.
    let attack = |after: u128| [lend::accumulators(ETH, after), lend::flash_loan(ETH, 1, 0)];
    let output = scene.block(T0 + 120, &attack(851 * RAY));
    let jump = format!(
        "lend 0x11 accumulator_jump critical point @10: accumulator lending, before {RAY}, after {}, \
         seconds 60, rate 0",
        851 * RAY
    );
    let surplus = "lend 0x11 flash_loan_surplus critical point @11: gained 850, fees 0";
    assert_eq!(anomalies(&output), [jump, surplus.to_owned()]);
    // Each further one is told again; the small supply is not.
    assert_eq!(scene.block(T0 + 180, &attack(1_700 * RAY)).anomalies.len(), 2);
    // Enough is supplied.
    let output = scene.block(T0 + 240, &[lend::minted(ETH, 10_000)]);
    let expected = ["lend 0x11 near_zero_supply warning closed @16: rawSupply 10001"];
    assert_eq!(anomalies(&output), expected);
}

#[test]
fn growth_and_fees_that_explain_themselves_are_no_anomaly() {
    let mut scene = Scene::default();
    let open = [
        lend::new_reserve(USDC),
        lend::minted(USDC, 1_000_000_000),
        lend::rates(USDC, RAY / 10, RAY / 5),
    ];
    scene.block(T0, &open);
    // 10 % a year for a day is 0.0274 %; a flash loan's fee of 0.09 % of it all is on top.
    let grown = RAY + RAY / 10 / 365 + RAY / 10_000 * 9;
    let debt = RAY + RAY / 5 / 365;
    let events = [
        lend::both_accumulators(USDC, grown, debt),
        lend::flash_loan(USDC, 1_000_000_000, 900_000),
    ];
    assert!(anomalies(&scene.block(T0 + 24 * HOUR, &events)).is_empty());
    // 2 more than the fee, with nothing of a jump.
    let more = grown + RAY / 1_000_000_000 * 902;
    let events = [lend::both_accumulators(USDC, more, debt), lend::flash_loan(USDC, 1_000, 900)];
    let output = scene.block(T0 + 24 * HOUR, &events);
    // The same instant: both loans' fees count, and explain all but 2.
    let expected = ["lend 0x10 flash_loan_surplus critical point @11: gained 900902, fees 900900"];
    assert_eq!(anomalies(&output), expected);
    // The debt accumulator alone jumps.
    let jump = lend::both_accumulators(USDC, more, debt * 2);
    let output = scene.block(T0 + 25 * HOUR, &[jump]);
    assert!(anomalies(&output)[0].contains("accumulator debt"), "{output:?}");
    assert_eq!(output.anomalies.len(), 1);
}

#[test]
fn high_utilization_is_told_once_it_has_lasted() {
    let mut scene = Scene::default();
    let at = |bps: u128| lend::rates(USDC, bps, 10_000);
    scene.block(T0, &[at(9_900)]);
    assert!(anomalies(&scene.block(T0 + 6 * HOUR - 1, &[at(9_950)])).is_empty());
    // The clock opens it, in a block without events.
    let output = scene.block(T0 + 6 * HOUR, &[]);
    let expected =
        format!("lend 0x10 utilization_high warning opened @6: since {T0}, utilizationBps 9950");
    assert_eq!(anomalies(&output), [expected]);
    assert!(anomalies(&scene.block(T0 + 7 * HOUR, &[at(10_000)])).is_empty());
    let output = scene.block(T0 + 8 * HOUR, &[at(9_899)]);
    assert_eq!(
        anomalies(&output),
        ["lend 0x10 utilization_high warning closed @10: utilizationBps 9899"]
    );
    // Interrupted, the hours count from the new beginning.
    scene.block(T0 + 9 * HOUR, &[at(9_900)]);
    scene.block(T0 + 10 * HOUR, &[at(1)]);
    scene.block(T0 + 11 * HOUR, &[at(9_900)]);
    assert!(anomalies(&scene.block(T0 + 16 * HOUR, &[])).is_empty());
    assert_eq!(scene.block(T0 + 17 * HOUR, &[]).anomalies.len(), 1);
}

#[test]
fn an_outflow_of_a_third_in_a_day_is_told() {
    let mut scene = Scene::default();
    let withdraw = |amount: u128| [lend::burnt(USDC, amount)];
    scene.block(T0, &[lend::new_reserve(USDC), lend::minted(USDC, 100_000)]);
    // What came within the day does not count as held before it.
    assert!(anomalies(&scene.block(T0 + HOUR, &withdraw(40_000))).is_empty());
    assert!(anomalies(&scene.block(T0 + 30 * HOUR, &withdraw(17_999))).is_empty());
    let output = scene.block(T0 + 31 * HOUR, &withdraw(1));
    let expected =
        "lend 0x10 net_outflow warning opened @10: rawSupplyBefore 60000, rawSupply 42000";
    assert_eq!(anomalies(&output), [expected]);
    assert!(anomalies(&scene.block(T0 + 32 * HOUR, &withdraw(1_000))).is_empty());
    // The first withdrawal leaves the window, and the others are little of what was there.
    let output = scene.block(T0 + 54 * HOUR, &[]);
    let expected =
        "lend 0x10 net_outflow warning closed @13: rawSupplyBefore 42001, rawSupply 41000";
    assert_eq!(anomalies(&output), [expected]);
    // A deposit closes it as well.
    scene.block(T0 + 80 * HOUR, &withdraw(20_000));
    let output = scene.block(T0 + 81 * HOUR, &[lend::minted(USDC, 10_000)]);
    let expected =
        "lend 0x10 net_outflow warning closed @17: rawSupplyBefore 41000, rawSupply 31000";
    assert_eq!(anomalies(&output), [expected]);
    // Little is held: nothing is told.
    let mut scene = Scene::default();
    scene.block(T0, &[lend::new_reserve(ETH), lend::minted(ETH, 10_000)]);
    let output = scene.block(T0 + 30 * HOUR, &[lend::burnt(ETH, 9_999)]);
    assert!(!anomalies(&output).iter().any(|told| told.contains("net_outflow")));
}

#[test]
fn an_upgrade_is_told_of_its_contract() {
    let mut scene = Scene::default();
    let output = scene.block(T0, &[lend::upgraded()]);
    assert_eq!(anomalies(&output), ["lend - contract_upgraded warning point @3: contract 0xa1"]);
    // A token of shares counts from its reserve on; a core replaces its class.
    let z_token = event(lend::z_token(USDC), "ContractUpgraded", [0x1234]);
    let core = event(CORE, "ClassHashReplaced", [0x1234]);
    assert!(anomalies(&scene.block(T0 + 1, std::slice::from_ref(&z_token))).is_empty());
    let expected = [
        "lend - contract_upgraded warning point @8: contract 0x5a000010",
        "pools - contract_upgraded warning point @9: contract 0xb1",
    ];
    assert_eq!(
        anomalies(&scene.block(T0 + 2, &[lend::new_reserve(USDC), z_token, core])),
        expected
    );
}

#[test]
fn a_pause_is_told_and_so_is_its_end() {
    let mut scene = wide_scene();
    let paused =
        [event(VESU_POOL, "ContractPaused", [0x77]), event(POOL_FACTORY, "Paused", [0x77])];
    let expected = [
        "jediswap_v2 - contract_paused critical point @4: contract 0xc0",
        "vesu_v2 - contract_paused critical point @3: contract 0xd9",
    ];
    assert_eq!(anomalies(&scene.block(T0, &paused)), expected);
    assert!(anomalies(&scene.block(T0 + 1, &[])).is_empty());
    let unpaused =
        [event(VESU_POOL, "ContractUnpaused", [0x77]), event(POOL_FACTORY, "Unpaused", [0x77])];
    let expected = [
        "jediswap_v2 - contract_unpaused info point @8: contract 0xc0",
        "vesu_v2 - contract_unpaused info point @7: contract 0xd9",
    ];
    assert_eq!(anomalies(&scene.block(T0 + 2, &unpaused)), expected);
    // Of a contract that has no such event it says nothing.
    let others = [event(POOL, "Paused", [0x77]), event(VESU_FACTORY, "ContractPaused", [0x77])];
    assert!(anomalies(&scene.block(T0 + 3, &others)).is_empty());
}

#[test]
fn what_anybody_announces_and_pauses_is_not_told() {
    let mut scene = wide_scene();
    // The name of a pool stands in the keys of its announcement.
    let announced = Event {
        keys: [0xdb_u128, 1, 2, 3, 4].map(Felt::from).to_vec(),
        ..event(VESU_FACTORY, "CreatePool", [])
    };
    let paused = event(0xdb, "ContractPaused", [0x77]);
    assert!(anomalies(&scene.block(T0, &[announced, paused])).is_empty());
    assert!(scene.fold.contracts().get(&ContractAddress(Felt::from(0xdb_u128))).is_some());
    // That of a pool that the registry lists is.
    let listed = scene.block(T0 + 1, &[event(VESU_POOL, "ContractPaused", [0x77])]);
    assert_eq!(anomalies(&listed).len(), 1);
}

#[test]
fn a_violation_is_critical_only_in_a_market_that_counts() {
    let violation = |rule, counted| Violation {
        protocol: ProtocolId::new("lend").unwrap(),
        market: MarketId("0x10".into()),
        rule,
        counted,
        detail: String::new(),
    };
    let severity = |rule, counted| violation(rule, counted).severity();
    for rule in [ConservationRule::IndexFell, ConservationRule::NegativeAmount] {
        assert_eq!(severity(rule, true), Severity::Critical);
        assert_eq!(severity(rule, false), Severity::Warning);
    }
    // Tokens that were sent without an event look like it.
    assert_eq!(severity(ConservationRule::BorrowedExceedsSupplied, true), Severity::Warning);
}

#[test]
fn figure_names_are_found_by_their_reasons() {
    // `state` compares names; a misspelt one would always be present.
    let mut scene = Scene::default();
    scene.block(T0, &[lend::deposit(USDC, 1), pair::created(USDC_ETH, USDC, ETH)]);
    let lent = scene.market("lend", "0x10");
    for field in ["supplied", "borrowed", "tvlUsdc", "hhiBps", "exitShockBps", "withdrawHeadroom"] {
        assert!(lent.absent.iter().any(|absent| absent.field == field), "{field}");
    }
    let pool = scene.market("pairs", "0xf1");
    assert_eq!(
        figure(&pool, "turnoverBps", pool.turnover_bps, |bps| bps.0.to_string()),
        "no_state"
    );
    for field in ["fees24hUsdc", "supplyApyBps", "depthUpUsdc"] {
        assert!(pool.absent.iter().any(|absent| absent.field == field), "{field}");
    }
}
