//! Reorganisations: finding where the chains part, and replacing what lies above.

use obsqra_store::chain_tip::ChainTip;
use obsqra_store::key::{self, AppliedBlock};
use obsqra_types::{BlockHash, BlockNumber, BranchEpoch};

use super::{Session, Standing};
use crate::IndexError;
use crate::planner::{BlockId, BlockLink, ForkSearch, Linking, Position};
use crate::source::SourceError;

/// Most replacing blocks in the transaction that reverts; the rest follows as usual.
const FIRST_BRANCH_BLOCKS: u64 = 16;

impl Session<'_> {
    /// The node's block above the tip does not name the tip as its parent. Either the node has another
    /// block at the tip's height, or it contradicts itself; whether anything was replaced.
    pub(super) async fn reorganise_at(
        &self,
        standing: Standing,
        at: BlockNumber,
        above: &[BlockLink],
    ) -> Result<bool, IndexError> {
        let node = self.follower.source.hash_at(at).await?;
        let own = self.own_hash(standing, at).await?;
        match (node, own, above.first()) {
            (Some(node), Some(own), Some(block)) if node == own => Err(self.unlinked(*block, own)),
            (Some(_), _, Some(block)) => self.reorganise(standing, at, block.id).await,
            // The node's chain became shorter in between: its head is looked at again.
            _ => Ok(false),
        }
    }

    /// Finds the fork at or below a height at which the node has another block, and replaces all above it
    /// by the node's blocks up to `head`, in one transaction; whether anything was replaced.
    pub(super) async fn reorganise(
        &self,
        standing: Standing,
        from: BlockNumber,
        head: BlockId,
    ) -> Result<bool, IndexError> {
        let Some(tip) = standing.tip else {
            return Ok(false);
        };
        let Some(fork) = self.find_fork(standing, tip, from).await? else {
            return Ok(false);
        };
        let store = &self.follower.store;
        let above = key::canonical(store, &self.encoder.chain, fork.next(), tip.number).await?;
        let own = key::canonical(store, &self.encoder.chain, fork, fork).await?;
        let Some(fork_block) = own.first() else {
            return Ok(false);
        };
        let at_fork = BlockId { number: fork, hash: fork_block.hash };
        self.replace(standing, at_fork, &above, head).await
    }

    async fn find_fork(
        &self,
        standing: Standing,
        tip: ChainTip,
        from: BlockNumber,
    ) -> Result<Option<BlockNumber>, IndexError> {
        let mut height = from;
        loop {
            let own = self.own_hash(standing, height).await?;
            let node = self.follower.source.hash_at(height).await?;
            let (Some(own), Some(node)) = (own, node) else {
                return Ok(None);
            };
            match standing.position.search(tip.first, height, node, own) {
                ForkSearch::Found(fork) => return Ok(Some(fork)),
                ForkSearch::Down(below) => height = below,
                ForkSearch::BelowFinal => {
                    return Err(IndexError::BelowFinal {
                        node: self.node(),
                        number: height,
                        finalized: standing.position.finalized.unwrap_or(height),
                    });
                }
                ForkSearch::NothingInCommon => {
                    return Err(IndexError::NoCommonBlock {
                        node: self.node(),
                        chain: self.encoder.chain.clone(),
                        first: tip.first,
                    });
                }
            }
        }
    }

    async fn replace(
        &self,
        standing: Standing,
        fork: BlockId,
        above: &[AppliedBlock],
        head: BlockId,
    ) -> Result<bool, IndexError> {
        let to = head.number.0.min(fork.number.0 + FIRST_BRANCH_BLOCKS);
        let mut blocks = Vec::new();
        for number in fork.number.0 + 1..=to {
            match self.follower.source.block(BlockNumber(number)).await {
                Ok(block) => blocks.push(block),
                Err(SourceError::NoBlock { .. }) => break,
                Err(error) => return Err(error.into()),
            }
        }
        let links: Vec<BlockLink> = blocks.iter().map(crate::source::SourceBlock::link).collect();
        let position = Position { tip: Some(fork), ..standing.position };
        let competes = above
            .iter()
            .any(|own| links.iter().any(|link| competes(own, link.id.number, link.id.hash)));
        // A competing block that links down to the fork is what makes it a reorganisation.
        if !competes {
            return Ok(false);
        }
        match (position.link(&links), links.first()) {
            (Linking::Broken { block, below }, _) => return Err(self.unlinked(block, below)),
            (Linking::Fork { .. }, Some(first)) => return Err(self.unlinked(*first, fork.hash)),
            (Linking::Fork { .. } | Linking::Extends, _) => {}
        }
        let epoch = standing.tip.map_or(BranchEpoch(1), |tip| BranchEpoch(tip.epoch.0 + 1));
        let reverts = above.iter().map(|block| self.encoder.reverted(block)).collect();
        let encoded = blocks.iter().map(|block| self.encoder.block(block, epoch)).collect();
        tracing::warn!(
            node = self.node(),
            fork = fork.number.0,
            reverted = above.len(),
            epoch = epoch.0,
            "reorganisation: blocks above the fork are replaced"
        );
        metrics::counter!("obsqra_indexer_reverted_blocks_total").increment(above.len() as u64);
        self.commit(standing, reverts, encoded, epoch).await?;
        Ok(true)
    }
}

fn competes(own: &AppliedBlock, number: BlockNumber, hash: BlockHash) -> bool {
    own.block.number == number && own.hash != hash
}
