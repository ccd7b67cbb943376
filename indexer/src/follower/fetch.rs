//! Blocks fetched several at once, checked together, given out in height order.
//!
//! All of it goes on while a batch is committed. How many are under way depends on how large the last ones
//! were: what is held between the node and the log stays near a budget, whatever a block weighs.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use obsqra_types::BlockNumber;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::task::AbortOnDropHandle;

use crate::completeness::{CheckedBlock, Checking};
use crate::source::{Leader, ReceivedBlock, SourceError, UncheckedBlock};
use crate::watching::Announced;

/// Bytes of blocks, as they lie in memory, that may be under way. At least one block always is.
const BUDGET: usize = 64 << 20;
/// KiB of checked blocks, as far as they are kept, that may wait to be taken; one larger block may too.
const WAITING_KIB: u32 = 64 << 10;
/// Most checked blocks that may wait to be taken: about as many as one transaction appends.
const WAITING: usize = 256;
/// Blocks whose largest stands for those to come.
const MEMORY: usize = 32;
/// Most blocks checked together.
const TOGETHER: usize = 32;

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
    to: BlockNumber,
    checking: Checking,
    at_most: usize,
    checked: mpsc::Receiver<Waiting>,
    _supply: AbortOnDropHandle<()>,
}

impl Fetch {
    pub(super) fn new(
        source: &Leader,
        (from, to): (BlockNumber, BlockNumber),
        (checking, at_most): (Checking, usize),
    ) -> Self {
        let (sender, checked) = mpsc::channel(WAITING);
        let supply = Supply {
            source: source.clone(),
            checking: checking.clone(),
            next: from,
            to,
            at_most: at_most.max(1),
            under_way: VecDeque::new(),
            weights: VecDeque::new(),
            sender,
            room: Arc::new(Semaphore::new(WAITING_KIB as usize)),
        };
        let _supply = AbortOnDropHandle::new(tokio::spawn(supply.run()));
        Self { source: source.clone(), to, checking, at_most, checked, _supply }
    }

    /// The next block; `None` after the last, or after an error.
    pub(super) async fn next(&mut self) -> Option<Result<ReceivedBlock, SourceError>> {
        // Its room is free for another from here on.
        let received = self.checked.recv().await?.block;
        if let Ok(ReceivedBlock { checked, .. }) = &received
            && !self.checking.watching.knows(&checked.announced)
        {
            self.go_on_above(checked.block.number, &checked.announced);
        }
        Some(received)
    }

    /// What is under way above a block was checked by one who did not know its children, and may lack their events:
    /// it is let go of and fetched once more.
    fn go_on_above(&mut self, block: BlockNumber, announced: &Announced) {
        let mut checking = self.checking.clone();
        checking.watching.learn(block, announced);
        *self = Self::new(&self.source, (block.next(), self.to), (checking, self.at_most));
    }
}

/// A checked block, and the room that it takes.
struct Waiting {
    block: Result<ReceivedBlock, SourceError>,
    _room: OwnedSemaphorePermit,
}

/// A block that came in, checked already where a second node has it too.
enum Fetched {
    Alone(Box<UncheckedBlock>),
    Compared(Box<ReceivedBlock>),
}

impl Fetched {
    fn weight(&self) -> usize {
        match self {
            Self::Alone(block) => block.weight(),
            Self::Compared(block) => block.checked.weight,
        }
    }
}

/// Fetches and checks ahead of whoever takes the blocks.
struct Supply {
    source: Leader,
    checking: Checking,
    next: BlockNumber,
    to: BlockNumber,
    at_most: usize,
    under_way: VecDeque<AbortOnDropHandle<Result<Fetched, SourceError>>>,
    weights: VecDeque<usize>,
    sender: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

impl Supply {
    async fn run(mut self) {
        loop {
            self.start();
            let group = self.arrived().await;
            if group.is_empty() {
                return;
            }
            for block in self.check(group).await {
                let is_error = block.is_err();
                let kept = block.as_ref().map_or(0, |block| block.checked.kept_weight());
                let kib = u32::try_from(kept / 1_024 + 1).unwrap_or(WAITING_KIB);
                let room = Arc::clone(&self.room).acquire_many_owned(kib.min(WAITING_KIB));
                // Nobody closes the semaphore.
                let Ok(_room) = room.await else { return };
                if self.sender.send(Waiting { block, _room }).await.is_err() || is_error {
                    return;
                }
            }
        }
    }

    fn start(&mut self) {
        while self.next <= self.to && self.under_way.len() < self.width() {
            let (source, checking, number) =
                (self.source.clone(), self.checking.clone(), self.next);
            self.under_way.push_back(AbortOnDropHandle::new(tokio::spawn(async move {
                if source.compares(number) {
                    let compared = source.compared_block(number, &checking).await?;
                    return Ok(Fetched::Compared(Box::new(compared)));
                }
                Ok(Fetched::Alone(Box::new(source.unchecked_block(number).await?)))
            })));
            self.next = self.next.next();
        }
    }

    fn width(&self) -> usize {
        let largest = self.weights.iter().copied().max().unwrap_or(1).max(1);
        (BUDGET / largest).clamp(1, self.at_most)
    }

    /// The next block, and those behind it that are there already.
    async fn arrived(&mut self) -> Vec<Result<Fetched, SourceError>> {
        let mut group = Vec::new();
        while let Some(first) = self.under_way.pop_front() {
            let fetched = first.await.unwrap_or_else(|failure| {
                Err(SourceError::Unreachable {
                    node: self.source.name().to_owned(),
                    what: "a block".to_owned(),
                    problem: failure.to_string(),
                })
            });
            let fetched = match fetched {
                Err(error) => Err(self.telling(error).await),
                fetched => fetched,
            };
            self.weigh(&fetched);
            let ends = fetched.is_err();
            group.push(fetched);
            let next_is_there = self.under_way.front().is_some_and(|next| next.is_finished());
            if ends || group.len() >= TOGETHER || !next_is_there {
                break;
            }
        }
        group
    }

    /// The error that says what was found out about the node: a block that is not whole ends its lead, and blocks
    /// below it that are under way then only say that another one leads.
    async fn telling(&mut self, first: SourceError) -> SourceError {
        if first.is_finding() {
            return first;
        }
        while let Some(next) = self.under_way.pop_front() {
            if let Ok(Err(error)) = next.await
                && error.is_finding()
            {
                return error;
            }
        }
        first
    }

    fn weigh(&mut self, fetched: &Result<Fetched, SourceError>) {
        if let Ok(block) = fetched {
            self.weights.push_back(block.weight());
            if self.weights.len() > MEMORY {
                self.weights.pop_front();
            }
        }
    }

    /// Checks what was not checked yet, together; gives all of them in their order, up to the first error.
    async fn check(
        &self,
        group: Vec<Result<Fetched, SourceError>>,
    ) -> Vec<Result<ReceivedBlock, SourceError>> {
        let mut alone = Vec::new();
        let mut done = Vec::new();
        for fetched in group {
            done.push(match fetched {
                Ok(Fetched::Alone(block)) => {
                    alone.push(*block);
                    None
                }
                Ok(Fetched::Compared(block)) => Some(Ok(*block)),
                Err(error) => Some(Err(error)),
            });
        }
        let mut checked = self.source.check_all(alone, &self.checking).await.into_iter();
        done.into_iter()
            .filter_map(|done| {
                done.or_else(|| checked.next().map(|checked| checked.map(ReceivedBlock::alone)))
            })
            .collect()
    }
}
