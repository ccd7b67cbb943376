//! Ekubo's core: pools of concentrated liquidity, one contract for all of them.
//!
//! A swap walks from one initialised tick to the next with the liquidity that is active in between; what
//! goes in is rounded up, what comes out is rounded down, so a pool can never owe more than it holds.
//! Deltas are the core's view: positive is paid in. A price that ends on a tick from above belongs to the
//! tick below it, as in the contract.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::emit::Transaction;
use super::jediswap::Side;
use super::math::{mul_div, mul_div_up, tick_at, to_u128};
use super::positions::{Delta, Position, Rounding, amount0, amount1, signed};
use super::selectors;
use super::tokens::Token;
use crate::chain::felts::{i129, made_up, u256};

/// The core contract of the seeded chain.
pub(super) const CORE: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f656b75626f5f636f7265");

/// What the model fixes about a pool. The registry lists those of [`POOLS`] whose tokens it lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct PoolSpec {
    pub(super) token0: Token,
    pub(super) token1: Token,
    /// Fee in parts of a million.
    pub(super) fee_ppm: u32,
    pub(super) tick_spacing: u32,
    /// Value of the first positions in whole USDC, all together.
    pub(super) initial_usdc: u64,
}

/// The pools, in the order of their creation.
pub(super) const POOLS: [PoolSpec; 8] = [
    pool(Token::Eth, Token::Usdc, 500, 1_000, 3_600_000),
    pool(Token::Eth, Token::Usdc, 3_000, 5_982, 900_000),
    pool(Token::Strk, Token::Usdc, 3_000, 5_982, 1_300_000),
    pool(Token::Wbtc, Token::Usdc, 3_000, 5_982, 2_200_000),
    pool(Token::Strk, Token::Eth, 3_000, 5_982, 900_000),
    pool(Token::Usdc, Token::Usdt, 100, 200, 1_200_000),
    pool(Token::WstEth, Token::Usdc, 500, 1_000, 700_000),
    pool(Token::Usdc, Token::Unlisted, 10_000, 19_802, 40_000),
];

/// A pool that no registry lists, over two tokens that it does.
pub(super) const ODD_POOL: PoolSpec = pool(Token::Eth, Token::Usdc, 50, 1, 0);

const fn pool(
    token0: Token,
    token1: Token,
    fee_ppm: u32,
    tick_spacing: u32,
    initial_usdc: u64,
) -> PoolSpec {
    PoolSpec { token0, token1, fee_ppm, tick_spacing, initial_usdc }
}

/// The ranges of each pool's first positions: ticks to each side (a factor of e is a million ticks) and
/// percent of the pool's value.
pub(super) const RANGES: [(i64, u64); 3] = [(1_500_000, 70), (300_000, 24), (60_000, 6)];

impl PoolSpec {
    /// The fee as the contract holds it: a fraction of 2¹²⁸.
    pub(super) fn fee(&self) -> u128 {
        to_u128((U256::from(self.fee_ppm) << 128) / U256::from(1_000_000))
    }

    fn key(&self) -> [Felt; 5] {
        [
            self.token0.address(),
            self.token1.address(),
            Felt::from(self.fee()),
            Felt::from(self.tick_spacing),
            Felt::ZERO,
        ]
    }

    /// Whether the registry lists the pool, so that it counts in prices and in a protocol's inputs.
    pub(super) fn is_counted(&self) -> bool {
        let is_odd = self.key() == ODD_POOL.key();
        !is_odd && self.token0.is_listed() && self.token1.is_listed()
    }

    /// The market's id: the parts of the key as minimal hex.
    pub(super) fn market_id(&self) -> String {
        self.key().map(|part| crate::chain::encode::hex(&part)).join("/")
    }
}

/// What a swap asks for.
#[derive(Debug, Clone, Copy)]
pub(super) struct SwapOrder {
    /// The token paid in.
    pub(super) side: Side,
    /// The most that is paid in.
    pub(super) amount: u128,
    /// The price beyond which it stops.
    pub(super) limit: U256,
}

/// A pool's state.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    pub(super) spec: PoolSpec,
    pub(super) sqrt_ratio: U256,
    pub(super) tick: i64,
    pub(super) liquidity: u128,
    pub(super) balance0: i128,
    pub(super) balance1: i128,
    fees: (u128, u128),
    /// Seconds since 1970.
    pub(super) opened_at: u64,
    /// What positions brought and took over the pool's whole life, without fees.
    pub(super) provided: Delta,
    pub(super) positions: Vec<Position>,
}

impl Pool {
    /// Initialises a pool at a price.
    pub(super) fn initialize(
        spec: PoolSpec,
        sqrt_ratio: U256,
        opened_at: u64,
        transaction: &mut Transaction,
    ) -> Self {
        let tick = tick_at(sqrt_ratio);
        let mut data = spec.key().to_vec();
        data.extend(i129(tick.into()));
        data.extend(u256(sqrt_ratio));
        transaction.emit(CORE, selectors::POOL_INITIALIZED, data);
        Self {
            spec,
            sqrt_ratio,
            tick,
            liquidity: 0,
            balance0: 0,
            balance1: 0,
            fees: (0, 0),
            opened_at,
            provided: Delta::default(),
            positions: Vec::new(),
        }
    }

    /// A range of so many ticks to either side of the price, on the pool's grid.
    pub(super) fn range_around(&self, half_width: i64) -> (i64, i64) {
        let spacing = i64::from(self.spec.tick_spacing);
        let lower = (self.tick - half_width).div_euclid(spacing) * spacing;
        let upper = ((self.tick + half_width).div_euclid(spacing) + 1) * spacing;
        (lower, upper)
    }

    /// Puts an empty position over another range.
    pub(super) fn place(&mut self, index: usize, lower: i64, upper: i64) {
        if let Some(position) =
            self.positions.get_mut(index).filter(|position| position.liquidity == 0)
        {
            *position = Position::over(position.owner, position.salt, lower, upper);
        }
    }

    /// The liquidity with which a position holds so much `token1` at the price, counting `token1` as half
    /// of its value; `None` where the price has left the range.
    pub(super) fn liquidity_for(&self, index: usize, amount1: u128) -> Option<u128> {
        const UNIT: u128 = 1 << 90;
        let position = self.positions.get(index).filter(|position| position.holds(self.tick))?;
        let (_, unit1) = position.amounts(UNIT, self.sqrt_ratio, Rounding::Up);
        Some(to_u128(mul_div(U256::from(amount1), U256::from(UNIT), U256::from(unit1))))
    }

    /// Adds liquidity to a position.
    pub(super) fn add_liquidity(
        &mut self,
        index: usize,
        liquidity: u128,
        transaction: &mut Transaction,
    ) {
        let Some(position) = self.positions.get_mut(index) else {
            return;
        };
        let amounts = position.amounts(liquidity, self.sqrt_ratio, Rounding::Up);
        position.liquidity += liquidity;
        let position = position.clone();
        self.pay_tokens_in(amounts, transaction);
        self.position_updated(&position, signed(liquidity), Delta::paid_in(amounts), transaction);
    }

    /// Takes liquidity out of a position: fees first, then the withdrawal fee, then the update.
    pub(super) fn remove_liquidity(
        &mut self,
        index: usize,
        liquidity: u128,
        transaction: &mut Transaction,
    ) {
        self.collect_fees(index, transaction);
        let Some(position) = self.positions.get_mut(index) else {
            return;
        };
        let liquidity = liquidity.min(position.liquidity);
        let (out0, out1) = position.amounts(liquidity, self.sqrt_ratio, Rounding::Down);
        position.liquidity -= liquidity;
        let position = position.clone();
        let protocol = (self.fee_of(out0), self.fee_of(out1));
        if protocol != (0, 0) {
            self.position_event(
                selectors::PROTOCOL_FEES_PAID,
                &position,
                Delta::paid_out(protocol),
                transaction,
            );
        }
        let paid = (out0 - protocol.0, out1 - protocol.1);
        self.position_updated(&position, -signed(liquidity), Delta::paid_out(paid), transaction);
        self.pay_tokens_out(paid, transaction);
    }

    /// Pays a position a quarter of the fees that wait in the pool.
    pub(super) fn collect_fees(&mut self, index: usize, transaction: &mut Transaction) {
        let Some(position) = self.positions.get(index).cloned() else {
            return;
        };
        let due = (self.fees.0 / 4, self.fees.1 / 4);
        if due == (0, 0) {
            return;
        }
        self.fees = (self.fees.0 - due.0, self.fees.1 - due.1);
        self.position_event(
            selectors::POSITION_FEES_COLLECTED,
            &position,
            Delta::paid_out(due),
            transaction,
        );
        self.pay_tokens_out(due, transaction);
    }

    /// Takes one part in so many of the fees that wait in the pool.
    pub(super) fn take_fees(&mut self, parts: u128) -> (u128, u128) {
        let due = (self.fees.0 / parts, self.fees.1 / parts);
        self.fees = (self.fees.0 - due.0, self.fees.1 - due.1);
        due
    }

    /// A donation to the liquidity in range.
    pub(super) fn donate(&mut self, amounts: (u128, u128), transaction: &mut Transaction) {
        self.pay_tokens_in(amounts, transaction);
        self.fees = (self.fees.0 + amounts.0, self.fees.1 + amounts.1);
        self.book(Delta::paid_in(amounts));
        let mut data = self.spec.key().to_vec();
        data.extend([Felt::from(amounts.0), Felt::from(amounts.1)]);
        transaction.emit(CORE, selectors::FEES_ACCUMULATED, data);
    }

    /// Swaps up to an amount or a price; `None`, and nothing happens, if nothing would move.
    pub(super) fn swap(
        &mut self,
        order: SwapOrder,
        transaction: &mut Transaction,
    ) -> Option<Delta> {
        let ahead = match order.side {
            Side::Token0 => order.limit < self.sqrt_ratio,
            Side::Token1 => order.limit > self.sqrt_ratio,
        };
        if !ahead {
            return None;
        }
        let before = self.clone();
        let (mut paid, mut received) = (0_u128, 0_u128);
        while paid < order.amount && self.sqrt_ratio != order.limit {
            let step = self.step(order, order.amount - paid);
            paid += step.paid;
            received += step.received;
            if step.paid == 0 && !step.crossed {
                break;
            }
        }
        let delta = match order.side {
            Side::Token0 => Delta { amount0: signed(paid), amount1: -signed(received) },
            Side::Token1 => Delta { amount0: -signed(received), amount1: signed(paid) },
        };
        if paid == 0 || received == 0 {
            *self = before;
            return None;
        }
        self.book(delta);
        let (inward, outward) = match order.side {
            Side::Token0 => ((paid, 0), (0, received)),
            Side::Token1 => ((0, paid), (received, 0)),
        };
        self.pay_tokens_out(outward, transaction);
        self.swapped(order, paid, delta, transaction);
        self.pay_tokens_in(inward, transaction);
        Some(delta)
    }

    /// One step: to the next initialised tick, the limit, or the end of the amount.
    fn step(&mut self, order: SwapOrder, remaining: u128) -> Step {
        let (target, boundary) = self.next_target(order);
        let (low, high) = (self.sqrt_ratio.min(target), self.sqrt_ratio.max(target));
        let net_needed = self.amount_in(order.side, low, high);
        let gross_needed = self.with_fee(net_needed);
        if remaining >= gross_needed {
            let received = self.amount_out(order.side, low, high);
            self.take_fee(order.side, gross_needed - net_needed);
            self.sqrt_ratio = target;
            let crossed = boundary.is_some();
            match (boundary, order.side) {
                (Some(tick), Side::Token0) => self.tick = tick - 1,
                (Some(tick), Side::Token1) => self.tick = tick,
                (None, _) => self.tick = tick_at(target),
            }
            self.refresh_liquidity();
            return Step { paid: gross_needed, received, crossed };
        }
        let fee = self.fee_of(remaining);
        let next = self.ratio_after(order.side, remaining - fee);
        let (low, high) = (self.sqrt_ratio.min(next), self.sqrt_ratio.max(next));
        let received = self.amount_out(order.side, low, high);
        self.take_fee(order.side, fee);
        self.sqrt_ratio = next;
        self.tick = tick_at(next);
        Step { paid: remaining, received, crossed: false }
    }

    /// The price a step ends at, and the tick if it is an initialised one.
    fn next_target(&self, order: SwapOrder) -> (U256, Option<i64>) {
        let bounds =
            self.positions.iter().filter(|position| position.liquidity > 0).flat_map(|position| {
                [(position.lower, position.lower_ratio), (position.upper, position.upper_ratio)]
            });
        let next = match order.side {
            Side::Token0 => bounds.filter(|(tick, _)| *tick <= self.tick).max(),
            Side::Token1 => bounds.filter(|(tick, _)| *tick > self.tick).min(),
        };
        match (next, order.side) {
            (Some((tick, ratio)), Side::Token0) if ratio >= order.limit => (ratio, Some(tick)),
            (Some((tick, ratio)), Side::Token1) if ratio <= order.limit => (ratio, Some(tick)),
            _ => (order.limit, None),
        }
    }

    fn amount_in(&self, side: Side, low: U256, high: U256) -> u128 {
        match side {
            Side::Token0 => amount0(self.liquidity, low, high, Rounding::Up),
            Side::Token1 => amount1(self.liquidity, low, high, Rounding::Up),
        }
    }

    fn amount_out(&self, side: Side, low: U256, high: U256) -> u128 {
        match side {
            Side::Token0 => amount1(self.liquidity, low, high, Rounding::Down),
            Side::Token1 => amount0(self.liquidity, low, high, Rounding::Down),
        }
    }

    /// The price after a net amount went in, rounded against the one who pays.
    fn ratio_after(&self, side: Side, net: u128) -> U256 {
        let liquidity = U256::from(self.liquidity);
        let net = U256::from(net);
        match side {
            Side::Token0 => {
                let scaled = liquidity << 128;
                mul_div_up(scaled, self.sqrt_ratio, scaled + net * self.sqrt_ratio)
            }
            Side::Token1 => self.sqrt_ratio + (net << 128) / liquidity,
        }
    }

    fn fee_of(&self, amount: u128) -> u128 {
        to_u128(mul_div_up(U256::from(amount), U256::from(self.spec.fee()), U256::from(1) << 128))
    }

    /// The gross amount of which the net remains after the fee.
    fn with_fee(&self, net: u128) -> u128 {
        let one = U256::from(1) << 128;
        to_u128(mul_div_up(U256::from(net), one, one - U256::from(self.spec.fee())))
    }

    fn take_fee(&mut self, side: Side, fee: u128) {
        match side {
            Side::Token0 => self.fees.0 += fee,
            Side::Token1 => self.fees.1 += fee,
        }
    }

    fn refresh_liquidity(&mut self) {
        self.liquidity =
            self.positions.iter().filter(|p| p.holds(self.tick)).map(|p| p.liquidity).sum();
    }

    fn book(&mut self, delta: Delta) {
        self.balance0 += delta.amount0;
        self.balance1 += delta.amount1;
    }

    fn position_updated(
        &mut self,
        position: &Position,
        liquidity_delta: i128,
        delta: Delta,
        transaction: &mut Transaction,
    ) {
        self.book(delta);
        self.provided.amount0 += delta.amount0;
        self.provided.amount1 += delta.amount1;
        self.refresh_liquidity();
        let mut data = vec![position.owner];
        data.extend(self.spec.key());
        data.push(Felt::from(position.salt));
        data.extend(position.bounds());
        data.extend(i129(liquidity_delta));
        data.extend(delta.felts());
        transaction.emit(CORE, selectors::POSITION_UPDATED, data);
    }

    /// `PositionFeesCollected` and `ProtocolFeesPaid` have one layout.
    fn position_event(
        &mut self,
        selector: Felt,
        position: &Position,
        delta: Delta,
        transaction: &mut Transaction,
    ) {
        self.book(delta);
        let mut data = self.spec.key().to_vec();
        data.extend(position.key());
        data.extend(delta.felts());
        transaction.emit(CORE, selector, data);
    }

    fn swapped(&self, order: SwapOrder, paid: u128, delta: Delta, transaction: &mut Transaction) {
        let mut data = vec![router()];
        data.extend(self.spec.key());
        data.extend(i129(signed(paid)));
        data.push(Felt::from(order.side == Side::Token1));
        data.extend(u256(order.limit));
        data.push(Felt::ZERO);
        data.extend(delta.felts());
        data.extend(u256(self.sqrt_ratio));
        data.extend(i129(self.tick.into()));
        data.push(Felt::from(self.liquidity));
        transaction.emit(CORE, selectors::SWAPPED, data);
    }

    fn pay_tokens_in(&self, amounts: (u128, u128), transaction: &mut Transaction) {
        let user = transaction.sender;
        for (token, amount) in [(self.spec.token0, amounts.0), (self.spec.token1, amounts.1)] {
            if amount > 0 {
                transaction.transfer(token.address(), user, CORE, U256::from(amount));
            }
        }
    }

    fn pay_tokens_out(&self, amounts: (u128, u128), transaction: &mut Transaction) {
        let user = transaction.sender;
        for (token, amount) in [(self.spec.token0, amounts.0), (self.spec.token1, amounts.1)] {
            if amount > 0 {
                transaction.transfer(token.address(), CORE, user, U256::from(amount));
            }
        }
    }
}

/// The contract through which traders reach the core.
fn router() -> Felt {
    made_up("ekubo router", &[])
}

/// One step of a swap.
struct Step {
    paid: u128,
    received: u128,
    crossed: bool,
}
