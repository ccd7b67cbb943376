//! How the binary is called, what it says when something is wrong, and how it stops.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use obsqra_servers::scratch_dir;
use rustix::process::Signal;
use serde_json::{Value, json};
use support::api::Api;
use support::process::{Ended, Process, obsqra, run, succeed};
use support::servers::{Goal, Servers, chain_id};
use support::until;

const FAILED: i32 = 1;
const WRONG_USE: i32 = 2;

/// Within it `run` stops after a signal.
const STOP_LIMIT: Duration = Duration::from_secs(10);

const SUBCOMMANDS: [&str; 35] = [
    "run",
    "index",
    "relay",
    "work",
    "project",
    "project verify",
    "project rebuild",
    "derive",
    "derive verify",
    "checkpoint",
    "checkpoint key",
    "serve",
    "migrate",
    "devnode",
    "log",
    "log verify",
    "log prove",
    "log check-proof",
    "log export",
    "log show",
    "log head",
    "block",
    "block verify",
    "block evidence",
    "attest",
    "job",
    "job list",
    "job cancel",
    "dead",
    "dead list",
    "dead show",
    "dead retry",
    "dead drop",
    "replay",
    "doctor",
];

fn with(arguments: &[&str]) -> Command {
    let mut command = obsqra();
    command.args(arguments);
    command
}

/// That it failed with one line that holds all of `words`.
fn check_sentence(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code(), code, "{}", ended.output());
    let sentences: Vec<&str> =
        ended.stderr.lines().filter(|line| line.starts_with("obsqra: ")).collect();
    let [sentence] = sentences[..] else { panic!("one sentence: {}", ended.output()) };
    for word in words {
        assert!(sentence.contains(word), "`{word}` in: {sentence}");
    }
}

#[tokio::test]
async fn help_explains_every_subcommand_and_every_option() {
    for subcommand in SUBCOMMANDS {
        let mut arguments: Vec<&str> = subcommand.split(' ').collect();
        arguments.push("--help");
        let help = succeed(with(&arguments)).await;
        assert!(help.contains(&format!("Usage: obsqra {subcommand}")), "{help}");
        assert!(
            help.lines().next().is_some_and(|line| line.ends_with('.') || line.contains(' ')),
            "{help}"
        );
        let lines: Vec<&str> = help.lines().collect();
        for (line, next) in lines.iter().zip(lines.iter().skip(1).chain([&""])) {
            let option = line.trim_start();
            if option.starts_with("--") || option.starts_with("-h,") {
                let explained = option.contains("  ") || !next.trim().is_empty();
                assert!(explained, "{subcommand}: `{option}` is not explained");
            }
        }
    }
}

#[tokio::test]
async fn a_wrong_call_ends_with_2_and_a_right_one_with_0() {
    for wrong in [
        &[][..],
        &["run", "--nope"],
        &["nope"],
        &["log", "show"],
        &["log", "show", "x"],
        &["run", "--seed", "1", "--recorded", "x"],
        &["devnode", "--listen", "nowhere"],
        &["devnode", "--spec", "0.7"],
        &["devnode", "--nodes", "0"],
        &["devnode", "--light", "1000001"],
        &["devnode", "--light", "10", "--recorded", "x"],
        &["devnode", "--scenario", "/nowhere.toml"],
        &["--config", "/nowhere.toml", "doctor"],
    ] {
        let ended = run(with(wrong)).await;
        assert_eq!(ended.code(), WRONG_USE, "{wrong:?}: {}", ended.output());
        assert!(!ended.stderr.is_empty(), "{wrong:?}");
    }
    for right in [&["--help"][..], &["--version"]] {
        succeed(with(right)).await;
    }
}

#[tokio::test]
async fn a_bad_recorded_file_is_named_with_line_and_fault() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("blocks.ndjson");
    let block = json!({ "chain": "SN_MAIN", "number": 1, "hash": "0x1", "parent_hash": "0x0", "timestamp": 5, "transactions": [] });
    let mut later = block.clone();
    (later["number"], later["timestamp"]) = (json!(2), json!(4));
    let path = file.to_str().unwrap();
    for (second, fault) in
        [("{]".to_owned(), "not a recorded block"), (later.to_string(), "timestamp 4 is before 5")]
    {
        fs::write(&file, format!("{block}\n{second}\n")).unwrap();
        let ended = run(with(&["devnode", "--listen", "127.0.0.1:0", "--recorded", path])).await;
        check_sentence(&ended, FAILED, &[path, "line 2", fault]);
    }
    let missing =
        run(with(&["devnode", "--listen", "127.0.0.1:0", "--recorded", "/nowhere.gz"])).await;
    check_sentence(&missing, FAILED, &["/nowhere.gz"]);
}

#[tokio::test]
async fn a_bad_scenario_is_named_with_line_or_step() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("scenario.toml");
    let path = file.to_str().unwrap();
    for (text, fault) in [
        ("title = 'x'\nnope = 1", "line 2"),
        ("title = 'x'\n[[steps]]\naction = 'switch_back'", "step 1: no step before it"),
    ] {
        fs::write(&file, text).unwrap();
        let ended = run(with(&["devnode", "--listen", "127.0.0.1:0", "--scenario", path])).await;
        assert_eq!(ended.code(), WRONG_USE, "{}", ended.output());
        assert!(ended.stderr.contains(path) && ended.stderr.contains(fault), "{}", ended.output());
    }
}

#[tokio::test]
async fn a_busy_port_is_one_sentence() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(with(&["devnode", "--seed", "1", "--blocks", "1", "--listen", &address])).await;
    check_sentence(&ended, FAILED, &[&address, "choose another address"]);

    let servers = Servers::start().await;
    let mut command = servers.obsqra();
    command.args(["run", "--blocks", "5", "--blocks-per-second", "0", "--listen", &address]);
    check_sentence(&run(command).await, FAILED, &[&address]);
}

#[tokio::test]
async fn a_data_directory_out_of_reach_is_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).unwrap();
    let data_dir = closed.join("data");
    // Another user than root cannot make it; as root, PostgreSQL's own user cannot enter it.
    let ended =
        run(with(&["--data-dir", data_dir.to_str().unwrap(), "run", "--listen", "127.0.0.1:0"]))
            .await;
    check_sentence(&ended, FAILED, &[folder.path().to_str().unwrap()]);
}

#[tokio::test]
async fn a_wrong_setting_is_named_and_its_value_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("obsqra.toml");
    let path = file.to_str().unwrap();
    for (text, named) in [
        ("lease_ttl_ms = \"s3cr3t\"", "lease_ttl_ms"),
        ("listen = \"s3cr3t\"", "listen"),
        ("log_format = \"s3cr3t\"", "log_format"),
        ("nats_token = 0x53c237", "nats_token"),
        ("no_such_setting = \"s3cr3t\"", "no_such_setting"),
        ("chain = \"SN_MAIN\"\ndatabase_url = \"postgres://u:s3cr3t@h/d", "line 2"),
        ("database_url = postgres://u:s3cr3t@h/d", "line 1"),
    ] {
        fs::write(&file, text).unwrap();
        let ended = run(with(&["--config", path, "doctor"])).await;
        check_sentence(&ended, WRONG_USE, &[named, path]);
        assert!(
            !ended.output().contains("s3cr3t") && !ended.output().contains("53c237"),
            "{}",
            ended.output()
        );
    }
    let mut command = with(&["doctor"]);
    command.env("OBSQRA_LEASE_TTL_MS", "s3cr3t");
    let ended = run(command).await;
    check_sentence(&ended, WRONG_USE, &["lease_ttl_ms", "environment"]);
    assert!(!ended.output().contains("s3cr3t"), "{}", ended.output());
}

#[tokio::test]
async fn settings_of_the_environment_are_text_or_numbers_or_left_out() {
    let servers = Servers::start().await;
    let mut command = servers.obsqra();
    command.args(["log", "head"]).env("OBSQRA_LEASE_TTL_MS", "").env("OBSQRA_LISTEN", "");
    command.env("OBSQRA_CHAIN", "").env("OBSQRA_NATS_TOKEN", "0123456789");
    assert!(succeed(command).await.starts_with("0 "));
    let mut half = servers.obsqra();
    half.arg("relay").env("OBSQRA_NATS_URL", "");
    check_sentence(&run(half).await, FAILED, &["OBSQRA_NATS_URL is not: set both"]);
}

#[tokio::test]
async fn secrets_are_in_no_output() {
    let servers = Servers::start().await;
    let nobody = "127.0.0.1:1";
    let database = format!("postgres://obsqra:s3cr3t@{nobody}/obsqra");
    let cases: [(&str, &str, String); 4] = [
        ("relay", "OBSQRA_DATABASE_URL", database.clone()),
        ("relay", "OBSQRA_DATABASE_URL", "postgres://obsqra:s3cr3t@host:port/".into()),
        ("relay", "OBSQRA_NATS_TOKEN", "s3cr3t".into()),
        ("index", "OBSQRA_RPC_URL", "ht!tp://s3cr3t".into()),
    ];
    for (subcommand, variable, value) in cases {
        let mut command = servers.obsqra();
        command.arg("doctor").env(variable, &value).env("RUST_LOG", "debug");
        let ended = run(command).await;
        assert_eq!(ended.code(), FAILED, "{}", ended.output());
        assert!(!ended.output().contains("s3cr3t"), "{subcommand}: {}", ended.output());
        if subcommand == "index" || variable == "OBSQRA_DATABASE_URL" {
            let mut command = servers.obsqra();
            command.arg(subcommand).env(variable, &value);
            let ended = run(command).await;
            assert_eq!(ended.code(), FAILED, "{}", ended.output());
            assert!(!ended.output().contains("s3cr3t"), "{subcommand}: {}", ended.output());
        }
    }
}

#[tokio::test]
async fn the_key_of_a_nodes_address_is_in_no_output() {
    let servers = Servers::start().await;
    let mut command = servers.obsqra();
    command.args(["index", "--log-format", "json"]);
    command.env("OBSQRA_RPC_URL", "http://user:s3cr3t@127.0.0.1:1/v0_10/s3cr3t?key=s3cr3t");
    let mut index = Process::start(command);
    until("the node is missed", async || index.stderr().contains("waiting for the node")).await;
    index.signal(Signal::TERM);
    let ended = index.ends().await;
    assert_eq!(ended.code(), 0, "{}", ended.output());
    assert!(ended.stderr.contains("127.0.0.1:1"), "{}", ended.stderr);
    assert!(!ended.output().contains("s3cr3t"), "{}", ended.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_verified_from_anywhere_and_shown() {
    let servers = Servers::start().await;
    let mut command = servers.obsqra();
    command.args([
        "run",
        "--seed",
        "5",
        "--blocks",
        "12",
        "--blocks-per-second",
        "0",
        "--listen",
        "127.0.0.1:0",
    ]);
    let mut roles = Process::start(command);
    servers.reach(&chain_id("OBSQRA_DEV"), Goal { tip: 11, finalized: None }).await;
    roles.signal(Signal::INT);
    assert_eq!(roles.ends().await.code(), 0);

    let log = |arguments: &[&str]| {
        let mut command = servers.obsqra();
        command.arg("log").args(arguments);
        run(command)
    };
    let head = log(&["head"]).await.stdout;
    let (end, hash) = head.trim().split_once(' ').unwrap();
    let end: u64 = end.parse().unwrap();
    for from in [1, 2, end - 1, end, end + 1] {
        let verified = log(&["verify", "--from", &from.to_string()]).await;
        assert_eq!(verified.code(), 0, "{}", verified.output());
        let expected = format!("{} entries intact, up to {end} with hash {hash}\n", end + 1 - from);
        assert!(verified.stdout.starts_with(&expected), "{}", verified.stdout);
    }
    for from in ["0", &(end + 2).to_string()] {
        check_sentence(
            &log(&["verify", "--from", from]).await,
            FAILED,
            &["cannot be verified from", from],
        );
    }

    let mut kinds = BTreeSet::new();
    for seq in 1..=end.min(12) {
        let shown = log(&["show", &seq.to_string()]).await;
        let entry: Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(entry["seq"], json!(seq.to_string()));
        kinds.insert(entry["kind"].as_str().unwrap().to_owned());
    }
    assert!(kinds.contains("adopted") && kinds.contains("chain.block_applied"), "{kinds:?}");
    check_sentence(&log(&["show", &(end + 1).to_string()]).await, FAILED, &["no entry"]);

    let tampered = format!(
        "SET session_replication_role = replica; \
         UPDATE log SET payload = payload || '\\x00' WHERE seq = {}",
        end / 2
    );
    servers.database.execute(&tampered).await;
    let verified = log(&["verify"]).await;
    assert_eq!(verified.code(), FAILED, "{}", verified.output());
    assert!(verified.stdout.contains(&format!("then entry {}", end / 2)), "{}", verified.output());
}

/// `run` with servers of its own.
fn private_run(data_dir: &Path, blocks: &str) -> Process {
    let mut command = obsqra();
    command.arg("--data-dir").arg(data_dir);
    command.args(["run", "--seed", "5", "--blocks-per-second", "0", "--listen", "127.0.0.1:0"]);
    command.args(["--blocks", blocks]);
    for empty in ["OBSQRA_DATABASE_URL", "OBSQRA_NATS_URL", "OBSQRA_RPC_URL", "OBSQRA_CHAIN"] {
        command.env(empty, "");
    }
    Process::start(command)
}

async fn at_block(process: &mut Process, number: u64) -> Api {
    let api = Api::new(&process.announces("GraphQL").await);
    until(&format!("the head is block {number}"), async || {
        let query = "{ head { blockNumber lagBlocks } }";
        let head = api.answer(query, json!({})).await.unwrap();
        head["data"]["head"] == json!({ "blockNumber": number, "lagBlocks": 0 })
    })
    .await;
    api
}

async fn stop(mut process: Process, signal: Signal) {
    let asked = Instant::now();
    process.signal(signal);
    let ended = process.ends().await;
    assert_eq!(ended.code(), 0, "{}", ended.output());
    assert!(asked.elapsed() < STOP_LIMIT, "{:?}: {}", asked.elapsed(), ended.output());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_goes_on_where_the_first_stopped() {
    let folder = scratch_dir().unwrap();
    let data_dir = folder.path().join("data");
    let log = |arguments: &[&str]| {
        let mut command = obsqra();
        command.arg("--data-dir").arg(&data_dir).arg("log").args(arguments);
        command
    };

    let mut first = private_run(&data_dir, "40");
    at_block(&mut first, 39).await;
    let twin = run({
        let mut command = obsqra();
        command.arg("--data-dir").arg(&data_dir).args(["run", "--listen", "127.0.0.1:0"]);
        command
    });
    check_sentence(
        &twin.await,
        FAILED,
        &["another instance is running", data_dir.to_str().unwrap()],
    );
    succeed(log(&["verify"])).await;
    stop(first, Signal::INT).await;
    let before = succeed(log(&["head"])).await;
    let end = before.split(' ').next().unwrap().to_owned();
    let last = succeed(log(&["show", &end])).await;

    let mut second = private_run(&data_dir, "60");
    let api = at_block(&mut second, 59).await;
    let mut places = BTreeSet::new();
    for event in api.events().await {
        let place = (event["blockNumber"].as_u64(), event["eventIndex"].as_u64());
        assert!(places.insert(place), "{place:?} is there twice");
    }
    assert_eq!(places.iter().map(|(block, _)| block).collect::<BTreeSet<_>>().len(), 60);
    stop(second, Signal::TERM).await;
    assert_eq!(succeed(log(&["show", &end])).await, last);
    succeed(log(&["verify"])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_the_servers_start_stops_too() {
    let folder = scratch_dir().unwrap();
    let data_dir = folder.path().join("data");
    let run = private_run(&data_dir, "5");
    until("the servers begin to start", async || data_dir.join("postgres.lock").exists()).await;
    stop(run, Signal::TERM).await;
    let mut again = private_run(&data_dir, "5");
    at_block(&mut again, 4).await;
    stop(again, Signal::INT).await;
}
