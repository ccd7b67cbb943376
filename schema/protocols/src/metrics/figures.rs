//! A market's figures at the end of a block.

use obsqra_types::{Bps, ContractAddress, U256, UnixSeconds};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::amm::PoolFigures;
use super::lending::LendingFigures;
use super::market::{Body, Market};
use super::quotes::{Quotes, Volatilities};
use crate::Registry;
use crate::fixed::{Wide, floor_div, narrow, pow10};

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

/// What is computed by a market's kind.
pub(crate) struct ByKind {
    pub(crate) tvl: Figure<U256>,
    pub(crate) supply_apy: Figure<Bps>,
    pub(crate) opened_at: Figure<UnixSeconds>,
    pub(crate) activity: Activity,
}

impl Figures {
    pub(crate) fn of(market: &Market, around: Surroundings<'_>) -> Self {
        let identity = &market.identity;
        let unlisted = identity.unlisted.map(|token| token_unlisted(&token));
        let ByKind { tvl, supply_apy, opened_at, activity } = match (&market.body, &unlisted) {
            (Body::Reserve(reserve), _) => LendingFigures::by_kind(market, reserve, around),
            (Body::Stated(reserve), _) => LendingFigures::of_stated(market, reserve, around),
            (Body::Pool(pool), None) => PoolFigures::by_kind(market, pool, around),
            (Body::Pool(_) | Body::Unlisted, Some(absence)) => PoolFigures::absent(absence),
            (Body::Unlisted, None) => PoolFigures::absent(&token_unlisted(&identity.asset)),
        };
        let (price, volatility) = match unlisted {
            Some(absence) => (Err(absence.clone()), Volatilities::same(Err(absence))),
            None => (
                around.quotes.price(around.registry, &identity.asset),
                around.quotes.volatility(around.registry, &identity.asset),
            ),
        };
        let drawdown = drawdown(&tvl, market.peak_tvl);
        Self { price, tvl, drawdown, volatility, supply_apy, opened_at, activity }
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

pub(crate) fn token_unlisted(token: &ContractAddress) -> Absence {
    Absence::new(Reason::TokenUnlisted, token.to_string())
}

/// `floor(amount · price / 10^(18 + dec(X) − dec(U)))`.
pub(crate) fn value(
    around: Surroundings<'_>,
    token: &ContractAddress,
    amount: Wide,
) -> Figure<U256> {
    let price = around.quotes.price(around.registry, token)?;
    let Some(listed) = around.registry.token(token) else {
        return Err(token_unlisted(token));
    };
    let quote_decimals = u32::from(around.registry.quote_token().decimals);
    let exponent = (18 + u32::from(listed.decimals)).saturating_sub(quote_decimals);
    let amount = or_overflow(narrow(amount))?;
    or_overflow(floor_div(Wide::from(amount) * Wide::from(price), pow10(exponent)))
}

/// `min(10000, floor(part · 10000 / whole))`, of a whole above 0.
pub(crate) fn capped_ratio(part: Wide, whole: Wide) -> Bps {
    let ratio = floor_div(part * Wide::from(Bps::ONE.0), whole);
    ratio.and_then(|ratio| Bps::try_from(ratio).ok()).map_or(Bps::ONE, |ratio| ratio.min(Bps::ONE))
}
