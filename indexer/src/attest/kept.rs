//! What the log has of a block: the header of its `chain.block_applied` entry, the events behind that, and those
//! of its supplements.

use obsqra_events::{BlockApplied, Difference, EventData, Fact};
use obsqra_store::key::AppliedBlock;
use obsqra_store::{Store, StoreError, log, watch};
use obsqra_types::{ChainId, EventIndex, Seq};

use crate::IndexError;
use crate::source::SourceBlock;

/// Entries read at a time.
const PAGE: u32 = 1_000;

/// A block as the log has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeptBlock {
    applied: BlockApplied,
    events: KeptEvents,
}

impl KeptBlock {
    /// All that the log has of a block.
    pub(super) async fn read(
        store: &Store,
        chain: &ChainId,
        own: &AppliedBlock,
    ) -> Result<Self, IndexError> {
        let applied = applied(store, own).await?;
        let events = KeptEvents::read_before(store, chain, own, crate::watched::NEWEST).await?;
        Ok(Self { applied, events })
    }

    /// What differs from a verified block with the events of the watched contracts; `None` where nothing does.
    pub(super) fn compare(&self, own: &AppliedBlock, block: &SourceBlock) -> Option<Difference> {
        let applied = &self.applied;
        let expected = BlockApplied {
            hash: block.hash,
            parent_hash: block.parent_hash,
            new_root: block.new_root,
            sequencer: block.sequencer,
            starknet_version: block.starknet_version.clone(),
            da_mode: block.da_mode,
            l1_gas: block.l1_gas,
            l1_data_gas: block.l1_data_gas,
            // Those are compared one by one.
            watched_events: applied.watched_events,
            events_digest: applied.events_digest,
        };
        if *applied != expected {
            let told = |fact: &BlockApplied| format!("{fact:?}");
            return Some(Difference {
                member: "header".to_owned(),
                stated: told(applied),
                computed: told(&expected),
            });
        }
        if own.block.timestamp != block.timestamp {
            return Some(Difference {
                member: "timestamp".to_owned(),
                stated: own.block.timestamp.0.to_string(),
                computed: block.timestamp.0.to_string(),
            });
        }
        self.events.compare(&block.events)
    }
}

/// What was stated about a block when it was applied.
pub(super) async fn applied(store: &Store, own: &AppliedBlock) -> Result<BlockApplied, IndexError> {
    let entry = log::entry(store, own.seq).await?;
    match entry.and_then(|entry| entry.draft.fact().ok()) {
        Some(Fact::BlockApplied(fact)) => Ok(fact),
        _ => Err(corrupt(own.seq, "it should be a chain.block_applied")),
    }
}

/// Events of one block, by their place in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct KeptEvents(Vec<EventData>);

impl KeptEvents {
    /// All that it had of a block before a position.
    pub(super) async fn read_before(
        store: &Store,
        chain: &ChainId,
        own: &AppliedBlock,
        before: Seq,
    ) -> Result<Self, IndexError> {
        let number = own.block.number;
        let supplements = watch::supplements(store, chain, (number, number), before).await?;
        let mut pieces = vec![(own.seq, own.watched_events)];
        pieces.extend(
            supplements
                .into_iter()
                .filter(|(place, _)| *place == (number, own.block.epoch))
                .map(|(_, supplement)| (supplement.seq, supplement.watched_events)),
        );
        let mut events = Vec::new();
        for (after, count) in pieces {
            read_piece(store, (after, count), &mut events).await?;
        }
        events.sort_by_key(|event: &EventData| event.index);
        Ok(Self(events))
    }

    /// What differs from the events that the log should have, in block order; `None` where nothing does.
    pub(super) fn compare(&self, expected: &[EventData]) -> Option<Difference> {
        if self.0 == expected {
            return None;
        }
        let first = (0..self.0.len().max(expected.len()))
            .find(|place| self.0.get(*place) != expected.get(*place));
        let index = |events: &[EventData]| {
            first.and_then(|place| events.get(place)).map(|event| event.index.0)
        };
        let told = |events: &[EventData]| {
            let at = index(events).map_or_else(
                || "none at the first place that differs".to_owned(),
                |index| format!("event {index} at the first place that differs"),
            );
            format!("{} events, {at}", events.len())
        };
        Some(Difference {
            member: "events of watched contracts".to_owned(),
            stated: told(&self.0),
            computed: told(expected),
        })
    }

    /// The event at a place, if it is kept.
    pub(super) fn at(&self, index: EventIndex) -> Option<&EventData> {
        let place = self.0.binary_search_by_key(&index, |event| event.index).ok()?;
        self.0.get(place)
    }

    /// How many they are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

async fn read_piece(
    store: &Store,
    (mut after, mut left): (Seq, u32),
    events: &mut Vec<EventData>,
) -> Result<(), IndexError> {
    while left > 0 {
        let entries = log::read_after(store, after, left.min(PAGE)).await?;
        if entries.is_empty() {
            return Err(corrupt(after.next(), "it is missing"));
        }
        for entry in entries {
            match entry.draft.fact() {
                Ok(Fact::Event(event)) => events.push(event),
                Ok(_) => return Err(corrupt(entry.seq, "it should be an event of a block")),
                Err(error) => return Err(corrupt(entry.seq, &error.to_string())),
            }
            (after, left) = (entry.seq, left - 1);
        }
    }
    Ok(())
}

pub(super) fn corrupt(seq: Seq, problem: &str) -> IndexError {
    StoreError::Corrupt { seq, problem: problem.to_owned() }.into()
}
