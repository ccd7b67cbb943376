//! The hashing thread: takes rows and checkpoints in order, and ends at the first that is wrong.

use std::collections::VecDeque;

use bytes::Bytes;
use obsqra_events::Checkpoint;
use obsqra_events::merkle::{Frontier, leaf_hash};
use obsqra_types::Seq;
use tokio::sync::mpsc;

use super::checkpoints::{Expected, Paired, Signatures};
use super::entries::Entries;
use super::{Broken, CheckpointTally};
use crate::Head;
use crate::checkpoint::StoredCheckpoint;
use crate::log::copy::{NotRows, Rows};

/// What the thread is handed.
pub(super) enum Work {
    /// Checkpoints of the rows that follow, or of none.
    Checkpoints(Paired),
    /// Rows of one `COPY`.
    Rows(Vec<Bytes>),
    /// The next rows are those of another `COPY`.
    EndOfRange,
}

/// Why the thread ended early.
pub(super) enum Fault {
    Broken(Broken),
    NotRows,
}

impl From<Broken> for Fault {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// What the thread found.
pub(super) struct Checked {
    pub(super) entries: u64,
    pub(super) last: Head,
    pub(super) tally: CheckpointTally,
    pub(super) fault: Option<Fault>,
}

pub(super) struct Checker {
    entries: Entries,
    tree: Frontier,
    rows: Rows,
    signatures: Signatures,
    before: Option<Checkpoint>,
    expected: VecDeque<Expected>,
    /// A disagreement of table and file, told when the entries before it are checked.
    fault: Option<Broken>,
    tally: CheckpointTally,
}

impl Checker {
    /// Begins after an entry. `base` is the table's newest checkpoint up to there, `lines` are the file's.
    pub(super) fn begin(
        signatures: Signatures,
        decode: bool,
        last: Head,
        tree: Frontier,
        base: Option<StoredCheckpoint>,
        lines: Result<Vec<obsqra_events::SignedCheckpoint>, String>,
    ) -> Result<Self, Broken> {
        let lines = lines.map_err(|problem| Broken::new(Seq(1), problem))?;
        let mut before: Option<Checkpoint> = None;
        for line in &lines {
            signatures.check(line, before.as_ref())?;
            before = Some(line.checkpoint);
        }
        if let Some(base) = &base {
            signatures.check_signature(&base.signed)?;
            let checkpoint = base.signed.checkpoint;
            if base.frontier.size() != checkpoint.seq.0 || base.frontier.root() != checkpoint.root {
                let problem = "the checkpoint's frontier is not that of its root";
                return Err(Broken::new(checkpoint.seq, problem));
            }
            let line = lines.iter().find(|line| line.checkpoint.seq == checkpoint.seq);
            if line.is_some_and(|line| *line != base.signed) {
                let problem = "table and file hold different checkpoints";
                return Err(Broken::new(checkpoint.seq, problem));
            }
            if before.is_none_or(|before| before.seq < checkpoint.seq) {
                before = Some(checkpoint);
            }
        }
        let tally = CheckpointTally {
            signed: before.map_or(Seq::BEFORE_FIRST, |before| before.seq),
            signatures: signatures.are_checked(),
            ..CheckpointTally::NONE
        };
        Ok(Self {
            entries: Entries::after(last, decode),
            tree,
            rows: Rows::default(),
            signatures,
            before,
            expected: VecDeque::new(),
            fault: None,
            tally,
        })
    }

    pub(super) fn run(mut self, mut work: mpsc::Receiver<Work>) -> Checked {
        let mut outcome = Ok(());
        while outcome.is_ok() {
            let Some(next) = work.blocking_recv() else { break };
            outcome = self.take(next);
        }
        let fault = outcome.and_then(|()| self.finish().map_err(Fault::from)).err();
        let (entries, last) = (self.entries.count(), self.entries.last());
        Checked { entries, last, tally: self.tally, fault }
    }

    fn take(&mut self, work: Work) -> Result<(), Fault> {
        match work {
            Work::Checkpoints(paired) => {
                self.expected.extend(paired.expected);
                self.fault = self.fault.take().or(paired.fault);
                Ok(())
            }
            Work::Rows(pieces) => pieces.iter().try_for_each(|piece| self.piece(piece)),
            Work::EndOfRange => {
                self.rows = Rows::default();
                Ok(())
            }
        }
    }

    fn piece(&mut self, piece: &[u8]) -> Result<(), Fault> {
        let mut rows = std::mem::take(&mut self.rows);
        let read = rows.read(piece, |raw| {
            self.entries.take(&raw)?;
            self.entry_passed()
        });
        self.rows = rows;
        match read {
            Ok(taken) => taken.map_err(Fault::from),
            Err(NotRows) => Err(Fault::NotRows),
        }
    }

    fn entry_passed(&mut self) -> Result<(), Broken> {
        let last = self.entries.last();
        self.tree.push(leaf_hash(last.hash.as_bytes()));
        while let Some(expected) =
            self.expected.pop_front_if(|expected| expected.signed.checkpoint.seq <= last.seq)
        {
            self.checkpoint(&expected)?;
        }
        self.fault.take_if(|fault| fault.seq <= last.seq).map_or(Ok(()), Err)
    }

    /// A checkpoint whose last entry was just checked.
    fn checkpoint(&mut self, expected: &Expected) -> Result<(), Broken> {
        let checkpoint = expected.signed.checkpoint;
        self.signatures.check(&expected.signed, self.before.as_ref())?;
        if checkpoint.seq != self.entries.last().seq {
            return Err(Broken::new(checkpoint.seq, "checkpoint: it stands out of order"));
        }
        if checkpoint.head != self.entries.last().hash || checkpoint.root != self.tree.root() {
            let problem = format!(
                "an entry from here up to {} is not the one that was signed: its hash and those after \
                 it were made anew",
                checkpoint.seq
            );
            return Err(Broken::new(self.first_unproven(), problem));
        }
        if checkpoint.recorded_at != self.entries.clock() {
            return Err(Broken::new(
                checkpoint.seq,
                "checkpoint: it has another time than its entry",
            ));
        }
        if expected.stored.as_ref().is_some_and(|stored| stored.frontier != self.tree) {
            let problem = "the checkpoint's frontier is not that of its root";
            return Err(Broken::new(checkpoint.seq, problem));
        }
        self.before = Some(checkpoint);
        self.tally.matched += 1;
        self.tally.proven = checkpoint.seq;
        self.tally.signed = self.tally.signed.max(checkpoint.seq);
        Ok(())
    }

    /// The first entry that no checkpoint has vouched for.
    fn first_unproven(&self) -> Seq {
        self.before.map_or(Seq(1), |before| before.seq.next())
    }

    /// Checkpoints of entries beyond the last one read still have to hang together.
    fn finish(&mut self) -> Result<(), Broken> {
        while let Some(expected) = self.expected.pop_front() {
            self.signatures.check(&expected.signed, self.before.as_ref())?;
            self.before = Some(expected.signed.checkpoint);
            self.tally.signed = self.tally.signed.max(expected.signed.checkpoint.seq);
        }
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => self.entries.finish(),
        }
    }
}
