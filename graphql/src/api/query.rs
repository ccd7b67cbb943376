//! Queries.

use async_graphql::connection::{Connection, Edge};
use async_graphql::{Context, Object, OutputType};
use chrono::{DateTime, Utc};
use obsqra_protocols::ProtocolEntry;
use obsqra_store::read::risk_score::{self, HistoryFilter};
use obsqra_store::read::{Direction, Page, PageRequest, ProtocolAt, event};
use obsqra_types::{ProtocolId, Seq};

use super::arguments::{EventFilter, Paging, page_cost};
use super::types::{Event, Head, PageCursor, Protocol, RiskScore};
use crate::context::RequestContext;
use crate::error::ApiError;

/// The part of the root of queries that is about the chain, its protocols and their events.
#[derive(Default)]
pub(crate) struct Readings;

type Scores = Connection<PageCursor, RiskScore>;
type Events = Connection<PageCursor, Event>;

#[Object]
impl Readings {
    /// The newest block that the read models hold. Error `NOT_READY` before the first one.
    async fn head(&self, ctx: &Context<'_>) -> Result<Head, ApiError> {
        let context = RequestContext::of(ctx)?;
        Head::new(context.pinned()?.position, &context.shared.chain)
    }

    /// All protocols of the adopted registry, by key, as of the newest block.
    async fn protocols(&self, ctx: &Context<'_>) -> Result<Vec<Protocol>, ApiError> {
        let context = RequestContext::of(ctx)?;
        let block = context.pinned()?.position.block;
        let registry = context.registry().await?;
        let named = |entry: &ProtocolEntry| {
            (ProtocolAt { protocol: entry.id.clone(), block }, entry.name.clone())
        };
        Ok(Protocol::list(registry.protocols().map(named).collect()))
    }

    /// One protocol; null where the registry has none of this key.
    async fn protocol(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Key of the protocol, such as `zklend`.")] id: String,
        #[graphql(
            desc = "Height of the block as of whose end to answer, by what is known now; the newest \
                          block by default."
        )]
        at_block: Option<i32>,
    ) -> Result<Option<Protocol>, ApiError> {
        let context = RequestContext::of(ctx)?;
        let block = context.pinned()?.block("atBlock", at_block)?;
        let protocol =
            ProtocolId::new(id).map_err(|error| ApiError::bad_input("id", error.to_string()))?;
        let registry = context.registry().await?;
        let Some(entry) = registry.protocol(&protocol) else {
            return Ok(None);
        };
        let named = (ProtocolAt { protocol, block }, entry.name.clone());
        Ok(Protocol::list(vec![named]).pop())
    }

    /// The risk scores of a protocol, oldest first, one for each block at which its inputs changed.
    /// Blocks at which the score is absent have none.
    #[graphql(complexity = "page_cost(first, last) + child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "they are the arguments of a GraphQL field")]
    async fn risk_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Key of the protocol, such as `zklend`.")] protocol: String,
        #[graphql(desc = "Only scores whose block's timestamp is at or after this instant.")]
        from: Option<DateTime<Utc>>,
        #[graphql(desc = "Only scores whose block's timestamp is before this instant.")] to: Option<
            DateTime<Utc>,
        >,
        #[graphql(desc = "The oldest rows of the range: 1 to 100, 20 by default.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only rows after the one with this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest rows of the range instead: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before the one with this cursor.")] before: Option<String>,
    ) -> Result<Scores, ApiError> {
        let context = RequestContext::of(ctx)?;
        let request = Paging { first, after, last, before }.request()?;
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(ApiError::bad_input("to", "the range is empty: `to` is not after `from`"));
        }
        let protocol = context.known_protocol("protocol", &protocol).await?;
        let filter = HistoryFilter { protocol: Some(protocol), from, to };
        let known_at = context.pinned()?.position.seq;
        let shared = &context.shared;
        let page =
            risk_score::history(&shared.store, &shared.chain, known_at, &filter, &request).await?;
        let scores = Page { rows: RiskScore::list(page.rows), more: page.more };
        Ok(connection(&request, scores, RiskScore::entry))
    }

    /// The events of watched contracts in canonical blocks, oldest first.
    #[graphql(complexity = "page_cost(first, None) + child_complexity")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which events to return; all by default.")] filter: Option<EventFilter>,
        #[graphql(desc = "How many rows: 1 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only rows after the one with this cursor.")] after: Option<String>,
    ) -> Result<Events, ApiError> {
        let context = RequestContext::of(ctx)?;
        let request = Paging { first, after, last: None, before: None }.request()?;
        let filter = filter.map(EventFilter::checked).transpose()?.unwrap_or_default();
        let known_at = context.pinned()?.position.seq;
        let shared = &context.shared;
        let page = event::list(&shared.store, &shared.chain, known_at, &filter, &request).await?;
        let events = Page { rows: page.rows.into_iter().map(Event).collect(), more: page.more };
        Ok(connection(&request, events, Event::entry))
    }
}

/// A page as a connection. That rows lie on the other side of the page is told by the cursor that
/// it was asked to begin at, which names such a row.
pub(super) fn connection<Node: OutputType>(
    request: &PageRequest,
    page: Page<Node>,
    entry: impl Fn(&Node) -> Seq,
) -> Connection<PageCursor, Node> {
    let (previous, next) = match request.direction {
        Direction::Forward => (request.after.is_some(), page.more),
        Direction::Backward => (page.more, request.before.is_some()),
    };
    let mut connection = Connection::new(previous, next);
    let edge = |node: Node| Edge::new(PageCursor(entry(&node)), node);
    connection.edges = page.rows.into_iter().map(edge).collect();
    connection
}
