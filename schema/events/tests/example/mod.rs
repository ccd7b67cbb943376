//! Examples of facts that more than one test uses.

#![allow(dead_code, unused_imports, reason = "each test file uses a part")]

mod facts;

use obsqra_events::{
    AllocationBasis, AllocationInfeasible, AllocationProposed, Binding, Candidate, CandidateInput,
    Cause, Causes, Constraint, DropReason, Dropped, Infeasibility, Measured, PolicyRef, Share,
};
use obsqra_types::{
    BlockHash, BlockNumber, BlockRef, Bps, BranchEpoch, Felt, Hash32, PolicyId, ProtocolId, Seq,
    UnixSeconds,
};

pub(crate) use facts::{event, example};

pub(crate) fn felt(hex: &str) -> Felt {
    Felt::from_hex_unchecked(hex)
}

pub(crate) fn block() -> BlockRef {
    BlockRef {
        number: BlockNumber(350_000),
        epoch: BranchEpoch(2),
        timestamp: UnixSeconds(1_698_214_266),
    }
}

pub(crate) fn hash() -> BlockHash {
    BlockHash(felt("0x6f7342a680d7f99bdfdd859f587c75299e7ffabe62c071ded3a6d8a34cb132c"))
}

pub(crate) fn causes() -> Causes {
    Causes::new(vec![
        Cause::Entry(Seq(1)),
        Cause::Window {
            from_seq: Seq(20),
            to_seq: Seq(70_000),
            selector: "event protocol=zklend".into(),
            count: 4_321,
            digest: Hash32([0xab; 32]),
        },
    ])
    .unwrap()
}

pub(crate) fn candidate(protocol: &str, apy: Measured<Bps>) -> Candidate {
    Candidate {
        protocol: ProtocolId::new(protocol).unwrap(),
        score: Measured::Known(44),
        apy,
        volatility: Measured::Known(Bps(3_500)),
        liquidity_class: Measured::Known(2),
    }
}

pub(crate) fn basis() -> AllocationBasis {
    let absent = Measured::Absent {
        reason: "insufficient_history".into(),
        detail: Some("12 of 168 hours".into()),
    };
    let id = |id: &str| ProtocolId::new(id).unwrap();
    let drop = |protocol, reasons| Dropped { protocol: id(protocol), reasons };
    AllocationBasis {
        policy: PolicyRef {
            id: PolicyId::new("balanced").unwrap(),
            version: "obsqra/1".into(),
            hash: Hash32([0x77; 32]),
            rule: "allocation-v1".into(),
        },
        block_hash: hash(),
        candidates: vec![
            candidate("ekubo", Measured::Known(Bps(850))),
            candidate("jediswap_v1", absent),
            candidate("nostra", Measured::Known(Bps(0))),
            candidate("zklend", Measured::Known(Bps(1_210))),
        ],
        dropped: vec![
            drop(
                "jediswap_v1",
                vec![
                    DropReason::Constraint(Constraint::MaxScore(40)),
                    DropReason::InputAbsent(CandidateInput::Apy),
                ],
            ),
            drop("nostra", vec![DropReason::NoYield]),
        ],
        causes: causes(),
    }
}

pub(crate) fn binding(constraint: Constraint, protocol: &str) -> Binding {
    Binding { constraint, protocols: vec![ProtocolId::new(protocol).unwrap()] }
}

pub(crate) fn proposed() -> AllocationProposed {
    let share = |protocol: &str, bps| Share {
        protocol: ProtocolId::new(protocol).unwrap(),
        share: Bps(bps),
    };
    AllocationProposed {
        basis: basis(),
        shares: vec![share("ekubo", 4_000), share("zklend", 6_000)],
        binding: vec![
            binding(Constraint::MaxScore(40), "jediswap_v1"),
            binding(Constraint::MaxSingle(Bps(6_000)), "zklend"),
        ],
    }
}

pub(crate) fn infeasible() -> AllocationInfeasible {
    AllocationInfeasible {
        basis: basis(),
        failure: Infeasibility::TooFewProtocols { found: 1, required: 2 },
        conflicts: vec![
            binding(Constraint::AllowList, "nostra"),
            binding(Constraint::ProtocolCap(Bps(900)), "ekubo"),
            binding(Constraint::MinDiversification(2), "ekubo"),
        ],
    }
}
