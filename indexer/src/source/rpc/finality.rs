//! Where finality ends, on a node that has no tag for it: a block's status says whether it is
//! accepted on L1, and all below an accepted block are accepted too.
//!
//! From the last height known to be accepted, steps of double length go up until a block is not
//! accepted, then the gap is halved. The search is pure and gives up after [`FINALITY_ASKS`]
//! questions with what it has: what it has is true, only perhaps not the newest, and the next
//! search begins there.

use obsqra_types::BlockNumber;

/// Most blocks that one search asks for. A chain of 2³⁰ blocks takes 60 from its beginning.
pub(super) const FINALITY_ASKS: u32 = 64;

/// A search under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct FinalitySearch {
    /// The highest height that is accepted, plus one.
    accepted_below: u64,
    /// The lowest height that is not accepted.
    open_from: u64,
    /// How far the next step goes; none once a height that is not accepted was met.
    step: Option<u64>,
    asks_left: u32,
}

impl FinalitySearch {
    /// A search above `known`, up to the node's head.
    pub(super) fn new(known: Option<BlockNumber>, head: BlockNumber) -> Self {
        Self {
            accepted_below: known.map_or(0, |known| known.0.saturating_add(1)),
            open_from: head.0.saturating_add(1),
            step: Some(1),
            asks_left: FINALITY_ASKS,
        }
    }

    /// The height to ask for next; `None` at the end.
    pub(super) fn next(&self) -> Option<BlockNumber> {
        if self.asks_left == 0 || self.accepted_below >= self.open_from {
            return None;
        }
        let last = self.open_from - 1;
        let height = match self.step {
            Some(step) => last.min(self.accepted_below.saturating_add(step - 1)),
            None => self.accepted_below + (last - self.accepted_below) / 2,
        };
        Some(BlockNumber(height))
    }

    /// What the node said about the height asked for. A block that is not there counts as not
    /// accepted.
    pub(super) fn learn(&mut self, height: BlockNumber, accepted: bool) {
        self.asks_left = self.asks_left.saturating_sub(1);
        if accepted {
            self.accepted_below = self.accepted_below.max(height.0.saturating_add(1));
            self.step = self.step.map(|step| step.saturating_mul(2));
        } else {
            self.open_from = self.open_from.min(height.0);
            self.step = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The newest accepted height found when all up to `truth` are, and the questions it took.
    fn found(known: Option<u64>, head: u64, truth: Option<u64>) -> (Option<u64>, u32) {
        let mut search = FinalitySearch::new(known.map(BlockNumber), BlockNumber(head));
        let (mut newest, mut asks) = (known, 0);
        while let Some(height) = search.next() {
            assert!(height.0 <= head, "asked above the head");
            assert!(known.is_none_or(|known| height.0 > known), "asked for what is known");
            let accepted = truth.is_some_and(|truth| height.0 <= truth);
            if accepted {
                newest = newest.max(Some(height.0));
            }
            search.learn(height, accepted);
            asks += 1;
        }
        (newest, asks)
    }

    #[test]
    fn nothing_new_costs_one_question() {
        assert_eq!(found(Some(100), 150, Some(100)), (Some(100), 1));
        assert_eq!(found(None, 150, None), (None, 1));
        assert_eq!(found(Some(150), 150, Some(150)), (Some(150), 0));
        assert_eq!(found(None, 0, Some(0)), (Some(0), 1));
    }

    #[test]
    fn a_search_that_ends_early_has_found_something_true() {
        let mut search = FinalitySearch::new(None, BlockNumber(u64::MAX - 1));
        let mut asks = 0;
        while let Some(height) = search.next() {
            search.learn(height, height.0 <= (1 << 62) + 12_345);
            asks += 1;
        }
        assert_eq!(asks, FINALITY_ASKS);
        assert!(search.accepted_below > 1 << 61);
    }

    proptest! {
        #[test]
        fn the_newest_is_found(
            known in proptest::option::of(0u64..5_000_000),
            above in 0u64..5_000_000,
            unfinal in 0u64..5_000_000,
        ) {
            let truth = known.unwrap_or(0) + above;
            let (newest, asks) = found(known, truth + unfinal, Some(truth));
            prop_assert_eq!(newest, Some(truth));
            prop_assert!(asks <= FINALITY_ASKS);
        }
    }
}
