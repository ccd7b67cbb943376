//! The inputs of a protocol's risk score at the end of a block.

use obsqra_events::{AbsentInput, Causes, RiskInputs};
use obsqra_types::{Bps, U256, UnixSeconds};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::amm::fee_yield;
use super::audit;
use super::figures::{Activity, Figures, capped_ratio, liquidity_class};
use super::market::Identity;
use crate::fixed::{Wide, floor_div, narrow};
use crate::{ProtocolEntry, ProtocolKind};

/// The inputs of one protocol's score as of a block, each with its reason where it is absent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InputsAt {
    /// Utilization or turnover, bps.
    pub utilization_bps: Result<u32, AbsentInput>,
    /// Volatility, bps.
    pub volatility_bps: Result<u32, AbsentInput>,
    /// Liquidity class.
    pub liquidity_class: Result<u8, AbsentInput>,
    /// Audit score.
    pub audit_score: Result<u8, AbsentInput>,
    /// Age in days.
    pub age_days: Result<u32, AbsentInput>,
    /// Yield a year of what is supplied, bps: no input of the score, but of allocations.
    pub apy_bps: Result<u32, AbsentInput>,
    /// What they were computed from.
    pub causes: Causes,
}

impl InputsAt {
    /// The inputs, if all are present.
    ///
    /// # Errors
    /// Every absent input, in the order of the fields.
    pub fn complete(&self) -> Result<RiskInputs, Vec<AbsentInput>> {
        match (
            &self.utilization_bps,
            &self.volatility_bps,
            &self.liquidity_class,
            &self.audit_score,
            &self.age_days,
        ) {
            (Ok(utilization), Ok(volatility), Ok(liquidity), Ok(audit), Ok(age)) => {
                Ok(RiskInputs {
                    utilization_bps: *utilization,
                    volatility_bps: *volatility,
                    liquidity_class: *liquidity,
                    audit_score: *audit,
                    age_days: *age,
                })
            }
            (utilization, volatility, liquidity, audit, age) => Err([
                utilization.as_ref().err(),
                volatility.as_ref().err(),
                liquidity.as_ref().err(),
                audit.as_ref().err(),
                age.as_ref().err(),
            ]
            .into_iter()
            .flatten()
            .cloned()
            .collect()),
        }
    }
}

/// The inputs that call for a new score when they change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Inputs {
    pub(crate) sums: MarketSums,
    pub(crate) audit: Figure<u8>,
}

/// The inputs that come from a protocol's markets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MarketSums {
    utilization: Figure<u32>,
    volatility: Figure<u32>,
    liquidity: Figure<u8>,
    apy: Figure<u32>,
}

impl Inputs {
    /// Whether a score is due after the other: details aside, some value or reason differs.
    pub(crate) fn differ(&self, other: &Self) -> bool {
        differ(&self.sums.utilization, &other.sums.utilization)
            || differ(&self.sums.volatility, &other.sums.volatility)
            || differ(&self.sums.liquidity, &other.sums.liquidity)
            || differ(&self.audit, &other.audit)
    }

    /// Whether the yield differs, as [`Self::differ`] compares.
    pub(crate) fn yields_differ(&self, other: &Self) -> bool {
        differ(&self.sums.apy, &other.sums.apy)
    }

    pub(crate) fn at(
        &self,
        protocol: &ProtocolEntry,
        now: UnixSeconds,
        causes: Causes,
    ) -> InputsAt {
        InputsAt {
            utilization_bps: field(&self.sums.utilization, "utilizationBps"),
            volatility_bps: field(&self.sums.volatility, "volatilityBps"),
            liquidity_class: field(&self.sums.liquidity, "liquidityClass"),
            audit_score: field(&self.audit, "auditScore"),
            age_days: field(&audit::age_days(protocol, now), "ageDays"),
            apy_bps: field(&self.sums.apy, "apyBps"),
            causes,
        }
    }
}

fn differ<T: PartialEq>(mine: &Figure<T>, theirs: &Figure<T>) -> bool {
    match (mine, theirs) {
        (Ok(mine), Ok(theirs)) => mine != theirs,
        (Err(mine), Err(theirs)) => mine.reason != theirs.reason,
        _ => true,
    }
}

fn field<T: Copy>(figure: &Figure<T>, name: &str) -> Result<T, AbsentInput> {
    figure.as_ref().map(|value| *value).map_err(|absence| absence.of_field(name))
}

/// A counted market and its figures.
pub(crate) type CountedMarket<'a> = (&'a Identity, &'a Figures);

impl MarketSums {
    /// Over a protocol's counted markets, in the order of their ids.
    pub(crate) fn of(kind: ProtocolKind, markets: &[CountedMarket<'_>]) -> Self {
        let (utilization, apy) = match kind {
            ProtocolKind::Lending => (lending_utilization(markets), lending_apy(markets)),
            ProtocolKind::Amm => (amm_turnover(markets), amm_apy(markets)),
            ProtocolKind::Token | ProtocolKind::Privacy | ProtocolKind::Governance => {
                (Err(Absence::bare(Reason::NoMarkets)), Err(Absence::bare(Reason::NoMarkets)))
            }
        };
        Self {
            utilization,
            volatility: volatility(markets),
            apy,
            liquidity: summed(markets, |_| Ok(Wide::ZERO))
                .and_then(|sums| or_overflow(narrow(sums.tvl)).map(|tvl| liquidity_class(&tvl))),
        }
    }
}

/// Sums over markets: of the value locked, and of what is weighed by it or set beside it.
struct Sums {
    tvl: Wide,
    part: Wide,
}

/// Adds up the markets' values locked and `part`; the first figure that is absent, a market's value
/// locked before its part, makes the sums absent. An empty market adds nothing, and its part is not asked
/// for: it may have none yet.
fn summed(markets: &[CountedMarket<'_>], part: impl Fn(&Figures) -> Figure<Wide>) -> Figure<Sums> {
    let mut sums = Sums { tvl: Wide::ZERO, part: Wide::ZERO };
    for (identity, figures) in markets {
        let named = |absence: &Absence| {
            absence.of_part(&format!("{} market {}", identity.asset_name, identity.id))
        };
        let tvl = figures.tvl.as_ref().map_err(named)?;
        if tvl.is_zero() {
            continue;
        }
        sums.tvl += Wide::from(*tvl);
        sums.part += part(figures).map_err(|absence| named(&absence))?;
    }
    match (markets, sums.tvl.is_zero()) {
        ([], _) => Err(Absence::bare(Reason::NoMarkets)),
        (_, true) => Err(Absence::bare(Reason::ZeroTvl)),
        (_, false) => Ok(sums),
    }
}

fn lending_utilization(markets: &[CountedMarket<'_>]) -> Figure<u32> {
    mean(markets, |figures| match &figures.activity {
        Activity::Lending(lending) => Ok(lending.utilization.clone()?.0),
        Activity::Pool(_) => Err(Absence::bare(Reason::NoState)),
    })
}

fn amm_turnover(markets: &[CountedMarket<'_>]) -> Figure<u32> {
    let sums = summed(markets, |figures| match &figures.activity {
        Activity::Pool(pool) => pool.volume.clone().map(Wide::from),
        Activity::Lending(_) => Err(Absence::bare(Reason::NoState)),
    })?;
    Ok(capped_ratio(sums.part, sums.tvl).0)
}

fn volatility(markets: &[CountedMarket<'_>]) -> Figure<u32> {
    let mean = mean(markets, |figures| Ok(figures.volatility.one_week.clone()?.0))?;
    Ok(mean.min(Bps::ONE.0))
}

fn lending_apy(markets: &[CountedMarket<'_>]) -> Figure<u32> {
    mean(markets, |figures| Ok(figures.supply_apy.clone()?.0))
}

/// All fees of a day over a year, by all value locked.
fn amm_apy(markets: &[CountedMarket<'_>]) -> Figure<u32> {
    let sums = summed(markets, |figures| match &figures.activity {
        Activity::Pool(pool) => pool.fees.clone().map(Wide::from),
        Activity::Lending(_) => Err(Absence::bare(Reason::NoState)),
    })?;
    Ok(fee_yield(sums.part, sums.tvl)?.0)
}

/// `floor(Σ bps · TVL / Σ TVL)`.
fn mean(markets: &[CountedMarket<'_>], bps: impl Fn(&Figures) -> Figure<u32>) -> Figure<u32> {
    let weighted =
        |figures: &Figures| Ok(Wide::from(bps(figures)?) * Wide::from(figures.tvl.clone()?));
    let sums = summed(markets, weighted)?;
    let mean: Option<U256> = floor_div(sums.part, sums.tvl);
    or_overflow(mean.and_then(|mean| u32::try_from(mean).ok()))
}
