//! Retractions: a `retracted` entry for each derived fact whose as-of block was reverted.
//!
//! What is appended is a function of the log. For each `chain.block_reverted` entry, in order of position,
//! it is the facts as of exactly that block on that branch, in order of theirs. How many are appended at a
//! time, and by whom, changes nothing: a retraction that is in the log already is left out.
//!
//! Those facts are all there when the entry is read, and none comes later. A derived fact is appended
//! under the head lock, under which its block must be canonical; a revert moves the tip under the same lock.
//! So the fact is committed before the revert, and whoever reads the entry sees it; or its append comes
//! after, finds the block reverted, and writes nothing. Nor does the block come back: applied again, it has
//! another branch epoch.

use obsqra_events::{BlockReverted, Draft, Entry, Fact, Kind, Retracted};
use obsqra_store::retraction::{self, Retractable, RetractionPlace, RevertedBlock};
use obsqra_store::{Key, Keyed, LeaseKeeper, Store, StoreError, cursor, lease, log};
use obsqra_types::{BlockHash, ChainId, Partition, Seq};

use crate::WorkError;
use crate::runtime::{Progress, Role, WakesOn};

/// Most reverts read at a time.
const REVERTS: u32 = 512;
/// Most retractions appended in one transaction.
const MOST_RETRACTIONS: u32 = 256;

/// Retracts the derived facts of one chain.
#[derive(Debug)]
pub struct Retract {
    store: Store,
    chain: ChainId,
    state: State,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// Everything that the reverts up to here take back is retracted; committed.
    cursor: Seq,
    /// There is no revert after the cursor up to here.
    searched: Seq,
    /// Of the first revert after the cursor, the facts up to here are retracted.
    within: Seq,
}

impl State {
    fn at(cursor: Seq) -> Self {
        Self { cursor, searched: cursor, within: Seq::BEFORE_FIRST }
    }
}

/// A `chain.block_reverted` entry.
#[derive(Clone, Copy, Debug)]
struct Revert {
    reverted: RevertedBlock,
    hash: BlockHash,
}

impl Retract {
    /// Prepares the role; nothing is read yet.
    #[must_use]
    pub fn new(store: &Store, chain: &ChainId) -> Self {
        Self { store: store.clone(), chain: chain.clone(), state: State::at(Seq::BEFORE_FIRST) }
    }

    /// How far the retraction of the first revert after a position has come, when it was cut off between
    /// two transactions. Its retractions stand in the order of their facts.
    async fn cut_off(&self, cursor: Seq) -> Result<Seq, WorkError> {
        let head = log::head(&self.store).await?.seq;
        let first = log::reverts_after(&self.store, &self.chain, (cursor, head), 1).await?;
        let Some(first) = first.first().map(revert).transpose()? else {
            return Ok(Seq::BEFORE_FIRST);
        };
        let block = first.reverted.block;
        let Some(seq) = retraction::newest_of(&self.store, &self.chain, block).await? else {
            return Ok(Seq::BEFORE_FIRST);
        };
        let entry = log::entry(&self.store, seq).await?;
        let entry = entry.ok_or_else(|| broken(seq, "the retraction is missing"))?;
        match entry.draft.fact().map_err(|source| WorkError::Entry { seq, source })? {
            Fact::Retracted(fact) => Ok(fact.seq),
            _ => Err(broken(seq, "not a retraction")),
        }
    }

    /// Up to [`MOST_RETRACTIONS`] facts of some reverts, from where this role stands.
    async fn due(&self, reverts: &[Revert]) -> Result<Vec<Retractable>, WorkError> {
        let Some(first) = reverts.first() else {
            return Ok(Vec::new());
        };
        let blocks: Vec<RevertedBlock> = reverts.iter().map(|revert| revert.reverted).collect();
        let after = RetractionPlace { reverted: first.reverted.seq, fact: self.state.within };
        let limit = MOST_RETRACTIONS;
        Ok(retraction::facts_of(&self.store, &self.chain, &blocks, after, limit).await?)
    }

    fn keyed(&self, reverts: &[Revert], fact: &Retractable) -> Result<Keyed, WorkError> {
        let place = fact.place;
        let revert = reverts
            .binary_search_by_key(&place.reverted, |revert| revert.reverted.seq)
            .ok()
            .and_then(|index| reverts.get(index))
            .ok_or_else(|| broken(place.reverted, "a retraction without its revert"))?;
        let draft = draft(&self.chain, revert.reverted, revert.hash, fact);
        let key = Key::Retracted { kind: fact.kind, subject: fact.subject.clone() };
        Ok(Keyed { key, drafts: vec![draft] })
    }

    async fn commit(
        &mut self,
        lease: &LeaseKeeper,
        facts: Vec<Keyed>,
        state: State,
    ) -> Result<(), WorkError> {
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        if state.cursor > self.state.cursor {
            cursor::advance(&mut tx, &self.partition(), state.cursor).await?;
        }
        let mut appended = 0;
        if !facts.is_empty() {
            let outcome = log::append(&mut tx, lease.fence(), facts).await?;
            appended = outcome.after.seq.0 - outcome.before.seq.0;
        }
        tx.commit().await.map_err(StoreError::from)?;
        self.state = state;
        metrics::counter!("obsqra_retractions_total").increment(appended);
        Ok(())
    }
}

impl Role for Retract {
    fn partition(&self) -> Partition {
        Partition::Retractor(self.chain.clone())
    }

    fn wakes_on(&self) -> WakesOn {
        WakesOn::Facts(&[Kind::BlockReverted])
    }

    async fn load(&mut self) -> Result<(), WorkError> {
        let cursor = cursor::load(&self.store, &self.partition()).await?;
        self.state = State { within: self.cut_off(cursor).await?, ..State::at(cursor) };
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        let head = log::head(&self.store).await?.seq;
        let span = (self.state.searched, head);
        let entries = log::reverts_after(&self.store, &self.chain, span, REVERTS).await?;
        let Some(last) = entries.last().map(|entry| entry.seq) else {
            self.state.searched = head;
            return Ok(Progress::Idle);
        };
        let reverts = entries.iter().map(revert).collect::<Result<Vec<_>, _>>()?;
        let due = self.due(&reverts).await?;
        let state = match due.last() {
            // There may be more of the last one's revert: the cursor stays before that.
            Some(fact) if due.len() >= MOST_RETRACTIONS as usize => {
                let done = reverts.iter().map(|revert| revert.reverted.seq);
                let done = done.take_while(|seq| *seq < fact.place.reverted).last();
                let cursor = done.unwrap_or(self.state.cursor);
                State { within: fact.place.fact, ..State::at(cursor) }
            }
            _ => State::at(last),
        };
        let facts = due.iter().map(|fact| self.keyed(&reverts, fact)).collect::<Result<_, _>>()?;
        self.commit(lease, facts, state).await?;
        Ok(Progress::Worked)
    }
}

/// The retraction of a fact, as it stands in the log.
pub(crate) fn draft(
    chain: &ChainId,
    reverted: RevertedBlock,
    block_hash: BlockHash,
    fact: &Retractable,
) -> Draft {
    let retracted = Fact::Retracted(Retracted {
        kind: fact.kind,
        subject: fact.subject.clone(),
        block_hash,
        seq: fact.place.fact,
        content_hash: fact.content_hash,
        reverted_seq: reverted.seq,
    });
    Draft::new(chain, Some(reverted.block), &retracted)
}

fn revert(entry: &Entry) -> Result<Revert, WorkError> {
    let seq = entry.seq;
    let fact = entry.draft.fact().map_err(|source| WorkError::Entry { seq, source })?;
    match (fact, entry.draft.block) {
        (Fact::BlockReverted(BlockReverted { hash }), Some(block)) => {
            Ok(Revert { reverted: RevertedBlock { block, seq }, hash })
        }
        _ => Err(broken(seq, "not the revert of a block")),
    }
}

fn broken(seq: Seq, problem: &str) -> WorkError {
    WorkError::Log { seq, problem: problem.to_owned() }
}
