//! The true value of every metric after a block, from the model's state and the trades it made.
//!
//! Follows `ops/docs/metrics.md` and shares no code with the product, so that the two can be compared.
//! Volatility alone uses floating point: it is a check and never becomes part of the chain.

mod protocols;

use std::collections::BTreeMap;
use std::sync::Arc;

use ruint::aliases::{U256, U512};
use serde::{Serialize, Serializer};

use self::protocols::{bps, inputs, liquidity_class};
use super::ekubo::Pool;
use super::jediswap::Pair;
use super::math::{mul_div, pow10};
use super::registry::{EKUBO, JEDISWAP, ZKLEND};
use super::tokens::Token;
use super::trades::{Sums, TradeLog, WINDOW_HOURS, Windows};
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
}

/// The metrics of one market; `None` is absent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarketTruth {
    /// Key of the protocol.
    pub protocol: &'static str,
    /// Market id.
    #[serde(serialize_with = "text")]
    pub market: Arc<str>,
    /// Symbol of the market's asset, its address if no registry lists it.
    pub asset: &'static str,
    /// Address of the asset.
    #[serde(serialize_with = "text")]
    pub asset_address: Arc<str>,
    /// Lending rate over borrowing rate, bps.
    pub utilization_bps: Option<u32>,
    /// Volume of 24 hours over value, bps.
    pub turnover_bps: Option<u32>,
    /// Volatility of the asset, bps.
    pub volatility_bps: Option<u32>,
    /// 0 to 3.
    pub liquidity_class: Option<u32>,
    /// USDC per whole asset at 10⁻¹⁸.
    #[serde(serialize_with = "decimal")]
    pub price_usdc: Option<U256>,
    /// Value in USDC's smallest unit.
    #[serde(serialize_with = "decimal")]
    pub tvl_usdc: Option<U256>,
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

fn text<S: Serializer>(value: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(value)
}

fn decimal<S: Serializer>(value: &Option<U256>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(number) => serializer.serialize_some(&number.to_string()),
        None => serializer.serialize_none(),
    }
}

/// The quote token.
const U: Token = Token::Usdc;

/// A price and the pool it comes from; the quote token has none.
#[derive(Clone, Copy)]
struct Quote {
    price: U256,
    venue: Option<Venue>,
}

/// A pool whose two tokens are some token and the quote token.
struct Candidate {
    depth: U256,
    price: U256,
    id: (&'static str, String),
    venue: Venue,
}

/// The truth after a block.
pub(super) fn after_block(
    model: &Model,
    trades: &mut TradeLog,
    height: u64,
    timestamp: u64,
) -> BlockTruth {
    let prices = prices(model);
    let mut scene = Scene { model, trades, prices, hour: timestamp / 3_600 };
    let mut markets: Vec<Market> = Vec::new();
    markets.extend(model.pools.iter().enumerate().map(|(index, pool)| scene.pool(index, pool)));
    markets.extend(model.pairs.iter().enumerate().map(|(index, pair)| scene.pair(index, pair)));
    markets.extend(model.reserves.iter().map(|reserve| scene.reserve(reserve)));
    markets.sort_by(|a, b| {
        (a.truth.protocol, &a.truth.market).cmp(&(b.truth.protocol, &b.truth.market))
    });
    let protocols =
        [EKUBO, JEDISWAP, ZKLEND].map(|protocol| inputs(protocol, &markets, timestamp)).to_vec();
    let markets = markets.into_iter().map(|market| market.truth).collect();
    BlockTruth { block_number: height, timestamp, markets, protocols }
}

fn prices(model: &Model) -> BTreeMap<Token, Quote> {
    let mut prices = BTreeMap::from([(U, Quote { price: pow10(18), venue: None })]);
    for token in Token::LISTED.into_iter().filter(|token| *token != U) {
        let pairs = model
            .pairs
            .iter()
            .enumerate()
            .filter_map(|(index, pair)| pair_candidate(index, pair, token));
        let pools = model
            .pools
            .iter()
            .enumerate()
            .filter_map(|(index, pool)| pool_candidate(index, pool, token));
        let best = pairs
            .chain(pools)
            .filter(|candidate| !candidate.depth.is_zero() && !candidate.price.is_zero())
            .max_by(|a, b| a.depth.cmp(&b.depth).then_with(|| b.id.cmp(&a.id)));
        if let Some(best) = best {
            prices.insert(token, Quote { price: best.price, venue: Some(best.venue) });
        }
    }
    prices
}

fn pair_candidate(index: usize, pair: &Pair, token: Token) -> Option<Candidate> {
    let (of_token, of_quote) = match (pair.spec.token0, pair.spec.token1) {
        (base, U) if base == token => (pair.reserve0, pair.reserve1),
        (U, base) if base == token => (pair.reserve1, pair.reserve0),
        _ => return None,
    };
    Some(Candidate {
        depth: U256::from(of_quote),
        price: unit_price(U256::from(of_quote), U256::from(of_token), token)?,
        id: (JEDISWAP.id, hex(&pair.spec.address)),
        venue: Venue::Pair(index),
    })
}

fn pool_candidate(index: usize, pool: &Pool, token: Token) -> Option<Candidate> {
    let (liquidity, ratio) = (U512::from(pool.liquidity), U512::from(pool.sqrt_ratio));
    let square = ratio * ratio;
    let scale = U512::from(price_scale(token));
    let (depth, price) = match (pool.spec.token0, pool.spec.token1) {
        (base, U) if base == token => ((liquidity * ratio) >> 128, (square * scale) >> 256),
        (U, base) if base == token => ((liquidity << 128) / ratio, (scale << 256) / square),
        _ => return None,
    };
    Some(Candidate {
        depth: U256::saturating_from(depth),
        price: U256::saturating_from(price),
        id: (EKUBO.id, pool.spec.market_id()),
        venue: Venue::Pool(index),
    })
}

/// `10^(18 + dec(X) − dec(U))`
fn price_scale(token: Token) -> U256 {
    pow10(18 + token.decimals() - U.decimals())
}

fn unit_price(quote: U256, base: U256, token: Token) -> Option<U256> {
    (!base.is_zero()).then(|| mul_div(quote, price_scale(token), base))
}

/// A market with what its protocol's inputs need beside its truth.
struct Market {
    truth: MarketTruth,
    tracked: bool,
    volume: Option<U256>,
}

struct Scene<'a> {
    model: &'a Model,
    trades: &'a mut TradeLog,
    prices: BTreeMap<Token, Quote>,
    hour: u64,
}

impl Scene<'_> {
    fn price(&self, token: Token) -> Option<U256> {
        self.prices.get(&token).map(|quote| quote.price)
    }

    fn value(&self, token: Token, amount: U256) -> Option<U256> {
        Some(mul_div(amount, self.price(token)?, price_scale(token)))
    }

    fn reserve(&mut self, reserve: &Reserve) -> Market {
        let token = reserve.spec.token;
        let utilization = match (reserve.lending_rate, reserve.borrowing_rate) {
            (0, 0) => Some(0),
            (_, 0) => None,
            (lending, borrowing) => bps(U256::from(lending), U256::from(borrowing)),
        };
        let tvl = self.value(token, U256::from(reserve.supplied()));
        let id = hex(&token.address());
        self.market(Parts {
            protocol: ZKLEND.id,
            id,
            asset: token,
            tracked: true,
            utilization,
            tvl,
            volume: None,
        })
    }

    fn pair(&mut self, index: usize, pair: &Pair) -> Market {
        let (token0, token1) = (pair.spec.token0, pair.spec.token1);
        let reference = self.reference(token0, token1);
        let amount =
            |token| U256::from(if token == token0 { pair.reserve0 } else { pair.reserve1 });
        let tvl =
            reference.and_then(|token| Some(self.value(token, amount(token))? * U256::from(2)));
        let id = hex(&pair.spec.address);
        self.amm(Venue::Pair(index), JEDISWAP.id, id, (token0, token1), tvl)
    }

    fn pool(&mut self, index: usize, pool: &Pool) -> Market {
        let (token0, token1) = (pool.spec.token0, pool.spec.token1);
        let side = |token, balance| self.value(token, U256::from(u128::try_from(balance).ok()?));
        let tvl = side(token0, pool.balance0).zip(side(token1, pool.balance1)).map(|(a, b)| a + b);
        self.amm(Venue::Pool(index), EKUBO.id, pool.spec.market_id(), (token0, token1), tvl)
    }

    fn amm(
        &mut self,
        venue: Venue,
        protocol: &'static str,
        id: String,
        (token0, token1): (Token, Token),
        tvl: Option<U256>,
    ) -> Market {
        let day = self.trades.of(venue).day;
        let tracked = token0.is_listed() && token1.is_listed();
        let volume = self.reference(token0, token1).and_then(|token| {
            self.value(token, if token == token0 { day.amount0 } else { day.amount1 })
        });
        let asset = match (token0, token1) {
            (U, other) | (other, U) => other,
            (first, _) => first,
        };
        self.market(Parts {
            protocol,
            id,
            asset,
            tracked,
            utilization: None,
            tvl,
            volume: Some(volume),
        })
    }

    /// The side whose amounts measure volume and value.
    fn reference(&self, token0: Token, token1: Token) -> Option<Token> {
        if token0 == U || token1 == U {
            return Some(U);
        }
        [token0, token1].into_iter().find(|token| self.prices.contains_key(token))
    }

    fn market(&mut self, parts: Parts) -> Market {
        let tvl = parts.tvl.filter(|_| parts.tracked);
        let volume = parts.volume.flatten().filter(|_| parts.tracked);
        let turnover =
            volume.zip(tvl).and_then(|(volume, tvl)| bps(volume, tvl)).map(|bps| bps.min(10_000));
        Market {
            truth: MarketTruth {
                protocol: parts.protocol,
                market: parts.id.into(),
                asset: parts.asset.symbol(),
                asset_address: hex(&parts.asset.address()).into(),
                utilization_bps: parts.utilization,
                turnover_bps: turnover,
                volatility_bps: self.volatility(parts.asset),
                liquidity_class: tvl.map(liquidity_class),
                price_usdc: self.price(parts.asset).filter(|_| parts.tracked),
                tvl_usdc: tvl,
            },
            tracked: parts.tracked,
            volume,
        }
    }

    fn volatility(&mut self, token: Token) -> Option<u32> {
        let quote = *self.prices.get(&token)?;
        let Some(venue) = quote.venue else {
            return Some(0);
        };
        let token_is_first = match venue {
            Venue::Pair(index) => self.model.pairs.get(index)?.spec.token0 == token,
            Venue::Pool(index) => self.model.pools.get(index)?.spec.token0 == token,
        };
        let hour = self.hour;
        let windows = self.trades.of(venue);
        match windows.volatility {
            Some((known, value)) if known == hour => value,
            _ => {
                let value = windows.volatility_before(hour, token, token_is_first);
                windows.volatility = Some((hour, value));
                value
            }
        }
    }
}

/// What is known of a market before prices are applied to it.
struct Parts {
    protocol: &'static str,
    id: String,
    asset: Token,
    tracked: bool,
    utilization: Option<u32>,
    tvl: Option<U256>,
    /// `None` for lending; the inner one is absent when no side has a price.
    volume: Option<Option<U256>>,
}

impl Windows {
    /// Volatility over the 168 hours before an hour.
    fn volatility_before(&self, hour: u64, token: Token, token_is_first: bool) -> Option<u32> {
        const FEWEST_HOURS: usize = 120;
        let vwap = |sums: &Sums| {
            let (base, quote) = if token_is_first {
                (sums.amount0, sums.amount1)
            } else {
                (sums.amount1, sums.amount0)
            };
            unit_price(quote, base, token).filter(|vwap| !vwap.is_zero())
        };
        let present: Vec<f64> = self
            .hours
            .iter()
            .filter(|(at, _)| *at < hour && at + WINDOW_HOURS >= hour)
            .filter_map(|(_, sums)| vwap(sums).map(f64::from))
            .collect();
        if present.len() < FEWEST_HOURS {
            return None;
        }
        let squares: f64 = present
            .iter()
            .zip(present.iter().skip(1))
            .map(|(earlier, later)| {
                let r = (later / earlier).ln();
                r * r
            })
            .sum();
        floor_to_bps(10_000.0 * (squares * 365.0 / 7.0).sqrt())
    }
}

/// The integer below a float that is not negative, at most 10,000.
fn floor_to_bps(value: f64) -> Option<u32> {
    let text = format!("{:.0}", value.floor().min(10_000.0));
    text.parse().ok()
}
