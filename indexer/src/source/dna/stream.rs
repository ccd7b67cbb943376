//! A stream at work: reads message after message, checks it, and stops at the first that is wrong.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use apibara_dna_sdk::DataStream;
use apibara_dna_sdk::proto::DnaMessage as WireMessage;
use futures::Stream;
use obsqra_types::ContractAddress;

use super::block::read_block;
use super::problem::Peer;
use super::sequence::Sequence;
use super::{DnaCursor, DnaStart};
use crate::source::{SourceBlock, SourceError};

/// What a server tells.
#[derive(Clone, Debug)]
pub enum DnaMessage {
    /// The next block, with the events of the watched contracts only.
    Block(Box<SourceBlock>),
    /// The chain was replaced above this block; `None` for the whole chain.
    Invalidate {
        /// The last block that stays.
        to: Option<DnaCursor>,
    },
    /// This block and all below it are final. It may lie above the newest block that was streamed.
    Finalized(DnaCursor),
    /// The server is there and has nothing new.
    Heartbeat,
}

/// Messages of a server, until the first error.
pub struct DnaStream {
    messages: DataStream,
    peer: Peer,
    watched: BTreeSet<ContractAddress>,
    sequence: Sequence,
    silence: Duration,
    ended: bool,
}

impl std::fmt::Debug for DnaStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnaStream")
            .field("node", &self.peer.name())
            .field("sequence", &self.sequence)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl DnaStream {
    pub(super) fn new(
        messages: DataStream,
        peer: Peer,
        watched: BTreeSet<ContractAddress>,
        start: DnaStart,
        silence: Duration,
    ) -> Self {
        Self { messages, peer, watched, sequence: Sequence::new(start), silence, ended: false }
    }

    /// Reads a message; `None` for one that is about nothing of the chain.
    fn read(&mut self, message: WireMessage) -> Result<Option<DnaMessage>, String> {
        let read = match message {
            WireMessage::Data(data) => {
                let block = read_block(data, &self.watched)?;
                self.sequence.block(block.link())?;
                DnaMessage::Block(Box::new(block))
            }
            WireMessage::Invalidate(invalidate) => {
                let to = invalidate.cursor.map(DnaCursor::read).transpose()?;
                self.sequence.rewind(to)?;
                DnaMessage::Invalidate { to }
            }
            WireMessage::Finalize(finalize) => {
                let cursor = finalize.cursor.ok_or("a final block without a cursor")?;
                DnaMessage::Finalized(DnaCursor::read(cursor)?)
            }
            WireMessage::Heartbeat(_) => DnaMessage::Heartbeat,
            // A server's words to people: what matters to the chain comes in the other kinds.
            WireMessage::SystemMessage(_) => return Ok(None),
        };
        Ok(Some(read))
    }

    fn fail(&mut self, error: SourceError) -> Poll<Option<Result<DnaMessage, SourceError>>> {
        self.ended = true;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for DnaStream {
    type Item = Result<DnaMessage, SourceError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while !self.ended {
            match ready!(Pin::new(&mut self.messages).poll_next(context)) {
                Some(Ok(message)) => match self.read(message) {
                    Ok(Some(message)) => return Poll::Ready(Some(Ok(message))),
                    Ok(None) => {}
                    Err(problem) => {
                        let error = self.peer.unusable("stream", problem);
                        return self.fail(error);
                    }
                },
                Some(Err(error)) => {
                    let error = self.peer.broken(error, self.silence);
                    return self.fail(error);
                }
                None => {
                    let error = self.peer.unreachable("stream", "the server ended it");
                    return self.fail(error);
                }
            }
        }
        Poll::Ready(None)
    }
}
