//! A running sum of amounts that may fall below zero.

use obsqra_types::U256;

use crate::I257;

/// A signed integer of 256 bits of magnitude; zero is never negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct SignedAmount {
    pub(crate) magnitude: U256,
    pub(crate) negative: bool,
}

impl SignedAmount {
    /// The sum; `None` where it leaves 256 bits.
    pub(crate) fn plus(self, magnitude: U256, negative: bool) -> Option<Self> {
        if self.negative == negative {
            return Some(Self { magnitude: self.magnitude.checked_add(magnitude)?, negative });
        }
        Some(if self.magnitude > magnitude {
            Self { magnitude: self.magnitude - magnitude, negative: self.negative }
        } else {
            let difference = magnitude - self.magnitude;
            Self { magnitude: difference, negative: negative && !difference.is_zero() }
        })
    }

    pub(crate) fn plus_delta(self, delta: I257) -> Option<Self> {
        self.plus(delta.magnitude(), delta.is_negative())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_cross_zero_and_stop_at_256_bits() {
        let five = SignedAmount::default().plus(U256::from(5u8), false).unwrap();
        let minus_two = five.plus(U256::from(7u8), true).unwrap();
        assert_eq!((minus_two.magnitude, minus_two.negative), (U256::from(2u8), true));
        assert_eq!(minus_two.plus(U256::from(2u8), false), Some(SignedAmount::default()));
        assert_eq!(minus_two.plus(U256::MAX, true), None);
        assert_eq!(five.plus(U256::MAX, false), None);
        assert_eq!(five.plus(U256::from(5u8), true), Some(SignedAmount::default()));
    }
}
