//! The truth of the seeded chain's markets: figures agree with each other at every block, and those that
//! follow from events by a line of arithmetic are worked out again from the events alone.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

use std::collections::{BTreeMap, VecDeque};

use obsqra_devnode::{
    AnomalyPhase, BlockTruth, Event, GENESIS_TIMESTAMP, MarketTruth, SeededBlock, SeededChain,
};
use ruint::aliases::{U256, U512};
use starknet::core::types::Felt;
use starknet::core::utils::get_selector_from_name;

/// A week of chain time and some.
const BLOCKS: u64 = 1_200;

const UNLISTED: &str = "0x70b5ec7a0dead0be90000000000000000000000000000000000000000000001";

fn selector(name: &str) -> Felt {
    get_selector_from_name(name).expect("an ASCII name")
}

fn number(felt: &Felt) -> U256 {
    U256::from_be_bytes(felt.to_bytes_be())
}

fn ten_to(exponent: u32) -> U256 {
    U256::from(10).pow(U256::from(exponent))
}

fn ray() -> U256 {
    ten_to(27)
}

/// `floor(part · 10000 / whole)`
fn bps(part: U256, whole: U256) -> U256 {
    part * U256::from(10_000) / whole
}

#[test]
fn figures_agree_with_each_other_at_every_block() {
    let mut chain = SeededChain::new(2);
    let mut peaks: BTreeMap<String, U256> = BTreeMap::new();
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut outflows: BTreeMap<String, Vec<AnomalyPhase>> = BTreeMap::new();
    let mut odd_blocks = 0;
    for height in 0..BLOCKS {
        let truth = chain.next_block().truth;
        for told in &truth.anomalies {
            assert_eq!(told.rule, "net_outflow", "block {height}: nothing else is wrong");
            let market = told.market.clone().expect("a market");
            outflows.entry(market).or_default().push(told.phase);
        }
        for market in &truth.markets {
            check_absences(market);
            for absent in &market.absent {
                *seen.entry(absent.reason).or_default() += 1;
            }
            if &*market.asset_address == UNLISTED {
                assert!(market.absent.iter().all(|absent| absent.reason == "token_unlisted"));
                continue;
            }
            check_value(market, &mut peaks);
            if !market.counted {
                odd_blocks += u64::from(market.pool.depth_up_usdc > Some(ten_to(12)));
                assert_eq!(market.opened_at, Some(GENESIS_TIMESTAMP + 60 * 600));
                continue;
            }
            assert_eq!(market.opened_at, Some(GENESIS_TIMESTAMP));
            match market.protocol {
                "zklend" => check_lending(market),
                "vesu_v2" => check_asset(height, market),
                _ => check_pool(market),
            }
            if height > 200 {
                assert!(market.volatility_1d_bps.is_some(), "block {height}: {market:?}");
            }
        }
    }
    assert!(odd_blocks > 300, "the odd pool is deep for {odd_blocks} blocks");
    for (kind, found) in
        [("reserve", is_reserve as fn(&str) -> bool), ("pool", |id| !is_reserve(id))]
    {
        assert!(outflows.keys().any(|id| found(id)), "no outflow of a {kind}");
    }
    for phases in outflows.values() {
        let opened = phases.iter().step_by(2).all(|phase| *phase == AnomalyPhase::Opened);
        let closed = phases.iter().skip(1).step_by(2).all(|phase| *phase == AnomalyPhase::Closed);
        assert!(opened && closed, "{phases:?}");
    }
    assert_eq!(
        seen.keys().copied().collect::<Vec<_>>(),
        ["insufficient_history", "no_state", "token_unlisted"]
    );
}

/// zkLend's markets are named by their tokens alone.
fn is_reserve(market: &str) -> bool {
    [ETH, STRK, USDC, WBTC].contains(&market)
}

/// The curator's shares and those that were burnt are no supplier's.
fn check_asset(height: u64, market: &MarketTruth) {
    let lending = &market.lending;
    let supplied = lending.supplied.expect("supplied");
    let borrowed = lending.borrowed.expect("borrowed");
    assert_eq!(lending.withdraw_headroom, Some(supplied - borrowed));
    assert_eq!(market.utilization_bps.map(U256::from), Some(bps(borrowed, supplied)));
    assert!(lending.suppliers.is_some(), "positions hold all that is neither burnt nor a fee");
    let (top1, top5) = (lending.top1_bps.expect("top"), lending.top5_bps.expect("top"));
    assert!(top1 <= top5 && lending.hhi_bps.expect("hhi") <= top1);
    assert!(lending.exit_shock_bps >= market.utilization_bps);
    assert_eq!(lending.supply_rate.is_some(), lending.borrow_rate.is_some());
    if let Some((supply, borrow)) = lending.supply_rate.zip(lending.borrow_rate) {
        assert!(supply < borrow, "{market:?}");
        assert_eq!(market.supply_apy_bps.map(U256::from), Some(supply / ten_to(14)));
    }
    assert!(height < 20 || lending.supply_rate.is_some());
}

/// A figure is there, or its reason is, and never both; the other kind's figures have neither.
fn check_absences(market: &MarketTruth) {
    let figures = serde_json::to_value(market).expect("JSON");
    let nulls = |of: &serde_json::Value| {
        of.as_object().expect("an object").values().filter(|value| value.is_null()).count()
    };
    // Vesu alone has an oracle's price, and has no accumulator excess.
    let (own, other, foreign) = match market.protocol {
        "zklend" => ("lending", "pool", ["turnover_bps", "oracle_price_usd"].as_slice()),
        "vesu_v2" => ("lending", "pool", ["turnover_bps"].as_slice()),
        _ => ("pool", "lending", ["utilization_bps", "oracle_price_usd"].as_slice()),
    };
    assert!(figures[other].as_object().expect("figures").values().all(|value| value.is_null()));
    assert!(foreign.iter().all(|field| figures[field].is_null()));
    let excess = usize::from(market.protocol == "vesu_v2");
    let absent = nulls(&figures) - foreign.len() + nulls(&figures[own]) - excess;
    assert_eq!(absent, market.absent.len(), "{market:?}");
}

fn check_value(market: &MarketTruth, peaks: &mut BTreeMap<String, U256>) {
    let tvl = market.tvl_usdc.expect("a value");
    let peak = peaks.entry(market.market.to_string()).or_default();
    *peak = tvl.max(*peak);
    assert_eq!(market.drawdown_bps.map(U256::from), Some(bps(*peak - tvl, *peak)));
}

fn check_lending(market: &MarketTruth) {
    let lending = &market.lending;
    let (supplied, borrowed) =
        (lending.supplied.expect("supplied"), lending.borrowed.expect("borrowed"));
    assert!(borrowed < supplied);
    assert_eq!(lending.withdraw_headroom, Some(supplied - borrowed));
    let (top1, top5, hhi) = (
        lending.top1_bps.expect("top"),
        lending.top5_bps.expect("top"),
        lending.hhi_bps.expect("hhi"),
    );
    let suppliers = lending.suppliers.expect("suppliers");
    assert!(suppliers >= 3, "{suppliers} suppliers");
    assert!(top1 <= top5 && top5 <= 10_000 && hhi <= top1);
    assert!(
        u64::from(top1) * suppliers >= 10_000 - suppliers,
        "the greatest is not below the mean"
    );
    assert!(hhi >= top1 * top1 / 10_000);
    assert!(suppliers > 5 || top5 == 10_000);
    let shock = lending.exit_shock_bps.expect("a shock");
    assert!(U256::from(shock) >= bps(borrowed, supplied) && shock <= 10_000);
    let (borrow, supply) =
        (lending.borrow_rate.expect("a rate"), lending.supply_rate.expect("a rate"));
    assert!(supply < borrow, "a part is not lent out, and a part is the treasury's");
    assert_eq!(market.supply_apy_bps.map(U256::from), Some(supply / ten_to(14)));
}

fn check_pool(market: &MarketTruth) {
    let (pool, tvl) = (&market.pool, market.tvl_usdc.expect("a value"));
    let (volume, fees) = (pool.volume_24h_usdc.expect("volume"), pool.fees_24h_usdc.expect("fees"));
    let turnover = bps(volume, tvl).min(U256::from(10_000));
    assert_eq!(market.turnover_bps.map(U256::from), Some(turnover));
    let apy = bps(fees * U256::from(365), tvl);
    assert_eq!(market.supply_apy_bps.map(U256::from), Some(apy));
    assert!(fees <= volume, "a fee is a part of the volume: {market:?}");
    let (up, down) = (pool.depth_up_usdc.expect("depth"), pool.depth_down_usdc.expect("depth"));
    // 1 − √0.98 is 1.01005 times √1.02 − 1.
    let percent = |of: U256, percent: u32| of * U256::from(percent) / U256::from(1_000);
    assert!(up > U256::from(1_000_000), "{market:?}");
    assert!(percent(up, 1_009) < down && down < percent(up, 1_011), "{up} and {down}");
}

/// What the events of a reserve add up to.
#[derive(Default)]
struct Reserve {
    accumulator: U256,
    debt_accumulator: U256,
    rates: (U256, U256),
    factor: U256,
    raw_debt: U256,
    holdings: BTreeMap<Felt, U256>,
}

/// A swap's amounts: token0 and token1, moved and paid as fees.
#[derive(Clone, Copy)]
struct Swap {
    at: u64,
    moved: [U256; 2],
    fees: [U256; 2],
}

/// What the events of a pool add up to.
#[derive(Default)]
struct Pool {
    swaps: VecDeque<Swap>,
    /// What a depth counts of `token1`.
    quote: U256,
    sqrt_ratio: U256,
    liquidity: U256,
}

#[derive(Default)]
struct Reader {
    reserves: BTreeMap<Felt, Reserve>,
    shares: BTreeMap<Felt, Felt>,
    pools: BTreeMap<String, Pool>,
}

fn ceil_div(part: U256, whole: U256) -> U256 {
    (part + whole - U256::from(1)) / whole
}

impl Reader {
    fn read(&mut self, event: &Event, now: u64) {
        let data = &event.data;
        let is = |name: &str| event.keys[0] == selector(name);
        if is("NewReserve") && data.len() == 9 {
            self.shares.insert(data[1], data[0]);
            let factor = number(&data[6]);
            self.reserves.insert(data[0], Reserve { factor, ..Reserve::default() });
        } else if is("Swapped") {
            self.swapped(data, now);
        } else if is("PositionUpdated") {
            self.pools.entry(pool_id(&data[1..6])).or_default();
        } else if is("Swap") && data.len() == 10 {
            let pool = self.pools.entry(format!("{:#x}", event.from_address)).or_default();
            let amount = |place: usize| number(&data[place]);
            let fee = |paid: U256| ceil_div(paid * U256::from(3), U256::from(1_000));
            let moved = [amount(1).max(amount(5)), amount(3).max(amount(7))];
            let fees = [fee(amount(1)), fee(amount(3))];
            pool.swaps.push_back(Swap { at: now, moved, fees });
        } else if is("Swap") {
            // A pool of JediSwap v2 is not read here.
        } else if is("Sync") {
            let pool = self.pools.entry(format!("{:#x}", event.from_address)).or_default();
            pool.quote = number(&data[2]);
        } else if is("RawTransfer") {
            let token = self.shares[&event.from_address];
            let holdings = &mut self.reserves.get_mut(&token).expect("a reserve").holdings;
            let raw = number(&data[2]);
            if data[0] != Felt::ZERO {
                *holdings.get_mut(&data[0]).expect("a holder") -= raw;
            }
            if data[1] != Felt::ZERO {
                *holdings.entry(data[1]).or_default() += raw;
            }
        } else {
            self.lending(event);
        }
    }

    fn swapped(&mut self, data: &[Felt], now: u64) {
        let pool = self.pools.entry(pool_id(&data[1..6])).or_default();
        let rate = number(&data[3]);
        let paid_in = [data[13] == Felt::ZERO, data[15] == Felt::ZERO];
        let moved = [number(&data[12]), number(&data[14])];
        let fees = [0, 1].map(|side| {
            let paid = if paid_in[side] { moved[side] } else { U256::ZERO };
            ceil_div(paid * rate, U256::from(1) << 128)
        });
        pool.swaps.push_back(Swap { at: now, moved, fees });
        pool.sqrt_ratio = number(&data[16]) + (number(&data[17]) << 128);
        pool.liquidity = number(&data[20]);
    }

    fn lending(&mut self, event: &Event) {
        let data = &event.data;
        let kinds = [
            ("AccumulatorsSync", 0),
            ("InterestRatesSync", 0),
            ("ReserveFactorUpdate", 0),
            ("Borrowing", 1),
            ("Repayment", 2),
            ("Liquidation", 2),
        ];
        let Some((name, token)) =
            kinds.into_iter().find(|(name, _)| event.keys[0] == selector(name))
        else {
            return;
        };
        let reserve = self.reserves.get_mut(&data[token]).expect("NewReserve comes first");
        match name {
            "AccumulatorsSync" => {
                (reserve.accumulator, reserve.debt_accumulator) =
                    (number(&data[1]), number(&data[2]));
            }
            "InterestRatesSync" => reserve.rates = (number(&data[1]), number(&data[2])),
            "ReserveFactorUpdate" => reserve.factor = number(&data[1]),
            "Borrowing" => reserve.raw_debt += number(&data[2]),
            _ => reserve.raw_debt -= number(&data[3]),
        }
    }
}

fn pool_id(key: &[Felt]) -> String {
    key.iter().map(|part| format!("{part:#x}")).collect::<Vec<_>>().join("/")
}

fn play(chain: &mut SeededChain, reader: &mut Reader) -> SeededBlock {
    let made = chain.next_block();
    for event in made.draft.transactions.iter().flat_map(|transaction| &transaction.events) {
        reader.read(event, made.draft.timestamp);
    }
    made
}

#[test]
fn events_alone_give_the_figures_of_reserves() {
    let (mut chain, mut reader) = (SeededChain::new(5), Reader::default());
    let mut factors = 0;
    for _ in 0..600 {
        let truth = play(&mut chain, &mut reader).truth;
        let markets = truth.markets.iter().filter(|market| market.protocol == "zklend");
        for market in markets {
            let token = Felt::from_hex(&market.market).expect("an address");
            let reserve = &reader.reserves[&token];
            factors += u32::from(reserve.factor != ray() / U256::from(10));
            check_reserve(reserve, market);
        }
    }
    assert!(factors > 100, "factors change: {factors}");
}

fn check_reserve(reserve: &Reserve, market: &MarketTruth) {
    let lending = &market.lending;
    let mut held: Vec<U256> = reserve.holdings.values().copied().collect();
    held.retain(|raw| !raw.is_zero());
    held.sort_by(|a, b| b.cmp(a));
    let total: U256 = held.iter().sum();
    let supplied = total * reserve.accumulator / ray();
    let borrowed = reserve.raw_debt * reserve.debt_accumulator / ray();
    assert_eq!(lending.supplied, Some(supplied));
    assert_eq!(lending.borrowed, Some(borrowed));
    assert_eq!(lending.suppliers, u64::try_from(held.len()).ok());
    assert_eq!(lending.top1_bps.map(U256::from), Some(bps(held[0], total)));
    let five = held.iter().take(5).sum();
    assert_eq!(lending.top5_bps.map(U256::from), Some(bps(five, total)));
    let wide = |value: U256| U512::from(value);
    let squares: U512 = held.iter().map(|raw| wide(*raw) * wide(*raw)).sum();
    let hhi = squares * U512::from(10_000) / (wide(total) * wide(total));
    assert_eq!(lending.hhi_bps.map(U512::from), Some(hhi));
    let left = supplied - held[0] * reserve.accumulator / ray();
    let shock = bps(borrowed, left).min(U256::from(10_000));
    assert_eq!(lending.exit_shock_bps.map(U256::from), Some(shock));
    let (lending_rate, borrowing_rate) = reserve.rates;
    assert_eq!(lending.borrow_rate, Some(borrowing_rate / ten_to(9)));
    let kept = lending_rate * (ray() - reserve.factor);
    assert_eq!(lending.supply_rate, Some(kept / ten_to(36)));
}

/// Interest explains the growth to a part in a billion, and a flash loan's fee is what is beyond it.
#[test]
fn the_accumulator_grows_by_the_rate_but_for_flash_loans() {
    let mut chain = SeededChain::new(6);
    let (mut quiet, mut loans) = (0, 0);
    for _ in 0..600 {
        let made = chain.next_block();
        for market in made.truth.markets.iter().filter(|market| market.protocol == "zklend") {
            let token = Felt::from_hex(&market.market).expect("an address");
            let events =
                || made.draft.transactions.iter().flat_map(|transaction| &transaction.events);
            let of = |name: &str, place: usize| {
                events()
                    .filter(|event| event.keys[0] == selector(name) && event.data[place] == token)
                    .count()
            };
            if of("AccumulatorsSync", 0) == 0 {
                continue;
            }
            let Some(excess) = market.lending.accumulator_excess_ppb else {
                continue;
            };
            if of("FlashLoan", 2) > 0 {
                loans += 1;
                assert!((1_000..2_000_000).contains(&excess), "{excess} ppb");
            } else {
                quiet += 1;
                assert_eq!(excess, 0, "{market:?}");
            }
        }
    }
    assert!(quiet > 500 && loans > 5, "{quiet} and {loans}");
}

#[test]
fn events_alone_give_volume_fees_and_depth() {
    let (mut chain, mut reader) = (SeededChain::new(8), Reader::default());
    for _ in 0..400 {
        let made = play(&mut chain, &mut reader);
        let now = made.draft.timestamp;
        for pool in reader.pools.values_mut() {
            pool.swaps.retain(|swap| swap.at + 86_400 > now);
        }
        for market in &made.truth.markets {
            let is_read = ["ekubo", "jediswap_v1"].contains(&market.protocol);
            if is_read && &*market.asset_address != UNLISTED {
                check_trades(&reader, &made.truth, market);
            }
        }
    }
}

fn check_trades(reader: &Reader, truth: &BlockTruth, market: &MarketTruth) {
    let pool = &reader.pools[&*market.market];
    let tokens = tokens_of(market);
    let value = |side: usize, amount: U256| {
        let (price, decimals) = price_of(truth, &tokens[side]);
        amount * price / ten_to(12 + decimals)
    };
    let sum = |of: fn(&Swap) -> [U256; 2], side: usize| -> U256 {
        pool.swaps.iter().map(|swap| of(swap)[side]).sum()
    };
    let reference = usize::from(tokens[1] == USDC);
    let volume = value(reference, sum(|swap| swap.moved, reference));
    assert_eq!(market.pool.volume_24h_usdc, Some(volume), "{market:?}");
    let fees = value(0, sum(|swap| swap.fees, 0)) + value(1, sum(|swap| swap.fees, 1));
    assert_eq!(market.pool.fees_24h_usdc, Some(fees), "{market:?}");
    if market.protocol == "jediswap_v1" {
        // The reserve of USDC grows by √1.02 − 1 = 0.0099504938…
        let up = pool.quote * U256::from(99_504_938_u64) / ten_to(10);
        let found = market.pool.depth_up_usdc.expect("a depth");
        assert!(found >= up && found - up < U256::from(10_000), "{found} and {up}");
    }
}

const USDC: &str = "0x53c91253bc9682c04929ca02ed00b3e423f6710d2ee7e0d5ebb06f3ecf368a8";
const ETH: &str = "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7";
const STRK: &str = "0x4718f5a0fc34cc1af16a1cdee98ffb20c31f5cd61d6ab07201858f4287c938d";
const USDT: &str = "0x68f5c6a61780768455de69077e07e89787839bf8166decfbf92b645209c0fb8";
const WBTC: &str = "0x3fe2b97c1fd336e750087d68b9b867997fd64a2661ff3ca5a7c771641e8e7ac";

fn tokens_of(market: &MarketTruth) -> [String; 2] {
    let mut parts = market.market.split('/').map(str::to_owned);
    match (parts.next(), parts.next()) {
        (Some(token0), Some(token1)) => [token0, token1],
        _ => [market.asset_address.to_string(), USDC.to_owned()],
    }
}

/// Price and decimals of a token.
fn price_of(truth: &BlockTruth, token: &str) -> (U256, u32) {
    let decimals = match token {
        USDC | USDT => 6,
        WBTC => 8,
        _ => 18,
    };
    if token == USDC {
        return (ten_to(18), decimals);
    }
    let market = truth.markets.iter().find(|market| &*market.asset_address == token);
    (market.and_then(|market| market.price_usdc).expect("a price"), decimals)
}

/// The markets that the figures are read of: all kinds are there, and the pool of two priced tokens.
#[test]
fn every_kind_of_market_is_there() {
    let truth = SeededChain::new(1).next_block().truth;
    let count =
        |protocol: &str| truth.markets.iter().filter(|market| market.protocol == protocol).count();
    let kinds = ["zklend", "jediswap_v1", "jediswap_v2", "ekubo", "vesu_v2"];
    assert_eq!(kinds.map(count), [4, 2, 1, 8, 2]);
    let two_priced = format!("{STRK}/{ETH}/");
    assert!(truth.markets.iter().any(|market| market.market.starts_with(&two_priced)));
}
