//! `derive verify`: derives every fact again from the chain lane and compares bytes.

use std::collections::BTreeMap;

use obsqra_events::{Kind, Lane};
use obsqra_store::{Store, key, log};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Hash32, Partition, Seq};

use crate::WorkError;
use crate::chain_fold::{ChainFold, Folded, FoldedBlock};
use crate::jobs::score_risk;

const BATCH: u32 = 4_000;

/// Which fact: subject, height, branch epoch.
type Subject = (String, BlockNumber, BranchEpoch);

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
            } else if let Some(Folded::Block(block)) = fold.take(entry).await? {
                comparison.expect(chain, &fold, &block);
            }
            read = entry.seq;
        }
        if entries.is_empty() {
            return Err(WorkError::Log { seq: read.next(), problem: "entry is missing".into() });
        }
        progress(read, head);
    }
    let tip = key::tip_as_of(store, chain, head).await?.map(|block| block.block.epoch);
    Ok(comparison.report(read, tip))
}

impl Comparison {
    fn note(&mut self, entry: &obsqra_events::Entry) -> Result<(), WorkError> {
        let fact = entry
            .draft
            .fact()
            .map_err(|source| WorkError::Entry { seq: entry.seq, source })?;
        let protocol = match fact {
            obsqra_events::Fact::RiskScored(fact) => fact.protocol,
            obsqra_events::Fact::RiskAbsent(fact) => fact.protocol,
            _ => return Ok(()),
        };
        let block = entry.draft.block.ok_or_else(|| WorkError::Log {
            seq: entry.seq,
            problem: "a derived fact without an as-of block".into(),
        })?;
        let subject = (protocol.to_string(), block.number, block.epoch);
        self.found.insert(subject, (entry.seq, entry.draft.content_hash));
        Ok(())
    }

    fn expect(&mut self, chain: &ChainId, fold: &ChainFold, block: &FoldedBlock) {
        let Some(registry) = fold.registry() else {
            return;
        };
        for protocol in registry.protocols() {
            let fact = score_risk::fact(chain, &protocol.id, block);
            if let Some(draft) = fact.and_then(|fact| fact.drafts.into_iter().next()) {
                debug_assert!(matches!(draft.kind, Kind::RiskScored | Kind::RiskAbsent));
                let subject =
                    (protocol.id.to_string(), block.block.number, block.block.epoch);
                self.expected.insert(subject, draft.content_hash);
            }
        }
    }

    fn report(self, seq: Seq, tip_epoch: Option<BranchEpoch>) -> DeriveReport {
        let mut report = DeriveReport {
            seq,
            compared: self.found.len() as u64,
            pending: 0,
            discrepancies: Vec::new(),
        };
        // The newest block each subject has a fact for, on the branch that is canonical now.
        let mut newest: BTreeMap<&str, BlockNumber> = BTreeMap::new();
        for ((subject, block, epoch), (seq, hash)) in &self.found {
            let (subject_text, block, seq) = (subject.clone(), *block, *seq);
            match self.expected.get(&(subject.clone(), block, *epoch)) {
                Some(expected) if expected == hash => {}
                Some(_) => report.discrepancies.push(Discrepancy::Differs {
                    seq,
                    subject: subject_text,
                    block,
                }),
                None => report.discrepancies.push(Discrepancy::Unfounded {
                    seq,
                    subject: subject_text,
                    block,
                }),
            }
            newest.entry(subject).and_modify(|n| *n = block.max(*n)).or_insert(block);
        }
        for (subject, block, epoch) in self.expected.keys() {
            if self.found.contains_key(&(subject.clone(), *block, *epoch)) {
                continue;
            }
            let passed = newest.get(subject.as_str()).is_some_and(|newest| newest > block);
            // On a branch that was reverted a fact may rightly never have been written.
            if passed && Some(*epoch) == tip_epoch {
                report.discrepancies.push(Discrepancy::Missing {
                    subject: subject.clone(),
                    block: *block,
                });
            } else if Some(*epoch) == tip_epoch {
                report.pending += 1;
            }
        }
        report
    }
}
