//! JediSwap v1: a factory and pairs, a Cairo 0 port of Uniswap v2.
//!
//! Pairs are markets only where the registry lists them: the factory tells of others, but their events
//! are not watched. Layouts and selectors: `jediswaplabs/JediSwap` `contracts/Pair.cairo` and
//! `contracts/Factory.cairo` @15fa9f2.

use obsqra_types::{ContractAddress, Felt, U256};

use super::change::{Change, MarketChange, MarketRef};
use super::layout::{Layout, event_table};
use super::members::{Felts, Member};
use crate::{Registry, Role, WatchedContract};

event_table! {
    /// An event of JediSwap v1's factory or of one of its pairs.
    #[allow(non_snake_case, reason = "members keep the names they have in the contract's source")]
    JediSwapV1Event
    PairCreated "0x19437bf1c5c394fc8509a2e38c9c72c152df0bac8be777d4fc8f959ac817189" {
        token0: ContractAddress, token1: ContractAddress, pair: ContractAddress, total_pairs: Felt,
    }
    Sync "0xe14a408baf7f453312eec68e9b7d728ec5337fbdf671f917ee8c80f3255232" {
        reserve0: U256, reserve1: U256,
    }
    Swap "0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab" {
        sender: ContractAddress, amount0In: U256, amount1In: U256, amount0Out: U256,
        amount1Out: U256, to: ContractAddress,
    }
    Mint "0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16" {
        sender: ContractAddress, amount0: U256, amount1: U256,
    }
    Burn "0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744" {
        sender: ContractAddress, amount0: U256, amount1: U256, to: ContractAddress,
    }
    Transfer "0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9" {
        from_address: ContractAddress, to_address: ContractAddress, amount: U256,
    }
}

/// Whether a contract of that role emits an event of that name.
pub(super) fn emits(role: Role, name: &str) -> bool {
    match role {
        Role::Factory => name == "PairCreated",
        _ => name != "PairCreated",
    }
}

/// What the event changes.
pub(super) fn changes(
    registry: &Registry,
    emitter: &WatchedContract,
    event: &JediSwapV1Event,
) -> Vec<MarketChange> {
    let (address, change) = match event {
        JediSwapV1Event::PairCreated { pair, .. } => (pair, Change::Opened),
        JediSwapV1Event::Sync { reserve0, reserve1 } => {
            (&emitter.address, Change::Reserves { reserve0: *reserve0, reserve1: *reserve1 })
        }
        JediSwapV1Event::Swap { amount0In, amount1In, amount0Out, amount1Out, .. } => {
            let amount0 = amount0In.abs_diff(*amount0Out);
            let amount1 = amount1In.abs_diff(*amount1Out);
            (&emitter.address, Change::Traded { amount0, amount1 })
        }
        JediSwapV1Event::Mint { .. }
        | JediSwapV1Event::Burn { .. }
        | JediSwapV1Event::Transfer { .. } => (&emitter.address, Change::Named),
    };
    let listed = registry.contract(address).filter(|pair| pair.protocol == emitter.protocol);
    match listed.and_then(|pair| pair.pair) {
        Some(tokens) => vec![(MarketRef::Pair(*address, tokens), change)],
        None => Vec::new(),
    }
}
