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

#[cfg(test)]
mod tests {
    use obsqra_protocols::mainnet_registry;
    use obsqra_types::{Felt, TransactionHash, parse_felt};

    use super::*;

    const PAIR_CREATED: &str = "0x19437bf1c5c394fc8509a2e38c9c72c152df0bac8be777d4fc8f959ac817189";
    const FACTORY: &str = "0xdad44c139a476c7a17fc8141e6db680e9abc9f56fe249a105094c44382c2fd";

    fn contract(number: u64) -> ContractAddress {
        ContractAddress(Felt::from(number))
    }

    fn event(index: u32, from: ContractAddress, keys: Vec<Felt>, data: Vec<Felt>) -> EventData {
        let transaction_hash = TransactionHash(Felt::ONE);
        let index = EventIndex(index);
        EventData { index, transaction_index: 0, transaction_hash, from_address: from, keys, data }
    }

    fn created(index: u32, child: u64) -> EventData {
        let data = vec![Felt::ONE, Felt::TWO, Felt::from(child), Felt::ONE];
        let factory = ContractAddress(parse_felt(FACTORY).unwrap());
        event(index, factory, vec![parse_felt(PAIR_CREATED).unwrap()], data)
    }

    fn by(index: u32, from: u64) -> EventData {
        event(index, contract(from), vec![Felt::THREE], Vec::new())
    }

    fn watching() -> Watching {
        let announcer = Announcer::new(Registry::parse(mainnet_registry()).unwrap());
        let contracts = announcer.listed().collect();
        Watching::new(contracts, BTreeMap::new(), vec![Arc::new(announcer)])
    }

    fn check(watching: &Watching, number: u64, events: &[EventData], expected: &[bool]) -> Kept {
        let kept = watching.keep(BlockNumber(number), events);
        assert_eq!(kept.is_kept, expected, "block {number}");
        kept
    }

    #[test]
    fn a_child_is_kept_behind_its_creating_event() {
        let mut watching = watching();
        check(&watching, 6, &[by(0, 7)], &[false]);
        let events = [by(0, 7), created(1, 7), by(2, 7), by(3, 8), created(4, 7)];
        let kept = check(&watching, 7, &events, &[false, true, true, false, true]);
        assert_eq!(kept.announced, Announced::from([(contract(7), EventIndex(1))]));
        assert!(!watching.knows(&kept.announced));
        watching.learn(BlockNumber(7), &kept.announced);
        assert!(watching.knows(&kept.announced));
        check(&watching, 6, &[by(0, 7)], &[false]);
        check(&watching, 7, &events, &[false, true, true, false, true]);
        check(&watching, 8, &[by(0, 7), by(1, 8)], &[true, false]);
        check(&watching.below(BlockNumber(8)), 8, &[by(0, 7)], &[true]);
        check(&watching.below(BlockNumber(7)), 8, &[by(0, 7)], &[false]);
    }

    #[test]
    fn a_later_announcement_does_not_make_a_child_younger() {
        let mut watching = watching();
        watching.learn(BlockNumber(3), &Announced::from([(contract(7), EventIndex(5))]));
        let events = [by(0, 7), created(1, 7)];
        let kept = check(&watching, 9, &events, &[true, true]);
        watching.learn(BlockNumber(9), &kept.announced);
        check(&watching, 8, &[by(0, 7)], &[true]);
    }

    #[test]
    fn what_no_factory_says_announces_nothing() {
        let watching = watching();
        let mut stranger = created(0, 7);
        stranger.from_address = contract(9);
        check(&watching, 1, &[stranger, by(1, 7)], &[false, false]);
        let mut short = created(0, 7);
        short.data.pop();
        check(&watching, 1, &[short, by(1, 7)], &[true, false]);
    }

    #[test]
    fn for_blocks_that_lack_some_the_others_do_not_count() {
        let mut watching = watching();
        let announced = [(contract(7), EventIndex(1)), (contract(8), EventIndex(2))];
        watching.learn(BlockNumber(3), &Announced::from(announced));
        let only = watching.only(&BTreeSet::from([contract(7)]));
        check(
            &only,
            4,
            &[by(0, 7), by(1, 8), created(2, 9), by(3, 9)],
            &[true, false, false, false],
        );
        assert!(only.is_within(&BTreeSet::from([contract(7)])));
        assert!(!watching.is_within(&BTreeSet::from([contract(7)])));
    }
}
