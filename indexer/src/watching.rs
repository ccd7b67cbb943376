//! Which events of a block are kept: those of the watched contracts, and those of their children from the event on
//! that says that the child was created.
//!
//! A child is a contract that a factory's event announces. In the creating block its events with a higher index
//! than that event's are kept, above it all of them, before it none. What is kept of a block follows from the
//! block and from the chain below it, and from nothing else: not from how blocks were fetched or batched, nor from
//! branches that lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{Registry, decode_from};
use obsqra_types::{BlockNumber, ContractAddress, EventIndex};

/// The place of the event that says that a child was created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Birth {
    /// Height of its block.
    pub block: BlockNumber,
    /// Its place in the block.
    pub index: EventIndex,
}

/// Children that a block's events announce, each with its first announcement in the block.
pub type Announced = BTreeMap<ContractAddress, EventIndex>;

/// Whose events are kept of the blocks above a chain.
#[derive(Clone, Debug, Default)]
pub struct Watching {
    /// Contracts that are watched whatever created them.
    contracts: Arc<BTreeSet<ContractAddress>>,
    /// Children, by the lowest event of the chain that announces them.
    births: Arc<BTreeMap<ContractAddress, Birth>>,
    /// What tells which events announce children.
    announcers: Arc<Vec<Arc<Announcer>>>,
}

/// What a block leaves behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// For each of its events whether it is kept.
    pub is_kept: Vec<bool>,
    /// The children that kept events announce.
    pub announced: Announced,
}

impl Watching {
    /// Contracts of which no event announces a child.
    #[must_use]
    pub fn of(contracts: BTreeSet<ContractAddress>) -> Self {
        Self { contracts: Arc::new(contracts), ..Self::default() }
    }

    /// Contracts, children, and registries that tell which events announce children.
    pub(crate) fn new(
        contracts: BTreeSet<ContractAddress>,
        births: BTreeMap<ContractAddress, Birth>,
        announcers: Vec<Arc<Announcer>>,
    ) -> Self {
        Self {
            contracts: Arc::new(contracts),
            births: Arc::new(births),
            announcers: Arc::new(announcers),
        }
    }

    /// Walks all events of a block, in their order.
    #[must_use]
    pub fn keep(&self, number: BlockNumber, events: &[EventData]) -> Kept {
        let mut announced = Announced::new();
        let mut is_kept = Vec::with_capacity(events.len());
        for event in events {
            let own = announced.get(&event.from_address);
            let keeps = self.has(number, event) || own.is_some_and(|first| *first < event.index);
            if keeps {
                for child in self.announced_by(event) {
                    announced.entry(child).or_insert(event.index);
                }
            }
            is_kept.push(keeps);
        }
        Kept { is_kept, announced }
    }

    fn has(&self, block: BlockNumber, event: &EventData) -> bool {
        let at = Birth { block, index: event.index };
        let address = &event.from_address;
        self.contracts.contains(address) || self.births.get(address).is_some_and(|born| *born < at)
    }

    /// The children that an event announces: registries may read it differently.
    fn announced_by(&self, event: &EventData) -> impl Iterator<Item = ContractAddress> {
        self.announcers.iter().filter_map(|announcer| announcer.announced(event))
    }

    /// What is watched of the blocks from a height on, whatever stood there before.
    #[must_use]
    pub fn below(&self, number: BlockNumber) -> Self {
        let mut below = self.clone();
        if self.births.values().any(|born| born.block >= number) {
            Arc::make_mut(&mut below.births).retain(|_, born| born.block < number);
        }
        below
    }

    /// Takes in what a block announces that lies above all that was taken in before.
    pub fn learn(&mut self, block: BlockNumber, announced: &Announced) {
        if announced.is_empty() {
            return;
        }
        let births = Arc::make_mut(&mut self.births);
        for (child, index) in announced {
            births.entry(*child).or_insert(Birth { block, index: *index });
        }
    }

    /// Whether each of the children is watched already.
    #[must_use]
    pub fn knows(&self, announced: &Announced) -> bool {
        announced
            .keys()
            .all(|child| self.contracts.contains(child) || self.births.contains_key(child))
    }

    /// Every contract of which some event is kept.
    #[must_use]
    pub fn addresses(&self) -> BTreeSet<ContractAddress> {
        self.contracts.iter().chain(self.births.keys()).copied().collect()
    }

    /// Whether every contract of which some event is kept is one of those.
    pub(crate) fn is_within(&self, addresses: &BTreeSet<ContractAddress>) -> bool {
        self.contracts.iter().chain(self.births.keys()).all(|one| addresses.contains(one))
    }

    /// The same as far as it concerns some contracts, for blocks that have the others' events already.
    pub(crate) fn only(&self, contracts: &BTreeSet<ContractAddress>) -> Self {
        let births = self.births.iter().filter(|(child, _)| contracts.contains(child));
        let births: BTreeMap<_, _> = births.map(|(child, born)| (*child, *born)).collect();
        let whole = contracts.iter().filter(|one| self.contracts.contains(one)).copied().collect();
        Self::new(whole, births, Vec::new())
    }
}

/// A registry that tells which events announce children.
#[derive(Clone, Debug)]
pub(crate) struct Announcer {
    registry: Registry,
    factories: BTreeSet<ContractAddress>,
}

impl Announcer {
    pub(crate) fn new(registry: Registry) -> Self {
        let factories = registry.factories().map(|factory| factory.address).collect();
        Self { registry, factories }
    }

    /// The contracts whose events announce children.
    pub(crate) fn factories(&self) -> &BTreeSet<ContractAddress> {
        &self.factories
    }

    /// All contracts that the registry lists.
    pub(crate) fn listed(&self) -> impl Iterator<Item = ContractAddress> {
        self.registry.watched()
    }

    /// The child that an event announces.
    pub(crate) fn announced(&self, event: &EventData) -> Option<ContractAddress> {
        if !self.factories.contains(&event.from_address) {
            return None;
        }
        let factory = self.registry.contract(&event.from_address)?;
        decode_from(factory, event)?.child(factory).map(|child| child.address)
    }
}
