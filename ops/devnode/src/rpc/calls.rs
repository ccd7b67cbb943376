//! How often each method was called, for tests and scripts that wait for calls.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use super::methods::METHODS;

/// Counts of calls by method; those of unknown methods are not counted.
#[derive(Debug)]
pub(crate) struct Calls {
    counts: Mutex<BTreeMap<&'static str, u64>>,
    changed: watch::Sender<()>,
}

impl Calls {
    pub(crate) fn new() -> Self {
        Self { counts: Mutex::default(), changed: watch::Sender::new(()) }
    }

    pub(crate) fn count(&self, method: &str) {
        if let Some(known) = METHODS.into_iter().find(|known| *known == method) {
            *self.lock().entry(known).or_default() += 1;
            self.changed.send_replace(());
        }
    }

    pub(crate) fn of(&self, method: &str) -> u64 {
        self.lock().get(method).copied().unwrap_or(0)
    }

    /// Waits until a method was called so often.
    pub(crate) async fn wait_for(&self, method: &str, count: u64) {
        let mut changes = self.changed.subscribe();
        let reached = changes.wait_for(|()| self.of(method) >= count).await;
        // The sender lives as long as `self`, so waiting cannot fail.
        debug_assert!(reached.is_ok());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
