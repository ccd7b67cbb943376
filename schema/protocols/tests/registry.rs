//! Registry files: the one of mainnet, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use obsqra_protocols::{
    AuditState, Decoder, ListedPool, ProtocolKind, Registry, RegistryError, Role, mainnet_registry,
};
use obsqra_types::{ContractAddress, Felt, parse_felt};
use serde_json::{Value, json};
use support::{REGISTRY, protocol};

fn address(text: &str) -> ContractAddress {
    ContractAddress(parse_felt(text).unwrap())
}

#[test]
fn mainnet_is_what_its_sources_support() {
    let registry = Registry::parse(mainnet_registry()).unwrap();
    assert_eq!((registry.name(), registry.version()), ("starknet-mainnet", 3));
    let chains: Vec<&str> = registry.chain_ids().iter().map(|id| id.as_str()).collect();
    assert_eq!(chains, ["SN_MAIN", "OBSQRA_REC"]);
    assert_eq!(registry.quote_token().symbol, "USDC");
    let ids: Vec<&str> = registry.protocols().map(|entry| entry.id.as_str()).collect();
    let expected = [
        "ekubo",
        "erc20",
        "jediswap_v1",
        "jediswap_v2",
        "mist_cash",
        "nostra_money_market",
        "nostra_pools",
        "vesu_v1",
        "vesu_v2",
        "zklend",
    ];
    assert_eq!(ids, expected);
    let without_sources: Vec<&str> = registry
        .protocols()
        .filter(|entry| entry.sources.is_empty())
        .map(|entry| entry.id.as_str())
        .collect();
    assert_eq!(without_sources, [""; 0]);

    let zklend = registry.protocol(&protocol("zklend")).unwrap();
    assert_eq!(zklend.kind, ProtocolKind::Lending);
    assert_eq!(zklend.deployed_at.as_ref().unwrap().timestamp.0, 1_683_226_849);
    let AuditState::Reports(reports) = &zklend.audits else { panic!("{:?}", zklend.audits) };
    assert!(reports.iter().all(|report| report.date.is_none()));

    let eth = "0x049d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7";
    let usdc = "0x053c91253bc9682c04929ca02ed00b3e423f6710d2ee7e0d5ebb06f3ecf368a8";
    let pair = registry
        .contract(&address("0x4d0390b777b424e43839cd1e744799f3de6c176c7e32c1812a41dbd9c19db6a"))
        .unwrap();
    assert_eq!((pair.protocol.as_str(), pair.role), ("jediswap_v1", Role::Pair));
    let tokens = pair.pair.unwrap();
    assert_eq!((tokens.token0, tokens.token1), (address(eth), address(usdc)));
    assert_eq!(registry.symbol_or_address(&address(eth)), "ETH");
    assert_eq!(registry.symbol_or_address(&ContractAddress(Felt::from(0xab_u8))), "0xab");
}

/// One document whatever the build: the chain's members, then every protocol of the directory, by id.
#[test]
fn mainnet_joins_every_file_in_a_fixed_order() {
    let joined: Value = serde_json::from_slice(mainnet_registry()).unwrap();
    let members = ["chain_ids", "protocols", "quote_token", "registry", "tokens", "version"];
    assert!(joined.as_object().unwrap().keys().eq(members));
    let ids: Vec<&str> =
        joined["protocols"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/registry/mainnet");
    let mut files: Vec<String> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "chain")
        .collect();
    files.sort();
    assert_eq!(ids, files);
}

/// Files that were adopted before contracts could have an asset still parse.
#[test]
fn files_without_assets_parse() {
    let registry = Registry::parse(REGISTRY.as_bytes()).unwrap();
    let mut contracts = registry.watched().filter_map(|address| registry.contract(&address));
    assert!(contracts.all(|contract| contract.asset.is_none()));
}

/// Each token of supply belongs to the debt token over the same asset.
#[test]
fn nostras_tokens_of_supply_have_one_debt_token() {
    let registry = Registry::parse(mainnet_registry()).unwrap();
    let tokens: Vec<_> = registry
        .watched()
        .filter_map(|address| registry.contract(&address))
        .filter(|contract| contract.decoder == Decoder::NostraMoneyMarket)
        .filter(|contract| contract.role != Role::InterestRateModel)
        .collect();
    let debts = |asset| {
        let same = tokens.iter().filter(|token| token.asset == asset);
        same.filter(|token| token.role == Role::DebtToken).count()
    };
    assert!(tokens.len() > 50);
    assert!(tokens.iter().all(|token| token.asset.is_some() && debts(token.asset) == 1));
}

/// The registry of the seeded development chain has the same shape.
#[test]
fn the_development_registry_parses() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ops/devnode/registry/obsqra_dev.json");
    match std::fs::read(path) {
        Ok(bytes) => {
            let registry = Registry::parse(&bytes).unwrap();
            assert!(registry.protocols().next().is_some());
        }
        Err(error) => println!("skipped: {path}: {error}"),
    }
}

/// Sets the member at a JSON pointer, or removes it, and returns the refusal.
fn refusal(pointer: &str, value: Option<Value>) -> String {
    let mut file: Value = serde_json::from_str(REGISTRY).unwrap();
    match value {
        Some(value) => *file.pointer_mut(pointer).unwrap() = value,
        None => {
            let (parent, member) = pointer.rsplit_once('/').unwrap();
            file.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(member);
        }
    }
    Registry::parse(file.to_string().as_bytes()).unwrap_err().to_string()
}

/// A member, a value that it may not have, and the start of the refusal.
const REFUSED: &[(&str, &str, &str)] = &[
    ("/quote_token", r#""0x14""#, "quote_token: is not among the tokens"),
    ("/quote_token", r#""0x12""#, "quote_token: has not 6 decimals"),
    ("/chain_ids", r#"[]"#, "chain_ids: is empty"),
    ("/chain_ids/0", r#""test""#, "chain_ids[0]: `test` is no chain id"),
    ("/tokens/1/address", r#""11""#, "tokens[1].address: `11` is no address"),
    ("/tokens/1/address", r#""0x010""#, "tokens[1].address: stands twice"),
    ("/tokens/1/decimals", r#"37"#, "tokens[1].decimals: is above 36"),
    ("/protocols/0/id", r#""Lend""#, "protocols[0].id: `Lend` is no protocol id"),
    ("/protocols/1/id", r#""lend""#, "protocols[1].id: stands twice"),
    ("/protocols/0/kind", r#""bank""#, "protocols[0].kind: there is no kind `bank`"),
    ("/protocols/0/kind", r#""amm""#, "protocols[0].kind: is not the kind"),
    ("/protocols/0/decoder", r#""aave""#, "protocols[0].decoder: there is no decoder `aave`"),
    ("/protocols/0/contracts", r#"[]"#, "protocols[0].contracts: is empty"),
    (
        "/protocols/1/contracts/0/address",
        r#""0xa1""#,
        "protocols[1].contracts[0].address: stands twice",
    ),
    (
        "/protocols/1/contracts/0/role",
        r#""pair""#,
        "protocols[1].contracts[0].role: decoder `ekubo`",
    ),
    (
        "/protocols/2/contracts/1/token0",
        r#""0x11""#,
        "protocols[2].contracts[1].token0: is not below",
    ),
    (
        "/protocols/2/contracts/0",
        r#"{"address": "0xf0", "role": "factory", "token0": "0x10"}"#,
        "protocols[2].contracts[0].token0: belongs to pools",
    ),
    (
        "/protocols/0/contracts/0",
        r#"{"address": "0xa1", "role": "market", "asset": "0x10"}"#,
        "protocols[0].contracts[0].asset: belongs to tokens",
    ),
    (
        "/protocols/0/contracts/1",
        r#"{"address": "0xa2", "role": "z_token", "asset": "10"}"#,
        "protocols[0].contracts[1].asset: `10` is no address",
    ),
    ("/protocols/2/contracts/1/token1", r#"null"#, "protocols[2].contracts[1].token1: is missing"),
    ("/protocols/0/deployed_at/source", r#"" ""#, "protocols[0].deployed_at.source: is empty"),
    ("/protocols/0/audits/reports", r#"[]"#, "protocols[0].audits.reports: is empty"),
    (
        "/protocols/0/audits/reports/0/date",
        r#""2023-02-30""#,
        "protocols[0].audits.reports[0].date",
    ),
    ("/protocols/2/audits/date", r#""1970""#, "protocols[2].audits.date: `1970` is no day"),
    (
        "/protocols/1/markets/0/id",
        r#""0x10/0x11/0x3/0xc8""#,
        "protocols[1].markets[0].id: `0x10/0x11/0x3/0xc8` is no pool's id",
    ),
    (
        "/protocols/1/markets/0/id",
        r#""0x010/0x11/0x3/0xc8/0x0""#,
        "protocols[1].markets[0].id: `0x010",
    ),
    (
        "/protocols/1/markets/0/id",
        r#""0x10/0x11/0x3/200/0x0""#,
        "protocols[1].markets[0].id: `0x10",
    ),
    (
        "/protocols/1/markets/0/id",
        r#""0x11/0x10/0x3/0xc8/0x0""#,
        "protocols[1].markets[0].id: `0x11",
    ),
    (
        "/protocols/1/markets/0/id",
        r#""0x10/0x11/0x100000000000000000000000000000000/0xc8/0x0""#,
        "protocols[1].markets[0].id: `0x10",
    ),
    (
        "/protocols/1/markets/1/id",
        r#""0x10/0x11/0x3/0xc8/0x0""#,
        "protocols[1].markets[1].id: stands twice",
    ),
    ("/protocols/1/markets/1/source", r#"" ""#, "protocols[1].markets[1].source: is empty"),
    ("/protocols/1/markets/1", r#"{"id": "0x10/0x11/0x9/0xc8/0x0"}"#, "missing field `source`"),
    ("/version", r#""1""#, "invalid type: string"),
    ("/protocols/1/audits", r#"{"state": "fine"}"#, "unknown variant `fine`"),
];

#[test]
fn refusals_name_the_member() {
    for (pointer, value, expected) in REFUSED {
        let message = refusal(pointer, Some(serde_json::from_str(value).unwrap()));
        assert!(message.contains(expected), "{pointer}: {message}");
    }
    assert!(refusal("/tokens", None).contains("missing field `tokens`"));
    assert!(matches!(Registry::parse(b"{"), Err(RegistryError::Shape(_))));
}

/// The refusal of a list of markets by the protocol that has none in the test registry.
fn refusal_of_markets(place: usize, decoder: &str, contract: &Value, id: &str) -> String {
    let mut file: Value = serde_json::from_str(REGISTRY).unwrap();
    let entry = &mut file["protocols"][place];
    entry["decoder"] = json!(decoder);
    entry["contracts"] = json!([contract]);
    entry["markets"] = json!([{"id": id, "source": "a list"}]);
    Registry::parse(file.to_string().as_bytes()).unwrap_err().to_string()
}

#[test]
fn markets_are_of_contracts_that_hold_many_pools() {
    let market = json!({"address": "0xa1", "role": "market"});
    let message = refusal_of_markets(0, "zklend", &market, "0xa1/0x7");
    assert!(message.contains("protocols[0].markets: belongs to protocols"), "{message}");
    let pair = json!({"address": "0xf1", "role": "pair", "token0": "0x10", "token1": "0x11"});
    let message = refusal_of_markets(2, "jediswap_v1", &pair, "0xf1");
    assert!(message.contains("protocols[2].markets: belongs to protocols"), "{message}");
    let singleton = json!({"address": "0xd0", "role": "singleton"});
    let refused = |id| refusal_of_markets(0, "vesu_v1", &singleton, id);
    let message = refused("0xd1/0x7");
    assert!(message.contains("protocols[0].markets[0].id: names no contract"), "{message}");
    for id in ["0xd0", "0xd0/0x7/0x10", "0xd0/7", "0xd0/0x07", "0xd0/0xA", "0x10/0x11/0x3/0xc8/0x0"]
    {
        let message = refused(id);
        assert!(message.contains(&format!("markets[0].id: `{id}` is no pool's id")), "{message}");
    }
}

/// Every listed pool is one of listed tokens, and has an id that reads back.
#[test]
fn mainnet_lists_pools_inside_contracts() {
    let registry = Registry::parse(mainnet_registry()).unwrap();
    let listed = |id: &str| &registry.protocol(&protocol(id)).unwrap().markets;
    assert_eq!((listed("ekubo").len(), listed("vesu_v1").len()), (24, 1));
    for pool in listed("ekubo").keys() {
        let ListedPool::Key(key) = pool else { panic!("{pool}") };
        let tokens = [key.token0, key.token1];
        assert!(tokens.iter().all(|token| registry.token(token).is_some()), "{pool}");
        assert_eq!(key.extension, ContractAddress(Felt::ZERO), "{pool}");
    }
    let others =
        registry.protocols().filter(|entry| !["ekubo", "vesu_v1"].contains(&entry.id.as_str()));
    assert!(others.into_iter().all(|entry| entry.markets.is_empty()));
}
