//! `obsqra replay` as a command: what it writes and says, how it is called wrongly, and what a kill leaves.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::fs;
use std::path::Path;
use std::process::Command;

use obsqra_testkit::StoredMessage;
use rustix::process::Signal;
use serde_json::Value;
use support::process::{Ended, Process, run, succeed};
use support::servers::{Goal, Servers, chain_id};
use support::until;

const FAILED: i32 = 1;
const WRONG_USE: i32 = 2;

/// Servers with a log of a few blocks, scored, and nobody who appends.
async fn filled() -> Servers {
    let servers = Servers::start().await;
    let mut command = servers.obsqra();
    command.args(["run", "--seed", "5", "--blocks", "12", "--blocks-per-second", "0"]);
    command.args(["--listen", "127.0.0.1:0"]);
    let mut roles = Process::start(command);
    servers.reach(&chain_id("OBSQRA_DEV"), Goal { tip: 11, finalized: None }).await;
    roles.signal(Signal::INT);
    assert_eq!(roles.ends().await.code(), 0);
    servers
}

fn replay(servers: &Servers, arguments: &[&str]) -> Command {
    let mut command = servers.obsqra();
    command.arg("replay").args(arguments);
    command
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn check_says(ended: &Ended, code: i32, said: &str) {
    assert_eq!(ended.code(), code, "{}", ended.output());
    assert!(ended.stderr.contains(said), "{said}: {}", ended.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_the_log_in_each_format_and_again_the_same() {
    let servers = filled().await;
    let folder = tempfile::tempdir().unwrap();
    let head = succeed({
        let mut command = servers.obsqra();
        command.args(["log", "head"]);
        command
    })
    .await;
    let (end, hash) = head.trim().split_once(' ').unwrap();
    let printed = succeed(replay(&servers, &[])).await;
    let all = lines(&printed);
    let (manifest, entries) = all.split_last().unwrap();
    assert_eq!(entries.len().to_string(), end);
    assert_eq!((&manifest["isWhole"], &manifest["entries"]), (&true.into(), &end.into()));
    assert_eq!(manifest["range"]["lastHash"], hash);
    let root = manifest["root"].as_str().unwrap();
    for format in ["ndjson", "cbor", "parquet"] {
        let mut bytes = Vec::new();
        for name in ["first", "second"] {
            let file = folder.path().join(format!("{name}.{format}"));
            let path = file.to_str().unwrap();
            let told = succeed(replay(&servers, &["--format", format, "--out", path])).await;
            assert_eq!(told, format!("{end} entries of positions 1 to {end}, root {root}\n"));
            bytes.push(fs::read(file).unwrap());
        }
        assert_eq!(bytes[0], bytes[1], "{format}");
        assert!(format != "ndjson" || bytes[0] == printed.as_bytes());
        assert!(format != "parquet" || bytes[0].starts_with(b"PAR1"));
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 6, "nothing else is left");

    let time = entries.iter().find_map(|entry| entry["block"]["timestamp"].as_i64()).unwrap();
    let since = chrono::DateTime::from_timestamp(time + 1, 0).unwrap().to_rfc3339();
    let some = succeed(replay(
        &servers,
        &["--kind", "chain.event", "--protocol", "zklend", "--as-of", "7", "--since", &since],
    ))
    .await;
    let some = lines(&some);
    let (manifest, some) = some.split_last().unwrap();
    let expected: Vec<&Value> = entries
        .iter()
        .filter(|entry| {
            entry["kind"] == "chain.event"
                && entry["data"]["protocol"] == "zklend"
                && entry["block"]["number"].as_u64().unwrap() <= 7
                && entry["block"]["timestamp"].as_i64().unwrap() > time
        })
        .collect();
    assert_eq!(some.iter().collect::<Vec<_>>(), expected);
    assert!(!some.is_empty() && manifest["isWhole"] == false);
    assert_eq!(manifest["selection"]["asOfBlock"], 7);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_call_ends_with_2_and_names_what_is_wrong() {
    let servers = filled().await;
    for (wrong, said) in [
        (&["--from-seq", "0"][..], "no entry 0"),
        (&["--from-seq", "3", "--to-seq", "2"], "--from-seq 3 is after --to-seq 2"),
        (&["--from-block", "3", "--to-block", "2"], "--from-block 3 is above --to-block 2"),
        (&["--to-seq", "9", "--known-at", "8"], "--to-seq 9 is after --known-at 8"),
        (&["--kind", "retracted", "--as-of", "5"], "kind retracted"),
        (&["--kind", "event"], "the kinds are adopted"),
        (&["--protocol", "nobody"], "--protocol nobody: no registry"),
        (&["--protocol", "No One"], "no protocol id"),
        (&["--since", "yesterday"], "expected a time such as"),
        (&["--format", "parquet"], "--out <FILE>"),
        (&["--format", "xml"], "possible values: ndjson, cbor, parquet"),
        (&["--speed", "60x"], "--to-subject <NAME>"),
        (&["--to-subject", "a", "--speed", "0x"], "such as 60x"),
        (&["--to-subject", "obsqra.v1"], "is no name"),
        (&["--to-subject", "a>"], "is no name"),
        (&["--to-subject", "a", "--out", "x"], "cannot be used with"),
    ] {
        check_says(&run(replay(&servers, wrong)).await, WRONG_USE, said);
    }
    let end = servers.log_end().await;
    for beyond in [["--to-seq", "1000000"], ["--known-at", "1000000"], ["--from-seq", "1000000"]] {
        let said = format!("{} 1000000: the log ends at {end}", beyond[0]);
        check_says(&run(replay(&servers, &beyond)).await, FAILED, &said);
    }
    let above = run(replay(&servers, &["--as-of", "12"])).await;
    check_says(&above, FAILED, "the canonical chain ends at block 11");
    let nowhere = run(replay(&servers, &["--out", "/nowhere/file"])).await;
    check_says(&nowhere, FAILED, "cannot write /nowhere/file");

    let empty = Servers::start().await;
    check_says(&run(replay(&empty, &[])).await, FAILED, "the log is empty");
}

fn partial(folder: &Path) -> bool {
    fs::read_dir(folder)
        .unwrap()
        .any(|file| file.unwrap().file_name().to_string_lossy().ends_with(".partial"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_ended_in_the_middle_leaves_no_file() {
    let servers = filled().await;
    for (signal, leaves_partial) in [(Signal::TERM, false), (Signal::KILL, true)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("replay.ndjson");
        // The contracts are read once the file is begun: here nobody gets past that.
        let holding = servers.database.try_execute(
            "BEGIN; LOCK TABLE child_contract IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(200)",
        );
        let ending = async {
            until("the table is locked", async || {
                let held = "SELECT count(*) FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock' \
                    AND relation = 'child_contract'::regclass";
                servers.database.number(held).await == 1
            })
            .await;
            let mut process = Process::start(replay(&servers, &["--out", file.to_str().unwrap()]));
            until("the file is begun", async || partial(folder.path())).await;
            process.signal(signal);
            let ended = process.ends().await;
            assert_ne!(ended.code(), 0, "{}", ended.output());
            servers
                .database
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE query LIKE '%pg_sleep(200)%' AND pid <> pg_backend_pid()",
                )
                .await;
        };
        let (held, ()) = tokio::join!(holding, ending);
        held.expect_err("the lock was ended");
        assert!(!file.exists());
        assert_eq!(partial(folder.path()), leaves_partial, "{signal:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_goes_onto_an_analysts_subjects() {
    let servers = filled().await;
    servers.nats.make_stream("ANALYST", "obsqra.replay.ana.>").await;
    let arguments = ["--to-subject", "ana", "--kind", "chain.block_applied", "--speed", "1000000x"];
    let told = succeed(replay(&servers, &arguments)).await;
    let messages = servers.nats.messages("ANALYST").await;
    let (end, blocks) = messages.split_last().unwrap();
    assert_eq!(blocks.len(), 12);
    let subject = "obsqra.replay.ana.OBSQRA_DEV.chain.block_applied";
    assert!(blocks.iter().all(|message| message.subject == subject));
    let seqs: Vec<u64> = blocks.iter().map(|block| block.position("Obsqra-Seq")).collect();
    let before: Vec<u64> = blocks.iter().map(|block| block.position("Obsqra-Prev")).collect();
    assert_eq!((before[0], &before[1..]), (0, &seqs[..seqs.len() - 1]));
    let StoredMessage { subject, body, .. } = end;
    let manifest: Value = serde_json::from_slice(body).unwrap();
    assert_eq!(subject, "obsqra.replay.ana.end");
    assert!(told.ends_with(&format!("root {}\n", manifest["root"].as_str().unwrap())), "{told}");
}
