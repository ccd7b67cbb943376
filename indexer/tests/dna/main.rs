//! The DNA source against a node that streams: what comes is what JSON-RPC says of the same chain, and
//! what is wrong is refused by name.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod access;
mod cassette;
mod chain;
mod faults;
mod reorgs;
mod support;
