//! What `derive verify` finds: planted facts, and those that rest on definitions of another program.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use obsqra_events::{
    AbsentInput, AdoptedWhat, Causes, Draft, Fact, RiskAbsent, RiskComponents, RiskInputs,
    RiskScored,
};
use obsqra_protocols::{Definitions, METRICS_VERSION};
use obsqra_store::{Key, Keyed, Lease, Role, Store, log};
use obsqra_testkit::TestDatabase;
use obsqra_types::{BlockHash, Hash32, Partition, ProtocolId, Seq};
use obsqra_workers::verify::{self, DeriveReport, Discrepancy};
use support::{Script, chain, score};

async fn begin() -> (TestDatabase, Store, Script) {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let script = Script::start(&store).await;
    (database, store, script)
}

fn wrong_score(script: &Script, protocol: &ProtocolId) -> Keyed {
    let tip = script.tip();
    let fact = Fact::RiskScored(RiskScored {
        protocol: protocol.clone(),
        block_hash: BlockHash(tip.hash),
        formula: "risk-v1.2".into(),
        score: 42,
        components: RiskComponents {
            utilization: 1,
            volatility: 1,
            liquidity: 1,
            audit: 1,
            age: 1,
        },
        inputs: RiskInputs {
            utilization_bps: 1,
            volatility_bps: 1,
            liquidity_class: 1,
            audit_score: 1,
            age_days: 1,
        },
        causes: Causes::new(Vec::new()).unwrap(),
    });
    Keyed {
        key: Key::Derived { subject: protocol.to_string() },
        drafts: vec![Draft::new(&chain(), Some(script.block_ref(tip)), &fact)],
    }
}

fn unfounded(script: &Script, protocol: &ProtocolId) -> Keyed {
    let tip = script.tip();
    let fact = Fact::RiskAbsent(RiskAbsent {
        protocol: protocol.clone(),
        block_hash: BlockHash(tip.hash),
        formula: "risk-v1.2".into(),
        absent: vec![AbsentInput { field: "f".into(), reason: "r".into(), detail: None }],
        causes: Causes::new(Vec::new()).unwrap(),
    });
    Keyed {
        key: Key::Derived { subject: protocol.to_string() },
        drafts: vec![Draft::new(&chain(), Some(script.block_ref(tip)), &fact)],
    }
}

async fn plant(store: &Store, protocol: &ProtocolId, fact: Keyed) -> Seq {
    let partition = Partition::RiskWorker(chain(), protocol.clone());
    let ttl = std::time::Duration::from_secs(60);
    let lease = Lease::acquire(store, partition, "test", ttl).await.unwrap().unwrap();
    let mut tx = store.begin().await.unwrap();
    let outcome = log::append(&mut tx, lease.fence(), vec![fact]).await.unwrap();
    tx.commit().await.unwrap();
    outcome.after.seq
}

#[tokio::test]
async fn a_planted_score_is_reported() {
    let (_database, store, mut script) = begin().await;
    script.grow(8).await;
    let protocol = support::protocols().remove(0);
    let planted = plant(&store, &protocol, wrong_score(&script, &protocol)).await;
    let report = verify::derive(&store, &chain(), |_, _| {}).await.unwrap();
    let found = report.discrepancies.iter().any(|found| match found {
        Discrepancy::Differs { seq, subject, .. } | Discrepancy::Unfounded { seq, subject, .. } => {
            *seq == planted && *subject == protocol.to_string()
        }
        Discrepancy::Missing { .. } => false,
    });
    assert!(found, "{report:?}");
}

#[tokio::test]
async fn a_planted_fact_of_another_kind_beside_a_right_one_is_reported() {
    let (_database, store, mut script) = begin().await;
    script.grow(8).await;
    score(&store).await;
    check_derived(&store).await;
    // The right fact about this block has one kind; the wrong one is of the other, under a key of its own.
    let protocol = support::protocols().remove(0);
    let right = newest_fact(&store, &protocol).await;
    assert!(matches!(right, Fact::RiskAbsent(_)), "a short chain has no score yet: {right:?}");
    plant(&store, &protocol, wrong_score(&script, &protocol)).await;
    let report = verify::derive(&store, &chain(), |_, _| {}).await.unwrap();
    assert!(!report.discrepancies.is_empty(), "{report:?}");
}

#[tokio::test]
async fn an_unknown_subject_is_reported() {
    let (_database, store, mut script) = begin().await;
    script.grow(3).await;
    score(&store).await;
    let nobody = ProtocolId::new("nobody").unwrap();
    let planted = plant(&store, &nobody, unfounded(&script, &nobody)).await;
    let report = verify::derive(&store, &chain(), |_, _| {}).await.unwrap();
    let [Discrepancy::Unfounded { seq, subject, .. }] = report.discrepancies.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!((*seq, subject.as_str()), (planted, "nobody"));
}

async fn check_derived(store: &Store) {
    let report = verify::derive(store, &chain(), |_, _| {}).await.unwrap();
    assert!(report.discrepancies.is_empty() && report.compared > 0, "{report:?}");
}

async fn newest_fact(store: &Store, protocol: &ProtocolId) -> Fact {
    let entries = log::read_after(store, Seq::BEFORE_FIRST, 100_000).await.unwrap();
    let of = |fact: &Fact| match fact {
        Fact::RiskScored(fact) => fact.protocol == *protocol,
        Fact::RiskAbsent(fact) => fact.protocol == *protocol,
        _ => false,
    };
    entries.iter().rev().map(|entry| entry.draft.fact().unwrap()).find(of).unwrap()
}

async fn report(store: &Store) -> DeriveReport {
    verify::derive(store, &chain(), |_, _| {}).await.unwrap()
}

async fn adopt_definitions(script: &Script, version: &str, hash: Hash32, bytes: &[u8]) {
    script.writer.adopt(AdoptedWhat::Metrics, version, hash, bytes).await.unwrap();
}

async fn adopt_own(script: &Script) {
    let own = Definitions::own();
    adopt_definitions(script, METRICS_VERSION, own.hash(), own.text().as_bytes()).await;
}

#[tokio::test]
async fn facts_of_other_definitions_are_counted_and_not_compared() {
    let (_database, store, mut script) = begin().await;
    // The same version with one layout less, as an older program had it.
    adopt_definitions(&script, METRICS_VERSION, Hash32([7; 32]), b"fewer layouts").await;
    script.grow(4).await;
    score(&store).await;
    let nobody = ProtocolId::new("nobody").unwrap();
    plant(&store, &nobody, unfounded(&script, &nobody)).await;
    let before = report(&store).await;
    assert_eq!((before.compared, &before.discrepancies), (0, &Vec::new()));
    assert!(before.of_other_rules > 1, "{before:?}");

    // Adopted again and again it is one entry, and what was stated before it stays uncompared.
    adopt_own(&script).await;
    let head = log::head(&store).await.unwrap();
    adopt_own(&script).await;
    assert_eq!(log::head(&store).await.unwrap(), head);
    script.grow(4).await;
    score(&store).await;
    let after = report(&store).await;
    assert_eq!((after.of_other_rules, &after.discrepancies), (before.of_other_rules, &Vec::new()));
    let planted = plant(&store, &nobody, unfounded(&script, &nobody)).await;
    let [Discrepancy::Unfounded { seq, .. }] = report(&store).await.discrepancies[..] else {
        panic!("{:?}", report(&store).await);
    };
    assert_eq!(seq, planted);
}

#[tokio::test]
async fn a_log_whose_first_definitions_are_the_programs_own_is_compared_whole() {
    let (_database, store, mut script) = begin().await;
    adopt_own(&script).await;
    script.grow(4).await;
    score(&store).await;
    let report = report(&store).await;
    assert_eq!((report.of_other_rules, &report.discrepancies), (0, &Vec::new()));
    assert!(report.compared > 0);
}
