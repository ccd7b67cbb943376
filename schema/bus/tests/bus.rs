//! The stream of a chain on a real server: windows whole or not at all, positions, crashes, wake-ups.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::time::Duration;

use obsqra_bus::{Bus, BusError, ChainStream, MAX_BATCH, Outgoing, StreamLimits, StreamPosition, Wake};
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
    let protocol = ProtocolId::new(if seq % 2 == 0 { "even" } else { "odd" }).unwrap();
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
async fn explore() {
    let nats = TestNats::start().await;
    let stream = open(&nats.bus().await).await;
    let position = stream.publish(at(0, 0), &window(1..=3)).await;
    println!("first: {position:?}");
    let again = stream.publish(at(3, 3), &window(1..=3)).await;
    println!("again at current position: {again:?} {:?}", stream.position().await);
    let again = stream.publish(at(0, 0), &window(1..=3)).await;
    println!("again at old position: {again:?} {:?}", stream.position().await);
    let single = stream.publish(at(3, 3), &window(2..=2)).await;
    println!("single duplicate at current: {single:?} {:?}", stream.position().await);
    let single = stream.publish(at(1, 1), &window(2..=2)).await;
    println!("single duplicate at old: {single:?} {:?}", stream.position().await);
    let mix = stream.publish(at(3, 3), &window(3..=5)).await;
    println!("mix: {mix:?} {:?}", stream.position().await);
    let twice = stream.publish(stream.position().await.unwrap(), &[outgoing(9), outgoing(9)]).await;
    println!("twice: {twice:?} {:?}", stream.position().await);
    nats.purge(STREAM).await;
    println!("purged: {:?}", stream.position().await);
    let again = stream.publish(stream.position().await.unwrap(), &window(1..=3)).await;
    println!("after purge: {again:?} {:?}", stream.position().await);
    nats.delete_stream(STREAM).await;
    println!("deleted: {:?}", stream.position().await);
    let again = stream.publish(at(0, 0), &window(1..=3)).await;
    println!("without stream: {again:?}");
    let again = stream.publish(at(0, 0), &window(1..=1)).await;
    println!("without stream: {again:?}");
    let stream = open(&nats.bus().await).await;
    let again = stream.publish(stream.position().await.unwrap(), &window(1..=3)).await;
    println!("new stream: {again:?} {:?}", stream.position().await);
}
