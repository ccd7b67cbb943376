//! Publishing: a window of messages is stored whole or not at all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_nats::{HeaderMap, Request};
use bytes::Bytes;
use obsqra_events::{Finality, Message};
use obsqra_types::Seq;
use serde::Deserialize;

use crate::stream::{FINALITY_HEADER, PREV_HEADER, SEQ_HEADER};
use crate::{BusError, ChainStream, StreamPosition};

/// The most messages in one window: the server's bound on an atomic batch.
pub const MAX_BATCH: usize = 1_000;

/// How long the server may take to store a window.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(10);

/// A message and its place.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Subject, id and body.
    pub message: Message,
    /// Position of its entry.
    pub seq: Seq,
    /// Position of the message before it on the same subject; `None` for the first.
    pub previous: Option<Seq>,
    /// Whether it may still be retracted.
    pub finality: Finality,
}

/// What the server answers: an acknowledgement or an error.
#[derive(Deserialize)]
struct PublishAnswer {
    seq: Option<u64>,
    /// The server holds a message with this id, or did a moment ago, and has not stored this one.
    #[serde(default)]
    duplicate: bool,
    error: Option<ServerError>,
}

#[derive(Deserialize)]
struct ServerError {
    description: String,
}

impl ChainStream {
    /// Stores a window after the given position as one atomic batch, and returns the new position once
    /// the server has it on disk (with `sync_interval: always`).
    ///
    /// The stream must still stand where the caller believes, else nothing is stored: two relays can
    /// not interleave, and a stream that was lost or restored is noticed.
    ///
    /// # Errors
    /// When the window was not stored or its acknowledgement did not arrive. The caller then asks for
    /// [`ChainStream::position`] and goes on from there.
    pub async fn publish(
        &self,
        after: StreamPosition,
        window: &[Outgoing],
    ) -> Result<StreamPosition, BusError> {
        let failed = |problem: String| BusError::Publish { messages: window.len(), problem };
        if window.len() > MAX_BATCH {
            return Err(failed(format!("more than {MAX_BATCH} in one window")));
        }
        let Some((last, rest)) = window.split_last() else {
            return Ok(after);
        };
        let batch = Batch::new(&self.name, after, window.len());
        for (index, outgoing) in rest.iter().enumerate() {
            self.bus
                .client
                .publish_with_headers(
                    outgoing.message.subject.as_str().to_owned(),
                    batch.headers(index, outgoing),
                    Bytes::from(outgoing.message.body.clone()),
                )
                .await
                .map_err(|error| failed(error.to_string()))?;
        }
        let request = Request::new()
            .headers(batch.headers(rest.len(), last))
            .payload(Bytes::from(last.message.body.clone()))
            .timeout(Some(COMMIT_TIMEOUT));
        let answer = self
            .bus
            .client
            .send_request(last.message.subject.as_str().to_owned(), request)
            .await
            .map_err(|error| failed(error.to_string()))?;
        let answer: PublishAnswer = serde_json::from_slice(&answer.payload)
            .map_err(|error| failed(format!("unreadable answer: {error}")))?;
        match (answer.error, answer.seq) {
            (Some(error), _) => Err(failed(error.description)),
            // A batch with a known id is an error; a single message is acknowledged and dropped.
            (None, _) if answer.duplicate => Err(failed("duplicate message id".into())),
            (None, Some(sequence)) => {
                Ok(StreamPosition { stream_sequence: sequence, seq: Some(last.seq) })
            }
            (None, None) => Err(failed("answer without a sequence".into())),
        }
    }
}

/// Headers of an atomic batch.
struct Batch {
    id: String,
    after: u64,
    size: usize,
}

impl Batch {
    fn new(stream: &str, after: StreamPosition, size: usize) -> Self {
        // Only has to differ from the batches under way, of which a relay has one; the clock tells a
        // batch from one that was cut off at the same position.
        let nanos =
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| elapsed.as_nanos());
        let id = format!("{:.16}-{:x}-{nanos:x}", stream, after.stream_sequence);
        Self { id, after: after.stream_sequence, size }
    }

    fn headers(&self, index: usize, outgoing: &Outgoing) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", outgoing.message.id.as_str());
        headers.insert(SEQ_HEADER, outgoing.seq.to_string().as_str());
        let previous = outgoing.previous.unwrap_or(Seq::BEFORE_FIRST);
        headers.insert(PREV_HEADER, previous.to_string().as_str());
        headers.insert(FINALITY_HEADER, outgoing.finality.as_str());
        if index == 0 {
            headers.insert("Nats-Expected-Last-Sequence", self.after.to_string().as_str());
        }
        if self.size > 1 {
            headers.insert("Nats-Batch-Id", self.id.as_str());
            headers.insert("Nats-Batch-Sequence", (index + 1).to_string().as_str());
            if index + 1 == self.size {
                headers.insert("Nats-Batch-Commit", "1");
            }
        }
        headers
    }
}
