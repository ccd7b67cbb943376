//! Whose events the log keeps, now and as of a block.
//!
//! Once watched, always watched: a registry that lacks a contract of an earlier one takes nothing away, so
//! that no block lacks what the blocks around it have. Contracts that joined later count for a block below as
//! soon as that block was supplemented.

use std::collections::BTreeSet;

use obsqra_events::{AdoptedWhat, Fact, WatchWidened};
use obsqra_protocols::Registry;
use obsqra_store::key::{self, AppliedBlock};
use obsqra_store::watch::{self, Widening};
use obsqra_store::{Store, StoreError, log};
use obsqra_types::{ChainId, ContractAddress, Seq};

use crate::IndexError;

/// Beyond every position.
pub(crate) const NEWEST: Seq = Seq(i64::MAX as u64);

/// The contracts that were ever watched, by what brought them.
#[derive(Clone, Debug)]
pub(crate) struct Watched {
    registries: Vec<(Seq, BTreeSet<ContractAddress>)>,
    widenings: Vec<(Widening, Vec<ContractAddress>)>,
}

impl Watched {
    /// Reads all of it.
    pub(crate) async fn load(store: &Store, chain: &ChainId) -> Result<Self, IndexError> {
        let mut registries = Vec::new();
        let mut as_of = NEWEST;
        while let Some(found) =
            key::adopted_as_of(store, chain, AdoptedWhat::Registry, as_of).await?
        {
            if let Fact::Adopted(adopted) = fact_at(store, found.seq).await? {
                let registry = Registry::parse(&adopted.bytes).map_err(IndexError::Registry)?;
                registries.push((found.seq, registry.watched().collect()));
            }
            as_of = Seq(found.seq.0.saturating_sub(1));
        }
        let mut widenings = Vec::new();
        for known in watch::all(store, chain).await? {
            if let Some(widening) = known.widening {
                widenings.push((widening, widened(store, chain, &widening).await?.contracts));
            }
        }
        Ok(Self { registries, widenings })
    }

    /// Those whose events are kept of the next block.
    pub(crate) fn now(&self) -> BTreeSet<ContractAddress> {
        self.of(|_| true, |_| true)
    }

    /// Those of which no block lacks events.
    pub(crate) fn completed(&self) -> BTreeSet<ContractAddress> {
        self.of(|_| true, |widening| widening.completed.is_some())
    }

    /// Those whose events the log has of a block.
    pub(crate) fn at(&self, block: &AppliedBlock) -> BTreeSet<ContractAddress> {
        let supplemented = |widening: &Widening| {
            let number = block.block.number;
            widening.widened < block.seq
                || widening.completed.is_some()
                || (widening.first <= number && number < widening.next)
        };
        self.of(|adopted| adopted < block.seq, supplemented)
    }

    fn of(
        &self,
        adopted: impl Fn(Seq) -> bool,
        widened: impl Fn(&Widening) -> bool,
    ) -> BTreeSet<ContractAddress> {
        let registries = self.registries.iter().filter(|(seq, _)| adopted(*seq));
        let widenings = self.widenings.iter().filter(|(widening, _)| widened(widening));
        let joined = widenings.flat_map(|(_, contracts)| contracts);
        registries.flat_map(|(_, contracts)| contracts).chain(joined).copied().collect()
    }
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
