//! The seeded chain, read again with a small reader that shares nothing with the generator: layouts,
//! conservation laws, and the truth worked out a second time from the events alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

use std::collections::BTreeMap;

use obsqra_devnode::{BlockTruth, Chain, Event, MarketTruth, SeededChain, TransactionDraft};
use ruint::aliases::{U256, U512};
use starknet::core::types::Felt;
use starknet::core::utils::get_selector_from_name;

const BLOCKS: u64 = 2_016;

fn selector(name: &str) -> Felt {
    get_selector_from_name(name).expect("an ASCII name")
}

fn number(felt: &Felt) -> U256 {
    U256::from_be_bytes(felt.to_bytes_be())
}

fn u256(data: &[Felt]) -> U256 {
    number(&data[0]) + (number(&data[1]) << 128)
}

fn i129(data: &[Felt]) -> i128 {
    let magnitude: i128 = i128::try_from(number(&data[0]).to::<u128>()).expect("127 bits");
    if data[1] == Felt::ZERO {
        return magnitude;
    }
    assert!(data[1] == Felt::ONE && magnitude > 0, "a sign is 0 or 1, and zero has none");
    -magnitude
}

fn events(transactions: &[TransactionDraft]) -> impl Iterator<Item = &Event> {
    transactions.iter().flat_map(|transaction| &transaction.events)
}

#[derive(Default)]
struct Pool {
    sqrt_ratio: U256,
    tick: i128,
    liquidity: u128,
    balance0: i128,
    balance1: i128,
    positions: BTreeMap<(i128, i128, U256), i128>,
}

#[derive(Default)]
struct Reserve {
    accumulator: U256,
    debt_accumulator: U256,
    rates: Option<(U256, U256)>,
    raw_supply: U256,
}

/// An asset of Vesu: what was stated, and the sum of the shares of positions.
#[derive(Default)]
struct Asset {
    reserve: U256,
    debt: U256,
    accumulator: U256,
    scale: U256,
    /// What positions hold, as it was stated.
    shares: U256,
    holdings: BTreeMap<Felt, i128>,
}

/// State as the events alone give it.
#[derive(Default)]
struct Reader {
    pools: BTreeMap<String, Pool>,
    pairs: BTreeMap<Felt, (U256, U256)>,
    reserves: BTreeMap<Felt, Reserve>,
    /// Data of the last `Transfer` of a zToken.
    last_transfer: Vec<Felt>,
    /// The token of each zToken.
    shares: BTreeMap<Felt, Felt>,
    /// What the pool of JediSwap v2 holds.
    v2_balances: [i128; 2],
    assets: BTreeMap<Felt, Asset>,
    seen: BTreeMap<String, usize>,
}

fn ray() -> U256 {
    U256::from(10).pow(U256::from(27))
}

impl Reader {
    fn read(&mut self, event: &Event, registry: &serde_json::Value) {
        let address = format!("{:#x}", event.from_address);
        let role =
            ["market", "z_token", "core", "factory", "pair"].into_iter().find(|role| {
                registry["protocols"].as_array().expect("protocols").iter().any(|protocol| {
                    protocol["contracts"].as_array().expect("contracts").iter().any(|contract| {
                        contract["role"] == *role && contract["address"] == *address
                    })
                })
            });
        let Some(role) = role else {
            let protocols = registry["protocols"].as_array().expect("protocols").iter();
            let listed = protocols.filter(|protocol| {
                let contracts = protocol["contracts"].as_array().expect("contracts");
                contracts.iter().any(|contract| contract["address"] == *address)
            });
            for protocol in listed {
                match protocol["id"].as_str() {
                    Some("jediswap_v2") => self.v2_pool(event),
                    _ => self.vesu(event),
                }
            }
            return;
        };
        let names = match role {
            "market" => [
                "NewReserve",
                "AccumulatorsSync",
                "InterestRatesSync",
                "Deposit",
                "Withdrawal",
                "Borrowing",
                "Repayment",
                "Liquidation",
                "FlashLoan",
                "ReserveFactorUpdate",
            ]
            .as_slice(),
            "z_token" => &["Transfer", "RawTransfer"],
            "core" => &[
                "PoolInitialized",
                "PositionUpdated",
                "Swapped",
                "PositionFeesCollected",
                "ProtocolFeesPaid",
                "FeesAccumulated",
            ],
            "factory" => &["PairCreated"],
            _ => &["Mint", "Burn", "Swap", "Sync", "Transfer"],
        };
        let name =
            names.iter().find(|name| selector(name) == event.keys[0]).expect("a known event");
        assert_eq!(event.keys.len(), 1);
        *self.seen.entry(format!("{role}.{name}")).or_default() += 1;
        match role {
            "market" => self.lending(name, &event.data),
            "z_token" if *name == "Transfer" => self.last_transfer = event.data.clone(),
            "z_token" => self.raw_transfer(event),
            "core" => self.ekubo(name, &event.data),
            "factory" => assert_eq!(event.data.len(), 4),
            _ => self.pair(name, event),
        }
    }

    fn lending(&mut self, name: &str, data: &[Felt]) {
        let (token, length) = match name {
            "NewReserve" => (0, 9),
            "AccumulatorsSync" | "InterestRatesSync" => (0, 3),
            "ReserveFactorUpdate" => (0, 2),
            "Deposit" | "Withdrawal" => (1, 3),
            "Borrowing" => (1, 4),
            "Repayment" | "FlashLoan" => (2, 5),
            _ => (2, 7),
        };
        assert_eq!(data.len(), length, "{name}");
        if name == "NewReserve" {
            assert!(!self.reserves.contains_key(&data[0]));
            self.shares.insert(data[1], data[0]);
            self.reserves.insert(
                data[0],
                Reserve { accumulator: ray(), debt_accumulator: ray(), ..Reserve::default() },
            );
        }
        let reserve = self.reserves.get_mut(&data[token]).expect("NewReserve comes first");
        match name {
            "AccumulatorsSync" => {
                let (lending, debt) = (number(&data[1]), number(&data[2]));
                assert!(lending >= reserve.accumulator && debt >= reserve.debt_accumulator);
                (reserve.accumulator, reserve.debt_accumulator) = (lending, debt);
            }
            "InterestRatesSync" => {
                let (lending, borrowing) = (number(&data[1]), number(&data[2]));
                assert!(lending <= borrowing);
                reserve.rates = Some((lending, borrowing));
            }
            "Borrowing" => {
                let face = number(&data[2]) * reserve.debt_accumulator / ray();
                let told = number(&data[3]);
                assert!(face <= told && told - face <= U256::from(2), "raw and face of a loan");
            }
            _ => {}
        }
    }

    /// A mint adds to the supply and a burn takes from it.
    fn raw_transfer(&mut self, event: &Event) {
        let data = &event.data;
        assert_eq!(data.len(), 5);
        assert_eq!(self.last_transfer, [data[0], data[1], data[4], Felt::ZERO]);
        let token = self.shares[&event.from_address];
        let reserve = self.reserves.get_mut(&token).expect("a reserve");
        let raw = number(&data[2]);
        assert!(!raw.is_zero());
        if data[0] == Felt::ZERO {
            reserve.raw_supply += raw;
        }
        if data[1] == Felt::ZERO {
            reserve.raw_supply -= raw;
        }
        let face = raw * number(&data[3]) / ray();
        let told = number(&data[4]);
        let unit = number(&data[3]) / ray() + U256::from(1);
        assert!(face <= told && told - face <= unit, "raw and face of shares");
    }

    fn ekubo(&mut self, name: &str, data: &[Felt]) {
        let (key, length) = match name {
            "PoolInitialized" => (0, 9),
            "PositionUpdated" => (1, 17),
            "Swapped" => (1, 21),
            "FeesAccumulated" => (0, 7),
            _ => (0, 15),
        };
        assert_eq!(data.len(), length, "{name}");
        let id: Vec<String> = data[key..key + 5].iter().map(|part| format!("{part:#x}")).collect();
        assert!(data[key] < data[key + 1], "token0 < token1");
        let pool = self.pools.entry(id.join("/")).or_default();
        let (delta0, delta1) = match name {
            "PoolInitialized" => {
                (pool.tick, pool.sqrt_ratio) = (i129(&data[5..]), u256(&data[7..]));
                (0, 0)
            }
            "FeesAccumulated" => (
                i128::try_from(number(&data[5]).to::<u128>()).expect("small"),
                i128::try_from(number(&data[6]).to::<u128>()).expect("small"),
            ),
            "PositionUpdated" => {
                let (lower, upper, liquidity) =
                    (i129(&data[7..]), i129(&data[9..]), i129(&data[11..]));
                let spacing = i128::try_from(number(&data[4]).to::<u128>()).expect("small");
                assert!(lower < upper && lower % spacing == 0 && upper % spacing == 0);
                let held = pool.positions.entry((lower, upper, number(&data[6]))).or_default();
                *held += liquidity;
                assert!(*held >= 0);
                if lower <= pool.tick && pool.tick < upper {
                    pool.liquidity =
                        pool.liquidity.checked_add_signed(liquidity).expect("never negative");
                }
                (i129(&data[13..]), i129(&data[15..]))
            }
            "Swapped" => {
                let deltas = (i129(&data[12..]), i129(&data[14..]));
                let side1 = data[8] == Felt::ONE;
                assert_eq!(if side1 { deltas.1 } else { deltas.0 }, i129(&data[6..]));
                assert!(if side1 {
                    deltas.1 > 0 && deltas.0 < 0
                } else {
                    deltas.0 > 0 && deltas.1 < 0
                });
                let before = pool.sqrt_ratio;
                (pool.sqrt_ratio, pool.tick) = (u256(&data[16..]), i129(&data[18..]));
                assert_eq!(side1, pool.sqrt_ratio > before, "token1 in raises the price");
                pool.liquidity = number(&data[20]).to();
                deltas
            }
            _ => {
                let deltas = (i129(&data[11..]), i129(&data[13..]));
                assert!(deltas.0 <= 0 && deltas.1 <= 0);
                deltas
            }
        };
        pool.balance0 += delta0;
        pool.balance1 += delta1;
        assert!(pool.balance0 >= 0 && pool.balance1 >= 0, "a pool never owes more than it holds");
        let active: i128 = pool
            .positions
            .iter()
            .filter(|((l, u, _), _)| *l <= pool.tick && pool.tick < *u)
            .map(|(_, held)| held)
            .sum();
        assert_eq!(
            pool.liquidity,
            active.unsigned_abs(),
            "active liquidity is the sum of positions in range"
        );
        check_tick(pool);
    }

    fn v2_pool(&mut self, event: &Event) {
        let data = &event.data;
        let i256 = |at: usize| i129(&[data[at], data[at + 2]]);
        let amount = |at: usize| i128::try_from(u256(&data[at..]).to::<u128>()).expect("small");
        let kinds = [
            ("PoolCreated", 5),
            ("Initialize", 4),
            ("Swap", 13),
            ("Mint", 11),
            ("Burn", 10),
            ("Collect", 8),
            ("CollectProtocol", 4),
        ];
        let mut known = kinds.into_iter();
        let known = known.find(|(name, _)| selector(name) == event.keys[0]);
        let (name, length) = known.expect("a known event");
        assert_eq!((event.keys.len(), data.len()), (1, length), "{name}");
        *self.seen.entry(format!("v2_pool.{name}")).or_default() += 1;
        let moved = match name {
            "Swap" => [i256(2), i256(5)],
            "Mint" => [amount(7), amount(9)],
            "Collect" => [6, 7].map(|at| -amount_of(&data[at])),
            "CollectProtocol" => [2, 3].map(|at| -amount_of(&data[at])),
            _ => [0, 0],
        };
        assert!(name != "Swap" || (moved[0] > 0) != (moved[1] > 0));
        for (balance, moved) in self.v2_balances.iter_mut().zip(moved) {
            *balance += moved;
            assert!(*balance >= 0, "the pool never pays what it does not hold");
        }
    }

    fn vesu(&mut self, event: &Event) {
        let (keys, data) = (&event.keys, &event.data);
        let kinds = [
            ("CreatePool", 6, 0),
            ("AddAsset", 3, 0),
            ("UpdateContext", 3, 50),
            ("ModifyPosition", 4, 12),
            ("LiquidatePosition", 5, 14),
        ];
        let mut known = kinds.into_iter();
        let known = known.find(|(name, _, _)| selector(name) == keys[0]);
        let (name, key_count, length) = known.expect("a known event");
        assert_eq!((keys.len(), data.len()), (key_count, length), "{name}");
        *self.seen.entry(format!("vesu.{name}")).or_default() += 1;
        match name {
            "AddAsset" => drop(self.assets.insert(keys[2], Asset::default())),
            "UpdateContext" => {
                for (asset, at) in [(keys[1], 0), (keys[2], 22)] {
                    let asset = self.assets.get_mut(&asset).expect("AddAsset comes first");
                    let accumulator = u256(&data[at + 14..]);
                    assert!(accumulator >= asset.accumulator);
                    (asset.reserve, asset.scale) = (u256(&data[at + 4..]), u256(&data[at + 10..]));
                    let burnt =
                        U256::from(2_000) * U256::from(10).pow(U256::from(18)) / asset.scale;
                    asset.shares = u256(&data[at..]) - u256(&data[at + 20..]) - burnt;
                    asset.debt = u256(&data[at + 2..]);
                    asset.accumulator = accumulator;
                }
            }
            "ModifyPosition" | "LiquidatePosition" => {
                let asset = self.assets.get_mut(&keys[1]).expect("AddAsset comes first");
                let held = asset.holdings.entry(keys[3]).or_default();
                *held += i129(&[data[3], data[5]]);
                assert!(*held >= 0, "nobody gives back more than he holds");
            }
            _ => {}
        }
    }

    fn pair(&mut self, name: &str, event: &Event) {
        let data = &event.data;
        let reserves = self.pairs.entry(event.from_address).or_default();
        match name {
            "Sync" => *reserves = (u256(data), u256(&data[2..])),
            "Swap" => {
                assert_eq!(data.len(), 10);
                let (in0, in1, out0, out1) =
                    (u256(&data[1..]), u256(&data[3..]), u256(&data[5..]), u256(&data[7..]));
                // The Sync of this swap came before: take its amounts back to see the product before.
                let before = (reserves.0 + out0 - in0, reserves.1 + out1 - in1);
                assert!(reserves.0 * reserves.1 > before.0 * before.1, "x*y=k never falls");
                let adjusted0 = reserves.0 * U256::from(1_000) - in0 * U256::from(3);
                let adjusted1 = reserves.1 * U256::from(1_000) - in1 * U256::from(3);
                assert!(
                    adjusted0 * adjusted1 >= before.0 * before.1 * U256::from(1_000_000),
                    "the fee is paid"
                );
            }
            "Mint" => assert_eq!(data.len(), 5),
            "Burn" => assert_eq!(data.len(), 6),
            _ => assert_eq!(data.len(), 4),
        }
    }
}

fn amount_of(felt: &Felt) -> i128 {
    i128::try_from(number(felt).to::<u128>()).expect("small")
}

fn check_tick(pool: &Pool) {
    let ratio = f64::from(pool.sqrt_ratio) / 2_f64.powi(128);
    #[expect(clippy::cast_precision_loss, reason = "ticks are below 2^27")]
    let power = (pool.tick as f64 * 1.000_001_f64.ln()).exp();
    let error = (ratio * ratio / power - 1.0).abs();
    assert!(error < 2e-6, "price and tick differ by {error}");
}

/// Compares what the events say with what the generator says it is.
fn compare(reader: &Reader, truth: &BlockTruth) {
    let price_of: BTreeMap<&str, U256> = truth
        .markets
        .iter()
        .filter_map(|market| Some((&*market.asset_address, market.price_usdc?)))
        .collect();
    let value = |token: &str, amount: U256| {
        let decimals = match token {
            _ if token == USDC || token == USDT => 0,
            _ if token == WBTC => 2,
            _ => 12,
        };
        amount * price_of[token] / U256::from(10).pow(U256::from(18 + decimals))
    };
    for market in &truth.markets {
        match market.protocol {
            "zklend" => {
                let reserve =
                    &reader.reserves[&Felt::from_hex(&market.market).expect("an address")];
                let (lending, borrowing) = reserve.rates.expect("rates");
                let utilization = (lending * U256::from(10_000) / borrowing).to::<u32>();
                assert_eq!(market.utilization_bps, Some(utilization));
                assert!((2_000..=9_500).contains(&utilization), "utilization of {utilization} bps");
                let supplied = reserve.raw_supply * reserve.accumulator / ray();
                assert_eq!(market.tvl_usdc, Some(value(&market.market, supplied)));
            }
            "ekubo" => {
                let pool = &reader.pools[&*market.market];
                let tokens: Vec<&str> = market.market.split('/').collect();
                let amount = |balance: i128| U256::from(balance.unsigned_abs());
                let expected = (&*market.asset_address != UNLISTED).then(|| {
                    value(tokens[0], amount(pool.balance0))
                        + value(tokens[1], amount(pool.balance1))
                });
                assert_eq!(market.tvl_usdc, expected);
                if &*market.asset_address != UNLISTED {
                    let (token, up, down) = depths(pool, &tokens, &market.asset_address);
                    assert_eq!(market.pool.depth_up_usdc, Some(value(token, up)));
                    assert_eq!(market.pool.depth_down_usdc, Some(value(token, down)));
                }
            }
            "jediswap_v2" => {
                let amount = |side: usize| U256::from(reader.v2_balances[side].unsigned_abs());
                let expected = value(ETH, amount(0)) + value(USDC, amount(1));
                assert_eq!(market.tvl_usdc, Some(expected));
            }
            "vesu_v2" => compare_asset(reader, market, value),
            _ => {
                let (_, usdc) = reader.pairs[&Felt::from_hex(&market.market).expect("an address")];
                assert_eq!(market.tvl_usdc, Some(usdc * U256::from(2)));
            }
        }
    }
}

/// Figures of an asset of Vesu from its newest statement and the shares of positions.
fn compare_asset(reader: &Reader, market: &MarketTruth, value: impl Fn(&str, U256) -> U256) {
    let token = market.market.split('/').nth(1).expect("a token");
    let asset = &reader.assets[&Felt::from_hex(token).expect("an address")];
    let e36 = U256::from(10).pow(U256::from(36));
    let borrowed = asset.debt * asset.accumulator * asset.scale / e36;
    let supplied = asset.reserve + borrowed;
    let lending = &market.lending;
    assert_eq!((lending.supplied, lending.borrowed), (Some(supplied), Some(borrowed)));
    assert_eq!(lending.withdraw_headroom, Some(asset.reserve));
    assert_eq!(market.tvl_usdc, Some(value(token, supplied)));
    let utilization = borrowed * U256::from(10_000) / supplied;
    assert_eq!(market.utilization_bps.map(U256::from), Some(utilization));
    assert!((U256::from(50)..U256::from(9_900)).contains(&utilization), "{utilization} bps");
    let held = asset.holdings.values().filter(|held| **held > 0);
    let total: i128 = held.clone().sum();
    assert_eq!(U256::from(total.unsigned_abs()), asset.shares);
    assert_eq!(lending.suppliers, u64::try_from(held.clone().count()).ok());
    let top = U256::from(held.max().copied().unwrap_or(0).unsigned_abs());
    assert_eq!(lending.top1_bps.map(U256::from), Some(top * U256::from(10_000) / asset.shares));
}

/// What moves a pool's price by 2 % up and down, in the token that is not the asset.
fn depths<'a>(pool: &Pool, tokens: &[&'a str], asset: &str) -> (&'a str, U256, U256) {
    let (liquidity, ratio) = (U512::from(pool.liquidity), U512::from(pool.sqrt_ratio));
    let (token, held): (_, U512) = if tokens[0] == asset {
        (tokens[1], (liquidity * ratio) >> 128)
    } else {
        (tokens[0], (liquidity << 128) / ratio)
    };
    let (square, hundred): (U512, U512) = (held * held, U512::from(100));
    let root = |percent: u64| -> U512 {
        let scaled: U512 = square * U512::from(percent) / hundred;
        scaled.root(2)
    };
    let (up, below) = (root(102), root(98));
    let exact = below * below * hundred == square * U512::from(98);
    let down = if exact { below } else { below + U512::from(1) };
    (token, U256::saturating_from(up - held), U256::saturating_from(held - down))
}

const USDC: &str = "0x53c91253bc9682c04929ca02ed00b3e423f6710d2ee7e0d5ebb06f3ecf368a8";
const USDT: &str = "0x68f5c6a61780768455de69077e07e89787839bf8166decfbf92b645209c0fb8";
const WBTC: &str = "0x3fe2b97c1fd336e750087d68b9b867997fd64a2661ff3ca5a7c771641e8e7ac";
const UNLISTED: &str = "0x70b5ec7a0dead0be90000000000000000000000000000000000000000000001";

#[test]
fn events_obey_their_protocols_and_carry_the_truth() {
    let registry = serde_json::from_slice(obsqra_devnode::SEEDED_REGISTRY).expect("JSON");
    let (mut chain, mut reader) = (SeededChain::new(1), Reader::default());
    let mut classes: BTreeMap<&str, Vec<Option<u32>>> = BTreeMap::new();
    let mut full_scores = 0;
    for height in 0..BLOCKS {
        let made = chain.next_block();
        assert_eq!(made.draft.timestamp, 1_735_689_600 + 600 * height);
        let count = events(&made.draft.transactions).count();
        assert!(count >= 40, "{count} events in block {height}");
        events(&made.draft.transactions).for_each(|event| reader.read(event, &registry));
        compare(&reader, &made.truth);
        for protocol in &made.truth.protocols {
            let seen = classes.entry(protocol.protocol).or_default();
            if seen.last() != Some(&protocol.liquidity_class) {
                seen.push(protocol.liquidity_class);
            }
            full_scores += u32::from(protocol.score.is_some());
        }
    }
    for name in EVENT_NAMES {
        assert!(reader.seen.contains_key(*name), "no {name} in {BLOCKS} blocks");
    }
    assert!(classes.values().any(|seen| seen.len() > 1), "liquidity classes change: {classes:?}");
    assert!(full_scores > 5 * 1_200, "{full_scores} scores");
    let last = chain.next_block().truth;
    let untracked: Vec<_> =
        last.markets.iter().filter(|market| &*market.asset_address == UNLISTED).collect();
    assert!(
        matches!(untracked.as_slice(), [market] if market.price_usdc.is_none() && market.turnover_bps.is_none())
    );
    assert!(
        last.markets
            .iter()
            .filter(|m| &*m.asset_address != UNLISTED)
            .all(|m| m.price_usdc.is_some())
    );
}

const EVENT_NAMES: &[&str] = &[
    "market.NewReserve",
    "market.AccumulatorsSync",
    "market.InterestRatesSync",
    "market.Deposit",
    "market.Withdrawal",
    "market.Borrowing",
    "market.Repayment",
    "market.Liquidation",
    "market.FlashLoan",
    "market.ReserveFactorUpdate",
    "z_token.RawTransfer",
    "core.PoolInitialized",
    "core.PositionUpdated",
    "core.Swapped",
    "core.PositionFeesCollected",
    "core.ProtocolFeesPaid",
    "core.FeesAccumulated",
    "factory.PairCreated",
    "pair.Mint",
    "pair.Burn",
    "pair.Swap",
    "pair.Sync",
    "pair.Transfer",
    "v2_pool.PoolCreated",
    "v2_pool.Initialize",
    "v2_pool.Swap",
    "v2_pool.Mint",
    "v2_pool.Burn",
    "v2_pool.Collect",
    "v2_pool.CollectProtocol",
    "vesu.CreatePool",
    "vesu.AddAsset",
    "vesu.UpdateContext",
    "vesu.ModifyPosition",
    "vesu.LiquidatePosition",
];

/// 30 days and the hour that is under way.
const MONTH: u64 = 4_326;

/// A node runs for days: nothing dries up, runs over or leaves its bounds in half a year of chain time.
#[test]
fn a_long_chain_stays_alive() {
    let mut chain = SeededChain::new(11);
    for height in 0..12_000 {
        let made = chain.next_block();
        if height > 1_000 {
            for protocol in &made.truth.protocols {
                assert!(protocol.score.is_some(), "block {height}: {protocol:?}");
            }
        }
        for market in made.truth.markets.iter().filter(|market| market.counted) {
            let whole = market.tvl_usdc.map(|value| value / U256::from(1_000_000));
            assert!(
                height < MONTH || market.volatility_30d_bps.is_some(),
                "block {height}: {market:?}"
            );
            assert!(
                whole.is_some_and(
                    |value| (U256::from(80_000)..U256::from(80_000_000)).contains(&value)
                ),
                "block {height}: {market:?}"
            );
        }
    }
}

/// Prices at each of a few blocks, from reserves and sqrt ratios alone.
#[test]
fn the_price_is_that_of_the_deepest_pool() {
    let registry = serde_json::from_slice(obsqra_devnode::SEEDED_REGISTRY).expect("JSON");
    let (mut chain, mut reader) = (SeededChain::new(7), Reader::default());
    for _ in 0..50 {
        let made = chain.next_block();
        events(&made.draft.transactions).for_each(|event| reader.read(event, &registry));
        for token in [ETH, STRK] {
            let pair = reader
                .pairs
                .iter()
                .zip([ETH, STRK])
                .find(|(_, of)| *of == token)
                .expect("a pair")
                .0
                .1;
            let mut best = (pair.1, pair.1 * U256::from(10).pow(U256::from(30)) / pair.0);
            for (id, pool) in
                reader.pools.iter().filter(|(id, _)| id.starts_with(&format!("{token}/{USDC}/")))
            {
                let ratio = U512::from(pool.sqrt_ratio);
                let depth = U256::saturating_from((U512::from(pool.liquidity) * ratio) >> 128);
                let scale = U512::from(10).pow(U512::from(30));
                let price = U256::saturating_from((ratio * ratio * scale) >> 256);
                assert!(!id.is_empty());
                if depth > best.0 {
                    best = (depth, price);
                }
            }
            let market = made
                .truth
                .markets
                .iter()
                .find(|market| *market.market == *token)
                .expect("a reserve");
            assert_eq!(market.price_usdc, Some(best.1));
        }
    }
}

const ETH: &str = "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7";
const STRK: &str = "0x4718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d";

#[test]
fn equal_seeds_give_equal_chains_and_others_do_not() {
    let hashes = |seed| {
        let mut chain = Chain::seeded(seed);
        (0..=100).map(|_| chain.next_block().expect("it never ends").block.hash).collect::<Vec<_>>()
    };
    let first = hashes(1);
    assert_eq!(first, hashes(1));
    assert_ne!(first, hashes(2));
    let golden = [0, 1, 100].map(|height| format!("{:#x}", first[height]));
    assert_eq!(
        golden,
        [
            "0x5ac717a14d8d1b4e6730582144ffbdf72be9e5727c5e2a4a0e5fc2ee4c81895",
            "0x27f7c4486a6c75c5fc1ad327cc970fdc3420d346fad32e51414cbaded50cf6e",
            "0x78e58adc91912d3fbd688a0314d3d9e4ede313b94b7190d7f1e16a0c22d6c3d",
        ],
    );
}

#[test]
fn a_fork_shares_the_past_and_not_the_future() {
    let mut chain = Chain::seeded(3);
    let first: Vec<_> = (0..12).filter_map(|_| chain.next_block()).collect();
    chain.fork_at(8, first[7].block.hash);
    let second: Vec<_> = (0..4).filter_map(|_| chain.next_block()).collect();
    assert_eq!(second[0].block.parent_hash, first[7].block.hash);
    for (a, b) in first[8..].iter().zip(&second) {
        assert_eq!((a.block.number, a.block.timestamp), (b.block.number, b.block.timestamp));
        assert_ne!(a.block.hash, b.block.hash);
        assert_ne!(a.truth, b.truth);
    }
    // A second fork above the first keeps the first one's blocks below it.
    chain.fork_at(10, second[1].block.hash);
    let third = chain.next_block().expect("it never ends");
    assert_eq!(third.block.parent_hash, second[1].block.hash);
    assert_ne!(third.block.hash, second[2].block.hash);
}
