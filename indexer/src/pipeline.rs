//! From blocks to committed entries in two stages: while one batch is written, the next is got and encoded.
//!
//! Encoding is work for a core and writing is waiting for the database's, so each batch is encoded on a thread of
//! its own. One batch is written and one encoded at a time: that bounds what is held, and keeps the order.
//! Whoever learns that the branch epoch changed drops what was encoded for the one before.

use std::sync::Arc;

use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::log::{self, Prepared};
use obsqra_store::{AppendOutcome, Fence, Keyed, Store, StoreError};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Seq};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::encode::{EncodedBlock, Encoder};
use crate::planner::BlockId;
use crate::source::SourceBlock;

/// Blocks with their entries, ready to be appended together.
#[derive(Debug)]
pub struct EncodedBatch {
    /// The lowest block.
    pub lowest: BlockId,
    /// The newest block.
    pub newest: BlockId,
    /// Their branch.
    pub epoch: BranchEpoch,
    /// How many blocks there are.
    pub blocks: u64,
    /// How many watched events they have.
    pub events: u64,
    /// Entries of the newest block.
    newest_entries: u64,
    facts: Prepared,
}

impl EncodedBatch {
    /// Encodes blocks, lowest first, that are to be applied on a branch; `None` where there is no block.
    ///
    /// # Errors
    /// When a number of theirs does not fit the log.
    pub fn new(
        encoder: &Encoder,
        blocks: &[SourceBlock],
        epoch: BranchEpoch,
    ) -> Result<Option<Self>, StoreError> {
        let encoded: Vec<EncodedBlock> =
            blocks.iter().map(|block| encoder.block(block, epoch)).collect();
        let (Some(lowest), Some(newest)) = (encoded.first(), encoded.last()) else {
            return Ok(None);
        };
        Ok(Some(Self {
            lowest: lowest.id,
            newest: newest.id,
            epoch,
            blocks: encoded.len() as u64,
            events: encoded.iter().map(|block| block.events).sum(),
            newest_entries: newest.entries.drafts.len() as u64,
            facts: Prepared::new(encoded.into_iter().map(|block| block.entries).collect())?,
        }))
    }
}

/// A batch on its way through the first stage.
#[derive(Debug)]
pub struct Encoding(AbortOnDropHandle<Result<Option<EncodedBatch>, StoreError>>);

impl Encoding {
    /// Begins to encode blocks on another thread.
    #[must_use]
    pub fn begin(encoder: &Arc<Encoder>, blocks: Vec<SourceBlock>, epoch: BranchEpoch) -> Self {
        let encoder = Arc::clone(encoder);
        let encode = move || EncodedBatch::new(&encoder, &blocks, epoch);
        Self(AbortOnDropHandle::new(tokio::task::spawn_blocking(encode)))
    }

    /// The batch, encoded; `None` where there was no block.
    ///
    /// # Errors
    /// As [`EncodedBatch::new`]; when the thread panicked, or the runtime is going.
    pub async fn end<E>(self) -> Result<Option<EncodedBatch>, E>
    where
        E: From<JoinError> + From<StoreError>,
    {
        Ok(self.0.await??)
    }
}

/// Where batches go, and what the log knows of the chain.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The log.
    pub store: &'a Store,
    /// The right to append to it.
    pub fence: &'a Fence,
    /// The chain.
    pub chain: &'a ChainId,
    /// The first block of the log; `None` before there is one.
    pub first: Option<BlockNumber>,
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

/// One transaction: reverts, newest first, then blocks, then the tip.
///
/// # Errors
/// As [`log::append`].
pub async fn commit(
    target: Target<'_>,
    reverts: Vec<Keyed>,
    batch: EncodedBatch,
) -> Result<Committed, StoreError> {
    let facts = if reverts.is_empty() {
        batch.facts
    } else {
        Prepared::new(reverts.into_iter().chain(batch.facts.into_facts()).collect())?
    };
    let mut tx = target.store.begin().await?;
    let outcome = log::append_prepared(&mut tx, target.fence, facts).await?;
    let tip = ChainTip {
        first: target.first.unwrap_or(batch.lowest.number),
        number: batch.newest.number,
        hash: batch.newest.hash,
        epoch: batch.epoch,
        seq: Seq(outcome.after.seq.0 + 1 - batch.newest_entries),
        finalized: target.finalized,
    };
    chain_tip::store(&mut tx, target.chain, &tip).await?;
    tx.commit().await?;
    Ok(Committed { tip, outcome })
}

/// Runs batches of one branch through both stages until there is none left, or one without a block.
///
/// # Errors
/// Those of `write`; those of [`Encoding::end`].
pub async fn run<E: From<JoinError> + From<StoreError>>(
    encoder: &Arc<Encoder>,
    epoch: BranchEpoch,
    mut batches: impl AsyncFnMut() -> Option<Vec<SourceBlock>>,
    mut write: impl AsyncFnMut(EncodedBatch) -> Result<(), E>,
) -> Result<(), E> {
    let mut encode_next = async || match batches().await {
        Some(blocks) => Encoding::begin(encoder, blocks, epoch).end::<E>().await,
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
