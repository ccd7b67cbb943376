//! A fold is a function of the blocks applied: not of snapshots, copies, or what it computed before.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::time::Instant;

use obsqra_protocols::{BlockOutput, MetricFold, SnapshotError};
use obsqra_types::Seq;
use proptest::prelude::*;
use support::pool::{Key, Swap, fees_collected, initialized, position, swapped};
use support::wide::{
    CHILD_POOL, Config, DEBT_TOKEN, POOL, PoolSwap, SINGLETONS, SUPPLY_TOKEN, VESU_POOL,
    asset_added, burnt, collected, context_v1, context_v2, created, fees_accrued, interest,
    liquidated_v1, migrated, minted, modified_v1, modified_v2, pool_created, pool_swap, started,
    transferred, wide_registry as registry,
};
use support::{
    BTC, Block, Chain, DAI, ETH, ETH_BTC, ETH_UNLISTED, Event, LOW, USDC, USDC_ETH, event, lend,
    pair,
};

const WHOLE_ETH: u128 = 10u128.pow(18);
const RAY: u128 = 10u128.pow(27);
const T0: u64 = 100_000_000;
const TOKENS: [u128; 6] = [USDC, ETH, BTC, DAI, LOW, 0x99];

fn any_token() -> impl Strategy<Value = u128> {
    prop::sample::select(TOKENS.to_vec())
}

fn any_key() -> impl Strategy<Value = Key> {
    let keys = vec![
        [USDC, ETH, 3, 200, 0],
        [USDC, ETH, 5, 200, 0],
        [LOW, USDC, 3, 200, 0],
        [ETH, DAI, 3, 200, 0],
        [DAI, 0x99, 3, 200, 7],
    ];
    prop::sample::select(keys)
}

fn any_amount() -> impl Strategy<Value = u128> {
    prop_oneof![8 => 1..10 * WHOLE_ETH, 1 => any::<u128>(), 1 => Just(0)]
}

fn any_delta() -> impl Strategy<Value = i128> {
    prop_oneof![8 => -(10i128.pow(19))..10i128.pow(19), 1 => any::<i128>()]
}

fn any_event() -> impl Strategy<Value = Event> {
    let reserve = (any_token(), 1u128..4, any_amount(), any_amount(), 0usize..10).prop_map(
        |(token, user, a, b, kind)| match kind {
            0 => lend::new_reserve(token),
            1 => lend::accumulators(token, RAY + a),
            2 => lend::rates(token, a.min(b), b),
            3 => lend::minted_to(user, token, a),
            4 => lend::face_moved(token, [user % 3, user], a),
            5 => lend::burnt_from(user, token, a),
            6 => lend::borrowing(token, a),
            7 => lend::repayment(token, a),
            8 => lend::flash_loan(token, a, b),
            _ => lend::shares_moved(token, [user, 5], a),
        },
    );
    let pairs = prop::sample::select(vec![USDC_ETH, ETH_BTC, ETH_UNLISTED]);
    let pair =
        (pairs, any_amount(), any_amount(), 0usize..8).prop_map(
            |(contract, a, b, kind)| match kind {
                0 => pair::created(contract, USDC, ETH),
                1 => event(contract, "Sync", [a, b % 2, b, 0]),
                2 => pair::sync(contract, a, b),
                3 => pair::swap(contract, a, 0, 0, b),
                4 => pair::mint(contract, a, b),
                5 => pair::burn(contract, a, b),
                _ => pair::swap(contract, 0, b, a, 0),
            },
        );
    let pool = (any_key(), any_delta(), any_delta(), any_amount(), 0usize..6).prop_map(
        |(key, a, b, c, kind)| {
            let tick = a % 1_000;
            match kind {
                0 => initialized(key, tick, c, c % 40_000),
                1 => position(key, (tick - 10, tick + 500), b, (a, b)),
                2 => fees_collected(key, (a, b)),
                _ => swapped(&Swap {
                    key,
                    delta: (a, b),
                    sqrt_ratio: (c, c % 40_000),
                    tick,
                    liquidity: c,
                }),
            }
        },
    );
    prop_oneof![reserve, pair, pool, any_pool_contract_event(), any_vesu_event(), any_interest()]
}

fn any_config() -> impl Strategy<Value = Config> {
    let token = prop_oneof![any_token(), Just(0)];
    let rest = (0u64..100, 0..2 * WHOLE_ETH, prop::option::of(any_amount()));
    (token, any_amount(), any_amount(), rest).prop_map(|(asset, a, b, (at, c, price))| Config {
        asset,
        shares: [0, 1_000, 1_000 + a, 90_000][usize::try_from(b % 4).unwrap()],
        fee_shares: c % 3,
        nominal_debt: a,
        reserve: b,
        scale: if c % 9 == 0 { c } else { WHOLE_ETH },
        at,
        accumulator: WHOLE_ETH - 50 + u128::from(at) + c % 5,
        fee_rate: c,
        price,
    })
}

fn any_interest() -> impl Strategy<Value = Event> {
    let token = prop::sample::select(vec![DEBT_TOKEN, SUPPLY_TOKEN]);
    (token, any_amount(), any_amount()).prop_map(|(token, a, b)| {
        interest(token, [a, b], [WHOLE_ETH + a % 100, WHOLE_ETH + b % 100])
    })
}

fn any_vesu_event() -> impl Strategy<Value = Event> {
    let singleton = prop::sample::select(SINGLETONS.to_vec());
    (singleton, 1u128..3, any_config(), any_config(), 0usize..14).prop_map(
        |(singleton, pool, collateral, debt, kind)| {
            let of = (collateral.asset, debt.nominal_debt % 4);
            let shares = i128::try_from(collateral.nominal_debt >> 1).unwrap();
            match kind {
                0 => asset_added(VESU_POOL, collateral.asset),
                1 | 2 => context_v2(VESU_POOL, [collateral, debt]),
                3..6 => context_v1(singleton, pool, [collateral, debt]),
                6 => pool_created(singleton, pool),
                7 => modified_v1(singleton, pool, of, shares),
                8 => modified_v1(singleton, pool, of, -shares),
                9 => modified_v2(VESU_POOL, of, shares),
                10 => liquidated_v1(singleton, pool, of, (-shares, -shares)),
                11 => fees_accrued(singleton, pool, of, debt.fee_shares),
                12 => migrated(singleton, pool, of, debt.fee_shares),
                _ => transferred(singleton, pool, (of.0, of.1, 2), Some(-shares)),
            }
        },
    )
}

fn any_pool_contract_event() -> impl Strategy<Value = Event> {
    let pools = prop::sample::select(vec![POOL, CHILD_POOL]);
    (pools, any_delta(), any_delta(), any_amount(), 0usize..8).prop_map(|(pool, a, b, c, kind)| {
        let (tick, bounds) = (a % 1_000, (a % 1_000 - 10, a % 1_000 + 500));
        let amounts = (a.unsigned_abs(), b.unsigned_abs());
        match kind {
            0 => created(pool, c % 2_000_000 % (1 << 32)),
            1 => started(pool, c % 40_000, tick),
            2 | 3 => minted(pool, bounds, c, amounts),
            4 => burnt(pool, bounds, c, amounts),
            5 => collected(pool, amounts),
            _ => pool_swap(
                pool,
                &PoolSwap { delta: (a, b), ratio_whole: c % 40_000, tick, liquidity: c },
            ),
        }
    })
}

/// Blocks minutes, hours or days apart, and now and then behind the one before.
fn any_chain(blocks: usize) -> impl Strategy<Value = Vec<Block>> {
    let step = prop_oneof![4 => 0i64..600, 4 => 3_000i64..4_000, 1 => 50_000i64..90_000, 1 => -4_000i64..0];
    let block = (step, prop::collection::vec(any_event(), 0..6));
    prop::collection::vec(block, 1..blocks).prop_map(|blocks| {
        let mut chain = Chain::default();
        let mut now = T0;
        blocks
            .into_iter()
            .map(|(step, events)| {
                now = now.saturating_add_signed(step);
                chain.block(now, &events)
            })
            .collect()
    })
}

fn fold() -> MetricFold {
    MetricFold::new(registry(), Seq(1))
}

fn run(fold: &mut MetricFold, blocks: &[Block]) -> Vec<BlockOutput> {
    blocks.iter().map(|block| fold.apply(&block.input()).unwrap()).collect()
}

/// Trades in every hour, so that volatility is present and hours leave the window.
fn busy_chain(hours: u64) -> Vec<Block> {
    let mut chain = Chain::default();
    (0..hours)
        .map(|hour| {
            let price = 2_000_000_000 + u128::from(hour * 7_919 % 100) * 1_000_000;
            let mut events = vec![
                pair::sync(USDC_ETH, 1_000 * price, 1_000 * WHOLE_ETH),
                pair::swap(USDC_ETH, price, 0, 0, WHOLE_ETH),
                lend::rates(ETH, u128::from(hour % 7), 10),
            ];
            if hour == 0 {
                events.extend([lend::new_reserve(ETH), lend::minted(ETH, 50 * WHOLE_ETH)]);
            }
            chain.block(T0 + hour * 3_600 + hour * 17 % 3_600, &events)
        })
        .collect()
}

fn check_snapshots(blocks: &[Block], cuts: &[bool]) {
    let expected = run(&mut fold(), blocks);
    let mut cut = fold();
    for ((block, expected), snapshot) in blocks.iter().zip(expected).zip(cuts.iter().cycle()) {
        if *snapshot {
            let bytes = cut.encode();
            cut = MetricFold::decode(registry(), &bytes).unwrap();
            assert_eq!(cut.encode(), bytes);
        }
        assert_eq!(cut.apply(&block.input()).unwrap(), expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn snapshots_change_nothing(blocks in any_chain(60), cuts in prop::collection::vec(any::<bool>(), 60)) {
        check_snapshots(&blocks, &cuts);
    }

    /// Rows emitted are those that differ, and all that differ.
    #[test]
    fn the_changed_rows_are_the_rows_that_differ(blocks in any_chain(40)) {
        let mut fold = fold();
        let mut rows = std::collections::BTreeMap::new();
        for block in &blocks {
            for row in fold.apply(&block.input()).unwrap().changed_markets {
                let old = rows.insert((row.protocol.clone(), row.market.clone()), row.clone());
                prop_assert_ne!(old, Some(row));
            }
            let all: Vec<_> = fold.markets().collect();
            prop_assert_eq!(rows.values().cloned().collect::<Vec<_>>(), all);
        }
    }

    /// After a step back to a copy, another branch gives what it gives without the first.
    #[test]
    fn a_copy_is_a_place_to_step_back_to(blocks in any_chain(20), lost in any_chain(20)) {
        let expected = run(&mut fold(), &blocks);
        let mut fold = fold();
        for (block, expected) in blocks.iter().zip(expected) {
            let mut branch = fold.clone();
            for (lost, offset) in lost.iter().zip(0..) {
                let mut lost = lost.clone();
                lost.block.number.0 = block.block.number.0 + offset;
                let shift = block.applied_seq.0;
                lost.applied_seq.0 += shift;
                lost.events.iter_mut().for_each(|event| event.0.0 += shift);
                branch.apply(&lost.input()).unwrap();
            }
            prop_assert_eq!(fold.apply(&block.input()).unwrap(), expected);
        }
    }

    #[test]
    fn bytes_that_are_no_snapshot_are_refused(blocks in any_chain(10), at in any::<prop::sample::Index>(), byte: u8) {
        let mut fold = fold();
        run(&mut fold, &blocks);
        let mut bytes = fold.encode();
        let at = at.index(bytes.len());
        prop_assert!(MetricFold::decode(registry(), &bytes[..at]).is_err());
        bytes[at] ^= byte;
        // Some other state, or an error.
        drop(MetricFold::decode(registry(), &bytes));
    }
}

#[test]
fn snapshots_change_nothing_over_weeks_of_hours() {
    let blocks = busy_chain(800);
    let cuts: Vec<bool> = (0..37).map(|place| place % 5 == 0).collect();
    check_snapshots(&blocks, &cuts);
    let outputs = run(&mut fold(), &blocks);
    let last =
        outputs.last().unwrap().changed_markets.iter().find(|row| row.market.0 == "0xf1").unwrap();
    assert!(last.volatility_bps.is_some() && last.volatility_30d_bps.is_some(), "{last:?}");
}

#[test]
fn a_snapshot_is_bound_to_its_registry() {
    let other = support::REGISTRY.replace("\"version\": 3", "\"version\": 4");
    let other = std::sync::Arc::new(obsqra_protocols::Registry::parse(other.as_bytes()).unwrap());
    let error = MetricFold::decode(other, &fold().encode()).unwrap_err();
    assert!(matches!(error, SnapshotError::OtherRegistry { .. }), "{error}");
}

#[test]
fn memory_of_a_market_is_bounded() {
    let mut fold = fold();
    let mut sizes = Vec::new();
    for (block, place) in busy_chain(1_000).iter().zip(0..) {
        fold.apply(&block.input()).unwrap();
        if place % 100 == 99 {
            sizes.push(fold.encode().len());
        }
    }
    // The hours of 30 days are kept, and no more.
    assert!(sizes[9] <= sizes[7] + 200, "{sizes:?}");
}

/// Prints what a block costs; run it with `--release -- --ignored --nocapture`.
#[test]
#[ignore = "measures, asserts nothing"]
fn speed() {
    for pools in [4u128, 300] {
        let blocks = synthetic_chain(pools, 20_000);
        let mut fold = fold();
        let mut ring = std::collections::VecDeque::new();
        let start = Instant::now();
        let mut slowest = std::time::Duration::ZERO;
        let mut rows = 0;
        for block in &blocks {
            let before = Instant::now();
            rows += fold.apply(&block.input()).unwrap().changed_markets.len();
            ring.push_back(fold.clone());
            if ring.len() > 64 {
                ring.pop_front();
            }
            slowest = slowest.max(before.elapsed());
        }
        let total = start.elapsed();
        let events: usize = blocks.iter().map(|block| block.events.len()).sum();
        let start = Instant::now();
        let bytes = fold.encode();
        let encoded = start.elapsed();
        MetricFold::decode(registry(), &bytes).unwrap();
        println!(
            "{} markets, {} blocks, {events} events, {rows} rows: {total:?}, {:?} a block, slowest {slowest:?}; \
             snapshot {} bytes in {encoded:?}, read in {:?}",
            fold.markets().count(),
            blocks.len(),
            total / u32::try_from(blocks.len()).unwrap(),
            bytes.len(),
            start.elapsed() - encoded,
        );
    }
}

/// Blocks of 30 s with 24 events: swaps over all pools, rates, deposits.
fn synthetic_chain(pools: u128, blocks: u64) -> Vec<Block> {
    let mut chain = Chain::default();
    let key =
        |pool: u128| [USDC, [ETH, BTC, DAI][usize::try_from(pool % 3).unwrap()], pool, 200, 0];
    (0..blocks)
        .map(|height| {
            let mut events = Vec::new();
            if height == 0 {
                events.extend((0..pools).map(|pool| initialized(key(pool), 5, 0, 20_000)));
                events.extend([USDC, ETH, BTC, DAI].map(lend::new_reserve));
            }
            let noise = |salt: u64| u128::from((height * 7_919 + salt * 104_729) % 1_009);
            for salt in 0..12u64 {
                let pool = (u128::from(height) * 12 + u128::from(salt)) % pools;
                events.push(swapped(&Swap {
                    key: key(pool),
                    delta: (2_500_000_000, -(10i128.pow(18))),
                    sqrt_ratio: (noise(salt), 20_000 + noise(salt)),
                    tick: 5,
                    liquidity: 4 * 10u128.pow(16) + pool,
                }));
            }
            let sync = pair::sync(USDC_ETH, 2_000_000_000_000 + noise(1), 1_000 * WHOLE_ETH);
            events.extend([sync, pair::swap(USDC_ETH, 2_000_000_000, 0, 0, WHOLE_ETH)]);
            for token in [USDC, ETH, BTC, DAI] {
                events.push(lend::accumulators(token, RAY + u128::from(height)));
                events.push(lend::minted(token, 1_000 + noise(2)));
            }
            events.extend([lend::rates(ETH, noise(3), 2_000), lend::rates(USDC, noise(4), 2_000)]);
            chain.block(T0 + height * 30, &events)
        })
        .collect()
}
