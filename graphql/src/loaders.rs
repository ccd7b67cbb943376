//! Loaders: what the items of one list need is read with one statement, when the first item asks.
//!
//! The items of a list share a batch of all their keys. There is no waiting for more keys to come, so
//! the number of statements of a request does not depend on how its resolvers are scheduled.

use std::collections::BTreeMap;
use std::sync::Arc;

use obsqra_events::{Cause, Fact};
use obsqra_store::read::ProtocolAt;
use obsqra_store::read::market_metrics::{self, MarketState};
use obsqra_store::read::risk_score::{self, RiskState};
use obsqra_store::{Store, log};
use obsqra_types::Seq;
use tokio::sync::OnceCell;

use crate::context::{Pinned, Shared};
use crate::error::ApiError;

/// The values of some keys, read once for all of them.
struct Batch<Key, Value> {
    keys: Vec<Key>,
    // A failure is kept as well: a page of items does not ask a failing database once each.
    found: OnceCell<Result<BTreeMap<Key, Value>, ApiError>>,
}

impl<Key: Ord, Value: Clone> Batch<Key, Value> {
    fn new(keys: Vec<Key>) -> Self {
        Self { keys, found: OnceCell::new() }
    }

    /// The value of a key. `load` reads the values of all keys; it runs for the first call alone.
    async fn get(
        &self,
        key: &Key,
        load: impl Future<Output = Result<BTreeMap<Key, Value>, ApiError>>,
    ) -> Result<Option<Value>, ApiError> {
        match self.found.get_or_init(|| load).await {
            Ok(values) => Ok(values.get(key).cloned()),
            Err(error) => Err(error.clone()),
        }
    }
}

/// The markets and the risk of the protocols of one list.
pub(crate) struct ProtocolStates {
    markets: Batch<ProtocolAt, Arc<Vec<MarketState>>>,
    risks: Batch<ProtocolAt, Risk>,
}

/// A protocol's risk, with the causes of all scores that were read together.
#[derive(Clone)]
pub(crate) struct Risk {
    pub(crate) state: Arc<RiskState>,
    pub(crate) causes: Arc<EntryCauses>,
}

impl ProtocolStates {
    pub(crate) fn new(keys: Vec<ProtocolAt>) -> Arc<Self> {
        Arc::new(Self { markets: Batch::new(keys.clone()), risks: Batch::new(keys) })
    }

    pub(crate) async fn markets(
        &self,
        shared: &Shared,
        pinned: &Pinned,
        key: &ProtocolAt,
    ) -> Result<Arc<Vec<MarketState>>, ApiError> {
        let known_at = pinned.position.seq;
        let load = async {
            let keys = &self.markets.keys;
            let found = market_metrics::at(&shared.store, &shared.chain, known_at, keys).await?;
            Ok(found.into_iter().map(|(key, markets)| (key, Arc::new(markets))).collect())
        };
        Ok(self.markets.get(key, load).await?.unwrap_or_default())
    }

    /// `None` where nothing is known.
    pub(crate) async fn risk(
        &self,
        shared: &Shared,
        pinned: &Pinned,
        key: &ProtocolAt,
    ) -> Result<Option<Risk>, ApiError> {
        let known_at = pinned.position.seq;
        let load = async {
            let keys = &self.risks.keys;
            let found = risk_score::at(&shared.store, &shared.chain, known_at, keys).await?;
            let causes = EntryCauses::new(found.values().filter_map(entry).collect());
            let risk = |state| Risk { state: Arc::new(state), causes: Arc::clone(&causes) };
            Ok(found.into_iter().map(|(key, state)| (key, risk(state))).collect())
        };
        self.risks.get(key, load).await
    }
}

fn entry(state: &RiskState) -> Option<Seq> {
    match state {
        RiskState::Scored(score) => Some(score.entry),
        RiskState::Absent(_) => None,
    }
}

/// The facts that the entries of one list state. Entries never change, so no position is needed.
pub(crate) struct EntryFacts(Batch<Seq, Arc<Fact>>);

impl EntryFacts {
    pub(crate) fn new(entries: Vec<Seq>) -> Arc<Self> {
        Arc::new(Self(Batch::new(entries)))
    }

    pub(crate) async fn of(&self, store: &Store, seq: Seq) -> Result<Arc<Fact>, ApiError> {
        let load = read_facts(store, &self.0.keys);
        let found = self.0.get(&seq, load).await?;
        found.ok_or(ApiError::UnexpectedEntry { seq, expected: "derived fact" })
    }
}

/// The causes that the derived facts of one list name.
pub(crate) struct EntryCauses(Arc<EntryFacts>);

impl EntryCauses {
    pub(crate) fn new(entries: Vec<Seq>) -> Arc<Self> {
        Arc::new(Self(EntryFacts::new(entries)))
    }

    pub(crate) async fn of(&self, store: &Store, seq: Seq) -> Result<Vec<Cause>, ApiError> {
        let fact = self.0.of(store, seq).await?;
        let causes = fact.causes();
        let causes = causes.ok_or(ApiError::UnexpectedEntry { seq, expected: "derived fact" })?;
        Ok(causes.as_slice().to_vec())
    }
}

async fn read_facts(store: &Store, entries: &[Seq]) -> Result<BTreeMap<Seq, Arc<Fact>>, ApiError> {
    log::entries(store, entries)
        .await?
        .into_iter()
        .map(|entry| {
            let fact = entry.draft.fact().map_err(|error| ApiError::entry(entry.seq, error))?;
            Ok((entry.seq, Arc::new(fact)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_batch_is_read_once_and_so_is_its_failure() {
        let reads = AtomicUsize::new(0);
        let found = |value: Result<BTreeMap<u8, char>, ApiError>| {
            let reads = &reads;
            async move {
                reads.fetch_add(1, Ordering::Relaxed);
                value
            }
        };
        let batch = Batch::new(vec![1, 2]);
        let values = || Ok(BTreeMap::from([(1, 'a')]));
        let both = futures::join!(batch.get(&1, found(values())), batch.get(&2, found(values())));
        assert_eq!((both.0.unwrap(), both.1.unwrap()), (Some('a'), None));
        assert_eq!(reads.load(Ordering::Relaxed), 1);

        let batch: Batch<u8, char> = Batch::new(vec![1]);
        for _ in 0..2 {
            assert!(batch.get(&1, found(Err(ApiError::Range("value")))).await.is_err());
        }
        assert_eq!(reads.load(Ordering::Relaxed), 2);
    }
}
