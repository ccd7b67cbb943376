//! Ekubo: one core contract that holds every pool.
//!
//! A pool is its key. Sqrt ratios have 128 fractional bits; deltas are the core's, positive where it is
//! paid. Layouts and selectors: `EkuboProtocol/starknet-contracts` `src/core.cairo` @a5b2c7f;
//! `ProtocolFeesPaid` is of older versions; `ClassHashReplaced`, its upgrade, is of
//! `src/components/upgradeable.cairo` @05e3fb0. The core cannot be paused, and its turn to withdrawals
//! only (in older versions) is no event. The core alone is watched: the events of the TWAMM extension are
//! left out, since their layouts are not known whole, and so is the positions contract, whose one known
//! event names a referrer.
//!
//! The wallet of an activity is the member `locker`, mostly a router or the positions contract. Fees that
//! a position collects are no withdrawal.

use std::fmt;

use obsqra_types::{ContractAddress, U256};

use super::activity::{Activity, ActivityKind, Signed, moved, swap};
use super::change::{Change, MarketChange, MarketRef, SwapFees};
use super::layout::{event_table, member_struct};
use super::meaning::EventMeaning;
use super::members::{I129, I257, Opaque};
use crate::registry::PoolNames;
use crate::{Contracts, TokenPair, WatchedContract};

member_struct! {
    /// What names a pool.
    #[derive(PartialOrd, Ord)]
    PoolKey {
        token0: ContractAddress, token1: ContractAddress, fee: u128, tick_spacing: u128,
        extension: ContractAddress,
    }
}

member_struct! {
    /// A range of ticks, the lower one inclusive, the upper one exclusive.
    Bounds { lower: I129, upper: I129 }
}

member_struct! {
    /// How a position is changed.
    UpdatePositionParameters { salt: Opaque, bounds: Bounds, liquidity_delta: I129 }
}

member_struct! {
    /// What a swap asked for.
    SwapParameters { amount: I129, is_token1: bool, sqrt_ratio_limit: U256, skip_ahead: u128 }
}

member_struct! {
    /// What the core gained of each token.
    Delta { amount0: I129, amount1: I129 }
}

member_struct! {
    /// What names a position in a pool.
    PositionKey { salt: Opaque, owner: ContractAddress, bounds: Bounds }
}

member_struct! {
    /// What names a balance saved in the core.
    SavedBalanceKey { owner: ContractAddress, token: ContractAddress, salt: Opaque }
}

event_table! {
    /// An event of Ekubo's core.
    EkuboEvent
    Swapped "0x157717768aca88da4ac4279765f09f4d0151823d573537fbbeb950cdbd9a870" {
        locker: ContractAddress, pool_key: PoolKey, params: SwapParameters, delta: Delta,
        sqrt_ratio_after: U256, tick_after: I129, liquidity_after: u128,
    }
    PositionUpdated "0x3a7adca3546c213ce791fabf3b04090c163e419c808c9830fb343a4a395946e" {
        locker: ContractAddress, pool_key: PoolKey, params: UpdatePositionParameters, delta: Delta,
    }
    PoolInitialized "0x25ccf80ee62b2ca9b97c76ccea317c7f450fd6efb6ed6ea56da21d7bb9da5f1" {
        pool_key: PoolKey, initial_tick: I129, sqrt_ratio: U256,
    }
    PositionFeesCollected "0x96982abd597114bdaa4a60612f87fabfcc7206aa12d61c50e7ba1e6c291100" {
        pool_key: PoolKey, position_key: PositionKey, delta: Delta,
    }
    ProtocolFeesPaid "0x5dacf59794364ad1555bb3c9b2346afa81e57e5c19bb6bae0d22721c96c4e5" {
        pool_key: PoolKey, position_key: PositionKey, delta: Delta,
    }
    ProtocolFeesWithdrawn "0x291697c8230383d5c3cc8dc39443356a7da6b0735605fb0ee0f7bfbb7b824a" {
        recipient: ContractAddress, token: ContractAddress, amount: u128,
    }
    FeesAccumulated "0x237e5e0677822acfc9117ed0f7ba4810b2c6b539a2359e8d73f9025d56957aa" {
        pool_key: PoolKey, amount0: u128, amount1: u128,
    }
    SavedBalance "0x48796a25e5ceac9caf95a4618ebfd1516b51e5d994a49d28e22f09c64ad2ee" {
        key: SavedBalanceKey, amount: u128,
    }
    LoadedBalance "0x305c746d1cf87085ae1abfe05967daa50048146e50e03fa41f7e41a91ee323d" {
        key: SavedBalanceKey, amount: u128,
    }
    ClassHashReplaced "0x1ac7114b9b04815ad5e3276e0448424f500d073978ec07b97501a805e999fb0" {
        new_class_hash: Opaque,
    }
}

impl PoolKey {
    pub(crate) fn tokens(&self) -> TokenPair {
        TokenPair { token0: self.token0, token1: self.token1 }
    }
}

/// The members as minimal hex, `/` between them.
impl fmt::Display for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{:#x}/{:#x}/{}",
            self.token0, self.token1, self.fee, self.tick_spacing, self.extension
        )
    }
}

impl Delta {
    fn balances(&self) -> Change {
        Change::Balances { delta0: self.amount0.into(), delta1: self.amount1.into() }
    }

    fn provided(&self) -> Change {
        Change::Provided { delta0: self.amount0.into(), delta1: self.amount1.into() }
    }

    fn gained(&self) -> [Signed; 2] {
        [self.amount0, self.amount1]
            .map(|delta| (U256::from(delta.magnitude()), delta.is_negative()))
    }
}

impl EventMeaning for EkuboEvent {
    fn pool_names() -> Option<PoolNames> {
        Some(PoolNames::Keys)
    }

    fn changes(&self, _contracts: &Contracts, _emitter: &WatchedContract) -> Vec<MarketChange> {
        changes(self)
    }

    fn activities(&self, _emitter: &WatchedContract) -> Vec<Activity> {
        match self {
            Self::Swapped { locker, pool_key, delta, .. } => {
                swap(*locker, Some(pool_key.tokens()), delta.gained()).into_iter().collect()
            }
            Self::PositionUpdated { locker, pool_key, delta, .. } => {
                let kinds = [ActivityKind::Deposit, ActivityKind::Withdrawal];
                let tokens = [pool_key.token0, pool_key.token1].into_iter().zip(delta.gained());
                tokens.filter_map(|(token, gained)| moved(kinds, *locker, token, gained)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// `ceil(amount · fee / 2¹²⁸)` of what was paid in; nothing of what was paid out. Both factors are below
/// 2¹²⁸, so that nothing wraps.
fn fee_on(delta: I129, fee: u128) -> U256 {
    if delta.is_negative() {
        return U256::ZERO;
    }
    (U256::from(delta.magnitude()) * U256::from(fee) + U256::from(u128::MAX)) >> 128
}

/// What the event changes.
fn changes(event: &EkuboEvent) -> Vec<MarketChange> {
    let of = |key: &PoolKey, changes: &[Change]| -> Vec<MarketChange> {
        changes.iter().map(|change| (MarketRef::Pool(*key), *change)).collect()
    };
    match event {
        EkuboEvent::Swapped {
            pool_key,
            delta,
            sqrt_ratio_after,
            tick_after,
            liquidity_after,
            ..
        } => {
            let moved = Change::Moved {
                sqrt_ratio: *sqrt_ratio_after,
                tick: *tick_after,
                liquidity: *liquidity_after,
            };
            let traded = Change::Traded {
                amount0: U256::from(delta.amount0.magnitude()),
                amount1: U256::from(delta.amount1.magnitude()),
                fees: SwapFees::Fixed(
                    fee_on(delta.amount0, pool_key.fee),
                    fee_on(delta.amount1, pool_key.fee),
                ),
            };
            of(pool_key, &[moved, delta.balances(), traded])
        }
        EkuboEvent::PositionUpdated { pool_key, params, delta, .. } => {
            let Bounds { lower, upper } = params.bounds;
            let ranged = Change::Ranged { lower, upper, liquidity: params.liquidity_delta };
            of(pool_key, &[ranged, delta.balances(), delta.provided()])
        }
        EkuboEvent::PoolInitialized { pool_key, initial_tick, sqrt_ratio } => {
            let started = Change::Started { sqrt_ratio: *sqrt_ratio, tick: *initial_tick };
            of(pool_key, &[Change::Opened, started])
        }
        EkuboEvent::PositionFeesCollected { pool_key, delta, .. }
        | EkuboEvent::ProtocolFeesPaid { pool_key, delta, .. } => of(pool_key, &[delta.balances()]),
        EkuboEvent::FeesAccumulated { pool_key, amount0, amount1 } => {
            let [delta0, delta1] =
                [amount0, amount1].map(|amount| I257::new(U256::from(*amount), false));
            of(pool_key, &[Change::Balances { delta0, delta1 }])
        }
        EkuboEvent::ProtocolFeesWithdrawn { .. }
        | EkuboEvent::SavedBalance { .. }
        | EkuboEvent::LoadedBalance { .. }
        | EkuboEvent::ClassHashReplaced { .. } => Vec::new(),
    }
}
