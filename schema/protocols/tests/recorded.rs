//! The recorded mainnet blocks, against figures that a script without shared code works out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{
    BlockInput, BlockOutput, Contracts, Decoder, EkuboEvent, ListedPool, MarketMetrics, MetricFold,
    ProtocolEvent, Registry, decode, layouts, mainnet_registry,
};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, EventIndex, Felt, Hash32, Seq,
    TransactionHash, UnixSeconds, parse_felt,
};
use serde_json::{Map, Value, json};
use support::published::published;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn felt(value: &Value) -> Felt {
    parse_felt(value.as_str().unwrap()).unwrap()
}

fn felts(values: &Value) -> Vec<Felt> {
    values.as_array().unwrap().iter().map(felt).collect()
}

struct Recorded {
    number: u64,
    timestamp: u64,
    events: Vec<EventData>,
}

/// The recorded blocks as they are written down.
fn blocks(path: &Path) -> Vec<Value> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn recorded(path: &Path, registry: &Registry) -> Vec<Recorded> {
    blocks(path)
        .iter()
        .map(|block| {
            let transactions = block["transactions"].as_array().unwrap().iter();
            let events = transactions.flat_map(|transaction| {
                let hash = felt(&transaction["hash"]);
                let events = transaction["events"].as_array().unwrap().iter();
                events.map(move |event| EventData {
                    index: EventIndex(u32::try_from(event["index"].as_u64().unwrap()).unwrap()),
                    transaction_index: 0,
                    transaction_hash: TransactionHash(hash),
                    from_address: ContractAddress(felt(&event["from_address"])),
                    keys: felts(&event["keys"]),
                    data: felts(&event["data"]),
                })
            });
            let watched = |event: &EventData| registry.contract(&event.from_address).is_some();
            Recorded {
                number: block["number"].as_u64().unwrap(),
                timestamp: block["timestamp"].as_u64().unwrap(),
                events: events.filter(watched).collect(),
            }
        })
        .collect()
}

fn oracle(blocks: &Path) -> Option<Value> {
    let output = Command::new("python3")
        .arg(root().join("ops/checks/oracle/recorded.py"))
        .arg(blocks)
        .arg(root().join("schema/protocols/registry/mainnet"))
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

/// Holds the rows after one block against the script's, by protocol and market, figure by figure; returns
/// how many figures were compared.
fn compare(rows: &[MarketMetrics], expected: &Value, unread: &Value) -> usize {
    let mut found: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for row in rows {
        let mut figures = published(row);
        for name in unread[row.protocol.as_str()].as_array().into_iter().flatten() {
            figures.remove(name.as_str().unwrap());
        }
        let markets = found.entry(row.protocol.as_str()).or_default();
        markets.insert(row.market.0.clone(), Value::Object(figures));
    }
    let (height, expected) = (&expected["height"], expected["markets"].as_object().unwrap());
    let markets = |protocol: &str| expected[protocol].as_object().unwrap().keys();
    for (protocol, found) in &found {
        assert!(found.keys().eq(markets(protocol)), "markets of {protocol} at {height}");
        for (market, figures) in found {
            let expected = &expected[*protocol][market];
            assert_eq!(figures, expected, "{protocol} {market} at {height}");
        }
    }
    assert!(found.keys().eq(expected.keys()), "protocols at {height}");
    let figures = found.values().flat_map(Map::values);
    figures.map(|market| market.as_object().unwrap().len()).sum()
}

/// The rules that a block broke, by protocol and market, as JSON.
fn broken(output: &BlockOutput) -> BTreeSet<String> {
    let violations = output
        .violations
        .iter()
        .map(|one| json!([one.protocol.as_str(), one.market.0, one.rule.name()]).to_string());
    let anomalies = output.anomalies.iter().map(|one| {
        let market = one.market.as_ref().map(|market| &market.0);
        json!([one.protocol.as_str(), market, one.rule.name()]).to_string()
    });
    violations.chain(anomalies).collect()
}

fn recorded_file() -> Option<PathBuf> {
    let path = root().join("../shared/chain/mainnet.ndjson.gz");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return None;
    }
    Some(path)
}

/// How many events of each name the recorded blocks hold; of the protocols that are left out, none.
const COUNTS: &[(&str, &[(&str, u64)])] = &[
    (
        "ekubo",
        &[
            ("LoadedBalance", 4),
            ("PositionFeesCollected", 6),
            ("PositionUpdated", 15),
            ("ProtocolFeesPaid", 6),
            ("SavedBalance", 4),
            ("Swapped", 744),
        ],
    ),
    ("erc20", &[("Approval", 820), ("Transfer", 3_448)]),
    (
        "jediswap_v1",
        &[
            ("Approval", 27),
            ("Burn", 14),
            ("Mint", 8),
            ("Swap", 113),
            ("Sync", 135),
            ("Transfer", 36),
        ],
    ),
    (
        "nostra_money_market",
        &[
            ("InterestStateSetBorrowingIndex", 4),
            ("InterestStateSetBorrowingRate", 4),
            ("InterestStateSetLastUpdateTimestamp", 4),
            ("InterestStateSetLendingIndex", 4),
            ("InterestStateSetLendingRate", 4),
            ("InterestStateUpdated", 4),
            ("Mint", 8),
            ("Transfer", 8),
        ],
    ),
    (
        "nostra_pools",
        &[
            ("Approval", 2),
            ("PairBurn", 1),
            ("PairMint", 3),
            ("Swap", 1),
            ("Sync", 5),
            ("Transfer", 5),
        ],
    ),
    (
        "zklend",
        &[
            ("AccumulatorsSync", 70),
            ("Borrowing", 7),
            ("CollateralDisabled", 4),
            ("CollateralEnabled", 28),
            ("Deposit", 26),
            ("InterestRatesSync", 70),
            ("Repayment", 9),
            ("Withdrawal", 28),
        ],
    ),
];

#[test]
fn the_recorded_blocks_hold_so_many_events_of_each_name() {
    let Some(path) = recorded_file() else {
        return;
    };
    let registry = Arc::new(Registry::parse(mainnet_registry()).unwrap());
    let contracts = Contracts::new(Arc::clone(&registry));
    let mut counts: BTreeMap<(String, &str), u64> = BTreeMap::new();
    for event in recorded(&path, &registry).iter().flat_map(|block| &block.events) {
        let decoded = decode(&contracts, event).unwrap();
        let name = decoded.name.unwrap_or("undecoded");
        *counts.entry((decoded.protocol.to_string(), name)).or_default() += 1;
    }
    let expected: BTreeMap<(String, &str), u64> = COUNTS
        .iter()
        .flat_map(|(protocol, names)| {
            names.iter().map(|(name, count)| (((*protocol).to_owned(), *name), *count))
        })
        .collect();
    assert_eq!(counts, expected);
}

/// The golden files' real events stand in the blocks that they name, felt by felt.
#[test]
fn golden_events_are_those_of_the_recorded_blocks() {
    let Some(path) = recorded_file() else {
        return;
    };
    let registry = Registry::parse(mainnet_registry()).unwrap();
    let blocks = recorded(&path, &registry);
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let mut found = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for case in cases.iter().filter(|case| !case["block"].is_null()) {
            let number = case["block"].as_u64().unwrap();
            let block = blocks.iter().find(|block| block.number == number).unwrap();
            let from = ContractAddress(felt(&case["from_address"]));
            let (keys, data) = (felts(&case["keys"]), felts(&case["data"]));
            let same = |event: &EventData| {
                event.from_address == from && event.keys == keys && event.data == data
            };
            assert!(block.events.iter().any(same), "{}: {case}", file.display());
            found += 1;
        }
    }
    assert!(found > 40, "only {found} real events");
}

/// The pools of Ekubo that count are those without an extension that the recorded blocks show with swaps, of listed
/// tokens that have such a pool with the quote token and so a price; each names the first such block.
#[test]
fn the_listed_pools_are_those_with_swaps() {
    let Some(path) = recorded_file() else {
        return;
    };
    let registry = Arc::new(Registry::parse(mainnet_registry()).unwrap());
    let contracts = Contracts::new(Arc::clone(&registry));
    let mut seen = BTreeMap::new();
    let blocks = recorded(&path, &registry);
    for (block, event) in
        blocks.iter().flat_map(|block| block.events.iter().map(move |e| (block, e)))
    {
        let Some(ProtocolEvent::Ekubo(EkuboEvent::Swapped { pool_key, .. })) =
            decode(&contracts, event).unwrap().event
        else {
            continue;
        };
        let listed = |token| registry.token(&token).is_some();
        let plain = pool_key.extension.0 == Felt::ZERO;
        if plain && listed(pool_key.token0) && listed(pool_key.token1) {
            let first = seen.entry(ListedPool::Key(pool_key)).or_insert(block.number);
            *first = block.number.min(*first);
        }
    }
    let quote = registry.quote_token().address;
    let tokens = |pool: &ListedPool| match pool {
        ListedPool::Key(key) => [key.token0, key.token1],
        ListedPool::Number { .. } => [quote; 2],
    };
    let priced: BTreeSet<_> =
        seen.keys().map(tokens).filter(|pair| pair.contains(&quote)).flatten().collect();
    seen.retain(|pool, _| tokens(pool).iter().all(|token| priced.contains(token)));
    let source = |(pool, number)| (pool, format!("seen with swaps in mainnet block {number}"));
    let expected: BTreeMap<_, _> = seen.into_iter().map(source).collect();
    let ekubo = registry.protocol(&support::protocol("ekubo")).unwrap();
    assert_eq!(ekubo.markets, expected);
}

/// Of each transaction of the recorded blocks: contract, selector and data of its events.
fn transactions(path: &Path) -> Vec<Vec<(Felt, Felt, Vec<Felt>)>> {
    let event = |event: &Value| {
        (felt(&event["from_address"]), felts(&event["keys"])[0], felts(&event["data"]))
    };
    let all = blocks(path)
        .into_iter()
        .flat_map(|block| block["transactions"].as_array().unwrap().clone());
    all.map(|one| one["events"].as_array().unwrap().iter().map(event).collect()).collect()
}

/// Why a `Transfer` of a zToken counts where no `RawTransfer` follows: the contract of these blocks does not
/// write the latter for mints and burns.
#[test]
fn deposits_and_withdrawals_of_zklend_come_with_a_transfer_of_shares() {
    let Some(path) = recorded_file() else {
        return;
    };
    let selector =
        |name: &str| layouts(Decoder::ZkLend).find(|layout| layout.name == name).unwrap().selector;
    let [deposit, withdrawal, transfer, raw] =
        ["Deposit", "Withdrawal", "Transfer", "RawTransfer"].map(selector);
    let (mut minted, mut burnt) = (0, 0);
    for events in transactions(&path) {
        // Other contracts have events of these names, with other data.
        let told = |accounts: [Felt; 2], amount| {
            let expected = [accounts[0], accounts[1], amount, Felt::ZERO];
            events.iter().filter(|one| one.1 == transfer && one.2 == expected).count()
        };
        for (_, name, data) in &events {
            if let (true, [user, _, amount]) = (*name == deposit, &data[..]) {
                assert_eq!(told([Felt::ZERO, *user], *amount), 1);
                minted += 1;
            }
            if let (true, [user, _, amount]) = (*name == withdrawal, &data[..]) {
                assert_eq!(told([*user, Felt::ZERO], *amount), 1);
                burnt += 1;
            }
            assert_ne!(*name, raw);
        }
    }
    assert_eq!((minted, burnt), (26, 28));
}

#[test]
fn the_recorded_blocks_agree_with_the_oracle() {
    let Some(path) = recorded_file() else {
        return;
    };
    let Some(expected) = oracle(&path) else {
        println!("skipped: python3 does not run");
        return;
    };
    let registry = Arc::new(Registry::parse(mainnet_registry()).unwrap());
    let mut fold = MetricFold::new(Arc::clone(&registry), Seq(1));
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut activities = counts.clone();
    let mut seq = 2;
    let mut compared = 0;
    for (height, block) in (0u64..).zip(recorded(&path, &registry)) {
        let applied_seq = Seq(seq);
        let events: Vec<_> =
            (seq + 1..).map(Seq).zip(block.events).map(|(s, e)| (s, Hash32::ZERO, e)).collect();
        seq += 1 + events.len() as u64;
        for (_, _, event) in &events {
            let decoded = decode(fold.contracts(), event).unwrap();
            let name = decoded.name.unwrap_or("undecoded").to_owned();
            let protocol = decoded.protocol.to_string();
            *counts.entry(protocol.clone()).or_default().entry(name).or_default() += 1;
            let emitter = registry.contract(&event.from_address).unwrap();
            for activity in decoded.event.iter().flat_map(|event| event.activities(emitter)) {
                let kind = activity.kind.name().to_owned();
                *activities.entry(protocol.clone()).or_default().entry(kind).or_default() += 1;
            }
        }
        let timestamp = UnixSeconds(block.timestamp);
        let block = BlockRef { number: BlockNumber(height), epoch: BranchEpoch(0), timestamp };
        let hash = BlockHash(Felt::from(height));
        let output = fold.apply(&BlockInput { block, hash, applied_seq, events: &events }).unwrap();
        // Years of history are missing between the blocks, and no audit is dated.
        assert!(output.inputs.values().all(|inputs| inputs.complete().is_err()));
        let rows: Vec<MarketMetrics> = fold.markets().collect();
        let expected_here = &expected["heights"][usize::try_from(height).unwrap()];
        compared += compare(&rows, expected_here, &expected["unread"]);
        let rules = expected_here["anomalies"].as_array().unwrap().iter().map(Value::to_string);
        assert_eq!(broken(&output), rules.collect(), "rules broken at {height}");
    }
    assert_eq!(json!(counts), expected["events"]);
    assert_eq!(json!(activities), expected["activities"]);
    assert!(compared > 10_000, "only {compared} figures were compared");
    known_answers(&expected);
}

/// What the sources of the recorded blocks publish, and how far a tick's price may be from its ratio's.
fn known_answers(oracle: &Value) {
    const ETH: &str = "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7";
    const USDC: &str = "0x53c91253bc9682c04929ca02ed00b3e423f6710d2ee7e0d5ebb06f3ecf368a8";
    let heights = oracle["heights"].as_array().unwrap();
    for (block, token, bps) in [(350_000, ETH, 1714), (550_000, ETH, 3037), (550_000, USDC, 7478)] {
        let height = heights.iter().find(|height| height["block"] == block).unwrap();
        assert_eq!(height["zklend"][token], bps, "block {block} {token}");
    }
    for height in heights {
        for pool in height["ekubo"].as_object().unwrap().values() {
            let difference: f64 = pool["difference"].as_str().unwrap().parse().unwrap();
            assert!(difference < 2e-6, "{pool}");
        }
    }
}
