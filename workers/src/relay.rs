//! The relay: publishes the log to the chain's stream, after commit and in order, a window at a time.
//!
//! Its cursor moves only past what the server has acknowledged. Before it publishes, it compares the
//! stream with the log: a window whose acknowledgement was lost is not sent again, and a stream that was
//! lost, or restored from an older copy, is filled again from where it ends.
//!
//! A second relay, with a stream and a cursor of its own, repeats each fact once its block is final. It follows the
//! order of the log too: it waits at the first entry whose block may still be reverted, and passes over what was.

mod standing;

use std::collections::{BTreeMap, BTreeSet};

use obsqra_bus::{ChainStream, MAX_BATCH, Outgoing, StreamPosition};
use obsqra_events::{Entry, Finality, Kind, Message};
use obsqra_store::{
    LeaseKeeper, Store, StoreError, chain_tip, cursor, key, lease, log, relay_subject,
};
use obsqra_types::{BlockNumber, ChainId, Partition, Seq};

use crate::WorkError;
use crate::known_contracts::KnownContracts;
use crate::runtime::{Progress, Role, WakesOn};
use standing::{Blocks, Standing};

/// Most entries in a window.
const WINDOW: u32 = 512;

/// What a relay publishes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Scope {
    /// Each fact when it is in the log.
    Every,
    /// Each fact again when its block is final.
    Final,
}

/// Publishes one chain.
#[derive(Debug)]
pub struct Relay {
    store: Store,
    stream: ChainStream,
    chain: ChainId,
    scope: Scope,
    /// What events are, as of the cursor.
    known: KnownContracts,
    cursor: Seq,
    position: StreamPosition,
    /// Last position published on each subject.
    tails: BTreeMap<String, Seq>,
    /// Everything up to here was published once: what of it is sent again is bounded by age.
    published: Seq,
}

impl Relay {
    /// Prepares the role; nothing is read yet.
    #[must_use]
    pub fn new(store: &Store, stream: &ChainStream, chain: &ChainId) -> Self {
        Self::with_scope(store, stream, chain, Scope::Every)
    }

    /// Prepares the role that repeats facts once their block is final, on the stream for that.
    #[must_use]
    pub fn of_final(store: &Store, stream: &ChainStream, chain: &ChainId) -> Self {
        Self::with_scope(store, stream, chain, Scope::Final)
    }

    fn with_scope(store: &Store, stream: &ChainStream, chain: &ChainId, scope: Scope) -> Self {
        Self {
            store: store.clone(),
            stream: stream.clone(),
            chain: chain.clone(),
            scope,
            known: KnownContracts::default(),
            cursor: Seq::BEFORE_FIRST,
            position: StreamPosition { stream_sequence: 0, seq: None },
            tails: BTreeMap::new(),
            published: Seq::BEFORE_FIRST,
        }
    }

    /// Goes back to where the stream ends, when it holds less than was acknowledged.
    async fn refill(&mut self) -> Result<(), WorkError> {
        let end = self.position.seq.unwrap_or(Seq::BEFORE_FIRST);
        let published = self.tails.values().copied().max().unwrap_or(Seq::BEFORE_FIRST);
        self.published = published;
        if end >= published {
            return Ok(());
        }
        tracing::warn!(
            chain = %self.chain, stream = self.stream.name(), stream_ends = end.0, published = published.0,
            "the stream holds less than was published: filling it again"
        );
        for (subject, tail) in &mut self.tails {
            if *tail > end {
                *tail = self.stream.last_on(subject).await?.unwrap_or(Seq::BEFORE_FIRST);
            }
        }
        self.cursor = end;
        Ok(())
    }

    /// How the blocks of a window stand. A relay of every fact asks about final heights alone.
    async fn blocks(&self, entries: &[Entry]) -> Result<Blocks, WorkError> {
        let tip = chain_tip::load(&self.store, &self.chain).await?;
        let finalized = tip.and_then(|tip| tip.finalized);
        let is_asked = |number: &BlockNumber| {
            self.scope == Scope::Final || finalized.is_some_and(|finalized| *number <= finalized)
        };
        let heights: BTreeSet<BlockNumber> = entries
            .iter()
            .filter_map(|entry| entry.draft.block.filter(|_| entry.draft.chain == self.chain))
            .map(|block| block.number)
            .filter(is_asked)
            .collect();
        // Asked after the final height: below it no answer changes any more.
        let canonical = key::canonical_epochs(&self.store, &self.chain, &heights).await?;
        Ok(Blocks { finalized, canonical })
    }

    /// How many entries of a window the relay may deal with: all, or those before the first one whose block may
    /// still be reverted.
    fn decided(&self, entries: &[Entry], blocks: &Blocks) -> usize {
        let is_open = |entry: &Entry| {
            entry.draft.chain == self.chain && blocks.standing(entry) == Standing::Open
        };
        match self.scope {
            Scope::Every => entries.len(),
            Scope::Final => entries.iter().position(is_open).unwrap_or(entries.len()),
        }
    }

    /// The messages of a window of entries, with the last position on each subject that they move. What is too old
    /// to be sent still tells what later events are.
    async fn messages(
        &mut self,
        entries: &[Entry],
        blocks: &Blocks,
    ) -> Result<Vec<Outgoing>, WorkError> {
        let now = chrono::Utc::now();
        let mut messages = Vec::new();
        for entry in entries {
            if entry.draft.chain != self.chain || entry.draft.kind == Kind::BlockAttested {
                continue;
            }
            let fact =
                entry.draft.fact().map_err(|source| WorkError::Entry { seq: entry.seq, source })?;
            self.known.follow(&self.store, entry, &fact).await?;
            let is_final = blocks.standing(entry) == Standing::Final;
            if !self.is_kept(entry, now) || (self.scope == Scope::Final && !is_final) {
                continue;
            }
            let context = self.known.context(entry, &fact);
            let Some(message) = Message::new(entry, &fact, &context) else {
                continue;
            };
            let message = match self.scope {
                Scope::Every => message,
                Scope::Final => message.when_final(),
            };
            let finality = if is_final { Finality::Final } else { Finality::Provisional };
            let subject = message.subject.as_str().to_owned();
            let previous =
                self.tails.insert(subject, entry.seq).filter(|seq| *seq > Seq::BEFORE_FIRST);
            messages.push(Outgoing { message, seq: entry.seq, previous, finality });
        }
        Ok(messages)
    }

    async fn commit(
        &mut self,
        lease: &LeaseKeeper,
        moved: &BTreeMap<String, Seq>,
        to: Seq,
    ) -> Result<(), WorkError> {
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        cursor::advance(&mut tx, &self.partition(), to).await?;
        if !moved.is_empty() {
            relay_subject::save(&mut tx, &self.chain, moved).await?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        self.cursor = to;
        Ok(())
    }

    /// Entries older than the stream keeps messages are not sent: of blocks that is so only where a
    /// stream is filled again.
    fn is_kept(&self, entry: &Entry, now: chrono::DateTime<chrono::Utc>) -> bool {
        let block_level = matches!(
            entry.draft.kind,
            Kind::BlockApplied | Kind::BlockReverted | Kind::BlockFinalized
        );
        if block_level && entry.seq > self.published {
            return true;
        }
        let age = now.timestamp_micros().saturating_sub(entry.recorded_at.0);
        u128::try_from(age).unwrap_or(0) < self.stream.max_age().as_micros()
    }
}

impl Role for Relay {
    fn partition(&self) -> Partition {
        match self.scope {
            Scope::Every => Partition::Relay(self.chain.clone()),
            Scope::Final => Partition::FinalRelay(self.chain.clone()),
        }
    }

    // The first relay is what wakes the others; it looks at the log itself.
    fn wakes_on(&self) -> WakesOn {
        match self.scope {
            Scope::Every => WakesOn::Log,
            Scope::Final => WakesOn::Facts(&[Kind::BlockFinalized]),
        }
    }

    async fn load(&mut self) -> Result<(), WorkError> {
        self.cursor = cursor::load(&self.store, &self.partition()).await?;
        self.tails = match self.scope {
            Scope::Every => relay_subject::load(&self.store, &self.chain).await?,
            Scope::Final => relay_subject::load_final(&self.store, &self.chain).await?,
        };
        self.stream.ensure().await?;
        self.position = self.stream.position().await?;
        let head = log::head(&self.store).await?.seq;
        if let Some(end) = self.position.seq.filter(|end| *end > head) {
            return Err(WorkError::StreamAhead { stream: end, log: head });
        }
        self.refill().await?;
        self.known = KnownContracts::load(&self.store, &self.chain, self.cursor).await?;
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        let mut entries = log::read_after(&self.store, self.cursor, WINDOW).await?;
        let blocks = self.blocks(&entries).await?;
        entries.truncate(self.decided(&entries, &blocks));
        let Some(last) = entries.last().map(|entry| entry.seq) else {
            return Ok(Progress::Idle);
        };
        let mut messages = self.messages(&entries, &blocks).await?;
        let moved = messages
            .iter()
            .map(|outgoing| (outgoing.message.subject.as_str().to_owned(), outgoing.seq))
            .collect();
        // What the stream holds already was acknowledged without our hearing of it.
        let end = self.position.seq.unwrap_or(Seq::BEFORE_FIRST);
        messages.retain(|outgoing| outgoing.seq > end);
        for window in messages.chunks(MAX_BATCH) {
            self.position = self.stream.publish(self.position, window).await?;
        }
        self.commit(lease, &moved, last).await?;
        let (sent, at) = match self.scope {
            Scope::Every => ("obsqra_relay_messages_total", "obsqra_relay_seq"),
            Scope::Final => ("obsqra_final_relay_messages_total", "obsqra_final_relay_seq"),
        };
        metrics::counter!(sent).increment(messages.len() as u64);
        metrics::gauge!(at).set(self.cursor.0 as f64);
        Ok(Progress::Worked)
    }
}
