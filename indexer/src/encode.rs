//! Turns blocks into log entries: which events are kept, and what is said about the block.

use std::collections::BTreeSet;

use obsqra_events::{
    BlockApplied, BlockAttested, BlockFinalized, BlockReverted, BlockSupplemented, Check, Draft,
    EventData, Fact,
};
use obsqra_store::key::AppliedBlock;
use obsqra_store::{Key, Keyed};
use obsqra_types::{BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, Hash32};
use sha2::{Digest, Sha256};

use crate::completeness::CheckedBlock;
use crate::planner::BlockId;
use crate::source::SourceBlock;

/// What is encoded the same way for every block.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The chain.
    pub chain: ChainId,
    /// Contracts whose events are kept.
    pub watched: BTreeSet<ContractAddress>,
    /// The kind of source, for attestations: `json-rpc/0.10`.
    pub source: String,
    /// The first block of the log, whose parent nothing here can be compared with.
    pub first: BlockNumber,
}

/// A block's entries: the block, its watched events, its attestation.
#[derive(Clone, Debug)]
pub struct EncodedBlock {
    /// Its place.
    pub id: BlockId,
    /// How many watched events it has.
    pub events: u64,
    /// Its entries, which are appended together.
    pub entries: Keyed,
}

impl Encoder {
    /// Encodes a block that is applied on the given branch.
    #[must_use]
    pub fn block(&self, checked: &CheckedBlock, epoch: BranchEpoch) -> EncodedBlock {
        let block = &checked.block;
        let at = BlockRef { number: block.number, epoch, timestamp: block.timestamp };
        let events: Vec<Draft> = self
            .kept(block)
            .map(|event| Draft::new(&self.chain, Some(at), &Fact::Event(event.clone())))
            .collect();
        // A block has at most as many events as fit its 32-bit indices.
        let watched_events = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let applied = BlockApplied {
            hash: block.hash,
            parent_hash: block.parent_hash,
            new_root: block.new_root,
            sequencer: block.sequencer,
            starknet_version: block.starknet_version.clone(),
            da_mode: block.da_mode,
            l1_gas: block.l1_gas,
            l1_data_gas: block.l1_data_gas,
            watched_events,
            events_digest: digest(&events),
        };
        let mut drafts = vec![Draft::new(&self.chain, Some(at), &Fact::BlockApplied(applied))];
        drafts.extend(events);
        let attested = Fact::BlockAttested(self.attest(checked));
        drafts.push(Draft::new(&self.chain, Some(at), &attested));
        let key = Key::Block { hash: block.hash, parent: block.parent_hash, watched_events };
        EncodedBlock {
            id: BlockId { number: block.number, hash: block.hash },
            events: u64::from(watched_events),
            entries: Keyed { key, drafts },
        }
    }

    /// Encodes the events of some contracts in a block that was applied without them; `None` where it
    /// has none.
    #[must_use]
    pub fn supplement(
        &self,
        block: &SourceBlock,
        at: BlockRef,
        contracts: &BTreeSet<ContractAddress>,
        named: Hash32,
    ) -> Option<EncodedBlock> {
        let events: Vec<Draft> = block
            .events
            .iter()
            .filter(|event| contracts.contains(&event.from_address))
            .map(|event| Draft::new(&self.chain, Some(at), &Fact::Event(event.clone())))
            .collect();
        if events.is_empty() {
            return None;
        }
        let watched_events = u32::try_from(events.len()).unwrap_or(u32::MAX);
        let fact = Fact::BlockSupplemented(BlockSupplemented {
            hash: block.hash,
            contracts: named,
            watched_events,
            events_digest: digest(&events),
        });
        let mut drafts = vec![Draft::new(&self.chain, Some(at), &fact)];
        drafts.extend(events);
        Some(EncodedBlock {
            id: BlockId { number: block.number, hash: block.hash },
            events: u64::from(watched_events),
            entries: Keyed { key: Key::Plain, drafts },
        })
    }

    fn kept<'a>(&'a self, block: &'a SourceBlock) -> impl Iterator<Item = &'a EventData> {
        block.events.iter().filter(|event| self.watched.contains(&event.from_address))
    }

    /// What is said about how a block was checked.
    #[must_use]
    pub fn attest(&self, checked: &CheckedBlock) -> BlockAttested {
        let (block, attestation) = (&checked.block, &checked.attestation);
        let mut checks = attestation.checks.clone();
        if block.number > self.first {
            checks.insert(0, Check::ParentLink);
        }
        BlockAttested {
            hash: block.hash,
            source: self.source.clone(),
            verdict: attestation.verdict.clone(),
            checks,
            l2_gas: block.l2_gas,
            supplied: block.supplied.clone(),
            computed: attestation.computed,
            other_leaves: attestation.other_leaves.clone(),
        }
    }

    /// The entry that takes an applied block out of the canonical chain.
    #[must_use]
    pub fn reverted(&self, applied: &AppliedBlock) -> Keyed {
        let fact = BlockReverted { hash: applied.hash };
        plain(Draft::new(&self.chain, Some(applied.block), &Fact::BlockReverted(fact)))
    }

    /// The entry that makes a block and all below it final.
    #[must_use]
    pub fn finalized(&self, applied: &AppliedBlock) -> Keyed {
        let fact = BlockFinalized { hash: applied.hash };
        plain(Draft::new(&self.chain, Some(applied.block), &Fact::BlockFinalized(fact)))
    }
}

fn plain(draft: Draft) -> Keyed {
    Keyed { key: Key::Plain, drafts: vec![draft] }
}

fn digest(events: &[Draft]) -> Hash32 {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    for event in events {
        hasher.update(event.content_hash.as_bytes());
    }
    Hash32(hasher.finalize().into())
}
