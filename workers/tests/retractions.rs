//! Retractions against a real database: one for each derived fact of a reverted block, at any depth, in
//! any order of steps, and under races of workers, retractors and reorganisations.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use obsqra_events::{Draft, Entry, Fact, Kind, Lane, Retracted};
use obsqra_store::{
    Fence, Key, Keyed, Lease, Role as DatabaseRole, Store, StoreError, cursor, log,
};
use obsqra_testkit::TestDatabase;
use obsqra_types::{BlockHash, BlockNumber, BranchEpoch, Hash32, Partition, Seq};
use obsqra_workers::WorkError;
use obsqra_workers::jobs::retract::Retract;
use obsqra_workers::jobs::score_risk::ScoreRisk;
use obsqra_workers::projections::Projector;
use obsqra_workers::runtime::{Progress, Role};
use obsqra_workers::verify::{self, DeriveReport, Discrepancy};
use support::{Script, chain, hold, project, protocols, retract, run_to_end, score, score_only};

const TTL: Duration = Duration::from_secs(600);
/// A test that is still waiting by then hangs.
const DEADLINE: Duration = Duration::from_secs(240);

async fn begin() -> (TestDatabase, Store, Script) {
    let database = TestDatabase::create().await;
    let store = database.store(DatabaseRole::Writer).await;
    let script = Script::start(&store).await;
    (database, store, script)
}

async fn entries(store: &Store) -> Vec<Entry> {
    log::read_after(store, Seq::BEFORE_FIRST, 10_000_000).await.unwrap()
}

fn subject(fact: &Fact) -> String {
    match fact {
        Fact::RiskScored(fact) => fact.protocol.to_string(),
        Fact::RiskAbsent(fact) => fact.protocol.to_string(),
        Fact::AnomalyFound(fact) => fact.subject(),
        other => panic!("{other:?} has no subject in this test"),
    }
}

/// What is to be retracted, by reading the whole log: facts by block and branch, and what reverts take.
fn expected(entries: &[Entry]) -> Vec<Draft> {
    let mut facts: BTreeMap<(BlockNumber, BranchEpoch), Vec<(Seq, &Draft)>> = BTreeMap::new();
    let mut expected = Vec::new();
    let mut gone = BTreeSet::new();
    for entry in entries {
        let Some(block) = entry.draft.block else { continue };
        let place = (block.number, block.epoch);
        match entry.draft.fact().unwrap() {
            Fact::RiskScored(_) | Fact::RiskAbsent(_) | Fact::AnomalyFound(_) => {
                assert!(!gone.contains(&place), "{} states a fact of a reverted block", entry.seq);
                facts.entry(place).or_default().push((entry.seq, &entry.draft));
            }
            Fact::BlockReverted(reverted) => {
                assert!(gone.insert(place), "a block is reverted once");
                for (seq, draft) in facts.remove(&place).unwrap_or_default() {
                    let fact = Fact::Retracted(Retracted {
                        kind: draft.kind,
                        subject: subject(&draft.fact().unwrap()),
                        block_hash: reverted.hash,
                        seq,
                        content_hash: draft.content_hash,
                        reverted_seq: entry.seq,
                    });
                    expected.push(Draft::new(&chain(), Some(block), &fact));
                }
            }
            _ => {}
        }
    }
    expected
}

fn found(entries: &[Entry]) -> Vec<Draft> {
    entries
        .iter()
        .filter(|entry| entry.draft.kind == Kind::Retracted)
        .map(|entry| entry.draft.clone())
        .collect()
}

/// Every retraction is in the log once, in order, and none else. Says how many they are.
async fn check_retracted(store: &Store) -> usize {
    let entries = entries(store).await;
    let (expected, found) = (expected(&entries), found(&entries));
    assert!(found == expected, "{} found, {} expected", found.len(), expected.len());
    expected.len()
}

async fn derived(store: &Store) -> DeriveReport {
    verify::derive(store, &chain(), |_, _| {}).await.unwrap()
}

async fn check_verified(store: &Store) {
    let report = derived(store).await;
    assert_eq!((&report.discrepancies, report.pending), (&Vec::new(), 0));
    let report = verify::project(store, &chain(), |_, _| {}).await.unwrap();
    assert!(report.is_equal(), "{report:?}");
}

#[tokio::test]
async fn each_fact_of_a_reverted_block_is_retracted_once_at_any_depth() {
    for (depth, events) in [(1, usize::MAX), (10, usize::MAX), (100, 8), (600, 8)] {
        let (_database, store, mut script) = begin().await;
        script.thin(events);
        script.grow_fast(depth + 5).await;
        score(&store).await;
        project(&store).await;
        assert_eq!(check_retracted(&store).await, 0);
        script.reorganise(depth, 3).await;
        score(&store).await;
        let retracted = check_retracted(&store).await;
        assert!(retracted >= depth / 2, "depth {depth}: {retracted} facts");
        project(&store).await;
        check_verified(&store).await;
        let head = log::head(&store).await.unwrap();
        score(&store).await;
        assert_eq!(log::head(&store).await.unwrap(), head, "depth {depth}");
    }
}

#[tokio::test]
async fn the_same_block_under_two_branch_epochs_has_facts_of_its_own() {
    let (_database, store, mut script) = begin().await;
    script.grow(8).await;
    score(&store).await;
    let left = script.leave(3, 4).await;
    score(&store).await;
    script.come_back(left).await;
    score(&store).await;
    project(&store).await;
    check_retracted(&store).await;
    check_verified(&store).await;

    let entries = entries(&store).await;
    let retracted: BTreeSet<u32> =
        found(&entries).iter().map(|draft| draft.block.unwrap().epoch.0).collect();
    assert_eq!(retracted, BTreeSet::from([0, 1]), "what came back stands");
    // The facts of the first and of the last branch are about the same blocks, by hash.
    let hashes = |epoch: u32| -> BTreeSet<BlockHash> {
        entries
            .iter()
            .filter(|entry| entry.draft.block.is_some_and(|block| block.epoch.0 == epoch))
            .filter_map(|entry| match entry.draft.fact().unwrap() {
                Fact::RiskAbsent(fact) => Some(fact.block_hash),
                Fact::RiskScored(fact) => Some(fact.block_hash),
                _ => None,
            })
            .collect()
    };
    assert!(hashes(2).is_subset(&hashes(0)) && !hashes(2).is_empty());
    assert!(hashes(1).is_disjoint(&hashes(0)));
}

#[tokio::test]
async fn reverts_inside_reverts_are_told_apart() {
    for retract_between in [true, false] {
        let (_database, store, mut script) = begin().await;
        script.grow(14).await;
        score_only(&store).await;
        // Each cuts into the branch of the one before; the last goes below all of them.
        for (depth, with) in [(5, 6), (3, 2), (1, 3), (10, 4)] {
            script.reorganise(depth, with).await;
            score_only(&store).await;
            if retract_between {
                retract(&store).await;
                project(&store).await;
            }
        }
        retract(&store).await;
        project(&store).await;
        assert!(check_retracted(&store).await > 10);
        check_verified(&store).await;
    }
}

/// A role that is killed after every stretch, with what it holds in memory.
async fn run_killed<R: Role>(store: &Store, new: impl Fn() -> R) -> u32 {
    let lease = hold(store, new().partition()).await;
    let mut stretches = 0u32;
    loop {
        let mut role = new();
        role.load().await.unwrap();
        if role.work(&lease).await.unwrap() == Progress::Idle {
            break;
        }
        stretches += 1;
        assert!(stretches < 100, "no progress");
        // It may also have got further than its cursor says, by one stretch.
        if stretches.is_multiple_of(2) {
            role.work(&lease).await.unwrap();
        }
    }
    lease.release().await.unwrap();
    stretches
}

#[tokio::test]
async fn a_retractor_that_is_killed_between_steps_leaves_the_rest_to_the_next() {
    let (database, store, mut script) = begin().await;
    script.grow_fast(250).await;
    score_only(&store).await;
    script.reorganise(240, 2).await;
    let stretches = run_killed(&store, || Retract::new(&store, &chain())).await;
    assert!(stretches > 1, "more facts than one transaction takes");
    assert!(check_retracted(&store).await > 256);

    // Without its cursor it does everything again, and appends nothing.
    let head = log::head(&store).await.unwrap();
    database.execute("DELETE FROM cursor_position WHERE partition LIKE 'retractor/%'").await;
    retract(&store).await;
    assert_eq!(log::head(&store).await.unwrap(), head);
    score_only(&store).await;
    project(&store).await;
    check_verified(&store).await;
}

#[tokio::test]
async fn a_revert_with_more_facts_than_one_transaction_takes_is_retracted_whole() {
    let (database, store, mut script) = begin().await;
    script.grow(3).await;
    // 600 facts about the newest block, of subjects that only this test knows.
    let block = script.block_ref(script.tip());
    let facts = (0..600).map(|index| planted(&script, index)).collect();
    plant(&store, facts).await.unwrap();
    script.reorganise(1, 1).await;
    let stretches = run_killed(&store, || Retract::new(&store, &chain())).await;
    let kinds = format!(
        "SELECT count(*) FROM log WHERE kind = 90 AND block_number = {} AND branch_epoch = {}",
        block.number.0, block.epoch.0
    );
    assert_eq!(database.number(&kinds).await, check_retracted(&store).await as i64);
    assert!(check_retracted(&store).await >= 600 && stretches >= 2);
    let reverted = format!(
        "SELECT count(*) FROM cursor_position WHERE partition = 'retractor/{}' \
         AND seq = (SELECT max(seq) FROM log WHERE kind = 13)",
        chain()
    );
    assert_eq!(database.number(&reverted).await, 1);
}

fn planted(script: &Script, index: u32) -> Keyed {
    use obsqra_events::{AbsentInput, Causes, RiskAbsent};
    let protocol = obsqra_types::ProtocolId::new(format!("made_up_{index}")).unwrap();
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

/// Appends under a partition of the test's own.
async fn plant(store: &Store, facts: Vec<Keyed>) -> Result<Seq, StoreError> {
    let lease = Lease::acquire(store, Partition::Checkpointer, "test", TTL).await?.unwrap();
    let mut tx = store.begin().await?;
    let outcome = log::append(&mut tx, lease.fence(), facts).await?;
    tx.commit().await.map_err(StoreError::from)?;
    Ok(outcome.after.seq)
}

#[tokio::test]
async fn two_retractors_at_once_retract_nothing_twice() {
    let (database, store, mut script) = begin().await;
    script.grow_fast(250).await;
    score_only(&store).await;
    script.reorganise(240, 2).await;
    let (mut slow, mut quick) = (Retract::new(&store, &chain()), Retract::new(&store, &chain()));
    let stale = hold(&store, slow.partition()).await;
    slow.load().await.unwrap();
    quick.load().await.unwrap();
    assert_eq!(slow.work(&stale).await.unwrap(), Progress::Worked);

    database
        .execute(
            "UPDATE lease SET expires_at = clock_timestamp() WHERE partition LIKE 'retractor/%'",
        )
        .await;
    let shutdown = tokio_util::sync::CancellationToken::new();
    let taken =
        obsqra_store::LeaseKeeper::acquire(&store, quick.partition(), "other", TTL, &shutdown);
    let taken = taken.await.unwrap().unwrap();
    // It stands where the first one began, and goes over what that one did.
    while quick.work(&taken).await.unwrap() == Progress::Worked {}
    let head = log::head(&store).await.unwrap();
    let refused = slow.work(&stale).await;
    assert!(matches!(&refused, Err(WorkError::Store(StoreError::LeaseLost(_)))), "{refused:?}");
    assert_eq!(log::head(&store).await.unwrap(), head);
    assert!(check_retracted(&store).await > 256);
}

/// Waits until so many sessions wait for a lock.
async fn waiting(database: &TestDatabase, sessions: i64) {
    let deadline = Instant::now() + DEADLINE;
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while database.number(sql).await < sessions {
        assert!(Instant::now() < deadline, "nobody waits");
        tokio::task::yield_now().await;
    }
}

/// Takes the head lock, as an append under way does.
async fn lock_head(store: &Store) -> obsqra_store::Transaction {
    let lease = Lease::acquire(store, Partition::Checkpointer, "test", TTL).await.unwrap().unwrap();
    let fence: Fence = lease.fence().clone();
    let mut tx = store.begin().await.unwrap();
    log::append(&mut tx, &fence, Vec::new()).await.unwrap();
    tx
}

/// A worker has computed the facts of a block, and a reorganisation that takes the block away is under
/// way: one of the two gets the head lock first.
async fn race(revert_first: bool) {
    let (database, store, mut script) = begin().await;
    script.grow(6).await;
    score(&store).await;
    script.grow(2).await;
    let block = script.block_ref(script.tip());
    let protocol = protocols().remove(0);
    let before = log::head(&store).await.unwrap().seq;

    let lock = lock_head(&store).await;
    let working = {
        let store = store.clone();
        async move { run_to_end(&mut ScoreRisk::new(&store, &chain(), &protocol), &store).await }
    };
    let reverting = async move {
        script.reorganise(2, 3).await;
        script
    };
    // Who waits first for the row's lock gets it first.
    let (worked, mut script) = if revert_first {
        let reverting = tokio::spawn(reverting);
        waiting(&database, 1).await;
        let working = tokio::spawn(working);
        waiting(&database, 2).await;
        lock.rollback().await.unwrap();
        (working.await.unwrap(), reverting.await.unwrap())
    } else {
        let working = tokio::spawn(working);
        waiting(&database, 1).await;
        let reverting = tokio::spawn(reverting);
        waiting(&database, 2).await;
        lock.rollback().await.unwrap();
        (working.await.unwrap(), reverting.await.unwrap())
    };
    worked.unwrap();
    let about_it = |entry: &&Entry| {
        let same = entry.draft.block.is_some_and(|other| other == block);
        entry.seq > before && same && entry.draft.kind.lane() == Lane::Derived
    };
    let stated = entries(&store).await.iter().filter(about_it).count();
    assert_eq!(stated, usize::from(!revert_first), "superseded, or in the log to be retracted");
    retract(&store).await;
    let retracted = entries(&store).await.iter().filter(about_it).count() - stated;
    assert_eq!(retracted, stated);
    check_retracted(&store).await;

    script.grow(1).await;
    score(&store).await;
    project(&store).await;
    check_retracted(&store).await;
    check_verified(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_facts_of_a_worker_that_was_still_computing_are_superseded() {
    race(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_facts_of_a_worker_that_was_just_in_time_are_retracted() {
    race(false).await;
}

/// Works until told that nothing comes any more, and then to the end of the log.
async fn keep_working<R: Role>(mut role: R, store: Store, over: Arc<AtomicBool>) {
    let lease = hold(&store, role.partition()).await;
    role.load().await.unwrap();
    loop {
        let last = over.load(Ordering::Acquire);
        match role.work(&lease).await.unwrap() {
            Progress::Idle if last => return,
            Progress::Idle => tokio::task::yield_now().await,
            Progress::Worked => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn workers_a_retractor_and_a_projector_keep_up_with_a_chain_that_reorganises() {
    let (_database, store, mut script) = begin().await;
    script.thin(4);
    let over = Arc::new(AtomicBool::new(false));
    let mut roles = tokio::task::JoinSet::new();
    for protocol in protocols() {
        let role = ScoreRisk::new(&store, &chain(), &protocol);
        roles.spawn(keep_working(role, store.clone(), Arc::clone(&over)));
    }
    let retractor = Retract::new(&store, &chain());
    roles.spawn(keep_working(retractor, store.clone(), Arc::clone(&over)));
    let projector = Projector::new(&store, &chain());
    roles.spawn(keep_working(projector, store.clone(), Arc::clone(&over)));
    for round in 0..40 {
        script.grow(3).await;
        script.reorganise(1 + round % 3, 1 + round % 2).await;
        script.detour(1 + round % 2, 2).await;
    }
    over.store(true, Ordering::Release);
    tokio::time::timeout(DEADLINE, roles.join_all()).await.expect("every role ends");
    retract(&store).await;
    project(&store).await;
    check_retracted(&store).await;
    check_verified(&store).await;
}

#[tokio::test]
async fn retractions_that_are_not_there_yet_are_pending_and_those_left_out_are_missing() {
    let (database, store, mut script) = begin().await;
    script.grow(8).await;
    score(&store).await;
    script.reorganise(3, 3).await;
    score_only(&store).await;
    let report = derived(&store).await;
    assert!(report.pending > 0 && report.discrepancies.is_empty(), "{report:?}");
    let due = report.pending;

    // A retractor whose cursor is past the reverts, and that has not retracted.
    let head = log::head(&store).await.unwrap().seq;
    let mut tx = store.begin().await.unwrap();
    cursor::advance(&mut tx, &Partition::Retractor(chain()), head).await.unwrap();
    tx.commit().await.unwrap();
    let missing = |report: &DeriveReport| {
        report
            .discrepancies
            .iter()
            .filter(|found| match found {
                Discrepancy::Missing { subject, .. } => subject.starts_with("the retraction of"),
                _ => false,
            })
            .count() as u64
    };
    let report = derived(&store).await;
    assert_eq!((missing(&report), report.pending), (due, 0), "{report:?}");

    // Without the cursor, what a later retraction has been past is missing all the same.
    database.execute("DELETE FROM cursor_position WHERE partition LIKE 'retractor/%'").await;
    let last = expected(&entries(&store).await).pop().unwrap();
    plant(&store, vec![Keyed { key: Key::Plain, drafts: vec![last] }]).await.unwrap();
    let report = derived(&store).await;
    assert_eq!((missing(&report), report.pending), (due - 1, 0), "{report:?}");
}

/// Plants a changed retraction past the key's check, and returns what the verification says.
async fn planted_retraction(change: impl Fn(&mut Retracted)) -> (Seq, DeriveReport) {
    let (_database, store, mut script) = begin().await;
    script.grow(8).await;
    score(&store).await;
    script.reorganise(3, 3).await;
    score_only(&store).await;
    let draft = expected(&entries(&store).await).remove(0);
    let Fact::Retracted(mut fact) = draft.fact().unwrap() else { panic!("a retraction") };
    change(&mut fact);
    let draft = Draft::new(&chain(), draft.block, &Fact::Retracted(fact));
    let seq = plant(&store, vec![Keyed { key: Key::Plain, drafts: vec![draft] }]).await.unwrap();
    (seq, derived(&store).await)
}

#[tokio::test]
async fn a_retraction_that_does_not_follow_from_the_log_is_reported() {
    let (_, report) = planted_retraction(|_| {}).await;
    assert!(report.discrepancies.is_empty(), "{report:?}");
    let (planted, report) = planted_retraction(|fact| fact.content_hash = Hash32([1; 32])).await;
    let [Discrepancy::Differs { seq, .. }] = report.discrepancies.as_slice() else {
        panic!("{report:?}");
    };
    assert_eq!(*seq, planted);
    for change in [(|fact| fact.seq = Seq(fact.seq.0 + 1_000)) as fn(&mut Retracted), |fact| {
        fact.reverted_seq = Seq(fact.reverted_seq.0 - 1)
    }] {
        let (planted, report) = planted_retraction(change).await;
        let unfounded = report
            .discrepancies
            .iter()
            .any(|found| matches!(found, Discrepancy::Unfounded { seq, .. } if *seq == planted));
        assert!(unfounded, "{report:?}");
    }
}

#[tokio::test]
async fn a_verification_lets_go_of_what_is_final() {
    let (_database, store, mut script) = begin().await;
    for round in 0..30 {
        script.grow(4).await;
        score(&store).await;
        script.writer.finalize(script.tip().number - 2).await.unwrap();
        if round % 5 == 0 {
            script.reorganise(2, 3).await;
        }
    }
    score(&store).await;
    project(&store).await;
    check_verified(&store).await;
    let report = derived(&store).await;
    assert!(report.compared > 100, "{report:?}");
    assert!(report.most_held < 70, "{report:?}");
}

struct Timed {
    blocks: Duration,
    scores: Duration,
    retractions: Duration,
    projection: Duration,
}

impl std::fmt::Display for Timed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { blocks, scores, retractions, projection } = self;
        write!(
            f,
            "blocks {blocks:.2?}, scores {scores:.2?}, retractions {retractions:.2?}, \
             projection {projection:.2?}"
        )
    }
}

/// Does all that follows a change of the chain, one role after the other, and takes the time of each.
async fn timed(store: &Store, change: impl Future<Output = ()>) -> Timed {
    let start = Instant::now();
    change.await;
    let blocks = start.elapsed();
    let start = Instant::now();
    score_only(store).await;
    let scores = start.elapsed();
    let start = Instant::now();
    retract(store).await;
    let retractions = start.elapsed();
    let start = Instant::now();
    project(store).await;
    Timed { blocks, scores, retractions, projection: start.elapsed() }
}

#[tokio::test]
#[ignore = "takes minutes; prints the times of each role"]
async fn a_reorganisation_of_two_thousand_blocks() {
    const DEPTH: usize = 2_000;
    let (_database, store, mut script) = begin().await;
    script.thin(8);
    timed(&store, script.grow_fast(100)).await;
    let forward = timed(&store, script.grow_fast(DEPTH)).await;
    let back = timed(&store, script.reorganise(DEPTH, 16)).await;
    let retracted = check_retracted(&store).await;
    println!("appending {DEPTH} blocks: {forward}");
    println!("reverting {DEPTH} blocks, {retracted} facts: {back}");
    assert!(retracted >= DEPTH, "{retracted}");
    let start = Instant::now();
    check_verified(&store).await;
    println!("both verifications: {:.2?}", start.elapsed());
}
