//! `derive verify`: derives every fact again from the chain lane and compares bytes.

use std::collections::BTreeMap;

use obsqra_events::{Kind, Lane};
use obsqra_store::{Store, log};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Hash32, Partition, Seq};

use crate::WorkError;
use crate::chain_fold::{ChainFold, Folded, FoldedBlock};
use crate::jobs::score_risk;

const BATCH: u32 = 4_000;

/// Which fact: kind, subject, height, branch epoch.
type Subject = (Kind, String, BlockNumber, BranchEpoch);

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
    /// The chain lane gives it, a later one of the same subject is in the log, and it is not.
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
    /// Derived facts in the log that were compared.
    pub compared: u64,
    /// Facts that are due and not yet in the log, at its end.
    pub pending: u64,
    /// What does not agree.
    pub discrepancies: Vec<Discrepancy>,
}

#[derive(Default)]
struct Comparison {
    expected: BTreeMap<Subject, Hash32>,
    found: BTreeMap<Subject, (Seq, Hash32)>,
    /// The branch of the canonical block at each height.
    canonical: BTreeMap<BlockNumber, BranchEpoch>,
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
    let head = log::head(store).await?.seq;
    // Nobody holds this partition: its name only keeps the fold away from the workers' snapshots.
    let mut fold = ChainFold::new(store, chain, &Partition::Relay(chain.clone()));
    let mut comparison = Comparison::default();
    let mut read = Seq::BEFORE_FIRST;
    while read < head {
        let entries = log::read_after(store, read, BATCH).await?;
        for entry in entries.iter().take_while(|entry| entry.seq <= head) {
            if entry.draft.chain == *chain && entry.draft.kind.lane() == Lane::Derived {
                comparison.note(entry)?;
            } else {
                match fold.take(entry).await? {
                    Some(Folded::Block(block)) => comparison.expect(chain, &fold, &block),
                    Some(Folded::Reverted(block)) => comparison.revert(block.number),
                    Some(Folded::Reread(_)) | None => {}
                }
            }
            read = entry.seq;
        }
        if entries.is_empty() {
            return Err(WorkError::Log { seq: read.next(), problem: "entry is missing".into() });
        }
        progress(read, head);
    }
    Ok(comparison.report(read))
}

impl Comparison {
    fn note(&mut self, entry: &obsqra_events::Entry) -> Result<(), WorkError> {
        let fact =
            entry.draft.fact().map_err(|source| WorkError::Entry { seq: entry.seq, source })?;
        let protocol = match fact {
            obsqra_events::Fact::RiskScored(fact) => fact.protocol,
            obsqra_events::Fact::RiskAbsent(fact) => fact.protocol,
            _ => return Ok(()),
        };
        let block = entry.draft.block.ok_or_else(|| WorkError::Log {
            seq: entry.seq,
            problem: "a derived fact without an as-of block".into(),
        })?;
        let subject = (entry.draft.kind, protocol.to_string(), block.number, block.epoch);
        self.found.insert(subject, (entry.seq, entry.draft.content_hash));
        Ok(())
    }

    fn revert(&mut self, number: BlockNumber) {
        self.canonical.remove(&number);
    }

    fn expect(&mut self, chain: &ChainId, fold: &ChainFold, block: &FoldedBlock) {
        self.canonical.insert(block.block.number, block.block.epoch);
        let Some(registry) = fold.registry() else {
            return;
        };
        for protocol in registry.protocols() {
            let fact = score_risk::fact(chain, &protocol.id, block);
            if let Some(draft) = fact.and_then(|fact| fact.drafts.into_iter().next()) {
                let (number, epoch) = (block.block.number, block.block.epoch);
                let subject = (draft.kind, protocol.id.to_string(), number, epoch);
                self.expected.insert(subject, draft.content_hash);
            }
        }
    }

    fn report(self, seq: Seq) -> DeriveReport {
        let mut report = DeriveReport {
            seq,
            compared: self.found.len() as u64,
            pending: 0,
            discrepancies: self.contradicted(),
        };
        let newest = self.newest();
        for (subject, block) in self.unstated() {
            // A later fact of the same subject stands: its worker has been past this block.
            if newest.get(subject).is_some_and(|newest| *newest > block) {
                let subject = subject.to_owned();
                report.discrepancies.push(Discrepancy::Missing { subject, block });
            } else {
                report.pending += 1;
            }
        }
        report
    }

    fn contradicted(&self) -> Vec<Discrepancy> {
        self.found
            .iter()
            .filter_map(|(about, (seq, hash))| {
                let (seq, subject, block) = (*seq, about.1.clone(), about.2);
                match self.expected.get(about) {
                    Some(expected) if expected == hash => None,
                    Some(_) => Some(Discrepancy::Differs { seq, subject, block }),
                    None => Some(Discrepancy::Unfounded { seq, subject, block }),
                }
            })
            .collect()
    }

    /// Facts due on the canonical chain that are not in the log. On a branch that was reverted a fact may
    /// rightly never have been written.
    fn unstated(&self) -> impl Iterator<Item = (&str, BlockNumber)> {
        self.expected.keys().filter_map(|about| {
            let (_, subject, block, epoch) = about;
            let canonical = self.canonical.get(block) == Some(epoch);
            let missing = canonical && !self.found.contains_key(about);
            missing.then_some((subject.as_str(), *block))
        })
    }

    /// The newest canonical block that each subject has a fact for.
    fn newest(&self) -> BTreeMap<&str, BlockNumber> {
        let mut newest = BTreeMap::new();
        for (_, subject, block, epoch) in self.found.keys() {
            if self.canonical.get(block) == Some(epoch) {
                newest
                    .entry(subject.as_str())
                    .and_modify(|known: &mut BlockNumber| *known = (*known).max(*block))
                    .or_insert(*block);
            }
        }
        newest
    }
}
