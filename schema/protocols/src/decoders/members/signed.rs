//! Signed integers as contracts write them: a magnitude and a sign.
//!
//! Each has the bounds that its source enforces: libraries that stand in for two's complement allow one
//! more below zero than above. Sources write zero with either sign, and here it has one, so that equal
//! numbers are equal values.

use std::cmp::Ordering;

use obsqra_types::U256;
use serde_json::{Value, json};

use super::{Felts, Member};

/// Declares a signed integer that is written as a magnitude and a sign, with the greatest magnitudes
/// that its source allows above and below zero.
macro_rules! signed_member {
    (
        $(#[$doc:meta])*
        $name:ident($magnitude:ty) up to $positive:expr, down to $negative:expr
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub struct $name {
            magnitude: $magnitude,
            negative: bool,
        }

        impl $name {
            /// Its distance from zero.
            #[must_use]
            pub fn magnitude(self) -> $magnitude {
                self.magnitude
            }

            /// Whether it is below zero.
            #[must_use]
            pub fn is_negative(self) -> bool {
                self.negative
            }

            /// Whether it is zero.
            #[must_use]
            pub fn is_zero(self) -> bool {
                self == Self::signed(<$magnitude>::MIN, false)
            }

            /// Sources write zero with either sign; here it has one.
            fn signed(magnitude: $magnitude, negative: bool) -> Self {
                Self { magnitude, negative: negative && magnitude != <$magnitude>::MIN }
            }
        }

        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                match (self.negative, other.negative) {
                    (false, false) => self.magnitude.cmp(&other.magnitude),
                    (true, true) => other.magnitude.cmp(&self.magnitude),
                    (true, false) => Ordering::Less,
                    (false, true) => Ordering::Greater,
                }
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl Member for $name {
            const FELTS: usize = <$magnitude as Member>::FELTS + 1;

            fn read(felts: &mut Felts<'_>) -> Option<Self> {
                let magnitude = <$magnitude as Member>::read(felts)?;
                let negative = bool::read(felts)?;
                let greatest = if negative { $negative } else { $positive };
                (magnitude <= greatest).then(|| Self::signed(magnitude, negative))
            }

            fn json(&self) -> Value {
                let sign = if self.negative { "-" } else { "" };
                json!(format!("{sign}{}", self.magnitude))
            }

            fn schema() -> Value {
                json!({ "type": "string", "pattern": "^(0|-?[1-9][0-9]*)$" })
            }
        }
    };
}

signed_member! {
    /// A signed integer of 128 bits of magnitude; zero is never negative.
    I129(u128) up to u128::MAX, down to u128::MAX
}

signed_member! {
    /// A signed integer of 256 bits of magnitude; zero is never negative.
    I257(U256) up to U256::MAX, down to U256::MAX
}

signed_member! {
    /// A signed integer of the range of 256 bits in two's complement; zero is never negative.
    I256(U256) up to TWO_POW_255 - U256::ONE, down to TWO_POW_255
}

signed_member! {
    /// A signed integer of the range of 32 bits in two's complement; zero is never negative.
    I32(u32) up to TWO_POW_31 - 1, down to TWO_POW_31
}

const TWO_POW_31: u32 = 1 << 31;
const TWO_POW_255: U256 = U256::from_limbs([0, 0, 0, 1 << 63]);

impl I129 {
    /// The number of that magnitude and sign.
    #[must_use]
    pub fn new(magnitude: u128, negative: bool) -> Self {
        Self::signed(magnitude, negative)
    }
}

impl I257 {
    /// The number of that magnitude and sign.
    #[must_use]
    pub fn new(magnitude: U256, negative: bool) -> Self {
        Self::signed(magnitude, negative)
    }
}

impl From<I32> for I129 {
    fn from(narrow: I32) -> Self {
        Self::signed(u128::from(narrow.magnitude), narrow.negative)
    }
}

impl From<I129> for I257 {
    fn from(narrow: I129) -> Self {
        Self::signed(U256::from(narrow.magnitude), narrow.negative)
    }
}

impl From<I256> for I257 {
    fn from(narrow: I256) -> Self {
        Self::signed(narrow.magnitude, narrow.negative)
    }
}

#[cfg(test)]
mod tests {
    use obsqra_types::Felt;

    use super::super::tests::{minus_one, power, read};
    use super::*;

    #[test]
    fn i129_has_any_magnitude_of_128_bits() {
        let limb = minus_one(power(128));
        assert_eq!(read::<I129>(&[limb, Felt::ZERO]), Some(u128::MAX.to_string()));
        assert_eq!(read::<I129>(&[limb, Felt::ONE]), Some(format!("-{}", u128::MAX)));
        assert_eq!(read::<I129>(&[power(128), Felt::ZERO]), None);
        assert_eq!(read::<I129>(&[Felt::ONE, Felt::TWO]), None);
    }

    #[test]
    fn i257_has_any_magnitude_of_256_bits() {
        let limb = minus_one(power(128));
        assert_eq!(read::<I257>(&[limb, limb, Felt::ZERO]), Some(U256::MAX.to_string()));
        assert_eq!(read::<I257>(&[limb, limb, Felt::ONE]), Some(format!("-{}", U256::MAX)));
        assert_eq!(read::<I257>(&[power(128), Felt::ZERO, Felt::ZERO]), None);
        assert_eq!(read::<I257>(&[Felt::ONE, Felt::ZERO, Felt::TWO]), None);
    }

    #[test]
    fn i256_ends_where_twos_complement_does() {
        let (limb, half) = (minus_one(power(128)), power(127));
        let greatest = TWO_POW_255 - U256::ONE;
        assert_eq!(read::<I256>(&[limb, minus_one(half), Felt::ZERO]), Some(greatest.to_string()));
        assert_eq!(read::<I256>(&[Felt::ZERO, half, Felt::ZERO]), None);
        assert_eq!(read::<I256>(&[Felt::ZERO, half, Felt::ONE]), Some(format!("-{TWO_POW_255}")));
        assert_eq!(read::<I256>(&[Felt::ONE, half, Felt::ONE]), None);
        assert_eq!(read::<I256>(&[Felt::ONE, Felt::ZERO, Felt::TWO]), None);
    }

    #[test]
    fn i32_ends_where_twos_complement_does() {
        let end = power(31);
        assert_eq!(read::<I32>(&[minus_one(end), Felt::ZERO]).as_deref(), Some("2147483647"));
        assert_eq!(read::<I32>(&[end, Felt::ZERO]), None);
        assert_eq!(read::<I32>(&[end, Felt::ONE]).as_deref(), Some("-2147483648"));
        assert_eq!(read::<I32>(&[end + Felt::ONE, Felt::ONE]), None);
        assert_eq!(read::<I32>(&[power(32), Felt::ONE]), None);
        assert_eq!(read::<I32>(&[Felt::ONE, Felt::TWO]), None);
    }

    #[test]
    fn zero_has_one_sign() {
        let minus_zero = [Felt::ZERO, Felt::ZERO, Felt::ONE];
        assert_eq!(read::<I129>(&minus_zero[1..]).as_deref(), Some("0"));
        assert_eq!(read::<I32>(&minus_zero[1..]).as_deref(), Some("0"));
        assert_eq!(read::<I256>(&minus_zero).as_deref(), Some("0"));
        assert_eq!(read::<I257>(&minus_zero).as_deref(), Some("0"));
    }
}
