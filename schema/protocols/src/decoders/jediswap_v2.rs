//! JediSwap v2: a factory and pools of concentrated liquidity, a port of Uniswap v3.
//!
//! The factory announces pools with their tokens, which are followed from that event on. Square roots of
//! prices have 96 fractional bits; a swap's amounts are the pool's, positive where it is paid. Layouts and
//! selectors: `jediswaplabs/JediSwap-v2-core` `src/jediswap_v2_pool.cairo` and
//! `src/libraries/signed_integers` @1329e71; upgrades and pauses: `src/jediswap_v2_factory.cairo`
//! @20e0bb9, `tests/test_pause_factory.cairo` @1329e71 and the ABI of the class
//! `0x38082dfcc9e1afd67eaabcb9b0cff0646237badf22a494bcfc72532c8fc2249` of mainnet's factory. Pools ask the
//! factory whether they are paused and have no such event of their own; that burns alone are paused is
//! told by none.
//!
//! The wallet of a swap is the member `recipient`; the sender is the counterparty. The wallet of a mint or
//! of a burn is the member `owner`, mostly the contract that manages positions. A burn is the withdrawal:
//! `Collect` pays out later what burns took from the position, with fees that it does not tell apart.

use obsqra_types::{ContractAddress, U256};

use super::activity::{Activity, ActivityKind, both, swap};
use super::change::{Change, MarketChange, MarketRef, SwapFees};
use super::layout::event_table;
use super::meaning::{Announced, EventMeaning};
use super::members::{I32, I129, I256, I257, Opaque};
use crate::{Contracts, Decoder, Role, TokenPair, WatchedContract};

event_table! {
    /// An event of JediSwap v2's factory or of one of its pools.
    #[allow(non_snake_case, reason = "members keep the names they have in the contract's source")]
    JediSwapV2Event
    PoolCreated "0x27dd458d081c22bd6e76f4dddbc87f11e477b7c5823b13f147d45f91ec098ee" {
        token0: ContractAddress, token1: ContractAddress, fee: u32, tick_spacing: u32,
        pool: ContractAddress,
    }
    Initialize "0x3610d518bd9955fd50fcf99bc6982c4052fe12b8fa569e7452e678a4c657d59" {
        sqrt_price_X96: U256, tick: I32,
    }
    Swap "0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab" {
        sender: ContractAddress, recipient: ContractAddress, amount0: I256, amount1: I256,
        sqrt_price_X96: U256, liquidity: u128, tick: I32,
    }
    Mint "0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16" {
        sender: ContractAddress, owner: ContractAddress, tick_lower: I32, tick_upper: I32,
        amount: u128, amount0: U256, amount1: U256,
    }
    Burn "0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744" {
        owner: ContractAddress, tick_lower: I32, tick_upper: I32, amount: u128, amount0: U256,
        amount1: U256,
    }
    Collect "0x33b678d8846a558f55fc9257950e74c1aac32ee4c836c3a620d1066cc8d493f" {
        owner: ContractAddress, recipient: ContractAddress, tick_lower: I32, tick_upper: I32,
        amount0: u128, amount1: u128,
    }
    CollectProtocol "0x31621aea90f7dc00f1fa64cb22a458d4ff8e8b9d9a46ddff252fa251e081feb" {
        sender: ContractAddress, recipient: ContractAddress, amount0: u128, amount1: u128,
    }
    Upgraded "0x2db340e6c609371026731f47050d3976552c89b4fbb012941663841c59d1af3" {
        class_hash: Opaque,
    }
    UpgradedPoolClassHash "0x2491f41b63758a2dcfdf53fc87a0ce05c7e4319b49cd29f1bcde073aaaa6ed7" {
        class_hash: Opaque,
    }
    Paused "0x2eb5248cf3d8cd81a5ba6d3cc6e1997df7b174eb894aac081867c1a2bc43c90" {
        account: ContractAddress,
    }
    Unpaused "0xece5baf71f670bcb771481fd7bd9efd6d6b8053246fe67b5a13db8bf5f50f1" {
        account: ContractAddress,
    }
}

impl EventMeaning for JediSwapV2Event {
    fn emits(role: Role, name: &str) -> bool {
        match name {
            "Upgraded" => true,
            "PoolCreated" | "UpgradedPoolClassHash" | "Paused" | "Unpaused" => {
                role == Role::PoolFactory
            }
            _ => role == Role::Pool,
        }
    }

    fn is_pool(role: Role) -> bool {
        role == Role::Pool
    }

    fn is_factory(role: Role) -> bool {
        role == Role::PoolFactory
    }

    fn child(&self, emitter: &WatchedContract) -> Option<WatchedContract> {
        let Self::PoolCreated { token0, token1, pool, .. } = *self else {
            return None;
        };
        let (decoder, role) = (Decoder::JediSwapV2, Role::Pool);
        let pair = Some(TokenPair { token0, token1 });
        Announced { address: pool, decoder, role, pair, asset: None }.by(emitter)
    }

    fn changes(&self, contracts: &Contracts, emitter: &WatchedContract) -> Vec<MarketChange> {
        let address = match self {
            Self::PoolCreated { pool, .. } => pool,
            _ => &emitter.address,
        };
        let known = contracts.get(address).filter(|pool| pool.protocol == emitter.protocol);
        let Some(tokens) = known.and_then(|pool| pool.pair) else {
            return Vec::new();
        };
        let pool = MarketRef::PoolContract(*address, tokens);
        changes(self).into_iter().map(|change| (pool, change)).collect()
    }

    fn activities(&self, emitter: &WatchedContract) -> Vec<Activity> {
        match *self {
            Self::Swap { sender, recipient, amount0, amount1, .. } => {
                let gained =
                    [amount0, amount1].map(|delta| (delta.magnitude(), delta.is_negative()));
                let swap = swap(recipient, emitter.pair, gained);
                swap.map(|swap| swap.with(sender)).into_iter().collect()
            }
            Self::Mint { owner, amount0, amount1, .. } => {
                both(ActivityKind::Deposit, owner, emitter.pair, [amount0, amount1])
            }
            Self::Burn { owner, amount0, amount1, .. } => {
                both(ActivityKind::Withdrawal, owner, emitter.pair, [amount0, amount1])
            }
            Self::PoolCreated { .. }
            | Self::Initialize { .. }
            | Self::Collect { .. }
            | Self::CollectProtocol { .. }
            | Self::Upgraded { .. }
            | Self::UpgradedPoolClassHash { .. }
            | Self::Paused { .. }
            | Self::Unpaused { .. } => Vec::new(),
        }
    }
}

/// What the event changes of its pool. The tokens that a burn frees stay in the pool until they are
/// collected.
fn changes(event: &JediSwapV2Event) -> Vec<Change> {
    match *event {
        JediSwapV2Event::PoolCreated { fee, .. } => {
            vec![Change::Opened, Change::SwapFee { millionths: fee }]
        }
        JediSwapV2Event::Initialize { sqrt_price_X96, tick } => {
            let started = |sqrt_ratio| Change::Started { sqrt_ratio, tick: tick.into() };
            sqrt_ratio(sqrt_price_X96).map(started).into_iter().collect()
        }
        JediSwapV2Event::Swap { amount0, amount1, sqrt_price_X96, liquidity, tick, .. } => {
            let moved = |sqrt_ratio| Change::Moved { sqrt_ratio, tick: tick.into(), liquidity };
            let moved = sqrt_ratio(sqrt_price_X96).map(moved);
            moved.map_or_else(Vec::new, |moved| swapped(moved, amount0, amount1))
        }
        JediSwapV2Event::Mint { tick_lower, tick_upper, amount, amount0, amount1, .. } => {
            let minted = I129::new(amount, false);
            let ranged = ranged(tick_lower, tick_upper, minted);
            let came = [amount0, amount1];
            vec![ranged, balances(came, Way::In), provided(came, Way::In)]
        }
        JediSwapV2Event::Burn { tick_lower, tick_upper, amount, amount0, amount1, .. } => {
            let ranged = ranged(tick_lower, tick_upper, I129::new(amount, true));
            vec![ranged, provided([amount0, amount1], Way::Out)]
        }
        JediSwapV2Event::Collect { amount0, amount1, .. }
        | JediSwapV2Event::CollectProtocol { amount0, amount1, .. } => {
            vec![balances([amount0, amount1].map(U256::from), Way::Out)]
        }
        JediSwapV2Event::Upgraded { .. }
        | JediSwapV2Event::UpgradedPoolClassHash { .. }
        | JediSwapV2Event::Paused { .. }
        | JediSwapV2Event::Unpaused { .. } => Vec::new(),
    }
}

/// The square root at 128 fractional bits. A contract's is below 2¹⁶⁰; an event that states one which
/// does not fit here is no event of a pool, and changes nothing.
fn sqrt_ratio(sqrt_price_x96: U256) -> Option<U256> {
    sqrt_price_x96.checked_shl(32)
}

fn swapped(moved: Change, amount0: I256, amount1: I256) -> Vec<Change> {
    let paid_in = |amount: I256| if amount.is_negative() { U256::ZERO } else { amount.magnitude() };
    let traded = Change::Traded {
        amount0: amount0.magnitude(),
        amount1: amount1.magnitude(),
        fees: SwapFees::OfPaidIn(paid_in(amount0), paid_in(amount1)),
    };
    vec![moved, Change::Balances { delta0: amount0.into(), delta1: amount1.into() }, traded]
}

fn ranged(lower: I32, upper: I32, liquidity: I129) -> Change {
    Change::Ranged { lower: lower.into(), upper: upper.into(), liquidity }
}

/// Whether tokens come into a pool or leave it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

fn balances(amounts: [U256; 2], way: Way) -> Change {
    let [delta0, delta1] = amounts.map(|amount| I257::new(amount, way == Way::Out));
    Change::Balances { delta0, delta1 }
}

fn provided(amounts: [U256; 2], way: Way) -> Change {
    let [delta0, delta1] = amounts.map(|amount| I257::new(amount, way == Way::Out));
    Change::Provided { delta0, delta1 }
}
