//! Keyset pages over positions of the log, and over rows in block order.
//!
//! A page asks for one row more than its size: that row says whether there is more and is then
//! dropped. Rows come out in ascending order whichever way they were read.

use obsqra_types::{BlockCursor, Seq};

use crate::{StoreError, row};

/// Which end of the range a page is taken from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// The oldest rows after a position.
    Forward,
    /// The newest rows before a position.
    Backward,
}

/// Which rows a page holds. `At` says where a row stands in the list: its position in the log, or a
/// [`BlockCursor`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageRequest<At = Seq> {
    /// Only rows after this one, which is not included.
    pub after: Option<At>,
    /// Only rows before this one, which is not included.
    pub before: Option<At>,
    /// The end from which rows are taken.
    pub direction: Direction,
    /// The most rows returned.
    pub size: u32,
}

/// Rows in ascending order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Whether more rows follow in the direction of reading.
    pub more: bool,
}

impl PageRequest<Seq> {
    pub(super) fn after_seq(&self) -> Result<i64, StoreError> {
        self.after.map_or(Ok(0), |seq| row::to_i64(seq.0, "seq"))
    }

    pub(super) fn before_seq(&self) -> Result<i64, StoreError> {
        self.before.map_or(Ok(i64::MAX), |seq| row::to_i64(seq.0, "seq"))
    }
}

impl PageRequest<BlockCursor> {
    /// Block and place that a page begins behind.
    pub(super) fn after_row(&self) -> Result<(i64, i64), StoreError> {
        self.after.map_or(Ok((-1, -1)), columns)
    }

    /// Block and place that a page ends before.
    pub(super) fn before_row(&self) -> Result<(i64, i64), StoreError> {
        self.before.map_or(Ok((i64::MAX, i64::MAX)), columns)
    }
}

fn columns(cursor: BlockCursor) -> Result<(i64, i64), StoreError> {
    Ok((row::to_i64(cursor.block.0, "block number")?, row::to_i64(cursor.place, "place")?))
}

impl<At> PageRequest<At> {
    /// How many rows to ask the database for.
    pub(super) fn limit(&self) -> i64 {
        i64::from(self.size) + 1
    }

    /// The page that the rows found make.
    pub(super) fn page<T>(&self, mut found: Vec<T>) -> Page<T> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let more = found.len() > size;
        found.truncate(size);
        if self.direction == Direction::Backward {
            found.reverse();
        }
        Page { rows: found, more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(direction: Direction, found: Vec<u8>, rows: Vec<u8>, more: bool) {
        let request = PageRequest::<Seq> { after: None, before: None, direction, size: 2 };
        assert_eq!(request.page(found), Page { rows, more });
    }

    #[test]
    fn the_row_beyond_the_page_is_dropped_and_rows_ascend() {
        check(Direction::Forward, vec![1, 2, 3], vec![1, 2], true);
        check(Direction::Forward, vec![1, 2], vec![1, 2], false);
        check(Direction::Backward, vec![3, 2, 1], vec![2, 3], true);
        check(Direction::Backward, vec![3], vec![3], false);
    }
}
