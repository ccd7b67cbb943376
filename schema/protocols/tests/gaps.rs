//! Prices of one token that pools of several protocols do not agree on.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::{BlockOutput, MetricFold};
use support::pool::{Key, Swap, swapped};
use support::{ETH, Event, Scene, USDC, USDC_ETH, pair, registry};

const WHOLE_ETH: u128 = 10u128.pow(18);
const T0: u64 = 100_000_800;
const POOL: Key = [USDC, ETH, 3, 200, 0];
const POOL_ID: &str = "0x10/0x11/0x3/0xc8/0x0";

/// A pool at 2,500 USDC an ETH; virtually it holds a 20,000th of the liquidity in USDC's smallest unit.
fn pool(liquidity: u128) -> Event {
    let sqrt_ratio = (0, 20_000);
    swapped(&Swap { key: POOL, delta: (1, -1), sqrt_ratio, tick: 5, liquidity })
}

const DEEP: u128 = 4 * 10u128.pow(16);

/// A pair of 1,000 ETH at that price, USDC.
fn pair_at(price: u128) -> Event {
    pair::sync(USDC_ETH, price * 1_000_000_000, 1_000 * WHOLE_ETH)
}

fn gaps(output: &BlockOutput) -> Vec<String> {
    let gaps = output.anomalies.iter().filter(|one| one.rule.name() == "price_gap");
    gaps.map(|one| {
        let values: Vec<_> = one.detail.iter().map(|(_, value)| value.as_str()).collect();
        let market = one.market.as_ref().unwrap();
        format!("{} {market} {} {}", one.protocol, one.phase.name(), values.join(" "))
    })
    .collect()
}

#[test]
fn a_gap_is_told_when_it_has_lasted_and_when_it_ends() {
    let mut scene = Scene::default();
    assert!(gaps(&scene.block(T0, &[pool(DEEP), pair_at(2_600)])).is_empty());
    assert!(gaps(&scene.block(T0 + 1_799, &[])).is_empty());
    // The state in between is what a snapshot keeps.
    scene.fold = MetricFold::decode(registry(), &scene.fold.encode()).unwrap();
    let (low, high) = ("2500000000000000000000", "2600000000000000000000");
    let opened =
        format!("pools {POOL_ID} opened 0x11 {T0} {low} pools/{POOL_ID} {high} pairs/0xf1");
    assert_eq!(gaps(&scene.block(T0 + 1_800, &[])), [opened]);
    // It is told once, and ends at 3 per cent exactly, under the same market.
    assert!(gaps(&scene.block(T0 + 5_000, &[pair_at(2_400)])).is_empty());
    scene.fold = MetricFold::decode(registry(), &scene.fold.encode()).unwrap();
    let closed = format!("pools {POOL_ID} closed 0x11");
    assert_eq!(gaps(&scene.block(T0 + 5_001, &[pair_at(2_575)])), [closed]);
    assert!(gaps(&scene.block(T0 + 9_000, &[pair_at(2_500)])).is_empty());
}

#[test]
fn a_gap_that_closes_in_between_begins_anew() {
    let mut scene = Scene::default();
    scene.block(T0, &[pool(DEEP), pair_at(2_600)]);
    scene.block(T0 + 1_000, &[pair_at(2_500)]);
    scene.block(T0 + 1_001, &[pair_at(2_600)]);
    assert!(gaps(&scene.block(T0 + 2_800, &[])).is_empty());
    assert_eq!(gaps(&scene.block(T0 + 2_801, &[])).len(), 1);
}

#[test]
fn thin_pools_and_one_venue_are_not_compared() {
    // 9,999.99 USDC virtually, where 10,000 are needed.
    for (liquidity, told) in [(2 * 10u128.pow(14) - 20_000, 0), (2 * 10u128.pow(14), 1)] {
        let mut scene = Scene::default();
        scene.block(T0, &[pool(liquidity), pair_at(2_600)]);
        assert_eq!(gaps(&scene.block(T0 + 1_800, &[])).len(), told);
    }
    let mut scene = Scene::default();
    let other = Swap {
        key: [USDC, ETH, 4, 200, 0],
        delta: (1, -1),
        sqrt_ratio: (0, 10_000),
        tick: 5,
        liquidity: DEEP,
    };
    scene.block(T0, &[pool(DEEP), swapped(&other)]);
    assert!(gaps(&scene.block(T0 + 1_800, &[])).is_empty());
}
