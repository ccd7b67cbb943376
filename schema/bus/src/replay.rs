//! An analyst's own subjects: `obsqra.replay.<name>.>`, onto which a range of the log is replayed.
//!
//! Nothing else can be published from here: names are single tokens, so that no replay gets under `obsqra.v1`. A
//! message whose subject a stream listens to is acknowledged by it; any other is sent at most once, to whoever
//! listens now. What was not acknowledged is an error and is not sent again: the analyst begins anew, from the last
//! `Obsqra-Seq` that arrived.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{GetStreamByNameErrorKind, PublishAckFuture};
use bytes::Bytes;
use obsqra_types::Seq;

use crate::stream::{PREV_HEADER, SEQ_HEADER};
use crate::{Bus, BusError};

const KIND_HEADER: &str = "Obsqra-Kind";
/// Most messages that wait for their acknowledgement, or to be flushed.
const MAX_PENDING: usize = 256;
/// How long a stream may take to acknowledge, and the server to take what is flushed.
const ACK_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest name.
const MAX_NAME: usize = 64;

/// Whose subjects: 1 to 64 characters of `A-Z`, `a-z`, `0-9`, `_` and `-`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayName(String);

/// The text is no name of a replay.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "`{0}` is no name: expected 1 to {MAX_NAME} characters of A-Z, a-z, 0-9, _ and -; messages go to obsqra.replay.NAME.>"
)]
pub struct InvalidReplayName(String);

impl FromStr for ReplayName {
    type Err = InvalidReplayName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(plain) {
            return Err(InvalidReplayName(text.to_owned()));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for ReplayName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A message of a replay.
#[derive(Clone, Debug)]
pub struct ReplayMessage {
    /// What follows `obsqra.replay.<name>.` in the subject.
    pub tail: String,
    /// Position of its entry, and of the message before on the same subject of this replay, 0 for none; absent of
    /// what is no entry.
    pub place: Option<(Seq, Seq)>,
    /// The entry's kind, or what else it is.
    pub kind: &'static str,
    /// JSON.
    pub body: Vec<u8>,
}

/// Publishes one replay.
#[derive(Debug)]
pub struct ReplayChannel {
    bus: Bus,
    name: ReplayName,
    /// Whether a stream listens to a subject, for each that was published on.
    kept: BTreeMap<String, bool>,
    acks: VecDeque<PublishAckFuture>,
    unflushed: usize,
}

impl ReplayChannel {
    /// Nothing is asked or sent yet.
    #[must_use]
    pub fn new(bus: &Bus, name: ReplayName) -> Self {
        let (kept, acks) = (BTreeMap::new(), VecDeque::new());
        Self { bus: bus.clone(), name, kept, acks, unflushed: 0 }
    }

    /// Sends a message, and waits for the oldest acknowledgement where too many are open.
    ///
    /// # Errors
    /// When the server does not answer, or a stream did not store a message in time.
    pub async fn publish(&mut self, message: ReplayMessage) -> Result<(), BusError> {
        let subject = format!("obsqra.replay.{}.{}", self.name, message.tail);
        let headers = headers(&message);
        let body = Bytes::from(message.body);
        if self.is_kept(&subject).await? {
            let sent = self.bus.jetstream.publish_with_headers(subject, headers, body).await;
            self.acks.push_back(sent.map_err(|error| failed(&error))?);
        } else {
            let sent = self.bus.client.publish_with_headers(subject, headers, body).await;
            sent.map_err(|error| failed(&error))?;
            self.unflushed += 1;
        }
        while self.acks.len() >= MAX_PENDING {
            self.acknowledged().await?;
        }
        if self.unflushed >= MAX_PENDING {
            self.flush().await?;
        }
        Ok(())
    }

    /// Waits until every message was acknowledged or handed to the server.
    ///
    /// # Errors
    /// As [`ReplayChannel::publish`].
    pub async fn settle(&mut self) -> Result<(), BusError> {
        while !self.acks.is_empty() {
            self.acknowledged().await?;
        }
        self.flush().await
    }

    async fn acknowledged(&mut self) -> Result<(), BusError> {
        let Some(ack) = self.acks.pop_front() else {
            return Ok(());
        };
        match tokio::time::timeout(ACK_TIMEOUT, ack).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(elapsed) => Err(failed(&elapsed)),
        }
    }

    async fn flush(&mut self) -> Result<(), BusError> {
        self.unflushed = 0;
        match tokio::time::timeout(ACK_TIMEOUT, self.bus.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(failed(&error)),
            Err(elapsed) => Err(failed(&elapsed)),
        }
    }

    async fn is_kept(&mut self, subject: &str) -> Result<bool, BusError> {
        if let Some(kept) = self.kept.get(subject) {
            return Ok(*kept);
        }
        let kept = match self.bus.jetstream.stream_by_subject(subject).await {
            Ok(_) => true,
            Err(error) if error.kind() == GetStreamByNameErrorKind::NotFound => false,
            Err(error) => return Err(failed(&error)),
        };
        self.kept.insert(subject.to_owned(), kept);
        Ok(kept)
    }
}

fn headers(message: &ReplayMessage) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(KIND_HEADER, message.kind);
    if let Some((seq, previous)) = message.place {
        headers.insert(SEQ_HEADER, seq.to_string().as_str());
        headers.insert(PREV_HEADER, previous.to_string().as_str());
    }
    headers
}

fn failed(error: &dyn std::error::Error) -> BusError {
    BusError::Publish { messages: 1, problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::ReplayName;

    #[test]
    fn a_name_is_one_token() {
        for good in ["alice", "A_1-b", &"x".repeat(64)] {
            assert_eq!(good.parse::<ReplayName>().unwrap().to_string(), good);
        }
        let long = "x".repeat(65);
        for bad in ["", "a.b", "obsqra.v1", "*", ">", "a b", "a>", "é", "..", "a\n", &long] {
            assert!(bad.parse::<ReplayName>().is_err(), "{bad:?}");
        }
    }
}
