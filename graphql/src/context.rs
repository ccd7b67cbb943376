//! What one request carries: the position it is pinned to, and the position to answer with.

use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, Response, value};
use obsqra_protocols::Registry;
use obsqra_store::read::{Position, position};
use obsqra_store::{Store, StoreError};
use obsqra_types::{BlockNumber, ChainId, ProtocolId, Seq};
use tokio::sync::{OnceCell, watch};

use crate::error::ApiError;
use crate::registry::RegistryCache;

/// What all requests of a server share.
pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) chain: ChainId,
    pub(crate) registries: RegistryCache,
    /// The newest position, for subscriptions; it changes when the read models advance. The sender
    /// stands here so that no subscription completes because the server stops: its connection is
    /// closed instead, which tells the client to come back.
    pub(crate) live: watch::Sender<Option<Position>>,
}

/// What a request reads from: fixed at its start.
pub(crate) struct Pinned {
    pub(crate) position: Position,
    registry: OnceCell<Arc<Registry>>,
}

/// The context of one request.
pub(crate) struct RequestContext {
    pub(crate) shared: Arc<Shared>,
    // Kept as it came: introspection answers without a database, and only a resolver that needs the
    // position fails for want of one.
    pinned: Result<Option<Pinned>, Arc<StoreError>>,
    answered_at: Mutex<Option<Position>>,
}

impl RequestContext {
    /// Pins a request to the position of the read models now.
    pub(crate) async fn pin(shared: Arc<Shared>) -> Arc<Self> {
        let position = position::load(&shared.store, &shared.chain).await.map_err(Arc::new);
        let answered_at = Mutex::new(position.as_ref().ok().copied().flatten());
        let pinned = position
            .map(|found| found.map(|position| Pinned { position, registry: OnceCell::new() }));
        Arc::new(Self { shared, pinned, answered_at })
    }

    /// The request's context.
    pub(crate) fn of<'a>(ctx: &Context<'a>) -> Result<&'a Arc<Self>, ApiError> {
        ctx.data_opt::<Arc<Self>>().ok_or(ApiError::NoContext)
    }

    /// What the request is pinned to.
    pub(crate) fn pinned(&self) -> Result<&Pinned, ApiError> {
        match &self.pinned {
            Ok(Some(pinned)) => Ok(pinned),
            Ok(None) => Err(ApiError::NotReady),
            Err(error) => Err(ApiError::Store(Arc::clone(error))),
        }
    }

    /// The registry that stands at the pinned position.
    pub(crate) async fn registry(&self) -> Result<Arc<Registry>, ApiError> {
        let pinned = self.pinned()?;
        let load = || self.registry_at(pinned.position.seq);
        pinned.registry.get_or_try_init(load).await.map(Arc::clone)
    }

    async fn registry_at(&self, known_at: Seq) -> Result<Arc<Registry>, ApiError> {
        let Shared { store, chain, registries, .. } = self.shared.as_ref();
        registries.at(store, chain, known_at).await?.ok_or(ApiError::NotReady)
    }

    /// A protocol that an argument names and the registry holds.
    pub(crate) async fn known_protocol(
        &self,
        argument: &'static str,
        text: &str,
    ) -> Result<ProtocolId, ApiError> {
        let registry = self.registry().await?;
        let known = ProtocolId::new(text).ok().filter(|id| registry.protocol(id).is_some());
        known.ok_or_else(|| {
            let ids: Vec<&str> = registry.protocols().map(|entry| entry.id.as_str()).collect();
            let problem = format!("no protocol `{text}`; there are {}", ids.join(", "));
            ApiError::bad_input(argument, problem)
        })
    }

    /// Notes the position that a subscription's next message is read at.
    pub(crate) fn note_position(&self, position: Position) {
        *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(position);
    }

    /// Adds the position to a response.
    pub(crate) fn sign(&self, response: &mut Response) {
        let position = *self.answered_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = position {
            let shown = value!({
                "seq": position.seq.to_string(),
                "blockNumber": position.block.0,
                "blockHash": position.hash.to_string(),
            });
            response.extensions.insert("position".to_owned(), shown);
        }
    }
}

impl Pinned {
    /// The block up to which a list goes; `None` where no argument names one: reverted blocks may stand above
    /// the newest.
    pub(crate) fn end(
        &self,
        argument: &'static str,
        number: Option<i32>,
    ) -> Result<Option<BlockNumber>, ApiError> {
        number.map(|number| self.block(argument, Some(number))).transpose()
    }

    /// The block at which state is read: the newest one unless an argument names an older.
    pub(crate) fn block(
        &self,
        argument: &'static str,
        number: Option<i32>,
    ) -> Result<BlockNumber, ApiError> {
        let newest = self.position.block;
        let Some(number) = number else {
            return Ok(newest);
        };
        let block = u64::try_from(number)
            .map(BlockNumber)
            .map_err(|_| ApiError::bad_input(argument, "a block number is not negative"))?;
        if block > newest {
            let problem = format!("block {block} is above the newest indexed block, {newest}");
            return Err(ApiError::bad_input(argument, problem));
        }
        Ok(block)
    }
}
