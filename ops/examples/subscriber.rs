//! A subscriber of facts: resumes after a restart, notices what it missed, and undoes what is retracted.
//!
//! It reads one durable consumer, a message at a time and in the order of the log, and prints a JSON object a line:
//! `handle` for a fact, `undo` for a fact that was handled and no longer counts, `gap` where messages were missed,
//! `lost` for those of them that the stream has no more. The order of its steps is the rule: handle, remember in the
//! state file, acknowledge. Killed between the first two it handles a fact twice, so that what stands in the place of
//! `println!` must take the message id as its key.
//!
//! `cargo run -p obsqra-bus --example subscriber -- --chain SN_MAIN --only 'risk.>' --only 'retracted.>'`

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{DirectGetErrorKind, Stream};
use async_nats::{ConnectOptions, HeaderMap, jetstream};
use futures::StreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How long one fact may take until the server delivers it again.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// How long one request for a message waits at the server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Most provisional facts remembered to be undone; the oldest go first.
const MOST_FACTS: usize = 10_000;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(std::env::args().skip(1))?;
    let client = options.connect().await?;
    let jetstream = jetstream::new(client);
    let stream = jetstream.get_stream(options.stream()).await?;
    let consumer = options.consumer(&stream).await?;
    let state = State::load(options.state.clone())?;
    Subscriber { stream, state }.run(consumer, options.once).await
}

/// What the command line says.
struct Options {
    url: String,
    token_file: Option<PathBuf>,
    nkey_file: Option<PathBuf>,
    inbox: Option<String>,
    chain: String,
    /// The consumer's name: another one begins anew.
    name: String,
    state: PathBuf,
    /// Subjects below `obsqra.v1.<chain>.`; none for all.
    only: Vec<String>,
    /// Whether facts come when their block is final, and not before.
    is_final: bool,
    /// Whether to end when nothing is pending.
    once: bool,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Outcome<Self> {
        let mut options = Self {
            url: "nats://127.0.0.1:4222".into(),
            token_file: None,
            nkey_file: None,
            inbox: None,
            chain: "SN_MAIN".into(),
            name: "hook-example-v1".into(),
            state: "subscriber.json".into(),
            only: Vec::new(),
            is_final: false,
            once: false,
        };
        while let Some(name) = arguments.next() {
            match name.as_str() {
                "--final" => options.is_final = true,
                "--once" => options.once = true,
                name => {
                    let value = arguments.next().ok_or(format!("{name} lacks its value"))?;
                    match name {
                        "--url" => options.url = value,
                        "--token-file" => options.token_file = Some(value.into()),
                        "--nkey-file" => options.nkey_file = Some(value.into()),
                        "--inbox" => options.inbox = Some(value),
                        "--chain" => options.chain = value,
                        "--name" => options.name = value,
                        "--state" => options.state = value.into(),
                        "--only" => options.only.push(value),
                        _ => return Err(format!("{name} is not known").into()),
                    }
                }
            }
        }
        Ok(options)
    }

    async fn connect(&self) -> Outcome<async_nats::Client> {
        let mut connect = ConnectOptions::new().name(&self.name);
        if let Some(file) = &self.token_file {
            connect = connect.token(fs::read_to_string(file)?.trim().to_owned());
        }
        if let Some(file) = &self.nkey_file {
            connect = connect.nkey(fs::read_to_string(file)?.trim().to_owned());
        }
        if let Some(inbox) = &self.inbox {
            connect = connect.custom_inbox_prefix(inbox);
        }
        Ok(connect.connect(&self.url).await?)
    }

    fn stream(&self) -> String {
        let suffix = if self.is_final { "-final" } else { "" };
        format!("OBSQRA_{}{suffix}", self.chain)
    }

    async fn consumer(&self, stream: &Stream) -> Outcome<PullConsumer> {
        let lane = if self.is_final { ".final" } else { "" };
        let filters = self.only.iter().map(|only| format!("obsqra.v1.{}{lane}.{only}", self.chain));
        let config = pull::Config {
            durable_name: Some(self.name.clone()),
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            // One at a time: a message that is delivered again is never behind a newer one.
            max_ack_pending: 1,
            filter_subjects: filters.collect(),
            ..pull::Config::default()
        };
        Ok(stream.get_or_create_consumer(&self.name, config).await?)
    }
}

/// What has to outlive the process.
#[derive(Default, Serialize, Deserialize)]
struct State {
    #[serde(skip)]
    path: PathBuf,
    /// Position of the first message ever seen: from there on none should be missing.
    since: Option<u64>,
    /// The last message of each subject.
    subjects: BTreeMap<String, Seen>,
    /// Subjects of the provisional facts that were handled, by position.
    facts: BTreeMap<u64, String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Seen {
    /// Position in the log.
    seq: u64,
    /// Sequence in the stream.
    stream_sequence: u64,
}

impl State {
    fn load(path: PathBuf) -> Outcome<Self> {
        let state = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            Err(error) => return Err(error.into()),
        };
        Ok(Self { path, ..state })
    }

    /// The file is the old one or the new one, never half of one.
    fn save(&self) -> Outcome<()> {
        let beside = self.path.with_extension("new");
        let mut file = File::create(&beside)?;
        file.write_all(&serde_json::to_vec(self)?)?;
        file.sync_all()?;
        Ok(fs::rename(beside, &self.path)?)
    }

    /// The last position on a subject that is not missing.
    fn last(&self, subject: &str) -> u64 {
        let before_all = self.since.map_or(u64::MAX, |since| since.saturating_sub(1));
        self.subjects.get(subject).map_or(before_all, |seen| seen.seq)
    }
}

/// A message, from the consumer or read over from the stream.
struct Incoming {
    subject: String,
    id: String,
    seq: u64,
    /// Position of the message before it on the subject; 0 for none.
    previous: u64,
    is_final: bool,
    stream_sequence: u64,
    body: Value,
}

impl Incoming {
    fn new(subject: &str, headers: &HeaderMap, sequence: u64, body: &[u8]) -> Outcome<Self> {
        let header = |name: &str| {
            let value = headers.get(name).map(|value| value.as_str());
            value.ok_or_else(|| format!("message {sequence} has no {name}"))
        };
        Ok(Self {
            subject: subject.to_owned(),
            id: header("Nats-Msg-Id")?.to_owned(),
            seq: header("Obsqra-Seq")?.parse()?,
            previous: header("Obsqra-Prev")?.parse()?,
            is_final: header("Obsqra-Finality")? == "final",
            stream_sequence: sequence,
            body: serde_json::from_slice(body)?,
        })
    }
}

struct Subscriber {
    stream: Stream,
    state: State,
}

impl Subscriber {
    async fn run(mut self, mut consumer: PullConsumer, once: bool) -> Outcome<()> {
        loop {
            let mut batch = consumer.batch().max_messages(1).expires(PATIENCE).messages().await?;
            let mut is_empty = true;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| error.to_string())?;
                let sequence = message.info().map_err(|error| error.to_string())?.stream_sequence;
                let headers = message.headers.clone().unwrap_or_default();
                let subject = message.subject.as_str();
                self.take(Incoming::new(subject, &headers, sequence, &message.payload)?).await?;
                message.double_ack().await.map_err(|error| error.to_string())?;
                is_empty = false;
                if once && is_done(&mut consumer).await? {
                    return Ok(());
                }
            }
            if once && is_empty && is_done(&mut consumer).await? {
                return Ok(());
            }
        }
    }

    /// Takes in a message: once, after those before it on its subject.
    async fn take(&mut self, message: Incoming) -> Outcome<()> {
        self.state.since.get_or_insert(message.seq);
        let last = self.state.last(&message.subject);
        if self.state.subjects.contains_key(&message.subject) && message.seq <= last {
            return Ok(());
        }
        if message.previous > last {
            self.read_over(&message, last).await?;
        }
        self.handle(&message)?;
        self.state.save()
    }

    /// Reads what was missed from the stream, as far as it has it.
    async fn read_over(&mut self, message: &Incoming, last: u64) -> Outcome<()> {
        let subject = &message.subject;
        say(&json!({ "do": "gap", "subject": subject, "after": last, "before": message.seq }));
        let mut reached = last;
        let mut from = self.state.subjects.get(subject).map_or(1, |seen| seen.stream_sequence + 1);
        while from < message.stream_sequence {
            let found = self.stream.direct_get_next_for_subject(subject.as_str(), Some(from)).await;
            let found = match found {
                Ok(found) => found,
                Err(error) if error.kind() == DirectGetErrorKind::NotFound => break,
                Err(error) => return Err(error.into()),
            };
            let missed = Incoming::new(subject, &found.headers, found.sequence, &found.payload)?;
            from = found.sequence + 1;
            if missed.seq <= last || missed.seq >= message.seq {
                continue;
            }
            self.tell_lost(subject, reached, missed.previous);
            self.handle(&missed)?;
            reached = missed.seq;
        }
        self.tell_lost(subject, reached, message.previous);
        Ok(())
    }

    /// Says what neither the consumer nor the stream has: the log does, at these positions.
    fn tell_lost(&self, subject: &str, after: u64, up_to: u64) {
        if up_to > after {
            say(&json!({ "do": "lost", "subject": subject, "after": after, "upTo": up_to }));
        }
    }

    fn handle(&mut self, message: &Incoming) -> Outcome<()> {
        let Incoming { subject, id, seq, is_final, stream_sequence, body, .. } = message;
        let finality = if *is_final { "final" } else { "provisional" };
        say(&json!({
            "do": "handle", "seq": seq, "subject": subject, "id": id, "finality": finality,
        }));
        if subject.contains(".retracted.") {
            self.undo(*seq, body)?;
        } else if !is_final {
            self.state.facts.insert(*seq, subject.clone());
            while self.state.facts.len() > MOST_FACTS {
                self.state.facts.pop_first();
            }
        }
        let seen = Seen { seq: *seq, stream_sequence: *stream_sequence };
        self.state.subjects.insert(subject.clone(), seen);
        Ok(())
    }

    /// Takes back what was done for a fact, if anything was.
    fn undo(&mut self, because: u64, body: &Value) -> Outcome<()> {
        let retracted = body["data"]["retractedSeq"].as_str().ok_or("no retractedSeq")?;
        let retracted: u64 = retracted.parse()?;
        if let Some(subject) = self.state.facts.remove(&retracted) {
            say(&json!({
                "do": "undo", "seq": retracted, "subject": subject, "because": because,
            }));
        }
        Ok(())
    }
}

async fn is_done(consumer: &mut PullConsumer) -> Outcome<bool> {
    let info = consumer.info().await?;
    Ok(info.num_pending == 0 && info.num_ack_pending == 0)
}

fn say(line: &Value) {
    println!("{line}");
}
