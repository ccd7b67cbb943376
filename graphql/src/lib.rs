//! The read side for dashboards: queries and subscriptions over GraphQL, health and metrics over HTTP.
//!
//! Every request is pinned to the position of the read models at its start, reads what stood there,
//! and returns that position in `extensions.position`. The server only reads: it depends on the store
//! and on the meaning of what is stored, never on who writes it. The transport is its own, on top of
//! `Schema::execute`, so that what is refused is refused before anything runs.

mod api;
mod context;
mod error;
mod execute;
mod http;
mod limits;
mod live;
mod loaders;
mod registry;
mod server;

pub use api::schema_sdl;
pub use server::{HealthCheck, MetricsText, Server, ServerError, ServerOptions};
