//! A chain that only grows.

use std::path::Path;
use std::time::Duration;

use obsqra_devnode::{DevNode, DevNodeOptions, Source};
use obsqra_events::Kind;
use obsqra_indexer::completeness::{Checking, Comparing, Effort, Keep};
use obsqra_indexer::encode::Encoder;
use obsqra_indexer::source::{
    DnaCursor, DnaMessage, DnaOptions, DnaSource, DnaStart, JsonRpcSource, SourceBlock,
};
use obsqra_indexer::watching::Watching;
use obsqra_protocols::Registry;
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Hash32};

use crate::support::{
    NEVER, after, at, block, blocks_to, dna_options, head_at, id, json_rpc, message, node, options,
    source, started, stream, watched,
};

/// Content hashes of a block's entries, the attestation aside.
fn entries(encoder: &Encoder, block: &SourceBlock) -> Vec<(Kind, Hash32)> {
    let checking = Checking {
        watching: encoder.watching.clone(),
        effort: Effort::Whole,
        keep: Keep::Watched,
        comparison: Comparing::Nothing,
    };
    let checked = checking.take(block.clone()).expect("a whole block");
    let drafts = encoder.block(&checked, BranchEpoch(0)).entries.drafts;
    drafts
        .iter()
        .filter(|draft| draft.kind != Kind::BlockAttested)
        .map(|draft| (draft.kind, draft.content_hash))
        .collect()
}

/// Compares each block with what JSON-RPC says of its height; how many events there were.
async fn same_as_json_rpc(
    json_rpc: &JsonRpcSource,
    encoder: &Encoder,
    blocks: &[SourceBlock],
) -> usize {
    let mut events = 0;
    for streamed in blocks {
        let mut asked = json_rpc.block(streamed.number).await.unwrap();
        assert_eq!(entries(encoder, streamed), entries(encoder, &asked));
        let watched = encoder.watching.addresses();
        asked.events.retain(|event| watched.contains(&event.from_address));
        assert_eq!(streamed.events, asked.events, "events of block {}", streamed.number);
        assert!(streamed.l2_gas.is_none() && streamed.supplied.is_none());
        events += asked.events.len();
    }
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seeded_chain_is_that_of_json_rpc() {
    let node = node(40, 10).await;
    let blocks = blocks_to(&mut stream(&node, at(0)).await, 39).await;
    assert_eq!(blocks.len(), 40);
    let encoder = Encoder {
        chain: ChainId::new("OBSQRA_DEV").unwrap(),
        watching: Watching::of(watched()),
        source: "dna/2".into(),
        first: BlockNumber(0),
    };
    assert!(same_as_json_rpc(&json_rpc(&node), &encoder, &blocks).await > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_chain_is_that_of_json_rpc() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = root.join("../shared/chain/mainnet.ndjson.gz");
    if !file.exists() {
        println!("skipped: the recorded blocks are not there");
        return;
    }
    let registry = obsqra_protocols::mainnet_registry().to_vec();
    let watched: std::collections::BTreeSet<_> =
        Registry::parse(&registry).unwrap().watched().collect();
    let node = DevNode::start(DevNodeOptions {
        source: Source::Recorded(file),
        blocks: u64::MAX,
        ..options(1)
    })
    .await
    .unwrap();
    let last = 20;
    node.wait_for_height(last).await;
    let mut stream = source(&node).stream(at(0), &watched).await.unwrap();
    let blocks = blocks_to(&mut stream, last).await;
    let encoder = Encoder {
        chain: ChainId::new("OBSQRA_REC").unwrap(),
        watching: Watching::of(watched),
        source: "dna/2".into(),
        first: BlockNumber(0),
    };
    assert!(same_as_json_rpc(&json_rpc(&node), &encoder, &blocks).await > 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_goes_on_after_any_block() {
    let node = node(12, 4).await;
    let whole = blocks_to(&mut stream(&node, at(0)).await, 11).await;
    for number in [0, 5, 7, 8, 10] {
        let start = after(head_at(&node, number).await);
        let rest = blocks_to(&mut stream(&node, start).await, 11).await;
        let hashes = |blocks: &[SourceBlock]| {
            blocks.iter().map(|block| (block.number, block.hash)).collect::<Vec<_>>()
        };
        let from = usize::try_from(number).unwrap() + 1;
        assert_eq!(hashes(&rest), hashes(&whole[from..]), "after block {number}");
        let same = blocks_to(&mut stream(&node, at(number + 1)).await, 11).await;
        assert_eq!(hashes(&same), hashes(&rest), "at block {}", number + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_blocks_come_as_they_are_made() {
    let node = node(3, NEVER).await;
    let mut stream = stream(&node, after(node.head().unwrap())).await;
    for number in 3..6 {
        let head = node.push_blocks(1).await.unwrap().unwrap();
        let block = block(&mut stream).await;
        assert_eq!(block.link().id, id(head));
        assert_eq!(block.number, BlockNumber(number));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_is_not_watched_sends_no_events() {
    let node = node(10, NEVER).await;
    let contract = *watched().first().unwrap();
    for some in [vec![], vec![contract]] {
        let some = some.into_iter().collect();
        let mut stream = source(&node).stream(at(0), &some).await.unwrap();
        let blocks = blocks_to(&mut stream, 9).await;
        let strange = blocks
            .iter()
            .flat_map(|block| &block.events)
            .find(|event| !some.contains(&event.from_address));
        assert!(strange.is_none(), "{strange:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_final_is_told_at_the_head() {
    let node = node(6, 4).await;
    let mut stream = stream(&node, at(0)).await;
    blocks_to(&mut stream, 5).await;
    for number in 6..9 {
        node.push_blocks(1).await.unwrap();
        assert_eq!(block(&mut stream).await.number, BlockNumber(number));
        let now_final = id(head_at(&node, number - 4).await);
        match message(&mut stream).await {
            DnaMessage::Finalized(DnaCursor { number, hash }) => {
                assert_eq!((number, hash), (now_final.number, Some(now_final.hash)));
            }
            other => panic!("{other:?} where a final block was expected"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_is_that_of_the_chain() {
    let node = node(6, 4).await;
    let status = source(&node).status().await.unwrap();
    let cursor = |cursor: Option<DnaCursor>| cursor.map(|cursor| (cursor.number.0, cursor.hash));
    for (told, number) in [(status.head, 5), (status.finalized, 1), (status.start, 0)] {
        let expected = id(head_at(&node, number).await);
        assert_eq!(cursor(told), Some((number, Some(expected.hash))));
    }
    let without = crate::support::node(2, NEVER).await;
    assert_eq!(source(&without).status().await.unwrap().finalized, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_server_sends_heartbeats() {
    let node = started(options(2)).await;
    let heartbeat = Duration::from_secs(2);
    let options = DnaOptions { heartbeat, ..dna_options(&node) };
    let source = DnaSource::new(options).unwrap();
    let start: DnaStart = after(node.head().unwrap());
    let mut stream = source.stream(start, &watched()).await.unwrap();
    assert!(matches!(message(&mut stream).await, DnaMessage::Heartbeat));
    assert!(matches!(message(&mut stream).await, DnaMessage::Heartbeat));
    node.push_blocks(1).await.unwrap();
    assert_eq!(block(&mut stream).await.number, BlockNumber(2));
}
