//! The log itself: appending under the head lock, reading by position, verifying.

mod append;
mod copy;
mod copy_in;
mod links;
mod read;
mod rows;
mod scan;
mod size;
mod verify;

pub use append::{AppendOutcome, Head, Key, Keyed, Prepared, append, append_prepared};
pub use copy::copy_out_nowhere;
pub use copy_in::{CopyFiles, CopyIn, copy_in, move_head};
pub use links::{Link, links};
pub use read::{entries, entry, events_of, head, read_after, reverts_after};
pub use scan::{BatchLimit, Scan, ScanFilter, has_events};
pub use size::{Disk, checkpoint, disk};
pub use verify::{
    CheckpointTally, FileCheckpoints, Verdict, VerifyOptions, VerifyReport, verify, verify_with,
};
