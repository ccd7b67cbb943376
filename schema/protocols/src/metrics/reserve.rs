//! A lending reserve: what was supplied, and at what rates it is lent.

use obsqra_types::{Bps, U256};

use super::absence::{Absence, Figure, Reason, or_overflow};
use super::signed::SignedAmount;
use crate::decoders::Change;
use crate::fixed::{Wide, floor_div, pow10};

/// Decimals of accumulators and rates.
const RAY_DECIMALS: u32 = 27;

/// A reserve's state at the end of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Supply {
    /// The reserve was opened before the log begins.
    HistoryMissing,
    /// Opened in the log: the accumulator and the sum of raw amounts; `None` after the sum left 256
    /// bits, from where it cannot come back.
    Known { accumulator: U256, raw: Option<SignedAmount> },
}

/// A reserve's state at the end of a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reserve {
    pub(crate) supply: Supply,
    pub(crate) rates: Option<Rates>,
}

/// Rates of the last `InterestRatesSync`, 27 decimals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rates {
    pub(crate) lending: U256,
    pub(crate) borrowing: U256,
}

impl Reserve {
    pub(crate) fn unseen() -> Self {
        Self { supply: Supply::HistoryMissing, rates: None }
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::Opened => {
                let accumulator = ray();
                self.supply = Supply::Known { accumulator, raw: Some(SignedAmount::default()) };
            }
            Change::Accumulator { lending } => {
                if let Supply::Known { accumulator, .. } = &mut self.supply {
                    *accumulator = *lending;
                }
            }
            Change::Rates { lending, borrowing } => {
                self.rates = Some(Rates { lending: *lending, borrowing: *borrowing });
            }
            Change::Supplied { face_amount } => self.supply.add(*face_amount, false),
            Change::Withdrawn { face_amount } => self.supply.add(*face_amount, true),
            _ => {}
        }
    }

    /// What is supplied, in the token's smallest unit.
    pub(crate) fn supplied(&self, history: &Absence) -> Figure<U256> {
        let Supply::Known { accumulator, raw } = &self.supply else {
            return Err(history.clone());
        };
        let raw = or_overflow(*raw)?;
        if raw.negative {
            return Err(Absence::bare(Reason::NegativeBalance));
        }
        let face = Wide::from(raw.magnitude) * Wide::from(*accumulator);
        or_overflow(floor_div(face, pow10(RAY_DECIMALS)))
    }

    pub(crate) fn utilization(&self) -> Figure<Bps> {
        let Some(Rates { lending, borrowing }) = self.rates else {
            return Err(Absence::new(Reason::NoState, "no InterestRatesSync seen"));
        };
        if borrowing.is_zero() {
            return if lending.is_zero() {
                Ok(Bps(0))
            } else {
                Err(Absence::new(
                    Reason::InvalidRates,
                    format!("lending rate {lending}, borrowing rate 0"),
                ))
            };
        }
        let ratio = floor_div(Wide::from(lending) * Wide::from(Bps::ONE.0), Wide::from(borrowing));
        or_overflow(ratio.and_then(|ratio| Bps::try_from(ratio).ok()))
    }
}

impl Supply {
    fn add(&mut self, face_amount: U256, negative: bool) {
        if let Self::Known { accumulator, raw } = self {
            let scaled = Wide::from(face_amount) * pow10(RAY_DECIMALS);
            let added = floor_div(scaled, Wide::from(*accumulator));
            *raw = raw.zip(added).and_then(|(raw, added)| raw.plus(added, negative));
        }
    }
}

/// 1 at 27 decimals.
fn ray() -> U256 {
    U256::from(10u8).pow(U256::from(RAY_DECIMALS))
}
