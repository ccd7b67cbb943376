//! The same block from two nodes: what each has is compared by a digest over hash and events.
//!
//! Of two blocks with one hash the one that can be checked is right; where neither can be, nothing is taken.
//! Blocks with two hashes are on two branches, each of which may be whole, and the leader is followed as ever. A
//! second node that does not answer in time is struck, and the block is then not compared.

use std::time::Instant;

use obsqra_events::{Check, SourceStatement, SourcesDisagreed, Verdict};
use obsqra_types::{BlockNumber, Hash32};

use super::selection::{NodeIndex, Outcome, Standing};
use super::{Leader, in_time, outcome};
use crate::completeness::{CheckedBlock, Checking, Comparing, Effort, Mismatch};
use crate::source::error::MismatchedBlock;
use crate::source::{JsonRpcSource, SourceBlock, SourceError};

/// Blocks above its head, as it was last heard of, that a second node is still asked for: heads of nodes that do
/// not lead are heard of every few seconds.
const REACH: u64 = 16;

/// A checked block, and what was found out about nodes on the way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReceivedBlock {
    /// The block.
    pub checked: CheckedBlock,
    /// What is to be told about it.
    pub findings: Vec<SourceFinding>,
}

impl ReceivedBlock {
    /// A block that was compared with nothing.
    pub(crate) fn alone(checked: CheckedBlock) -> Self {
        Self { checked, findings: Vec::new() }
    }
}

/// A block as it came, and the answer that it came in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UncheckedBlock {
    block: SourceBlock,
    answer: Vec<u8>,
}

impl UncheckedBlock {
    /// About how many bytes it takes.
    pub(crate) fn weight(&self) -> usize {
        self.block.weight() + self.answer.len()
    }
}

/// What a node was found out about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceFinding {
    /// Its block is not whole.
    Mismatch {
        /// The block and its answer.
        block: Box<MismatchedBlock>,
        /// The kind of source, such as `json-rpc/0.10`.
        source: String,
    },
    /// It has another block than a second node.
    Disagreed(Box<SourcesDisagreed>),
}

/// What a comparison comes to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judgement {
    /// Both have the same block.
    Same,
    /// The leader is followed; the second is on another branch.
    Branches,
    /// The leader is right.
    SecondIsWrong,
    /// The second is right.
    LeaderIsWrong,
    /// There is no telling.
    Undecided,
}

fn judge(leader: &CheckedBlock, second: &CheckedBlock) -> Judgement {
    if leader.digest == second.digest {
        return Judgement::Same;
    }
    let verified = |checked: &CheckedBlock| checked.attestation.verdict == Verdict::Verified;
    let same_hash = leader.block.hash == second.block.hash;
    match (verified(leader), verified(second)) {
        (true, true) => Judgement::Branches,
        (true, false) if same_hash => Judgement::SecondIsWrong,
        (false, true) if same_hash => Judgement::LeaderIsWrong,
        (false, false) if same_hash => Judgement::Undecided,
        // A block of another hash may be whole and on a branch that lost: who is right is for what follows.
        (true, false) | (false, true) | (false, false) => Judgement::Branches,
    }
}

impl Leader {
    /// A whole block, checked.
    ///
    /// # Errors
    /// [`SourceError::Mismatch`] when it is not whole; else as [`Self::block`].
    pub async fn checked_block(
        &self,
        number: BlockNumber,
        checking: &Checking,
    ) -> Result<CheckedBlock, SourceError> {
        self.ask(checked(&self.source, number, checking)).await
    }

    /// A whole block, checked, and compared with what a second node has, if there is one that has it.
    ///
    /// # Errors
    /// As [`Self::checked_block`], and [`SourceError::Contradicted`] when the second is right, or neither can
    /// be checked.
    pub async fn compared_block(
        &self,
        number: BlockNumber,
        checking: &Checking,
    ) -> Result<ReceivedBlock, SourceError> {
        let Some((node, second)) = self.second(number) else {
            return Ok(ReceivedBlock::alone(self.checked_block(number, checking).await?));
        };
        // Whoever compares wants to know who is right.
        let (comparison, effort) = (Comparing::Digest, Effort::Whole);
        let checking = &Checking { comparison, effort, ..checking.clone() };
        let asked = checked(&second, number, checking);
        let limit = self.pool.shared.options.compare_timeout;
        let other = in_time(&second, "comparing a block", limit, asked);
        let (own, other) = tokio::join!(self.checked_block(number, checking), other);
        let mut received = ReceivedBlock { checked: own?, findings: Vec::new() };
        match other {
            Ok(other) => self.settle(&mut received, (node, &second), &other)?,
            Err(SourceError::Mismatch(block)) => {
                let error = SourceError::Mismatch(block.clone());
                tracing::error!(%error, "a second node is demoted");
                self.pool.shared.note(node, Outcome::Mismatched, Some(&error));
                let source = kind_of(&second);
                received.findings.push(SourceFinding::Mismatch { block, source });
            }
            // At the head it may be a moment behind.
            Err(SourceError::NoBlock { .. }) => {}
            Err(error) => {
                tracing::debug!(%error, block = number.0, "block not compared");
                self.pool.shared.note(node, outcome(&error), Some(&error));
            }
        }
        Ok(received)
    }

    /// Whether a block of this height is compared with what a second node has.
    pub(crate) fn compares(&self, number: BlockNumber) -> bool {
        self.second(number).is_some()
    }

    /// A whole block, to be checked by [`Self::check_all`].
    pub(crate) async fn unchecked_block(
        &self,
        number: BlockNumber,
    ) -> Result<UncheckedBlock, SourceError> {
        let keep = |block, answer| UncheckedBlock { block, answer };
        self.ask(self.source.block_with(number, keep)).await
    }

    /// Checks blocks of this node together, on a thread of their own; one that is not whole counts against it.
    pub(crate) async fn check_all(
        &self,
        blocks: Vec<UncheckedBlock>,
        checking: &Checking,
    ) -> Vec<Result<CheckedBlock, SourceError>> {
        let (checking, node) = (checking.clone(), self.name().to_owned());
        let check = move || check_together(blocks, &checking, &node);
        match tokio::task::spawn_blocking(check).await {
            Ok(checked) => {
                let told = checked.into_iter();
                told.map(|checked| checked.map_err(|error| self.heard(error))).collect()
            }
            // Only a runtime that is going does not run it to its end.
            Err(failure) => vec![Err(SourceError::Unreachable {
                node: self.name().to_owned(),
                what: "checking blocks".to_owned(),
                problem: failure.to_string(),
            })],
        }
    }

    fn settle(
        &self,
        received: &mut ReceivedBlock,
        (node, second): (NodeIndex, &JsonRpcSource),
        other: &CheckedBlock,
    ) -> Result<(), SourceError> {
        let own = &mut received.checked;
        let judgement = judge(own, other);
        if judgement == Judgement::Same {
            own.attestation.checks.push(Check::SecondSource);
            return Ok(());
        }
        let disagreed = Box::new(SourcesDisagreed {
            number: own.block.number,
            statements: vec![statement(&self.source, own), statement(second, other)],
        });
        let contradicted = |undecided| SourceError::Contradicted {
            node: self.name().to_owned(),
            other: second.name().to_owned(),
            undecided,
            disagreed: disagreed.clone(),
        };
        match judgement {
            Judgement::Same | Judgement::Branches => {}
            Judgement::SecondIsWrong => {
                self.pool.shared.note(node, Outcome::Mismatched, Some(&contradicted(false)));
            }
            Judgement::LeaderIsWrong => return Err(self.heard(contradicted(false))),
            Judgement::Undecided => return Err(self.heard(contradicted(true))),
        }
        tracing::warn!(
            block = disagreed.number.0,
            leader = self.name(),
            second = second.name(),
            "nodes disagree about a block; the leader is followed"
        );
        received.findings.push(SourceFinding::Disagreed(disagreed));
        Ok(())
    }

    /// Another node that is fit and has a block of this height: which of them goes by the height, so that all
    /// are asked.
    fn second(&self, number: BlockNumber) -> Option<(NodeIndex, JsonRpcSource)> {
        let shared = &self.pool.shared;
        if shared.nodes.len() < 2 || !shared.options.compare {
            return None;
        }
        let now = Instant::now();
        let state = shared.state();
        let fit: Vec<NodeIndex> = (0..shared.nodes.len())
            .map(NodeIndex)
            .filter(|node| *node != self.node)
            .filter(|node| state.selection.standing(*node, now) == Standing::Fit)
            .filter(|node| {
                let head = state.notes.get(node.0).and_then(|notes| notes.head);
                head.is_some_and(|head| number.0 <= head.number.0.saturating_add(REACH))
            })
            .collect();
        let turn = usize::try_from(number.0).unwrap_or(0).checked_rem(fit.len())?;
        let node = *fit.get(turn)?;
        Some((node, shared.nodes.get(node.0)?.clone()))
    }
}

fn check_together(
    blocks: Vec<UncheckedBlock>,
    checking: &Checking,
    node: &str,
) -> Vec<Result<CheckedBlock, SourceError>> {
    let (blocks, answers): (Vec<_>, Vec<_>) =
        blocks.into_iter().map(|UncheckedBlock { block, answer }| (block, answer)).unzip();
    let checked = checking.take_all(blocks).into_iter().zip(answers);
    checked.map(|(checked, answer)| with_answer(checked, answer, node)).collect()
}

fn with_answer(
    checked: Result<CheckedBlock, Mismatch>,
    answer: Vec<u8>,
    node: &str,
) -> Result<CheckedBlock, SourceError> {
    match checked {
        Ok(checked) => Ok(CheckedBlock { weight: checked.weight + answer.len(), ..checked }),
        Err(mismatch) => {
            let node = node.to_owned();
            Err(SourceError::Mismatch(Box::new(MismatchedBlock { node, mismatch, answer })))
        }
    }
}

async fn checked(
    source: &JsonRpcSource,
    number: BlockNumber,
    checking: &Checking,
) -> Result<CheckedBlock, SourceError> {
    let (checking, node) = (checking.clone(), source.name().to_owned());
    let take = move |block, answer| with_answer(checking.take(block), answer, &node);
    source.block_with(number, take).await?
}

fn statement(source: &JsonRpcSource, checked: &CheckedBlock) -> SourceStatement {
    SourceStatement {
        node: source.name().to_owned(),
        source: kind_of(source),
        hash: checked.block.hash,
        digest: checked.digest.unwrap_or(Hash32::ZERO),
        verdict: checked.attestation.verdict.clone(),
    }
}

/// A node's kind as the log names it.
pub(super) fn kind_of(source: &JsonRpcSource) -> String {
    source.known_spec().map_or_else(|| "json-rpc".to_owned(), |spec| format!("json-rpc/{spec}"))
}
