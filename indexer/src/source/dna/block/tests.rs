//! One good message, and what is wrong with it in each of the ways that are refused.

use apibara_dna_sdk::proto::Cursor;

use super::*;

fn element(value: u64) -> FieldElement {
    FieldElement { x0: 0, x1: 0, x2: 0, x3: value }
}

/// The field's prime, the least number that is no felt.
const PRIME: FieldElement = FieldElement { x0: 0x0800_0000_0000_0011, x1: 0, x2: 0, x3: 1 };

fn event(index: u32, transaction: u32) -> Event {
    Event {
        filter_ids: vec![1],
        from_address: Some(element(7)),
        keys: vec![element(1)],
        data: vec![element(u64::from(index))],
        event_index: index,
        transaction_index: transaction,
        transaction_hash: Some(element(u64::from(transaction) + 100)),
        ..Event::default()
    }
}

fn good() -> Block {
    let price = ResourcePrice { price_in_fri: Some(element(3)), price_in_wei: Some(element(0)) };
    let mut header = BlockHeader {
        block_hash: Some(element(50)),
        parent_block_hash: Some(element(40)),
        block_number: 5,
        sequencer_address: Some(element(9)),
        new_root: Some(FieldElement { x0: 1, x1: 2, x2: 3, x3: 4 }),
        timestamp: Some(std::time::UNIX_EPOCH.into()),
        starknet_version: "0.14.1".to_owned(),
        l1_gas_price: Some(price),
        l1_data_gas_price: Some(price),
        l1_data_availability_mode: L1DataAvailabilityMode::Blob.into(),
    };
    if let Some(time) = &mut header.timestamp {
        time.seconds = 1_700_000_000;
    }
    let events = vec![event(4, 1), event(2, 0), event(4, 1)];
    Block { header: Some(header), events, ..Block::default() }
}

fn message(block: &Block) -> Data {
    Data {
        cursor: None,
        end_cursor: Some(Cursor { order_key: 5, unique_key: vec![50] }),
        finality: DataFinality::Accepted.into(),
        data: vec![block.encode_to_vec().into()],
        production: 0,
    }
}

fn read(data: Data) -> Result<SourceBlock, String> {
    read_block(data, &BTreeSet::from([ContractAddress(Felt::from(7))]))
}

#[test]
fn a_good_message_is_a_block() {
    let block = read(message(&good())).unwrap();
    assert_eq!(block.number, BlockNumber(5));
    assert_eq!(block.hash, BlockHash(Felt::from(50)));
    assert_eq!(block.parent_hash, BlockHash(Felt::from(40)));
    assert_eq!(block.timestamp, UnixSeconds(1_700_000_000));
    let root = "0x1000000000000000200000000000000030000000000000004";
    assert_eq!(Some(block.new_root), obsqra_types::parse_felt(root));
    assert_eq!(block.l1_gas, GasPrice { fri: 3, wei: 0 });
    assert_eq!((block.l2_gas, block.transactions), (None, None));
    assert!(block.supplied.is_none());
    let places: Vec<_> =
        block.events.iter().map(|event| (event.index.0, event.transaction_index)).collect();
    assert_eq!(places, [(2, 0), (4, 1)], "sorted, and the repeated event once");
}

#[test]
fn a_final_block_needs_no_hash_in_its_cursor() {
    let mut data = message(&good());
    data.finality = DataFinality::Finalized.into();
    data.end_cursor = Some(Cursor { order_key: 5, unique_key: vec![] });
    assert_eq!(read(data).unwrap().hash, BlockHash(Felt::from(50)));
}

/// Changes the good message and compares the complaint.
fn refuses(complaint: &str, change: impl FnOnce(&mut Data)) {
    let mut data = message(&good());
    change(&mut data);
    assert_eq!(read(data).err().as_deref(), Some(complaint));
}

#[test]
fn a_bad_envelope_is_refused() {
    refuses("a block without a cursor", |data| data.end_cursor = None);
    refuses("block 5: it is pre-confirmed", |data| data.finality = 1);
    refuses("block 5: its finality 0 is unknown", |data| data.finality = 0);
    refuses("block 5: its finality 77 is unknown", |data| data.finality = 77);
    refuses("block 5: 0 answers came to one filter", |data| data.data.clear());
    refuses("block 5: the header is missing", |data| data.data = vec![vec![].into()]);
    refuses("block 6: its header is of block 5", |data| {
        data.end_cursor = Some(Cursor { order_key: 6, unique_key: vec![] });
    });
    refuses("block 5: its hash is not that of its cursor", |data| {
        data.end_cursor = Some(Cursor { order_key: 5, unique_key: vec![51] });
    });
    refuses("the hash of block 5 has 33 bytes", |data| {
        data.end_cursor = Some(Cursor { order_key: 5, unique_key: vec![0; 33] });
    });
    refuses("the hash of block 5 is no felt", |data| {
        data.end_cursor = Some(Cursor { order_key: 5, unique_key: vec![0xff; 32] });
    });
    refuses("height 18446744073709551615 is out of range", |data| {
        data.end_cursor = Some(Cursor { order_key: u64::MAX, unique_key: vec![] });
    });
}

/// Changes the good block and compares the complaint.
fn refuses_block(complaint: &str, change: impl FnOnce(&mut Block)) {
    refuses(&format!("block 5: {complaint}"), |data| {
        let mut block = good();
        change(&mut block);
        data.data = vec![block.encode_to_vec().into()];
    });
}

fn refuses_header(complaint: &str, change: impl FnOnce(&mut BlockHeader)) {
    refuses_block(complaint, |block| change(block.header.as_mut().unwrap()));
}

#[test]
fn a_bad_header_is_refused() {
    refuses_header("block_hash is missing", |header| header.block_hash = None);
    refuses_header("parent_block_hash is missing", |header| header.parent_block_hash = None);
    refuses_header("new_root is missing", |header| header.new_root = None);
    refuses_header("new_root is not below the field's prime", |header| {
        header.new_root = Some(PRIME);
    });
    refuses_header("timestamp is missing", |header| header.timestamp = None);
    refuses_header("timestamp -1.000000000 is no date", |header| {
        header.timestamp.as_mut().unwrap().seconds = -1;
    });
    refuses_header("timestamp 1700000000.000000001 is no date", |header| {
        header.timestamp.as_mut().unwrap().nanos = 1;
    });
    refuses_header("l1_gas_price is missing", |header| header.l1_gas_price = None);
    refuses_header("l1_data_gas_price is beyond 128 bits", |header| {
        let wide = FieldElement { x0: 0, x1: 1, x2: 0, x3: 0 };
        header.l1_data_gas_price.as_mut().unwrap().price_in_wei = Some(wide);
    });
    refuses_header("l1_data_availability_mode is unknown", |header| {
        header.l1_data_availability_mode = 0;
    });
}

#[test]
fn bad_events_are_refused() {
    refuses_block("event 4 came twice with other content", |block| {
        block.events[0].data.push(element(1));
    });
    refuses_block("event 2 is of contract 0x8, which is not watched", |block| {
        block.events[1].from_address = Some(element(8));
    });
    refuses_block("event 2: from_address is missing", |block| block.events[1].from_address = None);
    refuses_block("event 2: data is not below the field's prime", |block| {
        block.events[1].data = vec![PRIME];
    });
    let contradiction = "events 2 and 4 contradict each other about their transactions";
    refuses_block(contradiction, |block| block.events[1].transaction_index = 2);
    refuses_block(contradiction, |block| {
        block.events[1].transaction_index = 1;
    });
    refuses_block(contradiction, |block| {
        block.events[1].transaction_hash = Some(element(101));
    });
}

#[test]
fn bytes_that_are_no_message_are_refused() {
    let whole = good().encode_to_vec();
    for bytes in [vec![0xff; 40], whole[..whole.len() - 1].to_vec()] {
        let data = Data { data: vec![bytes.into()], ..message(&good()) };
        let problem = read(data).unwrap_err();
        assert!(problem.starts_with("block 5: failed to decode Protobuf message"), "{problem}");
    }
}
