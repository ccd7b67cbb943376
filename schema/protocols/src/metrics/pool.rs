//! A pool of two tokens: its reserves or its price and active liquidity, its balances, its trades.

use obsqra_types::{U256, U512, UnixSeconds};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::signed::SignedAmount;
use super::trades::{DayWindow, Flows, Hours, LiquidityFlows, UsdcSide, Volumes, hour_of};
use crate::I129;
use crate::decoders::{Change, SwapFees};
use crate::fixed::{Wide, ceil_div, floor_div, isqrt, narrow};

/// Millionths in 1.
const MILLION: u32 = 1_000_000;

/// A pool's state at the end of a block.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    /// When the pool began, where that is in the log.
    pub(crate) opened_at: Option<UnixSeconds>,
    pub(crate) state: Option<PoolState>,
    /// What a concentrated pool holds, from its beginning on; `None` after a sum left 256 bits.
    pub(crate) balance0: Option<SignedAmount>,
    pub(crate) balance1: Option<SignedAmount>,
    pub(crate) day: DayWindow<Flows>,
    /// What liquidity providers put in and took out.
    pub(crate) provided: DayWindow<LiquidityFlows>,
    /// Whether much of what the pool held left within a day, at the end of a block.
    pub(crate) outflow: bool,
    /// Kept for counted pools with USDC alone.
    pub(crate) hours: Hours,
    /// Whether events since the last `Sync` say that a constant-product pool's reserves are others.
    pub(crate) unsettled: bool,
    /// What an event says of the pool's fee, in millionths of what is paid in.
    pub(crate) fee_millionths: Option<u32>,
    /// Whether a swap's fee is not known; the sum of fees says nothing then.
    pub(crate) fee_unknown: bool,
}

/// Amounts of one token that move a price by 2 %.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Depth {
    pub(crate) up: U256,
    pub(crate) down: U256,
}

/// What the last state-setting event says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum PoolState {
    /// Of a constant-product pool.
    Reserves { reserve0: U256, reserve1: U256 },
    /// Of a concentrated pool; the sqrt ratio has 128 fractional bits.
    Concentrated { sqrt_ratio: U256, tick: I129, liquidity: u128 },
}

impl Pool {
    pub(crate) fn unseen() -> Self {
        Self {
            opened_at: None,
            state: None,
            balance0: Some(SignedAmount::default()),
            balance1: Some(SignedAmount::default()),
            day: DayWindow::default(),
            provided: DayWindow::default(),
            outflow: false,
            hours: Hours::default(),
            unsettled: false,
            fee_millionths: None,
            fee_unknown: false,
        }
    }

    pub(crate) fn apply(&mut self, change: &Change, now: u64, side: Option<&UsdcSide>) {
        match *change {
            Change::Opened => {
                self.opened_at = Some(UnixSeconds(now));
                self.balance0 = Some(SignedAmount::default());
                self.balance1 = Some(SignedAmount::default());
            }
            Change::Reserves { reserve0, reserve1 } => {
                self.state = Some(PoolState::Reserves { reserve0, reserve1 });
            }
            Change::Started { sqrt_ratio, tick } => {
                self.state = Some(PoolState::Concentrated { sqrt_ratio, tick, liquidity: 0 });
            }
            Change::Moved { sqrt_ratio, tick, liquidity } => {
                self.state = Some(PoolState::Concentrated { sqrt_ratio, tick, liquidity });
            }
            Change::Ranged { lower, upper, liquidity } => {
                self.state = self.state.and_then(|state| state.ranged(lower, upper, liquidity));
            }
            Change::Balances { delta0, delta1 } => {
                self.balance0 = self.balance0.and_then(|balance| balance.plus_delta(delta0));
                self.balance1 = self.balance1.and_then(|balance| balance.plus_delta(delta1));
            }
            Change::Provided { delta0, delta1 } => {
                self.provided.add(now, &LiquidityFlows::of(delta0, delta1));
            }
            Change::SwapFee { millionths } => {
                // No pool keeps all of what comes in: such an event states no fee.
                self.fee_millionths = Some(millionths).filter(|fee| *fee < MILLION);
            }
            Change::Traded { amount0, amount1, fees } => {
                let fees = self.fees(fees);
                self.fee_unknown |= fees.is_none();
                let (fee0, fee1) = fees.unwrap_or((U256::ZERO, U256::ZERO));
                let moved = Volumes { side0: U512::from(amount0), side1: U512::from(amount1) };
                let fees = Volumes { side0: U512::from(fee0), side1: U512::from(fee1) };
                self.day.add(now, &Flows { moved, fees });
                if let Some(side) = side {
                    self.hours.add(hour_of(now), &moved, side);
                }
            }
            _ => {}
        }
    }

    /// The instant from which on [`Self::expire`] drops something.
    pub(crate) fn expires_at(&self) -> Option<u64> {
        [self.day.expires_at(), self.provided.expires_at()].into_iter().flatten().min()
    }

    /// Drops what is a day old or older.
    pub(crate) fn expire(&mut self, now: u64) {
        self.day.expire(now);
        self.provided.expire(now);
    }

    /// The fees of a swap, rounded up; `None` where they are not known.
    fn fees(&self, fees: SwapFees) -> Option<(U256, U256)> {
        match fees {
            SwapFees::Fixed(fee0, fee1) => Some((fee0, fee1)),
            SwapFees::OfPaidIn(in0, in1) => {
                let rate = Wide::from(self.fee_millionths?);
                let fee = |paid: U256| ceil_div(Wide::from(paid) * rate, Wide::from(MILLION));
                Some((fee(in0)?, fee(in1)?))
            }
            SwapFees::Unknown => None,
        }
    }

    /// USDC that the pool holds at its price, really or virtually; `None` before its first state.
    pub(crate) fn usdc_depth(&self, side: &UsdcSide) -> Option<U256> {
        self.state?.reserve(side.usdc_is_token0)
    }

    /// How much of one of its tokens moves the other's price by 2 %: a price goes with the square of this
    /// token's reserve, so that the reserve goes by the root of 1.02 or 0.98.
    pub(crate) fn depth(&self, by_token0: bool) -> Figure<Depth> {
        let state = self.state.ok_or(Absence::bare(Reason::NoState))?;
        let reserve = or_overflow(state.reserve(by_token0))?;
        let square = Wide::from(reserve) * Wide::from(reserve);
        let hundred = Wide::from(100u8);
        let higher = or_overflow(narrow(isqrt(square * Wide::from(102u8) / hundred)))?;
        let lower = or_overflow(root_above(square * Wide::from(98u8), hundred))?;
        Ok(Depth { up: higher - reserve, down: reserve - lower })
    }

    /// USDC for a whole token of the other side, 18 decimals. The outer `None` is a pool without such a
    /// price, the inner one a price outside 256 bits.
    pub(crate) fn usdc_price(&self, side: &UsdcSide) -> Option<Option<U256>> {
        let (numerator, denominator) = match self.state? {
            PoolState::Reserves { reserve0, reserve1 } => {
                let (usdc, other) =
                    if side.usdc_is_token0 { (reserve0, reserve1) } else { (reserve1, reserve0) };
                (Wide::from(usdc) * side.scale, Wide::from(other))
            }
            PoolState::Concentrated { sqrt_ratio, .. } => {
                let square = Wide::from(sqrt_ratio) * Wide::from(sqrt_ratio);
                let one = Wide::from(1u8) << 256;
                if side.usdc_is_token0 {
                    (one * side.scale, square)
                } else {
                    (square * side.scale, one)
                }
            }
        };
        if denominator.is_zero() {
            return None;
        }
        match floor_div(numerator, denominator) {
            Some(price) if price.is_zero() => None,
            price => Some(price),
        }
    }
}

/// The smallest integer with a square of at least `numerator / denominator`.
fn root_above(numerator: Wide, denominator: Wide) -> Option<U256> {
    let floor = isqrt(numerator / denominator);
    let short = floor * floor * denominator < numerator;
    narrow(floor + Wide::from(u8::from(short)))
}

impl PoolState {
    /// What the pool holds of one token, or acts as if it held at its active liquidity; `None` outside
    /// 256 bits.
    fn reserve(self, of_token0: bool) -> Option<U256> {
        match self {
            Self::Reserves { reserve0, reserve1 } => {
                Some(if of_token0 { reserve0 } else { reserve1 })
            }
            Self::Concentrated { sqrt_ratio, liquidity, .. } => {
                let (liquidity, ratio) = (Wide::from(liquidity), Wide::from(sqrt_ratio));
                if of_token0 {
                    floor_div(liquidity << 128, ratio)
                } else {
                    narrow((liquidity * ratio) >> 128)
                }
            }
        }
    }

    /// After liquidity was added to a range. A sum outside 128 bits shows that events are missing; the
    /// state is unknown then until the next swap tells it.
    fn ranged(self, lower: I129, upper: I129, delta: I129) -> Option<Self> {
        match self {
            Self::Concentrated { sqrt_ratio, tick, liquidity } if lower <= tick && tick < upper => {
                let liquidity = if delta.is_negative() {
                    liquidity.checked_sub(delta.magnitude())?
                } else {
                    liquidity.checked_add(delta.magnitude())?
                };
                Some(Self::Concentrated { sqrt_ratio, tick, liquidity })
            }
            other => Some(other),
        }
    }
}
