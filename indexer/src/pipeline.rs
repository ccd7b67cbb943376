//! From blocks to committed entries in two stages: while one batch is written, the next is got and encoded.
//!
//! Encoding is work for a core and writing is waiting for the database's, so each batch is encoded on a thread of
//! its own. One batch is written and one encoded at a time: that bounds what is held, and keeps the order.
//! Whoever learns that the branch epoch changed drops what was encoded for the one before.

use std::sync::Arc;
use std::time::Instant;

use obsqra_store::attested::{self, AttestedAs, AttestedRange};
use obsqra_store::chain_tip::{self, ChainTip};
use obsqra_store::child_contract::{self, ChildContract};
use obsqra_store::log::{self, Prepared};
use obsqra_store::{AppendOutcome, Fence, Keyed, Store, StoreError};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, ContractAddress, EventIndex, Seq};
use tokio::task::JoinError;
use tokio_util::task::AbortOnDropHandle;

use crate::completeness::CheckedBlock;
use crate::encode::{EncodedBlock, Encoder};
use crate::planner::BlockId;
use crate::watching::Watching;

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
    /// How the blocks were checked.
    attested: Vec<AttestedRange>,
    /// The children that they announce.
    children: Vec<Announcement>,
    /// Whose events are kept of the blocks above them.
    watching: Watching,
    facts: Prepared,
}

/// A child that a block of a batch announces.
#[derive(Clone, Copy, Debug)]
struct Announcement {
    address: ContractAddress,
    block: BlockNumber,
    index: EventIndex,
    /// How many entries of the batch come behind the creating event's.
    behind: u64,
}

impl EncodedBatch {
    /// Encodes blocks, lowest first, that are to be applied on a branch; `None` where there is no block.
    ///
    /// # Errors
    /// When a number of theirs does not fit the log.
    pub fn new(
        encoder: &Encoder,
        blocks: &[CheckedBlock],
        epoch: BranchEpoch,
    ) -> Result<Option<Self>, StoreError> {
        let begun = Instant::now();
        let Some(first) = blocks.first() else {
            return Ok(None);
        };
        // What the log has from there on is replaced.
        let watching = encoder.watching.below(first.block.number);
        let (encoded, watching) = encode(Encoder { watching, ..encoder.clone() }, blocks, epoch);
        let (Some(lowest), Some(newest)) = (encoded.first(), encoded.last()) else {
            return Ok(None);
        };
        let attested =
            attested::runs(blocks.iter().map(|checked| {
                (checked.block.number, AttestedAs::from(&checked.attestation.verdict))
            }));
        let (lowest, newest, newest_entries) =
            (lowest.id, newest.id, newest.entries.drafts.len() as u64);
        let (count, events) =
            (encoded.len() as u64, encoded.iter().map(|block| block.events).sum());
        let children = announcements(&encoded);
        let facts = Prepared::new(encoded.into_iter().map(|block| block.entries).collect())?;
        stage("encode", begun);
        Ok(Some(Self {
            lowest,
            newest,
            epoch,
            blocks: count,
            events,
            newest_entries,
            attested,
            children,
            watching,
            facts,
        }))
    }

    /// Whose events are kept of the blocks above the batch.
    #[must_use]
    pub fn watching(&self) -> &Watching {
        &self.watching
    }
}

/// Blocks one after the other: what one announces is kept of those above it.
fn encode(
    mut encoder: Encoder,
    blocks: &[CheckedBlock],
    epoch: BranchEpoch,
) -> (Vec<EncodedBlock>, Watching) {
    let mut all = Vec::with_capacity(blocks.len());
    for block in blocks {
        let encoded = encoder.block(block, epoch);
        let announced = encoded.children.iter().map(|child| (child.address, child.index));
        encoder.watching.learn(encoded.id.number, &announced.collect());
        all.push(encoded);
    }
    (all, encoder.watching)
}

fn announcements(blocks: &[EncodedBlock]) -> Vec<Announcement> {
    let mut children = Vec::new();
    let mut above = 0;
    for block in blocks.iter().rev() {
        let entries = block.entries.drafts.len() as u64;
        children.extend(block.children.iter().map(|child| Announcement {
            address: child.address,
            block: block.id.number,
            index: child.index,
            behind: above + entries - 1 - child.entry,
        }));
        above += entries;
    }
    children
}

impl Announcement {
    /// The same as it stands in the log, after a batch that ends at a position.
    fn at(self, epoch: BranchEpoch, after: Seq) -> ChildContract {
        let Self { address, block, index, behind } = self;
        ChildContract { address, block, epoch, index, seq: Seq(after.0.saturating_sub(behind)) }
    }
}

/// A batch on its way through the first stage.
#[derive(Debug)]
pub struct Encoding(AbortOnDropHandle<Result<Option<EncodedBatch>, StoreError>>);

impl Encoding {
    /// Begins to encode blocks on another thread.
    #[must_use]
    pub fn begin(encoder: &Arc<Encoder>, blocks: Vec<CheckedBlock>, epoch: BranchEpoch) -> Self {
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

/// Blocks that are reverted in the transaction that appends others.
#[derive(Clone, Debug)]
pub struct Reverts {
    /// The highest block that stays.
    pub fork: BlockNumber,
    /// Their entries, newest first.
    pub entries: Vec<Keyed>,
}

/// One transaction: reverts, then blocks, then their children, the tip, and how they were checked.
///
/// # Errors
/// As [`log::append`].
pub async fn commit(
    target: Target<'_>,
    reverts: Option<Reverts>,
    batch: EncodedBatch,
) -> Result<Committed, StoreError> {
    let begun = Instant::now();
    let (fork, facts) = match reverts {
        None => (None, batch.facts),
        Some(Reverts { fork, entries }) => {
            let facts = entries.into_iter().chain(batch.facts.into_facts()).collect();
            (Some(fork), Prepared::new(facts)?)
        }
    };
    let mut tx = target.store.begin().await?;
    let outcome = log::append_prepared(&mut tx, target.fence, facts).await?;
    let after = outcome.after.seq;
    let children = batch.children.iter().map(|child| child.at(batch.epoch, after));
    child_contract::save(&mut tx, target.chain, &children.collect::<Vec<_>>()).await?;
    let tip = ChainTip {
        first: target.first.unwrap_or(batch.lowest.number),
        number: batch.newest.number,
        hash: batch.newest.hash,
        epoch: batch.epoch,
        seq: Seq(after.0 + 1 - batch.newest_entries),
        finalized: target.finalized,
    };
    chain_tip::store(&mut tx, target.chain, &tip).await?;
    if let Some(fork) = fork {
        attested::cut_above(&mut tx, target.chain, fork).await?;
    }
    for run in batch.attested {
        attested::cover(&mut tx, target.chain, run).await?;
    }
    tx.commit().await?;
    stage("commit", begun);
    Ok(Committed { tip, outcome })
}

/// Runs batches of one branch through both stages until there is none left, or one without a block.
///
/// # Errors
/// Those of `write`; those of [`Encoding::end`].
pub async fn run<E: From<JoinError> + From<StoreError>>(
    encoder: &Arc<Encoder>,
    epoch: BranchEpoch,
    mut batches: impl AsyncFnMut() -> Option<Vec<CheckedBlock>>,
    mut write: impl AsyncFnMut(EncodedBatch) -> Result<(), E>,
) -> Result<(), E> {
    let mut encoder = Arc::clone(encoder);
    let mut encode_next = async || {
        let Some(blocks) = batches().await else {
            return Ok::<_, E>(None);
        };
        let encoded = Encoding::begin(&encoder, blocks, epoch).end::<E>().await?;
        if let Some(batch) = encoded.as_ref().filter(|batch| !batch.children.is_empty()) {
            let watching = batch.watching.clone();
            encoder = Arc::new(Encoder { watching, ..Encoder::clone(&encoder) });
        }
        Ok(encoded)
    };
    let mut encoded = encode_next().await?;
    while let Some(batch) = encoded {
        let (written, next) = tokio::join!(write(batch), encode_next());
        written?;
        encoded = next?;
    }
    Ok(())
}

/// Notes how long a stage of a block's way took.
pub(crate) fn stage(name: &'static str, begun: Instant) {
    metrics::histogram!("obsqra_indexer_stage_seconds", "stage" => name)
        .record(begun.elapsed().as_secs_f64());
}
