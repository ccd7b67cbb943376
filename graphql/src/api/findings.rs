//! Queries of what was derived: anomalies and allocations.

use async_graphql::connection::Connection;
use async_graphql::{Context, Object};
use obsqra_store::read::anomaly::AnomalyFilter;
use obsqra_store::read::{Page, allocation, anomaly};
use obsqra_types::BlockNumber;

use super::arguments::{Paging, page_cost};
use super::query::connection;
use super::types::{Allocation, Anomaly, PageCursor, Severity};
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::limits::MARKETS_COST;

/// The part of the root of queries that is about derived facts.
#[derive(Default)]
pub(crate) struct Findings;

type Anomalies = Connection<PageCursor, Anomaly>;
type Allocations = Connection<PageCursor, Allocation>;

#[Object]
impl Findings {
    /// The anomalies that were found, oldest first. What is `open` lasts still as of the block asked for.
    #[graphql(complexity = "page_cost(first, last) + child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "they are the arguments of a GraphQL field")]
    async fn anomalies(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Key of a protocol, such as `zklend`; all by default.")] protocol: Option<
            String,
        >,
        #[graphql(desc = "Name of a rule, such as `accumulator_jump`; all by default.")]
        rule: Option<String>,
        #[graphql(desc = "Severities; all by default.")] severities: Option<Vec<Severity>>,
        #[graphql(desc = "Only those that last and are not over.", default)] only_open: bool,
        #[graphql(desc = "Only those found as of this block or a later one (height).")]
        from_block: Option<i32>,
        #[graphql(
            desc = "Height of the block as of whose end to answer, by what is known now; the newest \
                          block by default."
        )]
        at_block: Option<i32>,
        #[graphql(desc = "The oldest rows of the range: 1 to 100, 20 by default.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only rows after the one with this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest rows of the range instead: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before the one with this cursor.")] before: Option<String>,
    ) -> Result<Anomalies, ApiError> {
        let context = RequestContext::of(ctx)?;
        let request = Paging { first, after, last, before }.request()?;
        let pinned = context.pinned()?;
        let protocol = match protocol {
            Some(text) => Some(context.known_protocol("protocol", &text).await?),
            None => None,
        };
        let filter = AnomalyFilter {
            protocol,
            rule,
            severities: severities
                .map(|list| list.into_iter().map(|one| one.name().to_owned()).collect()),
            only_open,
            from_block: match from_block {
                Some(_) => pinned.block("fromBlock", from_block)?,
                None => BlockNumber(0),
            },
            to_block: pinned.block("atBlock", at_block)?,
        };
        let (shared, known_at) = (&context.shared, pinned.position.seq);
        let page = anomaly::list(&shared.store, &shared.chain, known_at, &filter, &request).await?;
        let anomalies = Page { rows: Anomaly::list(page.rows), more: page.more };
        Ok(connection(&request, anomalies, |anomaly| PageCursor(anomaly.entry())))
    }

    /// What every adopted policy allocates as of a block, by policy.
    #[graphql(complexity = "MARKETS_COST + child_complexity")]
    async fn allocations(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Height of the block as of whose end to answer, by what is known now; the newest \
                          block by default."
        )]
        at_block: Option<i32>,
    ) -> Result<Vec<Allocation>, ApiError> {
        let context = RequestContext::of(ctx)?;
        let pinned = context.pinned()?;
        let block = pinned.block("atBlock", at_block)?;
        let (shared, known_at) = (&context.shared, pinned.position.seq);
        let found = allocation::at(&shared.store, &shared.chain, known_at, block).await?;
        Ok(Allocation::list(found))
    }

    /// The snapshots of a policy, oldest first.
    #[graphql(complexity = "page_cost(first, last) + child_complexity")]
    #[allow(clippy::too_many_arguments, reason = "they are the arguments of a GraphQL field")]
    async fn allocation_history(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Name of the policy, such as `balanced`.")] policy: String,
        #[graphql(
            desc = "Height of the block as of whose end to answer, by what is known now; the newest \
                          block by default."
        )]
        at_block: Option<i32>,
        #[graphql(desc = "The oldest rows of the range: 1 to 100, 20 by default.")] first: Option<
            i32,
        >,
        #[graphql(desc = "Only rows after the one with this cursor.")] after: Option<String>,
        #[graphql(desc = "The newest rows of the range instead: 1 to 100.")] last: Option<i32>,
        #[graphql(desc = "Only rows before the one with this cursor.")] before: Option<String>,
    ) -> Result<Allocations, ApiError> {
        let context = RequestContext::of(ctx)?;
        let request = Paging { first, after, last, before }.request()?;
        let pinned = context.pinned()?;
        let place = (pinned.position.seq, pinned.block("atBlock", at_block)?);
        let shared = &context.shared;
        let page =
            allocation::history(&shared.store, &shared.chain, place, &policy, &request).await?;
        let snapshots = Page { rows: Allocation::list(page.rows), more: page.more };
        Ok(connection(&request, snapshots, |snapshot| PageCursor(snapshot.entry())))
    }
}
