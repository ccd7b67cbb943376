//! What goes wrong on purpose: faults that tests inject and scripts list.
//!
//! A fault waits for calls within its scope and is used up by them, the oldest first. Faults change what a
//! client sees, never the chain; a competing chain is made with `DevNode::reorg`.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

/// Longest hang, in milliseconds.
pub const MAX_HANG_MILLIS: u64 = 120_000;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
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
    /// HTTP 200 with a JSON-RPC error of code 429.
    RateLimitedInBody,
    /// HTTP 200 with a body that is no JSON.
    GarbageBody,
    /// The connection ends in the middle of the body.
    TruncatedBody,
    /// The answer comes after this time, at most two minutes.
    Hang {
        /// How long, in milliseconds.
        millis: u64,
    },
    /// The block names another parent.
    WrongParentHash,
    /// A transaction of the block has a type that nobody knows.
    UnknownTransactionType,
    /// The block has a member that nobody knows; a client should not mind.
    UnknownField,
    /// The receipts of the block have no list of events.
    MissingEvents,
    /// `starknet_blockNumber` and `starknet_blockHashAndNumber` answer with an older block.
    HeadBackwards {
        /// How many blocks older.
        blocks: u64,
    },
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
    waiting: Mutex<VecDeque<ScriptedFault>>,
}

impl Faults {
    /// Faults of a script, in its order.
    pub(crate) fn scripted(faults: Vec<ScriptedFault>) -> Self {
        Self { waiting: Mutex::new(faults.into()) }
    }

    /// Adds a fault behind those that wait.
    pub fn inject(&self, fault: Fault, scope: FaultScope) {
        if scope.times > 0 {
            self.lock().push_back(ScriptedFault { fault, scope });
        }
    }

    /// Lets go of all that wait.
    pub fn clear(&self) {
        self.lock().clear();
    }

    /// How many calls are still to be spoiled.
    pub fn pending(&self) -> u64 {
        self.lock().iter().map(|waiting| u64::from(waiting.scope.times)).sum()
    }

    /// Takes the first fault that waits for such a call.
    pub(crate) fn take(&self, method: &str, height: Option<u64>) -> Option<Fault> {
        let mut waiting = self.lock();
        let index = waiting.iter().position(|entry| entry.applies_to(method, height))?;
        let entry = waiting.get_mut(index)?;
        entry.scope.times = entry.scope.times.saturating_sub(1);
        let fault = entry.fault.clone();
        if entry.scope.times == 0 {
            waiting.remove(index);
        }
        Some(fault)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<ScriptedFault>> {
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
            Self::WrongParentHash | Self::UnknownField => {
                method.starts_with("starknet_getBlockWith")
            }
            Self::UnknownTransactionType => {
                matches!(method, "starknet_getBlockWithReceipts" | "starknet_getBlockWithTxs")
            }
            Self::MissingEvents => method == "starknet_getBlockWithReceipts",
            Self::TooManyRequests { .. }
            | Self::ServerError
            | Self::RateLimitedInBody
            | Self::GarbageBody
            | Self::TruncatedBody
            | Self::Hang { .. } => true,
        }
    }

    /// Changes the body of a block as the fault says; other faults leave it alone.
    pub(crate) fn spoil_block(&self, body: Vec<u8>) -> Vec<u8> {
        match self {
            Self::WrongParentHash => with_other_parent(&body),
            Self::UnknownTransactionType => replace(
                &body,
                b"{\"type\":\"INVOKE\"",
                b"{\"type\":\"CONJURE\"",
                Occurrences::First,
            ),
            Self::UnknownField => replace(
                &body,
                b"{\"status\":",
                b"{\"unheard_of\":{\"of\":[1]},\"status\":",
                Occurrences::First,
            ),
            Self::MissingEvents => {
                replace(&body, b"\"events\":[", b"\"left_out\":[", Occurrences::All)
            }
            _ => body,
        }
    }
}

/// Puts another hash in the place of the parent's.
fn with_other_parent(body: &[u8]) -> Vec<u8> {
    const MEMBER: &[u8] = b"\"parent_hash\":\"";
    let found =
        body.windows(MEMBER.len()).position(|window| window == MEMBER).map(|at| at + MEMBER.len());
    let Some((before, value)) = found.and_then(|at| body.split_at_checked(at)) else {
        return body.to_vec();
    };
    let length = value.iter().position(|byte| *byte == b'"').unwrap_or(0);
    [before, b"0xbad", value.get(length..).unwrap_or_default()].concat()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Occurrences {
    First,
    All,
}

fn replace(body: &[u8], from: &[u8], to: &[u8], which: Occurrences) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + to.len());
    let mut rest = body;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(to);
        rest = after.get(from.len()..).unwrap_or_default();
        if which == Occurrences::First {
            break;
        }
    }
    out.extend_from_slice(rest);
    out
}
