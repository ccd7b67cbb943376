//! Nostra Pools: pairs of constant product in the form of Uniswap v2.
//!
//! Amounts are in the token's smallest unit. How the factory announces a pair is not known, so the
//! registry lists the pairs. A pair is an ERC-20 token of its shares, in OpenZeppelin's Cairo 1 form.
//! Addresses: `DefiLlama` nostra-pools adapters and the pages of docs.nostra.finance as copied by public
//! analyses; layouts: events of mainnet, whose names follow from their selectors. No source shows whether
//! a pair can be upgraded or paused.
//!
//! The wallet of a swap or of a burn is the member `to`, which gets the tokens; the sender is the
//! counterparty. The wallet of a mint is its sender. Either is mostly a router.

use obsqra_types::{ContractAddress, U256};

use super::activity::{Activity, ActivityKind, Transfer, both, net, swap};
use super::change::{Change, MarketChange, MarketRef, SwapFees};
use super::jediswap_v1::{burnt, minted};
use super::layout::event_table;
use super::meaning::EventMeaning;
use crate::{Contracts, Role, WatchedContract};

event_table! {
    /// An event of one of Nostra's pairs.
    #[allow(non_snake_case, reason = "members keep the names they have in the contract's source")]
    NostraPoolsEvent
    Swap "0xe316f0d9d2a3affa97de1d99bb2aac0538e2666d0d8545545ead241ef0ccab" {
        sender: ContractAddress, amount0In: U256, amount1In: U256, amount0Out: U256,
        amount1Out: U256, to: ContractAddress,
    }
    Sync "0xe14a408baf7f453312eec68e9b7d728ec5337fbdf671f917ee8c80f3255232" {
        reserve0: U256, reserve1: U256,
    }
    PairMint "0x4da1c5aad76bc7515d0b2a3e1701f34bb32eef406856809bce5ba13f3151de" {
        sender: ContractAddress, amount0: U256, amount1: U256,
    }
    PairBurn "0x2b497518d83b236665380348d05287d4ff2e3bfde80c1487f31c8ddd34c9892" {
        sender: ContractAddress, amount0: U256, amount1: U256, to: ContractAddress,
    }
    Transfer "0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9" keys [2] {
        from: ContractAddress, to: ContractAddress, value: U256,
    }
    Approval "0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff" keys [2] {
        owner: ContractAddress, spender: ContractAddress, value: U256,
    }
}

impl EventMeaning for NostraPoolsEvent {
    fn is_pool(role: Role) -> bool {
        role == Role::Pair
    }

    fn changes(&self, _contracts: &Contracts, emitter: &WatchedContract) -> Vec<MarketChange> {
        let changes = match *self {
            Self::Sync { reserve0, reserve1 } => vec![Change::Reserves { reserve0, reserve1 }],
            Self::Swap { amount0In: in0, amount1In: in1, amount0Out, amount1Out, .. } => {
                let (out0, out1) = (amount0Out, amount1Out);
                let (amount0, amount1) = (in0.abs_diff(out0), in1.abs_diff(out1));
                // No source states the fee of these pools.
                let traded = Change::Traded { amount0, amount1, fees: SwapFees::Unknown };
                vec![traded, Change::Flowed { in0, in1, out0, out1 }]
            }
            Self::PairMint { amount0, amount1, .. } => minted(amount0, amount1),
            Self::PairBurn { amount0, amount1, .. } => burnt(amount0, amount1),
            Self::Transfer { .. } => vec![Change::Named],
            Self::Approval { .. } => return Vec::new(),
        };
        let Some(tokens) = emitter.pair else {
            return Vec::new();
        };
        let market = MarketRef::Pair(emitter.address, tokens);
        changes.into_iter().map(|change| (market, change)).collect()
    }

    fn activities(&self, emitter: &WatchedContract) -> Vec<Activity> {
        match *self {
            Self::Swap { sender, amount0In, amount1In, amount0Out, amount1Out, to } => {
                let gained = [net(amount0In, amount0Out), net(amount1In, amount1Out)];
                let swap = swap(to, emitter.pair, gained);
                swap.map(|swap| swap.with(sender)).into_iter().collect()
            }
            Self::PairMint { sender, amount0, amount1 } => {
                both(ActivityKind::Deposit, sender, emitter.pair, [amount0, amount1])
            }
            Self::PairBurn { amount0, amount1, to, .. } => {
                both(ActivityKind::Withdrawal, to, emitter.pair, [amount0, amount1])
            }
            Self::Sync { .. } | Self::Transfer { .. } | Self::Approval { .. } => Vec::new(),
        }
    }

    fn transfer(&self, emitter: &WatchedContract) -> Option<Transfer> {
        match *self {
            Self::Transfer { from, to, value } => {
                Some(Transfer { token: emitter.address, from, to, amount: value })
            }
            _ => None,
        }
    }
}
