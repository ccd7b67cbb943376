//! Risk scores: one for each protocol and block whose entries change the score's inputs; and the anomalies of
//! the protocol's markets, as blocks show them.
//!
//! The fact is a function of the chain lane up to its block. This role decides when to compute it, never
//! what comes out.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use obsqra_events::{
    AnomalyFound, BlockApplied, Cause, Draft, Fact, Phase, RiskAbsent, RiskScored,
};
use obsqra_protocols::{Anomaly, InputsAt, METRICS_VERSION, Violation, risk};
use obsqra_store::{Key, Keyed, Store};
use obsqra_types::{BlockRef, ChainId, Partition, ProtocolId};

use super::deriving::{Derivation, Deriver};
use crate::WorkError;
use crate::chain_fold::FoldedBlock;

/// Scores one protocol.
pub type ScoreRisk = Deriver<Scores>;

/// The risk facts of one protocol.
#[derive(Debug)]
pub struct Scores {
    chain: ChainId,
    protocol: ProtocolId,
}

impl ScoreRisk {
    /// Prepares the role; nothing is read yet.
    #[must_use]
    pub fn new(store: &Store, chain: &ChainId, protocol: &ProtocolId) -> Self {
        let scores = Scores { chain: chain.clone(), protocol: protocol.clone() };
        Self::of(store, chain, scores)
    }
}

impl Derivation for Scores {
    fn partition(&self) -> Partition {
        Partition::RiskWorker(self.chain.clone(), self.protocol.clone())
    }

    fn due(&self, block: &FoldedBlock) -> Result<Vec<Keyed>, WorkError> {
        Ok(due(&self.chain, &self.protocol, block))
    }
}

/// The facts that are due at a block.
#[must_use]
pub fn due(chain: &ChainId, protocol: &ProtocolId, block: &FoldedBlock) -> Vec<Keyed> {
    let score = score(chain, protocol, block);
    let output = block.output.iter();
    let anomalies = output.clone().flat_map(|output| &output.anomalies);
    let anomalies =
        anomalies.filter(|one| one.protocol == *protocol).map(|one| anomaly(block, one));
    let violations = output.flat_map(|output| &output.violations);
    let violations =
        violations.filter(|one| one.protocol == *protocol).map(|one| violation(block, one));
    let found = by_subject(anomalies.chain(violations)).into_iter().map(|(subject, found)| {
        let key = Key::Derived { subject };
        let fact = Fact::AnomalyFound(found);
        Keyed { key, drafts: vec![Draft::new(chain, Some(block.block), &fact)] }
    });
    score.into_iter().chain(found).collect()
}

/// One fact for each rule and market of a block: what a protocol's contracts have in common, such as an upgrade
/// of several in one transaction, is told together.
fn by_subject(found: impl Iterator<Item = AnomalyFound>) -> BTreeMap<String, AnomalyFound> {
    let mut told: BTreeMap<String, AnomalyFound> = BTreeMap::new();
    for one in found {
        match told.entry(one.subject()) {
            Entry::Vacant(place) => {
                place.insert(one);
            }
            Entry::Occupied(mut place) => {
                let known = place.get_mut();
                known.detail = format!("{}; {}", known.detail, one.detail);
                let causes = known.causes.as_slice().iter().chain(one.causes.as_slice());
                let mut unique: Vec<Cause> = Vec::new();
                for cause in causes {
                    if !unique.contains(cause) {
                        unique.push(cause.clone());
                    }
                }
                known.causes = unique.into_iter().collect();
            }
        }
    }
    told
}

/// The causes of an anomaly: the block, and the event that it came with.
fn anomaly(block: &FoldedBlock, anomaly: &Anomaly) -> AnomalyFound {
    let detail = anomaly.detail.iter().map(|(name, value)| format!("{name} {value}"));
    let event = (anomaly.cause != block.applied_seq).then_some(Cause::Entry(anomaly.cause));
    AnomalyFound {
        rule: anomaly.rule.name().to_owned(),
        protocol: anomaly.protocol.clone(),
        market: anomaly.market.clone(),
        block_hash: block.hash,
        rules: METRICS_VERSION.to_owned(),
        severity: anomaly.rule.severity(),
        phase: anomaly.phase,
        detail: detail.collect::<Vec<_>>().join(", "),
        causes: std::iter::once(Cause::Entry(block.applied_seq)).chain(event).collect(),
    }
}

/// A rule that does not hold is told where that begins.
fn violation(block: &FoldedBlock, violation: &Violation) -> AnomalyFound {
    AnomalyFound {
        rule: violation.rule.name().to_owned(),
        protocol: violation.protocol.clone(),
        market: Some(violation.market.clone()),
        block_hash: block.hash,
        rules: METRICS_VERSION.to_owned(),
        severity: violation.severity(),
        phase: Phase::Point,
        detail: violation.detail.clone(),
        causes: std::iter::once(Cause::Entry(block.applied_seq)).collect(),
    }
}

fn score(chain: &ChainId, protocol: &ProtocolId, block: &FoldedBlock) -> Option<Keyed> {
    let output = block.output.as_ref()?;
    if !output.inputs_changed.contains(protocol) {
        return None;
    }
    let inputs = output.inputs.get(protocol)?;
    Some(keyed(chain, protocol, block.block, &state(protocol, &block.applied, inputs)))
}

fn state(protocol: &ProtocolId, applied: &BlockApplied, inputs: &InputsAt) -> Fact {
    match inputs.complete() {
        Ok(complete) => {
            let (score, components) = risk::score(&complete);
            Fact::RiskScored(RiskScored {
                protocol: protocol.clone(),
                block_hash: applied.hash,
                formula: risk::FORMULA.to_owned(),
                score,
                components,
                inputs: complete,
                causes: inputs.causes.clone(),
            })
        }
        Err(absent) => Fact::RiskAbsent(RiskAbsent {
            protocol: protocol.clone(),
            block_hash: applied.hash,
            formula: risk::FORMULA.to_owned(),
            absent,
            causes: inputs.causes.clone(),
        }),
    }
}

fn keyed(chain: &ChainId, protocol: &ProtocolId, block: BlockRef, fact: &Fact) -> Keyed {
    Keyed {
        key: Key::Derived { subject: protocol.to_string() },
        drafts: vec![Draft::new(chain, Some(block), fact)],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use obsqra_events::{Causes, Severity};
    use obsqra_types::{BlockHash, Felt, MarketId, Seq};

    use super::*;

    fn found(rule: &str, market: Option<&str>, seq: u64, detail: &str) -> AnomalyFound {
        AnomalyFound {
            rule: rule.into(),
            protocol: ProtocolId::new("zklend").unwrap(),
            market: market.map(|market| MarketId(market.into())),
            block_hash: BlockHash(Felt::ONE),
            rules: METRICS_VERSION.into(),
            severity: Severity::Warning,
            phase: Phase::Point,
            detail: detail.into(),
            causes: Causes::new(vec![Cause::Entry(Seq(7)), Cause::Entry(Seq(seq))]).unwrap(),
        }
    }

    #[test]
    fn two_upgrades_in_a_block_are_one_fact_that_names_both() {
        let upgrades = [
            found("contract_upgraded", None, 8, "contract 0x1"),
            found("contract_upgraded", None, 9, "contract 0x2"),
            found("near_zero_supply", Some("0x3"), 10, "raw supply 1"),
        ];
        let told = by_subject(upgrades.into_iter());
        assert_eq!(told.len(), 2);
        let both = &told["contract_upgraded/zklend/"];
        assert_eq!(both.detail, "contract 0x1; contract 0x2");
        let causes = [7, 8, 9].map(|seq| Cause::Entry(Seq(seq)));
        assert_eq!(both.causes.as_slice(), causes);
    }
}
