//! Cursors that clients hold: opaque text around a position.

use crate::Seq;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_text_is_read_back() {
        let cursor = Cursor(Seq(4_711));
        assert_eq!(Cursor::decode(&cursor.encode()), Ok(cursor));
        for bad in ["", "s1:", "s1:0x1", "s1:01", "s1:+1", "s1:ffffffffffffffff", "1267"] {
            assert_eq!(Cursor::decode(bad), Err(InvalidCursor), "{bad:?}");
        }
    }
}
