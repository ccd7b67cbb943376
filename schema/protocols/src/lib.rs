//! What the watched contracts mean: the registry, the decoders of their events, and the metrics and
//! risk inputs that a fold over those events yields.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness, no floating
//! point, ordered maps only. The numbers are defined in `ops/docs/metrics.md`; this package is their
//! implementation. A protocol is one file in `decoders`, which says how its events read and what they
//! change in the terms that all protocols share, and one entry of a registry file; the fold knows
//! kinds of market, never protocols.

mod decoders;
mod fixed;
mod metrics;
mod registry;
pub mod risk;

pub use decoders::{
    Bounds, Decoded, Delta, EkuboEvent, I129, JediSwapV1Event, Layout, Opaque, PoolKey,
    PositionKey, ProtocolEvent, SavedBalanceKey, SwapParameters, UpdatePositionParameters,
    ZkLendEvent, decode, layouts,
};
pub use metrics::{
    Anomaly, AnomalyRule, BlockInput, BlockOutput, ConservationRule, FoldError, FoldTip, InputsAt,
    LendingMetrics, MarketMetrics, MetricFold, Phase, PoolMetrics, Reason, Severity, SnapshotError,
    Violation,
};
pub use registry::{
    AuditReport, AuditState, CalendarDate, Decoder, Deployment, ProtocolEntry, ProtocolKind,
    Registry, RegistryError, Role, Token, TokenPair, WatchedContract,
};

/// The version of the metric definitions that [`MetricFold`] implements.
pub const METRICS_VERSION: &str = "metrics-v2";

/// The registry of Starknet mainnet, as its file stands. It also fits the recorded chain.
pub const MAINNET_REGISTRY: &[u8] = include_bytes!("../registry/mainnet.json");
