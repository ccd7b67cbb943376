//! A pool of JediSwap v2: concentrated liquidity in a contract of its own.
//!
//! It moves as an Ekubo pool does, whose events are thrown away for those of JediSwap. Prices are cut to the 96
//! fractional bits that its events have, and its ticks are hundreds of the other's. What a burn frees stays
//! in the contract until it is collected.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::ekubo::{Pool, PoolSpec, SwapOrder};
use super::emit::Transaction;
use super::positions::Delta;
use super::selectors;
use super::tokens::Token;
use crate::chain::felts::{i129, u256};

/// The factory of the seeded chain.
pub(super) const V2_FACTORY: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f6a6564695f76325f666163746f7279");

/// The pool of the seeded chain.
pub(super) const V2_POOL: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f6a6564695f76325f6574685f75736463");

/// Ticks of the engine in one of the pool's.
const TICK: i64 = 100;

/// Bits of a sqrt ratio that an event does not have.
const CUT_BITS: usize = 32;

/// What the model fixes about the pool; its tick spacing is the engine's.
pub(super) const V2_SPEC: PoolSpec = PoolSpec {
    token0: Token::Eth,
    token1: Token::Usdc,
    fee_ppm: 3_000,
    tick_spacing: 6_000,
    initial_usdc: 800_000,
};

/// The pool's state.
#[derive(Debug, Clone)]
pub(super) struct V2Pool {
    /// What prices and liquidity follow from; its balances are not those of the contract.
    pub(super) engine: Pool,
    pub(super) balance0: i128,
    pub(super) balance1: i128,
    /// What mints brought and burns took over the pool's whole life.
    pub(super) provided: Delta,
    /// Burnt and not collected.
    owed: (u128, u128),
}

impl V2Pool {
    /// Creates and initialises the pool at a price.
    pub(super) fn create(sqrt_ratio: U256, now: u64, transaction: &mut Transaction) -> Self {
        let engine = Pool::initialize(V2_SPEC, sqrt_ratio, now, &mut unseen(transaction));
        let provided = Delta::default();
        let pool = Self { engine, balance0: 0, balance1: 0, provided, owed: (0, 0) };
        transaction.emit(
            V2_FACTORY,
            selectors::POOL_CREATED,
            vec![
                V2_SPEC.token0.address(),
                V2_SPEC.token1.address(),
                Felt::from(V2_SPEC.fee_ppm),
                Felt::from(i64::from(V2_SPEC.tick_spacing) / TICK),
                V2_POOL,
            ],
        );
        let mut data = pool.price_felts();
        data.extend(tick_felts(pool.engine.tick));
        transaction.emit(V2_POOL, selectors::INITIALIZE, data);
        pool
    }

    /// The sqrt ratio as events state it.
    pub(super) fn sqrt_ratio(&self) -> U256 {
        (self.engine.sqrt_ratio >> CUT_BITS) << CUT_BITS
    }

    /// Adds liquidity to a position.
    pub(super) fn mint(&mut self, index: usize, liquidity: u128, transaction: &mut Transaction) {
        let before = self.engine.provided;
        self.engine.add_liquidity(index, liquidity, &mut unseen(transaction));
        let brought = difference(self.engine.provided, before);
        let Some(position) = self.engine.positions.get(index) else {
            return;
        };
        let mut data = vec![transaction.sender, position.owner];
        data.extend(tick_felts(position.lower));
        data.extend(tick_felts(position.upper));
        data.push(Felt::from(liquidity));
        data.extend(amount_felts(brought));
        self.book(brought);
        self.provided = sum(self.provided, brought);
        self.pay(brought, transaction);
        transaction.emit(V2_POOL, selectors::MINT, data);
    }

    /// Takes liquidity out of a position; what that frees waits for a collection.
    pub(super) fn burn(&mut self, index: usize, liquidity: u128, transaction: &mut Transaction) {
        let before = self.engine.provided;
        self.engine.remove_liquidity(index, liquidity, &mut unseen(transaction));
        let taken = difference(before, self.engine.provided);
        let Some(position) = self.engine.positions.get(index) else {
            return;
        };
        let mut data = vec![position.owner];
        data.extend(tick_felts(position.lower));
        data.extend(tick_felts(position.upper));
        data.push(Felt::from(liquidity));
        data.extend(amount_felts(taken));
        let (freed0, freed1) = (taken.amount0.unsigned_abs(), taken.amount1.unsigned_abs());
        self.owed = (self.owed.0 + freed0, self.owed.1 + freed1);
        self.provided = difference(self.provided, taken);
        transaction.emit(V2_POOL, selectors::BURN, data);
    }

    /// Pays out what burns freed, or a part of the fees where they freed nothing.
    pub(super) fn collect(&mut self, index: usize, transaction: &mut Transaction) {
        let mut due = std::mem::take(&mut self.owed);
        if due == (0, 0) {
            due = self.engine.take_fees(4);
        }
        let Some(position) = self.engine.positions.get(index).filter(|_| due != (0, 0)) else {
            return;
        };
        let mut data = vec![position.owner, transaction.sender];
        data.extend(tick_felts(position.lower));
        data.extend(tick_felts(position.upper));
        data.extend([Felt::from(due.0), Felt::from(due.1)]);
        self.pay_out(due, transaction);
        transaction.emit(V2_POOL, selectors::COLLECT, data);
    }

    /// Pays the protocol a part of the fees.
    pub(super) fn collect_protocol(&mut self, transaction: &mut Transaction) {
        let due = self.engine.take_fees(10);
        let user = transaction.sender;
        self.pay_out(due, transaction);
        let data = vec![user, user, Felt::from(due.0), Felt::from(due.1)];
        transaction.emit(V2_POOL, selectors::COLLECT_PROTOCOL, data);
    }

    /// Swaps as the engine does.
    pub(super) fn swap(
        &mut self,
        order: SwapOrder,
        transaction: &mut Transaction,
    ) -> Option<Delta> {
        let delta = self.engine.swap(order, &mut unseen(transaction))?;
        self.book(delta);
        self.pay(delta, transaction);
        let mut data = vec![transaction.sender, transaction.sender];
        data.extend(i256(delta.amount0));
        data.extend(i256(delta.amount1));
        data.extend(self.price_felts());
        data.push(Felt::from(self.engine.liquidity));
        data.extend(tick_felts(self.engine.tick));
        transaction.emit(V2_POOL, selectors::SWAP, data);
        Some(delta)
    }

    fn price_felts(&self) -> Vec<Felt> {
        u256(self.engine.sqrt_ratio >> CUT_BITS).to_vec()
    }

    fn book(&mut self, delta: Delta) {
        self.balance0 += delta.amount0;
        self.balance1 += delta.amount1;
    }

    fn pay_out(&mut self, amounts: (u128, u128), transaction: &mut Transaction) {
        let delta = Delta::paid_out(amounts);
        self.book(delta);
        self.pay(delta, transaction);
    }

    /// Moves the tokens of a delta.
    fn pay(&self, delta: Delta, transaction: &mut Transaction) {
        let user = transaction.sender;
        for (token, amount) in [(V2_SPEC.token0, delta.amount0), (V2_SPEC.token1, delta.amount1)] {
            let (from, to) = if amount > 0 { (user, V2_POOL) } else { (V2_POOL, user) };
            if amount != 0 {
                let amount = U256::from(amount.unsigned_abs());
                transaction.transfer(token.address(), from, to, amount);
            }
        }
    }
}

/// A transaction for the engine's events, which nobody sees.
fn unseen(transaction: &Transaction) -> Transaction {
    Transaction::from(transaction.sender)
}

fn sum(a: Delta, b: Delta) -> Delta {
    Delta { amount0: a.amount0 + b.amount0, amount1: a.amount1 + b.amount1 }
}

fn difference(a: Delta, b: Delta) -> Delta {
    Delta { amount0: a.amount0 - b.amount0, amount1: a.amount1 - b.amount1 }
}

fn amount_felts(delta: Delta) -> Vec<Felt> {
    let amount = |amount: i128| u256(U256::from(amount.unsigned_abs()));
    [amount(delta.amount0), amount(delta.amount1)].concat()
}

/// An `i256` as the pool lays it out: low half, high half, sign.
fn i256(value: i128) -> Vec<Felt> {
    let [magnitude, sign] = i129(value);
    vec![magnitude, Felt::ZERO, sign]
}

fn tick_felts(engine_tick: i64) -> [Felt; 2] {
    i129(i128::from(engine_tick.div_euclid(TICK)))
}
