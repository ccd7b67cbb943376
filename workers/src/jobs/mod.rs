//! What is derived from the log, one job a file.

pub mod retract;
pub mod score_risk;
