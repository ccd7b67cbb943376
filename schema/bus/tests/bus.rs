//! The stream of a chain on a real server: windows whole or not at all, positions, crashes, wake-ups.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use obsqra_bus::{
    Bus, BusError, ChainStream, MAX_BATCH, Outgoing, StreamLimits, StreamPosition, Wake,
};
use obsqra_events::{BlockFinalized, Fact, Finality, Kind, Message, Subject};
use obsqra_testkit::{TestNats, felt};
use obsqra_types::{BlockHash, ChainId, ProtocolId, Seq};
use tokio::time::Instant;

const STREAM: &str = "OBSQRA_OBSQRA_TEST";
/// A test that is still waiting by then hangs.
const DEADLINE: Duration = Duration::from_secs(60);

fn chain() -> ChainId {
    ChainId::new("OBSQRA_TEST").unwrap()
}

async fn open(bus: &Bus) -> ChainStream {
    ChainStream::open(bus, &chain(), StreamLimits::default()).await.unwrap()
}

/// A message of a position; odd and even positions have subjects of their own.
fn outgoing(seq: u64) -> Outgoing {
    let protocol = ProtocolId::new(if seq.is_multiple_of(2) { "even" } else { "odd" }).unwrap();
    let message = Message {
        subject: Subject::event(&chain(), &protocol, Some("Swap")),
        id: format!("id:{seq}"),
        body: format!("{{\"seq\":\"{seq}\"}}").into_bytes(),
    };
    let previous = seq.checked_sub(2).filter(|seq| *seq > 0).map(Seq);
    let finality = if seq <= 2 { Finality::Final } else { Finality::Provisional };
    Outgoing { message, seq: Seq(seq), previous, finality }
}

fn window(seqs: std::ops::RangeInclusive<u64>) -> Vec<Outgoing> {
    seqs.map(outgoing).collect()
}

fn at(stream_sequence: u64, seq: u64) -> StreamPosition {
    StreamPosition { stream_sequence, seq: (seq > 0).then_some(Seq(seq)) }
}

fn was_refused(result: Result<StreamPosition, BusError>) -> String {
    match result {
        Err(BusError::Publish { problem, .. }) => problem,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_stream_is_made_once_and_brought_to_its_settings() {
    let nats = TestNats::start().await;
    let bus = nats.bus().await;
    let stream = open(&bus).await;
    assert_eq!(stream.position().await.unwrap(), at(0, 0));
    stream.publish(at(0, 0), &window(1..=3)).await.unwrap();
    let again = open(&bus).await;
    assert_eq!(again.position().await.unwrap(), at(3, 3));
    let limits = StreamLimits { max_messages: 2, ..StreamLimits::default() };
    let smaller = ChainStream::open(&bus, &chain(), limits).await.unwrap();
    assert_eq!(smaller.position().await.unwrap(), at(3, 3));
    let seqs: Vec<u64> = nats.messages(STREAM).await.iter().map(|m| m.sequence).collect();
    assert_eq!(seqs, [2, 3], "the oldest goes first");
}

#[tokio::test]
async fn a_window_is_read_back_as_it_was_published() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    let after = stream.publish(at(0, 0), &window(1..=5)).await.unwrap();
    assert_eq!(after, at(5, 5));
    assert_eq!(stream.position().await.unwrap(), after);
    let messages = nats.messages(STREAM).await;
    assert_eq!(messages.len(), 5);
    for (message, seq) in messages.iter().zip(1u64..) {
        let sent = outgoing(seq);
        assert_eq!(message.sequence, seq);
        assert_eq!(message.subject, sent.message.subject.as_str());
        assert_eq!(message.body, sent.message.body);
        assert_eq!(message.position("Obsqra-Seq"), seq);
        assert_eq!(message.position("Obsqra-Prev"), seq.saturating_sub(2));
        assert_eq!(message.header("Obsqra-Finality"), sent.finality.as_str());
        assert_eq!(message.header("Nats-Msg-Id"), sent.message.id);
    }
    let on = |subject: &'static str| stream.last_on(subject);
    assert_eq!(on("obsqra.v1.OBSQRA_TEST.event.odd.Swap").await.unwrap(), Some(Seq(5)));
    assert_eq!(on("obsqra.v1.OBSQRA_TEST.event.even.Swap").await.unwrap(), Some(Seq(4)));
    assert_eq!(on("obsqra.v1.OBSQRA_TEST.event.none.Swap").await.unwrap(), None);
}

#[tokio::test]
async fn windows_of_one_of_many_and_of_none() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    let position = stream.publish(at(0, 0), &window(1..=1)).await.unwrap();
    assert_eq!(position, at(1, 1));
    assert_eq!(stream.publish(position, &[]).await.unwrap(), position);
    let most = MAX_BATCH as u64;
    let position = stream.publish(position, &window(2..=most + 1)).await.unwrap();
    assert_eq!(position, at(most + 1, most + 1));
    let messages = nats.messages(STREAM).await;
    let seqs: Vec<u64> = messages.iter().map(|m| m.position("Obsqra-Seq")).collect();
    assert_eq!(seqs, (1..=most + 1).collect::<Vec<_>>());
    let refused = stream.publish(position, &window(most + 2..=2 * most + 2)).await;
    assert!(was_refused(refused).contains("more than 1000"));
    assert_eq!(stream.position().await.unwrap(), position);
}

#[tokio::test]
async fn a_window_after_another_position_is_refused_whole() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    stream.publish(at(0, 0), &window(1..=3)).await.unwrap();
    // Of many and of one, behind and ahead of where the stream ends.
    for (after, seqs) in [(2, 4..=6), (2, 4..=4), (0, 4..=6), (9, 4..=6), (9, 4..=4)] {
        let refused = stream.publish(at(after, after), &window(seqs)).await;
        assert!(was_refused(refused).contains("last sequence"));
        assert_eq!(stream.position().await.unwrap(), at(3, 3));
    }
    stream.publish(at(3, 3), &window(4..=6)).await.unwrap();
    assert_eq!(nats.messages(STREAM).await.len(), 6);
}

#[tokio::test]
async fn of_two_publishers_at_one_position_one_is_refused() {
    let nats = TestNats::start().await;
    let (first, second) = (open(&nats.bus().await).await, open(&nats.bus().await).await);
    let start = first.position().await.unwrap();
    assert_eq!(second.position().await.unwrap(), start);
    let (windows, others) = (window(1..=4), window(5..=9));
    let (left, right) =
        tokio::join!(first.publish(start, &windows), second.publish(start, &others));
    assert_eq!(usize::from(left.is_ok()) + usize::from(right.is_ok()), 1, "{left:?} {right:?}");
    let stored = left.or(right).unwrap();
    assert_eq!(first.position().await.unwrap(), stored);
    let expected = if stored.seq == Some(Seq(4)) { 4 } else { 5 };
    assert_eq!(nats.messages(STREAM).await.len(), expected, "the windows do not mix");
}

#[tokio::test]
async fn a_window_whose_acknowledgement_was_lost_is_told_by_the_position() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    stream.publish(at(0, 0), &window(1..=3)).await.unwrap();
    // The publisher never heard of it and tries again from where it believes the stream ends.
    let refused = stream.publish(at(0, 0), &window(1..=3)).await;
    was_refused(refused);
    assert_eq!(stream.position().await.unwrap(), at(3, 3));
    let refused = stream.publish(at(0, 0), &window(1..=1)).await;
    was_refused(refused);
    assert_eq!(stream.position().await.unwrap(), at(3, 3));
    assert_eq!(nats.messages(STREAM).await.len(), 3);
}

/// Publishes until the server has forgotten the ids, and checks each refusal.
async fn publish_patiently(
    stream: &ChainStream,
    after: StreamPosition,
    window: &[Outgoing],
) -> StreamPosition {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match stream.publish(after, window).await {
            Ok(position) => return position,
            Err(BusError::Publish { problem, .. }) => {
                assert!(problem.contains("duplicate"), "{problem}");
                assert!(Instant::now() < deadline, "the ids are never forgotten");
                assert_eq!(stream.position().await.unwrap(), after);
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn an_id_that_the_server_knows_is_never_taken_for_stored() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    stream.publish(at(0, 0), &window(1..=3)).await.unwrap();
    // At the right position: what the server answers is an error or a message more, never less.
    let after = publish_patiently(&stream, at(3, 3), &window(2..=2)).await;
    assert_eq!(after, at(4, 2));
    assert_eq!(stream.position().await.unwrap(), after);
    assert_eq!(nats.messages(STREAM).await.len(), 4);
    // Twice in one window is refused for good.
    let twice = [outgoing(9), outgoing(9)];
    assert!(was_refused(stream.publish(after, &twice).await).contains("duplicate"));
    assert_eq!(stream.position().await.unwrap(), after);
}

#[tokio::test]
async fn an_emptied_stream_is_filled_again() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    stream.publish(at(0, 0), &window(1..=3)).await.unwrap();
    nats.purge(STREAM).await;
    let position = stream.position().await.unwrap();
    assert_eq!(position, at(3, 0));
    let position = publish_patiently(&stream, position, &window(1..=2)).await;
    assert_eq!(position, at(5, 2));
    assert_eq!(publish_patiently(&stream, position, &window(3..=3)).await, at(6, 3));
    let messages = nats.messages(STREAM).await;
    let seqs: Vec<u64> = messages.iter().map(|m| m.position("Obsqra-Seq")).collect();
    assert_eq!(seqs, [1, 2, 3]);
}

#[tokio::test]
async fn a_deleted_stream_is_an_error_until_it_is_made_again() {
    let nats = TestNats::start().await;
    let bus = nats.bus().await;
    let stream = open(&bus).await;
    stream.publish(at(0, 0), &window(1..=3)).await.unwrap();
    nats.delete_stream(STREAM).await;
    assert!(matches!(stream.position().await, Err(BusError::Stream { .. })));
    was_refused(stream.publish(at(3, 3), &window(4..=6)).await);
    was_refused(stream.publish(at(3, 3), &window(4..=4)).await);
    let stream = open(&bus).await;
    let position = stream.position().await.unwrap();
    assert_eq!(position, at(0, 0));
    assert_eq!(stream.publish(position, &window(1..=3)).await.unwrap(), at(3, 3));
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_killed_server() {
    let mut nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    let acknowledged = stream.publish(at(0, 0), &window(1..=200)).await.unwrap();
    nats.server().kill().await.unwrap();
    assert!(stream.position().await.is_err());
    nats.server().restart().await.unwrap();
    let stream = open(&nats.bus().await).await;
    assert_eq!(stream.position().await.unwrap(), acknowledged);
    let next = stream.publish(acknowledged, &window(201..=300)).await.unwrap();
    assert_eq!(next, at(300, 300));
    assert_eq!(nats.messages(STREAM).await.len(), 300);
}

#[tokio::test]
async fn a_message_of_another_program_is_named() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    stream.publish(at(0, 0), &window(1..=1)).await.unwrap();
    nats.publish_foreign("obsqra.v1.OBSQRA_TEST.event.odd.Swap", "{}").await;
    let found = stream.position().await;
    assert!(
        matches!(&found, Err(BusError::Foreign { sequence: 2, header: "Obsqra-Seq", .. })),
        "{found:?}"
    );
    let found = stream.last_on("obsqra.v1.OBSQRA_TEST.event.odd.Swap").await;
    assert!(matches!(found, Err(BusError::Foreign { sequence: 2, .. })), "{found:?}");
}

fn finalized(seq: u64) -> Outgoing {
    let fact = Fact::BlockFinalized(BlockFinalized { hash: BlockHash(felt(seq)) });
    let message = Message {
        subject: Subject::of(&chain(), &fact).unwrap(),
        id: format!("finalized:{seq}"),
        body: b"{}".to_vec(),
    };
    Outgoing { message, seq: Seq(seq), previous: None, finality: Finality::Final }
}

/// Publishes until the task is over: its consumer may not be there at the first message.
async fn publish_until_done<T>(
    stream: &ChainStream,
    task: tokio::task::JoinHandle<T>,
    make: fn(u64) -> Outgoing,
) -> (T, StreamPosition) {
    let mut position = stream.position().await.unwrap();
    let mut seq = position.seq.map_or(0, |seq| seq.0);
    while !task.is_finished() {
        seq += 1;
        position = stream.publish(position, &[make(seq)]).await.unwrap();
    }
    (task.await.unwrap(), position)
}

#[tokio::test]
async fn a_published_fact_of_its_kind_wakes() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    let mut wake = Wake::new(&stream, &[Kind::BlockFinalized, Kind::BlockReverted]);
    // Twice: with a consumer that is made for it, and with the same one again.
    for _ in 0..2 {
        let waiting = tokio::spawn(async move {
            let began = Instant::now();
            wake.wait(DEADLINE).await;
            (wake, began.elapsed())
        });
        let ((woken, waited), _) = publish_until_done(&stream, waiting, finalized).await;
        assert!(waited < DEADLINE, "only the bound woke it");
        wake = woken;
    }
}

#[tokio::test]
async fn other_facts_do_not_wake_and_the_bound_does() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    let bound = Duration::from_millis(300);
    let waiting = tokio::spawn({
        let mut wake = Wake::new(&stream, &[Kind::BlockFinalized]);
        async move {
            let began = Instant::now();
            wake.wait(bound).await;
            began.elapsed()
        }
    });
    let (waited, position) = publish_until_done(&stream, waiting, outgoing).await;
    assert!(waited >= bound);
    assert!(position.stream_sequence > 0, "something was published meanwhile");
}

#[tokio::test]
async fn without_a_stream_the_bound_wakes() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    nats.delete_stream(STREAM).await;
    let bound = Duration::from_millis(100);
    let began = Instant::now();
    Wake::new(&stream, &[Kind::BlockFinalized]).wait(bound).await;
    assert!(began.elapsed() >= bound);
}
