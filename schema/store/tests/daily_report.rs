//! Reports of days from read models that a test writes: what counts of a day, and what does not.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use chrono::NaiveDate;
use obsqra_store::daily_report::{self, Anomalies, DailyReport, FinishedDay};
use obsqra_store::{Role, Store};
use obsqra_testkit::TestDatabase;
use obsqra_types::{BlockNumber, ChainId, ProtocolId, Seq};

const OPEN: i64 = i64::MAX;
const KNOWN_AT: Seq = Seq(1_000);

/// A row's heights, and the positions at which it is known.
#[derive(Clone, Copy)]
struct Ranges(i64, i64, i64, i64);

struct World {
    database: TestDatabase,
    store: Store,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        let world = Self { database, store };
        world.project(1_000).await;
        world
    }

    async fn project(&self, seq: i64) {
        let sql = format!(
            "INSERT INTO projection_state (chain_id, seq) VALUES ('OBSQRA_TEST', {seq}) \
             ON CONFLICT (chain_id) DO UPDATE SET seq = excluded.seq"
        );
        self.database.execute(&sql).await;
    }

    /// A score, or its absence; the entry's position names it.
    async fn score(&self, protocol: &str, at: Ranges, entry: i64, score: Option<i16>) {
        let Ranges(from_block, to_block, from_seq, to_seq) = at;
        let absent = match score {
            Some(_) => "[]",
            None => r#"[{"field": "age", "reason": "deployment_unknown", "detail": null}]"#,
        };
        let score = score.map_or("NULL".to_owned(), |score| score.to_string());
        let sql = format!(
            "INSERT INTO risk_score (chain_id, protocol, from_block, to_block, from_seq, to_seq, \
             entry_seq, block_hash, occurred_at, formula, score, absent) VALUES ('OBSQRA_TEST', \
             '{protocol}', {from_block}, {to_block}, {from_seq}, {to_seq}, {entry}, '\\x01', now(), \
             'made up', {score}, '{absent}')"
        );
        self.database.execute(&sql).await;
    }

    async fn anomaly(&self, protocol: &str, at: Ranges, severity: &str, phase: &str) {
        let Ranges(from_block, to_block, from_seq, to_seq) = at;
        let sql = format!(
            "INSERT INTO anomaly (chain_id, protocol, market, rule, from_block, to_block, from_seq, \
             to_seq, entry_seq, block_hash, occurred_at, severity, phase, detail) VALUES \
             ('OBSQRA_TEST', '{protocol}', '', 'made_up', {from_block}, {to_block}, {from_seq}, \
             {to_seq}, {from_seq}, '\\x01', now(), '{severity}', '{phase}', '')"
        );
        self.database.execute(&sql).await;
    }

    async fn event(&self, protocol: &str, at: Ranges) {
        let Ranges(from_block, to_block, from_seq, to_seq) = at;
        let sql = format!(
            "INSERT INTO event (chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, \
             block_hash, occurred_at, protocol, contract, transaction_hash, event_index, keys, data) \
             VALUES ('OBSQRA_TEST', {from_block}, {to_block}, {from_seq}, {to_seq}, 0, '\\x01', now(), \
             '{protocol}', '\\x01', '\\x01', 0, '{{}}', '{{}}')"
        );
        self.database.execute(&sql).await;
    }

    async fn report(&self, protocol: &str) -> DailyReport {
        let made = daily_report::make(&self.store, &day(), KNOWN_AT, &[id(protocol)]).await;
        made.unwrap().expect("the read models are there").pop().unwrap()
    }
}

fn id(protocol: &str) -> ProtocolId {
    ProtocolId::new(protocol).unwrap()
}

/// Blocks 100 to 199.
fn day() -> FinishedDay {
    FinishedDay {
        chain: ChainId::new("OBSQRA_TEST").unwrap(),
        day: NaiveDate::from_ymd_opt(2025, 1, 2).unwrap(),
        first: BlockNumber(100),
        last: BlockNumber(199),
        is_whole: true,
        from_seq: Seq(500),
        next_seq: Seq(900),
    }
}

#[tokio::test]
async fn scores_that_stood_at_any_block_of_the_day_count() {
    let world = World::new().await;
    // Carried in; the day's last; of a later day; known later; over before the day.
    world.score("a", Ranges(50, 120, 10, OPEN), 10, Some(70)).await;
    world.score("a", Ranges(120, 150, 510, OPEN), 510, Some(20)).await;
    world.score("a", Ranges(150, 200, 520, OPEN), 520, Some(40)).await;
    world.score("a", Ranges(200, OPEN, 910, OPEN), 910, Some(95)).await;
    world.score("a", Ranges(130, 140, 1_001, OPEN), 1_001, Some(5)).await;
    world.score("a", Ranges(160, 170, 300, 1_000), 300, Some(6)).await;
    world.score("a", Ranges(0, 50, 5, OPEN), 5, Some(7)).await;
    let report = world.report("a").await;
    let end = report.end.expect("something was said");
    assert_eq!((end.score, end.entry), (Ok(40), Seq(520)));
    assert_eq!(report.lowest, Some((20, Seq(510))));
    assert_eq!(report.highest, Some((70, Seq(10))));
}

#[tokio::test]
async fn an_absent_score_says_why_and_one_that_was_never_told_of_is_none() {
    let world = World::new().await;
    world.score("b", Ranges(90, 180, 20, OPEN), 20, Some(30)).await;
    world.score("b", Ranges(180, OPEN, 600, OPEN), 600, None).await;
    let report = world.report("b").await;
    let end = report.end.expect("something was said");
    assert_eq!(end.entry, Seq(600));
    assert_eq!(end.score.unwrap_err()[0].reason, "deployment_unknown");
    assert_eq!((report.lowest, report.highest), (Some((30, Seq(20))), Some((30, Seq(20)))));
    let report = world.report("c").await;
    assert_eq!((report.end, report.lowest, report.highest, report.events), (None, None, None, 0));
}

#[tokio::test]
async fn events_and_anomalies_of_the_days_blocks_count_as_known_at_the_position() {
    let world = World::new().await;
    for at in [
        Ranges(100, OPEN, 501, OPEN),
        Ranges(199, OPEN, 880, OPEN),
        // Above, below, known later, reverted.
        Ranges(200, OPEN, 901, OPEN),
        Ranges(99, OPEN, 490, OPEN),
        Ranges(150, OPEN, 1_001, OPEN),
        Ranges(150, OPEN, 502, 700),
    ] {
        world.event("a", at).await;
        world.anomaly("a", at, "warning", "point").await;
    }
    world.event("b", Ranges(150, OPEN, 503, OPEN)).await;
    world.anomaly("a", Ranges(110, OPEN, 510, OPEN), "critical", "opened").await;
    world.anomaly("a", Ranges(120, OPEN, 520, OPEN), "critical", "closed").await;
    world.anomaly("a", Ranges(130, OPEN, 530, OPEN), "info", "point").await;
    let report = world.report("a").await;
    assert_eq!(report.events, 2);
    assert_eq!(report.anomalies, Anomalies { info: 1, warning: 2, critical: 1 });
    assert_eq!(world.report("b").await.events, 1);
}

#[tokio::test]
async fn a_report_is_written_once_and_waits_for_the_read_models() {
    let world = World::new().await;
    world.project(999).await;
    let made = daily_report::make(&world.store, &day(), KNOWN_AT, &[id("a")]).await.unwrap();
    assert_eq!(made.unwrap_err(), Seq(999));
    world.project(1_005).await;
    let report = world.report("a").await;
    for is_first in [true, false] {
        let mut tx = world.store.begin().await.unwrap();
        let written =
            daily_report::insert(&mut tx, &day(), KNOWN_AT, std::slice::from_ref(&report)).await;
        assert_eq!(written.is_ok(), is_first, "{written:?}");
        tx.commit().await.ok();
    }
    let payload = day().payload(KNOWN_AT).unwrap();
    assert_eq!(FinishedDay::read(&payload).unwrap(), (day(), KNOWN_AT));
    assert!(FinishedDay::read(&serde_json::json!({ "day": "2025-01-02" })).is_err());
    let known = "SELECT count(*) FROM daily_report WHERE blocks = 100 AND score_end IS NULL \
                 AND jsonb_array_length(absent) = 1";
    assert_eq!(world.database.number(known).await, 1);
}
