//! Reports of finished days, against the log read a second way: entry by entry, with no read model. The seeded chain
//! has no score so early; what comes of scores is in the store's `daily_report` test.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use obsqra_events::{Fact, Phase, Severity};
use obsqra_protocols::Registry;
use obsqra_store::daily_report;
use obsqra_store::job::{self, JobFilter};
use obsqra_store::{Role, Store};
use obsqra_testkit::{TestDatabase, read_log};
use obsqra_types::{BlockNumber, ContractAddress, Seq};
use obsqra_workers::jobs::report_day::{EnqueueReports, ReportDay};
use obsqra_workers::runtime::jobs::{JobRunner, RunnerOptions};
use support::{Script, chain, project, registry, run_to_end, score};
use tokio_util::sync::CancellationToken;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(240);
/// Blocks of a day of the seeded chain.
const DAY_BLOCKS: u64 = 144;

struct World {
    database: TestDatabase,
    store: Store,
    script: Script,
}

impl World {
    async fn new() -> Self {
        let database = TestDatabase::create().await;
        let store = database.store(Role::Writer).await;
        let mut script = Script::start(&store).await;
        script.thin(6);
        Self { database, store, script }
    }

    async fn derive(&self) {
        score(&self.store).await;
        project(&self.store).await;
    }

    async fn enqueue(&self) -> u32 {
        let mut role = EnqueueReports::new(&self.store, &chain()).unwrap();
        run_to_end(&mut role, &self.store).await.unwrap()
    }

    async fn days(&self) -> Vec<String> {
        let days = daily_report::reported(&self.store, &chain()).await.unwrap();
        let protocols = Registry::parse(&registry()).unwrap().protocols().count() as u64;
        assert!(days.iter().all(|(_, rows)| *rows == protocols), "{days:?}");
        days.into_iter().map(|(day, _)| day.to_string()).collect()
    }

    /// Runs jobs until none is queued or leased.
    async fn run_jobs(&self) {
        let options = RunnerOptions {
            slots: 2,
            lease_ttl: Duration::from_secs(5),
            longest_rest: Duration::from_millis(50),
            stop_within: PATIENCE,
        };
        let runner =
            JobRunner::new(&self.store, "test", options).with(ReportDay::new(&self.store).unwrap());
        let shutdown = CancellationToken::new();
        let running = tokio::spawn({
            let shutdown = shutdown.clone();
            async move { runner.run(&shutdown).await }
        });
        let open = "SELECT count(*) FROM job WHERE state IN (0, 1)";
        let deadline = Instant::now() + PATIENCE;
        while self.database.number(open).await > 0 {
            assert!(Instant::now() < deadline, "the jobs are not done");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        shutdown.cancel();
        running.await.unwrap().unwrap();
        assert_eq!(self.database.number("SELECT count(*) FROM job WHERE state = 3").await, 0);
    }

    /// Reports that are deleted, and made again from a log that went on, say the same.
    async fn check_made_again(&mut self) {
        let rows = "to_jsonb(d) - 'known_at' AS said FROM daily_report d";
        let forget = "TRUNCATE daily_report, job; DELETE FROM cursor_position WHERE partition LIKE 'reporter/%'";
        self.database.execute(&format!("CREATE TABLE before AS SELECT {rows}; {forget}")).await;
        self.script.grow_fast(20).await;
        self.derive().await;
        assert_eq!(self.enqueue().await, 2);
        self.run_jobs().await;
        let kept =
            format!("SELECT count(*) FROM (SELECT {rows} INTERSECT SELECT said FROM before) s");
        let all = self.database.number("SELECT count(*) FROM before").await;
        assert_eq!(self.database.number(&kept).await, all);
    }

    async fn column(&self, column: &str, day: &str, protocol: &str) -> Option<i64> {
        let sql = format!(
            "SELECT coalesce({column}, -1)::bigint FROM daily_report WHERE day = '{day}' AND protocol = '{protocol}'"
        );
        Some(self.database.number(&sql).await).filter(|value| *value >= 0)
    }
}

/// What the log says of some heights of a protocol, by reading every entry.
#[derive(Debug, Default, PartialEq)]
struct Expected {
    events: i64,
    end: Option<i64>,
    lowest: Option<i64>,
    highest: Option<i64>,
    info: i64,
    warning: i64,
    critical: i64,
}

async fn expected(store: &Store, (first, last): (u64, u64)) -> BTreeMap<String, Expected> {
    let registry = Registry::parse(&registry()).unwrap();
    let mut owners: BTreeMap<ContractAddress, String> = BTreeMap::new();
    for contract in registry.watched() {
        let known = registry.contract(&contract).expect("a watched contract is known");
        owners.insert(contract, known.protocol.to_string());
    }
    let mut all: BTreeMap<String, Expected> = BTreeMap::new();
    let (first, last) = (BlockNumber(first), BlockNumber(last));
    let mut before: BTreeMap<String, Option<i64>> = BTreeMap::new();
    let mut scores: BTreeMap<String, Vec<Option<i64>>> = BTreeMap::new();
    for entry in read_log(store).await {
        let Some(block) = entry.draft.block else { continue };
        let within = block.number >= first && block.number <= last;
        let mut score = |protocol: String, score: Option<i64>| {
            if within {
                scores.entry(protocol).or_default().push(score);
            } else if block.number < first {
                before.insert(protocol, score);
            }
        };
        match entry.draft.fact().unwrap() {
            Fact::Event(event) if within => {
                if let Some(owner) = owners.get(&event.from_address) {
                    all.entry(owner.clone()).or_default().events += 1;
                }
            }
            Fact::RiskScored(fact) => score(fact.protocol.to_string(), Some(fact.score.into())),
            Fact::RiskAbsent(fact) => score(fact.protocol.to_string(), None),
            Fact::AnomalyFound(fact) if within && fact.phase != Phase::Closed => {
                let expected = all.entry(fact.protocol.to_string()).or_default();
                match fact.severity {
                    Severity::Info => expected.info += 1,
                    Severity::Warning => expected.warning += 1,
                    Severity::Critical => expected.critical += 1,
                }
            }
            _ => {}
        }
    }
    for protocol in registry.protocols() {
        let name = protocol.id.to_string();
        let stated = scores.remove(&name).unwrap_or_default();
        let carried = before.remove(&name);
        // What was carried into the day stood at its first block, unless that has one of its own.
        let mut standing: Vec<Option<i64>> = carried.into_iter().collect();
        standing.extend(stated);
        let expected = all.entry(name).or_default();
        expected.end = standing.last().copied().flatten();
        expected.lowest = standing.iter().flatten().min().copied();
        expected.highest = standing.iter().flatten().max().copied();
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_reported_once_when_all_of_it_is_final_and_derived() {
    let mut world = World::new().await;
    world.script.grow_fast(usize::try_from(3 * DAY_BLOCKS + 20).unwrap()).await;
    assert_eq!(world.enqueue().await, 0, "nothing is final");
    // The last block of the first day is final: another block might still join the day.
    world.script.writer.finalize(DAY_BLOCKS - 1).await.unwrap();
    world.derive().await;
    assert_eq!(world.enqueue().await, 0, "no final block of a later day");
    world.script.writer.finalize(2 * DAY_BLOCKS).await.unwrap();
    project(&world.store).await;
    assert_eq!(world.enqueue().await, 2);
    assert_eq!(world.enqueue().await, 0, "each once");
    world.run_jobs().await;
    assert_eq!(world.days().await, ["2025-01-01", "2025-01-02"]);

    for (day, blocks) in
        [("2025-01-01", (0, DAY_BLOCKS - 1)), ("2025-01-02", (DAY_BLOCKS, 2 * DAY_BLOCKS - 1))]
    {
        for (protocol, expected) in expected(&world.store, blocks).await {
            let column = async |name: &str| world.column(name, day, &protocol).await;
            let found = Expected {
                events: column("events").await.unwrap(),
                end: column("score_end").await,
                lowest: column("score_min").await,
                highest: column("score_max").await,
                info: column("anomalies_info").await.unwrap(),
                warning: column("anomalies_warning").await.unwrap(),
                critical: column("anomalies_critical").await.unwrap(),
            };
            assert_eq!(found, expected, "{protocol} on {day}");
            let first = i64::try_from(blocks.0).unwrap();
            let last = i64::try_from(blocks.1).unwrap();
            assert_eq!(column("first_block").await, Some(first));
            assert_eq!(column("last_block").await, Some(last));
            assert_eq!(column("blocks").await, Some(last - first + 1));
            assert_eq!(column("is_whole::int").await, Some(1));
            let absent = column("jsonb_array_length(absent)").await.unwrap();
            assert_eq!(absent > 0, expected.end.is_none(), "{protocol}: a reason or a score");
        }
    }
    // Each number names entries that say it.
    let unsaid = "SELECT count(*) FROM daily_report d \
                  LEFT JOIN risk_score s ON s.entry_seq = d.score_min_seq AND s.protocol = d.protocol \
                  WHERE d.score_min IS NOT NULL AND d.score_min IS DISTINCT FROM s.score";
    assert_eq!(world.database.number(unsaid).await, 0);
    world.check_made_again().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_waits_for_workers_and_read_models() {
    let mut world = World::new().await;
    world.script.grow_fast(usize::try_from(DAY_BLOCKS + 5).unwrap()).await;
    world.script.writer.finalize(DAY_BLOCKS).await.unwrap();
    assert_eq!(world.enqueue().await, 0, "nothing is derived");
    score(&world.store).await;
    assert_eq!(world.enqueue().await, 0, "nothing is projected");
    project(&world.store).await;
    assert_eq!(world.enqueue().await, 1);
    // Read models that are being made anew: the job comes back later.
    let away = "UPDATE projection_state SET seq = seq - 1";
    world.database.execute(away).await;
    let leased = "UPDATE job SET max_attempts = 1000";
    world.database.execute(leased).await;
    let options = RunnerOptions {
        slots: 1,
        lease_ttl: Duration::from_secs(5),
        longest_rest: Duration::from_millis(50),
        stop_within: PATIENCE,
    };
    let runner =
        JobRunner::new(&world.store, "test", options).with(ReportDay::new(&world.store).unwrap());
    let shutdown = CancellationToken::new();
    let stop = shutdown.clone();
    let running = tokio::spawn(async move { runner.run(&stop).await });
    let deadline = Instant::now() + PATIENCE;
    let told = loop {
        assert!(Instant::now() < deadline, "the job was never tried");
        let jobs = job::list(&world.store, &JobFilter::default(), 9).await.unwrap();
        if let Some(error) = jobs[0].last_error.clone() {
            break error;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(told.starts_with("the read models are at "), "{told}");
    shutdown.cancel();
    running.await.unwrap().unwrap();
    assert!(world.days().await.is_empty());
    world.database.execute("UPDATE projection_state SET seq = seq + 1").await;
    world.database.execute("UPDATE job SET not_before = clock_timestamp()").await;
    world.run_jobs().await;
    assert_eq!(world.days().await, ["2025-01-01"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_above_the_final_block_changes_no_report() {
    let mut world = World::new().await;
    world.script.grow_fast(usize::try_from(DAY_BLOCKS + 30).unwrap()).await;
    world.script.writer.finalize(DAY_BLOCKS + 5).await.unwrap();
    world.derive().await;
    assert_eq!(world.enqueue().await, 1);
    world.script.reorganise(20, 25).await;
    world.derive().await;
    world.run_jobs().await;
    assert_eq!(world.days().await, ["2025-01-01"]);
    let figures = expected(&world.store, (0, DAY_BLOCKS - 1)).await;
    for (protocol, expected) in figures {
        let events = world.column("events", "2025-01-01", &protocol).await;
        assert_eq!(events, Some(expected.events), "{protocol}");
    }
    let position = daily_report::next_finished(&world.store, &chain(), Seq::BEFORE_FIRST).await;
    assert_eq!(position.unwrap().unwrap().last, BlockNumber(DAY_BLOCKS - 1));
}
