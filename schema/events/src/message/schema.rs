//! JSON Schemas (draft 2020-12) of message bodies, made from the types that the bodies are written from.
//!
//! They are open: a body may gain members, which older readers leave alone. The files of
//! `schema/events/schemas/` are these texts, and a test compares them.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::allocation::{InfeasibleBody, ProposedBody};
use super::body::{
    AnomalyBody, BlockAppliedBody, BlockHashBody, Envelope, EventBody, RetractedBody,
    RiskAbsentBody, RiskScoredBody, versioned,
};
use crate::Kind;
use crate::checkpoint::{CHECKPOINT_SCHEMA, Spelled};

/// The schema of the bodies of one kind of message.
#[derive(Clone, PartialEq, Debug)]
pub struct MessageSchema {
    /// The kind's name, which is the file's: `risk.scored` for `risk.scored.json`.
    pub name: &'static str,
    /// The schema, whole: it refers to no other file.
    pub schema: Value,
}

/// The schemas of everything that is published, by kind; checkpoints last.
#[must_use]
pub fn message_schemas() -> Vec<MessageSchema> {
    let mut schemas: Vec<MessageSchema> =
        Kind::ALL.into_iter().filter_map(message_schema).collect();
    schemas.push(checkpoint());
    schemas
}

/// The schema of the bodies of a kind; `None` for one that is not published.
#[must_use]
pub fn message_schema(kind: Kind) -> Option<MessageSchema> {
    let (schema, what) = match kind {
        Kind::BlockApplied => (of::<BlockAppliedBody>(), "The canonical chain gained a block."),
        Kind::Event => (of::<EventBody>(), "A watched event of a contract that a protocol owns."),
        Kind::BlockReverted => (
            of::<BlockHashBody>(),
            "The canonical chain lost a block. What was said as of it no longer counts.",
        ),
        Kind::BlockFinalized => {
            (of::<BlockHashBody>(), "A block, with all below it, is accepted on L1 and stays.")
        }
        Kind::RiskScored => (of::<RiskScoredBody>(), "A protocol's risk score as of a block."),
        Kind::RiskAbsent => {
            (of::<RiskAbsentBody>(), "A protocol has no risk score as of a block, and why.")
        }
        Kind::AllocationProposed => {
            (of::<ProposedBody>(), "What a policy allocates as of a block.")
        }
        Kind::AllocationInfeasible => {
            (of::<InfeasibleBody>(), "A policy has no allocation as of a block, and why.")
        }
        Kind::AnomalyFound => (of::<AnomalyBody>(), "Something out of the ordinary as of a block."),
        Kind::Retracted => {
            (of::<RetractedBody>(), "A derived fact no longer counts: its block was reverted.")
        }
        Kind::Adopted
        | Kind::BlockAttested
        | Kind::WatchWidened
        | Kind::BlockSupplemented
        | Kind::WatchCompleted
        | Kind::MismatchFound
        | Kind::SourcesDisagreed
        | Kind::IncompleteFound => return None,
    };
    let versions: Vec<_> = (1..=kind.version()).map(|version| versioned(kind, version)).collect();
    let mut schema = titled(schema, kind.name(), what);
    schema["properties"]["schema"]["enum"] = json!(versions);
    Some(MessageSchema { name: kind.name(), schema })
}

/// A checkpoint is no entry: its body has no envelope.
fn checkpoint() -> MessageSchema {
    let name = "log.checkpoint";
    let what = "A signed Merkle root over the log up to a position.";
    let mut schema = titled(root::<Spelled>(), name, what);
    schema["properties"]["schema"] = json!({ "const": CHECKPOINT_SCHEMA });
    if let Some(required) = schema["required"].as_array_mut() {
        required.insert(0, json!("schema"));
    }
    // The line form is closed, the message is not.
    if let Some(members) = schema.as_object_mut() {
        members.remove("additionalProperties");
    }
    MessageSchema { name, schema }
}

fn of<D: JsonSchema>() -> Schema {
    root::<Envelope<D>>()
}

fn root<T: JsonSchema>() -> Schema {
    // What is written, not what would be read: a member that may be null is there all the same.
    SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>()
}

fn titled(schema: Schema, name: &str, what: &str) -> Value {
    let mut schema = Value::from(schema);
    schema["$id"] = json!(format!("urn:obsqra:v1:{name}"));
    schema["title"] = json!(name);
    schema["description"] = json!(what);
    schema
}
