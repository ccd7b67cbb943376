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
    let expected = [
        ("verify_vs_copy_out", 0.7, "higher"),
        ("reorg_2000_vs_append_2000", 3.0, "lower"),
        ("backfill_rss_growth", 1.2, "lower"),
    ];
    check_bars("log", &expected).await;
}

#[tokio::test]
async fn the_bench_of_ingestion_reports_every_bar() {
    let expected = [
        ("inprocess_vs_copy_10", 0.6, "higher"),
        ("inprocess_vs_copy_100", 0.6, "higher"),
        ("inprocess_vs_copy_400", 0.6, "higher"),
        ("check_vs_bare_poseidon_10", 1.15, "lower"),
        ("checked_vs_min_10", 0.8, "higher"),
        ("check_vs_bare_poseidon_100", 1.15, "lower"),
        ("checked_vs_min_100", 0.8, "higher"),
        ("check_vs_bare_poseidon_400", 1.15, "lower"),
        ("checked_vs_min_400", 0.8, "higher"),
        ("rpc_vs_cpu_bound_10", 0.8, "higher"),
        ("rpc_vs_cpu_bound_100", 0.8, "higher"),
        ("rpc_vs_cpu_bound_400", 0.8, "higher"),
        ("rss_backfill_mib", 300.0, "lower"),
        ("latency_p99_vs_stages", 3.0, "lower"),
        ("growth_5m_vs_100k", 1.2, "lower"),
        ("disk_vs_payload", 2.0, "lower"),
    ];
    check_bars("ingest", &expected).await;
}

#[tokio::test]
async fn the_bench_of_projection_reports_every_bar() {
    let expected = [
        ("project_vs_copy", 0.5, "higher"),
        ("derive_vs_decode", 5.0, "lower"),
        ("growth_5m_vs_100k", 1.2, "lower"),
    ];
    check_bars("project", &expected).await;
}

#[tokio::test]
async fn the_bench_of_replays_reports_every_bar() {
    check_bars("replay", &[("parquet_vs_copy", 0.5, "higher")]).await;
}

async fn check_bars(bench: &str, expected: &[(&str, f64, &str)]) {
    let mut command = obsqra();
    command.args(["bench", bench, "--json", "--smoke"]);
    let printed = succeed(command).await;
    assert_eq!(printed.trim().lines().count(), 1, "one object: {printed}");
    let report: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(report["name"], bench);
    for known in ["cpu", "cores", "memory", "kernel", "build"] {
        assert!(report["machine"].get(known).is_some(), "{known}: {report:#}");
    }
    let bars: Vec<_> = report["bars"].as_array().unwrap().iter().map(shape).collect();
    let expected: Vec<_> = expected
        .iter()
        .map(|(name, bar, better)| ((*name).to_owned(), *bar, (*better).to_owned()))
        .collect();
    assert_eq!(bars, expected);
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
    assert!(
        ended.stderr.contains("possible values: log, ingest, project, replay"),
        "{}",
        ended.stderr
    );

    for (bench, lanes) in [
        ("log", "verify, reorg, backfill"),
        ("ingest", "inprocess, check, rpc, latency, growth"),
        ("project", "rebuild, derive, growth"),
        ("replay", "parquet"),
    ] {
        let mut command = obsqra();
        command.args(["bench", bench, "--lane", "nothing"]);
        let ended = run(command).await;
        assert_eq!(ended.code(), 1, "{}", ended.output());
        assert!(ended.stderr.contains(lanes), "{}", ended.stderr);
    }
}
