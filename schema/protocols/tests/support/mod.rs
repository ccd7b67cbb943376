//! A small registry and a builder of blocks, so that a test states events by name and felts.
#![allow(dead_code, reason = "each test file uses a part")]

pub(crate) mod published;
pub(crate) mod roles;
pub(crate) mod wide;

use std::sync::Arc;

use obsqra_events::EventData;
use obsqra_protocols::{
    BlockInput, BlockOutput, Contracts, Decoder, FoldError, InputsAt, Layout, MarketMetrics,
    MetricFold, Registry, layouts,
};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, EventIndex, Felt, Hash32,
    ProtocolId, Seq, TransactionHash, UnixSeconds,
};

/// Three protocols over five listed tokens: `0x10` USDC (6 decimals), `0x11` ETH (18), `0x12` BTC (8),
/// `0x13` DAI (18), `0xe` LOW (18), which stands below USDC. Pairs `0xf1` USDC/ETH, `0xf2` ETH/BTC, `0xf3` ETH/`0x99`.
pub(crate) const REGISTRY: &str = r#"{
  "registry": "test", "version": 3, "chain_ids": ["OBSQRA_TEST"], "quote_token": "0x10",
  "tokens": [
    {"address": "0x10", "symbol": "USDC", "decimals": 6},
    {"address": "0x11", "symbol": "ETH", "decimals": 18},
    {"address": "0x12", "symbol": "BTC", "decimals": 8},
    {"address": "0x13", "symbol": "DAI", "decimals": 18},
    {"address": "0xe", "symbol": "LOW", "decimals": 18}
  ],
  "protocols": [
    {"id": "lend", "name": "Lend", "kind": "lending", "decoder": "zklend",
     "contracts": [{"address": "0xa1", "role": "market"}, {"address": "0xa2", "role": "z_token"}],
     "deployed_at": {"timestamp": 1000000, "source": "a deployment transaction"},
     "audits": {"state": "reports", "reports": [
       {"firm": "A", "title": "core", "date": "1970-01-02", "source": "a list"}]},
     "sources": []},
    {"id": "pools", "name": "Pools", "kind": "amm", "decoder": "ekubo",
     "contracts": [{"address": "0xb1", "role": "core"}],
     "markets": [
       {"id": "0x10/0x11/0x3/0xc8/0x0", "source": "a list"},
       {"id": "0x10/0x11/0x4/0xc8/0x0", "source": "a list"},
       {"id": "0x10/0x11/0x40000000000000000000000000000000/0xc8/0x0", "source": "a list"},
       {"id": "0x10/0x12/0x1/0x1/0x0", "source": "a list"},
       {"id": "0xe/0x10/0x3/0xc8/0x0", "source": "a list"},
       {"id": "0x11/0x13/0x3/0xc8/0x0", "source": "a list"}],
     "deployed_at": null, "audits": {"state": "unknown", "detail": "none found"}, "sources": []},
    {"id": "pairs", "name": "Pairs", "kind": "amm", "decoder": "jediswap_v1",
     "contracts": [
       {"address": "0xf0", "role": "factory"},
       {"address": "0xf1", "role": "pair", "token0": "0x10", "token1": "0x11"},
       {"address": "0xf2", "role": "pair", "token0": "0x11", "token1": "0x12"},
       {"address": "0xf3", "role": "pair", "token0": "0x11", "token1": "0x99"}],
     "deployed_at": {"timestamp": 99000000, "source": "a deployment transaction"},
     "audits": {"state": "unaudited", "date": "1970-02-01", "source": "its own site"}, "sources": []}
  ]
}"#;

pub(crate) const USDC: u128 = 0x10;
pub(crate) const ETH: u128 = 0x11;
pub(crate) const BTC: u128 = 0x12;
pub(crate) const DAI: u128 = 0x13;
pub(crate) const LOW: u128 = 0xe;
pub(crate) const LEND: u128 = 0xa1;
pub(crate) const Z_TOKEN: u128 = 0xa2;
pub(crate) const CORE: u128 = 0xb1;
pub(crate) const FACTORY: u128 = 0xf0;
pub(crate) const USDC_ETH: u128 = 0xf1;
pub(crate) const ETH_BTC: u128 = 0xf2;
pub(crate) const ETH_UNLISTED: u128 = 0xf3;

pub(crate) fn registry() -> Arc<Registry> {
    Arc::new(Registry::parse(REGISTRY.as_bytes()).unwrap())
}

pub(crate) fn contracts() -> Contracts {
    Contracts::new(registry())
}

/// The layouts of every decoder.
pub(crate) fn all_layouts() -> impl Iterator<Item = &'static Layout> {
    Decoder::ALL.iter().copied().flat_map(layouts)
}

/// An event by contract, name, keys after the selector, and data.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) contract: u128,
    pub(crate) name: &'static str,
    pub(crate) keys: Vec<Felt>,
    pub(crate) data: Vec<Felt>,
}

pub(crate) fn event(
    contract: u128,
    name: &'static str,
    data: impl IntoIterator<Item = u128>,
) -> Event {
    let data = data.into_iter().map(Felt::from).collect();
    Event { contract, name, keys: Vec::new(), data }
}

pub(crate) fn event_data(event: &Event, index: u32) -> EventData {
    let layout = all_layouts()
        .find(|layout| layout.name == event.name && layout.data_len == event.data.len())
        .unwrap_or_else(|| panic!("no layout for {event:?}"));
    EventData {
        index: EventIndex(index),
        transaction_index: index,
        transaction_hash: TransactionHash(Felt::from(index)),
        from_address: ContractAddress(Felt::from(event.contract)),
        keys: std::iter::once(layout.selector).chain(event.keys.iter().copied()).collect(),
        data: event.data.clone(),
    }
}

/// zkLend events.
pub(crate) mod lend {
    use super::{Event, LEND, event};

    /// The contract that keeps the shares of a token's reserve.
    pub(crate) fn z_token(token: u128) -> u128 {
        0x5a00_0000 + token
    }

    pub(crate) fn new_reserve(token: u128) -> Event {
        event(LEND, "NewReserve", [token, z_token(token), 18, 2, 3, 4, 5, 6, 7])
    }

    /// A new reserve whose protocol keeps that share of the interest, 27 decimals.
    pub(crate) fn new_reserve_keeping(token: u128, reserve_factor: u128) -> Event {
        event(LEND, "NewReserve", [token, z_token(token), 18, 2, 3, 4, reserve_factor, 6, 7])
    }

    pub(crate) fn accumulators(token: u128, lending: u128) -> Event {
        both_accumulators(token, lending, lending)
    }

    pub(crate) fn both_accumulators(token: u128, lending: u128, debt: u128) -> Event {
        event(LEND, "AccumulatorsSync", [token, lending, debt])
    }

    pub(crate) fn rates(token: u128, lending: u128, borrowing: u128) -> Event {
        event(LEND, "InterestRatesSync", [token, lending, borrowing])
    }

    /// What the market says of a supply; the shares are told by its zToken.
    pub(crate) fn deposit(token: u128, amount: u128) -> Event {
        event(LEND, "Deposit", [0x77, token, amount])
    }

    pub(crate) fn withdrawal(token: u128, amount: u128) -> Event {
        event(LEND, "Withdrawal", [0x77, token, amount])
    }

    pub(crate) fn minted(token: u128, raw: u128) -> Event {
        minted_to(0x77, token, raw)
    }

    pub(crate) fn minted_to(user: u128, token: u128, raw: u128) -> Event {
        shares_moved(token, [0, user], raw)
    }

    pub(crate) fn burnt(token: u128, raw: u128) -> Event {
        burnt_from(0x77, token, raw)
    }

    pub(crate) fn burnt_from(user: u128, token: u128, raw: u128) -> Event {
        shares_moved(token, [user, 0], raw)
    }

    pub(crate) fn borrowing(token: u128, raw: u128) -> Event {
        event(LEND, "Borrowing", [0x77, token, raw, raw])
    }

    pub(crate) fn repayment(token: u128, raw: u128) -> Event {
        event(LEND, "Repayment", [0x78, 0x77, token, raw, raw])
    }

    pub(crate) fn liquidation(debt: u128, raw: u128, collateral: u128) -> Event {
        event(LEND, "Liquidation", [0x78, 0x77, debt, raw, raw, collateral, 1])
    }

    pub(crate) fn flash_loan(token: u128, amount: u128, fee: u128) -> Event {
        event(LEND, "FlashLoan", [0x77, 0x78, token, amount, fee])
    }

    pub(crate) fn reserve_factor(token: u128, factor: u128) -> Event {
        event(LEND, "ReserveFactorUpdate", [token, factor])
    }

    pub(crate) fn upgraded() -> Event {
        event(LEND, "ContractUpgraded", [0x1234])
    }

    /// Shares, with a face value that nobody reads.
    pub(crate) fn shares_moved(token: u128, accounts: [u128; 2], raw: u128) -> Event {
        shares_restated(token, accounts, raw, raw)
    }

    /// Shares, and the face value that was told before.
    pub(crate) fn shares_restated(
        token: u128,
        [from, to]: [u128; 2],
        raw: u128,
        face: u128,
    ) -> Event {
        event(z_token(token), "RawTransfer", [from, to, raw, 0, face])
    }

    /// The face value of shares alone.
    pub(crate) fn face_moved(token: u128, [from, to]: [u128; 2], face: u128) -> Event {
        event(z_token(token), "Transfer", [from, to, face, 0])
    }
}

/// JediSwap v1 events.
pub(crate) mod pair {
    use super::{Event, FACTORY, event};

    pub(crate) fn created(pair: u128, token0: u128, token1: u128) -> Event {
        event(FACTORY, "PairCreated", [token0, token1, pair, 1])
    }

    pub(crate) fn sync(pair: u128, reserve0: u128, reserve1: u128) -> Event {
        event(pair, "Sync", [reserve0, 0, reserve1, 0])
    }

    pub(crate) fn swap(pair: u128, in0: u128, in1: u128, out0: u128, out1: u128) -> Event {
        event(pair, "Swap", [0x77, in0, 0, in1, 0, out0, 0, out1, 0, 0x78])
    }

    pub(crate) fn mint(pair: u128, amount0: u128, amount1: u128) -> Event {
        event(pair, "Mint", [0x77, amount0, 0, amount1, 0])
    }

    pub(crate) fn burn(pair: u128, amount0: u128, amount1: u128) -> Event {
        event(pair, "Burn", [0x77, amount0, 0, amount1, 0, 0x78])
    }
}

/// Ekubo events. A pool is `[token0, token1, fee, tick spacing, extension]`.
pub(crate) mod pool {
    use super::{CORE, Event, event};

    pub(crate) type Key = [u128; 5];

    /// A signed number's two felts.
    pub(crate) fn signed(value: i128) -> [u128; 2] {
        [value.unsigned_abs(), u128::from(value < 0)]
    }

    pub(crate) fn initialized(key: Key, tick: i128, ratio_low: u128, ratio_high: u128) -> Event {
        let data = key.into_iter().chain(signed(tick)).chain([ratio_low, ratio_high]);
        event(CORE, "PoolInitialized", data)
    }

    pub(crate) fn position(
        key: Key,
        bounds: (i128, i128),
        liquidity: i128,
        delta: (i128, i128),
    ) -> Event {
        let signs = [bounds.0, bounds.1, liquidity, delta.0, delta.1];
        let data =
            [0x77].into_iter().chain(key).chain([9]).chain(signs.into_iter().flat_map(signed));
        event(CORE, "PositionUpdated", data)
    }

    pub(crate) struct Swap {
        pub(crate) key: Key,
        pub(crate) delta: (i128, i128),
        pub(crate) sqrt_ratio: (u128, u128),
        pub(crate) tick: i128,
        pub(crate) liquidity: u128,
    }

    pub(crate) fn swapped(swap: &Swap) -> Event {
        let data = [0x77]
            .into_iter()
            .chain(swap.key)
            .chain([1, 0, 0, 0, 0, 0])
            .chain(signed(swap.delta.0))
            .chain(signed(swap.delta.1))
            .chain([swap.sqrt_ratio.0, swap.sqrt_ratio.1])
            .chain(signed(swap.tick))
            .chain([swap.liquidity]);
        event(CORE, "Swapped", data)
    }

    pub(crate) fn fees_collected(key: Key, delta: (i128, i128)) -> Event {
        let data = key.into_iter().chain([0; 6]).chain(signed(delta.0)).chain(signed(delta.1));
        event(CORE, "PositionFeesCollected", data)
    }

    pub(crate) fn fees_accumulated(key: Key, amount0: u128, amount1: u128) -> Event {
        event(CORE, "FeesAccumulated", key.into_iter().chain([amount0, amount1]))
    }
}

/// A block with its events, positions assigned.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) block: BlockRef,
    pub(crate) applied_seq: Seq,
    pub(crate) events: Vec<(Seq, Hash32, EventData)>,
}

impl Block {
    pub(crate) fn input(&self) -> BlockInput<'_> {
        BlockInput {
            block: self.block,
            hash: BlockHash(Felt::from(self.block.number.0 + 1)),
            applied_seq: self.applied_seq,
            events: &self.events,
        }
    }
}

/// Hands out heights and positions; the registry stands at position 1.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    next_number: u64,
    next_seq: u64,
}

impl Default for Chain {
    fn default() -> Self {
        Self { next_number: 100, next_seq: 2 }
    }
}

impl Chain {
    pub(crate) fn block(&mut self, timestamp: u64, events: &[Event]) -> Block {
        let data = events.iter().zip(0..).map(|(event, index)| event_data(event, index)).collect();
        self.block_of(timestamp, data)
    }

    pub(crate) fn block_of(&mut self, timestamp: u64, events: Vec<EventData>) -> Block {
        let block = BlockRef {
            number: BlockNumber(self.next_number),
            epoch: BranchEpoch(0),
            timestamp: UnixSeconds(timestamp),
        };
        self.next_number += 1;
        let applied_seq = self.seq();
        let events = events.into_iter().map(|event| self.positioned(event)).collect();
        Block { block, applied_seq, events }
    }

    fn positioned(&mut self, event: EventData) -> (Seq, Hash32, EventData) {
        let seq = self.seq();
        let mut hash = [7; 32];
        hash[..8].copy_from_slice(&seq.0.to_be_bytes());
        (seq, Hash32(hash), event)
    }

    fn seq(&mut self) -> Seq {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        seq
    }
}

/// A fold and the chain it follows.
pub(crate) struct Scene {
    pub(crate) chain: Chain,
    pub(crate) fold: MetricFold,
}

impl Default for Scene {
    fn default() -> Self {
        Self { chain: Chain::default(), fold: MetricFold::new(registry(), Seq(1)) }
    }
}

impl Scene {
    pub(crate) fn block(&mut self, timestamp: u64, events: &[Event]) -> BlockOutput {
        self.try_block(timestamp, events).unwrap()
    }

    pub(crate) fn try_block(
        &mut self,
        timestamp: u64,
        events: &[Event],
    ) -> Result<BlockOutput, FoldError> {
        self.fold.apply(&self.chain.block(timestamp, events).input())
    }

    pub(crate) fn market(&self, protocol: &str, market: &str) -> MarketMetrics {
        self.fold
            .markets()
            .find(|row| row.protocol.as_str() == protocol && row.market.0 == market)
            .unwrap_or_else(|| panic!("no market {protocol} {market}"))
    }
}

pub(crate) fn protocol(id: &str) -> ProtocolId {
    ProtocolId::new(id).unwrap()
}

/// A figure of a row: its digits, or its reason.
pub(crate) fn figure<T>(
    row: &MarketMetrics,
    field: &str,
    value: Option<T>,
    print: fn(T) -> String,
) -> String {
    let reason = row.absent.iter().find(|absent| absent.field == field);
    match (value, reason) {
        (Some(value), None) => print(value),
        (None, Some(absent)) => absent.reason.clone(),
        (None, None) => "-".into(),
        (Some(_), Some(_)) => panic!("{field} is both present and absent"),
    }
}

/// A row as `price tvl utilization turnover volatility class`.
pub(crate) fn row(row: &MarketMetrics) -> String {
    [
        figure(row, "priceUsdc", row.price, |price| price.0.to_string()),
        figure(row, "tvlUsdc", row.tvl, |tvl| tvl.0.to_string()),
        figure(row, "utilizationBps", row.utilization_bps, |bps| bps.0.to_string()),
        figure(row, "turnoverBps", row.turnover_bps, |bps| bps.0.to_string()),
        figure(row, "volatilityBps", row.volatility_bps, |bps| bps.0.to_string()),
        figure(row, "liquidityClass", row.liquidity_class, |class| class.to_string()),
    ]
    .join(" ")
}

/// Inputs as `u v l a d`.
pub(crate) fn inputs(inputs: &InputsAt) -> String {
    fn one<T: ToString>(input: &Result<T, obsqra_events::AbsentInput>) -> String {
        input.as_ref().map_or_else(|absent| absent.reason.clone(), ToString::to_string)
    }
    [
        one(&inputs.utilization_bps),
        one(&inputs.volatility_bps),
        one(&inputs.liquidity_class),
        one(&inputs.audit_score),
        one(&inputs.age_days),
    ]
    .join(" ")
}
