//! The fold of watched events into market metrics and risk inputs, as `ops/docs/metrics.md` defines
//! them (version `metrics-v3`).
//!
//! [`MetricFold`] holds the state after a block; [`MetricFold::apply`] takes the next block and says
//! which figures changed. A state is cheap to clone, so that a caller keeps the last ones to step back
//! to at a revert. It knows kinds of market, not protocols, and it computes again only what the block,
//! another pool's price, or the clock can have changed.

mod absence;
mod amm;
mod anomalies;
mod audit;
mod block;
mod causes;
mod chunks;
mod conservation;
mod day_totals;
mod due;
mod figures;
mod fold;
mod gaps;
mod growth;
mod inputs;
mod lending;
mod market;
mod oracle;
mod outflow;
mod pool;
mod prices;
mod quotes;
mod reserve;
mod review;
mod row;
mod signed;
mod snapshot;
mod stated;
mod suppliers;
mod trades;

pub use absence::Reason;
pub use anomalies::{Anomaly, AnomalyRule};
pub use block::{BlockInput, BlockOutput, FoldError, FoldTip};
pub use conservation::{ConservationRule, Violation};
pub use fold::MetricFold;
pub use inputs::InputsAt;
pub use quotes::{PriceSource, TokenPrice};
pub use row::{LendingMetrics, MarketMetrics, PoolMetrics};
pub use snapshot::SnapshotError;
