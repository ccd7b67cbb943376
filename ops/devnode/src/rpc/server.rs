//! The routes of a node: JSON-RPC by `POST /`, and over a WebSocket at `/ws` and at `/`.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::calls::Calls;
use super::deliver::deliver;
use super::methods::Context;
use super::websocket::{self, MAX_WEBSOCKETS};
use super::wire::ResetMark;
use crate::chain::ledger::Head;
use crate::faults::{Faults, ScriptedFault};

/// Largest request, in bytes, over either transport.
pub(crate) const MAX_REQUEST_BYTES: usize = 1024 * 1024;

/// What the handlers need.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) context: Context,
    pub(crate) faults: Arc<Faults>,
    pub(crate) calls: Calls,
    pub(crate) stop: CancellationToken,
    /// Says when blocks come or go.
    pub(crate) heads: watch::Receiver<Option<Head>>,
    pub(crate) sockets: Arc<Semaphore>,
    pub(crate) subscriptions: AtomicU64,
}

impl Server {
    pub(crate) fn new(
        context: Context,
        faults: Vec<ScriptedFault>,
        heads: watch::Receiver<Option<Head>>,
    ) -> Self {
        Self {
            context,
            faults: Arc::new(Faults::scripted(faults)),
            calls: Calls::new(),
            stop: CancellationToken::new(),
            heads,
            sockets: Arc::new(Semaphore::new(MAX_WEBSOCKETS)),
            subscriptions: AtomicU64::new(0),
        }
    }

    pub(crate) fn open_websockets(&self) -> usize {
        MAX_WEBSOCKETS - self.sockets.available_permits()
    }
}

/// A server while it is open: it can be closed and opened again.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) server: Arc<Server>,
    pub(crate) open: CancellationToken,
}

/// The routes of the node.
pub(crate) fn router(endpoint: Endpoint) -> Router {
    Router::new()
        .route("/", post(answer).get(upgrade))
        .route("/ws", get(upgrade))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(endpoint)
}

async fn answer(
    State(endpoint): State<Endpoint>,
    ConnectInfo(connection): ConnectInfo<ResetMark>,
    request: Bytes,
) -> Response {
    let answer = endpoint.server.answer(&request);
    deliver(answer, &connection, &endpoint.open).await
}

async fn upgrade(State(endpoint): State<Endpoint>, request: WebSocketUpgrade) -> Response {
    let Ok(permit) = Arc::clone(&endpoint.server.sockets).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many WebSockets").into_response();
    };
    request.max_message_size(MAX_REQUEST_BYTES).on_upgrade(async move |socket| {
        websocket::serve(socket, endpoint).await;
        drop(permit);
    })
}
