//! Whether a block is whole: its commitments and its hash, recomputed from its content.
//!
//! From Starknet 0.13.2 on a header states commitments, and its hash covers them; before that the hash is
//! taken over what is recomputed, so that it vouches for the events by itself (`pedersen`). Nothing here
//! says that the chain ever accepted a block, only that its parts belong together: truncation, reordering,
//! corruption and the wrong block show. What a source does not supply is never taken for a mismatch, and never
//! for a check that held.
//!
//! A receipt's commitment covers what is not kept, such as the exact words of why a transaction was reverted,
//! which nodes may put otherwise. Where it does not follow it is left out of the checks.

mod checked;
mod pedersen;
mod poseidon;

use std::fmt;

use obsqra_events::commitments::{EventFields, Version};
use obsqra_events::{Check, ComputedCommitments, DaMode, Difference, EventData};
use obsqra_types::{Felt, Hash32};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::source::{SourceBlock, SourceTransaction};
pub use checked::{Attestation, CheckedBlock, Checking, Comparing, Effort, Keep, Mismatch};

/// From this version on blocks may be hashed by rules that are not known here.
const FIRST_UNKNOWN: &str = "0.15.0";
/// Fewest events that are hashed on several threads.
const PARALLEL_EVENTS: usize = 24;

/// What came of checking a block.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Findings {
    /// What it amounts to.
    pub outcome: Outcome,
    /// What was checked and held, in ascending order.
    pub checks: Vec<Check>,
    /// What was recomputed and the header does not state.
    pub computed: Option<ComputedCommitments>,
    /// The leaf of each event, in block order; empty where none was computed.
    pub leaves: Vec<Felt>,
}

/// What a check amounts to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Events, commitments and block hash belong together.
    Verified,
    /// They cannot be recomputed from what the source supplies.
    Unverifiable(Reason),
    /// They do not belong together.
    Mismatch(Vec<Difference>),
}

/// Why a block cannot be checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// The source sends the events of some contracts.
    SomeEventsOnly,
    /// The header has no counts and commitments.
    NoCommitments,
    /// The header has a zero in place of something that cannot be zero.
    NotSupplied(&'static str),
    /// A transaction is without the signature that its leaf covers.
    NoSignature,
    /// The commitment to the transactions does not follow where some of them are signed by nobody: the rule for
    /// those was never held against a real block.
    UnsignedTransactions,
    /// The block's hash, of the oldest form, says nothing about events.
    HashWithoutEvents,
    /// The protocol version is none.
    NoVersion(String),
    /// The rules of the block's protocol version are not known here, and the known ones do not fit it.
    NewerVersion(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SomeEventsOnly => f.write_str("the source sends the events of some contracts"),
            Self::NoCommitments => f.write_str("the header has no counts and commitments"),
            Self::NotSupplied(member) => write!(f, "the source does not supply {member}"),
            Self::NoSignature => f.write_str("the source leaves out a signature"),
            Self::UnsignedTransactions => f.write_str(
                "the transaction commitment does not follow, and some transactions have no signature",
            ),
            Self::HashWithoutEvents => f.write_str("a hash of this age does not cover events"),
            Self::NoVersion(version) => write!(f, "{version:?} is no protocol version"),
            Self::NewerVersion(version) => {
                write!(f, "the rules of protocol version {version} are not known here")
            }
        }
    }
}

impl Findings {
    fn unverifiable(reason: Reason) -> Self {
        let outcome = Outcome::Unverifiable(reason);
        Self { outcome, checks: Vec::new(), computed: None, leaves: Vec::new() }
    }
}

/// Checks a block. Takes time in proportion to its events, about ten permutations each, and uses the threads
/// of rayon's pool for large ones.
#[must_use]
pub fn check(block: &SourceBlock) -> Findings {
    let mut findings = check_all(std::slice::from_ref(block));
    // One block, one finding.
    findings.pop().unwrap_or_else(|| Findings::unverifiable(Reason::SomeEventsOnly))
}

/// Checks blocks together, which for small ones takes less time than one by one.
#[must_use]
pub fn check_all(blocks: &[SourceBlock]) -> Vec<Findings> {
    let mut findings: Vec<Option<Findings>> = Vec::with_capacity(blocks.len());
    let mut checkable = Vec::with_capacity(blocks.len());
    for block in blocks {
        findings.push(match prepare(block) {
            Prepared::Together(block) => {
                checkable.push(block);
                None
            }
            Prepared::Done(found) => Some(found),
        });
    }
    let mut together = poseidon::check(&checkable).into_iter();
    findings
        .into_iter()
        .zip(blocks)
        .filter_map(|(found, block)| Some(judged(found.or_else(|| together.next())?, block)))
        .collect()
}

/// How many Poseidon permutations checking blocks takes; those of the older rules take none.
#[must_use]
pub fn permutations(blocks: &[SourceBlock]) -> usize {
    let checkable: Vec<_> = blocks
        .iter()
        .filter_map(|block| match prepare(block) {
            Prepared::Together(block) => Some(block),
            Prepared::Done(_) => None,
        })
        .collect();
    poseidon::permutations(&checkable)
}

/// What becomes of a block.
enum Prepared<'a> {
    /// It is checked together with others.
    Together(poseidon::Checkable<'a>),
    /// It was checked, or cannot be.
    Done(Findings),
}

fn prepare(block: &SourceBlock) -> Prepared<'_> {
    let unverifiable = |reason| Prepared::Done(Findings::unverifiable(reason));
    let Some(transactions) = &block.transactions else {
        return unverifiable(Reason::SomeEventsOnly);
    };
    let version = Version::parse(&block.starknet_version);
    if version.is_none() && !block.starknet_version.is_empty() {
        return unverifiable(Reason::NoVersion(block.starknet_version.clone()));
    }
    match version.and_then(Version::era) {
        Some(era) => match poseidon::Checkable::new(block, transactions, era) {
            Some(checkable) => Prepared::Together(checkable),
            None => unverifiable(Reason::NoCommitments),
        },
        None => Prepared::Done(pedersen::check(block, transactions, version)),
    }
}

/// What does not fit the known rules is no mismatch where the rules may be others. Counting has no rules.
fn judged(findings: Findings, block: &SourceBlock) -> Findings {
    let is_newer = Version::parse(&block.starknet_version) >= Version::parse(FIRST_UNKNOWN);
    match &findings.outcome {
        Outcome::Mismatch(differences)
            if is_newer && !differences.iter().any(|one| one.member.ends_with("_count")) =>
        {
            Findings::unverifiable(Reason::NewerVersion(block.starknet_version.clone()))
        }
        _ => findings,
    }
}

/// The hash that a header's members make, with commitments as it states them or, for the older kind, as they
/// were recomputed; `None` where a member is not there.
#[must_use]
pub fn header_hash(block: &SourceBlock, computed: Option<&ComputedCommitments>) -> Option<Felt> {
    match Version::parse(&block.starknet_version).and_then(Version::era) {
        Some(era) => poseidon::header_hash(block, era),
        None => Some(pedersen::header_hash(block, computed?)),
    }
}

/// Collects what held and what did not.
#[derive(Default)]
struct Comparison {
    checks: Vec<Check>,
    differences: Vec<Difference>,
}

impl Comparison {
    fn felt(&mut self, check: Check, member: &str, (stated, computed): (Felt, Felt)) {
        // Most agree, and are not worth a text.
        if stated == computed {
            self.checks.push(check);
        } else {
            self.differ(member, (format!("{stated:#x}"), format!("{computed:#x}")));
        }
    }

    fn count(&mut self, check: Check, member: &str, (stated, computed): (u64, u64)) {
        if stated == computed {
            self.checks.push(check);
        } else {
            self.differ(member, (stated.to_string(), computed.to_string()));
        }
    }

    fn differ(&mut self, member: &str, (stated, computed): (String, String)) {
        self.differences.push(Difference { member: member.to_owned(), stated, computed });
    }

    /// What is missing to verify a block; what is there must not differ all the same.
    fn unverifiable(mut self, reason: Reason) -> Findings {
        if !self.differences.is_empty() {
            return self.findings(None, Vec::new());
        }
        self.checks.sort_unstable();
        let outcome = Outcome::Unverifiable(reason);
        Findings { outcome, checks: self.checks, computed: None, leaves: Vec::new() }
    }

    fn findings(mut self, computed: Option<ComputedCommitments>, leaves: Vec<Felt>) -> Findings {
        self.checks.sort_unstable();
        let outcome = if self.differences.is_empty() {
            Outcome::Verified
        } else {
            Outcome::Mismatch(self.differences)
        };
        Findings { outcome, checks: self.checks, computed, leaves }
    }
}

fn fields(event: &EventData) -> EventFields<'_> {
    EventFields {
        from_address: event.from_address.0,
        transaction_hash: event.transaction_hash.0,
        keys: &event.keys,
        data: &event.data,
    }
}

/// The leaves of many events, on as many threads as there are.
fn leaves_of(events: &[EventData], leaves: fn(&[EventFields<'_>]) -> Vec<Felt>) -> Vec<Felt> {
    let threads = rayon::current_num_threads();
    if events.len() < PARALLEL_EVENTS || threads < 2 {
        return leaves(&events.iter().map(fields).collect::<Vec<_>>());
    }
    // One piece a thread: a batch is hashed the better the longer it is.
    events
        .par_chunks(events.len().div_ceil(threads))
        .map(|piece| leaves(&piece.iter().map(fields).collect::<Vec<_>>()))
        .collect::<Vec<_>>()
        .concat()
}

/// The transactions with their signatures; `None` where one is left out.
fn signed(transactions: &[SourceTransaction]) -> Option<Vec<(Felt, &[Felt])>> {
    transactions
        .iter()
        .map(|transaction| Some((transaction.hash.0, transaction.signature.as_deref()?)))
        .collect()
}

/// The leaves of events that are not kept, in block order; `None` where none was computed.
#[must_use]
pub fn other_leaves(block: &SourceBlock, leaves: &[Felt], is_kept: &[bool]) -> Option<Vec<Felt>> {
    if leaves.len() != block.events.len() {
        return None;
    }
    let others = is_kept.iter().zip(leaves).filter(|(is_kept, _)| !**is_kept);
    Some(others.map(|(_, leaf)| *leaf).collect())
}

/// SHA-256 over what is kept of a block's header and over all of its events: what two nodes are compared by.
#[must_use]
pub fn digest(block: &SourceBlock) -> Hash32 {
    let mut hasher = Sha256::new();
    hasher.update([4]);
    let mut felt = |value: &Felt| hasher.update(value.to_bytes_be());
    felt(&block.hash.0);
    felt(&block.parent_hash.0);
    felt(&block.new_root);
    felt(&block.sequencer.0);
    felt(&Felt::from(block.timestamp.0));
    felt(&Felt::from(u8::from(block.da_mode == DaMode::Blob)));
    for price in [block.l1_gas, block.l1_data_gas] {
        felt(&Felt::from(price.fri));
        felt(&Felt::from(price.wei));
    }
    // At most 31 bytes, which fit an element.
    felt(&Felt::from_bytes_be_slice(block.starknet_version.as_bytes()));
    for event in &block.events {
        felt(&event.transaction_hash.0);
        felt(&event.from_address.0);
        for list in [&event.keys, &event.data] {
            felt(&Felt::from(list.len()));
            list.iter().for_each(&mut felt);
        }
    }
    Hash32(hasher.finalize().into())
}

#[cfg(test)]
mod tests;
