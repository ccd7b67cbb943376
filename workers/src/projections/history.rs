//! Rows with two ranges, changed in memory and written at the end of a batch, with the state hashes
//! kept along.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::SetDigest;
use obsqra_store::projection::state::StateHashes;
use obsqra_store::projection::{HistoryRow, OPEN, Ranges};

/// The rows of one read model: those open in both ranges, and what is to be written.
#[derive(Clone, Debug)]
pub(super) struct History<R: HistoryRow> {
    open: BTreeMap<R::Key, R>,
    inserts: BTreeMap<(R::Key, i64, i64), R>,
    closes: Vec<(R, i64)>,
    canonical: SetDigest,
    full: SetDigest,
}

impl<R: HistoryRow> Default for History<R> {
    fn default() -> Self {
        Self {
            open: BTreeMap::new(),
            inserts: BTreeMap::new(),
            closes: Vec::new(),
            canonical: SetDigest::default(),
            full: SetDigest::default(),
        }
    }
}

impl<R: HistoryRow> History<R> {
    /// Continues from stored rows and hashes.
    pub(super) fn load(open: Vec<R>, hashes: Option<&StateHashes>) -> Self {
        Self {
            open: open.into_iter().map(|row| (row.key(), row)).collect(),
            canonical: hashes
                .map_or_else(SetDigest::default, |h| SetDigest::from_hash(&h.canonical)),
            full: hashes.map_or_else(SetDigest::default, |h| SetDigest::from_hash(&h.full)),
            ..Self::default()
        }
    }

    pub(super) fn hashes(&self) -> StateHashes {
        StateHashes { canonical: self.canonical.to_hash(), full: self.full.to_hash() }
    }

    pub(super) fn standing(&self, key: &R::Key) -> Option<&R> {
        self.open.get(key)
    }

    /// A row holds from its `from_block` on, known from its `from_seq` on. The row that held before
    /// is known to end there.
    pub(super) fn put(&mut self, row: R) {
        let Ranges { from_block, from_seq, .. } = row.ranges();
        self.end(&row.key(), (from_block, from_seq));
        self.open.insert(row.key(), row.clone());
        self.insert(row);
    }

    /// As [`Self::put`], unless the row that stands says the same.
    pub(super) fn put_other(&mut self, row: R)
    where
        R: PartialEq,
    {
        let same = self
            .standing(&row.key())
            .is_some_and(|standing| standing.with_ranges(row.ranges()) == row);
        if !same {
            self.put(row);
        }
    }

    /// Every row that stands ends, except those of which there is one among `rows`.
    pub(super) fn end_others(&mut self, rows: &[R], place: (i64, i64)) {
        let kept: BTreeSet<R::Key> = rows.iter().map(R::key).collect();
        let gone: Vec<_> = self.open.keys().filter(|key| !kept.contains(key)).cloned().collect();
        gone.iter().for_each(|key| self.end(key, place));
    }

    /// The row of a key that stands, if any, is known from a position on to end at a height.
    fn end(&mut self, key: &R::Key, (to_block, from_seq): (i64, i64)) {
        let Some(before) = self.open.remove(key) else {
            return;
        };
        self.close(&before, from_seq);
        let ranges = before.ranges();
        if ranges.from_block < to_block {
            self.insert(before.with_ranges(Ranges { to_block, from_seq, ..ranges }));
        }
    }

    /// A row that stands by itself: its block range is closed from the start.
    pub(super) fn put_point(&mut self, row: R) {
        self.insert(row);
    }

    /// Says otherwise what one key's rows said from some height on: `standing` are those rows, all of them
    /// written, `rows` what stands instead, known from `seq` on. Rows that say the same stay.
    pub(super) fn rewrite(&mut self, standing: Vec<R>, rows: Vec<R>, seq: i64) {
        let said = |rows: &[R]| rows.iter().map(R::canonical_bytes).collect::<BTreeSet<_>>();
        let (before, after) = (said(&standing), said(&rows));
        for row in standing.iter().filter(|row| !after.contains(&row.canonical_bytes())) {
            if row.ranges().to_block == OPEN {
                self.open.remove(&row.key());
            }
            self.close(row, seq);
        }
        for row in rows.into_iter().filter(|row| !before.contains(&row.canonical_bytes())) {
            if row.ranges().to_block == OPEN {
                self.open.insert(row.key(), row.clone());
            }
            self.insert(row);
        }
    }

    /// Undoes what began or ended at some heights, highest first, each given with the position that
    /// reverts it. `touching` are the standing rows that begin or end at any of them, all of them written.
    ///
    /// What comes out is the same as reverting one height at a time. A row that ends at a height is opened
    /// again when that height is reverted; if it begins at one too, it is found open when its turn comes.
    pub(super) fn revert(&mut self, touching: Vec<R>, reverted: &[(i64, i64)]) {
        let mut began: BTreeMap<i64, BTreeSet<R::Key>> = BTreeMap::new();
        let mut ended: BTreeMap<i64, Vec<R>> = BTreeMap::new();
        for row in touching {
            let Ranges { from_block, to_block, .. } = row.ranges();
            began.entry(from_block).or_default().insert(row.key());
            if to_block != OPEN {
                ended.entry(to_block).or_default().push(row);
            }
        }
        for (number, seq) in reverted {
            // Of one key a row may begin here and the one before it end here: what began goes first, so
            // that the row that is opened again is the one left standing.
            for key in began.remove(number).unwrap_or_default() {
                if self.open.get(&key).is_some_and(|row| row.ranges().from_block == *number)
                    && let Some(row) = self.open.remove(&key)
                {
                    self.close(&row, *seq);
                }
            }
            for row in ended.remove(number).unwrap_or_default() {
                self.close(&row, *seq);
                let again =
                    row.with_ranges(Ranges { to_block: OPEN, from_seq: *seq, ..row.ranges() });
                self.open.insert(again.key(), again.clone());
                self.insert(again);
            }
        }
    }

    /// Notes rows that were closed in the database, given as they were, each with the position that closed
    /// it.
    pub(super) fn closed_there(&mut self, rows: &[(R, i64)]) {
        for (row, seq) in rows {
            self.forget(row);
            let closed = row.with_ranges(Ranges { to_seq: *seq, ..row.ranges() });
            self.full.add(&closed.full_bytes());
        }
    }

    fn insert(&mut self, row: R) {
        let ranges = row.ranges();
        self.canonical.add(&row.canonical_bytes());
        self.full.add(&row.full_bytes());
        self.inserts.insert((row.key(), ranges.from_block, ranges.from_seq), row);
    }

    fn close(&mut self, row: &R, seq: i64) {
        let ranges = row.ranges();
        self.forget(row);
        let place = (row.key(), ranges.from_block, ranges.from_seq);
        if ranges.from_seq == seq {
            // Made and replaced at one position: it was never known.
            self.inserts.remove(&place);
            return;
        }
        let closed = row.with_ranges(Ranges { to_seq: seq, ..ranges });
        self.full.add(&closed.full_bytes());
        match self.inserts.get_mut(&place) {
            Some(unwritten) => *unwritten = closed,
            None => self.closes.push((row.clone(), seq)),
        }
    }

    fn forget(&mut self, row: &R) {
        self.canonical.remove(&row.canonical_bytes());
        self.full.remove(&row.full_bytes());
    }

    /// What is to be written: rows to close, rows to insert.
    pub(super) fn take(&mut self) -> (Vec<(R, i64)>, Vec<R>) {
        let closes = std::mem::take(&mut self.closes);
        let inserts = std::mem::take(&mut self.inserts).into_values().collect();
        (closes, inserts)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests;
