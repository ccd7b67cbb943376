//! What the clock alone brings about, so that a block looks at the markets it is due at and at no others.
//!
//! A market may stand under an instant at which nothing is due any more; whoever takes it out looks at its
//! state, and puts it back under the next instant. The set is a persistent tree, which copies of the fold
//! share.

use rpds::RedBlackTreeSetSync;

/// Places of markets, by the instant at which one is to be looked at.
#[derive(Clone, Debug, Default)]
pub(crate) struct Due(RedBlackTreeSetSync<(u64, usize)>);

impl Due {
    /// Has a market looked at from that instant on; nothing where there is none.
    pub(crate) fn note(&mut self, instant: Option<u64>, place: usize) {
        if let Some(entry) = instant.map(|instant| (instant, place))
            && !self.0.contains(&entry)
        {
            self.0.insert_mut(entry);
        }
    }

    /// Takes out the market that has been due for longest at `now`.
    pub(crate) fn take(&mut self, now: u64) -> Option<usize> {
        let entry = self.0.first().copied().filter(|(instant, _)| *instant <= now)?;
        self.0.remove_mut(&entry);
        Some(entry.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_come_out_once_in_the_order_of_their_instants() {
        let mut due = Due::default();
        for (instant, place) in [(Some(7), 1), (Some(5), 2), (Some(7), 1), (None, 3), (Some(9), 0)]
        {
            due.note(instant, place);
        }
        let copy = due.clone();
        let taken = |due: &mut Due, now| std::iter::from_fn(|| due.take(now)).collect::<Vec<_>>();
        assert_eq!(taken(&mut due, 4), [0; 0]);
        assert_eq!(taken(&mut due, 7), [2, 1]);
        assert_eq!(taken(&mut due, 100), [0]);
        assert_eq!(taken(&mut copy.clone(), 9), [2, 1, 0]);
    }
}
