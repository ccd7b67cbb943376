//! The server over a real database: what it answers, what it refuses, and how it carries
//! subscriptions.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod activity;
mod findings;
mod privacy_pools;
mod reads;
mod statements;
mod subscriptions;
mod support;
mod transport;
