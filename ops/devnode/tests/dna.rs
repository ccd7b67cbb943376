//! The DNA stream over its wire: what each filter lets through, and which requests are refused.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use apibara_dna_protocol::dna::stream::dna_stream_client::DnaStreamClient;
use apibara_dna_protocol::dna::stream::stream_data_response::Message;
use apibara_dna_protocol::dna::stream::{
    Cursor, Data, DataFinality, DataProduction, StreamDataRequest, StreamDataResponse,
};
use apibara_dna_protocol::starknet::{
    Block, Event, EventFilter, FieldElement, Filter, HeaderFilter, Key, MessageToL1Filter,
    TransactionStatusFilter,
};
use obsqra_devnode::{DevNode, DevNodeOptions, DnaSettings};
use prost::Message as _;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

const LAST: u64 = 9;

/// A node whose blocks up to 5 are final.
async fn node() -> DevNode {
    let options = DevNodeOptions {
        blocks: LAST + 1,
        blocks_per_second: 0.0,
        l1_lag: 4,
        dna_listen: Some(([127, 0, 0, 1], 0).into()),
        ..DevNodeOptions::seeded(3)
    };
    let node = DevNode::start(options).await.unwrap();
    node.wait_for_height(LAST).await;
    node
}

async fn client(node: &DevNode) -> DnaStreamClient<Channel> {
    DnaStreamClient::connect(node.dna_url().unwrap()).await.unwrap()
}

fn request(filters: &[Filter]) -> StreamDataRequest {
    let filter = filters.iter().map(Filter::encode_to_vec).collect();
    StreamDataRequest { filter, ..StreamDataRequest::default() }
}

fn always(events: Vec<EventFilter>) -> Filter {
    Filter { header: HeaderFilter::Always.into(), events, ..Filter::default() }
}

async fn message(stream: &mut Streaming<StreamDataResponse>) -> Message {
    let answer = tokio::time::timeout(PATIENCE, stream.message()).await.expect("it comes");
    answer.expect("no error").expect("no end").message.expect("a kind")
}

/// The data messages up to the one about a block.
async fn data_to(node: &DevNode, request: StreamDataRequest, last: u64) -> Vec<Data> {
    let mut stream = client(node).await.stream_data(request).await.unwrap().into_inner();
    let mut all = Vec::new();
    loop {
        let Message::Data(data) = message(&mut stream).await else { panic!("a block") };
        let number = data.end_cursor.as_ref().unwrap().order_key;
        all.push(data);
        if number == last {
            return all;
        }
    }
}

/// The blocks that one filter lets through, by height.
async fn passed(node: &DevNode, filter: Filter, last: u64) -> BTreeMap<u64, Block> {
    let all = data_to(node, request(&[filter]), last).await;
    all.iter()
        .map(|data| {
            let number = data.end_cursor.as_ref().unwrap().order_key;
            (number, Block::decode(data.data[0].as_ref()).unwrap())
        })
        .collect()
}

async fn refusal(node: &DevNode, request: StreamDataRequest) -> Status {
    client(node).await.stream_data(request).await.expect_err("it is refused")
}

/// All events of a chain: an event filter without conditions.
async fn all_events(node: &DevNode) -> Vec<Event> {
    let blocks = passed(node, always(vec![EventFilter::default()]), LAST).await;
    blocks.into_values().flat_map(|block| block.events).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_comes_once_for_each_filter_it_matches() {
    let node = node().await;
    let events = all_events(&node).await;
    let some = events.iter().find(|event| event.keys.len() > 1).unwrap().clone();
    let address = some.from_address;
    let first_key = |key: FieldElement| vec![Key { value: Some(key) }];
    let of_address = EventFilter { id: 1, address, ..EventFilter::default() };
    let of_key = EventFilter { id: 2, keys: first_key(some.keys[0]), ..EventFilter::default() };
    let blocks = passed(&node, always(vec![of_address, of_key]), LAST).await;
    let mut got: Vec<_> = blocks.into_values().flat_map(|block| block.events).collect();
    let mut wanted = Vec::new();
    for event in &events {
        let mut with_id = |id| wanted.push(Event { filter_ids: vec![id], ..event.clone() });
        if event.from_address == address {
            with_id(1);
        }
        if event.keys.first() == some.keys.first() {
            with_id(2);
        }
    }
    let order = |event: &Event| {
        (event.transaction_hash.unwrap().to_bytes(), event.event_index, event.filter_ids.clone())
    };
    got.sort_by_key(order);
    wanted.sort_by_key(order);
    assert!(got.len() > events.len() / 100 && got == wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_match_as_a_prefix_or_exactly() {
    let node = node().await;
    let events = all_events(&node).await;
    let some = events.iter().find(|event| event.keys.len() > 1).unwrap();
    let key = |value: Option<FieldElement>| Key { value };
    let (first, second) = (some.keys[0], some.keys[1]);
    for (keys, strict, wanted) in [
        (vec![key(Some(first))], false, count(&events, |keys| keys[0] == first)),
        (vec![key(Some(first))], true, count(&events, |keys| keys == [first])),
        (
            vec![key(None), key(Some(second))],
            false,
            count(&events, |keys| keys.get(1) == Some(&second)),
        ),
        (vec![key(None), key(None)], true, count(&events, |keys| keys.len() == 2)),
        (vec![key(None); 30], false, 0),
    ] {
        let filter = EventFilter { keys, strict: Some(strict), ..EventFilter::default() };
        let blocks = passed(&node, always(vec![filter.clone()]), LAST).await;
        let got: usize = blocks.values().map(|block| block.events.len()).sum();
        assert_eq!(got, wanted, "{filter:?}");
    }
    let reverted = EventFilter {
        transaction_status: Some(TransactionStatusFilter::Reverted.into()),
        ..EventFilter::default()
    };
    let blocks = passed(&node, always(vec![reverted]), LAST).await;
    assert!(blocks.values().all(|block| block.events.is_empty()), "nothing reverts here");
}

fn count(events: &[Event], holds: impl Fn(&[FieldElement]) -> bool) -> usize {
    events.iter().filter(|event| holds(&event.keys)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_come_always_or_with_data() {
    let node = node().await;
    let nobody = EventFilter {
        address: Some(FieldElement { x0: 0, x1: 0, x2: 0, x3: 0xbad }),
        ..EventFilter::default()
    };
    let with = |header: HeaderFilter| Filter {
        header: header.into(),
        events: vec![nobody.clone()],
        ..Filter::default()
    };
    let heights = |blocks: BTreeMap<u64, Block>| blocks.into_keys().collect::<Vec<_>>();
    let all = passed(&node, with(HeaderFilter::Always), LAST).await;
    assert!(all.values().all(|block| block.header.is_some()));
    assert_eq!(heights(all), (0..=LAST).collect::<Vec<_>>());
    let new = passed(&node, with(HeaderFilter::OnDataOrOnNewBlock), LAST).await;
    assert_eq!(heights(new), [LAST], "only the head is new");
    // With data of the second filter alone the first one's place is empty.
    let both = [with(HeaderFilter::OnData), always(vec![])];
    for data in data_to(&node, request(&both), LAST).await {
        assert_eq!(data.data.len(), 2);
        assert!(data.data[0].is_empty() && !data.data[1].is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn final_blocks_are_marked_and_may_be_all_that_is_wanted() {
    let node = node().await;
    for data in data_to(&node, request(&[always(vec![])]), LAST).await {
        let cursor = data.end_cursor.clone().unwrap();
        let is_final = cursor.order_key <= LAST - 4;
        let finality = if is_final { DataFinality::Finalized } else { DataFinality::Accepted };
        assert_eq!(data.finality(), finality, "block {}", cursor.order_key);
        assert_eq!(cursor.unique_key.is_empty(), is_final);
        let live = cursor.order_key == LAST;
        let production = if live { DataProduction::Live } else { DataProduction::Backfill };
        assert_eq!(data.production(), production);
    }
    let finality = Some(DataFinality::Finalized.into());
    let mut stream = client(&node)
        .await
        .stream_data(StreamDataRequest { finality, ..request(&[always(vec![])]) })
        .await
        .unwrap()
        .into_inner();
    for number in 0..=LAST - 4 {
        let Message::Data(data) = message(&mut stream).await else { panic!("block {number}") };
        assert_eq!(data.end_cursor.unwrap().order_key, number);
    }
    node.push_blocks(1).await.unwrap();
    let Message::Data(data) = message(&mut stream).await else { panic!("the next final block") };
    assert_eq!(data.end_cursor.unwrap().order_key, LAST - 3);
    assert!(matches!(message(&mut stream).await, Message::Finalize(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_make_no_sense_are_refused() {
    let node = node().await;
    let good = request(&[always(vec![])]);
    let messages = vec![MessageToL1Filter::default()];
    let siblings = EventFilter { include_siblings: Some(true), ..EventFilter::default() };
    let status = EventFilter { transaction_status: Some(9), ..EventFilter::default() };
    let no_felt = FieldElement { x0: u64::MAX, x1: 0, x2: 0, x3: 0 };
    let no_felt = EventFilter { address: Some(no_felt), ..EventFilter::default() };
    let cursor = |order_key, unique_key| StreamDataRequest {
        starting_cursor: Some(Cursor { order_key, unique_key }),
        ..good.clone()
    };
    let cases = [
        (StreamDataRequest { filter: vec![], ..good.clone() }, "no filters"),
        (request(&vec![always(vec![]); 6]), "6 filters"),
        (StreamDataRequest { filter: vec![vec![0xff]], ..good.clone() }, "no starknet.v2.Filter"),
        (request(&[Filter { messages, ..Filter::default() }]), "messages"),
        (request(&[always(vec![siblings])]), "siblings"),
        (request(&[always(vec![status])]), "transaction status 9"),
        (request(&[always(vec![no_felt])]), "below the field's prime"),
        (StreamDataRequest { finality: Some(7), ..good.clone() }, "finality 7"),
        (cursor(5, vec![1; 32]), "cursor 5 not found"),
        (cursor(5, vec![1; 33]), "more than 32 bytes"),
    ];
    for (request, words) in cases {
        let status = refusal(&node, request).await;
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(words), "{words}: {status:?}");
    }
    assert_eq!(refusal(&node, cursor(LAST + 1, vec![])).await.code(), Code::OutOfRange);
    // A height alone is a cursor too.
    let rest = data_to(&node, cursor(LAST - 1, vec![]), LAST).await;
    assert_eq!(rest.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_bounded_and_let_go() {
    let node = node().await;
    let mut client = client(&node).await;
    let mut open = Vec::new();
    let full = loop {
        match client.stream_data(request(&[always(vec![])])).await {
            Ok(stream) => open.push(stream),
            Err(status) => break status,
        }
    };
    assert_eq!((full.code(), open.len()), (Code::ResourceExhausted, 64));
    drop(open);
    // The node learns from the wire that nobody listens any more.
    tokio::time::timeout(PATIENCE, async {
        while client.stream_data(request(&[always(vec![])])).await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("there is room again");
}

#[test]
fn settings_do_not_show_the_token() {
    let token = Some("dna_swordfish".to_owned());
    let shown = format!("{:?}", DnaSettings { token, ..DnaSettings::default() });
    assert!(shown.contains("hidden") && !shown.contains("swordfish"), "{shown}");
}
