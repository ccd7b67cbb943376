//! Where one event is easily taken for another: shared selectors, layouts that an upgrade changed, hex.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use obsqra_protocols::{
    Contracts, Decoder, ProtocolKind, Role, WatchedContract, decode, decode_from,
};
use obsqra_types::parse_felt;
use serde_json::{Value, json};
use support::Chain;
use support::roles::{address, every_role, of_role, own_contracts, raw_event};

/// The event as `name members`, or `-` when it fits no layout.
fn read(contract: &WatchedContract, name: &str, keys: &[u128], data: &[u128]) -> Option<Value> {
    decode_from(contract, &raw_event(contract, name, keys, data)).map(|event| event.to_json())
}

#[test]
fn a_selector_that_protocols_share_is_read_by_the_contract() {
    let pair = of_role(Decoder::JediSwapV1, Role::Pair);
    let nostra = of_role(Decoder::NostraPools, Role::Pair);
    let pool = of_role(Decoder::JediSwapV2, Role::Pool);
    let token = of_role(Decoder::NostraMoneyMarket, Role::DebtToken);
    let market = of_role(Decoder::ZkLend, Role::Market);
    let router = of_role(Decoder::Obsqra, Role::StrategyRouter);

    let v1 = [1, 2, 0, 3, 0, 4, 0, 5, 0, 6];
    let v2 = [1, 2, 3, 0, 0, 4, 0, 1, 5, 0, 6, 7, 1];
    assert!(read(&pair, "Swap", &[], &v1).is_some() && read(&pair, "Swap", &[], &v2).is_none());
    assert!(read(&nostra, "Swap", &[], &v1).is_some());
    let swap = read(&pool, "Swap", &[], &v2).unwrap();
    assert_eq!((&swap["amount1"], &swap["tick"]), (&json!("-4"), &json!("-7")));
    assert!(read(&pool, "Swap", &[], &v1).is_none());

    assert!(read(&pair, "Mint", &[], &[1, 2, 0, 3, 0]).is_some());
    assert!(read(&token, "Mint", &[], &[1, 2, 0]).is_some());
    assert!(read(&token, "Mint", &[], &[1, 2, 0, 3, 0]).is_none());
    assert!(read(&market, "Deposit", &[], &[1, 2, 3]).is_some());
    assert!(read(&router, "Deposit", &[], &[1, 2, 0, 3]).is_some());
    assert!(read(&router, "Deposit", &[], &[1, 2, 3]).is_none());
}

#[test]
fn nostra_moves_the_debt_token_into_the_keys() {
    let model = of_role(Decoder::NostraMoneyMarket, Role::InterestRateModel);
    let before = read(&model, "InterestStateUpdated", &[], &[9, 1, 0, 2, 0, 3, 0, 4, 1]).unwrap();
    let after = read(&model, "InterestStateUpdated", &[9], &[1, 0, 2, 0, 3, 0, 4, 1]).unwrap();
    assert_eq!(before, after);
    assert_eq!((&before["debtToken"], &before["lendingRate"]), (&json!("0x9"), &json!("1")));
    assert!(read(&model, "InterestStateUpdated", &[9], &[9, 1, 0, 2, 0, 3, 0, 4, 1]).is_none());
    assert!(read(&model, "InterestStateUpdated", &[], &[1, 0, 2, 0, 3, 0, 4, 1]).is_none());
}

#[test]
fn transfer_has_its_accounts_in_the_data_or_in_the_keys() {
    let token = of_role(Decoder::Erc20, Role::Token);
    let old = read(&token, "Transfer", &[], &[1, 2, 3, 1]).unwrap();
    assert_eq!(old, read(&token, "Transfer", &[1, 2], &[3, 1]).unwrap());
    // 3 + 2^128.
    assert_eq!(old["value"], json!("340282366920938463463374607431768211459"));
    for (keys, data) in [(&[1][..], &[2, 3, 1][..]), (&[1, 2], &[3]), (&[], &[1, 2, 3])] {
        assert!(read(&token, "Transfer", keys, data).is_none(), "{keys:?} {data:?}");
    }
    // The pair's share token of JediSwap v1 knows the older form alone, that of Nostra's the newer.
    let pairs = [Decoder::JediSwapV1, Decoder::NostraPools].map(|of| of_role(of, Role::Pair));
    let reads = |pair: &WatchedContract| {
        [read(pair, "Transfer", &[], &[1, 2, 3, 0]), read(pair, "Transfer", &[1, 2], &[3, 0])]
            .map(|event| event.is_some())
    };
    assert_eq!(pairs.each_ref().map(reads), [[true, false], [false, true]]);
}

#[test]
fn a_sync_of_two_felts_fits_no_layout() {
    for decoder in [Decoder::JediSwapV1, Decoder::NostraPools] {
        let pair = of_role(decoder, Role::Pair);
        assert!(read(&pair, "Sync", &[], &[1, 0, 2, 0]).is_some());
        assert!(read(&pair, "Sync", &[], &[1, 2]).is_none());
    }
}

#[test]
fn a_modified_position_of_haiko_is_not_vesus() {
    let data = [1, 0, 0, 2, 0, 1, 3, 0, 0, 4, 0, 0];
    let (v1, v2) =
        (of_role(Decoder::VesuV1, Role::Singleton), of_role(Decoder::VesuV2, Role::Pool));
    assert!(read(&v1, "ModifyPosition", &[1, 2, 3, 4], &data).is_some());
    assert!(read(&v2, "ModifyPosition", &[2, 3, 4], &data).is_some());
    assert!(read(&v1, "ModifyPosition", &[2, 3, 4], &data).is_none());
    assert!(read(&v2, "ModifyPosition", &[1, 2, 3, 4], &data).is_none());
    // Haiko's has as much data and five keys after the selector, and its contract is not watched.
    let haiko = [1, 2, 3, 4, 5];
    assert!(read(&v1, "ModifyPosition", &haiko, &data).is_none());
    assert!(read(&v2, "ModifyPosition", &haiko, &data).is_none());
    let stranger = WatchedContract { address: address(0x38925), ..v1 };
    let event = raw_event(&stranger, "ModifyPosition", &haiko, &data);
    assert_eq!(decode(&Contracts::new(every_role()), &event), None);
}

#[test]
fn hex_without_leading_zeros_is_the_same_address() {
    let mainnet = obsqra_protocols::Registry::parse(obsqra_protocols::mainnet_registry()).unwrap();
    for text in [
        "0x00ba3037d968790ac486f70acaa9a1cab10cf5843bb85c986624b4d0e5a82e74",
        "0xba3037d968790ac486f70acaa9a1cab10cf5843bb85c986624b4d0e5a82e74",
    ] {
        let contract = mainnet.contract(&obsqra_types::ContractAddress(parse_felt(text).unwrap()));
        assert_eq!(contract.unwrap().role, Role::DebtToken);
    }
}

#[test]
fn numbers_outside_their_type_fit_no_layout() {
    let pool = of_role(Decoder::JediSwapV2, Role::Pool);
    let ticks =
        |magnitude, sign| read(&pool, "Initialize", &[], &[1, 0, magnitude, sign]).is_some();
    assert!(ticks((1 << 31) - 1, 0) && ticks(1 << 31, 1) && ticks(0, 1));
    assert!(!ticks(1 << 31, 0) && !ticks((1 << 31) + 1, 1) && !ticks(1, 2));
    let swapped = |high, sign| {
        read(&pool, "Swap", &[], &[1, 2, 3, high, sign, 4, 0, 1, 5, 0, 6, 7, 1]).is_some()
    };
    assert!(swapped((1 << 127) - 1, 0) && !swapped(1 << 127, 0) && !swapped(1 << 127, 1));
    let engine = of_role(Decoder::Obsqra, Role::RiskEngine);
    let proposed = |block| read(&engine, "AllocationProposed", &[], &[1, 2, 3, 4, block]).is_some();
    assert!(proposed(u128::from(u64::MAX)) && !proposed(u128::from(u64::MAX) + 1));
}

#[test]
fn the_agent_orchestrator_has_no_known_layout() {
    let contracts = own_contracts();
    let orchestrator = contracts.get(&address(0xe5)).unwrap();
    for layout in obsqra_protocols::layouts(Decoder::Obsqra) {
        let (keys, data) = (vec![0; layout.keys_len - 1], vec![0; layout.data_len]);
        assert!(read(orchestrator, layout.name, &keys, &data).is_none(), "{}", layout.name);
    }
}

#[test]
fn a_protocol_without_markets_has_no_inputs_of_a_score() {
    let registry = every_role();
    let mut fold = obsqra_protocols::MetricFold::new(Arc::clone(&registry), obsqra_types::Seq(1));
    let token = of_role(Decoder::Erc20, Role::Token);
    let transfer = raw_event(&token, "Transfer", &[], &[1, 2, 3, 0]);
    let block = Chain::default().block_of(100_000_000, vec![transfer]);
    let output = fold.apply(&block.input()).unwrap();
    let with_markets =
        |kind: ProtocolKind| matches!(kind, ProtocolKind::Lending | ProtocolKind::Amm);
    for protocol in registry.protocols() {
        let expected = with_markets(protocol.kind);
        assert_eq!(output.inputs.contains_key(&protocol.id), expected, "{}", protocol.id);
        assert_eq!(output.inputs_changed.contains(&protocol.id), expected, "{}", protocol.id);
    }
}
