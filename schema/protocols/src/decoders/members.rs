//! The members that event layouts are made of: how each is read from felts and printed as JSON.
//!
//! Reading is strict. A felt outside its member's type, such as a `u128` of 2¹²⁸ or a sign that is
//! neither 0 nor 1, makes the whole event fit no layout: cutting it down would invent a number.

mod signed;

use obsqra_types::{ContractAddress, Felt, U256, felt_hex};
use serde_json::{Value, json};

pub use signed::{I32, I129, I256, I257};

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

    /// The JSON Schema of what [`Member::json`] gives.
    fn schema() -> Value;
}

/// A felt that is no number: a salt or a class hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opaque(pub Felt);

/// Of an event that another version of its contract emits without this member: `None` where the felts end
/// before it.
impl<T: Member> Member for Option<T> {
    const FELTS: usize = T::FELTS;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        if felts.keys.is_empty() && felts.data.is_empty() {
            return Some(None);
        }
        T::read(felts).map(Some)
    }

    fn json(&self) -> Value {
        self.as_ref().map_or(Value::Null, T::json)
    }

    fn schema() -> Value {
        json!({ "anyOf": [T::schema(), { "type": "null" }] })
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

    fn schema() -> Value {
        T::schema()
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

    fn schema() -> Value {
        felt_schema()
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

    fn schema() -> Value {
        felt_schema()
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

    fn schema() -> Value {
        number_schema()
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

            fn schema() -> Value {
                number_schema()
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

    fn schema() -> Value {
        json!({ "type": "boolean" })
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

    fn schema() -> Value {
        number_schema()
    }
}

fn felt_schema() -> Value {
    json!({ "type": "string", "pattern": "^0x(0|[1-9a-f][0-9a-f]{0,62})$" })
}

fn number_schema() -> Value {
    json!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)$" })
}

/// The schema of the members of an event or of a group of members: all are there, and more may come.
pub(crate) fn members_schema<const N: usize>(members: [(&str, Value); N]) -> Value {
    let names: Vec<&str> = members.iter().map(|(name, _)| *name).collect();
    json!({ "type": "object", "required": names, "properties": members_json(members) })
}

/// The members of an event or of a group of members, by name.
pub(crate) fn members_json<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn read<T: Member>(felts: &[Felt]) -> Option<String> {
        assert_eq!(felts.len(), T::FELTS);
        let mut felts = Felts::new(&[], felts);
        T::read(&mut felts).map(|value| value.json().as_str().unwrap_or("no text").to_owned())
    }

    pub(super) fn power(exponent: u32) -> Felt {
        Felt::TWO.pow(exponent)
    }

    pub(super) fn minus_one(felt: Felt) -> Felt {
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
}
