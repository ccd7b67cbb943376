//! NATS subjects: `obsqra.v1.<chain>.<lane>.…`.

use std::fmt;

use obsqra_types::{ChainId, ProtocolId};

use crate::{Fact, Kind};

/// The subject a fact is published under.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Subject(String);

impl Subject {
    /// The subject of a block-level or derived fact; `None` for facts that are not published by
    /// themselves (events take [`Subject::event`]; attestations and adoptions are read from the log).
    #[must_use]
    pub fn of(chain: &ChainId, fact: &Fact) -> Option<Self> {
        let tail = match fact {
            Fact::BlockApplied(_) | Fact::BlockReverted(_) | Fact::BlockFinalized(_) => {
                fact.kind().name().to_owned()
            }
            Fact::RiskScored(fact) => format!("risk.{}.scored", fact.protocol),
            Fact::RiskAbsent(fact) => format!("risk.{}.absent", fact.protocol),
            Fact::AllocationProposed(fact) => {
                format!("allocation.{}.proposed", fact.basis.policy.id)
            }
            Fact::AllocationInfeasible(fact) => {
                format!("allocation.{}.infeasible", fact.basis.policy.id)
            }
            Fact::AnomalyFound(fact) => {
                format!("anomaly.{}.{}", fact.severity.name(), fact.rule)
            }
            Fact::Retracted(fact) => format!("retracted.{}", fact.kind.name()),
            Fact::Adopted(_)
            | Fact::Event(_)
            | Fact::BlockAttested(_)
            | Fact::WatchWidened(_)
            | Fact::BlockSupplemented(_)
            | Fact::WatchCompleted(_)
            | Fact::MismatchFound(_)
            | Fact::SourcesDisagreed(_)
            | Fact::IncompleteFound(_) => return None,
        };
        Some(Self(format!("obsqra.v1.{chain}.{tail}")))
    }

    /// The subject of a watched event. `name` is the decoder's, `None` for an event that fits no
    /// layout, which goes under `undecoded`.
    #[must_use]
    pub fn event(chain: &ChainId, protocol: &ProtocolId, name: Option<&str>) -> Self {
        Self(format!("obsqra.v1.{chain}.event.{protocol}.{}", name.unwrap_or("undecoded")))
    }

    /// The subject under which the fact is repeated once its block is final.
    #[must_use]
    pub fn when_final(&self) -> Self {
        // `obsqra`, `v1`, the chain, and the rest.
        let mut parts = self.0.splitn(4, '.');
        let head: Vec<&str> = parts.by_ref().take(3).collect();
        Self(format!("{}.final.{}", head.join("."), parts.collect::<String>()))
    }

    /// The subject as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lanes of a chain whose messages are facts of the log, one at a position.
const FACT_LANES: [&str; 6] = ["chain", "event", "risk", "allocation", "anomaly", "retracted"];

/// The filters for every message that is a fact of a chain. Checkpoints are none, and have a stream of
/// their own: what relies on positions that only rise must not meet them.
#[must_use]
pub fn chain_filters(chain: &ChainId) -> Vec<String> {
    FACT_LANES.iter().map(|lane| format!("obsqra.v1.{chain}.{lane}.>")).collect()
}

/// The filter for every fact that is repeated because its block is final.
#[must_use]
pub fn final_filter(chain: &ChainId) -> String {
    format!("obsqra.v1.{chain}.final.>")
}

/// The subject of the checkpoints of the log that holds a chain.
#[must_use]
pub fn checkpoint_subject(chain: &ChainId) -> String {
    format!("obsqra.v1.{chain}.log.checkpoint")
}

/// The filter for one kind of block-level fact, such as `chain.block_applied`.
#[must_use]
pub fn derived_filter(chain: &ChainId, kind: Kind) -> String {
    match kind {
        Kind::RiskScored => format!("obsqra.v1.{chain}.risk.*.scored"),
        Kind::RiskAbsent => format!("obsqra.v1.{chain}.risk.*.absent"),
        Kind::AllocationProposed => format!("obsqra.v1.{chain}.allocation.*.proposed"),
        Kind::AllocationInfeasible => format!("obsqra.v1.{chain}.allocation.*.infeasible"),
        Kind::AnomalyFound => format!("obsqra.v1.{chain}.anomaly.>"),
        Kind::Retracted => format!("obsqra.v1.{chain}.retracted.>"),
        other => format!("obsqra.v1.{chain}.{}", other.name()),
    }
}
