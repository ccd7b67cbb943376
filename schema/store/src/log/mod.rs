//! The log itself: appending under the head lock, reading by position, verifying.

mod append;
mod read;
mod verify;

pub use append::{AppendOutcome, Head, Key, Keyed, append};
pub use read::{entries, entry, head, read_after};
pub use verify::{Verdict, VerifyReport, verify};
