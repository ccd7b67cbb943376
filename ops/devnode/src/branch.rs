//! Competing branches: made beforehand, switched to at once, and switched back from.
//!
//! Sealing costs milliseconds a block, so a deep reorganisation is prepared while the node goes on. Switching
//! gives back the branch that it replaced, with what comes after it: A → B → A is two switches.

use std::sync::Arc;

use starknet_types_core::felt::Felt;

use crate::chain::ledger::Head;
use crate::chain::producer::Chain;
use crate::chain::store::Tail;
use crate::node::{DevNode, DevNodeError, Shared};

/// Blocks from some height on, and how the chain goes on after them.
#[derive(Debug, Clone)]
pub struct Branch {
    from: u64,
    parent_hash: Felt,
    length: u64,
    tail: Tail,
    chain: Chain,
}

impl Branch {
    /// Height of its first block.
    pub fn first_height(&self) -> u64 {
        self.from
    }

    /// How many blocks it has.
    pub fn blocks(&self) -> u64 {
        self.length.saturating_sub(self.from)
    }
}

impl DevNode {
    /// Replaces the top `depth` blocks by `new_len` others with other hashes.
    pub async fn reorg(&self, depth: u64, new_len: u64) -> Result<Option<Head>, DevNodeError> {
        Shared::stop_following(&self.shared).await?;
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let mut chain = shared.chain();
            let branch = shared.branch(chain.clone(), depth, new_len)?;
            shared.switch(&mut chain, branch)
        })
        .await??;
        Ok(self.head())
    }

    /// Makes another branch in place of the top `depth` blocks and leaves the chain as it is.
    pub async fn prepare_branch(&self, depth: u64, new_len: u64) -> Result<Branch, DevNodeError> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let chain = shared.source_chain();
            shared.branch(chain, depth, new_len)
        })
        .await?
    }

    /// Puts a branch in place of everything from its first height on, and gives back what stood there. The
    /// branch may be another node's with the same blocks below it.
    pub async fn switch_to(&self, branch: Branch) -> Result<Branch, DevNodeError> {
        Shared::stop_following(&self.shared).await?;
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || {
            let mut chain = shared.chain();
            shared.switch(&mut chain, branch)
        })
        .await?
    }
}

impl Shared {
    /// Makes a branch from a copy of the chain.
    fn branch(&self, mut chain: Chain, depth: u64, new_len: u64) -> Result<Branch, DevNodeError> {
        let ledger = &self.server.context.ledger;
        let blocks = ledger.length();
        let refused = DevNodeError::ReorgDepth { depth, blocks };
        if depth == 0 || depth >= blocks {
            return Err(refused);
        }
        let from = blocks - depth;
        let wanted = from.saturating_add(new_len);
        if let Some(length) = chain.length().filter(|length| wanted > *length) {
            return Err(DevNodeError::RecordingEnds { length, wanted });
        }
        let Some(parent_hash) = ledger.hash_at(from - 1) else {
            return Err(refused);
        };
        chain.fork_at(from, parent_hash);
        let tail = chain.next_blocks(new_len);
        Ok(Branch { from, parent_hash, length: chain.next_number(), tail, chain })
    }

    /// Switches the held chain to a branch.
    fn switch(&self, chain: &mut Chain, branch: Branch) -> Result<Branch, DevNodeError> {
        let ledger = &self.server.context.ledger;
        let below = branch.from.checked_sub(1).and_then(|number| ledger.hash_at(number));
        if below != Some(branch.parent_hash) {
            return Err(DevNodeError::ForeignBranch { from: branch.from });
        }
        let length = ledger.length();
        let tail = self.publish(branch.from, branch.tail);
        let chain = std::mem::replace(chain, branch.chain);
        Ok(Branch { from: branch.from, parent_hash: branch.parent_hash, length, tail, chain })
    }
}
