//! Positions in the log, and who may append.

use std::fmt;

use crate::{ChainId, ProtocolId};

/// A position in the log: 1 for the first entry, dense, in commit order. 0 stands before the first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Seq(pub u64);

impl Seq {
    /// The position before the first entry.
    pub const BEFORE_FIRST: Self = Self(0);

    /// The position after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// When an entry was appended: microseconds since 1970 UTC by the database's clock, never falling
/// along the log.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct RecordedAt(pub i64);

/// Counts the holders a lease has had; a writer with an older epoch is refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct LeaseEpoch(pub i64);

/// What one writer may hold alone: the unit of leasing.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Partition {
    /// Appends the chain lane of one chain.
    Follower(ChainId),
    /// Applies the read models of one chain.
    Projector(ChainId),
    /// Publishes the log of one chain to the bus.
    Relay(ChainId),
    /// Repeats the facts of one chain on the bus once their block is final.
    FinalRelay(ChainId),
    /// Derives one protocol's risk facts.
    RiskWorker(ChainId, ProtocolId),
    /// Allocates by every policy of one chain.
    Allocator(ChainId),
    /// Retracts derived facts of one chain whose block was reverted.
    Retractor(ChainId),
    /// Attests blocks of one chain that were applied unverified.
    Attestor(ChainId),
    /// Enqueues the reports of one chain's finished days.
    Reporter(ChainId),
    /// Signs checkpoints of the whole log.
    Checkpointer,
    /// Makes read models anew beside the live ones; one at a time, whatever the chain.
    Rebuilder,
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Follower(chain) => write!(f, "follower/{chain}"),
            Self::Projector(chain) => write!(f, "projector/{chain}"),
            Self::Relay(chain) => write!(f, "relay/{chain}"),
            Self::FinalRelay(chain) => write!(f, "final-relay/{chain}"),
            Self::RiskWorker(chain, protocol) => write!(f, "risk/{chain}/{protocol}"),
            Self::Allocator(chain) => write!(f, "allocator/{chain}"),
            Self::Retractor(chain) => write!(f, "retractor/{chain}"),
            Self::Attestor(chain) => write!(f, "attestor/{chain}"),
            Self::Reporter(chain) => write!(f, "reporter/{chain}"),
            Self::Checkpointer => f.write_str("checkpointer"),
            Self::Rebuilder => f.write_str("rebuilder"),
        }
    }
}
