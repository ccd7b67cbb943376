//! The vocabulary of the project: identifiers, heights, positions, amounts and cursors.
//!
//! Every value that crosses a function boundary elsewhere has a type from here, so that a height is
//! not mistaken for a position in the log, nor a price for an amount. The package does no I/O, reads
//! no clock and knows nothing of how values are stored or hashed.

mod amount;
mod block;
mod chain_id;
mod cursor;
mod hash;
mod job;
mod policy;
mod position;
mod protocol;

pub use amount::{Bps, InvalidBps, MarketId, PriceUsdc, RateE18, RawAmount, SignedPpb, UsdcValue};
pub use block::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ContractAddress, EventIndex, TransactionHash,
    UnixSeconds,
};
pub use chain_id::{ChainId, InvalidChainId};
pub use cursor::{BlockCursor, Cursor, InvalidCursor};
pub use hash::{Hash32, InvalidHash};
pub use job::{InvalidJobKind, JobId, JobKind, JobToken, TraceParent};
pub use policy::{InvalidPolicyId, PolicyId};
pub use position::{LeaseEpoch, Partition, RecordedAt, Seq};
pub use protocol::{InvalidProtocolId, ProtocolId};

pub use ruint::aliases::{U256, U512};
pub use starknet_types_core::felt::Felt;

/// A felt as Starknet nodes print it: `0x` and hex digits without leading zeros.
#[must_use]
pub fn felt_hex(felt: &Felt) -> String {
    felt.to_hex_string()
}

/// Reads a felt from `0x` and at most 64 hex digits, with or without leading zeros.
///
/// Returns `None` for anything else, a value at or above the field's prime included: a lenient
/// reduction would let two spellings name the same key.
#[must_use]
pub fn parse_felt(text: &str) -> Option<Felt> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    if digits.is_empty() || digits.len() > 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut padded = [b'0'; 64];
    padded[64 - digits.len()..].copy_from_slice(digits.as_bytes());
    let mut bytes = [0u8; 32];
    hex::decode_to_slice(padded, &mut bytes).ok()?;
    felt_from_bytes(&bytes)
}

/// Reads a felt from 32 big-endian bytes; `None` when the value is not below the field's prime.
#[must_use]
pub fn felt_from_bytes(bytes: &[u8; 32]) -> Option<Felt> {
    let felt = Felt::from_bytes_be(bytes);
    (felt.to_bytes_be() == *bytes).then_some(felt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parse_felt_refuses_what_is_not_a_felt() {
        let prime = "0x800000000000011000000000000000000000000000000000000000000000001";
        for bad in ["", "0x", "12", "0xg", prime, &format!("0x{}", "1".repeat(65))] {
            assert_eq!(parse_felt(bad), None, "{bad:?}");
        }
        let largest = "0x800000000000011000000000000000000000000000000000000000000000000";
        assert_eq!(parse_felt(largest).map(|f| felt_hex(&f)).as_deref(), Some(largest));
    }

    proptest! {
        #[test]
        fn padding_does_not_change_a_felt(value: u128, zeros in 0usize..20) {
            let padded = format!("0x{}{value:x}", "0".repeat(zeros));
            prop_assert_eq!(parse_felt(&padded), Some(Felt::from(value)));
        }
    }
}
