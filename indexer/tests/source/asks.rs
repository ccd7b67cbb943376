//! Finality in each edition, and which blocks of a range hold events.

use std::collections::BTreeSet;

use obsqra_indexer::planner::BlockId;
use obsqra_indexer::source::{Remedy, SourceError};
use obsqra_types::{BlockHash, BlockNumber, ContractAddress, Felt};

use crate::fake::{CONTRACT, FakeNode, Token, Trouble};
use crate::source;

const HEADER: &str = "starknet_getBlockWithTxHashes";

fn contracts(addresses: &[u64]) -> BTreeSet<ContractAddress> {
    addresses.iter().map(|address| ContractAddress(Felt::from(*address))).collect()
}

#[tokio::test]
async fn finality_is_found_by_tag_or_by_status() {
    let node = FakeNode::start(200).await;
    for version in ["0.8.1", "0.9.0", "0.10.0"] {
        node.script().spec = version.to_owned();
        let source = source(&node.url);
        source.open().await.unwrap();
        let head = BlockNumber(199);
        for (is_final, known, expected) in [
            (None, None, None),
            (Some(0), None, Some(0)),
            (Some(150), None, Some(150)),
            (Some(150), Some(20), Some(150)),
            (Some(150), Some(150), None),
            (Some(199), Some(198), Some(199)),
        ] {
            node.script().final_height = is_final;
            node.script().calls.clear();
            let found = source.finalized(known.map(BlockNumber), head).await.unwrap();
            let expected = expected.map(|number| node.script().id(number));
            assert_eq!(found, expected, "{version}: final {is_final:?}, known {known:?}");
            let most = if version == "0.8.1" { 16 } else { 1 };
            assert!(node.calls_of(HEADER) <= most, "{version}: {} calls", node.calls_of(HEADER));
        }
    }
}

#[tokio::test]
async fn a_head_that_became_lower_only_ends_the_search_earlier() {
    let node = FakeNode::start(20).await;
    node.script().spec = "0.8.1".to_owned();
    let source = source(&node.url);
    source.open().await.unwrap();
    let found = source.finalized(None, BlockNumber(1_000)).await.unwrap();
    assert_eq!(found, Some(node.script().id(18)));
}

#[tokio::test]
async fn a_range_is_read_in_pages_however_a_list_ends() {
    let node = FakeNode::start(30).await;
    for (number, block) in node.script().blocks.iter_mut().enumerate() {
        // None, or several of one contract, and another's in between.
        block.contracts = match number % 3 {
            0 => vec![],
            1 => vec![CONTRACT, 0xdd, CONTRACT],
            _ => vec![0xdd],
        };
    }
    let source = source(&node.url);
    let to = node.script().id(28);
    for (token, page) in [(Token::Absent, 1_000), (Token::Null, 200), (Token::Empty, 70)] {
        node.script().last_token = token;
        node.script().page = page;
        let (from, to_number) = (BlockNumber(4), 28);
        let found = source.events_in_range(&contracts(&[CONTRACT]), from, to).await.unwrap();
        let expected: Vec<BlockId> =
            (4..=to_number).filter(|n| n % 3 == 1).map(|n| node.script().id(n)).collect();
        let found: Vec<BlockId> =
            found.into_iter().map(|(number, hash)| BlockId { number, hash }).collect();
        assert_eq!(found, expected, "{token:?}");
        let both = source.events_in_range(&contracts(&[CONTRACT, 0xdd]), from, to).await.unwrap();
        assert_eq!(both.len() as u64, (4..=to_number).filter(|n| n % 3 != 0).count() as u64);
    }
    let none = source.events_in_range(&contracts(&[0xee]), BlockNumber(0), to).await.unwrap();
    assert!(none.is_empty());
    let empty = source.events_in_range(&contracts(&[CONTRACT]), BlockNumber(29), to).await.unwrap();
    assert!(empty.is_empty());
}

#[tokio::test]
async fn many_pages_are_put_together() {
    let node = FakeNode::start(700).await;
    // Pages of at most 60 events, so that a node refuses several sizes first.
    node.script().page = 62;
    let to = node.script().head();
    let found = source(&node.url)
        .events_in_range(&contracts(&[CONTRACT]), BlockNumber(0), to)
        .await
        .unwrap();
    assert_eq!(found.len(), 700);
    assert!(node.calls_of("starknet_getEvents") > 12);
}

#[tokio::test]
async fn a_range_whose_end_is_another_block_is_not_read() {
    let node = FakeNode::start(30).await;
    let source = source(&node.url);
    let to = node.script().id(28);
    let other = BlockId { hash: BlockHash(Felt::from(1_u8)), ..to };
    let above = BlockId { number: BlockNumber(99), ..to };
    for (to, found) in [(other, Some(to.hash)), (above, None)] {
        let asked = source.events_in_range(&contracts(&[CONTRACT]), BlockNumber(0), to).await;
        let error = asked.expect_err("it is another block");
        assert_eq!(error.remedy(), Remedy::Wait(None));
        let SourceError::RangeMoved { number, expected, found: there, .. } = error else {
            panic!("{error}");
        };
        assert_eq!((number, expected, there), (to.number, to.hash, found));
    }
    assert_eq!(node.calls_of("starknet_getEvents"), 0);
}

#[tokio::test]
async fn a_range_that_moves_while_it_is_read_is_given_up() {
    for method in [HEADER, "starknet_getEvents"] {
        let node = FakeNode::start(30).await;
        let source = source(&node.url);
        let to = node.script().id(28);
        node.trouble(method, Trouble::ThenReorg(20));
        let asked = source.events_in_range(&contracts(&[CONTRACT]), BlockNumber(0), to).await;
        let error = asked.expect_err("it moved");
        assert!(matches!(error, SourceError::RangeMoved { .. }), "{method}: {error}");
    }
}

#[tokio::test]
async fn a_token_that_comes_back_is_no_circle() {
    let node = FakeNode::start(30).await;
    node.script().last_token = Token::Circle;
    let to = node.script().id(28);
    let asked =
        source(&node.url).events_in_range(&contracts(&[CONTRACT]), BlockNumber(0), to).await;
    let error = asked.expect_err("it would not end");
    assert_eq!(error.remedy(), Remedy::RetryBounded);
    assert!(error.to_string().contains("continuation_token"), "{error}");
    assert_eq!(node.calls_of("starknet_getEvents"), 2);
}

#[tokio::test]
async fn a_range_of_the_development_node_is_read() {
    use obsqra_devnode::{DevNode, DevNodeOptions};
    let options =
        DevNodeOptions { blocks: 40, blocks_per_second: 0.0, ..DevNodeOptions::seeded(3) };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(39).await;
    let source = source(&node.url());
    let to = source.head().await.unwrap().unwrap();
    let mut expected = std::collections::BTreeMap::new();
    let mut emitters = BTreeSet::new();
    for number in 5..=to.number.0 {
        let block = source.block(BlockNumber(number)).await.unwrap();
        emitters.extend(block.events.iter().map(|event| event.from_address));
        if !block.events.is_empty() {
            expected.insert(block.number, block.hash);
        }
    }
    assert!(!expected.is_empty());
    let found = source.events_in_range(&emitters, BlockNumber(5), to).await.unwrap();
    assert_eq!(found, expected);
}
