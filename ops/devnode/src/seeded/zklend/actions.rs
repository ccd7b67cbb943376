//! What users of a reserve do, each with its events in the contract's order.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::journal::FlashLoanNote;
use super::{FLASH_LOAN_FEE, MARKET, Reserve, Shares, face, raw, treasury, z_token};
use crate::seeded::emit::Transaction;
use crate::seeded::math::{RAY, mul_div, mul_div_128};
use crate::seeded::selectors;
use crate::seeded::tokens::Token;

/// What a flash loan lends and what comes back for it, in the token's smallest unit.
#[derive(Debug, Clone, Copy)]
pub(in crate::seeded) struct FlashLoan {
    pub(in crate::seeded) amount: u128,
    /// At least the amount and its fee.
    pub(in crate::seeded) returned: u128,
}

/// A liquidation: the debt that is paid, and the collateral that changes hands for it.
#[derive(Debug, Clone, Copy)]
pub(in crate::seeded) struct Seizure {
    pub(in crate::seeded) liquidator: Felt,
    pub(in crate::seeded) user: Felt,
    pub(in crate::seeded) debt_amount: u128,
    pub(in crate::seeded) collateral: Token,
    pub(in crate::seeded) collateral_amount: u128,
}

impl Reserve {
    pub(in crate::seeded) fn deposit(
        &mut self,
        user: Felt,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.sync_accumulators(now, transaction);
        transaction.transfer(self.token(), user, MARKET, U256::from(face_amount));
        self.reserve_balance += face_amount;
        self.sync_rates(transaction);
        self.mint(user, face_amount, transaction);
        transaction.emit(
            MARKET,
            selectors::DEPOSIT,
            vec![user, self.token(), Felt::from(face_amount)],
        );
    }

    /// Nothing happens if the user holds less, or the contract does.
    pub(in crate::seeded) fn withdraw(
        &mut self,
        user: Felt,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        let burned = raw(face_amount, self.accumulator_at(now));
        self.burn(user, burned, face_amount, now, transaction);
    }

    /// Withdraws all that a user holds: the raw units are burnt whole, whatever their worth rounds to.
    pub(in crate::seeded) fn withdraw_all(
        &mut self,
        user: Felt,
        now: u64,
        transaction: &mut Transaction,
    ) {
        let burned = self.holdings.get(&user).copied().unwrap_or(0);
        let worth = face(burned, self.accumulator_at(now));
        self.burn(user, burned, worth, now, transaction);
    }

    fn burn(
        &mut self,
        user: Felt,
        burned: u128,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        if face_amount > self.reserve_balance || !self.let_go(user, burned) {
            return;
        }
        self.sync_accumulators(now, transaction);
        self.emit_raw_transfer((user, Felt::ZERO), burned, face_amount, transaction);
        transaction.transfer(self.token(), MARKET, user, U256::from(face_amount));
        self.reserve_balance -= face_amount;
        self.sync_rates(transaction);
        transaction.emit(
            MARKET,
            selectors::WITHDRAWAL,
            vec![user, self.token(), Felt::from(face_amount)],
        );
    }

    /// Hands shares from one user to another, at the accumulator of the moment, which stays unsynced.
    /// Nothing happens if the first holds less.
    pub(in crate::seeded) fn transfer_shares(
        &mut self,
        (from, to): (Felt, Felt),
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        let accumulator = self.accumulator_at(now);
        let moved = raw(face_amount, accumulator);
        if moved == 0 || !self.let_go(from, moved) {
            return;
        }
        self.hold(to, moved);
        let raw_amount = moved;
        let shares = Shares { from, to, raw_amount, face_amount, accumulator };
        shares.emit(z_token(self.spec.token), transaction);
    }

    pub(in crate::seeded) fn borrow(
        &mut self,
        user: Felt,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.sync_accumulators(now, transaction);
        let raw_amount = raw(face_amount, self.debt_accumulator);
        self.raw_debt += raw_amount;
        self.reserve_balance -= face_amount;
        self.sync_rates(transaction);
        transaction.emit(
            MARKET,
            selectors::BORROWING,
            vec![user, self.token(), Felt::from(raw_amount), Felt::from(face_amount)],
        );
        transaction.transfer(self.token(), MARKET, user, U256::from(face_amount));
    }

    pub(in crate::seeded) fn repay(
        &mut self,
        user: Felt,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.sync_accumulators(now, transaction);
        let raw_amount = self.take_debt(face_amount);
        self.sync_rates(transaction);
        transaction.transfer(self.token(), user, MARKET, U256::from(face_amount));
        transaction.emit(
            MARKET,
            selectors::REPAYMENT,
            vec![user, user, self.token(), Felt::from(raw_amount), Felt::from(face_amount)],
        );
    }

    /// What a flash loan of so much owes on top.
    pub(in crate::seeded) fn flash_loan_fee(amount: u128) -> u128 {
        mul_div_128(amount, FLASH_LOAN_FEE, RAY)
    }

    /// A loan within one transaction. What comes back beyond the loan, its fee or more, less the
    /// treasury's part, raises the accumulator, at which that part is minted. The contract takes all that it
    /// finds.
    pub(in crate::seeded) fn flash_loan(
        &mut self,
        user: Felt,
        loan: FlashLoan,
        now: u64,
        transaction: &mut Transaction,
    ) {
        let FlashLoan { amount, returned } = loan;
        let fee = Self::flash_loan_fee(amount);
        transaction.transfer(self.token(), MARKET, user, U256::from(amount));
        transaction.transfer(self.token(), user, MARKET, U256::from(returned));
        let surplus = returned - amount;
        let to_treasury = mul_div_128(surplus, self.reserve_factor, RAY);
        let to_depositors = U256::from(surplus - to_treasury);
        let raised = mul_div(to_depositors, U256::from(RAY), U256::from(self.raw_supply().max(1)));
        let interest = self.treasury_interest(now);
        self.accumulate(now);
        self.lending_accumulator += raised;
        self.reserve_balance += surplus;
        self.tell_accumulators(transaction);
        self.mint(treasury(), interest + to_treasury, transaction);
        self.sync_rates(transaction);
        let (raw_supply, lending_accumulator) = (self.raw_supply(), self.lending_accumulator);
        let note = FlashLoanNote { at: now, raw_supply, lending_accumulator, fee };
        self.journal.flash_loaned(note);
        transaction.emit(
            MARKET,
            selectors::FLASH_LOAN,
            vec![user, user, self.token(), Felt::from(amount), Felt::from(fee)],
        );
    }

    /// Sets the treasury's part of the interest. As in the contract, what accrued since the last sync is
    /// shared by the new factor.
    pub(in crate::seeded) fn set_reserve_factor(
        &mut self,
        factor: u128,
        transaction: &mut Transaction,
    ) {
        self.reserve_factor = factor;
        transaction.emit(
            MARKET,
            selectors::RESERVE_FACTOR_UPDATE,
            vec![self.token(), Felt::from(factor)],
        );
    }

    /// Pays a part of someone's debt in this reserve. The collateral's shares change hands beside it.
    pub(in crate::seeded) fn liquidate(
        &mut self,
        seizure: Seizure,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.sync_accumulators(now, transaction);
        let raw_amount = self.take_debt(seizure.debt_amount);
        self.sync_rates(transaction);
        let paid = U256::from(seizure.debt_amount);
        transaction.transfer(self.token(), seizure.liquidator, MARKET, paid);
        transaction.emit(
            MARKET,
            selectors::LIQUIDATION,
            vec![
                seizure.liquidator,
                seizure.user,
                self.token(),
                Felt::from(raw_amount),
                Felt::from(seizure.debt_amount),
                seizure.collateral.address(),
                Felt::from(seizure.collateral_amount),
            ],
        );
    }
}
