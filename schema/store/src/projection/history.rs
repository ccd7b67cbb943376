//! What all rows of read models have in common.

use serde::{Deserialize, Serialize};

use super::RowBytes;

/// The upper bound of a range that is still open.
pub const OPEN: i64 = i64::MAX;

/// The two half-open ranges of a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ranges {
    /// First height the row holds for.
    pub from_block: i64,
    /// The height from which it no longer holds; [`OPEN`] while it does.
    pub to_block: i64,
    /// Position that made the row.
    pub from_seq: i64,
    /// Position that replaced it; [`OPEN`] while it stands.
    pub to_seq: i64,
}

impl Ranges {
    /// A row that holds from a height on, known from a position on.
    #[must_use]
    pub fn open(from_block: i64, from_seq: i64) -> Self {
        Self { from_block, to_block: OPEN, from_seq, to_seq: OPEN }
    }
}

/// A field that the log does not support, as stored beside a row.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Absent {
    /// The field's name.
    pub field: String,
    /// The reason's name.
    pub reason: String,
    /// What it is about, for people.
    pub detail: Option<String>,
}

impl Absent {
    /// The bytes of a list, for a row's hash.
    pub(crate) fn put_all(list: &[Self], bytes: &mut RowBytes) {
        bytes.int(i64::try_from(list.len()).unwrap_or(i64::MAX));
        for absent in list {
            bytes.text(&absent.field).text(&absent.reason).option(absent.detail.as_deref());
        }
    }
}

/// A row with two ranges and a key that at most one row open in both ranges has.
pub trait HistoryRow: Clone {
    /// What the row is about.
    type Key: Ord + Clone + std::fmt::Debug;

    /// The read model's name.
    const READ_MODEL: &'static str;

    /// What the row is about.
    fn key(&self) -> Self::Key;

    /// Its ranges.
    fn ranges(&self) -> Ranges;

    /// The same row with other ranges.
    #[must_use]
    fn with_ranges(&self, ranges: Ranges) -> Self;

    /// Adds the columns that depend on the canonical chain alone: neither positions nor branch epochs.
    fn block_columns(&self, bytes: &mut RowBytes);

    /// Adds the remaining columns, ranges aside.
    fn log_columns(&self, bytes: &mut RowBytes);

    /// The bytes whose hashes sum up to the `canonical` state hash.
    fn canonical_bytes(&self) -> Vec<u8> {
        let mut bytes = RowBytes::new(Self::READ_MODEL);
        let ranges = self.ranges();
        bytes.int(ranges.from_block).int(ranges.to_block);
        self.block_columns(&mut bytes);
        bytes.finish()
    }

    /// The bytes whose hashes sum up to the `full` state hash.
    fn full_bytes(&self) -> Vec<u8> {
        let mut bytes = RowBytes::new(Self::READ_MODEL);
        let ranges = self.ranges();
        bytes.int(ranges.from_block).int(ranges.to_block).int(ranges.from_seq).int(ranges.to_seq);
        self.block_columns(&mut bytes);
        self.log_columns(&mut bytes);
        bytes.finish()
    }
}
