//! The true value of every metric after a block, from the model's state and the trades it made.
//!
//! Follows `ops/docs/metrics.md`, for a log that begins with block 0, and shares no code with the product, so
//! that the two can be compared. It is naive on purpose: what the product keeps up to date by the event is
//! summed and sorted anew at each block. Between blocks it remembers only what the model does not.
//! Volatility and the logarithms of anomalies alone use floating point: they are checks and never become
//! part of the chain.

mod anomalies;
mod figures;
mod lending;
mod pools;
mod prices;
mod protocols;
mod stated;
mod volatility;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ruint::aliases::U256;
use serde::Serialize;

pub use self::anomalies::{AnomalyPhase, AnomalyTruth};
use self::anomalies::{DayBack, Subject};
use self::figures::{Absences, Figure, Reason, capped_bps};
pub use self::figures::{AbsentTruth, LendingTruth, MarketTruth, PoolTruth};
use self::pools::PoolState;
use self::prices::Prices;
use self::protocols::{inputs, liquidity_class};
use super::jediswap_v2::{V2_POOL, V2_SPEC};
use super::positions::Delta;
use super::registry::{EKUBO, JEDISWAP, JEDISWAP_V2, VESU, ZKLEND};
use super::tokens::Token;
use super::trades::{TradeLog, Windows};
use super::vesu::{Asset, VESU_POOL};
use super::zklend::Reserve;
use super::{Model, Venue};
use crate::chain::encode::hex;

/// Every metric as of one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BlockTruth {
    /// Height.
    pub block_number: u64,
    /// Seconds since 1970.
    pub timestamp: u64,
    /// All markets, by protocol and market id.
    pub markets: Vec<MarketTruth>,
    /// All protocols, by id.
    pub protocols: Vec<ProtocolTruth>,
    /// What is told with this block, by market and rule.
    pub anomalies: Vec<AnomalyTruth>,
}

/// The inputs and the score of one protocol; `None` is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProtocolTruth {
    /// Key of the protocol.
    pub protocol: &'static str,
    /// `u`
    pub utilization_bps: Option<u32>,
    /// `v`
    pub volatility_bps: Option<u32>,
    /// `l`
    pub liquidity_class: Option<u32>,
    /// `a`
    pub audit_score: Option<u32>,
    /// `d`
    pub age_days: Option<u32>,
    /// What suppliers earn in a year over all markets, bps.
    pub yield_bps: Option<u32>,
    /// The score, if all five are there.
    pub score: Option<ScoreTruth>,
}

/// A score and its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ScoreTruth {
    /// 5 to 95, lower is safer.
    pub score: u32,
    /// From `u`.
    pub utilization: u32,
    /// From `v`.
    pub volatility: u32,
    /// From `l`.
    pub liquidity: u32,
    /// From `a`.
    pub audit: u32,
    /// From `d`.
    pub age: u32,
}

/// A block's height and time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) height: u64,
    pub(super) timestamp: u64,
}

/// What the truth remembers of earlier blocks.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory {
    /// The greatest value that each market had.
    peaks: BTreeMap<(&'static str, Arc<str>), U256>,
    /// The supply of each reserve, and what was provided to each pool, as a day ago and since.
    supplies: BTreeMap<Subject, DayBack<U256>>,
    provided: BTreeMap<Subject, DayBack<Delta>>,
    /// Since when a reserve's utilization has been high.
    high_since: BTreeMap<Subject, u64>,
    /// Lasting anomalies that were told and have not ended.
    open: BTreeSet<(Subject, &'static str)>,
    /// Whether the halt of the lending market was told.
    halt_told: bool,
}

/// The truth after a block.
pub(super) fn after_block(
    model: &Model,
    trades: &mut TradeLog,
    memory: &mut Memory,
    now: Moment,
) -> BlockTruth {
    let prices = Prices::of(model);
    let hour = now.timestamp / 3_600;
    let mut scene = Scene { model, trades, memory, prices, hour };
    let mut markets: Vec<MarketTruth> = Vec::new();
    for (index, pool) in model.pools.iter().enumerate() {
        let state = PoolState::of_pool(index, pool, &scene.prices);
        markets.push(scene.pool(EKUBO.id, pool.spec.market_id(), &state));
    }
    for (index, pair) in model.pairs.iter().enumerate() {
        let state = PoolState::of_pair(index, pair, &scene.prices);
        markets.push(scene.pool(JEDISWAP.id, hex(&pair.spec.address), &state));
    }
    markets.extend(model.reserves.iter().map(|reserve| scene.reserve(reserve)));
    for (index, pool) in model.v2_pools.iter().enumerate() {
        let state = PoolState::of_v2_pool(index, pool, &scene.prices);
        markets.push(scene.pool(JEDISWAP_V2.id, hex(&V2_POOL), &state));
    }
    for asset in model.vesu.iter().flat_map(|pool| &pool.assets) {
        markets.push(scene.asset(asset));
    }
    markets.sort_by(|a, b| (a.protocol, &a.market).cmp(&(b.protocol, &b.market)));
    let protocols = [EKUBO, JEDISWAP, JEDISWAP_V2, VESU, ZKLEND]
        .map(|protocol| inputs(protocol, &markets, now.timestamp))
        .to_vec();
    let Scene { prices, memory, .. } = scene;
    let anomalies = anomalies::after_block(model, &prices, memory, now.timestamp);
    let Moment { height: block_number, timestamp } = now;
    BlockTruth { block_number, timestamp, markets, protocols, anomalies }
}

/// A market's figures that every kind has, but for those that follow from the price.
struct Parts {
    protocol: &'static str,
    id: Arc<str>,
    asset: Token,
    /// Whether all tokens are listed.
    tracked: bool,
    /// Whether it takes part in its protocol's inputs.
    counted: bool,
    tvl: Figure<U256>,
    supply_apy: Figure<u32>,
    opened_at: Figure<u64>,
}

/// The id of an asset's market: the pool and the token.
fn asset_id(asset: &Asset) -> String {
    format!("{}/{}", hex(&VESU_POOL), hex(&asset.spec.token.address()))
}

struct Scene<'a> {
    model: &'a Model,
    trades: &'a mut TradeLog,
    memory: &'a mut Memory,
    prices: Prices,
    hour: u64,
}

impl Scene<'_> {
    fn reserve(&mut self, reserve: &Reserve) -> MarketTruth {
        let token = reserve.spec.token;
        let mut absences = Absences::default();
        let utilization = absences.take("utilizationBps", lending::utilization(reserve));
        let own = lending::figures(reserve, &mut absences);
        let parts = Parts {
            protocol: ZKLEND.id,
            id: hex(&token.address()).into(),
            asset: token,
            tracked: true,
            counted: true,
            tvl: self.prices.value(token, lending::supplied(reserve)),
            supply_apy: lending::supply_apy(reserve),
            opened_at: Ok(reserve.opened_at),
        };
        let mut market = self.market(parts, &mut absences);
        market.utilization_bps = utilization;
        market.lending = own;
        market.absent = absences.0;
        market
    }

    fn asset(&mut self, asset: &Asset) -> MarketTruth {
        let token = asset.spec.token;
        let mut absences = Absences::default();
        let utilization = absences.take("utilizationBps", stated::utilization(asset));
        let oracle_price = absences.take("oraclePriceUsd", stated::oracle_price(asset));
        let own = stated::figures(asset, &mut absences);
        let tvl = stated::supplied(asset).and_then(|supplied| self.prices.value(token, supplied));
        let parts = Parts {
            protocol: VESU.id,
            id: asset_id(asset).into(),
            asset: token,
            tracked: true,
            counted: true,
            tvl,
            supply_apy: stated::supply_apy(asset),
            opened_at: Ok(asset.opened_at),
        };
        let mut market = self.market(parts, &mut absences);
        market.utilization_bps = utilization;
        market.oracle_price_usd = oracle_price;
        market.lending = own;
        market.absent = absences.0;
        market
    }

    fn pool(&mut self, protocol: &'static str, id: String, state: &PoolState) -> MarketTruth {
        let windows = self.trades.of(state.venue);
        let (moved, fees) = (windows.moved_in_a_day(), windows.fees_of_a_day());
        let figures = state.figures(moved, fees, &self.prices);
        let tracked = state.is_tracked();
        let mut absences = Absences::default();
        let turnover = absences.take("turnoverBps", figures.turnover);
        let own = figures.own(&mut absences);
        let parts = Parts {
            protocol,
            id: id.into(),
            asset: state.asset(),
            tracked,
            counted: state.is_counted(),
            tvl: figures.tvl,
            supply_apy: figures.supply_apy,
            opened_at: state.opened_at(),
        };
        let mut market = self.market(parts, &mut absences);
        market.turnover_bps = turnover;
        market.pool = own;
        market.absent = absences.0;
        market
    }

    /// A market without what its kind alone has.
    fn market(&mut self, parts: Parts, absences: &mut Absences) -> MarketTruth {
        let [day, week, month] = self.volatilities(parts.asset, parts.tracked);
        let drawdown = self.drawdown((parts.protocol, parts.id.clone()), parts.tvl);
        let price =
            if parts.tracked { self.prices.price(parts.asset) } else { Err(Reason::TokenUnlisted) };
        MarketTruth {
            protocol: parts.protocol,
            market: parts.id,
            asset: parts.asset.symbol(),
            counted: parts.counted,
            asset_address: hex(&parts.asset.address()).into(),
            utilization_bps: None,
            turnover_bps: None,
            volatility_bps: absences.take("volatilityBps", week),
            volatility_1d_bps: absences.take("volatility1dBps", day),
            volatility_30d_bps: absences.take("volatility30dBps", month),
            liquidity_class: absences.take("liquidityClass", parts.tvl.map(liquidity_class)),
            price_usdc: absences.take("priceUsdc", price),
            oracle_price_usd: None,
            tvl_usdc: absences.take("tvlUsdc", parts.tvl),
            drawdown_bps: absences.take("drawdownBps", drawdown),
            supply_apy_bps: absences.take("supplyApyBps", parts.supply_apy),
            opened_at: absences.take("openedAt", parts.opened_at),
            lending: LendingTruth::default(),
            pool: PoolTruth::default(),
            absent: Vec::new(),
        }
    }

    fn drawdown(&mut self, market: (&'static str, Arc<str>), tvl: Figure<U256>) -> Figure<u32> {
        let tvl = tvl?;
        let peak = self.memory.peaks.entry(market).or_default();
        *peak = tvl.max(*peak);
        if peak.is_zero() { Err(Reason::ZeroTvl) } else { Ok(capped_bps(*peak - tvl, *peak)) }
    }

    fn volatilities(&mut self, token: Token, tracked: bool) -> [Figure<u32>; 3] {
        if !tracked {
            return [Err(Reason::TokenUnlisted); 3];
        }
        let venue = match self.prices.venue(token) {
            Err(reason) => return [Err(reason); 3],
            Ok(None) => return [Ok(0); 3],
            Ok(Some(venue)) => venue,
        };
        let first = match venue {
            Venue::Pair(index) => self.model.pairs.get(index).map(|pair| pair.spec.token0),
            Venue::Pool(index) => self.model.pools.get(index).map(|pool| pool.spec.token0),
            Venue::V2Pool(index) => self.model.v2_pools.get(index).map(|_| V2_SPEC.token0),
        };
        let windows: &mut Windows = self.trades.of(venue);
        volatility::before(windows, self.hour, token, first == Some(token))
            .map(|value| value.ok_or(Reason::InsufficientHistory))
    }
}
