//! JSON-RPC 2.0 over HTTP, at specification 0.10.

mod error;
mod events;
mod methods;
mod params;
mod server;

pub(crate) use methods::Context;
pub use methods::SPEC_VERSION;
pub(crate) use server::{Server, router};
