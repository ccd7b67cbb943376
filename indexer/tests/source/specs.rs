//! The editions of the specification: found by asking, and the same blocks through each of them.

use std::path::{Path, PathBuf};

use obsqra_indexer::source::{Remedy, SourceBlock, SourceError, Spec};
use obsqra_types::{BlockNumber, ChainId};
use serde_json::{Value, json};

use crate::fake::FakeNode;
use crate::raw::RawServer;
use crate::source;

#[tokio::test]
async fn the_edition_is_asked_for_once_a_session() {
    let node = FakeNode::start(3).await;
    let source = source(&node.url);
    assert_eq!(source.known_spec(), None);
    for (version, expected) in
        [("0.8.1", Spec::V0_8), ("0.9.0-rc.2", Spec::V0_9), ("0.10.0", Spec::V0_10)]
    {
        node.script().spec = version.to_owned();
        let identity = source.open().await.unwrap();
        assert_eq!(
            (identity.spec, &identity.chain),
            (expected, &ChainId::new("OBSQRA_TEST").unwrap())
        );
        assert_eq!(source.clone().spec().await.unwrap(), expected);
        assert_eq!(source.clone().known_spec(), Some(expected));
    }
    assert_eq!(node.calls_of("starknet_specVersion"), 3);
}

#[tokio::test]
async fn another_edition_is_refused_by_name() {
    let node = FakeNode::start(3).await;
    let source = source(&node.url);
    for version in ["0.7.1", "1.0.0", "soon", ""] {
        node.script().spec = version.to_owned();
        let error = source.open().await.expect_err(version);
        assert_eq!(error.remedy(), Remedy::None);
        let text = error.to_string();
        for named in [source.name(), version, "0.8, 0.9, 0.10"] {
            assert!(text.contains(named), "{text}");
        }
        assert!(matches!(error, SourceError::UnknownSpec { .. }), "{text}");
    }
    assert_eq!(source.known_spec(), None);
}

#[tokio::test]
async fn a_block_is_the_same_through_each_edition() {
    let node = FakeNode::start(5).await;
    let mut blocks = Vec::new();
    for version in ["0.8.1", "0.9.0", "0.10.0"] {
        node.script().spec = version.to_owned();
        let source = source(&node.url);
        source.open().await.unwrap();
        blocks.push(source.block(BlockNumber(3)).await.unwrap());
    }
    let supplied: Vec<bool> = blocks.iter().map(|block| block.supplied.is_some()).collect();
    assert_eq!(supplied, [false, false, true]);
    let alike = |block: &SourceBlock| SourceBlock { supplied: None, ..block.clone() };
    assert_eq!(alike(&blocks[0]), alike(&blocks[1]));
    assert_eq!(alike(&blocks[0]), alike(&blocks[2]));
    assert_eq!(blocks[0].events.len(), 1);
}

/// Real answers, by whether they can be read; `None` where they are not there.
fn recorded() -> Option<Vec<PathBuf>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/chain/rpc");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).ok()? {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with("_rpc-getblockwithreceipts.json") {
            files.push(path);
        }
    }
    files.sort();
    Some(files)
}

/// The block in a file, whatever stands around it, as a node answers it.
fn block_in(file: &Path) -> Value {
    let value: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut block = &value;
    for wrapper in ["result", "data", "block_with_receipts"] {
        block = block.get(wrapper).unwrap_or(block);
    }
    assert!(block["transactions"].is_array(), "{}", file.display());
    block.clone()
}

#[tokio::test]
async fn real_answers_of_all_ages_are_read() {
    let Some(files) = recorded() else {
        println!("skipped: the blocks of the shared folder are not there");
        return;
    };
    assert!(files.len() >= 14, "{} files", files.len());
    for file in files {
        let block = block_in(&file);
        let number = block["block_number"].as_u64().unwrap();
        let server = RawServer::ok(json!({ "id": 1, "result": block }).to_string()).await;
        let read = source(&server.url).block(BlockNumber(number)).await;
        if block.get("block_hash").is_none() {
            let error = read.expect_err("a pre-confirmed block is refused").to_string();
            assert!(error.contains("pre-confirmed"), "{}: {error}", file.display());
            continue;
        }
        let read = read.unwrap();
        let transactions = block["transactions"].as_array().unwrap();
        let events: Vec<(usize, &Value)> = transactions
            .iter()
            .enumerate()
            .flat_map(|(index, transaction)| {
                let events = transaction["receipt"]["events"].as_array().unwrap();
                events.iter().map(move |event| (index, event))
            })
            .collect();
        let read_count = read.transactions.as_ref().map(Vec::len);
        assert_eq!(read_count, Some(transactions.len()), "{}", file.display());
        assert_eq!(read.events.len(), events.len(), "{}", file.display());
        for (event, (transaction, recorded)) in read.events.iter().zip(events) {
            assert_eq!(event.transaction_index as usize, transaction);
            let felts = |name: &str| -> Vec<String> {
                let list = recorded[name].as_array().unwrap().iter();
                list.map(|felt| felt.as_str().unwrap().replace("0x0", "0x")).collect()
            };
            let spelled = |felts: &[obsqra_types::Felt]| -> Vec<String> {
                felts.iter().map(|felt| felt.to_hex_string().replace("0x0", "0x")).collect()
            };
            assert_eq!(
                (spelled(&event.keys), spelled(&event.data)),
                (felts("keys"), felts("data"))
            );
        }
        assert_eq!(read.supplied.is_some(), block.get("event_commitment").is_some());
        assert_eq!(read.l2_gas.is_some(), block.get("l2_gas_price").is_some());
    }
}
