//! The members that event layouts are made of: how each is read from felts and printed as JSON.
//!
//! Reading is strict. A felt outside its member's type, such as a `u128` of 2¹²⁸ or a sign that is
//! neither 0 nor 1, makes the whole event fit no layout: cutting it down would invent a number.

use std::cmp::Ordering;

use obsqra_types::{ContractAddress, Felt, U256, felt_hex};
use serde_json::{Value, json};

/// The felts of an event's data, read from the front.
pub(crate) struct Felts<'a>(&'a [Felt]);

impl<'a> Felts<'a> {
    pub(crate) fn new(data: &'a [Felt]) -> Self {
        Self(data)
    }

    fn next(&mut self) -> Option<&'a Felt> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
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

/// A signed integer of 128 bits of magnitude; zero is never negative.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct I129 {
    magnitude: u128,
    negative: bool,
}

impl I129 {
    /// The number of that magnitude and sign.
    #[must_use]
    pub fn new(magnitude: u128, negative: bool) -> Self {
        Self { magnitude, negative: negative && magnitude != 0 }
    }

    /// Its distance from zero.
    #[must_use]
    pub fn magnitude(self) -> u128 {
        self.magnitude
    }

    /// Whether it is below zero.
    #[must_use]
    pub fn is_negative(self) -> bool {
        self.negative
    }
}

impl Ord for I129 {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.negative, other.negative) {
            (false, false) => self.magnitude.cmp(&other.magnitude),
            (true, true) => other.magnitude.cmp(&self.magnitude),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
        }
    }
}

impl PartialOrd for I129 {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
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

impl Member for u128 {
    const FELTS: usize = 1;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        Self::try_from(felt_number(felts.next()?)).ok()
    }

    fn json(&self) -> Value {
        json!(self.to_string())
    }
}

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

impl Member for I129 {
    const FELTS: usize = 2;

    fn read(felts: &mut Felts<'_>) -> Option<Self> {
        let magnitude = u128::read(felts)?;
        bool::read(felts).map(|negative| Self::new(magnitude, negative))
    }

    fn json(&self) -> Value {
        let sign = if self.negative { "-" } else { "" };
        json!(format!("{sign}{}", self.magnitude))
    }
}
