//! The contracts whose events can be named at a position of the log: those of the registry, and the children that
//! its factories announced, for a reader that begins in the middle.
//!
//! A child is known from its announcement on and until the announcing block is reverted. What was announced before
//! the position where reading begins is found over the table of children, not by reading the log again.

use std::collections::BTreeMap;
use std::sync::Arc;

use obsqra_events::{AdoptedWhat, Entry, EventData, Fact, MessageContext};
use obsqra_protocols::{Contracts, Registry, decode, decode_from};
use obsqra_store::{Store, child_contract, key, log};
use obsqra_types::{BlockNumber, ChainId, ContractAddress, Seq};

use crate::WorkError;

/// Creating entries read at a time.
const PAGE: usize = 1_000;

/// What is known at a position.
#[derive(Debug, Default)]
pub(crate) struct KnownContracts {
    /// `None` before a registry is adopted.
    contracts: Option<Contracts>,
    /// Heights of the blocks that announced the children.
    announced: BTreeMap<ContractAddress, BlockNumber>,
}

impl KnownContracts {
    /// What is known as of a position: under the registry that was adopted last, what canonical blocks announced.
    pub(crate) async fn load(
        store: &Store,
        chain: &ChainId,
        as_of: Seq,
    ) -> Result<Self, WorkError> {
        let mut known = Self::default();
        let adopted = key::adopted_as_of(store, chain, AdoptedWhat::Registry, as_of).await?;
        let Some(adopted) = adopted else {
            return Ok(known);
        };
        let Some(entry) = log::entry(store, adopted.seq).await? else {
            return Ok(known);
        };
        if let Fact::Adopted(adopted) = read(&entry)? {
            let registry = Registry::parse(&adopted.bytes)
                .map_err(|source| WorkError::Registry { seq: entry.seq, source })?;
            known.contracts = Some(Contracts::new(Arc::new(registry)));
        }
        let children = child_contract::canonical_as_of(store, chain, as_of).await?;
        let seqs: Vec<Seq> = children.iter().map(|child| child.seq).collect();
        for page in seqs.chunks(PAGE) {
            for entry in log::entries(store, page).await? {
                known.take(&entry, &read(&entry)?);
            }
        }
        Ok(known)
    }

    /// Takes in what an entry announces or reverts; the next entry is read with it.
    pub(crate) fn take(&mut self, entry: &Entry, fact: &Fact) {
        let Some(block) = entry.draft.block else {
            return;
        };
        match fact {
            Fact::Event(event) => self.learn(block.number, event),
            Fact::BlockReverted(_) => self.forget(block.number),
            _ => {}
        }
    }

    /// As [`Self::take`], reading the contracts anew where an entry adopts another registry: it may read what was
    /// announced before it.
    pub(crate) async fn follow(
        &mut self,
        store: &Store,
        entry: &Entry,
        fact: &Fact,
    ) -> Result<(), WorkError> {
        match fact {
            Fact::Adopted(adopted) if adopted.what == AdoptedWhat::Registry => {
                *self = Self::load(store, &entry.draft.chain, entry.seq).await?;
            }
            fact => self.take(entry, fact),
        }
        Ok(())
    }

    /// What an entry's message says beside the entry.
    pub(crate) fn context(&self, entry: &Entry, fact: &Fact) -> MessageContext {
        let mut context = MessageContext::default();
        match (fact, self.contracts()) {
            (Fact::BlockApplied(applied), _) => {
                context.last_seq = Some(Seq(entry.seq.0 + u64::from(applied.watched_events)));
            }
            (Fact::Event(event), Some(contracts)) => {
                if let Some(decoded) = decode(contracts, event) {
                    context.protocol = Some(decoded.protocol);
                    context.event_name = decoded.name.map(str::to_owned);
                    context.decoded = decoded.event.map(|event| event.to_json());
                }
            }
            _ => {}
        }
        context
    }

    pub(crate) fn contracts(&self) -> Option<&Contracts> {
        self.contracts.as_ref()
    }

    fn learn(&mut self, block: BlockNumber, event: &EventData) {
        let Some(contracts) = &mut self.contracts else {
            return;
        };
        let Some(emitter) = contracts.get(&event.from_address).cloned() else {
            return;
        };
        let Some(event) = decode_from(&emitter, event) else {
            return;
        };
        contracts.learn(&emitter, &event);
        // What a widening brings may announce a child lower down than where it was learned: there it stands
        // even when the block above is reverted.
        if let Some(child) =
            event.child(&emitter).filter(|child| contracts.is_child(&child.address))
        {
            let lowest = self.announced.entry(child.address).or_insert(block);
            *lowest = block.min(*lowest);
        }
    }

    /// Forgets the children of blocks from a height on.
    fn forget(&mut self, from: BlockNumber) {
        let Some(contracts) = &mut self.contracts else {
            return;
        };
        let before = self.announced.len();
        self.announced.retain(|_, block| *block < from);
        if self.announced.len() < before {
            let stays =
                contracts.children().filter(|one| self.announced.contains_key(&one.address));
            *contracts = Contracts::with_children(
                Arc::clone(contracts.registry()),
                stays.cloned().collect::<Vec<_>>(),
            );
        }
    }
}

fn read(entry: &Entry) -> Result<Fact, WorkError> {
    entry.draft.fact().map_err(|source| WorkError::Entry { seq: entry.seq, source })
}
