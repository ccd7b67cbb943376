//! The published rule against known answers, and each step of the policy rule on a case of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod support;

use std::path::Path;

use obsqra_events::{Cause, Causes, Fact};
use obsqra_policy::{
    Allocation, Binding, Candidate, CandidateInput, Candidates, Constraint, DropReason,
    Infeasibility, Measured, PRESETS, Policies, allocate,
};
use obsqra_types::{BlockHash, Bps, Felt, Seq};
use serde_json::Value;
use support::{Made, id, name};

/// A calm, liquid protocol.
fn candidate(protocol: &str, score: u8, apy: u32) -> Candidate {
    Candidate {
        protocol: id(protocol),
        score: Measured::Known(score),
        apy: Measured::Known(Bps(apy)),
        volatility: Measured::Known(Bps(1_000)),
        liquidity_class: Measured::Known(3),
    }
}

/// `p0`, `p1`, … with these scores and APYs.
fn candidates(figures: &[(u8, u32)]) -> Candidates {
    let figures = figures.iter().enumerate();
    Candidates::new(figures.map(|(index, (score, apy))| candidate(&name(index), *score, *apy)))
        .unwrap()
}

struct Known {
    figures: &'static [(u8, u32)],
    shares: &'static [u32],
    counted: usize,
}

/// Scores and APYs with the shares that the published rule gives.
const KNOWN: [Known; 4] = [
    Known { figures: &[(44, 850), (34, 1_210)], shares: &[3_533, 6_467], counted: 2 },
    Known { figures: &[(35, 850), (39, 1_210)], shares: &[4_383, 5_617], counted: 2 },
    Known { figures: &[(44, 520), (34, 850)], shares: &[3_224, 6_776], counted: 2 },
    Known {
        figures: &[(44, 520), (34, 850), (28, 1_210)],
        shares: &[1_489, 3_131, 5_380],
        counted: 3,
    },
];

fn proposed(allocation: &Allocation) -> (Vec<u32>, Vec<Binding>) {
    match allocation {
        Allocation::Proposed { shares, binding, .. } => {
            (shares.iter().map(|one| one.share.0).collect(), binding.clone())
        }
        Allocation::Infeasible { .. } => panic!("{allocation:?}"),
    }
}

fn infeasible(allocation: &Allocation) -> (Infeasibility, Vec<Binding>) {
    match allocation {
        Allocation::Infeasible { failure, conflicts, .. } => (*failure, conflicts.clone()),
        Allocation::Proposed { .. } => panic!("{allocation:?}"),
    }
}

fn binding(constraint: Constraint, protocols: &[&str]) -> Binding {
    Binding { constraint, protocols: protocols.iter().map(|name| id(name)).collect() }
}

/// A case holds with caps that do not bind, and its cap verdict is whether a cap then binds.
fn check(figures: &[(u8, u32)], shares: &[u32], counted: usize) {
    let open = Made::open(figures.len());
    assert_eq!(proposed(&allocate(&open.policy(), &candidates(figures))).0, shares);
    for max_single in [6_000, 9_000] {
        let policy = Made { max_single, ..open.clone() }.policy();
        let (capped, binding) = proposed(&allocate(&policy, &candidates(figures)));
        let is_within = shares.iter().all(|share| *share <= max_single);
        assert_eq!(binding.is_empty(), is_within, "{figures:?} {max_single}");
        assert_eq!(capped == shares, is_within, "{figures:?} {max_single}");
    }
    for required in 1..=u8::try_from(figures.len()).unwrap() {
        let policy = Made { min_diversification: required, ..open.clone() }.policy();
        let allocation = allocate(&policy, &candidates(figures));
        let is_met = usize::from(required) <= counted;
        assert_eq!(matches!(allocation, Allocation::Proposed { .. }), is_met, "{figures:?}");
    }
}

#[test]
fn the_published_rule_gives_its_known_answers() {
    for known in KNOWN {
        check(known.figures, known.shares, known.counted);
    }
}

#[test]
fn the_recorded_vectors_are_met() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/facts/risk_vectors.json");
    let Ok(bytes) = std::fs::read(&path) else {
        println!("skipped: {} is not there", path.display());
        return;
    };
    let vectors: Value = serde_json::from_slice(&bytes).unwrap();
    let numbers = |list: &Value| -> Vec<u32> {
        let list = list.as_array().unwrap().iter();
        list.map(|number| u32::try_from(number.as_u64().unwrap()).unwrap()).collect()
    };
    for case in vectors["allocation"].as_array().unwrap() {
        let scores = numbers(&case["risk"]).into_iter().map(|score| u8::try_from(score).unwrap());
        let figures: Vec<_> = scores.zip(numbers(&case["apy_bps"])).collect();
        let shares = numbers(&case["pct_bps"]);
        let counted = case["protocols_at_or_above_10pct"].as_u64().unwrap();
        check(&figures, &shares, usize::try_from(counted).unwrap());
        for (limit, member) in [(6_000, "ok_max_single_6000"), (9_000, "ok_max_single_9000")] {
            assert_eq!(shares.iter().all(|share| *share <= limit), case[member].as_bool().unwrap());
        }
    }
}

#[test]
fn what_exceeds_a_cap_goes_to_the_others_by_the_same_rule() {
    let policy = Made { max_single: 6_000, ..Made::open(2) }.policy();
    let (shares, bound) = proposed(&allocate(&policy, &candidates(&[(44, 850), (34, 1_210)])));
    assert_eq!(shares, [4_000, 6_000]);
    assert_eq!(bound, [binding(Constraint::MaxSingle(Bps(6_000)), &["p1"])]);

    // 417,241 of 775,653 is held at 4,000; 115,555 and 242,857 share the other 6,000.
    let policy = Made { max_single: 5_000, caps: vec![("p2".into(), 4_000)], ..Made::open(3) };
    let figures = [(44, 520), (34, 850), (28, 1_210)];
    let (shares, bound) = proposed(&allocate(&policy.policy(), &candidates(&figures)));
    assert_eq!(shares, [1_934, 4_066, 4_000]);
    assert_eq!(bound, [binding(Constraint::ProtocolCap(Bps(4_000)), &["p2"])]);

    // The second pass lifts p1 above its own cap.
    let caps = vec![("p1".into(), 4_000), ("p2".into(), 4_000)];
    let policy = Made { max_single: 5_000, caps, ..Made::open(3) }.policy();
    let (shares, bound) = proposed(&allocate(&policy, &candidates(&figures)));
    assert_eq!(shares, [2_000, 4_000, 4_000]);
    assert_eq!(bound, [binding(Constraint::ProtocolCap(Bps(4_000)), &["p1", "p2"])]);
}

/// What rounding leaves is a share like any other: it does not lift the last above its cap.
#[test]
fn the_remainder_does_not_exceed_a_cap() {
    let figures = [(9, 100), (9, 100), (9, 100)];
    let (shares, _) = proposed(&allocate(&Made::open(3).policy(), &candidates(&figures)));
    assert_eq!(shares, [3_333, 3_333, 3_334]);
    let policy = Made { caps: vec![("p2".into(), 3_333)], ..Made::open(3) }.policy();
    let (shares, bound) = proposed(&allocate(&policy, &candidates(&figures)));
    assert_eq!(shares, [3_333, 3_334, 3_333]);
    assert_eq!(bound, [binding(Constraint::ProtocolCap(Bps(3_333)), &["p2"])]);
}

#[test]
fn a_filter_that_drops_is_named_with_whom_it_drops() {
    let limits = Made {
        max_score: 60,
        max_volatility: 5_000,
        min_liquidity: 2,
        allow: vec!["calm".into(), "risky".into(), "wild".into(), "thin".into()],
        ..Made::open(0)
    };
    let wild = Measured::Known(Bps(5_001));
    // What is at each limit passes.
    let calm = Candidate {
        volatility: Measured::Known(Bps(5_000)),
        liquidity_class: Measured::Known(2),
        ..candidate("calm", 60, 500)
    };
    let given = [
        calm,
        candidate("other", 20, 500),
        candidate("risky", 61, 900),
        Candidate { liquidity_class: Measured::Known(1), ..candidate("thin", 61, 900) },
        Candidate { volatility: wild, ..candidate("wild", 20, 900) },
    ];
    let allocation = allocate(&limits.policy(), &Candidates::new(given).unwrap());
    let (shares, bound) = proposed(&allocation);
    assert_eq!(shares, [10_000]);
    let expected = [
        binding(Constraint::AllowList, &["other"]),
        binding(Constraint::MaxScore(60), &["risky", "thin"]),
        binding(Constraint::MaxVolatility(Bps(5_000)), &["wild"]),
        binding(Constraint::MinLiquidity(2), &["thin"]),
    ];
    assert_eq!(bound, expected);
}

#[test]
fn an_absent_input_drops_its_protocol_and_no_default_takes_its_place() {
    let absent = || Measured::Absent { reason: "insufficient_history".into(), detail: None };
    let gone = |input| match input {
        CandidateInput::Score => Candidate { score: absent(), ..candidate("p1", 20, 500) },
        CandidateInput::Apy => Candidate { apy: absent_bps(), ..candidate("p1", 20, 500) },
        CandidateInput::Volatility => {
            Candidate { volatility: absent_bps(), ..candidate("p1", 20, 500) }
        }
        CandidateInput::LiquidityClass => {
            Candidate { liquidity_class: absent(), ..candidate("p1", 20, 500) }
        }
    };
    for input in [
        CandidateInput::Score,
        CandidateInput::Apy,
        CandidateInput::Volatility,
        CandidateInput::LiquidityClass,
    ] {
        let given = Candidates::new([candidate("p0", 20, 500), gone(input)]).unwrap();
        let allocation = allocate(&Made::open(2).policy(), &given);
        assert_eq!(proposed(&allocation), (vec![10_000], Vec::new()));
        let Allocation::Proposed { shares, dropped, .. } = allocation else { unreachable!() };
        assert_eq!(shares[0].protocol, id("p0"));
        assert_eq!(dropped[0].reasons, [DropReason::InputAbsent(input)]);
    }
}

fn absent_bps() -> Measured<Bps> {
    Measured::Absent { reason: "no_state".into(), detail: None }
}

#[test]
fn without_a_yield_there_is_nothing_to_weigh() {
    let policy = Made::open(2).policy();
    let (failure, conflicts) = infeasible(&allocate(&policy, &candidates(&[(20, 0), (30, 0)])));
    assert_eq!((failure, conflicts), (Infeasibility::NoProtocolLeft, Vec::new()));
    let Allocation::Proposed { shares, dropped, .. } =
        allocate(&policy, &candidates(&[(20, 0), (30, 1)]))
    else {
        panic!("one yields")
    };
    assert_eq!((shares.len(), shares[0].share.0), (1, 10_000));
    assert_eq!(dropped[0].reasons, [DropReason::NoYield]);
    let none = allocate(&policy, &candidates(&[]));
    assert_eq!(infeasible(&none).0, Infeasibility::NoProtocolLeft);
}

#[test]
fn constraints_that_conflict_are_named() {
    let limits = Made { max_score: 50, max_single: 6_000, ..Made::open(2) };
    let one_left = allocate(&limits.policy(), &candidates(&[(20, 500), (51, 500)]));
    let expected = vec![
        binding(Constraint::MaxScore(50), &["p1"]),
        binding(Constraint::MaxSingle(Bps(6_000)), &["p0"]),
    ];
    let failure = Infeasibility::CapsBelowWhole { caps: Bps(6_000) };
    assert_eq!(infeasible(&one_left), (failure, expected));

    let policy = Made { min_diversification: 3, ..Made::open(3) }.policy();
    let lopsided = allocate(&policy, &candidates(&[(20, 9_000), (20, 500), (20, 500)]));
    let expected = vec![binding(Constraint::MinDiversification(3), &["p1", "p2"])];
    let failure = Infeasibility::TooFewProtocols { found: 1, required: 3 };
    assert_eq!(infeasible(&lopsided), (failure, expected));

    let caps = vec![("p0".into(), 999)];
    let limits = Made { min_diversification: 2, caps, max_score: 50, ..Made::open(3) };
    let held = allocate(&limits.policy(), &candidates(&[(20, 500), (20, 500), (90, 500)]));
    let expected = vec![
        binding(Constraint::MaxScore(50), &["p2"]),
        binding(Constraint::ProtocolCap(Bps(999)), &["p0"]),
        binding(Constraint::MinDiversification(2), &["p0"]),
    ];
    let failure = Infeasibility::TooFewProtocols { found: 1, required: 2 };
    assert_eq!(infeasible(&held), (failure, expected));
}

/// A share of 1,000 bps counts, one of 999 does not.
#[test]
fn a_protocol_counts_from_one_thousand_bps_on() {
    let policy = Made { min_diversification: 2, ..Made::open(2) }.policy();
    let (shares, _) = proposed(&allocate(&policy, &candidates(&[(9, 100), (9, 900)])));
    assert_eq!(shares, [1_000, 9_000]);
    let below = allocate(&policy, &candidates(&[(9, 100), (9, 901)]));
    let failure = Infeasibility::TooFewProtocols { found: 1, required: 2 };
    assert_eq!(infeasible(&below).0, failure);
}

/// A higher cap lets the greatest protocol take what made the others count.
#[test]
fn a_raised_cap_may_leave_too_few_protocols() {
    let given = candidates(&[(9, 9_000), (9, 500), (9, 500)]);
    let capped = Made { max_single: 4_000, min_diversification: 3, ..Made::open(3) };
    assert_eq!(proposed(&allocate(&capped.policy(), &given)).0, [4_000, 3_000, 3_000]);
    let raised = Made { max_single: 9_000, ..capped };
    let failure = Infeasibility::TooFewProtocols { found: 1, required: 3 };
    assert_eq!(infeasible(&allocate(&raised.policy(), &given)).0, failure);
}

/// The example of `ops/docs/allocation.md`.
#[test]
fn the_worked_example_holds() {
    let policies = Policies::parse(PRESETS).unwrap();
    let policy = policies.policy(&"balanced".parse().unwrap()).unwrap();
    let given = [
        candidate("ekubo", 34, 1_800),
        candidate("jediswap_v1", 44, 520),
        candidate("zklend", 28, 410),
    ];
    let (shares, bound) = proposed(&allocate(policy, &Candidates::new(given).unwrap()));
    assert_eq!(shares, [6_000, 1_798, 2_202]);
    assert_eq!(bound, [binding(Constraint::MaxSingle(Bps(6_000)), &["ekubo"])]);
}

#[test]
fn a_snapshot_states_policy_inputs_and_causes_and_comes_back_from_the_log() {
    let policies = Policies::parse(PRESETS).unwrap();
    let causes = Causes::new(vec![Cause::Entry(Seq(1)), Cause::Entry(Seq(90))]).unwrap();
    let block_hash = BlockHash(Felt::from(7u8));
    let given = [candidate("ekubo", 34, 1_800), candidate("zklend", 70, 410)];
    let given = Candidates::new(given).unwrap();
    for policy in policies.iter() {
        let fact = allocate(policy, &given).into_fact(policy, &given, block_hash, causes.clone());
        let basis = match &fact {
            Fact::AllocationProposed(fact) => &fact.basis,
            Fact::AllocationInfeasible(fact) => &fact.basis,
            other => panic!("{other:?}"),
        };
        assert_eq!(basis.policy.hash, policies.hash());
        assert_eq!((&basis.policy.id, basis.candidates.len()), (policy.id(), 2));
        assert_eq!((basis.block_hash, &basis.causes), (block_hash, &causes));
        assert_eq!(Fact::decode(fact.kind(), 1, &fact.encode()), Ok(fact));
    }
}

#[test]
fn a_protocol_stands_once_among_candidates() {
    let twice = [candidate("p0", 20, 500), candidate("p0", 30, 500)];
    let refused = Candidates::new(twice).unwrap_err();
    assert_eq!(refused.to_string(), "protocol p0 stands twice among the candidates");
}
