//! The seeded chain through the whole program: every score and every market is the generator's truth, and
//! what a score names as its causes are entries that hold the node's felts.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use obsqra_devnode::{
    BlockTruth, DevNode, DevNodeOptions, MarketTruth, ProtocolTruth, SEEDED_REGISTRY,
};
use obsqra_events::{Entry, Kind, SetDigest};
use obsqra_protocols::Registry;
use obsqra_testkit::{ChainBlock, ChainEvent, canonical_blocks, node_blocks, read_log};
use obsqra_types::{ContractAddress, Hash32, Seq};
use serde_json::{Value, json};
use support::api::{Api, list, with_places};
use support::chain::{check_stream, text, texts};
use support::process::{Process, succeed};
use support::servers::{Goal, PROTOCOLS, Servers, chain_id};

const SEED: u64 = 7;
/// A week and a half, so that volatility has its 120 hours for the last third of it.
const BLOCKS: u64 = 1_100;
/// Blocks above the newest one that the node says is accepted on L1.
const L1_LAG: u64 = 50;

#[tokio::test(flavor = "multi_thread")]
async fn scores_and_markets_are_the_truth_and_causes_hold_the_nodes_felts() {
    let servers = Servers::start().await;
    let mut run = start(&servers);
    let node = same_chain().await;
    let api = Api::new(&run.announces("GraphQL").await);
    let chain = chain_id("OBSQRA_DEV");
    let goal = Goal { tip: BLOCKS - 1, finalized: Some(BLOCKS - 1 - L1_LAG) };
    servers.reach(&chain, goal).await;

    let head = api.head().await;
    assert_eq!(head["blockNumber"], json!(BLOCKS - 1), "{head}");
    assert_eq!(head["lagBlocks"], json!(0), "{head}");
    assert_eq!(text(&head["blockHash"]), format!("{:#x}", node.head().unwrap().hash));

    let truths: Vec<BlockTruth> = (0..BLOCKS).map(|number| node.truth(number).unwrap()).collect();
    for height in (0..30).map(|step| step * (BLOCKS - 1) / 29) {
        check_markets(&api, &truths[usize::try_from(height).unwrap()]).await;
    }

    let entries = read_log(&servers.store).await;
    let watched: BTreeSet<ContractAddress> =
        Registry::parse(SEEDED_REGISTRY).unwrap().watched().collect();
    let blocks = node_blocks(&node.url(), (0, BLOCKS - 1), &watched).await;
    assert!(canonical_blocks(&entries) == blocks, "the log has other blocks than the node");
    let events = events_by_seq(&api).await;
    check_events(&events, &blocks);
    let tallies = Tallies::new(&entries, &events);
    check_anomalies(&api, &truths).await;
    for protocol in PROTOCOLS {
        let scores = api.scores(protocol).await;
        check_scores(protocol, &scores, &truths);
        for score in &scores {
            check_causes(score, &entries, &tallies);
        }
    }
    check_stream(&entries, &servers.nats.messages("OBSQRA_OBSQRA_DEV").await);

    run.signal(rustix::process::Signal::TERM);
    let ended = run.ends().await;
    assert_eq!(ended.code(), 0, "{}", ended.output());
    for check in [["log", "verify"], ["project", "verify"], ["derive", "verify"]] {
        let mut command = servers.obsqra();
        command.args(check);
        succeed(command).await;
    }
    node.stop().await;
}

fn start(servers: &Servers) -> Process {
    let mut command = servers.obsqra();
    command.args(["run", "--listen", "127.0.0.1:0", "--blocks-per-second", "0"]);
    command.args(["--seed", &SEED.to_string(), "--blocks", &BLOCKS.to_string()]);
    Process::start(command)
}

/// A node of our own with the same blocks.
async fn same_chain() -> DevNode {
    let options = DevNodeOptions {
        blocks: BLOCKS,
        blocks_per_second: 0.0,
        l1_lag: L1_LAG,
        ..DevNodeOptions::seeded(SEED)
    };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(BLOCKS - 1).await;
    node
}

async fn events_by_seq(api: &Api) -> BTreeMap<u64, Value> {
    let events = api.events().await;
    events.into_iter().map(|event| (text(&event["seq"]).parse().unwrap(), event)).collect()
}

/// GraphQL's events are those of the node's watched contracts, block by block and in order.
fn check_events(events: &BTreeMap<u64, Value>, blocks: &[ChainBlock]) {
    let of_node =
        blocks.iter().flat_map(|block| block.events.iter().map(move |event| (block, event)));
    let mut answered = events.values();
    for (block, event) in of_node {
        let found = answered.next().expect("as many events as the node has");
        assert_eq!(found["blockNumber"], json!(block.number));
        assert_eq!(text(&found["blockHash"]), block.hash);
        assert_eq!(as_chain_event(found), *event, "block {}", block.number);
    }
    assert_eq!(answered.next(), None);
}

fn as_chain_event(event: &Value) -> ChainEvent {
    ChainEvent {
        index: event["eventIndex"].as_u64().unwrap(),
        transaction_hash: text(&event["transactionHash"]),
        contract: text(&event["contract"]),
        keys: texts(&event["keys"]),
        data: texts(&event["data"]),
    }
}

async fn check_markets(api: &Api, truth: &BlockTruth) {
    for protocol in PROTOCOLS {
        let answer = api.protocol(protocol, truth.block_number).await;
        let found: BTreeMap<String, Value> = list(&answer["metrics"])
            .iter()
            .map(|market| (text(&market["market"]), figures(market)))
            .collect();
        let expected: BTreeMap<String, Value> = truth
            .markets
            .iter()
            .filter(|market| market.protocol == protocol)
            .map(|market| (market.market.to_string(), true_figures(market)))
            .collect();
        assert_eq!(found, expected, "{protocol} at block {}", truth.block_number);
        let risk = &truth.protocols.iter().find(|of| of.protocol == protocol).unwrap().score;
        assert_eq!(answer["risk"]["score"], json!(risk.map(|risk| risk.score)));
        assert_eq!(list(&answer["absent"]).is_empty(), risk.is_some(), "{answer:#}");
    }
}

fn figures(market: &Value) -> Value {
    let mut figures = market.clone();
    for other in ["market", "blockNumber", "absent"] {
        figures.as_object_mut().unwrap().remove(other);
    }
    figures
}

fn true_figures(market: &MarketTruth) -> Value {
    let (lending, pool) = (&market.lending, &market.pool);
    json!({
        "asset": market.asset,
        "assetAddress": market.asset_address.to_string(),
        "utilizationBps": market.utilization_bps,
        "turnoverBps": market.turnover_bps,
        "volatilityBps": market.volatility_bps,
        "liquidityClass": market.liquidity_class,
        "priceUsdc": market.price_usdc.map(|price| with_places(&price.to_string(), 18)),
        "tvlUsdc": market.tvl_usdc.map(|value| with_places(&value.to_string(), 6)),
        "volatility1dBps": market.volatility_1d_bps,
        "volatility30dBps": market.volatility_30d_bps,
        "drawdownBps": market.drawdown_bps,
        "supplyApyBps": market.supply_apy_bps,
        "openedAt": market.opened_at.map(instant),
        "borrowRate": lending.borrow_rate.map(|rate| with_places(&rate.to_string(), 18)),
        "supplyRate": lending.supply_rate.map(|rate| with_places(&rate.to_string(), 18)),
        "supplied": lending.supplied.map(|amount| amount.to_string()),
        "borrowed": lending.borrowed.map(|amount| amount.to_string()),
        "withdrawHeadroom": lending.withdraw_headroom.map(|amount| amount.to_string()),
        "exitShockBps": lending.exit_shock_bps,
        "suppliers": lending.suppliers.map(|count| count.to_string()),
        "top1Bps": lending.top1_bps,
        "top5Bps": lending.top5_bps,
        "hhiBps": lending.hhi_bps,
        "accumulatorExcessPpb": lending.accumulator_excess_ppb.map(|excess| excess.to_string()),
        "volume24hUsdc": pool.volume_24h_usdc.map(|value| with_places(&value.to_string(), 6)),
        "fees24hUsdc": pool.fees_24h_usdc.map(|value| with_places(&value.to_string(), 6)),
        "depthUpUsdc": pool.depth_up_usdc.map(|value| with_places(&value.to_string(), 6)),
        "depthDownUsdc": pool.depth_down_usdc.map(|value| with_places(&value.to_string(), 6)),
        "oraclePriceUsd": market.oracle_price_usd.map(|price| with_places(&price.to_string(), 18)),
        "counted": market.counted,
    })
}

/// As GraphQL spells an instant.
fn instant(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap();
    let at = chrono::DateTime::from_timestamp(seconds, 0).unwrap();
    at.to_rfc3339_opts(chrono::SecondsFormat::Secs, false)
}

/// Each anomaly that the books know of is told at its block, and no other.
async fn check_anomalies(api: &Api, truths: &[BlockTruth]) {
    let found: BTreeSet<String> = api
        .anomalies()
        .await
        .iter()
        .map(|one| json!([one["blockNumber"], one["protocol"], one["market"], one["rule"]]))
        .map(|one| one.to_string())
        .collect();
    let told = truths.iter().flat_map(|truth| {
        let begun = truth.anomalies.iter().filter(|one| one.phase.name() != "closed");
        begun.map(move |one| {
            json!([truth.block_number, one.protocol.to_string(), one.market, one.rule]).to_string()
        })
    });
    let told: BTreeSet<String> = told.collect();
    assert!(!told.is_empty(), "no anomaly to compare");
    assert_eq!(found, told);
}

/// There is a score at each block at which an input other than the age differs from the block before and
/// none is absent, and at no other.
fn check_scores(protocol: &str, scores: &[Value], truths: &[BlockTruth]) {
    let of = |truth: &BlockTruth| {
        truth.protocols.iter().find(|of| of.protocol == protocol).unwrap().clone()
    };
    let mut before = None;
    let mut expected = Vec::new();
    for truth in truths {
        let now = of(truth);
        let inputs = Some(called_for_by(&now));
        if inputs != before
            && let Some(score) = true_score(truth.block_number, &now)
        {
            expected.push(score);
        }
        before = inputs;
    }
    assert!(expected.len() > 100, "{protocol}: {} scores are too few to tell", expected.len());
    let found: Vec<Value> = scores.iter().map(stated).collect();
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{protocol}");
    }
    assert_eq!(found.len(), expected.len(), "{protocol}");
}

fn called_for_by(truth: &ProtocolTruth) -> [Option<u32>; 4] {
    [truth.utilization_bps, truth.volatility_bps, truth.liquidity_class, truth.audit_score]
}

fn true_score(block: u64, truth: &ProtocolTruth) -> Option<Value> {
    let score = truth.score?;
    Some(json!({
        "blockNumber": block,
        "score": score.score,
        "components": {
            "utilization": score.utilization,
            "volatility": score.volatility,
            "liquidity": score.liquidity,
            "audit": score.audit,
            "age": score.age,
        },
        "inputs": {
            "utilizationBps": truth.utilization_bps,
            "volatilityBps": truth.volatility_bps,
            "liquidityClass": truth.liquidity_class,
            "auditScore": truth.audit_score,
            "ageDays": truth.age_days,
        },
    }))
}

fn stated(score: &Value) -> Value {
    let members = ["blockNumber", "score", "components", "inputs"];
    members.into_iter().map(|member| (member.to_owned(), score[member].clone())).collect()
}

/// Each cause is an entry of the log or a window whose count and digest the log gives.
fn check_causes(score: &Value, entries: &[Entry], tallies: &Tallies) {
    let own: u64 = text(&score["seq"]).parse().unwrap();
    let causes = list(&score["causes"]);
    let (mut windows, mut single_events) = (0, 0);
    for cause in causes {
        if cause["seq"].is_null() {
            tallies.check(cause);
            windows += 1;
            continue;
        }
        let seq: u64 = text(&cause["seq"]).parse().unwrap();
        assert!(seq < own, "{cause} comes after score {own}");
        let entry = &entries[usize::try_from(seq - 1).unwrap()];
        match entry.draft.kind {
            // Every event entry is one that GraphQL answers, with the node's felts.
            Kind::Event => single_events += 1,
            Kind::BlockApplied => {
                let block = entry.draft.block.unwrap();
                assert_eq!(json!(block.number.0), score["blockNumber"]);
            }
            Kind::Adopted => {}
            other => panic!("{cause} is of kind {other:?}"),
        }
    }
    assert!(windows > 0 && single_events > 0 && causes.len() <= 64, "{score:#}");
}

/// Digests of the first events of each protocol: by position of the last one, with their number.
struct Tallies(BTreeMap<String, BTreeMap<u64, (u64, Hash32)>>);

impl Tallies {
    fn new(entries: &[Entry], events: &BTreeMap<u64, Value>) -> Self {
        let mut so_far: BTreeMap<String, (u64, SetDigest)> = BTreeMap::new();
        let mut tallies: BTreeMap<String, BTreeMap<u64, (u64, Hash32)>> = BTreeMap::new();
        for (seq, event) in events {
            let protocol = text(&event["protocol"]);
            let (count, digest) = so_far.entry(protocol.clone()).or_default();
            let entry = &entries[usize::try_from(seq - 1).unwrap()];
            digest.add_entry(Seq(*seq), &entry.draft.content_hash);
            *count += 1;
            tallies.entry(protocol).or_default().insert(*seq, (*count, digest.to_hash()));
        }
        Self(tallies)
    }

    /// A window begins with its protocol's first event and ends with the newest one of that time.
    fn check(&self, cause: &Value) {
        let position = |member: &str| text(&cause[member]).parse::<u64>().unwrap();
        let selector = text(&cause["selector"]);
        let protocol =
            selector.strip_prefix("event protocol=").expect("a window of a protocol's events");
        let tallies = &self.0[protocol];
        assert_eq!(tallies.keys().next(), Some(&position("fromSeq")), "{cause}");
        let (count, digest) = tallies[&position("toSeq")];
        assert_eq!(cause["count"], json!(count), "{cause}");
        assert_eq!(text(&cause["digest"]), digest.to_string(), "{cause}");
    }
}
