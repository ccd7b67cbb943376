//! A node that streams, and a source that reads it.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use obsqra_devnode::{DevNode, DevNodeOptions, DnaSettings, Head, SEEDED_REGISTRY};
use obsqra_indexer::planner::BlockId;
use obsqra_indexer::source::{
    DnaMessage, DnaOptions, DnaSource, DnaStart, DnaStream, JsonRpcOptions, JsonRpcSource,
    SourceBlock, SourceError,
};
use obsqra_protocols::Registry;
use obsqra_types::{BlockHash, BlockNumber, ContractAddress};

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// A heartbeat that no test waits for.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// No block is final.
pub(crate) const NEVER: u64 = 1_000_000;

/// A node of the seeded chain with so many blocks.
pub(crate) async fn node(blocks: u64, l1_lag: u64) -> DevNode {
    let options = DevNodeOptions { l1_lag, ..options(blocks) };
    started(options).await
}

pub(crate) fn options(blocks: u64) -> DevNodeOptions {
    DevNodeOptions {
        blocks,
        blocks_per_second: 0.0,
        l1_lag: NEVER,
        dna_listen: Some(([127, 0, 0, 1], 0).into()),
        dna: DnaSettings { min_heartbeat: Duration::from_millis(1), ..DnaSettings::default() },
        ..DevNodeOptions::seeded(3)
    }
}

pub(crate) async fn started(options: DevNodeOptions) -> DevNode {
    let last = options.blocks - 1;
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(last).await;
    node
}

pub(crate) fn dna_options(node: &DevNode) -> DnaOptions {
    let url = node.dna_url().unwrap().parse().unwrap();
    DnaOptions { url, token: None, heartbeat: LONG, timeout: PATIENCE }
}

pub(crate) fn source(node: &DevNode) -> DnaSource {
    DnaSource::new(dna_options(node)).unwrap()
}

pub(crate) fn json_rpc(node: &DevNode) -> JsonRpcSource {
    let url = node.url().parse().unwrap();
    JsonRpcSource::new(JsonRpcOptions { url, timeout: PATIENCE }).unwrap()
}

pub(crate) fn watched() -> BTreeSet<ContractAddress> {
    Registry::parse(SEEDED_REGISTRY).unwrap().watched().collect()
}

pub(crate) fn at(number: u64) -> DnaStart {
    DnaStart::At(BlockNumber(number))
}

pub(crate) fn after(head: Head) -> DnaStart {
    DnaStart::After(id(head))
}

pub(crate) fn id(head: Head) -> BlockId {
    BlockId { number: BlockNumber(head.number), hash: BlockHash(head.hash) }
}

/// The node's block of a height.
pub(crate) async fn head_at(node: &DevNode, number: u64) -> Head {
    let hash = json_rpc(node).hash_at(BlockNumber(number)).await.unwrap().unwrap();
    Head { number, hash: hash.0 }
}

pub(crate) async fn stream(node: &DevNode, start: DnaStart) -> DnaStream {
    source(node).stream(start, &watched()).await.unwrap()
}

/// The next message, whatever it is; `None` at the end.
pub(crate) async fn next(stream: &mut DnaStream) -> Option<Result<DnaMessage, SourceError>> {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("a message comes")
}

pub(crate) async fn message(stream: &mut DnaStream) -> DnaMessage {
    next(stream).await.expect("the stream goes on").expect("no error")
}

/// The next message, which must be a block.
pub(crate) async fn block(stream: &mut DnaStream) -> SourceBlock {
    match message(stream).await {
        DnaMessage::Block(block) => *block,
        other => panic!("{other:?} where a block was expected"),
    }
}

/// Blocks up to a height, which must follow one after the other.
pub(crate) async fn blocks_to(stream: &mut DnaStream, last: u64) -> Vec<SourceBlock> {
    let mut blocks = vec![block(stream).await];
    while blocks.last().is_some_and(|block| block.number < BlockNumber(last)) {
        blocks.push(block(stream).await);
    }
    blocks
}

/// The error that ends a stream, and the blocks before it.
pub(crate) async fn error(stream: &mut DnaStream) -> (Vec<SourceBlock>, SourceError) {
    let mut blocks = Vec::new();
    loop {
        match next(stream).await.expect("an error comes before the end") {
            Ok(DnaMessage::Block(block)) => blocks.push(*block),
            Ok(_) => {}
            Err(error) => {
                assert!(next(stream).await.is_none(), "nothing comes after an error");
                return (blocks, error);
            }
        }
    }
}
