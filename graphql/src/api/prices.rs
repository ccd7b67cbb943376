//! Queries of prices.

use async_graphql::{Context, Object};
use obsqra_store::read::price;

use super::arguments::contracts;
use super::types::Price;
use crate::context::RequestContext;
use crate::error::ApiError;
use crate::limits::MARKETS_COST;

/// The part of the root of queries that is about prices.
#[derive(Default)]
pub(crate) struct Prices;

#[Object]
impl Prices {
    /// The prices of the registry's tokens as of a block, by token and source. A token of which no event told
    /// yet has none.
    #[graphql(complexity = "MARKETS_COST + child_complexity")]
    async fn prices(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "Contracts of tokens: felts in hex, with or without leading zeros, at most 100; all \
                          by default."
        )]
        tokens: Option<Vec<String>>,
        #[graphql(
            desc = "Height of the block as of whose end to answer, by what is known now; the newest \
                          block by default."
        )]
        at_block: Option<i32>,
    ) -> Result<Vec<Price>, ApiError> {
        let context = RequestContext::of(ctx)?;
        let pinned = context.pinned()?;
        let tokens = contracts("tokens", tokens)?;
        let place = (pinned.position.seq, pinned.block("atBlock", at_block)?);
        let shared = &context.shared;
        let found = price::at(&shared.store, &shared.chain, place, tokens.as_deref()).await?;
        found.iter().map(Price::new).collect()
    }
}
