//! Blocks, transactions and contracts, as the chain names them.

use std::fmt;

use crate::Felt;

macro_rules! felt_newtype {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Felt);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&crate::felt_hex(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

felt_newtype!(
    /// A block's hash.
    BlockHash
);
felt_newtype!(
    /// A transaction's hash.
    TransactionHash
);
felt_newtype!(
    /// A contract's address.
    ContractAddress
);

/// A block's height; the genesis block has 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BlockNumber(pub u64);

impl BlockNumber {
    /// The height above.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The height below; `None` for the genesis block.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        self.0.checked_sub(1).map(Self)
    }
}

impl fmt::Display for BlockNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the reorganisations that a chain's log holds before a block was applied.
///
/// A height and a branch epoch name one applied block: after a revert every block above the fork is
/// applied with a higher epoch, so at each height at or below the tip the canonical block is the one
/// with the highest epoch. It lets a block be applied again after A → B → A.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BranchEpoch(pub u32);

impl fmt::Display for BranchEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The place of an event in its block, counted over all transactions from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct EventIndex(pub u32);

/// Seconds since 1970-01-01 00:00 UTC, as block headers carry them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The instant as a UTC date; `None` beyond the calendar's range.
    #[must_use]
    pub fn to_datetime(self) -> Option<chrono::DateTime<chrono::Utc>> {
        chrono::DateTime::from_timestamp(i64::try_from(self.0).ok()?, 0)
    }
}

/// One applied block: where it stands, on which branch, and when.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct BlockRef {
    /// Height.
    pub number: BlockNumber,
    /// Branch on which the block was applied.
    pub epoch: BranchEpoch,
    /// Header timestamp.
    pub timestamp: UnixSeconds,
}
