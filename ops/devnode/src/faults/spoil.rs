//! Faults that show in a block's bytes.
//!
//! They edit the text and not the block: counts, commitments and hash in the header stay what they were,
//! which is what makes a spoiled block one that a client can find out. A block without events is left as it
//! is by faults about events.

use super::{Fault, MAX_PADDING_BYTES};

/// The field's prime, the smallest number that is no felt.
const PRIME: &[u8] = b"0x800000000000011000000000000000000000000000000000000000000000001";

/// Where an event's text begins.
const EVENT_START: &[u8] = b"{\"from_address\":";

/// One felt of padding, with the comma behind it.
const PADDING_FELT: &[u8] = b"\"0x123456789abcdef\",";

impl Fault {
    /// Changes the body of a block as the fault says; other faults leave it alone.
    pub(crate) fn spoil_block(&self, body: Vec<u8>) -> Vec<u8> {
        match self {
            Self::WrongParentHash => with_value(body, b"\"parent_hash\":\"", b"0xbad"),
            Self::WrongHash | Self::AlternatingHash => {
                with_value(body, b"\"block_hash\":\"", b"0xbadb10c")
            }
            Self::WrongTimestamp => replace_first(body, b"\"timestamp\":", b"\"timestamp\":1"),
            Self::UnknownTransactionType => {
                replace_first(body, b"{\"type\":\"INVOKE\"", b"{\"type\":\"CONJURE\"")
            }
            Self::UnknownField => {
                replace_first(body, b"{\"status\":", b"{\"unheard_of\":{\"of\":[1]},\"status\":")
            }
            Self::UnknownEventMember => {
                replace_first(body, EVENT_START, b"{\"unheard_of\":{\"of\":[1]},\"from_address\":")
            }
            Self::MissingEvents => replace_all(&body, b"\"events\":[", b"\"left_out\":["),
            Self::LostEvent => without_last_event(body),
            Self::DuplicateEvent => with_first_event_twice(body),
            Self::FeltOutOfRange => with_value(body, b"\"keys\":[\"", PRIME),
            Self::LongEventData { bytes } => with_long_data(body, *bytes),
            Self::Padding { bytes } => with_padding(body, *bytes),
            _ => body,
        }
    }
}

fn find(body: &[u8], wanted: &[u8]) -> Option<usize> {
    body.windows(wanted.len()).position(|window| window == wanted)
}

fn find_last(body: &[u8], wanted: &[u8]) -> Option<usize> {
    body.windows(wanted.len()).rposition(|window| window == wanted)
}

/// Puts a text in the place of the one that stands between a member's opening and the next quote.
fn with_value(mut body: Vec<u8>, opening: &[u8], value: &[u8]) -> Vec<u8> {
    let Some(start) = find(&body, opening).map(|at| at + opening.len()) else {
        return body;
    };
    let length = body.iter().skip(start).position(|byte| *byte == b'"').unwrap_or(0);
    body.splice(start..start + length, value.iter().copied());
    body
}

fn replace_first(mut body: Vec<u8>, from: &[u8], to: &[u8]) -> Vec<u8> {
    if let Some(at) = find(&body, from) {
        body.splice(at..at + from.len(), to.iter().copied());
    }
    body
}

fn replace_all(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = find(rest, from) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before);
        out.extend_from_slice(to);
        rest = after.get(from.len()..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
    out
}

/// The end of the event that begins at `start`: no event has an object inside.
fn event_end(body: &[u8], start: usize) -> Option<usize> {
    body.iter().skip(start).position(|byte| *byte == b'}').map(|length| start + length + 1)
}

fn with_first_event_twice(mut body: Vec<u8>) -> Vec<u8> {
    let event = find(&body, EVENT_START)
        .and_then(|start| Some((start, body.get(start..event_end(&body, start)?)?.to_vec())));
    if let Some((start, mut event)) = event {
        event.push(b',');
        body.splice(start..start, event);
    }
    body
}

fn without_last_event(mut body: Vec<u8>) -> Vec<u8> {
    let range = find_last(&body, EVENT_START).and_then(|start| {
        let end = event_end(&body, start)?;
        // The comma before it goes too, if it is not the first of its receipt.
        let comma = start.checked_sub(1).filter(|at| body.get(*at) == Some(&b','));
        Some(comma.unwrap_or(start)..end)
    });
    if let Some(range) = range {
        body.drain(range);
    }
    body
}

fn with_long_data(mut body: Vec<u8>, bytes: u64) -> Vec<u8> {
    const MEMBER: &[u8] = b"\"data\":[";
    let start = find(&body, EVENT_START)
        .and_then(|event| Some(event + find(body.get(event..)?, MEMBER)? + MEMBER.len()));
    let Some(start) = start else {
        return body;
    };
    let mut padding = PADDING_FELT.repeat(bounded(bytes) / PADDING_FELT.len() + 1);
    if body.get(start) == Some(&b']') {
        padding.pop();
    }
    body.splice(start..start, padding);
    body
}

fn with_padding(mut body: Vec<u8>, bytes: u64) -> Vec<u8> {
    const OPENING: &[u8] = b"\"unheard_of\":\"";
    let mut member = OPENING.to_vec();
    member.resize(OPENING.len() + bounded(bytes), b'0');
    member.extend_from_slice(b"\",");
    let start = body.len().min(1);
    body.splice(start..start, member);
    body
}

fn bounded(bytes: u64) -> usize {
    usize::try_from(bytes.min(MAX_PADDING_BYTES)).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A block of two receipts with two events and one.
    const BLOCK: &str = concat!(
        r#"{"status":"ACCEPTED_ON_L2","block_hash":"0x1","parent_hash":"0x2","transactions":["#,
        r#"{"receipt":{"type":"INVOKE","events":["#,
        r#"{"from_address":"0xa","keys":["0x1","0x2"],"data":[]},"#,
        r#"{"from_address":"0xb","keys":["0x3"],"data":["0x4"]}]}},"#,
        r#"{"receipt":{"type":"INVOKE","events":["#,
        r#"{"from_address":"0xc","keys":["0x5"],"data":["0x6"]}]}}]}"#
    );

    fn spoiled(fault: &Fault) -> Value {
        let bytes = fault.spoil_block(BLOCK.as_bytes().to_vec());
        serde_json::from_slice(&bytes).expect("still JSON")
    }

    fn emitters(block: &Value) -> Vec<Vec<&str>> {
        let receipts = block["transactions"].as_array().expect("transactions");
        let events = |entry: &'_ Value| entry["receipt"]["events"].clone();
        receipts
            .iter()
            .map(|entry| {
                let count = events(entry).as_array().map_or(0, Vec::len);
                (0..count)
                    .map(|index| {
                        entry["receipt"]["events"][index]["from_address"].as_str().expect("text")
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn events_go_missing_and_stand_twice() {
        assert_eq!(
            emitters(&spoiled(&Fault::DuplicateEvent)),
            [vec!["0xa", "0xa", "0xb"], vec!["0xc"]]
        );
        let lost = spoiled(&Fault::LostEvent);
        assert_eq!(emitters(&lost), [vec!["0xa", "0xb"], vec![]]);
        let again = Fault::LostEvent.spoil_block(lost.to_string().into_bytes());
        // Members come back in another order, in which no event begins as the node writes it.
        assert_eq!(serde_json::from_slice::<Value>(&again).expect("JSON"), lost);
    }

    #[test]
    fn values_are_put_in_place_of_others() {
        assert_eq!(spoiled(&Fault::WrongHash)["block_hash"], "0xbadb10c");
        assert_eq!(spoiled(&Fault::WrongParentHash)["parent_hash"], "0xbad");
        let keys =
            &spoiled(&Fault::FeltOutOfRange)["transactions"][0]["receipt"]["events"][0]["keys"];
        assert_eq!(*keys, json!([String::from_utf8_lossy(PRIME), "0x2"]));
        let event = &spoiled(&Fault::UnknownEventMember)["transactions"][0]["receipt"]["events"][0];
        assert_eq!(event["unheard_of"]["of"], json!([1]));
    }

    #[test]
    fn padding_is_as_long_as_asked() {
        let long = spoiled(&Fault::LongEventData { bytes: 1_000 });
        let data = &long["transactions"][0]["receipt"]["events"][0]["data"];
        assert_eq!(data.as_array().map(Vec::len), Some(1_000 / PADDING_FELT.len() + 1));
        let padded = spoiled(&Fault::Padding { bytes: 1_000 });
        assert_eq!(padded["unheard_of"].as_str().map(str::len), Some(1_000));
    }

    #[test]
    fn a_block_without_events_stays_as_it_is() {
        let empty = br#"{"status":"ACCEPTED_ON_L2","transactions":[]}"#.to_vec();
        for fault in [
            Fault::DuplicateEvent,
            Fault::LostEvent,
            Fault::FeltOutOfRange,
            Fault::LongEventData { bytes: 10 },
        ] {
            assert_eq!(fault.spoil_block(empty.clone()), empty, "{fault:?}");
        }
    }
}
