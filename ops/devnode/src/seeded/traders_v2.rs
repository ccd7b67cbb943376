//! What traders and providers do at the pool of JediSwap v2.

use ruint::aliases::U256;

use super::Model;
use super::actions::{Turn, founder, target_ratio};
use super::ekubo::{Pool, RANGES, SwapOrder};
use super::emit::Transaction;
use super::jediswap::Side;
use super::jediswap_v2::{V2_SPEC, V2Pool};
use super::math::{mul_div, mul_div_128, sqrt_ratio_of};
use super::positions::Position;
use super::trades::Trade;
use crate::chain::block::TransactionDraft;

/// The position that comes and goes.
const LOOSE: usize = 1;

impl Model {
    /// The pool and its first positions.
    pub(super) fn found_v2_pool(&mut self, now: u64) -> TransactionDraft {
        let mut transaction = Transaction::from(founder());
        let side = |token: super::tokens::Token| (self.prices.of(token), token.decimals());
        let ((price0, decimals0), (price1, decimals1)) =
            (side(V2_SPEC.token0), side(V2_SPEC.token1));
        let ratio = sqrt_ratio_of(price0, decimals0, price1, decimals1);
        let mut pool = V2Pool::create(ratio, now, &mut transaction);
        for (index, (half_width, percent)) in RANGES.into_iter().enumerate() {
            let (lower, upper) = pool.engine.range_around(half_width);
            pool.engine.positions.push(Position::over(founder(), 1, lower, upper));
            let half =
                self.prices.amount_worth(V2_SPEC.token1, V2_SPEC.initial_usdc * percent / 200);
            if let Some(liquidity) = pool.engine.liquidity_for(index, half) {
                pool.mint(index, liquidity, &mut transaction);
            }
        }
        self.v2_pools.push(pool);
        transaction.finish()
    }
}

impl Turn<'_> {
    /// A block at the pool.
    pub(super) fn play_v2_pool(&mut self) {
        let (chance, share, flip) =
            (self.dice.chance(60), self.dice.between(1, 60), self.dice.chance(50));
        let kind = self.dice.below(100);
        let Some(pool) = self.model.v2_pools.first() else {
            return;
        };
        let side = if flip { Side::Token0 } else { Side::Token1 };
        let token = if flip { V2_SPEC.token0 } else { V2_SPEC.token1 };
        let whole_usdc = V2_SPEC.initial_usdc * share / 20_000;
        let amount = self.model.prices.amount_worth(token, whole_usdc);
        let order = SwapOrder { side, amount, limit: limit(&pool.engine, side, 20_000) };
        let target = target_ratio(&self.model.prices, &pool.engine);
        let arbitrage = arbitrage(&pool.engine, target);
        self.at_v2_pool(|pool, transaction| {
            let orders = [chance.then_some(order), arbitrage];
            let swaps = orders.into_iter().flatten();
            swaps.filter_map(|order| pool.swap(order, transaction)).collect()
        });
        self.at_v2_pool(|pool, transaction| {
            provide(pool, kind, share, transaction);
            Vec::new()
        });
    }

    fn at_v2_pool(
        &mut self,
        act: impl FnOnce(&mut V2Pool, &mut Transaction) -> Vec<super::positions::Delta>,
    ) {
        let mut transaction = self.begin();
        if let Some(pool) = self.model.v2_pools.first_mut() {
            let deltas = act(pool, &mut transaction);
            self.trades.extend(
                deltas.into_iter().map(|delta| Trade::at_v2_pool(0, delta, V2_SPEC.fee_ppm)),
            );
        }
        self.end(transaction);
    }
}

/// A position is made smaller or larger, or moved to the price; fees are collected.
fn provide(pool: &mut V2Pool, kind: u64, share: u64, transaction: &mut Transaction) {
    let held = pool.engine.positions.get(LOOSE).map_or(0, |position| position.liquidity);
    let part = mul_div_128(held, u128::from(share), 200);
    match kind {
        0..8 => pool.mint(LOOSE, part.max(1), transaction),
        8..16 => {
            pool.burn(LOOSE, part, transaction);
            pool.collect(LOOSE, transaction);
        }
        16..20 => pool.collect(0, transaction),
        20..22 => pool.collect_protocol(transaction),
        22..25 => {
            // All of it goes and is collected; it comes back at once, where the price is.
            pool.burn(LOOSE, held, transaction);
            let (lower, upper) =
                pool.engine.range_around(RANGES.get(LOOSE).map_or(0, |range| range.0));
            pool.engine.place(LOOSE, lower, upper);
            pool.collect(LOOSE, transaction);
            pool.mint(LOOSE, held.max(1), transaction);
        }
        _ => {}
    }
}

/// So many parts in a million beyond the price.
fn limit(pool: &Pool, side: Side, parts: u64) -> U256 {
    let million = 1_000_000;
    let numerator = if side == Side::Token0 { million - parts } else { million + parts };
    mul_div(pool.sqrt_ratio, U256::from(numerator), U256::from(million))
}

/// The trade that brings the pool to a price, if it strayed further than its fee.
fn arbitrage(pool: &Pool, target: U256) -> Option<SwapOrder> {
    let slack = u64::from(V2_SPEC.fee_ppm) / 2 + 700;
    let amount = u128::MAX >> 16;
    if target > limit(pool, Side::Token1, slack) {
        Some(SwapOrder { side: Side::Token1, amount, limit: target })
    } else if target < limit(pool, Side::Token0, slack) {
        Some(SwapOrder { side: Side::Token0, amount, limit: target })
    } else {
        None
    }
}
