//! A NATS server of one test.

use std::collections::BTreeMap;

use async_nats::jetstream;
use futures::StreamExt;
use obsqra_bus::{Bus, BusOptions, Secret};
use obsqra_servers::{Durability, NatsOptions, PrivateNats, scratch_dir};
use tempfile::TempDir;

/// A message as a stream holds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredMessage {
    /// The stream's own number for it.
    pub sequence: u64,
    /// Where it was published.
    pub subject: String,
    /// The first value of each header.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
}

impl StoredMessage {
    /// A header's value.
    ///
    /// # Panics
    /// When the message lacks it.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("{} has no {name}", self.subject))
    }

    /// A header that holds a position of the log.
    ///
    /// # Panics
    /// When the message lacks it or it is no number.
    #[must_use]
    pub fn position(&self, name: &str) -> u64 {
        self.header(name).parse().expect("a position")
    }
}

/// A server with JetStream, on a free port and a folder of its own; both go with it.
#[derive(Debug)]
pub struct TestNats {
    server: PrivateNats,
    _folder: TempDir,
}

impl TestNats {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not start: a test without its server has failed.
    pub async fn start() -> Self {
        let folder = scratch_dir().expect("a folder for NATS");
        let options = NatsOptions::new(folder.path(), Durability::Throwaway);
        let server = PrivateNats::start(options).await.expect("nats-server starts");
        Self { server, _folder: folder }
    }

    /// The server, to be killed and started again.
    pub fn server(&mut self) -> &mut PrivateNats {
        &mut self.server
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Its token.
    #[must_use]
    pub fn token(&self) -> String {
        self.server.token().expose().to_owned()
    }

    /// Empties a stream.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn purge(&self, stream: &str) {
        let stream = self.jetstream().await.get_stream(stream).await.expect("the stream is there");
        stream.purge().await.expect("the stream is emptied");
    }

    /// Takes out of a stream what comes before a sequence.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn purge_before(&self, stream: &str, sequence: u64) {
        let stream = self.jetstream().await.get_stream(stream).await.expect("the stream is there");
        stream.purge().sequence(sequence).await.expect("its older messages are gone");
    }

    /// Takes one message out of a stream.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn delete_message(&self, stream: &str, sequence: u64) {
        let stream = self.jetstream().await.get_stream(stream).await.expect("the stream is there");
        stream.delete_message(sequence).await.expect("the message is gone");
    }

    /// Puts messages into a stream again, as a restored copy has them.
    ///
    /// # Panics
    /// When no stream takes them.
    pub async fn put_back(&self, messages: &[StoredMessage]) {
        let jetstream = self.jetstream().await;
        for message in messages {
            let mut headers = async_nats::HeaderMap::new();
            // Those of the batch belong to the first time.
            let own = message.headers.iter();
            for (name, value) in own.filter(|(name, _)| !name.starts_with("Nats-Batch")) {
                if !name.starts_with("Nats-Expected") {
                    headers.insert(name.as_str(), value.as_str());
                }
            }
            let (subject, body) = (message.subject.clone(), message.body.clone());
            let sent = jetstream.publish_with_headers(subject, headers, body.into()).await;
            sent.expect("the server answers").await.expect("a stream takes it");
        }
    }

    /// Makes a durable consumer that begins at a sequence, in the place of one of that name.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn make_consumer(&self, stream: &str, name: &str, start_sequence: u64) {
        let stream = self.jetstream().await.get_stream(stream).await.expect("the stream is there");
        stream.delete_consumer(name).await.expect("the consumer is gone");
        let config = jetstream::consumer::pull::Config {
            durable_name: Some(name.to_owned()),
            deliver_policy: jetstream::consumer::DeliverPolicy::ByStartSequence { start_sequence },
            ack_policy: jetstream::consumer::AckPolicy::Explicit,
            max_ack_pending: 1,
            ..jetstream::consumer::pull::Config::default()
        };
        stream.create_consumer(config).await.expect("the consumer is made");
    }

    /// Makes a stream as some other program would.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn make_stream(&self, name: &str, subject: &str) {
        let config = jetstream::stream::Config {
            name: name.to_owned(),
            subjects: vec![subject.to_owned()],
            ..jetstream::stream::Config::default()
        };
        self.jetstream().await.create_stream(config).await.expect("the stream is made");
    }

    /// Removes a stream with all it holds.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn delete_stream(&self, stream: &str) {
        self.jetstream().await.delete_stream(stream).await.expect("the stream is removed");
    }

    /// Puts a message into a stream as some other program would: without the relay's headers.
    ///
    /// # Panics
    /// When no stream takes it.
    pub async fn publish_foreign(&self, subject: &str, body: &'static str) {
        let jetstream = self.jetstream().await;
        let sent = jetstream.publish(subject.to_owned(), body.into()).await;
        sent.expect("the server answers").await.expect("a stream takes it");
    }

    async fn jetstream(&self) -> jetstream::Context {
        let client = async_nats::ConnectOptions::new()
            .token(self.token())
            .connect(self.url())
            .await
            .expect("NATS answers");
        jetstream::new(client)
    }

    /// Connects.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn bus(&self) -> Bus {
        let options = BusOptions {
            url: self.url(),
            token: Some(Secret::new(self.token())),
            name: "test".into(),
        };
        Bus::connect(options).await.expect("NATS answers")
    }

    /// All messages of a stream, in its order.
    ///
    /// # Panics
    /// When the server does not answer, or has no such stream.
    pub async fn messages(&self, stream: &str) -> Vec<StoredMessage> {
        let stream = self.jetstream().await.get_stream(stream).await.expect("the stream is there");
        let held = stream.cached_info().state.messages;
        let consumer = stream
            .create_consumer(jetstream::consumer::pull::OrderedConfig::default())
            .await
            .expect("a consumer");
        let all = consumer.messages().await.expect("messages");
        all.take(usize::try_from(held).expect("fits memory"))
            .map(|message| stored(&message.expect("a message")))
            .collect()
            .await
    }
}

fn stored(message: &jetstream::Message) -> StoredMessage {
    let info = message.info().expect("a message of a stream");
    let headers = message.headers.iter().flat_map(async_nats::HeaderMap::iter);
    StoredMessage {
        subject: message.subject.to_string(),
        sequence: info.stream_sequence,
        headers: headers
            .filter_map(|(name, values)| Some((name.to_string(), values.first()?.to_string())))
            .collect(),
        body: message.payload.to_vec(),
    }
}
