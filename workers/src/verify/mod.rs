//! Doing it again and comparing: read models against a fold of the recorded log, derived facts against
//! a derivation from the chain lane.

mod derive;
mod project;

pub use derive::{DeriveReport, Discrepancy, derive};
pub use project::{ProjectReport, project};
