//! Recorded chains: the file of real blocks, and files that are wrong in one line.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and a table of cases is long"
)]

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use obsqra_devnode::{Chain, DevNode, DevNodeError, DevNodeOptions, Origin};
use serde_json::{Value, json};

fn shared(path: &str) -> Option<PathBuf> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if file.exists() {
        return Some(file);
    }
    println!("skipped: {path} is not there");
    None
}

#[test]
fn real_blocks_become_one_consecutive_chain() {
    let Some(file) = shared("chain/mainnet.ndjson.gz") else {
        return;
    };
    let mut chain = Chain::recorded(&file).expect("a good file");
    assert_eq!(chain.length(), Some(25));
    let (mut events, mut parent, mut recorded) = (0, None, Vec::new());
    while let Some(produced) = chain.next_block() {
        let block = produced.block;
        assert_eq!(block.number, recorded.len() as u64);
        if let Some(parent) = parent {
            assert_eq!(block.parent_hash, parent);
        }
        parent = Some(block.hash);
        events += block.event_count();
        assert!(produced.truth.is_none());
        if let Origin::Recorded { number } = block.origin {
            recorded.push(number);
        }
    }
    assert_eq!(
        (events, recorded.len(), recorded[9], recorded[24]),
        (9_229, 25, 350_000, 2_238_855)
    );
}

fn block(number: u64, timestamp: u64) -> Value {
    json!({ "chain": "SN_MAIN", "number": number, "hash": "0x1", "parent_hash": "0x2", "timestamp": timestamp,
        "transactions": [{ "hash": format!("{:#x}", number + 16), "index": 0, "events": [
            { "index": 0, "from_address": "0x0a", "keys": ["0x1"], "data": ["0x0"] },
            { "index": 3, "from_address": "0xb", "keys": ["0x1", "0x2"], "data": [] }] }] })
}

fn file_of(lines: &[String]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    for line in lines {
        writeln!(file, "{line}").expect("written");
    }
    file
}

#[test]
fn gzipped_and_plain_files_are_the_same_chain() {
    let text = format!("{}\n{}\n", block(5, 100), block(9, 100));
    let plain = file_of(std::slice::from_ref(&text));
    let mut zipped =
        GzEncoder::new(tempfile::NamedTempFile::new().expect("a file"), Compression::fast());
    zipped.write_all(text.as_bytes()).expect("written");
    let zipped = zipped.finish().expect("written");
    let hashes = |path: &Path| {
        let mut chain = Chain::recorded(path).expect("a good file");
        std::iter::from_fn(|| chain.next_block()).map(|made| made.block.hash).collect::<Vec<_>>()
    };
    assert_eq!(hashes(plain.path()), hashes(zipped.path()));
    assert_eq!(hashes(plain.path()).len(), 2);
}

#[test]
fn a_bad_line_is_named_with_what_is_wrong() {
    let with = |change: fn(&mut Value)| {
        let mut line = block(6, 100);
        change(&mut line);
        line.to_string()
    };
    let cases = [
        ("{\"chain\": ".to_owned(), "not a recorded block"),
        ("[]".to_owned(), "not a recorded block"),
        (
            with(|line| _ = line.as_object_mut().map(|members| members.remove("timestamp"))),
            "missing field `timestamp`",
        ),
        (with(|line| line["timestamp"] = json!(99)), "timestamp 99 is before 100"),
        (with(|line| line["number"] = json!(5)), "block 5 does not come after block 5"),
        (with(|line| line["chain"] = json!("SN_SEPOLIA")), "differs from \"SN_MAIN\""),
        (
            with(|line| line["transactions"][0]["events"][0]["data"][0] = json!(PRIME)),
            "a datum of event 0 is \"0x8000",
        ),
        (
            with(|line| line["transactions"][0]["events"][0]["keys"][0] = json!("1")),
            "does not begin with 0x",
        ),
        (
            with(|line| line["transactions"][0]["events"][0]["keys"][0] = json!("0xg")),
            "no hex digit",
        ),
        (with(|line| line["transactions"][0]["hash"] = json!("0x")), "hash of transaction 0"),
        (
            with(|line| line["transactions"][0]["events"][0]["keys"] = json!([])),
            "event index 0 has no key",
        ),
        (
            with(|line| line["transactions"][0]["events"][1]["index"] = json!(0)),
            "event index 0 does not come after 0",
        ),
        (
            with(|line| {
                let again = line["transactions"][0].clone();
                line["transactions"] = json!([again, again]);
            }),
            "transaction index 0 does not come after 0",
        ),
    ];
    for (line, what) in cases {
        let file = file_of(&[block(5, 100).to_string(), line]);
        let error = Chain::recorded(file.path()).expect_err("a bad line").to_string();
        assert!(error.contains(&format!("{}, line 2: ", file.path().display())), "{error}");
        assert!(error.contains(what), "{error} should say {what}");
    }
    let empty = file_of(&[]);
    assert!(
        Chain::recorded(empty.path())
            .expect_err("no block")
            .to_string()
            .ends_with("holds no block")
    );
}

const PRIME: &str = "0x800000000000011000000000000000000000000000000000000000000000001";

#[test]
fn a_cut_off_gzip_file_is_refused() {
    let mut zipped = GzEncoder::new(Vec::new(), Compression::fast());
    for number in 0..200 {
        writeln!(zipped, "{}", block(number, number)).expect("written");
    }
    let bytes = zipped.finish().expect("zipped");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&bytes[..bytes.len() / 2]).expect("written");
    assert!(Chain::recorded(file.path()).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_served_marked_and_ends() {
    let lines: Vec<String> =
        (0..5).map(|step| block(70 + step * 10, 1_000 + step).to_string()).collect();
    let file = file_of(&lines);
    let node = DevNode::start(DevNodeOptions::recorded(file.path())).await.expect("it starts");
    node.wait_for_height(4).await;
    assert_eq!((node.chain_id(), node.recorded_number(3)), ("OBSQRA_REC", Some(100)));
    assert_eq!(node.push_blocks(3).await.expect("no more").map(|head| head.number), Some(4));
    let request = json!({ "jsonrpc": "2.0", "id": 1, "method": "starknet_getBlockWithReceipts",
        "params": [{ "block_number": 3 }] });
    let answer = reqwest::Client::new()
        .post(node.url())
        .body(request.to_string())
        .send()
        .await
        .expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let marks = &answer["result"]["obsqra"];
    assert_eq!((&marks["source"], &marks["recorded_number"]), (&json!("recorded"), &json!(100)));
    assert_eq!(answer["result"]["timestamp"], json!(1_003));
    let before = node.head().expect("a head");
    let after = node.reorg(2, 2).await.expect("a reorg").expect("a head");
    assert_eq!(after.number, before.number);
    assert_ne!(after.hash, before.hash);
    assert!(matches!(
        node.reorg(1, 2).await,
        Err(DevNodeError::RecordingEnds { length: 5, wanted: 6 })
    ));
    node.stop().await;
}
