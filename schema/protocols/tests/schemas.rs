//! The schemas of messages that carry events: one file a decoder, which the golden readings of its events fit.
//!
//! `OBSQRA_UPDATE_SCHEMA=1` writes the files anew.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::path::PathBuf;

use obsqra_protocols::{Decoder, event_schema, layouts};
use serde_json::{Value, json};

fn pretty(value: &Value) -> String {
    format!("{}\n", serde_json::to_string_pretty(value).unwrap())
}

#[test]
fn the_committed_schemas_are_current() {
    for decoder in Decoder::ALL.iter().copied() {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../events/schemas")
            .join(format!("chain.event.{}.json", decoder.name()));
        let current = pretty(&event_schema(decoder));
        if std::env::var_os("OBSQRA_UPDATE_SCHEMA").is_some() {
            std::fs::write(&path, &current).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == current,
            "{} differs: run this test with OBSQRA_UPDATE_SCHEMA=1 and look at the change",
            path.display()
        );
    }
}

/// The golden readings of a decoder: name and members.
fn golden(decoder: Decoder) -> Vec<(String, Value)> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(format!("{}.json", decoder.name()));
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let read = cases.iter().map(|case| {
        let name = case["decoded"]["name"].as_str().unwrap().to_owned();
        (name, case["decoded"]["event"].clone())
    });
    read.collect()
}

/// A message's body with an event of that name and members.
fn body(name: &Value, decoded: &Value) -> Value {
    json!({
        "schema": "obsqra.v1.chain.event/1",
        "chainId": "SN_MAIN",
        "seq": "7",
        "contentHash": "00".repeat(32),
        "block": { "number": 1, "branchEpoch": 0, "timestamp": 1 },
        "data": {
            "protocol": "some", "name": name, "decoded": decoded, "eventIndex": 0,
            "transactionHash": "0x1", "contract": "0x2", "keys": ["0x3"], "data": [],
        },
    })
}

#[test]
fn golden_readings_fit_and_nothing_else_does() {
    for decoder in Decoder::ALL.iter().copied() {
        let schema = event_schema(decoder);
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let fits = |name: &Value, decoded: &Value| validator.is_valid(&body(name, decoded));
        let mut seen = BTreeSet::new();
        for (name, decoded) in golden(decoder) {
            let of = format!("{} of {}", name, decoder.name());
            let named = json!(name);
            assert!(fits(&named, &decoded), "{of}: {decoded:#}");
            assert!(!fits(&json!("Unheard"), &decoded), "{of} under another name");
            assert!(!fits(&json!(null), &decoded), "{of} without a name");
            assert!(!fits(&named, &json!(null)), "{of} without members");
            for member in decoded.as_object().unwrap().keys() {
                let mut less = decoded.clone();
                less.as_object_mut().unwrap().remove(member);
                assert!(!fits(&named, &less), "{of} without {member}");
                let mut other = decoded.clone();
                other[member] = json!(-1);
                assert!(!fits(&named, &other), "{of} with another type of {member}");
            }
            seen.insert(name);
        }
        assert!(fits(&json!(null), &json!(null)), "what fits no layout");
        let names: BTreeSet<String> =
            layouts(decoder).map(|layout| layout.name.to_owned()).collect();
        assert_eq!(seen, names, "every event of {} was tried", decoder.name());
    }
}
