//! What the actors of the seeded chain do in a block: trade, arbitrage, move liquidity, and make noise that
//! no watcher of protocols cares about. Lenders have a module of their own.
//!
//! Each function takes the dice in a fixed order; changing the order of draws changes every byte of the
//! chain after it.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::Model;
use super::ekubo::{POOLS, Pool, RANGES, SwapOrder};
use super::emit::{Transaction, account};
use super::incident::Stage;
use super::jediswap::Side;
use super::market::ReferencePrices;
use super::math::{mul_div, mul_div_128, sqrt_ratio_of};
use super::rng::Dice;
use super::trades::Trade;
use crate::chain::block::TransactionDraft;
use crate::chain::felts::made_up;

/// Fewest events of a block; noise makes up what the market leaves open.
const MIN_EVENTS: usize = 44;

/// Token contracts that no registry lists.
const NOISE_TOKENS: u64 = 5;

/// One block's work on a model.
pub(super) struct Turn<'a> {
    pub(super) model: &'a mut Model,
    pub(super) dice: &'a mut Dice,
    pub(super) now: u64,
    /// What of the incident belongs to this block.
    pub(super) stage: Option<Stage>,
    pub(super) transactions: Vec<TransactionDraft>,
    pub(super) trades: Vec<Trade>,
}

impl Turn<'_> {
    /// Everything of an ordinary block.
    pub(super) fn play(&mut self) {
        for index in 0..POOLS.len() {
            self.trade_pool(index);
        }
        for index in 0..self.model.pairs.len() {
            self.trade_pair(index);
        }
        self.play_lending();
        if let Some(stage) = self.stage {
            self.play_incident(stage);
        }
        self.move_liquidity();
        self.play_odd_pool();
        self.play_v2_pool();
        self.play_vesu();
        self.make_noise();
    }

    pub(super) fn begin(&mut self) -> Transaction {
        Transaction::from(account(self.dice.below(u64::MAX)))
    }

    pub(super) fn end(&mut self, transaction: Transaction) {
        if transaction.event_count() > 0 {
            self.transactions.push(transaction.finish());
        }
    }

    fn trade_pool(&mut self, index: usize) {
        let mut transaction = self.begin();
        let swaps = [self.pool_order(index), self.pool_arbitrage(index)];
        // The arbitrage is worked out before the trade, so that a pool may stray for a block.
        for order in swaps.into_iter().flatten() {
            let Some(pool) = self.model.pools.get_mut(index) else {
                continue;
            };
            if let Some(delta) = pool.swap(order, &mut transaction) {
                self.trades.push(Trade::at_pool(index, delta, pool.spec.fee()));
            }
        }
        self.end(transaction);
    }

    /// Somebody's trade: its size is a share of the pool's usual volume, its limit 2 % away.
    fn pool_order(&mut self, index: usize) -> Option<SwapOrder> {
        let (chance, share, flip) =
            (self.dice.chance(45), self.dice.between(1, 60), self.dice.chance(50));
        let pool = self.model.pools.get(index)?;
        if !chance {
            return None;
        }
        let side = if flip { Side::Token0 } else { Side::Token1 };
        let token = if flip { pool.spec.token0 } else { pool.spec.token1 };
        let whole_usdc = (pool.spec.initial_usdc * share / 20_000).max(1);
        let (numerator, denominator) = if flip { (98, 100) } else { (102, 100) };
        let limit = mul_div(pool.sqrt_ratio, U256::from(numerator), U256::from(denominator));
        Some(SwapOrder { side, amount: self.model.prices.amount_worth(token, whole_usdc), limit })
    }

    /// The trade that brings a pool to the reference price, if it strayed further than its fee.
    fn pool_arbitrage(&mut self, index: usize) -> Option<SwapOrder> {
        let pool = self.model.pools.get(index)?;
        let limit = target_ratio(&self.model.prices, pool);
        let slack = U256::from(1_000_000 + pool.spec.fee_ppm / 2 + 700);
        let million = U256::from(1_000_000);
        let side = if limit > mul_div(pool.sqrt_ratio, slack, million) {
            Side::Token1
        } else if mul_div(limit, slack, million) < pool.sqrt_ratio {
            Side::Token0
        } else {
            return None;
        };
        Some(SwapOrder { side, amount: u128::MAX >> 16, limit })
    }

    fn trade_pair(&mut self, index: usize) {
        let (share, flip) = (self.dice.between(1, 40), self.dice.chance(50));
        let Some(spec) = self.model.pairs.get(index).map(|pair| pair.spec) else {
            return;
        };
        let side = if flip { Side::Token0 } else { Side::Token1 };
        let token = if flip { spec.token0 } else { spec.token1 };
        let whole_usdc = (spec.initial_usdc * share / 20_000).max(1);
        let amount = self.model.prices.amount_worth(token, whole_usdc);
        self.swap_pair(index, side, amount);
        let (price0, price1) =
            (self.model.prices.of(spec.token0), self.model.prices.of(spec.token1));
        let arbitrage = self.model.pairs.get(index).and_then(|pair| pair.arbitrage(price0, price1));
        if let Some((side, amount)) = arbitrage {
            self.swap_pair(index, side, amount);
        }
    }

    fn swap_pair(&mut self, index: usize, side: Side, amount: u128) {
        let mut transaction = self.begin();
        let Some(pair) = self.model.pairs.get_mut(index) else {
            return;
        };
        if let Some(delta) = pair.swap(side, amount, &mut transaction) {
            self.trades.push(Trade::at_pair(index, delta));
        }
        self.end(transaction);
    }

    /// Now and then somebody adds, takes, collects or gives.
    fn move_liquidity(&mut self) {
        let pool = self.dice.index(POOLS.len());
        let pair = self.dice.index(self.model.pairs.len());
        let (kind, share) = (self.dice.below(100), self.dice.between(1, 30));
        let mut transaction = self.begin();
        match kind {
            0..20 => self.recentre(pool, share, &mut transaction),
            20..32 => self.change_position(pool, share, Change::Add, &mut transaction),
            32..42 => self.change_position(pool, share, Change::Remove, &mut transaction),
            42..50 => self.change_position(pool, share, Change::Collect, &mut transaction),
            50..53 => self.donate(pool, &mut transaction),
            53..62 => self.change_pair(pair, share, Change::Add, &mut transaction),
            62..70 => self.change_pair(pair, share, Change::Remove, &mut transaction),
            _ => {}
        }
        self.end(transaction);
    }

    /// Moves the narrowest position of a pool, sometimes the next one, to the price with other weight.
    fn recentre(&mut self, index: usize, share: u64, transaction: &mut Transaction) {
        let place = if share.is_multiple_of(4) { 1 } else { RANGES.len() - 1 };
        let Some(half_width) = RANGES.get(place).map(|range| range.0) else {
            return;
        };
        let Some(pool) = self.model.pools.get_mut(index) else {
            return;
        };
        let Some(held) = pool.positions.get(place).map(|position| position.liquidity) else {
            return;
        };
        pool.remove_liquidity(place, held, transaction);
        let (lower, upper) = pool.range_around(half_width);
        pool.place(place, lower, upper);
        let Some(usual) = self.usual_liquidity(index, place) else {
            return;
        };
        // Between 86 % and 115 % of what it was, within a factor of three of the usual.
        let liquidity = mul_div_128(held, 85 + u128::from(share), 100).clamp(usual / 3, usual * 3);
        if let Some(pool) = self.model.pools.get_mut(index) {
            pool.add_liquidity(place, liquidity, transaction);
        }
    }

    /// What a position's first liquidity would be at today's price; `None` out of its range.
    fn usual_liquidity(&self, index: usize, place: usize) -> Option<u128> {
        let pool = self.model.pools.get(index)?;
        let percent = RANGES.get(place)?.1;
        let amount1 = self
            .model
            .prices
            .amount_worth(pool.spec.token1, pool.spec.initial_usdc * percent / 200);
        pool.liquidity_for(place, amount1)
    }

    fn change_position(
        &mut self,
        index: usize,
        share: u64,
        change: Change,
        transaction: &mut Transaction,
    ) {
        let place = self.dice.index(2);
        let Some(usual) = self.usual_liquidity(index, place) else {
            return;
        };
        let Some(pool) = self.model.pools.get_mut(index) else {
            return;
        };
        let Some(held) = pool.positions.get(place).map(|position| position.liquidity) else {
            return;
        };
        let part = mul_div_128(held, u128::from(share), 250);
        match change.within(held, usual) {
            Change::Add => pool.add_liquidity(place, part, transaction),
            Change::Remove => pool.remove_liquidity(place, part, transaction),
            Change::Collect => pool.collect_fees(place, transaction),
        }
    }

    fn donate(&mut self, index: usize, transaction: &mut Transaction) {
        let (Some(pool), prices) = (self.model.pools.get_mut(index), &self.model.prices) else {
            return;
        };
        let amounts =
            (prices.amount_worth(pool.spec.token0, 20), prices.amount_worth(pool.spec.token1, 20));
        pool.donate(amounts, transaction);
    }

    fn change_pair(
        &mut self,
        index: usize,
        share: u64,
        change: Change,
        transaction: &mut Transaction,
    ) {
        let Some(pair) = self.model.pairs.get_mut(index) else {
            return;
        };
        let usual = self.model.prices.amount_worth(pair.spec.token1, pair.spec.initial_usdc / 2);
        match change.within(pair.reserve1, usual) {
            Change::Add => {
                pair.add(mul_div_128(pair.reserve1, u128::from(share), 300), transaction)
            }
            Change::Remove => pair.remove(share * 33, transaction),
            Change::Collect => {}
        }
    }

    /// Transfers of tokens nobody lists, until the block has its events.
    fn make_noise(&mut self) {
        let count = |transactions: &[TransactionDraft]| -> usize {
            transactions.iter().map(|transaction| transaction.events.len()).sum()
        };
        let mut rounds = self.dice.between(2, 3);
        while rounds > 0 || count(&self.transactions) < MIN_EVENTS {
            rounds = rounds.saturating_sub(1);
            let mut transaction = self.begin();
            for _ in 0..self.dice.between(1, 3) {
                let kind = self.dice.below(NOISE_TOKENS);
                let token = made_up("noise token", &[&kind.to_be_bytes()]);
                let to = account(self.dice.below(u64::MAX));
                let amount = U256::from(self.dice.below(u64::MAX));
                if kind < 3 {
                    transaction.transfer(token, transaction.sender, to, amount);
                } else {
                    transaction.keyed_transfer(token, transaction.sender, to, amount);
                }
            }
            let place = self.dice.index(self.transactions.len() + 1);
            self.transactions.insert(place, transaction.finish());
        }
    }
}

#[derive(Clone, Copy)]
enum Change {
    Add,
    Remove,
    Collect,
}

impl Change {
    /// Turns the tide where an amount is far from the usual, so that a chain of any length stays alive.
    fn within(self, held: u128, usual: u128) -> Self {
        match self {
            Self::Add if held > usual.saturating_mul(3) => Self::Remove,
            Self::Remove if held < usual / 3 => Self::Add,
            other => other,
        }
    }
}

/// The sqrt ratio of a pool at the reference prices.
pub(super) fn target_ratio(prices: &ReferencePrices, pool: &Pool) -> U256 {
    let (token0, token1) = (pool.spec.token0, pool.spec.token1);
    sqrt_ratio_of(prices.of(token0), token0.decimals(), prices.of(token1), token1.decimals())
}

/// The account that makes the first positions.
pub(super) fn founder() -> Felt {
    account(0)
}
