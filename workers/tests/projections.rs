//! Read models against a real database: ranges through reorganisations, state hashes, and what the two
//! verifications find.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::BTreeMap;

use obsqra_store::projection::misfit;
use obsqra_store::projection::state::{self, READ_MODELS};
use obsqra_store::{Role, Store, StoreOptions, log};
use obsqra_testkit::{TestDatabase, felt};
use obsqra_types::{Hash32, Partition, Seq};
use obsqra_workers::projections::{Projector, ReadModels};
use obsqra_workers::runtime::{Progress, Role as _};
use obsqra_workers::verify;
use support::{Script, chain, hashes, hold, project, project_in_batches, run_to_end, score};

const OPEN: &str = "9223372036854775807";
const MODELS: [&str; 6] =
    ["block", "event", "market_metrics", "risk_score", "activity", "privacy_pool"];

async fn begin() -> (TestDatabase, Store, Script) {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let script = Script::start(&store).await;
    (database, store, script)
}

/// One digest over all rows of a read model, in a fixed order.
async fn rows_digest(database: &TestDatabase, model: &str) -> i64 {
    let sql = format!(
        "SELECT coalesce(sum(hashtextextended(t::text, 0)::numeric % 1000000007), 0)::bigint FROM {model} t"
    );
    database.number(&sql).await
}

async fn digests(database: &TestDatabase) -> BTreeMap<&'static str, i64> {
    let mut digests = BTreeMap::new();
    for model in MODELS {
        digests.insert(model, rows_digest(database, model).await);
    }
    digests
}

/// Invariants of two-range rows: at each height and position at most one row of a key holds.
async fn check_history(database: &TestDatabase) {
    for (model, key) in [
        ("market_metrics", "chain_id, protocol, market"),
        ("risk_score", "chain_id, protocol"),
        ("block", "chain_id"),
        ("activity", "chain_id, from_block, event_index, ordinal"),
        ("privacy_pool", "chain_id, chamber, token, bucket"),
    ] {
        let overlapping = format!(
            "SELECT count(*) FROM {model} a JOIN {model} b USING ({key}) \
             WHERE (a.from_block, a.from_seq) < (b.from_block, b.from_seq) \
               AND a.from_block < b.to_block AND b.from_block < a.to_block \
               AND a.from_seq < b.to_seq AND b.from_seq < a.to_seq"
        );
        assert_eq!(database.number(&overlapping).await, 0, "{model}: rows overlap");
        let empty = format!(
            "SELECT count(*) FROM {model} WHERE from_block >= to_block OR from_seq >= to_seq"
        );
        assert_eq!(database.number(&empty).await, 0, "{model}: empty ranges");
    }
}

async fn check_verified(store: &Store) {
    let report = verify::project(store, &chain(), |_, _| {}).await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    let report = verify::derive(store, &chain(), |_, _| {}).await.unwrap();
    assert_eq!((report.discrepancies, report.pending), (Vec::new(), 0));
}

#[tokio::test]
async fn rows_follow_the_chain_and_both_verifications_agree() {
    let (database, store, mut script) = begin().await;
    script.grow(30).await;
    score(&store).await;
    project(&store).await;
    let open_blocks = format!("SELECT count(*) FROM block WHERE to_seq = {OPEN}");
    assert_eq!(database.number(&open_blocks).await, 30);
    let decoded = database.number("SELECT count(*) FROM event WHERE decoded IS NOT NULL").await;
    assert!(decoded > 30, "{decoded}");
    // The stranger's events are in the log, and in no read model.
    let strangers = format!(
        "SELECT count(*) FROM event WHERE contract = decode(lpad('{:x}', 64, '0'), 'hex')",
        support::STRANGER
    );
    assert_eq!(database.number(&strangers).await, 0);
    let markets =
        format!("SELECT count(*) FROM market_metrics WHERE to_seq = {OPEN} AND to_block = {OPEN}");
    let every = "SELECT count(*) FROM (SELECT DISTINCT protocol, market FROM market_metrics) m";
    assert_eq!(database.number(&markets).await, database.number(every).await);
    assert!(database.number("SELECT count(*) FROM risk_score").await >= 3);
    check_history(&database).await;
    check_verified(&store).await;
}

#[tokio::test]
async fn a_revert_closes_rows_and_opens_those_before() {
    let (database, store, mut script) = begin().await;
    script.grow(12).await;
    score(&store).await;
    project(&store).await;
    let known = log::head(&store).await.unwrap().seq;
    let before = hashes(&store).await;
    script.reorganise(4, 2).await;
    project(&store).await;

    let now = format!("SELECT count(*) FROM block WHERE to_seq = {OPEN}");
    assert_eq!(database.number(&now).await, 10);
    let closed = format!("SELECT count(*) FROM block WHERE to_seq < {OPEN} AND from_block >= 8");
    assert_eq!(database.number(&closed).await, 4);
    // What was known before the reorganisation is still there as it was.
    let then = format!(
        "SELECT count(*) FROM block WHERE from_seq <= {known} AND to_seq > {known}",
        known = known.0
    );
    assert_eq!(database.number(&then).await, 12);
    let scores =
        format!("SELECT count(*) FROM risk_score WHERE to_seq = {OPEN} AND from_block >= 8");
    assert_eq!(database.number(&scores).await, 0, "scores of blocks that are gone");
    let one_each = format!(
        "SELECT count(*) FROM (SELECT protocol FROM risk_score \
         WHERE to_seq = {OPEN} AND to_block = {OPEN} GROUP BY protocol) s"
    );
    let protocols = i64::try_from(support::protocols().len()).unwrap();
    assert_eq!(database.number(&one_each).await, protocols, "the scores before hold again");
    check_history(&database).await;

    score(&store).await;
    project(&store).await;
    check_history(&database).await;
    check_verified(&store).await;
    for model in MODELS {
        assert_ne!(before[model].full, hashes(&store).await[model].full, "{model}");
    }
}

#[tokio::test]
async fn retractions_change_no_row() {
    let (database, store, mut script) = begin().await;
    script.grow(10).await;
    score(&store).await;
    script.reorganise(4, 3).await;
    project(&store).await;
    let (hashed, rows) = (hashes(&store).await, digests(&database).await);
    let head = log::head(&store).await.unwrap().seq;
    support::retract(&store).await;
    let retracted = log::head(&store).await.unwrap().seq;
    assert!(retracted > head);
    project(&store).await;
    assert_eq!(state::load(&store, &chain()).await.unwrap().seq, retracted);
    assert_eq!((hashes(&store).await, digests(&database).await), (hashed, rows));
    score(&store).await;
    project(&store).await;
    check_verified(&store).await;
}

#[tokio::test]
async fn blocks_that_come_back_leave_the_canonical_hashes_as_they_were() {
    let (database, store, mut script) = begin().await;
    script.grow(20).await;
    score(&store).await;
    project(&store).await;
    let before = hashes(&store).await;
    script.detour(5, 3).await;
    score(&store).await;
    project(&store).await;
    let after = hashes(&store).await;
    for model in MODELS {
        assert_eq!(before[model].canonical, after[model].canonical, "{model}");
        assert_ne!(before[model].full, after[model].full, "{model}");
    }
    check_history(&database).await;
    check_verified(&store).await;
}

/// Projects and scores after every step, so that rows are written, loaded and closed again.
async fn step(store: &Store) {
    score(store).await;
    project(store).await;
}

#[tokio::test]
async fn canonical_hashes_do_not_know_of_reorganisations() {
    let (straight_database, straight, mut script) = begin().await;
    script.grow(40).await;
    step(&straight).await;

    let (database, store, mut script) = begin().await;
    script.grow(10).await;
    step(&store).await;
    script.detour(6, 6).await;
    script.grow(8).await;
    step(&store).await;
    // Two detours that are read in one batch, the second deeper than the first is long.
    script.detour(1, 2).await;
    script.detour(9, 4).await;
    script.grow(10).await;
    step(&store).await;
    script.detour(2, 1).await;
    step(&store).await;
    script.grow(12).await;
    step(&store).await;

    let (left, right) = (hashes(&straight).await, hashes(&store).await);
    for model in MODELS {
        assert_eq!(left[model].canonical, right[model].canonical, "{model}");
        assert_ne!(left[model].full, right[model].full, "{model}");
    }
    check_history(&straight_database).await;
    check_history(&database).await;
    check_verified(&straight).await;
    check_verified(&store).await;
}

/// What an adoption tells stands at the tip of that time. The block that replaces that tip tells it again, also of
/// markets that it does not touch, and so does one below.
#[tokio::test]
async fn what_a_registry_brings_outlives_the_block_it_was_adopted_at() {
    for depth in [1, 3] {
        let (database, store, mut script) = begin().await;
        script.thin(2);
        script.grow(12).await;
        project(&store).await;
        let unlisted = format!(
            "SELECT count(*) FROM market_metrics WHERE to_seq = {OPEN} AND to_block = {OPEN} \
             AND absent::text LIKE '%token_unlisted%'"
        );
        let priced = format!(
            "SELECT count(*) FROM price WHERE to_seq = {OPEN} AND to_block = {OPEN} \
             AND symbol LIKE '%/other'"
        );
        let before = database.number(&unlisted).await;
        script.adopt("2", &support::registry_of_other_tokens()).await;
        project(&store).await;
        let (adopted, named) = (database.number(&unlisted).await, database.number(&priced).await);
        assert!(adopted > before, "{adopted} markets have no listed token, {before} had none");
        assert!(named > 0);
        script.reorganise(depth, depth).await;
        project(&store).await;
        assert_eq!(database.number(&unlisted).await, adopted, "depth {depth}");
        assert_eq!(database.number(&priced).await, named, "depth {depth}");
        score(&store).await;
        project(&store).await;
        check_verified(&store).await;
    }
}

/// What the table of activities and that of events give, by one query each.
async fn check_equal(database: &TestDatabase, left: &str, right: &str) {
    let (left_number, right_number) = (database.number(left).await, database.number(right).await);
    assert_eq!(left_number, right_number, "{left}\n{right}");
    assert!(left_number > 0, "nothing to compare: {left}");
}

#[tokio::test]
async fn pools_and_activities_are_what_the_standing_events_say() {
    let (database, store, mut script) = begin().await;
    script.grow(30).await;
    project(&store).await;
    script.reorganise(7, 9).await;
    script.grow(5).await;
    project(&store).await;
    // Counted from the events themselves: the data of a transfer is low and high half of the amount.
    let events = |key: usize| {
        format!(
            "SELECT count(*) FROM event WHERE name = 'Transfer' AND to_seq = {OPEN} \
             AND keys[{key}] = decode(lpad('{:x}', 64, '0'), 'hex') \
             AND data[1] <> decode(repeat('00', 32), 'hex')",
            support::CHAMBER
        )
    };
    let pools = |column: &str| {
        format!(
            "SELECT sum({column})::bigint FROM privacy_pool WHERE to_seq = {OPEN} AND to_block = {OPEN}"
        )
    };
    let activities = |kind: &str| {
        format!(
            "SELECT count(*) FROM activity WHERE to_seq = {OPEN} AND protocol = 'mist_cash' \
             AND kind = '{kind}' AND wallet = decode(lpad('{:x}', 64, '0'), 'hex')",
            support::WALLET
        )
    };
    check_equal(&database, &events(3), &pools("deposits")).await;
    check_equal(&database, &events(2), &pools("withdrawals")).await;
    check_equal(&database, &events(3), &activities("deposit")).await;
    check_equal(&database, &events(2), &activities("withdrawal")).await;
    let deposited = format!(
        "SELECT sum(amount)::bigint FROM activity WHERE to_seq = {OPEN} AND protocol = 'mist_cash' AND kind = 'deposit'"
    );
    check_equal(&database, &deposited, &pools("deposited")).await;
    // Of the seeded protocols too, and of reverted blocks what was known then.
    for protocol in ["zklend", "ekubo", "jediswap_v1"] {
        let some = format!(
            "SELECT count(*) FROM activity WHERE protocol = '{protocol}' AND to_seq = {OPEN}"
        );
        assert!(database.number(&some).await > 0, "{protocol}");
    }
    let retracted = format!("SELECT count(*) FROM activity WHERE to_seq < {OPEN}");
    assert!(database.number(&retracted).await > 0);
    check_history(&database).await;
    let report = verify::project(&store, &chain(), |_, _| {}).await.unwrap();
    assert!(report.is_equal(), "{report:?}");
}

#[tokio::test]
async fn misfits_are_counted_as_they_stand() {
    let (database, store, mut script) = begin().await;
    script.grow(20).await;
    project(&store).await;
    let counted = misfit::by_protocol(&store, &chain()).await.unwrap();
    let standing = "SELECT count(*) FROM event WHERE name IS NULL";
    let before = u64::try_from(database.number(standing).await).unwrap();
    assert_eq!(counted, BTreeMap::from([("erc20".to_owned(), before)]));
    let frequent = misfit::most_frequent(&store, &chain(), 10).await.unwrap();
    let [only] = frequent.as_slice() else { panic!("{frequent:?}") };
    assert_eq!((only.contract.0, only.events), (felt(support::TOKEN), before));
    assert_eq!(only.selector, Some(felt(0xbad)));
    script.reorganise(15, 1).await;
    project(&store).await;
    let standing = format!("{standing} AND to_seq = {OPEN}");
    let after = u64::try_from(database.number(&standing).await).unwrap();
    assert!(after < before, "{after} of {before}");
    let counted = misfit::by_protocol(&store, &chain()).await.unwrap();
    assert_eq!(counted.values().sum::<u64>(), after);
}

#[tokio::test]
async fn batch_boundaries_change_nothing() {
    let (database, store, mut script) = begin().await;
    script.grow(12).await;
    score(&store).await;
    script.reorganise(3, 2).await;
    score(&store).await;
    script.detour(4, 5).await;
    script.grow(6).await;
    script.writer.finalize(5).await.unwrap();
    score(&store).await;
    project(&store).await;
    let (whole, rows) = (hashes(&store).await, digests(&database).await);
    check_history(&database).await;

    for (size, reload) in [(1, true), (1, false), (7, true), (100, false), (100, true)] {
        for table in READ_MODELS.into_iter().chain(["projection_state", "projection_hash"]) {
            database.execute(&format!("DELETE FROM {table}")).await;
        }
        assert!(project_in_batches(&store, (size, u32::MAX), reload).await);
        assert_eq!(digests(&database).await, rows, "batches of {size}, reload: {reload}");
        assert_eq!(hashes(&store).await, whole, "batches of {size}, reload: {reload}");
    }
    check_verified(&store).await;
}

#[tokio::test]
async fn a_projector_that_runs_again_changes_nothing() {
    let (database, store, mut script) = begin().await;
    script.grow(10).await;
    script.detour(2, 2).await;
    score(&store).await;
    project(&store).await;
    let (hashed, rows) = (hashes(&store).await, digests(&database).await);
    let stretches = run_to_end(&mut Projector::new(&store, &chain()), &store).await.unwrap();
    assert_eq!(stretches, 0);
    score(&store).await;
    project(&store).await;
    assert_eq!((hashes(&store).await, digests(&database).await), (hashed, rows));
}

#[tokio::test]
async fn read_models_of_an_older_program_are_made_anew() {
    let (database, store, mut script) = begin().await;
    script.grow(10).await;
    script.detour(2, 2).await;
    step(&store).await;
    let (hashed, rows) = (hashes(&store).await, digests(&database).await);
    database
        .execute("DELETE FROM activity; DELETE FROM projection_hash WHERE read_model = 'activity'")
        .await;
    project(&store).await;
    assert_eq!((hashes(&store).await, digests(&database).await), (hashed.clone(), rows.clone()));

    // One that went on without a read model left its rows and its hash as they were.
    database
        .execute(
            "DELETE FROM activity WHERE from_block > 5; \
             UPDATE projection_hash SET seq = seq - 40 WHERE read_model = 'activity'",
        )
        .await;
    project(&store).await;
    assert_eq!((hashes(&store).await, digests(&database).await), (hashed.clone(), rows.clone()));

    // One of other definitions.
    database
        .execute(
            "UPDATE market_metrics SET tvl_usdc = 1; UPDATE projection_hash SET rules = 'metrics-v2'",
        )
        .await;
    project(&store).await;
    assert_eq!((hashes(&store).await, digests(&database).await), (hashed, rows));
    check_verified(&store).await;
}

/// A registry leaves a token out, and a later one has it again: the rows of before stand, and what happened
/// meanwhile is added.
#[tokio::test]
async fn a_contract_that_is_dropped_and_listed_again_lacks_nothing() {
    let (_straight_database, straight, mut script) = begin().await;
    script.grow(14).await;
    step(&straight).await;
    let straight = hashes(&straight).await;
    for dropped in ["erc20", "mist_cash"] {
        let (database, store, mut script) = begin().await;
        let (with, without) = (support::registry(), support::registry_without(dropped));
        let rows = format!(
            "SELECT (SELECT count(*) FROM event WHERE protocol = '{dropped}' AND to_seq = {OPEN}) \
             + (SELECT count(*) FROM activity WHERE protocol = '{dropped}' AND to_seq = {OPEN})"
        );
        script.grow(6).await;
        project(&store).await;
        let before = database.number(&rows).await;
        script.adopt("2", &without).await;
        script.grow(6).await;
        project(&store).await;
        assert_eq!(database.number(&rows).await, before);
        script.adopt("3", &with).await;
        script.grow(2).await;
        script.detour(1, 2).await;
        step(&store).await;
        check_history(&database).await;
        check_verified(&store).await;
        let found = hashes(&store).await;
        for model in ["event", "activity", "privacy_pool", "market_metrics", "price"] {
            assert_eq!(straight[model].canonical, found[model].canonical, "{model}, {dropped}");
        }
    }
}

/// A token that a registry leaves out has no price from there on, also after the block is replaced.
#[tokio::test]
async fn what_a_registry_drops_ends() {
    let (database, store, mut script) = begin().await;
    let priced = format!(
        "SELECT count(*) FROM price WHERE to_seq = {OPEN} AND to_block = {OPEN} AND source = 'pools'"
    );
    script.grow(12).await;
    project(&store).await;
    let before = database.number(&priced).await;
    script.adopt("2", &support::registry_of_other_tokens()).await;
    project(&store).await;
    assert_eq!(database.number(&priced).await, before - 1);
    script.reorganise(3, 4).await;
    project(&store).await;
    assert_eq!(database.number(&priced).await, before - 1);
    check_history(&database).await;
}

#[tokio::test]
async fn a_batch_that_is_dropped_is_done_again() {
    let (database, store, mut script) = begin().await;
    script.grow(8).await;
    project(&store).await;
    script.grow(4).await;
    script.reorganise(6, 7).await;
    let before = (hashes(&store).await, digests(&database).await);

    // Killed before the commit: everything was applied, nothing is kept.
    let partition = Partition::Projector(chain());
    let mut models = ReadModels::load(&store, &chain(), &partition).await.unwrap();
    let mut tx = store.begin().await.unwrap();
    for entry in log::read_after(&store, models.state().seq, 10_000).await.unwrap() {
        models.apply(&mut tx, &entry).await.unwrap();
    }
    models.write(&mut tx).await.unwrap();
    drop((tx, models));
    assert_eq!((hashes(&store).await, digests(&database).await), before);

    project(&store).await;
    check_history(&database).await;
    let report = verify::project(&store, &chain(), |_, _| {}).await.unwrap();
    assert!(report.is_equal(), "{report:?}");
}

#[tokio::test]
async fn a_projector_without_its_lease_writes_nothing() {
    let (database, store, mut script) = begin().await;
    script.grow(3).await;
    let mut projector = Projector::new(&store, &chain());
    let stale = hold(&store, projector.partition()).await;
    projector.load().await.unwrap();
    database.execute("UPDATE lease SET epoch = epoch + 1, holder = 'other'").await;
    assert!(projector.work(&stale).await.is_err());
    assert_eq!(database.number("SELECT count(*) FROM block").await, 0);
    database.execute("UPDATE lease SET epoch = epoch - 1, holder = 'test'").await;
    projector.load().await.unwrap();
    assert_eq!(projector.work(&stale).await.unwrap(), Progress::Worked);
    assert_eq!(database.number("SELECT count(*) FROM block").await, 3);
}

#[tokio::test]
async fn read_models_before_the_first_projection_are_equal_to_the_fold() {
    let (_database, store, mut script) = begin().await;
    let report = verify::project(&store, &chain(), |_, _| {}).await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    script.grow(2).await;
    let report = verify::project(&store, &chain(), |_, _| {}).await.unwrap();
    assert_eq!((report.seq, report.is_equal()), (Seq::BEFORE_FIRST, true));
}

#[tokio::test]
async fn verification_can_be_repeated_on_the_connections_of_a_projector() {
    let database = TestDatabase::create().await;
    let mut options = StoreOptions::new(Role::Writer);
    options.max_connections = 3;
    let store = Store::connect(database.url(), options).await.unwrap();
    let mut script = Script::start(&store).await;
    for _ in 0..3 {
        script.grow(3).await;
        script.reorganise(1, 1).await;
        step(&store).await;
        check_verified(&store).await;
    }
}

#[tokio::test]
async fn changed_rows_are_reported() {
    let (database, store, mut script) = begin().await;
    script.grow(10).await;
    script.reorganise(2, 2).await;
    step(&store).await;
    check_verified(&store).await;
    for (model, tampering, repair) in [
        (
            "block",
            "UPDATE block SET event_count = event_count + 1 WHERE from_block = 3",
            "UPDATE block SET event_count = event_count - 1 WHERE from_block = 3",
        ),
        (
            "event",
            "UPDATE event SET decoded = '{}' WHERE from_seq = (SELECT min(from_seq) FROM event)",
            "",
        ),
        (
            "market_metrics",
            "UPDATE market_metrics SET tvl_usdc = coalesce(tvl_usdc, 0) + 1 \
          WHERE ctid = (SELECT min(ctid) FROM market_metrics)",
            "",
        ),
        (
            "risk_score",
            "DELETE FROM risk_score WHERE ctid = (SELECT min(ctid) FROM risk_score)",
            "",
        ),
        (
            "activity",
            "UPDATE activity SET amount = amount + 1 WHERE place = (SELECT min(place) FROM activity)",
            "",
        ),
        (
            "privacy_pool",
            "UPDATE privacy_pool SET deposited = deposited + 1 \
             WHERE ctid = (SELECT min(ctid) FROM privacy_pool)",
            "",
        ),
    ] {
        database.execute(tampering).await;
        let report = verify::project(&store, &chain(), |_, _| {}).await.unwrap();
        assert!(!report.is_equal(), "{tampering}");
        let found = report.differences.iter().find(|found| found.read_model == model).unwrap();
        assert_eq!(found.only_folded, 1, "{tampering}: {report:?}");
        if !repair.is_empty() {
            database.execute(repair).await;
            check_verified(&store).await;
        }
    }
}

#[tokio::test]
async fn changed_state_hashes_are_reported() {
    let (database, store, mut script) = begin().await;
    script.grow(3).await;
    step(&store).await;
    database
        .execute(
            "UPDATE projection_hash SET canonical = decode(repeat('ab', 32), 'hex') \
             WHERE read_model = 'event'",
        )
        .await;
    let report = verify::project(&store, &chain(), |_, _| {}).await.unwrap();
    assert_eq!(report.wrong_hashes, ["event"]);
    assert!(!report.is_equal());
}

#[tokio::test]
async fn workers_that_run_again_append_nothing() {
    let (_database, store, mut script) = begin().await;
    script.grow(10).await;
    score(&store).await;
    let head = log::head(&store).await.unwrap();
    assert_ne!(head.hash, Hash32::ZERO);
    score(&store).await;
    assert_eq!(log::head(&store).await.unwrap(), head);
}
