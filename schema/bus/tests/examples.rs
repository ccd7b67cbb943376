//! The subscribers of `ops/examples`, in both languages, as processes against a real server: they resume, notice what
//! they missed, take in once what comes twice, and undo what is retracted.
//!
//! The Python one needs nats-py, which `ops/install` puts beside the other tools; without it its tests say `skipped`.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use obsqra_bus::{ChainStream, Outgoing, StreamLimits, StreamPosition};
use obsqra_events::{
    Causes, Draft, Entry, Fact, Finality, Kind, Message, MessageContext, Retracted, RiskAbsent,
};
use obsqra_testkit::{TestNats, felt};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Hash32, ProtocolId, RecordedAt, Seq,
    UnixSeconds,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

const STREAM: &str = "OBSQRA_OBSQRA_TEST";
const CONSUMER: &str = "hook-example-v1";
/// Where `ops/install` puts the modules of the checks.
const MODULES: &str = "/usr/local/lib/obsqra/python";
/// A test that is still waiting by then hangs.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Language {
    Rust,
    Python,
}

impl Language {
    /// Both, or Rust alone where nats-py is missing.
    fn there() -> Vec<Self> {
        let found = python().args(["-c", "import nats"]).stderr(Stdio::null()).status();
        if found.is_ok_and(|status| status.success()) {
            return vec![Self::Rust, Self::Python];
        }
        println!("skipped: the Python subscriber, since nats-py is not there (see ops/install)");
        vec![Self::Rust]
    }

    fn command(self) -> Command {
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../ops/examples");
        match self {
            Self::Python => {
                let mut command = python();
                command.arg(examples.join("subscriber.py"));
                command
            }
            Self::Rust => Command::new(built()),
        }
    }
}

fn python() -> Command {
    let mut command = Command::new("/usr/bin/python3");
    let known = std::env::var("PYTHONPATH").unwrap_or_default();
    command.env("PYTHONPATH", format!("{MODULES}:{known}"));
    command
}

/// The example, which `cargo test` builds beside the tests.
fn built() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let built = tests.parent().unwrap().parent().unwrap().join("examples/subscriber");
    assert!(built.exists(), "build it: cargo build -p obsqra-bus --example subscriber");
    built
}

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

fn protocol() -> ProtocolId {
    ProtocolId::new("zklend").unwrap()
}

struct World {
    nats: TestNats,
    stream: ChainStream,
    position: StreamPosition,
    language: Language,
    folder: TempDir,
}

impl World {
    async fn begin(language: Language) -> Self {
        let nats = TestNats::start().await;
        let bus = nats.bus().await;
        let stream = ChainStream::open(&bus, &chain(), StreamLimits::default()).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), nats.token()).unwrap();
        let position = StreamPosition { stream_sequence: 0, seq: None };
        Self { nats, stream, position, language, folder }
    }

    /// Publishes a risk fact at each position, each linked to the one before.
    async fn publish(&mut self, seqs: &[u64], mut previous: Option<u64>) {
        let mut window = Vec::new();
        for seq in seqs {
            window.push(outgoing(&absent(), *seq, previous));
            previous = Some(*seq);
        }
        self.store(&window).await;
    }

    /// For a moment the server refuses ids that it has seen.
    async fn store(&mut self, window: &[Outgoing]) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match self.stream.publish(self.position, window).await {
                Ok(position) => {
                    self.position = position;
                    return;
                }
                Err(error) => assert!(Instant::now() < deadline, "{error}"),
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = self.language.command();
        command.args(["--url", &self.nats.url(), "--chain", "OBSQRA_TEST"]);
        command.arg("--token-file").arg(self.folder.path().join("token"));
        command.arg("--state").arg(self.folder.path().join("state.json"));
        command.args(["--only", "risk.>", "--only", "retracted.>"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Runs the subscriber until nothing is pending; what it said.
    async fn run(&self) -> Vec<Value> {
        let mut command = self.command();
        command.arg("--once");
        said(command).await
    }
}

async fn said(mut command: Command) -> Vec<Value> {
    let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let said = String::from_utf8(ended.stdout).unwrap();
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn absent() -> Fact {
    Fact::RiskAbsent(RiskAbsent {
        protocol: protocol(),
        block_hash: BlockHash(felt(7)),
        formula: "risk-v1.2".into(),
        absent: Vec::new(),
        causes: Causes::new(Vec::new()).unwrap(),
    })
}

fn retracted(seq: u64) -> Fact {
    Fact::Retracted(Retracted {
        kind: Kind::RiskAbsent,
        subject: "zklend".into(),
        block_hash: BlockHash(felt(7)),
        seq: Seq(seq),
        content_hash: Hash32([1; 32]),
        reverted_seq: Seq(seq + 1),
    })
}

/// A fact of a block of its own.
fn outgoing(fact: &Fact, seq: u64, previous: Option<u64>) -> Outgoing {
    let block = BlockRef {
        number: BlockNumber(seq),
        epoch: BranchEpoch(0),
        timestamp: UnixSeconds(1_700_000_000 + seq),
    };
    let draft = Draft::new(&chain(), Some(block), fact);
    let (recorded_at, hash) = (RecordedAt(0), Hash32([0; 32]));
    let entry = Entry { seq: Seq(seq), recorded_at, draft, hash };
    let message = Message::new(&entry, fact, &MessageContext::default()).unwrap();
    let previous = previous.map(Seq);
    Outgoing { message, seq: Seq(seq), previous, finality: Finality::Provisional }
}

/// What was said of one sort, by the number that a member has.
fn told(said: &[Value], what: &str, member: &str) -> Vec<u64> {
    let lines = said.iter().filter(|line| line["do"] == what);
    lines.map(|line| line[member].as_u64().unwrap()).collect()
}

fn handled(said: &[Value]) -> Vec<u64> {
    told(said, "handle", "seq")
}

fn actions(said: &[Value]) -> Vec<&str> {
    said.iter().map(|line| line["do"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn facts_are_handled_in_order_and_those_after_a_restart_once() {
    for language in Language::there() {
        let mut world = World::begin(language).await;
        world.publish(&[3, 5, 8], None).await;
        let said = world.run().await;
        assert_eq!(handled(&said), [3, 5, 8], "{language:?}: {said:?}");
        assert_eq!(said[0]["subject"], "obsqra.v1.OBSQRA_TEST.risk.zklend.absent");
        assert_eq!(said[0]["id"], "OBSQRA_TEST:risk.absent:3.0:zklend");
        assert_eq!(said[0]["finality"], "provisional");
        assert_eq!(world.run().await, [] as [Value; 0], "{language:?}: nothing new");
        world.publish(&[9, 12], Some(8)).await;
        let said = world.run().await;
        assert_eq!(handled(&said), [9, 12]);
        assert_eq!(said.len(), 2, "{language:?}: no gap: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_killed_in_the_middle_goes_on_where_it_was() {
    for language in Language::there() {
        let mut world = World::begin(language).await;
        let all: Vec<u64> = (1..=200).collect();
        world.publish(&all, None).await;
        let mut child = world.command().spawn().unwrap();
        let mut seen = tokio::task::block_in_place(|| read_some(&mut child, 20));
        child.kill().unwrap();
        child.wait().unwrap();
        let rest = world.run().await;
        assert!(!rest.iter().any(|line| line["do"] == "gap"), "{language:?}: {rest:?}");
        // The fact that was under way may come twice: its effect and its state are two steps.
        let handled = handled(&rest);
        let doubles = handled.iter().filter(|seq| seen.contains(seq)).count();
        assert!(doubles <= 1, "{language:?}: {doubles} doubles");
        assert!(handled.is_sorted_by(|one, next| one < next));
        seen.extend(handled);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, all, "{language:?}");
    }
}

/// Positions of the first facts that it says it handled, and of what else it had said by then.
fn read_some(child: &mut Child, facts: usize) -> Vec<u64> {
    let lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let seqs = lines.take(facts).map(|line| {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        line["seq"].as_u64().unwrap()
    });
    seqs.collect()
}

#[tokio::test]
async fn a_purged_stretch_is_noticed_and_named() {
    for language in Language::there() {
        let mut world = World::begin(language).await;
        world.publish(&[2, 4], None).await;
        world.run().await;
        world.publish(&[6, 8, 10], Some(4)).await;
        // The two oldest that it has not seen yet expire.
        world.nats.purge_before(STREAM, 5).await;
        let said = world.run().await;
        assert_eq!(actions(&said), ["gap", "lost", "handle"], "{language:?}: {said:?}");
        assert_eq!((&said[0]["after"], &said[0]["before"]), (&4.into(), &10.into()));
        assert_eq!((&said[1]["after"], &said[1]["upTo"]), (&4.into(), &8.into()));
        assert_eq!(handled(&said), [10]);
        world.publish(&[11], Some(10)).await;
        assert_eq!(actions(&world.run().await), ["handle"], "{language:?}: told once");
    }
}

#[tokio::test]
async fn a_gap_that_the_stream_still_has_is_read_over_in_order() {
    for language in Language::there() {
        let mut world = World::begin(language).await;
        world.publish(&[2, 4], None).await;
        world.run().await;
        world.publish(&[6, 8, 10, 12], Some(4)).await;
        // Another consumer in its place begins behind three of them, of which one is gone.
        world.nats.make_consumer(STREAM, CONSUMER, 6).await;
        world.nats.delete_message(STREAM, 4).await;
        let said = world.run().await;
        let expected = ["gap", "handle", "lost", "handle", "handle"];
        assert_eq!(actions(&said), expected, "{language:?}: {said:?}");
        assert_eq!(handled(&said), [6, 10, 12]);
        assert_eq!((&said[2]["after"], &said[2]["upTo"]), (&6.into(), &8.into()));
    }
}

#[tokio::test]
async fn what_comes_twice_is_handled_once() {
    for language in Language::there() {
        let mut world = World::begin(language).await;
        world.publish(&[2, 4, 6], None).await;
        // As if the relay had lost the acknowledgement and the server what it knew of ids.
        world.publish(&[4, 6], Some(2)).await;
        world.publish(&[7], Some(6)).await;
        let said = world.run().await;
        assert_eq!(handled(&said), [2, 4, 6, 7], "{language:?}: {said:?}");
        assert_eq!(said.len(), 4);
        // Its consumer is lost, and everything is delivered again.
        world.nats.make_consumer(STREAM, CONSUMER, 1).await;
        assert_eq!(world.run().await, [] as [Value; 0], "{language:?}");
    }
}

#[tokio::test]
async fn what_is_retracted_is_undone_once_and_only_if_it_was_done() {
    for language in Language::there() {
        let mut world = World::begin(language).await;
        world.publish(&[2, 4], None).await;
        assert_eq!(handled(&world.run().await), [2, 4]);
        let retractions = [outgoing(&retracted(4), 6, None), outgoing(&retracted(1), 7, Some(6))];
        world.store(&retractions).await;
        let said = world.run().await;
        assert_eq!(actions(&said), ["handle", "undo", "handle"], "{language:?}: {said:?}");
        assert_eq!(told(&said, "undo", "seq"), [4]);
        assert_eq!(said[1]["because"], 6);
        world.nats.make_consumer(STREAM, CONSUMER, 1).await;
        assert_eq!(world.run().await, [] as [Value; 0], "{language:?}");
    }
}

#[tokio::test]
async fn final_facts_are_read_from_their_own_stream() {
    for language in Language::there() {
        let mut world = World::begin(language).await;
        world.publish(&[2, 4], None).await;
        let bus = world.nats.bus().await;
        let limits = StreamLimits::of_final();
        let stream = ChainStream::open_final(&bus, &chain(), limits).await.unwrap();
        let mut again = outgoing(&absent(), 2, None);
        again.message = again.message.when_final();
        again.finality = Finality::Final;
        let position = stream.position().await.unwrap();
        stream.publish(position, &[again]).await.unwrap();
        let mut command = world.command();
        command.args(["--final", "--once"]);
        let said = said(command).await;
        assert_eq!(handled(&said), [2], "{language:?}: {said:?}");
        assert_eq!(said[0]["subject"], "obsqra.v1.OBSQRA_TEST.final.risk.zklend.absent");
        assert_eq!(said[0]["id"], "OBSQRA_TEST:risk.absent:2.0:zklend:final");
        assert_eq!(said[0]["finality"], "final");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_an_error() {
    for language in Language::there() {
        let world = World::begin(language).await;
        world.nats.delete_stream(STREAM).await;
        let mut command = world.command();
        command.arg("--once").stderr(Stdio::null());
        let ended = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert!(!ended.status.success(), "{language:?}");
        assert!(ended.stdout.is_empty());
    }
}
