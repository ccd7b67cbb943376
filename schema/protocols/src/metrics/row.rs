//! A market's metrics as they are published.
//!
//! A figure that the market's kind does not have is `None` without a reason; any other absent figure has
//! one in `absent`, under the field's published name.

use obsqra_events::AbsentInput;
use obsqra_types::{
    Bps, ContractAddress, MarketId, PriceUsdc, ProtocolId, RateE18, RawAmount, SignedPpb,
    UnixSeconds, UsdcValue,
};

use super::absence::{Absence, Figure};
use super::amm::PoolFigures;
use super::figures::{Activity, Figures, liquidity_class};
use super::lending::{FollowedFigures, LendingFigures};
use super::market::Identity;

/// One market's metrics as of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MarketMetrics {
    /// Whose market it is.
    pub protocol: ProtocolId,
    /// Which one.
    pub market: MarketId,
    /// Whether it gives prices and takes part in its protocol's inputs: its tokens are listed, and the
    /// protocol opens markets by its own governance or the registry lists this one.
    pub counted: bool,
    /// The token it is about.
    pub asset_address: ContractAddress,
    /// That token's symbol, or its address where the registry does not list it.
    pub asset: String,
    /// Lending: the share of what is supplied that is lent out.
    pub utilization_bps: Option<Bps>,
    /// AMM: volume of 24 hours by value locked.
    pub turnover_bps: Option<Bps>,
    /// Realised volatility of the asset over 7 days.
    pub volatility_bps: Option<Bps>,
    /// The same over 1 day.
    pub volatility_1d_bps: Option<Bps>,
    /// The same over 30 days.
    pub volatility_30d_bps: Option<Bps>,
    /// Class of the value locked, 0 to 3.
    pub liquidity_class: Option<u8>,
    /// Price of the asset.
    pub price: Option<PriceUsdc>,
    /// What the protocol's oracle gives for the asset, in US dollars, where its events carry that.
    pub oracle_price: Option<PriceUsdc>,
    /// Value locked.
    pub tvl: Option<UsdcValue>,
    /// How far the value locked is below its greatest in the log.
    pub drawdown_bps: Option<Bps>,
    /// What suppliers earn in a year, not compounded.
    pub supply_apy_bps: Option<Bps>,
    /// When the market began.
    pub opened_at: Option<UnixSeconds>,
    /// Of a lending reserve.
    pub lending: LendingMetrics,
    /// Of a pool.
    pub pool: PoolMetrics,
    /// Why each absent figure is absent, but for one that the market's kind does not have.
    pub absent: Vec<AbsentInput>,
}

/// What lending reserves alone have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LendingMetrics {
    /// What borrowers pay.
    pub borrow_rate: Option<RateE18>,
    /// What suppliers earn, after the reserve factor.
    pub supply_rate: Option<RateE18>,
    /// What is supplied, with its interest.
    pub supplied: Option<RawAmount>,
    /// What is lent out, with its interest.
    pub borrowed: Option<RawAmount>,
    /// What could be withdrawn now.
    pub withdraw_headroom: Option<RawAmount>,
    /// Utilization after the largest supplier leaves.
    pub exit_shock_bps: Option<Bps>,
    /// How many hold shares.
    pub suppliers: Option<u64>,
    /// Share of the greatest holder.
    pub top1_bps: Option<Bps>,
    /// Share of the five greatest holders.
    pub top5_bps: Option<Bps>,
    /// Herfindahl–Hirschman index of the holders' shares.
    pub hhi_bps: Option<Bps>,
    /// How much more the lending accumulator grew than the supply rate explains.
    pub accumulator_excess: Option<SignedPpb>,
}

/// What pools alone have.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PoolMetrics {
    /// Value swapped in 24 hours.
    pub volume_24h: Option<UsdcValue>,
    /// Fees that swaps paid in 24 hours.
    pub fees_24h: Option<UsdcValue>,
    /// Value that raises the asset's price by 2 %.
    pub depth_up: Option<UsdcValue>,
    /// Value that is paid out until the asset's price is 2 % lower.
    pub depth_down: Option<UsdcValue>,
}

/// Collects reasons while figures are taken.
#[derive(Default)]
struct Absent(Vec<AbsentInput>);

impl Absent {
    fn take<T: Copy>(&mut self, field: &str, figure: &Figure<T>) -> Option<T> {
        match figure {
            Ok(value) => Some(*value),
            Err(absence) => {
                self.0.push(absence.of_field(field));
                None
            }
        }
    }
}

impl Figures {
    /// The figures as a row of the market.
    pub(crate) fn row(&self, identity: &Identity) -> MarketMetrics {
        let mut absent = Absent::default();
        let (utilization_bps, turnover_bps) = match &self.activity {
            Activity::Lending(lending) => {
                (absent.take("utilizationBps", &lending.utilization), None)
            }
            Activity::Pool(pool) => (None, absent.take("turnoverBps", &pool.turnover)),
        };
        let class = self.tvl.as_ref().map(liquidity_class).map_err(Absence::clone);
        let oracle_price = match &self.activity {
            Activity::Lending(lending) => lending.oracle_price.as_ref(),
            Activity::Pool(_) => None,
        };
        let oracle_price = oracle_price.and_then(|price| absent.take("oraclePriceUsd", price));
        let (lending, pool) = match &self.activity {
            Activity::Lending(lending) => (lending.row(&mut absent), PoolMetrics::default()),
            Activity::Pool(pool) => (LendingMetrics::default(), pool.row(&mut absent)),
        };
        MarketMetrics {
            protocol: identity.protocol.clone(),
            market: identity.id.clone(),
            counted: identity.counted,
            asset_address: identity.asset,
            asset: identity.asset_name.clone(),
            utilization_bps,
            turnover_bps,
            volatility_bps: absent.take("volatilityBps", &self.volatility.one_week),
            volatility_1d_bps: absent.take("volatility1dBps", &self.volatility.one_day),
            volatility_30d_bps: absent.take("volatility30dBps", &self.volatility.thirty_days),
            liquidity_class: absent.take("liquidityClass", &class),
            price: absent.take("priceUsdc", &self.price).map(PriceUsdc),
            oracle_price: oracle_price.map(PriceUsdc),
            tvl: absent.take("tvlUsdc", &self.tvl).map(UsdcValue),
            drawdown_bps: absent.take("drawdownBps", &self.drawdown),
            supply_apy_bps: absent.take("supplyApyBps", &self.supply_apy),
            opened_at: absent.take("openedAt", &self.opened_at),
            lending,
            pool,
            absent: absent.0,
        }
    }
}

impl LendingFigures {
    fn row(&self, absent: &mut Absent) -> LendingMetrics {
        let mut row = LendingMetrics {
            borrow_rate: absent.take("borrowRate", &self.borrow_rate),
            supply_rate: absent.take("supplyRate", &self.supply_rate),
            supplied: absent.take("supplied", &self.supplied).map(RawAmount),
            borrowed: absent.take("borrowed", &self.borrowed).map(RawAmount),
            withdraw_headroom: absent.take("withdrawHeadroom", &self.headroom).map(RawAmount),
            ..LendingMetrics::default()
        };
        self.followed.enter(&mut row, absent);
        let excess = self.accumulator_excess.as_ref();
        row.accumulator_excess =
            excess.and_then(|excess| absent.take("accumulatorExcessPpb", excess));
        row
    }
}

impl FollowedFigures {
    fn enter(&self, row: &mut LendingMetrics, absent: &mut Absent) {
        row.exit_shock_bps = absent.take("exitShockBps", &self.exit_shock);
        row.suppliers = absent.take("suppliers", &self.suppliers);
        row.top1_bps = absent.take("top1Bps", &self.top1);
        row.top5_bps = absent.take("top5Bps", &self.top5);
        row.hhi_bps = absent.take("hhiBps", &self.hhi);
    }
}

impl PoolFigures {
    fn row(&self, absent: &mut Absent) -> PoolMetrics {
        PoolMetrics {
            volume_24h: absent.take("volume24hUsdc", &self.volume).map(UsdcValue),
            fees_24h: absent.take("fees24hUsdc", &self.fees).map(UsdcValue),
            depth_up: absent.take("depthUpUsdc", &self.depth_up).map(UsdcValue),
            depth_down: absent.take("depthDownUsdc", &self.depth_down).map(UsdcValue),
        }
    }
}
