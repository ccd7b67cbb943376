//! The figures of a pool, from what it holds and the list of its trades.

use ruint::aliases::{U256, U512};

use super::super::ekubo::Pool;
use super::super::jediswap::Pair;
use super::super::jediswap_v2::{V2_SPEC, V2Pool};
use super::super::math::sqrt;
use super::super::tokens::Token;
use super::super::trades::Sums;
use super::super::{GENESIS_TIMESTAMP, Venue};
use super::figures::{Absences, Figure, PoolTruth, Reason, bps, capped_bps};
use super::prices::{Prices, U, virtual_reserves};

/// A pool of either kind after a block.
pub(super) struct PoolState {
    pub(super) venue: Venue,
    pub(super) token0: Token,
    pub(super) token1: Token,
    /// What both tokens are counted with in a depth.
    reserves: (U256, U256),
    /// Whether the registry lists it.
    counted: bool,
    opened_at: u64,
    tvl: Figure<U256>,
}

/// The figures that pools share with other markets, and those that they alone have.
pub(super) struct PoolFigures {
    pub(super) tvl: Figure<U256>,
    pub(super) turnover: Figure<u32>,
    pub(super) supply_apy: Figure<u32>,
    volume: Figure<U256>,
    fees: Figure<U256>,
    depth_up: Figure<U256>,
    depth_down: Figure<U256>,
}

impl PoolState {
    pub(super) fn of_pool(index: usize, pool: &Pool, prices: &Prices) -> Self {
        let (token0, token1) = (pool.spec.token0, pool.spec.token1);
        Self {
            venue: Venue::Pool(index),
            token0,
            token1,
            reserves: virtual_reserves(pool.liquidity, pool.sqrt_ratio),
            counted: pool.spec.is_counted(),
            opened_at: pool.opened_at,
            tvl: worth((token0, pool.balance0), (token1, pool.balance1), prices),
        }
    }

    pub(super) fn of_v2_pool(index: usize, pool: &V2Pool, prices: &Prices) -> Self {
        let (token0, token1) = (V2_SPEC.token0, V2_SPEC.token1);
        Self {
            venue: Venue::V2Pool(index),
            token0,
            token1,
            reserves: virtual_reserves(pool.engine.liquidity, pool.sqrt_ratio()),
            counted: true,
            opened_at: pool.engine.opened_at,
            tvl: worth((token0, pool.balance0), (token1, pool.balance1), prices),
        }
    }

    pub(super) fn of_pair(index: usize, pair: &Pair, prices: &Prices) -> Self {
        let (token0, token1) = (pair.spec.token0, pair.spec.token1);
        let reserves = (U256::from(pair.reserve0), U256::from(pair.reserve1));
        let tvl = reference(token0, token1, prices).and_then(|token| {
            let reserve = if token == token0 { reserves.0 } else { reserves.1 };
            Ok(prices.value(token, reserve)? * U256::from(2))
        });
        Self {
            venue: Venue::Pair(index),
            token0,
            token1,
            reserves,
            counted: true,
            opened_at: GENESIS_TIMESTAMP,
            tvl,
        }
    }

    /// The token that the market is about.
    pub(super) fn asset(&self) -> Token {
        if self.token0 == U { self.token1 } else { self.token0 }
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.token0.is_listed() && self.token1.is_listed()
    }

    pub(super) fn is_counted(&self) -> bool {
        self.counted
    }

    pub(super) fn opened_at(&self) -> Figure<u64> {
        if self.is_tracked() { Ok(self.opened_at) } else { Err(Reason::TokenUnlisted) }
    }

    pub(super) fn figures(&self, moved: Sums, fees: Sums, prices: &Prices) -> PoolFigures {
        if !self.is_tracked() {
            return PoolFigures::unlisted();
        }
        let tvl = self.tvl;
        let volume = reference(self.token0, self.token1, prices).and_then(|token| {
            let amount = if token == self.token0 { moved.amount0 } else { moved.amount1 };
            prices.value(token, amount)
        });
        let fees = prices
            .value(self.token0, fees.amount0)
            .and_then(|of_token0| Ok(of_token0 + prices.value(self.token1, fees.amount1)?));
        let year = U256::from(365);
        let (depth_up, depth_down) = self.depths(prices);
        PoolFigures {
            tvl,
            turnover: both(tvl, volume).map(|(tvl, volume)| capped_bps(volume, tvl)),
            supply_apy: both(tvl, fees).and_then(|(tvl, fees)| bps(fees * year, tvl)),
            volume,
            fees,
            depth_up,
            depth_down,
        }
    }

    /// What moves the asset's price by 2 % up and down, in the other token at constant product.
    fn depths(&self, prices: &Prices) -> (Figure<U256>, Figure<U256>) {
        let asset_is_first = self.asset() == self.token0;
        let (token, held) = if asset_is_first {
            (self.token1, self.reserves.1)
        } else {
            (self.token0, self.reserves.0)
        };
        let square = U512::from(held) * U512::from(held);
        let up: U256 = U256::saturating_from(sqrt(square * U512::from(102) / U512::from(100)));
        let mut down = sqrt(square * U512::from(98) / U512::from(100));
        while down * down * U512::from(100) < square * U512::from(98) {
            down += U512::from(1);
        }
        let down = U256::saturating_from(down);
        (prices.value(token, up - held), prices.value(token, held - down))
    }
}

impl PoolFigures {
    fn unlisted() -> Self {
        let absent = Err(Reason::TokenUnlisted);
        Self {
            tvl: absent,
            turnover: Err(Reason::TokenUnlisted),
            supply_apy: Err(Reason::TokenUnlisted),
            volume: absent,
            fees: absent,
            depth_up: absent,
            depth_down: absent,
        }
    }

    pub(super) fn own(&self, absences: &mut Absences) -> PoolTruth {
        PoolTruth {
            volume_24h_usdc: absences.take("volume24hUsdc", self.volume),
            fees_24h_usdc: absences.take("fees24hUsdc", self.fees),
            depth_up_usdc: absences.take("depthUpUsdc", self.depth_up),
            depth_down_usdc: absences.take("depthDownUsdc", self.depth_down),
        }
    }
}

/// The value of two balances.
fn worth(first: (Token, i128), second: (Token, i128), prices: &Prices) -> Figure<U256> {
    let held = |balance: i128| {
        u128::try_from(balance).map(U256::from).map_err(|_| Reason::NegativeBalance)
    };
    let (balance0, balance1) = (held(first.1)?, held(second.1)?);
    Ok(prices.value(first.0, balance0)? + prices.value(second.0, balance1)?)
}

/// The side whose amounts measure volume and, of a pair, value.
pub(super) fn reference(token0: Token, token1: Token, prices: &Prices) -> Figure<Token> {
    if token0 == U || token1 == U {
        return Ok(U);
    }
    let first = prices.price(token0).map(|_| token0);
    first.or_else(|reason| prices.price(token1).map(|_| token1).map_err(|_| reason))
}

/// A value above 0 and another figure, absent as the value, then as the other, then because the value is 0.
fn both(tvl: Figure<U256>, other: Figure<U256>) -> Figure<(U256, U256)> {
    match (tvl?, other?) {
        (tvl, _) if tvl.is_zero() => Err(Reason::ZeroTvl),
        both => Ok(both),
    }
}
