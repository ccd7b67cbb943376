//! What a decoder says of its events beyond how they read.
//!
//! Everything but the layouts has a default, "none", so that a decoder states only what its protocol has.

use obsqra_types::ContractAddress;

use super::activity::{Activity, Transfer};
use super::change::MarketChange;
use crate::registry::PoolNames;
use crate::{Contracts, Decoder, Role, TokenPair, WatchedContract};

/// What the events of a decoder mean, and what its contracts are.
pub(crate) trait EventMeaning {
    /// Whether a contract of that role emits an event of that name.
    fn emits(_role: Role, _name: &str) -> bool {
        true
    }

    /// Whether a contract of that role is one pool of two tokens, which the registry must name.
    fn is_pool(_role: Role) -> bool {
        false
    }

    /// Whether a contract of that role is a token over an asset, which the registry may name.
    fn has_asset(_role: Role) -> bool {
        false
    }

    /// Where a contract holds many pools that anyone can open: how those are told apart in registry files.
    fn pool_names() -> Option<PoolNames> {
        None
    }

    /// Whether a contract of that role announces others of its protocol.
    fn is_factory(_role: Role) -> bool {
        false
    }

    /// The contract that the event announces; `None` when it announces none, or one that cannot be.
    fn child(&self, _emitter: &WatchedContract) -> Option<WatchedContract> {
        None
    }

    /// Whether the contract's next event, which stands directly after this one in the block, says the same
    /// and more: then this one changes nothing.
    fn is_restated(&self, _next: impl FnOnce() -> Option<Self>) -> bool
    where
        Self: Sized,
    {
        false
    }

    /// What the event changes, in order. The contract that it announces is known already.
    fn changes(&self, _contracts: &Contracts, _emitter: &WatchedContract) -> Vec<MarketChange> {
        Vec::new()
    }

    /// What wallets did, in order.
    fn activities(&self, _emitter: &WatchedContract) -> Vec<Activity> {
        Vec::new()
    }

    /// The transfer of the emitting token that the event is.
    fn transfer(&self, _emitter: &WatchedContract) -> Option<Transfer> {
        None
    }
}

/// A contract that its factory announced.
#[derive(Clone, Copy)]
pub(super) struct Announced {
    pub(super) address: ContractAddress,
    pub(super) decoder: Decoder,
    pub(super) role: Role,
    pub(super) pair: Option<TokenPair>,
    pub(super) asset: Option<ContractAddress>,
}

impl Announced {
    /// The contract, of the emitter's protocol. No contract has the address zero, and a pool's tokens
    /// stand in the order of their addresses; an event that says otherwise is malformed.
    pub(super) fn by(self, emitter: &WatchedContract) -> Option<WatchedContract> {
        let Self { address, decoder, role, pair, asset } = self;
        let zero = [0; 32];
        let bytes = |address: ContractAddress| address.0.to_bytes_be();
        let in_order =
            |pair: TokenPair| bytes(pair.token0) != zero && bytes(pair.token0) < bytes(pair.token1);
        let possible = bytes(address) != zero
            && pair.is_none_or(in_order)
            && asset.is_none_or(|asset| bytes(asset) != zero);
        let protocol = emitter.protocol.clone();
        possible.then_some(WatchedContract { address, protocol, decoder, role, pair, asset })
    }
}
