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

use example::{block, causes, felt, hash, infeasible, proposed};
use obsqra_events::{
    AbsentInput, Adopted, AdoptedWhat, AnomalyFound, BlockApplied, BlockAttested, BlockFinalized,
    BlockReverted, BlockSupplemented, Cause, Causes, Check, ComputedCommitments, DaMode,
    Difference, Draft, EventData, Fact, GasPrice, IncompleteFound, Kind, MismatchFound, Phase,
    Retracted, RiskAbsent, RiskComponents, RiskInputs, RiskScored, Severity, SourceStatement,
    SourcesDisagreed, SuppliedCommitments, Verdict, WatchCompleted, WatchWidened, chain_hash,
    content_hash,
};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, BranchEpoch, ChainId, ContractAddress, EventIndex, Felt,
    Hash32, MarketId, ProtocolId, RecordedAt, Seq, TransactionHash, UnixSeconds,
};
use proptest::prelude::*;

fn applied() -> BlockApplied {
    let price = |value| GasPrice { fri: value, wei: value / 3 };
    BlockApplied {
        hash: hash(),
        parent_hash: BlockHash(felt(
            "0x5cb375fb4eefdd6e0f226c705ec8900e0772a761260701e30b64a7f490bdea3",
        )),
        new_root: felt("0x1fa4b70953c305f21fca73a06d87287612fe65dd4e5990e52843202f7edba86"),
        sequencer: ContractAddress(felt(
            "0x1176a1bd84444c89232ec27754698e5d2e7e1a7f1539f12027f28b23ec9f3d8",
        )),
        starknet_version: "0.14.1".into(),
        da_mode: DaMode::Blob,
        l1_gas: price(22_082_418_100_301),
        l1_data_gas: price(22_085),
        watched_events: 51,
        events_digest: Hash32([0x11; 32]),
    }
}

fn supplied() -> SuppliedCommitments {
    SuppliedCommitments {
        transaction_count: 202,
        event_count: 1_047,
        state_diff_length: 900,
        transaction_commitment: felt(
            "0x68bb56c1d0ffe9e271d0e342070a14900ef1b58eca0d8db4cd942c48c32211b",
        ),
        event_commitment: felt("0x5dc7b3f65c7aa495a86c18f60c9edce67fb8283076c0272a1219d85985c0ba7"),
        receipt_commitment: felt(
            "0x6453aacffaa3ba6fd25faa9379e3dd8862f89a7b571acde90ab90689aa418b9",
        ),
        state_diff_commitment: felt(
            "0x8dd9765ffec2e9133dca513bb2bf0f9e995470cff144b54cb342afb94ed90",
        ),
    }
}

fn event() -> EventData {
    EventData {
        index: EventIndex(300),
        transaction_index: 17,
        transaction_hash: TransactionHash(felt(
            "0x309792843fc5cad69fe4c3f995024db6564183510e15bb78ee5501c16fe0581",
        )),
        from_address: ContractAddress(felt(
            "0x4c0a5193d58f74fbace4b74dcf65481e734ed1714121bdc571da345540efa05",
        )),
        keys: vec![felt("0xa2fb82b5656725dad81c7112b2c4ef0119096677c3c0fd82632d0a74f07666")],
        data: vec![
            felt("0x49d36570d4e46f48e99674bd3fcc84644ddd6b96f7c741b1562b82f9e004dc7"),
            Felt::ZERO,
            Felt::MAX,
        ],
    }
}

fn scored() -> RiskScored {
    RiskScored {
        protocol: ProtocolId::new("zklend").unwrap(),
        block_hash: hash(),
        formula: "risk-v1.2".into(),
        score: 44,
        components: RiskComponents {
            utilization: 22,
            volatility: 10,
            liquidity: 10,
            audit: 0,
            age: 2,
        },
        inputs: RiskInputs {
            utilization_bps: 6_500,
            volatility_bps: 3_500,
            liquidity_class: 1,
            audit_score: 98,
            age_days: 800,
        },
        causes: causes(),
    }
}

fn absent() -> RiskAbsent {
    RiskAbsent {
        protocol: ProtocolId::new("ekubo").unwrap(),
        block_hash: hash(),
        formula: "risk-v1.2".into(),
        absent: vec![AbsentInput {
            field: "volatilityBps".into(),
            reason: "insufficient_history".into(),
            detail: Some("12 of 168 hours".into()),
        }],
        causes: causes(),
    }
}

fn widened() -> WatchWidened {
    WatchWidened {
        contracts: vec![
            ContractAddress(felt("0x5dd3d2f4429af886cd1a3b08289dbcea99a294197e9eb43b0e0325b4b")),
            ContractAddress(felt(
                "0x4c0a5193d58f74fbace4b74dcf65481e734ed1714121bdc571da345540efa05",
            )),
        ],
        first: BlockNumber(300_000),
        last: BlockNumber(350_000),
    }
}

fn attested() -> BlockAttested {
    BlockAttested {
        hash: hash(),
        source: "json-rpc/0.10".into(),
        verdict: Verdict::Unchecked("commitments are kept, not recomputed".into()),
        checks: vec![Check::ParentLink, Check::TransactionCount, Check::EventCount],
        l2_gas: Some(GasPrice { fri: 3_000_000_000, wei: 130_000 }),
        supplied: Some(supplied()),
        computed: Some(ComputedCommitments {
            transaction_count: 2,
            event_count: 3,
            transaction_commitment: Felt::from(0x51_u8),
            event_commitment: Felt::from(0x52_u8),
        }),
        other_leaves: Some(vec![Felt::from(0x61_u8), Felt::from(0x62_u8)]),
    }
}

fn mismatch() -> MismatchFound {
    MismatchFound {
        number: BlockNumber(350_001),
        hash: hash(),
        node: "https://node.example".into(),
        source: "json-rpc/0.10".into(),
        differences: vec![Difference {
            member: "event_commitment".into(),
            stated: "0x1".into(),
            computed: "0x2".into(),
        }],
        evidence: Hash32([0x55; 32]),
    }
}

fn incomplete() -> IncompleteFound {
    IncompleteFound {
        number: BlockNumber(350_003),
        hash: hash(),
        source: "json-rpc/0.10".into(),
        differences: mismatch().differences,
    }
}

fn disagreement() -> SourcesDisagreed {
    SourcesDisagreed {
        number: BlockNumber(350_002),
        statements: vec![
            statement("https://one.example", Verdict::Verified),
            statement("https://two.example", Verdict::Unverifiable("no counts".into())),
        ],
    }
}

fn statement(node: &str, verdict: Verdict) -> SourceStatement {
    SourceStatement {
        node: node.into(),
        source: "json-rpc/0.9".into(),
        hash: hash(),
        digest: Hash32([0x66; 32]),
        verdict,
    }
}

fn anomaly() -> AnomalyFound {
    AnomalyFound {
        rule: "accumulator_jump".into(),
        protocol: ProtocolId::new("zklend").unwrap(),
        market: Some(MarketId(
            "0x57912720381af14b0e5c87aa4718ed5e527eab60b3801ebf702ab09139e38b".into(),
        )),
        block_hash: hash(),
        rules: "metrics-v2".into(),
        severity: Severity::Critical,
        phase: Phase::Point,
        detail: "lending accumulator times 851 in 60 s".into(),
        causes: Causes::new(vec![Cause::Entry(Seq(3)), Cause::Entry(Seq(70_000))]).unwrap(),
    }
}

fn example(kind: Kind) -> (Option<BlockRef>, Fact) {
    match kind {
        Kind::Adopted => (
            None,
            Fact::Adopted(Adopted {
                what: AdoptedWhat::RiskFormula,
                version: "risk-v1.2".into(),
                hash: Hash32([0x22; 32]),
                bytes: b"risk-v1.2".to_vec(),
            }),
        ),
        Kind::BlockApplied => (Some(block()), Fact::BlockApplied(applied())),
        Kind::Event => (Some(block()), Fact::Event(event())),
        Kind::BlockAttested => (Some(block()), Fact::BlockAttested(attested())),
        Kind::MismatchFound => (None, Fact::MismatchFound(mismatch())),
        Kind::IncompleteFound => (None, Fact::IncompleteFound(incomplete())),
        Kind::SourcesDisagreed => (None, Fact::SourcesDisagreed(disagreement())),
        Kind::BlockReverted => (Some(block()), Fact::BlockReverted(BlockReverted { hash: hash() })),
        Kind::BlockFinalized => {
            (Some(block()), Fact::BlockFinalized(BlockFinalized { hash: hash() }))
        }
        Kind::RiskScored => (Some(block()), Fact::RiskScored(scored())),
        Kind::RiskAbsent => (Some(block()), Fact::RiskAbsent(absent())),
        Kind::AllocationProposed => (Some(block()), Fact::AllocationProposed(proposed())),
        Kind::AllocationInfeasible => (Some(block()), Fact::AllocationInfeasible(infeasible())),
        Kind::AnomalyFound => (Some(block()), Fact::AnomalyFound(anomaly())),
        Kind::WatchWidened => (None, Fact::WatchWidened(widened())),
        Kind::BlockSupplemented => (
            Some(block()),
            Fact::BlockSupplemented(BlockSupplemented {
                hash: hash(),
                contracts: widened().digest(),
                watched_events: 3,
                events_digest: Hash32([0x33; 32]),
            }),
        ),
        Kind::WatchCompleted => (
            None,
            Fact::WatchCompleted(WatchCompleted {
                contracts: widened().digest(),
                blocks: 12,
                events: 345,
            }),
        ),
        Kind::Retracted => (
            Some(block()),
            Fact::Retracted(Retracted {
                kind: Kind::RiskScored,
                subject: "zklend".into(),
                block_hash: hash(),
                seq: Seq(70_001),
                content_hash: Hash32([0x44; 32]),
                reverted_seq: Seq(70_020),
            }),
        ),
    }
}

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
