//! zkLend's market: reserves, accumulators at scale 10²⁷, and the kinked interest-rate model.
//!
//! Every action first brings the accumulators to the block's time (`AccumulatorsSync`), moves the
//! tokens, sets the rates (`InterestRatesSync`) and then says what it was. Rates follow utilization
//! `debt / (reserve + debt)` as of the action, so between actions they stand still while time runs.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::emit::Transaction;
use super::math::{RAY, mul_div_128};
use super::selectors;
use super::tokens::Token;
use crate::chain::felts::made_up;

/// The market contract of the seeded chain.
pub(super) const MARKET: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f7a6b6c656e645f6d61726b6574");

/// zkLend's year.
const SECONDS_PER_YEAR: u128 = 31_536_000;

/// One percent at scale 10²⁷.
const PERCENT: u128 = RAY / 100;

/// What the model fixes about a reserve.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReserveSpec {
    pub(super) token: Token,
    /// First deposit in whole USDC.
    pub(super) initial_usdc: u64,
    /// First debt, percent of the deposit.
    pub(super) initial_debt_percent: u64,
    slope0: u128,
    slope1: u128,
    y_intercept: u128,
    optimal: u128,
}

/// The reserves, in the order of their listing.
pub(super) const RESERVES: [ReserveSpec; 4] = [
    ReserveSpec {
        token: Token::Eth,
        initial_usdc: 21_500_000,
        initial_debt_percent: 38,
        slope0: 4 * PERCENT,
        slope1: 150 * PERCENT,
        y_intercept: PERCENT / 2,
        optimal: 65 * PERCENT,
    },
    ReserveSpec {
        token: Token::Usdc,
        initial_usdc: 13_000_000,
        initial_debt_percent: 72,
        slope0: 6 * PERCENT,
        slope1: 60 * PERCENT,
        y_intercept: PERCENT,
        optimal: 80 * PERCENT,
    },
    ReserveSpec {
        token: Token::Strk,
        initial_usdc: 8_000_000,
        initial_debt_percent: 30,
        slope0: 9 * PERCENT,
        slope1: 250 * PERCENT,
        y_intercept: 2 * PERCENT,
        optimal: 50 * PERCENT,
    },
    ReserveSpec {
        token: Token::Wbtc,
        initial_usdc: 7_600_000,
        initial_debt_percent: 45,
        slope0: 3 * PERCENT,
        slope1: 120 * PERCENT,
        y_intercept: PERCENT / 4,
        optimal: 60 * PERCENT,
    },
];

/// A reserve's state.
#[derive(Debug, Clone)]
pub(super) struct Reserve {
    pub(super) spec: ReserveSpec,
    pub(super) lending_accumulator: u128,
    debt_accumulator: u128,
    pub(super) lending_rate: u128,
    pub(super) borrowing_rate: u128,
    updated_at: u64,
    /// Deposits less withdrawals, each divided by the accumulator of its time.
    pub(super) raw_supply: u128,
    raw_debt: u128,
    /// Tokens that lie in the contract.
    reserve_balance: u128,
}

/// Fixed by the model for every reserve: a tenth of the interest goes to the treasury.
const RESERVE_FACTOR: u128 = 10 * PERCENT;

/// Nine parts in ten thousand.
const FLASH_LOAN_FEE: u128 = 9 * RAY / 10_000;

impl Reserve {
    /// Lists a reserve.
    pub(super) fn list(spec: ReserveSpec, timestamp: u64, transaction: &mut Transaction) -> Self {
        let symbol = spec.token.symbol().as_bytes();
        transaction.emit(
            MARKET,
            selectors::NEW_RESERVE,
            vec![
                spec.token.address(),
                made_up("zklend z token", &[symbol]),
                Felt::from(spec.token.decimals()),
                made_up("zklend interest rate model", &[symbol]),
                Felt::from(80 * PERCENT),
                Felt::from(100 * PERCENT),
                Felt::from(RESERVE_FACTOR),
                Felt::from(FLASH_LOAN_FEE),
                Felt::from(10 * PERCENT),
            ],
        );
        Self {
            spec,
            lending_accumulator: RAY,
            debt_accumulator: RAY,
            lending_rate: 0,
            borrowing_rate: 0,
            updated_at: timestamp,
            raw_supply: 0,
            raw_debt: 0,
            reserve_balance: 0,
        }
    }

    /// What depositors own at the last accumulator.
    pub(super) fn supplied(&self) -> u128 {
        mul_div_128(self.raw_supply, self.lending_accumulator, RAY)
    }

    pub(super) fn debt(&self) -> u128 {
        mul_div_128(self.raw_debt, self.debt_accumulator, RAY)
    }

    /// Tokens that can be withdrawn or borrowed.
    pub(super) fn available(&self) -> u128 {
        self.reserve_balance
    }

    /// Debt over reserve and debt, at scale 10²⁷.
    pub(super) fn utilization(&self) -> u128 {
        let debt = self.debt();
        let total = self.reserve_balance + debt;
        if total == 0 { 0 } else { mul_div_128(debt, RAY, total) }
    }

    pub(super) fn deposit(
        &mut self,
        user: Felt,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.sync_accumulators(now, transaction);
        transaction.transfer(self.token(), user, MARKET, U256::from(face_amount));
        self.raw_supply += mul_div_128(face_amount, RAY, self.lending_accumulator);
        self.reserve_balance += face_amount;
        self.sync_rates(transaction);
        transaction.emit(
            MARKET,
            selectors::DEPOSIT,
            vec![user, self.token(), Felt::from(face_amount)],
        );
    }

    pub(super) fn withdraw(
        &mut self,
        user: Felt,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.sync_accumulators(now, transaction);
        transaction.transfer(self.token(), MARKET, user, U256::from(face_amount));
        self.raw_supply -= mul_div_128(face_amount, RAY, self.lending_accumulator);
        self.reserve_balance -= face_amount;
        self.sync_rates(transaction);
        transaction.emit(
            MARKET,
            selectors::WITHDRAWAL,
            vec![user, self.token(), Felt::from(face_amount)],
        );
    }

    pub(super) fn borrow(
        &mut self,
        user: Felt,
        face_amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        self.sync_accumulators(now, transaction);
        let raw_amount = mul_div_128(face_amount, RAY, self.debt_accumulator);
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

    pub(super) fn repay(
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

    /// A loan within one transaction. Its fee, less the treasury's part, raises the accumulator.
    pub(super) fn flash_loan(
        &mut self,
        user: Felt,
        amount: u128,
        now: u64,
        transaction: &mut Transaction,
    ) {
        let fee = mul_div_128(amount, FLASH_LOAN_FEE, RAY);
        transaction.transfer(self.token(), MARKET, user, U256::from(amount));
        transaction.transfer(self.token(), user, MARKET, U256::from(amount + fee));
        self.accumulate(now);
        let to_depositors = fee - mul_div_128(fee, RESERVE_FACTOR, RAY);
        self.lending_accumulator += mul_div_128(to_depositors, RAY, self.raw_supply.max(1));
        self.reserve_balance += fee;
        self.emit_accumulators(transaction);
        self.sync_rates(transaction);
        transaction.emit(
            MARKET,
            selectors::FLASH_LOAN,
            vec![user, user, self.token(), Felt::from(amount), Felt::from(fee)],
        );
    }

    fn take_debt(&mut self, face_amount: u128) -> u128 {
        let raw_amount = mul_div_128(face_amount, RAY, self.debt_accumulator).min(self.raw_debt);
        self.raw_debt -= raw_amount;
        self.reserve_balance += face_amount;
        raw_amount
    }

    fn token(&self) -> Felt {
        self.spec.token.address()
    }

    fn sync_accumulators(&mut self, now: u64, transaction: &mut Transaction) {
        self.accumulate(now);
        self.emit_accumulators(transaction);
    }

    fn accumulate(&mut self, now: u64) {
        let elapsed = u128::from(now.saturating_sub(self.updated_at));
        self.updated_at = now;
        let to_depositors = mul_div_128(self.lending_rate, RAY - RESERVE_FACTOR, RAY);
        self.lending_accumulator = grown(self.lending_accumulator, to_depositors, elapsed);
        self.debt_accumulator = grown(self.debt_accumulator, self.borrowing_rate, elapsed);
    }

    fn emit_accumulators(&self, transaction: &mut Transaction) {
        transaction.emit(
            MARKET,
            selectors::ACCUMULATORS_SYNC,
            vec![
                self.token(),
                Felt::from(self.lending_accumulator),
                Felt::from(self.debt_accumulator),
            ],
        );
    }

    fn sync_rates(&mut self, transaction: &mut Transaction) {
        let utilization = self.utilization();
        self.borrowing_rate = self.spec.borrowing_rate(utilization);
        self.lending_rate = mul_div_128(self.borrowing_rate, utilization, RAY);
        transaction.emit(
            MARKET,
            selectors::INTEREST_RATES_SYNC,
            vec![self.token(), Felt::from(self.lending_rate), Felt::from(self.borrowing_rate)],
        );
    }
}

/// Pays a part of someone's debt and takes collateral for it: deposits change hands, nobody withdraws.
pub(super) fn liquidate(
    debt: &mut Reserve,
    debt_amount: u128,
    collateral: (Token, u128),
    parties: (Felt, Felt),
    now: u64,
    transaction: &mut Transaction,
) {
    let (liquidator, user) = parties;
    debt.sync_accumulators(now, transaction);
    let raw_amount = debt.take_debt(debt_amount);
    debt.sync_rates(transaction);
    transaction.transfer(debt.token(), liquidator, MARKET, U256::from(debt_amount));
    transaction.emit(
        MARKET,
        selectors::LIQUIDATION,
        vec![
            liquidator,
            user,
            debt.token(),
            Felt::from(raw_amount),
            Felt::from(debt_amount),
            collateral.0.address(),
            Felt::from(collateral.1),
        ],
    );
}

impl ReserveSpec {
    /// The kinked model: a gentle slope up to the optimal utilization, a steep one above it.
    fn borrowing_rate(&self, utilization: u128) -> u128 {
        if utilization == 0 {
            0
        } else if utilization <= self.optimal {
            self.y_intercept + mul_div_128(self.slope0, utilization, self.optimal)
        } else {
            let above = mul_div_128(self.slope1, utilization - self.optimal, RAY - self.optimal);
            self.y_intercept + self.slope0 + above
        }
    }
}

/// `accumulator · (1 + rate · seconds / year)`.
fn grown(accumulator: u128, rate: u128, seconds: u128) -> u128 {
    let growth = mul_div_128(rate, seconds, SECONDS_PER_YEAR);
    mul_div_128(accumulator, RAY + growth, RAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_has_a_kink_at_the_optimum() {
        let spec = RESERVES[0];
        assert_eq!(spec.borrowing_rate(0), 0);
        assert_eq!(spec.borrowing_rate(spec.optimal), spec.y_intercept + spec.slope0);
        assert_eq!(spec.borrowing_rate(RAY), spec.y_intercept + spec.slope0 + spec.slope1);
        assert!(spec.borrowing_rate(spec.optimal / 2) < spec.borrowing_rate(spec.optimal));
    }

    #[test]
    fn an_accumulator_grows_by_rate_and_time() {
        assert_eq!(grown(RAY, 10 * PERCENT, SECONDS_PER_YEAR), RAY + 10 * PERCENT);
        assert_eq!(grown(RAY, 10 * PERCENT, 0), RAY);
        let day = grown(RAY, 10 * PERCENT, 86_400);
        assert_eq!(day - RAY, mul_div_128(10 * PERCENT, 86_400, SECONDS_PER_YEAR));
    }
}
