//! Cursors of connections.

use async_graphql::connection::CursorType;
use obsqra_store::read::event::Event;
use obsqra_store::read::risk_score::Score;
use obsqra_types::{Cursor, InvalidCursor, Seq};

/// The cursor of a row.
pub(crate) struct PageCursor(pub(crate) Seq);

impl CursorType for PageCursor {
    type Error = InvalidCursor;

    fn decode_cursor(text: &str) -> Result<Self, InvalidCursor> {
        Cursor::decode(text).map(|cursor| Self(cursor.0))
    }

    fn encode_cursor(&self) -> String {
        Cursor(self.0).encode()
    }
}

/// A row that pages are ordered by.
pub(crate) trait Positioned {
    /// Its log entry.
    fn seq(&self) -> Seq;
}

impl Positioned for Score {
    fn seq(&self) -> Seq {
        self.entry
    }
}

impl Positioned for Event {
    fn seq(&self) -> Seq {
        self.seq
    }
}
