//! Allocations as bytes and as messages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod example;

use example::{binding, block, infeasible, proposed};
use obsqra_events::{
    AllocationInfeasible, Constraint, Draft, Entry, Fact, Infeasibility, Kind, Message,
    MessageContext, Share,
};
use obsqra_types::{Bps, ChainId, Hash32, RecordedAt, Seq};

#[test]
fn shares_that_are_not_the_whole_or_not_in_order_are_refused() {
    let sound = proposed();
    let with = |change: &dyn Fn(&mut Vec<Share>)| {
        let mut fact = sound.clone();
        change(&mut fact.shares);
        let payload = Fact::AllocationProposed(fact).encode();
        Fact::decode(Kind::AllocationProposed, 1, &payload)
    };
    assert!(with(&|_| {}).is_ok());
    assert!(with(&|shares| shares[0].share = Bps(3_999)).is_err());
    assert!(with(&|shares| shares.swap(0, 1)).is_err());
    assert!(with(&Vec::clear).is_err());
}

#[test]
fn every_constraint_and_failure_comes_back() {
    let constraints = [
        Constraint::AllowList,
        Constraint::MaxScore(95),
        Constraint::MaxVolatility(Bps(9_500)),
        Constraint::MinLiquidity(3),
        Constraint::MaxSingle(Bps(10_000)),
        Constraint::ProtocolCap(Bps(1)),
        Constraint::MinDiversification(10),
    ];
    let failures = [
        Infeasibility::NoProtocolLeft,
        Infeasibility::CapsBelowWhole { caps: Bps(9_000) },
        Infeasibility::TooFewProtocols { found: 0, required: 3 },
    ];
    for failure in failures {
        for constraint in &constraints {
            let conflicts = vec![binding(constraint.clone(), "ekubo")];
            let fact = Fact::AllocationInfeasible(AllocationInfeasible {
                failure,
                conflicts,
                ..infeasible()
            });
            assert_eq!(Fact::decode(fact.kind(), 1, &fact.encode()), Ok(fact));
        }
    }
}

#[test]
fn an_allocation_is_published_under_its_policy_with_what_shaped_it() {
    let chain = ChainId::new("SN_MAIN").unwrap();
    let message = |fact: Fact| {
        let entry = Entry {
            seq: Seq(70_030),
            recorded_at: RecordedAt(1_700_000_000_000_000),
            draft: Draft::new(&chain, Some(block()), &fact),
            hash: Hash32::ZERO,
        };
        let message = Message::new(&entry, &fact, &MessageContext::default()).unwrap();
        let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
        (message.subject.to_string(), message.id, body)
    };
    let (subject, id, body) = message(Fact::AllocationProposed(proposed()));
    assert_eq!(subject, "obsqra.v1.SN_MAIN.allocation.balanced.proposed");
    assert_eq!(id, "SN_MAIN:allocation.proposed:350000.2:balanced");
    let data = &body["data"];
    assert_eq!(data["shares"][1], serde_json::json!({ "protocol": "zklend", "shareBps": 6_000 }));
    assert_eq!(data["candidates"][1]["apyBps"], serde_json::Value::Null);
    assert_eq!(data["candidates"][1]["absent"][0]["reason"], "insufficient_history");
    assert_eq!(data["dropped"][0]["reasons"][1]["field"], "apyBps");
    assert_eq!(data["binding"][1]["constraint"], "max_single");
    assert_eq!(data["causes"][0]["seq"], "1");

    let (subject, _, body) = message(Fact::AllocationInfeasible(infeasible()));
    assert_eq!(subject, "obsqra.v1.SN_MAIN.allocation.balanced.infeasible");
    assert_eq!(body["data"]["failure"]["reason"], "too_few_protocols");
    assert_eq!(body["data"]["conflicts"][1]["limit"], 900);
    assert_eq!(body["data"]["shares"], serde_json::Value::Null);
}
