//! Fetching what the node has and the log has not, several blocks at once, and appending it in order.

use futures::{Stream, StreamExt};
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::{Keyed, StoreError, log};
use obsqra_types::{BlockNumber, BranchEpoch, Seq};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{Session, Standing};
use crate::IndexError;
use crate::encode::EncodedBlock;
use crate::planner::{BlockLink, Linking, Position};
use crate::source::{SourceBlock, SourceError};

/// Most blocks that one step sets out to fetch before the node's head is looked at again.
pub(super) const MOST_AHEAD: u64 = 2_000;

/// Blocks that fit one transaction.
#[derive(Default)]
struct Batch {
    links: Vec<BlockLink>,
    blocks: Vec<SourceBlock>,
    events: u64,
}

impl Session<'_> {
    /// Fetches and appends a range of heights; whether the log grew.
    pub(super) async fn catch_up(
        &self,
        standing: Standing,
        from: BlockNumber,
        to: BlockNumber,
        shutdown: &CancellationToken,
    ) -> Result<bool, IndexError> {
        let mut standing = standing;
        let mut fetched = std::pin::pin!(self.fetch(from, to));
        let mut batch = Batch::default();
        while let Some(block) = fetched.next().await {
            let block = match block {
                Ok(block) => block,
                // The node's chain became shorter: what was fetched stands or falls with its links.
                Err(SourceError::NoBlock { .. }) => break,
                Err(error) => return Err(error.into()),
            };
            batch.push(block);
            if self.is_full(&batch) {
                standing = match self.append(standing, std::mem::take(&mut batch)).await? {
                    Some(next) => next,
                    None => return Ok(true),
                };
            }
            if shutdown.is_cancelled() || self.lease.lost().is_cancelled() {
                return Ok(true);
            }
        }
        if !batch.blocks.is_empty() {
            self.append(standing, batch).await?;
        }
        Ok(true)
    }

    fn is_full(&self, batch: &Batch) -> bool {
        let options = &self.follower.options;
        batch.blocks.len() >= options.batch_blocks || batch.events >= options.batch_events
    }

    fn fetch(
        &self,
        from: BlockNumber,
        to: BlockNumber,
    ) -> impl Stream<Item = Result<SourceBlock, SourceError>> + use<> {
        let source = self.follower.source.clone();
        futures::stream::iter(from.0..=to.0)
            .map(move |number| {
                let source = source.clone();
                // On its own task: fetching and parsing go on while a batch is committed.
                let task = tokio::spawn(async move { source.block(BlockNumber(number)).await });
                async move {
                    AbortOnDropHandle::new(task).await.unwrap_or_else(|failure| {
                        Err(SourceError::Unreachable {
                            node: String::from("(fetch task)"),
                            what: format!("block {number}"),
                            problem: failure.to_string(),
                        })
                    })
                }
            })
            .buffered(self.follower.options.fetch_ahead)
    }

    /// Appends a batch if it links to the tip; `None` when the chain was reorganised instead.
    async fn append(
        &self,
        standing: Standing,
        batch: Batch,
    ) -> Result<Option<Standing>, IndexError> {
        match standing.position.link(&batch.links) {
            Linking::Extends => {}
            Linking::Fork { at } => {
                self.reorganise_at(standing, at, &batch.links).await?;
                return Ok(None);
            }
            Linking::Broken { block, below } => {
                return Err(IndexError::Unlinked {
                    node: self.node(),
                    number: block.id.number,
                    parent: block.parent,
                    below,
                });
            }
        }
        let epoch = standing.tip.map_or(BranchEpoch(0), |tip| tip.epoch);
        let blocks: Vec<EncodedBlock> =
            batch.blocks.iter().map(|block| self.encoder.block(block, epoch)).collect();
        let next = self.commit(standing, Vec::new(), blocks, epoch).await?;
        Ok(Some(next))
    }

    /// One transaction: reverts, then blocks, then the tip.
    pub(super) async fn commit(
        &self,
        standing: Standing,
        reverts: Vec<Keyed>,
        blocks: Vec<EncodedBlock>,
        epoch: BranchEpoch,
    ) -> Result<Standing, IndexError> {
        let Some(newest) = blocks.last() else {
            return Ok(standing);
        };
        let id = newest.id;
        let last_size = newest.entries.drafts.len() as u64;
        let first = standing.tip.map(|tip| tip.first);
        let first = first.or(blocks.first().map(|block| block.id.number)).unwrap_or(id.number);
        let (count, events) = (blocks.len() as u64, blocks.iter().map(|b| b.events).sum::<u64>());
        let mut facts = reverts;
        facts.extend(blocks.into_iter().map(|block| block.entries));

        let mut tx = self.follower.store.begin().await?;
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        let tip = ChainTip {
            first,
            number: id.number,
            hash: id.hash,
            epoch,
            seq: Seq(outcome.after.seq.0 + 1 - last_size),
            finalized: standing.position.finalized,
        };
        chain_tip::store(&mut tx, &self.encoder.chain, &tip).await?;
        tx.commit().await.map_err(StoreError::from)?;

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
}

impl Batch {
    fn push(&mut self, block: SourceBlock) {
        self.links.push(block.link());
        self.events += block.events.len() as u64;
        self.blocks.push(block);
    }
}
