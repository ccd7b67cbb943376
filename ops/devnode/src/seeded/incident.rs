//! The loss of zkLend's reserves of 2025-02-11, in one block a stage.
//!
//! An empty wstETH reserve is opened and 1 wei is deposited at the accumulator 10²⁷. Flash loans of 1 wei
//! are paid back with 1,000: the surplus is credited to the only depositor through the lending
//! accumulator, 851-fold at the first one, until it stands at 4.069297906051644020·10¹⁸ times 10²⁷. A
//! withdrawal of one and a half units then burns one raw unit, since it is rounded down; what that yields
//! is deposited again. With this as collateral the attacker borrows the other reserves nearly empty, and
//! the market is halted by an upgrade.
//!
//! The amounts are those of the real incident, which repeated the round some thousand times to have
//! collateral enough. The model knows no collateral, and three rounds show the events. Others use the
//! market until it is halted, and their draws are those of the chain without an incident.

use ruint::aliases::U256;
use starknet_types_core::felt::Felt;

use super::actions::{Turn, founder};
use super::emit::Transaction;
use super::math::{RAY, mul_div_128, to_u128};
use super::selectors;
use super::zklend::{FlashLoan, MARKET, PERCENT, Reserve, WSTETH};
use crate::chain::felts::made_up;

/// What wstETH pays to the treasury: with it the first flash loan raises the accumulator 851-fold.
const RESERVE_FACTOR: u128 = 15 * PERCENT;

/// Where the lending accumulator ends, as a multiple of 10²⁷, and so the worth of one raw unit in wei.
const INFLATED_UNIT: u128 = 4_069_297_906_051_644_020;

/// What comes back for a flash loan of 1 wei.
const RETURNED: u128 = 1_000;

/// Flash loans like the first one, in the block before the one that gives the rest.
const SMALL_LOANS: u32 = 8;

/// Rounds of deposits and withdrawals.
const ROUNDS: u32 = 3;

/// The part of deposits, in ten thousand, that the attacker leaves in a reserve.
const LEFT_BPS: u128 = 50;

/// The heights of an incident's stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incident {
    /// The wstETH reserve is opened.
    pub opened: u64,
    /// 1 wei is deposited.
    pub first_deposit: u64,
    /// The first flash loan: the lending accumulator grows 851-fold.
    pub first_flash_loan: u64,
    /// More flash loans: the accumulator is where it ends.
    pub inflated: u64,
    /// Deposits and withdrawals with the profit of rounding.
    pub rounded: u64,
    /// The other reserves are borrowed nearly empty.
    pub loss: u64,
    /// The market is halted; it has no events from here on but the upgrade.
    pub halted: u64,
}

/// What happens in one block of an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Open,
    Deposit,
    FlashLoan,
    Inflate,
    Round,
    Borrow,
    Halt,
}

impl Incident {
    /// An incident that begins at a height, which is above 0, and takes a block a stage.
    pub const fn from_height(opened: u64) -> Self {
        Self {
            opened,
            first_deposit: opened + 1,
            first_flash_loan: opened + 2,
            inflated: opened + 3,
            rounded: opened + 4,
            loss: opened + 5,
            halted: opened + 6,
        }
    }

    pub(super) fn stage_at(&self, height: u64) -> Option<Stage> {
        let stages = [
            (self.opened, Stage::Open),
            (self.first_deposit, Stage::Deposit),
            (self.first_flash_loan, Stage::FlashLoan),
            (self.inflated, Stage::Inflate),
            (self.rounded, Stage::Round),
            (self.loss, Stage::Borrow),
            (self.halted, Stage::Halt),
        ];
        stages.into_iter().find(|(at, _)| *at == height).map(|(_, stage)| stage)
    }
}

fn attacker() -> Felt {
    made_up("seeded attacker", &[])
}

impl Turn<'_> {
    /// One stage, each action in a transaction of its own.
    pub(super) fn play_incident(&mut self, stage: Stage) {
        match stage {
            Stage::Open => self.open_empty_reserve(),
            Stage::Deposit => self.at_wsteth(|reserve, now, transaction| {
                reserve.deposit(attacker(), 1, now, transaction);
            }),
            Stage::FlashLoan => self.flash_loan(RETURNED),
            Stage::Inflate => self.inflate(),
            Stage::Round => (0..ROUNDS).for_each(|_| self.round()),
            Stage::Borrow => self.borrow_everything(),
            Stage::Halt => self.halt(),
        }
    }

    fn open_empty_reserve(&mut self) {
        let mut transaction = Transaction::from(founder());
        let reserve = Reserve::list(WSTETH, RESERVE_FACTOR, self.now, &mut transaction);
        self.model.reserves.push(reserve);
        self.end(transaction);
    }

    fn at_wsteth(&mut self, act: impl FnOnce(&mut Reserve, u64, &mut Transaction)) {
        let mut transaction = Transaction::from(attacker());
        let token = WSTETH.token;
        let mut reserves = self.model.reserves.iter_mut();
        if let Some(reserve) = reserves.find(|reserve| reserve.spec.token == token) {
            act(reserve, self.now, &mut transaction);
        }
        self.end(transaction);
    }

    fn flash_loan(&mut self, returned: u128) {
        self.at_wsteth(|reserve, now, transaction| {
            reserve.flash_loan(attacker(), FlashLoan { amount: 1, returned }, now, transaction);
        });
    }

    fn inflate(&mut self) {
        for _ in 0..SMALL_LOANS {
            self.flash_loan(RETURNED);
        }
        self.at_wsteth(|reserve, now, transaction| {
            let reached = to_u128(reserve.lending_accumulator / U256::from(RAY));
            let returned = 1 + surplus_that_credits(INFLATED_UNIT - reached);
            reserve.flash_loan(attacker(), FlashLoan { amount: 1, returned }, now, transaction);
        });
    }

    /// Twice one unit in and one and a half out, each time for one raw unit. That yields a unit, which is
    /// deposited, and the attacker holds one more raw unit for nothing.
    fn round(&mut self) {
        for _ in 0..2 {
            self.at_wsteth(|reserve, now, transaction| {
                reserve.deposit(attacker(), INFLATED_UNIT + 1, now, transaction);
            });
            self.at_wsteth(|reserve, now, transaction| {
                reserve.withdraw(attacker(), INFLATED_UNIT / 2 * 3, now, transaction);
            });
        }
        self.at_wsteth(|reserve, now, transaction| {
            reserve.deposit(attacker(), INFLATED_UNIT, now, transaction);
        });
    }

    fn borrow_everything(&mut self) {
        for index in 0..self.model.reserves.len() {
            let mut transaction = Transaction::from(attacker());
            let Some(reserve) = self.model.reserves.get_mut(index) else {
                continue;
            };
            if reserve.spec.token == WSTETH.token {
                continue;
            }
            let left = mul_div_128(reserve.available() + reserve.debt(), LEFT_BPS, 10_000);
            let amount = reserve.available().saturating_sub(left);
            reserve.borrow(attacker(), amount, self.now, &mut transaction);
            self.end(transaction);
        }
    }

    fn halt(&mut self) {
        let mut transaction = Transaction::from(founder());
        let class_hash = made_up("zklend halted class", &[]);
        transaction.emit(MARKET, selectors::CONTRACT_UPGRADED, vec![class_hash]);
        self.end(transaction);
    }
}

/// The least surplus of which so much is left after the treasury's part, which is rounded down.
fn surplus_that_credits(credit: u128) -> u128 {
    let mut surplus = mul_div_128(credit, RAY, RAY - RESERVE_FACTOR);
    while surplus - mul_div_128(surplus, RESERVE_FACTOR, RAY) < credit {
        surplus += 1;
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_surplus_credits_what_was_asked() {
        for credit in [1, 849, 850, 851, 1_000_000, INFLATED_UNIT - 7_651] {
            let surplus = surplus_that_credits(credit);
            assert_eq!(surplus - mul_div_128(surplus, RESERVE_FACTOR, RAY), credit);
        }
    }
}
