//! Collects the events of a block's transactions in the order the contracts would emit them.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::selectors;
use super::tokens::Token;
use crate::chain::block::{Event, TransactionDraft};
use crate::chain::felts::{made_up, u256};
use crate::chain::seal::SEQUENCER_ADDRESS;

/// Accounts that act on the seeded chain.
const ACCOUNTS: u64 = 64;

/// The address of an actor.
pub(super) fn account(index: u64) -> Felt {
    made_up("seeded account", &[&(index % ACCOUNTS).to_be_bytes()])
}

/// One transaction under construction.
#[derive(Debug)]
pub(super) struct Transaction {
    pub(super) sender: Felt,
    events: Vec<Event>,
}

impl Transaction {
    pub(super) fn from(sender: Felt) -> Self {
        Self { sender, events: Vec::new() }
    }

    /// An event with one key.
    pub(super) fn emit(&mut self, from_address: Felt, selector: Felt, data: Vec<Felt>) {
        self.events.push(Event { from_address, keys: vec![selector], data });
    }

    /// An event with members in its keys.
    pub(super) fn emit_keyed(&mut self, from_address: Felt, keys: Vec<Felt>, data: Vec<Felt>) {
        self.events.push(Event { from_address, keys, data });
    }

    /// A transfer as the older token contracts write it: everything in the data.
    pub(super) fn transfer(&mut self, token: Felt, from: Felt, to: Felt, amount: U256) {
        let [low, high] = u256(amount);
        self.emit(token, selectors::TRANSFER, vec![from, to, low, high]);
    }

    /// A transfer as newer token contracts write it: both parties in the keys.
    pub(super) fn keyed_transfer(&mut self, token: Felt, from: Felt, to: Felt, amount: U256) {
        self.events.push(Event {
            from_address: token,
            keys: vec![selectors::TRANSFER, from, to],
            data: u256(amount).to_vec(),
        });
    }

    pub(super) fn event_count(&self) -> usize {
        self.events.len()
    }

    /// Ends with the transfer of the fee, as every real transaction does.
    pub(super) fn finish(mut self) -> TransactionDraft {
        let fee = 1_000_000_000_000_000_u128
            + u128::from(self.sender.to_be_digits()[3] % 1_000_000_000_000);
        self.transfer(Token::Strk.address(), self.sender, SEQUENCER_ADDRESS, U256::from(fee));
        TransactionDraft { recorded_hash: None, sender: Some(self.sender), events: self.events }
    }
}
