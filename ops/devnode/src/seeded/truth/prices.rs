//! Prices of tokens after a block: each from the counted pool with the most USDC behind it.

use std::collections::BTreeMap;

use ruint::aliases::{U256, U512};

use super::super::ekubo::{Pool, PoolSpec};
use super::super::jediswap::Pair;
use super::super::jediswap_v2::{V2_POOL, V2_SPEC, V2Pool};
use super::super::math::{mul_div, pow10};
use super::super::registry::{EKUBO, JEDISWAP, JEDISWAP_V2};
use super::super::tokens::Token;
use super::super::{Model, Venue};
use super::figures::{Figure, Reason};
use crate::chain::encode::hex;

/// The quote token.
pub(super) const U: Token = Token::Usdc;

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

/// The prices of all tokens that have one.
pub(super) struct Prices(BTreeMap<Token, Quote>);

impl Prices {
    pub(super) fn of(model: &Model) -> Self {
        let mut prices = BTreeMap::from([(U, Quote { price: pow10(18), venue: None })]);
        for token in Token::LISTED.into_iter().filter(|token| *token != U) {
            let pairs = model.pairs.iter().enumerate();
            let pairs = pairs.filter_map(|(index, pair)| pair_candidate(index, pair, token));
            let pools = model.pools.iter().enumerate();
            let pools = pools.filter(|(_, pool)| pool.spec.is_counted());
            let pools = pools.filter_map(|(index, pool)| pool_candidate(index, pool, token));
            let v2_pools = model.v2_pools.iter().enumerate();
            let v2_pools = v2_pools.filter_map(|(index, pool)| v2_candidate(index, pool, token));
            let best = pairs
                .chain(pools)
                .chain(v2_pools)
                .filter(|candidate| !candidate.depth.is_zero() && !candidate.price.is_zero())
                .max_by(|a, b| a.depth.cmp(&b.depth).then_with(|| b.id.cmp(&a.id)));
            if let Some(best) = best {
                prices.insert(token, Quote { price: best.price, venue: Some(best.venue) });
            }
        }
        Self(prices)
    }

    /// USDC per whole token at 10⁻¹⁸.
    pub(super) fn price(&self, token: Token) -> Figure<U256> {
        self.quote(token).map(|quote| quote.price)
    }

    /// The pool that gives the price; the quote token has none.
    pub(super) fn venue(&self, token: Token) -> Figure<Option<Venue>> {
        self.quote(token).map(|quote| quote.venue)
    }

    /// The value of an amount in USDC's smallest unit.
    pub(super) fn value(&self, token: Token, amount: U256) -> Figure<U256> {
        Ok(mul_div(amount, self.price(token)?, price_scale(token)))
    }

    fn quote(&self, token: Token) -> Figure<Quote> {
        if !token.is_listed() {
            return Err(Reason::TokenUnlisted);
        }
        self.0.get(&token).copied().ok_or(Reason::NoUsdcPool)
    }
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
    let (depth, price) = quote_of(&pool.spec, pool.liquidity, pool.sqrt_ratio, token)?;
    let (id, venue) = ((EKUBO.id, pool.spec.market_id()), Venue::Pool(index));
    Some(Candidate { depth, price, id, venue })
}

fn v2_candidate(index: usize, pool: &V2Pool, token: Token) -> Option<Candidate> {
    let (depth, price) = quote_of(&V2_SPEC, pool.engine.liquidity, pool.sqrt_ratio(), token)?;
    let (id, venue) = ((JEDISWAP_V2.id, hex(&V2_POOL)), Venue::V2Pool(index));
    Some(Candidate { depth, price, id, venue })
}

/// Virtual reserve of the quote token and price of the other, where it is that token.
fn quote_of(
    spec: &PoolSpec,
    liquidity: u128,
    sqrt_ratio: U256,
    token: Token,
) -> Option<(U256, U256)> {
    let ratio = U512::from(sqrt_ratio);
    let square = ratio * ratio;
    let scale = U512::from(price_scale(token));
    let (reserve0, reserve1) = virtual_reserves(liquidity, sqrt_ratio);
    let (depth, price) = match (spec.token0, spec.token1) {
        (base, U) if base == token => (reserve1, (square * scale) >> 256),
        (U, base) if base == token => (reserve0, (scale << 256) / square),
        _ => return None,
    };
    Some((depth, U256::saturating_from(price)))
}

/// What a pool of constant product would hold at the price and the active liquidity.
pub(super) fn virtual_reserves(liquidity: u128, sqrt_ratio: U256) -> (U256, U256) {
    let (liquidity, ratio) = (U512::from(liquidity), U512::from(sqrt_ratio));
    let reserve0 = (liquidity << 128) / ratio;
    let reserve1 = (liquidity * ratio) >> 128;
    (U256::saturating_from(reserve0), U256::saturating_from(reserve1))
}

/// `10^(18 + dec(X) − dec(U))`
fn price_scale(token: Token) -> U256 {
    pow10(18 + token.decimals() - U.decimals())
}

/// The price at which so much of a token went for so much of the quote token.
pub(super) fn unit_price(quote: U256, base: U256, token: Token) -> Option<U256> {
    (!base.is_zero()).then(|| mul_div(quote, price_scale(token), base))
}
