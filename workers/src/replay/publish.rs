//! Replays onto an analyst's own subjects, at full speed or paced by the chain's clock.
//!
//! A subject is that of the bus with `obsqra.replay.<name>` for `obsqra.v1`, so that a subscriber needs another
//! prefix and nothing else; kinds that the bus does not carry go under their own name. The last message, on `end`, is
//! the manifest: a replay without it was cut off.

use std::collections::BTreeMap;
use std::time::Duration;

use obsqra_bus::{ReplayChannel, ReplayMessage};
use obsqra_events::{Entry, Fact, Message, MessageContext, entry_body};
use obsqra_types::{Seq, UnixSeconds};
use tokio::time::Instant;

use super::reader::{Reader, Selected};
use super::{Manifest, Reading, ReplayError};
use crate::WorkError;

/// What the subjects of the bus begin with.
const BUS: &str = "obsqra.v1.";
/// The longest that a replay lasts: ten years, which a clock can add.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How fast a replay goes.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Pace {
    /// As fast as it is taken.
    Full,
    /// So many seconds of the chain in one of ours.
    Times(f64),
}

/// A replay on its way to its subjects.
#[derive(Debug)]
pub struct Publication {
    channel: ReplayChannel,
    pace: Pace,
    /// When the first block was sent, and its time.
    begun: Option<(Instant, UnixSeconds)>,
    /// Last position sent on each subject, of which there are as many as kinds, protocols and events have names.
    tails: BTreeMap<String, Seq>,
}

impl Publication {
    /// Nothing is sent yet.
    #[must_use]
    pub fn new(channel: ReplayChannel, pace: Pace) -> Self {
        Self { channel, pace, begun: None, tails: BTreeMap::new() }
    }

    /// Sends all that a reader gives, and returns once it was acknowledged or handed to the server.
    ///
    /// # Errors
    /// When the log cannot be read or a message is not taken.
    pub async fn run(mut self, reader: Reader) -> Result<Manifest, ReplayError> {
        let mut reading = Reading::start(reader);
        while let Some(batch) = reading.batches.recv().await {
            for selected in &batch {
                self.wait(&selected.entry).await?;
                self.send(selected).await?;
            }
        }
        let manifest = reading.end().await?;
        let body = manifest.line()?.into_bytes();
        let end = ReplayMessage { tail: "end".into(), place: None, kind: "replay.end", body };
        self.channel.publish(end).await?;
        self.channel.settle().await?;
        Ok(manifest)
    }

    /// Waits until a block is due. What belongs to no block, or to an earlier one, goes at once.
    async fn wait(&mut self, entry: &Entry) -> Result<(), ReplayError> {
        let (Pace::Times(times), Some(block)) = (self.pace, entry.draft.block) else {
            return Ok(());
        };
        let (begun, first) = *self.begun.get_or_insert((Instant::now(), block.timestamp));
        let due = begun + due_after(first, block.timestamp, times);
        if due > Instant::now() {
            self.channel.settle().await?;
            tokio::time::sleep_until(due).await;
        }
        Ok(())
    }

    async fn send(&mut self, selected: &Selected) -> Result<(), ReplayError> {
        let entry = &selected.entry;
        let fact = entry.draft.fact();
        let fact = fact.map_err(|source| WorkError::Entry { seq: entry.seq, source })?;
        let tail = tail(entry, &fact, &selected.context);
        let previous = self.tails.insert(tail.clone(), entry.seq).unwrap_or(Seq::BEFORE_FIRST);
        let body = entry_body(entry, &fact, &selected.context).to_string().into_bytes();
        let place = Some((entry.seq, previous));
        let kind = entry.draft.kind.name();
        Ok(self.channel.publish(ReplayMessage { tail, place, kind, body }).await?)
    }
}

/// What follows `obsqra.replay.<name>.` in an entry's subject.
fn tail(entry: &Entry, fact: &Fact, context: &MessageContext) -> String {
    let message = Message::new(entry, fact, context);
    let on_bus = message.as_ref().and_then(|message| message.subject.as_str().strip_prefix(BUS));
    let draft = &entry.draft;
    on_bus.map_or_else(|| format!("{}.{}", draft.chain, draft.kind.name()), str::to_owned)
}

/// How long after the first block another one is due, at most [`LONGEST`].
fn due_after(first: UnixSeconds, block: UnixSeconds, times: f64) -> Duration {
    let seconds = Duration::from_secs(block.0.saturating_sub(first.0)).as_secs_f64() / times;
    Duration::try_from_secs_f64(seconds).map_or(LONGEST, |due| due.min(LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_due_by_the_clock_of_the_chain() {
        let due = |block: u64, times: f64| due_after(UnixSeconds(100), UnixSeconds(block), times);
        assert_eq!(due(100, 60.0), Duration::ZERO);
        assert_eq!(due(220, 60.0), Duration::from_secs(2));
        assert_eq!(due(101, 0.5), Duration::from_secs(2));
        assert_eq!(due(40, 60.0), Duration::ZERO, "a replacing block may be older");
        assert_eq!(due(u64::MAX, 0.001), LONGEST);
    }
}
