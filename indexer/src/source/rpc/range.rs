//! Which blocks of a range hold events of a contract, by `starknet_getEvents`.
//!
//! It is for choosing blocks to read whole, never for the events themselves: an answer in pages
//! says nothing about what it left out. Two chains are kept from mixing by an anchor: the hash of
//! the range's last block is compared with what the caller stated before the first page and after
//! the last one, is what the pages name as their end, and is the hash of every event at that
//! height. A token that is absent, null or empty ends a page list; one that comes back a second
//! time is an error, not a circle.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_types::{BlockHash, BlockNumber, ContractAddress};
use serde::Deserialize;
use serde_json::json;
use starknet::core::types::{
    BlockId as NodeBlockId, EventFilter, EventFilterWithPage, ResultPageRequest,
};

use super::felt::HexFelt;
use super::transport::Said;
use super::{BLOCK_NOT_FOUND, JsonRpcSource};
use crate::planner::BlockId;
use crate::source::SourceError;

/// Events a page asks for; nodes refuse more than 1,000 to 10,240.
const CHUNK_EVENTS: u64 = 1_000;
/// Fewest events a page asks for, after a node refused more.
const LEAST_CHUNK_EVENTS: u64 = 50;
/// Most pages read for one contract: with full pages 100 million events.
const MAX_PAGES: u32 = 100_000;
/// JSON-RPC error of the specification: the page size is too big.
const PAGE_SIZE_TOO_BIG: i64 = 31;

#[derive(Debug, Deserialize)]
struct PageBody {
    events: Vec<PlaceBody>,
    continuation_token: Option<String>,
}

/// An event as far as its place goes.
#[derive(Debug, Deserialize)]
struct PlaceBody {
    from_address: HexFelt,
    block_number: Option<u64>,
    block_hash: Option<HexFelt>,
}

/// A range that is being read.
struct Range<'a> {
    source: &'a JsonRpcSource,
    from: BlockNumber,
    to: BlockId,
    found: BTreeMap<BlockNumber, BlockHash>,
}

impl JsonRpcSource {
    /// The blocks from `from` to `to`, both inclusive, that hold events of any of the contracts.
    ///
    /// # Errors
    /// [`SourceError::RangeMoved`] when `to` is not, or does not stay, the node's block at its height;
    /// else when an answer is unusable.
    pub async fn events_in_range(
        &self,
        contracts: &BTreeSet<ContractAddress>,
        from: BlockNumber,
        to: BlockId,
    ) -> Result<BTreeMap<BlockNumber, BlockHash>, SourceError> {
        let mut range = Range { source: self, from, to, found: BTreeMap::new() };
        range.check_anchor().await?;
        if from > to.number {
            return Ok(range.found);
        }
        for contract in contracts {
            range.read(*contract).await?;
        }
        range.check_anchor().await?;
        Ok(range.found)
    }
}

impl Range<'_> {
    async fn check_anchor(&self) -> Result<(), SourceError> {
        let found = self.source.hash_at(self.to.number).await?;
        if found == Some(self.to.hash) { Ok(()) } else { Err(self.moved(self.to.number, found)) }
    }

    async fn read(&mut self, contract: ContractAddress) -> Result<(), SourceError> {
        let what = format!("events of {contract} in blocks {} to {}", self.from, self.to.number);
        let mut chunk = CHUNK_EVENTS;
        let mut token: Option<String> = None;
        for _ in 0..MAX_PAGES {
            let page = match self.page(&what, contract, chunk, token.clone()).await? {
                Said::Result(page) => page,
                Said::Error(error)
                    if error.code == PAGE_SIZE_TOO_BIG && chunk > LEAST_CHUNK_EVENTS =>
                {
                    chunk = (chunk / 2).max(LEAST_CHUNK_EVENTS);
                    continue;
                }
                Said::Error(error) if error.code == BLOCK_NOT_FOUND => {
                    return Err(self.moved(self.to.number, None));
                }
                Said::Error(error) => {
                    // A token goes bad when its block is replaced: then it is the range that moved.
                    self.check_anchor().await?;
                    return Err(self.source.unusable(&what, &error));
                }
            };
            for place in page.events {
                self.note(&what, contract, &place)?;
            }
            let next = page.continuation_token.filter(|token| !token.is_empty());
            if next.is_none() {
                return Ok(());
            }
            if next == token {
                return Err(self.source.unusable(&what, &"its continuation_token comes back"));
            }
            token = next;
        }
        Err(self.source.unusable(&what, &format!("it does not end after {MAX_PAGES} pages")))
    }

    async fn page(
        &self,
        what: &str,
        contract: ContractAddress,
        chunk_size: u64,
        continuation_token: Option<String>,
    ) -> Result<Said<PageBody>, SourceError> {
        let filter = EventFilterWithPage {
            event_filter: EventFilter {
                from_block: Some(NodeBlockId::Number(self.from.0)),
                to_block: Some(NodeBlockId::Hash(self.to.hash.0)),
                address: Some(contract.0),
                keys: None,
            },
            result_page_request: ResultPageRequest { continuation_token, chunk_size },
        };
        self.source.transport.ask("starknet_getEvents", what, json!([filter])).await
    }

    /// Takes an event's place down, which must be in the range and on one chain.
    fn note(
        &mut self,
        what: &str,
        contract: ContractAddress,
        place: &PlaceBody,
    ) -> Result<(), SourceError> {
        if place.from_address.0 != contract.0 {
            let other = ContractAddress(place.from_address.0);
            return Err(self.source.unusable(what, &format!("it has an event of {other}")));
        }
        let (Some(number), Some(hash)) = (place.block_number, place.block_hash) else {
            let problem = "it has an event with no block_number or block_hash";
            return Err(self.source.unusable(what, &problem));
        };
        let (number, hash) = (BlockNumber(number), BlockHash(hash.0));
        if number < self.from || number > self.to.number {
            return Err(self.source.unusable(what, &format!("it has an event of block {number}")));
        }
        if number == self.to.number && hash != self.to.hash {
            return Err(self.moved(number, Some(hash)));
        }
        match self.found.insert(number, hash) {
            Some(before) if before != hash => Err(SourceError::RangeMoved {
                node: self.source.name().to_owned(),
                number,
                expected: before,
                found: Some(hash),
            }),
            _ => Ok(()),
        }
    }

    fn moved(&self, number: BlockNumber, found: Option<BlockHash>) -> SourceError {
        SourceError::RangeMoved {
            node: self.source.name().to_owned(),
            number,
            expected: self.to.hash,
            found,
        }
    }
}
