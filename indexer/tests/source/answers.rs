//! What can be wrong with an answer: each trouble is named by what helps, within the time limit, in
//! bounded memory, and without a word of what may be a key.

use std::time::{Duration, Instant};

use obsqra_devnode::{DevNode, DevNodeOptions, Fault, FaultScope};
use obsqra_indexer::source::{Remedy, SourceBlock, SourceError};
use obsqra_types::BlockNumber;
use serde_json::json;

use crate::fake::{FakeNode, Trouble};
use crate::raw::{RawServer, Way};
use crate::{source, source_within};

const BLOCK: &str = "starknet_getBlockWithReceipts";

/// What kind of error it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sort {
    Unreachable,
    Busy,
    Unusable,
}

fn sort(error: &SourceError) -> Sort {
    match error {
        SourceError::Unreachable { .. } => Sort::Unreachable,
        SourceError::Busy { .. } => Sort::Busy,
        SourceError::Unusable { .. } => Sort::Unusable,
        other => panic!("{other}"),
    }
}

async fn devnode() -> DevNode {
    let options = DevNodeOptions { blocks: 4, blocks_per_second: 0.0, ..DevNodeOptions::seeded(3) };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(3).await;
    node
}

#[tokio::test]
async fn each_fault_of_a_node_has_its_remedy() {
    let node = devnode().await;
    let source = source_within(&node.url(), Duration::from_millis(1_500));
    let wait = Remedy::Wait(None);
    let cases = [
        (Fault::GarbageBody, Sort::Unusable, Remedy::RetryBounded, "expected value"),
        (Fault::TruncatedBody, Sort::Unreachable, wait, ""),
        (
            Fault::TooManyRequests { retry_after_seconds: Some(7) },
            Sort::Busy,
            Remedy::Wait(Some(Duration::from_secs(7))),
            "429",
        ),
        (Fault::TooManyRequests { retry_after_seconds: None }, Sort::Busy, wait, "429"),
        (Fault::RateLimitedInBody, Sort::Busy, wait, "Too many requests"),
        (Fault::ServerError, Sort::Busy, wait, "HTTP 500"),
        (Fault::Hang { millis: 60_000 }, Sort::Unreachable, wait, "no whole answer within 1500 ms"),
        (Fault::MissingEvents, Sort::Unusable, Remedy::RetryBounded, "missing field `events`"),
    ];
    for (fault, expected, remedy, words) in cases {
        node.faults().inject(fault.clone(), FaultScope::method(BLOCK, 1));
        let error = source.block(BlockNumber(2)).await.expect_err(words);
        assert_eq!((sort(&error), error.remedy()), (expected, remedy), "{fault:?}: {error}");
        let text = error.to_string();
        for named in [words, "block 2", node.url().trim_end_matches('/')] {
            assert!(text.contains(named), "{fault:?}: {text}");
        }
    }
    let whole = source.block(BlockNumber(2)).await.unwrap();
    let bare = SourceBlock { transactions: None, ..whole.clone() };
    for harmless in [Fault::UnknownTransactionType, Fault::UnknownField] {
        node.faults().inject(harmless, FaultScope::method(BLOCK, 1));
        let read = source.block(BlockNumber(2)).await.unwrap();
        // What a transaction is matters to its commitment alone.
        assert_eq!(SourceBlock { transactions: None, ..read }, bare);
    }
    // Whether a block links is not for its source to judge.
    node.faults().inject(Fault::WrongParentHash, FaultScope::method(BLOCK, 1));
    assert_ne!(source.block(BlockNumber(2)).await.unwrap().parent_hash, whole.parent_hash);
    assert_eq!(node.faults().pending(), 0);
}

#[tokio::test]
async fn what_comes_over_the_wire_broken_is_told_apart() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"result\"".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    let piece = [b"100000\r\n", vec![b' '; 1 << 20].as_slice(), b"\r\n"].concat();
    let promise = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    let redirect = "308 Permanent Redirect\r\nLocation: http://127.0.0.1:1/other";
    let prime = "0x800000000000011000000000000000000000000000000000000000000000001";
    let beyond = json!({ "result": { "block_hash": prime, "block_number": 1 } }).to_string();
    let drip = Way::Drip(half.clone(), Duration::from_millis(20));
    let cases = [
        ("reset", RawServer::start(Way::Reset).await, Sort::Unreachable, ""),
        ("cut off", RawServer::start(Way::Whole(half)).await, Sort::Unreachable, ""),
        ("a slow drip", RawServer::start(drip).await, Sort::Unreachable, "no whole answer within"),
        (
            "no HTTP",
            RawServer::start(Way::Whole(b"hello\r\n\r\n".to_vec())).await,
            Sort::Unreachable,
            "",
        ),
        ("empty", RawServer::ok("").await, Sort::Unusable, "an empty answer"),
        (
            "HTML",
            RawServer::ok("<html><body>Sign in</body></html>").await,
            Sort::Unusable,
            "expected value",
        ),
        ("no object", RawServer::ok("[]").await, Sort::Unusable, ""),
        ("neither", RawServer::ok("{\"id\":1}").await, Sort::Unusable, "neither result nor error"),
        (
            "half a felt",
            RawServer::ok("{\"result\":{\"block_hash\":\"0x").await,
            Sort::Unusable,
            "EOF",
        ),
        (
            "two answers",
            RawServer::ok("{\"result\":{\"block_hash\":\"0x1\",\"block_number\":1}}{}").await,
            Sort::Unusable,
            "trailing",
        ),
        ("a felt beyond", RawServer::ok(beyond).await, Sort::Unusable, "result.block_hash"),
        ("no text", RawServer::ok([b'{', 0xff, 0xfe, b'}']).await, Sort::Unusable, ""),
        (
            "too long",
            RawServer::start(Way::Endless(chunked, piece)).await,
            Sort::Unusable,
            "longer than",
        ),
        (
            "a long promise",
            RawServer::start(Way::Whole(promise)).await,
            Sort::Unusable,
            "longer than",
        ),
        ("redirect", RawServer::head(redirect).await, Sort::Unusable, "it redirects"),
        ("no key", RawServer::head("401 Unauthorized").await, Sort::Unusable, "key"),
        ("gateway", RawServer::head("502 Bad Gateway").await, Sort::Busy, "HTTP 502"),
    ];
    for (name, server, expected, words) in cases {
        // The drip never ends by itself; everything else ends at once.
        let limit = if name == "a slow drip" { 500 } else { 30_000 };
        let begun = Instant::now();
        let asked = source_within(&server.url, Duration::from_millis(limit)).head().await;
        let error = asked.expect_err(name);
        assert!(begun.elapsed() < Duration::from_secs(25), "{name}: {:?}", begun.elapsed());
        assert_eq!(sort(&error), expected, "{name}: {error}");
        assert!(error.to_string().contains(words), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_is_waited_for() {
    let url = RawServer::ok("").await.url.clone();
    let error = source(&url).head().await.expect_err("nobody listens");
    assert_eq!((sort(&error), error.remedy()), (Sort::Unreachable, Remedy::Wait(None)), "{error}");
}

#[tokio::test]
async fn a_block_of_fifty_megabytes_is_read() {
    let felt = format!("\"0x{}\",", "7".repeat(62));
    let calldata = felt.repeat(50_000_000 / felt.len());
    let price = "{\"price_in_fri\":\"0x1\",\"price_in_wei\":\"0x1\"}";
    let event = "{\"from_address\":\"0xc0\",\"keys\":[\"0x1\"],\"data\":[\"0x2\"]}";
    let body = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"block_hash\":\"0xb1\",\"parent_hash\":\"0xb0\",\
         \"block_number\":1,\"new_root\":\"0x1\",\"timestamp\":1,\"sequencer_address\":\"0x1\",\
         \"starknet_version\":\"0.14.0\",\"l1_da_mode\":\"BLOB\",\"l1_gas_price\":{price},\
         \"l1_data_gas_price\":{price},\"l2_gas_price\":{price},\"transactions\":[{{\"transaction\":\
         {{\"calldata\":[{calldata}\"0x1\"]}},\"receipt\":{{\"transaction_hash\":\"0x7\",\
         \"events\":[{event},{event}]}}}}]}}}}"
    );
    assert!(body.len() > 49_000_000);
    let server = RawServer::ok(body).await;
    let block = source(&server.url).block(BlockNumber(1)).await.unwrap();
    let transactions = block.transactions.as_ref().map(Vec::len);
    assert_eq!((transactions, block.events.len()), (Some(1), 2));
}

#[tokio::test]
async fn rate_limits_are_known_by_code_and_by_words() {
    let node = FakeNode::start(2).await;
    let source = source(&node.url);
    for (code, message, busy) in [
        (429, "slow down", true),
        (-32_005, "limit exceeded", true),
        (-32_000, "Too Many Requests, come back later", true),
        (-32_603, "daily Rate Limit reached", true),
        (-32_603, "internal error", false),
    ] {
        node.trouble("*", Trouble::Error(code, message));
        let error = source.head().await.expect_err(message);
        assert_eq!(sort(&error) == Sort::Busy, busy, "{error}");
    }
}

#[tokio::test]
async fn no_error_repeats_what_may_be_a_key() {
    let key = "0123456789abcdef";
    let node = FakeNode::start(2).await;
    let source = source(&node.url);
    node.trouble(
        "*",
        Trouble::Error(-32_000, "key 0123456789abcdef at /v1/0123456789abcdef is over"),
    );
    let said = source.head().await.expect_err("it fails");
    let url = node.url.clone();
    drop(node);
    crate::until("nobody listens", async || {
        matches!(source.head().await, Err(SourceError::Unreachable { .. }))
    })
    .await;
    let gone = source.head().await.expect_err("it is gone");
    let redirected =
        crate::source(&RawServer::head("302 Found\r\nLocation: /secret0123456789abcdef").await.url);
    let moved = redirected.head().await.expect_err("it redirects");
    for error in [said, gone, moved] {
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(key), "{text}");
        }
    }
    assert!(url.contains(key));
}
