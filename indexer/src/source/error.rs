//! What can go wrong with a node, by what helps.

use std::fmt;
use std::time::Duration;

use obsqra_events::{Difference, SourcesDisagreed};
use obsqra_types::{BlockHash, BlockNumber, ChainId};

use crate::completeness::Mismatch;
use crate::planner::BlockId;

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
    /// The server never had the block to start after.
    #[error(
        "node {node}: it never had block {} with hash {}: start after an older block, or check that it serves the same chain",
        .block.number, .block.hash
    )]
    UnknownCursor {
        /// The node.
        node: String,
        /// The block.
        block: BlockId,
    },
    /// The server does not have the block to start at or after yet.
    #[error("node {node}: it has not come to block {block} yet")]
    Ahead {
        /// The node.
        node: String,
        /// The height.
        block: BlockNumber,
    },
    /// The server's chain begins above the block to start after.
    #[error(
        "node {node}: it has no blocks below {first}, wanted is what follows {block}: use a node with the whole chain"
    )]
    BeforeStart {
        /// The node.
        node: String,
        /// The block to start after.
        block: BlockNumber,
        /// The first block it has.
        first: BlockNumber,
    },
    /// The server does not let us in.
    #[error("node {node}: it does not accept the token, or wants one: {words}; set a valid token")]
    Unauthorized {
        /// The node.
        node: String,
        /// Its words.
        words: String,
    },
    /// The server does not do what is asked.
    #[error(
        "node {node}: {what}: it refuses: {words}; check the settings and that it is a DNA server of Starknet"
    )]
    Refused {
        /// The node.
        node: String,
        /// What was asked.
        what: String,
        /// Its words.
        words: String,
    },
    /// Nothing came for longer than the server promised.
    #[error(
        "node {node}: stream: no message for {limit:?}, twice the heartbeat that was asked for: it is given up"
    )]
    Silent {
        /// The node.
        node: String,
        /// How long was waited.
        limit: Duration,
    },
    /// More contracts than fit a request.
    #[error(
        "{given} contracts are watched, a DNA stream takes at most {limit}: watch fewer, or follow a JSON-RPC node"
    )]
    TooManyContracts {
        /// How many there are.
        given: usize,
        /// How many there may be.
        limit: usize,
    },
    /// The heartbeat cannot be asked for.
    #[error("a heartbeat of {0:?} cannot be asked for: servers take 10 s to 60 s")]
    Heartbeat(Duration),
    /// The address has more than gRPC sends.
    #[error(
        "DNA server {0}: its address has a path, a query or credentials, which are not sent: give scheme, host and port, and the token by itself"
    )]
    AddressHasMore(String),
    /// The node's address cannot be read.
    #[error("`{0}` is no node address: expected http:// or https:// and a host")]
    Address(String),
    /// The node's WebSocket address cannot be read.
    #[error(
        "node {node}: `{found}` is no WebSocket address: expected ws:// or wss:// and a host, or none"
    )]
    SocketAddress {
        /// The node.
        node: String,
        /// What is there instead, without what may be secret.
        found: String,
    },
    /// The node answers by an edition of the specification that is not understood.
    #[error(
        "node {node}: it answers by JSON-RPC specification {found}, understood are {known}: use an address that serves one of those"
    )]
    UnknownSpec {
        /// The node.
        node: String,
        /// What it says.
        found: String,
        /// What is understood.
        known: String,
    },
    /// The node serves another chain.
    #[error(
        "node {node}: it serves chain {found}, expected is {expected}: take the node out of the settings, or point it at {expected}"
    )]
    OtherChain {
        /// The node.
        node: String,
        /// Its chain.
        found: ChainId,
        /// The chain that is followed.
        expected: ChainId,
    },
    /// The range that was read is not, or no longer, the one that ends in the block stated.
    #[error(
        "node {node}: block {number} should be {expected} and {}: the range was not read, begin again from the node's head",
        .found.map_or_else(|| "is not there".to_owned(), |found| format!("is {found}"))
    )]
    RangeMoved {
        /// The node.
        node: String,
        /// The range's last height.
        number: BlockNumber,
        /// The hash that the caller stated.
        expected: BlockHash,
        /// The hash that is there.
        found: Option<BlockHash>,
    },
    /// The block's parts do not belong together.
    #[error("node {}: {}", .0.node, .0)]
    Mismatch(Box<MismatchedBlock>),
    /// Another node has another block at the height, and the one that can be checked is not this one's.
    #[error(
        "node {node}: block {}: {} has it otherwise{}",
        .disagreed.number, .other, if *.undecided {
            ", and neither can be checked: add a node of JSON-RPC specification 0.10"
        } else {
            ", and there it can be checked"
        }
    )]
    Contradicted {
        /// The node.
        node: String,
        /// The one that contradicts it.
        other: String,
        /// Whether neither of the two can be checked.
        undecided: bool,
        /// What each of them says.
        disagreed: Box<SourcesDisagreed>,
    },
    /// Another node leads now, so what was learned from this one must not be mixed with what comes.
    #[error("node {from} no longer leads, {to} does: begin anew{}", ended_by(.because.as_deref()))]
    LeaderChanged {
        /// The node that was asked.
        from: String,
        /// The node to ask now.
        to: String,
        /// What the node that was asked got wrong last, when the question itself ended its lead.
        because: Option<Box<SourceError>>,
    },
    /// There is no node.
    #[error("no node is set: give at least one address")]
    NoNodes,
}

/// A block whose parts do not belong together, and the answer that it came in.
#[derive(Clone, PartialEq, Eq)]
pub struct MismatchedBlock {
    /// The node.
    pub node: String,
    /// What differs.
    pub mismatch: Mismatch,
    /// The answer.
    pub answer: Vec<u8>,
}

impl fmt::Display for MismatchedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Mismatch { number, differences, .. } = &self.mismatch;
        write!(f, "block {number} is not whole: ")?;
        for (index, difference) in differences.iter().enumerate() {
            let Difference { member, stated, computed } = difference;
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{member} is stated as {stated}, and its content makes {computed}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MismatchedBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({} bytes of answer)", self.answer.len())
    }
}

fn ended_by(error: Option<&SourceError>) -> String {
    error.map_or_else(String::new, |error| format!(" ({error})"))
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
    /// The error itself, where it is told of as what ended a node's lead.
    #[must_use]
    pub fn cause(&self) -> &Self {
        match self {
            Self::LeaderChanged { because: Some(because), .. } => because.cause(),
            other => other,
        }
    }

    /// Whether it says that a node's block is not whole, or not the one that another node has.
    #[must_use]
    pub fn is_finding(&self) -> bool {
        matches!(self.cause(), Self::Mismatch(_) | Self::Contradicted { .. })
    }

    /// What helps.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            // Another node is tried at once; when none has a block that is whole, trying does not go on for ever.
            Self::LeaderChanged { .. } if self.is_finding() => Remedy::RetryBounded,
            // A node behind a load balancer may lag behind the one that told the head, and a chain
            // that moved under a range read settles again.
            Self::Unreachable { .. }
            | Self::NoBlock { .. }
            | Self::RangeMoved { .. }
            | Self::LeaderChanged { .. }
            | Self::Ahead { .. }
            | Self::Silent { .. } => Remedy::Wait(None),
            Self::Busy { retry_after, .. } => Remedy::Wait(*retry_after),
            Self::Unusable { .. }
            | Self::UnknownCursor { .. }
            | Self::Mismatch(_)
            | Self::Contradicted { .. } => Remedy::RetryBounded,
            Self::BeforeStart { .. }
            | Self::Unauthorized { .. }
            | Self::Refused { .. }
            | Self::TooManyContracts { .. }
            | Self::Heartbeat(_)
            | Self::AddressHasMore(_)
            | Self::Address(_)
            | Self::SocketAddress { .. }
            | Self::UnknownSpec { .. }
            | Self::OtherChain { .. }
            | Self::NoNodes => Remedy::None,
        }
    }
}
