//! Contracts that factories announce: from the announcement on, once, and never against the registry.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod support;

use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{
    Contracts, Decoder, MetricFold, Registry, Role, SnapshotError, TokenPair, WatchedContract,
    decode, decode_from, mainnet_registry,
};
use obsqra_types::Seq;
use support::Chain;
use support::roles::{address, every_role, of_role, raw_event};

const T0: u64 = 100_000_000;

fn child(emitter: &WatchedContract, event: &EventData) -> Option<WatchedContract> {
    decode_from(emitter, event).unwrap().child(emitter)
}

fn factory_v1() -> WatchedContract {
    of_role(Decoder::JediSwapV1, Role::Factory)
}

fn pair_created(pair: u128, token0: u128, token1: u128) -> EventData {
    raw_event(&factory_v1(), "PairCreated", &[], &[token0, token1, pair, 1])
}

fn sync(pair: u128) -> EventData {
    let emitter = WatchedContract { address: address(pair), ..factory_v1() };
    raw_event(&emitter, "Sync", &[], &[1_000, 0, 2_000, 0])
}

#[test]
fn each_factory_announces_its_children() {
    let tokens = TokenPair { token0: address(1), token1: address(2) };
    let check = |emitter: WatchedContract, name: &str, keys: &[u128], data: &[u128]| {
        let child = child(&emitter, &raw_event(&emitter, name, keys, data)).unwrap();
        assert_eq!((&child.protocol, child.decoder), (&emitter.protocol, emitter.decoder));
        assert_eq!(child.address, address(0xc0de));
        (child.role, child.pair, child.asset)
    };
    assert_eq!(
        check(factory_v1(), "PairCreated", &[], &[1, 2, 0xc0de, 7]),
        (Role::Pair, Some(tokens), None)
    );
    assert_eq!(
        check(
            of_role(Decoder::JediSwapV2, Role::PoolFactory),
            "PoolCreated",
            &[],
            &[1, 2, 500, 10, 0xc0de]
        ),
        (Role::Pool, Some(tokens), None)
    );
    assert_eq!(
        check(
            of_role(Decoder::VesuV2, Role::PoolFactory),
            "CreatePool",
            &[0xc0de, 1, 2, 3, 4],
            &[]
        ),
        (Role::Pool, None, None)
    );
    assert_eq!(
        check(
            of_role(Decoder::ZkLend, Role::Market),
            "NewReserve",
            &[],
            &[1, 0xc0de, 3, 4, 5, 6, 7, 8, 9]
        ),
        (Role::ZToken, None, Some(address(1)))
    );
}

#[test]
fn an_announcement_that_cannot_be_is_none() {
    let emitter = factory_v1();
    for (pair, token0, token1) in [(0, 1, 2), (9, 2, 1), (9, 1, 1), (9, 0, 1)] {
        assert_eq!(child(&emitter, &pair_created(pair, token0, token1)), None);
    }
    let market = of_role(Decoder::ZkLend, Role::Market);
    let reserve = |token, z_token| {
        raw_event(&market, "NewReserve", &[], &[token, z_token, 3, 4, 5, 6, 7, 8, 9])
    };
    assert_eq!(child(&market, &reserve(0, 9)), None);
    assert_eq!(child(&market, &reserve(9, 0)), None);
}

#[test]
fn the_registry_wins_and_then_the_first_announcement() {
    let emitter = factory_v1();
    let mut contracts = Contracts::new(every_role());
    let learn = |contracts: &mut Contracts, event: &EventData| {
        contracts.learn(&emitter, &decode_from(&emitter, event).unwrap())
    };
    let listed = of_role(Decoder::JediSwapV1, Role::Pair);
    let bytes = listed.address.0.to_bytes_be();
    let number = u128::from_be_bytes(bytes[16..].try_into().unwrap());
    assert_eq!(learn(&mut contracts, &pair_created(number, 1, 2)), None);
    assert_eq!(contracts.get(&listed.address), Some(&listed));

    let first = learn(&mut contracts, &pair_created(0xc0de, 1, 2)).unwrap();
    assert_eq!(learn(&mut contracts, &pair_created(0xc0de, 3, 4)), None);
    assert_eq!(contracts.get(&address(0xc0de)), Some(&first));
    assert_eq!(contracts.children().collect::<Vec<_>>(), [&first]);

    let children: Vec<WatchedContract> = contracts.children().cloned().collect();
    assert_eq!(Contracts::with_children(Arc::clone(contracts.registry()), children), contracts);
    let stranger = WatchedContract { decoder: Decoder::Ekubo, ..first };
    let refused = Contracts::with_children(every_role(), [stranger]);
    assert_eq!(refused.children().count(), 0);
}

#[test]
fn a_child_is_read_from_its_announcement_on() {
    let mut contracts = Contracts::new(every_role());
    let emitter = factory_v1();
    let created = pair_created(0xc0de, 0x10, 0x11);
    assert_eq!(decode(&contracts, &sync(0xc0de)), None);
    contracts.learn(&emitter, &decode_from(&emitter, &created).unwrap());
    assert_eq!(decode(&contracts, &sync(0xc0de)).unwrap().name, Some("Sync"));

    // In one block: before it nothing, after it a market with reserves.
    let states = |events: Vec<EventData>| {
        let mut fold = MetricFold::new(every_role(), Seq(1));
        let indexed = events
            .into_iter()
            .zip(0..)
            .map(|(event, index)| EventData { index: obsqra_types::EventIndex(index), ..event });
        fold.apply(&Chain::default().block_of(T0, indexed.collect()).input()).unwrap();
        fold.markets().map(|row| (row.market.0, row.tvl.is_some())).collect::<Vec<_>>()
    };
    assert_eq!(states(vec![sync(0xc0de)]), []);
    assert_eq!(states(vec![sync(0xc0de), created.clone()]), [("0xc0de".to_owned(), false)]);
    assert_eq!(states(vec![created, sync(0xc0de)]), [("0xc0de".to_owned(), true)]);
}

#[test]
fn a_snapshot_holds_the_children() {
    let mut chain = Chain::default();
    let mut fold = MetricFold::new(every_role(), Seq(1));
    let pool = of_role(Decoder::VesuV2, Role::PoolFactory);
    let market = of_role(Decoder::ZkLend, Role::Market);
    let announcements = [
        pair_created(0xc0de, 0x10, 0x11),
        raw_event(&pool, "CreatePool", &[0xc1de, 1, 2, 3, 4], &[]),
        raw_event(&market, "NewReserve", &[], &[1, 0xc2de, 3, 4, 5, 6, 7, 8, 9]),
    ];
    for event in announcements {
        fold.apply(&chain.block_of(T0, vec![event]).input()).unwrap();
    }
    assert_eq!(fold.contracts().children().count(), 3);
    let bytes = fold.encode();
    let mut copy = MetricFold::decode(every_role(), &bytes).unwrap();
    assert_eq!(copy.contracts(), fold.contracts());
    assert_eq!(copy.encode(), bytes);
    let next = chain.block_of(T0 + 600, vec![sync(0xc0de)]);
    assert_eq!(copy.apply(&next.input()).unwrap(), fold.apply(&next.input()).unwrap());

    // The layout before this one had no children.
    let mut old = bytes;
    let end = old.iter().position(|byte| *byte == b'/').unwrap() + 1;
    old[end] = b'1';
    assert!(matches!(MetricFold::decode(every_role(), &old), Err(SnapshotError::OtherVersion(_))));
}

#[test]
fn factories_are_those_that_announce() {
    let registry = Registry::parse(mainnet_registry()).unwrap();
    let mut factories: Vec<_> = registry
        .factories()
        .map(|contract| (contract.protocol.as_str(), contract.role.name()))
        .collect();
    factories.sort_unstable();
    let expected = [
        ("jediswap_v1", "factory"),
        ("jediswap_v2", "pool_factory"),
        ("vesu_v2", "pool_factory"),
        ("zklend", "market"),
    ];
    assert_eq!(factories, expected);
}
