//! Felts out of other things: text, signed and 256-bit numbers, and made-up values.
//!
//! A made-up value is SHA-256 over a domain and its inputs, cut to 251 bits so that it is below the
//! field's prime on every platform without a reduction.

use ruint::aliases::U256;
use sha2::{Digest, Sha256};
use starknet_types_core::felt::Felt;

/// A made-up felt: a function of the domain and the parts, and of nothing else.
pub(crate) fn made_up(domain: &str, parts: &[&[u8]]) -> Felt {
    let mut hash = Sha256::new();
    hash.update(u64::try_from(domain.len()).unwrap_or(u64::MAX).to_be_bytes());
    hash.update(domain.as_bytes());
    for part in parts {
        hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hash.update(part);
    }
    let mut bytes: [u8; 32] = hash.finalize().into();
    bytes[0] &= 0x07;
    Felt::from_bytes_be(&bytes)
}

/// The ASCII bytes of a short name as one big-endian number.
pub(crate) fn name(text: &str) -> Felt {
    Felt::from_bytes_be_slice(text.as_bytes())
}

/// A `u256` as Starknet lays it out: low half, high half.
pub(crate) fn u256(value: U256) -> [Felt; 2] {
    let [a, b, c, d] = *value.as_limbs();
    [wide(a, b), wide(c, d)]
}

fn wide(low: u64, high: u64) -> Felt {
    Felt::from(u128::from(high) << 64 | u128::from(low))
}

/// An `i129` as Starknet lays it out: magnitude, then 1 for negative. Zero has no sign.
pub(crate) fn i129(value: i128) -> [Felt; 2] {
    [Felt::from(value.unsigned_abs()), Felt::from(u8::from(value < 0))]
}
