//! What lenders and borrowers of zkLend do in an ordinary block, and what its owner does now and then.
//!
//! Like all actors they take their draws in a fixed order.

use starknet_types_core::felt::Felt;

use super::actions::{Turn, founder};
use super::emit::{Transaction, account};
use super::math::{RAY, mul_div_128, pow10, to_u128};
use super::tokens::Token;
use super::zklend::{FlashLoan, PERCENT, RESERVES, Reserve, Seizure};
use crate::chain::block::TransactionDraft;

/// The first suppliers of each reserve, beside the founder: account and percent of the first deposit.
const FIRST_SUPPLIERS: [(u64, u128); 6] = [(1, 21), (2, 13), (3, 9), (4, 6), (5, 3), (6, 1)];

/// One in so many deposits and withdrawals is a large one.
const LARGE_EACH: u64 = 50;

/// How many times an ordinary deposit a large one is.
const LARGE_DEPOSIT: u128 = 15;

/// The deposits that others make when a reserve has been opened, of an amount of which the founder has
/// the rest: each is half as large as the one before, or so.
pub(super) fn first_deposits(
    reserve: &mut Reserve,
    amount: u128,
    now: u64,
) -> Vec<TransactionDraft> {
    let deposit = |(index, percent)| {
        let mut transaction = Transaction::from(account(index));
        reserve.deposit(transaction.sender, amount / 100 * percent, now, &mut transaction);
        transaction.finish()
    };
    FIRST_SUPPLIERS.into_iter().map(deposit).collect()
}

/// The founder's part of the first deposits, in percent.
pub(super) fn founders_percent() -> u128 {
    100 - FIRST_SUPPLIERS.iter().map(|(_, percent)| percent).sum::<u128>()
}

impl Turn<'_> {
    /// Everything that happens at zkLend, unless it is halted.
    pub(super) fn play_lending(&mut self) {
        if self.model.lending_halted {
            return;
        }
        if self.dice.chance(1) {
            self.change_reserve_factor();
        }
        for _ in 0..self.dice.between(2, 3) {
            self.lend();
        }
    }

    fn change_reserve_factor(&mut self) {
        let index = self.dice.index(RESERVES.len());
        let percent = u128::from(self.dice.between(5, 25));
        let mut transaction = Transaction::from(founder());
        if let Some(reserve) = self.model.reserves.get_mut(index) {
            reserve.set_reserve_factor(percent * PERCENT, &mut transaction);
        }
        self.end(transaction);
    }

    /// One lender's action. Far from the usual utilization the action that leads back is taken.
    fn lend(&mut self) {
        let index = self.dice.index(RESERVES.len());
        let (kind, share_bps) = (self.dice.below(100), self.dice.between(2, 150));
        let place = self.dice.below(u64::MAX);
        let mut transaction = self.begin();
        let (user, now) = (transaction.sender, self.now);
        let Some(reserve) = self.model.reserves.get_mut(index) else {
            return;
        };
        let utilization = reserve.utilization();
        let amount = mul_div_128(reserve.supplied(), u128::from(share_bps), 10_000).max(1);
        let kind = if utilization > RAY / 100 * 86 {
            Lending::bringing_down(kind)
        } else if utilization < RAY / 100 * 26 {
            Lending::bringing_up(kind)
        } else {
            Lending::usual(kind)
        };
        let usual = self.model.prices.amount_worth(reserve.spec.token, reserve.spec.initial_usdc);
        let bounded = amount.min(reserve.available() / 4);
        let large = place.is_multiple_of(LARGE_EACH);
        match kind.within(reserve.supplied(), usual) {
            Lending::Deposit => {
                let amount = if large { amount * LARGE_DEPOSIT } else { amount };
                reserve.deposit(user, amount, now, &mut transaction);
            }
            Lending::Withdraw if large => leave(reserve, now, &mut transaction),
            Lending::Withdraw => withdraw(reserve, place, bounded, now, &mut transaction),
            Lending::Transfer => transfer(reserve, place, amount, now, &mut transaction),
            Lending::Borrow => reserve.borrow(user, bounded, now, &mut transaction),
            Lending::Repay => {
                let amount = amount.min(reserve.debt() / 2);
                reserve.repay(user, amount, now, &mut transaction);
            }
            Lending::FlashLoan => {
                let amount = reserve.available() / 3;
                let returned = amount + Reserve::flash_loan_fee(amount);
                reserve.flash_loan(user, FlashLoan { amount, returned }, now, &mut transaction);
            }
            Lending::Liquidate => {
                let amount = amount.min(reserve.debt() / 50);
                self.liquidate(index, amount, place, &mut transaction);
            }
        }
        self.end(transaction);
    }

    /// Pays a part of the debt of somebody who holds enough collateral for it in another reserve.
    fn liquidate(&mut self, index: usize, amount: u128, place: u64, transaction: &mut Transaction) {
        let Some(debt_token) = self.model.reserves.get(index).map(|reserve| reserve.spec.token)
        else {
            return;
        };
        let collateral = if debt_token == Token::Eth { Token::Usdc } else { Token::Eth };
        let prices = &self.model.prices;
        // The liquidator gets the debt's worth and a tenth on top.
        let scale = |token: Token| to_u128(pow10(token.decimals()));
        let worth = mul_div_128(amount, prices.of(debt_token), scale(debt_token));
        let taken = mul_div_128(worth / 10 * 11, scale(collateral), prices.of(collateral));
        let (now, liquidator) = (self.now, transaction.sender);
        let mut reserves = self.model.reserves.iter_mut();
        let Some(shares) = reserves.find(|reserve| reserve.spec.token == collateral) else {
            return;
        };
        let Some(user) = holder_of(shares, taken, place, now) else {
            return;
        };
        shares.transfer_shares((user, liquidator), taken, now, transaction);
        let (debt_amount, collateral_amount) = (amount, taken);
        let seizure = Seizure { liquidator, user, debt_amount, collateral, collateral_amount };
        if let Some(debt) = self.model.reserves.get_mut(index) {
            debt.liquidate(seizure, now, transaction);
        }
    }
}

/// Somebody who supplied withdraws, all of it if it is not more than the amount.
fn withdraw(
    reserve: &mut Reserve,
    place: u64,
    amount: u128,
    now: u64,
    transaction: &mut Transaction,
) {
    let Some(user) = reserve.holder(place) else {
        return;
    };
    transaction.sender = user;
    withdraw_at_most(reserve, user, amount, now, transaction);
}

fn withdraw_at_most(
    reserve: &mut Reserve,
    user: Felt,
    amount: u128,
    now: u64,
    transaction: &mut Transaction,
) {
    if amount < reserve.whole_holding(user, now) {
        reserve.withdraw(user, amount, now, transaction);
    } else {
        reserve.withdraw_all(user, now, transaction);
    }
}

/// The largest supplier leaves, with half of what there is at most.
fn leave(reserve: &mut Reserve, now: u64, transaction: &mut Transaction) {
    let Some((user, _)) = reserve.holdings.iter().max_by_key(|(_, raw)| **raw) else {
        return;
    };
    let user = *user;
    transaction.sender = user;
    let half = reserve.available() / 2;
    withdraw_at_most(reserve, user, half, now, transaction);
}

/// Somebody who supplied hands shares to another user, who may hold some already.
fn transfer(
    reserve: &mut Reserve,
    place: u64,
    amount: u128,
    now: u64,
    transaction: &mut Transaction,
) {
    let Some(from) = reserve.holder(place) else {
        return;
    };
    let to = transaction.sender;
    transaction.sender = from;
    let amount = amount.min(reserve.whole_holding(from, now));
    reserve.transfer_shares((from, to), amount, now, transaction);
}

/// The first holder of so much at or after a place.
fn holder_of(reserve: &Reserve, amount: u128, place: u64, now: u64) -> Option<Felt> {
    let holders = u64::try_from(reserve.holdings.len()).ok()?;
    let places = (0..holders).map(|step| (place % holders.max(1)) + step);
    let mut found = places.filter_map(|place| reserve.holder(place));
    found.find(|user| reserve.whole_holding(*user, now) > amount)
}

/// What a lender does.
#[derive(Debug, Clone, Copy)]
enum Lending {
    Deposit,
    Withdraw,
    Borrow,
    Repay,
    FlashLoan,
    Liquidate,
    Transfer,
}

impl Lending {
    fn usual(draw: u64) -> Self {
        match draw {
            0..28 => Self::Deposit,
            28..55 => Self::Withdraw,
            55..74 => Self::Borrow,
            74..91 => Self::Repay,
            91..94 => Self::FlashLoan,
            94..96 => Self::Liquidate,
            _ => Self::Transfer,
        }
    }

    fn bringing_down(draw: u64) -> Self {
        if draw < 50 { Self::Deposit } else { Self::Repay }
    }

    fn bringing_up(draw: u64) -> Self {
        if draw < 30 { Self::Withdraw } else { Self::Borrow }
    }

    /// Keeps what is supplied within a factor of two of the usual; utilization has its own bounds, so a
    /// deposit turns into a repayment and a withdrawal into a loan, which move it the same way.
    fn within(self, supplied: u128, usual: u128) -> Self {
        match self {
            Self::Deposit if supplied > usual.saturating_mul(2) => Self::Repay,
            Self::Withdraw if supplied < usual / 2 => Self::Borrow,
            other => other,
        }
    }
}
