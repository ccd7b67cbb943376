//! The recorded mainnet blocks, against figures that a script without shared code works out.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{BlockInput, MarketMetrics, MetricFold, Registry, decode, mainnet_registry};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, EventIndex, Felt, Hash32, Seq,
    TransactionHash, U256, UnixSeconds, parse_felt,
};
use serde_json::Value;

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
    timestamp: u64,
    events: Vec<EventData>,
}

fn recorded(path: &Path, registry: &Registry) -> Vec<Recorded> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    text.lines()
        .map(|line| {
            let block: Value = serde_json::from_str(line).unwrap();
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

/// Compares the rows after one block with the script's figures; returns how many were compared.
fn compare(rows: &[MarketMetrics], expected: &Value) -> usize {
    let mut compared = 0;
    let prices = expected["prices"].as_object().unwrap();
    for row in rows {
        let unlisted = row.absent.iter().any(|absent| absent.reason == "token_unlisted");
        if !unlisted {
            let price =
                prices.get(&row.asset_address.to_string()).map(|p| p["price"].as_str().unwrap());
            assert_eq!(row.price.map(|price| price.0.to_string()).as_deref(), price, "{row:?}");
            compared += 1;
        }
        match row.protocol.as_str() {
            "zklend" => {
                let bps = expected["zklend"].get(&row.market.0).and_then(Value::as_u64);
                assert_eq!(row.utilization_bps.map(|bps| u64::from(bps.0)), bps, "{row:?}");
                compared += 1;
            }
            "jediswap_v1" | "nostra_pools" if row.tvl.is_some() => {
                compared += compare_reserves(row, expected)
            }
            _ => {}
        }
    }
    compared
}

/// A pair with USDC on one side is worth twice that side.
fn compare_reserves(row: &MarketMetrics, expected: &Value) -> usize {
    const USDC: &str = "0x53c91253bc9682c04929ca02ed00b3e423f6710d2ee7e0d5ebb06f3ecf368a8";
    let registry = Registry::parse(mainnet_registry()).unwrap();
    let address = ContractAddress(parse_felt(&row.market.0).unwrap());
    let tokens = registry.contract(&address).unwrap().pair.unwrap();
    let side = if tokens.token0.to_string() == USDC {
        "reserve0"
    } else if tokens.token1.to_string() == USDC {
        "reserve1"
    } else {
        return 0;
    };
    let reserve: U256 =
        expected[row.protocol.as_str()][&row.market.0][side].as_str().unwrap().parse().unwrap();
    assert_eq!(row.tvl.unwrap().0, reserve + reserve, "{row:?}");
    1
}

#[test]
fn the_recorded_blocks_agree_with_the_oracle() {
    let path = root().join("../shared/chain/mainnet.ndjson.gz");
    if !path.exists() {
        println!("skipped: {} is not there", path.display());
        return;
    }
    let Some(expected) = oracle(&path) else {
        println!("skipped: python3 does not run");
        return;
    };
    let registry = Arc::new(Registry::parse(mainnet_registry()).unwrap());
    let mut fold = MetricFold::new(Arc::clone(&registry), Seq(1));
    let mut counts: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
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
            *counts.entry(decoded.protocol.to_string()).or_default().entry(name).or_default() += 1;
        }
        let timestamp = UnixSeconds(block.timestamp);
        let block = BlockRef { number: BlockNumber(height), epoch: BranchEpoch(0), timestamp };
        let hash = BlockHash(Felt::from(height));
        let output = fold.apply(&BlockInput { block, hash, applied_seq, events: &events }).unwrap();
        // Years of history are missing between the blocks, and no audit is dated.
        assert!(output.inputs.values().all(|inputs| inputs.complete().is_err()));
        let rows: Vec<MarketMetrics> = fold.markets().collect();
        compared += compare(&rows, &expected["heights"][usize::try_from(height).unwrap()]);
    }
    assert_eq!(serde_json::to_value(&counts).unwrap(), expected["events"]);
    assert!(compared > 500, "only {compared} figures were compared");
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
