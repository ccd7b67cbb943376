//! Vesu v2: a factory, and one contract for each pool.
//!
//! The factory announces pools, which are followed from that event on. Scales and the wallet of an
//! activity are those of version 1. Layouts and selectors: `vesuxyz/vesu-v2` `src/pool.cairo` and
//! `src/data_model.cairo` @d4b21c8; pauses and upgrades: `src/pool.cairo` @00bb65c,
//! `src/pool_factory.cairo` @0c540e7. A pool can be paused, the factory cannot.
//!
//! Of an asset's total shares two parts are no position's: what its addition to the pool burns, worth 2,000
//! of the asset's smallest units at first, and `fee_shares`, which are paid out in the asset.

use obsqra_types::{ContractAddress, U256};

use super::activity::Activity;
use super::change::{Change, MarketChange, MarketRef};
use super::layout::{event_table, member_struct};
use super::meaning::{Announced, EventMeaning};
use super::members::{I257, Opaque};
use super::vesu_v1::{AssetPrice, Lent, held, liquidated, modified, stated};
use crate::{Contracts, Decoder, Role, WatchedContract};

member_struct! {
    /// What a pool holds of an asset, and how it lends it.
    AssetConfigV2 {
        total_collateral_shares: U256, total_nominal_debt: U256, reserve: U256,
        max_utilization: U256, floor: U256, scale: U256, is_legacy: bool, last_updated: u64,
        last_rate_accumulator: U256, last_full_utilization_rate: U256, fee_rate: U256,
        fee_shares: U256,
    }
}

event_table! {
    /// An event of Vesu v2's factory or of one of its pools.
    VesuV2Event
    UpdateContext "0xe623beb06d0cfbe7f7877cf06290a77c803ca8fde4b54a68b241607c7cc8cc" keys [2] {
        collateral_asset: ContractAddress, debt_asset: ContractAddress,
        collateral_asset_config: Box<AssetConfigV2>, debt_asset_config: Box<AssetConfigV2>,
        collateral_asset_price: AssetPrice, debt_asset_price: AssetPrice,
    }
    ModifyPosition "0x3dfe6670b0f4e60f951b8a326e7467613b2470d81881ba2deb540262824f1e" keys [3] {
        collateral_asset: ContractAddress, debt_asset: ContractAddress, user: ContractAddress,
        collateral_delta: I257, collateral_shares_delta: I257, debt_delta: I257,
        nominal_debt_delta: I257,
    }
    LiquidatePosition "0x3731bef77d4371d61d696ce475c60d128c4e2c7bba44336635a540d6b180e88" keys [4] {
        collateral_asset: ContractAddress, debt_asset: ContractAddress, user: ContractAddress,
        liquidator: ContractAddress, collateral_delta: I257, collateral_shares_delta: I257,
        debt_delta: I257, nominal_debt_delta: I257, bad_debt: U256,
    }
    CreatePool "0x1c92936ee86444fa9ee6b4ff49b7b0ce0bc65c0b8b366bfed2b69dd0a825db4" keys [5] {
        pool: ContractAddress, name: Opaque, owner: ContractAddress, curator: ContractAddress,
        oracle: ContractAddress,
    }
    AddAsset "0x123cef9c4ff7f2e4efc9dfd68463c134bc3e2c632d014c1d55353f0ba8c646f" keys [2] {
        pool: ContractAddress, asset: ContractAddress,
    }
    ContractUpgraded "0x8248d60b6c95dac1563fa392e8dfc0cb968be73d80faedfe9a90e66811b45f" {
        new_implementation: Opaque,
    }
    ContractPaused "0x1770e1281bc86bfec2aa585915ef87dd4e92145f6e35d3fd6e33d2a44e826a" {
        account: ContractAddress,
    }
    ContractUnpaused "0x3ecc0e0f750e15c945d506f9970b36fa42966142847173dee817518c0d71f7e" {
        account: ContractAddress,
    }
}

impl EventMeaning for VesuV2Event {
    fn emits(role: Role, name: &str) -> bool {
        match name {
            "ContractUpgraded" => true,
            "CreatePool" | "AddAsset" => role == Role::PoolFactory,
            _ => role == Role::Pool,
        }
    }

    fn is_factory(role: Role) -> bool {
        role == Role::PoolFactory
    }

    fn child(&self, emitter: &WatchedContract) -> Option<WatchedContract> {
        let Self::CreatePool { pool, .. } = *self else {
            return None;
        };
        let (decoder, role) = (Decoder::VesuV2, Role::Pool);
        Announced { address: pool, decoder, role, pair: None, asset: None }.by(emitter)
    }

    fn changes(&self, contracts: &Contracts, emitter: &WatchedContract) -> Vec<MarketChange> {
        let market = |contract| move |asset| MarketRef::PoolReserve { contract, pool: None, asset };
        match self {
            Self::AddAsset { pool, asset } => {
                let known = contracts.get(pool).filter(|pool| pool.protocol == emitter.protocol);
                let opened = known.map(|pool| (market(pool.address)(*asset), Change::Opened));
                opened.into_iter().collect()
            }
            Self::UpdateContext {
                collateral_asset,
                debt_asset,
                collateral_asset_config,
                debt_asset_config,
                collateral_asset_price,
                debt_asset_price,
            } => {
                let collateral = collateral_asset_config.lent(collateral_asset_price);
                let debt = debt_asset_config.lent(debt_asset_price);
                let assets = [(*collateral_asset, collateral), (*debt_asset, debt)];
                stated(market(emitter.address), assets)
            }
            Self::ModifyPosition { collateral_asset, user, collateral_shares_delta, .. }
            | Self::LiquidatePosition { collateral_asset, user, collateral_shares_delta, .. } => {
                let market = market(emitter.address)(*collateral_asset);
                vec![(market, held(*user, *collateral_shares_delta))]
            }
            Self::CreatePool { .. }
            | Self::ContractUpgraded { .. }
            | Self::ContractPaused { .. }
            | Self::ContractUnpaused { .. } => Vec::new(),
        }
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

/// What the addition of an asset burns, in its smallest unit.
const BURNT_AMOUNT: u64 = 2_000;
/// Shares that are worth a whole token at first.
const WHOLE_SHARES: u64 = 1_000_000_000_000_000_000;

impl AssetConfigV2 {
    fn lent(&self, price: &AssetPrice) -> Lent {
        Lent {
            reserve: self.reserve,
            nominal_debt: self.total_nominal_debt,
            rate_accumulator: self.last_rate_accumulator,
            scale: self.scale,
            fee_rate: self.fee_rate,
            last_updated: self.last_updated,
            price: *price,
            total_shares: self.total_collateral_shares,
            held_shares: self.held_shares(),
        }
    }

    /// `None` where the total is less than what no position holds, or the asset has no unit.
    fn held_shares(&self) -> Option<U256> {
        let burnt = U256::from(BURNT_AMOUNT) * U256::from(WHOLE_SHARES);
        let burnt = burnt.checked_div(self.scale)?;
        self.total_collateral_shares.checked_sub(burnt)?.checked_sub(self.fee_shares)
    }
}
