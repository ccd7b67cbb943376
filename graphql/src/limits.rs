//! Every bound of the server, with its unit.

use std::time::Duration;

/// Largest request body and largest WebSocket frame or message, bytes.
pub(crate) const MAX_BODY_BYTES: usize = 64 * 1024;

/// Most rows of a page.
pub(crate) const MAX_PAGE_ROWS: u32 = 100;

/// Rows of a page whose size is not given.
pub(crate) const DEFAULT_PAGE_ROWS: u32 = 20;

/// Most values of a list in a filter.
pub(crate) const MAX_FILTER_VALUES: usize = 100;

/// Deepest nesting of fields. The introspection query of the usual tools reaches exactly this.
pub(crate) const MAX_DEPTH: usize = 15;

/// Highest cost of an operation: each field costs 1, a page 1 more for each row it may hold, and the
/// markets of a protocol [`MARKETS_COST`] more.
pub(crate) const MAX_COST: usize = 2_000;

/// Cost of reading all markets of a protocol: their number is not known before.
pub(crate) const MARKETS_COST: usize = 100;

/// Cost of reading privacy pools: their number is not known before.
pub(crate) const POOLS_COST: usize = 100;

/// Most directives of one field.
pub(crate) const MAX_DIRECTIVES: usize = 10;

/// Longest time an operation may run over HTTP.
pub(crate) const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a WebSocket may take to send `connection_init`.
pub(crate) const INIT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often the server pings an open WebSocket.
pub(crate) const PING_INTERVAL: Duration = Duration::from_secs(20);

/// How long a WebSocket may be silent, answers to pings included, before it counts as gone.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take to accept one message.
pub(crate) const SEND_TIMEOUT: Duration = Duration::from_secs(10);

/// Most open WebSockets.
pub(crate) const MAX_WEBSOCKETS: usize = 1_024;

/// Most operations running at once on one WebSocket.
pub(crate) const MAX_OPERATIONS_A_WEBSOCKET: usize = 20;

/// Rows that a subscription reads ahead of its client.
pub(crate) const SUBSCRIPTION_PAGE_ROWS: u32 = 32;

/// Longest time between two looks at the position of the read models, hints or not.
pub(crate) const POSITION_INTERVAL: Duration = Duration::from_secs(1);

/// Longest time to wait before the database is tried again.
pub(crate) const MAX_RETRY_DELAY: Duration = Duration::from_secs(10);

/// Longest time, in seconds, since the follower last heard from its node: beyond it the lag says nothing.
pub(crate) const MAX_NODE_SILENCE: u64 = 60;

/// How long a health check may take.
pub(crate) const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How long open requests and WebSockets have to end once the server stops.
pub(crate) const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
