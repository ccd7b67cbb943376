//! Subscriptions: each message once, in order, across reconnects; ended when the server stops.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Socket, World, code_of, score};

const SCORES: &str = "subscription ($p: String, $a: String) {
    riskScored(protocol: $p, after: $a) { seq cursor } }";

/// Records scores at every tenth position of a range and moves the read models past them.
async fn record(world: &World, seqs: std::ops::Range<u64>) {
    let rows: Vec<_> = seqs
        .clone()
        .step_by(10)
        .map(|seq| score("zklend", 50, i64::try_from(seq).unwrap(), seq))
        .collect();
    world.insert_scores(&rows).await;
    world.advance(seqs.end, seqs.end - 1).await;
}

#[tokio::test]
async fn a_resumed_subscription_misses_and_repeats_nothing() {
    let world = Arc::new(World::at(1, 9).await);
    record(&world, 10..1_000).await;
    let writer = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            for batch in 1..20 {
                record(&world, batch * 1_000..(batch + 1) * 1_000).await;
            }
        }
    });
    let expected: Vec<u64> = (10..20_000).step_by(10).collect();
    let mut received = Vec::new();
    let mut after = "s1:0".to_owned();
    // Connections of ever other lengths, each dropped with messages under way.
    for length in (1..).map(|n| 1 + n * 37 % 211) {
        let mut socket = Socket::subscribe(&world, SCORES, json!({ "a": after })).await;
        for _ in 0..length {
            if received.len() == expected.len() {
                break;
            }
            let payload = socket.payload().await;
            let message = &payload["data"]["riskScored"];
            received.push(message["seq"].as_str().unwrap().parse::<u64>().unwrap());
            after = message["cursor"].as_str().unwrap().to_owned();
        }
        if received.len() == expected.len() {
            break;
        }
    }
    writer.await.unwrap();
    assert_eq!(received, expected);
}

#[tokio::test]
async fn a_subscription_begins_with_what_comes() {
    let world = World::at(1, 100).await;
    world.insert_scores(&[score("zklend", 50, 1, 50)]).await;
    let query = "subscription { riskScored { seq } }";
    let mut socket = Socket::subscribe(&world, query, json!({})).await;
    // When the server pins the subscription is not known here, so scores are recorded until one comes.
    let recording = async {
        for batch in 1.. {
            record(&world, batch * 1_000..(batch + 1) * 1_000).await;
        }
    };
    let payload = tokio::select! {
        payload = socket.payload() => payload,
        () = recording => unreachable!("the recording has no end"),
    };
    let seq: u64 = payload["data"]["riskScored"]["seq"].as_str().unwrap().parse().unwrap();
    assert!(seq >= 1_000, "{seq} was recorded before");
}

#[tokio::test]
async fn a_subscription_leaves_out_what_is_reverted_and_what_is_not_asked_for() {
    let world = World::at(1, 100).await;
    let mut reverted = score("zklend", 50, 2, 110);
    reverted.ranges.to_seq = 115;
    let rows = [reverted, score("ekubo", 52, 2, 119), score("zklend", 51, 2, 120)];
    world.insert_scores(&rows).await;
    let query = "subscription { riskScored(protocol: \"zklend\", after: \"s1:64\") { seq } }";
    let mut socket = Socket::subscribe(&world, query, json!({})).await;
    world.advance(2, 130).await;
    let payload = socket.payload().await;
    assert_eq!(payload["data"]["riskScored"]["seq"], "120");
    assert_eq!(payload["extensions"]["position"]["seq"], "130");
}

#[tokio::test]
async fn the_head_is_told_at_once_and_when_it_moves() {
    let world = World::at(1, 100).await;
    let query = "subscription { head { seq blockNumber } }";
    let mut socket = Socket::subscribe(&world, query, json!({})).await;
    let payload = socket.payload().await;
    assert_eq!(payload["data"]["head"], json!({ "seq": "100", "blockNumber": 1 }));
    world.advance(2, 130).await;
    let payload = socket.payload().await;
    assert_eq!(payload["data"]["head"], json!({ "seq": "130", "blockNumber": 2 }));
    assert_eq!(payload["extensions"]["position"]["seq"], "130");
}

#[tokio::test]
async fn an_entry_that_is_not_in_the_log_fails_its_field_and_says_no_more() {
    let world = World::at(1, 130).await;
    world.insert_scores(&[score("zklend", 51, 1, 120)]).await;
    let query = "subscription { riskScored(after: \"s1:1\") { causes { seq } } }";
    let mut socket = Socket::subscribe(&world, query, json!({})).await;
    assert_eq!(code_of(&socket.payload().await), "INTERNAL");
}

#[tokio::test]
async fn mistakes_end_a_subscription_with_their_name() {
    let world = World::at(1, 100).await;
    for (variables, argument) in
        [(json!({ "p": "nobody" }), "protocol"), (json!({ "a": "110" }), "after")]
    {
        let mut socket = Socket::subscribe(&world, SCORES, variables).await;
        let payload = socket.payload().await;
        assert_eq!(code_of(&payload), "BAD_USER_INPUT");
        assert_eq!(payload["errors"][0]["extensions"]["argument"], argument);
    }
}

#[tokio::test]
async fn a_connection_holds_a_bounded_number_of_operations() {
    let world = World::at(1, 100).await;
    let mut socket = Socket::open(&world).await;
    for id in 0..20 {
        socket.start(&id.to_string(), "subscription { head { seq } }", json!({})).await;
        assert_eq!(socket.payload().await["data"]["head"]["seq"], "100");
    }
    socket.start("beyond", "subscription { head { seq } }", json!({})).await;
    assert_eq!(code_of(&socket.payload().await), "TOO_MANY_OPERATIONS");
    assert_eq!(socket.next().await, Ok(json!({ "type": "complete", "id": "beyond" })));
    socket.send(json!({ "type": "complete", "id": "3" })).await;
    assert_eq!(socket.next().await, Ok(json!({ "type": "complete", "id": "3" })));
    socket.start("again", "subscription { head { seq } }", json!({})).await;
    assert_eq!(socket.payload().await["data"]["head"]["seq"], Value::from("100"));
}

#[tokio::test]
async fn open_subscriptions_are_closed_when_the_server_stops() {
    let mut world = World::at(1, 100).await;
    let mut socket = Socket::subscribe(&world, "subscription { head { seq } }", json!({})).await;
    socket.payload().await;
    world.stop.cancel();
    assert_eq!(socket.next().await, Err(1001));
    let ended = tokio::time::timeout(Duration::from_secs(10), &mut world.served).await;
    ended.expect("the server ends in time").unwrap();
}
