//! What is derived from the log, one job a file.

pub mod deriving;
pub mod propose_allocation;
pub mod retract;
pub mod score_risk;
