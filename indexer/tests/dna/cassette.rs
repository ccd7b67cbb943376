//! A stream recorded from a real server, played back. The recording has no hash in its cursors, since its
//! blocks were final.

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use apibara_dna_sdk::proto::dna_stream_server::{DnaStream, DnaStreamServer};
use apibara_dna_sdk::proto::{
    Cursor, Data, DataFinality, StatusRequest, StatusResponse, StreamDataRequest,
    StreamDataResponse, stream_data_response,
};
use apibara_dna_sdk::starknet::{
    Block, BlockHeader, Event, FieldElement, L1DataAvailabilityMode, ResourcePrice,
};
use futures::Stream;
use obsqra_indexer::source::{DnaOptions, DnaSource};
use obsqra_types::{BlockNumber, ContractAddress, UnixSeconds, felt_hex, parse_felt};
use prost::Message;
use serde_json::Value;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

use crate::support::{PATIENCE, at, blocks_to};

/// Plays the same messages to everybody and then stays on the line.
struct Player(Vec<StreamDataResponse>);

#[tonic::async_trait]
impl DnaStream for Player {
    type StreamDataStream = Pin<Box<dyn Stream<Item = Result<StreamDataResponse, Status>> + Send>>;

    async fn stream_data(
        &self,
        _request: Request<StreamDataRequest>,
    ) -> Result<Response<Self::StreamDataStream>, Status> {
        use futures::StreamExt;
        let messages: Vec<_> = self.0.iter().cloned().map(Ok).collect();
        let then_silent = futures::stream::iter(messages).chain(futures::stream::pending());
        Ok(Response::new(Box::pin(then_silent)))
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(StatusResponse::default()))
    }
}

/// A number as the recording has it: `800001n`, or plain.
fn number(value: &Value) -> u64 {
    match value.as_str() {
        Some(text) => text.trim_end_matches('n').parse().unwrap(),
        None => value.as_u64().unwrap(),
    }
}

fn element(value: &Value) -> Option<FieldElement> {
    Some(FieldElement::from_hex(value.as_str().unwrap()).unwrap())
}

fn elements(value: &Value) -> Vec<FieldElement> {
    value.as_array().unwrap().iter().filter_map(element).collect()
}

fn price(value: &Value) -> Option<ResourcePrice> {
    let (price_in_fri, price_in_wei) =
        (element(&value["priceInFri"]), element(&value["priceInWei"]));
    Some(ResourcePrice { price_in_fri, price_in_wei })
}

fn seconds(text: &str) -> u64 {
    let time = chrono::DateTime::parse_from_rfc3339(text).unwrap();
    u64::try_from(time.timestamp()).unwrap()
}

fn header(value: &Value) -> BlockHeader {
    let time = Duration::from_secs(seconds(value["timestamp"].as_str().unwrap()));
    BlockHeader {
        block_hash: element(&value["blockHash"]),
        parent_block_hash: element(&value["parentBlockHash"]),
        block_number: number(&value["blockNumber"]),
        sequencer_address: element(&value["sequencerAddress"]),
        new_root: element(&value["newRoot"]),
        timestamp: Some((std::time::UNIX_EPOCH + time).into()),
        starknet_version: value["starknetVersion"].as_str().unwrap().to_owned(),
        l1_gas_price: price(&value["l1GasPrice"]),
        l1_data_gas_price: price(&value["l1DataGasPrice"]),
        l1_data_availability_mode: match value["l1DataAvailabilityMode"].as_str() {
            Some("blob") => L1DataAvailabilityMode::Blob.into(),
            other => panic!("{other:?}"),
        },
    }
}

fn event(value: &Value) -> Event {
    let small = |name: &str| u32::try_from(number(&value[name])).unwrap();
    Event {
        filter_ids: vec![],
        from_address: element(&value["address"]),
        keys: elements(&value["keys"]),
        data: elements(&value["data"]),
        event_index: small("eventIndex"),
        transaction_index: small("transactionIndex"),
        transaction_hash: element(&value["transactionHash"]),
        transaction_status: 1,
        event_index_in_transaction: small("eventIndexInTransaction"),
    }
}

fn message(value: &Value) -> StreamDataResponse {
    assert_eq!(value["_tag"], "data");
    let data = &value["data"];
    let cursor = |name: &str| {
        Some(Cursor { order_key: number(&data[name]["orderKey"]), unique_key: vec![] })
    };
    let block = &data["data"][0];
    let events = block["events"].as_array().unwrap().iter().map(event).collect();
    let block = Block { header: Some(header(&block["header"])), events, ..Block::default() };
    let message = stream_data_response::Message::Data(Data {
        cursor: cursor("cursor"),
        end_cursor: cursor("endCursor"),
        finality: DataFinality::Finalized.into(),
        data: vec![block.encode_to_vec().into()],
        production: 1,
    });
    StreamDataResponse { message: Some(message) }
}

/// Plays messages on a free port of this machine.
async fn played(messages: Vec<StreamDataResponse>) -> DnaSource {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let incoming = TcpIncoming::from_listener(listener, true, None).unwrap();
    let service = DnaStreamServer::new(Player(messages));
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(server.serve_with_incoming(incoming));
    let (heartbeat, timeout) = (PATIENCE, PATIENCE);
    DnaSource::new(DnaOptions { url, token: None, heartbeat, timeout }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_stream_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../shared/chain/dna-cassette-800001-800005.json");
    let Ok(text) = std::fs::read_to_string(file) else {
        println!("skipped: the recorded stream is not there");
        return;
    };
    let cassette: Value = serde_json::from_str(&text).unwrap();
    let messages: Vec<_> = cassette["messages"].as_array().unwrap().iter().map(message).collect();
    let contract = cassette["filter"]["events"][0]["address"].as_str().unwrap();
    let watched = BTreeSet::from([ContractAddress(parse_felt(contract).unwrap())]);
    let mut stream = played(messages).await.stream(at(800_001), &watched).await.unwrap();
    let blocks = blocks_to(&mut stream, 800_005).await;
    let counts: Vec<_> = blocks.iter().map(|block| block.events.len()).collect();
    assert_eq!(counts, [1, 22, 1, 3, 1]);
    let first = &blocks[0];
    assert_eq!(first.number, BlockNumber(800_001));
    assert_eq!(first.timestamp, UnixSeconds(1_728_897_900));
    assert_eq!(first.starknet_version, "0.13.2.1");
    let event = &first.events[0];
    assert_eq!((event.index.0, event.transaction_index, event.data.len()), (8, 2, 4));
    assert_eq!(
        felt_hex(&event.transaction_hash.0),
        "0x6dcfffad0aebb8e496bf1af95b97ab181e9b86bd61a07c2926407ea70c0d0e"
    );
}
