//! JediSwap v1 pairs: constant product with a fee of 0.3 % of what goes in.
//!
//! Events come in the contract's order: a mint is transfers, LP transfer, `Sync`, `Mint`; a swap is
//! transfers, `Sync`, `Swap`; a burn is LP transfers, transfers, `Sync`, `Burn`.

use ruint::aliases::{U256, U512};
use starknet_types_core::felt::Felt;

use super::emit::Transaction;
use super::math::{mul_div, pow10, sqrt, to_u128};
use super::positions::{Delta, signed};
use super::selectors;
use super::tokens::Token;
use crate::chain::felts::u256;

/// The factory of the seeded chain.
pub(super) const FACTORY: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f6a656469737761705f666163746f7279");

/// LP units the first mint locks for good.
const MINIMUM_LIQUIDITY: u128 = 1_000;

/// What the model fixes about a pair.
#[derive(Debug, Clone, Copy)]
pub(super) struct PairSpec {
    pub(super) address: Felt,
    pub(super) token0: Token,
    pub(super) token1: Token,
    /// Value of the first mint in whole USDC, both sides together.
    pub(super) initial_usdc: u64,
}

/// The pairs, in the order of their creation.
pub(super) const PAIRS: [PairSpec; 2] = [
    PairSpec {
        address: Felt::from_hex_unchecked("0x6f62737172615f6465765f6a6564695f6574685f75736463"),
        token0: Token::Eth,
        token1: Token::Usdc,
        initial_usdc: 690_000,
    },
    PairSpec {
        address: Felt::from_hex_unchecked("0x6f62737172615f6465765f6a6564695f7374726b5f75736463"),
        token0: Token::Strk,
        token1: Token::Usdc,
        initial_usdc: 320_000,
    },
];

/// A pair's state.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) spec: PairSpec,
    pub(super) reserve0: u128,
    pub(super) reserve1: u128,
    /// What mints brought and burns took over the pair's whole life.
    pub(super) provided: Delta,
    total_supply: u128,
}

/// A side of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Token0,
    Token1,
}

impl Pair {
    /// Creates a pair and makes its first mint.
    pub(super) fn create(
        spec: PairSpec,
        total_pairs: u64,
        amounts: (u128, u128),
        transaction: &mut Transaction,
    ) -> Self {
        transaction.emit(
            FACTORY,
            selectors::PAIR_CREATED,
            vec![
                spec.token0.address(),
                spec.token1.address(),
                spec.address,
                Felt::from(total_pairs),
            ],
        );
        let mut pair =
            Self { spec, reserve0: 0, reserve1: 0, provided: Delta::default(), total_supply: 0 };
        let product = U512::from(amounts.0) * U512::from(amounts.1);
        let minted: u128 = sqrt(product).saturating_to();
        pair.total_supply = MINIMUM_LIQUIDITY;
        pair.mint_lp(amounts, minted.saturating_sub(MINIMUM_LIQUIDITY), transaction);
        pair
    }

    /// Adds liquidity in proportion to the reserves, bounded by `amount1` of `token1`.
    pub(super) fn add(&mut self, amount1: u128, transaction: &mut Transaction) {
        let share = |of: u128| {
            to_u128(mul_div(U256::from(of), U256::from(amount1), U256::from(self.reserve1)))
        };
        let (amount0, minted) = (share(self.reserve0), share(self.total_supply));
        if amount0 > 0 && minted > 0 {
            self.mint_lp((amount0, amount1), minted, transaction);
        }
    }

    fn mint_lp(&mut self, amounts: (u128, u128), minted: u128, transaction: &mut Transaction) {
        let (pair, user) = (self.spec.address, transaction.sender);
        transaction.transfer(self.spec.token0.address(), user, pair, U256::from(amounts.0));
        transaction.transfer(self.spec.token1.address(), user, pair, U256::from(amounts.1));
        transaction.transfer(pair, Felt::ZERO, user, U256::from(minted));
        self.reserve0 += amounts.0;
        self.reserve1 += amounts.1;
        self.provided.amount0 += signed(amounts.0);
        self.provided.amount1 += signed(amounts.1);
        self.total_supply += minted;
        self.sync(transaction);
        let mut data = vec![user];
        data.extend(u256(U256::from(amounts.0)));
        data.extend(u256(U256::from(amounts.1)));
        transaction.emit(pair, selectors::MINT, data);
    }

    /// Removes a share of all liquidity, in parts in ten thousand.
    pub(super) fn remove(&mut self, share_bps: u64, transaction: &mut Transaction) {
        let burned = self.total_supply / 10_000 * u128::from(share_bps);
        let part = |of: u128| {
            to_u128(mul_div(U256::from(of), U256::from(burned), U256::from(self.total_supply)))
        };
        let (amount0, amount1) = (part(self.reserve0), part(self.reserve1));
        if amount0 == 0 || amount1 == 0 {
            return;
        }
        let (pair, user) = (self.spec.address, transaction.sender);
        transaction.transfer(pair, user, pair, U256::from(burned));
        transaction.transfer(pair, pair, Felt::ZERO, U256::from(burned));
        transaction.transfer(self.spec.token0.address(), pair, user, U256::from(amount0));
        transaction.transfer(self.spec.token1.address(), pair, user, U256::from(amount1));
        self.total_supply -= burned;
        self.reserve0 -= amount0;
        self.reserve1 -= amount1;
        self.provided.amount0 -= signed(amount0);
        self.provided.amount1 -= signed(amount1);
        self.sync(transaction);
        let mut data = vec![user];
        data.extend(u256(U256::from(amount0)));
        data.extend(u256(U256::from(amount1)));
        data.push(user);
        transaction.emit(pair, selectors::BURN, data);
    }

    /// Swaps an amount in; `None` if nothing would come out. Positive is paid in.
    pub(super) fn swap(
        &mut self,
        side: Side,
        amount_in: u128,
        transaction: &mut Transaction,
    ) -> Option<Delta> {
        let (reserve_in, reserve_out) = match side {
            Side::Token0 => (self.reserve0, self.reserve1),
            Side::Token1 => (self.reserve1, self.reserve0),
        };
        let with_fee = U256::from(amount_in) * U256::from(997);
        let divisor = U256::from(reserve_in) * U256::from(1_000) + with_fee;
        let amount_out = to_u128(mul_div(with_fee, U256::from(reserve_out), divisor));
        if amount_out == 0 || amount_out >= reserve_out {
            return None;
        }
        let (pair, user) = (self.spec.address, transaction.sender);
        let (token0, token1) = (self.spec.token0.address(), self.spec.token1.address());
        let zero = u256(U256::ZERO);
        let (in_felts, out_felts) = (u256(U256::from(amount_in)), u256(U256::from(amount_out)));
        let mut data = vec![user];
        let delta = match side {
            Side::Token0 => {
                transaction.transfer(token0, user, pair, U256::from(amount_in));
                transaction.transfer(token1, pair, user, U256::from(amount_out));
                self.reserve0 += amount_in;
                self.reserve1 -= amount_out;
                data.extend([in_felts, zero, zero, out_felts].concat());
                Delta { amount0: signed(amount_in), amount1: -signed(amount_out) }
            }
            Side::Token1 => {
                transaction.transfer(token1, user, pair, U256::from(amount_in));
                transaction.transfer(token0, pair, user, U256::from(amount_out));
                self.reserve1 += amount_in;
                self.reserve0 -= amount_out;
                data.extend([zero, in_felts, out_felts, zero].concat());
                Delta { amount0: -signed(amount_out), amount1: signed(amount_in) }
            }
        };
        self.sync(transaction);
        data.push(user);
        transaction.emit(pair, selectors::SWAP, data);
        Some(delta)
    }

    /// The swap that brings the pair to a price, if it is off by more than the fee makes worthwhile.
    pub(super) fn arbitrage(&self, price0: u128, price1: u128) -> Option<(Side, u128)> {
        // At the target, reserve0 = √(k · unit price of token1 / unit price of token0).
        let k = U512::from(self.reserve0) * U512::from(self.reserve1);
        let unit0 = U512::from(price0) * U512::from(pow10(self.spec.token1.decimals()));
        let unit1 = U512::from(price1) * U512::from(pow10(self.spec.token0.decimals()));
        let target0: u128 = sqrt(k * unit1 / unit0).saturating_to();
        let target1: u128 = sqrt(k * unit0 / unit1).saturating_to();
        let worthwhile = |target: u128, reserve: u128| target > reserve + reserve / 250;
        let gross = |target: u128, reserve: u128| (target - reserve) / 997 * 1_000;
        if worthwhile(target0, self.reserve0) {
            Some((Side::Token0, gross(target0, self.reserve0)))
        } else if worthwhile(target1, self.reserve1) {
            Some((Side::Token1, gross(target1, self.reserve1)))
        } else {
            None
        }
    }

    fn sync(&self, transaction: &mut Transaction) {
        let [a, b] = u256(U256::from(self.reserve0));
        let [c, d] = u256(U256::from(self.reserve1));
        transaction.emit(self.spec.address, selectors::SYNC, vec![a, b, c, d]);
    }
}
