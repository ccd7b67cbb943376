//! Liquidity that leaves pools within a day, each rule by a case that it tells and one that it does not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_events::EventData;
use obsqra_protocols::{BlockOutput, Decoder, MetricFold, Role};
use obsqra_types::{EventIndex, Seq};
use support::pool::{Key, Swap, fees_collected, initialized, position, swapped};
use support::roles::{every_role, of_role, raw_event};
use support::wide::{CHILD_POOL, POOL, burnt, collected, created, minted, wide_scene};
use support::{Chain, ETH, ETH_BTC, Event, Scene, USDC, USDC_ETH, pair};

const T0: u64 = 100_000_800 / 86_400 * 86_400;
const HOUR: u64 = 3_600;

/// `market phase @position: detail` of each outflow told.
fn outflows(output: &BlockOutput) -> Vec<String> {
    let told = output.anomalies.iter().filter(|told| told.rule.name() == "net_outflow");
    told.map(|told| {
        let detail: Vec<_> =
            told.detail.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let market = told.market.as_ref().unwrap();
        format!("{} {} @{}: {}", market.0, told.phase.name(), told.cause, detail.join(", "))
    })
    .collect()
}

fn sync(usdc: u128) -> Event {
    pair::sync(USDC_ETH, usdc, 1_000)
}

#[test]
fn a_pair_that_loses_a_third_in_a_day_is_told() {
    let mut scene = Scene::default();
    assert!(outflows(&scene.block(T0, &[sync(100_000)])).is_empty());
    let first = [sync(70_001), pair::burn(USDC_ETH, 29_999, 300)];
    assert!(outflows(&scene.block(T0 + HOUR, &first)).is_empty());
    let output = scene.block(T0 + 2 * HOUR, &[sync(70_000), pair::burn(USDC_ETH, 1, 0)]);
    let opened = "0xf1 opened @9: token 0x10, balanceBefore 100000, balance 70000";
    assert_eq!(outflows(&output), [opened]);
    // A swap lowers what is held, and is no liquidity that left.
    assert!(outflows(&scene.block(T0 + 3 * HOUR, &[sync(69_000)])).is_empty());
    // The clock closes it.
    let output = scene.block(T0 + 25 * HOUR, &[]);
    let closed = "0xf1 closed @12: token 0x10, balanceBefore 69001, balance 69000";
    assert_eq!(outflows(&output), [closed]);
}

#[test]
fn what_comes_makes_up_for_what_leaves() {
    let mut scene = Scene::default();
    scene.block(T0, &[sync(100_000)]);
    let events = [sync(60_000), pair::burn(USDC_ETH, 40_000, 400)];
    assert_eq!(outflows(&scene.block(T0 + HOUR, &events)).len(), 1);
    let output = scene.block(T0 + 2 * HOUR, &[sync(71_000), pair::mint(USDC_ETH, 11_000, 110)]);
    let closed = "0xf1 closed @9: token 0x10, balanceBefore 100000, balance 71000";
    assert_eq!(outflows(&output), [closed]);
    // More came than left: nothing is said of what was there before.
    let output = scene.block(T0 + 3 * HOUR, &[sync(101_000), pair::mint(USDC_ETH, 30_000, 300)]);
    assert!(outflows(&output).is_empty());
    // Swaps do not count.
    let sold = [sync(10_000), pair::swap(USDC_ETH, 0, 10_000, 91_000, 0)];
    assert!(outflows(&scene.block(T0 + 4 * HOUR, &sold)).is_empty());
    // Before its first Sync, what a pair holds is not known.
    let mut scene = Scene::default();
    assert!(outflows(&scene.block(T0, &[pair::burn(USDC_ETH, 50_000, 1)])).is_empty());
    assert_eq!(outflows(&scene.block(T0 + HOUR, &[sync(7_000)])).len(), 1);
    // 10,000 may go anywhere.
    let mut scene = Scene::default();
    let little = [sync(7_000), pair::burn(USDC_ETH, 3_000, 1)];
    assert!(outflows(&scene.block(T0, &little)).is_empty());
    // One more than 10,000, of which 3,001 left.
    let more = [sync(7_000), pair::burn(USDC_ETH, 1, 1)];
    assert_eq!(outflows(&scene.block(T0, &more)).len(), 1);
}

#[test]
fn a_pair_of_nostra_loses_as_one_of_jediswap_does() {
    for (decoder, burn) in [(Decoder::JediSwapV1, "Burn"), (Decoder::NostraPools, "PairBurn")] {
        let pair = of_role(decoder, Role::Pair);
        let told = |left: u128| {
            let synced = raw_event(&pair, "Sync", &[], &[100_000 - left, 0, 1_000, 0]);
            let burnt = raw_event(&pair, burn, &[], &[0x77, left, 0, 1, 0, 0x78]);
            let burnt = EventData { index: EventIndex(1), ..burnt };
            let block = Chain::default().block_of(T0, vec![synced, burnt]);
            let mut fold = MetricFold::new(every_role(), Seq(1));
            outflows(&fold.apply(&block.input()).unwrap()).len()
        };
        assert_eq!((told(29_999), told(30_000)), (0, 1), "{decoder:?}");
    }
}

#[test]
fn a_price_decides_which_side_counts() {
    let mut scene = Scene::default();
    // ETH and BTC: neither has a price, and much of the ETH is gone.
    let events = [pair::sync(ETH_BTC, 50_000, 100_000), pair::burn(ETH_BTC, 50_000, 1)];
    assert!(outflows(&scene.block(T0, &events)).is_empty());
    // ETH gets a price, in a block without an event of the pair.
    let output = scene.block(T0 + HOUR, &[pair::sync(USDC_ETH, 1_000_000, 10u128.pow(18))]);
    let opened = "0xf2 opened @5: token 0x11, balanceBefore 100000, balance 50000";
    assert_eq!(outflows(&output), [opened]);
    // And loses it.
    let output = scene.block(T0 + 2 * HOUR, &[pair::sync(USDC_ETH, 0, 1)]);
    assert_eq!(outflows(&output), ["0xf2 closed @7: "]);
}

const KEY: Key = [USDC, ETH, 3, 200, 0];
const KEY_ID: &str = "0x10/0x11/0x3/0xc8/0x0";

#[test]
fn positions_of_a_pool_that_began_in_the_log_count() {
    let provided = |usdc: i128| position(KEY, (-1, 1), usdc, (usdc, 1));
    let mut scene = Scene::default();
    let opening = initialized(KEY, 0, 0, 20_000);
    assert!(outflows(&scene.block(T0, &[opening, provided(100_000)])).is_empty());
    // What came in the day makes up for what leaves in it.
    assert!(outflows(&scene.block(T0 + HOUR, &[provided(-40_000)])).is_empty());
    // A day later it is what was there before. Fees and swaps are no liquidity.
    let swap =
        Swap { key: KEY, delta: (40_000, -1), sqrt_ratio: (0, 20_000), tick: 0, liquidity: 0 };
    scene.block(T0 + 24 * HOUR, &[swapped(&swap), fees_collected(KEY, (-1, 0))]);
    // 40,000 of 139,999 before.
    assert!(outflows(&scene.block(T0 + 24 * HOUR + 1, &[])).is_empty());
    let output = scene.block(T0 + 24 * HOUR + 2, &[provided(-2_000)]);
    let opened = format!("{KEY_ID} opened @12: token 0x10, balanceBefore 139999, balance 97999");
    assert_eq!(outflows(&output), [opened]);
    // Of a pool that began before the log, what it holds is not known.
    let mut scene = Scene::default();
    assert!(outflows(&scene.block(T0, &[provided(100_000)])).is_empty());
    assert!(outflows(&scene.block(T0 + 30 * HOUR, &[provided(-90_000)])).is_empty());
}

#[test]
fn a_burn_of_jediswap_v2_leaves_before_it_is_collected() {
    let range = (0, 200_000);
    let mut scene = wide_scene();
    let amounts = (100_000, 100);
    scene.block(T0, &[created(CHILD_POOL, 3_000), minted(CHILD_POOL, range, 9, amounts)]);
    let left = (60_000, 60);
    let output = scene.block(T0 + 30 * HOUR, &[burnt(CHILD_POOL, range, 5, left)]);
    let opened = "0xc2 opened @6: token 0x10, balanceBefore 160000, balance 100000";
    assert_eq!(outflows(&output), [opened]);
    assert!(outflows(&scene.block(T0 + 31 * HOUR, &[collected(CHILD_POOL, left)])).is_empty());
    // A listed pool, whose creation is not in the log.
    let output = scene.block(T0 + 32 * HOUR, &[burnt(POOL, range, 5, left)]);
    assert!(outflows(&output).is_empty());
}
