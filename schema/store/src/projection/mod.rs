//! Read models: their rows, how rows are written, and the bytes that state hashes are taken over.
//!
//! A row carries two half-open ranges: blocks (what the chain was) and positions (what was known).
//! Nothing is deleted; a change closes the range of positions of the row it replaces. What a row says
//! is decided by the projector; here it is only stored.

pub mod activity;
pub mod allocation_snapshot;
pub mod anomaly;
pub mod beside;
pub mod block;
pub mod copy;
pub mod event;
pub mod market_metrics;
pub mod misfit;
pub mod price;
pub mod privacy_pool;
pub mod risk_score;
pub mod state;

mod bytes;
mod history;

pub use bytes::RowBytes;
pub use history::{Absent, HistoryRow, OPEN, Ranges};
