//! `retracted`: a derived fact whose as-of block is no longer part of the canonical chain.
//!
//! The entry's block reference is that of the fact which it retracts, so that fact and retraction share
//! their place on the branch that lost. It is a function of the log: there is one for each derived fact
//! whose block a `chain.block_reverted` entry takes back, and none else.

use obsqra_types::{BlockHash, Hash32, Seq};

use crate::Kind;
use crate::cbor::{Canonical, DecodeError, Reader, Writer};

/// A derived fact that no longer counts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Retracted {
    /// The kind of the fact.
    pub kind: Kind,
    /// What the fact is about, such as a protocol id.
    pub subject: String,
    /// The hash of its as-of block.
    pub block_hash: BlockHash,
    /// Where the fact stands.
    pub seq: Seq,
    /// Its content hash.
    pub content_hash: Hash32,
    /// The `chain.block_reverted` entry that takes its block back.
    pub reverted_seq: Seq,
}

impl Canonical for Retracted {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(2).text(self.kind.name()).text(&self.subject);
        out.array(4).felt(&self.block_hash.0).uint(self.seq.0);
        out.bytes(self.content_hash.as_bytes()).uint(self.reverted_seq.0);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(2)?;
        let name = input.text()?;
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.name() == name)
            .ok_or(DecodeError::Range("kind of the retracted fact"))?;
        let subject = input.text()?.to_owned();
        input.array(4)?;
        Ok(Self {
            kind,
            subject,
            block_hash: BlockHash(input.felt()?),
            seq: Seq(input.uint()?),
            content_hash: input.hash()?,
            reverted_seq: Seq(input.uint()?),
        })
    }
}
