//! JediSwap v2: a factory and pools of concentrated liquidity, a port of Uniswap v3.
//!
//! The factory announces pools with their tokens, which are followed from that event on. Square roots of
//! prices have 96 fractional bits; a swap's amounts are the pool's, positive where it is paid. Layouts and
//! selectors: `jediswaplabs/JediSwap-v2-core` `src/jediswap_v2_pool.cairo` and
//! `src/jediswap_v2_factory.cairo` @1329e71.
//!
//! The wallet of a swap is the member `recipient`; the sender is the counterparty. The wallet of a mint or
//! of a burn is the member `owner`, mostly the contract that manages positions. A burn is the withdrawal:
//! `Collect` pays out later what burns took from the position, with fees that it does not tell apart.

use obsqra_types::{ContractAddress, U256};

use super::activity::{Activity, ActivityKind, both, swap};
use super::layout::event_table;
use super::meaning::{Announced, EventMeaning};
use super::members::{I32, I256};
use crate::{Decoder, Role, TokenPair, WatchedContract};

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
}

impl EventMeaning for JediSwapV2Event {
    fn emits(role: Role, name: &str) -> bool {
        (role == Role::PoolFactory) == (name == "PoolCreated")
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
            | Self::CollectProtocol { .. } => Vec::new(),
        }
    }
}
