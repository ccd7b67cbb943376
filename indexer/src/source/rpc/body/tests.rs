//! What a block's body may look like, what it may not, and that nothing makes reading it panic.

use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::source::rpc::transport::read;

fn read_block(answer: &[u8]) -> Result<SourceBlock, String> {
    let body: BlockBody = read(answer)?.result.ok_or("no result")?;
    body.assemble()
}

/// An answer with two transactions and three events, by specification 0.10.
fn answer() -> Value {
    let price = json!({ "price_in_fri": "0x10", "price_in_wei": "0x02" });
    let event = |data: &[&str]| json!({ "from_address": "0xc0", "keys": ["0x1"], "data": data });
    json!({ "jsonrpc": "2.0", "id": 1, "result": {
        "status": "ACCEPTED_ON_L2", "block_hash": "0xb7", "parent_hash": "0xb6", "block_number": 7,
        "new_root": "0x77", "timestamp": 1_700_000_000, "sequencer_address": "0x5e",
        "starknet_version": "0.14.1", "l1_da_mode": "BLOB", "l1_gas_price": price,
        "l1_data_gas_price": price, "l2_gas_price": price,
        "transaction_count": 2, "event_count": 3, "state_diff_length": 4,
        "transaction_commitment": "0x1", "event_commitment": "0x2", "receipt_commitment": "0x3",
        "state_diff_commitment": "0x4",
        "transactions": [
            { "transaction": { "type": "INVOKE", "calldata": ["0x1"] },
              "receipt": { "transaction_hash": "0x70", "events": [event(&["0x1", "0x02"]), event(&[])] } },
            { "transaction": { "type": "DECLARE", "transaction_hash": "0x0071" },
              "receipt": { "transaction_hash": "0x71", "events": [event(&["0x3"])] } },
        ],
    }})
}

/// The answer after a change to its block.
fn changed(change: impl FnOnce(&mut Value)) -> Result<SourceBlock, String> {
    let mut answer = answer();
    change(&mut answer["result"]);
    read_block(answer.to_string().as_bytes())
}

fn without(member: &'static str) -> impl FnOnce(&mut Value) {
    move |block| {
        block.as_object_mut().expect("an object").remove(member).expect("the member");
    }
}

#[test]
fn a_block_is_read_in_order() {
    let block = changed(|_| {}).unwrap();
    let transactions = block.transactions.as_ref().map(Vec::len);
    assert_eq!((block.number, transactions), (BlockNumber(7), Some(2)));
    let places: Vec<_> = block
        .events
        .iter()
        .map(|event| (event.index.0, event.transaction_index, event.transaction_hash.to_string()))
        .collect();
    let place = |index, transaction, hash: &str| (index, transaction, hash.to_owned());
    assert_eq!(places, [place(0, 0, "0x70"), place(1, 0, "0x70"), place(2, 1, "0x71")]);
    assert_eq!(block.events[0].data, [Felt::from(1_u8), Felt::from(2_u8)]);
    assert_eq!(block.l2_gas, Some(GasPrice { fri: 16, wei: 2 }));
    assert_eq!(block.supplied.unwrap().state_diff_length, 4);
}

#[test]
fn what_comes_and_goes_between_editions_does_not_matter() {
    let whole = changed(|_| {}).unwrap();
    let older = changed(|block| {
        for member in [
            "transaction_count",
            "event_count",
            "state_diff_length",
            "transaction_commitment",
            "event_commitment",
            "receipt_commitment",
            "state_diff_commitment",
        ] {
            without(member)(block);
        }
        without("status")(block);
    })
    .unwrap();
    assert_eq!(older.supplied, None);
    assert_eq!(SourceBlock { supplied: None, ..whole.clone() }, older);
    assert_eq!(changed(without("l2_gas_price")).unwrap().l2_gas, None);
    let newer = changed(|block| {
        block["unheard_of"] = json!({ "of": [1, [2]] });
        block["transactions"][0]["receipt"]["events"][0]["unheard_of"] = json!(null);
        // A transaction of an unknown type is kept with its events: they are what the log is about.
        block["transactions"][0]["transaction"] = json!({ "type": "CONJURE", "spell": {} });
        block["transactions"][0]["receipt"]["type"] = json!("CONJURE");
    });
    let newer = newer.unwrap();
    assert_eq!(newer.events, whole.events);
    // Nobody knows whether it should be signed.
    assert_eq!(newer.transactions.unwrap()[0].signature, None);
}

#[test]
fn what_would_lose_something_is_refused_by_the_members_name() {
    let event = "/transactions/0/receipt/events/0";
    let prime = "0x800000000000011000000000000000000000000000000000000000000000001";
    let long = format!("0x{}", "0".repeat(65));
    let cases: Vec<(&str, Value, &[&str])> = vec![
        (
            "/transactions/1/receipt",
            json!({ "transaction_hash": "0x71" }),
            &["transactions[1]", "`events`"],
        ),
        (event, json!({ "from_address": "0x1", "keys": [] }), &["events[0]", "`data`"]),
        (event, json!({ "from_address": "0x1", "keys": "0x1", "data": [] }), &["events[0].keys"]),
        (event, json!(["0x1"]), &["events[0]"]),
        ("/transactions/0/receipt/events/0/data/1", json!(prime), &["events[0].data[1]", "prime"]),
        ("/transactions/0/receipt/events/0/data/1", json!(long), &["events[0].data[1]", "64 hex"]),
        ("/block_hash", json!("b7"), &["block_hash", "0x"]),
        ("/block_hash", json!(null), &["block_hash", "pre-confirmed"]),
        ("/parent_hash", json!(null), &["parent_hash"]),
        ("/block_number", json!(u64::MAX), &["block_number"]),
        ("/timestamp", json!(u64::MAX), &["timestamp"]),
        ("/timestamp", json!(-1), &["timestamp"]),
        ("/l1_da_mode", json!("CARRIER PIGEON"), &["l1_da_mode"]),
        (
            "/l1_gas_price/price_in_fri",
            json!(format!("0x1{}", "0".repeat(32))),
            &["price_in_fri", "128 bits"],
        ),
        ("/event_commitment", json!(null), &["some of the counts"]),
        (
            "/transactions/1/transaction/transaction_hash",
            json!("0x72"),
            &["transactions[1]", "two hashes"],
        ),
        ("/transactions", json!(null), &["transactions"]),
    ];
    for (place, value, words) in cases {
        let problem = changed(|block| {
            *block.pointer_mut(place).expect(place) = value.clone();
        })
        .expect_err(place);
        for word in words {
            assert!(problem.contains(word), "{place} = {value}: {problem:?} does not say {word:?}");
        }
    }
    assert_eq!(read_block(b"  \n").unwrap_err(), "an empty answer");
    assert!(read_block(b"<html></html>").is_err());
}

#[test]
fn nesting_without_end_is_refused_or_passed_over() {
    let deep = "[".repeat(200_000);
    assert!(read_block(format!("{{\"result\":{deep}").as_bytes()).is_err());
    assert!(read_block(format!("{{\"result\":{{\"unheard_of\":{deep}").as_bytes()).is_err());
}

/// Answers to change at random: one made here, and a real one where there is one.
fn bodies() -> Vec<Vec<u8>> {
    let mut bodies = vec![answer().to_string().into_bytes()];
    let name = "../../shared/chain/rpc/sepolia_3100000_rpc-getblockwithreceipts.json";
    match std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)) {
        Ok(body) => bodies.push(body),
        Err(_) => println!("skipped: the block of the shared folder is not there"),
    }
    bodies
}

#[derive(Clone, Debug)]
enum Change {
    Set(u8),
    Remove(usize),
    Repeat(usize),
    Cut,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        4 => any::<u8>().prop_map(Change::Set),
        4 => proptest::sample::select(b"{}[]\",:0x9e-nt ".to_vec()).prop_map(Change::Set),
        2 => (1usize..400).prop_map(Change::Remove),
        2 => (1usize..400).prop_map(Change::Repeat),
        1 => Just(Change::Cut),
    ]
}

proptest! {
    #[test]
    fn no_change_to_a_body_makes_reading_it_panic(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), change()), 1..6),
    ) {
        for mut body in bodies() {
            for (place, change) in &changes {
                if body.is_empty() {
                    break;
                }
                let at = place.index(body.len());
                match *change {
                    Change::Set(byte) => body[at] = byte,
                    Change::Remove(length) => {
                        body.drain(at..(at + length).min(body.len()));
                    }
                    Change::Repeat(length) => {
                        let piece = body[at..(at + length).min(body.len())].to_vec();
                        body.splice(at..at, piece);
                    }
                    Change::Cut => body.truncate(at),
                }
            }
            // Either is fine; what is read must hold together.
            if let Ok(block) = read_block(&body) {
                let transactions = block.transactions.as_ref().map_or(0, Vec::len);
                let last = block.events.last();
                prop_assert!(last.is_none_or(|event| (event.transaction_index as usize) < transactions));
            }
        }
    }
}
