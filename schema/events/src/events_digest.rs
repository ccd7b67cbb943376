//! The digest of a block's watched events: SHA-256 over 0x01 and their content hashes, in order.
//!
//! `chain.block_applied` and `chain.block_supplemented` state it, so that an event cannot be taken out
//! of a block, or added to it, without a new statement about the block.

use obsqra_types::Hash32;
use sha2::{Digest, Sha256};

/// A digest that is being taken.
#[derive(Clone, Debug)]
pub struct EventsDigest(Sha256);

impl EventsDigest {
    /// The digest of no events yet.
    #[must_use]
    pub fn new() -> Self {
        let mut hasher = Sha256::new();
        hasher.update([1]);
        Self(hasher)
    }

    /// Adds the next event by its content hash.
    pub fn add(&mut self, content_hash: &Hash32) {
        self.0.update(content_hash.as_bytes());
    }

    /// The digest.
    #[must_use]
    pub fn finish(self) -> Hash32 {
        Hash32(self.0.finalize().into())
    }
}

impl Default for EventsDigest {
    fn default() -> Self {
        Self::new()
    }
}
