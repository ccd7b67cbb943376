//! Checkpoints of the table and of a file, side by side.
//!
//! Both are written in one order, the table first. One of them may end before the other: the file when
//! its writer was stopped, the table when the database is an older copy. Anything else that differs is a
//! fault.

use obsqra_events::{Checkpoint, PublicKey, SignedCheckpoint};
use obsqra_types::Seq;

use super::{Broken, FileCheckpoints};
use crate::checkpoint::StoredCheckpoint;

/// The keys that count.
pub(super) struct Signatures {
    keys: Option<Vec<PublicKey>>,
}

impl Signatures {
    pub(super) fn new(keys: Option<Vec<PublicKey>>) -> Self {
        Self { keys }
    }

    pub(super) fn are_checked(&self) -> bool {
        self.keys.is_some()
    }

    /// That a checkpoint is signed and is the next one.
    pub(super) fn check(
        &self,
        signed: &SignedCheckpoint,
        before: Option<&Checkpoint>,
    ) -> Result<(), Broken> {
        self.check_signature(signed)?;
        let seq = signed.checkpoint.seq;
        signed.follows(before).map_err(|error| Broken::new(seq, format!("checkpoint: {error}")))
    }

    pub(super) fn check_signature(&self, signed: &SignedCheckpoint) -> Result<(), Broken> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let seq = signed.checkpoint.seq;
        signed.verify(keys).map_err(|error| Broken::new(seq, format!("checkpoint: {error}")))
    }
}

/// A checkpoint that the log has to give.
pub(super) struct Expected {
    pub(super) signed: SignedCheckpoint,
    /// The same one as the table holds it.
    pub(super) stored: Option<StoredCheckpoint>,
}

/// Checkpoints that agree, and the first disagreement after them.
#[derive(Default)]
pub(super) struct Paired {
    pub(super) expected: Vec<Expected>,
    pub(super) fault: Option<Broken>,
}

impl From<Result<Vec<Expected>, Broken>> for Paired {
    fn from(result: Result<Vec<Expected>, Broken>) -> Self {
        match result {
            Ok(expected) => Self { expected, fault: None },
            Err(fault) => Self { expected: Vec::new(), fault: Some(fault) },
        }
    }
}

/// Reads both in step.
pub(super) struct Pairing {
    file: Option<std::iter::Peekable<FileCheckpoints>>,
    /// The first one that only the file has.
    table_ends: Option<Seq>,
    /// The first one that only the table has.
    file_ends: Option<Seq>,
}

impl Pairing {
    pub(super) fn new(file: Option<FileCheckpoints>) -> Self {
        Self { file: file.map(Iterator::peekable), table_ends: None, file_ends: None }
    }

    /// What the file holds next, up to a position.
    pub(super) fn file_up_to(&mut self, up_to: Seq) -> Result<Vec<SignedCheckpoint>, String> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        let within = |read: &Result<SignedCheckpoint, String>| {
            read.as_ref().map_or(true, |signed| signed.checkpoint.seq <= up_to)
        };
        std::iter::from_fn(|| file.next_if(within)).collect()
    }

    /// What the file holds next, at most so many.
    pub(super) fn file_some(&mut self, most: u32) -> Result<Vec<SignedCheckpoint>, String> {
        let Some(file) = &mut self.file else { return Ok(Vec::new()) };
        (0..most).map_while(|_| file.next()).collect()
    }

    /// Pairs the checkpoints of one stretch.
    pub(super) fn pair(
        &mut self,
        table: Vec<StoredCheckpoint>,
        file: Vec<SignedCheckpoint>,
    ) -> Paired {
        let mut paired = Paired::default();
        let mut table = table.into_iter();
        let mut file = file.into_iter();
        loop {
            let (stored, line) = (table.next(), file.next());
            let Some(signed) = line.or(stored.as_ref().map(|stored| stored.signed)) else {
                return paired;
            };
            if let Err(fault) = self.compare(stored.as_ref(), line.as_ref()) {
                paired.fault = Some(fault);
                return paired;
            }
            paired.expected.push(Expected { signed, stored });
        }
    }

    fn compare(
        &mut self,
        stored: Option<&StoredCheckpoint>,
        line: Option<&SignedCheckpoint>,
    ) -> Result<(), Broken> {
        match (stored, line) {
            (Some(stored), Some(line)) if stored.signed != *line => {
                let seq = stored.seq().min(line.checkpoint.seq);
                return Err(Broken::new(seq, "table and file hold different checkpoints"));
            }
            (Some(stored), None) if self.file.is_some() => {
                self.file_ends.get_or_insert(stored.seq());
            }
            (None, Some(line)) => {
                self.table_ends.get_or_insert(line.checkpoint.seq);
            }
            _ => {}
        }
        match (self.table_ends, self.file_ends) {
            (Some(seq), _) if stored.is_some() => {
                Err(Broken::new(seq, "a checkpoint of the file is missing from the table"))
            }
            (_, Some(seq)) if line.is_some() => {
                Err(Broken::new(seq, "a checkpoint of the table is missing from the file"))
            }
            _ => Ok(()),
        }
    }
}
