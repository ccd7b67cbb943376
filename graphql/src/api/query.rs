//! Queries.

use async_graphql::connection::{Connection, CursorType, Edge};
use async_graphql::{Context, Object, OutputType};
use chrono::{DateTime, Utc};
use obsqra_protocols::ProtocolEntry;
use obsqra_store::read::risk_score::{self, HistoryFilter};
use obsqra_store::read::{Direction, Page, PageRequest, ProtocolAt, activity, event, privacy_pool};
use obsqra_types::{BlockNumber, ProtocolId};

use super::arguments::{EventFilter, Paging, address, height, optional_address, page_cost};
use super::types::{
    Activity, ActivityKind, BlockPageCursor, Event, Head, PageCursor, PrivacyPool, Protocol,
    RiskScore,
};
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::limits::POOLS_COST;

/// The part of the root of queries that is about the chain, its protocols and their events.
#[derive(Default)]
pub(crate) struct Readings;

type Scores = Connection<PageCursor, RiskScore>;
type Events = Connection<PageCursor, Event>;
type Activities = Connection<BlockPageCursor, Activity>;
type Pools = Connection<BlockPageCursor, PrivacyPool>;

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
        Ok(connection(&request, scores, |score| PageCursor(score.entry())))
    }

    /// The events of watched contracts in canonical blocks, oldest first.
    #[graphql(complexity = "page_cost(first, None) + child_complexity")]
    async fn events(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which events to return; all by default.")] filter: Option<EventFilter>,
        #[graphql(desc = "How many rows: 1 to 100, 20 by default.")] first: Option<i32>,
        #[graphql(desc = "Only rows after the one with this cursor.")] after: Option<String>,
        #[graphql(
            desc = "Only events of this block (height) and earlier ones: the list as of its \
                          end, by what is known now."
        )]
        at_block: Option<i32>,
    ) -> Result<Events, ApiError> {
        let context = RequestContext::of(ctx)?;
        let request = Paging { first, after, last: None, before: None }.request()?;
        let mut filter = filter.map(EventFilter::checked).transpose()?.unwrap_or_default();
        let pinned = context.pinned()?;
        filter.to_block = lower(filter.to_block, pinned.end("atBlock", at_block)?);
        let known_at = pinned.position.seq;
        let shared = &context.shared;
        let page = event::list(&shared.store, &shared.chain, known_at, &filter, &request).await?;
        let events = Page { rows: page.rows.into_iter().map(Event).collect(), more: page.more };
        Ok(connection(&request, events, |event| PageCursor(event.entry())))
    }

    /// What wallets did, oldest first, one row for each thing that an event says. In block order; what the
    /// log gained of a block later comes after the rest of that block. With `last` and `before` it is read
    /// from the newest.
    #[graphql(complexity = "page_cost(first, last) + child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "they are the arguments of a GraphQL field")]
    async fn activity(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only what this account did: a felt in hex.")] wallet: Option<String>,
        #[graphql(desc = "Only in this protocol: its key, such as `zklend`.")] protocol: Option<
            String,
        >,
        #[graphql(desc = "Only these kinds; all by default.")] kinds: Option<Vec<ActivityKind>>,
        #[graphql(desc = "Only in this block and later ones (height).")] from_block: Option<i32>,
        #[graphql(desc = "Only in this block and earlier ones (height, inclusive).")]
        to_block: Option<i32>,
        #[graphql(
            desc = "Only in this block (height) and earlier ones: the list as of its end, by \
                          what is known now."
        )]
        at_block: Option<i32>,
        #[graphql(desc = "The oldest rows of the range: 1 to 100, 20 by default.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only rows after the one with this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest rows of the range instead: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before the one with this cursor.")] before: Option<String>,
        #[graphql(desc = "Whether to return what was in blocks that were reverted as well, with \
                          status `RETRACTED`; false by default.")]
        include_retracted: Option<bool>,
    ) -> Result<Activities, ApiError> {
        let context = RequestContext::of(ctx)?;
        let request = Paging { first, after, last, before }.block_request()?;
        let pinned = context.pinned()?;
        let as_of = pinned.end("atBlock", at_block)?;
        let protocol = match protocol {
            Some(text) => Some(context.known_protocol("protocol", &text).await?),
            None => None,
        };
        let filter = activity::ActivityFilter {
            wallet: optional_address("wallet", wallet.as_deref())?,
            protocol,
            kinds: kinds.map(ActivityKind::names),
            from_block: height("fromBlock", from_block)?,
            to_block: lower(height("toBlock", to_block)?, as_of),
            include_retracted: include_retracted == Some(true),
        };
        let shared = &context.shared;
        let known_at = pinned.position.seq;
        let page =
            activity::list(&shared.store, &shared.chain, known_at, &filter, &request).await?;
        let rows = page.rows.into_iter().map(Activity).collect();
        let activities = Page { rows, more: page.more };
        Ok(connection(&request, activities, |activity| BlockPageCursor(activity.cursor())))
    }

    /// What went through the chambers of privacy pools up to a block, by chamber, token and decade of
    /// amounts.
    #[graphql(complexity = "POOLS_COST + child_complexity")]
    async fn privacy_pools(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only of this chamber: a felt in hex.")] chamber: Option<String>,
        #[graphql(desc = "Only of this token: its contract, a felt in hex.")] token: Option<String>,
        #[graphql(
            desc = "Height of the block as of whose end to answer, by what is known now; the newest \
                    block by default."
        )]
        at_block: Option<i32>,
    ) -> Result<Vec<PrivacyPool>, ApiError> {
        let context = RequestContext::of(ctx)?;
        let pinned = context.pinned()?;
        let as_of = (pinned.position.seq, pinned.block("atBlock", at_block)?);
        let filter = privacy_pool::PoolFilter {
            chamber: optional_address("chamber", chamber.as_deref())?,
            token: optional_address("token", token.as_deref())?,
        };
        let shared = &context.shared;
        let pools = privacy_pool::at(&shared.store, &shared.chain, as_of, &filter).await?;
        Ok(pools.into_iter().map(PrivacyPool).collect())
    }

    /// How the sums of a privacy pool changed, oldest first: one row for each block and decade of amounts
    /// with a transfer, with the sums from there on.
    #[graphql(complexity = "page_cost(first, last) + child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "they are the arguments of a GraphQL field")]
    async fn privacy_pool_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The chamber: a felt in hex.")] chamber: String,
        #[graphql(desc = "The token: its contract, a felt in hex.")] token: String,
        #[graphql(desc = "Only this decade of amounts: 0 to 77; all by default.")] bucket: Option<
            i32,
        >,
        #[graphql(
            desc = "Only changes of this block (height) and earlier ones; the newest block \
                          by default."
        )]
        at_block: Option<i32>,
        #[graphql(desc = "The oldest rows of the range: 1 to 100, 20 by default.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only rows after the one with this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest rows of the range instead: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before the one with this cursor.")] before: Option<String>,
    ) -> Result<Pools, ApiError> {
        let context = RequestContext::of(ctx)?;
        let request = Paging { first, after, last, before }.block_request()?;
        let pinned = context.pinned()?;
        let of = privacy_pool::PoolHistory {
            chamber: address("chamber", &chamber)?,
            token: address("token", &token)?,
            bucket: bucket.map(PrivacyPool::bucket_argument).transpose()?,
            to_block: pinned.block("atBlock", at_block)?,
        };
        let shared = &context.shared;
        let known_at = pinned.position.seq;
        let page =
            privacy_pool::history(&shared.store, &shared.chain, known_at, &of, &request).await?;
        let rows = page.rows.into_iter().map(PrivacyPool).collect();
        let pools = Page { rows, more: page.more };
        Ok(connection(&request, pools, |pool| BlockPageCursor(pool.cursor())))
    }
}

/// The lower of two ends of a range, where there are any.
fn lower(one: Option<BlockNumber>, other: Option<BlockNumber>) -> Option<BlockNumber> {
    one.into_iter().chain(other).min()
}

/// A page as a connection. That rows lie on the other side of the page is told by the cursor that
/// it was asked to begin at, which names such a row.
pub(super) fn connection<At, Node: OutputType, EdgeCursor: CursorType + Send + Sync>(
    request: &PageRequest<At>,
    page: Page<Node>,
    cursor: impl Fn(&Node) -> EdgeCursor,
) -> Connection<EdgeCursor, Node> {
    let (previous, next) = match request.direction {
        Direction::Forward => (request.after.is_some(), page.more),
        Direction::Backward => (page.more, request.before.is_some()),
    };
    let mut connection = Connection::new(previous, next);
    let edge = |node: Node| Edge::new(cursor(&node), node);
    connection.edges = page.rows.into_iter().map(edge).collect();
    connection
}
