//! Benches with sizes that measure nothing: every lane works, and what is printed has the agreed shape.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use serde_json::Value;
use support::process::{obsqra, run, succeed};

#[tokio::test]
async fn the_bench_of_the_log_reports_every_bar() {
    let mut command = obsqra();
    command.args(["bench", "log", "--json", "--smoke"]);
    let printed = succeed(command).await;
    assert_eq!(printed.trim().lines().count(), 1, "one object: {printed}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["name"], "log");
    for known in ["cpu", "cores", "memory", "kernel", "build"] {
        assert!(report["machine"].get(known).is_some(), "{known}: {report:#}");
    }
    let bars: Vec<_> = report["bars"].as_array().unwrap().iter().map(shape).collect();
    let expected = [
        ("verify_vs_copy_out", 0.7, "higher"),
        ("reorg_2000_vs_append_2000", 3.0, "lower"),
        ("backfill_rss_growth", 1.2, "lower"),
    ];
    assert_eq!(bars, expected.map(|(name, bar, better)| (name.into(), bar, better.into())));
    for (name, figure) in report["figures"].as_object().unwrap() {
        assert!(figure["value"].as_f64().unwrap() > 0.0, "{name}: {figure}");
        assert!(figure["unit"].is_string() && !figure["samples"].as_array().unwrap().is_empty());
    }
}

/// Name, bar and direction; the value and whether it is met follow from each other.
fn shape(bar: &Value) -> (String, f64, String) {
    let (value, wanted) = (bar["value"].as_f64().unwrap(), bar["bar"].as_f64().unwrap());
    let better = bar["better"].as_str().unwrap();
    let met = if better == "higher" { value >= wanted } else { value <= wanted };
    assert_eq!(bar["met"], met, "{bar}");
    (bar["name"].as_str().unwrap().to_owned(), wanted, better.to_owned())
}

#[tokio::test]
async fn a_table_is_printed_where_json_is_not_asked_for() {
    let mut command = obsqra();
    command.args(["bench", "log", "--smoke", "--lane", "verify"]);
    let table = succeed(command).await;
    for said in
        ["log verify", "rows/s", "median of 5", "verify_vs_copy_out", "at least 0.700", "machine"]
    {
        assert!(table.contains(said), "{said}: {table}");
    }
}

#[tokio::test]
async fn what_is_not_known_is_refused_with_what_is() {
    let mut command = obsqra();
    command.args(["bench", "nothing"]);
    let ended = run(command).await;
    assert_eq!(ended.code(), 2, "{}", ended.output());
    assert!(ended.stderr.contains("possible values: log"), "{}", ended.stderr);

    let mut command = obsqra();
    command.args(["bench", "log", "--lane", "nothing"]);
    let ended = run(command).await;
    assert_eq!(ended.code(), 1, "{}", ended.output());
    assert!(ended.stderr.contains("verify, reorg, backfill"), "{}", ended.stderr);
}
