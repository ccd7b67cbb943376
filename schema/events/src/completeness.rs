//! Facts about what was found out: a source's block that does not fit its own header, two nodes that have
//! different blocks at one height, and a block of which the log has not what it should have.
//!
//! Neither belongs to a block of the chain: the block may never be applied. They name its height and the hash
//! that was stated. What the node answered is kept outside the log, under the digest that stands here.

use obsqra_types::{BlockHash, BlockNumber, Hash32};

use crate::cbor::{Canonical, DecodeError, Reader, Writer};
use crate::chain::Verdict;

/// A member of a block that is not what follows from the rest of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The member, as JSON-RPC calls it.
    pub member: String,
    /// What the source states.
    pub stated: String,
    /// What follows from the rest.
    pub computed: String,
}

/// A source's block contradicts itself; it was not applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MismatchFound {
    /// The block's height.
    pub number: BlockNumber,
    /// The hash that the source states.
    pub hash: BlockHash,
    /// The source's address without what may be secret.
    pub node: String,
    /// The kind of source, such as `json-rpc/0.10`.
    pub source: String,
    /// What differs.
    pub differences: Vec<Difference>,
    /// SHA-256 of the answer as it came.
    pub evidence: Hash32,
}

/// The log has not what it should have of a block that was verified after it was applied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IncompleteFound {
    /// The block's height.
    pub number: BlockNumber,
    /// Its hash, in the log and at the source.
    pub hash: BlockHash,
    /// The kind of source that has it verified, such as `json-rpc/0.10`.
    pub source: String,
    /// What differs: `stated` is the log's, `computed` the verified block's.
    pub differences: Vec<Difference>,
}

/// What one source says about a height.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourceStatement {
    /// Its address without what may be secret.
    pub node: String,
    /// Its kind, such as `json-rpc/0.10`.
    pub source: String,
    /// The block's hash.
    pub hash: BlockHash,
    /// SHA-256 over what is kept of the block's header and over all of its events.
    pub digest: Hash32,
    /// Whether what it says fits together.
    pub verdict: Verdict,
}

/// Two sources have different blocks at one height.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SourcesDisagreed {
    /// The height.
    pub number: BlockNumber,
    /// The source that led, and the one it was compared with.
    pub statements: Vec<SourceStatement>,
}

impl Canonical for Difference {
    fn write(&self, out: &mut Writer) {
        out.array(3).text(&self.member).text(&self.stated).text(&self.computed);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(3)?;
        Ok(Self {
            member: input.text()?.to_owned(),
            stated: input.text()?.to_owned(),
            computed: input.text()?.to_owned(),
        })
    }
}

impl Canonical for MismatchFound {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(3).uint(self.number.0).felt(&self.hash.0);
        out.bytes(self.evidence.as_bytes());
        out.array(3).text(&self.node).text(&self.source).list(&self.differences);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(3)?;
        let (number, hash) = (BlockNumber(input.uint()?), BlockHash(input.felt()?));
        let evidence = input.hash()?;
        input.array(3)?;
        Ok(Self {
            number,
            hash,
            evidence,
            node: input.text()?.to_owned(),
            source: input.text()?.to_owned(),
            differences: input.list()?,
        })
    }
}

impl Canonical for IncompleteFound {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(2).uint(self.number.0).felt(&self.hash.0);
        out.array(2).text(&self.source).list(&self.differences);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(2)?;
        let (number, hash) = (BlockNumber(input.uint()?), BlockHash(input.felt()?));
        input.array(2)?;
        Ok(Self { number, hash, source: input.text()?.to_owned(), differences: input.list()? })
    }
}

impl Canonical for SourceStatement {
    fn write(&self, out: &mut Writer) {
        out.array(5).text(&self.node).text(&self.source).felt(&self.hash.0);
        out.bytes(self.digest.as_bytes());
        self.verdict.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(5)?;
        Ok(Self {
            node: input.text()?.to_owned(),
            source: input.text()?.to_owned(),
            hash: BlockHash(input.felt()?),
            digest: input.hash()?,
            verdict: Verdict::read(input)?,
        })
    }
}

impl Canonical for SourcesDisagreed {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).uint(self.number.0);
        out.array(1).list(&self.statements);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let number = BlockNumber(input.uint()?);
        input.array(1)?;
        Ok(Self { number, statements: input.list()? })
    }
}
