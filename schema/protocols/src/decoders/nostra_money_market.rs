//! Nostra Money Market: an interest rate model, and five tokens for each asset.
//!
//! An asset has a debt token and four tokens of supply: interest-bearing or not, and either as collateral
//! or not. Rates and indices have 18 decimals; the amounts of `Mint` and `Burn` are in the asset's
//! smallest unit. The upgrade to Cairo 1 moved the first member of most events, and the accounts of
//! `Transfer` and `Approval`, into the keys; the model's configuration is only known as it stood before.
//! Layouts: `DefiLlama/yield-server` `src/adaptors/nostra-money-market` (ABI) and
//! `CarmineOptions/derisk-research` `apps/data_handler/handler_tools/nostra_mainnet_settings.py`. The ABI
//! has no event of an upgrade or of a pause, though the model's code can be replaced.
//!
//! The wallet of an activity is the member `user`. Minting a debt token is a loan and burning it a
//! repayment; for the tokens of supply they are a deposit and a withdrawal. A liquidation, the protocol's
//! fees and a change between two tokens of supply are mints and burns like any other, and nothing in
//! those events tells them apart.

use obsqra_types::{ContractAddress, Felt, U256};

use super::activity::{Activity, ActivityKind, Transfer, single};
use super::change::{Change, MarketChange, MarketRef};
use super::layout::event_table;
use super::meaning::EventMeaning;
use crate::{Contracts, Role, WatchedContract};

event_table! {
    /// An event of Nostra's interest rate model, or of one of its tokens.
    #[allow(non_snake_case, reason = "members keep the names they have in the contract's source")]
    NostraMoneyMarketEvent
    InterestStateUpdated "0x33db1d611576200c90997bde1f948502469d333e65e87045c250e6efd2e42c7" keys [0, 1] {
        debtToken: ContractAddress, lendingRate: U256, borrowingRate: U256, lendingIndex: U256,
        borrowingIndex: U256,
    }
    InterestStateSetLendingRate "0x3f1547f5c752a56ed475433772ec93cab0ef5ff7786632287d7381d30d305ae" keys [0, 1] {
        debtToken: ContractAddress, lendingRate: U256,
    }
    InterestStateSetBorrowingRate "0x49d3e14a9a5551aa9aa4e7ce97f74cc7357d95f68db2d55fc291f2e07af82d" keys [0, 1] {
        debtToken: ContractAddress, borrowingRate: U256,
    }
    InterestStateSetLastUpdateTimestamp "0x624ef3ac9a411845bcc671de3155f9c27c29a2539be56d17acff46d0747877" keys [0, 1] {
        debtToken: ContractAddress, lastUpdateTimestamp: Felt,
    }
    InterestStateSetLendingIndex "0x2d869564c7a090f9b3cd65b3da756ce0477042ddacf02cf39dd19ca4c223e5f" keys [0, 1] {
        debtToken: ContractAddress, lendingIndex: U256,
    }
    InterestStateSetBorrowingIndex "0x3fe378208b9b410fecd7e94ee45037c8715f0f12c7a8455bde0f35277b83d65" keys [0, 1] {
        debtToken: ContractAddress, borrowingIndex: U256,
    }
    InterestRateConfigSetOptimalUtilizationRate "0x369d08e8684f0f5059a0d8d3dd472d5ed27f64f12223960945d18ed6f31ad1c" {
        debtToken: ContractAddress, optimalUtilizationRate: U256,
    }
    InterestRateConfigSetBaseBorrowingRate "0x2ecff393ae9c24f317e60d3ec6d2460d68ce33ca46cce8ec756e3d52538097f" {
        debtToken: ContractAddress, baseBorrowingRate: U256,
    }
    InterestRateConfigSetRateSlope1 "0xaf2b3e71915a0025ff80d3aec40737eab89d014d2d42dfe4e30e37b6ba11fa" {
        debtToken: ContractAddress, rateSlope1: U256,
    }
    InterestRateConfigSetRateSlope2 "0x759c46a2ff5f6627c6da47452b2dfe18301f4ea54e75af567ef2600dbd0e7c" {
        debtToken: ContractAddress, rateSlope2: U256,
    }
    InterestRateConfigSetGeneralProtocolFee "0x6ef3a81d4eb76c3ec65f33f68bbbfaf80c656d21bbef535aa935fc090c7a0b" {
        debtToken: ContractAddress, generalProtocolFee: U256,
    }
    Mint "0x34e55c1cd55f1338241b50d352f0e91c7e4ffad0e4271d64eb347589ebdfd16" keys [0, 1] {
        user: ContractAddress, amount: U256,
    }
    Burn "0x243e1de00e8a6bc1dfa3e950e6ade24c52e4a25de4dee7fb5affe918ad1e744" keys [0, 1] {
        user: ContractAddress, amount: U256,
    }
    Transfer "0x99cd8bde557814842a3121e8ddfd433a539b8c9f14bf31ebf108d12e6196e9" keys [0, 2] {
        from: ContractAddress, to: ContractAddress, value: U256,
    }
    Approval "0x134692b230b9e1ffa39098904722134159652b09c5bc41d88d6698779d228ff" keys [0, 2] {
        owner: ContractAddress, spender: ContractAddress, value: U256,
    }
}

impl EventMeaning for NostraMoneyMarketEvent {
    fn emits(role: Role, name: &str) -> bool {
        let of_a_token = matches!(name, "Mint" | "Burn" | "Transfer" | "Approval");
        of_a_token == (role != Role::InterestRateModel)
    }

    fn has_asset(role: Role) -> bool {
        role != Role::InterestRateModel
    }

    fn changes(&self, contracts: &Contracts, emitter: &WatchedContract) -> Vec<MarketChange> {
        let Self::InterestStateUpdated {
            debtToken,
            lendingRate,
            borrowingRate,
            lendingIndex,
            borrowingIndex,
        } = self
        else {
            return Vec::new();
        };
        let known = contracts
            .get(debtToken)
            .filter(|token| token.protocol == emitter.protocol && token.role == Role::DebtToken);
        let Some(asset) = known.and_then(|token| token.asset) else {
            return Vec::new();
        };
        let stated = [*lendingRate, *borrowingRate, *lendingIndex, *borrowingIndex];
        let changes = updated(stated).into_iter().flatten();
        changes.map(|change| (MarketRef::Reserve(asset), change)).collect()
    }

    fn activities(&self, emitter: &WatchedContract) -> Vec<Activity> {
        let debt = emitter.role == Role::DebtToken;
        let (kind, user, amount) = match *self {
            Self::Mint { user, amount } if debt => (ActivityKind::Borrow, user, amount),
            Self::Burn { user, amount } if debt => (ActivityKind::Repay, user, amount),
            Self::Mint { user, amount } => (ActivityKind::Deposit, user, amount),
            Self::Burn { user, amount } => (ActivityKind::Withdrawal, user, amount),
            _ => return Vec::new(),
        };
        single(kind, user, emitter.asset, amount).into_iter().collect()
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

/// Indices and then rates, which count from here on; `None` where one leaves 256 bits at 27 decimals, which
/// none of the contract's can.
fn updated(stated: [U256; 4]) -> Option<[Change; 2]> {
    let scaled = stated.map(|value| value.checked_mul(U256::from(1_000_000_000u64)));
    let [Some(lending_rate), Some(borrowing_rate), Some(lending), Some(debt)] = scaled else {
        return None;
    };
    let rates = Change::NetRates { lending: lending_rate, borrowing: borrowing_rate };
    Some([Change::Accumulators { lending, debt }, rates])
}
