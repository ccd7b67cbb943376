//! The two calls: who may make them, from which cursor, and with what filters.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use apibara_dna_protocol::dna::stream::dna_stream_server::DnaStream;
use apibara_dna_protocol::dna::stream::{
    Cursor, DataFinality, StatusRequest, StatusResponse, StreamDataRequest, StreamDataResponse,
};
use futures::Stream;
use starknet_types_core::felt::Felt;
use tokio::sync::Semaphore;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};

use super::feed::{Feed, Reach};
use super::line::Cut;
use super::{Serving, encode, filter};
use crate::chain::ledger::{Following, Head, Ledger};

/// Streams served at a time.
const MAX_STREAMS: usize = 64;

/// Heartbeat of a client that asks for none.
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(30);

/// Longest heartbeat.
const MAX_HEARTBEAT: Duration = Duration::from_secs(60);

/// The gRPC service.
pub(super) struct Service {
    serving: Arc<Serving>,
    streams: Arc<Semaphore>,
}

/// Why a call is refused. A `Status` is large, so it is made from this at the end.
enum Refusal {
    Token,
    NotReady,
    Busy,
    Beyond { cursor: u64, head: u64 },
    Cursor { number: u64, why: &'static str },
    Request(String),
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Token => Self::unauthenticated("no valid bearer token"),
            Refusal::NotReady => Self::unavailable("the chain is not there yet"),
            Refusal::Busy => Self::resource_exhausted("too many streams"),
            Refusal::Beyond { cursor, head } => {
                Self::out_of_range(format!("cursor {cursor} is after the last block {head}"))
            }
            Refusal::Cursor { number, why } => {
                Self::invalid_argument(format!("starting cursor {number} {why}"))
            }
            Refusal::Request(what) => Self::invalid_argument(what),
        }
    }
}

impl Service {
    pub(super) fn new(serving: Serving) -> Self {
        let streams = Arc::new(Semaphore::new(MAX_STREAMS));
        Self { serving: Arc::new(serving), streams }
    }

    fn ledger(&self) -> &Ledger {
        &self.serving.server.context.ledger
    }

    /// The chain's head, for those who may know.
    fn admit(&self, metadata: &MetadataMap) -> Result<Head, Refusal> {
        if let Some(token) = &self.serving.settings.token {
            let sent = metadata.get("authorization").and_then(|value| value.to_str().ok());
            if sent.and_then(|sent| sent.strip_prefix("Bearer ")) != Some(token.as_str()) {
                return Err(Refusal::Token);
            }
        }
        if self.serving.faults.take_refusal() {
            return Err(Refusal::NotReady);
        }
        self.ledger().head().ok_or(Refusal::NotReady)
    }

    /// Where a stream begins: after which block.
    fn place(&self, cursor: Option<Cursor>, head: Head) -> Result<Option<Head>, Refusal> {
        let Some(Cursor { order_key: number, unique_key }) = cursor else { return Ok(None) };
        if number > head.number {
            return Err(Refusal::Beyond { cursor: number, head: head.number });
        }
        if unique_key.is_empty() {
            let unknown = Refusal::Cursor { number, why: "not found" };
            let served = self.ledger().by_number(number).ok_or(unknown)?;
            return Ok(Some(Head { number, hash: served.block.hash }));
        }
        if unique_key.len() > 32 {
            return Err(Refusal::Cursor { number, why: "has a hash of more than 32 bytes" });
        }
        let place = Head { number, hash: Felt::from_bytes_be_slice(&unique_key) };
        match self.ledger().following(Some(place)) {
            Following::Unknown => Err(Refusal::Cursor { number, why: "not found" }),
            Following::Block { .. } | Following::Nothing | Following::Rewind(_) => Ok(Some(place)),
        }
    }

    fn heartbeat(&self, asked: Option<Duration>) -> Result<Duration, Refusal> {
        let least = self.serving.settings.min_heartbeat;
        let asked = asked.unwrap_or(DEFAULT_HEARTBEAT);
        if (least..=MAX_HEARTBEAT).contains(&asked) {
            return Ok(asked);
        }
        Err(Refusal::Request(format!(
            "heartbeat interval is {asked:?}, it must be from {least:?} to {MAX_HEARTBEAT:?}"
        )))
    }

    fn feed(&self, request: Request<StreamDataRequest>) -> Result<Feed, Refusal> {
        let head = self.admit(request.metadata())?;
        let cut = request.extensions().get::<Cut>().cloned().unwrap_or_default();
        let permit = Arc::clone(&self.streams).try_acquire_owned().map_err(|_| Refusal::Busy)?;
        let request = request.into_inner();
        let place = self.place(request.starting_cursor, head)?;
        let finality = request.finality.unwrap_or(DataFinality::Accepted.into());
        let reach = match DataFinality::try_from(finality) {
            Ok(DataFinality::Finalized) => Reach::Final,
            // There are no pre-confirmed blocks: who asks for them gets what is accepted.
            Ok(DataFinality::Accepted | DataFinality::Pending) => Reach::Accepted,
            Ok(DataFinality::Unknown) | Err(_) => {
                return Err(Refusal::Request(format!("finality {finality} is unknown")));
            }
        };
        let asked = request.heartbeat_interval.map(Duration::try_from).transpose();
        let asked = asked.map_err(|error| Refusal::Request(error.to_string()))?;
        let heartbeat = self.heartbeat(asked)?;
        let filters =
            filter::read(&request.filter).map_err(|error| Refusal::Request(error.to_string()))?;
        let serving = Arc::clone(&self.serving);
        Ok(Feed::new(serving, super::feed::Order { place, reach, heartbeat, filters, cut, permit }))
    }
}

#[tonic::async_trait]
impl DnaStream for Service {
    type StreamDataStream = Pin<Box<dyn Stream<Item = Result<StreamDataResponse, Status>> + Send>>;

    async fn stream_data(
        &self,
        request: Request<StreamDataRequest>,
    ) -> Result<Response<Self::StreamDataStream>, Status> {
        let feed = self.feed(request)?;
        let messages = futures::stream::unfold(feed, |mut feed| async move {
            feed.next().await.map(|response| (Ok(response), feed))
        });
        Ok(Response::new(Box::pin(messages)))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        let head = self.admit(request.metadata())?;
        let ledger = self.ledger();
        let at = |number: u64| {
            let served = ledger.by_number(number)?;
            Some(encode::cursor(Head { number, hash: served.block.hash }))
        };
        Ok(Response::new(StatusResponse {
            current_head: None,
            last_ingested: Some(encode::cursor(head)),
            finalized: ledger.l1_head().and_then(at),
            starting: at(0),
        }))
    }
}
