//! The incident of 2025-02-11 on the seeded chain: its events have the amounts of the real one, the rules
//! that it breaks are told at their blocks, and the plain score sees nothing before the loss.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use obsqra_devnode::{AnomalyPhase, Event, Incident, MarketTruth, SeededBlock, SeededChain};
use ruint::aliases::U256;
use starknet::core::types::Felt;
use starknet::core::utils::get_selector_from_name;

const SEED: u64 = 4;
const INCIDENT: Incident = Incident::from_height(300);
/// 6 hours after the loss and some.
const BLOCKS: u64 = 360;
const WSTETH: &str = "0x57912720381af14b0e5c87aa4718ed5e527eab60b3801ebf702ab09139e38b";
const MARKET: Felt = Felt::from_hex_unchecked("0x6f62737172615f6465765f7a6b6c656e645f6d61726b6574");
/// The lending accumulator at its end, as a multiple of 10²⁷.
const INFLATED: u128 = 4_069_297_906_051_644_020;

fn selector(name: &str) -> Felt {
    get_selector_from_name(name).expect("an ASCII name")
}

fn number(felt: &Felt) -> U256 {
    U256::from_be_bytes(felt.to_bytes_be())
}

fn blocks(mut chain: SeededChain) -> Vec<SeededBlock> {
    (0..BLOCKS).map(|_| chain.next_block()).collect()
}

fn with_incident() -> Vec<SeededBlock> {
    blocks(SeededChain::with_incident(SEED, INCIDENT))
}

fn at(blocks: &[SeededBlock], height: u64) -> &SeededBlock {
    &blocks[usize::try_from(height).expect("small")]
}

fn events(block: &SeededBlock) -> impl Iterator<Item = &Event> {
    block.draft.transactions.iter().flat_map(|transaction| &transaction.events)
}

/// The amounts of a block's events of wstETH of one name, at a place of their data.
fn amounts(block: &SeededBlock, name: &str, token: usize, amount: usize) -> Vec<U256> {
    let wsteth = Felt::from_hex(WSTETH).expect("an address");
    events(block)
        .filter(|event| event.from_address == MARKET && event.keys[0] == selector(name))
        .filter(|event| event.data[token] == wsteth)
        .map(|event| number(&event.data[amount]))
        .collect()
}

fn ray(multiple: u128) -> U256 {
    U256::from(multiple) * U256::from(10).pow(U256::from(27))
}

#[test]
fn the_chain_is_the_plain_one_until_it_begins() {
    let (plain, struck) = (blocks(SeededChain::new(SEED)), with_incident());
    for height in 0..INCIDENT.opened {
        let (plain, struck) = (at(&plain, height), at(&struck, height));
        assert_eq!(plain.draft, struck.draft);
        assert_eq!(plain.truth, struck.truth);
    }
    assert_ne!(at(&plain, INCIDENT.opened).draft, at(&struck, INCIDENT.opened).draft);
}

#[test]
fn its_events_have_the_real_amounts() {
    let blocks = with_incident();
    let accumulators = |height| amounts(at(&blocks, height), "AccumulatorsSync", 0, 1);
    assert_eq!(accumulators(INCIDENT.opened), [ray(1)]);
    assert_eq!(accumulators(INCIDENT.first_deposit), [ray(1)]);
    assert_eq!(accumulators(INCIDENT.first_flash_loan), [ray(851)]);
    assert_eq!(accumulators(INCIDENT.inflated).last(), Some(&ray(INFLATED)));
    let loans = amounts(at(&blocks, INCIDENT.inflated), "FlashLoan", 2, 3);
    assert!(loans.len() > 1 && loans.iter().all(|amount| *amount == U256::from(1)));
    let rounded = at(&blocks, INCIDENT.rounded);
    let (deposits, withdrawals) =
        (amounts(rounded, "Deposit", 1, 2), amounts(rounded, "Withdrawal", 1, 2));
    assert_eq!(deposits[0], U256::from(INFLATED + 1));
    assert!(withdrawals.iter().all(|amount| *amount == U256::from(6_103_946_859_077_466_030_u128)));
    let (paid, received): (U256, U256) = (deposits.iter().sum(), withdrawals.iter().sum());
    // The least profit is what the deposits lack of their worth: three raw units more for nothing.
    assert!(paid - received < U256::from(10), "{paid} and {received}");
    let wsteth = market(rounded, WSTETH);
    assert_eq!(wsteth.lending.supplied, Some(U256::from(INFLATED) * U256::from(4)));
    assert_eq!(wsteth.lending.suppliers, Some(1));
}

fn market<'a>(block: &'a SeededBlock, token: &str) -> &'a MarketTruth {
    let mut markets = block.truth.markets.iter();
    let of = markets.find(|market| market.protocol == "zklend" && &*market.market == token);
    of.expect("a reserve")
}

#[test]
fn each_rule_is_told_at_its_block() {
    let blocks = with_incident();
    let told: Vec<_> = blocks
        .iter()
        .flat_map(|block| {
            // A large supplier may leave another reserve at any time.
            let anomalies = block.truth.anomalies.iter();
            anomalies.filter(|told| told.rule != "net_outflow").map(|told| {
                let of_wsteth = told.market.as_ref().map(|market| market == WSTETH);
                (block.truth.block_number, told.rule, told.phase, of_wsteth)
            })
        })
        .collect();
    let point = |height, rule, market| (height, rule, AnomalyPhase::Point, market);
    let opened = |height, rule, market| (height, rule, AnomalyPhase::Opened, market);
    // 21,600 seconds are 36 blocks.
    let high = opened(INCIDENT.loss + 36, "utilization_high", Some(false));
    assert_eq!(
        told,
        [
            opened(INCIDENT.first_deposit, "near_zero_supply", Some(true)),
            point(INCIDENT.first_flash_loan, "accumulator_jump", Some(true)),
            point(INCIDENT.first_flash_loan, "flash_loan_surplus", Some(true)),
            point(INCIDENT.inflated, "accumulator_jump", Some(true)),
            point(INCIDENT.inflated, "flash_loan_surplus", Some(true)),
            point(INCIDENT.halted, "contract_upgraded", None),
            high,
            high,
            high,
            high,
        ]
    );
}

#[test]
fn the_plain_score_moves_with_the_loss_and_not_before() {
    let blocks = with_incident();
    let plain = self::blocks(SeededChain::new(SEED));
    let inputs = |block: &SeededBlock| {
        let mut protocols = block.truth.protocols.iter();
        protocols.find(|of| of.protocol == "zklend").expect("zkLend").clone()
    };
    for height in INCIDENT.opened..INCIDENT.loss {
        let (with, without) = (inputs(at(&blocks, height)), inputs(at(&plain, height)));
        let u = |of: &obsqra_devnode::ProtocolTruth| of.utilization_bps.expect("u");
        assert!(u(&with).abs_diff(u(&without)) <= 10, "block {height}: {with:?} and {without:?}");
        assert_eq!(with.liquidity_class, without.liquidity_class);
        assert_eq!(with.audit_score, without.audit_score);
    }
    let before = inputs(at(&blocks, INCIDENT.loss - 1)).utilization_bps.expect("u");
    let after = inputs(at(&blocks, INCIDENT.loss)).utilization_bps.expect("u");
    assert!(before < 7_000 && after > 9_900, "{before} and {after}");
}

#[test]
fn the_reserves_are_nearly_empty_and_nothing_happens_after_the_halt() {
    let blocks = with_incident();
    let loss = at(&blocks, INCIDENT.loss);
    for market in loss.truth.markets.iter().filter(|market| market.protocol == "zklend") {
        if &*market.market == WSTETH {
            assert_eq!(market.utilization_bps, Some(0));
            continue;
        }
        let lending = &market.lending;
        let (left, supplied) =
            (lending.withdraw_headroom.expect("left"), lending.supplied.expect("supplied"));
        assert!(left * U256::from(100) < supplied && market.utilization_bps >= Some(9_900));
        assert_eq!(lending.exit_shock_bps, Some(10_000));
    }
    let emitted = |height| {
        events(at(&blocks, height))
            .filter(|event| event.from_address == MARKET)
            .map(|event| event.keys[0])
            .collect::<Vec<_>>()
    };
    assert_eq!(emitted(INCIDENT.halted), [selector("ContractUpgraded")]);
    for height in INCIDENT.halted + 1..BLOCKS {
        assert_eq!(emitted(height), [], "block {height}");
    }
}

/// What is absent on the way says why.
#[test]
fn the_empty_reserve_has_reasons_for_what_it_lacks() {
    let blocks = with_incident();
    let reason = |height, field: &str| {
        let absent = &market(at(&blocks, height), WSTETH).absent;
        absent.iter().find(|absent| absent.field == field).map(|absent| absent.reason)
    };
    assert_eq!(reason(INCIDENT.opened, "top1Bps"), Some("no_suppliers"));
    assert_eq!(reason(INCIDENT.opened, "exitShockBps"), Some("no_suppliers"));
    assert_eq!(reason(INCIDENT.opened, "drawdownBps"), Some("zero_tvl"));
    assert_eq!(reason(INCIDENT.opened, "accumulatorExcessPpb"), Some("no_state"));
    let jump = market(at(&blocks, INCIDENT.first_flash_loan), WSTETH);
    assert_eq!(jump.lending.accumulator_excess_ppb, Some(850_000_000_000));
    assert_eq!(reason(INCIDENT.inflated, "accumulatorExcessPpb"), Some("overflow"));
}

#[test]
fn a_fork_has_the_incident_too() {
    let mut chain = SeededChain::with_incident(SEED, INCIDENT);
    for _ in 0..INCIDENT.loss {
        chain.next_block();
    }
    chain.fork_at(INCIDENT.first_flash_loan, 1);
    let block = chain.next_block();
    assert_eq!(amounts(&block, "FlashLoan", 2, 3), [U256::from(1)]);
    assert_eq!(block.truth.anomalies.len(), 2);
}
