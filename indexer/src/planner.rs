//! What to do next, as a pure function of where the follower stands and what the node says.
//!
//! A head that goes backwards is no reorganisation: it takes a competing hash at the same height, whose
//! own chain links down to a block that the log holds. Nothing at or below the last block accepted on L1
//! is ever reverted.

use obsqra_types::{BlockHash, BlockNumber};

/// A block's place and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockId {
    /// Height.
    pub number: BlockNumber,
    /// Hash.
    pub hash: BlockHash,
}

/// A fetched block as far as linking goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockLink {
    /// Height and hash.
    pub id: BlockId,
    /// The hash of the block below.
    pub parent: BlockHash,
}

/// Where the follower stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The first height to follow.
    pub start: BlockNumber,
    /// The newest canonical block in the log.
    pub tip: Option<BlockId>,
    /// The highest block accepted on L1.
    pub finalized: Option<BlockNumber>,
}

/// What to do about a node's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// The log has all the node has, or the node lags behind the log.
    Wait,
    /// Fetch these heights, both inclusive.
    Fetch {
        /// The lowest.
        from: BlockNumber,
        /// The highest.
        to: BlockNumber,
    },
    /// The node has another block at this height: look for where the chains part, from here down.
    FindFork {
        /// The highest height at which they are known to differ.
        from: BlockNumber,
    },
}

/// How fetched blocks stand to the tip.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Linking {
    /// They continue it.
    Extends,
    /// The lowest names another parent than the tip.
    Fork {
        /// The tip's height.
        at: BlockNumber,
    },
    /// They do not link among themselves, or leave a gap.
    Broken {
        /// The block that does not link.
        block: BlockLink,
        /// What it should name as its parent.
        below: BlockHash,
    },
}

/// What comparing one height says about the fork.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ForkSearch {
    /// Both chains have this block: all above it is to be reverted.
    Found(BlockNumber),
    /// They differ; compare this height next.
    Down(BlockNumber),
    /// They differ at a height that is final.
    BelowFinal,
    /// They differ at the first block of the log.
    NothingInCommon,
}

impl Position {
    /// The next step, given the node's head and the hash that the log has at the head's height.
    #[must_use]
    pub fn next_step(&self, head: BlockId, own_hash_there: Option<BlockHash>, most: u64) -> Step {
        let next = self.tip.map_or(self.start, |tip| tip.number.next());
        if head.number >= next {
            let to = BlockNumber(head.number.0.min(next.0.saturating_add(most.max(1) - 1)));
            return Step::Fetch { from: next, to };
        }
        match own_hash_there {
            Some(own) if own != head.hash => Step::FindFork { from: head.number },
            _ => Step::Wait,
        }
    }

    /// How blocks fetched in height order stand to the tip.
    #[must_use]
    pub fn link(&self, blocks: &[BlockLink]) -> Linking {
        let mut below = self.tip;
        for (index, block) in blocks.iter().enumerate() {
            if let Some(expected) = below {
                let follows = block.id.number == expected.number.next();
                if follows && block.parent != expected.hash && index == 0 {
                    return Linking::Fork { at: expected.number };
                }
                if !follows || block.parent != expected.hash {
                    return Linking::Broken { block: *block, below: expected.hash };
                }
            }
            below = Some(block.id);
        }
        Linking::Extends
    }

    /// What it says about the fork that at `height` the node has one hash and the log another.
    #[must_use]
    pub fn search(
        &self,
        first: BlockNumber,
        height: BlockNumber,
        node: BlockHash,
        own: BlockHash,
    ) -> ForkSearch {
        if node == own {
            return ForkSearch::Found(height);
        }
        if self.finalized.is_some_and(|finalized| height <= finalized) {
            return ForkSearch::BelowFinal;
        }
        match height.previous() {
            Some(below) if height > first => ForkSearch::Down(below),
            _ => ForkSearch::NothingInCommon,
        }
    }
}

#[cfg(test)]
mod tests {
    use obsqra_types::Felt;

    use super::*;

    fn id(number: u64, hash: u64) -> BlockId {
        BlockId { number: BlockNumber(number), hash: BlockHash(Felt::from(hash)) }
    }

    fn link(number: u64, hash: u64, parent: u64) -> BlockLink {
        BlockLink { id: id(number, hash), parent: BlockHash(Felt::from(parent)) }
    }

    fn at(tip: BlockId) -> Position {
        Position { start: BlockNumber(0), tip: Some(tip), finalized: Some(BlockNumber(3)) }
    }

    #[test]
    fn a_new_log_starts_at_its_first_block() {
        let new = Position { start: BlockNumber(7), tip: None, finalized: None };
        let expected = Step::Fetch { from: BlockNumber(7), to: BlockNumber(9) };
        assert_eq!(new.next_step(id(9, 1), None, 100), expected);
        let bounded = Step::Fetch { from: BlockNumber(7), to: BlockNumber(8) };
        assert_eq!(new.next_step(id(9, 1), None, 2), bounded);
        assert_eq!(new.next_step(id(6, 1), None, 100), Step::Wait);
    }

    #[test]
    fn a_head_that_goes_backwards_is_no_reorganisation() {
        let own = BlockHash(Felt::from(5u64));
        assert_eq!(at(id(9, 90)).next_step(id(5, 5), Some(own), 100), Step::Wait);
        assert_eq!(at(id(9, 90)).next_step(id(9, 90), Some(id(9, 90).hash), 100), Step::Wait);
    }

    #[test]
    fn a_competing_hash_at_a_held_height_is_a_fork() {
        let own = BlockHash(Felt::from(5u64));
        let step = at(id(9, 90)).next_step(id(5, 55), Some(own), 100);
        assert_eq!(step, Step::FindFork { from: BlockNumber(5) });
    }

    #[test]
    fn links_are_checked_from_the_tip_on() {
        let position = at(id(9, 90));
        assert_eq!(position.link(&[link(10, 100, 90), link(11, 110, 100)]), Linking::Extends);
        assert_eq!(position.link(&[link(10, 100, 91)]), Linking::Fork { at: BlockNumber(9) });
        let broken = link(11, 110, 101);
        assert_eq!(
            position.link(&[link(10, 100, 90), broken]),
            Linking::Broken { block: broken, below: id(10, 100).hash }
        );
        let gap = link(11, 110, 90);
        assert_eq!(position.link(&[gap]), Linking::Broken { block: gap, below: id(9, 90).hash });
    }

    #[test]
    fn a_fork_is_searched_downwards_and_never_into_what_is_final() {
        let position = at(id(9, 90));
        let first = BlockNumber(0);
        let hash = |value: u64| BlockHash(Felt::from(value));
        let search =
            |height, node, own| position.search(first, BlockNumber(height), hash(node), hash(own));
        assert_eq!(search(8, 1, 1), ForkSearch::Found(BlockNumber(8)));
        assert_eq!(search(8, 1, 2), ForkSearch::Down(BlockNumber(7)));
        assert_eq!(search(3, 1, 2), ForkSearch::BelowFinal);
        let open = Position { finalized: None, ..position };
        assert_eq!(
            open.search(BlockNumber(8), BlockNumber(8), hash(1), hash(2)),
            ForkSearch::NothingInCommon
        );
    }
}
