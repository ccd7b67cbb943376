//! Anomalies, allocations and prices: as of a block, by page, with what their log entries say.

use obsqra_events::{
    AllocationBasis, AllocationProposed, AnomalyFound, Binding, Candidate, Cause, Causes,
    Constraint, DropReason, Dropped, Fact, Measured, Phase, PolicyRef, Severity, Share,
};
use obsqra_store::Key;
use obsqra_types::{BlockHash, Bps, Felt, Hash32, MarketId, PolicyId, ProtocolId, Seq};
use serde_json::{Value, json};

use crate::support::{World, allocation, anomaly, price};

fn protocol(id: &str) -> ProtocolId {
    ProtocolId::new(id).unwrap()
}

async fn found(world: &World, rule: &str, phase: Phase) -> i64 {
    let fact = AnomalyFound {
        rule: rule.into(),
        protocol: protocol("zklend"),
        market: Some(MarketId("0x1".into())),
        block_hash: BlockHash(Felt::ONE),
        rules: "metrics-v2".into(),
        severity: Severity::Warning,
        phase,
        detail: "utilization 9950".into(),
        causes: Causes::new(vec![Cause::Entry(Seq(1))]).unwrap(),
    };
    let seq = world.append(Fact::AnomalyFound(fact), Key::Plain).await;
    i64::try_from(seq.0).unwrap()
}

#[tokio::test]
async fn an_anomaly_that_lasts_is_open_until_the_block_that_closes_it() {
    let world = World::at(300, 50_000).await;
    let opened = found(&world, "utilization_high", Phase::Opened).await;
    let point = found(&world, "accumulator_jump", Phase::Point).await;
    let closed = found(&world, "utilization_high", Phase::Closed).await;
    let mut lasted = anomaly("utilization_high", "warning", "opened", 10, opened);
    // It was known as open until the entry that closed it.
    let mut open = lasted.clone();
    open.ranges.to_seq = closed;
    lasted.ranges.to_block = 40;
    lasted.ranges.from_seq = closed;
    let jump = anomaly("accumulator_jump", "critical", "point", 20, point);
    let over = anomaly("utilization_high", "warning", "closed", 40, closed);
    world.insert_anomalies(&[open, lasted, jump, over]).await;

    let query = "query ($open: Boolean!, $at: Int, $severities: [Severity!]) {
        anomalies(onlyOpen: $open, atBlock: $at, severities: $severities) {
            nodes { rule severity protocol market lasts closedAtBlock blockNumber detail
                causes { seq } } } }";
    let ask = async |open: bool, at: Option<i64>, severities: Value| {
        let variables = json!({ "open": open, "at": at, "severities": severities });
        world.data(query, variables).await["anomalies"]["nodes"].take()
    };
    let all = ask(false, None, Value::Null).await;
    assert_eq!(
        all,
        json!([
            { "rule": "utilization_high", "severity": "WARNING", "protocol": "zklend",
              "market": "0x1", "lasts": true, "closedAtBlock": 40, "blockNumber": 10,
              "detail": "measured", "causes": [{ "seq": "1" }] },
            { "rule": "accumulator_jump", "severity": "CRITICAL", "protocol": "zklend",
              "market": "0x1", "lasts": false, "closedAtBlock": null, "blockNumber": 20,
              "detail": "measured", "causes": [{ "seq": "1" }] },
        ])
    );
    let still = ask(true, Some(39), Value::Null).await;
    assert_eq!(still[0]["rule"], "utilization_high");
    assert_eq!(still[0]["closedAtBlock"], Value::Null);
    assert_eq!(ask(true, Some(40), Value::Null).await, json!([]));
    assert_eq!(ask(true, Some(9), Value::Null).await, json!([]));
    let critical = ask(false, None, json!(["CRITICAL"])).await;
    assert_eq!(critical.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_page_of_anomalies_goes_both_ways() {
    let world = World::at(300, 50_000).await;
    let mut rows = Vec::new();
    for (block, rule) in [(1, "a"), (2, "b"), (3, "c")] {
        let entry = found(&world, rule, Phase::Point).await;
        rows.push(anomaly(rule, "info", "point", block, entry));
    }
    world.insert_anomalies(&rows).await;
    let rules = async |arguments: &str| {
        let query = format!(
            "{{ anomalies({arguments}) {{ nodes {{ rule }}
            pageInfo {{ hasNextPage hasPreviousPage endCursor }} }} }}"
        );
        world.data(&query, json!({})).await["anomalies"].take()
    };
    let first = rules("first: 2").await;
    assert_eq!(first["nodes"], json!([{ "rule": "a" }, { "rule": "b" }]));
    let after = first["pageInfo"]["endCursor"].as_str().unwrap();
    assert_eq!(rules(&format!("after: \"{after}\"")).await["nodes"], json!([{ "rule": "c" }]));
    assert_eq!(rules("last: 1").await["nodes"], json!([{ "rule": "c" }]));
    let refused =
        world.run("{ anomalies(protocol: \"nobody\") { nodes { rule } } }", json!({})).await;
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("no protocol `nobody`"));
}

async fn proposed(world: &World) -> i64 {
    let candidate = |id: &str, score: Measured<u8>| Candidate {
        protocol: protocol(id),
        score,
        apy: Measured::Known(Bps(850)),
        volatility: Measured::Known(Bps(300)),
        liquidity_class: Measured::Known(2),
    };
    let absent = Measured::Absent { reason: "insufficient_history".into(), detail: None };
    let reasons = vec![DropReason::Constraint(Constraint::MaxScore(60))];
    let fact = AllocationProposed {
        basis: AllocationBasis {
            policy: PolicyRef {
                id: PolicyId::new("balanced").unwrap(),
                version: "obsqra/1".into(),
                hash: Hash32([3; 32]),
                rule: "allocation-v1".into(),
            },
            block_hash: BlockHash(Felt::ONE),
            candidates: vec![candidate("ekubo", Measured::Known(34)), candidate("zklend", absent)],
            dropped: vec![Dropped { protocol: protocol("zklend"), reasons }],
            causes: Causes::new(vec![Cause::Entry(Seq(2))]).unwrap(),
        },
        shares: vec![Share { protocol: protocol("ekubo"), share: Bps(10_000) }],
        binding: vec![Binding {
            constraint: Constraint::MaxScore(60),
            protocols: vec![protocol("zklend")],
        }],
    };
    let seq = world.append(Fact::AllocationProposed(fact), Key::Plain).await;
    i64::try_from(seq.0).unwrap()
}

#[tokio::test]
async fn an_allocation_says_what_it_was_made_from() {
    let world = World::at(300, 50_000).await;
    let entry = proposed(&world).await;
    let mut failed = allocation("balanced", None, 5, entry);
    failed.ranges.to_block = 10;
    let shares = Some(vec![("ekubo".to_owned(), 10_000)]);
    world.insert_allocations(&[failed, allocation("balanced", shares, 10, entry)]).await;

    let query = "query ($at: Int) { allocations(atBlock: $at) { policy policyVersion rule failure
        shares { protocol shareBps } constraints { name limit protocols }
        candidates { protocol score apyBps volatilityBps liquidityClass droppedFor
            absent { field reason } }
        causes { seq } blockNumber } }";
    let now = world.data(query, json!({})).await;
    assert_eq!(
        now["allocations"],
        json!([{
            "policy": "balanced", "policyVersion": "obsqra/1", "rule": "allocation-v1",
            "failure": null, "shares": [{ "protocol": "ekubo", "shareBps": 10_000 }],
            "constraints": [{ "name": "max_score", "limit": 60, "protocols": ["zklend"] }],
            "candidates": [
                { "protocol": "ekubo", "score": 34, "apyBps": 850, "volatilityBps": 300,
                  "liquidityClass": 2, "droppedFor": [], "absent": [] },
                { "protocol": "zklend", "score": null, "apyBps": 850, "volatilityBps": 300,
                  "liquidityClass": 2, "droppedFor": ["max_score"],
                  "absent": [{ "field": "score", "reason": "insufficient_history" }] },
            ],
            "causes": [{ "seq": "2" }], "blockNumber": 10,
        }])
    );
    let before = "query { allocations(atBlock: 9) { failure shares { protocol } blockNumber } }";
    let before = world.data(before, json!({})).await["allocations"].take();
    assert_eq!(
        before,
        json!([{ "failure": "too_few_protocols", "shares": null, "blockNumber": 5 }])
    );
    assert_eq!(world.data(query, json!({ "at": 4 })).await["allocations"], json!([]));
    let history = "{ allocationHistory(policy: \"balanced\", last: 1) { nodes { blockNumber } } }";
    let history = world.data(history, json!({})).await["allocationHistory"]["nodes"].take();
    assert_eq!(history, json!([{ "blockNumber": 10 }]));
}

#[tokio::test]
async fn a_policy_that_the_newest_file_does_not_have_allocates_nothing() {
    let world = World::at(300, 50_000).await;
    let entry = proposed(&world).await;
    let shares = Some(vec![("ekubo".to_owned(), 10_000)]);
    let removed = allocation("bold", shares.clone(), 5, entry);
    let mut replaced = allocation("balanced", shares.clone(), 5, entry);
    replaced.ranges.to_block = 10;
    let newer = proposed(&world).await;
    let mut newest = allocation("balanced", shares, 10, newer);
    newest.version = "obsqra/2".into();
    world.insert_allocations(&[removed, replaced, newest]).await;

    let query = "query ($at: Int) { allocations(atBlock: $at) { policy policyVersion } }";
    let now = world.data(query, json!({})).await["allocations"].take();
    assert_eq!(now, json!([{ "policy": "balanced", "policyVersion": "obsqra/2" }]));
    // As of a block below it, both stand.
    let before = world.data(query, json!({ "at": 9 })).await["allocations"].take();
    let both = ["balanced", "bold"];
    assert_eq!(before, json!(both.map(|id| json!({ "policy": id, "policyVersion": "obsqra/1" }))));
    let history = "{ allocationHistory(policy: \"bold\") { nodes { blockNumber } } }";
    let history = world.data(history, json!({})).await["allocationHistory"]["nodes"].take();
    assert_eq!(history, json!([{ "blockNumber": 5 }]));
}

#[tokio::test]
async fn a_price_holds_from_its_block_on_or_says_why_there_is_none() {
    let world = World::at(300, 50_000).await;
    let mut first = price(0x77, None, 5);
    first.ranges.to_block = 10;
    world.insert_prices(&[first, price(0x77, Some("2500000000000000000000"), 10)]).await;
    let query = "query ($at: Int, $tokens: [String!]) { prices(atBlock: $at, tokens: $tokens) {
        token symbol source priceUsdc reason protocol market blockNumber } }";
    let now = world.data(query, json!({})).await["prices"].take();
    assert_eq!(
        now,
        json!([{ "token": "0x77", "symbol": "ETH", "source": "pools",
            "priceUsdc": "2500.000000000000000000", "reason": null, "protocol": "ekubo",
            "market": "0x1", "blockNumber": 10 }])
    );
    let before = world.data(query, json!({ "at": 9 })).await["prices"].take();
    assert_eq!(
        (&before[0]["priceUsdc"], &before[0]["reason"]),
        (&Value::Null, &json!("no_usdc_pool"))
    );
    let others = world.data(query, json!({ "tokens": ["0x78"] })).await["prices"].take();
    assert_eq!(others, json!([]));
}
