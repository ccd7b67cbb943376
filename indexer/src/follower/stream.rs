//! Following a stream of Apibara DNA, which sends blocks unasked.
//!
//! The stream is resumed from the log's own tip, so that nothing about it is kept elsewhere. A server that
//! never had the tip is asked for older blocks of the log, each step twice as deep, down to what is final.
//!
//! A server sends the events that it was asked for. A block that announces a child may have events of it that were
//! not sent, so that block is not taken: the stream is resumed below it with the child among what is asked for.

use std::collections::{BTreeSet, VecDeque};

use futures::{FutureExt, StreamExt};
use obsqra_store::{StoreError, key};
use obsqra_types::{BlockNumber, ContractAddress};
use tokio_util::sync::CancellationToken;

use super::Session;
use super::patience::Patience;
use super::write::Course;
use crate::IndexError;
use crate::completeness::CheckedBlock;
use crate::planner::{BlockId, Effect, Input, Offer};
use crate::source::{
    DnaCursor, DnaMessage, DnaSource, DnaStart, DnaStream, MismatchedBlock, NodePool, SourceBlock,
    SourceError,
};

/// What a stream goes through the planner with.
struct Flow<'a> {
    source: &'a DnaSource,
    /// Whose events the server was asked for.
    asked: BTreeSet<ContractAddress>,
    /// Children that a block announced of whom it was not.
    missing: BTreeSet<ContractAddress>,
    course: Course,
    /// The highest final block that the server told of, as far as the log has not come to it.
    accepted: Option<BlockNumber>,
    /// The highest block of the log that this stream sent or passed over as known: up to it the log is on
    /// the server's chain.
    confirmed: Option<BlockNumber>,
    /// The server's head, as last heard.
    head: BlockNumber,
}

impl Session<'_> {
    /// Follows a stream until `shutdown`; `nodes` answer what a stream cannot.
    pub(super) async fn follow_stream(
        &mut self,
        (source, nodes): (&DnaSource, Option<&NodePool>),
        shutdown: &CancellationToken,
        patience: &mut Patience,
    ) -> Result<(), IndexError> {
        self.adopt().await?;
        "apibara-dna/2".clone_into(&mut self.encoder.source);
        let mut announced = BTreeSet::new();
        loop {
            // A widened set is another filter, and so another stream.
            let watched = self.encoder.watching.addresses();
            announced.retain(|child| !watched.contains(child));
            let asked = watched.union(&announced).copied().collect();
            let mut flow = self.flow(source, asked).await?;
            let mut stream = self.resume(&flow).await?;
            let lost = self.lease.lost().clone();
            while self.encoder.watching.is_within(&flow.asked) {
                let message = match stream.next().now_or_never() {
                    Some(ready) => ready,
                    None => {
                        self.tell(&mut flow, Input::Pause).await?;
                        // A stretch at a time, so that blocks and signals are not kept waiting.
                        if self.widen_between(nodes).await? {
                            if shutdown.is_cancelled() {
                                return Ok(());
                            }
                            continue;
                        }
                        tokio::select! {
                            biased;
                            () = shutdown.cancelled() => return Ok(()),
                            () = lost.cancelled() => return Err(self.lost()),
                            message = stream.next() => message,
                        }
                    }
                };
                let Some(message) = message else {
                    break;
                };
                self.message(&mut flow, message?).await?;
                patience.reset();
                if !flow.missing.is_empty() {
                    announced.append(&mut flow.missing);
                    break;
                }
                if shutdown.is_cancelled() {
                    return Ok(());
                }
                if lost.is_cancelled() {
                    return Err(self.lost());
                }
            }
        }
    }

    fn lost(&self) -> IndexError {
        StoreError::LeaseLost(self.lease.fence().partition.clone()).into()
    }

    async fn flow<'a>(
        &self,
        source: &'a DnaSource,
        asked: BTreeSet<ContractAddress>,
    ) -> Result<Flow<'a>, IndexError> {
        let status = source.status().await?;
        let head = status.head.map_or(BlockNumber(0), |head| head.number);
        let accepted = status.finalized.map(|finalized| finalized.number);
        let course = self.course().await?;
        self.note(course.standing, head).await?;
        let missing = BTreeSet::new();
        Ok(Flow { source, asked, missing, course, accepted, confirmed: None, head })
    }

    async fn resume(&self, flow: &Flow<'_>) -> Result<DnaStream, IndexError> {
        let position = flow.course.standing.position;
        let watched = &flow.asked;
        let Some(tip) = position.tip else {
            return Ok(flow.source.stream(DnaStart::At(position.first), watched).await?);
        };
        let floor = position.finalized.unwrap_or(position.first);
        let (mut after, mut down) = (tip, 1);
        loop {
            let unknown = match flow.source.stream(DnaStart::After(after), watched).await {
                Err(error @ SourceError::UnknownCursor { .. }) if after.number > floor => error,
                other => return Ok(other?),
            };
            tracing::warn!(error = %unknown, "asking for an older block");
            let number = BlockNumber(after.number.0.saturating_sub(down).max(floor.0));
            let Some(hash) = self.own_hash(flow.course.standing, number).await? else {
                return Err(unknown.into());
            };
            after = BlockId { number, hash };
            down *= 2;
        }
    }

    async fn message(
        &mut self,
        flow: &mut Flow<'_>,
        message: DnaMessage,
    ) -> Result<(), IndexError> {
        match message {
            DnaMessage::Block(block) => {
                let (link, events) = (block.link(), block.events.len() as u64);
                flow.head = flow.head.max(link.id.number);
                let checked = self.streamed(&flow.course.held, *block)?;
                if !checked.announced.keys().all(|child| flow.asked.contains(child)) {
                    flow.missing = checked.announced.into_keys().collect();
                    return self.tell(flow, Input::Pause).await;
                }
                flow.course.held.push_back(checked);
                self.offer(flow, Offer { link, events }).await?;
                flow.confirmed = Some(link.id.number);
                self.stream_finality(flow).await
            }
            DnaMessage::Invalidate { to: Some(DnaCursor { number, hash: Some(hash) }) } => {
                let own = self.own_hash(flow.course.standing, number).await?;
                flow.head = number;
                flow.confirmed = None;
                self.tell(flow, Input::Invalidated { to: BlockId { number, hash }, own }).await
            }
            // Nothing is reverted on a word: the blocks that follow show what they replace.
            DnaMessage::Invalidate { .. } => {
                flow.confirmed = None;
                Ok(())
            }
            DnaMessage::Finalized(cursor) => {
                flow.accepted = flow.accepted.max(Some(cursor.number));
                self.stream_finality(flow).await
            }
            DnaMessage::Heartbeat => {
                if let Some(head) = flow.source.status().await?.head {
                    flow.head = head.number;
                }
                self.note(flow.course.standing, flow.head).await
            }
        }
    }

    /// Offers the block that was received last.
    async fn offer(&mut self, flow: &mut Flow<'_>, offer: Offer) -> Result<(), IndexError> {
        let number = offer.link.id.number;
        loop {
            let standing = flow.course.standing;
            let own = self.own_hash(standing, number).await?;
            let own_below = match number.previous() {
                Some(below) => self.own_hash(standing, below).await?,
                None => None,
            };
            if !self.tell_again(flow, Input::Streamed { offer, own, own_below }).await? {
                return Ok(());
            }
        }
    }

    /// A block of a stream, which there is nothing to check by. It lies above the log's blocks and those held that
    /// are lower than it, or it is refused.
    fn streamed(
        &self,
        held: &VecDeque<CheckedBlock>,
        block: SourceBlock,
    ) -> Result<CheckedBlock, IndexError> {
        let node = self.node.clone();
        let mut watching = self.encoder.watching.below(block.number);
        for lower in held.iter().filter(|held| held.block.number < block.number) {
            watching.learn(lower.block.number, &lower.announced);
        }
        self.checking(watching).take(block).map_err(|mismatch| {
            let block = MismatchedBlock { node, mismatch, answer: Vec::new() };
            SourceError::Mismatch(Box::new(block)).into()
        })
    }

    async fn tell(&mut self, flow: &mut Flow<'_>, input: Input) -> Result<(), IndexError> {
        self.tell_again(flow, input).await.map(|_| ())
    }

    /// Tells the planner and does what it says; whether the last block is to be offered once more.
    async fn tell_again(&mut self, flow: &mut Flow<'_>, input: Input) -> Result<bool, IndexError> {
        let mut again = false;
        for effect in flow.course.planner.take(input) {
            again |= effect == Effect::OfferAgain;
            let Some(answer) = self.write(&mut flow.course, effect).await? else {
                continue;
            };
            self.note(flow.course.standing, flow.head).await?;
            for effect in flow.course.planner.take(answer) {
                self.write(&mut flow.course, effect).await?;
            }
        }
        Ok(again)
    }

    /// Final blocks come without their hash. Up to the block that the stream confirmed last the log is on the
    /// server's chain: a final height at or below it is the log's block there. One above waits.
    async fn stream_finality(&mut self, flow: &mut Flow<'_>) -> Result<(), IndexError> {
        let (Some(accepted), Some(tip)) = (flow.accepted, flow.course.standing.tip) else {
            return Ok(());
        };
        let number = accepted;
        if flow.confirmed.is_none_or(|confirmed| number > confirmed) {
            return Ok(());
        }
        if number > tip.number
            || number < tip.first
            || tip.finalized.is_some_and(|known| number <= known)
        {
            return Ok(());
        }
        let (store, chain) = (&self.follower.store, &self.encoder.chain);
        let own = key::canonical(store, chain, number, number).await?;
        let Some(own) = own.first() else {
            return Ok(());
        };
        let block = BlockId { number, hash: own.hash };
        self.tell(flow, Input::Accepted { block, own: Some(own.hash) }).await
    }

    /// Supplements go on between two blocks, where there are nodes to ask; whether there may be more. Nodes that
    /// cannot be asked are no reason to stop streaming: the next pause tries again.
    async fn widen_between(&mut self, nodes: Option<&NodePool>) -> Result<bool, IndexError> {
        if !self.has_pending().await? {
            return Ok(false);
        }
        let Some(nodes) = nodes else {
            self.tell_of_pending();
            return Ok(false);
        };
        let widened = match self.follower.leader_of(nodes).await {
            Ok(leader) => self.widen(&leader).await,
            Err(error) => Err(error),
        };
        match widened {
            Err(error @ (IndexError::Source(_) | IndexError::WrongChain { .. })) => {
                tracing::warn!(%error, "the widening goes on later");
                Ok(false)
            }
            other => other,
        }
    }
}
