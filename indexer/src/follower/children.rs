//! Children that the log tells of: rows that are missing, and events that are, for a registry that comes later.

use obsqra_store::child_contract::{self, ChildContract};
use obsqra_store::watch::WatchRequest;
use obsqra_store::{StoreError, chain_tip, log};
use obsqra_types::{BlockNumber, ContractAddress, Seq};

use super::Session;
use crate::IndexError;
use crate::children;
use crate::watched::{self, NEWEST};

impl Session<'_> {
    /// Begins to follow children where that is new, and makes their rows anew where some are missing.
    pub(super) async fn whole_children(&self) -> Result<(), IndexError> {
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        let following = child_contract::following(store, chain).await?;
        if following.is_some_and(|following| following.is_whole) {
            return Ok(());
        }
        let children = match following {
            Some(following) => {
                tracing::info!(
                    "which contracts were created by factories is read from the log again"
                );
                let watched = self.history().await?;
                Some(children::from_log((store, chain), &watched, following.after).await?)
            }
            None => None,
        };
        let is_new = chain_tip::load(store, chain).await?.is_none();
        let mut tx = store.begin().await?;
        let head = log::append(&mut tx, self.lease.fence(), Vec::new()).await?.after.seq;
        match children {
            Some(children) => child_contract::replace(&mut tx, chain, &children).await?,
            // Blocks that were applied by a program that did not follow children lack their events.
            None => {
                let after = if is_new { Seq::BEFORE_FIRST } else { head };
                child_contract::begin_following(&mut tx, chain, after).await?;
            }
        }
        tx.commit().await.map_err(StoreError::from)?;
        Ok(())
    }

    /// The children that the log tells of to those who know a registry, and of which it lacks events.
    pub(super) async fn lacking_children(
        &self,
        registry: &[u8],
    ) -> Result<Vec<ContractAddress>, IndexError> {
        let place = (&self.follower.store, &self.encoder.chain);
        let announced = children::announced(place, &[watched::announcer(registry)?]).await?;
        let completed = self.history().await?.completed();
        Ok(announced.into_keys().filter(|child| !completed.contains(child)).collect())
    }

    /// Those of the contracts that the log says a factory created: they join from their creating events on.
    pub(super) async fn joining_children(
        &self,
        request: &WatchRequest,
        contracts: &[ContractAddress],
    ) -> Result<Vec<ChildContract>, IndexError> {
        if contracts.is_empty() {
            return Ok(Vec::new());
        }
        let mut announcers = self.history().await?.announcers(NEWEST);
        if let Some((_, bytes)) = &request.registry {
            announcers.push(watched::announcer(bytes)?);
        }
        let place = (&self.follower.store, &self.encoder.chain);
        let announced = children::announced(place, &announcers).await?;
        Ok(contracts.iter().filter_map(|contract| announced.get(contract).copied()).collect())
    }
}

/// The lowest block that lacks events; `None` where it may be any.
pub(super) fn first_lacking(
    contracts: &[ContractAddress],
    children: &[ChildContract],
) -> Option<BlockNumber> {
    if children.len() < contracts.len() {
        return None;
    }
    children.iter().map(|child| child.block).min()
}
