//! Nodes of every kind behind the source: each edition of the specification, several nodes,
//! sockets, and everything that can be wrong with an answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test that cannot go on fails, and a table of cases is long"
)]

mod answers;
mod asks;
mod fake;
mod heads;
mod pool;
mod raw;
mod specs;

use std::time::{Duration, Instant};

use obsqra_indexer::source::{JsonRpcOptions, JsonRpcSource};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

fn source(url: &str) -> JsonRpcSource {
    source_within(url, PATIENCE)
}

fn source_within(url: &str, timeout: Duration) -> JsonRpcSource {
    JsonRpcSource::new(JsonRpcOptions { url: url.parse().unwrap(), timeout }).unwrap()
}

/// Waits until `holds` says so.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
