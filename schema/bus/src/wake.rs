//! Being woken: a consumer that says that something new is in the log, not what.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use futures::StreamExt;
use obsqra_events::{Kind, derived_filter};

use crate::{BusError, ChainStream};

/// Most wake-ups asked for at a time.
const MESSAGES_AHEAD: usize = 64;

/// Wakes its owner when facts of a kind are published.
///
/// A wake-up may be lost, doubled or late. The owner reads the log from its own cursor each time, and
/// looks by itself after a bounded time.
pub struct Wake {
    stream: ChainStream,
    filters: Vec<String>,
    messages: Option<pull::Stream>,
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wake").field("filters", &self.filters).finish_non_exhaustive()
    }
}

impl Wake {
    /// Subscribes to facts of the given kinds.
    #[must_use]
    pub fn new(stream: &ChainStream, kinds: &[Kind]) -> Self {
        let filters = kinds.iter().map(|kind| derived_filter(&stream.chain, *kind)).collect();
        Self { stream: stream.clone(), filters, messages: None }
    }

    /// Returns at the next fact, or after `at_most`. A consumer that broke is made anew; until then
    /// the bound alone wakes.
    pub async fn wait(&mut self, at_most: Duration) {
        let deadline = tokio::time::Instant::now() + at_most;
        let waited = tokio::time::timeout_at(deadline, self.next()).await;
        if matches!(waited, Ok(Err(_))) {
            self.messages = None;
            tokio::time::sleep_until(deadline).await;
        }
    }

    async fn next(&mut self) -> Result<(), BusError> {
        if self.messages.is_none() {
            self.messages = Some(self.consume().await?);
        }
        let Some(messages) = &mut self.messages else {
            return Ok(());
        };
        match messages.next().await {
            Some(Ok(_)) => {
                // What else has arrived says nothing more.
                while let Some(Some(Ok(_))) = futures::FutureExt::now_or_never(messages.next()) {}
                Ok(())
            }
            Some(Err(error)) => Err(self.stream.error(&error)),
            None => Err(self.stream.error(&std::io::Error::other("consumer ended"))),
        }
    }

    async fn consume(&self) -> Result<pull::Stream, BusError> {
        let stream = self
            .stream
            .bus
            .jetstream
            .get_stream_no_info(&self.stream.name)
            .await
            .map_err(|error| self.stream.error(&error))?;
        let consumer = stream
            .create_consumer(pull::Config {
                deliver_policy: DeliverPolicy::New,
                ack_policy: AckPolicy::None,
                filter_subjects: self.filters.clone(),
                inactive_threshold: Duration::from_secs(60),
                memory_storage: true,
                ..pull::Config::default()
            })
            .await
            .map_err(|error| self.stream.error(&error))?;
        consumer
            .stream()
            .max_messages_per_batch(MESSAGES_AHEAD)
            .heartbeat(Duration::from_secs(5))
            .messages()
            .await
            .map_err(|error| self.stream.error(&error))
    }
}
