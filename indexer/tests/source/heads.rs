//! Word of new heads: over a socket where there is one, by time where there is none.

use std::time::Duration;

use obsqra_indexer::source::{
    HeadWatch, HeadWatchOptions, JsonRpcSource, NodePool, PoolOptions, Socket, Woken,
};

use crate::fake::{FakeNode, SocketMode, Word};
use crate::raw::{RawServer, Way};
use crate::{PATIENCE, source, until};

/// So long that no test waits for it.
const NEVER: Duration = Duration::from_secs(3_600);

fn options() -> HeadWatchOptions {
    HeadWatchOptions {
        poll_interval: Duration::from_millis(20),
        live_poll_interval: NEVER,
        connect_timeout: PATIENCE,
        longest_silence: NEVER,
        first_reconnect: Duration::from_millis(5),
        longest_reconnect: Duration::from_millis(50),
    }
}

async fn node(mode: SocketMode) -> FakeNode {
    let node = FakeNode::start(5).await;
    node.script().socket = mode;
    node
}

async fn live(watch: &mut HeadWatch) {
    while !watch.is_live() {
        watch.wait(NEVER).await;
    }
}

/// Waits for a word, past the socket's own coming.
async fn signal(watch: &mut HeadWatch) {
    let woken = tokio::time::timeout(PATIENCE, watch.wait(NEVER)).await.expect("it wakes");
    assert_eq!(woken, Woken::Signal);
}

#[tokio::test]
async fn heads_and_reorganisations_wake_and_time_does_too() {
    let node = node(SocketMode::Works).await;
    let mut watch = HeadWatch::start(&source(&node.url), options());
    node.subscribed(1).await;
    live(&mut watch).await;
    assert_eq!(watch.newest(), None);
    node.say(Word::Head(9));
    while watch.newest().is_none() {
        signal(&mut watch).await;
    }
    assert_eq!(watch.newest().unwrap().number.0, 9);
    node.say(Word::Reorg);
    signal(&mut watch).await;
    assert_eq!(watch.newest().unwrap().number.0, 9);
    assert_eq!(watch.wait(Duration::from_millis(10)).await, Woken::Time);
}

#[tokio::test]
async fn without_a_socket_it_is_time_that_wakes() {
    for mode in [SocketMode::Refused, SocketMode::NoMethod, SocketMode::ClosesWhenAsked] {
        let node = node(mode).await;
        let mut watch = HeadWatch::start(&source(&node.url), options());
        for _ in 0..5 {
            assert_eq!(watch.wait(NEVER).await, Woken::Time, "{mode:?}");
            assert!(!watch.is_live(), "{mode:?}");
        }
        // It is tried again, and found as soon as it is there.
        node.script().socket = SocketMode::Works;
        tokio::time::timeout(PATIENCE, live(&mut watch)).await.expect("it comes");
    }
}

#[tokio::test]
async fn a_socket_that_is_off_or_no_socket_is_not_tried() {
    let node = node(SocketMode::Works).await;
    let off = source(&node.url).with_socket(&Socket::Off).unwrap();
    let mut watch = HeadWatch::start(&off, options());
    for _ in 0..5 {
        assert_eq!(watch.wait(NEVER).await, Woken::Time);
    }
    assert!(!watch.is_live());
    let bad = Socket::At("http://node.example/".parse().unwrap());
    assert!(source(&node.url).with_socket(&bad).is_err());
    // An address of its own.
    let mut own: url::Url = node.url.parse().unwrap();
    own.set_scheme("ws").unwrap();
    let elsewhere = source("http://127.0.0.1:1/").with_socket(&Socket::At(own)).unwrap();
    let mut watch = HeadWatch::start(&elsewhere, options());
    tokio::time::timeout(PATIENCE, live(&mut watch)).await.expect("it comes");
}

#[tokio::test]
async fn a_socket_that_drops_is_told_of_and_taken_up_again() {
    let node = node(SocketMode::Works).await;
    let mut watch = HeadWatch::start(&source(&node.url), options());
    for round in 1..=3 {
        node.subscribed(round).await;
        live(&mut watch).await;
        node.say(Word::Head(round));
        while watch.newest().is_none_or(|head| head.number.0 < round) {
            signal(&mut watch).await;
        }
        node.say(Word::Drop);
    }
    node.subscribed(4).await;
}

#[tokio::test]
async fn a_socket_that_is_silent_while_polling_finds_heads_is_given_up() {
    let node = node(SocketMode::Works).await;
    let longest_silence = Duration::from_millis(30);
    let options = HeadWatchOptions { longest_silence, ..options() };
    let mut watch = HeadWatch::start(&source(&node.url), options);
    node.subscribed(1).await;
    live(&mut watch).await;
    let heads: Vec<_> = (0..5).map(|number| node.script().id(number)).collect();
    // The first is what was there before; the second is news.
    let mut polls = heads.iter().copied().cycle();
    until("it subscribes anew", async || {
        watch.polled(polls.next().unwrap());
        tokio::time::timeout(longest_silence, node.subscribed(2)).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn a_quiet_chain_does_not_cost_a_socket() {
    let node = node(SocketMode::Works).await;
    let options = HeadWatchOptions { longest_silence: Duration::from_millis(5), ..options() };
    let mut watch = HeadWatch::start(&source(&node.url), options);
    node.subscribed(1).await;
    live(&mut watch).await;
    let head = node.script().head();
    for _ in 0..10 {
        watch.polled(head);
        assert_eq!(watch.wait(Duration::from_millis(5)).await, Woken::Time);
    }
    // What the socket told of before polling found it is no silence either.
    node.say(Word::Head(9));
    signal(&mut watch).await;
    watch.polled(watch.newest().unwrap());
    assert_eq!(watch.wait(Duration::from_millis(50)).await, Woken::Time);
    assert!(watch.is_live());
}

#[tokio::test]
async fn encryption_that_fails_and_words_that_are_none_leave_polling() {
    let plain = RawServer::start(Way::Whole(b"no TLS\r\n\r\n".to_vec())).await;
    let other = Socket::At(plain.url.replace("http://", "wss://").parse().unwrap());
    let source: JsonRpcSource = source(&plain.url).with_socket(&other).unwrap();
    let mut watch = HeadWatch::start(&source, options());
    for _ in 0..5 {
        assert_eq!(watch.wait(NEVER).await, Woken::Time);
    }
    assert!(!watch.is_live());
}

#[tokio::test]
async fn the_leader_of_several_is_watched() {
    let node = node(SocketMode::Works).await;
    let pool = NodePool::new(vec![source(&node.url)], PoolOptions::default()).unwrap();
    let mut watch = pool.leader().await.unwrap().watch_heads(options());
    node.subscribed(1).await;
    live(&mut watch).await;
    node.say(Word::Head(9));
    signal(&mut watch).await;
}
