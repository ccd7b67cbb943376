//! Recorded chains: a file of real blocks, one JSON object a line, gzipped or plain.
//!
//! The whole file is read and checked before anything is served: one bad line refuses the file, with
//! its number and what is wrong with it. Lines are in order of height and time; events carry their index
//! in the block, which may skip numbers (a recording may leave events out) but never goes back.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use starknet_types_core::felt::Felt;

use crate::chain::block::{BlockDraft, Event, Origin, TransactionDraft};

/// Longest line that is read, in bytes.
const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// Why a recorded file is refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordedError {
    /// The file cannot be opened or read.
    #[error("cannot read the recorded file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is wrong.
    #[error("{}, line {line}: {what}", path.display())]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        what: BadLine,
    },
    /// The file has no block.
    #[error("the recorded file {} holds no block", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// Not JSON, or not of the shape of a block.
    #[error("not a recorded block: {0}")]
    Shape(serde_json::Error),
    /// Longer than 64 MiB.
    #[error("longer than {MAX_LINE_BYTES} bytes")]
    TooLong,
    /// A value that is no felt.
    #[error("{field} is {value:?}, which is not a felt: {reason}")]
    Felt {
        /// Which member.
        field: String,
        /// Its text, cut to 80 characters.
        value: String,
        /// Why.
        reason: &'static str,
    },
    /// Time goes backwards.
    #[error("timestamp {timestamp} is before {previous}, the timestamp of the line above")]
    TimestampBackwards {
        /// This line's.
        timestamp: u64,
        /// The one above.
        previous: u64,
    },
    /// Heights do not rise.
    #[error("block {number} does not come after block {previous} of the line above")]
    NumberBackwards {
        /// This line's.
        number: u64,
        /// The one above.
        previous: u64,
    },
    /// The chain changes inside the file.
    #[error("chain {chain:?} differs from {first:?} of the lines above")]
    OtherChain {
        /// This line's.
        chain: String,
        /// The first line's.
        first: String,
    },
    /// Transaction indices do not rise.
    #[error("transaction index {index} does not come after {previous}")]
    TransactionOrder {
        /// This one.
        index: u64,
        /// The one before.
        previous: u64,
    },
    /// Event indices do not rise.
    #[error("event index {index} does not come after {previous}")]
    EventOrder {
        /// This one.
        index: u64,
        /// The one before.
        previous: u64,
    },
    /// An event without a key.
    #[error("event index {index} has no key")]
    NoKey {
        /// The event.
        index: u64,
    },
}

#[derive(Deserialize)]
struct LineBlock {
    chain: String,
    number: u64,
    hash: String,
    parent_hash: String,
    timestamp: u64,
    transactions: Vec<LineTransaction>,
}

#[derive(Deserialize)]
struct LineTransaction {
    hash: String,
    index: u64,
    events: Vec<LineEvent>,
}

#[derive(Deserialize)]
struct LineEvent {
    index: u64,
    from_address: String,
    keys: Vec<String>,
    data: Vec<String>,
}

/// Reads and checks a whole file.
pub(crate) fn read(path: &Path) -> Result<Vec<BlockDraft>, RecordedError> {
    let unreadable = |source| RecordedError::Unreadable { path: path.to_owned(), source };
    let mut file = BufReader::new(std::fs::File::open(path).map_err(unreadable)?);
    let zipped = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
    let reader: Box<dyn BufRead> =
        if zipped { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
    read_lines(path, reader)
}

fn read_lines(path: &Path, mut reader: Box<dyn BufRead>) -> Result<Vec<BlockDraft>, RecordedError> {
    let bad = |line, what| RecordedError::BadLine { path: path.to_owned(), line, what };
    let mut drafts = Vec::new();
    let mut before = None;
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        let limit = u64::try_from(MAX_LINE_BYTES + 1).unwrap_or(u64::MAX);
        let read = reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut text)
            .map_err(|source| RecordedError::Unreadable { path: path.to_owned(), source })?;
        if read == 0 {
            break;
        }
        if read > MAX_LINE_BYTES {
            return Err(bad(line, BadLine::TooLong));
        }
        if text.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        drafts.push(parse_line(&text, &mut before).map_err(|what| bad(line, what))?);
    }
    if drafts.is_empty() { Err(RecordedError::Empty { path: path.to_owned() }) } else { Ok(drafts) }
}

/// What the line above said.
struct Before {
    chain: String,
    number: u64,
    timestamp: u64,
}

fn parse_line(text: &[u8], before: &mut Option<Before>) -> Result<BlockDraft, BadLine> {
    let block: LineBlock = serde_json::from_slice(text).map_err(BadLine::Shape)?;
    if let Some(previous) = before.as_ref() {
        check_order(&block, previous)?;
    }
    felt(&block.hash, || "hash".to_owned())?;
    felt(&block.parent_hash, || "parent_hash".to_owned())?;
    let transactions = transactions(&block.transactions)?;
    *before = Some(Before { chain: block.chain, number: block.number, timestamp: block.timestamp });
    Ok(BlockDraft {
        timestamp: block.timestamp,
        origin: Origin::Recorded { number: block.number },
        transactions,
    })
}

fn check_order(block: &LineBlock, previous: &Before) -> Result<(), BadLine> {
    if block.chain != previous.chain {
        return Err(BadLine::OtherChain {
            chain: block.chain.clone(),
            first: previous.chain.clone(),
        });
    }
    if block.number <= previous.number {
        return Err(BadLine::NumberBackwards { number: block.number, previous: previous.number });
    }
    if block.timestamp < previous.timestamp {
        return Err(BadLine::TimestampBackwards {
            timestamp: block.timestamp,
            previous: previous.timestamp,
        });
    }
    Ok(())
}

fn transactions(lines: &[LineTransaction]) -> Result<Vec<TransactionDraft>, BadLine> {
    let (mut last_transaction, mut last_event) = (None, None);
    lines
        .iter()
        .map(|line| {
            if let Some(previous) =
                last_transaction.replace(line.index).filter(|&previous| line.index <= previous)
            {
                return Err(BadLine::TransactionOrder { index: line.index, previous });
            }
            let place = line.index;
            Ok(TransactionDraft {
                recorded_hash: Some(felt(&line.hash, || format!("hash of transaction {place}"))?),
                sender: None,
                events: events(&line.events, &mut last_event)?,
            })
        })
        .collect()
}

fn events(lines: &[LineEvent], last: &mut Option<u64>) -> Result<Vec<Event>, BadLine> {
    lines
        .iter()
        .map(|line| {
            let index = line.index;
            if let Some(previous) = last.replace(index).filter(|&previous| index <= previous) {
                return Err(BadLine::EventOrder { index, previous });
            }
            if line.keys.is_empty() {
                return Err(BadLine::NoKey { index });
            }
            Ok(Event {
                from_address: felt(&line.from_address, || {
                    format!("from_address of event {index}")
                })?,
                keys: felts(&line.keys, || format!("a key of event {index}"))?,
                data: felts(&line.data, || format!("a datum of event {index}"))?,
            })
        })
        .collect()
}

fn felts(texts: &[String], field: impl Fn() -> String) -> Result<Vec<Felt>, BadLine> {
    texts.iter().map(|text| felt(text, &field)).collect()
}

/// The field's prime, 2²⁵¹ + 17·2¹⁹² + 1.
const PRIME_BE: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 0x08;
    bytes[7] = 0x11;
    bytes[31] = 0x01;
    bytes
};

fn felt(text: &str, field: impl FnOnce() -> String) -> Result<Felt, BadLine> {
    parse_felt(text).map_err(|reason| BadLine::Felt {
        field: field(),
        value: text.chars().take(80).collect(),
        reason,
    })
}

fn parse_felt(text: &str) -> Result<Felt, &'static str> {
    let digits = text.strip_prefix("0x").ok_or("it does not begin with 0x")?;
    if digits.is_empty() || digits.len() > 64 {
        return Err("it does not have 1 to 64 hex digits");
    }
    let mut bytes = [0_u8; 32];
    for (place, digit) in digits.bytes().rev().enumerate() {
        let value =
            char::from(digit).to_digit(16).ok_or("it has a character that is no hex digit")?;
        let value = u8::try_from(value).unwrap_or(0);
        if let Some(byte) = bytes.get_mut(31 - place / 2) {
            *byte |= if place % 2 == 0 { value } else { value << 4 };
        }
    }
    if bytes >= PRIME_BE {
        return Err("it is not below the field's prime");
    }
    Ok(Felt::from_bytes_be(&bytes))
}

/// The same reading for other callers: `None` for anything that is no felt.
pub(crate) fn felt_of(text: &str) -> Option<Felt> {
    parse_felt(text).ok()
}
