//! What suppliers and borrowers do at the pool of Vesu.

use starknet_types_core::felt::Felt;

use super::Model;
use super::actions::{Turn, founder};
use super::emit::{Transaction, account};
use super::math::mul_div_128;
use super::vesu::{ASSETS, ONE, VesuPool};
use crate::chain::block::TransactionDraft;

/// The first suppliers of each asset, beside the founder, and percent of the first supply.
const FIRST_SUPPLIERS: [(u64, u64); 3] = [(11, 30), (12, 14), (13, 6)];

/// One in so many readings of the oracle is not valid.
const INVALID_EACH: u64 = 40;

impl Model {
    /// The pool with its first supplies and a loan in each direction.
    pub(super) fn found_vesu(&mut self, now: u64) -> Vec<TransactionDraft> {
        let mut transaction = Transaction::from(founder());
        let mut pool = VesuPool::create(founder(), now, &mut transaction);
        pool.set_prices(ASSETS.map(|spec| Some(self.prices.of(spec.token))));
        let mut transactions = Vec::new();
        for (place, spec) in ASSETS.into_iter().enumerate() {
            let mut supply = |percent: u64, transaction: &mut Transaction| {
                let amount =
                    self.prices.amount_worth(spec.token, spec.initial_usdc / 100 * percent);
                pool.supply(place, amount, now, transaction);
            };
            supply(50, &mut transaction);
            for (index, percent) in FIRST_SUPPLIERS {
                let mut transaction = Transaction::from(account(index));
                supply(percent, &mut transaction);
                transactions.push(transaction.finish());
            }
        }
        transactions.insert(0, transaction.finish());
        for (place, percent) in [(0, 55), (1, 30)] {
            let mut transaction = Transaction::from(account(11));
            let amount = pool.assets.get(1 - place).map_or(0, |asset| asset.reserve());
            pool.borrow(place, amount / 100 * percent, now, &mut transaction);
            transactions.push(transaction.finish());
        }
        self.vesu.push(pool);
        transactions
    }
}

impl Turn<'_> {
    /// A block at the pool: mostly one action, now and then two or none.
    pub(super) fn play_vesu(&mut self) {
        for _ in 0..self.dice.between(0, 2) {
            self.lend_at_vesu();
        }
    }

    fn lend_at_vesu(&mut self) {
        let (kind, share_bps) = (self.dice.below(100), u128::from(self.dice.between(5, 300)));
        let (place, index) = (self.dice.index(ASSETS.len()), self.dice.below(u64::MAX));
        let prices = ASSETS.map(|spec| {
            let is_valid = !self.dice.below(INVALID_EACH).is_multiple_of(INVALID_EACH);
            is_valid.then(|| self.model.prices.of(spec.token))
        });
        let mut transaction = self.begin();
        let (now, reference) = (self.now, &self.model.prices);
        let usual = ASSETS.map(|spec| reference.amount_worth(spec.token, spec.initial_usdc));
        if let Some(pool) = self.model.vesu.first_mut() {
            pool.set_prices(prices);
            let kind = kind_within(pool, place, kind, usual);
            act(pool, (kind, place, index, share_bps), now, &mut transaction);
        }
        self.end(transaction);
    }
}

/// What is done at the pool.
#[derive(Clone, Copy)]
enum Kind {
    Supply,
    Withdraw,
    Leave,
    Borrow,
    Repay,
    Liquidate,
}

/// The action of a draw, turned around where supply or utilization leave their bounds.
fn kind_within(pool: &VesuPool, place: usize, draw: u64, usual: [u128; 2]) -> Kind {
    let bounds = pool
        .assets
        .get(place)
        .zip(usual.get(place))
        .map(|(asset, usual)| (asset.supplied() > usual * 2, asset.supplied() < usual / 2));
    let lent = pool.assets.get(1 - place).map_or(0, |asset| asset.utilization());
    let own = pool.assets.get(place).map_or(0, |asset| asset.utilization());
    let kind = match draw {
        0..30 => Kind::Supply,
        30..52 => Kind::Withdraw,
        52..55 => Kind::Leave,
        55..76 => Kind::Borrow,
        76..95 => Kind::Repay,
        _ => Kind::Liquidate,
    };
    match (kind, bounds) {
        (Kind::Supply, Some((true, _))) => Kind::Withdraw,
        (Kind::Withdraw | Kind::Leave, Some((_, true))) => Kind::Supply,
        (Kind::Withdraw | Kind::Leave, _) if own > ONE / 100 * 80 => Kind::Supply,
        (Kind::Borrow, _) if lent > ONE / 100 * 75 => Kind::Repay,
        (Kind::Repay | Kind::Liquidate, _) if lent < ONE / 100 * 15 => Kind::Borrow,
        (kind, _) => kind,
    }
}

fn act(
    pool: &mut VesuPool,
    (kind, place, index, share_bps): (Kind, usize, u64, u128),
    now: u64,
    transaction: &mut Transaction,
) {
    let supplied = pool.assets.get(place).map_or(0, |asset| asset.supplied());
    match kind {
        Kind::Supply => {
            pool.supply(place, mul_div_128(supplied, share_bps, 10_000).max(1), now, transaction);
        }
        Kind::Withdraw | Kind::Leave => {
            let Some((user, held)) = holder(pool, place, index) else {
                return;
            };
            transaction.sender = user;
            let leaves = matches!(kind, Kind::Leave) || share_bps > 250;
            let shares = if leaves { held } else { mul_div_128(held, share_bps * 10, 10_000) };
            pool.withdraw(place, shares, now, transaction);
        }
        Kind::Borrow => {
            let reserve = pool.assets.get(1 - place).map_or(0, |asset| asset.reserve());
            pool.borrow(place, mul_div_128(reserve, share_bps, 10_000), now, transaction);
        }
        Kind::Repay => {
            if let Some((user, place)) = borrower(pool, index) {
                transaction.sender = user;
                pool.repay(place, (share_bps * 40).min(10_000), now, transaction);
            }
        }
        Kind::Liquidate => {
            if let Some(loan) = borrower(pool, index) {
                pool.liquidate(loan, share_bps, now, transaction);
            }
        }
    }
}

/// The holder of that place in the order of addresses, counted round and round.
fn holder(pool: &VesuPool, place: usize, index: u64) -> Option<(Felt, u128)> {
    let holdings = &pool.assets.get(place)?.holdings;
    let index = index.checked_rem(u64::try_from(holdings.len()).ok()?)?;
    let found = holdings.iter().nth(usize::try_from(index).ok()?)?;
    Some((*found.0, *found.1))
}

/// A loan, found in the same way.
fn borrower(pool: &VesuPool, index: u64) -> Option<(Felt, usize)> {
    let index = index.checked_rem(u64::try_from(pool.loans.len()).ok()?)?;
    pool.loans.keys().nth(usize::try_from(index).ok()?).copied()
}
