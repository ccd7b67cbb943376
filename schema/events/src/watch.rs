//! Facts about the watched set: contracts that are watched later than the log's first block.
//!
//! `chain.watch_widened` says which contracts join; blocks applied after it carry their events like all
//! others. What the blocks before it lack follows as `chain.block_supplemented`, each with the missing
//! events of one block behind it as `chain.event` entries, and `chain.watch_completed` ends it: from
//! there on every canonical block of the log holds the events of these contracts.

use obsqra_types::{BlockHash, BlockNumber, ContractAddress, Hash32};
use sha2::{Digest, Sha256};

use crate::cbor::{Canonical, DecodeError, Reader, Writer};

/// Contracts that are watched from here on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchWidened {
    /// The contracts, ascending by their 32 bytes, each once.
    pub contracts: Vec<ContractAddress>,
    /// The lowest block that lacks their events.
    pub first: BlockNumber,
    /// The highest.
    pub last: BlockNumber,
}

/// The watched events of added contracts in a block that was applied without them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockSupplemented {
    /// The block's hash.
    pub hash: BlockHash,
    /// Digest of the contracts, see [`WatchWidened::digest`].
    pub contracts: Hash32,
    /// How many watched events follow this entry.
    pub watched_events: u32,
    /// SHA-256 over 0x01 and the content hashes of those events, in order.
    pub events_digest: Hash32,
}

/// Nothing is missing any more of what a widening asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchCompleted {
    /// Digest of the contracts, see [`WatchWidened::digest`].
    pub contracts: Hash32,
    /// Blocks that were supplemented.
    pub blocks: u64,
    /// Events that they gained.
    pub events: u64,
}

impl WatchWidened {
    /// SHA-256 over 0x02 and the contracts' 32 bytes, ascending: what names a widening.
    #[must_use]
    pub fn digest(&self) -> Hash32 {
        let mut hasher = Sha256::new();
        hasher.update([2]);
        for contract in &self.contracts {
            hasher.update(contract.0.to_bytes_be());
        }
        Hash32(hasher.finalize().into())
    }
}

impl Canonical for WatchWidened {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).bytes(self.digest().as_bytes());
        out.array(3).uint(self.first.0).uint(self.last.0).array(self.contracts.len());
        for contract in &self.contracts {
            out.felt(&contract.0);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let digest = input.hash()?;
        input.array(3)?;
        let (first, last) = (BlockNumber(input.uint()?), BlockNumber(input.uint()?));
        let contracts = input.felts()?.into_iter().map(ContractAddress).collect();
        let fact = Self { contracts, first, last };
        let ascending = fact
            .contracts
            .windows(2)
            .all(|pair| matches!(pair, [a, b] if a.0.to_bytes_be() < b.0.to_bytes_be()));
        if !ascending || fact.digest() != digest {
            return Err(DecodeError::NotCanonical);
        }
        Ok(fact)
    }
}

impl Canonical for BlockSupplemented {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(2).felt(&self.hash.0).bytes(self.contracts.as_bytes());
        out.array(2).uint(self.watched_events.into()).bytes(self.events_digest.as_bytes());
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(2)?;
        let hash = BlockHash(input.felt()?);
        let contracts = input.hash()?;
        input.array(2)?;
        Ok(Self {
            hash,
            contracts,
            watched_events: input.uint32("number of watched events")?,
            events_digest: input.hash()?,
        })
    }
}

impl Canonical for WatchCompleted {
    fn write(&self, out: &mut Writer) {
        out.array(2).array(1).bytes(self.contracts.as_bytes());
        out.array(2).uint(self.blocks).uint(self.events);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.array(2)?;
        input.array(1)?;
        let contracts = input.hash()?;
        input.array(2)?;
        Ok(Self { contracts, blocks: input.uint()?, events: input.uint()? })
    }
}
