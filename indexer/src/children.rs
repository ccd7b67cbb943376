//! Children that the log tells of: read again where rows are missing, and for a registry that comes later.
//!
//! The log has no index over contracts, so that a scan looks at every entry, a window at a time. It is made where
//! a registry is new, where a widening begins, and where rows were lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use obsqra_events::{Entry, EventData, Fact};
use obsqra_store::child_contract::ChildContract;
use obsqra_store::watch::Supplement;
use obsqra_store::{Store, key, log, watch};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, ContractAddress, Seq};

use crate::IndexError;
use crate::watched::{NEWEST, Watched};
use crate::watching::Announcer;

/// Positions looked at in one query.
const WINDOW: u64 = 20_000;

struct Scan<'a> {
    store: &'a Store,
    chain: &'a ChainId,
}

/// An event of a factory.
struct Told {
    seq: Seq,
    block: BlockNumber,
    epoch: BranchEpoch,
    event: EventData,
}

impl Told {
    /// `None` for an entry that is no event of a block.
    fn read(entry: &Entry) -> Option<Self> {
        let (Some(block), Ok(Fact::Event(event))) = (entry.draft.block, entry.draft.fact()) else {
            return None;
        };
        Some(Self { seq: entry.seq, block: block.number, epoch: block.epoch, event })
    }

    /// The children that it announces.
    fn children(&self, announcers: &[Arc<Announcer>]) -> Vec<ChildContract> {
        let announced = announcers.iter().filter_map(|one| one.announced(&self.event));
        announced.collect::<BTreeSet<_>>().into_iter().map(|address| self.child(address)).collect()
    }

    fn child(&self, address: ContractAddress) -> ChildContract {
        let Self { seq, block, epoch, .. } = *self;
        ChildContract { address, block, epoch, index: self.event.index, seq }
    }
}

/// The children that canonical blocks of the log announce to those who know some registries, each with its lowest
/// announcement.
pub(crate) async fn announced(
    (store, chain): (&Store, &ChainId),
    announcers: &[Arc<Announcer>],
) -> Result<BTreeMap<ContractAddress, ChildContract>, IndexError> {
    let told = Scan { store, chain }.told(announcers).await?;
    let heights = told.iter().map(|told| told.block).collect();
    let epochs = key::canonical_epochs(store, chain, &heights).await?;
    let canonical = told.iter().filter(|told| epochs.get(&told.block) == Some(&told.epoch));
    Ok(lowest(canonical.flat_map(|told| told.children(announcers))))
}

/// Every row that the log says there should be: of children announced after a position by a block of its own,
/// canonical or not, and of those that widenings brought.
pub(crate) async fn from_log(
    (store, chain): (&Store, &ChainId),
    watched: &Watched,
    after: Seq,
) -> Result<Vec<ChildContract>, IndexError> {
    let scan = Scan { store, chain };
    let told = scan.told(&watched.announcers(NEWEST)).await?;
    let mut children = scan.live(&told, watched, after).await?;
    children.extend(scan.joined(&told, watched).await?);
    // Of one block the first announcement counts, and some are both.
    let mut rows = BTreeMap::new();
    children.sort_unstable_by_key(|child| child.index);
    for child in children {
        rows.entry((child.address, child.block, child.epoch)).or_insert(child);
    }
    Ok(rows.into_values().collect())
}

fn lowest(
    children: impl Iterator<Item = ChildContract>,
) -> BTreeMap<ContractAddress, ChildContract> {
    let mut lowest = BTreeMap::<ContractAddress, ChildContract>::new();
    for child in children {
        let known = lowest.entry(child.address).or_insert(child);
        if (child.block, child.index) < (known.block, known.index) {
            *known = child;
        }
    }
    lowest
}

impl Scan<'_> {
    /// The events that announce children, in the order of the log.
    async fn told(&self, announcers: &[Arc<Announcer>]) -> Result<Vec<Told>, IndexError> {
        let factories: BTreeSet<ContractAddress> =
            announcers.iter().flat_map(|announcer| announcer.factories()).copied().collect();
        let mut told = Vec::new();
        if factories.is_empty() {
            return Ok(told);
        }
        let head = log::head(self.store).await?.seq;
        let mut after = Seq::BEFORE_FIRST;
        while after < head {
            let to = Seq(head.0.min(after.0.saturating_add(WINDOW)));
            let entries = log::events_of(self.store, self.chain, (after, to), &factories).await?;
            let events = entries.iter().filter_map(Told::read);
            told.extend(events.filter(|told| !told.children(announcers).is_empty()));
            after = to;
        }
        Ok(told)
    }

    /// What blocks announced by entries of their own to the registries that were known when they were applied.
    async fn live(
        &self,
        told: &[Told],
        watched: &Watched,
        after: Seq,
    ) -> Result<Vec<ChildContract>, IndexError> {
        let mut live = Vec::new();
        for told in told.iter().filter(|told| told.seq > after) {
            if !self.is_supplement(told).await? {
                live.extend(told.children(&watched.announcers(told.seq)));
            }
        }
        Ok(live)
    }

    async fn is_supplement(&self, told: &Told) -> Result<bool, IndexError> {
        let range = (told.block, told.block);
        let supplements = watch::supplements(self.store, self.chain, range, NEWEST).await?;
        let has = |supplement: &Supplement| {
            let last = supplement.seq.0.saturating_add(u64::from(supplement.watched_events));
            supplement.seq < told.seq && told.seq.0 <= last
        };
        Ok(supplements.iter().any(|(_, supplement)| has(supplement)))
    }

    /// What the chain had announced of the contracts of each widening when that began.
    async fn joined(
        &self,
        told: &[Told],
        watched: &Watched,
    ) -> Result<Vec<ChildContract>, IndexError> {
        let mut joined = Vec::new();
        for (widened, contracts) in watched.joined() {
            let announcers = watched.announcers(widened.next());
            let mut announced = Vec::new();
            for told in told.iter().filter(|told| told.seq <= widened) {
                let mut children = told.children(&announcers);
                children.retain(|child| contracts.contains(&child.address));
                if !children.is_empty() && self.was_canonical(told, widened).await? {
                    announced.extend(children);
                }
            }
            joined.extend(lowest(announced.into_iter()).into_values());
        }
        Ok(joined)
    }

    async fn was_canonical(&self, told: &Told, as_of: Seq) -> Result<bool, IndexError> {
        let (store, chain, at) = (self.store, self.chain, told.block);
        let tip = key::tip_as_of(store, chain, as_of).await?;
        let block = key::canonical_as_of(store, chain, (at, at), as_of).await?;
        let is_below = tip.is_some_and(|tip| at <= tip.block.number);
        Ok(is_below && block.first().is_some_and(|block| block.block.epoch == told.epoch))
    }
}
