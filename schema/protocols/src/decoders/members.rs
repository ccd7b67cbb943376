//! The members that event layouts are made of: how each is read from felts and printed as JSON.
//!
//! Reading is strict. A felt outside its member's type, such as a `u128` of 2¹²⁸ or a sign that is
//! neither 0 nor 1, makes the whole event fit no layout: cutting it down would invent a number.

use std::cmp::Ordering;

use obsqra_types::{ContractAddress, Felt, U256, felt_hex};
use serde_json::{Value, json};

/// The felts of an event's members, read from the front: the keys after the selector, then the data.
pub(crate) struct Felts<'a> {
    keys: &'a [Felt],
    data: &'a [Felt],
}

impl<'a> Felts<'a> {
    pub(crate) fn new(keys: &'a [Felt], data: &'a [Felt]) -> Self {
        Self { keys, data }
    }

    fn next(&mut self) -> Option<&'a Felt> {
        let part = if self.keys.is_empty() { &mut self.data } else { &mut self.keys };
        let (first, rest) = part.split_first()?;
        *part = rest;
        Some(first)
    }
}

/// A member of fixed width.
pub(crate) trait Member: Sized {
    /// How many felts it takes.
    const FELTS: usize;

    /// Reads it; `None` when a felt is outside its type.
    fn read(felts: &mut Felts<'_>) -> Option<Self>;

    /// Amounts as decimal strings, addresses and opaque felts as hex.
    fn json(&self) -> Value;
}

/// A felt that is no number: a salt or a class hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opaque(pub Felt);

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

/// For members so wide that they would make every event of their decoder as large.
impl<T: Member> Member for Box<T> {
    const FELTS: usize = T::FELTS;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        T::read(felts).map(Self::new)
    }

    fn json(&self) -> Value {
        T::json(self)
    }
}

impl Member for ContractAddress {
    const FELTS: usize = 1;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        felts.next().map(|felt| Self(*felt))
    }

    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

impl Member for Opaque {
    const FELTS: usize = 1;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        felts.next().map(|felt| Self(*felt))
    }

    fn json(&self) -> Value {
        json!(felt_hex(&self.0))
    }
}

/// A felt that is an unsigned number, as Cairo 0 contracts write amounts.
impl Member for Felt {
    const FELTS: usize = 1;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        felts.next().copied()
    }

    fn json(&self) -> Value {
        json!(felt_number(self).to_string())
    }
}

/// A felt's value as an integer.
pub(crate) fn felt_number(felt: &Felt) -> U256 {
    U256::from_be_bytes(felt.to_bytes_be())
}

/// Declares an unsigned integer of one felt.
macro_rules! unsigned_member {
    ($($type:ty),+) => {$(
        impl Member for $type {
            const FELTS: usize = 1;

            fn read(felts: &mut Felts<'_>) -> Option<Self> {
                Self::try_from(felt_number(felts.next()?)).ok()
            }

            fn json(&self) -> Value {
                json!(self.to_string())
            }
        }
    )+};
}

unsigned_member!(u32, u64, u128);

impl Member for bool {
    const FELTS: usize = 1;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        match u128::read(felts)? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn json(&self) -> Value {
        json!(self)
    }
}

impl Member for U256 {
    const FELTS: usize = 2;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        let low = u128::read(felts)?;
        let high = u128::read(felts)?;
        Some((Self::from(high) << 128) | Self::from(low))
    }

    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

/// The members of an event or of a group of members, by name.
pub(crate) fn members_json<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: Member>(felts: &[Felt]) -> Option<String> {
        assert_eq!(felts.len(), T::FELTS);
        let mut felts = Felts::new(&[], felts);
        T::read(&mut felts).map(|value| value.json().as_str().unwrap_or("no text").to_owned())
    }

    fn power(exponent: u32) -> Felt {
        Felt::TWO.pow(exponent)
    }

    fn minus_one(felt: Felt) -> Felt {
        felt - Felt::ONE
    }

    #[test]
    fn unsigned_integers_end_at_their_width() {
        assert_eq!(read::<u32>(&[minus_one(power(32))]).as_deref(), Some("4294967295"));
        assert_eq!(read::<u32>(&[power(32)]), None);
        assert_eq!(read::<u64>(&[minus_one(power(64))]), Some(u64::MAX.to_string()));
        assert_eq!(read::<u64>(&[power(64)]), None);
        assert_eq!(read::<u128>(&[minus_one(power(128))]), Some(u128::MAX.to_string()));
        assert_eq!(read::<u128>(&[power(128)]), None);
        assert_eq!(read::<u128>(&[minus_one(Felt::ZERO)]), None);
    }

    #[test]
    fn u256_has_two_limbs_of_128_bits() {
        let limb = minus_one(power(128));
        assert_eq!(read::<U256>(&[limb, limb]), Some(U256::MAX.to_string()));
        assert_eq!(read::<U256>(&[power(128), Felt::ZERO]), None);
        assert_eq!(read::<U256>(&[Felt::ZERO, power(128)]), None);
    }

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
