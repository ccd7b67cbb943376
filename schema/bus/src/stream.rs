//! The streams of a chain, of its facts and of those that are final: their settings, and how far they reach.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use obsqra_events::{chain_filters, final_filter};
use obsqra_types::{ChainId, Seq};

use crate::{Bus, BusError};

pub(crate) const SEQ_HEADER: &str = "Obsqra-Seq";
pub(crate) const PREV_HEADER: &str = "Obsqra-Prev";
pub(crate) const FINALITY_HEADER: &str = "Obsqra-Finality";

/// How long the server refuses a message id that it has seen: the shortest time it allows. What keeps a
/// window from being stored twice is the position it is published after; the ids are for consumers. The
/// server remembers ids of messages that were purged, so that a longer time would keep an emptied
/// stream from being filled again.
const DUPLICATE_WINDOW: Duration = Duration::from_millis(100);

/// Bounds of a chain's stream; the oldest messages go first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamLimits {
    /// Longest time a message is kept.
    pub max_age: Duration,
    /// Most bytes kept.
    pub max_bytes: i64,
    /// Most messages kept.
    pub max_messages: i64,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            max_age: Duration::from_secs(7 * 24 * 3600),
            max_bytes: 1 << 30,
            max_messages: 20_000_000,
        }
    }
}

impl StreamLimits {
    /// Bounds of the stream that repeats facts once their block is final. Who acts on these alone may be away longer.
    #[must_use]
    pub fn of_final() -> Self {
        Self { max_age: Duration::from_secs(30 * 24 * 3600), ..Self::default() }
    }
}

/// How far a stream reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StreamPosition {
    /// The stream's own sequence of its last message; 0 for a new stream.
    pub stream_sequence: u64,
    /// The log position of its last message; `None` when it holds none.
    pub seq: Option<Seq>,
}

/// A stream of one chain: positions of the log rise along it.
#[derive(Clone, Debug)]
pub struct ChainStream {
    pub(crate) bus: Bus,
    pub(crate) chain: ChainId,
    pub(crate) name: String,
    subjects: Vec<String>,
    limits: StreamLimits,
}

impl ChainStream {
    /// Makes the stream of all facts, or brings an existing one to these settings.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open(bus: &Bus, chain: &ChainId, limits: StreamLimits) -> Result<Self, BusError> {
        let stream = Self {
            bus: bus.clone(),
            chain: chain.clone(),
            name: format!("OBSQRA_{chain}"),
            subjects: chain_filters(chain),
            limits,
        };
        stream.ensure().await?;
        Ok(stream)
    }

    /// Makes the stream that repeats facts once their block is final, or brings an existing one to these settings.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn open_final(
        bus: &Bus,
        chain: &ChainId,
        limits: StreamLimits,
    ) -> Result<Self, BusError> {
        let stream = Self {
            bus: bus.clone(),
            chain: chain.clone(),
            // No chain's name holds a hyphen, so that no chain's stream has this name.
            name: format!("OBSQRA_{chain}-final"),
            subjects: vec![final_filter(chain)],
            limits,
        };
        stream.ensure().await?;
        Ok(stream)
    }

    /// Makes the stream where it is gone, or brings it to its settings.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn ensure(&self) -> Result<(), BusError> {
        let limits = self.limits;
        let config = Config {
            name: self.name.clone(),
            description: Some(format!("copies of the log of {}", self.chain)),
            subjects: self.subjects.clone(),
            storage: StorageType::File,
            discard: DiscardPolicy::Old,
            max_age: limits.max_age,
            max_bytes: limits.max_bytes,
            max_messages: limits.max_messages,
            duplicate_window: DUPLICATE_WINDOW,
            allow_direct: true,
            allow_atomic_publish: true,
            num_replicas: 1,
            ..Config::default()
        };
        self.bus
            .jetstream
            .create_or_update_stream(config)
            .await
            .map_err(|error| self.error(&error))?;
        Ok(())
    }

    /// The name that the server knows it by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The longest time a message is kept.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.limits.max_age
    }

    /// How far the stream reaches.
    ///
    /// # Errors
    /// When the stream is gone, the server does not answer, or its last message is not the relay's.
    pub async fn position(&self) -> Result<StreamPosition, BusError> {
        let stream =
            self.bus.jetstream.get_stream(&self.name).await.map_err(|error| self.error(&error))?;
        let state = &stream.cached_info().state;
        if state.messages == 0 {
            return Ok(StreamPosition { stream_sequence: state.last_sequence, seq: None });
        }
        let last = stream
            .get_raw_message(state.last_sequence)
            .await
            .map_err(|error| self.error(&error))?;
        let seq = self.header_seq(&last)?;
        Ok(StreamPosition { stream_sequence: state.last_sequence, seq: Some(seq) })
    }

    /// The log position of the last message on a subject; `None` when the stream holds none.
    ///
    /// # Errors
    /// As [`ChainStream::position`].
    pub async fn last_on(&self, subject: &str) -> Result<Option<Seq>, BusError> {
        use async_nats::jetstream::stream::LastRawMessageErrorKind as Kind;
        let stream = self
            .bus
            .jetstream
            .get_stream_no_info(&self.name)
            .await
            .map_err(|error| self.error(&error))?;
        match stream.get_last_raw_message_by_subject(subject).await {
            Ok(message) => self.header_seq(&message).map(Some),
            Err(error) if error.kind() == Kind::NoMessageFound => Ok(None),
            Err(error) => Err(self.error(&error)),
        }
    }

    fn header_seq(
        &self,
        message: &async_nats::jetstream::message::StreamMessage,
    ) -> Result<Seq, BusError> {
        message
            .headers
            .get(SEQ_HEADER)
            .and_then(|value| value.as_str().parse().ok())
            .map(Seq)
            .ok_or_else(|| BusError::Foreign {
                stream: self.name.clone(),
                sequence: message.sequence,
                header: SEQ_HEADER,
            })
    }

    pub(crate) fn error(&self, error: &dyn std::error::Error) -> BusError {
        BusError::Stream { stream: self.name.clone(), problem: error.to_string() }
    }
}
