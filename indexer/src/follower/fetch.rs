//! Blocks fetched several at once, given out in height order.
//!
//! How many are under way depends on how large the last ones were: what is held between the node and the
//! log stays near a budget, whatever a block weighs.

use std::collections::VecDeque;

use futures::{StreamExt, TryStreamExt};
use obsqra_types::BlockNumber;
use tokio_util::task::AbortOnDropHandle;

use crate::completeness::{CheckedBlock, Checking};
use crate::source::{Leader, ReceivedBlock, SourceError};

/// Bytes of blocks, as they lie in memory, that may be under way. At least one block always is.
const BUDGET: usize = 128 << 20;
/// Blocks whose largest stands for those to come.
const MEMORY: usize = 32;

/// Some blocks, in the order of their heights, fetched and checked several at once.
pub(super) async fn fetch_some(
    source: &Leader,
    heights: &[BlockNumber],
    (checking, at_most): (&Checking, usize),
) -> Result<Vec<CheckedBlock>, SourceError> {
    futures::stream::iter(heights.iter().copied())
        .map(|number| source.checked_block(number, checking))
        .buffered(at_most.max(1))
        .try_collect()
        .await
}

/// A range of heights being fetched.
pub(super) struct Fetch {
    source: Leader,
    checking: Checking,
    next: BlockNumber,
    to: BlockNumber,
    at_most: usize,
    under_way: VecDeque<AbortOnDropHandle<Result<ReceivedBlock, SourceError>>>,
    weights: VecDeque<usize>,
}

impl Fetch {
    pub(super) fn new(
        source: &Leader,
        (from, to): (BlockNumber, BlockNumber),
        (checking, at_most): (Checking, usize),
    ) -> Self {
        Self {
            source: source.clone(),
            checking,
            next: from,
            to,
            at_most: at_most.max(1),
            under_way: VecDeque::new(),
            weights: VecDeque::new(),
        }
    }

    /// The next block; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<ReceivedBlock, SourceError>> {
        while self.next <= self.to && self.under_way.len() < self.width() {
            self.start(self.next);
            self.next = self.next.next();
        }
        let first = self.under_way.pop_front()?;
        let fetched = first.await.unwrap_or_else(|failure| {
            Err(SourceError::Unreachable {
                node: self.source.name().to_owned(),
                what: "a block".to_owned(),
                problem: failure.to_string(),
            })
        });
        if let Ok(block) = &fetched {
            self.weights.push_back(block.checked.weight);
            if self.weights.len() > MEMORY {
                self.weights.pop_front();
            }
        }
        Some(fetched)
    }

    /// On its own task: fetching, reading and checking go on while a batch is committed.
    fn start(&mut self, number: BlockNumber) {
        let (source, checking) = (self.source.clone(), self.checking.clone());
        let task = tokio::spawn(async move { source.compared_block(number, &checking).await });
        self.under_way.push_back(AbortOnDropHandle::new(task));
    }

    fn width(&self) -> usize {
        let largest = self.weights.iter().copied().max().unwrap_or(1).max(1);
        (BUDGET / largest).clamp(1, self.at_most)
    }
}
