//! From blocks to committed entries in two stages: while one batch is written, the next is got and encoded.
//!
//! Encoding is work for a core and writing is waiting for the database's, so each batch is encoded on a thread of
//! its own. One batch is written and one encoded at a time: that bounds what is held, and keeps the order.
//! Whoever learns that the branch epoch changed drops what was encoded for the one before.

use std::sync::Arc;

use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::{AppendOutcome, Fence, Keyed, Store, StoreError, log};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Seq};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::encode::{EncodedBlock, Encoder};
use crate::source::SourceBlock;

/// A batch on its way through the first stage.
#[derive(Debug)]
pub struct Encoding(AbortOnDropHandle<Vec<EncodedBlock>>);

impl Encoding {
    /// Begins to encode blocks that are to be applied on a branch.
    #[must_use]
    pub fn begin(encoder: &Arc<Encoder>, blocks: Vec<SourceBlock>, epoch: BranchEpoch) -> Self {
        let encoder = Arc::clone(encoder);
        let encode = move || blocks.iter().map(|block| encoder.block(block, epoch)).collect();
        Self(AbortOnDropHandle::new(tokio::task::spawn_blocking(encode)))
    }

    /// The batch, encoded.
    ///
    /// # Errors
    /// When the thread panicked, or the runtime is going.
    pub async fn end(self) -> Result<Vec<EncodedBlock>, JoinError> {
        self.0.await
    }
}

/// What one transaction adds to the log.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The entries that take blocks out of the canonical chain, newest first.
    pub reverts: Vec<Keyed>,
    /// The blocks that follow, lowest first.
    pub blocks: Vec<EncodedBlock>,
    /// Their branch.
    pub epoch: BranchEpoch,
    /// The highest block known to be accepted on L1.
    pub finalized: Option<BlockNumber>,
}

/// What a transaction left.
#[derive(Clone, Copy, Debug)]
pub struct Committed {
    /// The chain's tip.
    pub tip: ChainTip,
    /// What the append did.
    pub outcome: AppendOutcome,
}

/// One transaction: reverts, then blocks, then the tip. `None` for a batch without a block, of which nothing is
/// written.
///
/// # Errors
/// As [`log::append`].
pub async fn commit(
    store: &Store,
    fence: &Fence,
    (chain, first): (&ChainId, Option<BlockNumber>),
    batch: Batch,
) -> Result<Option<Committed>, StoreError> {
    let (Some(lowest), Some(newest)) = (batch.blocks.first(), batch.blocks.last()) else {
        return Ok(None);
    };
    let id = newest.id;
    let first = first.unwrap_or(lowest.id.number);
    let last_size = newest.entries.drafts.len() as u64;
    let mut facts = batch.reverts;
    facts.extend(batch.blocks.into_iter().map(|block| block.entries));

    let mut tx = store.begin().await?;
    let outcome = log::append(&mut tx, fence, facts).await?;
    let tip = ChainTip {
        first,
        number: id.number,
        hash: id.hash,
        epoch: batch.epoch,
        seq: Seq(outcome.after.seq.0 + 1 - last_size),
        finalized: batch.finalized,
    };
    chain_tip::store(&mut tx, chain, &tip).await?;
    tx.commit().await?;
    Ok(Some(Committed { tip, outcome }))
}

/// Runs batches of one branch through both stages until there is none left.
///
/// # Errors
/// Those of `write`; the encoding thread's.
pub async fn run<E: From<JoinError>>(
    encoder: &Arc<Encoder>,
    epoch: BranchEpoch,
    mut batches: impl AsyncFnMut() -> Option<Vec<SourceBlock>>,
    mut write: impl AsyncFnMut(Vec<EncodedBlock>) -> Result<(), E>,
) -> Result<(), E> {
    let mut encode_next = async || match batches().await {
        Some(blocks) => Encoding::begin(encoder, blocks, epoch).end().await.map(Some),
        None => Ok(None),
    };
    let mut encoded = encode_next().await?;
    while let Some(batch) = encoded {
        let (written, next) = tokio::join!(write(batch), encode_next());
        written?;
        encoded = next?;
    }
    Ok(())
}
