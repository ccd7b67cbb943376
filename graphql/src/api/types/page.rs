//! Cursors of connections.

use async_graphql::connection::CursorType;
use obsqra_types::{BlockCursor, Cursor, InvalidCursor, Seq};

/// The cursor of an edge.
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

/// The cursor of an edge of a list in block order.
pub(crate) struct BlockPageCursor(pub(crate) BlockCursor);

impl CursorType for BlockPageCursor {
    type Error = InvalidCursor;

    fn decode_cursor(text: &str) -> Result<Self, InvalidCursor> {
        BlockCursor::decode(text).map(Self)
    }

    fn encode_cursor(&self) -> String {
        self.0.encode()
    }
}
