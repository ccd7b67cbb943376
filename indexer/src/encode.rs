//! Turns blocks into log entries: which events are kept, and what is said about the block.

use obsqra_events::{
    BlockApplied, BlockAttested, BlockFinalized, BlockReverted, BlockSupplemented, Check, Draft,
    Fact,
};
use obsqra_store::key::AppliedBlock;
use obsqra_store::{Key, Keyed};
use obsqra_types::{
    BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, EventIndex, Hash32,
};
use sha2::{Digest, Sha256};

use crate::completeness::CheckedBlock;
use crate::planner::BlockId;
use crate::source::SourceBlock;
use crate::watching::{Announced, Kept, Watching};

/// What is encoded the same way for every block.
#[derive(Clone, Debug)]
pub struct Encoder {
    /// The chain.
    pub chain: ChainId,
    /// Whose events are kept.
    pub watching: Watching,
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
    /// The children that they announce.
    pub children: Vec<EncodedChild>,
    /// Its entries, which are appended together.
    pub entries: Keyed,
}

/// A child that an event of a block announces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EncodedChild {
    /// Its address.
    pub address: ContractAddress,
    /// Place of the event in the block.
    pub index: EventIndex,
    /// Place of the event's entry among those of the block, from 0.
    pub entry: u64,
}

impl Encoder {
    /// Encodes a block that is applied on the given branch. What it has of contracts that are not watched, or not
    /// yet at its place, is left out; then there is no word on the leaves of the other events, which are more than
    /// whoever checked it knew.
    #[must_use]
    pub fn block(&self, checked: &CheckedBlock, epoch: BranchEpoch) -> EncodedBlock {
        let block = &checked.block;
        let at = BlockRef { number: block.number, epoch, timestamp: block.timestamp };
        let Kept { is_kept, announced } = self.watching.keep(block.number, &block.events);
        let kept = block.events.iter().zip(&is_kept).filter(|(_, is_kept)| **is_kept);
        let events: Vec<Draft> = kept
            .map(|(event, _)| Draft::new(&self.chain, Some(at), &Fact::Event(event.clone())))
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
        let mut attested = self.attest(checked);
        attested.other_leaves = attested.other_leaves.filter(|_| !is_kept.contains(&false));
        drafts.push(Draft::new(&self.chain, Some(at), &Fact::BlockAttested(attested)));
        let key = Key::Block { hash: block.hash, parent: block.parent_hash, watched_events };
        EncodedBlock {
            id: BlockId { number: block.number, hash: block.hash },
            events: u64::from(watched_events),
            children: children(block, &is_kept, &announced),
            entries: Keyed { key, drafts },
        }
    }

    /// Encodes the events that a block was applied without; `None` where it has none.
    #[must_use]
    pub fn supplement(
        &self,
        block: &SourceBlock,
        at: BlockRef,
        (lacking, named): (&Watching, Hash32),
    ) -> Option<EncodedBlock> {
        let Kept { is_kept, .. } = lacking.keep(block.number, &block.events);
        let kept = block.events.iter().zip(&is_kept).filter(|(_, is_kept)| **is_kept);
        let events: Vec<Draft> = kept
            .map(|(event, _)| Draft::new(&self.chain, Some(at), &Fact::Event(event.clone())))
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
            children: Vec::new(),
            entries: Keyed { key: Key::Plain, drafts },
        })
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

/// Where the entries of the creating events stand: the block's own entry comes first, then the kept events.
fn children(block: &SourceBlock, is_kept: &[bool], announced: &Announced) -> Vec<EncodedChild> {
    let kept = block.events.iter().zip(is_kept).filter(|(_, is_kept)| **is_kept);
    let mut children = Vec::new();
    for (entry, (event, _)) in (1..).zip(kept) {
        let born = announced.iter().filter(|(_, index)| **index == event.index);
        children.extend(born.map(|(address, index)| EncodedChild {
            address: *address,
            index: *index,
            entry,
        }));
    }
    children
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
