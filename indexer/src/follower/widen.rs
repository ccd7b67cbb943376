//! What is watched: the adopted registry's contracts, and those that joined later.
//!
//! A widening is taken up between two steps of following, a bounded stretch at a time: the contracts join
//! the watched set first, so that no block falls between, then the blocks below are supplemented, then the
//! registry that asked for it is adopted and the folds read it all. Whole blocks are read, not events; a
//! range of heights is only asked which of its blocks to read.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{Adopted, AdoptedWhat, Draft, Fact, WatchCompleted, WatchWidened};
use obsqra_store::attested::{self, AttestedAs, AttestedRange};
use obsqra_store::child_contract;
use obsqra_store::key::{self, AppliedBlock};
use obsqra_store::watch::{self, Supplement, Watch, WatchRequest, Widening};
use obsqra_store::{Key, Keyed, StoreError, log};
use obsqra_types::{BlockNumber, ContractAddress, Hash32, Seq};
use sha2::{Digest, Sha256};

use super::fetch::fetch_some;
use super::{Session, children};
use crate::IndexError;
use crate::encode::EncodedBlock;
use crate::planner::BlockId;
use crate::source::{Leader, SourceBlock, SourceError};
use crate::watched::{self, NEWEST, Watched};
use crate::watching::Watching;

/// Heights of one range read, after which the chain's head is looked at again.
const RANGE: u64 = 1_000;

impl Session<'_> {
    /// Appends what shapes numbers, where it differs from what was adopted last, and learns what is
    /// watched.
    pub(super) async fn adopt(&mut self) -> Result<(), IndexError> {
        let mut facts = Vec::new();
        for (what, version, bytes) in &self.follower.options.adopt {
            if *what == AdoptedWhat::Registry && !self.adopts_at_once(version, bytes).await? {
                continue;
            }
            facts.push(self.adopted(*what, version, bytes));
        }
        let mut tx = self.follower.store.begin().await?;
        log::append(&mut tx, self.lease.fence(), facts).await?;
        tx.commit().await.map_err(StoreError::from)?;
        self.encoder.watching = self.history().await?.now();
        Ok(())
    }

    fn adopted(&self, what: AdoptedWhat, version: &str, bytes: &[u8]) -> Keyed {
        let hash = digest(bytes);
        let version = version.to_owned();
        let fact =
            Fact::Adopted(Adopted { what, version: version.clone(), hash, bytes: bytes.to_vec() });
        Keyed {
            key: Key::Adopted { what, version, hash },
            drafts: vec![Draft::new(&self.encoder.chain, None, &fact)],
        }
    }

    /// Whether a registry is adopted before the next block. One that adds contracts to a log with blocks
    /// waits until those blocks have their events; one that was replaced does not come back by itself.
    async fn adopts_at_once(&self, version: &str, bytes: &[u8]) -> Result<bool, IndexError> {
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        let what = AdoptedWhat::Registry;
        let hash = digest(bytes);
        let Some(newest) = key::adopted_as_of(store, chain, what, NEWEST).await? else {
            return Ok(true);
        };
        if newest.hash == hash {
            return Ok(false);
        }
        if key::was_adopted(store, chain, what, &hash).await? {
            tracing::warn!(
                set = version,
                adopted = newest.version,
                "the registry that is set was replaced in this log: the newer one stays"
            );
            return Ok(false);
        }
        if self.standing().await?.tip.is_none() {
            return Ok(true);
        }
        // What is still being supplemented is not there yet, whoever asked for it.
        let completed = self.history().await?.completed();
        let listed = watched::announcer(bytes)?;
        let mut added: Vec<_> =
            listed.listed().filter(|contract| !completed.contains(contract)).collect();
        if added.is_empty() {
            added = self.lacking_children(bytes).await?;
        }
        if added.is_empty() {
            return Ok(true);
        }
        let request = request(added, Some((version.to_owned(), bytes.to_vec())));
        watch::request(store, chain, &request).await?;
        Ok(false)
    }

    pub(super) async fn history(&self) -> Result<Watched, IndexError> {
        Watched::load(&self.follower.store, &self.encoder.chain).await
    }

    async fn widened(&self, widening: &Widening) -> Result<WatchWidened, IndexError> {
        watched::widened(&self.follower.store, &self.encoder.chain, widening).await
    }

    /// Takes the oldest unfinished widening one stretch on; whether there was one to take on.
    pub(super) async fn widen(&mut self, leader: &Leader) -> Result<bool, IndexError> {
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        if !watch::is_pending(store, chain).await? {
            return Ok(false);
        }
        let pending = watch::all(store, chain)
            .await?
            .into_iter()
            .find(|known| known.widening.is_none_or(|widening| widening.completed.is_none()));
        let Some(Watch { request, widening }) = pending else {
            return Ok(false);
        };
        match widening {
            None => self.begin(&request).await,
            Some(widening) if widening.next <= widening.last => {
                self.supplement(leader, &request, widening).await
            }
            Some(widening) => self.complete(&request, widening).await,
        }
    }

    /// Says once that a widening waits for nodes, which a stream is no substitute for.
    pub(super) fn tell_of_pending(&mut self) {
        if !self.told_pending {
            tracing::warn!(
                "a widening of the watched set waits: set OBSQRA_RPC_URL beside OBSQRA_DNA_URL"
            );
            self.told_pending = true;
        }
    }

    pub(super) async fn has_pending(&self) -> Result<bool, IndexError> {
        Ok(watch::is_pending(&self.follower.store, &self.encoder.chain).await?)
    }

    /// The contracts join the watched set.
    async fn begin(&mut self, request: &WatchRequest) -> Result<bool, IndexError> {
        let Some(tip) = self.standing().await?.tip else {
            return Ok(false);
        };
        let completed = self.history().await?.completed();
        let contracts: Vec<_> = request
            .contracts
            .iter()
            .copied()
            .filter(|contract| !completed.contains(contract))
            .collect();
        let joining = self.joining_children(request, &contracts).await?;
        let first =
            children::first_lacking(&contracts, &joining).unwrap_or(tip.first).max(tip.first);
        let fact = WatchWidened { contracts, first, last: tip.number };
        let nothing = fact.contracts.is_empty();
        let drafts = vec![Draft::new(&self.encoder.chain, None, &Fact::WatchWidened(fact.clone()))];
        let mut tx = self.follower.store.begin().await?;
        let facts = if nothing { Vec::new() } else { vec![Keyed { key: Key::Plain, drafts }] };
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        let next = if nothing { tip.number.next() } else { first };
        let widening = Widening {
            first,
            last: tip.number,
            next,
            widened: outcome.after.seq,
            completed: None,
            blocks: 0,
            events: 0,
        };
        watch::save(&mut tx, &self.encoder.chain, &request.digest, &widening).await?;
        child_contract::save(&mut tx, &self.encoder.chain, &joining).await?;
        if !nothing {
            // Nothing vouches for the events of contracts that join: which blocks have some is the node's word.
            let (last, verdict) = (tip.number, AttestedAs::Unchecked);
            let range = AttestedRange { first, last, verdict };
            attested::cover(&mut tx, &self.encoder.chain, range).await?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        tracing::info!(
            contracts = fact.contracts.len(),
            first = first.0,
            last = tip.number.0,
            "the watched set is widened; blocks below are supplemented"
        );
        self.encoder.watching = self.history().await?.now();
        Ok(true)
    }

    /// Supplements the blocks of one range of heights.
    async fn supplement(
        &self,
        leader: &Leader,
        request: &WatchRequest,
        mut widening: Widening,
    ) -> Result<bool, IndexError> {
        let fact = self.widened(&widening).await?;
        let contracts: BTreeSet<_> = fact.contracts.iter().copied().collect();
        let to = BlockNumber(widening.last.0.min(widening.next.0.saturating_add(RANGE - 1)));
        let Some(wanted) = self.wanted(leader, &contracts, (&widening, to)).await? else {
            return Ok(false);
        };
        let options = &self.follower.options;
        let checking = self.checking(Watching::of(contracts.clone()));
        let lacking = self.encoder.watching.only(&contracts);
        for blocks in wanted.chunks(options.batch_blocks.max(1)) {
            let heights: Vec<_> = blocks.iter().map(|own| own.block.number).collect();
            let fetched = match fetch_some(leader, &heights, (&checking, options.fetch_ahead)).await
            {
                Ok(fetched) => fetched,
                Err(error) => {
                    self.note_trouble(&error).await?;
                    return Err(error.into());
                }
            };
            let mut supplements = Vec::new();
            for (own, checked) in blocks.iter().zip(&fetched) {
                let block = &checked.block;
                if block.hash != own.hash {
                    return Ok(false);
                }
                if block.events.is_empty() {
                    leader.blame();
                    return Err(self.contradicts(block));
                }
                // Those of a child may all lie before its creating event.
                let lacking = (&lacking, fact.digest());
                let encoded = self.encoder.supplement(block, own.block, lacking);
                supplements.extend(encoded.map(|encoded| (own, encoded)));
            }
            widening.next = heights.last().map_or(widening.next, |last| last.next());
            self.commit_supplements(request, &mut widening, supplements).await?;
        }
        widening.next = to.next();
        self.commit_supplements(request, &mut widening, Vec::new()).await?;
        tracing::info!(
            block = to.0,
            last = widening.last.0,
            supplemented = widening.blocks,
            "supplementing"
        );
        Ok(true)
    }

    /// The blocks of a range that lack events of the contracts; `None` where node and log are not of one
    /// mind about the range, which following the head finds out about.
    async fn wanted(
        &self,
        leader: &Leader,
        contracts: &BTreeSet<ContractAddress>,
        (widening, to): (&Widening, BlockNumber),
    ) -> Result<Option<Vec<AppliedBlock>>, IndexError> {
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        let own: BTreeMap<_, _> = key::canonical(store, chain, widening.next, to)
            .await?
            .into_iter()
            .map(|block| (block.block.number, block))
            .collect();
        let tip = self.standing().await?.tip.map(|tip| tip.number);
        let (Some(end), true) = (own.get(&to), tip >= Some(to)) else {
            return Ok(None);
        };
        let end = BlockId { number: to, hash: end.hash };
        let found = match leader.events_in_range(contracts, widening.next, end).await {
            Ok(found) => found,
            Err(SourceError::RangeMoved { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut wanted = Vec::new();
        for (number, hash) in found {
            match own.get(&number) {
                // Applied after the widening, it has the events.
                Some(block) if block.seq > widening.widened => {}
                Some(block) if block.hash == hash => wanted.push(*block),
                _ => return Ok(None),
            }
        }
        Ok(Some(wanted))
    }

    fn contradicts(&self, block: &SourceBlock) -> IndexError {
        IndexError::Source(SourceError::Unusable {
            node: self.node.clone(),
            what: format!("block {}", block.number),
            problem: "it lacks the events that starknet_getEvents names for it".to_owned(),
        })
    }

    async fn commit_supplements(
        &self,
        request: &WatchRequest,
        widening: &mut Widening,
        supplements: Vec<(&AppliedBlock, EncodedBlock)>,
    ) -> Result<(), IndexError> {
        let chain = &self.encoder.chain;
        let mut tx = self.follower.store.begin().await?;
        let places: Vec<_> =
            supplements.iter().map(|(own, encoded)| (own.block, encoded.events)).collect();
        let facts = supplements.into_iter().map(|(_, encoded)| encoded.entries).collect();
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        let mut seq = outcome.before.seq.next();
        for (block, events) in places {
            let watched_events =
                u32::try_from(events).map_err(|_| StoreError::Range("number of events"))?;
            let supplement = Supplement { seq, watched_events };
            watch::save_supplement(&mut tx, chain, (block, &request.digest), supplement).await?;
            seq = Seq(seq.0 + 1 + events);
            widening.blocks += 1;
            widening.events += events;
        }
        watch::save(&mut tx, chain, &request.digest, widening).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// Nothing is missing any more: says so, and adopts the registry that asked for it.
    async fn complete(
        &self,
        request: &WatchRequest,
        mut widening: Widening,
    ) -> Result<bool, IndexError> {
        let contracts = self.widened(&widening).await?;
        let mut facts = Vec::new();
        if !contracts.contracts.is_empty() {
            let fact = Fact::WatchCompleted(WatchCompleted {
                contracts: contracts.digest(),
                blocks: widening.blocks,
                events: widening.events,
            });
            let drafts = vec![Draft::new(&self.encoder.chain, None, &fact)];
            facts.push(Keyed { key: Key::Plain, drafts });
        }
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        if let Some((version, bytes)) = &request.registry
            && !key::was_adopted(store, chain, AdoptedWhat::Registry, &digest(bytes)).await?
        {
            let mut lacking = self.lacking_children(bytes).await?;
            // Those of this widening are complete from here on.
            lacking.retain(|child| !contracts.contracts.contains(child));
            if lacking.is_empty() {
                facts.push(self.adopted(AdoptedWhat::Registry, version, bytes));
            } else {
                // The request is there before this one is done: whoever is stopped in between makes it again.
                let next = self::request(lacking, request.registry.clone());
                watch::request(store, chain, &next).await?;
            }
        }
        let mut tx = self.follower.store.begin().await?;
        let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
        widening.completed = Some(outcome.after.seq.min(outcome.before.seq.next()));
        watch::save(&mut tx, &self.encoder.chain, &request.digest, &widening).await?;
        tx.commit().await.map_err(StoreError::from)?;
        tracing::info!(
            blocks = widening.blocks,
            events = widening.events,
            "the widening is complete"
        );
        Ok(true)
    }
}

/// A request for contracts in any order.
#[must_use]
pub fn request(
    mut contracts: Vec<ContractAddress>,
    registry: Option<(String, Vec<u8>)>,
) -> WatchRequest {
    contracts.sort_by_key(|contract| contract.0.to_bytes_be());
    contracts.dedup();
    let named = WatchWidened { contracts, first: BlockNumber(0), last: BlockNumber(0) };
    // Two registries may add the same contracts: they are two requests.
    let hash = match &registry {
        None => named.digest(),
        Some((_, bytes)) => {
            let hasher = Sha256::new().chain_update([3]).chain_update(named.digest().as_bytes());
            Hash32(hasher.chain_update(digest(bytes).as_bytes()).finalize().into())
        }
    };
    WatchRequest { digest: hash, contracts: named.contracts, registry }
}

fn digest(bytes: &[u8]) -> Hash32 {
    Hash32(Sha256::digest(bytes).into())
}
