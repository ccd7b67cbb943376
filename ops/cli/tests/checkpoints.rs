//! Checkpoints from the command line: signing, proving, exporting, and a dump held against the
//! checkpoint file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use obsqra_store::checkpoint;
use obsqra_types::Seq;
use rustix::process::Signal;
use support::process::{Ended, Process, obsqra, run, succeed};
use support::servers::{Goal, Servers, chain_id};
use support::{root, until};

const FAILED: i32 = 1;
const WRONG_USE: i32 = 2;

/// An instance whose log is signed to its end.
struct World {
    servers: Servers,
    end: u64,
}

impl World {
    async fn signed() -> Self {
        let servers = Servers::start().await;
        let mut command = servers.obsqra();
        command.args(["run", "--seed", "5", "--blocks", "30", "--blocks-per-second", "0"]);
        command.args(["--listen", "127.0.0.1:0"]).env("OBSQRA_CHECKPOINT_REST_MS", "100");
        let mut roles = Process::start(command);
        servers.reach(&chain_id("OBSQRA_DEV"), Goal { tip: 29, finalized: None }).await;
        let end = servers.log_end().await;
        until("the log's end is signed", async || {
            let last = checkpoint::last(&servers.store).await.unwrap();
            last.is_some_and(|last| last.seq() == end)
        })
        .await;
        let file = servers.data_dir().join("checkpoints.ndjson");
        until("the file holds it", async || {
            fs::read_to_string(&file).is_ok_and(|text| text.contains(&format!("\"seq\":\"{end}\"")))
        })
        .await;
        roles.signal(Signal::INT);
        assert_eq!(roles.ends().await.code(), 0);
        Self { servers, end: end.0 }
    }

    fn log(&self, arguments: &[&str]) -> Command {
        let mut command = self.servers.obsqra();
        command.arg("log").args(arguments);
        command
    }

    fn file(&self, name: &str) -> PathBuf {
        self.servers.data_dir().join(name)
    }

    fn checkpoints(&self) -> String {
        self.file("checkpoints.ndjson").to_str().unwrap().to_owned()
    }

    async fn key(&self) -> String {
        let mut command = self.servers.obsqra();
        command.args(["checkpoint", "key"]);
        succeed(command).await.trim().to_owned()
    }

    async fn tamper(&self, sql: &str) {
        let sql = format!("SET session_replication_role = replica; {sql}");
        self.servers.database.execute(&sql).await;
    }
}

/// Without settings of any kind: a proof is checked on another machine.
async fn check_proof(file: &Path, keys: &[&str]) -> Ended {
    let mut command = obsqra();
    command.env("OBSQRA_DATA_DIR", "/nowhere").args(["--config", "/nowhere.toml"]);
    command.args(["log", "check-proof"]).arg(file);
    for key in keys {
        command.args(["--key", key]);
    }
    run(command).await
}

async fn python(script: &str, file: &Path) -> Ended {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(root().join(script)).arg(file);
    run(command).await
}

fn check(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code(), code, "{}", ended.output());
    for word in words {
        assert!(ended.output().contains(word), "`{word}` in: {}", ended.output());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_signed_and_verified_against_file_and_key() {
    let world = World::signed().await;
    let (file, key) = (world.checkpoints(), world.key().await);
    let secret = world.file("secrets/checkpoint.key");
    assert_eq!(fs::metadata(&secret).unwrap().permissions().mode() & 0o777, 0o600);
    let public = world.file("secrets/checkpoint.pub");
    assert_eq!(fs::read_to_string(&public).unwrap().trim(), key);
    let intact = format!("{} entries intact, up to {}", world.end, world.end);
    let signed = "signatures checked";
    for arguments in [
        &["verify"][..],
        &["verify", "--checkpoints", &file],
        &["verify", "--checkpoints", &file, "--key", &key, "--decode"],
        &["verify", "--checkpoints", &file, "--key", public.to_str().unwrap(), "--prefix"],
    ] {
        check(&run(world.log(arguments)).await, 0, &[&intact, signed]);
    }
    let other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    let wrong = run(world.log(&["verify", "--key", other])).await;
    check(&wrong, FAILED, &["not one of the keys given"]);
    check(&run(world.log(&["verify", "--key", other, "--key", &key])).await, 0, &[signed]);
    for wrong in [
        &["verify", "--checkpoints", "/nowhere"][..],
        &["verify", "--key", "abc"],
        &["verify", "--key", &file],
    ] {
        check(&run(world.log(wrong)).await, WRONG_USE, &[wrong[2]]);
    }
    let elsewhere = tempfile::tempdir().unwrap();
    let mut keyless = world.log(&["verify", "--checkpoints", &file]);
    keyless.env("OBSQRA_DATA_DIR", elsewhere.path());
    check(&run(keyless).await, WRONG_USE, &["--key"]);
    let mut keyless = world.log(&["verify"]);
    keyless.env("OBSQRA_DATA_DIR", elsewhere.path());
    check(&run(keyless).await, 0, &["signatures not checked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_made_once_and_never_unasked() {
    let world = World::signed().await;
    let mut new = world.servers.obsqra();
    new.args(["checkpoint", "key", "--new"]);
    check(&run(new).await, FAILED, &["move it away"]);
    let key = world.file("secrets/checkpoint.key");
    let aside = world.file("secrets/old.key");
    fs::rename(&key, &aside).unwrap();
    let old = world.key().await;
    let mut role = world.servers.obsqra();
    role.arg("checkpoint");
    check(&run(role).await, FAILED, &["the log was signed with key", "--new"]);
    let mut new = world.servers.obsqra();
    new.args(["checkpoint", "key", "--new"]);
    let made = succeed(new).await.trim().to_owned();
    assert_ne!(made, old);
    let mut set = world.servers.obsqra();
    set.arg("checkpoint").env("OBSQRA_CHECKPOINT_KEY_FILE", world.file("nowhere.key"));
    check(&run(set).await, FAILED, &["nowhere.key is not there"]);
    let both = run(world.log(&["verify", "--key", &made, "--key", &old])).await;
    check(&both, 0, &["signatures checked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_proven_to_whoever_has_the_key() {
    let world = World::signed().await;
    let (key, file) = (world.key().await, world.file("proof.json"));
    let path = file.to_str().unwrap();
    for seq in [1, 2, world.end / 2, world.end] {
        succeed(world.log(&["prove", &seq.to_string(), "--out", path])).await;
        check(&check_proof(&file, &[&key]).await, 0, &[&format!("entry {seq} (")]);
    }
    let end = world.end.to_string();
    let printed = succeed(world.log(&["prove", "1", "--checkpoint", &end])).await;
    fs::write(&file, &printed).unwrap();
    check(&check_proof(&file, &[&key]).await, 0, &["entry 1 (", &end]);
    let other = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
    check(&check_proof(&file, &[other]).await, FAILED, &["not one of the keys given"]);
    check(&check_proof(&file, &[other, &key]).await, 0, &[]);
    fs::write(&file, &printed[..printed.len() / 2]).unwrap();
    check(&check_proof(&file, &[&key]).await, FAILED, &["not a proof"]);
    fs::write(&file, [0xff, 0xfe]).unwrap();
    check(&check_proof(&file, &[&key]).await, FAILED, &["not a proof"]);
    fs::write(&file, printed.replace("\"seq\": \"1\"", "\"seq\": \"3\"")).unwrap();
    check(&check_proof(&file, &[&key]).await, FAILED, &[]);
    check(&check_proof(Path::new("/nowhere"), &[&key]).await, WRONG_USE, &["/nowhere"]);
    check(&check_proof(&file, &["abc"]).await, WRONG_USE, &["abc"]);
    check(&check_proof(&file, &[]).await, WRONG_USE, &["--key"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_proven_is_said() {
    let world = World::signed().await;
    let beyond = (world.end + 1).to_string();
    let fails = async |arguments: &[&str], words: &[&str]| {
        check(&run(world.log(arguments)).await, FAILED, words);
    };
    fails(&["prove", &beyond], &["there is no entry"]).await;
    fails(&["prove", "0"], &["there is no entry"]).await;
    fails(&["prove", &u64::MAX.to_string()], &["there is no entry"]).await;
    fails(&["prove", "2", "--checkpoint", "1"], &["does not cover"]).await;
    fails(&["prove", "1", "--checkpoint", &beyond], &["no checkpoint at"]).await;
    let before = checkpoint::at_or_before(&world.servers.store, Seq(world.end - 1)).await.unwrap();
    let before = before.map_or(0, |before| before.seq().0);
    world.tamper(&format!("DELETE FROM checkpoint WHERE seq > {before}")).await;
    fails(
        &["prove", &world.end.to_string()],
        &["newer than the last checkpoint", "try again when the log has come to"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_verified_by_another_program() {
    const SCRIPT: &str = "ops/checks/verify_export.py";
    let world = World::signed().await;
    let file = world.file("log.cbor");
    let path = file.to_str().unwrap();
    let end = world.end.to_string();
    succeed(world.log(&["export", "--out", path])).await;
    let hash = succeed(world.log(&["head"])).await;
    let hash = hash.trim().split(' ').nth(1).unwrap().to_owned();
    let verified = python(SCRIPT, &file).await;
    check(&verified, 0, &[&format!("{end} entries up to {end}"), &hash]);
    assert!(!verified.stdout.contains(" 0 checkpoints"), "{}", verified.stdout);
    let whole = fs::read(&file).unwrap();
    for (from, to) in [("3", "9"), (&end, &end), ("2", &end)] {
        succeed(world.log(&["export", "--from", from, "--to", to, "--out", path])).await;
        check(&python(SCRIPT, &file).await, 0, &[&format!("up to {to}")]);
    }
    for at in (0..whole.len()).step_by(whole.len() / 25) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        fs::write(&file, &changed).unwrap();
        // A signature is all that this program does not look at.
        let told = python(SCRIPT, &file).await;
        assert!(told.code() == 1 || is_in_signature(&whole, at), "{at}: {}", told.output());
        fs::write(&file, &whole[..at]).unwrap();
        check(&python(SCRIPT, &file).await, 1, &["verify_export"]);
    }
    for (from, to) in [("0", "3"), ("5", "4"), ("1", "9999999")] {
        let refused = run(world.log(&["export", "--from", from, "--to", to])).await;
        check(&refused, FAILED, &["cannot be exported"]);
    }
    world.tamper("DELETE FROM log WHERE seq = 7").await;
    let cut = world.file("cut.cbor");
    let refused = run(world.log(&["export", "--out", cut.to_str().unwrap()])).await;
    check(&refused, FAILED, &["entry 7 is missing"]);
    let left: Vec<_> = fs::read_dir(world.servers.data_dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("cut.cbor"))
        .collect();
    assert!(left.is_empty(), "half a file is left: {left:?}");
}

/// Whether the byte belongs to a checkpoint's key or signature: 8 bytes, and 64 behind them.
fn is_in_signature(export: &[u8], at: usize) -> bool {
    let key = |begin: usize| {
        let signature = export.get(begin + 9..).unwrap_or_default();
        export[begin] == 0x48 && signature.starts_with(&[0x58, 0x40])
    };
    (at.saturating_sub(74)..=at).any(key)
}

/// A database made of a dump, as the runbook says.
struct Restored {
    url: String,
}

impl Restored {
    /// Dumps the world's database as text.
    async fn dump(world: &World) -> String {
        let mut command = Command::new("pg_dump");
        command.arg("--dbname").arg(world.servers.database.url());
        command.args(["--format", "plain", "--file"]).arg(world.file("dump.sql"));
        succeed(command).await;
        fs::read_to_string(world.file("dump.sql")).unwrap()
    }

    async fn of_text(world: &World, name: &str, text: &str) -> Self {
        let restored = Self::begin(world, name).await;
        let file = world.file("restored.sql");
        fs::write(&file, text).unwrap();
        psql(&restored.url, &["--file", file.to_str().unwrap()]).await;
        psql(&restored.url, &["--command", "SELECT timescaledb_post_restore()"]).await;
        restored
    }

    async fn begin(world: &World, name: &str) -> Self {
        let url = world.servers.database.url();
        let (base, old) = url.rsplit_once('/').unwrap();
        let name = format!("{old}_{name}");
        psql(url, &["--command", &format!("CREATE DATABASE {name}")]).await;
        let restored = Self { url: format!("{base}/{name}") };
        psql(&restored.url, &["--command", "CREATE EXTENSION timescaledb"]).await;
        psql(&restored.url, &["--command", "SELECT timescaledb_pre_restore()"]).await;
        restored
    }

    fn verify(&self, world: &World, more: &[&str]) -> Command {
        let mut command = world.log(&["verify", "--checkpoints", &world.checkpoints()]);
        command.args(more).env("OBSQRA_DATABASE_URL", &self.url);
        command
    }
}

async fn psql(url: &str, arguments: &[&str]) {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", url]);
    command.args(arguments);
    succeed(command).await;
}

/// The log's lines of a dump, each with its position.
fn log_lines(dump: &str) -> Vec<(u64, &str)> {
    let begin = dump.find("COPY _timescaledb_internal._hyper_").expect("the log's chunk");
    dump[begin..]
        .lines()
        .skip(1)
        .take_while(|line| *line != "\\.")
        .map(|line| (line.split('\t').next().unwrap().parse().unwrap(), line))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_is_held_against_the_checkpoint_file() {
    let world = World::signed().await;
    let dump = world.file("obsqra.dump");
    let mut command = Command::new("pg_dump");
    command.arg("--dbname").arg(world.servers.database.url());
    command.args(["--format", "custom", "--file"]).arg(&dump);
    succeed(command).await;
    let restored = Restored::begin(&world, "whole").await;
    let mut command = Command::new("pg_restore");
    command.args(["--exit-on-error", "--dbname", &restored.url]).arg(&dump);
    succeed(command).await;
    psql(&restored.url, &["--command", "SELECT timescaledb_post_restore()"]).await;
    let whole = format!("{} entries intact, up to {}", world.end, world.end);
    check(&run(restored.verify(&world, &["--decode"])).await, 0, &[&whole, "signatures checked"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_was_edited_is_named() {
    let world = World::signed().await;
    let dump = Restored::dump(&world).await;
    let lines = log_lines(&dump);
    assert_eq!(lines.len() as u64, world.end);
    let line = |seq: u64| lines.iter().find(|(at, _)| *at == seq).unwrap().1.to_owned();
    let with_seq = |line: &str, seq: u64| {
        let (_, rest) = line.split_once('\t').unwrap();
        format!("{seq}\t{rest}")
    };
    let mut columns: Vec<String> = line(40).split('\t').map(str::to_owned).collect();
    let payload = columns.iter().position(|column| column.starts_with("\\\\x")).unwrap();
    let last = columns[payload].pop().unwrap();
    columns[payload].push(if last == '0' { '1' } else { '0' });
    let changed = dump.replace(&line(40), &columns.join("\t"));
    let removed = dump.replace(&format!("{}\n", line(40)), "");
    let swapped = dump.replace(&line(40), "@").replace(&line(50), &with_seq(&line(40), 50));
    let swapped = swapped.replace("\n@\n", &format!("\n{}\n", with_seq(&line(50), 40)));
    let inserted = format!("{}\n{}", line(world.end), with_seq(&line(40), world.end + 1));
    let inserted = dump.replace(&line(world.end), &inserted);
    for (name, text, says) in [
        ("changed", changed, "then entry 40: content hash".to_owned()),
        ("removed", removed, "then entry 40: entry is missing".to_owned()),
        ("swapped", swapped, "then entry 40: ".to_owned()),
        ("inserted", inserted, format!("then entry {}: entry stands beyond", world.end + 1)),
    ] {
        assert_ne!(text, dump, "{name}");
        let restored = Restored::of_text(&world, name, &text).await;
        check(&run(restored.verify(&world, &["--prefix"])).await, FAILED, &[&says]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_older_than_the_file_is_a_proven_prefix_and_is_not_signed() {
    let world = World::signed().await;
    let dump = Restored::dump(&world).await;
    // The log goes on after the dump, and is signed further.
    let mut command = world.servers.obsqra();
    command.args(["run", "--seed", "5", "--blocks", "40", "--blocks-per-second", "0"]);
    command.args(["--listen", "127.0.0.1:0"]).env("OBSQRA_CHECKPOINT_REST_MS", "100");
    let mut roles = Process::start(command);
    until("the file is ahead of the dump", async || {
        let text = fs::read_to_string(world.checkpoints()).unwrap();
        let last = text.lines().last().and_then(|line| line.split('"').nth(3)).unwrap().to_owned();
        last.parse::<u64>().is_ok_and(|last| last > world.end)
    })
    .await;
    roles.signal(Signal::INT);
    assert_eq!(roles.ends().await.code(), 0);

    let restored = Restored::of_text(&world, "older", &dump).await;
    let end = world.end;
    let missing = format!("entries {} to ", end + 1);
    let proven = format!("proven up to {end}");
    check(&run(restored.verify(&world, &[])).await, FAILED, &[&missing, &proven]);
    check(&run(restored.verify(&world, &["--prefix"])).await, 0, &[&missing, &proven]);
    let mut role = world.servers.obsqra();
    role.arg("checkpoint").env("OBSQRA_DATABASE_URL", &restored.url);
    let refused = run(role).await;
    check(&refused, FAILED, &["the database is older than the file", "checkpoints.ndjson"]);
}
