//! Fetching what the node has and the log has not, several blocks at once, and appending it in order.

use futures::{Stream, StreamExt};
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::{Keyed, StoreError, log};
use obsqra_types::{BlockHash, BlockNumber, BranchEpoch, Seq};
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

/// What became of a batch.
enum Appended {
    /// The log stands at its end now.
    Extended(Standing),
    /// Its parent is not the tip.
    Forked {
        /// Whether blocks of the log were replaced.
        replaced: bool,
    },
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
        let mut grew = false;
        let mut trouble = None;
        while let Some(block) = fetched.next().await {
            match block {
                Ok(block) => batch.push(block),
                // What lies below it is good and is kept: the next try begins where the trouble is. A
                // block that is not there although the head was above it is trouble when there is
                // nothing below it; else the node's chain may have become shorter in between.
                Err(error) => {
                    trouble = Some(error);
                    break;
                }
            }
            if self.is_full(&batch) {
                standing = match self.append(standing, std::mem::take(&mut batch)).await? {
                    Appended::Extended(next) => next,
                    Appended::Forked { replaced } => return Ok(replaced),
                };
                grew = true;
            }
            if shutdown.is_cancelled() || self.lease.lost().is_cancelled() {
                return Ok(true);
            }
        }
        if !batch.blocks.is_empty() {
            if let Appended::Forked { replaced } = self.append(standing, batch).await? {
                return Ok(replaced);
            }
            grew = true;
        }
        match trouble {
            Some(SourceError::NoBlock { .. }) if grew => Ok(true),
            Some(error) => Err(error.into()),
            None => Ok(grew),
        }
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

    /// Appends a batch if it links to the tip, or replaces what it shows to be no longer canonical.
    async fn append(&self, standing: Standing, batch: Batch) -> Result<Appended, IndexError> {
        match standing.position.link(&batch.links) {
            Linking::Extends => self.extend(standing, &batch.blocks).await.map(Appended::Extended),
            Linking::Fork { at } => {
                let replaced = self.reorganise_at(standing, at, &batch.links).await?;
                Ok(Appended::Forked { replaced })
            }
            Linking::Broken { block, below } => {
                // What lies below the break links and is kept: the next try begins at the break.
                let good = batch.links.iter().take_while(|link| **link != block).count();
                self.extend(standing, &batch.blocks[..good]).await?;
                Err(self.unlinked(block, below))
            }
        }
    }

    async fn extend(
        &self,
        standing: Standing,
        blocks: &[SourceBlock],
    ) -> Result<Standing, IndexError> {
        let epoch = standing.tip.map_or(BranchEpoch(0), |tip| tip.epoch);
        let blocks = blocks.iter().map(|block| self.encoder.block(block, epoch)).collect();
        self.commit(standing, Vec::new(), blocks, epoch).await
    }

    pub(super) fn unlinked(&self, block: BlockLink, below: BlockHash) -> IndexError {
        IndexError::Unlinked {
            node: self.node(),
            number: block.id.number,
            parent: block.parent,
            below,
        }
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
