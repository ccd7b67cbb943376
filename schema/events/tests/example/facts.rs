//! One example of each kind of fact.

use obsqra_events::{
    AbsentInput, Adopted, AdoptedWhat, AnomalyFound, BlockApplied, BlockAttested, BlockFinalized,
    BlockReverted, BlockSupplemented, Cause, Causes, Check, ComputedCommitments, DaMode,
    Difference, EventData, Fact, GasPrice, IncompleteFound, Kind, MismatchFound, Phase, Retracted,
    RiskAbsent, RiskComponents, RiskInputs, RiskScored, Severity, SourceStatement,
    SourcesDisagreed, SuppliedCommitments, Verdict, WatchCompleted, WatchWidened,
};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, ContractAddress, EventIndex, Felt, Hash32, MarketId,
    ProtocolId, Seq, TransactionHash,
};

use super::{block, causes, felt, hash, infeasible, proposed};

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

pub(crate) fn event() -> EventData {
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

/// An example of each kind, with the block it belongs to.
pub(crate) fn example(kind: Kind) -> (Option<BlockRef>, Fact) {
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
