//! Bodies of messages: JSON with a `schema` member; integers beyond 53 bits are decimal strings,
//! felts and digests hexadecimal strings.

mod allocation;
mod body;
mod schema;
pub(crate) mod text;

use obsqra_types::ProtocolId;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Difference, Draft, Entry, Fact, MismatchFound, SourcesDisagreed, Subject};
use allocation::{InfeasibleBody, ProposedBody};
use body::{
    AnomalyBody, BlockAppliedBody, BlockHashBody, Envelope, EventBody, RetractedBody,
    RiskAbsentBody, RiskScoredBody,
};

pub use schema::{MessageSchema, message_schema, message_schemas};

/// Whether a fact may still be retracted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finality {
    /// Its block may still be reverted.
    Provisional,
    /// Its block is accepted on L1.
    Final,
}

impl Finality {
    /// The header value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Provisional => "provisional",
            Self::Final => "final",
        }
    }
}

/// What a decoder adds to an entry that is published.
#[derive(Clone, Debug, Default)]
pub struct MessageContext {
    /// The protocol of a watched event.
    pub protocol: Option<ProtocolId>,
    /// The event's name; `None` when it fits no layout.
    pub event_name: Option<String>,
    /// The event's decoded members.
    pub decoded: Option<Value>,
    /// For a block: the position of its last watched event.
    pub last_seq: Option<obsqra_types::Seq>,
}

/// A message ready for the bus.
#[derive(Clone, PartialEq, Debug)]
pub struct Message {
    /// Where it goes.
    pub subject: Subject,
    /// The same for the same fact: kind, block, branch and key.
    pub id: String,
    /// JSON.
    pub body: Vec<u8>,
}

impl Message {
    /// The message that publishes an entry; `None` for kinds that are not published, and for events of
    /// contracts that no protocol owns.
    #[must_use]
    pub fn new(entry: &Entry, fact: &Fact, context: &MessageContext) -> Option<Self> {
        let chain = &entry.draft.chain;
        let subject = match (fact, &context.protocol) {
            (Fact::Event(_), Some(protocol)) => {
                Subject::event(chain, protocol, context.event_name.as_deref())
            }
            _ => Subject::of(chain, fact)?,
        };
        let body = entry_body(entry, fact, context).to_string().into_bytes();
        Some(Self { subject, id: id(&entry.draft, fact), body })
    }

    /// The message that repeats this one once its block is final: the same body.
    #[must_use]
    pub fn when_final(self) -> Self {
        let Self { subject, id, body } = self;
        Self { subject: subject.when_final(), id: format!("{id}:final"), body }
    }
}

/// An entry as JSON, in the form of a message's body; of kinds that are not published too.
#[must_use]
pub fn entry_body(entry: &Entry, fact: &Fact, context: &MessageContext) -> Value {
    json_of(Envelope::new(entry, data(fact, context)))
}

fn id(draft: &Draft, fact: &Fact) -> String {
    let block = draft.block.map_or_else(String::new, |b| format!("{}.{}", b.number, b.epoch));
    let key = match fact {
        Fact::Adopted(fact) => fact.hash.to_string(),
        Fact::BlockApplied(fact) => fact.hash.to_string(),
        Fact::Event(fact) => fact.index.0.to_string(),
        Fact::BlockAttested(fact) => fact.hash.to_string(),
        Fact::BlockReverted(fact) => fact.hash.to_string(),
        Fact::BlockFinalized(fact) => fact.hash.to_string(),
        Fact::RiskScored(fact) => fact.protocol.to_string(),
        Fact::RiskAbsent(fact) => fact.protocol.to_string(),
        Fact::AllocationProposed(fact) => fact.basis.policy.id.to_string(),
        Fact::AllocationInfeasible(fact) => fact.basis.policy.id.to_string(),
        Fact::AnomalyFound(fact) => fact.subject(),
        Fact::WatchWidened(fact) => fact.digest().to_string(),
        Fact::BlockSupplemented(fact) => format!("{}.{}", fact.hash, fact.contracts),
        Fact::WatchCompleted(fact) => fact.contracts.to_string(),
        Fact::MismatchFound(fact) => format!("{}.{}", fact.number, fact.evidence),
        Fact::IncompleteFound(fact) => format!("{}.{}", fact.number, fact.hash),
        Fact::SourcesDisagreed(fact) => {
            let digests = fact.statements.iter().map(|one| one.digest.to_string());
            format!("{}.{}", fact.number, digests.collect::<Vec<_>>().join("."))
        }
        Fact::Retracted(fact) => format!("{}.{}", fact.kind.name(), fact.subject),
    };
    format!("{}:{}:{block}:{key}", draft.chain, draft.kind.name())
}

/// Structs of numbers, texts and lists have a JSON form: this cannot fail.
fn json_of(body: impl Serialize) -> Value {
    serde_json::to_value(body).unwrap_or_default()
}

fn data(fact: &Fact, context: &MessageContext) -> Value {
    match fact {
        Fact::Adopted(fact) => json!({
            "what": fact.what.name(), "version": fact.version, "hash": fact.hash.to_string(),
        }),
        Fact::BlockApplied(fact) => json_of(BlockAppliedBody::of(fact, context)),
        Fact::Event(fact) => json_of(EventBody::of(fact, context)),
        Fact::BlockAttested(fact) => json!({ "blockHash": fact.hash.to_string() }),
        Fact::BlockReverted(fact) => json_of(BlockHashBody { block_hash: (&fact.hash.0).into() }),
        Fact::BlockFinalized(fact) => json_of(BlockHashBody { block_hash: (&fact.hash.0).into() }),
        Fact::WatchWidened(fact) => json!({
            "contracts": fact.contracts.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "firstBlock": fact.first.0,
            "lastBlock": fact.last.0,
        }),
        Fact::BlockSupplemented(fact) => json!({
            "blockHash": fact.hash.to_string(),
            "contracts": fact.contracts.to_string(),
            "watchedEvents": fact.watched_events,
        }),
        Fact::WatchCompleted(fact) => json!({
            "contracts": fact.contracts.to_string(),
            "blocks": fact.blocks.to_string(),
            "events": fact.events.to_string(),
        }),
        Fact::MismatchFound(fact) => mismatch(fact),
        Fact::SourcesDisagreed(fact) => disagreement(fact),
        Fact::IncompleteFound(fact) => json!({
            "blockNumber": fact.number.0,
            "blockHash": fact.hash.to_string(),
            "source": fact.source,
            "differences": differences(&fact.differences),
        }),
        _ => derived(fact),
    }
}

/// What a derived fact says; the facts of the chain lane are above.
fn derived(fact: &Fact) -> Value {
    match fact {
        Fact::RiskScored(fact) => json_of(RiskScoredBody::of(fact)),
        Fact::RiskAbsent(fact) => json_of(RiskAbsentBody::of(fact)),
        Fact::AllocationProposed(fact) => json_of(ProposedBody::of(fact)),
        Fact::AllocationInfeasible(fact) => json_of(InfeasibleBody::of(fact)),
        Fact::AnomalyFound(fact) => json_of(AnomalyBody::of(fact)),
        Fact::Retracted(fact) => json_of(RetractedBody::of(fact)),
        _ => Value::Null,
    }
}

fn differences(differences: &[Difference]) -> Vec<Value> {
    let told = differences
        .iter()
        .map(|one| json!({ "member": one.member, "stated": one.stated, "computed": one.computed }));
    told.collect()
}

fn mismatch(fact: &MismatchFound) -> Value {
    json!({
        "blockNumber": fact.number.0,
        "blockHash": fact.hash.to_string(),
        "node": fact.node,
        "source": fact.source,
        "differences": differences(&fact.differences),
        "evidence": fact.evidence.to_string(),
    })
}

fn disagreement(fact: &SourcesDisagreed) -> Value {
    json!({
        "blockNumber": fact.number.0,
        "statements": fact.statements.iter().map(|one| json!({
            "node": one.node,
            "source": one.source,
            "blockHash": one.hash.to_string(),
            "digest": one.digest.to_string(),
            "verdict": one.verdict.name(),
        })).collect::<Vec<_>>(),
    })
}
