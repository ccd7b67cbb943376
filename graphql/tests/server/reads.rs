//! Queries: what stands at the pinned position, page by page.

use obsqra_store::attested::AttestedAs;
use obsqra_store::projection::Ranges;
use serde_json::{Value, json};

use crate::support::{OPEN, World, absent, block, code_of, event, market, score};

#[tokio::test]
async fn nothing_is_made_up_before_the_first_block() {
    let world = World::new().await;
    for query in ["{ head { seq } }", "{ protocols { id } }", "{ events { nodes { seq } } }"] {
        assert_eq!(code_of(&world.run(query, json!({})).await), "NOT_READY", "{query}");
    }
    let sdl = world.data("{ __schema { queryType { name } } }", json!({})).await;
    assert_eq!(sdl["__schema"]["queryType"]["name"], "Query");
}

#[tokio::test]
async fn the_head_is_the_projected_block_and_every_response_names_it() {
    let world = World::at(100, 5_000).await;
    world.node_head(104).await;
    let query = "{ head { seq blockNumber blockHash timestamp finality lagBlocks chainId } }";
    let response = world.run(query, json!({})).await;
    let expected = json!({
        "seq": "5000", "blockNumber": 100, "blockHash": "0x64",
        "timestamp": "2023-11-14T22:15:00+00:00", "finality": "ACCEPTED_ON_L2",
        "lagBlocks": 4, "chainId": "SN_MAIN",
    });
    assert_eq!(response["data"]["head"], expected);
    let position = json!({ "seq": "5000", "blockNumber": 100, "blockHash": "0x64" });
    assert_eq!(response["extensions"]["position"], position);
}

#[tokio::test]
async fn the_head_says_how_blocks_were_checked() {
    let world = World::at(100, 5_000).await;
    let query = "{ head { attestedBlocks { verified unverifiable unchecked } \
                 attestedRanges(first: 2) { firstBlock lastBlock verdict } } }";
    let head = world.data(query, json!({})).await["head"].clone();
    assert_eq!(head["attestedBlocks"]["verified"], 0);
    assert_eq!(head["attestedRanges"], json!([]));
    world.attested((1, 60), AttestedAs::Unchecked).await;
    world.attested((61, 120), AttestedAs::Verified).await;
    world.attested((20, 29), AttestedAs::Unverifiable).await;
    let head = world.data(query, json!({})).await["head"].clone();
    // Up to the block that the answer is pinned to.
    let blocks = json!({ "verified": 40, "unverifiable": 10, "unchecked": 50 });
    assert_eq!(head["attestedBlocks"], blocks);
    let ranges = json!([
        { "firstBlock": 61, "lastBlock": 100, "verdict": "VERIFIED" },
        { "firstBlock": 30, "lastBlock": 60, "verdict": "UNCHECKED" },
    ]);
    assert_eq!(head["attestedRanges"], ranges);
    for first in [0, -1, 101] {
        let query = format!("{{ head {{ attestedRanges(first: {first}) {{ firstBlock }} }} }}");
        assert_eq!(code_of(&world.run(&query, json!({})).await), "BAD_USER_INPUT", "{first}");
    }
}

/// One market and one score, changed at block 50; then block 50 was reverted at position 900, and
/// another block 50 changed them otherwise at 910.
async fn reorganised() -> World {
    let world = World::at(60, 5_000).await;
    let ranges =
        |from_block, to_block, from_seq, to_seq| Ranges { from_block, to_block, from_seq, to_seq };
    let histories = [
        (1_000, ranges(40, OPEN, 100, 500)),
        (1_000, ranges(40, 50, 500, 900)),
        (2_000, ranges(50, OPEN, 500, 900)),
        (1_000, ranges(40, OPEN, 900, 910)),
        (1_000, ranges(40, 50, 910, OPEN)),
        (3_000, ranges(50, OPEN, 910, OPEN)),
    ];
    let mut markets = Vec::new();
    let mut scores = Vec::new();
    for (value, ranges) in histories {
        let mut row = market("zklend", "0x1", 0, 0);
        (row.ranges, row.utilization_bps) = (ranges, Some(value));
        markets.push(row);
        let mut row = score("zklend", i16::try_from(value / 100).unwrap(), 0, 0);
        let entry_seq = i64::from(value) / 10;
        (row.ranges, row.entry_seq) = (ranges, entry_seq);
        scores.push(row);
    }
    world.insert_markets(&markets).await;
    world.insert_scores(&scores).await;
    world
}

#[tokio::test]
async fn one_row_stands_at_each_block_and_position() {
    let query = "query ($b: Int) { protocol(id: \"zklend\", atBlock: $b) {
        risk { score } metrics { utilizationBps } absent { reason } } }";
    let world = reorganised().await;
    // Known at, as of, the value that stands there.
    for (known_at, at_block, expected) in [
        (499, Some(55), 1_000),
        (500, Some(49), 1_000),
        (500, Some(50), 2_000),
        (899, None, 2_000),
        (900, None, 1_000),
        (909, Some(55), 1_000),
        (910, Some(50), 3_000),
        (910, Some(49), 1_000),
        (5_000, None, 3_000),
    ] {
        world.advance(60, known_at).await;
        let data = world.data(query, json!({ "b": at_block })).await;
        let expected = json!({ "protocol": {
            "risk": { "score": expected / 100 },
            "metrics": [{ "utilizationBps": expected }],
            "absent": [],
        }});
        assert_eq!(data, expected, "known at {known_at}, as of {at_block:?}");
    }
}

#[tokio::test]
async fn a_reopened_score_is_one_row_of_the_history() {
    let world = reorganised().await;
    let query = "{ riskHistory(protocol: \"zklend\") { nodes { seq score } } }";
    for (known_at, expected) in [
        (500, json!([{ "seq": "100", "score": 10 }, { "seq": "200", "score": 20 }])),
        (905, json!([{ "seq": "100", "score": 10 }])),
        (910, json!([{ "seq": "100", "score": 10 }, { "seq": "300", "score": 30 }])),
    ] {
        world.advance(60, known_at).await;
        let data = world.data(query, json!({})).await;
        assert_eq!(data["riskHistory"]["nodes"], expected, "known at {known_at}");
    }
}

#[tokio::test]
async fn numbers_have_their_scale_and_what_is_absent_its_reason() {
    let world = World::at(60, 1_000).await;
    world
        .insert_markets(&[market("zklend", "0x2", 10, 10), market("zklend", "0x10", 10, 11)])
        .await;
    let mut unscored = score("ekubo", 0, 20, 30);
    (unscored.score, unscored.components, unscored.inputs) = (None, None, None);
    unscored.absent = vec![absent("volatilityBps", "insufficient_history")];
    world.insert_scores(&[unscored]).await;
    let query = "{ protocols { id risk { score } absent { field reason }
        metrics { market asset assetAddress turnoverBps liquidityClass priceUsdc tvlUsdc blockNumber
                  absent { field reason detail } } } }";
    let data = world.data(query, json!({})).await;
    let protocols = data["protocols"].as_array().unwrap();
    let of = |id: &str| protocols.iter().find(|protocol| protocol["id"] == id).unwrap();
    let markets: Vec<&Value> =
        of("zklend")["metrics"].as_array().unwrap().iter().map(|m| &m["market"]).collect();
    assert_eq!(markets, ["0x10", "0x2"]);
    let expected = json!({
        "market": "0x10", "asset": "ETH", "assetAddress": "0x4d", "turnoverBps": null,
        "liquidityClass": 2, "priceUsdc": "2500.000000000000000000", "tvlUsdc": "12.345678",
        "blockNumber": 10,
        "absent": [{ "field": "volatilityBps", "reason": "insufficient_history", "detail": null }],
    });
    assert_eq!(of("zklend")["metrics"][0], expected);
    assert_eq!(of("zklend")["absent"], json!([{ "field": "risk", "reason": "no_state" }]));
    assert_eq!(of("ekubo")["risk"], Value::Null);
    let reasons = json!([{ "field": "volatilityBps", "reason": "insufficient_history" }]);
    assert_eq!(of("ekubo")["absent"], reasons);
}

#[tokio::test]
async fn history_is_paged_both_ways_without_gap_or_repeat() {
    let world = World::at(200, 5_000).await;
    let rows: Vec<_> =
        (1..=45).map(|n| score("zklend", 50, n, u64::try_from(n).unwrap() * 10)).collect();
    world.insert_scores(&rows).await;
    world.insert_scores(&[score("ekubo", 50, 1, 11)]).await;
    let query = "query ($f: Int, $a: String, $l: Int, $b: String) {
        riskHistory(protocol: \"zklend\", first: $f, after: $a, last: $l, before: $b) {
            edges { cursor node { seq cursor } }
            pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";
    let all: Vec<String> = (1..=45).map(|n| (n * 10).to_string()).collect();
    let seqs = |page: &Value| -> Vec<String> {
        let edges = page["edges"].as_array().unwrap().iter();
        edges.map(|edge| edge["node"]["seq"].as_str().unwrap().to_owned()).collect()
    };
    let (mut forward, mut after) = (Vec::new(), Value::Null);
    loop {
        let data = world.data(query, json!({ "f": 7, "a": after })).await;
        let page = &data["riskHistory"];
        forward.extend(seqs(page));
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    assert_eq!(forward, all);
    let (mut backward, mut before) = (Vec::new(), Value::Null);
    loop {
        let data = world.data(query, json!({ "l": 10, "b": before })).await;
        let page = &data["riskHistory"];
        backward.splice(0..0, seqs(page));
        before = page["pageInfo"]["startCursor"].clone();
        if page["pageInfo"]["hasPreviousPage"] == false {
            break;
        }
    }
    assert_eq!(backward, all);
}

#[tokio::test]
async fn history_is_bounded_by_half_open_instants() {
    let world = World::at(200, 5_000).await;
    let rows: Vec<_> = (1..=5).map(|n| score("zklend", 50, n, u64::try_from(n).unwrap())).collect();
    world.insert_scores(&rows).await;
    let query = "query ($from: DateTime, $to: DateTime) {
        riskHistory(protocol: \"zklend\", from: $from, to: $to) { nodes { blockNumber } } }";
    let at = |block: i64| chrono::DateTime::from_timestamp(1_700_000_000 + block, 0).unwrap();
    let data = world.data(query, json!({ "from": at(2), "to": at(4) })).await;
    assert_eq!(data["riskHistory"]["nodes"], json!([{ "blockNumber": 2 }, { "blockNumber": 3 }]));
    let response = world.run(query, json!({ "from": at(4), "to": at(4) })).await;
    assert_eq!(code_of(&response), "BAD_USER_INPUT");
}

#[tokio::test]
async fn events_are_filtered_and_reverted_ones_are_gone() {
    let world = World::at(200, 5_000).await;
    let mut other = event("ekubo", Some("Swapped"), 12, 30);
    other.contract = [vec![0; 31], vec![0x42]].concat();
    // The first block 12 was reverted at 28.
    let mut reverted = event("zklend", Some("Deposit"), 12, 25);
    reverted.ranges.to_seq = 28;
    let mut reverted_block = block(12, 24);
    reverted_block.ranges.to_seq = 28;
    let blocks = [
        block(10, 9),
        block(11, 19),
        reverted_block,
        block(12, 29),
        block(13, 49),
        block(300, 5_999),
    ];
    let rows = [
        event("zklend", Some("Deposit"), 10, 10),
        event("zklend", None, 11, 20),
        reverted,
        other,
        event("zklend", Some("Deposit"), 13, 50),
        event("zklend", Some("Deposit"), 300, 6_000),
    ];
    world.insert_events(&blocks, &rows).await;
    let query = "query ($f: EventFilter, $n: Int, $a: String, $b: Int) {
        events(filter: $f, first: $n, after: $a, atBlock: $b) {
        nodes { seq } pageInfo { hasNextPage endCursor } } }";
    for (filter, expected) in [
        (json!(null), vec!["10", "20", "30", "50"]),
        (json!({ "protocols": ["ekubo"] }), vec!["30"]),
        (json!({ "names": ["Deposit", "Swapped"] }), vec!["10", "30", "50"]),
        (json!({ "contracts": ["0x000042"] }), vec!["30"]),
        (json!({ "fromBlock": 11, "toBlock": 12 }), vec!["20", "30"]),
        (json!({ "fromBlock": 12 }), vec!["30", "50"]),
        (json!({ "toBlock": 9 }), vec![]),
        (json!({ "fromBlock": 14 }), vec![]),
        (json!({ "protocols": [] }), vec![]),
    ] {
        let data = world.data(query, json!({ "f": filter })).await;
        let nodes = data["events"]["nodes"].as_array().unwrap();
        let seqs: Vec<&str> = nodes.iter().map(|node| node["seq"].as_str().unwrap()).collect();
        assert_eq!(seqs, expected, "{filter}");
    }
    for (filter, at_block, expected) in [
        (json!(null), 11, json!([{ "seq": "10" }, { "seq": "20" }])),
        (json!({ "fromBlock": 11, "toBlock": 13 }), 12, json!([{ "seq": "20" }, { "seq": "30" }])),
        (json!({ "toBlock": 10 }), 12, json!([{ "seq": "10" }])),
    ] {
        let data = world.data(query, json!({ "f": filter, "b": at_block })).await;
        assert_eq!(data["events"]["nodes"], expected, "{filter} at {at_block}");
    }
    let data = world.data(query, json!({ "n": 2 })).await;
    let page = &data["events"];
    assert_eq!(page["pageInfo"]["hasNextPage"], true);
    let data = world.data(query, json!({ "n": 2, "a": page["pageInfo"]["endCursor"] })).await;
    assert_eq!(data["events"]["nodes"], json!([{ "seq": "30" }, { "seq": "50" }]));
    assert_eq!(data["events"]["pageInfo"]["hasNextPage"], false);
}

#[tokio::test]
async fn an_event_that_a_block_gained_later_is_found_by_its_height() {
    let world = World::at(200, 5_000).await;
    // Block 10 gained the event at 90 when the log had reached block 11.
    let rows = [
        event("zklend", Some("Deposit"), 10, 10),
        event("zklend", Some("Deposit"), 11, 20),
        event("ekubo", Some("Swapped"), 10, 90),
    ];
    world.insert_events(&[block(10, 9), block(11, 19)], &rows).await;
    world.supplemented(10, 89, 1).await;
    let query = "query ($f: EventFilter) { events(filter: $f) { nodes { seq } } }";
    for (filter, expected) in [
        (json!({ "toBlock": 10 }), json!([{ "seq": "10" }, { "seq": "90" }])),
        (json!({ "fromBlock": 11 }), json!([{ "seq": "20" }])),
        (json!({ "fromBlock": 11, "toBlock": 11 }), json!([{ "seq": "20" }])),
        (json!(null), json!([{ "seq": "10" }, { "seq": "20" }, { "seq": "90" }])),
    ] {
        let data = world.data(query, json!({ "f": filter })).await;
        assert_eq!(data["events"]["nodes"], expected, "{filter}");
    }
}

#[tokio::test]
async fn an_event_is_told_whole() {
    let world = World::at(200, 5_000).await;
    world.insert_events(&[block(10, 9)], &[event("zklend", Some("Deposit"), 10, 10)]).await;
    let query =
        "{ events { nodes { seq protocol name contract keys data decoded blockNumber blockHash
        transactionHash eventIndex timestamp } } }";
    let expected = json!({
        "seq": "10", "protocol": "zklend", "name": "Deposit", "contract": "0x5e0",
        "keys": ["0x1", "0x2"], "data": ["0x3"], "decoded": { "amount": "5" }, "blockNumber": 10,
        "blockHash": "0xa", "transactionHash": "0x9", "eventIndex": 3,
        "timestamp": "2023-11-14T22:13:30+00:00",
    });
    assert_eq!(world.data(query, json!({})).await["events"]["nodes"][0], expected);
}

#[tokio::test]
async fn causes_come_from_the_log() {
    let world = World::at(200, 5_000).await;
    let entry = world.append_score("zklend", 42).await;
    world.insert_scores(&[score("zklend", 42, 10, entry.0)]).await;
    let query = "{ protocol(id: \"zklend\") { risk { id seq
        causes { seq fromSeq toSeq selector count digest } } } }";
    let none = Value::Null;
    let expected = json!({
        "id": format!("RiskScore:{entry}"), "seq": entry.to_string(),
        "causes": [
            { "seq": "1", "fromSeq": none, "toSeq": none, "selector": none, "count": none, "digest": none },
            { "seq": none, "fromSeq": "1", "toSeq": "2", "selector": "event protocol=zklend", "count": 2,
              "digest": "07".repeat(32) },
        ],
    });
    assert_eq!(world.data(query, json!({})).await["protocol"]["risk"], expected);
}

#[tokio::test]
async fn mistakes_are_named() {
    let world = World::at(60, 1_000).await;
    let many: Vec<String> = (0..101).map(|n| format!("{n:#x}")).collect();
    let many = format!("{many:?}");
    for (query, argument) in [
        ("{ riskHistory(protocol: \"zklnd\") { nodes { seq } } }", "protocol"),
        ("{ riskHistory(protocol: \"zklend\", first: 101) { nodes { seq } } }", "first"),
        ("{ riskHistory(protocol: \"zklend\", last: 0) { nodes { seq } } }", "last"),
        ("{ riskHistory(protocol: \"zklend\", first: 1, last: 1) { nodes { seq } } }", "last"),
        ("{ riskHistory(protocol: \"zklend\", after: \"10\") { nodes { seq } } }", "after"),
        ("{ riskHistory(protocol: \"zklend\", before: \"s1:0x1\") { nodes { seq } } }", "before"),
        ("{ events(after: \"\") { nodes { seq } } }", "after"),
        ("{ events(filter: { contracts: [\"0xg\"] }) { nodes { seq } } }", "contracts"),
        (
            &format!("{{ events(filter: {{ contracts: {many} }}) {{ nodes {{ seq }} }} }}"),
            "contracts",
        ),
        ("{ events(filter: { fromBlock: -1 }) { nodes { seq } } }", "fromBlock"),
        ("{ events(atBlock: 61) { nodes { seq } } }", "atBlock"),
        ("{ activity(wallet: \"0xg\") { nodes { seq } } }", "wallet"),
        ("{ activity(protocol: \"zklnd\") { nodes { seq } } }", "protocol"),
        ("{ activity(fromBlock: -1) { nodes { seq } } }", "fromBlock"),
        ("{ activity(atBlock: 61) { nodes { seq } } }", "atBlock"),
        ("{ activity(first: 101) { nodes { seq } } }", "first"),
        ("{ activity(after: \"s1:1\") { nodes { seq } } }", "after"),
        ("{ privacyPools(chamber: \"12\") { bucket } }", "chamber"),
        ("{ privacyPools(token: \"0xg\") { bucket } }", "token"),
        ("{ privacyPools(atBlock: -1) { bucket } }", "atBlock"),
        (
            "{ privacyPoolHistory(chamber: \"0xc\", token: \"0x1\", bucket: 78) { nodes { bucket } } }",
            "bucket",
        ),
        (
            "{ privacyPoolHistory(chamber: \"0xc\", token: \"0x1\", before: \"b1:1\") { nodes { bucket } } }",
            "before",
        ),
        ("{ protocol(id: \"zklend\", atBlock: 61) { id } }", "atBlock"),
        ("{ protocol(id: \"zklend\", atBlock: -1) { id } }", "atBlock"),
    ] {
        let response = world.run(query, json!({})).await;
        let error = &response["errors"][0];
        assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{response}");
        assert_eq!(error["extensions"]["argument"], argument, "{response}");
        assert!(error["message"].as_str().unwrap().contains(argument), "{response}");
    }
    let data = world.data("{ protocol(id: \"unknown\") { id } }", json!({})).await;
    assert_eq!(data["protocol"], Value::Null);
}

#[tokio::test]
async fn an_internal_error_is_not_told() {
    let world = World::at(60, 1_000).await;
    let mut corrupt = market("zklend", "0x1", 10, 10);
    corrupt.asset_address = vec![1, 2, 3];
    world.insert_markets(&[corrupt]).await;
    let response =
        world.run("{ protocol(id: \"zklend\") { metrics { market } } }", json!({})).await;
    assert_eq!(code_of(&response), "INTERNAL");
    let message = response["errors"][0]["message"].as_str().unwrap();
    assert!(message.starts_with("internal error ("), "{message}");
    assert!(!response.to_string().contains("felt"), "{response}");
}
