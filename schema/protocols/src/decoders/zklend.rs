//! zkLend: one market contract with a reserve for each token.
//!
//! Amounts are single felts in the token's smallest unit; rates, accumulators and factors have 27
//! decimals. The market announces the zToken of each reserve, which is followed from that event on. Shares
//! move with the zToken's events alone: its `Transfer` has the face value, and the `RawTransfer` that
//! comes directly after it has the shares. The Cairo 0 contract writes the latter for transfers between
//! accounts only, and not for mints and burns.
//!
//! Layouts and selectors: `zkLend/zklend-v1-core` `src/market.cairo` @e229e36, `src/z_token.cairo`
//! @10e4b7f and, for Cairo 0, `src/zklend/internals/ZToken/functions.cairo` @0cf1412, whose upgrades are
//! those of `OpenZeppelin/cairo-contracts` `src/openzeppelin/upgrades/library.cairo` @1dc7904. Neither
//! contract can be paused: zkLend was halted with upgrades.
//!
//! The wallet of an activity is the member `user`, or `repayer`, whose counterparty is the beneficiary. Of
//! a liquidation it is the `user` whose loan was paid back; the liquidator is the counterparty.

use obsqra_types::{ContractAddress, Felt, U256};

use super::activity::{Activity, ActivityKind, Transfer, liquidation, single};
use super::change::{Change, MarketChange, MarketRef, ReserveAmount};
use super::layout::event_table;
use super::meaning::{Announced, EventMeaning};
use super::members::{Opaque, felt_number};
use crate::{Contracts, Decoder, Role, WatchedContract};

event_table! {
    /// An event of zkLend's market, or of a zToken.
    ZkLendEvent
    NewReserve "0x3d3ae916d7df55e66f18fa2bbcc98ae398b3e9b93f72b77a352a526db72ae54" {
        token: ContractAddress, z_token: ContractAddress, decimals: Felt,
        interest_rate_model: ContractAddress, collateral_factor: Felt, borrow_factor: Felt,
        reserve_factor: Felt, flash_loan_fee: Felt, liquidation_bonus: Felt,
    }
    AccumulatorsSync "0x30c296ae369716818de77cb5b71ce9cda7cc2c0e8456f474e0abb1ae8d017da" {
        token: ContractAddress, lending_accumulator: Felt, debt_accumulator: Felt,
    }
    InterestRatesSync "0xa2fb82b5656725dad81c7112b2c4ef0119096677c3c0fd82632d0a74f07666" {
        token: ContractAddress, lending_rate: Felt, borrowing_rate: Felt,
    }
    Deposit "0x9149d2123147c5f43d258257fef0b7b969db78269369ebcf5ebb9eef8592f2" {
        user: ContractAddress, token: ContractAddress, face_amount: Felt,
    }
    Withdrawal "0x2eed7e29b3502a726faf503ac4316b7101f3da813654e8df02c13449e03da8" {
        user: ContractAddress, token: ContractAddress, face_amount: Felt,
    }
    Borrowing "0xfa3f9acdb7b24dcf6d40d77ff2f87a87bca64a830a2169aebc9173db23ff41" {
        user: ContractAddress, token: ContractAddress, raw_amount: Felt, face_amount: Felt,
    }
    Repayment "0x7ae0ab7952bbfc33a72035e5eccec7c8816723421c0acb315bd4690a71d46e" {
        repayer: ContractAddress, beneficiary: ContractAddress, token: ContractAddress,
        raw_amount: Felt, face_amount: Felt,
    }
    Liquidation "0x238a25785a13ab3138feb8f8f517e5a21a377cc1ad47809e9fd5e76daf01df7" {
        liquidator: ContractAddress, user: ContractAddress, debt_token: ContractAddress,
        debt_raw_amount: Felt, debt_face_amount: Felt, collateral_token: ContractAddress,
        collateral_amount: Felt,
    }
    FlashLoan "0x3218efe38000d1819eab9d0f52611e116d8eb59fd834c800ae94bddf5048fc3" {
        initiator: ContractAddress, receiver: ContractAddress, token: ContractAddress,
        amount: Felt, fee: Felt,
    }
    CollateralEnabled "0x2324062bde6ebb76ffd17d55fee62fee62a4877588eb02524b19c091983b365" {
        user: ContractAddress, token: ContractAddress,
    }
    CollateralDisabled "0xf999d0d33513a8215756ae6a9223180a439c134372b158bc84b9dd02f63856" {
        user: ContractAddress, token: ContractAddress,
    }
    ReserveFactorUpdate "0x12a972615a5b8eceedc4aa745657497294c6ebe9a3dc1f15c6b65abbeb1472e" {
        token: ContractAddress, reserve_factor: Felt,
    }
    InterestRateModelUpdate "0x3d23e514b52404566430259eb64e1c6ac4e8a36ace84bc7c8b90fbf45f68ac5" {
        token: ContractAddress, interest_rate_model: ContractAddress,
    }
    CollateralFactorUpdate "0x546d3ebe4dee046a05db8fe2ce6fbd66b06636feb3267a9d9260b69e6de97b" {
        token: ContractAddress, collateral_factor: Felt,
    }
    BorrowFactorUpdate "0x181afad2ad4b13dfc63a4e1d186a375245ca5975cc64afd9b78d49600e2380f" {
        token: ContractAddress, borrow_factor: Felt,
    }
    DebtLimitUpdate "0x3cd84a3c74c6922c8e2501e79d64d35d91b74f570105e29c937ef861c5d896b" {
        token: ContractAddress, limit: Felt,
    }
    DepositLimitUpdate "0xd9dc61762d009d47ace69836911d3d6ca1ed8042aa1c7d9f2b3098f53f4355" {
        token: ContractAddress, limit: Felt,
    }
    TreasuryUpdate "0xda3256205c64a1c337004b58fdba0438b4476b9be6e9ba06544c4ed6222b58" {
        new_treasury: ContractAddress,
    }
    ContractUpgraded "0x8248d60b6c95dac1563fa392e8dfc0cb968be73d80faedfe9a90e66811b45f" {
        new_class_hash: Opaque,
    }
    Upgraded "0x2db340e6c609371026731f47050d3976552c89b4fbb012941663841c59d1af3" {
        implementation: Opaque,
    }
    Transfer "0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9" {
        from: ContractAddress, to: ContractAddress, value: U256,
    }
    Approval "0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff" {
        owner: ContractAddress, spender: ContractAddress, value: U256,
    }
    RawTransfer "0x307bed973ae39e0e1dfe22cae9d64886bd5f3502c9124b60137d6eab7605fa6" {
        from: ContractAddress, to: ContractAddress, raw_value: Felt, accumulator: Felt,
        face_value: Felt,
    }
}

impl EventMeaning for ZkLendEvent {
    fn emits(role: Role, name: &str) -> bool {
        match name {
            "ContractUpgraded" | "Upgraded" => true,
            "Transfer" | "Approval" | "RawTransfer" => role == Role::ZToken,
            _ => role == Role::Market,
        }
    }

    fn has_asset(role: Role) -> bool {
        role == Role::ZToken
    }

    fn is_factory(role: Role) -> bool {
        role == Role::Market
    }

    fn child(&self, emitter: &WatchedContract) -> Option<WatchedContract> {
        let Self::NewReserve { token, z_token, .. } = *self else {
            return None;
        };
        let (decoder, role) = (Decoder::ZkLend, Role::ZToken);
        Announced { address: z_token, decoder, role, pair: None, asset: Some(token) }.by(emitter)
    }

    /// A zToken tells the shares of a movement right after its face value.
    fn is_restated(&self, next: impl FnOnce() -> Option<Self>) -> bool {
        let Self::Transfer { from, to, value } = *self else {
            return false;
        };
        let Some(Self::RawTransfer { from: raw_from, to: raw_to, face_value, .. }) = next() else {
            return false;
        };
        (raw_from, raw_to, felt_number(&face_value)) == (from, to, value)
    }

    fn changes(&self, _contracts: &Contracts, emitter: &WatchedContract) -> Vec<MarketChange> {
        changes(emitter, self)
    }

    fn activities(&self, _emitter: &WatchedContract) -> Vec<Activity> {
        activities(self).into_iter().collect()
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

/// What the event changes.
fn changes(emitter: &WatchedContract, event: &ZkLendEvent) -> Vec<MarketChange> {
    let of = |token: &ContractAddress, change| (MarketRef::Reserve(*token), change);
    match event {
        ZkLendEvent::NewReserve { token, z_token, reserve_factor, .. } => vec![
            of(token, Change::Opened),
            of(token, Change::ShareToken { token: *z_token }),
            of(token, Change::ReserveFactor { factor: felt_number(reserve_factor) }),
        ],
        ZkLendEvent::ReserveFactorUpdate { token, reserve_factor } => {
            vec![of(token, Change::ReserveFactor { factor: felt_number(reserve_factor) })]
        }
        ZkLendEvent::AccumulatorsSync { token, lending_accumulator, debt_accumulator } => {
            let lending = felt_number(lending_accumulator);
            let debt = felt_number(debt_accumulator);
            vec![of(token, Change::Accumulators { lending, debt })]
        }
        ZkLendEvent::InterestRatesSync { token, lending_rate, borrowing_rate } => {
            let (lending, borrowing) = (felt_number(lending_rate), felt_number(borrowing_rate));
            vec![of(token, Change::Rates { lending, borrowing })]
        }
        ZkLendEvent::Borrowing { token, raw_amount, .. } => {
            vec![of(token, Change::Borrowed { raw: felt_number(raw_amount) })]
        }
        ZkLendEvent::Repayment { token, raw_amount, .. } => {
            vec![of(token, Change::Repaid { raw: felt_number(raw_amount) })]
        }
        ZkLendEvent::Liquidation { debt_token, debt_raw_amount, collateral_token, .. } => {
            let raw = felt_number(debt_raw_amount);
            vec![of(debt_token, Change::Repaid { raw }), of(collateral_token, Change::Named)]
        }
        ZkLendEvent::FlashLoan { token, fee, .. } => {
            vec![of(token, Change::FlashLoaned { fee: felt_number(fee) })]
        }
        ZkLendEvent::RawTransfer { from, to, raw_value, .. } => {
            shares_moved(emitter, [*from, *to], ReserveAmount::Raw(felt_number(raw_value)))
        }
        ZkLendEvent::Transfer { from, to, value } => {
            shares_moved(emitter, [*from, *to], ReserveAmount::Face(*value))
        }
        ZkLendEvent::Deposit { token, .. }
        | ZkLendEvent::Withdrawal { token, .. }
        | ZkLendEvent::CollateralEnabled { token, .. }
        | ZkLendEvent::CollateralDisabled { token, .. }
        | ZkLendEvent::InterestRateModelUpdate { token, .. }
        | ZkLendEvent::CollateralFactorUpdate { token, .. }
        | ZkLendEvent::BorrowFactorUpdate { token, .. }
        | ZkLendEvent::DebtLimitUpdate { token, .. }
        | ZkLendEvent::DepositLimitUpdate { token, .. } => vec![of(token, Change::Named)],
        ZkLendEvent::TreasuryUpdate { .. }
        | ZkLendEvent::ContractUpgraded { .. }
        | ZkLendEvent::Upgraded { .. }
        | ZkLendEvent::Approval { .. } => Vec::new(),
    }
}

/// Of whichever reserve named the zToken.
fn shares_moved(
    emitter: &WatchedContract,
    [from, to]: [ContractAddress; 2],
    amount: ReserveAmount,
) -> Vec<MarketChange> {
    vec![(MarketRef::ShareToken(emitter.address), Change::SharesMoved { from, to, amount })]
}

fn activities(event: &ZkLendEvent) -> Option<Activity> {
    let one = |kind, wallet: &ContractAddress, token: &ContractAddress, amount: &Felt| {
        single(kind, *wallet, Some(*token), felt_number(amount))
    };
    match event {
        ZkLendEvent::Deposit { user, token, face_amount } => {
            one(ActivityKind::Deposit, user, token, face_amount)
        }
        ZkLendEvent::Withdrawal { user, token, face_amount } => {
            one(ActivityKind::Withdrawal, user, token, face_amount)
        }
        ZkLendEvent::Borrowing { user, token, face_amount, .. } => {
            one(ActivityKind::Borrow, user, token, face_amount)
        }
        ZkLendEvent::Repayment { repayer, beneficiary, token, face_amount, .. } => {
            one(ActivityKind::Repay, repayer, token, face_amount)
                .map(|activity| activity.with(*beneficiary))
        }
        ZkLendEvent::Liquidation {
            liquidator,
            user,
            debt_token,
            debt_face_amount,
            collateral_token,
            collateral_amount,
            ..
        } => {
            let debt = (*debt_token, felt_number(debt_face_amount));
            let collateral = (*collateral_token, felt_number(collateral_amount));
            Some(liquidation([*user, *liquidator], debt, collateral))
        }
        _ => None,
    }
}
