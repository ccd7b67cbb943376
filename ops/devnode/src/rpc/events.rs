//! `starknet_getEvents`: filters, pages and continuation tokens.
//!
//! A token names the event a page goes on with: height, index in the block, and the beginning of that
//! block's hash. It stays good while the chain grows and turns invalid when its block is replaced.

use serde_json::Value;
use starknet_types_core::felt::Felt;

use super::error::RpcError;
use super::params::{BlockId, block_id, felt};
use crate::chain::block::Event;
use crate::chain::encode::{EventPlace, emitted_event};
use crate::chain::ledger::{Ledger, Served};
use crate::spec::{LastPage, Spec, Style};

/// Largest page.
pub(crate) const MAX_CHUNK_SIZE: u64 = 1_024;

/// Most keys of a filter, over all positions.
const MAX_FILTER_KEYS: usize = 256;

/// Most addresses of a filter.
const MAX_FILTER_ADDRESSES: usize = 256;

#[derive(Debug)]
struct Query {
    from: u64,
    to: u64,
    addresses: Vec<Felt>,
    keys: Vec<Vec<Felt>>,
    chunk_size: usize,
    start: Option<Cursor>,
}

/// Where a page begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    block: u64,
    event: u32,
    hash_start: u64,
}

impl Cursor {
    fn to_token(self) -> String {
        format!("{:016x}{:08x}{:016x}", self.block, self.event, self.hash_start)
    }

    fn from_token(token: &str) -> Option<Self> {
        if token.len() != 40 || !token.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        Some(Self {
            block: u64::from_str_radix(token.get(..16)?, 16).ok()?,
            event: u32::from_str_radix(token.get(16..24)?, 16).ok()?,
            hash_start: u64::from_str_radix(token.get(24..)?, 16).ok()?,
        })
    }
}

fn hash_start(hash: &Felt) -> u64 {
    hash.to_be_digits()[1]
}

/// Answers a query.
pub(crate) fn get_events(
    ledger: &Ledger,
    style: Style,
    filter: &Value,
) -> Result<Vec<u8>, RpcError> {
    let query = Query::read(ledger, style.spec, filter)?;
    let mut page = Page { out: b"{\"events\":[".to_vec(), count: 0, size: query.chunk_size, style };
    let first = query.start.map_or(query.from, |cursor| cursor.block);
    for number in first..=query.to {
        let Some(served) = ledger.by_number(number) else {
            break;
        };
        let skip =
            query.start.filter(|cursor| cursor.block == number).map_or(0, |cursor| cursor.event);
        if let Some(next) = page.add_block(&query, &served, skip) {
            return Ok(page.finish(Some(next)));
        }
    }
    Ok(page.finish(None))
}

impl Query {
    fn read(ledger: &Ledger, spec: Spec, filter: &Value) -> Result<Self, RpcError> {
        const MEMBERS: [&str; 6] =
            ["from_block", "to_block", "address", "keys", "chunk_size", "continuation_token"];
        let members =
            filter.as_object().ok_or_else(|| RpcError::invalid_params("filter is no object"))?;
        if let Some(unknown) = members.keys().find(|name| !MEMBERS.contains(&name.as_str())) {
            return Err(RpcError::invalid_params(format!(
                "no member of filter is called {unknown:?}"
            )));
        }
        let member = |name: &str| members.get(name).filter(|value| !value.is_null());
        let head = ledger.head().ok_or(RpcError::NO_BLOCKS)?.number;
        let chunk_size = chunk_size(member("chunk_size"))?;
        let to = range_end(ledger, spec, member("to_block"), head)?.min(head);
        let from = match member("from_block") {
            Some(id) => range_end(ledger, spec, Some(id), head)?,
            None => 0,
        };
        let start = member("continuation_token").map(|token| cursor(ledger, token)).transpose()?;
        if start.is_some_and(|cursor| cursor.block < from || cursor.block > to) {
            return Err(RpcError::INVALID_CONTINUATION_TOKEN);
        }
        Ok(Self {
            from,
            to,
            addresses: addresses(spec, member("address"))?,
            keys: keys(member("keys"))?,
            chunk_size,
            start,
        })
    }

    /// No address means any, an empty list at a position means any key, trailing ones mean nothing.
    fn takes(&self, event: &Event) -> bool {
        (self.addresses.is_empty() || self.addresses.contains(&event.from_address))
            && event.keys.len() >= self.keys.len()
            && self
                .keys
                .iter()
                .zip(&event.keys)
                .all(|(any_of, key)| any_of.is_empty() || any_of.contains(key))
    }
}

struct Page {
    out: Vec<u8>,
    count: usize,
    size: usize,
    style: Style,
}

impl Page {
    /// Adds a block's events; the place of the first one that no longer fits, if there is one.
    fn add_block(&mut self, query: &Query, served: &Served, skip: u32) -> Option<Cursor> {
        let block = &served.block;
        let mut index_in_block = 0_u32;
        for (transaction_index, transaction) in block.transactions.iter().enumerate() {
            for (event_index, event) in transaction.events.iter().enumerate() {
                let index = index_in_block;
                index_in_block += 1;
                if index < skip || !query.takes(event) {
                    continue;
                }
                if self.count == self.size {
                    let hash_start = hash_start(&block.hash);
                    return Some(Cursor { block: block.number, event: index, hash_start });
                }
                if self.count > 0 {
                    self.out.push(b',');
                }
                self.count += 1;
                let place = EventPlace {
                    block_hash: block.hash,
                    block_number: block.number,
                    transaction_hash: transaction.hash,
                    transaction_index,
                    event_index,
                };
                self.out.extend(emitted_event(event, place, self.style));
            }
        }
        None
    }

    fn finish(mut self, next: Option<Cursor>) -> Vec<u8> {
        self.out.push(b']');
        let token = match (next, self.style.last_page) {
            (Some(next), _) => format!(",\"continuation_token\":\"{}\"", next.to_token()),
            (None, LastPage::NullToken) => ",\"continuation_token\":null".to_owned(),
            (None, LastPage::NoToken) => String::new(),
        };
        self.out.extend(token.into_bytes());
        self.out.push(b'}');
        self.out
    }
}

fn chunk_size(value: Option<&Value>) -> Result<usize, RpcError> {
    let size = value.and_then(Value::as_u64).filter(|size| *size > 0).ok_or_else(|| {
        RpcError::invalid_params("chunk_size is missing or not a positive number")
    })?;
    if size > MAX_CHUNK_SIZE {
        return Err(RpcError::PAGE_SIZE_TOO_BIG);
    }
    usize::try_from(size).map_err(|_| RpcError::PAGE_SIZE_TOO_BIG)
}

/// The height at an end of a range; there is no pre-confirmed block, so it means the head.
fn range_end(ledger: &Ledger, spec: Spec, id: Option<&Value>, head: u64) -> Result<u64, RpcError> {
    match id.map(|id| block_id(id, spec)).transpose()? {
        None | Some(BlockId::Latest | BlockId::PreConfirmed) => Ok(head),
        Some(BlockId::L1Accepted) => ledger.l1_head().ok_or(RpcError::BLOCK_NOT_FOUND),
        Some(BlockId::Number(number)) => Ok(number),
        Some(BlockId::Hash(hash)) => {
            ledger.by_hash(&hash).map(|served| served.block.number).ok_or(RpcError::BLOCK_NOT_FOUND)
        }
    }
}

fn cursor(ledger: &Ledger, token: &Value) -> Result<Cursor, RpcError> {
    token
        .as_str()
        .and_then(Cursor::from_token)
        .filter(|cursor| {
            ledger.by_number(cursor.block).is_some_and(|served| {
                hash_start(&served.block.hash) == cursor.hash_start
                    && usize::try_from(cursor.event)
                        .is_ok_and(|event| event < served.block.event_count())
            })
        })
        .ok_or(RpcError::INVALID_CONTINUATION_TOKEN)
}

/// One address or, since spec 0.10, a list of them.
fn addresses(spec: Spec, value: Option<&Value>) -> Result<Vec<Felt>, RpcError> {
    match value {
        None => Ok(Vec::new()),
        Some(Value::Array(_)) if spec < Spec::V0_10 => {
            Err(RpcError::invalid_params("before spec 0.10 address is one felt"))
        }
        Some(Value::Array(list)) if list.len() > MAX_FILTER_ADDRESSES => {
            Err(RpcError::TOO_MANY_KEYS)
        }
        Some(Value::Array(list)) => list.iter().map(|item| felt(item, "address")).collect(),
        Some(one) => Ok(vec![felt(one, "address")?]),
    }
}

fn keys(value: Option<&Value>) -> Result<Vec<Vec<Felt>>, RpcError> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let not_lists = || RpcError::invalid_params("keys is not a list of lists of felts");
    let mut keys = Vec::new();
    let mut count = 0;
    for position in value.as_array().ok_or_else(not_lists)? {
        let any_of = position.as_array().ok_or_else(not_lists)?;
        count += any_of.len().max(1);
        if count > MAX_FILTER_KEYS {
            return Err(RpcError::TOO_MANY_KEYS);
        }
        keys.push(any_of.iter().map(|key| felt(key, "a key")).collect::<Result<Vec<_>, _>>()?);
    }
    while keys.last().is_some_and(Vec::is_empty) {
        keys.pop();
    }
    Ok(keys)
}
