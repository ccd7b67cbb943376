//! A server that misbehaves: each fault ends the stream with an error that names server and block, and
//! what was good before it is kept.

use std::time::Duration;

use obsqra_devnode::{DevNode, DnaFault};
use obsqra_indexer::source::{DnaOptions, DnaSource, DnaStart, Remedy, SourceError};
use obsqra_types::BlockNumber;

use crate::support::{
    NEVER, at, blocks_to, dna_options, error, json_rpc, node, source, stream, watched,
};

/// The block that the faults wait for.
const SPOILED: u64 = 5;

/// Lets a fault show and returns its error, after checking that a new stream goes on where the spoiled one
/// stopped.
async fn shown(node: &DevNode, fault: DnaFault, kept: u64) -> SourceError {
    node.dna_faults().inject(SPOILED, fault);
    let (blocks, error) = error(&mut stream(node, at(0)).await).await;
    let last = blocks.last().unwrap();
    assert_eq!(last.number, BlockNumber(kept), "{fault:?}: {error}");
    assert_eq!(node.dna_faults().pending(), 0, "{fault:?}");
    assert!(error.to_string().contains(source(node).name()), "{fault:?}: {error}");
    let rest = blocks_to(&mut stream(node, DnaStart::After(last.link().id)).await, 9).await;
    assert_eq!(rest.len() as u64, 9 - kept, "{fault:?}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_cannot_be_is_refused() {
    let node = node(10, NEVER).await;
    let block = json_rpc(&node).block(BlockNumber(SPOILED)).await.unwrap();
    assert!(block.events.iter().any(|event| watched().contains(&event.from_address)));
    for (fault, kept, problem) in [
        (DnaFault::GarbageData, 4, "block 5: failed to decode Protobuf message"),
        (DnaFault::TruncatedData, 4, "block 5: failed to decode Protobuf message"),
        (DnaFault::FeltBeyondField, 4, "block 5: new_root is not below the field's prime"),
        (DnaFault::ContradictingRepeat, 4, "came twice with other content"),
        (DnaFault::ForeignEvent, 4, "is of contract 0xbad, which is not watched"),
        (DnaFault::MissingHeader, 4, "block 5: the header is missing"),
        (DnaFault::Duplicate, 5, "block 5 came where block 6 is next"),
        (DnaFault::Gap, 4, "block 6 came where block 5 is next"),
        (DnaFault::WrongOrder, 4, "block 6 came where block 5 is next"),
    ] {
        let error = shown(&node, fault, kept).await;
        assert!(matches!(error, SourceError::Unusable { .. }), "{fault:?}: {error:?}");
        assert!(error.to_string().contains(problem), "{fault:?}: {error}");
        assert_eq!(error.remedy(), Remedy::RetryBounded, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_is_waited_for() {
    let node = node(10, NEVER).await;
    let error = shown(&node, DnaFault::End, 4).await;
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Wait(None));
}

/// What was on its way when the line broke is lost, which may be all of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_breaks_is_waited_for() {
    let node = node(10, NEVER).await;
    node.dna_faults().inject(SPOILED, DnaFault::Disconnect);
    let (blocks, error) = match source(&node).stream(at(0), &watched()).await {
        Ok(mut stream) => error(&mut stream).await,
        Err(error) => (Vec::new(), error),
    };
    assert_eq!(node.dna_faults().pending(), 0);
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Wait(None));
    assert!(blocks.len() <= 5, "{} blocks", blocks.len());
    let start = blocks.last().map_or(at(0), |last| DnaStart::After(last.link().id));
    let rest = blocks_to(&mut stream(&node, start).await, 9).await;
    assert_eq!(blocks.len() + rest.len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_given_up() {
    let node = node(10, NEVER).await;
    node.dna_faults().inject(SPOILED, DnaFault::Silence);
    let heartbeat = Duration::from_millis(400);
    let patient = DnaSource::new(DnaOptions { heartbeat, ..dna_options(&node) }).unwrap();
    let (_, error) = error(&mut patient.stream(at(0), &watched()).await.unwrap()).await;
    let limit = Duration::from_millis(800);
    assert!(
        matches!(&error, SourceError::Silent { limit: told, .. } if *told == limit),
        "{error:?}"
    );
    assert!(error.to_string().contains("800ms"), "{error}");
    assert_eq!(error.remedy(), Remedy::Wait(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_ready_is_waited_for() {
    let node = node(2, NEVER).await;
    let source = source(&node);
    node.dna_faults().refuse_calls(2);
    let refused =
        [source.status().await.unwrap_err(), source.stream(at(0), &watched()).await.unwrap_err()];
    for error in refused {
        assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
        assert_eq!(error.remedy(), Remedy::Wait(None));
    }
    assert!(source.status().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_waited_for() {
    let node = node(3, NEVER).await;
    let source = source(&node);
    let mut open = stream(&node, at(0)).await;
    blocks_to(&mut open, 2).await;
    node.stop().await;
    let (_, ended) = error(&mut open).await;
    assert_eq!(ended.remedy(), Remedy::Wait(None), "{ended:?}");
    let gone = source.status().await.unwrap_err();
    assert!(matches!(gone, SourceError::Unreachable { .. }), "{gone:?}");
    assert!(gone.to_string().contains(source.name()), "{gone}");
}
