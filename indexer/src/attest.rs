//! Checking blocks that were applied without it, by what a node of specification 0.10 supplies.
//!
//! A stream, a node of an older specification or a follower that was told not to check leaves blocks
//! unverified. Here each of them is fetched whole and checked, and then the log is held against it: header and
//! events that the log has of the block must be the block's, all of those of the contracts that were watched and
//! no others. Only then is the block attested once more, by an entry of its own; the newest attestation counts.
//! Following goes on beside it. A widening of the watched set does not: what the log should have changes
//! meanwhile.

mod kept;
mod offline;

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use obsqra_events::{Check, Difference, Draft, Fact, IncompleteFound, MismatchFound, Verdict};
use obsqra_store::attested::{self, AttestedAs};
use obsqra_store::key::{self, AppliedBlock};
use obsqra_store::watch::{self, WidenedSoFar};
use obsqra_store::{
    Key, Keyed, LeaseKeeper, Store, StoreError, Transaction, chain_tip, finding, log,
};
use obsqra_types::{BlockNumber, BranchEpoch, ChainId, Hash32, Partition};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use crate::IndexError;
use crate::completeness::{CheckedBlock, Checking, Comparing, Effort, Keep};
use crate::encode::Encoder;
use crate::source::{Leader, MismatchedBlock, NodePool, Remedy, SourceError};
use crate::watched::Watched;
use crate::watching::Watching;
use kept::KeptBlock;
pub use offline::{OfflineReport, offline};

/// Heights looked at together: so many blocks are attested in one transaction.
const STRETCH: u64 = 64;
/// Tries in a row that may fail.
const ATTEMPTS: u32 = 5;
/// Wait after the first failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// What to attest, and how.
#[derive(Clone, Debug)]
pub struct AttestOptions {
    /// The chain.
    pub chain: ChainId,
    /// Lowest and highest height, inclusive.
    pub range: (BlockNumber, BlockNumber),
    /// What is kept of the blocks' other events.
    pub keep: Keep,
    /// Most blocks fetched at once.
    pub fetch_ahead: usize,
    /// This process's name on its lease.
    pub holder: String,
    /// How long the lease runs without renewal.
    pub lease_ttl: Duration,
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AttestReport {
    /// Blocks that are verified now and were not before.
    pub verified: u64,
    /// Blocks that cannot be checked by what the node supplies, with the reason for the first of them.
    pub unverifiable: u64,
    /// Why the first of those cannot.
    pub reason: Option<String>,
    /// Blocks of which the node has another, on another branch.
    pub other_branch: u64,
    /// Blocks of which the log has not the events that it should have.
    pub incomplete: Vec<(BlockNumber, Difference)>,
}

/// Attests what is not verified of a range, stretch by stretch; `progress` hears how far it is.
///
/// # Errors
/// When nodes stay unusable, the database fails, a widening goes on, or a block of the node is not whole: what
/// was attested by then stays.
pub async fn attest(
    store: &Store,
    nodes: &NodePool,
    options: &AttestOptions,
    shutdown: &CancellationToken,
    progress: impl FnMut(BlockNumber),
) -> Result<AttestReport, IndexError> {
    let partition = Partition::Attestor(options.chain.clone());
    let (holder, ttl) = (&options.holder, options.lease_ttl);
    let Some(lease) = LeaseKeeper::acquire(store, partition, holder, ttl, shutdown).await? else {
        return Ok(AttestReport::default());
    };
    let work = Attesting { store, options, lease: &lease };
    let done = work.all(nodes, shutdown, progress).await;
    match (done, lease.release().await) {
        (Ok(report), Ok(())) => Ok(report),
        (Err(error), _) => Err(error),
        (Ok(_), Err(error)) => Err(error.into()),
    }
}

struct Attesting<'a> {
    store: &'a Store,
    options: &'a AttestOptions,
    lease: &'a LeaseKeeper,
}

/// A block of the log and the node's, with what is to become of it.
struct Compared {
    own: AppliedBlock,
    checked: CheckedBlock,
}

impl Attesting<'_> {
    async fn all(
        &self,
        nodes: &NodePool,
        shutdown: &CancellationToken,
        mut progress: impl FnMut(BlockNumber),
    ) -> Result<AttestReport, IndexError> {
        let mut report = AttestReport::default();
        let (mut next, last) = self.options.range;
        let mut failures = 0;
        while next <= last && !shutdown.is_cancelled() {
            let to = last.min(BlockNumber(next.0.saturating_add(STRETCH - 1)));
            match self.stretch(nodes, (next, to)).await {
                Ok(stretch) => {
                    report.add(stretch);
                    (next, failures) = (to.next(), 0);
                    progress(to);
                }
                Err(error) if failures < ATTEMPTS && error.remedy() != Remedy::None => {
                    failures += 1;
                    tracing::warn!(%error, "attesting interrupted, trying again");
                    let wait = FIRST_WAIT * 2_u32.saturating_pow(failures - 1);
                    tokio::select! {
                        () = shutdown.cancelled() => {}
                        () = tokio::time::sleep(wait) => {}
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(report)
    }

    /// All blocks of a stretch that are not verified.
    async fn stretch(
        &self,
        nodes: &NodePool,
        range: (BlockNumber, BlockNumber),
    ) -> Result<AttestReport, IndexError> {
        let mut report = AttestReport::default();
        let blocks = self.unverified(range).await?;
        if blocks.is_empty() {
            return Ok(report);
        }
        let leader = nodes.leader().await?;
        leader.spec().await?;
        // What is watched must not change between here and the append.
        let before = self.settled().await?;
        let watched = Watched::load(self.store, &self.options.chain).await?;
        let (mut attested, mut trouble) = (Vec::new(), None);
        for (own, fetched) in blocks.iter().zip(self.fetch(&leader, &blocks, &watched).await) {
            match fetched {
                Ok(checked) => {
                    let compared = Compared { own: *own, checked };
                    attested.extend(self.judge(&leader, compared, before, &mut report).await?);
                }
                Err(error) => {
                    self.note_mismatch(&error, &leader).await?;
                    trouble = trouble.or(Some(error));
                }
            }
        }
        let count = attested.len() as u64;
        report.verified = self.append(&leader, attested, before).await?;
        // What was reverted meanwhile is another block now.
        report.other_branch += count - report.verified;
        trouble.map_or(Ok(report), |error| Err(error.into()))
    }

    /// What becomes of a block; it is given back where it is to be attested.
    async fn judge(
        &self,
        leader: &Leader,
        compared: Compared,
        before: WidenedSoFar,
        report: &mut AttestReport,
    ) -> Result<Option<Compared>, IndexError> {
        let Compared { own, checked } = &compared;
        if checked.block.hash != own.hash {
            report.other_branch += 1;
            return Ok(None);
        }
        if let Verdict::Unverifiable(reason) | Verdict::Unchecked(reason) =
            &checked.attestation.verdict
        {
            report.unverifiable += 1;
            report.reason.get_or_insert_with(|| reason.clone());
            return Ok(None);
        }
        let kept = KeptBlock::read(self.store, &self.options.chain, own).await?;
        let Some(difference) = kept.compare(own, &checked.block) else {
            return Ok(Some(compared));
        };
        if self.note_incomplete(own, (&leader.kind(), before), &difference).await? {
            report.incomplete.push((own.block.number, difference));
        } else {
            report.other_branch += 1;
        }
        Ok(None)
    }

    /// How many widenings are complete, with none under way.
    async fn settled(&self) -> Result<WidenedSoFar, IndexError> {
        let mut tx = self.store.begin().await?;
        let so_far = watch::widened_so_far(&mut tx, &self.options.chain).await?;
        if so_far.is_under_way { Err(IndexError::WideningUnderWay) } else { Ok(so_far) }
    }

    /// Canonical blocks that are not verified, lowest first.
    async fn unverified(
        &self,
        (from, to): (BlockNumber, BlockNumber),
    ) -> Result<Vec<AppliedBlock>, IndexError> {
        let chain = &self.options.chain;
        let mut blocks = Vec::new();
        for run in attested::within(self.store, chain, (from, to)).await? {
            if run.verdict != AttestedAs::Verified {
                let mut some = key::canonical(self.store, chain, run.first, run.last).await?;
                some.reverse();
                blocks.extend(some);
            }
        }
        Ok(blocks)
    }

    async fn fetch(
        &self,
        leader: &Leader,
        blocks: &[AppliedBlock],
        watched: &Watched,
    ) -> Vec<Result<CheckedBlock, SourceError>> {
        futures::stream::iter(blocks)
            .map(|block| {
                let checking = Checking {
                    watching: watched.at(block),
                    effort: Effort::Whole,
                    keep: self.options.keep,
                    comparison: Comparing::Nothing,
                };
                async move { leader.checked_block(block.block.number, &checking).await }
            })
            .buffered(self.options.fetch_ahead.max(1))
            .collect()
            .await
    }

    /// Appends attestations; how many blocks have one now. A block that was reverted meanwhile is left out.
    async fn append(
        &self,
        leader: &Leader,
        mut blocks: Vec<Compared>,
        before: WidenedSoFar,
    ) -> Result<u64, IndexError> {
        for compared in &mut blocks {
            compared.checked.attestation.checks.push(Check::KeptEvents);
        }
        let chain = &self.options.chain;
        let tip = chain_tip::load(self.store, chain).await?;
        let encoder = Encoder {
            chain: chain.clone(),
            watching: Watching::default(),
            source: leader.kind(),
            first: tip.map_or(BlockNumber(u64::MAX), |tip| tip.first),
        };
        while !blocks.is_empty() {
            let facts: Vec<Keyed> = blocks
                .iter()
                .map(|Compared { own, checked }| {
                    let fact = Fact::BlockAttested(encoder.attest(checked));
                    let draft = Draft::new(chain, Some(own.block), &fact);
                    Keyed { key: Key::Attested, drafts: vec![draft] }
                })
                .collect();
            let mut tx = self.store.begin().await?;
            let outcome = log::append(&mut tx, self.lease.fence(), facts).await?;
            if watch::widened_so_far(&mut tx, chain).await? != before {
                return Err(IndexError::WideningUnderWay);
            }
            if outcome.superseded == 0 {
                let numbers = blocks.iter().map(|one| (one.own.block.number, AttestedAs::Verified));
                for run in attested::runs(numbers) {
                    attested::cover(&mut tx, chain, run).await?;
                }
                tx.commit().await.map_err(StoreError::from)?;
                return Ok(blocks.len() as u64);
            }
            // Some were reverted while the node was asked: those that still stand are tried again.
            tx.rollback().await.map_err(StoreError::from)?;
            blocks = self.still_canonical(blocks).await?;
        }
        Ok(0)
    }

    async fn still_canonical(&self, blocks: Vec<Compared>) -> Result<Vec<Compared>, IndexError> {
        let numbers: BTreeSet<BlockNumber> =
            blocks.iter().map(|one| one.own.block.number).collect();
        let epochs = key::canonical_epochs(self.store, &self.options.chain, &numbers).await?;
        let stands = |own: &AppliedBlock| {
            let epoch: Option<&BranchEpoch> = epochs.get(&own.block.number);
            epoch == Some(&own.block.epoch)
        };
        Ok(blocks.into_iter().filter(|one| stands(&one.own)).collect())
    }

    /// The node's block is not whole.
    async fn note_mismatch(&self, error: &SourceError, leader: &Leader) -> Result<(), IndexError> {
        let SourceError::Mismatch(block) = error.cause() else {
            return Ok(());
        };
        let MismatchedBlock { node, mismatch, answer } = block.as_ref();
        let fact = MismatchFound {
            number: mismatch.number,
            hash: mismatch.hash,
            node: node.clone(),
            source: leader.kind(),
            differences: mismatch.differences.clone(),
            evidence: Hash32(Sha256::digest(answer).into()),
        };
        let number = fact.number;
        self.note((number, node), Fact::MismatchFound(fact), Some(answer)).await
    }

    /// The log has not what it should have of a block. Says whether that is so: of a block that was reverted
    /// meanwhile it may have been held against what another branch makes of the watched set.
    async fn note_incomplete(
        &self,
        own: &AppliedBlock,
        (source, before): (&str, WidenedSoFar),
        difference: &Difference,
    ) -> Result<bool, IndexError> {
        let fact = IncompleteFound {
            number: own.block.number,
            hash: own.hash,
            source: source.to_owned(),
            differences: vec![difference.clone()],
        };
        let chain = &self.options.chain;
        let mut tx =
            self.noted((own.block.number, "log"), Fact::IncompleteFound(fact), None).await?;
        // The append keeps others from appending until the transaction ends: what is canonical stays so.
        if watch::widened_so_far(&mut tx, chain).await? != before {
            return Err(IndexError::WideningUnderWay);
        }
        let height = BTreeSet::from([own.block.number]);
        let epochs = key::canonical_epochs(self.store, chain, &height).await?;
        let stands = epochs.get(&own.block.number) == Some(&own.block.epoch);
        if stands {
            tx.commit().await.map_err(StoreError::from)?;
        }
        Ok(stands)
    }

    async fn note(
        &self,
        place: (BlockNumber, &str),
        fact: Fact,
        answer: Option<&[u8]>,
    ) -> Result<(), IndexError> {
        let tx = self.noted(place, fact, answer).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    }

    /// A transaction with a finding in it.
    async fn noted(
        &self,
        (number, about): (BlockNumber, &str),
        fact: Fact,
        answer: Option<&[u8]>,
    ) -> Result<Transaction, IndexError> {
        let draft = Draft::new(&self.options.chain, None, &fact);
        let mut tx = self.store.begin().await?;
        if finding::save(&mut tx, (number, about), &draft, answer).await? {
            let facts = vec![Keyed { key: Key::Plain, drafts: vec![draft] }];
            log::append(&mut tx, self.lease.fence(), facts).await?;
        }
        Ok(tx)
    }
}

impl AttestReport {
    fn add(&mut self, other: Self) {
        self.verified += other.verified;
        self.unverifiable += other.unverifiable;
        self.other_branch += other.other_branch;
        self.reason = self.reason.take().or(other.reason);
        self.incomplete.extend(other.incomplete);
    }
}
