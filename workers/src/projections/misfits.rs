//! How many standing events fit no layout, by protocol: a gauge for `/metrics`.

use std::collections::BTreeMap;

use obsqra_store::projection::event::EventRow;

/// Counts by protocol. A protocol that had any keeps its count when that falls to 0, so that its gauge does.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Misfits(BTreeMap<String, u64>);

impl Misfits {
    /// Continues from counts.
    pub(super) fn new(counts: BTreeMap<String, u64>) -> Self {
        Self(counts)
    }

    /// A row that now stands.
    pub(super) fn stands(&mut self, row: &EventRow) {
        if row.name.is_none() {
            let count = self.0.entry(row.protocol.clone()).or_default();
            *count = count.saturating_add(1);
        }
    }

    /// A row that was closed.
    pub(super) fn is_gone(&mut self, row: &EventRow) {
        if row.name.is_none()
            && let Some(count) = self.0.get_mut(&row.protocol)
        {
            *count = count.saturating_sub(1);
        }
    }

    /// Sets the gauges.
    pub(super) fn publish(&self) {
        for (protocol, count) in &self.0 {
            metrics::gauge!("obsqra_projection_misfit_events", "protocol" => protocol.clone())
                .set(*count as f64);
        }
    }
}
