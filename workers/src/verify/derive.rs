//! `derive verify`: derives every fact again from the chain lane and compares bytes, and works out which
//! of them the log must retract.
//!
//! The log is read once, from its start. What is held in memory is what later entries may still refer to:
//! facts that are due and not stated yet, the facts of blocks that may still be reverted, and retractions
//! that are due. A fact is let go when its block is final, or its retraction is found.
//!
//! Facts about blocks from before the program's own definitions were adopted are counted and not compared.
//!
//! What is not in the log is missing only if its writer has been past it. Of a deriving role a later fact
//! tells that; of the retractor a later retraction, or its cursor.

use std::collections::BTreeMap;

use obsqra_events::{AdoptedWhat, Draft, Entry, Fact, Kind, Lane, Retracted};
use obsqra_protocols::{Definitions, risk};
use obsqra_store::retraction::{Retractable, RetractionPlace, RevertedBlock};
use obsqra_store::{Key, Keyed, Store, cursor, key, log};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, Hash32, Partition, Seq,
};
use sha2::{Digest as _, Sha256};

use crate::WorkError;
use crate::chain_fold::{ChainFold, Folded, FoldedBlock};
use crate::jobs::{propose_allocation, retract, score_risk};

const BATCH: u32 = 4_000;

/// A fact that is not what the chain lane gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Discrepancy {
    /// The log states it with other bytes.
    Differs {
        /// The entry.
        seq: Seq,
        /// What it is about.
        subject: String,
        /// Its as-of block.
        block: BlockNumber,
    },
    /// The log states what the chain lane does not give.
    Unfounded {
        /// The entry.
        seq: Seq,
        /// What it is about.
        subject: String,
        /// Its as-of block.
        block: BlockNumber,
    },
    /// The chain lane gives it, its writer has been past it, and it is not in the log.
    Missing {
        /// What it is about.
        subject: String,
        /// Its as-of block.
        block: BlockNumber,
    },
}

/// The result of a verification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeriveReport {
    /// The last entry read.
    pub seq: Seq,
    /// Derived facts in the log that were compared, retractions among them.
    pub compared: u64,
    /// Facts about blocks from before the program's own definitions were adopted. What others stated, this
    /// program cannot repeat.
    pub of_other_rules: u64,
    /// Facts and retractions that are due and not yet in the log, at its end.
    pub pending: u64,
    /// What does not agree.
    pub discrepancies: Vec<Discrepancy>,
    /// The most facts that were held in memory at a time.
    pub most_held: u64,
}

/// Which block, on which branch.
type Place = (BlockNumber, BranchEpoch);

/// A fact that the chain lane gives.
struct Expected {
    content_hash: Hash32,
    /// Position of its block.
    applied: Seq,
    /// The partition whose holder states it.
    writer: String,
}

/// A retraction that a revert makes due.
struct DueRetraction {
    content_hash: Hash32,
    subject: String,
    block: BlockNumber,
}

struct Comparison {
    chain: ChainId,
    /// Where the definitions of this program were adopted; blocks before are not compared.
    since: Seq,
    /// The first block after that. Blocks are applied in this order.
    first_own: Option<(BranchEpoch, BlockNumber)>,
    /// Facts due on the canonical chain that the log has not stated yet, by block, kind and subject. On a
    /// branch that was reverted a fact may rightly never have been written.
    expected: BTreeMap<(Place, Kind, String), Expected>,
    /// Position of the newest block for which each writer stated a fact: it has been past what is before.
    reach: BTreeMap<String, Seq>,
    /// The canonical blocks that may still be reverted, and the facts stated about them.
    standing: BTreeMap<Place, Vec<Retractable>>,
    /// Blocks up to here are final.
    finalized: Option<BlockNumber>,
    due: BTreeMap<RetractionPlace, DueRetraction>,
    /// The place of the last retraction in the log.
    retracted: Option<RetractionPlace>,
    /// Facts in `standing`.
    held: u64,
    report: DeriveReport,
}

/// Derives every fact up to the log's head again and compares.
///
/// # Errors
/// When the database fails or the log cannot be folded.
pub async fn derive(
    store: &Store,
    chain: &ChainId,
    mut progress: impl FnMut(Seq, Seq),
) -> Result<DeriveReport, WorkError> {
    // Before the head, so that what the retractor had done by then is in the log up to that.
    let retractor = cursor::load(store, &Partition::Retractor(chain.clone())).await?;
    let head = log::head(store).await?.seq;
    // Nobody holds this partition: its name only keeps the fold away from the workers' snapshots.
    let mut fold = ChainFold::new(store, chain, &Partition::Relay(chain.clone()));
    let mut comparison = Comparison::new(chain, own_since(store, chain, head).await?);
    let mut read = Seq::BEFORE_FIRST;
    while read < head {
        let entries = log::read_after(store, read, BATCH).await?;
        for entry in entries.iter().take_while(|entry| entry.seq <= head) {
            if entry.draft.chain == *chain {
                comparison.take(entry, &mut fold).await?;
            }
            read = entry.seq;
        }
        if entries.is_empty() {
            return Err(WorkError::Log { seq: read.next(), problem: "entry is missing".into() });
        }
        progress(read, head);
    }
    Ok(comparison.finish(read, retractor))
}

impl Comparison {
    fn new(chain: &ChainId, since: Seq) -> Self {
        Self {
            chain: chain.clone(),
            since,
            first_own: None,
            expected: BTreeMap::new(),
            reach: BTreeMap::new(),
            standing: BTreeMap::new(),
            finalized: None,
            due: BTreeMap::new(),
            retracted: None,
            held: 0,
            report: DeriveReport {
                seq: Seq::BEFORE_FIRST,
                compared: 0,
                of_other_rules: 0,
                pending: 0,
                discrepancies: Vec::new(),
                most_held: 0,
            },
        }
    }

    async fn take(&mut self, entry: &Entry, fold: &mut ChainFold) -> Result<(), WorkError> {
        if entry.draft.kind.lane() == Lane::Derived {
            return self.note(entry);
        }
        match fold.take(entry).await? {
            Some(Folded::Block(block)) => self.expect(fold, &block)?,
            Some(Folded::Reverted(block)) => self.revert(entry, block)?,
            Some(Folded::Reread(..)) => {}
            None => self.finalize(entry),
        }
        let held = self.expected.len() + self.due.len();
        self.report.most_held = self.report.most_held.max(self.held + held as u64);
        Ok(())
    }

    /// The facts that a block makes due.
    fn expect(&mut self, fold: &ChainFold, block: &FoldedBlock) -> Result<(), WorkError> {
        let (number, applied) = (block.block.number, block.applied_seq);
        let place = (number, block.block.epoch);
        if self.finalized.is_none_or(|finalized| number > finalized) {
            self.standing.insert(place, Vec::new());
        }
        let Some(registry) = fold.registry().filter(|_| applied > self.since) else {
            return Ok(());
        };
        self.first_own.get_or_insert((block.block.epoch, number));
        let mut due = Vec::new();
        for protocol in registry.protocols() {
            let writer = Partition::RiskWorker(self.chain.clone(), protocol.id.clone());
            due.push((writer, score_risk::due(&self.chain, &protocol.id, block)));
        }
        let writer = Partition::Allocator(self.chain.clone());
        due.push((writer, propose_allocation::due(&self.chain, block)?));
        for (writer, facts) in due {
            let writer = writer.to_string();
            for Keyed { key, drafts } in facts {
                let (Key::Derived { subject }, Some(draft)) = (key, drafts.first()) else {
                    continue;
                };
                let (content_hash, writer) = (draft.content_hash, writer.clone());
                let expected = Expected { content_hash, applied, writer };
                let about = (place, draft.kind, subject);
                if let Some(_same) = self.expected.insert(about.clone(), expected) {
                    let problem = format!("two {} of {} are due at once", about.1.name(), about.2);
                    return Err(WorkError::Log { seq: applied, problem });
                }
            }
        }
        Ok(())
    }

    /// The retractions that a revert makes due; what was not stated about the block by now never is.
    fn revert(&mut self, entry: &Entry, block: BlockRef) -> Result<(), WorkError> {
        let seq = entry.seq;
        let Fact::BlockReverted(reverted) = fact_of(entry)? else {
            return Err(WorkError::Log { seq, problem: "not the revert of a block".into() });
        };
        let place = (block.number, block.epoch);
        let stale: Vec<_> = self
            .expected
            .range((place, Kind::ALL[0], String::new())..)
            .map_while(|(about, _)| (about.0 == place).then(|| about.clone()))
            .collect();
        for about in stale {
            self.expected.remove(&about);
        }
        let facts = self.standing.remove(&place).unwrap_or_default();
        self.held -= facts.len() as u64;
        for fact in facts {
            self.make_due(RevertedBlock { block, seq }, reverted.hash, fact);
        }
        Ok(())
    }

    fn make_due(&mut self, reverted: RevertedBlock, hash: BlockHash, mut fact: Retractable) {
        fact.place.reverted = reverted.seq;
        let draft = retract::draft(&self.chain, reverted, hash, &fact);
        let due = DueRetraction {
            content_hash: draft.content_hash,
            subject: retraction_of(fact.kind, &fact.subject),
            block: reverted.block.number,
        };
        self.due.insert(fact.place, due);
    }

    /// What is final is not reverted any more: its facts need not be remembered.
    fn finalize(&mut self, entry: &Entry) {
        let Some(block) = entry.draft.block.filter(|_| entry.draft.kind == Kind::BlockFinalized)
        else {
            return;
        };
        let kept = self.standing.split_off(&(block.number.next(), BranchEpoch(0)));
        let settled = std::mem::replace(&mut self.standing, kept);
        self.held -= settled.values().map(|facts| facts.len() as u64).sum::<u64>();
        self.finalized = self.finalized.max(Some(block.number));
    }

    /// A derived fact of the log.
    fn note(&mut self, entry: &Entry) -> Result<(), WorkError> {
        let Draft { block: Some(block), .. } = entry.draft else {
            let problem = "a derived fact without an as-of block".to_owned();
            return Err(WorkError::Log { seq: entry.seq, problem });
        };
        match fact_of(entry)? {
            Fact::RiskScored(fact) => self.stated(entry, block, fact.protocol.as_str()),
            Fact::RiskAbsent(fact) => self.stated(entry, block, fact.protocol.as_str()),
            Fact::AnomalyFound(fact) => self.stated(entry, block, &fact.subject()),
            Fact::AllocationProposed(fact) => {
                self.stated(entry, block, fact.basis.policy.id.as_str());
            }
            Fact::AllocationInfeasible(fact) => {
                self.stated(entry, block, fact.basis.policy.id.as_str());
            }
            Fact::Retracted(fact) => self.note_retracted(entry, block, &fact),
            _ => {}
        }
        Ok(())
    }

    /// Whether facts about a block rest on this program's definitions.
    fn is_own(&self, block: BlockRef) -> bool {
        self.since == Seq::BEFORE_FIRST
            || self.first_own.is_some_and(|first| (block.epoch, block.number) >= first)
    }

    fn stated(&mut self, entry: &Entry, block: BlockRef, subject: &str) {
        let (seq, kind) = (entry.seq, entry.draft.kind);
        let content_hash = entry.draft.content_hash;
        let place = (block.number, block.epoch);
        let expected = self.expected.remove(&(place, kind, subject.to_owned()));
        if let Some(expected) = &expected {
            let reach = self.reach.entry(expected.writer.clone()).or_insert(expected.applied);
            *reach = expected.applied.max(*reach);
        }
        let (about, number) = (subject.to_owned(), block.number);
        if !self.is_own(block) {
            self.report.of_other_rules += 1;
        } else {
            self.report.compared += 1;
            match expected {
                Some(expected) if expected.content_hash == content_hash => {}
                Some(_) => self.report.discrepancies.push(Discrepancy::Differs {
                    seq,
                    subject: about,
                    block: number,
                }),
                None => self.report.discrepancies.push(Discrepancy::Unfounded {
                    seq,
                    subject: about,
                    block: number,
                }),
            }
        }
        // Whatever it says, a revert of its block takes it back.
        if let Some(facts) = self.standing.get_mut(&place) {
            let place = RetractionPlace { reverted: Seq::BEFORE_FIRST, fact: seq };
            facts.push(Retractable { place, kind, subject: subject.to_owned(), content_hash });
            self.held += 1;
        }
    }

    fn note_retracted(&mut self, entry: &Entry, block: BlockRef, fact: &Retracted) {
        let place = RetractionPlace { reverted: fact.reverted_seq, fact: fact.seq };
        self.retracted = self.retracted.max(Some(place));
        self.report.compared += 1;
        let (seq, number) = (entry.seq, block.number);
        let subject = retraction_of(fact.kind, &fact.subject);
        match self.due.remove(&place) {
            Some(due) if due.content_hash == entry.draft.content_hash => {}
            Some(_) => {
                let differs = Discrepancy::Differs { seq, subject, block: number };
                self.report.discrepancies.push(differs);
            }
            None => {
                let unfounded = Discrepancy::Unfounded { seq, subject, block: number };
                self.report.discrepancies.push(unfounded);
            }
        }
    }

    fn finish(mut self, seq: Seq, retractor: Seq) -> DeriveReport {
        self.report.seq = seq;
        for (((block, _), _, subject), expected) in self.expected {
            // A later fact of the same writer stands: it has been past this block.
            if self.reach.get(&expected.writer).is_some_and(|reach| *reach > expected.applied) {
                self.report.discrepancies.push(Discrepancy::Missing { subject, block });
            } else {
                self.report.pending += 1;
            }
        }
        for (place, due) in self.due {
            if self.retracted.is_some_and(|last| last > place) || retractor >= place.reverted {
                let DueRetraction { subject, block, .. } = due;
                self.report.discrepancies.push(Discrepancy::Missing { subject, block });
            } else {
                self.report.pending += 1;
            }
        }
        self.report
    }
}

/// Where the definitions that this program has were adopted, when the log had others before; the log's end where it
/// has others now.
async fn own_since(store: &Store, chain: &ChainId, head: Seq) -> Result<Seq, WorkError> {
    let formula = Hash32(Sha256::digest(risk::FORMULA).into());
    let own =
        [(AdoptedWhat::Metrics, Definitions::own().hash()), (AdoptedWhat::RiskFormula, formula)];
    let mut since = Seq::BEFORE_FIRST;
    for (what, hash) in own {
        let Some(newest) = key::adopted_as_of(store, chain, what, head).await? else {
            continue;
        };
        if newest.hash != hash {
            return Ok(head);
        }
        let below = Seq(newest.seq.0.saturating_sub(1));
        if key::adopted_as_of(store, chain, what, below).await?.is_some() {
            since = since.max(newest.seq);
        }
    }
    Ok(since)
}

fn fact_of(entry: &Entry) -> Result<Fact, WorkError> {
    entry.draft.fact().map_err(|source| WorkError::Entry { seq: entry.seq, source })
}

fn retraction_of(kind: Kind, subject: &str) -> String {
    format!("the retraction of {} {subject}", kind.name())
}
