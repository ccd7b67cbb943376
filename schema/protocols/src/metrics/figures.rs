//! A market's figures at the end of a block.

use obsqra_events::AbsentInput;
use obsqra_types::{Bps, ContractAddress, MarketId, PriceUsdc, ProtocolId, U256, UsdcValue};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::market::{Body, Identity, Market};
use super::pool::{Pool, PoolState};
use super::quotes::Quotes;
use super::signed::SignedAmount;
use crate::decoders::{MarketRef, MarketTokens};
use crate::fixed::{Wide, floor_div, narrow, pow10};
use crate::{Registry, TokenPair};

/// USDC, in whole units, from which on a value is of class 1, 2 and 3.
const CLASS_BOUNDS: [u64; 3] = [1_000_000, 10_000_000, 50_000_000];

/// One market's metrics as of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarketMetrics {
    /// Whose market it is.
    pub protocol: ProtocolId,
    /// Which one.
    pub market: MarketId,
    /// The token it is about.
    pub asset_address: ContractAddress,
    /// That token's symbol, or its address where the registry does not list it.
    pub asset: String,
    /// Lending: the share of what is supplied that is lent out.
    pub utilization_bps: Option<Bps>,
    /// AMM: volume of 24 hours by value locked.
    pub turnover_bps: Option<Bps>,
    /// Realised volatility of the asset.
    pub volatility_bps: Option<Bps>,
    /// Class of the value locked, 0 to 3.
    pub liquidity_class: Option<u8>,
    /// Price of the asset.
    pub price: Option<PriceUsdc>,
    /// Value locked.
    pub tvl: Option<UsdcValue>,
    /// Why each absent figure is absent, but for one that the protocol's kind does not have.
    pub absent: Vec<AbsentInput>,
}

/// A market's figures.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Figures {
    pub(crate) price: Figure<U256>,
    pub(crate) tvl: Figure<U256>,
    pub(crate) volatility: Figure<Bps>,
    pub(crate) activity: Activity,
}

/// How busy a market is, by its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Activity {
    Utilization(Figure<Bps>),
    /// `volume` is of 24 hours, in USDC's smallest unit.
    Turnover {
        volume: Figure<U256>,
        turnover: Figure<Bps>,
    },
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
        let identity = &market.identity;
        if let Some(token) = &identity.unlisted {
            return Self::unlisted(market, token);
        }
        let tvl = tvl(market, around);
        let activity = match &market.body {
            Body::Reserve(reserve) => Activity::Utilization(reserve.utilization()),
            Body::Pool(pool) => {
                let volume = volume(identity, pool, around);
                let turnover = turnover(&tvl, &volume);
                Activity::Turnover { volume, turnover }
            }
            Body::Unlisted => Activity::unlisted(&identity.asset),
        };
        Self {
            price: around.quotes.price(around.registry, &identity.asset),
            tvl,
            volatility: around.quotes.volatility(around.registry, &identity.asset),
            activity,
        }
    }

    fn unlisted(market: &Market, token: &ContractAddress) -> Self {
        Self {
            price: Err(token_unlisted(token)),
            tvl: Err(token_unlisted(token)),
            volatility: Err(token_unlisted(token)),
            activity: match &market.body {
                Body::Reserve(reserve) => Activity::Utilization(reserve.utilization()),
                Body::Pool(_) | Body::Unlisted => Activity::unlisted(token),
            },
        }
    }

    /// Whether the published rows of both would be the same.
    pub(crate) fn same_row(&self, other: &Self) -> bool {
        let same_activity = match (&self.activity, &other.activity) {
            (
                Activity::Turnover { turnover: mine, .. },
                Activity::Turnover { turnover: theirs, .. },
            ) => mine == theirs,
            (mine, theirs) => mine == theirs,
        };
        same_activity
            && self.price == other.price
            && self.tvl == other.tvl
            && self.volatility == other.volatility
    }

    pub(crate) fn row(&self, identity: &Identity) -> MarketMetrics {
        let mut absent = Vec::new();
        let (utilization_bps, turnover_bps) = match &self.activity {
            Activity::Utilization(figure) => (present(figure, "utilizationBps", &mut absent), None),
            Activity::Turnover { turnover, .. } => {
                (None, present(turnover, "turnoverBps", &mut absent))
            }
        };
        let class = self.tvl.as_ref().map(liquidity_class).map_err(Absence::clone);
        MarketMetrics {
            protocol: identity.protocol.clone(),
            market: identity.id.clone(),
            asset_address: identity.asset,
            asset: identity.asset_name.clone(),
            utilization_bps,
            turnover_bps,
            volatility_bps: present(&self.volatility, "volatilityBps", &mut absent),
            liquidity_class: present(&class, "liquidityClass", &mut absent),
            price: present(&self.price, "priceUsdc", &mut absent).map(PriceUsdc),
            tvl: present(&self.tvl, "tvlUsdc", &mut absent).map(UsdcValue),
            absent,
        }
    }
}

impl Activity {
    fn unlisted(token: &ContractAddress) -> Self {
        Self::Turnover { volume: Err(token_unlisted(token)), turnover: Err(token_unlisted(token)) }
    }
}

fn token_unlisted(token: &ContractAddress) -> Absence {
    Absence::new(Reason::TokenUnlisted, token.to_string())
}

fn present<T: Copy>(figure: &Figure<T>, field: &str, absent: &mut Vec<AbsentInput>) -> Option<T> {
    match figure {
        Ok(value) => Some(*value),
        Err(absence) => {
            absent.push(absence.of_field(field));
            None
        }
    }
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

fn tvl(market: &Market, around: Surroundings<'_>) -> Figure<U256> {
    let identity = &market.identity;
    match (&market.body, identity.reference, identity.tokens) {
        (Body::Reserve(reserve), _, _) => {
            let supplied = reserve.supplied(around.history)?;
            value(around, &identity.asset, Wide::from(supplied))
        }
        (Body::Pool(pool), MarketRef::Pool(_), MarketTokens::Pair(tokens)) => {
            concentrated_tvl(pool, tokens, around)
        }
        (Body::Pool(pool), _, MarketTokens::Pair(tokens)) => reserves_tvl(pool, tokens, around),
        _ => Err(token_unlisted(&identity.asset)),
    }
}

fn concentrated_tvl(pool: &Pool, tokens: TokenPair, around: Surroundings<'_>) -> Figure<U256> {
    if !pool.opened {
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
    if !around.covers_day && !pool.opened {
        return Err(around.history.clone());
    }
    let MarketTokens::Pair(tokens) = identity.tokens else {
        return Err(Absence::bare(Reason::NoState));
    };
    let reference = reference_side(around, tokens)?;
    let total = pool.day.total();
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

/// `min(10000, floor(part · 10000 / whole))`, of a whole above 0.
pub(crate) fn capped_ratio(part: Wide, whole: Wide) -> Bps {
    let ratio = floor_div(part * Wide::from(Bps::ONE.0), whole);
    ratio.and_then(|ratio| Bps::try_from(ratio).ok()).map_or(Bps::ONE, |ratio| ratio.min(Bps::ONE))
}
