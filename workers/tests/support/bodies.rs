//! Whether messages fit the schemas that are committed for whoever reads them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jsonschema::Validator;
use obsqra_protocols::Registry;
use obsqra_testkit::StoredMessage;
use obsqra_types::ProtocolId;
use serde_json::Value;

/// Every body fits the schema of its kind, and that of an event its decoder's too.
pub(crate) fn check_bodies(messages: &[StoredMessage]) {
    let registry = Registry::parse(&super::registry()).unwrap();
    let mut schemas: BTreeMap<String, Validator> = BTreeMap::new();
    for message in messages {
        let body: Value = serde_json::from_slice(&message.body).unwrap();
        let schema = body["schema"].as_str().unwrap();
        let kind = schema.strip_prefix("obsqra.v1.").unwrap().split('/').next().unwrap();
        let mut names = vec![kind.to_owned()];
        if let Some(protocol) = body["data"]["protocol"].as_str().filter(|_| kind == "chain.event")
        {
            let protocol = registry.protocol(&ProtocolId::new(protocol).unwrap()).unwrap();
            names.push(format!("chain.event.{}", protocol.decoder.name()));
        }
        for name in names {
            let schema = schemas.entry(name.clone()).or_insert_with(|| read(&name));
            let faults: Vec<String> =
                schema.iter_errors(&body).map(|error| error.to_string()).collect();
            assert_eq!(faults, [""; 0], "{name}: {body:#}");
        }
    }
}

fn read(name: &str) -> Validator {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../schema/events/schemas")
        .join(format!("{name}.json"));
    let text = std::fs::read(&path).unwrap_or_else(|_| panic!("no schema {}", path.display()));
    jsonschema::draft202012::new(&serde_json::from_slice(&text).unwrap()).unwrap()
}
