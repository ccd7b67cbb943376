//! One client's stream: where it stands on the chain and what it is told next.
//!
//! A message is made when the client has room for it. What may wait are the two messages of a fault that
//! doubles or swaps blocks. The head is marked as seen before the chain is looked at, so that a change in
//! between wakes the stream and is not lost.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use apibara_dna_protocol::dna::stream::stream_data_response::Message;
use apibara_dna_protocol::dna::stream::{
    Cursor, Data, DataFinality, DataProduction, Finalize, Heartbeat, Invalidate, StreamDataResponse,
};
use apibara_dna_protocol::starknet::{Block, FieldElement};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;

use super::faults::DnaFault;
use super::filter::BlockFilter;
use super::line::Cut;
use super::{Serving, encode};
use crate::chain::encode::Finality;
use crate::chain::ledger::{Following, Head, Ledger, Served};

/// The field's prime, 2^251 + 17·2^192 + 1, in limbs.
const PRIME: FieldElement = FieldElement { x0: 0x0800_0000_0000_0011, x1: 0, x2: 0, x3: 1 };

/// How far a stream goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// To the head.
    Accepted,
    /// To the newest final block.
    Final,
}

/// What a client asked for.
pub(super) struct Order {
    pub(super) place: Option<Head>,
    pub(super) reach: Reach,
    pub(super) heartbeat: Duration,
    pub(super) filters: Vec<BlockFilter>,
    pub(super) cut: Cut,
    pub(super) permit: OwnedSemaphorePermit,
}

/// A stream at work.
pub(super) struct Feed {
    serving: Arc<Serving>,
    heads: watch::Receiver<Option<Head>>,
    place: Option<Head>,
    reach: Reach,
    heartbeat: Duration,
    filters: Vec<BlockFilter>,
    cut: Cut,
    told_final: Option<u64>,
    ready: VecDeque<Message>,
    _permit: OwnedSemaphorePermit,
}

enum Step {
    /// There may be something to send now.
    Going,
    /// Nothing until the chain changes.
    Waiting,
    /// Nothing any more.
    Silent,
    /// The end.
    Ended,
}

impl Feed {
    pub(super) fn new(serving: Arc<Serving>, order: Order) -> Self {
        let heads = serving.heads.clone();
        let told_final = serving.server.context.ledger.l1_head();
        Self {
            serving,
            heads,
            place: order.place,
            reach: order.reach,
            heartbeat: order.heartbeat,
            filters: order.filters,
            cut: order.cut,
            told_final,
            ready: VecDeque::new(),
            _permit: order.permit,
        }
    }

    /// The next message; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<StreamDataResponse> {
        let deadline = Instant::now() + self.heartbeat;
        let stop = self.serving.server.stop.clone();
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Some(StreamDataResponse { message: Some(message) });
            }
            self.heads.mark_unchanged();
            match self.step() {
                Step::Going => {}
                Step::Ended => return None,
                Step::Silent => {
                    stop.cancelled().await;
                    return None;
                }
                Step::Waiting => tokio::select! {
                    () = stop.cancelled() => return None,
                    changed = self.heads.changed() => changed.ok()?,
                    () = tokio::time::sleep_until(deadline) => {
                        self.ready.push_back(Message::Heartbeat(Heartbeat {}));
                    }
                },
            }
        }
    }

    fn ledger(&self) -> &Ledger {
        &self.serving.server.context.ledger
    }

    fn step(&mut self) -> Step {
        match self.ledger().following(self.place) {
            Following::Block { served, is_head } => self.block(&served, is_head),
            Following::Nothing => self.at_head(),
            Following::Rewind(to) => {
                let invalidate = Invalidate { cursor: Some(encode::cursor(to)), removed: vec![] };
                self.place = Some(to);
                self.ready.push_back(Message::Invalidate(invalidate));
                Step::Going
            }
            // More blocks were replaced than are remembered: the client has to begin anew.
            Following::Unknown => Step::Ended,
        }
    }

    fn at_head(&mut self) -> Step {
        let now_final = self.ledger().l1_head().filter(|number| Some(*number) > self.told_final);
        let Some(served) = now_final.and_then(|number| self.ledger().by_number(number)) else {
            return Step::Waiting;
        };
        self.told_final = now_final;
        let cursor = Some(encode::cursor(head_of(&served)));
        self.ready.push_back(Message::Finalize(Finalize { cursor }));
        Step::Going
    }

    fn block(&mut self, served: &Arc<Served>, is_head: bool) -> Step {
        let number = served.block.number;
        let is_final = self.ledger().finality_of(number) == Finality::AcceptedOnL1;
        if self.reach == Reach::Final && !is_final {
            return self.at_head();
        }
        let Some(fault) = self.serving.faults.take(number, is_head) else {
            let message = self.message(served, is_head);
            self.ready.extend(message);
            self.place = Some(head_of(served));
            return Step::Going;
        };
        self.spoiled(fault, served, is_head)
    }

    fn spoiled(&mut self, fault: DnaFault, served: &Arc<Served>, is_head: bool) -> Step {
        match fault {
            DnaFault::Silence => return Step::Silent,
            DnaFault::End => return Step::Ended,
            DnaFault::Disconnect => {
                self.cut.now();
                self.ready.push_back(Message::Heartbeat(Heartbeat {}));
                return Step::Going;
            }
            DnaFault::Gap => {}
            DnaFault::Duplicate => {
                let message = self.message(served, is_head);
                self.ready.extend([message.clone(), message].into_iter().flatten());
            }
            DnaFault::WrongOrder => {
                let above = self.ledger().by_number(served.block.number + 1);
                let above = above.and_then(|above| self.message(&above, is_head));
                self.ready.extend([above, self.message(served, is_head)].into_iter().flatten());
            }
            DnaFault::GarbageData
            | DnaFault::TruncatedData
            | DnaFault::FeltBeyondField
            | DnaFault::ContradictingRepeat
            | DnaFault::ForeignEvent
            | DnaFault::MissingHeader => {
                let message = self.message_with(served, is_head, |block| spoil(fault, block));
                self.ready.extend(message);
            }
        }
        self.place = Some(head_of(served));
        Step::Going
    }

    fn message(&self, served: &Served, is_head: bool) -> Option<Message> {
        self.message_with(served, is_head, |block| block.encode_to_vec())
    }

    /// The message about a block; `None` when no filter lets anything of it through.
    fn message_with(
        &self,
        served: &Served,
        is_head: bool,
        bytes: impl Fn(Block) -> Vec<u8>,
    ) -> Option<Message> {
        let block = &served.block;
        let passed: Vec<Option<Block>> =
            self.filters.iter().map(|filter| filter.apply(block, is_head)).collect();
        if passed.iter().all(Option::is_none) {
            return None;
        }
        let data = passed.into_iter().map(|block| block.map(&bytes).unwrap_or_default().into());
        let at = head_of(served);
        let (finality, end_cursor) = match self.ledger().finality_of(block.number) {
            Finality::AcceptedOnL2 => (DataFinality::Accepted, encode::cursor(at)),
            // Final blocks are known by their height alone.
            Finality::AcceptedOnL1 => {
                (DataFinality::Finalized, Cursor { order_key: at.number, unique_key: vec![] })
            }
        };
        let production = if is_head { DataProduction::Live } else { DataProduction::Backfill };
        Some(Message::Data(Data {
            cursor: self.place.map(encode::cursor),
            end_cursor: Some(end_cursor),
            finality: finality.into(),
            data: data.collect(),
            production: production.into(),
        }))
    }
}

fn head_of(served: &Served) -> Head {
    Head { number: served.block.number, hash: served.block.hash }
}

/// A block's bytes as a fault changes them.
fn spoil(fault: DnaFault, mut block: Block) -> Vec<u8> {
    match fault {
        DnaFault::GarbageData => return vec![0xff; 64],
        DnaFault::TruncatedData => {
            let mut bytes = block.encode_to_vec();
            bytes.pop();
            return bytes;
        }
        DnaFault::FeltBeyondField => {
            if let Some(header) = &mut block.header {
                header.new_root = Some(PRIME);
            }
        }
        DnaFault::ContradictingRepeat => {
            if let Some(mut event) = block.events.first().cloned() {
                event.data.push(FieldElement::default());
                block.events.push(event);
            }
        }
        DnaFault::ForeignEvent => {
            if let Some(event) = block.events.first_mut() {
                event.from_address = Some(FieldElement { x0: 0, x1: 0, x2: 0, x3: 0xbad });
            }
        }
        DnaFault::MissingHeader => block.header = None,
        _ => {}
    }
    block.encode_to_vec()
}
