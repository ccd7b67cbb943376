//! The server: what it needs, how it starts and how it stops.

use std::net::SocketAddr;
use std::sync::Arc;

use obsqra_store::Store;
use obsqra_types::ChainId;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::context::Shared;
use crate::execute::Api;
use crate::limits::{MAX_WEBSOCKETS, SHUTDOWN_TIMEOUT};
use crate::registry::RegistryCache;
use crate::{api, http, live};

/// Tells whether a dependency is up, from what is known already: it is called on each health
/// request.
pub type HealthCheck = Arc<dyn Fn() -> bool + Send + Sync>;

/// Writes the process's metrics in Prometheus's text format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// What a server needs.
#[derive(Clone)]
pub struct ServerOptions {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to read from; the reader's rights suffice.
    pub store: Store,
    /// Whether the message bus is up.
    pub bus: HealthCheck,
    /// The chain to serve.
    pub chain: ChainId,
    /// Blocks behind the chain's head from which the server is not ready.
    pub max_lag_blocks: u64,
    /// Answers `GET /metrics`.
    pub metrics: MetricsText,
}

/// Why a server does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Another process listens there.
    #[error(
        "{0} is in use: stop the process that listens there, or choose another address to listen on"
    )]
    AddressInUse(SocketAddr),
    /// The address cannot be listened on for another reason.
    #[error("cannot listen on {address}: choose an address of this machine that this user may use")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// Accepting connections failed.
    #[error("the GraphQL server stopped")]
    Serve(#[source] std::io::Error),
}

/// What routes share.
#[derive(Clone)]
pub(crate) struct AppState {
    pub(crate) api: Api,
    pub(crate) bus: HealthCheck,
    pub(crate) metrics: MetricsText,
    pub(crate) max_lag_blocks: u64,
    /// One permit for each WebSocket that may be open.
    pub(crate) websockets: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// A server that has its address and does not answer yet.
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    options: ServerOptions,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// When the address cannot be listened on; the message says what to do.
    pub async fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        let address = options.listen;
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => ServerError::AddressInUse(address),
            _ => ServerError::Bind { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let local_addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, local_addr, options })
    }

    /// Where the server listens; the port is the real one where 0 was asked for.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Answers until the token is cancelled, then lets open requests end and closes WebSockets, within
    /// a few seconds.
    ///
    /// # Errors
    /// When accepting connections fails.
    pub async fn run(self, stop: CancellationToken) -> Result<(), ServerError> {
        let stop = stop.child_token();
        let tasks = TaskTracker::new();
        let live = watch::Sender::new(None);
        let ServerOptions { store, chain, bus, metrics, max_lag_blocks, .. } = self.options;
        tasks.spawn(live::follow(store.clone(), chain.clone(), live.clone(), stop.clone()));
        let shared = Shared { store, chain, registries: RegistryCache::default(), live };
        let state = AppState {
            api: Api::new(api::schema(), Arc::new(shared)),
            bus,
            metrics,
            max_lag_blocks,
            websockets: Arc::new(Semaphore::new(MAX_WEBSOCKETS)),
            tasks: tasks.clone(),
            stop: stop.clone(),
        };
        let serving = axum::serve(self.listener, http::router(state))
            .with_graceful_shutdown(stop.clone().cancelled_owned());
        tracing::info!(address = %self.local_addr, "the GraphQL server answers");
        let ended = tokio::select! {
            ended = serving.into_future() => ended,
            () = overdue(&stop) => {
                tracing::warn!("requests were still open when the GraphQL server stopped");
                Ok(())
            }
        };
        tasks.close();
        // Each task ends by itself once the token is cancelled; if serving failed it was not.
        stop.cancel();
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, tasks.wait()).await.is_err() {
            tracing::warn!("WebSockets were still open when the GraphQL server stopped");
        }
        ended.map_err(ServerError::Serve)
    }
}

/// Ends when the server was told to stop and its time to do so is over.
async fn overdue(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(SHUTDOWN_TIMEOUT).await;
}
