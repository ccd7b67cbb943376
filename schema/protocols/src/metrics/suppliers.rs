//! Who supplied how much to a reserve, in raw shares, and how much of it stands with the greatest.
//!
//! The table is a persistent tree: a copy of the fold shares it, and an event costs the logarithm of the
//! number of holders. Sums are kept along, so that no figure walks over the holders. A holding below
//! zero is kept: it says that shares moved without an event.

use obsqra_types::{Bps, ContractAddress, U256};
use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::signed::SignedAmount;
use crate::fixed::{Wide, floor_div};

/// Holdings of a reserve's shares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Suppliers {
    holdings: RedBlackTreeMapSync<ContractAddress, SignedAmount>,
    /// Holdings above zero, smallest first.
    ranked: RedBlackTreeSetSync<(U256, ContractAddress)>,
    sum: Wide,
    sum_of_squares: Wide,
    below_zero: u64,
    /// What holdings below zero lack.
    sum_below_zero: Wide,
}

impl Suppliers {
    /// Holdings other than zero, by account.
    pub(crate) fn holdings(&self) -> impl Iterator<Item = (&ContractAddress, &SignedAmount)> {
        self.holdings.iter()
    }

    /// What an account holds, where that is above zero.
    pub(crate) fn held(&self, account: &ContractAddress) -> Option<U256> {
        let holding = self.holdings.get(account).filter(|holding| !holding.negative)?;
        Some(holding.magnitude)
    }

    /// Adds to or takes from a holding; `None`, and nothing changed, where it leaves 256 bits.
    pub(crate) fn add(
        &mut self,
        account: ContractAddress,
        magnitude: U256,
        negative: bool,
    ) -> Option<()> {
        let old = self.holdings.get(&account).copied().unwrap_or_default();
        let new = old.plus(magnitude, negative)?;
        self.leave_sums(account, old);
        self.enter_sums(account, new);
        if new.magnitude.is_zero() {
            self.holdings.remove_mut(&account);
        } else {
            self.holdings.insert_mut(account, new);
        }
        Some(())
    }

    fn leave_sums(&mut self, account: ContractAddress, holding: SignedAmount) {
        let magnitude = Wide::from(holding.magnitude);
        if holding.negative {
            self.below_zero -= 1;
            self.sum_below_zero -= magnitude;
        } else if !holding.magnitude.is_zero() {
            self.ranked.remove_mut(&(holding.magnitude, account));
            self.sum -= magnitude;
            self.sum_of_squares -= magnitude * magnitude;
        }
    }

    fn enter_sums(&mut self, account: ContractAddress, holding: SignedAmount) {
        let magnitude = Wide::from(holding.magnitude);
        if holding.negative {
            self.below_zero += 1;
            self.sum_below_zero += magnitude;
        } else if !holding.magnitude.is_zero() {
            self.ranked.insert_mut((holding.magnitude, account));
            self.sum += magnitude;
            self.sum_of_squares += magnitude * magnitude;
        }
    }

    /// Whether all holdings, those below zero among them, add up to that.
    pub(crate) fn add_up_to(&self, shares: U256) -> bool {
        self.sum == Wide::from(shares) + self.sum_below_zero
    }

    /// Whether a holding is below zero.
    pub(crate) fn has_negative(&self) -> bool {
        self.below_zero > 0
    }

    /// How many hold shares.
    pub(crate) fn count(&self) -> Figure<u64> {
        self.check_signs()?;
        or_overflow(u64::try_from(self.ranked.size()).ok())
    }

    /// The greatest holding.
    pub(crate) fn largest(&self) -> Figure<U256> {
        self.check_signs()?;
        let largest = self.ranked.last().map(|(raw, _)| *raw);
        largest.ok_or(Absence::bare(Reason::NoSuppliers))
    }

    /// The share of the `places` greatest holders.
    pub(crate) fn top(&self, places: usize) -> Figure<Bps> {
        self.largest()?;
        let top = self.ranked.iter().rev().take(places);
        let part = top.fold(Wide::ZERO, |sum, (raw, _)| sum + Wide::from(*raw));
        share(part, self.sum)
    }

    /// The Herfindahl–Hirschman index: the sum of squared shares.
    pub(crate) fn hhi(&self) -> Figure<Bps> {
        self.largest()?;
        share(self.sum_of_squares, self.sum * self.sum)
    }

    fn check_signs(&self) -> Figure<()> {
        if self.has_negative() {
            return Err(Absence::new(Reason::NegativeBalance, "a supplier's holding"));
        }
        Ok(())
    }
}

fn share(part: Wide, whole: Wide) -> Figure<Bps> {
    let ratio = floor_div(part * Wide::from(Bps::ONE.0), whole);
    or_overflow(ratio.and_then(|ratio| Bps::try_from(ratio).ok()))
}

#[cfg(test)]
mod tests {
    use obsqra_types::Felt;
    use proptest::prelude::*;

    use super::*;

    fn account(number: u64) -> ContractAddress {
        ContractAddress(Felt::from(number))
    }

    fn suppliers(holdings: &[(u64, u64)]) -> Suppliers {
        let mut all = Suppliers::default();
        for (number, raw) in holdings {
            all.add(account(*number), U256::from(*raw), false).unwrap();
        }
        all
    }

    #[test]
    fn shares_are_of_the_sum() {
        // 60, 20, 10, 5, 3, 2 of 100: 3600 + 400 + 100 + 25 + 9 + 4 = 4138 of 10,000.
        let all = suppliers(&[(1, 60), (2, 20), (3, 10), (4, 5), (5, 3), (6, 2)]);
        assert_eq!(all.count(), Ok(6));
        assert_eq!(all.hhi(), Ok(Bps(4_138)));
        assert_eq!(all.top(1), Ok(Bps(6_000)));
        assert_eq!(all.top(5), Ok(Bps(9_800)));
    }

    #[test]
    fn sums_follow_what_leaves() {
        let mut all = suppliers(&[(1, 60), (2, 20)]);
        all.add(account(1), U256::from(60u8), true).unwrap();
        assert_eq!((all.count(), all.hhi()), (Ok(1), Ok(Bps::ONE)));
        all.add(account(2), U256::from(20u8), true).unwrap();
        assert_eq!(all.count(), Ok(0));
        assert_eq!(all.hhi().unwrap_err().reason, Reason::NoSuppliers);
        assert_eq!(all.holdings().count(), 0);
    }

    /// What a walk over all holdings gives.
    fn recounted(all: &Suppliers) -> (u64, Wide, Vec<U256>, Wide, Wide) {
        let mut held: Vec<U256> =
            all.holdings().filter(|(_, raw)| !raw.negative).map(|(_, raw)| raw.magnitude).collect();
        held.sort_unstable();
        let sum = held.iter().fold(Wide::ZERO, |sum, raw| sum + Wide::from(*raw));
        let squares =
            held.iter().fold(Wide::ZERO, |sum, raw| sum + Wide::from(*raw) * Wide::from(*raw));
        let below: Vec<Wide> = all
            .holdings()
            .filter(|(_, raw)| raw.negative)
            .map(|(_, raw)| Wide::from(raw.magnitude))
            .collect();
        let lacking = below.iter().fold(Wide::ZERO, |sum, raw| sum + *raw);
        (below.len() as u64, lacking, held, sum, squares)
    }

    proptest! {
        #[test]
        fn sums_kept_along_are_the_sums(steps in prop::collection::vec((0u64..9, 0u64..99, any::<bool>()), 0..200)) {
            let mut all = Suppliers::default();
            for (number, raw, negative) in steps {
                all.add(account(number), U256::from(raw), negative).unwrap();
                let (below_zero, lacking, held, sum, squares) = recounted(&all);
                prop_assert_eq!((all.below_zero, all.sum, all.sum_of_squares), (below_zero, sum, squares));
                prop_assert_eq!(all.sum_below_zero, lacking);
                prop_assert!(all.ranked.iter().map(|(raw, _)| raw).eq(&held));
            }
        }
    }

    #[test]
    fn a_holding_below_zero_hides_the_shares_until_it_is_not() {
        let mut all = suppliers(&[(1, 60)]);
        all.add(account(2), U256::from(1u8), true).unwrap();
        assert_eq!(all.top(1).unwrap_err().reason, Reason::NegativeBalance);
        assert!(all.add_up_to(U256::from(59u8)) && !all.add_up_to(U256::from(60u8)));
        all.add(account(2), U256::from(1u8), false).unwrap();
        assert_eq!(all.top(1), Ok(Bps::ONE));
        assert_eq!(all.add(account(1), U256::MAX, false), None);
        assert_eq!(all.top(1), Ok(Bps::ONE));
    }
}
