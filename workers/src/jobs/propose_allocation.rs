//! Allocation snapshots: what each adopted policy makes of the protocols' scores and yields.
//!
//! One a policy is due at each block at which a score's inputs or a yield differ from the block before, and
//! at the first block after a policy file was adopted. The fact is a function of the log up to its block.

use std::collections::BTreeSet;

use obsqra_events::{AbsentInput, Candidate, Cause, Causes, Draft, Measured};
use obsqra_policy::{Candidates, allocate};
use obsqra_protocols::{InputsAt, risk};
use obsqra_store::{Key, Keyed, Store};
use obsqra_types::{Bps, ChainId, Partition, ProtocolId, Seq};

use super::deriving::{Derivation, Deriver};
use crate::WorkError;
use crate::chain_fold::FoldedBlock;

/// Allocates by every policy of one chain.
pub type ProposeAllocation = Deriver<Allocations>;

/// The snapshots of one chain.
#[derive(Debug)]
pub struct Allocations {
    chain: ChainId,
}

impl ProposeAllocation {
    /// Prepares the role; nothing is read yet.
    #[must_use]
    pub fn new(store: &Store, chain: &ChainId) -> Self {
        Self::of(store, chain, Allocations { chain: chain.clone() })
    }
}

impl Derivation for Allocations {
    fn partition(&self) -> Partition {
        Partition::Allocator(self.chain.clone())
    }

    fn due(&self, block: &FoldedBlock) -> Result<Vec<Keyed>, WorkError> {
        due(&self.chain, block)
    }
}

/// The snapshots that are due at a block, one a policy.
///
/// # Errors
/// When what they are made from contradicts itself.
pub fn due(chain: &ChainId, block: &FoldedBlock) -> Result<Vec<Keyed>, WorkError> {
    let (Some(output), Some((policies, adopted_at))) = (&block.output, &block.policies) else {
        return Ok(Vec::new());
    };
    let is_first_of_policy = block.below.is_none_or(|below| *adopted_at > below);
    let changed = !output.inputs_changed.is_empty() || !output.yields_changed.is_empty();
    if !is_first_of_policy && !changed {
        return Ok(Vec::new());
    }
    let candidates = output.inputs.iter().map(|(protocol, inputs)| candidate(protocol, inputs));
    let candidates = Candidates::new(candidates)
        .map_err(|error| WorkError::Log { seq: block.last_seq, problem: error.to_string() })?;
    let causes = causes(*adopted_at, output.inputs.values());
    let keyed = policies.iter().map(|policy| {
        let allocation = allocate(policy, &candidates);
        let fact = allocation.into_fact(policy, &candidates, block.hash, causes.clone());
        Keyed {
            key: Key::Derived { subject: policy.id().to_string() },
            drafts: vec![Draft::new(chain, Some(block.block), &fact)],
        }
    });
    Ok(keyed.collect())
}

fn candidate(protocol: &ProtocolId, inputs: &InputsAt) -> Candidate {
    let score = match inputs.complete() {
        Ok(complete) => Measured::Known(risk::score(&complete).0),
        // The first input that is missing; the others are in the protocol's own fact.
        Err(absent) => absent.first().map_or_else(
            || Measured::Absent { reason: "no_state".to_owned(), detail: None },
            |first| Measured::Absent {
                reason: first.reason.clone(),
                detail: Some(first.field.clone()),
            },
        ),
    };
    Candidate {
        protocol: protocol.clone(),
        score,
        apy: measured(inputs.apy_bps.as_ref().map(|bps| Bps(*bps))),
        volatility: measured(inputs.volatility_bps.as_ref().map(|bps| Bps(*bps))),
        liquidity_class: measured(inputs.liquidity_class.as_ref().map(|class| *class)),
    }
}

fn measured<T>(figure: Result<T, &AbsentInput>) -> Measured<T> {
    match figure {
        Ok(value) => Measured::Known(value),
        Err(absent) => {
            Measured::Absent { reason: absent.reason.clone(), detail: absent.detail.clone() }
        }
    }
}

/// The policy file, what all protocols have in common, and the windows of their events; as many as there is
/// room for.
fn causes<'a>(adopted_at: Seq, inputs: impl Iterator<Item = &'a InputsAt>) -> Causes {
    let mut entries = BTreeSet::from([adopted_at]);
    let mut windows = Vec::new();
    for cause in inputs.flat_map(|inputs| inputs.causes.as_slice()) {
        match cause {
            Cause::Entry(seq) => {
                entries.insert(*seq);
            }
            Cause::Window { .. } if windows.contains(cause) => {}
            Cause::Window { .. } => windows.push(cause.clone()),
        }
    }
    // The newest entries matter most; the policy's, the oldest perhaps, is named in any case.
    entries.remove(&adopted_at);
    let newest = entries.into_iter().rev().map(Cause::Entry);
    std::iter::once(Cause::Entry(adopted_at)).chain(windows).chain(newest).collect()
}
