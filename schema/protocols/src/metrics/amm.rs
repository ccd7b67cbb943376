//! The figures that pools alone have, and how a pool is valued.

use obsqra_types::{Bps, ContractAddress, U256};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::conservation::{ConservationRule, Faults};
use super::figures::{Activity, ByKind, Surroundings, capped_ratio, value};
use super::market::{Identity, Market};
use super::pool::{Pool, PoolState};
use super::quotes::Quotes;
use super::signed::SignedAmount;
use crate::decoders::{MarketRef, MarketTokens};
use crate::fixed::{Wide, floor_div};
use crate::{Registry, TokenPair};

/// What pools alone have; values in USDC's smallest unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct PoolFigures {
    pub(crate) volume: Figure<U256>,
    pub(crate) fees: Figure<U256>,
    pub(crate) turnover: Figure<Bps>,
    pub(crate) depth_up: Figure<U256>,
    pub(crate) depth_down: Figure<U256>,
}

impl PoolFigures {
    pub(crate) fn by_kind(market: &Market, pool: &Pool, around: Surroundings<'_>) -> ByKind {
        let tvl = pool_tvl(&market.identity, pool, around);
        let stated = |figure| {
            let rule = ConservationRule::ReservesBelowFlows;
            Faults::unless(market.faults.flows, rule, figure)
        };
        let volume = stated(volume(&market.identity, pool, around));
        let fees = stated(fees(&market.identity, pool, around));
        let turnover = turnover(&tvl, &volume);
        let supply_apy = supply_apy(&tvl, &fees);
        let (depth_up, depth_down) = match depth(&market.identity, pool, around) {
            Ok((up, down)) => (up, down),
            Err(absence) => (Err(absence.clone()), Err(absence)),
        };
        let figures = Self { volume, fees, turnover, depth_up, depth_down };
        ByKind {
            tvl,
            supply_apy,
            opened_at: pool.opened_at.ok_or_else(|| around.history.clone()),
            activity: Activity::Pool(Box::new(figures)),
        }
    }

    /// Of a pool of which nothing is kept.
    pub(crate) fn absent(absence: &Absence) -> ByKind {
        let figures = Self {
            volume: Err(absence.clone()),
            fees: Err(absence.clone()),
            turnover: Err(absence.clone()),
            depth_up: Err(absence.clone()),
            depth_down: Err(absence.clone()),
        };
        ByKind {
            tvl: Err(absence.clone()),
            supply_apy: Err(absence.clone()),
            opened_at: Err(absence.clone()),
            activity: Activity::Pool(Box::new(figures)),
        }
    }
}

fn pool_tvl(identity: &Identity, pool: &Pool, around: Surroundings<'_>) -> Figure<U256> {
    let MarketTokens::Pair(tokens) = identity.tokens else {
        return Err(Absence::bare(Reason::NoState));
    };
    match identity.reference {
        MarketRef::Pool(_) | MarketRef::PoolContract(..) => concentrated_tvl(pool, tokens, around),
        _ => reserves_tvl(pool, tokens, around),
    }
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
    let reference = reference_side(around.registry, around.quotes, tokens)?;
    let reserve = if reference == tokens.token0 { reserve0 } else { reserve1 };
    let half = value(around, &reference, Wide::from(reserve))?;
    or_overflow(half.checked_add(half))
}

/// The side by which a pool is valued: USDC, else `token0`, else `token1`, whichever has a price.
pub(crate) fn reference_side(
    registry: &Registry,
    quotes: &Quotes,
    tokens: TokenPair,
) -> Figure<ContractAddress> {
    let TokenPair { token0, token1 } = tokens;
    if token1 == registry.quote_token().address {
        return Ok(token1);
    }
    let price0 = quotes.price(registry, &token0);
    match price0 {
        Ok(_) => Ok(token0),
        Err(_) if quotes.price(registry, &token1).is_ok() => Ok(token1),
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
    let reference = reference_side(around.registry, around.quotes, tokens)?;
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

fn supply_apy(tvl: &Figure<U256>, fees: &Figure<U256>) -> Figure<Bps> {
    let tvl = tvl.clone()?;
    let fees = fees.clone()?;
    if tvl.is_zero() {
        return Err(Absence::bare(Reason::ZeroTvl));
    }
    fee_yield(Wide::from(fees), Wide::from(tvl))
}

/// A day's fees over a year by value locked, which is above 0.
pub(crate) fn fee_yield(fees: Wide, tvl: Wide) -> Figure<Bps> {
    let year = fees * Wide::from(365u16) * Wide::from(Bps::ONE.0);
    let ratio = floor_div(year, tvl);
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
