//! Allocation policies: a file of constraints, and the rule that turns scores and APYs into shares
//! under them (`ops/docs/allocation.md`).
//!
//! [`allocate`] is a pure function of a policy and its candidates, in integers; the order in which
//! candidates are given does not matter. Every constraint of a policy is enforced: one that cannot be
//! met makes the allocation infeasible, and the result names what conflicts. An input that is absent
//! drops its protocol; nothing stands in for it.

mod allocate;
mod caps;
mod file;
mod filter;
mod parse;

pub use allocate::{Allocation, Candidates, RepeatedProtocol, allocate};
pub use file::{Limits, Policies, Policy};
pub use obsqra_events::{
    Binding, Candidate, CandidateInput, Constraint, DropReason, Dropped, Infeasibility, Measured,
    PolicyRef, Share,
};
pub use parse::PolicyError;

/// The version of the rule: what a policy file names, and what this code computes.
pub const RULE: &str = "allocation-v1";

/// A protocol counts towards [`Constraint::MinDiversification`] from this share on.
pub const COUNTED_SHARE: obsqra_types::Bps = obsqra_types::Bps(1_000);

/// The presets `conservative`, `balanced` and `aggressive`, as their file stands. Their numbers are this
/// project's choice and no advice.
pub const PRESETS: &[u8] = include_bytes!("../policies.json");
