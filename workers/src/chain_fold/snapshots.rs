//! States of the fold that are kept: under which version, and how.

use obsqra_protocols::{Definitions, Registry};
use obsqra_store::Transaction;
use obsqra_store::snapshot::{self, Snapshot};
use obsqra_types::{Partition, Seq};

use crate::WorkError;

/// A state of the fold that is to be kept, so that a restart need not read the log from its first block.
#[derive(Debug)]
#[must_use = "it is not kept until it is saved"]
pub struct DueSnapshot {
    pub(super) partition: Partition,
    pub(super) version: String,
    pub(super) snapshot: Snapshot,
}

impl DueSnapshot {
    /// Keeps it in the unit of progress that ends where it was taken.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn save(&self, tx: &mut Transaction) -> Result<(), WorkError> {
        Ok(snapshot::save(tx, &self.partition, &self.version, &self.snapshot).await?)
    }
}

/// A state belongs to the definitions, the registry, and the entry that adopted it, which causes name.
pub(super) fn version_of(registry: &Registry, adopted_at: Seq) -> String {
    format!("{}/{}/{adopted_at}", Definitions::own().hash(), registry.hash())
}
