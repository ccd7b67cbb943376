//! Any history that ends in the same canonical chain, read in any batches, gives the same rows: the `canonical`
//! hash of every read model is that of the chain written down once, without a reorganisation.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod support;

use std::collections::BTreeMap;

use obsqra_store::{Role, Store};
use obsqra_testkit::TestDatabase;
use obsqra_types::Hash32;
use obsqra_workers::verify;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use support::{Script, chain, hashes, project, project_in_batches, propose, retract, score_only};
use tokio::runtime::Runtime;

/// Histories tried in one run; each writes two logs.
const HISTORIES: u32 = 8;

#[derive(Clone, Copy, Debug)]
enum Step {
    Grow(usize),
    /// The newest blocks are replaced by others.
    Reorganise {
        depth: usize,
        with: usize,
    },
    /// As before, and back again.
    Detour {
        depth: usize,
        with: usize,
    },
    Score,
    Propose,
    Retract,
    /// At most three batches.
    Project {
        size: u32,
        reload: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let depths = || (1_usize..8, 1_usize..8);
    prop_oneof![
        3 => (1_usize..6).prop_map(Step::Grow),
        2 => depths().prop_map(|(depth, with)| Step::Reorganise { depth, with }),
        2 => depths().prop_map(|(depth, with)| Step::Detour { depth, with }),
        2 => Just(Step::Score),
        1 => Just(Step::Propose),
        1 => Just(Step::Retract),
        3 => (1_u32..120, any::<bool>()).prop_map(|(size, reload)| Step::Project { size, reload }),
    ]
}

async fn take(step: Step, script: &mut Script, store: &Store) {
    // The block at height 0 makes the markets and stays.
    let deepest = script.canonical().len() - 1;
    match step {
        Step::Grow(blocks) => script.grow(blocks).await,
        Step::Reorganise { depth, with } => {
            script.reorganise(depth.min(deepest), with.max(1)).await;
        }
        Step::Detour { depth, with } => script.detour(depth.min(deepest), with).await,
        Step::Score => score_only(store).await,
        Step::Propose => propose(store).await,
        Step::Retract => retract(store).await,
        Step::Project { size, reload } => {
            project_in_batches(store, (size, 3), reload).await;
        }
    }
}

/// Everything is derived and projected to the end.
async fn finish(store: &Store) -> BTreeMap<String, Hash32> {
    score_only(store).await;
    propose(store).await;
    retract(store).await;
    project(store).await;
    hashes(store).await.into_iter().map(|(model, hashes)| (model, hashes.canonical)).collect()
}

async fn check(steps: Vec<Step>) {
    let database = TestDatabase::create().await;
    let store = database.store(Role::Writer).await;
    let mut script = Script::start(&store).await;
    script.adopt_policies().await;
    script.grow(9).await;
    for step in steps {
        take(step, &mut script, &store).await;
    }
    let found = finish(&store).await;
    let report = verify::project(&store, &chain(), |_, _| {}).await.unwrap();
    assert!(report.is_equal(), "{report:?}");
    let report = verify::derive(&store, &chain(), |_, _| {}).await.unwrap();
    assert_eq!((report.discrepancies, report.pending), (Vec::new(), 0));

    let straight_database = TestDatabase::create().await;
    let straight = straight_database.store(Role::Writer).await;
    let once = Script::straight(&straight, &script).await;
    assert_eq!(once.canonical().len(), script.canonical().len());
    assert_eq!(found, finish(&straight).await);
    assert_eq!(found.len(), 9, "{found:?}");
}

#[test]
fn every_history_of_a_chain_gives_the_same_rows() {
    let runtime = Runtime::new().unwrap();
    let config = Config {
        cases: HISTORIES,
        max_shrink_iters: 24,
        failure_persistence: None,
        ..Config::default()
    };
    let histories = prop::collection::vec(step(), 6..16);
    TestRunner::new(config)
        .run(&histories, |steps| {
            runtime.block_on(check(steps));
            Ok(())
        })
        .unwrap();
}
