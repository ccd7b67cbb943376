//! What was adopted into the log: the registry and the policies that count at a position.

use std::sync::Arc;

use obsqra_events::{AdoptedWhat, Fact};
use obsqra_policy::Policies;
use obsqra_protocols::Registry;
use obsqra_store::{Store, key, log};
use obsqra_types::{ChainId, Seq};

use crate::WorkError;

/// The registry that counts at a position, and where it was adopted; `None` before the first.
///
/// # Errors
/// When the log cannot be read.
pub async fn registry(
    store: &Store,
    chain: &ChainId,
    at: Seq,
) -> Result<Option<(Arc<Registry>, Seq)>, WorkError> {
    let adopted = bytes(store, chain, AdoptedWhat::Registry, at).await?;
    adopted.map(|(bytes, seq)| Ok((registry_of(&bytes, seq)?, seq))).transpose()
}

/// The policy file that counts at a position, and where it was adopted; `None` before the first.
///
/// # Errors
/// When the log cannot be read.
pub(crate) async fn policies(
    store: &Store,
    chain: &ChainId,
    at: Seq,
) -> Result<Option<(Arc<Policies>, Seq)>, WorkError> {
    let adopted = bytes(store, chain, AdoptedWhat::Policy, at).await?;
    adopted.map(|(bytes, seq)| Ok((policies_of(&bytes, seq)?, seq))).transpose()
}

/// The bytes that were adopted last up to a position, and where.
async fn bytes(
    store: &Store,
    chain: &ChainId,
    what: AdoptedWhat,
    at: Seq,
) -> Result<Option<(Vec<u8>, Seq)>, WorkError> {
    let Some(adopted) = key::adopted_as_of(store, chain, what, at).await? else {
        return Ok(None);
    };
    let seq = adopted.seq;
    let entry = log::entry(store, seq)
        .await?
        .ok_or_else(|| WorkError::log(seq, "what was adopted is missing".into()))?;
    match entry.draft.fact().map_err(|source| WorkError::Entry { seq, source })? {
        Fact::Adopted(adopted) => Ok(Some((adopted.bytes, seq))),
        _ => Err(WorkError::log(seq, "not what was adopted".into())),
    }
}

/// The registry of an entry.
pub(crate) fn registry_of(bytes: &[u8], seq: Seq) -> Result<Arc<Registry>, WorkError> {
    Registry::parse(bytes).map(Arc::new).map_err(|source| WorkError::Registry { seq, source })
}

/// The policies of an entry.
pub(crate) fn policies_of(bytes: &[u8], seq: Seq) -> Result<Arc<Policies>, WorkError> {
    Policies::parse(bytes).map(Arc::new).map_err(|source| WorkError::Policies { seq, source })
}
