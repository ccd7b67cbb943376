//! Whose events the log keeps, now and as of a block.
//!
//! Once watched, always watched: a registry that lacks a contract of an earlier one takes nothing away, so
//! that no block lacks what the blocks around it have. Contracts that joined later count for a block below as
//! soon as that block was supplemented. A contract that joins by a widening and that the log says was created by
//! a factory, at the position where the widening begins, joins as a child: from its creating event on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use obsqra_events::{AdoptedWhat, Fact, WatchWidened};
use obsqra_protocols::Registry;
use obsqra_store::child_contract::{self, ChildContract};
use obsqra_store::key::{self, AppliedBlock};
use obsqra_store::watch::{self, Widening};
use obsqra_store::{Store, StoreError, log};
use obsqra_types::{ChainId, ContractAddress, Seq};

use crate::IndexError;
use crate::watching::{Announcer, Birth, Watching};

/// Beyond every position.
pub(crate) const NEWEST: Seq = Seq(i64::MAX as u64);

/// The contracts that were ever watched, by what brought them.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    registries: Vec<(Seq, Arc<Announcer>)>,
    widenings: Vec<Joined>,
    /// The children that canonical blocks say were created.
    children: BTreeMap<ContractAddress, ChildContract>,
}

/// What a widening brought.
#[derive(Clone, Debug)]
struct Joined {
    widening: Widening,
    /// Watched whatever created them.
    whole: BTreeSet<ContractAddress>,
    /// Watched from their creating events on.
    children: BTreeSet<ContractAddress>,
    /// Of the registry that waits for it.
    announcer: Option<Arc<Announcer>>,
}

impl Joined {
    fn has_supplemented(&self, block: &AppliedBlock) -> bool {
        let (number, widening) = (block.block.number, &self.widening);
        widening.widened < block.seq
            || widening.completed.is_some()
            || (widening.first <= number && number < widening.next)
    }
}

impl Watched {
    /// Reads all of it.
    pub(crate) async fn load(store: &Store, chain: &ChainId) -> Result<Self, IndexError> {
        let children = child_contract::canonical_as_of(store, chain, NEWEST).await?;
        Ok(Self {
            registries: registries(store, chain).await?,
            widenings: joined(store, chain).await?,
            children: children.into_iter().map(|child| (child.address, child)).collect(),
        })
    }

    /// What is kept of the next block.
    pub(crate) fn now(&self) -> Watching {
        let whole = self.whole(|_| true, |_| true);
        let births = self.children.values().map(birth).collect();
        Watching::new(whole, births, self.announcers(NEWEST))
    }

    /// Those of which no block lacks an event.
    pub(crate) fn completed(&self) -> BTreeSet<ContractAddress> {
        let mut completed = self.whole(|_| true, |joined| joined.widening.completed.is_some());
        let under_way = |child: &ContractAddress| {
            let mut joined = self.widenings.iter().filter(|one| one.children.contains(child));
            joined.any(|joined| joined.widening.completed.is_none())
        };
        completed.extend(self.children.keys().filter(|child| !under_way(child)));
        completed
    }

    /// What the log has of a block.
    pub(crate) fn at(&self, block: &AppliedBlock) -> Watching {
        let whole = self.whole(|adopted| adopted < block.seq, |one| one.has_supplemented(block));
        // The creating event may be the block's own, whose entries follow directly. One that a supplement brought
        // lies behind all blocks that the child's widening supplements.
        let last = Seq(block.seq.0.saturating_add(u64::from(block.watched_events)));
        let has = |child: &&ChildContract| {
            let joined = self.widenings.iter().filter(|one| one.children.contains(&child.address));
            let mut joined = joined.peekable();
            match joined.peek() {
                Some(_) => joined.all(|joined| joined.has_supplemented(block)),
                None => child.seq <= last,
            }
        };
        let births = self.children.values().filter(has).map(birth).collect();
        Watching::new(whole, births, Vec::new())
    }

    /// What tells which events announce children, as of a position.
    pub(crate) fn announcers(&self, as_of: Seq) -> Vec<Arc<Announcer>> {
        let adopted = self.registries.iter().filter(|(seq, _)| *seq < as_of);
        let waiting = self.widenings.iter().filter(|joined| joined.widening.widened < as_of);
        let waiting = waiting.filter_map(|joined| joined.announcer.as_ref());
        adopted.map(|(_, announcer)| announcer).chain(waiting).cloned().collect()
    }

    /// The contracts of each widening, with its position.
    pub(crate) fn joined(&self) -> impl Iterator<Item = (Seq, BTreeSet<ContractAddress>)> {
        let all = |joined: &Joined| joined.whole.union(&joined.children).copied().collect();
        self.widenings.iter().map(move |joined| (joined.widening.widened, all(joined)))
    }

    fn whole(
        &self,
        adopted: impl Fn(Seq) -> bool,
        counts: impl Fn(&Joined) -> bool,
    ) -> BTreeSet<ContractAddress> {
        let registries = self.registries.iter().filter(|(seq, _)| adopted(*seq));
        let listed = registries.flat_map(|(_, announcer)| announcer.listed());
        let widenings = self.widenings.iter().filter(|joined| counts(joined));
        listed.chain(widenings.flat_map(|joined| joined.whole.iter().copied())).collect()
    }
}

fn birth(child: &ChildContract) -> (ContractAddress, Birth) {
    (child.address, Birth { block: child.block, index: child.index })
}

async fn registries(
    store: &Store,
    chain: &ChainId,
) -> Result<Vec<(Seq, Arc<Announcer>)>, IndexError> {
    let mut registries = Vec::new();
    let mut as_of = NEWEST;
    while let Some(found) = key::adopted_as_of(store, chain, AdoptedWhat::Registry, as_of).await? {
        if let Fact::Adopted(adopted) = fact_at(store, found.seq).await? {
            registries.push((found.seq, announcer(&adopted.bytes)?));
        }
        as_of = Seq(found.seq.0.saturating_sub(1));
    }
    Ok(registries)
}

async fn joined(store: &Store, chain: &ChainId) -> Result<Vec<Joined>, IndexError> {
    let mut all = Vec::new();
    for known in watch::all(store, chain).await? {
        let Some(widening) = known.widening else {
            continue;
        };
        let contracts = widened(store, chain, &widening).await?.contracts;
        let created = child_contract::canonical_as_of(store, chain, widening.widened).await?;
        let created: BTreeSet<_> = created.into_iter().map(|child| child.address).collect();
        let (children, whole) = contracts.into_iter().partition(|one| created.contains(one));
        let announcer = known.request.registry.map(|(_, bytes)| announcer(&bytes)).transpose()?;
        all.push(Joined { widening, whole, children, announcer });
    }
    Ok(all)
}

/// What a registry's bytes tell of children.
pub(crate) fn announcer(bytes: &[u8]) -> Result<Arc<Announcer>, IndexError> {
    Registry::parse(bytes)
        .map(|registry| Arc::new(Announcer::new(registry)))
        .map_err(IndexError::Registry)
}

/// What a widening added.
pub(crate) async fn widened(
    store: &Store,
    chain: &ChainId,
    widening: &Widening,
) -> Result<WatchWidened, IndexError> {
    let entry = log::entry(store, widening.widened).await?;
    let own = entry.is_some_and(|entry| entry.draft.chain == *chain);
    match fact_at(store, widening.widened).await? {
        Fact::WatchWidened(fact) if own => Ok(fact),
        // A request for nothing that was not watched already.
        _ => Ok(WatchWidened { contracts: Vec::new(), first: widening.first, last: widening.last }),
    }
}

async fn fact_at(store: &Store, seq: Seq) -> Result<Fact, IndexError> {
    let corrupt = |problem: String| IndexError::from(StoreError::Corrupt { seq, problem });
    let entry = log::entry(store, seq).await?.ok_or_else(|| corrupt("it is missing".to_owned()))?;
    entry.draft.fact().map_err(|error| corrupt(error.to_string()))
}
