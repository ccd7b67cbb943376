//! What the follower writes: each of the planner's decisions is one transaction.

use std::collections::VecDeque;

use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::{StoreError, key, log};
use obsqra_types::{BlockHash, BlockNumber, BranchEpoch};

use super::Session;
use crate::IndexError;
use crate::completeness::CheckedBlock;
use crate::pipeline::{self, Committed, EncodedBatch, Reverts, Target};
use crate::planner::{BlockId, Effect, Input, Planner, Position, Trouble};

/// Where the log stands, as read at the start of a step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub(super) tip: Option<ChainTip>,
    pub(super) position: Position,
}

/// A planner at work: what it was told last about the log, and the blocks that it holds.
pub(super) struct Course {
    pub(super) planner: Planner,
    pub(super) standing: Standing,
    pub(super) held: VecDeque<CheckedBlock>,
}

impl Session<'_> {
    pub(super) async fn standing(&self) -> Result<Standing, IndexError> {
        let tip = chain_tip::load(&self.follower.store, &self.encoder.chain).await?;
        let position = Position {
            first: self.encoder.first,
            tip: tip.map(|tip| BlockId { number: tip.number, hash: tip.hash }),
            finalized: tip.and_then(|tip| tip.finalized),
        };
        Ok(Standing { tip, position })
    }

    pub(super) async fn course(&self) -> Result<Course, IndexError> {
        let standing = self.standing().await?;
        let planner = Planner::new(standing.position, self.follower.options.limits());
        Ok(Course { planner, standing, held: VecDeque::new() })
    }

    pub(super) async fn note(
        &self,
        standing: Standing,
        head: BlockNumber,
    ) -> Result<(), IndexError> {
        self.follower.progress.send_modify(|progress| {
            progress.tip = standing.tip.map(|tip| tip.number);
            progress.node_head = Some(head);
        });
        chain_tip::note_node_head(&self.follower.store, &self.encoder.chain, head).await?;
        Ok(())
    }

    /// The hash that the log has at a height; `None` where it has no canonical block.
    pub(super) async fn own_hash(
        &self,
        standing: Standing,
        number: BlockNumber,
    ) -> Result<Option<BlockHash>, IndexError> {
        let Some(tip) = standing.tip.filter(|tip| number <= tip.number) else {
            return Ok(None);
        };
        if number == tip.number {
            return Ok(Some(tip.hash));
        }
        let store = &self.follower.store;
        let found = key::canonical(store, &self.encoder.chain, number, number).await?;
        Ok(found.first().map(|block| block.hash))
    }

    /// Does what is to be written; the answer, if the planner awaits one.
    pub(super) async fn write(
        &mut self,
        course: &mut Course,
        effect: Effect,
    ) -> Result<Option<Input>, IndexError> {
        match effect {
            Effect::Append { blocks } => {
                let blocks: Vec<_> = course.held.drain(..blocks).collect();
                let epoch = course.standing.tip.map_or(BranchEpoch(0), |tip| tip.epoch);
                course.standing = self.append(course.standing, None, &blocks, epoch).await?;
            }
            Effect::Replace { fork, blocks } => {
                let blocks: Vec<_> = course.held.drain(..blocks).collect();
                course.standing = self.replace(course.standing, fork, &blocks).await?;
            }
            Effect::Drop => {
                course.held.clear();
                return Ok(None);
            }
            Effect::Finalize(block) => {
                self.finalize(course, block).await?;
                return Ok(None);
            }
            Effect::Fail(trouble) => return Err(self.trouble(trouble)),
            _ => return Ok(None),
        }
        Ok(Some(Input::Committed(course.standing.position)))
    }

    async fn replace(
        &mut self,
        standing: Standing,
        fork: BlockId,
        blocks: &[CheckedBlock],
    ) -> Result<Standing, IndexError> {
        let Some(tip) = standing.tip else {
            return Ok(standing);
        };
        let store = &self.follower.store;
        let chain = &self.encoder.chain;
        let above = key::canonical(store, chain, fork.number.next(), tip.number).await?;
        let epoch = BranchEpoch(tip.epoch.0 + 1);
        let entries = above.iter().map(|block| self.encoder.reverted(block)).collect();
        tracing::warn!(
            node = self.node,
            fork = fork.number.0,
            reverted = above.len(),
            epoch = epoch.0,
            "reorganisation: blocks above the fork are replaced"
        );
        metrics::counter!("obsqra_indexer_reverted_blocks_total").increment(above.len() as u64);
        self.append(standing, Some(Reverts { fork: fork.number, entries }), blocks, epoch).await
    }

    /// One transaction: reverts above a fork, then blocks, then the tip.
    async fn append(
        &mut self,
        standing: Standing,
        reverts: Option<Reverts>,
        blocks: &[CheckedBlock],
        epoch: BranchEpoch,
    ) -> Result<Standing, IndexError> {
        let Some(batch) = EncodedBatch::new(&self.encoder, blocks, epoch)? else {
            return Ok(standing);
        };
        let (id, count, events) = (batch.newest, batch.blocks, batch.events);
        let watching = batch.watching().clone();
        let target = Target {
            store: &self.follower.store,
            fence: self.lease.fence(),
            chain: &self.encoder.chain,
            first: standing.tip.map(|tip| tip.first),
            finalized: standing.position.finalized,
        };
        let Committed { tip, outcome } = pipeline::commit(target, reverts, batch).await?;
        self.encoder.watching = watching;

        self.follower.progress.send_modify(|progress| {
            progress.tip = Some(id.number);
            progress.blocks += count;
            progress.events += events;
        });
        metrics::counter!("obsqra_indexer_blocks_total").increment(count);
        metrics::counter!("obsqra_indexer_events_total").increment(events);
        tracing::debug!(block = id.number.0, seq = outcome.after.seq.0, count, events, "appended");
        let position = Position { tip: Some(id), ..standing.position };
        Ok(Standing { tip: Some(tip), position })
    }

    /// Appends that a block of the log is final.
    async fn finalize(&self, course: &mut Course, block: BlockId) -> Result<(), IndexError> {
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        let own = key::canonical(store, chain, block.number, block.number).await?;
        let (Some(own), Some(tip)) = (own.first(), course.standing.tip) else {
            return Ok(());
        };
        let mut tx = store.begin().await?;
        log::append(&mut tx, self.lease.fence(), vec![self.encoder.finalized(own)]).await?;
        let tip = ChainTip { finalized: Some(block.number), ..tip };
        chain_tip::store(&mut tx, chain, &tip).await?;
        tx.commit().await.map_err(StoreError::from)?;
        course.planner.finalized(block.number);
        course.standing.tip = Some(tip);
        course.standing.position.finalized = Some(block.number);
        Ok(())
    }

    fn trouble(&self, trouble: Trouble) -> IndexError {
        let node = self.node.clone();
        match trouble {
            Trouble::Unlinked { block, below } => {
                IndexError::Unlinked { node, number: block.id.number, parent: block.parent, below }
            }
            Trouble::BelowFinal { number, finalized } => {
                IndexError::BelowFinal { node, number, finalized }
            }
            Trouble::NoCommonBlock { first } => {
                IndexError::NoCommonBlock { node, chain: self.encoder.chain.clone(), first }
            }
        }
    }
}
