//! JSON-RPC 2.0 over HTTP and WebSocket, at the specification that the node's style names.

mod answer;
mod calls;
mod deliver;
mod error;
mod events;
mod methods;
mod params;
mod server;
mod websocket;
mod wire;

pub(crate) use methods::{Context, METHODS};
pub(crate) use server::{Endpoint, Server, router};
pub(crate) use wire::{ResetMark, Wires};
