//! Reverting many heights at once gives what reverting them one by one does.

use obsqra_store::projection::{HistoryRow, OPEN, Ranges, RowBytes};
use proptest::prelude::*;

use super::History;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Row {
    key: u8,
    value: u8,
    ranges: (i64, i64, i64, i64),
}

impl HistoryRow for Row {
    type Key = u8;

    const READ_MODEL: &'static str = "test";

    fn key(&self) -> u8 {
        self.key
    }

    fn ranges(&self) -> Ranges {
        let (from_block, to_block, from_seq, to_seq) = self.ranges;
        Ranges { from_block, to_block, from_seq, to_seq }
    }

    fn with_ranges(&self, r: Ranges) -> Self {
        Self { ranges: (r.from_block, r.to_block, r.from_seq, r.to_seq), ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.int(self.key.into()).int(self.value.into());
    }

    fn log_columns(&self, _bytes: &mut RowBytes) {}
}

/// A read model with its table.
#[derive(Default)]
struct Model {
    history: History<Row>,
    table: Vec<Row>,
}

impl Model {
    fn write(&mut self) {
        let (closes, inserts) = self.history.take();
        for (row, seq) in closes {
            let standing = self.table.iter_mut().find(|other| **other == row).unwrap();
            standing.ranges.3 = seq;
        }
        self.table.extend(inserts);
    }

    fn revert(&mut self, reverted: &[(i64, i64)]) {
        self.write();
        let is_in = |number: i64| reverted.iter().any(|(height, _)| *height == number);
        let touching = self
            .table
            .iter()
            .filter(|row| row.ranges.3 == OPEN && (is_in(row.ranges.0) || is_in(row.ranges.1)))
            .cloned()
            .collect();
        self.history.revert(touching, reverted);
    }

    fn end(mut self) -> (Vec<Row>, Row, [obsqra_types::Hash32; 2]) {
        self.write();
        self.table.sort();
        let open = self.history.open.values().next_back().cloned();
        let hashes = self.history.hashes();
        let none = Row { key: 0, value: 0, ranges: (0, 0, 0, 0) };
        (self.table, open.unwrap_or(none), [hashes.canonical, hashes.full])
    }
}

/// Puts rows of blocks from a height on, `changes` by block, and returns the position after.
fn grow(model: &mut Model, from: i64, changes: &[Vec<(u8, u8)>], mut seq: i64) -> i64 {
    for (number, block) in (from..).zip(changes) {
        for (key, value) in block {
            seq += 1;
            let ranges = (number, OPEN, seq, OPEN);
            model.history.put(Row { key: *key, value: *value, ranges });
        }
    }
    seq
}

fn blocks() -> impl Strategy<Value = Vec<Vec<(u8, u8)>>> {
    prop::collection::vec(prop::collection::vec((0u8..4, any::<u8>()), 0..4), 1..12)
}

proptest! {
    #[test]
    fn reverts_may_be_taken_together(
        first in blocks(),
        second in blocks(),
        depth in 1usize..12,
        together in 1usize..12,
        write_between: bool,
    ) {
        let depth = depth.min(first.len());
        let fork = (first.len() - depth) as i64;
        let run = |size: usize| {
            let mut model = Model::default();
            let seq = grow(&mut model, 0, &first, 0);
            let heights = (fork..first.len() as i64).rev();
            let reverted: Vec<(i64, i64)> = heights.zip(seq + 1..).collect();
            for some in reverted.chunks(size) {
                model.revert(some);
            }
            if write_between {
                model.write();
            }
            grow(&mut model, fork, &second, seq + depth as i64);
            model.end()
        };
        prop_assert_eq!(run(together), run(1));
    }
}
