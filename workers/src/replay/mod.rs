//! Replaying a range of the log for analysts: the same selection gives the same entries in the same order and, in
//! the same format, the same bytes, however much was appended since.
//!
//! A [`Plan`] is a selection against a log: the end of the range is fixed when it is made, so that what is appended
//! while it is read does not show. Entries are read by a task of its own, a bounded number of batches ahead of what
//! encodes or publishes them.

mod encode;
mod manifest;
mod parquet;
mod publish;
mod reader;
mod selection;

use obsqra_bus::BusError;
use obsqra_events::{AdoptedWhat, EntryHash, Fact};
use obsqra_protocols::Registry;
use obsqra_store::{Store, StoreError, key, log};
use obsqra_types::{BlockNumber, ChainId, Hash32, ProtocolId, Seq};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

pub use encode::{CborEncoder, Encoder, NdjsonEncoder};
pub use manifest::{Manifest, Range, SCHEMA, Tally, Told};
pub use parquet::{GroupLimit, ParquetEncoder};
pub use publish::{Pace, Publication};
pub use reader::{Reader, Selected};
pub use selection::{Contradiction, Selection, is_of_chain, protocol_of};

use crate::WorkError;

/// Batches that may wait for their encoding.
const BATCHES_AHEAD: usize = 4;

/// Why a replay cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The options contradict each other.
    #[error(transparent)]
    Contradiction(#[from] Contradiction),
    /// A position is asked for that the log has not reached.
    #[error("{option} {seq}: the log ends at {head}")]
    BeyondLog {
        /// The option.
        option: &'static str,
        /// The position that it gives.
        seq: Seq,
        /// The last position.
        head: Seq,
    },
    /// A height is asked for that the canonical chain had not reached.
    #[error("--as-of {block}: at entry {at} the canonical chain {}", reaches(.tip))]
    BeyondTip {
        /// The height.
        block: BlockNumber,
        /// The position.
        at: Seq,
        /// The tip at that position.
        tip: Option<BlockNumber>,
    },
    /// No registry of the log has the protocol.
    #[error("--protocol {protocol}: no registry that was adopted up to entry {to} has it")]
    UnknownProtocol {
        /// The protocol.
        protocol: ProtocolId,
        /// The end of the range.
        to: Seq,
    },
    /// The log has a gap.
    #[error("entry {0} is missing: `obsqra log verify`")]
    Missing(Seq),
    /// The log cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An entry cannot be understood.
    #[error(transparent)]
    Work(#[from] WorkError),
    /// The output cannot be written.
    #[error("cannot write the replay: {0}")]
    Write(#[from] std::io::Error),
    /// The output cannot be put into Parquet.
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] ::parquet::errors::ParquetError),
    /// The output cannot be put into JSON.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The output cannot be published.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// A number does not fit its column.
    #[error("log entry {seq}: {what} is out of range")]
    Range {
        /// The entry.
        seq: Seq,
        /// The number.
        what: &'static str,
    },
    /// The reading task ended without a word.
    #[error("reading the log ended in a panic")]
    Reading,
}

fn reaches(tip: &Option<BlockNumber>) -> String {
    tip.map_or_else(|| "has no block".to_owned(), |tip| format!("ends at block {tip}"))
}

impl ReplayError {
    /// Whether the command was called wrongly, whatever the log holds.
    #[must_use]
    pub fn is_wrong_use(&self) -> bool {
        matches!(self, Self::Contradiction(_) | Self::UnknownProtocol { .. })
    }
}

/// How much is told of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// The entry as it stands.
    Raw,
    /// Its decoded members too.
    Told,
}

/// The canonical chain of a plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Canonical {
    /// As this position knew it.
    pub at: Seq,
    /// Up to this height; `None` where no block stood.
    pub tip: Option<BlockNumber>,
}

/// A selection against a log.
#[derive(Clone, Debug)]
pub struct Plan {
    chain: ChainId,
    selection: Selection,
    to: Seq,
    depth: Depth,
    canonical: Option<Canonical>,
    hashes: (EntryHash, EntryHash),
}

impl Plan {
    /// Fixes what the selection leaves open, and checks that the log has what it names.
    ///
    /// # Errors
    /// When the selection contradicts itself, names what the log has not, or the log cannot be read.
    pub async fn new(
        store: &Store,
        chain: &ChainId,
        selection: Selection,
        depth: Depth,
    ) -> Result<Self, ReplayError> {
        selection.check()?;
        let head = log::head(store).await?;
        let to = selection.to.or(selection.known_at).unwrap_or(head.seq);
        let named = [
            ("--known-at", selection.known_at),
            ("--to-seq", selection.to),
            ("--from-seq", Some(selection.from)),
        ];
        let mut named = named.into_iter().filter_map(|(option, seq)| Some((option, seq?)));
        if let Some((option, seq)) = named.find(|(_, seq)| *seq > head.seq) {
            return Err(ReplayError::BeyondLog { option, seq, head: head.seq });
        }
        for protocol in &selection.protocols {
            check_protocol(store, chain, protocol, to).await?;
        }
        let canonical = canonical(store, chain, &selection, to).await?;
        let previous = hash_at(store, Seq(selection.from.0 - 1)).await?;
        let hashes = (previous, hash_at(store, to).await?);
        Ok(Self { chain: chain.clone(), selection, to, depth, canonical, hashes })
    }

    /// Last position of the range.
    #[must_use]
    pub fn to(&self) -> Seq {
        self.to
    }

    /// Begins to read.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read(self, store: &Store) -> Result<Reader, ReplayError> {
        let selection = &self.selection;
        let mut begin = selection.from;
        if selection.bounds_blocks() {
            let heights = (selection.from_block, selection.to_block);
            let times = (selection.since, selection.until);
            // What is about a block comes after the entry that applies it.
            let first = key::first_seq_within(store, &self.chain, heights, times).await?;
            begin = begin.max(first.unwrap_or(self.to.next()));
        }
        Ok(Reader::new(store, self, begin))
    }

    fn manifest(&self, tally: Tally) -> Manifest {
        let told = Told::new(&self.chain, &self.selection, self.canonical.as_ref());
        tally.finish((self.selection.from, self.to), self.hashes, told)
    }
}

async fn hash_at(store: &Store, seq: Seq) -> Result<EntryHash, ReplayError> {
    if seq == Seq::BEFORE_FIRST {
        return Ok(Hash32::ZERO);
    }
    let entry = log::entry(store, seq).await?;
    Ok(entry.ok_or(ReplayError::Missing(seq))?.hash)
}

async fn canonical(
    store: &Store,
    chain: &ChainId,
    selection: &Selection,
    to: Seq,
) -> Result<Option<Canonical>, ReplayError> {
    if !selection.is_canonical() {
        return Ok(None);
    }
    let at = selection.known_at.unwrap_or(to);
    let tip = key::canonical_tip_as_of(store, chain, at).await?;
    match selection.as_of {
        Some(block) if tip.is_none_or(|tip| block > tip) => {
            Err(ReplayError::BeyondTip { block, at, tip })
        }
        as_of => Ok(Some(Canonical { at, tip: as_of.or(tip) })),
    }
}

/// A protocol that no registry of the log had up to a position is a slip of the pen.
async fn check_protocol(
    store: &Store,
    chain: &ChainId,
    protocol: &ProtocolId,
    to: Seq,
) -> Result<(), ReplayError> {
    let mut up_to = to;
    loop {
        let adopted = key::adopted_as_of(store, chain, AdoptedWhat::Registry, up_to).await?;
        let unknown = || ReplayError::UnknownProtocol { protocol: protocol.clone(), to };
        let seq = adopted.ok_or_else(unknown)?.seq;
        let entry = log::entry(store, seq).await?.ok_or(ReplayError::Missing(seq))?;
        let fact = entry.draft.fact().map_err(|source| WorkError::Entry { seq, source })?;
        if let Fact::Adopted(adopted) = fact {
            let registry = Registry::parse(&adopted.bytes)
                .map_err(|source| WorkError::Registry { seq, source })?;
            if registry.protocol(protocol).is_some() {
                return Ok(());
            }
        }
        up_to = Seq(seq.0.saturating_sub(1));
    }
}

/// Reads on a task of its own and encodes as it comes.
///
/// # Errors
/// When the log cannot be read or the output cannot be written.
pub async fn write(reader: Reader, mut encoder: impl Encoder) -> Result<Manifest, ReplayError> {
    let mut reading = Reading::start(reader);
    while let Some(batch) = reading.batches.recv().await {
        for selected in &batch {
            encoder.put(selected)?;
        }
    }
    let manifest = reading.end().await?;
    encoder.finish(&manifest)?;
    Ok(manifest)
}

/// A reader on a task of its own, which goes with this.
#[derive(Debug)]
struct Reading {
    batches: mpsc::Receiver<Vec<Selected>>,
    task: JoinSet<Result<Option<Manifest>, ReplayError>>,
}

impl Reading {
    fn start(reader: Reader) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let mut task = JoinSet::new();
        task.spawn(reader.send(sender));
        Self { batches, task }
    }

    async fn end(mut self) -> Result<Manifest, ReplayError> {
        let ended = self.task.join_next().await.ok_or(ReplayError::Reading)?;
        ended.map_err(|_| ReplayError::Reading)??.ok_or(ReplayError::Reading)
    }
}
