//! Why following a chain stops.

use obsqra_store::StoreError;
use obsqra_types::{BlockHash, BlockNumber, ChainId};

use obsqra_protocols::RegistryError;

use crate::source::{Remedy, SourceError};

/// An error that the follower does not get over by itself.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The node's answers cannot be used.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The log cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An adopted registry cannot be read.
    #[error("registry: {0}")]
    Registry(#[source] RegistryError),
    /// The node serves another chain than the log holds.
    #[error(
        "node {node} serves chain {found}, this log follows {expected}: point OBSQRA_RPC_URL at a node of {expected}, or use another data directory"
    )]
    WrongChain {
        /// The node.
        node: String,
        /// Its chain.
        found: ChainId,
        /// The log's chain.
        expected: ChainId,
    },
    /// A block does not link to the one below, and the node keeps saying so.
    #[error(
        "node {node}: block {number} names {parent} as its parent, but the node's block below has hash {below}: the node contradicts itself, use another node"
    )]
    Unlinked {
        /// The node.
        node: String,
        /// The block's height.
        number: BlockNumber,
        /// The parent hash it names.
        parent: BlockHash,
        /// The hash of the block below.
        below: BlockHash,
    },
    /// The node's chain leaves ours below a block that is accepted on L1.
    #[error(
        "node {node}: its block {number} is not the one in the log, although blocks up to {finalized} are accepted on L1: nothing was reverted; check the node"
    )]
    BelowFinal {
        /// The node.
        node: String,
        /// The highest height at which both chains were compared.
        number: BlockNumber,
        /// The highest block accepted on L1.
        finalized: BlockNumber,
    },
    /// The watched set changes while blocks are attested.
    #[error("the watched set is being widened (`obsqra watch list`): attest once that is complete")]
    WideningUnderWay,
    /// Nothing in common down to the first block of the log.
    #[error(
        "node {node}: it has another block {first}, the first in the log: the node serves another history of {chain}"
    )]
    NoCommonBlock {
        /// The node.
        node: String,
        /// The chain.
        chain: ChainId,
        /// The first block of the log.
        first: BlockNumber,
    },
}

impl IndexError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Source(error) => error.remedy(),
            Self::Store(error) if error.is_transient() => Remedy::Wait(None),
            Self::Unlinked { .. } | Self::NoCommonBlock { .. } | Self::WideningUnderWay => {
                Remedy::RetryBounded
            }
            // Another process follows: what this one knew is stale, and whoever runs it should know.
            Self::Store(StoreError::LeaseLost(_)) => Remedy::None,
            Self::Store(_)
            | Self::Registry(_)
            | Self::WrongChain { .. }
            | Self::BelowFinal { .. } => Remedy::None,
        }
    }
}
