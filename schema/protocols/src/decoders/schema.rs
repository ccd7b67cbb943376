//! The JSON Schema of the messages that carry a decoder's events, made from the tables of its layouts.
//!
//! It is the schema of every event's message, and says beside it what members an event of which name has. A protocol's
//! decoder stands in the registry; several protocols may share one.

use obsqra_events::{Kind, message_schema};
use serde_json::{Value, json};

use crate::Decoder;

/// The schema of the messages that carry events of a decoder; it refers to no other file.
#[must_use]
pub fn event_schema(decoder: Decoder) -> Value {
    let mut schema = message_schema(Kind::Event).map_or(Value::Null, |message| message.schema);
    let name = format!("{}.{}", Kind::Event.name(), decoder.name());
    schema["$id"] = json!(format!("urn:obsqra:v1:{name}"));
    schema["title"] = json!(name);
    schema["description"] =
        json!(format!("A watched event that the decoder {} reads.", decoder.name()));
    let decoded = decoder.member_schemas().into_iter().map(|(event, members)| {
        json!({ "properties": { "name": { "const": event }, "decoded": members } })
    });
    // What fits no layout has neither.
    let misfit =
        json!({ "properties": { "name": { "type": "null" }, "decoded": { "type": "null" } } });
    let mut any: Vec<Value> = decoded.collect();
    any.push(misfit);
    schema["properties"]["data"]["oneOf"] = Value::Array(any);
    schema
}
