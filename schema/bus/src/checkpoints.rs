//! The stream of checkpoints of the log that holds a chain.
//!
//! It is apart from the chain's stream: there positions rise by one fact each, here they are those of
//! signed roots. A message's id is the checkpoint's hash and its `Obsqra-Seq` the last entry covered;
//! delivery is at least once, in order. The database and the checkpoint file hold every checkpoint, so
//! the stream may lose its oldest.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use bytes::Bytes;
use obsqra_events::{SignedCheckpoint, checkpoint_subject};
use obsqra_types::{ChainId, Seq};

use crate::stream::SEQ_HEADER;
use crate::{Bus, BusError};

/// Longest time a checkpoint is kept.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Most checkpoints kept.
const MAX_MESSAGES: i64 = 100_000;
/// Most bytes kept.
const MAX_BYTES: i64 = 128 << 20;
/// How long the server may take to store one.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// Checkpoints on their way to whoever keeps them.
#[derive(Clone, Debug)]
pub struct CheckpointStream {
    bus: Bus,
    subject: String,
    name: String,
}

impl CheckpointStream {
    /// Names the stream; [`CheckpointStream::ensure`] makes it.
    #[must_use]
    pub fn new(bus: &Bus, chain: &ChainId) -> Self {
        Self {
            bus: bus.clone(),
            subject: checkpoint_subject(chain),
            // No chain's name holds a hyphen, so that no chain's stream has this name.
            name: format!("OBSQRA_{chain}-checkpoints"),
        }
    }

    /// Makes the stream where it is gone, or brings it to its settings. The chain's own stream must
    /// have been brought to its settings before: one of an earlier program takes these subjects too.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure(&self) -> Result<(), BusError> {
        let config = Config {
            name: self.name.clone(),
            description: Some("signed roots of the log".into()),
            subjects: vec![self.subject.clone()],
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_age: MAX_AGE,
            max_bytes: MAX_BYTES,
            max_messages: MAX_MESSAGES,
            allow_direct: true,
            num_replicas: 1,
            ..Config::default()
        };
        let made = self.bus.jetstream.create_or_update_stream(config).await;
        made.map(|_| ()).map_err(|error| self.error(&error))
    }

    /// The last entry that a stored checkpoint covers; `None` when the stream is empty.
    ///
    /// # Errors
    /// When the stream is gone, the server does not answer, or its last message is not a checkpoint's.
    pub async fn last(&self) -> Result<Option<Seq>, BusError> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind as Kind;
        let stream = self.bus.jetstream.get_stream_no_info(&self.name).await;
        let stream = stream.map_err(|error| self.error(&error))?;
        let last = match stream.get_last_raw_message_by_subject(&self.subject).await {
            Ok(last) => last,
            Err(error) if error.kind() == Kind::NoMessageFound => return Ok(None),
            Err(error) => return Err(self.error(&error)),
        };
        let seq = last.headers.get(SEQ_HEADER).and_then(|value| value.as_str().parse().ok());
        seq.map(|seq| Some(Seq(seq))).ok_or_else(|| BusError::Foreign {
            stream: self.name.clone(),
            sequence: last.sequence,
            header: SEQ_HEADER,
        })
    }

    /// Stores a checkpoint, and returns once the server has it. One that the server holds is not stored
    /// again as long as it remembers the id, two minutes.
    ///
    /// # Errors
    /// When it was not stored or the acknowledgement did not arrive.
    pub async fn publish(&self, signed: &SignedCheckpoint) -> Result<(), BusError> {
        let failed = |problem: String| BusError::Publish { messages: 1, problem };
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", signed.checkpoint.hash().to_string().as_str());
        headers.insert(SEQ_HEADER, signed.checkpoint.seq.to_string().as_str());
        let body = Bytes::from(signed.message());
        let stored = async {
            let sent = self.bus.jetstream.publish_with_headers(self.subject.clone(), headers, body);
            sent.await?.await
        };
        match tokio::time::timeout(STORE_TIMEOUT, stored).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_elapsed) => Err(failed("no acknowledgement in time".into())),
        }
    }

    fn error(&self, error: &dyn std::error::Error) -> BusError {
        BusError::Stream { stream: self.name.clone(), problem: error.to_string() }
    }
}
