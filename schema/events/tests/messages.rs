//! The bodies of messages: one golden file for each kind that is published, which fits its schema.
//!
//! `OBSQRA_UPDATE_SCHEMA=1` writes the files anew. Bodies may gain members; a member that goes or changes its
//! meaning takes a new version of the kind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod example;

use std::path::PathBuf;

use example::example;
use obsqra_events::{
    Checkpoint, Draft, Entry, Fact, Kind, Message, MessageContext, SigningKey, message_schema,
    message_schemas,
};
use obsqra_types::{ChainId, Hash32, ProtocolId, RecordedAt, Seq};
use serde_json::{Value, json};

/// What the example of an event is: zkLend's.
fn context(kind: Kind) -> MessageContext {
    match kind {
        Kind::Event => MessageContext {
            protocol: Some(ProtocolId::new("zklend").unwrap()),
            event_name: Some("Deposit".into()),
            decoded: Some(json!({
                "user": "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7",
                "token": "0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7",
                "face_amount": "1000000000000000000",
            })),
            last_seq: None,
        },
        Kind::BlockApplied => {
            MessageContext { last_seq: Some(Seq(70_052)), ..MessageContext::default() }
        }
        _ => MessageContext::default(),
    }
}

fn message(kind: Kind) -> Option<Message> {
    let (block, fact) = example(kind);
    let draft = Draft::new(&ChainId::new("SN_MAIN").unwrap(), block, &fact);
    let (recorded_at, hash) = (RecordedAt(1_698_214_300_000_000), Hash32([0x88; 32]));
    let entry = Entry { seq: Seq(70_001), recorded_at, draft, hash };
    Message::new(&entry, &fact, &context(kind))
}

fn body(message: &Message) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

/// The file's text as it is to be; written first, when that is asked for.
fn committed(path: &str, current: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("OBSQRA_UPDATE_SCHEMA").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, current).unwrap();
    }
    std::fs::read_to_string(&path).unwrap_or_default()
}

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[test]
fn each_published_kind_has_its_golden_message() {
    let mut published = 0;
    for kind in Kind::ALL {
        let Some(message) = message(kind) else { continue };
        let golden = json!({
            "subject": message.subject.as_str(), "id": message.id, "body": body(&message),
        });
        let path = format!("golden/messages/{}.json", kind.name());
        assert!(
            committed(&path, &pretty(&golden)) == pretty(&golden),
            "{path} differs: run this test with OBSQRA_UPDATE_SCHEMA=1 and look at the change"
        );
        published += 1;
    }
    assert_eq!(published, 10);
}

#[test]
fn an_event_of_no_protocol_is_not_published_under_one() {
    let (block, fact) = example(Kind::Event);
    let draft = Draft::new(&ChainId::new("SN_MAIN").unwrap(), block, &fact);
    let (recorded_at, hash) = (RecordedAt(0), Hash32([0; 32]));
    let entry = Entry { seq: Seq(1), recorded_at, draft, hash };
    assert_eq!(Message::new(&entry, &fact, &MessageContext::default()), None);
    assert!(matches!(fact, Fact::Event(_)));
}

#[test]
fn the_committed_schemas_are_current() {
    for message in message_schemas() {
        let path = format!("schemas/{}.json", message.name);
        assert!(
            committed(&path, &pretty(&message.schema)) == pretty(&message.schema),
            "{path} differs: run this test with OBSQRA_UPDATE_SCHEMA=1 and look at the change"
        );
    }
}

/// The schema without room for members that it does not name: what is committed is open to more.
fn closed(schema: &Value) -> Value {
    let mut schema = schema.clone();
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else { return };
    for group in ["properties", "$defs"] {
        for (_, inner) in
            members.get_mut(group).and_then(Value::as_object_mut).into_iter().flatten()
        {
            // What others refer to is closed where they do.
            if group == "properties" { close(inner) } else { close_inside(inner) }
        }
    }
    for group in ["anyOf", "oneOf", "allOf"] {
        for inner in members.get_mut(group).and_then(Value::as_array_mut).into_iter().flatten() {
            close_inside(inner);
        }
    }
    members.get_mut("items").into_iter().for_each(close);
    let combines = ["properties", "anyOf", "oneOf", "allOf", "$ref"];
    // A member that may be any object stays open.
    if combines.iter().any(|name| members.contains_key(*name)) {
        members.insert("unevaluatedProperties".into(), json!(false));
    }
}

fn close_inside(schema: &mut Value) {
    close(schema);
    if let Some(members) = schema.as_object_mut() {
        members.remove("unevaluatedProperties");
    }
}

fn faults(schema: &Value, body: &Value) -> Vec<String> {
    jsonschema::draft202012::meta::validate(schema).unwrap();
    let validator = jsonschema::draft202012::new(schema).unwrap();
    validator.iter_errors(body).map(|error| error.to_string()).collect()
}

#[test]
fn each_golden_body_fits_its_schema_and_has_no_member_that_it_lacks() {
    for kind in Kind::ALL {
        let Some(message) = message(kind) else {
            assert_eq!(message_schema(kind), None, "{} is not published", kind.name());
            continue;
        };
        let schema = closed(&message_schema(kind).unwrap().schema);
        assert_eq!(faults(&schema, &body(&message)), [""; 0], "{}", kind.name());
    }
}

/// Every place of a body, as JSON pointers.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(k, v)| (k.clone(), v)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(i, v)| (i.to_string(), v)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        let place = format!("{at}/{name}");
        places(value, &place, found);
        found.push(place);
    }
}

#[test]
fn a_body_that_lacks_a_member_or_has_another_type_there_does_not_fit() {
    for kind in Kind::ALL {
        let Some(message) = message(kind) else { continue };
        let schema = closed(&message_schema(kind).unwrap().schema);
        let whole = body(&message);
        let mut found = Vec::new();
        places(&whole, "", &mut found);
        // Which members an event has, its decoder's schema says.
        found.retain(|place| !place.starts_with("/data/decoded/"));
        for place in found {
            let mut other = whole.clone();
            *other.pointer_mut(&place).unwrap() = json!([["no type of any member"]]);
            assert_ne!(faults(&schema, &other), [""; 0], "{}{place} of another type", kind.name());
            let (above, name) = place.rsplit_once('/').unwrap();
            let mut less = whole.clone();
            let Some(members) = less.pointer_mut(above).unwrap().as_object_mut() else { continue };
            members.remove(name);
            assert_ne!(faults(&schema, &less), [""; 0], "{} without {place}", kind.name());
        }
        let mut more = whole;
        more["data"]["unheardOf"] = json!(1);
        assert_ne!(faults(&schema, &more), [""; 0], "{}", kind.name());
        let open = message_schema(kind).unwrap().schema;
        assert_eq!(faults(&open, &more), [""; 0], "{} may gain members", kind.name());
    }
}

#[test]
fn a_checkpoint_fits_its_schema() {
    let checkpoint = Checkpoint {
        seq: Seq(1_000),
        head: Hash32([0x11; 32]),
        root: Hash32([0x22; 32]),
        recorded_at: RecordedAt(1_698_214_300_000_000),
        previous: Hash32([0; 32]),
    };
    let signed = SigningKey::from_secret(&[7; 32]).sign(checkpoint);
    let body: Value = serde_json::from_slice(&signed.message()).unwrap();
    let golden = json!({ "subject": "obsqra.v1.SN_MAIN.log.checkpoint", "body": body });
    let path = "golden/messages/log.checkpoint.json";
    assert_eq!(committed(path, &pretty(&golden)), pretty(&golden), "{path} differs");
    let schema = message_schemas().pop().unwrap();
    assert_eq!(schema.name, "log.checkpoint");
    let schema = closed(&schema.schema);
    assert_eq!(faults(&schema, &body), [""; 0]);
    for member in body.as_object().unwrap().keys() {
        let mut less = body.clone();
        less.as_object_mut().unwrap().remove(member);
        assert_ne!(faults(&schema, &less), [""; 0], "without {member}");
    }
}

#[test]
fn what_is_repeated_when_final_has_the_same_body_under_another_subject_and_id() {
    let first = message(Kind::RiskScored).unwrap();
    let again = first.clone().when_final();
    assert_eq!(again.subject.as_str(), "obsqra.v1.SN_MAIN.final.risk.zklend.scored");
    assert_eq!(again.id, "SN_MAIN:risk.scored:350000.2:zklend:final");
    assert_eq!(again.body, first.body);
}
