//! The binary under test, the servers it works with, three ways to look at what it did, which are
//! GraphQL, the log and the stream, and a script that says what it should have done.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod api;
pub(crate) mod chain;
pub(crate) mod oracle;
pub(crate) mod process;
pub(crate) mod servers;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. It says nothing about how long it should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Waits until `holds` says so.
///
/// # Panics
/// After [`PATIENCE`], with what was waited for.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds().await {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().expect("the workspace is there")
}

/// The file of recorded blocks; `None`, and a line that says so, where it is not at hand.
pub(crate) fn recorded_blocks() -> Option<PathBuf> {
    let file = root().join("../shared/chain/mainnet.ndjson.gz");
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {} is not there", file.display());
    None
}
