//! Cursors that clients hold: opaque text around where a page ended.

use crate::{BlockNumber, Seq};

/// Where a page ended: the position of its last row in the log.
///
/// Clients see `s1:` and the position in hex digits; the prefix names the form, so that a later form
/// can be told apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cursor(pub Seq);

/// The text is no cursor of this server.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a cursor of this server: take it from a page or a subscription message as it is")]
pub struct InvalidCursor;

const PREFIX: &str = "s1:";

impl Cursor {
    /// The text that a client is given.
    #[must_use]
    pub fn encode(self) -> String {
        format!("{PREFIX}{:x}", self.0.0)
    }

    /// Reads a client's text.
    ///
    /// # Errors
    /// When the text was not made by [`Cursor::encode`].
    pub fn decode(text: &str) -> Result<Self, InvalidCursor> {
        let digits = text.strip_prefix(PREFIX).ok_or(InvalidCursor)?;
        let seq = u64::from_str_radix(digits, 16).map_err(|_| InvalidCursor)?;
        let cursor = Self(Seq(seq));
        (cursor.encode() == text && i64::try_from(seq).is_ok())
            .then_some(cursor)
            .ok_or(InvalidCursor)
    }
}

/// Where a page of rows in block order ended: the block of its last row, and the row's place among those of
/// the block.
///
/// Clients see `b1:` and both numbers in hex digits, with a dot between.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BlockCursor {
    /// The row's block.
    pub block: BlockNumber,
    /// Orders the rows of one block; what it counts is the list's own matter.
    pub place: u64,
}

const BLOCK_PREFIX: &str = "b1:";

impl BlockCursor {
    /// The text that a client is given.
    #[must_use]
    pub fn encode(self) -> String {
        format!("{BLOCK_PREFIX}{:x}.{:x}", self.block.0, self.place)
    }

    /// Reads a client's text.
    ///
    /// # Errors
    /// When the text was not made by [`BlockCursor::encode`].
    pub fn decode(text: &str) -> Result<Self, InvalidCursor> {
        let digits = text.strip_prefix(BLOCK_PREFIX).and_then(|text| text.split_once('.'));
        let (block, place) = digits.ok_or(InvalidCursor)?;
        let number = |digits| {
            u64::from_str_radix(digits, 16)
                .ok()
                .filter(|number| i64::try_from(*number).is_ok())
                .ok_or(InvalidCursor)
        };
        let cursor = Self { block: BlockNumber(number(block)?), place: number(place)? };
        (cursor.encode() == text).then_some(cursor).ok_or(InvalidCursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_block_cursor_is_read_back() {
        let cursor = BlockCursor { block: BlockNumber(4_711), place: 10 };
        assert_eq!(cursor.encode(), "b1:1267.a");
        assert_eq!(BlockCursor::decode(&cursor.encode()), Ok(cursor));
        for bad in
            ["", "b1:", "b1:1", "b1:1.", "b1:.1", "b1:01.1", "b1:1.8000000000000000", "s1:1.1"]
        {
            assert_eq!(BlockCursor::decode(bad), Err(InvalidCursor), "{bad:?}");
        }
    }

    #[test]
    fn only_its_own_text_is_read_back() {
        let cursor = Cursor(Seq(4_711));
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        for bad in ["", "s1:", "s1:0x1", "s1:01", "s1:+1", "s1:ffffffffffffffff", "1267"] {
            assert_eq!(Cursor::decode(bad), Err(InvalidCursor), "{bad:?}");
        }
    }
}
