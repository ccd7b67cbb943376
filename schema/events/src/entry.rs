//! Entries: a fact with its place in the chain and in the log, and the two hashes that fix it.
//!
//! - The **content hash** is SHA-256 over the canonical array `[kind, version, chain, block, payload]`,
//!   where `kind` is the kind's name, `block` is null or `[number, branch epoch, timestamp]`, and
//!   `payload` is the payload's own bytes. It depends on the fact alone.
//! - The **entry hash** is SHA-256(0x00 ‖ seq ‖ recorded_at ‖ content hash ‖ hash of the entry before),
//!   integers as 8 big-endian bytes. It fixes the entry's place and everything before it.

use obsqra_types::{BlockRef, ChainId, Hash32, RecordedAt, Seq};
use sha2::{Digest, Sha256};

use crate::cbor::Writer;
use crate::{Fact, FactError, Kind};

/// The hash of an entry, which covers the log up to it.
pub type EntryHash = Hash32;

/// A fact ready to be appended: encoded and hashed before any lock is taken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Draft {
    /// Kind.
    pub kind: Kind,
    /// Layout version of the payload.
    pub version: i16,
    /// The chain it is about.
    pub chain: ChainId,
    /// The block it belongs to; for a derived fact its as-of block.
    pub block: Option<BlockRef>,
    /// Canonical bytes.
    pub payload: Vec<u8>,
    /// Hash of all of the above.
    pub content_hash: Hash32,
}

impl Draft {
    /// Encodes and hashes a fact.
    #[must_use]
    pub fn new(chain: &ChainId, block: Option<BlockRef>, fact: &Fact) -> Self {
        let kind = fact.kind();
        let payload = fact.encode();
        let content_hash = content_hash(kind, kind.version(), chain, block.as_ref(), &payload);
        Self { kind, version: kind.version(), chain: chain.clone(), block, payload, content_hash }
    }

    /// Reads the fact back.
    ///
    /// # Errors
    /// As [`Fact::decode`].
    pub fn fact(&self) -> Result<Fact, FactError> {
        Fact::decode(self.kind, self.version, &self.payload)
    }

    /// The content hash that the other members give; differs from the stored one only when an entry
    /// was tampered with.
    #[must_use]
    pub fn recomputed_content_hash(&self) -> Hash32 {
        content_hash(self.kind, self.version, &self.chain, self.block.as_ref(), &self.payload)
    }
}

/// An entry of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Position.
    pub seq: Seq,
    /// When it was appended.
    pub recorded_at: RecordedAt,
    /// The fact.
    pub draft: Draft,
    /// Entry hash.
    pub hash: EntryHash,
}

/// The hash of a fact: see the module.
#[must_use]
pub fn content_hash(
    kind: Kind,
    version: i16,
    chain: &ChainId,
    block: Option<&BlockRef>,
    payload: &[u8],
) -> Hash32 {
    let mut head = Writer::with_capacity(96);
    head.array(5).text(kind.name()).uint(u64::from(version.unsigned_abs())).text(chain.as_str());
    head.option(block, |out, block| {
        out.array(3).uint(block.number.0).uint(block.epoch.0.into()).uint(block.timestamp.0);
    });
    let mut hasher = Sha256::new();
    hasher.update(head.into_bytes());
    hasher.update(payload);
    Hash32(hasher.finalize().into())
}

/// The hash of an entry: see the module.
#[must_use]
pub fn chain_hash(
    seq: Seq,
    recorded_at: RecordedAt,
    content_hash: &Hash32,
    previous: &EntryHash,
) -> EntryHash {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(seq.0.to_be_bytes());
    hasher.update(recorded_at.0.to_be_bytes());
    hasher.update(content_hash.as_bytes());
    hasher.update(previous.as_bytes());
    Hash32(hasher.finalize().into())
}
