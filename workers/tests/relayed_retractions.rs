//! What a reorganisation sends: `retracted` for each derived fact of the lost blocks, of every kind, in order.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use obsqra_bus::{ChainStream, StreamLimits};
use obsqra_events::{
    AllocationBasis, AllocationProposed, AnomalyFound, Cause, Causes, Draft, Fact, Kind, Lane,
    Phase, PolicyRef, RiskComponents, RiskInputs, RiskScored, Severity, Share,
};
use obsqra_store::{Key, Keyed, Role as DatabaseRole, Store, log};
use obsqra_testkit::{StoredMessage, TestDatabase, TestNats};
use obsqra_types::{BlockHash, Bps, Hash32, Partition, PolicyId, ProtocolId, Seq};
use obsqra_workers::relay::Relay;
use serde_json::Value;
use support::bodies::check_bodies;
use support::{Script, chain, hold, run_to_end};

/// Height of the first block that is lost.
const FORK: u64 = 2;

struct World {
    _database: TestDatabase,
    store: Store,
    nats: TestNats,
    script: Script,
}

impl World {
    async fn begin() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(DatabaseRole::Writer).await;
        let script = Script::start(&store).await;
        Self { _database: database, store, nats: TestNats::start().await, script }
    }

    /// Facts of every kind about blocks of which most are then replaced.
    async fn derive_and_reorganise(&mut self) {
        self.script.adopt_policies().await;
        self.script.grow(14).await;
        support::score(&self.store).await;
        support::propose(&self.store).await;
        plant(self).await;
        self.script.reorganise(12, 13).await;
        support::retract(&self.store).await;
        support::score_only(&self.store).await;
        support::propose(&self.store).await;
    }

    async fn published(&self) -> Vec<StoredMessage> {
        let bus = self.nats.bus().await;
        let stream = ChainStream::open(&bus, &chain(), StreamLimits::default()).await.unwrap();
        let mut relay = Relay::new(&self.store, &stream, &chain());
        run_to_end(&mut relay, &self.store).await.unwrap();
        self.nats.messages("OBSQRA_OBSQRA_DEV").await
    }
}

/// Facts of the tip, of the kinds that so short a chain does not come to by itself.
async fn plant(world: &World) {
    let tip = world.script.tip();
    let (at, block_hash) = (world.script.block_ref(tip), BlockHash(tip.hash));
    let causes = Causes::new(vec![Cause::Entry(Seq(2))]).unwrap();
    let protocol = ProtocolId::new("zklend").unwrap();
    let (policy, hash) = (PolicyId::new("planted").unwrap(), Hash32([7; 32]));
    let scored = Fact::RiskScored(RiskScored {
        protocol: protocol.clone(),
        block_hash,
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
        causes: causes.clone(),
    });
    let proposed = Fact::AllocationProposed(AllocationProposed {
        basis: AllocationBasis {
            policy: PolicyRef { id: policy, version: "1".into(), hash, rule: "planted".into() },
            block_hash,
            candidates: Vec::new(),
            dropped: Vec::new(),
            causes: causes.clone(),
        },
        shares: vec![Share { protocol: protocol.clone(), share: Bps::ONE }],
        binding: Vec::new(),
    });
    let anomaly = AnomalyFound {
        rule: "planted".into(),
        protocol,
        market: None,
        block_hash,
        rules: "planted".into(),
        severity: Severity::Warning,
        phase: Phase::Point,
        detail: "planted".into(),
        causes,
    };
    let facts = [
        ("zklend".to_owned(), scored),
        ("planted".to_owned(), proposed),
        (anomaly.subject(), Fact::AnomalyFound(anomaly)),
    ];
    let lease = hold(&world.store, Partition::Checkpointer).await;
    let mut tx = world.store.begin().await.unwrap();
    for (subject, fact) in facts {
        let drafts = vec![Draft::new(&chain(), Some(at), &fact)];
        let fact = Keyed { key: Key::Derived { subject }, drafts };
        log::append(&mut tx, lease.fence(), vec![fact]).await.unwrap();
    }
    tx.commit().await.unwrap();
}

/// A reorganisation sends `retracted` for each derived fact of the lost blocks, of every kind: after the reverts, in the
/// order of the facts of a block, and, where the retractor is first, before what replaces them.
#[tokio::test]
async fn a_reorganisation_sends_a_retraction_of_each_derived_fact_in_order() {
    let mut world = World::begin().await;
    world.derive_and_reorganise().await;
    let messages = world.published().await;
    check_bodies(&messages);
    let reverts = messages.iter().filter(|one| one.subject.ends_with("chain.block_reverted"));
    let last_revert = reverts.map(seq).max().unwrap();
    let retractions: Vec<&StoredMessage> =
        messages.iter().filter(|message| message.subject.contains(".retracted.")).collect();
    assert!(retractions.iter().all(|message| seq(message) > last_revert));
    let retracted = check_each_names_its_fact(&messages, &retractions);
    let derived = |message: &&StoredMessage| is_derived(message);
    let lost: BTreeSet<u64> = messages
        .iter()
        .filter(derived)
        .filter(|message| number(message) >= FORK && seq(message) < last_revert)
        .map(seq)
        .collect();
    assert_eq!(retracted.iter().copied().collect::<BTreeSet<_>>(), lost);
    assert_eq!(retracted.len(), lost.len(), "each once");
    let kinds: BTreeSet<String> =
        retractions.iter().map(|one| text(&data(one)["kind"]).to_owned()).collect();
    let all = Kind::ALL.into_iter().filter(|kind| kind.lane() == Lane::Derived);
    let all = all.filter(|kind| *kind != Kind::Retracted).map(|kind| kind.name().to_owned());
    assert_eq!(kinds, all.collect(), "every kind that is derived");
    let last_retraction = retractions.iter().map(|one| seq(one)).max().unwrap();
    let replacing: Vec<u64> =
        messages.iter().filter(derived).map(seq).filter(|seq| *seq > last_revert).collect();
    assert!(!replacing.is_empty() && replacing.iter().all(|seq| *seq > last_retraction));
}

/// Positions of the facts that retractions name, each of which was published before with what is said of it.
fn check_each_names_its_fact(
    messages: &[StoredMessage],
    retractions: &[&StoredMessage],
) -> Vec<u64> {
    let by_seq: BTreeMap<u64, &StoredMessage> =
        messages.iter().map(|message| (seq(message), message)).collect();
    let mut retracted: Vec<u64> = Vec::new();
    for retraction in retractions {
        let told = data(retraction);
        let named: u64 = text(&told["retractedSeq"]).parse().unwrap();
        let fact = body(by_seq[&named]);
        assert!(named < seq(retraction));
        assert_eq!(told["contentHash"], fact["contentHash"]);
        assert_eq!(told["blockHash"], fact["data"]["blockHash"]);
        let schema = format!("obsqra.v1.{}/1", text(&told["kind"]));
        assert_eq!(fact["schema"], schema.as_str());
        retracted.push(named);
    }
    retracted
}

fn body(message: &StoredMessage) -> Value {
    serde_json::from_slice(&message.body).unwrap()
}

fn data(message: &StoredMessage) -> Value {
    body(message)["data"].clone()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn seq(message: &StoredMessage) -> u64 {
    message.position("Obsqra-Seq")
}

fn number(message: &StoredMessage) -> u64 {
    body(message)["block"]["number"].as_u64().unwrap()
}

fn is_derived(message: &StoredMessage) -> bool {
    let lanes = [".v1.OBSQRA_DEV.risk.", ".v1.OBSQRA_DEV.allocation.", ".v1.OBSQRA_DEV.anomaly."];
    lanes.iter().any(|lane| message.subject.contains(lane))
}
