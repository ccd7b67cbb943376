//! What goes wrong with the stream on purpose. A fault waits for its block and shows once, in the first
//! stream that comes to it; the chain itself stays as it is.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One thing that goes wrong at a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DnaFault {
    /// Bytes that are no protobuf message in the place of the block's data.
    GarbageData,
    /// The block's data lacks its last byte.
    TruncatedData,
    /// The state root is the field's prime, which is no felt.
    FeltBeyondField,
    /// The first event comes again with other data.
    ContradictingRepeat,
    /// The first event comes from a contract that nobody asked for.
    ForeignEvent,
    /// The header is left out.
    MissingHeader,
    /// The block comes twice.
    Duplicate,
    /// The block is left out.
    Gap,
    /// The block above comes first. Waits until there is one.
    WrongOrder,
    /// From here on nothing comes, not even a heartbeat.
    Silence,
    /// The stream ends as if it were complete.
    End,
    /// The connection breaks.
    Disconnect,
}

/// The faults that still wait.
#[derive(Debug, Default)]
pub struct DnaFaults {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    at_blocks: VecDeque<(u64, DnaFault)>,
    refused_calls: u32,
}

impl DnaFaults {
    /// Lets a fault wait for a block.
    pub fn inject(&self, number: u64, fault: DnaFault) {
        self.lock().at_blocks.push_back((number, fault));
    }

    /// Answers the next calls with UNAVAILABLE.
    pub fn refuse_calls(&self, calls: u32) {
        self.lock().refused_calls = calls;
    }

    /// How many still wait.
    pub fn pending(&self) -> usize {
        let waiting = self.lock();
        waiting.at_blocks.len() + usize::try_from(waiting.refused_calls).unwrap_or(usize::MAX)
    }

    /// Whether this call is to be refused.
    pub(super) fn take_refusal(&self) -> bool {
        let mut waiting = self.lock();
        let refused = waiting.refused_calls > 0;
        waiting.refused_calls = waiting.refused_calls.saturating_sub(1);
        refused
    }

    /// Takes what waits for a block.
    pub(super) fn take(&self, number: u64, is_head: bool) -> Option<DnaFault> {
        let mut waiting = self.lock();
        let index = waiting.at_blocks.iter().position(|(height, fault)| {
            *height == number && !(is_head && *fault == DnaFault::WrongOrder)
        })?;
        waiting.at_blocks.remove(index).map(|(_, fault)| fault)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
