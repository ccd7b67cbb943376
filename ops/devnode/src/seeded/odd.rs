//! Somebody's own Ekubo pool of two listed tokens, which no registry lists.
//!
//! Its one position is a tick wide: little money stands for the deepest virtual reserves of the chain, at three
//! times the price of everybody else. Nothing but its own figures may follow it. After a while the position
//! is taken out, later it is put back where the price is then; nobody arbitrates.

use ruint::aliases::U256;

use super::actions::{Turn, founder};
use super::ekubo::{ODD_POOL, Pool, SwapOrder};
use super::emit::Transaction;
use super::jediswap::Side;
use super::math::{mul_div, pow10, sqrt_ratio_of, to_u128};
use super::positions::Position;
use super::trades::Trade;
use super::{BLOCK_SECONDS, GENESIS_TIMESTAMP};

/// Blocks after which everything comes again.
const CYCLE: u64 = 400;

/// Block of a cycle in which the liquidity comes.
const COMES: u64 = 60;

/// Block of a cycle in which it goes.
const GOES: u64 = 260;

/// One in so many blocks between has a trade.
const TRADES_EACH: u64 = 7;

/// Virtual reserve of USDC in whole USDC.
const DEPTH_USDC: u64 = 1_000_000_000;

/// A trade ends one part in so many beyond the sqrt ratio, a tick or two away.
const LIMIT_PARTS: u64 = 1_000_000;

/// How many times the price of the others the pool begins at.
const PRICE_FACTOR: u128 = 3;

impl Turn<'_> {
    /// What happens at the odd pool in a block.
    pub(super) fn play_odd_pool(&mut self) {
        let height = (self.now - GENESIS_TIMESTAMP) / BLOCK_SECONDS;
        match height % CYCLE {
            COMES => self.fill_odd_pool(),
            GOES => self.at_odd_pool(|pool, transaction| {
                let held = pool.positions.first().map_or(0, |position| position.liquidity);
                pool.remove_liquidity(0, held, transaction);
            }),
            place if place > COMES && place < GOES && place.is_multiple_of(TRADES_EACH) => {
                self.trade_odd_pool(if place.is_multiple_of(2) {
                    Side::Token0
                } else {
                    Side::Token1
                });
            }
            _ => {}
        }
    }

    fn fill_odd_pool(&mut self) {
        let is_new = !self.model.pools.iter().any(is_odd);
        if is_new {
            let mut transaction = Transaction::from(founder());
            let (token0, token1) = (ODD_POOL.token0, ODD_POOL.token1);
            let prices = &self.model.prices;
            let price0 = prices.of(token0) * PRICE_FACTOR;
            let ratio =
                sqrt_ratio_of(price0, token0.decimals(), prices.of(token1), token1.decimals());
            let mut pool = Pool::initialize(ODD_POOL, ratio, self.now, &mut transaction);
            pool.positions.push(Position::over(founder(), 1, pool.tick, pool.tick + 1));
            self.model.pools.push(pool);
            self.end(transaction);
        }
        self.at_odd_pool(|pool, transaction| {
            pool.place(0, pool.tick, pool.tick + 1);
            let depth = U256::from(DEPTH_USDC) * pow10(ODD_POOL.token1.decimals());
            let liquidity = mul_div(depth, U256::from(1) << 128, pool.sqrt_ratio);
            pool.add_liquidity(0, to_u128(liquidity), transaction);
        });
    }

    /// A trade of a few USDC, which stays inside the tick or goes up to its end.
    fn trade_odd_pool(&mut self, side: Side) {
        let mut transaction = Transaction::from(founder());
        let prices = &self.model.prices;
        let token = if side == Side::Token0 { ODD_POOL.token0 } else { ODD_POOL.token1 };
        let amount = prices.amount_worth(token, 20);
        let mut pools = self.model.pools.iter_mut().enumerate();
        let Some((index, pool)) = pools.find(|(_, pool)| is_odd(pool)) else {
            return;
        };
        let part = pool.sqrt_ratio / U256::from(LIMIT_PARTS);
        let limit = match side {
            Side::Token0 => pool.sqrt_ratio - part,
            Side::Token1 => pool.sqrt_ratio + part,
        };
        if let Some(delta) = pool.swap(SwapOrder { side, amount, limit }, &mut transaction) {
            self.trades.push(Trade::at_pool(index, delta, ODD_POOL.fee()));
        }
        self.end(transaction);
    }

    fn at_odd_pool(&mut self, act: impl FnOnce(&mut Pool, &mut Transaction)) {
        let mut transaction = Transaction::from(founder());
        if let Some(pool) = self.model.pools.iter_mut().find(|pool| is_odd(pool)) {
            act(pool, &mut transaction);
        }
        self.end(transaction);
    }
}

fn is_odd(pool: &Pool) -> bool {
    !pool.spec.is_counted() && pool.spec.token0.is_listed() && pool.spec.token1.is_listed()
}
