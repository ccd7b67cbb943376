//! A total that events state now and then, as it was 24 hours ago.
//!
//! Memory is bounded: one item for each instant of the last day at which the total became another, and the
//! one before. A total that nobody stated by then is not known: what is stated later says nothing of it.

use obsqra_types::U256;

use super::chunks::Chunks;
use super::trades::DAY;

/// The totals that events stated.
#[derive(Clone, Debug, Default)]
pub(crate) struct DayTotals {
    /// The last one that was stated 24 hours ago or earlier.
    before: Option<U256>,
    /// Later ones by instant, each unlike the one before it as it was added.
    since: Chunks<(u64, U256)>,
}

impl DayTotals {
    /// What was stated last at each instant.
    pub(crate) fn items(&self) -> (Option<U256>, impl Iterator<Item = &(u64, U256)>) {
        (self.before, self.since.iter())
    }

    /// From what [`Self::items`] gave.
    pub(crate) fn of(before: Option<U256>, since: Vec<(u64, U256)>) -> Self {
        let mut all = Self { before, since: Chunks::default() };
        since.into_iter().for_each(|item| all.since.push_back(item));
        all
    }

    /// The last total stated 24 hours ago or earlier.
    pub(crate) fn before(&self) -> Option<U256> {
        self.before
    }

    /// Takes what was stated at `now`, which is not before any item.
    pub(crate) fn state(&mut self, now: u64, total: U256) {
        let last = self.since.back().copied();
        match last {
            Some((instant, _)) if instant == now => {
                self.since.back_mut().into_iter().for_each(|item| item.1 = total);
            }
            _ if last.map(|(_, total)| total).or(self.before) == Some(total) => {}
            _ => self.since.push_back((now, total)),
        }
    }

    /// The instant from which on [`Self::expire`] changes something.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        self.since.front()?.0.checked_add(DAY)
    }

    /// Keeps one of those that are a day old or older.
    pub(crate) fn expire(&mut self, now: u64) {
        while self.expires_at().is_some_and(|end| end <= now) {
            self.before = self.since.front().map(|(_, total)| *total);
            self.since.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_total_is_known_a_day_later() {
        let mut totals = DayTotals::default();
        totals.state(100, U256::from(7u8));
        assert_eq!(totals.expires_at(), Some(100 + DAY));
        totals.expire(99 + DAY);
        assert_eq!(totals.before(), None);
        totals.expire(100 + DAY);
        assert_eq!(totals.before(), Some(U256::from(7u8)));
        assert_eq!(totals.expires_at(), None);
    }

    proptest! {
        #[test]
        fn the_last_one_a_day_ago_is_the_last_one_a_day_ago(
            steps in prop::collection::vec((0u64..40_000, 0u64..4), 1..60),
        ) {
            let mut totals = DayTotals::default();
            let (mut stated, mut now) = (Vec::new(), 0);
            for (step, total) in steps {
                now += step;
                stated.push((now, U256::from(total)));
                totals.state(now, U256::from(total));
                totals.expire(now);
                let old = stated.iter().rev().find(|(instant, _)| *instant + DAY <= now);
                prop_assert_eq!(totals.before(), old.map(|(_, total)| *total));
            }
        }
    }
}
