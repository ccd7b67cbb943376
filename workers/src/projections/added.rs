//! Events that the log held already of contracts that a registry knows and the one before it did not: those of
//! supplements, those of blocks since the contracts were watched, and those since an earlier registry dropped them.
//!
//! Their rows are put where their blocks are. What is summed up over blocks is written anew from the lowest
//! of them on, so that it says what it would say had they been there from the start.

use std::collections::BTreeSet;

use obsqra_events::{Entry, Fact, Kind};
use obsqra_protocols::Contracts;
use obsqra_store::key::AppliedBlock;
use obsqra_store::projection::{event, privacy_pool};
use obsqra_store::{Transaction, key, log, watch};
use obsqra_types::{BlockNumber, ContractAddress, EventIndex, Seq};

use super::event_rows;
use super::privacy::PoolChanges;
use super::rows;
use super::tables::Tables;
use crate::WorkError;
use crate::chain_fold::adopted_registry;

/// Entries read at a time.
const BATCH: u32 = 2_000;

/// What is being added, and what came of it so far.
struct Addition<'a> {
    contracts: &'a Contracts,
    /// Those that were not known before.
    added: BTreeSet<ContractAddress>,
    /// Position of the adoption.
    seq: Seq,
    /// The tip of that time: above it nothing is canonical, whatever branch was there before.
    tip: BlockNumber,
    /// The canonical block that was looked up last.
    block: Option<AppliedBlock>,
    /// Two widenings may have brought the same event.
    seen: BTreeSet<(BlockNumber, EventIndex)>,
    changes: PoolChanges,
}

impl Tables {
    /// Adds what the registry adopted at `seq` makes of the log up to there. `before` are the contracts
    /// that were known before, `contracts` those known now.
    pub(super) async fn add(
        &mut self,
        tx: &mut Transaction,
        (before, contracts): (Option<&Contracts>, &Contracts),
        seq: Seq,
    ) -> Result<(), WorkError> {
        let known: BTreeSet<_> = before.into_iter().flat_map(all).collect();
        let added: BTreeSet<_> = all(contracts).filter(|one| !known.contains(one)).collect();
        let read_to = Seq(seq.0.saturating_sub(1));
        let first = [self.widened(&added, seq).await?, self.dropped(&added, seq).await?];
        let first = first.into_iter().flatten().min();
        let tip = key::tip_as_of(&self.store, &self.chain, read_to).await?;
        let (Some(mut read), Some(tip)) = (first, tip) else {
            return Ok(());
        };
        let mut addition = Addition {
            contracts,
            added,
            seq,
            tip: tip.block.number,
            block: None,
            seen: BTreeSet::new(),
            changes: PoolChanges::default(),
        };
        self.write_rows(tx).await?;
        while read < read_to {
            let entries = log::read_after(&self.store, read, BATCH).await?;
            let seqs = entries.iter().map(|entry| rows::signed(entry.seq.0, entry.seq));
            let known = event::known(tx, &seqs.collect::<Result<Vec<_>, _>>()?).await?;
            let new = |entry: &&Entry| !known.contains(&entry.seq);
            for entry in entries.iter().take_while(|entry| entry.seq < seq).filter(new) {
                self.add_entry(&mut addition, entry).await?;
            }
            read = entries.last().map_or(read_to, |entry| entry.seq);
            self.write_rows(tx).await?;
        }
        self.rewrite_pools(tx, addition.changes, seq).await
    }

    /// Where the first widening began that brought one of some contracts.
    async fn widened(
        &self,
        contracts: &BTreeSet<ContractAddress>,
        before: Seq,
    ) -> Result<Option<Seq>, WorkError> {
        let watches = watch::all(&self.store, &self.chain).await?;
        Ok(watches
            .iter()
            .filter(|watch| watch.request.contracts.iter().any(|one| contracts.contains(one)))
            .filter_map(|watch| watch.widening.map(|widening| widening.widened))
            .filter(|widened| *widened < before)
            .min())
    }

    /// Where a registry before the one of a position first left out one of some contracts that it had known.
    async fn dropped(
        &self,
        contracts: &BTreeSet<ContractAddress>,
        before: Seq,
    ) -> Result<Option<Seq>, WorkError> {
        let (mut first, mut later, mut at) = (None, None, before);
        while let Some(below) = at.0.checked_sub(1) {
            let Some((registry, adopted_at)) =
                adopted_registry(&self.store, &self.chain, Seq(below)).await?
            else {
                break;
            };
            if registry.watched().any(|contract| contracts.contains(&contract)) {
                first = later.or(first);
            }
            (later, at) = (Some(adopted_at), adopted_at);
        }
        Ok(first)
    }

    /// Puts the rows of an entry that is an event of an added contract in a canonical block.
    async fn add_entry(
        &mut self,
        addition: &mut Addition<'_>,
        entry: &Entry,
    ) -> Result<(), WorkError> {
        let (draft, seq) = (&entry.draft, entry.seq);
        let Some(at) =
            draft.block.filter(|at| draft.kind == Kind::Event && at.number <= addition.tip)
        else {
            return Ok(());
        };
        let Fact::Event(event) = draft.fact().map_err(|source| WorkError::Entry { seq, source })?
        else {
            return Ok(());
        };
        if draft.chain != self.chain || !addition.added.contains(&event.from_address) {
            return Ok(());
        }
        if addition.block.is_none_or(|block| block.block.number != at.number) {
            let heights = (at.number, at.number);
            let found =
                key::canonical_as_of(&self.store, &self.chain, heights, addition.seq).await?;
            addition.block = found.first().copied();
        }
        let Some(block) = addition.block.filter(|block| block.block.epoch == at.epoch) else {
            return Ok(());
        };
        if !addition.seen.insert((at.number, event.index)) {
            return Ok(());
        }
        let place = (at, block.hash);
        let rows = event_rows::event(&self.chain, place, addition.contracts, (seq, &event))?;
        if let Some(rows) = rows {
            self.put_event(rows, addition.contracts, &mut addition.changes);
        }
        Ok(())
    }

    /// Writes the sums of privacy pools anew with what was added.
    async fn rewrite_pools(
        &mut self,
        tx: &mut Transaction,
        changes: PoolChanges,
        seq: Seq,
    ) -> Result<(), WorkError> {
        for (key, change) in changes.into_pools() {
            let standing = privacy_pool::standing_from(tx, &key, change.lowest()).await?;
            let instead = change.rows(&key, &standing, seq)?;
            self.pools.rewrite(standing, instead, rows::signed(seq.0, seq)?);
        }
        Ok(())
    }
}

fn all(contracts: &Contracts) -> impl Iterator<Item = ContractAddress> {
    let children = contracts.children().map(|child| child.address);
    contracts.registry().watched().chain(children)
}
