//! What is done with the log once it is there: publishing it, projecting it, deriving from it, and
//! checking all of that by doing it again.
//!
//! Every role reads the log from its own cursor, in order of position, and commits what it made of a
//! stretch together with the cursor. Messages only wake it.

pub mod adopted;
pub mod chain_fold;
pub mod checkpoint;
pub mod jobs;
pub mod projections;
pub mod relay;
pub mod replay;
pub mod runtime;
pub mod verify;
pub mod webhook;

mod error;
mod known_contracts;

pub use error::WorkError;
