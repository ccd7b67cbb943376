//! What wallets did: filters, pages both ways, and how far a row can be relied on.

use obsqra_store::projection::activity::ActivityRow;
use serde_json::{Value, json};

use crate::support::{World, activity, felt};

/// The position is block 60: what is up to block 30 is final.
async fn with(rows: &[ActivityRow]) -> World {
    let world = World::at(60, 5_000).await;
    world.insert_activities(rows).await;
    world
}

fn seqs(data: &Value) -> Vec<&str> {
    let nodes = data["activity"]["nodes"].as_array().unwrap();
    nodes.iter().map(|node| node["seq"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn filters_restrict_together() {
    let mut swap = activity("ekubo", 0xa, 12, 30);
    swap.kind = "swap".into();
    let rows = [
        activity("zklend", 0xa, 10, 10),
        activity("zklend", 0xb, 11, 20),
        swap,
        activity("zklend", 0xa, 40, 50),
        // Known only later.
        activity("zklend", 0xa, 41, 5_001),
        // Gained by block 11 later than the others.
        activity("zklend", 0xb, 11, 40),
    ];
    let world = with(&rows).await;
    for (arguments, expected) in [
        ("first: 100", vec!["10", "20", "40", "30", "50"]),
        ("wallet: \"0x000a\"", vec!["10", "30", "50"]),
        ("protocol: \"zklend\"", vec!["10", "20", "40", "50"]),
        ("wallet: \"0xa\", protocol: \"zklend\"", vec!["10", "50"]),
        ("kinds: [SWAP, BORROW]", vec!["30"]),
        ("kinds: []", vec![]),
        ("fromBlock: 11, toBlock: 12", vec!["20", "40", "30"]),
        ("atBlock: 11", vec!["10", "20", "40"]),
        ("toBlock: 10, atBlock: 11", vec!["10"]),
        ("wallet: \"0xc\"", vec![]),
    ] {
        let query = format!("{{ activity({arguments}) {{ nodes {{ seq }} }} }}");
        assert_eq!(seqs(&world.data(&query, json!({})).await), expected, "{arguments}");
    }
}

#[tokio::test]
async fn pages_go_both_ways_without_gap_or_repeat() {
    // Two activities of each event.
    let rows: Vec<_> = (1..=20)
        .flat_map(|n| {
            let first = activity("zklend", 0xa, n, n * 10);
            let second = ActivityRow {
                ordinal: 1,
                place: first.place + 1,
                amount: "6".into(),
                ..first.clone()
            };
            [first, second]
        })
        .collect();
    let world = with(&rows).await;
    let query = "query ($f: Int, $a: String, $l: Int, $b: String) {
        activity(wallet: \"0xa\", first: $f, after: $a, last: $l, before: $b) {
            nodes { seq amount }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let all: Vec<Value> = (1..=20)
        .flat_map(|n| {
            ["5", "6"].map(|amount| json!({ "seq": (n * 10).to_string(), "amount": amount }))
        })
        .collect();
    let (mut forward, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = world.data(query, json!({ "f": 7, "a": after })).await;
        let page = &data["activity"];
        forward.extend(page["nodes"].as_array().unwrap().clone());
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(forward, all);
    let (mut backward, mut before) = (Vec::new(), Value::Null);
    loop {
        let data = world.data(query, json!({ "l": 9, "b": before })).await;
        let page = &data["activity"];
        backward.splice(0..0, page["nodes"].as_array().unwrap().clone());
        before = page["pageInfo"]["startCursor"].clone();
        if page["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
    }
    assert_eq!(backward, all);
}

#[tokio::test]
async fn a_reverted_block_is_told_when_asked_for() {
    // The first block 40 was reverted at 28; the same happened again in the one that replaced it.
    let mut reverted = activity("zklend", 0xa, 40, 25);
    reverted.ranges.to_seq = 28;
    // And a chain that was longer once.
    let mut above = activity("zklend", 0xa, 70, 26);
    above.ranges.to_seq = 27;
    let rows = [activity("zklend", 0xa, 30, 10), reverted, activity("zklend", 0xa, 40, 30), above];
    let world = with(&rows).await;
    let query = "query ($r: Boolean) { activity(wallet: \"0xa\", includeRetracted: $r) {
        nodes { seq status retractedSeq } } }";
    let node = |seq: &str, status: &str, retracted: Option<&str>| json!({ "seq": seq, "status": status, "retractedSeq": retracted });
    let standing = json!([node("10", "FINAL", None), node("30", "PROVISIONAL", None)]);
    for variables in [json!({}), json!({ "r": false })] {
        assert_eq!(world.data(query, variables).await["activity"]["nodes"], standing);
    }
    let all = json!([
        node("10", "FINAL", None),
        node("25", "RETRACTED", Some("28")),
        node("30", "PROVISIONAL", None),
        node("26", "RETRACTED", Some("27")),
    ]);
    assert_eq!(world.data(query, json!({ "r": true })).await["activity"]["nodes"], all);
    // Before the revert was known it was not.
    world.advance(60, 27).await;
    let then = json!([
        node("10", "FINAL", None),
        node("25", "PROVISIONAL", None),
        node("26", "RETRACTED", Some("27")),
    ]);
    assert_eq!(world.data(query, json!({ "r": true })).await["activity"]["nodes"], then);
}

#[tokio::test]
async fn an_activity_is_told_whole() {
    const ETH: &str = "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7";
    let mut row = activity("zklend", 0xa, 10, 10);
    row.kind = "liquidation".into();
    row.counterparty = Some(felt(0xb));
    row.token = Some(obsqra_types::parse_felt(ETH).unwrap().to_bytes_be().to_vec());
    row.amount = format!("{}", obsqra_types::U256::MAX);
    row.counter_token = Some(felt(77));
    row.counter_amount = Some("7".into());
    let world = with(&[row]).await;
    let query = "{ activity { nodes { seq status retractedSeq kind protocol contract wallet counterparty
        token { address symbol decimals } amount counterToken { address symbol decimals } counterAmount
        blockNumber blockHash transactionHash eventIndex timestamp } } }";
    let expected = json!({
        "seq": "10", "status": "FINAL", "retractedSeq": null, "kind": "LIQUIDATION",
        "protocol": "zklend", "contract": "0x5e0", "wallet": "0xa", "counterparty": "0xb",
        "token": { "address": ETH, "symbol": "ETH", "decimals": 18 },
        "amount": "115792089237316195423570985008687907853269984665640564039457584007913129639935",
        "counterToken": { "address": "0x4d", "symbol": null, "decimals": null },
        "counterAmount": "7", "blockNumber": 10, "blockHash": "0xa", "transactionHash": "0x9",
        "eventIndex": 3, "timestamp": "2023-11-14T22:13:30+00:00",
    });
    assert_eq!(world.data(query, json!({})).await["activity"]["nodes"][0], expected);
}
