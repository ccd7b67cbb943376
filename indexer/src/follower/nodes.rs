//! Following nodes that answer when they are asked.

use std::time::Duration;

use obsqra_types::BlockNumber;
use tokio_util::sync::CancellationToken;

use super::Session;
use super::fetch::Fetch;
use super::patience::Patience;
use super::write::Course;
use crate::IndexError;
use crate::planner::{BlockId, Effect, Input, Offer};
use crate::source::pool::selection::Generation;
use crate::source::{HeadWatch, HeadWatchOptions, Leader, NodePool, ReceivedBlock, SourceError};
use obsqra_store::StoreError;

/// Longest rest, socket or not.
const LONGEST_REST: Duration = Duration::from_secs(30);

/// What a step is in the middle of.
struct Step<'a> {
    leader: &'a Leader,
    course: Course,
    fetch: Option<Fetch>,
    /// What went wrong while fetching. What lies below it is good and is kept: the next try begins
    /// where the trouble is.
    trouble: Option<SourceError>,
    /// Whether the log grew or changed.
    grew: bool,
    shutdown: &'a CancellationToken,
}

/// What comes after an effect.
enum Next {
    /// The planner is told.
    Tell(Input),
    /// The next effect, or the next block of a fetch.
    GoOn,
    /// The step is over; whether to look at the node again at once.
    Over { look: bool },
}

impl Session<'_> {
    pub(super) async fn follow(
        &mut self,
        nodes: &NodePool,
        shutdown: &CancellationToken,
        patience: &mut Patience,
    ) -> Result<(), IndexError> {
        self.adopt().await?;
        let mut finality_at = None;
        let mut heads: Option<(Generation, HeadWatch)> = None;
        let lost = self.lease.lost().clone();
        while !shutdown.is_cancelled() {
            let leader = self.follower.leader_of(nodes).await?;
            if heads.as_ref().is_none_or(|(led, _)| *led != leader.generation()) {
                self.led_by(&leader).await?;
                finality_at = None;
                heads = Some((leader.generation(), leader.watch_heads(self.head_options())));
            }
            let Some((_, watch)) = heads.as_mut() else {
                continue;
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = lost.cancelled() => {
                    return Err(StoreError::LeaseLost(self.lease.fence().partition.clone()).into());
                }
                worked = self.step(&leader, (watch, &mut finality_at), shutdown) => {
                    let idle = !self.blaming(&leader, worked)?;
                    let widened = tokio::select! {
                        biased;
                        () = shutdown.cancelled() => return Ok(()),
                        () = lost.cancelled() => false,
                        widened = self.widen(&leader) => widened?,
                    };
                    patience.reset();
                    if !widened && idle {
                        self.rest(watch, shutdown).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Another node answers from here on.
    async fn led_by(&mut self, leader: &Leader) -> Result<(), IndexError> {
        leader.spec().await?;
        self.encoder.source = leader.kind();
        leader.name().clone_into(&mut self.node);
        Ok(())
    }

    fn head_options(&self) -> HeadWatchOptions {
        let poll_interval = self.follower.options.poll_interval;
        HeadWatchOptions { poll_interval, ..HeadWatchOptions::default() }
    }

    /// Answers that are fine one by one and do not fit together count against the node too.
    fn blaming<T>(&self, leader: &Leader, outcome: Result<T, IndexError>) -> Result<T, IndexError> {
        if let Err(IndexError::Unlinked { .. } | IndexError::NoCommonBlock { .. }) = &outcome {
            leader.blame();
        }
        outcome
    }

    async fn rest(&self, watch: &mut HeadWatch, shutdown: &CancellationToken) {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = self.lease.lost().cancelled() => {}
            _ = watch.wait(LONGEST_REST) => {}
        }
    }

    /// One look at the node and what follows from it; whether to look again at once.
    async fn step(
        &mut self,
        leader: &Leader,
        (watch, finality_at): (&HeadWatch, &mut Option<BlockNumber>),
        shutdown: &CancellationToken,
    ) -> Result<bool, IndexError> {
        let Some(head) = leader.head().await? else {
            return Ok(false);
        };
        watch.polled(head);
        let course = self.course().await?;
        self.note(course.standing, head.number).await?;
        let mut step = Step { leader, course, fetch: None, trouble: None, grew: false, shutdown };
        let look = self.go(&mut step, head).await?;
        // A block that is not there although the head was above it is trouble when nothing below it
        // came in; else the node's chain may have become shorter in between.
        match step.trouble {
            Some(SourceError::NoBlock { .. }) if step.grew => {}
            Some(error) => return Err(error.into()),
            None => {}
        }
        self.finality(leader, finality_at, head).await?;
        Ok(look)
    }

    async fn go(&mut self, step: &mut Step<'_>, head: BlockId) -> Result<bool, IndexError> {
        let mut input = Some(Input::Head(head));
        loop {
            let told = match input.take() {
                Some(input) => input,
                None => match self.receive(step).await? {
                    Some(input) => input,
                    None => return Ok(step.grew),
                },
            };
            for effect in step.course.planner.take(told) {
                match self.act(step, effect).await? {
                    Next::Tell(answer) => input = Some(answer),
                    Next::GoOn => {}
                    Next::Over { look } => return Ok(look),
                }
            }
            if step.shutdown.is_cancelled() || self.lease.lost().is_cancelled() {
                return Ok(true);
            }
        }
    }

    /// The next block of what is being fetched; `None` when nothing is.
    async fn receive(&self, step: &mut Step<'_>) -> Result<Option<Input>, IndexError> {
        let Some(fetch) = step.fetch.as_mut() else {
            return Ok(None);
        };
        match fetch.next().await {
            Some(Ok(ReceivedBlock { checked, findings })) => {
                for found in findings {
                    self.note_finding(found).await?;
                }
                let offer = Offer { link: checked.block.link(), events: checked.all_events };
                step.course.held.push_back(checked);
                return Ok(Some(Input::Block(offer)));
            }
            Some(Err(error)) => {
                self.note_trouble(&error).await?;
                step.trouble = Some(error);
            }
            None => {}
        }
        step.fetch = None;
        Ok(Some(Input::EndOfBlocks))
    }

    async fn act(&mut self, step: &mut Step<'_>, effect: Effect) -> Result<Next, IndexError> {
        match effect {
            Effect::Rest => return Ok(Next::Over { look: false }),
            Effect::Look => return Ok(Next::Over { look: step.grew }),
            Effect::Fetch { from, to } => {
                let at_most = self.follower.options.fetch_ahead;
                // Whatever the log has from there on, these blocks come in its place.
                let checking = self.checking(self.encoder.watching.below(from));
                step.fetch = Some(Fetch::new(step.leader, (from, to), (checking, at_most)));
            }
            Effect::Compare { height, node } => {
                step.fetch = None;
                let node = match node {
                    Some(node) => Some(node),
                    None => step.leader.hash_at(height).await?,
                };
                let own = self.own_hash(step.course.standing, height).await?;
                return Ok(Next::Tell(Input::Compared { height, node, own }));
            }
            other => {
                let answer = self.write(&mut step.course, other).await?;
                step.grew |= answer.is_some();
                return Ok(answer.map_or(Next::GoOn, Next::Tell));
            }
        }
        Ok(Next::GoOn)
    }

    /// Looks at the node's newest block accepted on L1, when its head has moved.
    async fn finality(
        &mut self,
        leader: &Leader,
        looked_at: &mut Option<BlockNumber>,
        head: BlockId,
    ) -> Result<(), IndexError> {
        if *looked_at == Some(head.number) {
            return Ok(());
        }
        let mut course = self.course().await?;
        let known = course.standing.position.finalized;
        if let (Some(accepted), Some(tip)) =
            (leader.finalized(known, head.number).await?, course.standing.tip)
        {
            let block = if accepted.number <= tip.number {
                Some(accepted)
            } else {
                let hash = leader.hash_at(tip.number).await?;
                hash.map(|hash| BlockId { number: tip.number, hash })
            };
            if let Some(block) = block.filter(|block| block.number >= tip.first) {
                let own = self.own_hash(course.standing, block.number).await?;
                for effect in course.planner.take(Input::Accepted { block, own }) {
                    self.write(&mut course, effect).await?;
                }
            }
        }
        *looked_at = Some(head.number);
        Ok(())
    }
}
