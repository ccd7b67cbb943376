//! Loaders: the resolvers of one request that need the same kind of row share one statement.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader::Loader;
use obsqra_events::{Cause, Fact};
use obsqra_store::read::ProtocolAt;
use obsqra_store::read::market_metrics::{self, MarketState};
use obsqra_store::read::risk_score::{self, RiskState};
use obsqra_store::{Store, log};
use obsqra_types::{ChainId, Seq};

use crate::error::ApiError;

/// The markets of protocols as of blocks, as known at one position.
pub(crate) struct Markets {
    pub(crate) store: Store,
    pub(crate) chain: ChainId,
    pub(crate) known_at: Seq,
}

impl Loader<ProtocolAt> for Markets {
    type Value = Arc<Vec<MarketState>>;
    type Error = ApiError;

    async fn load(
        &self,
        keys: &[ProtocolAt],
    ) -> Result<HashMap<ProtocolAt, Self::Value>, ApiError> {
        let found = market_metrics::at(&self.store, &self.chain, self.known_at, keys).await?;
        Ok(found.into_iter().map(|(key, markets)| (key, Arc::new(markets))).collect())
    }
}

/// The risk of protocols as of blocks, as known at one position.
pub(crate) struct Risks {
    pub(crate) store: Store,
    pub(crate) chain: ChainId,
    pub(crate) known_at: Seq,
}

impl Loader<ProtocolAt> for Risks {
    type Value = Arc<RiskState>;
    type Error = ApiError;

    async fn load(
        &self,
        keys: &[ProtocolAt],
    ) -> Result<HashMap<ProtocolAt, Self::Value>, ApiError> {
        let found = risk_score::at(&self.store, &self.chain, self.known_at, keys).await?;
        Ok(found.into_iter().map(|(key, state)| (key, Arc::new(state))).collect())
    }
}

/// The causes that `risk.scored` entries name. Entries never change, so no position is needed.
pub(crate) struct Causes {
    pub(crate) store: Store,
}

impl Loader<Seq> for Causes {
    type Value = Arc<Vec<Cause>>;
    type Error = ApiError;

    async fn load(&self, keys: &[Seq]) -> Result<HashMap<Seq, Self::Value>, ApiError> {
        log::entries(&self.store, keys)
            .await?
            .into_iter()
            .map(|entry| {
                let seq = entry.seq;
                let fact = entry.draft.fact().map_err(|error| ApiError::entry(seq, error))?;
                let Fact::RiskScored(scored) = fact else {
                    return Err(ApiError::UnexpectedEntry { seq, expected: "risk score" });
                };
                Ok((seq, Arc::new(scored.causes.as_slice().to_vec())))
            })
            .collect()
    }
}
