//! What the watched contracts mean: the registry, the decoders of their events, and the metrics and
//! risk inputs that a fold over those events yields.
//!
//! Everything here is a function of its arguments: no I/O, no clock, no randomness, no floating
//! point, ordered maps only. The numbers are defined in `ops/docs/metrics.md`; this package is their
//! implementation. A protocol is one file in `decoders`, which says how its events read and what they
//! mean in the terms that all protocols share, and one registry file; the fold knows kinds of market,
//! never protocols.

mod contracts;
mod decoders;
mod definitions;
mod fixed;
mod metrics;
mod registry;
pub mod risk;

pub use contracts::Contracts;
pub use decoders::{
    Activity, ActivityKind, AssetConfigV1, AssetConfigV2, AssetPrice, Bounds, Decoded, Decoder,
    Delta, EkuboEvent, Erc20Event, I32, I129, I256, I257, JediSwapV1Event, JediSwapV2Event, Layout,
    MistCashEvent, NostraMoneyMarketEvent, NostraPoolsEvent, ObsqraEvent, Opaque, PoolKey,
    PositionKey, ProtocolEvent, SavedBalanceKey, SwapParameters, Transfer,
    UpdatePositionParameters, VesuV1Event, VesuV2Event, ZkLendEvent, decode, decode_from,
    event_schema, layouts,
};
pub use definitions::{Definitions, METRICS_VERSION};
pub use metrics::{
    Anomaly, AnomalyRule, BlockInput, BlockOutput, ConservationRule, FoldError, FoldTip, InputsAt,
    LendingMetrics, MarketMetrics, MetricFold, PoolMetrics, PriceSource, Reason, SnapshotError,
    TokenPrice, Violation,
};
pub use registry::{
    AuditReport, AuditState, CalendarDate, Deployment, ListedPool, ProtocolEntry, ProtocolKind,
    Registry, RegistryError, Role, Token, TokenPair, WatchedContract, mainnet_registry,
};
