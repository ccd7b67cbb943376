//! Layouts, selectors, golden readings of real events, and events that fit nothing.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{
    Contracts, Decoder, ProtocolEvent, Registry, decode, layouts, mainnet_registry,
};
use obsqra_types::{ContractAddress, EventIndex, Felt, TransactionHash, parse_felt};
use serde_json::{Value, json};
use sha3::{Digest, Keccak256};
use support::roles::own_contracts;
use support::{CORE, LEND, USDC_ETH, all_layouts, contracts};

/// The low 250 bits of Keccak-256 of a name.
fn starknet_keccak(name: &str) -> Felt {
    let mut hash: [u8; 32] = Keccak256::digest(name).into();
    hash[0] &= 0x03;
    Felt::from_bytes_be(&hash)
}

#[test]
fn selectors_are_the_keccak_of_their_names() {
    for layout in all_layouts() {
        assert_eq!(layout.selector, starknet_keccak(layout.name), "{}", layout.name);
    }
}

#[test]
fn no_two_layouts_of_a_decoder_read_the_same_event() {
    for decoder in Decoder::ALL.iter().copied() {
        let mut seen = BTreeMap::new();
        for layout in layouts(decoder) {
            let key = (layout.selector, layout.keys_len, layout.data_len);
            assert_eq!(seen.insert(key, layout.name), None, "{}", layout.name);
        }
    }
}

fn felts(values: &Value) -> Vec<Felt> {
    values.as_array().unwrap().iter().map(|v| parse_felt(v.as_str().unwrap()).unwrap()).collect()
}

fn raw(from: Felt, keys: Vec<Felt>, data: Vec<Felt>) -> EventData {
    EventData {
        index: EventIndex(0),
        transaction_index: 0,
        transaction_hash: TransactionHash(Felt::ZERO),
        from_address: ContractAddress(from),
        keys,
        data,
    }
}

/// For each decoder one real event of each layout that the recorded blocks hold, and a made-up one, marked
/// `synthetic`, of each that they do not, beside what it reads as.
const GOLDEN: &[(Decoder, &str)] = &[
    (Decoder::ZkLend, include_str!("golden/zklend.json")),
    (Decoder::Ekubo, include_str!("golden/ekubo.json")),
    (Decoder::JediSwapV1, include_str!("golden/jediswap_v1.json")),
    (Decoder::JediSwapV2, include_str!("golden/jediswap_v2.json")),
    (Decoder::NostraMoneyMarket, include_str!("golden/nostra_money_market.json")),
    (Decoder::NostraPools, include_str!("golden/nostra_pools.json")),
    (Decoder::VesuV1, include_str!("golden/vesu_v1.json")),
    (Decoder::VesuV2, include_str!("golden/vesu_v2.json")),
    (Decoder::Erc20, include_str!("golden/erc20.json")),
    (Decoder::MistCash, include_str!("golden/mist_cash.json")),
    (Decoder::Obsqra, include_str!("golden/obsqra.json")),
];

/// The layouts that the cases of a golden file fit: name, number of keys and of data felts.
fn check_golden(mut contracts: Contracts, text: &str) -> BTreeSet<(String, usize, usize)> {
    let cases: Vec<Value> = serde_json::from_str(text).unwrap();
    let mut seen = BTreeSet::new();
    for case in cases {
        let from = parse_felt(case["from_address"].as_str().unwrap()).unwrap();
        let event = raw(from, felts(&case["keys"]), felts(&case["data"]));
        let decoded = decode(&contracts, &event).unwrap();
        let found = json!({
            "protocol": decoded.protocol.as_str(),
            "name": decoded.name,
            "event": decoded.event.as_ref().map(ProtocolEvent::to_json),
        });
        assert_eq!(found, case["decoded"], "{found:#}");
        assert_ne!(case["block"].is_null(), case["synthetic"].is_null(), "{case}");
        let emitter = contracts.get(&event.from_address).unwrap().clone();
        if let Some(event) = &decoded.event {
            contracts.learn(&emitter, event);
        }
        seen.extend(decoded.name.map(|name| (name.into(), event.keys.len(), event.data.len())));
    }
    seen
}

#[test]
fn every_layout_reads_as_its_golden_file_says() {
    assert!(GOLDEN.iter().map(|(decoder, _)| decoder).eq(Decoder::ALL));
    for (decoder, text) in GOLDEN {
        let contracts = match decoder {
            Decoder::Obsqra => own_contracts(),
            _ => Contracts::new(Arc::new(Registry::parse(mainnet_registry()).unwrap())),
        };
        let layouts: BTreeSet<_> = layouts(*decoder)
            .map(|layout| (layout.name.to_owned(), layout.keys_len, layout.data_len))
            .collect();
        assert_eq!(check_golden(contracts, text), layouts, "{}", decoder.name());
    }
}

/// The name that a contract's event of that name and data reads as.
fn name(contract: u128, selector: &str, data: Vec<Felt>) -> Option<&'static str> {
    let event = raw(Felt::from(contract), vec![starknet_keccak(selector)], data);
    decode(&contracts(), &event).unwrap().name
}

fn numbers(values: &[u128]) -> Vec<Felt> {
    values.iter().copied().map(Felt::from).collect()
}

#[test]
fn role_and_widths_pick_the_layout() {
    assert_eq!(name(USDC_ETH, "Sync", numbers(&[1, 0, 2, 0])), Some("Sync"));
    assert_eq!(name(USDC_ETH, "Sync", numbers(&[1, 2])), None);
    assert_eq!(name(LEND, "Sync", numbers(&[1, 0, 2, 0])), None);
    assert_eq!(name(0xf0, "Sync", numbers(&[1, 0, 2, 0])), None);
    assert_eq!(name(0xf0, "PairCreated", numbers(&[1, 2, 3, 4])), Some("PairCreated"));
    assert_eq!(name(USDC_ETH, "PairCreated", numbers(&[1, 2, 3, 4])), None);
    assert_eq!(name(0xa2, "RawTransfer", numbers(&[1, 2, 3, 4, 5])), Some("RawTransfer"));
    assert_eq!(name(LEND, "RawTransfer", numbers(&[1, 2, 3, 4, 5])), None);
    assert_eq!(name(0xa2, "Transfer", numbers(&[1, 2, 3, 0])), Some("Transfer"));
    assert_eq!(name(LEND, "Transfer", numbers(&[1, 2, 3, 0])), None);
    assert_eq!(name(0xa2, "Deposit", numbers(&[1, 2, 3])), None);
    let two_keys = raw(Felt::from(LEND), vec![starknet_keccak("TreasuryUpdate"); 2], numbers(&[1]));
    assert_eq!(decode(&contracts(), &two_keys).unwrap().name, None);
    assert_eq!(decode(&contracts(), &raw(Felt::from(LEND), vec![], vec![])).unwrap().name, None);
    assert_eq!(decode(&contracts(), &raw(Felt::from(1u8), vec![], vec![])), None);
}

#[test]
fn values_outside_their_type_fit_no_layout() {
    let limb = Felt::from(u128::MAX) + Felt::ONE;
    let sync = |reserve: [Felt; 2]| vec![reserve[0], reserve[1], Felt::ONE, Felt::ZERO];
    assert_eq!(name(USDC_ETH, "Sync", sync([Felt::from(u128::MAX), Felt::ZERO])), Some("Sync"));
    assert_eq!(name(USDC_ETH, "Sync", sync([limb, Felt::ZERO])), None);
    assert_eq!(name(USDC_ETH, "Sync", sync([Felt::ZERO, limb])), None);

    let initialized = |tick: [Felt; 2]| {
        let mut data = numbers(&[0x10, 0x11, 1, 2, 0]);
        data.extend(tick);
        data.extend(numbers(&[5, 0]));
        name(CORE, "PoolInitialized", data)
    };
    assert_eq!(initialized([Felt::from(u128::MAX), Felt::ONE]), Some("PoolInitialized"));
    assert_eq!(initialized([limb, Felt::ZERO]), None);
    assert_eq!(initialized([Felt::ONE, Felt::TWO]), None);
    assert_eq!(initialized([Felt::ZERO, Felt::ONE]), Some("PoolInitialized"));
}
