//! Pools of JediSwap v2: balances from the opening on, the fee of the factory's event, the price of a
//! square root of 96 fractional bits.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::MarketMetrics;
use obsqra_types::Felt;
use support::wide::{
    CHILD_POOL, POOL, PoolSwap, burnt, collected, created, minted, pool_swap, protocol_collected,
    started, wide_scene,
};
use support::{Event, USDC_ETH, figure, pair};

const MEGA_USDC: u128 = 10u128.pow(12);
const WHOLE_ETH: u128 = 10u128.pow(18);
const LIQUIDITY: u128 = 4 * 10u128.pow(16);
const T0: u64 = 100_000_800 / 86_400 * 86_400;
const DAY: u64 = 86_400;

/// `price tvl volume fees depth`.
fn figures(row: &MarketMetrics) -> String {
    [
        figure(row, "priceUsdc", row.price, |price| price.0.to_string()),
        figure(row, "tvlUsdc", row.tvl, |value| value.0.to_string()),
        figure(row, "volume24hUsdc", row.pool.volume_24h, |value| value.0.to_string()),
        figure(row, "fees24hUsdc", row.pool.fees_24h, |value| value.0.to_string()),
        figure(row, "depthUpUsdc", row.pool.depth_up, |value| value.0.to_string()),
    ]
    .join(" ")
}

/// 1 M USDC and 400 ETH at 2,500 USDC an ETH: the square root is 20,000, 2 M USDC virtually.
fn opened(pool: u128, fee: u128) -> Vec<Event> {
    let amounts = (MEGA_USDC, 400 * WHOLE_ETH);
    vec![
        created(pool, fee),
        started(pool, 20_000, 198_080),
        minted(pool, (0, 200_000), LIQUIDITY, amounts),
    ]
}

fn swap(delta: (i128, i128)) -> PoolSwap {
    PoolSwap { delta, ratio_whole: 20_000, tick: 198_080, liquidity: LIQUIDITY }
}

#[test]
fn a_pool_is_a_market_from_its_creation_on() {
    let mut scene = wide_scene();
    // The pool itself gives no price: no registry lists it.
    let eth_at_2500 = pair::sync(USDC_ETH, 25 * MEGA_USDC / 10, 1_000 * WHOLE_ETH);
    scene.block(T0, &[vec![eth_at_2500], opened(CHILD_POOL, 3_000)].concat());
    let row = scene.market("jediswap_v2", "0xc2");
    assert_eq!(figures(&row), "2500000000000000000000 2000000000000 0 0 19900987672");
    assert_eq!(row.opened_at.unwrap().0, T0);
    // 100,001 USDC units come in, 40,000 Gwei go out: ceil(100,001 · 0.003) = 301.
    let paid = i128::from(40_000 * 10u64.pow(9));
    scene.block(T0 + 1, &[pool_swap(CHILD_POOL, &swap((100_001, -paid)))]);
    let row = scene.market("jediswap_v2", "0xc2");
    // 40,000 Gwei are 0.1 USDC.
    assert_eq!(figures(&row), "2500000000000000000000 2000000000001 100001 301 19900987672");
}

#[test]
fn what_a_burn_frees_leaves_when_it_is_collected() {
    let mut scene = wide_scene();
    scene.block(T0, &opened(POOL, 500));
    let half = (MEGA_USDC / 2, 200 * WHOLE_ETH);
    scene.block(T0 + 1, &[burnt(POOL, (0, 200_000), LIQUIDITY / 2, half)]);
    let row = scene.market("jediswap_v2", "0xc1");
    // Half of the depth is gone, and no token.
    assert_eq!(figures(&row), "2500000000000000000000 2000000000000 0 0 9950493836");
    let out = [collected(POOL, half), protocol_collected(POOL, (7, 0))];
    scene.block(T0 + 2, &out);
    let row = scene.market("jediswap_v2", "0xc1");
    assert_eq!(figures(&row), "2500000000000000000000 999999999993 0 0 9950493836");
    // More leaves than came in: the events contradict each other.
    let broken = scene.block(T0 + 3, &[collected(POOL, (MEGA_USDC, 0))]).violations;
    assert_eq!(broken.iter().map(|one| one.rule.name()).collect::<Vec<_>>(), ["negative_amount"]);
    let row = scene.market("jediswap_v2", "0xc1");
    assert_eq!(figures(&row), "2500000000000000000000 negative_balance 0 0 9950493836");
}

#[test]
fn a_pool_of_before_the_log_has_a_price_and_no_fee() {
    let mut scene = wide_scene();
    scene.block(T0, &[pool_swap(POOL, &swap((100_000, -1)))]);
    let row = scene.market("jediswap_v2", "0xc1");
    let starts = "history_starts_at";
    let expected = format!("2500000000000000000000 {starts} {starts} {starts} 19900987672");
    assert_eq!(figures(&row), expected);
    scene.block(T0 + DAY, &[pool_swap(POOL, &swap((100_000, -1)))]);
    let row = scene.market("jediswap_v2", "0xc1");
    let expected = format!("2500000000000000000000 {starts} 100000 fee_unknown 19900987672");
    assert_eq!(figures(&row), expected);
}

#[test]
fn a_pool_that_was_not_started_has_no_state() {
    let mut scene = wide_scene();
    scene.block(T0, &[created(CHILD_POOL, 3_000)]);
    let row = scene.market("jediswap_v2", "0xc2");
    assert_eq!(figures(&row), "no_usdc_pool no_usdc_pool 0 no_usdc_pool no_state");
    // No pool keeps all that comes in.
    let swapped = [created(CHILD_POOL, 1_000_000), pool_swap(CHILD_POOL, &swap((5, -5)))];
    scene.block(T0 + 1, &swapped);
    let row = scene.market("jediswap_v2", "0xc2");
    assert_eq!(figures(&row), "no_usdc_pool negative_balance 5 fee_unknown 19900987672");
}

#[test]
fn a_ratio_that_no_pool_has_changes_nothing() {
    let mut scene = wide_scene();
    scene.block(T0, &opened(POOL, 500));
    let before = scene.market("jediswap_v2", "0xc1");
    let mut beyond = pool_swap(POOL, &swap((5, -5)));
    // The upper half of the square root.
    beyond.data[9] = Felt::from(u128::MAX);
    let output = scene.block(T0 + 1, &[beyond]);
    assert_eq!(output.changed_markets, []);
    assert_eq!(scene.market("jediswap_v2", "0xc1"), before);
}
