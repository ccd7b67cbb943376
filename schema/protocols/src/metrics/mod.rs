//! The fold of watched events into market metrics and risk inputs, as `ops/docs/metrics.md` defines
//! them (version `metrics-v1`).
//!
//! [`MetricFold`] holds the state after a block; [`MetricFold::apply`] takes the next block and says
//! which figures changed. A state is cheap to clone, so that a caller keeps the last ones to step back
//! to at a revert. It knows kinds of market, not protocols, and it computes again only what the block,
//! another pool's price, or the clock can have changed.

mod absence;
mod audit;
mod causes;
mod figures;
mod fold;
mod inputs;
mod market;
mod pool;
mod quotes;
mod reserve;
mod signed;
mod snapshot;
mod trades;

pub use absence::Reason;
pub use figures::MarketMetrics;
pub use fold::{BlockInput, BlockOutput, FoldError, FoldTip, MetricFold};
pub use inputs::InputsAt;
pub use snapshot::SnapshotError;
