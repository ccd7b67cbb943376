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

/// The position of the first entry whose block is above a height, in a log without reverts; `None` where there is none.
pub(crate) fn first_above(entries: &[Entry], height: u64) -> Option<u64> {
    let mut above = entries
        .iter()
        .filter(|entry| entry.draft.block.is_some_and(|block| block.number.0 > height));
    above.next().map(|entry| entry.seq.0)
}

/// Checks that the stream of final facts repeats what was published up to there, of a log without reverts.
pub(crate) fn check_final(
    entries: &[Entry],
    published: &[StoredMessage],
    repeated: &[StoredMessage],
    height: u64,
) {
    let end = first_above(entries, height).unwrap_or(u64::MAX);
    let told = |message: &StoredMessage| {
        (
            number(message, "Obsqra-Seq"),
            message.headers["Nats-Msg-Id"].clone(),
            message.body.clone(),
        )
    };
    let expected: Vec<_> = published
        .iter()
        .map(told)
        .filter(|(seq, ..)| *seq < end)
        .map(|(seq, id, body)| (seq, format!("{id}:final"), body))
        .collect();
    assert!(!expected.is_empty());
    let found: Vec<_> = repeated.iter().map(told).collect();
    assert!(found == expected, "{} repeated, {} expected", found.len(), expected.len());
    assert!(repeated.iter().all(|message| message.headers["Obsqra-Finality"] == "final"));
    let mut tails: BTreeMap<&str, u64> = BTreeMap::new();
    for message in repeated {
        let before = tails.insert(&message.subject, number(message, "Obsqra-Seq")).unwrap_or(0);
        assert_eq!(number(message, "Obsqra-Prev"), before, "on {}", message.subject);
    }
}

fn number(message: &StoredMessage, header: &str) -> u64 {
    let value = message.headers.get(header).unwrap_or_else(|| panic!("no {header}: {message:?}"));
    value.parse().unwrap_or_else(|_| panic!("{header}: {value}"))
}
