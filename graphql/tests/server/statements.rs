//! How many SQL statements a request takes: a bounded number, however many rows it returns.

use std::cell::RefCell;
use std::sync::Once;

use serde_json::json;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{World, activity, market, pool, score};

thread_local! {
    static TAKEN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Counts the statements that the database driver reports, by thread: a test and its server run on
/// one. Left out are those that the server also makes by itself, at any time: looks at the position,
/// and what a new connection begins with.
struct Statements;

const BESIDE: [&str; 3] = ["projection_state", "LISTEN", "SET ROLE"];

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        let mut text = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            text.push_str(&format!("{}={value:?} ", field.name()));
        });
        if !BESIDE.iter().any(|beside| text.contains(beside)) {
            TAKEN.with_borrow_mut(|taken| taken.push(text));
        }
    }
}

/// For the whole process: a subscriber of one thread would miss what other threads saw first.
fn count_statements() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let statements = Targets::new().with_target("sqlx::query", LevelFilter::DEBUG);
        let subscriber = tracing_subscriber::registry().with(Statements.with_filter(statements));
        tracing::subscriber::set_global_default(subscriber).unwrap();
    });
}

#[tokio::test]
async fn a_page_takes_as_many_statements_as_a_row() {
    let world = World::at(300, 50_000).await;
    let mut scores = Vec::new();
    for block in 1..=100 {
        let entry = world.append_score("zklend", 50).await;
        scores.push(score("zklend", 50, block, entry.0));
    }
    world.insert_scores(&scores).await;
    let markets: Vec<_> = (0..100).map(|n| market("ekubo", &format!("{n:#x}"), 1, n + 1)).collect();
    world.insert_markets(&markets).await;

    let activities: Vec<_> = (1..=100).map(|n| activity("zklend", 0xa, n, n)).collect();
    world.insert_activities(&activities).await;
    let pools: Vec<_> = (0..70).map(|n| pool(n, 1, n.into(), n.into())).collect();
    world.insert_pools(&pools).await;

    count_statements();
    let history = "query ($n: Int) { riskHistory(protocol: \"zklend\", first: $n) {
        nodes { score causes { seq } } edges { node { causes { seq } } } } }";
    let protocols =
        "{ protocols { id risk { score causes { seq } } absent { field } metrics { market } } }";
    let of_wallet = "query ($n: Int) { activity(wallet: \"0xa\", first: $n) {
        nodes { status token { symbol } counterToken { symbol } } } }";
    let of_pool =
        "query ($n: Int) { privacyPoolHistory(chamber: \"0xc\", token: \"0x4d\", first: $n) {
        nodes { bucket token { symbol } } } }";
    // The registry is read once and then kept; which one it is takes a statement.
    world.data(protocols, json!({})).await;
    for (query, variables, at_most) in [
        (history, json!({ "n": 1 }), 3),
        (history, json!({ "n": 100 }), 3),
        (protocols, json!({}), 4),
        ("{ events { nodes { seq } } }", json!({}), 1),
        (of_wallet, json!({ "n": 1 }), 2),
        (of_wallet, json!({ "n": 100 }), 2),
        ("{ privacyPools { anonymitySet token { symbol } } }", json!({}), 2),
        (of_pool, json!({ "n": 1 }), 2),
        (of_pool, json!({ "n": 100 }), 2),
        ("{ head { seq } }", json!({}), 0),
        ("{ head { attestedBlocks { verified } attestedRanges { verdict } } }", json!({}), 2),
    ] {
        TAKEN.take();
        world.data(query, variables).await;
        let taken = TAKEN.take();
        assert!(taken.len() <= at_most, "{at_most} should do for {query}: {taken:#?}");
        assert!(!taken.is_empty() || at_most == 0, "no statement was counted: {query}");
    }
}
