//! zkLend's market: reserves, who supplied them, and accumulators at scale 10²⁷.
//!
//! Every action first brings the accumulators to the block's time (`AccumulatorsSync`), moves the
//! tokens, sets the rates (`InterestRatesSync`) and then says what it was. Rates follow utilization
//! `debt / (reserve + debt)` as of the action, so between actions they stand still while time runs.
//!
//! What a user holds is a *raw* amount, the face amount divided by the lending accumulator and rounded
//! down, at deposits as at withdrawals; who withdraws all gives up all raw units for what they are worth.
//! The treasury's part of the interest is minted to it when the accumulators are synced. A zToken
//! writes `Transfer` and `RawTransfer` at each mint, at each burn, and between users.

mod actions;
mod journal;
mod rates;

use std::collections::BTreeMap;

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

pub(super) use self::actions::{FlashLoan, Seizure};
pub(super) use self::journal::{Instant, Journal, Terms};
use self::rates::grown;
pub(super) use self::rates::{PERCENT, RESERVES, ReserveSpec, SECONDS_PER_YEAR, WSTETH};
use super::emit::Transaction;
use super::math::{RAY, mul_div, mul_div_128, mul_div_up, to_u128};
use super::selectors;
use super::tokens::Token;
use crate::chain::felts::made_up;

/// The market contract of the seeded chain.
pub(super) const MARKET: Felt =
    Felt::from_hex_unchecked("0x6f62737172615f6465765f7a6b6c656e645f6d61726b6574");

/// The part of the interest that an ordinary reserve has for the treasury at first.
pub(super) const RESERVE_FACTOR: u128 = 10 * PERCENT;

/// Nine parts in ten thousand.
const FLASH_LOAN_FEE: u128 = 9 * RAY / 10_000;

/// A reserve's state.
#[derive(Debug, Clone)]
pub(super) struct Reserve {
    pub(super) spec: ReserveSpec,
    /// Seconds since 1970.
    pub(super) opened_at: u64,
    pub(super) lending_accumulator: U256,
    pub(super) debt_accumulator: U256,
    pub(super) lending_rate: u128,
    pub(super) borrowing_rate: u128,
    pub(super) reserve_factor: u128,
    updated_at: u64,
    /// Raw amounts above 0 by holder.
    pub(super) holdings: BTreeMap<Felt, u128>,
    pub(super) raw_debt: u128,
    /// Tokens that lie in the contract.
    reserve_balance: u128,
    pub(super) journal: Journal,
}

/// Who holds what the treasury earns.
pub(super) fn treasury() -> Felt {
    made_up("zklend treasury", &[])
}

/// The zToken of a reserve.
pub(super) fn z_token(token: Token) -> Felt {
    made_up("zklend z token", &[token.symbol().as_bytes()])
}

impl Reserve {
    /// Lists a reserve, which states its accumulators and rates at once.
    pub(super) fn list(
        spec: ReserveSpec,
        reserve_factor: u128,
        timestamp: u64,
        transaction: &mut Transaction,
    ) -> Self {
        let terms = Terms { lending_rate: 0, borrowing_rate: 0, reserve_factor };
        let opening = Instant {
            at: timestamp,
            lending_accumulator: U256::from(RAY),
            debt_accumulator: U256::from(RAY),
            before: terms,
        };
        let mut reserve = Self {
            spec,
            opened_at: timestamp,
            lending_accumulator: opening.lending_accumulator,
            debt_accumulator: opening.debt_accumulator,
            lending_rate: 0,
            borrowing_rate: 0,
            reserve_factor,
            updated_at: timestamp,
            holdings: BTreeMap::new(),
            raw_debt: 0,
            reserve_balance: 0,
            journal: Journal::opened(opening),
        };
        reserve.emit_new_reserve(transaction);
        reserve.emit_accumulators(transaction);
        reserve.sync_rates(transaction);
        reserve
    }

    fn emit_new_reserve(&self, transaction: &mut Transaction) {
        let token = self.spec.token;
        transaction.emit(
            MARKET,
            selectors::NEW_RESERVE,
            vec![
                token.address(),
                z_token(token),
                Felt::from(token.decimals()),
                made_up("zklend interest rate model", &[token.symbol().as_bytes()]),
                Felt::from(80 * PERCENT),
                Felt::from(100 * PERCENT),
                Felt::from(self.reserve_factor),
                Felt::from(FLASH_LOAN_FEE),
                Felt::from(10 * PERCENT),
            ],
        );
    }

    pub(super) fn raw_supply(&self) -> u128 {
        self.holdings.values().sum()
    }

    /// What depositors own at the last accumulator.
    pub(super) fn supplied(&self) -> u128 {
        face(self.raw_supply(), self.lending_accumulator)
    }

    pub(super) fn debt(&self) -> u128 {
        face(self.raw_debt, self.debt_accumulator)
    }

    /// Tokens that can be withdrawn or borrowed.
    pub(super) fn available(&self) -> u128 {
        self.reserve_balance
    }

    /// The holder of that place in the order of addresses, counted round and round.
    pub(super) fn holder(&self, place: u64) -> Option<Felt> {
        let holders = u64::try_from(self.holdings.len()).ok()?;
        let place = usize::try_from(place.checked_rem(holders)?).ok()?;
        self.holdings.keys().nth(place).copied()
    }

    /// The least face amount whose withdrawal takes all that a user holds.
    pub(super) fn whole_holding(&self, user: Felt, now: u64) -> u128 {
        let raw = self.holdings.get(&user).copied().unwrap_or(0);
        to_u128(mul_div_up(U256::from(raw), self.accumulator_at(now), U256::from(RAY)))
    }

    /// Debt over reserve and debt, at scale 10²⁷.
    pub(super) fn utilization(&self) -> u128 {
        let debt = self.debt();
        let total = self.reserve_balance + debt;
        if total == 0 { 0 } else { mul_div_128(debt, RAY, total) }
    }

    fn hold(&mut self, user: Felt, raw_amount: u128) {
        if raw_amount > 0 {
            *self.holdings.entry(user).or_default() += raw_amount;
        }
    }

    /// Whether the user held so much, and no longer does.
    fn let_go(&mut self, user: Felt, raw_amount: u128) -> bool {
        let held = self.holdings.get(&user).copied().unwrap_or(0);
        match held.checked_sub(raw_amount) {
            None => return false,
            Some(0) => self.holdings.remove(&user),
            Some(rest) => self.holdings.insert(user, rest),
        };
        true
    }

    /// Gives a user shares. Raw units that round down to none are not minted, and no event tells of them.
    fn mint(&mut self, user: Felt, face_amount: u128, transaction: &mut Transaction) {
        let minted = raw(face_amount, self.lending_accumulator);
        if minted > 0 {
            self.hold(user, minted);
            self.emit_raw_transfer((Felt::ZERO, user), minted, face_amount, transaction);
        }
    }

    fn emit_raw_transfer(
        &self,
        (from, to): (Felt, Felt),
        raw_amount: u128,
        face_amount: u128,
        transaction: &mut Transaction,
    ) {
        let accumulator = self.lending_accumulator;
        let moved = Shares { from, to, raw_amount, face_amount, accumulator };
        moved.emit(z_token(self.spec.token), transaction);
    }

    fn take_debt(&mut self, face_amount: u128) -> u128 {
        let raw_amount = raw(face_amount, self.debt_accumulator).min(self.raw_debt);
        self.raw_debt -= raw_amount;
        self.reserve_balance += face_amount;
        raw_amount
    }

    fn token(&self) -> Felt {
        self.spec.token.address()
    }

    fn terms(&self) -> Terms {
        Terms {
            lending_rate: self.lending_rate,
            borrowing_rate: self.borrowing_rate,
            reserve_factor: self.reserve_factor,
        }
    }

    fn sync_accumulators(&mut self, now: u64, transaction: &mut Transaction) {
        let interest = self.treasury_interest(now);
        self.accumulate(now);
        self.tell_accumulators(transaction);
        self.mint(treasury(), interest, transaction);
    }

    /// The treasury's part of what accrued since the last sync, in the token's smallest unit.
    fn treasury_interest(&self, now: u64) -> u128 {
        let rate = mul_div_128(self.lending_rate, self.reserve_factor, RAY);
        let elapsed = u128::from(now.saturating_sub(self.updated_at));
        mul_div_128(self.supplied(), mul_div_128(rate, elapsed, SECONDS_PER_YEAR), RAY)
    }

    /// The lending accumulator as it will be when it is synced at a time.
    fn accumulator_at(&self, now: u64) -> U256 {
        let to_depositors = mul_div_128(self.lending_rate, RAY - self.reserve_factor, RAY);
        grown(self.lending_accumulator, to_depositors, now.saturating_sub(self.updated_at))
    }

    fn accumulate(&mut self, now: u64) {
        self.lending_accumulator = self.accumulator_at(now);
        let elapsed = now.saturating_sub(self.updated_at);
        self.debt_accumulator = grown(self.debt_accumulator, self.borrowing_rate, elapsed);
        self.updated_at = now;
    }

    /// Rates follow the accumulators in every action, so the terms are still those of the time before.
    fn tell_accumulators(&mut self, transaction: &mut Transaction) {
        let before = self.terms();
        self.journal.synced(Instant {
            at: self.updated_at,
            lending_accumulator: self.lending_accumulator,
            debt_accumulator: self.debt_accumulator,
            before,
        });
        self.emit_accumulators(transaction);
    }

    fn emit_accumulators(&self, transaction: &mut Transaction) {
        transaction.emit(
            MARKET,
            selectors::ACCUMULATORS_SYNC,
            vec![self.token(), felt(self.lending_accumulator), felt(self.debt_accumulator)],
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

/// Shares that change hands; those that are minted come from address 0, those that are burnt go to it.
struct Shares {
    from: Felt,
    to: Felt,
    raw_amount: u128,
    face_amount: u128,
    accumulator: U256,
}

impl Shares {
    /// Both events of a movement.
    fn emit(&self, z_token: Felt, transaction: &mut Transaction) {
        let (from, to) = (self.from, self.to);
        transaction.transfer(z_token, from, to, U256::from(self.face_amount));
        let amounts = [Felt::from(self.raw_amount), felt(self.accumulator)];
        let mut data = vec![from, to];
        data.extend(amounts);
        data.push(Felt::from(self.face_amount));
        transaction.emit(z_token, selectors::RAW_TRANSFER, data);
    }
}

/// What a raw amount is worth at an accumulator.
fn face(raw_amount: u128, accumulator: U256) -> u128 {
    to_u128(mul_div(U256::from(raw_amount), accumulator, U256::from(RAY)))
}

/// The raw amount of a face amount at an accumulator.
fn raw(face_amount: u128, accumulator: U256) -> u128 {
    to_u128(mul_div(U256::from(face_amount), U256::from(RAY), accumulator))
}

fn felt(value: U256) -> Felt {
    Felt::from_bytes_be(&value.to_be_bytes())
}
