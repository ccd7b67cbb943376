//! Routes.

mod graphiql;
mod graphql;
mod health;
mod websocket;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::limits::MAX_BODY_BYTES;
use crate::server::AppState;

/// Every route of the server.
pub(crate) fn router(state: AppState) -> Router {
    Router::new()
        .route("/", get(graphiql::page))
        .route("/graphiql.css", get(graphiql::style))
        .route("/graphiql.js", get(graphiql::script))
        .route("/graphql", post(graphql::post))
        .route("/graphql/ws", get(websocket::upgrade))
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .route("/metrics", get(health::metrics))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}
