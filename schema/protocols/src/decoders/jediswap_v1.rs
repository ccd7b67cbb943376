//! JediSwap v1: a factory and pairs, a Cairo 0 port of Uniswap v2.
//!
//! The factory announces pairs, which are followed from that event on. Amounts are in the token's smallest
//! unit. Layouts and selectors: `jediswaplabs/JediSwap` `contracts/Pair.cairo` and
//! `contracts/Factory.cairo` @15fa9f2. Both stand behind proxies, whose upgrade is that of
//! `OpenZeppelin/cairo-contracts` `src/openzeppelin/upgrades/library.cairo` @1dc7904; a proxy writes it
//! when it is deployed as well. The Cairo 1 contracts (`src/PairC1.cairo`, `src/FactoryC1.cairo` @10166d7)
//! replace their code without an event. None of them can be paused.
//!
//! The wallet of a swap or of a burn is the member `to`, which gets the tokens; the sender is the
//! counterparty of a swap. The wallet of a mint is its sender. Either is mostly a router.

use obsqra_types::{ContractAddress, Felt, U256};

use super::activity::{Activity, ActivityKind, Transfer, both, net, swap};
use super::change::{Change, MarketChange, MarketRef, SwapFees};
use super::layout::event_table;
use super::meaning::{Announced, EventMeaning};
use super::members::{I257, Opaque};
use crate::{Contracts, Decoder, Role, TokenPair, WatchedContract};

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
    Approval "0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff" {
        owner: ContractAddress, spender: ContractAddress, amount: U256,
    }
    Upgraded "0x2db340e6c609371026731f47050d3976552c89b4fbb012941663841c59d1af3" {
        implementation: Opaque,
    }
}

impl EventMeaning for JediSwapV1Event {
    fn emits(role: Role, name: &str) -> bool {
        name == "Upgraded" || (role == Role::Factory) == (name == "PairCreated")
    }

    fn is_pool(role: Role) -> bool {
        role == Role::Pair
    }

    fn is_factory(role: Role) -> bool {
        role == Role::Factory
    }

    fn child(&self, emitter: &WatchedContract) -> Option<WatchedContract> {
        let Self::PairCreated { token0, token1, pair, .. } = *self else {
            return None;
        };
        let (decoder, role) = (Decoder::JediSwapV1, Role::Pair);
        let tokens = Some(TokenPair { token0, token1 });
        Announced { address: pair, decoder, role, pair: tokens, asset: None }.by(emitter)
    }

    fn changes(&self, contracts: &Contracts, emitter: &WatchedContract) -> Vec<MarketChange> {
        changes(contracts, emitter, self)
    }

    fn activities(&self, emitter: &WatchedContract) -> Vec<Activity> {
        match *self {
            Self::Swap { sender, amount0In, amount1In, amount0Out, amount1Out, to } => {
                let gained = [net(amount0In, amount0Out), net(amount1In, amount1Out)];
                let swap = swap(to, emitter.pair, gained);
                swap.map(|swap| swap.with(sender)).into_iter().collect()
            }
            Self::Mint { sender, amount0, amount1 } => {
                both(ActivityKind::Deposit, sender, emitter.pair, [amount0, amount1])
            }
            Self::Burn { amount0, amount1, to, .. } => {
                both(ActivityKind::Withdrawal, to, emitter.pair, [amount0, amount1])
            }
            Self::PairCreated { .. }
            | Self::Sync { .. }
            | Self::Transfer { .. }
            | Self::Approval { .. }
            | Self::Upgraded { .. } => Vec::new(),
        }
    }

    fn transfer(&self, emitter: &WatchedContract) -> Option<Transfer> {
        match *self {
            Self::Transfer { from_address: from, to_address: to, amount } => {
                Some(Transfer { token: emitter.address, from, to, amount })
            }
            _ => None,
        }
    }
}

/// A pair is the market that its contract is known as, which for a pair that was just announced is the
/// announcement, unless the registry or an earlier one says otherwise.
fn changes(
    contracts: &Contracts,
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
            let changes = swapped(*amount0In, *amount1In, *amount0Out, *amount1Out);
            (&emitter.address, changes)
        }
        JediSwapV1Event::Mint { amount0, amount1, .. } => {
            (&emitter.address, minted(*amount0, *amount1))
        }
        JediSwapV1Event::Burn { amount0, amount1, .. } => {
            (&emitter.address, burnt(*amount0, *amount1))
        }
        JediSwapV1Event::Transfer { .. } => (&emitter.address, vec![Change::Named]),
        JediSwapV1Event::Approval { .. } | JediSwapV1Event::Upgraded { .. } => return Vec::new(),
    };
    let known = contracts.get(address).filter(|pair| pair.protocol == emitter.protocol);
    match known.and_then(|pair| pair.pair) {
        Some(tokens) => {
            let pair = MarketRef::Pair(*address, tokens);
            changed.into_iter().map(|change| (pair, change)).collect()
        }
        None => Vec::new(),
    }
}

/// Tokens that a provider put into a pair.
pub(super) fn minted(in0: U256, in1: U256) -> Vec<Change> {
    let flowed = Change::Flowed { in0, in1, out0: U256::ZERO, out1: U256::ZERO };
    let [delta0, delta1] = [in0, in1].map(|amount| I257::new(amount, false));
    vec![flowed, Change::Provided { delta0, delta1 }]
}

/// Tokens that a provider took out of a pair.
pub(super) fn burnt(out0: U256, out1: U256) -> Vec<Change> {
    let flowed = Change::Flowed { in0: U256::ZERO, in1: U256::ZERO, out0, out1 };
    let [delta0, delta1] = [out0, out1].map(|amount| I257::new(amount, true));
    vec![flowed, Change::Provided { delta0, delta1 }]
}

fn swapped(in0: U256, in1: U256, out0: U256, out1: U256) -> Vec<Change> {
    let traded = Change::Traded {
        amount0: in0.abs_diff(out0),
        amount1: in1.abs_diff(out1),
        fees: SwapFees::Fixed(fee_on(in0), fee_on(in1)),
    };
    vec![traded, Change::Flowed { in0, in1, out0, out1 }]
}

/// `ceil(amount · 3 / 1000)`, in two parts so that nothing wraps.
fn fee_on(amount: U256) -> U256 {
    let (per_mille, whole) = (U256::from(3u8), U256::from(1_000u16));
    let rest = (amount % whole) * per_mille;
    amount / whole * per_mille + (rest + whole - U256::from(1u8)) / whole
}
