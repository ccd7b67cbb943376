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
    let (address, changed) = match event {
        JediSwapV1Event::PairCreated { pair, .. } => (pair, vec![Change::Opened]),
        JediSwapV1Event::Sync { reserve0, reserve1 } => {
            let (reserve0, reserve1) = (*reserve0, *reserve1);
            (&emitter.address, vec![Change::Reserves { reserve0, reserve1 }])
        }
        JediSwapV1Event::Swap { amount0In, amount1In, amount0Out, amount1Out, .. } => {
            let swapped = swap(*amount0In, *amount1In, *amount0Out, *amount1Out);
            (&emitter.address, swapped)
        }
        JediSwapV1Event::Mint { amount0, amount1, .. } => {
            let (in0, in1) = (*amount0, *amount1);
            let minted = Change::Flowed { in0, in1, out0: U256::ZERO, out1: U256::ZERO };
            (&emitter.address, vec![minted])
        }
        JediSwapV1Event::Burn { amount0, amount1, .. } => {
            let (out0, out1) = (*amount0, *amount1);
            let burnt = Change::Flowed { in0: U256::ZERO, in1: U256::ZERO, out0, out1 };
            (&emitter.address, vec![burnt])
        }
        JediSwapV1Event::Transfer { .. } => (&emitter.address, vec![Change::Named]),
    };
    let listed = registry.contract(address).filter(|pair| pair.protocol == emitter.protocol);
    match listed.and_then(|pair| pair.pair) {
        Some(tokens) => {
            let pair = MarketRef::Pair(*address, tokens);
            changed.into_iter().map(|change| (pair, change)).collect()
        }
        None => Vec::new(),
    }
}

fn swap(in0: U256, in1: U256, out0: U256, out1: U256) -> Vec<Change> {
    let traded = Change::Traded {
        amount0: in0.abs_diff(out0),
        amount1: in1.abs_diff(out1),
        fee0: fee_on(in0),
        fee1: fee_on(in1),
    };
    vec![traded, Change::Flowed { in0, in1, out0, out1 }]
}

/// `ceil(amount · 3 / 1000)`, in two parts so that nothing wraps.
fn fee_on(amount: U256) -> U256 {
    let (per_mille, whole) = (U256::from(3u8), U256::from(1_000u16));
    let rest = (amount % whole) * per_mille;
    amount / whole * per_mille + (rest + whole - U256::from(1u8)) / whole
}
