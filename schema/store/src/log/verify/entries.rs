//! One entry after the other: position, time, and both hashes.
//!
//! Columns are wider than what is hashed. What lies in between (a negative version, half a second in a
//! block's time) would change a row and no hash, so it is refused.

use obsqra_events::{Draft, EventsDigest, Fact, Kind, chain_hash, content_hash};
use obsqra_types::{
    BlockNumber, BlockRef, BranchEpoch, ChainId, Hash32, RecordedAt, Seq, UnixSeconds,
};

use super::Broken;
use crate::Head;
use crate::log::copy::RawEntry;

/// Checks entries in order.
pub(super) struct Entries {
    last: Head,
    clock: RecordedAt,
    /// The chain of the entry before, which most entries share.
    chain: Option<ChainId>,
    facts: Option<Facts>,
    count: u64,
}

impl Entries {
    pub(super) fn after(last: Head, decode: bool) -> Self {
        let facts = decode.then(Facts::default);
        Self { last, clock: RecordedAt(i64::MIN), chain: None, facts, count: 0 }
    }

    pub(super) fn last(&self) -> Head {
        self.last
    }

    pub(super) fn clock(&self) -> RecordedAt {
        self.clock
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The position that a missing entry leaves, or the entry's own.
    pub(super) fn take(&mut self, raw: &RawEntry<'_>) -> Result<(), Broken> {
        let seq = self.last.seq.next();
        self.check(seq, raw).map_err(|problem| Broken { seq, problem })
    }

    fn check(&mut self, seq: Seq, raw: &RawEntry<'_>) -> Result<(), String> {
        if u64::try_from(raw.seq) != Ok(seq.0) {
            return Err(format!("entry is missing: {} follows {}", raw.seq, self.last.seq));
        }
        let kind = Kind::try_from(raw.kind).map_err(|unknown| unknown.to_string())?;
        let recorded_at = raw.recorded_at.ok_or("recorded_at is out of range")?;
        if recorded_at < self.clock {
            return Err("recorded_at is before that of the entry before".into());
        }
        let version = Some(raw.version).filter(|version| *version > 0);
        let version = version.ok_or("schema_version is out of range")?;
        let block = block(raw)?;
        let chain = self.chain(raw.chain)?;
        let found = content_hash(kind, version, chain, block.as_ref(), raw.payload);
        if found.as_bytes() != raw.content_hash {
            return Err("content hash is not that of the stored fact".into());
        }
        let hash = chain_hash(seq, recorded_at, &found, &self.last.hash);
        if hash.as_bytes() != raw.hash {
            return Err("entry hash does not follow from the entry before".into());
        }
        if let (Some(facts), Some(chain)) = (&mut self.facts, &self.chain) {
            let payload = raw.payload.to_vec();
            let chain = chain.clone();
            facts.take(seq, Draft { kind, version, chain, block, payload, content_hash: found })?;
        }
        self.last = Head { seq, hash };
        self.clock = recorded_at;
        self.count += 1;
        Ok(())
    }

    fn chain(&mut self, name: &[u8]) -> Result<&ChainId, String> {
        let known = self.chain.take().filter(|chain| chain.as_str().as_bytes() == name);
        let chain = match known {
            Some(chain) => chain,
            None => String::from_utf8(name.to_vec())
                .ok()
                .and_then(|name| ChainId::new(name).ok())
                .ok_or("chain id is out of range")?,
        };
        Ok(self.chain.insert(chain))
    }

    /// What the facts lack at the end of the log.
    pub(super) fn finish(&self) -> Result<(), Broken> {
        let missing = self.facts.as_ref().and_then(Facts::missing);
        missing.map_or(Ok(()), |problem| Err(Broken { seq: self.last.seq.next(), problem }))
    }
}

fn block(raw: &RawEntry<'_>) -> Result<Option<BlockRef>, String> {
    match (raw.block_number, raw.branch_epoch, raw.occurred_at) {
        (None, None, None) => Ok(None),
        (Some(number), Some(epoch), Some(time)) => {
            let number = u64::try_from(number).map_err(|_| "block number is out of range")?;
            let epoch = u32::try_from(epoch).map_err(|_| "branch epoch is out of range")?;
            let time = time.filter(|micros| micros % 1_000_000 == 0);
            let seconds = time.and_then(|micros| u64::try_from(micros / 1_000_000).ok());
            Ok(Some(BlockRef {
                number: BlockNumber(number),
                epoch: BranchEpoch(epoch),
                timestamp: UnixSeconds(seconds.ok_or("timestamp is out of range")?),
            }))
        }
        _ => Err("block reference is out of range".into()),
    }
}

/// Checks what the entries say: that it can be read, and that the events behind a statement about a
/// block are those it counts.
#[derive(Default)]
struct Facts {
    /// Where the last statement about a block's events stands, and what it still waits for.
    events: Option<Awaited>,
    /// Whether an entry other than an event was seen: verification may begin amid a block.
    settled: bool,
}

struct Awaited {
    at: Seq,
    left: u32,
    digest: EventsDigest,
    stated: Hash32,
}

impl Facts {
    fn take(&mut self, seq: Seq, draft: Draft) -> Result<(), String> {
        let fact = draft.fact().map_err(|error| error.to_string())?;
        if matches!(fact, Fact::Event(_)) {
            return self.event(&draft.content_hash);
        }
        if let Some(problem) = self.missing() {
            return Err(problem);
        }
        self.settled = true;
        self.events = match fact {
            Fact::BlockApplied(block) => {
                Some(Awaited::new(seq, block.watched_events, block.events_digest))
            }
            Fact::BlockSupplemented(block) => {
                Some(Awaited::new(seq, block.watched_events, block.events_digest))
            }
            _ => None,
        };
        self.settle()
    }

    fn event(&mut self, content_hash: &Hash32) -> Result<(), String> {
        match &mut self.events {
            Some(awaited) => {
                awaited.left -= 1;
                awaited.digest.add(content_hash);
                self.settle()
            }
            None if self.settled => Err("event that no block counts".into()),
            None => Ok(()),
        }
    }

    /// Compares digests once all events are there.
    fn settle(&mut self) -> Result<(), String> {
        let Some(awaited) = self.events.take_if(|awaited| awaited.left == 0) else {
            return Ok(());
        };
        if awaited.digest.finish() == awaited.stated {
            return Ok(());
        }
        Err(format!("events up to here are not those that entry {} states", awaited.at))
    }

    fn missing(&self) -> Option<String> {
        let awaited = self.events.as_ref()?;
        Some(format!("{} events that entry {} counts are missing", awaited.left, awaited.at))
    }
}

impl Awaited {
    fn new(at: Seq, left: u32, stated: Hash32) -> Self {
        Self { at, left, digest: EventsDigest::new(), stated }
    }
}
