//! Vesu v1: one singleton that holds every pool; a pool is an id.
//!
//! Shares, nominal debt, prices, rates and ratios have 18 decimals; a `reserve` and the deltas of a
//! position are in the asset's smallest unit. Layouts and selectors: `vesuxyz/vesu-v1`
//! `src/singleton.cairo` and `src/data_model.cairo` @da3db70. `ContractUpgraded` is of the newer singleton
//! alone: `src/singleton_v2.cairo` @088b9ba. No singleton can be paused; pools are shut down by their
//! extensions, which are not watched. The wallet of an activity is the member `user`, whose position it
//! is; the counterparty of a liquidation is `liquidator`.

use obsqra_types::{ContractAddress, Felt, U256};

use super::activity::{Activity, ActivityKind, Signed, liquidation, moved};
use super::change::{Change, MarketChange, MarketRef, Statement};
use super::layout::{event_table, member_struct};
use super::meaning::EventMeaning;
use super::members::{I257, Opaque};
use crate::registry::PoolNames;
use crate::{Contracts, WatchedContract};

member_struct! {
    /// What a pool holds of an asset, and how it lends it.
    AssetConfigV1 {
        total_collateral_shares: U256, total_nominal_debt: U256, reserve: U256,
        max_utilization: U256, floor: U256, scale: U256, is_legacy: bool, last_updated: u64,
        last_rate_accumulator: U256, last_full_utilization_rate: U256, fee_rate: U256,
    }
}

member_struct! {
    /// An asset's price, and whether the oracle vouches for it.
    AssetPrice { value: U256, is_valid: bool }
}

event_table! {
    /// An event of Vesu v1's singleton.
    VesuV1Event
    UpdateContext "0xe623beb06d0cfbe7f7877cf06290a77c803ca8fde4b54a68b241607c7cc8cc" keys [3] {
        pool_id: Opaque, collateral_asset: ContractAddress, debt_asset: ContractAddress,
        collateral_asset_config: Box<AssetConfigV1>, debt_asset_config: Box<AssetConfigV1>,
        collateral_asset_price: AssetPrice, debt_asset_price: AssetPrice,
    }
    ModifyPosition "0x3dfe6670b0f4e60f951b8a326e7467613b2470d81881ba2deb540262824f1e" keys [4] {
        pool_id: Opaque, collateral_asset: ContractAddress, debt_asset: ContractAddress,
        user: ContractAddress, collateral_delta: I257, collateral_shares_delta: I257,
        debt_delta: I257, nominal_debt_delta: I257,
    }
    LiquidatePosition "0x3731bef77d4371d61d696ce475c60d128c4e2c7bba44336635a540d6b180e88" keys [5] {
        pool_id: Opaque, collateral_asset: ContractAddress, debt_asset: ContractAddress,
        user: ContractAddress, liquidator: ContractAddress, collateral_delta: I257,
        collateral_shares_delta: I257, debt_delta: I257, nominal_debt_delta: I257, bad_debt: U256,
    }
    AccrueFees "0x168a96b2b8000dea531d578d4c9a708ac6fb469d296f4390e0e700314e894a" keys [3] {
        pool_id: Opaque, asset: ContractAddress, recipient: ContractAddress, fee_shares: U256,
    }
    Flashloan "0x267e8c8e96d8a671054088a8f3384b170ad05e094bb0dba52f6570afc0362a7" keys [3] {
        sender: ContractAddress, receiver: ContractAddress, asset: ContractAddress, amount: U256,
    }
    CreatePool "0x1c92936ee86444fa9ee6b4ff49b7b0ce0bc65c0b8b366bfed2b69dd0a825db4" keys [3] {
        pool_id: Opaque, extension: ContractAddress, creator: ContractAddress,
    }
    Donate "0x3c99932a72ac4bc85548c14ba8587069bc7689b932fe1fff9190646ef6f7ffc" keys [2] {
        pool_id: Opaque, asset: ContractAddress, amount: U256,
    }
    SetAssetParameter "0x253651b643e033039457bf381c6a55ea46aec1d03edbe0ee126dae32b7ee435" keys [3] {
        pool_id: Opaque, asset: ContractAddress, parameter: Opaque, value: U256,
    }
    ContractUpgraded "0x8248d60b6c95dac1563fa392e8dfc0cb968be73d80faedfe9a90e66811b45f" {
        new_implementation: Opaque,
    }
}

impl EventMeaning for VesuV1Event {
    fn pool_names() -> Option<PoolNames> {
        Some(PoolNames::Numbers)
    }

    /// Two singletons are known and each numbers its own pools, so that a market is named by both.
    fn changes(&self, _contracts: &Contracts, emitter: &WatchedContract) -> Vec<MarketChange> {
        let Self::UpdateContext {
            pool_id,
            collateral_asset,
            debt_asset,
            collateral_asset_config,
            debt_asset_config,
            collateral_asset_price,
            debt_asset_price,
        } = self
        else {
            return Vec::new();
        };
        let market = |asset| {
            let (contract, pool) = (emitter.address, Some(pool_id.0));
            MarketRef::PoolReserve { contract, pool, asset }
        };
        let collateral = (*collateral_asset, collateral_asset_config.lent(collateral_asset_price));
        let debt = (*debt_asset, debt_asset_config.lent(debt_asset_price));
        stated(market, [collateral, debt])
    }

    fn activities(&self, _emitter: &WatchedContract) -> Vec<Activity> {
        match *self {
            Self::ModifyPosition {
                collateral_asset,
                debt_asset,
                user,
                collateral_delta,
                debt_delta,
                ..
            } => modified(user, (collateral_asset, collateral_delta), (debt_asset, debt_delta)),
            Self::LiquidatePosition {
                collateral_asset,
                debt_asset,
                user,
                liquidator,
                collateral_delta,
                debt_delta,
                ..
            } => {
                let (collateral, debt) =
                    ((collateral_asset, collateral_delta), (debt_asset, debt_delta));
                liquidated([user, liquidator], collateral, debt).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }
}

impl AssetConfigV1 {
    fn lent(&self, price: &AssetPrice) -> Lent {
        Lent {
            reserve: self.reserve,
            nominal_debt: self.total_nominal_debt,
            rate_accumulator: self.last_rate_accumulator,
            scale: self.scale,
            fee_rate: self.fee_rate,
            last_updated: self.last_updated,
            price: *price,
        }
    }
}

/// What both versions state of an asset in a pool, as the event has it.
pub(super) struct Lent {
    pub(super) reserve: U256,
    pub(super) nominal_debt: U256,
    pub(super) rate_accumulator: U256,
    pub(super) scale: U256,
    pub(super) fee_rate: U256,
    pub(super) last_updated: u64,
    pub(super) price: AssetPrice,
}

impl Lent {
    /// `None` where an accumulator or a factor is beyond any that the contract can have.
    fn statement(self) -> Option<Change> {
        let ray = |value: U256| value.checked_mul(U256::from(1_000_000_000u64));
        Some(Change::Stated(Statement {
            available: self.reserve,
            nominal_debt: self.nominal_debt,
            debt_accumulator: ray(self.rate_accumulator)?,
            unit: self.scale,
            fee_rate: ray(self.fee_rate)?,
            at: self.last_updated,
            oracle_price: self.price.is_valid.then_some(self.price.value),
        }))
    }
}

/// What an `UpdateContext` states of its assets. A position without debt names the address zero, which
/// is no asset.
pub(super) fn stated(
    market: impl Fn(ContractAddress) -> MarketRef,
    assets: [(ContractAddress, Lent); 2],
) -> Vec<MarketChange> {
    let named = assets.into_iter().filter(|(asset, _)| asset.0 != Felt::ZERO);
    named.filter_map(|(asset, lent)| Some((market(asset), lent.statement()?))).collect()
}

fn signed(delta: I257) -> Signed {
    (delta.magnitude(), delta.is_negative())
}

/// What a position's owner did with its collateral and with its debt.
pub(super) fn modified(
    user: ContractAddress,
    (collateral_asset, collateral): (ContractAddress, I257),
    (debt_asset, debt): (ContractAddress, I257),
) -> Vec<Activity> {
    let supply = [ActivityKind::Deposit, ActivityKind::Withdrawal];
    let loan = [ActivityKind::Borrow, ActivityKind::Repay];
    let collateral = moved(supply, user, collateral_asset, signed(collateral));
    let debt = moved(loan, user, debt_asset, signed(debt));
    collateral.into_iter().chain(debt).collect()
}

/// A liquidation lowers both sides of a position; what raises one is none.
pub(super) fn liquidated(
    accounts: [ContractAddress; 2],
    (collateral_asset, collateral): (ContractAddress, I257),
    (debt_asset, debt): (ContractAddress, I257),
) -> Option<Activity> {
    let lowers = |delta: I257| delta.is_negative() || delta.is_zero();
    (lowers(collateral) && lowers(debt)).then(|| {
        let debt = (debt_asset, debt.magnitude());
        liquidation(accounts, debt, (collateral_asset, collateral.magnitude()))
    })
}
