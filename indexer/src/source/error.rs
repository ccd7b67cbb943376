//! What can go wrong with a node, by what helps.

use std::time::Duration;

use obsqra_types::BlockNumber;

/// A node's answer that cannot be used. The node is named by its address without credentials, path or
/// query, which may hold an API key.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The node cannot be reached, does not answer in time, or cuts off.
    #[error("node {node}: {what}: {problem}")]
    Unreachable {
        /// The node.
        node: String,
        /// What was asked.
        what: String,
        /// What happened.
        problem: String,
    },
    /// The node asks to come again later.
    #[error("node {node}: {what}: it asks to slow down ({status})")]
    Busy {
        /// The node.
        node: String,
        /// What was asked.
        what: String,
        /// Its words.
        status: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The answer is not what the specification says.
    #[error("node {node}: {what}: unusable answer: {problem}")]
    Unusable {
        /// The node.
        node: String,
        /// What was asked.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The node does not have the block.
    #[error("node {node}: it has no block {number}")]
    NoBlock {
        /// The node.
        node: String,
        /// The height.
        number: BlockNumber,
    },
    /// The node's address cannot be read.
    #[error("`{0}` is no node address: expected http:// or https:// and a host")]
    Address(String),
}

/// What helps against an error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Remedy {
    /// Time: the node will be back.
    Wait(Option<Duration>),
    /// A few tries: if the answer stays the same, it is not going to change.
    RetryBounded,
    /// Nothing.
    None,
}

impl SourceError {
    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            // A node behind a load balancer may lag behind the one that told the head.
            Self::Unreachable { .. } | Self::NoBlock { .. } => Remedy::Wait(None),
            Self::Busy { retry_after, .. } => Remedy::Wait(*retry_after),
            Self::Unusable { .. } => Remedy::RetryBounded,
            Self::Address(_) => Remedy::None,
        }
    }
}
