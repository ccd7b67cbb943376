//! Real mainnet blocks through the whole program, held against values that a script which shares no code
//! works out from the same events.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use obsqra_events::Lane;
use obsqra_protocols::{Registry, mainnet_registry};
use obsqra_testkit::read_log;
use obsqra_types::parse_felt;
use serde_json::{Value, json};
use support::api::{Api, list};
use support::chain::{check_stream, text, texts};
use support::oracle::{self, check_markets};
use support::process::{Process, succeed};
use support::recorded_blocks;
use support::servers::{Goal, Servers, chain_id};

const ETH: &str = "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7";
const USDC: &str = "0x53c91253bc9682c04929ca02ed00b3e423f6710d2ee7e0d5ebb06f3ecf368a8";
/// The protocols whose markets the script reads.
const WITH_MARKETS: [&str; 5] =
    ["ekubo", "jediswap_v1", "nostra_money_market", "nostra_pools", "zklend"];

#[tokio::test(flavor = "multi_thread")]
async fn real_blocks_give_the_figures_that_an_independent_script_gives() {
    let Some(file) = recorded_blocks() else {
        return;
    };
    let servers = Servers::start().await;
    let mut command = servers.obsqra();
    command.args(["run", "--listen", "127.0.0.1:0", "--recorded"]).arg(&file);
    let mut run = Process::start(command);
    let oracle = oracle::recorded(&file).await;
    let heights = list(&oracle["heights"]);
    let api = Api::new(&run.announces("GraphQL").await);
    let tip = heights.len() as u64 - 1;
    servers.reach(&chain_id("OBSQRA_REC"), Goal { tip, finalized: None }).await;

    let head = api.head().await;
    assert_eq!((&head["blockNumber"], &head["lagBlocks"]), (&json!(24), &json!(0)), "{head}");
    let mut compared = 0;
    for height in heights {
        compared += check_height(&api, height, &oracle["unread"]).await;
    }
    assert!(compared > 10_000, "{compared} figures");
    check_anomalies(&api, heights).await;
    check_known_utilization(&api, heights).await;

    let events = api.events().await;
    assert_eq!(counts(&events, "name"), oracle["events"]);
    assert_eq!(counts(&api.activity().await, "kind"), oracle["activities"]);
    check_felts(&events, &file);
    check_prices_by_tick(&events);
    check_bus(&servers, &oracle).await;

    check_commands(&servers).await;
    run.signal(rustix::process::Signal::INT);
    let ended = run.ends().await;
    assert_eq!(ended.code(), 0, "{}", ended.output());
}

/// Every figure of every market as of one height, and scores that are absent for a reason; returns how
/// many figures were compared.
async fn check_height(api: &Api, oracle: &Value, unread: &Value) -> usize {
    let height = oracle["height"].as_u64().unwrap();
    let mut compared = 0;
    for protocol in WITH_MARKETS {
        let answer = api.protocol(protocol, height).await;
        let (markets, expected) = (&answer["metrics"], &oracle["markets"][protocol]);
        compared += check_markets(markets, expected, &unread[protocol]);
        for market in list(markets) {
            assert!(market["blockNumber"].as_u64().unwrap() <= height, "{market:#}");
        }
        assert!(answer["risk"].is_null(), "{answer:#}");
        assert!(!list(&answer["absent"]).is_empty(), "{answer:#}");
    }
    compared
}

/// The blocks between the recorded ones are missing, so the reserves of some pairs fall without an event.
async fn check_anomalies(api: &Api, heights: &[Value]) {
    let found: BTreeSet<String> = api
        .anomalies()
        .await
        .iter()
        .map(|one| {
            let lasts = one["rule"] == "price_gap";
            let severity = if lasts { "WARNING" } else { "CRITICAL" };
            assert_eq!((&one["severity"], &one["lasts"]), (&json!(severity), &json!(lasts)));
            let place = (&one["blockNumber"], &one["protocol"], &one["market"], &one["rule"]);
            json!(place).to_string()
        })
        .collect();
    // What lasts is told again where it ends, which is no anomaly of its own here.
    let mut open = BTreeSet::new();
    let mut expected = BTreeSet::new();
    for height in heights {
        for one in list(&height["anomalies"]) {
            let place = json!((&height["height"], &one[0], &one[1], &one[2])).to_string();
            if one[2] != "price_gap" || open.insert(one.to_string()) {
                expected.insert(place);
            } else {
                open.remove(&one.to_string());
            }
        }
    }
    assert_eq!(found, expected);
}

/// The figures that the recording's own protocol published at these blocks.
async fn check_known_utilization(api: &Api, heights: &[Value]) {
    for (block, token, symbol, bps) in
        [(350_000, ETH, "ETH", 1_714), (550_000, ETH, "ETH", 3_037), (550_000, USDC, "USDC", 7_478)]
    {
        let at = heights.iter().find(|height| height["block"] == json!(block)).unwrap();
        let answer = api.protocol("zklend", at["height"].as_u64().unwrap()).await;
        let market =
            list(&answer["metrics"]).iter().find(|market| market["market"] == token).unwrap();
        assert_eq!(market["asset"], symbol);
        assert_eq!(market["utilizationBps"], json!(bps), "{symbol} at recorded block {block}");
    }
}

/// How many rows of each protocol have each value of a member: an event's name as it is written, an enum's
/// in small letters.
fn counts(rows: &[Value], member: &str) -> Value {
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for row in rows {
        let value = row[member].as_str().unwrap_or("undecoded");
        let value = if member == "kind" { value.to_lowercase() } else { value.to_owned() };
        *counts.entry(text(&row["protocol"])).or_default().entry(value).or_default() += 1;
    }
    json!(counts)
}

/// The watched events of the file, in its order, with the height each block has on the chain.
fn recorded_events(file: &Path) -> Vec<Value> {
    let watched: BTreeSet<String> = Registry::parse(mainnet_registry())
        .unwrap()
        .watched()
        .map(|address| address.to_string())
        .collect();
    let lines = BufReader::new(MultiGzDecoder::new(std::fs::File::open(file).unwrap())).lines();
    let mut events = Vec::new();
    for (line, height) in lines.zip(0..) {
        let block: Value = serde_json::from_str(&line.unwrap()).unwrap();
        for transaction in list(&block["transactions"]) {
            for event in list(&transaction["events"]) {
                let contract = plain(&event["from_address"]);
                if watched.contains(&contract) {
                    events.push(json!({
                        "blockNumber": height,
                        "transactionHash": plain(&transaction["hash"]),
                        "contract": contract,
                        "keys": list(&event["keys"]).iter().map(plain).collect::<Vec<_>>(),
                        "data": list(&event["data"]).iter().map(plain).collect::<Vec<_>>(),
                    }));
                }
            }
        }
    }
    events
}

/// A felt without leading zeros.
fn plain(felt: &Value) -> String {
    parse_felt(&text(felt)).unwrap().to_hex_string()
}

fn check_felts(events: &[Value], file: &Path) {
    let recorded = recorded_events(file);
    for (event, recorded) in events.iter().zip(&recorded) {
        for member in ["blockNumber", "transactionHash", "contract", "keys", "data"] {
            assert_eq!(event[member], recorded[member], "{member} of {event:#}");
        }
    }
    assert_eq!(events.len(), recorded.len());
}

/// Ekubo gives ratio and tick of a pool beside each other: the price of the one is that of the other.
fn check_prices_by_tick(events: &[Value]) {
    let swaps =
        events.iter().filter(|event| event["protocol"] == "ekubo" && event["name"] == "Swapped");
    let mut seen = 0;
    for swap in swaps {
        let data = texts(&swap["data"]);
        let number =
            |digits: &str| u128::from_str_radix(digits.trim_start_matches("0x"), 16).unwrap();
        let ratio = number(&data[16]) as f64 / 2f64.powi(128) + number(&data[17]) as f64;
        let tick = if number(&data[19]) == 0 {
            number(&data[18]) as f64
        } else {
            -(number(&data[18]) as f64)
        };
        let by_tick = (tick * 1.000_001_f64.ln()).exp();
        assert!((ratio * ratio / by_tick - 1.0).abs() < 2e-6, "{swap:#}");
        let decoded: u128 = text(&swap["decoded"]["liquidity_after"]).parse().unwrap();
        assert_eq!(decoded, number(&data[20]), "{swap:#}");
        seen += 1;
    }
    assert!(seen > 100, "{seen} swaps");
}

/// The stream has one message a block, one a watched event and one a derived fact.
async fn check_bus(servers: &Servers, oracle: &Value) {
    let entries = read_log(&servers.store).await;
    let messages = servers.nats.messages("OBSQRA_OBSQRA_REC").await;
    check_stream(&entries, &messages);
    let mut found: BTreeMap<String, u64> = BTreeMap::new();
    for message in &messages {
        *found.entry(message.subject.clone()).or_default() += 1;
    }
    let derived = entries.iter().filter(|entry| entry.draft.kind.lane() == Lane::Derived).count();
    let of_chain = |subject: &str| {
        let lane = subject.trim_start_matches("obsqra.v1.OBSQRA_REC.");
        lane.starts_with("chain.") || lane.starts_with("event.")
    };
    let published = found.iter().filter(|(subject, _)| !of_chain(subject));
    assert_eq!(published.map(|(_, count)| count).sum::<u64>(), derived as u64);
    found.retain(|subject, _| of_chain(subject));
    assert_eq!(found, expected_subjects(&oracle["events"]));
}

/// How many messages of the chain lane each subject has.
fn expected_subjects(events: &Value) -> BTreeMap<String, u64> {
    let blocks = ("obsqra.v1.OBSQRA_REC.chain.block_applied".to_owned(), 25);
    let events = events.as_object().unwrap().iter().flat_map(|(protocol, names)| {
        names.as_object().unwrap().iter().map(move |(name, count)| {
            let subject = format!("obsqra.v1.OBSQRA_REC.event.{protocol}.{name}");
            (subject, count.as_u64().unwrap())
        })
    });
    std::iter::once(blocks).chain(events).collect()
}

async fn check_commands(servers: &Servers) {
    for check in
        [&["log", "verify"][..], &["project", "verify"], &["derive", "verify"], &["doctor"]]
    {
        let mut command = servers.obsqra();
        command.args(check);
        succeed(command).await;
    }
}
