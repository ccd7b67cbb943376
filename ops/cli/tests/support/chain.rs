//! What the log and the stream of a chain say about each other.

use std::collections::BTreeMap;

use obsqra_events::{Entry, Kind};
use obsqra_testkit::StoredMessage;
use serde_json::Value;

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

pub(crate) fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap_or_else(|| panic!("{value} is no list")).iter().map(text).collect()
}

/// How many entries of a kind a log has.
pub(crate) fn count(entries: &[Entry], kind: Kind) -> usize {
    entries.iter().filter(|entry| entry.draft.kind == kind).count()
}

/// Checks that a stream holds each entry that is published once, in order, each naming the one before it
/// on its subject.
pub(crate) fn check_stream(entries: &[Entry], messages: &[StoredMessage]) {
    let published: Vec<u64> = entries
        .iter()
        .filter(|entry| !matches!(entry.draft.kind, Kind::Adopted | Kind::BlockAttested))
        .map(|entry| entry.seq.0)
        .collect();
    let on_stream: Vec<u64> =
        messages.iter().map(|message| number(message, "Obsqra-Seq")).collect();
    assert_eq!(on_stream, published, "each entry once, in order");
    let mut tails: BTreeMap<&str, u64> = BTreeMap::new();
    for message in messages {
        let before = tails.insert(&message.subject, number(message, "Obsqra-Seq")).unwrap_or(0);
        assert_eq!(number(message, "Obsqra-Prev"), before, "on {}", message.subject);
    }
}

fn number(message: &StoredMessage, header: &str) -> u64 {
    let value = message.headers.get(header).unwrap_or_else(|| panic!("no {header}: {message:?}"));
    value.parse().unwrap_or_else(|_| panic!("{header}: {value}"))
}
