//! Blocks of an Apibara DNA server over gRPC: headers, and the events of the watched contracts.
//!
//! Everything is checked before it is passed on: felts, the order of the blocks, which contracts the
//! events are of, and that an event that comes more than once is the same each time. What DNA does not
//! have stays absent: the price of L2 gas, counts and commitments. The chain id is not part of it either;
//! that the server streams the right chain is for the caller to know.
//!
//! A stream ends at its first error. Nothing is tried again here: that is up to who reads it.

mod block;
mod problem;
mod sequence;
mod stream;

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use apibara_dna_sdk::proto::{Cursor, DataFinality, StatusResponse, StreamDataRequest};
use apibara_dna_sdk::starknet::{
    EventFilterBuilder, FieldElement, FilterBuilder, HeaderFilter, TransactionStatusFilter,
};
use apibara_dna_sdk::{MetadataMap, MetadataValue, StreamClient, StreamDataRequestBuilder};
use obsqra_types::{BlockHash, BlockNumber, ContractAddress, felt_from_bytes};
use tonic::Status;
use tonic::transport::Uri;
use url::Url;

use super::{Secret, SourceError};
use crate::planner::BlockId;
use problem::Peer;
pub use stream::{DnaMessage, DnaStream};

/// The largest message read, in bytes. A block's events take less room here than in JSON.
const MAX_MESSAGE: usize = 64 << 20;
/// Most contracts watched in one stream. Servers bound a request by its size, 4 MiB by default; a filter
/// for one contract takes about 50 bytes.
const MAX_CONTRACTS: usize = 4_096;
/// Heartbeats that may stay out before a stream counts as dead.
const MISSED_HEARTBEATS: u32 = 2;

/// How to reach a server.
#[derive(Clone, Debug)]
pub struct DnaOptions {
    /// Scheme, host and port; nothing else of it is sent.
    pub url: Url,
    /// The bearer token, where the server wants one.
    pub token: Option<Secret>,
    /// The longest silence asked of the server; servers take 10 s to 60 s. After twice that with no
    /// message a stream is dropped.
    pub heartbeat: Duration,
    /// How long connecting, and the first answer, may take.
    pub timeout: Duration,
}

/// A server.
#[derive(Clone)]
pub struct DnaSource {
    uri: Uri,
    metadata: MetadataMap,
    peer: Peer,
    heartbeat: Duration,
    timeout: Duration,
}

impl std::fmt::Debug for DnaSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnaSource").field("node", &self.peer.name()).finish_non_exhaustive()
    }
}

/// Where a stream begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DnaStart {
    /// With the block of this height, whatever it is.
    At(BlockNumber),
    /// With the block on top of this one. If the server's chain has left it, the first message is
    /// [`DnaMessage::Invalidate`].
    After(BlockId),
}

/// A block as a server names it. Servers leave the hash out of final blocks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DnaCursor {
    /// Height.
    pub number: BlockNumber,
    /// Hash, where it is given.
    pub hash: Option<BlockHash>,
}

/// What a server has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DnaStatus {
    /// The newest block that can be streamed.
    pub head: Option<DnaCursor>,
    /// The newest final block.
    pub finalized: Option<DnaCursor>,
    /// The first block.
    pub start: Option<DnaCursor>,
}

impl DnaSource {
    /// Prepares to talk to a server; nothing is sent yet.
    ///
    /// # Errors
    /// When the address is not of HTTP or has more than scheme, host and port.
    pub fn new(options: DnaOptions) -> Result<Self, SourceError> {
        let DnaOptions { url, token, heartbeat, timeout } = options;
        let host = url.host_str().unwrap_or_default();
        if !matches!(url.scheme(), "http" | "https") || host.is_empty() {
            return Err(SourceError::Address(format!("{}:…", url.scheme())));
        }
        let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
        let name = format!("{}://{host}{port}", url.scheme());
        let plain = matches!(url.path(), "" | "/") && url.query().is_none();
        if !plain || !url.username().is_empty() || url.password().is_some() {
            return Err(SourceError::AddressHasMore(name));
        }
        let uri = name.parse().map_err(|_| SourceError::Address(name.clone()))?;
        let mut metadata = MetadataMap::new();
        if let Some(token) = &token {
            let value: Result<MetadataValue, _> = format!("Bearer {}", token.expose()).parse();
            let mut value = value.map_err(|_| SourceError::Address(name.clone()))?;
            value.set_sensitive(true);
            metadata.insert("authorization", value);
        }
        Ok(Self { uri, metadata, peer: Peer::new(name, token), heartbeat, timeout })
    }

    /// The server's address.
    #[must_use]
    pub fn name(&self) -> &str {
        self.peer.name()
    }

    /// What the server has.
    ///
    /// # Errors
    /// When the server cannot be reached, refuses, or answers with what is no block.
    pub async fn status(&self) -> Result<DnaStatus, SourceError> {
        let what = "status";
        let mut client = self.connect(what).await?;
        let answer = self.in_time(what, client.status()).await?;
        let answer = answer.map_err(|status| self.peer.refused(what, &status))?;
        self.read_status(answer).map_err(|problem| self.peer.unusable(what, problem))
    }

    fn read_status(&self, answer: StatusResponse) -> Result<DnaStatus, String> {
        let read = |cursor: Option<Cursor>| cursor.map(DnaCursor::read).transpose();
        // Servers that follow their node's head say it apart from what they can stream already.
        let head = answer.last_ingested.or(answer.current_head);
        Ok(DnaStatus {
            head: read(head)?,
            finalized: read(answer.finalized)?,
            start: read(answer.starting)?,
        })
    }

    /// Streams blocks with the events of the watched contracts.
    ///
    /// # Errors
    /// [`SourceError::UnknownCursor`] when the server never had the block to start after,
    /// [`SourceError::Ahead`] when it does not have it yet, [`SourceError::BeforeStart`] when its chain
    /// begins above; else when the server cannot be reached or refuses.
    pub async fn stream(
        &self,
        start: DnaStart,
        watched: &BTreeSet<ContractAddress>,
    ) -> Result<DnaStream, SourceError> {
        if watched.len() > MAX_CONTRACTS {
            let (given, limit) = (watched.len(), MAX_CONTRACTS);
            return Err(SourceError::TooManyContracts { given, limit });
        }
        let what = "stream";
        let request = self.request(start, watched)?;
        let mut client = self.connect(what).await?;
        let answer = self.in_time(what, client.stream_data(request)).await?;
        match answer {
            Ok(messages) => {
                let silence = self.silence();
                Ok(DnaStream::new(messages, self.peer.clone(), watched.clone(), start, silence))
            }
            Err(status) => Err(self.start_refused(start, &status).await),
        }
    }

    fn request(
        &self,
        start: DnaStart,
        watched: &BTreeSet<ContractAddress>,
    ) -> Result<StreamDataRequest, SourceError> {
        let mut filter = FilterBuilder::new().with_header(HeaderFilter::Always);
        for (id, contract) in (1_u32..).zip(watched) {
            let address = FieldElement::from_bytes(&contract.0.to_bytes_be());
            let event = EventFilterBuilder::single_contract(address)
                .with_id(id)
                .with_transaction_status(TransactionStatusFilter::All);
            filter = filter.add_event(event.build());
        }
        let mut request = StreamDataRequestBuilder::new()
            .with_finality(DataFinality::Accepted)
            .with_starting_cursor(start.cursor())
            .add_filter(filter.build())
            .build();
        let heartbeat = self.heartbeat.try_into();
        request.heartbeat_interval =
            Some(heartbeat.map_err(|_| SourceError::Heartbeat(self.heartbeat))?);
        Ok(request)
    }

    /// Why the server does not start there. A cursor may be refused because the chain left it long ago, or
    /// because the server's chain begins above: the words differ from server to server, its status does not.
    async fn start_refused(&self, start: DnaStart, status: &Status) -> SourceError {
        let refused = self.peer.start_refused(start, status);
        if let SourceError::UnknownCursor { block, .. } = &refused
            && let Ok(DnaStatus { start: Some(first), .. }) = self.status().await
            && first.number > block.number
        {
            let (node, block, first) = (self.name().to_owned(), block.number, first.number);
            return SourceError::BeforeStart { node, block, first };
        }
        refused
    }

    fn silence(&self) -> Duration {
        self.heartbeat.saturating_mul(MISSED_HEARTBEATS)
    }

    async fn connect(&self, what: &str) -> Result<StreamClient, SourceError> {
        let connecting = StreamClient::builder()
            .with_metadata(self.metadata.clone())
            .with_max_message_size_bytes(MAX_MESSAGE)
            .with_timeout(self.silence())
            .connect(self.uri.clone());
        self.in_time(what, connecting)
            .await?
            .map_err(|error| self.peer.unreachable(what, &problem::whole_story(&error)))
    }

    async fn in_time<T>(
        &self,
        what: &str,
        answer: impl Future<Output = T>,
    ) -> Result<T, SourceError> {
        tokio::time::timeout(self.timeout, answer).await.map_err(|_| {
            self.peer.unreachable(what, &format!("no answer within {:?}", self.timeout))
        })
    }
}

impl DnaStart {
    /// The cursor of the protocol, which is the block before the first one wanted.
    fn cursor(self) -> Option<Cursor> {
        match self {
            Self::At(number) => Cursor::new_with_block_number(number.0),
            Self::After(BlockId { number, hash }) => {
                Some(Cursor { order_key: number.0, unique_key: hash.0.to_bytes_be().to_vec() })
            }
        }
    }
}

impl DnaCursor {
    /// Reads a cursor; the hash may lack leading zero bytes.
    fn read(cursor: Cursor) -> Result<Self, String> {
        let number = cursor.order_key;
        if i64::try_from(number).is_err() {
            return Err(format!("height {number} is out of range"));
        }
        let bytes = cursor.unique_key;
        let hash = match bytes.len() {
            0 => None,
            length @ 1..=32 => {
                let mut padded = [0; 32];
                padded[32 - length..].copy_from_slice(&bytes);
                let felt = felt_from_bytes(&padded)
                    .ok_or_else(|| format!("the hash of block {number} is no felt"))?;
                Some(BlockHash(felt))
            }
            length => return Err(format!("the hash of block {number} has {length} bytes")),
        };
        Ok(Self { number: BlockNumber(number), hash })
    }
}

#[cfg(test)]
mod tests;
