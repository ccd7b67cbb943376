//! Which entries a replay holds: a range of positions, cut down by filters that all have to hold.
//!
//! Pure. Whether an entry is selected follows from the entry, from whose protocol it is, and, where the canonical
//! chain is asked for, from the branch that is canonical at its height. Questions whose answer could only be
//! nothing are refused before the log is read.

use std::collections::BTreeSet;

use obsqra_events::{Entry, Fact, Kind};
use obsqra_protocols::Contracts;
use obsqra_types::{BlockNumber, BlockRef, BranchEpoch, ProtocolId, Seq, UnixSeconds};

/// What is asked for. Absent or empty bounds nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Selection {
    /// First position.
    pub from: Seq,
    /// Last position, inclusive; absent: the end of what was known, else of the log.
    pub to: Option<Seq>,
    /// Lowest height.
    pub from_block: Option<BlockNumber>,
    /// Greatest height, inclusive.
    pub to_block: Option<BlockNumber>,
    /// Header time of a block, this or later.
    pub since: Option<UnixSeconds>,
    /// Header time of a block, before this.
    pub until: Option<UnixSeconds>,
    /// Kinds of entries.
    pub kinds: BTreeSet<Kind>,
    /// Whose events and derived facts.
    pub protocols: BTreeSet<ProtocolId>,
    /// The canonical chain up to this height, and no entry of another block.
    pub as_of: Option<BlockNumber>,
    /// The canonical chain as this position knew it, and no later entry.
    pub known_at: Option<Seq>,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            from: Seq(1),
            to: None,
            from_block: None,
            to_block: None,
            since: None,
            until: None,
            kinds: BTreeSet::new(),
            protocols: BTreeSet::new(),
            as_of: None,
            known_at: None,
        }
    }
}

/// A question whose answer could only be nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Contradiction {
    /// There is no position before the first.
    #[error("positions begin with 1: there is no entry 0")]
    NoEntryZero,
    /// The range of positions ends before it begins.
    #[error("--from-seq {from} is after --to-seq {to}")]
    Positions {
        /// First position.
        from: Seq,
        /// Last position.
        to: Seq,
    },
    /// The range of heights ends before it begins.
    #[error("--from-block {from} is above --to-block {to}")]
    Heights {
        /// Lowest height.
        from: BlockNumber,
        /// Greatest height.
        to: BlockNumber,
    },
    /// The range of times ends before it begins.
    #[error("--since is not before --until: the first is included and the second is not")]
    Times,
    /// A part of the range was not known yet.
    #[error("{option} {seq} is after --known-at {known_at}: nothing of that was known then")]
    NotKnown {
        /// The option.
        option: &'static str,
        /// The position that it gives.
        seq: Seq,
        /// What was known.
        known_at: Seq,
    },
    /// No height is left.
    #[error("--from-block {from} is above --as-of {as_of}")]
    AboveAsOf {
        /// Lowest height.
        from: BlockNumber,
        /// Greatest height.
        as_of: BlockNumber,
    },
    /// No kind is left.
    #[error("no entry of kind {} can be selected together with {with}", named(.kinds))]
    Kinds {
        /// What was asked for.
        kinds: BTreeSet<Kind>,
        /// What rules it out.
        with: &'static str,
    },
}

/// Whether it applies, which kinds it lets through, and what it is.
type Rule = (bool, fn(Kind) -> bool, &'static str);

fn named(kinds: &BTreeSet<Kind>) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ")
}

impl Selection {
    /// Checks that something may be selected at all.
    ///
    /// # Errors
    /// When the options contradict each other.
    pub fn check(&self) -> Result<(), Contradiction> {
        self.check_positions()?;
        match (self.from_block, self.to_block) {
            (Some(from), Some(to)) if from > to => return Err(Contradiction::Heights { from, to }),
            _ => {}
        }
        match (self.from_block, self.as_of) {
            (Some(from), Some(as_of)) if from > as_of => {
                return Err(Contradiction::AboveAsOf { from, as_of });
            }
            _ => {}
        }
        if matches!((self.since, self.until), (Some(since), Some(until)) if since >= until) {
            return Err(Contradiction::Times);
        }
        self.check_kinds()
    }

    fn check_positions(&self) -> Result<(), Contradiction> {
        if self.from == Seq::BEFORE_FIRST {
            return Err(Contradiction::NoEntryZero);
        }
        if let Some(to) = self.to.filter(|to| self.from > *to) {
            return Err(Contradiction::Positions { from: self.from, to });
        }
        let Some(known_at) = self.known_at else {
            return Ok(());
        };
        let ends = [("--from-seq", Some(self.from)), ("--to-seq", self.to)];
        let late = ends
            .into_iter()
            .find_map(|(option, seq)| Some((option, seq?)).filter(|(_, seq)| *seq > known_at));
        match late {
            Some((option, seq)) => Err(Contradiction::NotKnown { option, seq, known_at }),
            None => Ok(()),
        }
    }

    fn check_kinds(&self) -> Result<(), Contradiction> {
        let rules: [Rule; 3] = [
            (self.bounds_blocks(), has_block, "a range of blocks or times: it belongs to no block"),
            (
                self.is_canonical(),
                is_canonical,
                "--as-of or --known-at: it is of no canonical block",
            ),
            (!self.protocols.is_empty(), has_protocol, "--protocol: it is of no protocol"),
        ];
        for (applies, admits, with) in rules {
            if applies && !self.kinds.is_empty() && !self.kinds.iter().any(|kind| admits(*kind)) {
                return Err(Contradiction::Kinds { kinds: self.kinds.clone(), with });
            }
        }
        Ok(())
    }

    /// Whether only entries of canonical blocks are asked for.
    #[must_use]
    pub fn is_canonical(&self) -> bool {
        self.as_of.is_some() || self.known_at.is_some()
    }

    /// Whether some heights or times are asked for.
    #[must_use]
    pub fn bounds_blocks(&self) -> bool {
        self.from_block.is_some()
            || self.to_block.is_some()
            || self.since.is_some()
            || self.until.is_some()
    }

    /// Whether entries of a kind may be selected.
    #[must_use]
    pub fn wants(&self, kind: Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(&kind)
    }

    /// Whether kind, height and time of an entry are asked for.
    #[must_use]
    pub fn admits(&self, entry: &Entry) -> bool {
        self.wants(entry.draft.kind)
            && (!self.bounds_blocks()
                || entry.draft.block.is_some_and(|block| self.admits_block(block)))
    }

    fn admits_block(&self, block: BlockRef) -> bool {
        self.from_block.is_none_or(|from| block.number >= from)
            && self.to_block.is_none_or(|to| block.number <= to)
            && self.since.is_none_or(|since| block.timestamp >= since)
            && self.until.is_none_or(|until| block.timestamp < until)
    }

    /// Whether a fact is of a protocol that is asked for, among the contracts that are known at its position.
    #[must_use]
    pub fn admits_fact(&self, fact: &Fact, contracts: Option<&Contracts>) -> bool {
        self.protocols.is_empty()
            || protocol_of(fact, contracts)
                .is_some_and(|protocol| self.protocols.contains(&protocol))
    }
}

/// Whether an entry's block is canonical up to a height, where `epoch` is the branch that is canonical at the height
/// of the block.
#[must_use]
pub fn is_of_chain(entry: &Entry, tip: BlockNumber, epoch: Option<BranchEpoch>) -> bool {
    entry.draft.block.is_some_and(|block| block.number <= tip && Some(block.epoch) == epoch)
}

/// Whose an entry is: of an event its contract's protocol, of a derived fact the one that it is about, of a
/// retraction that of the fact it retracts. A policy's allocations are of no protocol.
#[must_use]
pub fn protocol_of(fact: &Fact, contracts: Option<&Contracts>) -> Option<ProtocolId> {
    match fact {
        Fact::Event(event) => Some(contracts?.get(&event.from_address)?.protocol.clone()),
        Fact::RiskScored(fact) => Some(fact.protocol.clone()),
        Fact::RiskAbsent(fact) => Some(fact.protocol.clone()),
        Fact::AnomalyFound(fact) => Some(fact.protocol.clone()),
        Fact::Retracted(fact) => match fact.kind {
            Kind::RiskScored | Kind::RiskAbsent => ProtocolId::new(&*fact.subject).ok(),
            // Rule, protocol and market.
            Kind::AnomalyFound => ProtocolId::new(fact.subject.split('/').nth(1)?).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// Whether entries of a kind may belong to a block.
fn has_block(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Adopted
            | Kind::WatchWidened
            | Kind::WatchCompleted
            | Kind::MismatchFound
            | Kind::SourcesDisagreed
            | Kind::IncompleteFound
    )
}

/// Whether entries of a kind may be of a canonical block.
fn is_canonical(kind: Kind) -> bool {
    has_block(kind) && !matches!(kind, Kind::BlockReverted | Kind::Retracted)
}

/// Whether entries of a kind may be of a protocol.
pub(super) fn has_protocol(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Event | Kind::RiskScored | Kind::RiskAbsent | Kind::AnomalyFound | Kind::Retracted
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut Selection)) -> Result<(), String> {
        let mut selection = Selection::default();
        change(&mut selection);
        selection.check().map_err(|contradiction| contradiction.to_string())
    }

    #[test]
    fn what_can_only_be_nothing_is_refused_and_named() {
        let cases: [(Result<(), String>, &str); 9] = [
            (with(|s| s.from = Seq(0)), "no entry 0"),
            (with(|s| (s.from, s.to) = (Seq(3), Some(Seq(2)))), "--from-seq 3 is after --to-seq 2"),
            (
                with(|s| {
                    (s.from_block, s.to_block) = (Some(BlockNumber(3)), Some(BlockNumber(2)));
                }),
                "--from-block 3 is above --to-block 2",
            ),
            (
                with(|s| (s.since, s.until) = (Some(UnixSeconds(5)), Some(UnixSeconds(5)))),
                "--since is not before --until",
            ),
            (
                with(|s| (s.to, s.known_at) = (Some(Seq(9)), Some(Seq(8)))),
                "--to-seq 9 is after --known-at 8",
            ),
            (
                with(|s| (s.from, s.known_at) = (Seq(9), Some(Seq(8)))),
                "--from-seq 9 is after --known-at 8",
            ),
            (
                with(|s| (s.from_block, s.as_of) = (Some(BlockNumber(3)), Some(BlockNumber(2)))),
                "--from-block 3 is above --as-of 2",
            ),
            (
                with(|s| {
                    s.kinds.insert(Kind::Retracted);
                    s.as_of = Some(BlockNumber(2));
                }),
                "kind retracted",
            ),
            (
                with(|s| {
                    s.kinds.extend([Kind::Adopted, Kind::WatchWidened]);
                    s.since = Some(UnixSeconds(2));
                }),
                "kind adopted or chain.watch_widened",
            ),
        ];
        for (checked, said) in cases {
            let problem = checked.expect_err(said);
            assert!(problem.contains(said), "{said}: {problem}");
        }
    }

    #[test]
    fn what_may_be_something_is_not_refused() {
        for allowed in [
            with(|_| {}),
            with(|s| (s.from, s.to, s.known_at) = (Seq(2), Some(Seq(2)), Some(Seq(2)))),
            with(|s| (s.from_block, s.to_block) = (Some(BlockNumber(0)), Some(BlockNumber(0)))),
            with(|s| {
                s.kinds.extend([Kind::Retracted, Kind::Event]);
                s.as_of = Some(BlockNumber(2));
            }),
            with(|s| {
                s.kinds.insert(Kind::Retracted);
                s.protocols.insert(ProtocolId::new("zklend").unwrap());
            }),
        ] {
            assert_eq!(allowed, Ok(()));
        }
    }
}
