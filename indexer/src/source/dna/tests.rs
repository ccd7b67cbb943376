//! What is asked of a server, and what its refusals mean.

use apibara_dna_sdk::DataStreamError;
use obsqra_types::Felt;
use tonic::Code;

use super::*;
use crate::source::Remedy;

fn options(url: &str) -> DnaOptions {
    DnaOptions {
        url: url.parse().unwrap(),
        token: Some(Secret::new("swordfish").unwrap()),
        heartbeat: Duration::from_secs(30),
        timeout: Duration::from_secs(5),
    }
}

fn source() -> DnaSource {
    DnaSource::new(options("https://dna.example:7007")).unwrap()
}

#[test]
fn an_address_is_scheme_host_and_port() {
    assert_eq!(source().name(), "https://dna.example:7007");
    assert_eq!(DnaSource::new(options("http://[::1]:7007/")).unwrap().name(), "http://[::1]:7007");
    for url in [
        "https://dna.example/v2/0123456789abcdef",
        "https://dna.example/?key=0123456789abcdef",
        "https://0123456789abcdef@dna.example",
        "https://user:0123456789abcdef@dna.example",
    ] {
        let error = DnaSource::new(options(url)).unwrap_err();
        assert!(matches!(error, SourceError::AddressHasMore(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains("0123456789abcdef"), "{error:?}");
    }
    assert!(matches!(DnaSource::new(options("ftp://dna.example")), Err(SourceError::Address(_))));
}

#[test]
fn the_token_is_shown_nowhere() {
    let source = source();
    assert!(!format!("{source:?} {:?}", options("http://[::1]")).contains("swordfish"));
    assert!(!format!("{:?}", source.metadata).contains("swordfish"));
    let echo = Status::unauthenticated("token `swordfish` is not known\n");
    let error = source.peer.refused("status", &echo);
    assert!(!format!("{error} {error:?}").contains("swordfish"), "{error:?}");
    assert!(error.to_string().contains("token `[token]` is not known"), "{error}");
}

#[test]
fn one_filter_an_address_and_every_header() {
    use apibara_dna_sdk::starknet::Filter;
    use prost::Message;

    let contracts = |count: u64| (1..=count).map(|n| ContractAddress(Felt::from(n))).collect();
    let start = DnaStart::At(BlockNumber(0));
    let request = source().request(start, &contracts(2)).unwrap();
    assert_eq!(request.starting_cursor, None);
    assert_eq!(request.heartbeat_interval.map(|interval| interval.seconds), Some(30));
    let [filter] = request.filter.as_slice() else { panic!("one filter") };
    let filter = Filter::decode(filter.as_slice()).unwrap();
    assert_eq!(filter.header(), HeaderFilter::Always);
    let asked: Vec<_> = filter
        .events
        .iter()
        .map(|event| (event.id, event.address.map(|address| address.x3), event.keys.len()))
        .collect();
    assert_eq!(asked, [(1, Some(1), 0), (2, Some(2), 0)]);
    assert!(filter.events.iter().all(|event| event.strict.is_none()));
    let all = filter
        .events
        .iter()
        .all(|event| event.transaction_status == Some(TransactionStatusFilter::All.into()));
    assert!(all, "events of reverted transactions come too");
    // The request of the most contracts stays far below what servers take.
    let largest = source().request(start, &contracts(MAX_CONTRACTS as u64)).unwrap();
    assert!(largest.encoded_len() < 1 << 20, "{}", largest.encoded_len());
}

#[tokio::test]
async fn more_contracts_than_fit_are_refused() {
    let contracts = (0..=MAX_CONTRACTS).map(|n| ContractAddress(Felt::from(n as u64))).collect();
    let refused = source().stream(DnaStart::At(BlockNumber(0)), &contracts).await.unwrap_err();
    assert!(matches!(refused, SourceError::TooManyContracts { .. }), "{refused}");
    assert_eq!(refused.remedy(), Remedy::None);
}

#[test]
fn the_cursor_is_the_block_before() {
    let hash = BlockHash(Felt::from(0xabcd_u64));
    let after = DnaStart::After(BlockId { number: BlockNumber(7), hash });
    let cursor = after.cursor().unwrap();
    assert_eq!(cursor.order_key, 7);
    assert_eq!(DnaCursor::read(cursor), Ok(DnaCursor { number: BlockNumber(7), hash: Some(hash) }));
    let at = DnaStart::At(BlockNumber(8)).cursor().unwrap();
    assert_eq!((at.order_key, at.unique_key.len()), (7, 0));
}

#[test]
fn each_status_has_its_remedy() {
    let after = DnaStart::After(BlockId { number: BlockNumber(7), hash: BlockHash(Felt::from(1)) });
    let check = |start: DnaStart, code: Code, words: &str, expected: (&str, Remedy)| {
        let error = source().peer.start_refused(start, &Status::new(code, words));
        let name = format!("{error:?}");
        let name = name.split([' ', '(']).next().unwrap_or_default().to_owned();
        assert_eq!((name.as_str(), error.remedy()), expected, "{error}");
        assert!(error.to_string().contains("https://dna.example:7007"), "{error}");
    };
    let wait = Remedy::Wait(None);
    let unknown = "starting cursor 7 not found";
    check(after, Code::InvalidArgument, unknown, ("UnknownCursor", Remedy::RetryBounded));
    let at = DnaStart::At(BlockNumber(8));
    check(at, Code::InvalidArgument, unknown, ("Refused", Remedy::None));
    check(after, Code::InvalidArgument, "heartbeat interval", ("Refused", Remedy::None));
    check(after, Code::OutOfRange, "cursor 7 is after 5", ("Ahead", wait));
    check(after, Code::Unavailable, "not ready", ("Unreachable", wait));
    check(after, Code::Internal, "internal server error", ("Unreachable", wait));
    check(after, Code::Unknown, "transport error", ("Unreachable", wait));
    check(after, Code::ResourceExhausted, "too many streams", ("Busy", wait));
    check(after, Code::Unauthenticated, "", ("Unauthorized", Remedy::None));
    check(after, Code::PermissionDenied, "", ("Unauthorized", Remedy::None));
    check(after, Code::Unimplemented, "", ("Refused", Remedy::None));
}

#[test]
fn a_message_beyond_the_bound_is_no_head_to_wait_for() {
    let words = "Error, decoded message length too large: found 90 bytes, the limit is: 80 bytes";
    let source = source();
    for status in [
        Status::out_of_range(words),
        Status::internal("failed to decode Protobuf message: invalid tag value: 0"),
    ] {
        let error = DataStreamError::Tonic { source: status };
        let error = source.peer.broken(error, Duration::from_secs(60));
        assert!(matches!(error, SourceError::Unusable { .. }), "{error}");
        assert_eq!(error.remedy(), Remedy::RetryBounded);
    }
}

#[test]
fn a_server_s_words_are_cut_short() {
    let status = Status::internal("x\n".repeat(10_000));
    assert!(source().peer.refused("status", &status).to_string().len() < 500);
}
