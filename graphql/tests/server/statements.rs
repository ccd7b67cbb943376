//! How many SQL statements a request takes: a bounded number, however many rows it returns.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::support::{World, market, score};

/// Counts the statements that the database driver reports on this thread. Those that follow the
/// position are left out: the server also makes them by itself, at any time.
#[derive(Clone, Default)]
struct Statements(Arc<AtomicUsize>);

impl<S: tracing::Subscriber> Layer<S> for Statements {
    fn on_event(&self, event: &tracing::Event<'_>, _context: Context<'_, S>) {
        if event.metadata().target() != "sqlx::query" {
            return;
        }
        let mut text = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            text.push_str(&format!("{}={value:?} ", field.name()));
        });
        if !text.contains("projection_state") && !text.contains("LISTEN") {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
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

    let statements = Statements::default();
    let subscriber = tracing_subscriber::registry().with(statements.clone());
    let _counting = tracing::subscriber::set_default(subscriber);
    let history = "query ($n: Int) { riskHistory(protocol: \"zklend\", first: $n) {
        nodes { score causes { seq } } edges { node { causes { seq } } } } }";
    let protocols =
        "{ protocols { id risk { score causes { seq } } absent { field } metrics { market } } }";
    // The registry is read once and then kept.
    world.data(protocols, json!({})).await;
    for (query, variables, at_most) in [
        (history, json!({ "n": 1 }), 3),
        (history, json!({ "n": 100 }), 3),
        (protocols, json!({}), 4),
        ("{ events { nodes { seq } } }", json!({}), 1),
        ("{ head { seq } }", json!({}), 0),
    ] {
        statements.0.store(0, Ordering::Relaxed);
        world.data(query, variables).await;
        let taken = statements.0.load(Ordering::Relaxed);
        assert!(taken <= at_most, "{taken} statements where {at_most} should do: {query}");
        assert!(taken > 0 || at_most == 0, "no statement was counted: {query}");
    }
}
