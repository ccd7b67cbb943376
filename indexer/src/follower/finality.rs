//! Finality: which blocks can no longer be reverted.

use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::{StoreError, key, log};
use obsqra_types::BlockNumber;

use super::Session;
use crate::IndexError;
use crate::planner::BlockId;

/// Looks at the node's newest block accepted on L1 when its head has moved.
#[derive(Debug, Default)]
pub(super) struct Watch {
    seen_head: Option<BlockNumber>,
}

impl Watch {
    pub(super) async fn look(
        &mut self,
        session: &Session<'_>,
        head: BlockId,
    ) -> Result<(), IndexError> {
        if self.seen_head == Some(head.number) {
            return Ok(());
        }
        if let Some(accepted) = session.follower.source.finalized().await? {
            session.finalize(accepted).await?;
        }
        self.seen_head = Some(head.number);
        Ok(())
    }
}

impl Session<'_> {
    /// Appends that a block is final, when the log holds it and did not know.
    async fn finalize(&self, accepted: BlockId) -> Result<(), IndexError> {
        let chain = &self.encoder.chain;
        let store = &self.follower.store;
        let Some(tip) = chain_tip::load(store, chain).await? else {
            return Ok(());
        };
        let number = accepted.number.min(tip.number);
        if number < tip.first || tip.finalized.is_some_and(|known| number <= known) {
            return Ok(());
        }
        let own = key::canonical(store, chain, number, number).await?;
        let Some(own) = own.first() else {
            return Ok(());
        };
        let accepted_hash = if number == accepted.number {
            Some(accepted.hash)
        } else {
            self.follower.source.hash_at(number).await?
        };
        if accepted_hash != Some(own.hash) {
            // Being on a branch that lost is found out by following the head.
            return Ok(());
        }
        let mut tx = store.begin().await?;
        log::append(&mut tx, self.lease.fence(), vec![self.encoder.finalized(own)]).await?;
        let tip = ChainTip { finalized: Some(number), ..tip };
        chain_tip::store(&mut tx, chain, &tip).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }
}
