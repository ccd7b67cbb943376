//! ERC-20 tokens, followed for what moves between accounts.
//!
//! Tokens make no market. Older contracts write all members into the data; OpenZeppelin's Cairo 1
//! component writes the accounts into the keys, and one address changes from one form to the other with an
//! upgrade. Amounts are in the token's smallest unit. Layouts: `OpenZeppelin/cairo-contracts`
//! `src/token/erc20`, and the StarkGate tokens' events on mainnet.

use obsqra_types::{ContractAddress, U256};

use super::activity::Transfer;
use super::layout::event_table;
use super::meaning::EventMeaning;
use crate::WatchedContract;

event_table! {
    /// An event of an ERC-20 token.
    Erc20Event
    Transfer "0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9" keys [0, 2] {
        from: ContractAddress, to: ContractAddress, value: U256,
    }
    Approval "0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff" keys [0, 2] {
        owner: ContractAddress, spender: ContractAddress, value: U256,
    }
}

impl EventMeaning for Erc20Event {
    fn transfer(&self, emitter: &WatchedContract) -> Option<Transfer> {
        match *self {
            Self::Transfer { from, to, value } => {
                Some(Transfer { token: emitter.address, from, to, amount: value })
            }
            Self::Approval { .. } => None,
        }
    }
}
