//! Felts as nodes spell them: `0x`, at most 64 hex digits, with or without leading zeros.
//!
//! A value at or above the field's prime, no digits, or more than 64 are refused: reduced or cut,
//! two spellings would name the same key. The text is read where it stands in the answer, without a
//! copy, and the bound is checked on its digits: most of the time that a block takes to be read
//! goes into its felts, and going back from a felt to its bytes would cost as much again.

use std::fmt;

use obsqra_types::Felt;
use serde::de::{self, Deserialize, Deserializer, Visitor};

/// A felt of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HexFelt(pub(crate) Felt);

impl<'de> Deserialize<'de> for HexFelt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(HexVisitor)
    }
}

struct HexVisitor;

impl Visitor<'_> for HexVisitor {
    type Value = HexFelt;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a felt: 0x and 1 to 64 hex digits, below the field's prime")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<HexFelt, E> {
        read(text.as_bytes())
            .map(HexFelt)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Other("another text"), &self))
    }
}

/// The field's prime, 2²⁵¹ + 17·2¹⁹² + 1, big-endian.
const PRIME: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 0x08;
    bytes[7] = 0x11;
    bytes[31] = 0x01;
    bytes
};

/// Most digits of a felt.
const MAX_DIGITS: usize = 64;

fn read(text: &[u8]) -> Option<Felt> {
    let (b'0', b'x' | b'X') = (*text.first()?, *text.get(1)?) else {
        return None;
    };
    let digits = text.get(2..)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS {
        return None;
    }
    let mut bytes = [0_u8; 32];
    // From the last digit on, two to a byte.
    for (byte, pair) in bytes.iter_mut().rev().zip(digits.rchunks(2)) {
        *byte = match *pair {
            [high, low] => digit(high)? << 4 | digit(low)?,
            [low] => digit(low)?,
            _ => return None,
        };
    }
    (bytes < PRIME).then(|| Felt::from_bytes_be(&bytes))
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

/// A number in hex of at most 128 bits, as prices are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HexU128(pub(crate) u128);

impl<'de> Deserialize<'de> for HexU128 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let HexFelt(felt) = HexFelt::deserialize(deserializer)?;
        u128::try_from(felt).map(HexU128).map_err(|_| de::Error::custom("it is beyond 128 bits"))
    }
}

#[cfg(test)]
mod tests {
    use obsqra_types::parse_felt;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn padding_is_free_and_everything_else_is_refused() {
        let read = |text: &str| serde_json::from_str::<HexFelt>(text).ok().map(|felt| felt.0);
        let padded = format!("\"0x{}\"", "0".repeat(62) + "1f");
        for good in ["\"0x1f\"", "\"0x01F\"", padded.as_str()] {
            assert_eq!(read(good), Some(Felt::from(0x1f_u32)), "{good}");
        }
        let long = format!("\"0x{}\"", "0".repeat(63) + "1f");
        let prime = "\"0x800000000000011000000000000000000000000000000000000000000000001\"";
        for bad in ["\"0x\"", "\"1f\"", "\"0xg\"", "31", "null", "\"\"", long.as_str(), prime] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn prices_end_at_128_bits() {
        let read = |text: &str| serde_json::from_str::<HexU128>(text).ok().map(|price| price.0);
        assert_eq!(read("\"0xffffffffffffffffffffffffffffffff\""), Some(u128::MAX));
        assert_eq!(read("\"0x100000000000000000000000000000000\""), None);
    }

    proptest! {
        #[test]
        fn it_reads_what_the_rest_of_the_project_reads(
            text in "0[xX]0{0,3}[07-9a-fA-F]{0,64}|0x8000000000000[01]{3}0{40,48}[01]|.{0,70}",
        ) {
            prop_assert_eq!(read(text.as_bytes()), parse_felt(&text));
        }
    }
}
