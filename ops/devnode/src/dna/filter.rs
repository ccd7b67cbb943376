//! What a client asks for: headers and events, by address and keys.
//!
//! An event that matches several filters goes out once for each, as with a real server. A filter for
//! something that this node does not stream is refused.

use apibara_dna_protocol::starknet::{
    Block, EventFilter as WireEventFilter, Filter as WireFilter, HeaderFilter,
    TransactionStatusFilter,
};
use prost::Message;
use starknet_types_core::felt::Felt;

use super::encode;
use crate::chain::block::{Event, SealedBlock};

/// Filters of one request, as many as a real server takes.
const MAX_FILTERS: usize = 5;

/// Why a filter is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum FilterError {
    #[error("no filters provided: send at least one")]
    None,
    #[error("{given} filters, at most {MAX_FILTERS} are taken: put the conditions into fewer")]
    TooMany { given: usize },
    #[error("a filter is no starknet.v2.Filter: {0}")]
    Unreadable(#[from] prost::DecodeError),
    #[error("{0} is not streamed by a development node: ask for headers and events only")]
    NotStreamed(&'static str),
    #[error("event filter {id}: transaction status {status} is unknown")]
    Status { id: u32, status: i32 },
    #[error("event filter {id}: its address or a key is not below the field's prime")]
    Felt { id: u32 },
}

/// One filter of a request.
#[derive(Debug)]
pub(super) struct BlockFilter {
    header: HeaderFilter,
    events: Vec<EventFilter>,
}

#[derive(Debug)]
struct EventFilter {
    id: u32,
    address: Option<Felt>,
    keys: Vec<Option<Felt>>,
    length: Length,
    wanted: Wanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    AtLeastTheKeys,
    ExactlyTheKeys,
}

/// All transactions of this chain succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Succeeded,
    OnlyReverted,
}

/// Reads the filters of a request.
pub(super) fn read(filters: &[Vec<u8>]) -> Result<Vec<BlockFilter>, FilterError> {
    match filters.len() {
        0 => Err(FilterError::None),
        given if given > MAX_FILTERS => Err(FilterError::TooMany { given }),
        _ => filters.iter().map(|bytes| BlockFilter::read(bytes)).collect(),
    }
}

impl BlockFilter {
    fn read(bytes: &[u8]) -> Result<Self, FilterError> {
        let filter = WireFilter::decode(bytes)?;
        let others = [
            ("transactions", filter.transactions.is_empty()),
            ("messages", filter.messages.is_empty()),
            ("storage diffs", filter.storage_diffs.is_empty()),
            ("contract changes", filter.contract_changes.is_empty()),
            ("nonce updates", filter.nonce_updates.is_empty()),
        ];
        if let Some((name, _)) = others.into_iter().find(|(_, empty)| !empty) {
            return Err(FilterError::NotStreamed(name));
        }
        let header = match HeaderFilter::try_from(filter.header) {
            Ok(HeaderFilter::Unspecified) | Err(_) => HeaderFilter::OnData,
            Ok(header) => header,
        };
        let events = filter.events.iter().map(EventFilter::read).collect::<Result<_, _>>()?;
        Ok(Self { header, events })
    }

    /// What this filter lets through of a block; `None` when nothing.
    pub(super) fn apply(&self, block: &SealedBlock, is_head: bool) -> Option<Block> {
        let mut out = Block::default();
        for filter in &self.events {
            let matching = encode::events(block).filter(|(_, event)| filter.matches(event));
            out.events
                .extend(matching.map(|(place, event)| encode::event(place, event, filter.id)));
        }
        let with_header = match self.header {
            HeaderFilter::Always => true,
            HeaderFilter::OnDataOrOnNewBlock => is_head || !out.events.is_empty(),
            HeaderFilter::OnData | HeaderFilter::Unspecified => !out.events.is_empty(),
        };
        if with_header {
            out.header = Some(encode::header(block));
        }
        (out.header.is_some() || !out.events.is_empty()).then_some(out)
    }
}

impl EventFilter {
    fn read(filter: &WireEventFilter) -> Result<Self, FilterError> {
        let id = filter.id;
        let joins = [
            ("the transaction of an event", filter.include_transaction),
            ("the receipt of an event", filter.include_receipt),
            ("the messages of an event's transaction", filter.include_messages),
            ("the siblings of an event", filter.include_siblings),
            ("the trace of an event's transaction", filter.include_transaction_trace),
        ];
        if let Some((name, _)) = joins.into_iter().find(|(_, asked)| *asked == Some(true)) {
            return Err(FilterError::NotStreamed(name));
        }
        let felt = |element: &apibara_dna_protocol::starknet::FieldElement| {
            let bytes = element.to_bytes();
            let felt = Felt::from_bytes_be(&bytes);
            if felt.to_bytes_be() == bytes { Ok(felt) } else { Err(FilterError::Felt { id }) }
        };
        let status = filter.transaction_status.unwrap_or(TransactionStatusFilter::Succeeded.into());
        let wanted = match TransactionStatusFilter::try_from(status) {
            Ok(TransactionStatusFilter::Reverted) => Wanted::OnlyReverted,
            Ok(_) => Wanted::Succeeded,
            Err(_) => return Err(FilterError::Status { id, status }),
        };
        Ok(Self {
            id,
            address: filter.address.as_ref().map(felt).transpose()?,
            keys: filter
                .keys
                .iter()
                .map(|key| key.value.as_ref().map(felt).transpose())
                .collect::<Result<_, _>>()?,
            length: match filter.strict {
                Some(true) => Length::ExactlyTheKeys,
                Some(false) | None => Length::AtLeastTheKeys,
            },
            wanted,
        })
    }

    fn matches(&self, event: &Event) -> bool {
        let long_enough = match self.length {
            Length::ExactlyTheKeys => event.keys.len() == self.keys.len(),
            Length::AtLeastTheKeys => event.keys.len() >= self.keys.len(),
        };
        let mut pairs = self.keys.iter().zip(&event.keys);
        self.wanted == Wanted::Succeeded
            && long_enough
            && self.address.is_none_or(|address| address == event.from_address)
            && pairs.all(|(wanted, key)| wanted.is_none_or(|wanted| wanted == *key))
    }
}
