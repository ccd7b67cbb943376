//! The contracts whose events are read: those of the registry, and those that factories announced since.
//!
//! An announced contract counts from the announcing event on, never before it. The registry wins over an
//! announcement, and of two announcements of one address the first stands: a later event cannot make an
//! address mean something else.

use std::sync::Arc;

use obsqra_types::ContractAddress;
use rpds::RedBlackTreeMapSync;

use crate::{ProtocolEvent, Registry, WatchedContract};

/// A registry and the contracts learned from events. Clones are cheap and share what is known, so that one
/// more contract costs the logarithm of their number, whoever holds a clone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contracts {
    registry: Arc<Registry>,
    children: RedBlackTreeMapSync<ContractAddress, WatchedContract>,
}

impl Contracts {
    /// The contracts of the registry alone.
    #[must_use]
    pub fn new(registry: Arc<Registry>) -> Self {
        Self { registry, children: RedBlackTreeMapSync::default() }
    }

    /// The contracts of the registry, and children that were learned before, in the order in which they
    /// were announced. Children that the registry lists, or whose protocol it lacks, are left out.
    #[must_use]
    pub fn with_children(
        registry: Arc<Registry>,
        children: impl IntoIterator<Item = WatchedContract>,
    ) -> Self {
        let mut contracts = Self::new(registry);
        for child in children {
            contracts.add(child);
        }
        contracts
    }

    /// The registry.
    #[must_use]
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// A contract by its address.
    #[must_use]
    pub fn get(&self, address: &ContractAddress) -> Option<&WatchedContract> {
        self.registry.contract(address).or_else(|| self.children.get(address))
    }

    /// Whether a contract is known from an announcement alone.
    #[must_use]
    pub fn is_child(&self, address: &ContractAddress) -> bool {
        self.children.contains_key(address)
    }

    /// The contracts that were learned, by address.
    pub fn children(&self) -> impl Iterator<Item = &WatchedContract> {
        self.children.values()
    }

    /// Takes in the contract that an event announces, and returns it if it was not known before.
    pub fn learn(
        &mut self,
        emitter: &WatchedContract,
        event: &ProtocolEvent,
    ) -> Option<WatchedContract> {
        let child = event.child(emitter)?;
        self.add(child.clone()).then_some(child)
    }

    fn add(&mut self, child: WatchedContract) -> bool {
        let owned = self
            .registry
            .protocol(&child.protocol)
            .is_some_and(|protocol| protocol.decoder == child.decoder);
        let new = owned && self.get(&child.address).is_none();
        if new {
            self.children.insert_mut(child.address, child);
        }
        new
    }
}
