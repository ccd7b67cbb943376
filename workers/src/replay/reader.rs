//! Reading what was selected, a stretch of positions after the other.
//!
//! Each stretch is a statement of its own, so that a replay of days holds no snapshot for days. Nothing below the end
//! of the range changes while it is read: entries are never changed, and what was canonical at a position stays so.
//! Where contracts have to be known, the entries that tell of them are read too, in stretches that have an event to
//! name; a stretch after one without them begins from the tables, as of its own position.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{Entry, Fact, Kind, MessageContext};
use obsqra_store::log::{self, BatchLimit, Scan, ScanFilter};
use obsqra_store::{Store, key};
use obsqra_types::{BlockNumber, BranchEpoch, Seq};
use tokio::sync::mpsc;

use super::manifest::{Manifest, Tally};
use super::selection::{has_protocol, is_of_chain};
use super::{Depth, Plan, ReplayError};
use crate::WorkError;
use crate::known_contracts::KnownContracts;

/// Positions of a stretch: each is one statement.
const STRETCH: u64 = 50_000;
/// What is handed on at a time.
const BATCH: BatchLimit = BatchLimit { entries: 2_000, bytes: 4 << 20 };
/// Kinds that tell which contracts are known.
const TELLING: [Kind; 3] = [Kind::Adopted, Kind::Event, Kind::BlockReverted];

/// An entry of a replay.
#[derive(Clone, Debug)]
pub struct Selected {
    /// The entry.
    pub entry: Entry,
    /// What a decoder adds to it; empty at [`Depth::Raw`].
    pub context: MessageContext,
}

/// Reads a plan's entries.
#[derive(Debug)]
pub struct Reader {
    store: Store,
    plan: Plan,
    filter: ScanFilter,
    /// Everything up to here was read.
    read: Seq,
    stretch: Option<Stretch>,
    known: Option<KnownAt>,
    tally: Tally,
}

#[derive(Debug)]
struct Stretch {
    scan: Scan,
    to: Seq,
    /// Whether contracts are followed in it.
    follows: bool,
    /// The last position that was read, of a scan that leaves nothing out.
    last: Seq,
    /// The canonical branch at heights that were met.
    epochs: BTreeMap<BlockNumber, Option<BranchEpoch>>,
}

/// Contracts as of everything that was read.
#[derive(Debug)]
struct KnownAt {
    contracts: KnownContracts,
    at: Seq,
}

impl Reader {
    /// Begins at the first position of a plan that may hold something.
    pub(super) fn new(store: &Store, plan: Plan, begin: Seq) -> Self {
        let selection = &plan.selection;
        let filter = ScanFilter {
            kinds: kinds(&plan),
            from_block: selection.from_block,
            to_block: selection.to_block,
            since: selection.since,
            until: selection.until,
            always: BTreeSet::new(),
        };
        let read = Seq(begin.0.saturating_sub(1));
        let (stretch, known, tally) = (None, None, Tally::default());
        Self { store: store.clone(), plan, filter, read, stretch, known, tally }
    }

    /// The next entries, at least one; `None` after the last.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn next(&mut self) -> Result<Option<Vec<Selected>>, ReplayError> {
        loop {
            let Some(mut stretch) = self.stretch.take() else {
                if self.read >= self.plan.to {
                    return Ok(None);
                }
                self.stretch = Some(self.open().await?);
                continue;
            };
            let Some(entries) = stretch.scan.next(BATCH).await? else {
                self.end(&stretch)?;
                continue;
            };
            let selected = self.select(&mut stretch, entries).await?;
            self.stretch = Some(stretch);
            if !selected.is_empty() {
                selected.iter().for_each(|selected| self.tally.add(&selected.entry));
                return Ok(Some(selected));
            }
        }
    }

    /// What was read, once [`Self::next`] has said that it is all.
    #[must_use]
    pub fn finish(self) -> Manifest {
        self.plan.manifest(self.tally)
    }

    /// Hands on all batches, until nobody takes them.
    pub(super) async fn send(
        mut self,
        batches: mpsc::Sender<Vec<Selected>>,
    ) -> Result<Option<Manifest>, ReplayError> {
        while let Some(batch) = self.next().await? {
            if batches.send(batch).await.is_err() {
                return Ok(None);
            }
        }
        Ok(Some(self.finish()))
    }

    async fn open(&mut self) -> Result<Stretch, ReplayError> {
        let to = Seq(self.read.0 + STRETCH).min(self.plan.to);
        let follows = self.follows(to).await?;
        let mut filter = self.filter.clone();
        if follows {
            self.know().await?;
            filter.always.extend(TELLING);
        } else {
            self.known = None;
        }
        let scan = Scan::open(&self.store, (self.read, to), &filter).await?;
        Ok(Stretch { scan, to, follows, last: self.read, epochs: BTreeMap::new() })
    }

    /// Whether the stretch up to a position has events whose contract matters.
    async fn follows(&mut self, to: Seq) -> Result<bool, ReplayError> {
        let selection = &self.plan.selection;
        let matters = self.plan.depth == Depth::Told || !selection.protocols.is_empty();
        if !matters || !selection.wants(Kind::Event) {
            return Ok(false);
        }
        if !self.filter.bounds_blocks() {
            return Ok(true);
        }
        let range = (self.read, to);
        Ok(log::has_events(&self.store, &self.plan.chain, range, &self.filter).await?)
    }

    async fn know(&mut self) -> Result<(), ReplayError> {
        if self.known.as_ref().is_none_or(|known| known.at != self.read) {
            let contracts = KnownContracts::load(&self.store, &self.plan.chain, self.read).await?;
            self.known = Some(KnownAt { contracts, at: self.read });
        }
        Ok(())
    }

    fn end(&mut self, stretch: &Stretch) -> Result<(), ReplayError> {
        if self.filter.is_everything() && stretch.last != stretch.to {
            return Err(ReplayError::Missing(stretch.last.next()));
        }
        self.read = stretch.to;
        if let Some(known) = &mut self.known {
            known.at = stretch.to;
        }
        Ok(())
    }

    async fn select(
        &mut self,
        stretch: &mut Stretch,
        entries: Vec<Entry>,
    ) -> Result<Vec<Selected>, ReplayError> {
        let mut selected = Vec::with_capacity(entries.len());
        for entry in entries {
            if self.filter.is_everything() && entry.seq != stretch.last.next() {
                return Err(ReplayError::Missing(stretch.last.next()));
            }
            stretch.last = entry.seq;
            if entry.draft.chain == self.plan.chain {
                selected.extend(self.take(stretch.follows, entry).await?);
            }
        }
        if self.plan.canonical.is_some() {
            self.keep_canonical(stretch, &mut selected).await?;
        }
        Ok(selected)
    }

    /// Learns from an entry, and says whether it is selected as far as it alone can tell.
    async fn take(&mut self, follows: bool, entry: Entry) -> Result<Option<Selected>, ReplayError> {
        let selection = &self.plan.selection;
        let admitted = selection.admits(&entry);
        let tells = follows && TELLING.contains(&entry.draft.kind);
        let told = self.plan.depth == Depth::Told || !selection.protocols.is_empty();
        let is_read = tells || (admitted && told);
        if !is_read {
            let context = MessageContext::default();
            return Ok(admitted.then_some(Selected { entry, context }));
        }
        let fact = fact_of(&entry)?;
        if let Some(known) = self.known.as_mut().filter(|_| tells) {
            known.contracts.follow(&self.store, &entry, &fact).await?;
        }
        let known = self.known.as_ref().map(|known| &known.contracts);
        let contracts = known.and_then(KnownContracts::contracts);
        if !admitted || !self.plan.selection.admits_fact(&fact, contracts) {
            return Ok(None);
        }
        let context = match (self.plan.depth, known) {
            (Depth::Raw, _) => MessageContext::default(),
            (Depth::Told, Some(known)) => known.context(&entry, &fact),
            // Without events to name nothing has to be known.
            (Depth::Told, None) => KnownContracts::default().context(&entry, &fact),
        };
        Ok(Some(Selected { entry, context }))
    }

    async fn keep_canonical(
        &mut self,
        stretch: &mut Stretch,
        selected: &mut Vec<Selected>,
    ) -> Result<(), ReplayError> {
        let Some((canonical, tip)) =
            self.plan.canonical.as_ref().and_then(|canonical| Some((canonical, canonical.tip?)))
        else {
            selected.clear();
            return Ok(());
        };
        let heights = selected.iter().filter_map(|one| one.entry.draft.block);
        let heights: BTreeSet<BlockNumber> = heights
            .map(|block| block.number)
            .filter(|number| *number <= tip && !stretch.epochs.contains_key(number))
            .collect();
        if !heights.is_empty() {
            let chain = &self.plan.chain;
            let found = key::epochs_as_of(&self.store, chain, &heights, canonical.at).await?;
            let met = heights.into_iter().map(|height| (height, found.get(&height).copied()));
            stretch.epochs.extend(met);
        }
        let epoch = |entry: &Entry| {
            let number = entry.draft.block?.number;
            stretch.epochs.get(&number).copied().flatten()
        };
        selected.retain(|one| is_of_chain(&one.entry, tip, epoch(&one.entry)));
        Ok(())
    }
}

/// The kinds to read: those that are asked for, without those that no filter would let through.
fn kinds(plan: &Plan) -> BTreeSet<Kind> {
    let selection = &plan.selection;
    if selection.protocols.is_empty() {
        return selection.kinds.clone();
    }
    Kind::ALL.into_iter().filter(|kind| has_protocol(*kind) && selection.wants(*kind)).collect()
}

fn fact_of(entry: &Entry) -> Result<Fact, ReplayError> {
    let read = entry.draft.fact();
    Ok(read.map_err(|source| WorkError::Entry { seq: entry.seq, source })?)
}
