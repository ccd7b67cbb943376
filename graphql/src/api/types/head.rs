//! The newest block.

use async_graphql::{ComplexObject, Context, Enum, SimpleObject};
use chrono::{DateTime, Utc};
use obsqra_store::attested::{self, AttestedAs};
use obsqra_store::read::Position;
use obsqra_types::{BlockNumber, ChainId};

use super::{height, instant};
use crate::api::arguments::{Paging, page_cost};
use crate::context::RequestContext;
use crate::error::ApiError;

/// How final a block is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finality {
    /// The block may still be reverted.
    #[graphql(name = "ACCEPTED_ON_L2")]
    AcceptedOnL2,
    /// The block's proof is verified on L1: it cannot be reverted.
    #[graphql(name = "ACCEPTED_ON_L1")]
    AcceptedOnL1,
}

/// How a block was checked, by the newest word on it.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "AttestedAs")]
pub(crate) enum BlockVerdict {
    /// Its events, commitments and hash were recomputed and belong together.
    Verified,
    /// That cannot be told from what its source supplies.
    Unverifiable,
    /// It was not looked at.
    Unchecked,
}

/// Blocks one above the other that were checked alike.
#[derive(SimpleObject)]
pub(crate) struct AttestedRange {
    /// Height of the lowest.
    first_block: i32,
    /// Height of the highest.
    last_block: i32,
    /// How they were checked.
    verdict: BlockVerdict,
}

/// How many blocks, from the first of the log to the newest, were checked in which way.
#[derive(SimpleObject)]
pub(crate) struct AttestedBlocks {
    /// Blocks that are verified.
    verified: i32,
    /// Blocks that cannot be verified by what their source supplies.
    unverifiable: i32,
    /// Blocks that were not looked at.
    unchecked: i32,
}

/// The newest block that the read models hold.
#[derive(SimpleObject)]
#[graphql(complex)]
pub(crate) struct Head {
    /// Position of the log up to which every entry is applied: a decimal integer.
    seq: String,
    /// Height of the block.
    block_number: i32,
    /// Hash of the block: a felt in hex without leading zeros.
    block_hash: String,
    /// Header timestamp of the block, to the second.
    timestamp: DateTime<Utc>,
    /// How final the block is.
    finality: Finality,
    /// Blocks between this one and the highest block known to exist; 0 when there is none.
    lag_blocks: i32,
    /// Name of the chain, such as `SN_MAIN`.
    chain_id: String,
    #[graphql(skip)]
    block: BlockNumber,
}

/// By the newest attestation of each block, which may be younger than `seq`.
#[ComplexObject]
impl Head {
    /// How many blocks were checked in which way.
    async fn attested_blocks(&self, ctx: &Context<'_>) -> Result<AttestedBlocks, ApiError> {
        let shared = &RequestContext::of(ctx)?.shared;
        let totals = attested::totals(&shared.store, &shared.chain, self.block).await?;
        let blocks = |verdict| {
            let blocks = totals.get(&verdict).copied().unwrap_or(0);
            i32::try_from(blocks).unwrap_or(i32::MAX)
        };
        Ok(AttestedBlocks {
            verified: blocks(AttestedAs::Verified),
            unverifiable: blocks(AttestedAs::Unverifiable),
            unchecked: blocks(AttestedAs::Unchecked),
        })
    }

    /// The ranges of blocks that were checked alike, newest first.
    #[graphql(complexity = "page_cost(first, None) + child_complexity")]
    async fn attested_ranges(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many ranges: 1 to 100, 20 by default.")] first: Option<i32>,
    ) -> Result<Vec<AttestedRange>, ApiError> {
        let request = Paging { first, after: None, last: None, before: None }.request()?;
        let shared = &RequestContext::of(ctx)?.shared;
        let ranges =
            attested::newest(&shared.store, &shared.chain, self.block, request.size).await?;
        ranges
            .into_iter()
            .map(|range| {
                Ok(AttestedRange {
                    first_block: height(range.first)?,
                    last_block: height(range.last)?,
                    verdict: range.verdict.into(),
                })
            })
            .collect()
    }
}

impl Head {
    pub(crate) fn new(position: Position, chain: &ChainId) -> Result<Self, ApiError> {
        let finality =
            if position.is_final() { Finality::AcceptedOnL1 } else { Finality::AcceptedOnL2 };
        Ok(Self {
            seq: position.seq.to_string(),
            block_number: height(position.block)?,
            block_hash: position.hash.to_string(),
            timestamp: instant(position.timestamp)?,
            finality,
            lag_blocks: i32::try_from(position.lag_blocks()).unwrap_or(i32::MAX),
            chain_id: chain.to_string(),
            block: position.block,
        })
    }
}
