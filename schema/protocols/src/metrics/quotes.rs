//! Prices of tokens, and their volatility, at the end of a block.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use obsqra_types::{Bps, ContractAddress, MarketId, PriceUsdc, ProtocolId, U256};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::market::{Body, Market, MarketIndex, UsdcPool};
use super::pool::Pool;
use super::trades::{HourlySteps, hour_of};
use crate::Registry;
use crate::fixed::{LN_BITS, Wide, floor_div};

/// A window that a volatility looks over, and the hours with trades that it takes.
#[derive(Clone, Copy)]
struct Window {
    days: u64,
    needed_hours: u64,
}

const ONE_DAY: Window = Window { days: 1, needed_hours: 18 };
const ONE_WEEK: Window = Window { days: 7, needed_hours: 120 };
const THIRTY_DAYS: Window = Window { days: 30, needed_hours: 514 };

/// Realised volatility over the hours before the current one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Volatilities {
    pub(crate) one_day: Figure<Bps>,
    pub(crate) one_week: Figure<Bps>,
    pub(crate) thirty_days: Figure<Bps>,
}

/// A token's price and volatility, and the pool that gives both.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Quote {
    pub(crate) price: Figure<U256>,
    pub(crate) volatility: Volatilities,
    pub(crate) pool: Option<usize>,
    /// The hour up to which the volatility looks.
    hour: u64,
}

impl Volatilities {
    /// One figure for every window.
    pub(crate) fn same(figure: Figure<Bps>) -> Self {
        Self { one_day: figure.clone(), one_week: figure.clone(), thirty_days: figure }
    }

    fn of(markets: Markets<'_>, token: &ContractAddress, pool: Option<usize>, hour: u64) -> Self {
        let over = |window| {
            let figure = volatility(markets, pool, hour, window);
            figure.map_err(|absence| named(markets.registry, token, absence))
        };
        Self { one_day: over(ONE_DAY), one_week: over(ONE_WEEK), thirty_days: over(THIRTY_DAYS) }
    }
}

/// Where a price comes from.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PriceSource {
    /// The deepest counted pool of the token and USDC.
    Pools,
    /// What a protocol's events carry of its oracle, in US dollars: one is taken for one USDC.
    Oracle(ProtocolId),
}

/// As stored and published.
impl fmt::Display for PriceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pools => f.write_str("pools"),
            Self::Oracle(protocol) => write!(f, "oracle/{protocol}"),
        }
    }
}

/// A token's price at the end of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenPrice {
    /// The token.
    pub token: ContractAddress,
    /// Its symbol.
    pub symbol: String,
    /// Where the price comes from.
    pub source: PriceSource,
    /// The price, or why there is none.
    pub price: Result<PriceUsdc, Reason>,
    /// The market that gives it.
    pub market: Option<(ProtocolId, MarketId)>,
}

/// Tokens of which something is another after a block.
#[derive(Default)]
pub(crate) struct Requoted {
    /// Price or volatility.
    pub(crate) differing: BTreeSet<ContractAddress>,
    /// Price, or the pool that gives it.
    pub(crate) prices: BTreeSet<ContractAddress>,
}

/// The quotes of all tokens that stand in a counted pool with USDC.
#[derive(Clone, Debug, Default)]
pub(crate) struct Quotes(BTreeMap<ContractAddress, Arc<Quote>>);

/// The fold's markets, as a quote looks at them.
#[derive(Clone, Copy)]
pub(crate) struct Markets<'a> {
    pub(crate) list: &'a [Arc<Market>],
    pub(crate) index: &'a MarketIndex,
    pub(crate) registry: &'a Registry,
}

impl Quotes {
    /// Brings the quotes up to date after a block: prices of tokens whose pools changed, volatilities of
    /// those and, in a new hour, of all. Returns the tokens of which something differs.
    pub(crate) fn update(
        &mut self,
        markets: Markets<'_>,
        pools_changed: &BTreeSet<ContractAddress>,
        now: u64,
    ) -> Requoted {
        let hour = hour_of(now);
        let mut requoted = Requoted::default();
        for token in markets.index.tokens_with_usdc_pools() {
            let old = self.0.get(&token);
            let new = match old {
                Some(old) if !pools_changed.contains(&token) && old.hour == hour => continue,
                Some(old) if !pools_changed.contains(&token) => {
                    let volatility = Volatilities::of(markets, &token, old.pool, hour);
                    Quote { volatility, hour, ..Quote::clone(old) }
                }
                _ => quote(markets, &token, hour, old.map(Arc::as_ref)),
            };
            let same =
                |old: &Arc<Quote>| old.price == new.price && old.volatility == new.volatility;
            if !old.is_some_and(same) {
                requoted.differing.insert(token);
            }
            if !old.is_some_and(|old| old.price == new.price && old.pool == new.pool) {
                requoted.prices.insert(token);
            }
            self.0.insert(token, Arc::new(new));
        }
        requoted
    }

    pub(crate) fn price(&self, registry: &Registry, token: &ContractAddress) -> Figure<U256> {
        if *token == registry.quote_token().address {
            return Ok(PriceUsdc::ONE.0);
        }
        self.0.get(token).map_or_else(|| Err(no_pool(registry, token)), |quote| quote.price.clone())
    }

    pub(crate) fn volatility(&self, registry: &Registry, token: &ContractAddress) -> Volatilities {
        if *token == registry.quote_token().address {
            return Volatilities::same(Ok(Bps(0)));
        }
        self.0.get(token).map_or_else(
            || Volatilities::same(Err(no_pool(registry, token))),
            |quote| quote.volatility.clone(),
        )
    }

    /// The pool that gives a token's price.
    pub(crate) fn pool(&self, token: &ContractAddress) -> Option<usize> {
        self.0.get(token)?.pool
    }
}

fn no_pool(registry: &Registry, token: &ContractAddress) -> Absence {
    Absence::new(Reason::NoUsdcPool, registry.symbol_or_address(token))
}

fn named(registry: &Registry, token: &ContractAddress, absence: Absence) -> Absence {
    absence.of_part(&registry.symbol_or_address(token))
}

/// A token's quote from the deepest of its pools. The volatility is taken over where neither pool nor
/// hour differ: the hours before the current one do not change any more.
fn quote(markets: Markets<'_>, token: &ContractAddress, hour: u64, old: Option<&Quote>) -> Quote {
    let (pool, price) = match deepest(markets, token) {
        Some((pool, price)) => (Some(pool), or_overflow(price)),
        None => (None, Err(Absence::bare(Reason::NoUsdcPool))),
    };
    let price = price.map_err(|absence| named(markets.registry, token, absence));
    let volatility = match old {
        Some(old) if old.hour == hour && old.pool == pool => old.volatility.clone(),
        _ => Volatilities::of(markets, token, pool, hour),
    };
    Quote { price, volatility, pool, hour }
}

/// The candidate with the greatest depth, ties by protocol and market id, and its price; the inner
/// `None` is a price outside 256 bits.
fn deepest(markets: Markets<'_>, token: &ContractAddress) -> Option<(usize, Option<U256>)> {
    let mut candidates: Vec<(U256, usize)> = markets
        .index
        .usdc_pools(token)
        .iter()
        .filter_map(|place| {
            let (pool, usdc) = usdc_pool(markets, *place)?;
            let depth = pool.usdc_depth(&usdc.side)?;
            (!depth.is_zero()).then_some((depth, *place))
        })
        .collect();
    let name = |place: usize| {
        let identity = &markets.list[place].identity;
        (&identity.protocol, &identity.id)
    };
    candidates.sort_by(|(a_depth, a), (b_depth, b)| {
        Reverse(a_depth).cmp(&Reverse(b_depth)).then_with(|| name(*a).cmp(&name(*b)))
    });
    candidates.into_iter().find_map(|(_, place)| {
        let (pool, usdc) = usdc_pool(markets, place)?;
        Some((place, pool.usdc_price(&usdc.side)?))
    })
}

/// A market as a pool of USDC and a token.
pub(crate) fn usdc_pool(markets: Markets<'_>, place: usize) -> Option<(&Pool, &UsdcPool)> {
    let market = markets.list.get(place)?;
    match (&market.body, &market.identity.usdc) {
        (Body::Pool(pool), Some(usdc)) => Some((pool, usdc)),
        _ => None,
    }
}

/// `min(10000, floor(10000 · sqrt(Σ r² · 365 / days)))` over the window's hours before `hour`.
fn volatility(
    markets: Markets<'_>,
    pool: Option<usize>,
    hour: u64,
    Window { days, needed_hours }: Window,
) -> Figure<Bps> {
    let Some((pool, usdc)) = pool.and_then(|place| usdc_pool(markets, place)) else {
        return Err(Absence::bare(Reason::NoUsdcPool));
    };
    let window = days * 24;
    match pool.hours.steps_before(hour, window, &usdc.side) {
        HourlySteps::Overflow => Err(Absence::bare(Reason::Overflow)),
        HourlySteps::Known { hours, .. } if hours < needed_hours => {
            let detail =
                format!("{hours} of {window} hours have trades, {needed_hours} are needed");
            Err(Absence::new(Reason::InsufficientHistory, detail))
        }
        HourlySteps::Known { squares, .. } => Ok(annualized(Wide::from(squares), days)),
    }
}

/// The square of the result is `10⁸ · Σ r² · 365 / days`, and the floor of a root is the root of a
/// floor.
fn annualized(squares: Wide, days: u64) -> Bps {
    let square = Wide::from(100_000_000u64) * squares * Wide::from(365u16);
    let square = floor_div(square, Wide::from(days) << (2 * LN_BITS));
    match square.and_then(|square| u32::try_from(square).ok()) {
        Some(square) if square < 100_000_000 => Bps(square.isqrt()),
        _ => Bps::ONE,
    }
}
