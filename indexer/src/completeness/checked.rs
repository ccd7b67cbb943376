//! A block that was checked, as far as it is kept: the watched events, and what the check showed.

use std::time::Instant;

use obsqra_events::{Check, ComputedCommitments, Difference, Verdict};
use obsqra_types::{BlockHash, BlockNumber, Felt, Hash32};

use super::{Findings, Outcome, check, check_all, digest, other_leaves};
use crate::pipeline::stage;
use crate::source::SourceBlock;
use crate::watching::{Announced, Kept, Watching};

/// Why nothing was recomputed although it could have been.
const TURNED_OFF: &str = "checking was turned off";

/// What of a block is checked, and what is kept of it.
#[derive(Clone, Debug)]
pub struct Checking {
    /// Whose events are kept.
    pub watching: Watching,
    /// How thoroughly.
    pub effort: Effort,
    /// What is kept of other events.
    pub keep: Keep,
    /// Whether it is to be compared with another source's.
    pub comparison: Comparing,
}

/// Whether a block is compared with another source's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Comparing {
    /// It is not.
    #[default]
    Nothing,
    /// By its digest; see [`digest`].
    Digest,
}

/// How thoroughly blocks are checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Effort {
    /// Commitments and hash are recomputed.
    #[default]
    Whole,
    /// They are not; it can be made up for later.
    Off,
}

/// What is kept of a block beside the watched events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Keep {
    /// Nothing: the check cannot be repeated without a node.
    #[default]
    Watched,
    /// The leaf of each other event, 32 bytes: with them it can.
    WatchedAndLeaves,
}

/// A checked block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedBlock {
    /// The block, with the watched events alone and without transactions.
    pub block: SourceBlock,
    /// How many events it has, kept or not.
    pub all_events: u64,
    /// What the check showed.
    pub attestation: Attestation,
    /// What it is compared with other sources by, where it is; see [`digest`].
    pub digest: Option<Hash32>,
    /// The children that its kept events announce.
    pub announced: Announced,
    /// About how many bytes it took when it was received.
    pub weight: usize,
}

/// What a check showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attestation {
    /// What it amounts to.
    pub verdict: Verdict,
    /// What was checked and held, in ascending order.
    pub checks: Vec<Check>,
    /// What was recomputed and the header does not state.
    pub computed: Option<ComputedCommitments>,
    /// The leaves of the events that are not kept, in block order, where they are to be kept.
    pub other_leaves: Option<Vec<Felt>>,
}

/// A block whose parts do not belong together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mismatch {
    /// Its height.
    pub number: BlockNumber,
    /// The hash that is stated.
    pub hash: BlockHash,
    /// What differs.
    pub differences: Vec<Difference>,
}

impl Checking {
    /// Checks a block, then lets go of what is not kept.
    ///
    /// # Errors
    /// With what differs.
    pub fn take(&self, block: SourceBlock) -> Result<CheckedBlock, Mismatch> {
        let begun = Instant::now();
        let findings = self.checks(&block).then(|| check(&block));
        stage("check", begun);
        self.keep(block, findings)
    }

    /// Checks blocks together; see [`check_all`].
    #[must_use]
    pub fn take_all(&self, blocks: Vec<SourceBlock>) -> Vec<Result<CheckedBlock, Mismatch>> {
        if self.effort == Effort::Off {
            return blocks.into_iter().map(|block| self.take(block)).collect();
        }
        let begun = Instant::now();
        let findings = check_all(&blocks);
        stage("check", begun);
        let judged = blocks.into_iter().zip(findings);
        judged.map(|(block, findings)| self.keep(block, Some(findings))).collect()
    }

    /// Whether a block is checked at all. What cannot be checked is found out at no cost.
    fn checks(&self, block: &SourceBlock) -> bool {
        self.effort == Effort::Whole || block.transactions.is_none()
    }

    fn keep(
        &self,
        mut block: SourceBlock,
        findings: Option<Findings>,
    ) -> Result<CheckedBlock, Mismatch> {
        let Kept { is_kept, announced } = self.watching.keep(block.number, &block.events);
        let attestation = self.attest(&block, &is_kept, findings)?;
        let digest = (self.comparison == Comparing::Digest).then(|| digest(&block));
        let (all_events, weight) = (block.events.len() as u64, block.weight());
        block.transactions = None;
        let mut is_kept = is_kept.into_iter();
        block.events.retain(|_| is_kept.next().unwrap_or(false));
        block.events.shrink_to_fit();
        Ok(CheckedBlock { block, all_events, attestation, digest, announced, weight })
    }

    fn attest(
        &self,
        block: &SourceBlock,
        is_kept: &[bool],
        findings: Option<Findings>,
    ) -> Result<Attestation, Mismatch> {
        let Some(Findings { outcome, checks, computed, leaves }) = findings else {
            let verdict = Verdict::Unchecked(TURNED_OFF.to_owned());
            let checks = Vec::new();
            return Ok(Attestation { verdict, checks, computed: None, other_leaves: None });
        };
        let verdict = match outcome {
            Outcome::Verified => Verdict::Verified,
            Outcome::Unverifiable(reason) => Verdict::Unverifiable(reason.to_string()),
            Outcome::Mismatch(differences) => {
                return Err(Mismatch { number: block.number, hash: block.hash, differences });
            }
        };
        let other_leaves = match (self.keep, &verdict) {
            (Keep::WatchedAndLeaves, Verdict::Verified) => other_leaves(block, &leaves, is_kept),
            _ => None,
        };
        Ok(Attestation { verdict, checks, computed, other_leaves })
    }
}

impl CheckedBlock {
    /// About how many bytes it takes as far as it is kept.
    #[must_use]
    pub fn kept_weight(&self) -> usize {
        let leaves = self.attestation.other_leaves.as_ref().map_or(0, Vec::len);
        self.block.weight() + leaves * size_of::<Felt>()
    }
}
