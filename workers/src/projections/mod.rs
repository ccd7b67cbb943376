//! Read models: what the log says, as rows. One projector a chain applies all of them in one
//! transaction a batch, so that they share one position.

mod added;
mod batch;
mod changes;
mod event_rows;
mod history;
mod making;
mod misfits;
mod models;
mod privacy;
mod projector;
mod rebuild;
mod remake;
mod rows;
mod tables;

pub use models::ReadModels;
pub use projector::Projector;
pub use rebuild::{Rebuild, RebuildOptions, Rebuilt, TakenOver, Which};
