//! Adopted registries, read from the log once and kept by the hash of their bytes.

use std::sync::{Arc, Mutex, PoisonError};

use obsqra_events::Fact;
use obsqra_protocols::Registry;
use obsqra_store::read::registry::{AdoptedRegistry, newest};
use obsqra_store::{Store, log};
use obsqra_types::{ChainId, Hash32, Seq};

use crate::error::ApiError;

/// The registry read last. One is enough: requests are pinned to the newest position or near it.
#[derive(Default)]
pub(crate) struct RegistryCache {
    last: Mutex<Option<(Hash32, Arc<Registry>)>>,
}

impl RegistryCache {
    /// The newest registry adopted at or before a position; `None` when there is none.
    pub(crate) async fn at(
        &self,
        store: &Store,
        chain: &ChainId,
        known_at: Seq,
    ) -> Result<Option<Arc<Registry>>, ApiError> {
        let Some(adopted) = newest(store, chain, known_at).await? else {
            return Ok(None);
        };
        if let Some(registry) = self.kept(&adopted.hash) {
            return Ok(Some(registry));
        }
        let registry = Arc::new(read(store, adopted).await?);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((adopted.hash, Arc::clone(&registry)));
        Ok(Some(registry))
    }

    fn kept(&self, hash: &Hash32) -> Option<Arc<Registry>> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().filter(|(kept, _)| kept == hash).map(|(_, registry)| Arc::clone(registry))
    }
}

async fn read(store: &Store, adopted: AdoptedRegistry) -> Result<Registry, ApiError> {
    let seq = adopted.seq;
    let unexpected = ApiError::UnexpectedEntry { seq, expected: "adopted registry" };
    let Some(entry) = log::entry(store, seq).await? else {
        return Err(unexpected);
    };
    match entry.draft.fact().map_err(|error| ApiError::entry(seq, error))? {
        Fact::Adopted(fact) => Registry::parse(&fact.bytes)
            .map_err(|source| ApiError::Registry { seq, source: Arc::new(source) }),
        _ => Err(unexpected),
    }
}
