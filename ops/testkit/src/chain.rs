//! Made-up chains, written straight into a log.

use std::time::Duration;

use obsqra_events::{
    Adopted, AdoptedWhat, BlockApplied, BlockFinalized, BlockReverted, DaMode, Draft, EventData,
    EventsDigest, Fact, GasPrice,
};
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::key::{self, AppliedBlock};
use obsqra_store::{AppendOutcome, Fence, Key, Keyed, Lease, Store, StoreError, log};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, EventIndex, Felt,
    Hash32, Partition, Seq, TransactionHash, UnixSeconds,
};

/// A felt of a small number.
#[must_use]
pub fn felt(value: u64) -> Felt {
    Felt::from(value)
}

/// A block as a test makes it up.
#[derive(Clone, Debug)]
pub struct MadeBlock {
    /// Where and when.
    pub at: BlockRef,
    /// Its hash.
    pub hash: BlockHash,
    /// The hash of the block below.
    pub parent: BlockHash,
    /// Its watched events.
    pub events: Vec<EventData>,
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

    /// The follower's fence, to append with by hand.
    #[must_use]
    pub fn fence(&self) -> &Fence {
        self.lease.fence()
    }

    /// A block's entries: `hash` distinguishes blocks of one height, events come from contract 1.
    #[must_use]
    pub fn block(&self, number: u64, epoch: u32, parent: u64, hash: u64, events: u32) -> Keyed {
        let at = BlockRef {
            number: BlockNumber(number),
            epoch: BranchEpoch(epoch),
            timestamp: UnixSeconds(1_700_000_000 + number * 600),
        };
        let event = |index: u32| EventData {
            index: EventIndex(index),
            transaction_index: index,
            transaction_hash: TransactionHash(felt(hash * 1_000 + u64::from(index))),
            from_address: ContractAddress(felt(1)),
            keys: vec![felt(7)],
            data: vec![felt(hash), felt(u64::from(index))],
        };
        self.made(MadeBlock {
            at,
            hash: BlockHash(felt(hash)),
            parent: BlockHash(felt(parent)),
            events: (0..events).map(event).collect(),
        })
    }

    /// The entries of a block with events of the test's own.
    ///
    /// # Panics
    /// When the block has more than 2³² events.
    #[must_use]
    pub fn made(&self, block: MadeBlock) -> Keyed {
        let MadeBlock { at, hash, parent, events } = block;
        let watched_events = u32::try_from(events.len()).expect("a block of a test is small");
        let price = GasPrice { fri: 1, wei: 1 };
        let events: Vec<Draft> = events
            .into_iter()
            .map(|event| Draft::new(&self.chain, Some(at), &Fact::Event(event)))
            .collect();
        let mut events_digest = EventsDigest::new();
        events.iter().for_each(|event| events_digest.add(&event.content_hash));
        let applied = Fact::BlockApplied(BlockApplied {
            hash,
            parent_hash: parent,
            new_root: hash.0 + felt(1),
            sequencer: ContractAddress(felt(5)),
            starknet_version: "0.14.1".into(),
            da_mode: DaMode::Blob,
            l1_gas: price,
            l1_data_gas: price,
            watched_events,
            events_digest: events_digest.finish(),
        });
        let mut drafts = vec![Draft::new(&self.chain, Some(at), &applied)];
        drafts.extend(events);
        Keyed { key: Key::Block { hash, parent, watched_events }, drafts }
    }

    /// Adopts a registry from here on.
    ///
    /// # Errors
    /// As [`log::append`].
    pub async fn adopt_registry(
        &self,
        version: &str,
        hash: Hash32,
        bytes: &[u8],
    ) -> Result<AppendOutcome, StoreError> {
        self.adopt(AdoptedWhat::Registry, version, hash, bytes).await
    }

    /// Adopts something from here on.
    ///
    /// # Errors
    /// As [`log::append`].
    pub async fn adopt(
        &self,
        what: AdoptedWhat,
        version: &str,
        hash: Hash32,
        bytes: &[u8],
    ) -> Result<AppendOutcome, StoreError> {
        let version = version.to_owned();
        let adopted =
            Fact::Adopted(Adopted { what, version: version.clone(), hash, bytes: bytes.to_vec() });
        let drafts = vec![Draft::new(&self.chain, None, &adopted)];
        let facts = vec![Keyed { key: Key::Adopted { what, version, hash }, drafts }];
        let mut tx = self.store.begin().await?;
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(outcome)
    }

    /// Says of a canonical block that it is accepted on L1.
    ///
    /// # Errors
    /// As [`log::append`].
    ///
    /// # Panics
    /// When the chain has no such block.
    pub async fn finalize(&self, number: u64) -> Result<AppendOutcome, StoreError> {
        let number = BlockNumber(number);
        let mut tip =
            chain_tip::load(&self.store, &self.chain).await?.expect("a chain with blocks");
        let blocks = key::canonical(&self.store, &self.chain, number, number).await?;
        let block = blocks.first().expect("a block at the height");
        let fact = Fact::BlockFinalized(BlockFinalized { hash: block.hash });
        let drafts = vec![Draft::new(&self.chain, Some(block.block), &fact)];
        tip.finalized = Some(number);
        let mut tx = self.store.begin().await?;
        let facts = vec![Keyed { key: Key::Plain, drafts }];
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        chain_tip::store(&mut tx, &self.chain, &tip).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(outcome)
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
    pub async fn replace(
        &self,
        blocks: u64,
        by: Keyed,
        epoch: u32,
    ) -> Result<AppendOutcome, StoreError> {
        self.replace_all(blocks, vec![by], epoch).await
    }

    /// Appends blocks, lowest first, in one transaction.
    ///
    /// # Errors
    /// As [`log::append`].
    pub async fn append_all(
        &self,
        blocks: Vec<Keyed>,
        epoch: u32,
    ) -> Result<AppendOutcome, StoreError> {
        self.commit(blocks, epoch).await
    }

    /// As [`ChainWriter::replace`], with several blocks, lowest first.
    ///
    /// # Errors
    /// As [`log::append`].
    ///
    /// # Panics
    /// When the chain has no blocks.
    pub async fn replace_all(
        &self,
        blocks: u64,
        by: Vec<Keyed>,
        epoch: u32,
    ) -> Result<AppendOutcome, StoreError> {
        let tip = chain_tip::load(&self.store, &self.chain).await?.expect("a chain with blocks");
        let lowest = BlockNumber(tip.number.0 + 1 - blocks);
        let reverted = key::canonical(&self.store, &self.chain, lowest, tip.number).await?;
        let mut facts: Vec<Keyed> =
            reverted.iter().map(|block: &AppliedBlock| self.revert(block)).collect();
        facts.extend(by);
        self.commit(facts, epoch).await
    }

    fn revert(&self, block: &AppliedBlock) -> Keyed {
        let fact = Fact::BlockReverted(BlockReverted { hash: block.hash });
        Keyed { key: Key::Plain, drafts: vec![Draft::new(&self.chain, Some(block.block), &fact)] }
    }

    async fn commit(&self, facts: Vec<Keyed>, epoch: u32) -> Result<AppendOutcome, StoreError> {
        let last = facts.last().expect("a block to append").clone();
        let block = last.drafts[0].block.expect("a block's entry");
        let Key::Block { hash, .. } = last.key else { panic!("the last fact is a block") };
        let mut blocks = facts.iter().filter(|fact| matches!(fact.key, Key::Block { .. }));
        let first = blocks.find_map(|fact| fact.drafts[0].block).expect("a block to append");
        let known = chain_tip::load(&self.store, &self.chain).await?;
        let mut tx = self.store.begin().await?;
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        let tip = ChainTip {
            first: known.map_or(first.number, |tip| tip.first),
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
