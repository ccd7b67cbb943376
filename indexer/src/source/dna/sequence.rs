//! The order in which a stream's blocks must come: each height once, one after the other, each on the
//! block before it, and back only where the server says so.

use obsqra_types::{BlockHash, BlockNumber};

use super::{DnaCursor, DnaStart};
use crate::planner::{BlockId, BlockLink};

/// What has to come next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sequence {
    next: BlockNumber,
    /// The hash below, where it is known.
    below: Option<BlockHash>,
}

impl Sequence {
    pub(super) fn new(start: DnaStart) -> Self {
        match start {
            DnaStart::At(next) => Self { next, below: None },
            DnaStart::After(BlockId { number, hash }) => {
                Self { next: BlockNumber(number.0 + 1), below: Some(hash) }
            }
        }
    }

    /// Takes the next block.
    ///
    /// # Errors
    /// Says what should have come instead.
    pub(super) fn block(&mut self, link: BlockLink) -> Result<(), String> {
        let BlockLink { id, parent } = link;
        if id.number != self.next {
            return Err(format!("block {} came where block {} is next", id.number, self.next));
        }
        if let Some(below) = self.below.filter(|below| *below != parent) {
            return Err(format!(
                "block {} names {parent} as its parent, but the block before it has hash {below}",
                id.number
            ));
        }
        *self = Self { next: BlockNumber(id.number.0 + 1), below: Some(id.hash) };
        Ok(())
    }

    /// Goes back to a block, or to before the first.
    ///
    /// # Errors
    /// When that is not back.
    pub(super) fn rewind(&mut self, to: Option<DnaCursor>) -> Result<(), String> {
        let Some(to) = to else {
            *self = Self { next: BlockNumber(0), below: None };
            return Ok(());
        };
        if to.number >= self.next {
            return Err(format!(
                "it goes back to block {}, although block {} is next",
                to.number, self.next
            ));
        }
        *self = Self { next: BlockNumber(to.number.0 + 1), below: to.hash };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use obsqra_types::Felt;

    use super::*;

    fn hash(value: u64) -> BlockHash {
        BlockHash(Felt::from(value))
    }

    fn link(number: u64, own: u64, parent: u64) -> BlockLink {
        let id = BlockId { number: BlockNumber(number), hash: hash(own) };
        BlockLink { id, parent: hash(parent) }
    }

    fn back_to(number: u64, hash: Option<BlockHash>) -> Option<DnaCursor> {
        Some(DnaCursor { number: BlockNumber(number), hash })
    }

    #[test]
    fn blocks_come_one_after_the_other() {
        let mut sequence = Sequence::new(DnaStart::At(BlockNumber(5)));
        assert_eq!(sequence.block(link(5, 50, 40)), Ok(()));
        assert_eq!(sequence.block(link(6, 60, 50)), Ok(()));
        for (wrong, why) in [
            (link(6, 60, 50), "block 6 came where block 7 is next"),
            (link(5, 50, 40), "block 5 came where block 7 is next"),
            (link(8, 80, 70), "block 8 came where block 7 is next"),
            (
                link(7, 70, 61),
                "block 7 names 0x3d as its parent, but the block before it has hash 0x3c",
            ),
        ] {
            assert_eq!(sequence.block(wrong), Err(why.to_owned()));
        }
        assert_eq!(sequence.block(link(7, 70, 60)), Ok(()));
    }

    #[test]
    fn the_block_to_start_after_is_the_parent_of_the_first() {
        let start = DnaStart::After(link(4, 40, 30).id);
        assert!(Sequence::new(start).block(link(5, 50, 41)).is_err());
        assert_eq!(Sequence::new(start).block(link(5, 50, 40)), Ok(()));
    }

    #[test]
    fn the_way_back_goes_back() {
        let mut sequence = Sequence::new(DnaStart::After(link(9, 90, 80).id));
        assert!(sequence.rewind(back_to(10, None)).is_err());
        assert_eq!(sequence.rewind(back_to(7, Some(hash(70)))), Ok(()));
        assert!(sequence.block(link(8, 81, 71)).is_err());
        assert_eq!(sequence.block(link(8, 81, 70)), Ok(()));
        assert_eq!(sequence.rewind(back_to(3, None)), Ok(()));
        assert_eq!(sequence.block(link(4, 41, 99)), Ok(()));
        assert_eq!(sequence.rewind(None), Ok(()));
        assert_eq!(sequence.block(link(0, 1, 0)), Ok(()));
    }
}
