//! A market's figures at the end of a block.

use obsqra_types::{Bps, ContractAddress, U256, UnixSeconds};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::conservation::{ConservationRule, Faults};
use super::lending::LendingFigures;
use super::market::{Body, Identity, Market};
use super::pool::{Pool, PoolState};
use super::quotes::{Quotes, Volatilities};
use super::signed::SignedAmount;
use crate::decoders::{MarketRef, MarketTokens};
use crate::fixed::{Wide, floor_div, narrow, pow10};
use crate::{Registry, TokenPair};

/// USDC, in whole units, from which on a value is of class 1, 2 and 3.
const CLASS_BOUNDS: [u64; 3] = [1_000_000, 10_000_000, 50_000_000];

/// A market's figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Figures {
    pub(crate) price: Figure<U256>,
    pub(crate) tvl: Figure<U256>,
    pub(crate) drawdown: Figure<Bps>,
    pub(crate) volatility: Volatilities,
    pub(crate) supply_apy: Figure<Bps>,
    pub(crate) opened_at: Figure<UnixSeconds>,
    pub(crate) activity: Activity,
}

/// What a market's kind alone has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    Lending(Box<LendingFigures>),
    Pool(Box<PoolFigures>),
}

/// What pools alone have; values in USDC's smallest unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PoolFigures {
    pub(crate) volume: Figure<U256>,
    pub(crate) fees: Figure<U256>,
    pub(crate) turnover: Figure<Bps>,
    pub(crate) depth_up: Figure<U256>,
    pub(crate) depth_down: Figure<U256>,
}

/// What figures are made from, beside the market.
#[derive(Clone, Copy)]
pub(crate) struct Surroundings<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) quotes: &'a Quotes,
    /// What is said of a figure that needs events from before the log.
    pub(crate) history: &'a Absence,
    /// Whether the log reaches back over 24 hours.
    pub(crate) covers_day: bool,
}

/// The class of a value locked.
pub(crate) fn liquidity_class(value: &U256) -> u8 {
    let unit = U256::from(1_000_000u32);
    CLASS_BOUNDS.iter().map(|bound| u8::from(*value >= U256::from(*bound) * unit)).sum()
}

impl Figures {
    pub(crate) fn of(market: &Market, around: Surroundings<'_>) -> Self {
        let unlisted = market.identity.unlisted.map(|token| token_unlisted(&token));
        match (&market.body, unlisted) {
            (Body::Reserve(reserve), unlisted) => {
                let lending = LendingFigures::of(reserve, market.faults, around.history);
                let tvl = match &unlisted {
                    Some(absence) => Err(absence.clone()),
                    None => lending
                        .supplied
                        .clone()
                        .and_then(|sum| value(around, &market.identity.asset, Wide::from(sum))),
                };
                Self {
                    supply_apy: reserve.supply_apy(around.history),
                    opened_at: reserve.opened_at(around.history),
                    ..Self::valued(market, around, tvl, Activity::Lending(Box::new(lending)))
                }
            }
            (Body::Pool(pool), None) => pool_figures(market, pool, around),
            (Body::Pool(_) | Body::Unlisted, unlisted) => {
                let absence = unlisted.unwrap_or_else(|| token_unlisted(&market.identity.asset));
                Self::absent_pool(&absence)
            }
        }
    }

    /// With price, drawdown and volatility; what depends on the kind is absent still.
    fn valued(
        market: &Market,
        around: Surroundings<'_>,
        tvl: Figure<U256>,
        activity: Activity,
    ) -> Self {
        let (registry, asset) = (around.registry, &market.identity.asset);
        let (price, volatility) = match &market.identity.unlisted {
            Some(token) => {
                let absence = token_unlisted(token);
                (Err(absence.clone()), Volatilities::same(Err(absence)))
            }
            None => {
                (around.quotes.price(registry, asset), around.quotes.volatility(registry, asset))
            }
        };
        let drawdown = drawdown(&tvl, market.peak_tvl);
        let (supply_apy, opened_at) = (Err(around.history.clone()), Err(around.history.clone()));
        Self { price, tvl, drawdown, volatility, supply_apy, opened_at, activity }
    }

    fn absent_pool(absence: &Absence) -> Self {
        let pool = PoolFigures {
            volume: Err(absence.clone()),
            fees: Err(absence.clone()),
            turnover: Err(absence.clone()),
            depth_up: Err(absence.clone()),
            depth_down: Err(absence.clone()),
        };
        Self {
            price: Err(absence.clone()),
            tvl: Err(absence.clone()),
            drawdown: Err(absence.clone()),
            volatility: Volatilities::same(Err(absence.clone())),
            supply_apy: Err(absence.clone()),
            opened_at: Err(absence.clone()),
            activity: Activity::Pool(Box::new(pool)),
        }
    }
}

fn pool_figures(market: &Market, pool: &Pool, around: Surroundings<'_>) -> Figures {
    let tvl = pool_tvl(&market.identity, pool, around);
    let stated = |figure| {
        let rule = ConservationRule::ReservesBelowFlows;
        Faults::unless(market.faults.flows, rule, figure)
    };
    let volume = stated(volume(&market.identity, pool, around));
    let fees = stated(fees(&market.identity, pool, around));
    let turnover = turnover(&tvl, &volume);
    let supply_apy = fee_yield(&tvl, &fees);
    let (depth_up, depth_down) = match depth(&market.identity, pool, around) {
        Ok((up, down)) => (up, down),
        Err(absence) => (Err(absence.clone()), Err(absence)),
    };
    let figures = PoolFigures { volume, fees, turnover, depth_up, depth_down };
    Figures {
        supply_apy,
        opened_at: pool.opened_at.ok_or_else(|| around.history.clone()),
        ..Figures::valued(market, around, tvl, Activity::Pool(Box::new(figures)))
    }
}

fn token_unlisted(token: &ContractAddress) -> Absence {
    Absence::new(Reason::TokenUnlisted, token.to_string())
}

/// `floor(amount · price / 10^(18 + dec(X) − dec(U)))`.
fn value(around: Surroundings<'_>, token: &ContractAddress, amount: Wide) -> Figure<U256> {
    let price = around.quotes.price(around.registry, token)?;
    let Some(listed) = around.registry.token(token) else {
        return Err(token_unlisted(token));
    };
    let quote_decimals = u32::from(around.registry.quote_token().decimals);
    let exponent = (18 + u32::from(listed.decimals)).saturating_sub(quote_decimals);
    let amount = or_overflow(narrow(amount))?;
    or_overflow(floor_div(Wide::from(amount) * Wide::from(price), pow10(exponent)))
}

fn pool_tvl(identity: &Identity, pool: &Pool, around: Surroundings<'_>) -> Figure<U256> {
    match (identity.reference, identity.tokens) {
        (MarketRef::Pool(_), MarketTokens::Pair(tokens)) => concentrated_tvl(pool, tokens, around),
        (_, MarketTokens::Pair(tokens)) => reserves_tvl(pool, tokens, around),
        (_, MarketTokens::Single(token)) => Err(token_unlisted(&token)),
    }
}

/// How far the value locked is below the greatest so far.
fn drawdown(tvl: &Figure<U256>, peak: U256) -> Figure<Bps> {
    let tvl = tvl.clone()?;
    let peak = peak.max(tvl);
    if peak.is_zero() {
        return Err(Absence::bare(Reason::ZeroTvl));
    }
    Ok(capped_ratio(Wide::from(peak - tvl), Wide::from(peak)))
}

fn concentrated_tvl(pool: &Pool, tokens: TokenPair, around: Surroundings<'_>) -> Figure<U256> {
    if pool.opened_at.is_none() {
        return Err(around.history.clone());
    }
    let balance0 = held(around, pool.balance0, &tokens.token0)?;
    let balance1 = held(around, pool.balance1, &tokens.token1)?;
    let value0 = value(around, &tokens.token0, Wide::from(balance0))?;
    let value1 = value(around, &tokens.token1, Wide::from(balance1))?;
    or_overflow(value0.checked_add(value1))
}

fn held(
    around: Surroundings<'_>,
    balance: Option<SignedAmount>,
    token: &ContractAddress,
) -> Figure<U256> {
    let balance = or_overflow(balance)?;
    if balance.negative {
        let detail = around.registry.symbol_or_address(token);
        return Err(Absence::new(Reason::NegativeBalance, detail));
    }
    Ok(balance.magnitude)
}

fn reserves_tvl(pool: &Pool, tokens: TokenPair, around: Surroundings<'_>) -> Figure<U256> {
    let Some(PoolState::Reserves { reserve0, reserve1 }) = pool.state else {
        return Err(Absence::new(Reason::NoState, "no Sync seen"));
    };
    let reference = reference_side(around, tokens)?;
    let reserve = if reference == tokens.token0 { reserve0 } else { reserve1 };
    let half = value(around, &reference, Wide::from(reserve))?;
    or_overflow(half.checked_add(half))
}

/// The side by which a pool is valued: USDC, else `token0`, else `token1`, whichever has a price.
fn reference_side(around: Surroundings<'_>, tokens: TokenPair) -> Figure<ContractAddress> {
    let TokenPair { token0, token1 } = tokens;
    if token1 == around.registry.quote_token().address {
        return Ok(token1);
    }
    let price0 = around.quotes.price(around.registry, &token0);
    match price0 {
        Ok(_) => Ok(token0),
        Err(_) if around.quotes.price(around.registry, &token1).is_ok() => Ok(token1),
        Err(absence) => Err(absence),
    }
}

fn volume(identity: &Identity, pool: &Pool, around: Surroundings<'_>) -> Figure<U256> {
    if !around.covers_day && pool.opened_at.is_none() {
        return Err(around.history.clone());
    }
    let MarketTokens::Pair(tokens) = identity.tokens else {
        return Err(Absence::bare(Reason::NoState));
    };
    let reference = reference_side(around, tokens)?;
    let total = pool.day.total().moved;
    let moved = if reference == tokens.token0 { total.side0 } else { total.side1 };
    value(around, &reference, Wide::from(moved))
}

fn turnover(tvl: &Figure<U256>, volume: &Figure<U256>) -> Figure<Bps> {
    let tvl = tvl.clone()?;
    let volume = volume.clone()?;
    if tvl.is_zero() {
        return Err(Absence::bare(Reason::ZeroTvl));
    }
    Ok(capped_ratio(Wide::from(volume), Wide::from(tvl)))
}

fn fees(identity: &Identity, pool: &Pool, around: Surroundings<'_>) -> Figure<U256> {
    if !around.covers_day && pool.opened_at.is_none() {
        return Err(around.history.clone());
    }
    let MarketTokens::Pair(TokenPair { token0, token1 }) = identity.tokens else {
        return Err(Absence::bare(Reason::NoState));
    };
    if pool.fee_unknown {
        return Err(Absence::bare(Reason::FeeUnknown));
    }
    let total = pool.day.total().fees;
    let value0 = value(around, &token0, Wide::from(total.side0))?;
    let value1 = value(around, &token1, Wide::from(total.side1))?;
    or_overflow(value0.checked_add(value1))
}

/// A day's fees over a year, by value locked.
fn fee_yield(tvl: &Figure<U256>, fees: &Figure<U256>) -> Figure<Bps> {
    let tvl = tvl.clone()?;
    let fees = fees.clone()?;
    if tvl.is_zero() {
        return Err(Absence::bare(Reason::ZeroTvl));
    }
    let year = Wide::from(fees) * Wide::from(365u16) * Wide::from(Bps::ONE.0);
    let ratio = floor_div(year, Wide::from(tvl));
    or_overflow(ratio.and_then(|ratio| Bps::try_from(ratio).ok()))
}

/// The values that move the asset's price up and down by 2 %.
fn depth(
    identity: &Identity,
    pool: &Pool,
    around: Surroundings<'_>,
) -> Figure<(Figure<U256>, Figure<U256>)> {
    let MarketTokens::Pair(TokenPair { token0, token1 }) = identity.tokens else {
        return Err(Absence::bare(Reason::NoState));
    };
    let by_token0 = identity.asset == token1;
    let other = if by_token0 { token0 } else { token1 };
    let depth = pool.depth(by_token0)?;
    let worth = |amount: U256| value(around, &other, Wide::from(amount));
    Ok((worth(depth.up), worth(depth.down)))
}

/// `min(10000, floor(part · 10000 / whole))`, of a whole above 0.
pub(crate) fn capped_ratio(part: Wide, whole: Wide) -> Bps {
    let ratio = floor_div(part * Wide::from(Bps::ONE.0), whole);
    ratio.and_then(|ratio| Bps::try_from(ratio).ok()).map_or(Bps::ONE, |ratio| ratio.min(Bps::ONE))
}
