//! What goes wrong on purpose: faults that tests inject and scripts list.
//!
//! A fault waits for calls within its scope and is used up by them, the oldest first. Faults change what a
//! client sees, never the chain; a competing chain is made with `DevNode::reorg`. A fault of the WebSocket
//! waits for notices of `starknet_subscribeNewHeads` and is not used up by calls.

mod spoil;

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

/// Longest hang or drip, in milliseconds.
pub const MAX_HANG_MILLIS: u64 = 120_000;

/// Longest padding, in bytes.
pub const MAX_PADDING_BYTES: u64 = 128 * 1024 * 1024;

/// Most pieces of a drip.
pub const MAX_DRIP_PIECES: u32 = 10_000;

/// The method under whose name a notice of a new block waits for faults.
pub const NEW_HEADS_NOTICE: &str = "starknet_subscriptionNewHeads";

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// `starknet_chainId` answers with this name.
    WrongChainId(String),
    /// HTTP 429.
    TooManyRequests {
        /// Value of `Retry-After`, in seconds; without it the header is left out.
        retry_after_seconds: Option<u32>,
    },
    /// HTTP 500 with a text body.
    ServerError,
    /// HTTP 503 with a text body.
    ServiceUnavailable,
    /// HTTP 200 with a JSON-RPC error of code 429.
    RateLimitedInBody,
    /// HTTP 200 with a body that is no JSON.
    GarbageBody,
    /// HTTP 200 with a page of HTML that says so in its content type.
    HtmlBody,
    /// HTTP 200 with nothing in it.
    EmptyBody,
    /// HTTP 200 with the body `{}`.
    EmptyObject,
    /// The result is `null`.
    NullResult,
    /// The body ends in the middle, and its length says that this is all.
    TruncatedJson,
    /// The connection ends in the middle of the body.
    TruncatedBody,
    /// The connection ends after the headers.
    ClosedBeforeBody,
    /// The connection is reset in place of an answer.
    ConnectionReset,
    /// The answer comes after this time, at most two minutes.
    Hang {
        /// How long, in milliseconds.
        millis: u64,
    },
    /// The body comes in pieces, with a pause before each; at most two minutes in all.
    SlowDrip {
        /// How many pieces, at most [`MAX_DRIP_PIECES`].
        pieces: u32,
        /// The pause, in milliseconds.
        pause_millis: u64,
    },
    /// The block names another parent.
    WrongParentHash,
    /// The block has another hash than the one it has.
    WrongHash,
    /// The block has another time than the one it has.
    WrongTimestamp,
    /// Every second answer, the first one included, gives the block another hash.
    AlternatingHash,
    /// The answer is about the block that lies so many above the one asked for, or below it.
    NeighbourBlock {
        /// How far above; negative is below.
        above: i64,
    },
    /// The node says that it has no such block.
    BlockMissing,
    /// A transaction of the block has a type that nobody knows.
    UnknownTransactionType,
    /// The block has a member that nobody knows; a client should not mind.
    UnknownField,
    /// An event has a member that nobody knows; a client should not mind.
    UnknownEventMember,
    /// The receipts of the block have no list of events.
    MissingEvents,
    /// The last event of the block is left out.
    LostEvent,
    /// The first event of the block stands there twice.
    DuplicateEvent,
    /// A key of the first event is the field's prime, one more than a felt can be. Some client libraries
    /// reduce it and find nothing wrong.
    FeltOutOfRange,
    /// The header has no counts and commitments, as before spec 0.10.
    MissingCommitments,
    /// The first event's data is longer by so many bytes of JSON.
    LongEventData {
        /// How much longer, in bytes; at most [`MAX_PADDING_BYTES`].
        bytes: u64,
    },
    /// The block has a member of so many bytes that nobody knows; a client should not mind.
    Padding {
        /// How long, in bytes; at most [`MAX_PADDING_BYTES`].
        bytes: u64,
    },
    /// `starknet_blockNumber` and `starknet_blockHashAndNumber` answer with an older block.
    HeadBackwards {
        /// How many blocks older.
        blocks: u64,
    },
    /// The WebSocket ends in place of a notice.
    WebSocketDrop,
    /// The WebSocket stays open, and no notice comes from now on.
    WebSocketSilence,
    /// A frame that is no JSON comes in place of a notice.
    WebSocketGarbage,
}

/// Which calls a fault waits for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaultScope {
    /// This method only.
    #[serde(default)]
    pub method: Option<String>,
    /// Calls about the block of this height only.
    #[serde(default)]
    pub block: Option<u64>,
    /// How many calls it spoils.
    pub times: u32,
}

impl FaultScope {
    /// The next calls, whatever they are.
    pub fn next_calls(times: u32) -> Self {
        Self { method: None, block: None, times }
    }

    /// The next calls of a method.
    pub fn method(method: impl Into<String>, times: u32) -> Self {
        Self { method: Some(method.into()), block: None, times }
    }

    /// The same about one block only.
    #[must_use]
    pub fn at_block(self, number: u64) -> Self {
        Self { block: Some(number), ..self }
    }
}

/// A fault of a script: `[{"fault": {"hang": {"millis": 50}}, "scope": {"times": 1}}]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScriptedFault {
    /// What goes wrong.
    pub fault: Fault,
    /// When.
    pub scope: FaultScope,
}

/// The faults that still wait.
#[derive(Debug, Default)]
pub struct Faults {
    waiting: Mutex<VecDeque<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    scripted: ScriptedFault,
    left: u32,
}

impl Waiting {
    fn new(scripted: ScriptedFault) -> Self {
        Self { left: scripted.scope.times, scripted }
    }
}

impl Faults {
    /// Faults of a script, in its order.
    pub(crate) fn scripted(faults: Vec<ScriptedFault>) -> Self {
        let meant = faults.into_iter().filter(|scripted| scripted.scope.times > 0);
        Self { waiting: Mutex::new(meant.map(Waiting::new).collect()) }
    }

    /// Adds a fault behind those that wait.
    pub fn inject(&self, fault: Fault, scope: FaultScope) {
        if scope.times > 0 {
            self.lock().push_back(Waiting::new(ScriptedFault { fault, scope }));
        }
    }

    /// Lets go of all that wait.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many calls are still to be spoiled.
    pub fn pending(&self) -> u64 {
        self.lock().iter().map(|waiting| u64::from(waiting.left)).sum()
    }

    /// Takes the first fault that waits for such a call.
    pub(crate) fn take(&self, method: &str, height: Option<u64>) -> Option<Fault> {
        let mut waiting = self.lock();
        let index = waiting.iter().position(|entry| entry.scripted.applies_to(method, height))?;
        let entry = waiting.get_mut(index)?;
        let taken = entry.scripted.scope.times - entry.left;
        entry.left = entry.left.saturating_sub(1);
        let fault = entry.scripted.fault.clone();
        if entry.left == 0 {
            waiting.remove(index);
        }
        match fault {
            Fault::AlternatingHash if taken % 2 == 1 => None,
            other => Some(other),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ScriptedFault {
    fn applies_to(&self, method: &str, height: Option<u64>) -> bool {
        self.scope.method.as_deref().is_none_or(|wanted| wanted == method)
            && self.scope.block.is_none_or(|wanted| height == Some(wanted))
            && self.fault.concerns(method)
    }
}

impl Fault {
    /// Whether the fault can show in an answer of a method at all.
    fn concerns(&self, method: &str) -> bool {
        match self {
            Self::WrongChainId(_) => method == "starknet_chainId",
            Self::HeadBackwards { .. } => {
                matches!(method, "starknet_blockNumber" | "starknet_blockHashAndNumber")
            }
            Self::WrongParentHash
            | Self::WrongHash
            | Self::WrongTimestamp
            | Self::AlternatingHash
            | Self::NeighbourBlock { .. }
            | Self::BlockMissing
            | Self::MissingCommitments
            | Self::Padding { .. }
            | Self::UnknownField => method.starts_with("starknet_getBlockWith"),
            Self::UnknownTransactionType => {
                matches!(method, "starknet_getBlockWithReceipts" | "starknet_getBlockWithTxs")
            }
            Self::MissingEvents
            | Self::LostEvent
            | Self::DuplicateEvent
            | Self::FeltOutOfRange
            | Self::UnknownEventMember
            | Self::LongEventData { .. } => method == "starknet_getBlockWithReceipts",
            Self::WebSocketDrop | Self::WebSocketSilence | Self::WebSocketGarbage => {
                method == NEW_HEADS_NOTICE
            }
            Self::TooManyRequests { .. }
            | Self::ServerError
            | Self::ServiceUnavailable
            | Self::RateLimitedInBody
            | Self::GarbageBody
            | Self::HtmlBody
            | Self::EmptyBody
            | Self::EmptyObject
            | Self::NullResult
            | Self::TruncatedJson
            | Self::TruncatedBody
            | Self::ClosedBeforeBody
            | Self::ConnectionReset
            | Self::SlowDrip { .. }
            | Self::Hang { .. } => method != NEW_HEADS_NOTICE,
        }
    }
}
