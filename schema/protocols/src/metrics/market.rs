//! A market: what it is for good, and its state at the end of a block.

use std::collections::BTreeMap;
use std::sync::Arc;

use obsqra_types::{ContractAddress, MarketId, ProtocolId, Seq, U256};
use rpds::RedBlackTreeMapSync;

use super::conservation::Faults;
use super::pool::Pool;
use super::reserve::Reserve;
use super::stated::StatedReserve;
use super::trades::UsdcSide;
use crate::decoders::{Change, MarketRef, MarketTokens};
use crate::fixed::pow10;
use crate::{Registry, TokenPair};

/// What does not change about a market.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Identity {
    pub(crate) protocol: ProtocolId,
    pub(crate) reference: MarketRef,
    pub(crate) id: MarketId,
    pub(crate) tokens: MarketTokens,
    /// The token that the market is about.
    pub(crate) asset: ContractAddress,
    /// Its symbol, or its address.
    pub(crate) asset_name: String,
    /// The first token that the registry does not list.
    pub(crate) unlisted: Option<ContractAddress>,
    /// Whether it gives prices and takes part in its protocol's inputs.
    pub(crate) counted: bool,
    /// For a counted pool with USDC on one side.
    pub(crate) usdc: Option<UsdcPool>,
}

/// A pool that can give a token's price.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct UsdcPool {
    pub(crate) token: ContractAddress,
    pub(crate) side: UsdcSide,
}

/// A market at the end of a block.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    pub(crate) identity: Arc<Identity>,
    /// Position of its newest state-setting event.
    pub(crate) state_seq: Option<Seq>,
    /// The greatest value locked at the end of a block so far.
    pub(crate) peak_tvl: U256,
    /// The conservation rules that do not hold.
    pub(crate) faults: Faults,
    pub(crate) body: Body,
}

/// A market's state.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Reserve(Box<Reserve>),
    /// Of a reserve that its events state in full.
    Stated(Box<StatedReserve>),
    Pool(Box<Pool>),
    /// A pool with an unlisted token: nothing is computed from it, so nothing is kept. Anyone can open
    /// such pools.
    Unlisted,
}

impl Identity {
    pub(crate) fn new(registry: &Registry, protocol: &ProtocolId, reference: MarketRef) -> Self {
        let tokens = reference.tokens();
        let usdc = registry.quote_token().address;
        let asset = match tokens {
            MarketTokens::Single(token) => token,
            MarketTokens::Pair(TokenPair { token0, token1 }) if token0 == usdc => token1,
            MarketTokens::Pair(TokenPair { token0, .. }) => token0,
        };
        let unlisted = tokens.each().find(|token| registry.token(token).is_none());
        let counted = unlisted.is_none() && registry.lists(protocol, &reference);
        Self {
            protocol: protocol.clone(),
            id: reference.id(),
            reference,
            tokens,
            asset,
            asset_name: registry.symbol_or_address(&asset),
            unlisted,
            counted,
            usdc: usdc_pool(registry, tokens).filter(|_| counted),
        }
    }
}

fn usdc_pool(registry: &Registry, tokens: MarketTokens) -> Option<UsdcPool> {
    let MarketTokens::Pair(TokenPair { token0, token1 }) = tokens else {
        return None;
    };
    let usdc = registry.quote_token();
    let usdc_is_token0 = token0 == usdc.address;
    if usdc_is_token0 == (token1 == usdc.address) {
        return None;
    }
    let token = registry.token(if usdc_is_token0 { &token1 } else { &token0 })?;
    // A quote token has 6 decimals, so that the exponent is at least 12.
    let exponent = (18 + u32::from(token.decimals)).saturating_sub(u32::from(usdc.decimals));
    let side = UsdcSide { usdc_is_token0, scale: pow10(exponent) };
    Some(UsdcPool { token: token.address, side })
}

impl Market {
    pub(crate) fn new(identity: Identity) -> Self {
        let body = match identity.tokens {
            MarketTokens::Single(_)
                if matches!(identity.reference, MarketRef::PoolReserve { .. }) =>
            {
                Body::Stated(Box::default())
            }
            MarketTokens::Single(_) => Body::Reserve(Box::new(Reserve::unseen())),
            MarketTokens::Pair(_) if identity.unlisted.is_some() => Body::Unlisted,
            MarketTokens::Pair(_) => Body::Pool(Box::new(Pool::unseen())),
        };
        Self {
            identity: Arc::new(identity),
            state_seq: None,
            peak_tvl: U256::ZERO,
            faults: Faults::default(),
            body,
        }
    }

    pub(crate) fn is_counted(&self) -> bool {
        self.identity.counted
    }

    pub(crate) fn apply(&mut self, change: &Change, seq: Seq, now: u64) {
        if change.sets_state() {
            self.state_seq = Some(seq);
        }
        match &mut self.body {
            Body::Reserve(reserve) => reserve.apply(change, now),
            Body::Stated(reserve) => reserve.apply(change, now),
            Body::Pool(pool) => {
                let side = self.identity.usdc.as_ref().map(|usdc| &usdc.side);
                pool.apply(change, now, side);
            }
            Body::Unlisted => {}
        }
    }

    /// The instant from which on [`Self::expire`] drops something.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        match &self.body {
            Body::Reserve(reserve) => reserve.book.as_ref()?.day.expires_at(),
            Body::Pool(pool) => pool.expires_at(),
            Body::Stated(reserve) => reserve.day.expires_at(),
            Body::Unlisted => None,
        }
    }

    /// Drops what is a day old or older.
    pub(crate) fn expire(&mut self, now: u64) {
        match &mut self.body {
            Body::Reserve(reserve) => {
                reserve.book.iter_mut().for_each(|book| book.day.expire(now));
            }
            Body::Pool(pool) => pool.expire(now),
            Body::Stated(reserve) => reserve.day.expire(now),
            Body::Unlisted => {}
        }
    }
}

/// Places of markets by protocol. The trees are persistent: a market that is opened does not copy the others
/// for whoever keeps a copy of the fold.
type Places<K> = BTreeMap<ProtocolId, RedBlackTreeMapSync<K, usize>>;

/// Where markets stand in the fold's list, by everything they are looked up by.
#[derive(Clone, Debug, Default)]
pub(crate) struct MarketIndex {
    by_reference: Places<MarketRef>,
    by_id: Places<MarketId>,
    /// Tracked markets, by each of their tokens.
    by_token: BTreeMap<ContractAddress, Vec<usize>>,
    /// Counted markets, by id.
    counted: Places<MarketId>,
    /// Counted pools of USDC and a token, by that token.
    usdc_pools: BTreeMap<ContractAddress, Vec<usize>>,
    /// Reserves, by the contract that keeps their shares.
    by_share_token: BTreeMap<ProtocolId, BTreeMap<ContractAddress, usize>>,
}

impl MarketIndex {
    pub(crate) fn insert(&mut self, place: usize, identity: &Identity) {
        let protocol = &identity.protocol;
        enter(&mut self.by_reference, protocol, identity.reference, place);
        enter(&mut self.by_id, protocol, identity.id.clone(), place);
        if identity.unlisted.is_some() {
            return;
        }
        if identity.counted {
            enter(&mut self.counted, protocol, identity.id.clone(), place);
        }
        for token in identity.tokens.each() {
            self.by_token.entry(token).or_default().push(place);
        }
        if let Some(usdc) = &identity.usdc {
            self.usdc_pools.entry(usdc.token).or_default().push(place);
        }
    }

    /// Remembers whose shares a contract keeps, and whose it kept before.
    pub(crate) fn keep_shares(
        &mut self,
        protocol: &ProtocolId,
        token: ContractAddress,
        place: usize,
    ) -> Option<usize> {
        let tokens = self.by_share_token.entry(protocol.clone()).or_default();
        tokens.retain(|_, other| *other != place);
        tokens.insert(token, place)
    }

    pub(crate) fn find(&self, protocol: &ProtocolId, reference: &MarketRef) -> Option<usize> {
        if let MarketRef::ShareToken(token) = reference {
            return self.by_share_token.get(protocol)?.get(token).copied();
        }
        self.by_reference.get(protocol)?.get(reference).copied()
    }

    /// Every market, by protocol and id.
    pub(crate) fn all(&self) -> impl Iterator<Item = usize> {
        self.by_id.values().flat_map(|markets| markets.values().copied())
    }

    /// A protocol's counted markets, by id.
    pub(crate) fn counted(&self, protocol: &ProtocolId) -> impl Iterator<Item = usize> {
        self.counted.get(protocol).into_iter().flat_map(|markets| markets.values().copied())
    }

    pub(crate) fn of_token(&self, token: &ContractAddress) -> &[usize] {
        self.by_token.get(token).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn usdc_pools(&self, token: &ContractAddress) -> &[usize] {
        self.usdc_pools.get(token).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn tokens_with_usdc_pools(&self) -> impl Iterator<Item = ContractAddress> {
        self.usdc_pools.keys().copied()
    }
}

fn enter<K: Ord>(places: &mut Places<K>, protocol: &ProtocolId, key: K, place: usize) {
    places.entry(protocol.clone()).or_default().insert_mut(key, place);
}
