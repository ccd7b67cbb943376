//! The node over its wire, asked by the client library that the product uses.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

mod support;

use std::net::SocketAddr;

use obsqra_devnode::{
    DevNode, DevNodeError, DevNodeOptions, Fault, FaultScope, ScriptedFault, Source,
};
use serde_json::{Value, json};
use starknet::core::types::{
    BlockId, BlockStatus, BlockTag, EventFilter, Felt, MaybePreConfirmedBlockWithReceipts,
    MaybePreConfirmedBlockWithTxHashes, MaybePreConfirmedBlockWithTxs, StarknetError,
    SyncStatusType,
};
use starknet::providers::jsonrpc::HttpTransport;
use starknet::providers::{JsonRpcClient, Provider, ProviderError};

use support::{call, client, node, post};

#[tokio::test(flavor = "multi_thread")]
async fn every_method_parses_with_the_client() {
    let node = node(10).await;
    let client = client(&node);
    assert_eq!(client.spec_version().await.expect("version"), "0.10.0");
    assert_eq!(
        client.chain_id().await.expect("chain id"),
        Felt::from_bytes_be_slice(b"OBSQRA_DEV")
    );
    assert_eq!(client.block_number().await.expect("number"), 9);
    let head = client.block_hash_and_number().await.expect("head");
    assert_eq!(
        Some((head.block_number, head.block_hash)),
        node.head().map(|head| (head.number, head.hash))
    );
    assert!(matches!(client.syncing().await, Ok(SyncStatusType::NotSyncing)));
    let mut parent = Felt::ZERO;
    for number in 0..10 {
        let id = BlockId::Number(number);
        let MaybePreConfirmedBlockWithReceipts::Block(block) =
            client.get_block_with_receipts(id).await.expect("receipts")
        else {
            panic!("a whole block")
        };
        let MaybePreConfirmedBlockWithTxHashes::Block(hashes) =
            client.get_block_with_tx_hashes(BlockId::Hash(block.block_hash)).await.expect("hashes")
        else {
            panic!("a whole block")
        };
        let MaybePreConfirmedBlockWithTxs::Block(transactions) =
            client.get_block_with_txs(id).await.expect("transactions")
        else {
            panic!("a whole block")
        };
        assert_eq!(
            client.get_block_transaction_count(id).await.expect("count"),
            hashes.transactions.len() as u64
        );
        assert_eq!((block.block_number, block.parent_hash), (number, parent));
        let expected =
            if number <= 5 { BlockStatus::AcceptedOnL1 } else { BlockStatus::AcceptedOnL2 };
        assert_eq!(
            (block.status, hashes.status, transactions.status),
            (expected, expected, expected)
        );
        let of_receipts: Vec<_> =
            block.transactions.iter().map(|entry| *entry.receipt.transaction_hash()).collect();
        let of_bodies: Vec<_> =
            transactions.transactions.iter().map(|entry| *entry.transaction_hash()).collect();
        assert_eq!((&of_receipts, &of_bodies), (&hashes.transactions, &hashes.transactions));
        parent = block.block_hash;
    }
    let final_id = BlockId::Tag(BlockTag::L1Accepted);
    let newest_final = client.get_block_with_tx_hashes(final_id).await.expect("a final block");
    assert!(
        matches!(newest_final, MaybePreConfirmedBlockWithTxHashes::Block(block) if block.block_number == 5)
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_is_whole_and_says_what_is_made_up() {
    let node = node(2).await;
    let block = &call(&node, "starknet_getBlockWithReceipts", json!([{ "block_number": 1 }])).await
        ["result"];
    for member in [
        "transaction_commitment",
        "event_commitment",
        "receipt_commitment",
        "state_diff_commitment",
        "event_count",
        "transaction_count",
        "state_diff_length",
        "l1_da_mode",
    ] {
        assert!(!block[member].is_null(), "{member}");
    }
    assert_eq!(block["obsqra"]["source"], "seeded");
    assert!(block["obsqra"]["made_up"].as_array().expect("names").contains(&json!("new_root")));
    let receipts = block["transactions"].as_array().expect("transactions");
    let events: usize = receipts
        .iter()
        .map(|entry| entry["receipt"]["events"].as_array().expect("events").len())
        .sum();
    assert_eq!(block["event_count"], json!(events));
    let truth = &call(&node, "obsqra_truth", json!({ "block_number": 1 })).await["result"];
    assert_eq!(truth["block_number"], json!(1));
    assert_eq!(
        truth["markets"][0]["price_usdc"].as_str().map(|price| price.len() > 15),
        Some(true)
    );
    assert_eq!(*truth, serde_json::to_value(node.truth(1)).expect("JSON"));
    assert_eq!(call(&node, "obsqra_recordedNumber", json!([1])).await["result"], Value::Null);
    node.stop().await;
}

/// Every event of some blocks by receipts, as (block, transaction, contract, keys, data).
type Row = (u64, Felt, Felt, Vec<Felt>, Vec<Felt>);

async fn events_of_blocks(
    client: &JsonRpcClient<HttpTransport>,
    blocks: std::ops::RangeInclusive<u64>,
) -> Vec<Row> {
    let mut rows = Vec::new();
    for number in blocks {
        let block = client.get_block_with_receipts(BlockId::Number(number)).await.expect("a block");
        let MaybePreConfirmedBlockWithReceipts::Block(block) = block else {
            panic!("a whole block")
        };
        for entry in block.transactions {
            let hash = *entry.receipt.transaction_hash();
            for event in entry.receipt.events() {
                rows.push((
                    number,
                    hash,
                    event.from_address,
                    event.keys.clone(),
                    event.data.clone(),
                ));
            }
        }
    }
    rows
}

async fn paged(client: &JsonRpcClient<HttpTransport>, filter: &EventFilter, size: u64) -> Vec<Row> {
    let (mut rows, mut token) = (Vec::new(), None);
    loop {
        let page = client.get_events(filter.clone(), token, size).await.expect("a page");
        assert!(page.events.len() as u64 <= size);
        rows.extend(page.events.into_iter().map(|event| {
            let number = event.block_number.expect("a height");
            (number, event.transaction_hash, event.from_address, event.keys, event.data)
        }));
        token = page.continuation_token;
        if token.is_none() {
            return rows;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_events_add_up_to_the_blocks() {
    let node = node(6).await;
    let client = client(&node);
    let all = events_of_blocks(&client, 1..=4).await;
    let range = EventFilter {
        from_block: Some(BlockId::Number(1)),
        to_block: Some(BlockId::Number(4)),
        address: None,
        keys: None,
    };
    for size in [1, 7, 50, 1_024] {
        assert_eq!(paged(&client, &range, size).await, all, "pages of {size}");
    }
    let address = all[0].2;
    let by_address = EventFilter { address: Some(address), ..range.clone() };
    let expected: Vec<Row> = all.iter().filter(|row| row.2 == address).cloned().collect();
    assert_eq!(paged(&client, &by_address, 3).await, expected);
    // A second key exists only on newer transfers; an empty first position takes any selector.
    let second_key =
        all.iter().find_map(|row| row.3.get(1)).copied().expect("a transfer with parties as keys");
    let by_key = EventFilter { keys: Some(vec![vec![], vec![second_key]]), ..range.clone() };
    let expected: Vec<Row> =
        all.iter().filter(|row| row.3.get(1) == Some(&second_key)).cloned().collect();
    assert_eq!(paged(&client, &by_key, 2).await, expected);
    let selectors: Vec<Felt> = all.iter().take(2).map(|row| row.3[0]).collect();
    let either = EventFilter { keys: Some(vec![selectors.clone()]), ..range };
    let expected: Vec<Row> =
        all.iter().filter(|row| selectors.contains(&row.3[0])).cloned().collect();
    assert_eq!(paged(&client, &either, 11).await, expected);
    // Since spec 0.10 several addresses are one filter.
    let filter = json!({ "from_block": { "block_number": 1 }, "to_block": { "block_number": 4 }, "chunk_size": 1024,
        "address": [format!("{:#x}", all[0].2), format!("{:#x}", all[1].2)] });
    let answer = call(&node, "starknet_getEvents", json!({ "filter": filter })).await;
    let expected = all.iter().filter(|row| row.2 == all[0].2 || row.2 == all[1].2).count();
    assert_eq!(answer["result"]["events"].as_array().map(Vec::len), Some(expected.min(1_024)));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_outlives_growth_and_not_a_reorg() {
    let node = node(6).await;
    let filter = |token: Option<&str>| {
        json!([{ "from_block": { "block_number": 4 }, "to_block": "latest",
        "chunk_size": 5, "continuation_token": token }])
    };
    let first = call(&node, "starknet_getEvents", filter(None)).await;
    let token = first["result"]["continuation_token"].as_str().expect("more pages").to_owned();
    let second = call(&node, "starknet_getEvents", filter(Some(&token))).await;
    node.push_blocks(2).await.expect("blocks");
    assert_eq!(call(&node, "starknet_getEvents", filter(Some(&token))).await, second);
    node.reorg(5, 5).await.expect("a competing chain");
    assert_eq!(call(&node, "starknet_getEvents", filter(Some(&token))).await["error"]["code"], 33);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_those_of_the_specifications() {
    let node = node(2).await;
    let events = |extra: Value| {
        let mut filter = json!({ "chunk_size": 10 });
        filter
            .as_object_mut()
            .expect("an object")
            .extend(extra.as_object().expect("an object").clone());
        json!([filter])
    };
    let many_keys: Vec<String> = (0..300).map(|key| format!("{key:#x}")).collect();
    let cases = [
        ("starknet_getBlockWithReceipts", json!([{ "block_number": 99 }]), 24),
        ("starknet_getBlockWithReceipts", json!([{ "block_hash": "0x1" }]), 24),
        ("starknet_getBlockWithReceipts", json!(["pre_confirmed"]), 24),
        ("starknet_getBlockWithReceipts", json!(["l1_accepted"]), 24),
        ("starknet_getBlockWithReceipts", json!(["pending"]), -32_602),
        ("starknet_getBlockWithReceipts", json!([]), -32_602),
        ("starknet_getBlockWithReceipts", json!({ "block": "latest" }), -32_602),
        (
            "starknet_getBlockWithReceipts",
            json!([{ "block_hash": format!("0x{}", "f".repeat(64)) }]),
            -32_602,
        ),
        ("starknet_getBlockWithReceipts", json!("latest"), -32_600),
        ("starknet_blockNumber", json!([1]), -32_602),
        ("starknet_getEvents", events(json!({ "chunk_size": 1_025 })), 31),
        ("starknet_getEvents", events(json!({ "chunk_size": 0 })), -32_602),
        ("starknet_getEvents", events(json!({ "continuation_token": "nonsense" })), 33),
        ("starknet_getEvents", events(json!({ "keys": [many_keys] })), 34),
        ("starknet_getEvents", events(json!({ "from_block": { "block_hash": "0x1" } })), 24),
        ("starknet_getEvents", events(json!({ "adress": "0x1" })), -32_602),
        ("obsqra_truth", json!([99]), 24),
        ("starknet_doesNotExist", json!([]), -32_601),
    ];
    for (method, params, code) in cases {
        let answer = call(&node, method, params.clone()).await;
        assert_eq!(answer["error"]["code"], json!(code), "{method} {params}");
    }
    let missing = client(&node).get_block_with_receipts(BlockId::Number(99)).await;
    assert!(matches!(missing, Err(ProviderError::StarknetError(StarknetError::BlockNotFound))));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envelopes_and_batches() {
    let node = node(2).await;
    let code = |body: &str| -> Value {
        serde_json::from_str::<Value>(body).expect("JSON")["error"]["code"].clone()
    };
    assert_eq!(code(&post(&node, "{").await.1), json!(-32_700));
    assert_eq!(code(&post(&node, "[]").await.1), json!(-32_600));
    assert_eq!(code(&post(&node, "1").await.1), json!(-32_600));
    assert_eq!(
        code(&post(&node, r#"{"id":1,"method":"starknet_chainId"}"#).await.1),
        json!(-32_600)
    );
    let one = |id: u64| json!({ "jsonrpc": "2.0", "id": id, "method": "starknet_blockNumber" });
    let (_, body) = post(&node, &json!([one(1), one(2), 3]).to_string()).await;
    let answers: Vec<Value> = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&answers[0]["result"], &answers[1]["id"]), (&json!(1), &json!(2)));
    assert_eq!(answers[2]["error"]["code"], json!(-32_600));
    let (_, body) = post(&node, &json!((0..257).map(one).collect::<Vec<_>>()).to_string()).await;
    assert_eq!(code(&body), json!(-32_600));
    let notification = json!({ "jsonrpc": "2.0", "method": "starknet_blockNumber" });
    assert_eq!(post(&node, &notification.to_string()).await, (204, String::new()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorg_shows_a_competing_chain() {
    let node = node(8).await;
    let client = client(&node);
    let hashes = |from: u64, to: u64| {
        let node = &node;
        async move {
            let mut hashes = Vec::new();
            for number in from..=to {
                let block = call(
                    node,
                    "starknet_getBlockWithTxHashes",
                    json!([{ "block_number": number }]),
                )
                .await;
                let (hash, parent) =
                    (&block["result"]["block_hash"], &block["result"]["parent_hash"]);
                hashes.push((
                    hash.as_str().expect("a hash").to_owned(),
                    parent.as_str().expect("a hash").to_owned(),
                ));
            }
            hashes
        }
    };
    let before = hashes(0, 7).await;
    let head = node.reorg(3, 2).await.expect("a reorg").expect("a head");
    assert_eq!(head.number, 6);
    let after = hashes(0, 6).await;
    assert_eq!(before[..5], after[..5]);
    assert_ne!(before[5..7], after[5..]);
    assert!(after.windows(2).all(|pair| pair[0].0 == pair[1].1), "parents link");
    let old = Felt::from_hex(&before[5].0).expect("a felt");
    let gone = client.get_block_with_receipts(BlockId::Hash(old)).await;
    assert!(matches!(gone, Err(ProviderError::StarknetError(StarknetError::BlockNotFound))));
    assert_eq!(node.push_blocks(2).await.expect("blocks").expect("a head").number, 8);
    assert!(matches!(node.reorg(9, 1).await, Err(DevNodeError::ReorgDepth { .. })));
    assert!(matches!(node.reorg(0, 1).await, Err(DevNodeError::ReorgDepth { .. })));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_show_as_often_as_asked() {
    let node = node(4).await;
    let request =
        json!({ "jsonrpc": "2.0", "id": 1, "method": "starknet_blockNumber" }).to_string();
    let next = |fault| node.faults().inject(fault, FaultScope::next_calls(1));
    next(Fault::ServerError);
    next(Fault::GarbageBody);
    assert_eq!(post(&node, &request).await.0, 500);
    assert!(post(&node, &request).await.1.starts_with('<'));
    next(Fault::TooManyRequests { retry_after_seconds: Some(3) });
    let response = reqwest::Client::new()
        .post(node.url())
        .body(request.clone())
        .send()
        .await
        .expect("an answer");
    assert_eq!(
        (response.status().as_u16(), response.headers()["retry-after"].as_bytes()),
        (429, b"3".as_slice())
    );
    next(Fault::RateLimitedInBody);
    assert_eq!(call(&node, "starknet_blockNumber", json!([])).await["error"]["code"], 429);
    next(Fault::TruncatedBody);
    let cut = reqwest::Client::new().post(node.url()).body(request.clone()).send().await;
    assert!(match cut {
        Ok(response) => response.bytes().await.is_err(),
        Err(_) => true,
    });
    next(Fault::Hang { millis: 50 });
    assert_eq!(post(&node, &request).await.0, 200);
    assert_eq!(node.faults().pending(), 0);
    node.faults().inject(Fault::HeadBackwards { blocks: 2 }, FaultScope::next_calls(2));
    let client = client(&node);
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(client.block_number().await.expect("a number"));
    }
    assert_eq!(seen, [1, 1, 3]);
    next(Fault::WrongChainId("SN_MAIN".to_owned()));
    assert_eq!(client.chain_id().await.expect("an id"), Felt::from_bytes_be_slice(b"SN_MAIN"));
    assert_eq!(client.chain_id().await.expect("an id"), Felt::from_bytes_be_slice(b"OBSQRA_DEV"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_a_block_spoil_that_block_only() {
    let node = node(4).await;
    let client = client(&node);
    let at_two = |fault| {
        node.faults()
            .inject(fault, FaultScope::method("starknet_getBlockWithReceipts", 1).at_block(2))
    };
    let block = async |number| client.get_block_with_receipts(BlockId::Number(number)).await;
    let whole = block(2).await.expect("a block");
    at_two(Fault::WrongParentHash);
    block(1).await.expect("another block is spared");
    let spoiled = block(2).await.expect("it still parses");
    assert!(
        matches!(spoiled, MaybePreConfirmedBlockWithReceipts::Block(block) if block.parent_hash == Felt::from(0xbad))
    );
    at_two(Fault::UnknownTransactionType);
    assert!(block(2).await.is_err());
    at_two(Fault::MissingEvents);
    assert!(block(2).await.is_err());
    at_two(Fault::UnknownField);
    assert_eq!(block(2).await.expect("an unknown member does no harm"), whole);
    assert_eq!(node.faults().pending(), 0);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_lists_faults() {
    let script = r#"[{"fault": "server_error", "scope": {"method": "starknet_chainId", "times": 1}},
                     {"fault": {"hang": {"millis": 1}}, "scope": {"times": 1}}]"#;
    let faults: Vec<ScriptedFault> = serde_json::from_str(script).expect("a script");
    let options =
        DevNodeOptions { blocks: 1, blocks_per_second: 0.0, faults, ..DevNodeOptions::seeded(1) };
    let node = DevNode::start(options).await.expect("it starts");
    assert_eq!(node.faults().pending(), 2);
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "starknet_chainId" }).to_string();
    assert_eq!(post(&node, &request).await.0, 500);
    assert_eq!(post(&node, &request).await.0, 200);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_one_sentence() {
    let first = node(1).await;
    let listen: SocketAddr = first
        .url()
        .trim_start_matches("http://")
        .trim_end_matches('/')
        .parse()
        .expect("an address");
    let refused = DevNode::start(DevNodeOptions { listen, ..DevNodeOptions::seeded(1) }).await;
    let message = refused.expect_err("the port is taken").to_string();
    assert!(message.starts_with(&format!("cannot listen on {listen}: ")), "{message}");
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_follow_at_a_pace_and_the_node_stops() {
    let options =
        DevNodeOptions { blocks: 2, blocks_per_second: 200.0, ..DevNodeOptions::seeded(1) };
    let node = DevNode::start(options).await.expect("it starts");
    node.wait_for_height(6).await;
    let url = node.url();
    node.stop().await;
    assert!(reqwest::get(url).await.is_err());
    let nonsense = DevNodeOptions { blocks_per_second: f64::NAN, ..DevNodeOptions::seeded(1) };
    assert!(matches!(DevNode::start(nonsense).await, Err(DevNodeError::Pace { .. })));
    let missing = DevNodeOptions {
        source: Source::Recorded("/does/not/exist".into()),
        ..DevNodeOptions::seeded(1)
    };
    assert!(matches!(DevNode::start(missing).await, Err(DevNodeError::Recorded(_))));
}
