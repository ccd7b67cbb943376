//! Repeating a check from the log alone: kept events, the leaves of the others, and the header's members make
//! the event commitment and the block hash again.
//!
//! What else the hash covers (transactions, receipts, the state diff) is taken as the attestation has it.

use obsqra_events::commitments::pedersen;
use obsqra_events::commitments::{EventFields, Version, event_leaves, poseidon_root};
use obsqra_events::{BlockApplied, BlockAttested, Difference, Entry, Fact, Verdict};
use obsqra_store::key::{self, AppliedBlock};
use obsqra_store::{Store, attested};
use obsqra_types::{BlockNumber, ChainId, EventIndex, Felt};
use tokio_util::sync::CancellationToken;

use super::kept::{KeptEvents, applied, corrupt};
use crate::IndexError;
use crate::completeness::header_hash;
use crate::source::SourceBlock;

/// Heights looked at together.
const STRETCH: u64 = 256;

/// What came of repeating checks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OfflineReport {
    /// Blocks whose check was repeated and holds.
    pub repeated: u64,
    /// Verified blocks whose entry says that the check cannot be repeated.
    pub not_repeatable: u64,
    /// Blocks that were never verified.
    pub not_verified: u64,
    /// Blocks whose check no longer holds.
    pub broken: Vec<(BlockNumber, Difference)>,
}

/// Repeats the checks of a range; writes nothing.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn offline(
    store: &Store,
    chain: &ChainId,
    (mut next, last): (BlockNumber, BlockNumber),
    shutdown: &CancellationToken,
    mut progress: impl FnMut(BlockNumber),
) -> Result<OfflineReport, IndexError> {
    let mut report = OfflineReport::default();
    while next <= last && !shutdown.is_cancelled() {
        let to = last.min(BlockNumber(next.0.saturating_add(STRETCH - 1)));
        let mut blocks = key::canonical(store, chain, next, to).await?;
        blocks.reverse();
        let mut entries = attested::newest_in(store, chain, (next, to)).await?;
        for own in &blocks {
            let entry = entries.remove(&(own.block.number, own.block.epoch));
            repeat((store, chain), own, entry, &mut report).await?;
        }
        progress(to);
        next = to.next();
    }
    Ok(report)
}

async fn repeat(
    (store, chain): (&Store, &ChainId),
    own: &AppliedBlock,
    entry: Option<Entry>,
    report: &mut OfflineReport,
) -> Result<(), IndexError> {
    let Some(entry) = entry else {
        report.not_verified += 1;
        return Ok(());
    };
    let Ok(Fact::BlockAttested(fact)) = entry.draft.fact() else {
        return Err(corrupt(entry.seq, "it should be a chain.block_attested"));
    };
    match (&fact.verdict, &fact.other_leaves) {
        (Verdict::Verified, Some(leaves)) => {
            let applied = applied(store, own).await?;
            let kept = KeptEvents::read_before(store, chain, own, entry.seq).await?;
            let block = Stated { own, applied: &applied, fact: &fact };
            match block.difference(&kept, leaves) {
                None => report.repeated += 1,
                Some(difference) => report.broken.push((own.block.number, difference)),
            }
        }
        (Verdict::Verified, None) => report.not_repeatable += 1,
        _ => report.not_verified += 1,
    }
    Ok(())
}

/// What the log states about a block.
struct Stated<'a> {
    own: &'a AppliedBlock,
    applied: &'a BlockApplied,
    fact: &'a BlockAttested,
}

impl Stated<'_> {
    /// What the kept events and the leaves of the others do not make again.
    fn difference(&self, kept: &KeptEvents, others: &[Felt]) -> Option<Difference> {
        let total = kept.len() + others.len();
        let is_older =
            Version::parse(&self.applied.starknet_version).and_then(Version::era).is_none();
        let leaf: fn(&EventFields<'_>) -> Felt = if is_older {
            pedersen::event_leaf
        } else {
            |event| event_leaves(std::slice::from_ref(event)).first().copied().unwrap_or(Felt::ZERO)
        };
        let mut others = others.iter();
        let leaves: Option<Vec<Felt>> = (0..total)
            .map(|index| {
                let index = EventIndex(u32::try_from(index).ok()?);
                match kept.at(index) {
                    Some(event) => Some(leaf(&EventFields {
                        from_address: event.from_address.0,
                        transaction_hash: event.transaction_hash.0,
                        keys: &event.keys,
                        data: &event.data,
                    })),
                    None => others.next().copied(),
                }
            })
            .collect();
        let Some(leaves) = leaves else {
            return Some(different("events", ("places without a gap", "a gap")));
        };
        let Some((stated_count, stated)) = self.commitment() else {
            return Some(different("event_commitment", ("nothing", "one")));
        };
        if stated_count != total as u64 {
            let counts = (stated_count.to_string(), total.to_string());
            return Some(different("event_count", (&counts.0, &counts.1)));
        }
        let computed = if is_older { pedersen::root(&leaves) } else { poseidon_root(&leaves) };
        if computed != stated {
            let (stated, computed) = (format!("{stated:#x}"), format!("{computed:#x}"));
            return Some(different("event_commitment", (&stated, &computed)));
        }
        let hash = header_hash(&self.block(), self.fact.computed.as_ref());
        (hash != Some(self.own.hash.0)).then(|| {
            let computed = hash.map_or_else(|| "none".to_owned(), |hash| format!("{hash:#x}"));
            different("block_hash", (&format!("{:#x}", self.own.hash.0), &computed))
        })
    }

    /// The header, without content.
    fn block(&self) -> SourceBlock {
        let (own, applied, fact) = (self.own, self.applied, self.fact);
        SourceBlock {
            number: own.block.number,
            hash: own.hash,
            parent_hash: applied.parent_hash,
            timestamp: own.block.timestamp,
            new_root: applied.new_root,
            sequencer: applied.sequencer,
            starknet_version: applied.starknet_version.clone(),
            da_mode: applied.da_mode,
            l1_gas: applied.l1_gas,
            l1_data_gas: applied.l1_data_gas,
            l2_gas: fact.l2_gas,
            supplied: fact.supplied.clone(),
            transactions: None,
            events: Vec::new(),
        }
    }

    /// Number of events and their commitment, as the header states them or as they were recomputed.
    fn commitment(&self) -> Option<(u64, Felt)> {
        let computed =
            self.fact.computed.map(|computed| (computed.event_count, computed.event_commitment));
        let supplied = self.fact.supplied.as_ref();
        computed.or(supplied.map(|supplied| (supplied.event_count, supplied.event_commitment)))
    }
}

fn different(member: &str, (stated, computed): (&str, &str)) -> Difference {
    Difference {
        member: member.to_owned(),
        stated: stated.to_owned(),
        computed: computed.to_owned(),
    }
}
