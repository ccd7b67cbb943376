//! Vesu v1: one singleton that holds every pool; a pool is an id.
//!
//! Shares, nominal debt, prices, rates and ratios have 18 decimals; a `reserve` and the deltas of a
//! position are in the asset's smallest unit. Layouts and selectors: `vesuxyz/vesu-v1`
//! `src/singleton.cairo` and `src/data_model.cairo` @da3db70; `TransferPosition` with amounts and
//! `MigratePosition`: `src/singleton_v2.cairo` @088b9ba. `ContractUpgraded` is of that newer singleton alone. No
//! singleton can be paused; pools are shut down by their extensions, which are not watched. The wallet of an
//! activity is the member `user`, whose position it is; the counterparty of a liquidation is `liquidator`.
//!
//! The first singleton moves shares without telling how many: its `TransferPosition` has no amounts, and a
//! liquidator who takes the collateral as shares makes the deltas of `LiquidatePosition` 0.

use obsqra_types::{ContractAddress, Felt, U256};

use super::activity::{Activity, ActivityKind, Signed, liquidation, moved};
use super::change::{Change, MarketChange, MarketRef, ReserveAmount, Statement};
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
    TransferPosition "0x193750dd24b142c85cff259f0357a58cfde97f77af04b0ed5bd7132aedbd5c6" keys [7] without 12 {
        pool_id: Opaque, from_collateral_asset: ContractAddress, from_debt_asset: ContractAddress,
        to_collateral_asset: ContractAddress, to_debt_asset: ContractAddress,
        from_user: ContractAddress, to_user: ContractAddress, collateral_delta: Option<I257>,
        collateral_shares_delta: Option<I257>, debt_delta: Option<I257>,
        nominal_debt_delta: Option<I257>,
    }
    MigratePosition "0x331848ba19f78f07192379713ca69965734f626224b75cfdfcb19079793490a" keys [5] {
        pool_id: Opaque, collateral_asset: ContractAddress, debt_asset: ContractAddress,
        from: ContractAddress, to: ContractAddress, collateral_shares: U256, nominal_debt: U256,
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
        let contract = emitter.address;
        let market = |pool: &Opaque, asset: &ContractAddress| {
            let (pool, asset) = (Some(pool.0), *asset);
            MarketRef::PoolReserve { contract, pool, asset }
        };
        let (reference, change) = match self {
            Self::UpdateContext {
                pool_id,
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
                return stated(|asset| market(pool_id, &asset), assets);
            }
            Self::CreatePool { pool_id, .. } => {
                (MarketRef::LendingPool { contract, pool: pool_id.0 }, Some(Change::PoolOpened))
            }
            Self::AccrueFees { pool_id, asset, recipient, fee_shares } => {
                (market(pool_id, asset), Some(held(*recipient, I257::new(*fee_shares, false))))
            }
            Self::MigratePosition { pool_id, collateral_asset, to, collateral_shares, .. } => {
                let gained = I257::new(*collateral_shares, false);
                (market(pool_id, collateral_asset), Some(held(*to, gained)))
            }
            Self::ModifyPosition { pool_id, collateral_asset, .. }
            | Self::LiquidatePosition { pool_id, collateral_asset, .. } => {
                (market(pool_id, collateral_asset), self.position_changed())
            }
            Self::TransferPosition { pool_id, from_collateral_asset, .. } => {
                (market(pool_id, from_collateral_asset), self.position_moved())
            }
            Self::Flashloan { .. }
            | Self::Donate { .. }
            | Self::SetAssetParameter { .. }
            | Self::ContractUpgraded { .. } => return Vec::new(),
        };
        change.map(|change| (reference, change)).into_iter().collect()
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

impl VesuV1Event {
    /// What the owner of a position gained in shares.
    fn position_changed(&self) -> Option<Change> {
        match *self {
            Self::ModifyPosition { user, collateral_shares_delta: shares, .. } => {
                Some(held(user, shares))
            }
            // The debt went down and the collateral did not: the liquidator may have taken it as shares.
            Self::LiquidatePosition { collateral_shares_delta: shares, debt_delta, .. }
                if shares.is_zero() && !debt_delta.is_zero() =>
            {
                Some(Change::SharesMovedUntold)
            }
            Self::LiquidatePosition { user, collateral_shares_delta: shares, .. } => {
                Some(held(user, shares))
            }
            _ => None,
        }
    }

    /// What went from one account to another, unless that is the same.
    fn position_moved(&self) -> Option<Change> {
        let Self::TransferPosition {
            from_collateral_asset,
            to_collateral_asset,
            from_user,
            to_user,
            collateral_shares_delta,
            ..
        } = *self
        else {
            return None;
        };
        if from_user == to_user {
            return None;
        }
        match collateral_shares_delta {
            Some(lost) if lost.is_zero() => None,
            Some(lost) if lost.is_negative() => {
                let amount = ReserveAmount::Raw(lost.magnitude());
                Some(Change::SharesMoved { from: from_user, to: to_user, amount })
            }
            None if from_collateral_asset != to_collateral_asset => None,
            // A transfer takes from its first position; one that adds to it is not understood.
            Some(_) | None => Some(Change::SharesMovedUntold),
        }
    }
}

/// An account's holding changed by that many shares.
pub(super) fn held(account: ContractAddress, shares: I257) -> Change {
    let amount = ReserveAmount::Raw(shares.magnitude());
    let nobody = ContractAddress(Felt::ZERO);
    let (from, to) = if shares.is_negative() { (account, nobody) } else { (nobody, account) };
    Change::SharesMoved { from, to, amount }
}

/// Shares of an asset's first deposit that nobody gets.
const BURNT_SHARES: u64 = 1_000;

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
            total_shares: self.total_collateral_shares,
            held_shares: self.held_shares(),
        }
    }

    fn held_shares(&self) -> Option<U256> {
        let total = self.total_collateral_shares;
        if total.is_zero() { Some(total) } else { total.checked_sub(U256::from(BURNT_SHARES)) }
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
    pub(super) total_shares: U256,
    pub(super) held_shares: Option<U256>,
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
            total_shares: self.total_shares,
            held_shares: self.held_shares,
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
