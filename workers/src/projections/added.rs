//! Events that the log held already of contracts that a registry knows and the one before it did not: those of
//! supplements, those of blocks since the contracts were watched, and those since an earlier registry dropped them.
//!
//! Their rows are put where their blocks are. What is summed up over blocks is written anew from the lowest
//! of them on, so that it says what it would say had they been there from the start. What goes to and from an added
//! chamber is told by events of other contracts, whose rows are there: these are read from the first entry on.

use std::collections::BTreeSet;

use obsqra_events::{Entry, EventData, Fact, Kind};
use obsqra_protocols::{Contracts, decode_from};
use obsqra_store::key::AppliedBlock;
use obsqra_store::projection::{activity, event, privacy_pool};
use obsqra_store::{Transaction, child_contract, key, log, watch};
use obsqra_types::{BlockHash, BlockNumber, BlockRef, ContractAddress, EventIndex, Seq};

use super::event_rows;
use super::privacy::{PoolChanges, chamber};
use super::rows;
use super::tables::Tables;
use crate::{WorkError, adopted};

/// Entries read at a time.
const BATCH: u32 = 2_000;

/// What is being added, and what came of it so far.
struct Addition<'a> {
    contracts: &'a Contracts,
    /// Those that were not known before.
    added: BTreeSet<ContractAddress>,
    /// The chambers among them, and the protocols of these.
    chambers: BTreeSet<ContractAddress>,
    private: Vec<String>,
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
        let chambers = added.iter().filter_map(|one| chamber(contracts, one));
        let (chambers, private): (BTreeSet<_>, Vec<_>) =
            chambers.map(|one| (one.address, one.protocol.to_string())).unzip();
        let first = if chambers.is_empty() {
            self.first_of(&added, seq).await?
        } else {
            Some(Seq::BEFORE_FIRST)
        };
        let tip = key::tip_as_of(&self.store, &self.chain, read_to).await?;
        let (Some(mut read), Some(tip)) = (first, tip) else {
            return Ok(());
        };
        let mut addition = Addition {
            contracts,
            added,
            chambers,
            private,
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
            let seqs = seqs.collect::<Result<Vec<_>, _>>()?;
            let known = event::known(tx, &seqs).await?;
            let told = match addition.private.as_slice() {
                [] => BTreeSet::new(),
                private => activity::known(tx, private, &seqs).await?,
            };
            for entry in entries.iter().take_while(|entry| entry.seq < seq) {
                if let Some(place) = known.get(&entry.seq) {
                    addition.seen.extend(place);
                    self.add_private(&mut addition, entry, told.contains(&entry.seq)).await?;
                } else {
                    self.add_entry(&mut addition, entry).await?;
                }
            }
            read = entries.last().map_or(read_to, |entry| entry.seq);
            self.write_rows(tx).await?;
        }
        let Addition { chambers, changes, .. } = addition;
        self.rewrite_pools(tx, changes, (&chambers, seq)).await
    }

    /// Where the log may have the first event of some contracts that has no row.
    async fn first_of(
        &self,
        added: &BTreeSet<ContractAddress>,
        before: Seq,
    ) -> Result<Option<Seq>, WorkError> {
        let children = child_contract::canonical_as_of(&self.store, &self.chain, before).await?;
        let children = children.iter().filter(|child| added.contains(&child.address));
        let first = [
            self.widened(added, before).await?,
            self.dropped(added, before).await?,
            children.map(|child| child.seq).min(),
        ];
        Ok(first.into_iter().flatten().min())
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
                adopted::registry(&self.store, &self.chain, Seq(below)).await?
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
        let Some(at) = draft.block.filter(|at| at.number <= addition.tip) else {
            return Ok(());
        };
        if draft.kind != Kind::Event || draft.chain != self.chain {
            return Ok(());
        }
        let event = event_of(entry)?;
        if !addition.added.contains(&event.from_address) {
            return Ok(());
        }
        let Some(hash) = self.canonical(addition, at).await? else {
            return Ok(());
        };
        if !addition.seen.insert((at.number, event.index)) {
            return Ok(());
        }
        let place = (at, hash);
        let rows = event_rows::event(&self.chain, place, addition.contracts, (seq, &event))?;
        if let Some(rows) = rows {
            self.put_event(rows, addition.contracts, &mut addition.changes);
        }
        Ok(())
    }

    /// Of an event that has its row: what it moves to and from an added chamber, and who did, unless that is told.
    async fn add_private(
        &mut self,
        addition: &mut Addition<'_>,
        entry: &Entry,
        is_told: bool,
    ) -> Result<(), WorkError> {
        let Some(at) = entry.draft.block.filter(|at| at.number <= addition.tip) else {
            return Ok(());
        };
        if addition.chambers.is_empty() {
            return Ok(());
        }
        let event = event_of(entry)?;
        let emitter = addition.contracts.get(&event.from_address);
        let transfer = emitter
            .and_then(|emitter| decode_from(emitter, &event).map(|event| (emitter, event)))
            .and_then(|(emitter, event)| event.transfer(emitter));
        let added = |account: &ContractAddress| addition.chambers.contains(account);
        let Some(transfer) = transfer.filter(|one| added(&one.from) || added(&one.to)) else {
            return Ok(());
        };
        let Some(hash) = self.canonical(addition, at).await? else {
            return Ok(());
        };
        let height = rows::signed(at.number.0, entry.seq)?;
        let chambers = &addition.chambers;
        addition.changes.note((&self.chain, height), addition.contracts, &transfer, |account| {
            chambers.contains(account)
        });
        let of = (entry.seq, &event);
        let rows = event_rows::event(&self.chain, (at, hash), addition.contracts, of)?;
        if let Some(private) = rows.and_then(|rows| rows.private).filter(|_| !is_told) {
            self.activities.put_point(private);
        }
        Ok(())
    }

    /// The hash of the block at a height, where it is canonical on that branch.
    async fn canonical(
        &self,
        addition: &mut Addition<'_>,
        at: BlockRef,
    ) -> Result<Option<BlockHash>, WorkError> {
        if addition.block.is_none_or(|block| block.block.number != at.number) {
            let heights = (at.number, at.number);
            let found =
                key::canonical_as_of(&self.store, &self.chain, heights, addition.seq).await?;
            addition.block = found.first().copied();
        }
        let block = addition.block.filter(|block| block.block.epoch == at.epoch);
        Ok(block.map(|block| block.hash))
    }

    /// Writes the sums of privacy pools anew with what was added.
    async fn rewrite_pools(
        &mut self,
        tx: &mut Transaction,
        changes: PoolChanges,
        (chambers, seq): (&BTreeSet<ContractAddress>, Seq),
    ) -> Result<(), WorkError> {
        let chambers: BTreeSet<_> =
            chambers.iter().map(|one| one.0.to_bytes_be().to_vec()).collect();
        for (key, change) in changes.into_pools() {
            let standing = privacy_pool::standing_from(tx, &key, change.lowest()).await?;
            // Of an added chamber the changes are all that there are: what stands is among them.
            let stood = if chambers.contains(&key.1) { &[][..] } else { &standing[..] };
            let instead = change.rows(&key, stood, seq)?;
            self.pools.rewrite(standing, instead, rows::signed(seq.0, seq)?);
        }
        Ok(())
    }
}

fn event_of(entry: &Entry) -> Result<EventData, WorkError> {
    let seq = entry.seq;
    match entry.draft.fact().map_err(|source| WorkError::Entry { seq, source })? {
        Fact::Event(event) => Ok(event),
        _ => Err(WorkError::Log { seq, problem: "not an event".into() }),
    }
}

fn all(contracts: &Contracts) -> impl Iterator<Item = ContractAddress> {
    let children = contracts.children().map(|child| child.address);
    contracts.registry().watched().chain(children)
}
