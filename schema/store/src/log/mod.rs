//! The log itself: appending under the head lock, reading by position, verifying.

mod append;
mod copy;
mod links;
mod read;
mod verify;

pub use append::{AppendOutcome, Head, Key, Keyed, append};
pub use copy::copy_out_nowhere;
pub use links::{Link, links};
pub use read::{entries, entry, head, read_after, reverts_after};
pub use verify::{
    CheckpointTally, FileCheckpoints, Verdict, VerifyOptions, VerifyReport, verify, verify_with,
};
