//! The bytes of each kind of entry, fixed for good.
//!
//! `golden/<kind>.txt` holds the payload and the content hash of one example. A change of these files is
//! a change of the format: it takes a new schema version, never new bytes for an old one. A new kind's
//! file is written by running the test with `OBSQRA_WRITE_GOLDEN=1`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod example;

use std::path::PathBuf;

use example::{event, example};
use obsqra_events::{
    BlockAttested, Cause, Causes, Draft, EventData, Fact, Kind, chain_hash, content_hash,
};
use obsqra_types::{
    BlockRef, BranchEpoch, ChainId, EventIndex, Felt, Hash32, RecordedAt, Seq, UnixSeconds,
};
use proptest::prelude::*;

#[test]
fn each_kind_has_its_golden_bytes() {
    let chain = ChainId::new("SN_MAIN").unwrap();
    for kind in Kind::ALL {
        let (block, fact) = example(kind);
        let draft = Draft::new(&chain, block, &fact);
        let text =
            format!("payload {}\ncontent {}\n", hex::encode(&draft.payload), draft.content_hash);
        let file =
            PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(match kind.version() {
                1 => format!("{}.txt", kind.name()),
                version => format!("{}.v{version}.txt", kind.name()),
            });
        if std::env::var_os("OBSQRA_WRITE_GOLDEN").is_some() && !file.exists() {
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).expect("a golden file for each kind");
        assert_eq!(text, golden, "{}: the bytes of an entry changed", kind.name());
        assert_eq!(draft.fact(), Ok(fact), "{}", kind.name());
    }
}

/// What logs of earlier versions hold is read as long as there are such logs.
#[test]
fn entries_of_earlier_versions_are_read() {
    let attested = |version, fact| match fact {
        Fact::BlockAttested(fact) => Fact::BlockAttested(BlockAttested {
            l2_gas: fact.l2_gas.filter(|_| version >= 2),
            computed: None,
            other_leaves: None,
            ..fact
        }),
        other => other,
    };
    for (kind, version, suffix) in
        [(Kind::BlockApplied, 1, ""), (Kind::BlockAttested, 1, ""), (Kind::BlockAttested, 2, ".v2")]
    {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("golden")
            .join(format!("{}{suffix}.txt", kind.name()));
        let golden = std::fs::read_to_string(&file).unwrap();
        let member = |name: &str| {
            let line = golden.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            hex::decode(line.trim()).unwrap()
        };
        let payload = member("payload ");
        let (block, fact) = example(kind);
        let read = Fact::decode(kind, version, &payload);
        assert_eq!(read, Ok(attested(version, fact)), "{}", kind.name());
        let chain = ChainId::new("SN_MAIN").unwrap();
        let hash = content_hash(kind, version, &chain, block.as_ref(), &payload);
        assert_eq!(hash.as_bytes().as_slice(), member("content "));
        for other in 1..=kind.version() {
            let differs = other == version || Fact::decode(kind, other, &payload).is_err();
            assert!(differs, "the layouts of two versions differ");
        }
    }
}

#[test]
fn the_entry_hash_covers_place_time_content_and_what_came_before() {
    let base = |seq, time, content, before| {
        chain_hash(Seq(seq), RecordedAt(time), &Hash32([content; 32]), &Hash32([before; 32]))
    };
    let expected = base(7, 1_700_000_000_000_000, 1, 2);
    // Computed with Python's hashlib from the formula in `entry.rs`.
    let known = "3c5815f53ec921f6d2ad4c497add6aa2734a03f7e8fc159ab8b7c44c005b1a9c";
    assert_eq!(expected.to_string(), known);
    for other in [
        base(8, 1_700_000_000_000_000, 1, 2),
        base(7, 1_700_000_000_000_001, 1, 2),
        base(7, 1_700_000_000_000_000, 3, 2),
        base(7, 1_700_000_000_000_000, 1, 3),
    ] {
        assert_ne!(expected, other);
    }
}

#[test]
fn the_content_hash_covers_chain_and_block() {
    let (at, fact) = example(Kind::Event);
    let draft = |chain: &str, at| Draft::new(&ChainId::new(chain).unwrap(), at, &fact).content_hash;
    let expected = draft("SN_MAIN", at);
    let at = at.unwrap();
    for other in [
        draft("SN_SEPOLIA", Some(at)),
        draft("SN_MAIN", None),
        draft("SN_MAIN", Some(BlockRef { number: at.number.next(), ..at })),
        draft("SN_MAIN", Some(BlockRef { epoch: BranchEpoch(3), ..at })),
        draft("SN_MAIN", Some(BlockRef { timestamp: UnixSeconds(0), ..at })),
    ] {
        assert_ne!(expected, other);
    }
}

#[test]
fn more_causes_than_allowed_are_refused() {
    let many = vec![Cause::Entry(Seq(1)); obsqra_events::MAX_CAUSES + 1];
    assert!(Causes::new(many).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(kind in 0usize..Kind::ALL.len(), bytes: Vec<u8>) {
        let kind = Kind::ALL[kind];
        if let Ok(fact) = Fact::decode(kind, kind.version(), &bytes) {
            prop_assert_eq!(fact.encode(), bytes);
        }
    }

    #[test]
    fn a_changed_payload_is_refused_or_another_fact(
        kind in 0usize..Kind::ALL.len(), at: prop::sample::Index, change in 1u8..,
    ) {
        let kind = Kind::ALL[kind];
        let (_, fact) = example(kind);
        let mut payload = fact.encode();
        let at = at.index(payload.len());
        payload[at] ^= change;
        if let Ok(other) = Fact::decode(kind, kind.version(), &payload) {
            prop_assert_ne!(&other, &fact);
            prop_assert_eq!(other.encode(), payload);
        }
    }

    #[test]
    fn a_truncated_or_extended_payload_is_refused(
        kind in 0usize..Kind::ALL.len(), cut: prop::sample::Index, more in 0u8..,
    ) {
        let kind = Kind::ALL[kind];
        let mut payload = example(kind).1.encode();
        payload.push(more);
        prop_assert!(Fact::decode(kind, kind.version(), &payload).is_err());
        payload.pop();
        payload.truncate(cut.index(payload.len()));
        prop_assert!(Fact::decode(kind, kind.version(), &payload).is_err());
    }

    #[test]
    fn events_of_any_size_come_back(
        index: u32, transaction in 0u32.., keys in 0usize..60, data in 0usize..320, seed: u64,
    ) {
        let felts = |count: usize| {
            (0..count).map(|i| Felt::from(seed) * Felt::from(i as u64 + 1)).collect::<Vec<_>>()
        };
        let fact = Fact::Event(EventData {
            index: EventIndex(index),
            transaction_index: transaction,
            keys: felts(keys),
            data: felts(data),
            ..event()
        });
        prop_assert_eq!(Fact::decode(Kind::Event, 1, &fact.encode()), Ok(fact));
    }
}

#[test]
fn a_version_that_is_not_known_is_named() {
    let payload = example(Kind::Event).1.encode();
    let error = Fact::decode(Kind::Event, 2, &payload).unwrap_err();
    assert_eq!(error.to_string(), "chain.event has version 2, this program reads version 1");
}
