//! What is derived from the log, one job a file: those that go through it in order, and those that are shared
//! between processes.

pub mod deriving;
pub mod propose_allocation;
pub mod report_day;
pub mod retract;
pub mod score_risk;
