//! A chain that is replaced, while it is streamed and while nobody looks.

use obsqra_devnode::{DevNode, Head};
use obsqra_indexer::source::{DnaCursor, DnaMessage, DnaStream, Remedy, SourceError};
use obsqra_types::{BlockHash, BlockNumber, Felt};

use crate::support::{
    NEVER, after, at, block, blocks_to, head_at, id, message, node, source, stream, watched,
};

/// The next message must say that this block is the last that stays.
async fn goes_back_to(stream: &mut DnaStream, last: Head) {
    match message(stream).await {
        DnaMessage::Invalidate { to: Some(DnaCursor { number, hash }) } => {
            assert_eq!((number, hash), (BlockNumber(last.number), Some(BlockHash(last.hash))));
        }
        other => panic!("{other:?} where the way back was expected"),
    }
}

/// What follows must be the node's chain, above a block and up to the head.
async fn follows_the_node(stream: &mut DnaStream, node: &DevNode, from: Head) {
    let head = node.head().unwrap();
    let mut below = id(from);
    for block in blocks_to(stream, head.number).await {
        assert_eq!(block.parent_hash, below.hash);
        below = block.link().id;
    }
    assert_eq!(below, id(head));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_chain_is_told_and_streamed() {
    let node = node(10, NEVER).await;
    let mut stream = stream(&node, at(0)).await;
    blocks_to(&mut stream, 9).await;
    for (depth, new) in [(1, 1), (3, 5), (9, 12)] {
        let fork = head_at(&node, node.head().unwrap().number - depth).await;
        node.reorg(depth, new).await.unwrap();
        goes_back_to(&mut stream, fork).await;
        follows_the_node(&mut stream, &node, fork).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_cursor_is_led_back_first() {
    let node = node(10, NEVER).await;
    let (old, fork) = (node.head().unwrap(), head_at(&node, 5).await);
    node.reorg(4, 6).await.unwrap();
    let mut first = stream(&node, after(old)).await;
    goes_back_to(&mut first, fork).await;
    follows_the_node(&mut first, &node, fork).await;
    // The block below which the second reorganisation forks was itself on the chain only for a while.
    let (second_old, deeper) = (node.head().unwrap(), head_at(&node, 3).await);
    node.reorg(second_old.number - 3, 9).await.unwrap();
    for old in [old, second_old] {
        let mut again = stream(&node, after(old)).await;
        goes_back_to(&mut again, deeper).await;
        follows_the_node(&mut again, &node, deeper).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_goes_back_is_no_block_yet() {
    let node = node(10, NEVER).await;
    let old = node.head().unwrap();
    let mut live = stream(&node, after(old)).await;
    let fork = head_at(&node, 5).await;
    node.reorg(4, 1).await.unwrap();
    goes_back_to(&mut live, fork).await;
    assert_eq!(block(&mut live).await.number, BlockNumber(6));
    let ahead = source(&node).stream(after(old), &watched()).await.unwrap_err();
    assert!(
        matches!(ahead, SourceError::Ahead { block: BlockNumber(9), .. }),
        "the server has no block 9 now: {ahead}"
    );
    assert_eq!(ahead.remedy(), Remedy::Wait(None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_never_was_is_refused() {
    let node = node(10, NEVER).await;
    let stranger = Head { number: 5, hash: Felt::from(0xbad_u64) };
    let misplaced = Head { number: 4, ..head_at(&node, 5).await };
    for wrong in [stranger, misplaced] {
        let refused = source(&node).stream(after(wrong), &watched()).await.unwrap_err();
        assert!(
            matches!(&refused, SourceError::UnknownCursor { block, .. } if *block == id(wrong)),
            "{refused}"
        );
    }
    let ahead = Head { number: 10, hash: Felt::from(1) };
    let refused = source(&node).stream(after(ahead), &watched()).await.unwrap_err();
    assert!(matches!(refused, SourceError::Ahead { block: BlockNumber(10), .. }), "{refused}");
    let refused = source(&node).stream(at(12), &watched()).await.unwrap_err();
    assert!(matches!(refused, SourceError::Ahead { block: BlockNumber(12), .. }), "{refused}");
}
