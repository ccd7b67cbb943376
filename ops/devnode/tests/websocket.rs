//! The WebSocket, asked by the client library and by hand.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

mod support;

use std::time::Duration;

use futures::{SinkExt, StreamExt};
use obsqra_devnode::{DevNode, Fault, FaultScope, NEW_HEADS_NOTICE, Spec, TwinOptions};
use serde_json::{Value, json};
use starknet::core::types::ConfirmedBlockId;
use starknet_tokio_tungstenite::{NewHeadsSubscription, NewHeadsUpdate, TungsteniteStream};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use support::{block, hashes, node, request};

/// Longer than any answer takes; a test that waits so long has failed.
const LIMIT: Duration = Duration::from_secs(60);

async fn connect(node: &DevNode) -> TungsteniteStream {
    TungsteniteStream::connect(node.ws_url(), LIMIT).await.expect("a connection")
}

async fn next_head(subscription: &mut NewHeadsSubscription) -> (u64, String) {
    match tokio::time::timeout(LIMIT, subscription.recv()).await.expect("in time") {
        Ok(NewHeadsUpdate::NewHeader(header)) => {
            (header.block_number, format!("{:#x}", header.block_hash))
        }
        other => panic!("a head, not {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_and_reorganisations_reach_the_client() {
    let node = node(6).await;
    let stream = connect(&node).await;
    let mut subscription =
        stream.subscribe_new_heads(ConfirmedBlockId::Number(3)).await.expect("a subscription");
    let old = hashes(&node, 0..=5).await;
    for number in 3..=5 {
        assert_eq!(next_head(&mut subscription).await, (number, old[number as usize].clone()));
    }
    node.push_blocks(1).await.expect("a block");
    let newest = hashes(&node, 6..=6).await.remove(0);
    assert_eq!(next_head(&mut subscription).await, (6, newest.clone()));
    node.reorg(3, 4).await.expect("a reorg");
    let reorg = match tokio::time::timeout(LIMIT, subscription.recv()).await.expect("in time") {
        Ok(NewHeadsUpdate::Reorg(reorg)) => reorg,
        other => panic!("a reorganisation, not {other:?}"),
    };
    assert_eq!((reorg.starting_block_number, reorg.ending_block_number), (4, 6));
    assert_eq!(format!("{:#x}", reorg.starting_block_hash), old[4]);
    assert_eq!(format!("{:#x}", reorg.ending_block_hash), newest);
    let new = hashes(&node, 4..=7).await;
    for (number, hash) in (4..).zip(new) {
        assert_eq!(next_head(&mut subscription).await, (number, hash));
    }
    subscription.unsubscribe().await.expect("it ends");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_begins_at_the_newest_block_and_not_too_far_back() {
    let node = support::start(obsqra_devnode::DevNodeOptions::light(1, 1, 2_000)).await;
    let stream = connect(&node).await;
    let mut latest =
        stream.subscribe_new_heads(ConfirmedBlockId::Latest).await.expect("a subscription");
    assert_eq!(next_head(&mut latest).await.0, 1_999);
    assert!(stream.subscribe_new_heads(ConfirmedBlockId::Number(975)).await.is_ok());
    for (id, error) in [
        (ConfirmedBlockId::Number(974), "too many blocks back"),
        (ConfirmedBlockId::Number(2_000), "block not found"),
    ] {
        let refused = stream.subscribe_new_heads(id).await.expect_err("refused").to_string();
        assert!(refused.contains(error), "{refused}");
    }
    node.stop().await;
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(url: &str) -> Socket {
    connect_async(url).await.expect("a connection").0
}

async fn send(socket: &mut Socket, method: &str, params: Value) {
    let text = request(method, &params).to_string();
    socket.send(Message::text(text)).await.expect("it is sent");
}

/// The next frame's text; `None` when the connection is over.
async fn receive(socket: &mut Socket) -> Option<String> {
    match tokio::time::timeout(LIMIT, socket.next()).await.expect("in time") {
        Some(Ok(Message::Text(text))) => Some(text.to_string()),
        _ => None,
    }
}

async fn ask(socket: &mut Socket, method: &str, params: Value) -> Value {
    send(socket, method, params).await;
    let text = receive(socket).await.expect("an answer");
    serde_json::from_str(&text).expect("JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_method_answers_as_over_http_at_both_paths() {
    let node = node(3).await;
    for url in [node.ws_url(), node.url().replace("http://", "ws://")] {
        let mut socket = open(&url).await;
        assert_eq!(ask(&mut socket, "starknet_blockNumber", json!([])).await["result"], 2);
        let id = json!([{ "block_number": 1 }]);
        let answer = ask(&mut socket, "starknet_getBlockWithReceipts", id).await;
        assert_eq!(answer["result"], block(&node, 1).await);
        assert_eq!(ask(&mut socket, "starknet_nope", json!([])).await["error"]["code"], -32_601);
        let answer = ask(&mut socket, "starknet_unsubscribe", json!(["1"])).await;
        assert_eq!(answer["error"]["code"], 66);
        socket.send(Message::text("{")).await.expect("it is sent");
        let answer: Value =
            serde_json::from_str(&receive(&mut socket).await.expect("an answer")).expect("JSON");
        assert_eq!(answer["error"]["code"], -32_700);
    }
    let over_http = support::call(&node, "starknet_subscribeNewHeads", json!([])).await;
    assert_eq!(over_http["error"]["code"], -32_601);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_carry_the_id_and_the_header_of_the_specification() {
    let first = node(2).await;
    for spec in Spec::ALL {
        let node =
            first.twin(TwinOptions { spec, ..TwinOptions::default() }).await.expect("a twin");
        let mut socket = open(&node.ws_url()).await;
        let answer = ask(&mut socket, "starknet_subscribeNewHeads", json!([])).await;
        let id = answer["result"].as_str().expect("an id is a text").to_owned();
        let notice: Value =
            serde_json::from_str(&receive(&mut socket).await.expect("a notice")).expect("JSON");
        assert_eq!(notice["method"], NEW_HEADS_NOTICE);
        assert_eq!(notice["params"]["subscription_id"], id);
        let header = &notice["params"]["result"];
        assert_eq!(header["block_number"], 1);
        assert!(header.get("status").is_none() && header.get("transactions").is_none());
        assert_eq!(header.get("event_count").is_some(), spec == Spec::V0_10, "{spec:?}");
        let answer = ask(&mut socket, "starknet_unsubscribe", json!([id])).await;
        assert_eq!(answer["result"], true);
        node.push_blocks(1).await.expect("a block");
        // An answer and no notice: the subscription is over.
        let answer = ask(&mut socket, "starknet_blockNumber", json!([])).await;
        assert_eq!(answer["result"], 2);
        node.stop().await;
    }
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_subscriptions_are_bounded() {
    let node = node(1).await;
    let mut sockets = Vec::new();
    for _ in 0..64 {
        sockets.push(open(&node.ws_url()).await);
    }
    assert_eq!(node.open_websockets(), 64);
    assert!(connect_async(node.ws_url()).await.is_err());
    let mut socket = sockets.swap_remove(0);
    for _ in 0..16 {
        send(&mut socket, "starknet_subscribeNewHeads", json!([])).await;
    }
    // Each answer is followed by the notice of block 0.
    for _ in 0..32 {
        assert!(receive(&mut socket).await.expect("a frame").contains("\"result\""));
    }
    let refused = ask(&mut socket, "starknet_subscribeNewHeads", json!([])).await;
    assert_eq!(refused["error"]["code"], -32_600);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_drops_falls_silent_and_sends_garbage() {
    let node = node(2).await;
    let at = |fault, number| {
        node.faults().inject(fault, FaultScope::method(NEW_HEADS_NOTICE, 1).at_block(number));
    };
    at(Fault::WebSocketGarbage, 2);
    at(Fault::WebSocketDrop, 3);
    at(Fault::WebSocketSilence, 4);
    let mut socket = open(&node.ws_url()).await;
    ask(&mut socket, "starknet_subscribeNewHeads", json!([])).await;
    assert!(receive(&mut socket).await.expect("block 1").contains(NEW_HEADS_NOTICE));
    node.push_blocks(1).await.expect("block 2");
    let garbage = receive(&mut socket).await.expect("a frame");
    assert!(serde_json::from_str::<Value>(&garbage).is_err(), "{garbage}");
    node.push_blocks(1).await.expect("block 3");
    assert_eq!(receive(&mut socket).await, None);
    let mut socket = open(&node.ws_url()).await;
    ask(&mut socket, "starknet_subscribeNewHeads", json!([])).await;
    assert!(receive(&mut socket).await.expect("block 3").contains(NEW_HEADS_NOTICE));
    node.push_blocks(2).await.expect("blocks 4 and 5");
    // The connection lives, only no notice comes.
    let answer = ask(&mut socket, "starknet_blockNumber", json!([])).await;
    assert_eq!(answer["result"], 5);
    assert_eq!(node.faults().pending(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_answers_show_over_a_socket_too() {
    let node = node(2).await;
    let mut socket = open(&node.ws_url()).await;
    let next = |fault| node.faults().inject(fault, FaultScope::next_calls(1));
    next(Fault::TooManyRequests { retry_after_seconds: None });
    assert_eq!(ask(&mut socket, "starknet_chainId", json!([])).await["error"]["code"], 429);
    next(Fault::ServerError);
    assert_eq!(ask(&mut socket, "starknet_chainId", json!([])).await["error"]["code"], -32_603);
    next(Fault::TruncatedJson);
    send(&mut socket, "starknet_chainId", json!([])).await;
    let cut = receive(&mut socket).await.expect("a frame");
    assert!(serde_json::from_str::<Value>(&cut).is_err(), "{cut}");
    next(Fault::ConnectionReset);
    send(&mut socket, "starknet_chainId", json!([])).await;
    assert_eq!(receive(&mut socket).await, None);
    let mut socket = open(&node.ws_url()).await;
    node.stop_serving().await;
    assert_eq!(receive(&mut socket).await, None, "a closed address closes its sockets");
    node.stop().await;
}
