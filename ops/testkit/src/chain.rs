//! Made-up chains, written straight into a log.

use std::time::Duration;

use obsqra_events::{BlockApplied, BlockReverted, DaMode, Draft, EventData, Fact, GasPrice};
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::key::{self, AppliedBlock};
use obsqra_store::{AppendOutcome, Key, Keyed, Lease, Store, StoreError, log};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, EventIndex, Felt,
    Hash32, Partition, Seq, TransactionHash, UnixSeconds,
};

/// A felt of a small number.
#[must_use]
pub fn felt(value: u64) -> Felt {
    Felt::from(value)
}

/// Writes blocks of a chain as its follower would, without a node.
#[derive(Debug)]
pub struct ChainWriter {
    store: Store,
    chain: ChainId,
    lease: Lease,
}

impl ChainWriter {
    /// Takes the chain's follower lease.
    ///
    /// # Panics
    /// When another writer holds it.
    pub async fn new(store: &Store, chain: &ChainId) -> Self {
        let partition = Partition::Follower(chain.clone());
        let lease = Lease::acquire(store, partition, "chain writer", Duration::from_secs(600))
            .await
            .expect("database answers")
            .expect("the follower's partition is free");
        Self { store: store.clone(), chain: chain.clone(), lease }
    }

    /// A block's entries: `hash` distinguishes blocks of one height, events come from contract 1.
    #[must_use]
    pub fn block(&self, number: u64, epoch: u32, parent: u64, hash: u64, events: u32) -> Keyed {
        let at = BlockRef {
            number: BlockNumber(number),
            epoch: BranchEpoch(epoch),
            timestamp: UnixSeconds(1_700_000_000 + number * 600),
        };
        let price = GasPrice { fri: 1, wei: 1 };
        let applied = Fact::BlockApplied(BlockApplied {
            hash: BlockHash(felt(hash)),
            parent_hash: BlockHash(felt(parent)),
            new_root: felt(hash + 1),
            sequencer: ContractAddress(felt(5)),
            starknet_version: "0.14.1".into(),
            da_mode: DaMode::Blob,
            l1_gas: price,
            l1_data_gas: price,
            l2_gas: Some(price),
            watched_events: events,
            events_digest: Hash32::ZERO,
        });
        let mut drafts = vec![Draft::new(&self.chain, Some(at), &applied)];
        drafts.extend((0..events).map(|index| {
            let event = EventData {
                index: EventIndex(index),
                transaction_index: index,
                transaction_hash: TransactionHash(felt(hash * 1_000 + u64::from(index))),
                from_address: ContractAddress(felt(1)),
                keys: vec![felt(7)],
                data: vec![felt(hash), felt(u64::from(index))],
            };
            Draft::new(&self.chain, Some(at), &Fact::Event(event))
        }));
        let key = Key::Block {
            hash: BlockHash(felt(hash)),
            parent: BlockHash(felt(parent)),
            watched_events: events,
        };
        Keyed { key, drafts }
    }

    /// Appends a block and moves the tip to it.
    ///
    /// # Errors
    /// As [`log::append`].
    pub async fn append(&self, block: Keyed, epoch: u32) -> Result<AppendOutcome, StoreError> {
        self.commit(vec![block], epoch).await
    }

    /// Reverts the newest `blocks` blocks and appends one that replaces them, in one transaction.
    ///
    /// # Errors
    /// As [`log::append`].
    pub async fn replace(&self, blocks: u64, by: Keyed, epoch: u32) -> Result<AppendOutcome, StoreError> {
        let tip = chain_tip::load(&self.store, &self.chain).await?.expect("a chain with blocks");
        let lowest = BlockNumber(tip.number.0 + 1 - blocks);
        let reverted = key::canonical(&self.store, &self.chain, lowest, tip.number).await?;
        let mut facts: Vec<Keyed> =
            reverted.iter().map(|block: &AppliedBlock| self.revert(block)).collect();
        facts.push(by);
        self.commit(facts, epoch).await
    }

    fn revert(&self, block: &AppliedBlock) -> Keyed {
        let fact = Fact::BlockReverted(BlockReverted { hash: block.hash, applied_seq: block.seq });
        Keyed { key: Key::Plain, drafts: vec![Draft::new(&self.chain, Some(block.block), &fact)] }
    }

    async fn commit(&self, facts: Vec<Keyed>, epoch: u32) -> Result<AppendOutcome, StoreError> {
        let last = facts.last().expect("a block to append").clone();
        let block = last.drafts[0].block.expect("a block's entry");
        let Key::Block { hash, .. } = last.key else { panic!("the last fact is a block") };
        let known = chain_tip::load(&self.store, &self.chain).await?;
        let mut tx = self.store.begin().await?;
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        let tip = ChainTip {
            first: known.map_or(block.number, |tip| tip.first),
            number: block.number,
            hash,
            epoch: BranchEpoch(epoch),
            seq: Seq(outcome.after.seq.0 + 1 - last.drafts.len() as u64),
            finalized: known.and_then(|tip| tip.finalized),
        };
        chain_tip::store(&mut tx, &self.chain, &tip).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(outcome)
    }
}
