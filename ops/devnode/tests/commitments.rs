//! The commitments against blocks: a real one with all its transactions, and the node's own.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

use std::path::Path;

use obsqra_devnode::{Chain, SEQUENCER_ADDRESS, STARKNET_VERSION, SealedBlock};
use obsqra_events::commitments::{
    DataAvailability, Era, EventFields, GasPrice, HeaderFields, ReceiptFields, block_hash,
    event_commitment, receipt_commitment, transaction_commitment,
};
use serde_json::Value;
use starknet::core::types::Felt;

fn felt(value: &Value) -> Felt {
    Felt::from_hex(value.as_str().expect("a text")).expect("a felt")
}

fn felts(value: &Value) -> Vec<Felt> {
    value.as_array().expect("a list").iter().map(felt).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn price(value: &Value) -> GasPrice {
    let hex = |name: &str| {
        u128::from_str_radix(&value[name].as_str().expect("a text")[2..], 16).expect("hex")
    };
    GasPrice { wei: hex("price_in_wei"), fri: hex("price_in_fri") }
}

#[test]
fn a_real_block_is_recomputed_from_its_transactions() {
    let name = "../../../shared/chain/rpc/sepolia_3100000_rpc-getblockwithreceipts.json";
    let Ok(text) = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)) else {
        println!("skipped: the block of the shared folder is not there");
        return;
    };
    let answer: Value = serde_json::from_slice(&text).expect("JSON");
    let block = &answer["result"];
    let entries = block["transactions"].as_array().expect("transactions");
    let hash = |entry: &Value| felt(&entry["receipt"]["transaction_hash"]);
    let signatures: Vec<_> =
        entries.iter().map(|entry| felts(&entry["transaction"]["signature"])).collect();
    let signed: Vec<_> = entries
        .iter()
        .zip(&signatures)
        .map(|(entry, list)| (hash(entry), list.as_slice()))
        .collect();
    assert_eq!(
        transaction_commitment(Era::GasPricesHashed, &signed),
        felt(&block["transaction_commitment"])
    );
    let events: Vec<_> = entries
        .iter()
        .flat_map(|entry| {
            entry["receipt"]["events"]
                .as_array()
                .expect("events")
                .iter()
                .map(move |e| (hash(entry), e))
        })
        .map(|(hash, event)| {
            (hash, felt(&event["from_address"]), felts(&event["keys"]), felts(&event["data"]))
        })
        .collect();
    let fields: Vec<_> = events
        .iter()
        .map(|(transaction_hash, from, keys, data)| EventFields {
            from_address: *from,
            transaction_hash: *transaction_hash,
            keys,
            data,
        })
        .collect();
    assert_eq!(event_commitment(&fields), felt(&block["event_commitment"]));
    let receipts: Vec<_> = entries
        .iter()
        .map(|entry| {
            let receipt = &entry["receipt"];
            let fee = receipt["actual_fee"]["amount"].as_str().expect("a text");
            ReceiptFields {
                transaction_hash: hash(entry),
                actual_fee: u128::from_str_radix(&fee[2..], 16).expect("hex"),
                messages: &[],
                revert_reason: None,
                l1_gas: number(&receipt["execution_resources"]["l1_gas"]),
                l1_data_gas: number(&receipt["execution_resources"]["l1_data_gas"]),
            }
        })
        .collect();
    assert_eq!(receipt_commitment(&receipts), felt(&block["receipt_commitment"]));
    assert_eq!(price(&block["l1_data_gas_price"]), GasPrice { wei: 1, fri: 0x5645 });
}

/// The header of a sealed block, put together again from what the block says.
fn header(block: &SealedBlock) -> HeaderFields<'static> {
    let events: Vec<_> = block
        .events()
        .map(|(transaction_hash, event)| EventFields {
            from_address: event.from_address,
            transaction_hash,
            keys: &event.keys,
            data: &event.data,
        })
        .collect();
    HeaderFields {
        block_number: block.number,
        state_root: block.new_root,
        sequencer_address: SEQUENCER_ADDRESS,
        timestamp: block.timestamp,
        transaction_count: block.transactions.len() as u64,
        event_count: events.len() as u64,
        state_diff_length: block.state_diff_length,
        l1_da_mode: DataAvailability::Blob,
        state_diff_commitment: block.state_diff_commitment,
        transaction_commitment: block.transaction_commitment,
        event_commitment: event_commitment(&events),
        receipt_commitment: block.receipt_commitment,
        l1_gas_price: block.gas_prices.l1,
        l1_data_gas_price: block.gas_prices.l1_data,
        l2_gas_price: block.gas_prices.l2,
        starknet_version: STARKNET_VERSION,
        parent_hash: block.parent_hash,
    }
}

#[test]
fn a_sealed_block_vouches_for_its_events() {
    let mut chain = Chain::seeded(5);
    for _ in 0..3 {
        let mut block = chain.next_block().expect("it never ends").block;
        assert_eq!(block_hash(&header(&block)), Some(block.hash));
        block.transactions[0].events[0].data[0] += Felt::ONE;
        assert_ne!(block_hash(&header(&block)), Some(block.hash));
    }
}
