//! Sealed blocks as JSON, in the style of a node.
//!
//! A block's finality is the only thing about it that changes after sealing, and both of its words have
//! the same length and differ in the last digit. So a body is encoded once, the places of that digit are
//! kept, and serving a final block is a copy with those bytes set.

use obsqra_events::commitments::GasPrice;
use starknet_types_core::felt::Felt;

use super::block::{Event, Origin, SealedBlock, Transaction};
use super::seal::{SEQUENCER_ADDRESS, STARKNET_VERSION, made_up_names};
use crate::spec::{BodyStyle, Commitments, FeltSpelling, Spec, Style};

/// Whether a block is accepted on L1 yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finality {
    /// `ACCEPTED_ON_L2`
    AcceptedOnL2,
    /// `ACCEPTED_ON_L1`
    AcceptedOnL1,
}

/// How much of each transaction a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Transaction hashes.
    Hashes,
    /// Transactions.
    Transactions,
    /// Transactions with receipts and events.
    Receipts,
}

/// An encoded block whose finality can be set without encoding it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    bytes: Vec<u8>,
    finality_digits: Vec<usize>,
}

impl Body {
    /// Encodes a block.
    pub(crate) fn encode(block: &SealedBlock, detail: Detail, style: BodyStyle) -> Self {
        let mut out = Writer::new(style.felts, 4_096);
        out.finality("{\"status\":");
        out.raw(",");
        write_header(&mut out, block, style.commitments);
        write_marks(&mut out, block.origin);
        out.raw(",\"transactions\":[");
        for (index, transaction) in block.transactions.iter().enumerate() {
            out.comma(index);
            match detail {
                Detail::Hashes => out.felt(&transaction.hash),
                Detail::Transactions => {
                    write_transaction(&mut out, transaction, HashMember::Included)
                }
                Detail::Receipts => write_with_receipt(&mut out, transaction),
            }
        }
        out.raw("]}");
        Self { bytes: out.bytes, finality_digits: out.finality_digits }
    }

    /// Appends the body with its finality set.
    pub(crate) fn append_to(&self, out: &mut Vec<u8>, finality: Finality) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if finality == Finality::AcceptedOnL1 {
            for &digit in &self.finality_digits {
                if let Some(place) = out.get_mut(start + digit) {
                    *place = b'1';
                }
            }
        }
    }
}

/// A block's header as subscribers are told of it: no status and no transactions.
pub(crate) fn header(block: &SealedBlock, style: BodyStyle) -> Vec<u8> {
    let mut out = Writer::new(style.felts, 2_048);
    out.raw("{");
    write_header(&mut out, block, style.commitments);
    out.raw("}");
    out.bytes
}

#[derive(Clone, Copy)]
enum HashMember {
    Included,
    LeftOut,
}

struct Writer {
    bytes: Vec<u8>,
    finality_digits: Vec<usize>,
    felts: FeltSpelling,
}

impl Writer {
    fn new(felts: FeltSpelling, capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), finality_digits: Vec::new(), felts }
    }

    fn raw(&mut self, text: &str) {
        self.bytes.extend_from_slice(text.as_bytes());
    }

    fn comma(&mut self, index: usize) {
        if index > 0 {
            self.bytes.push(b',');
        }
    }

    fn felt(&mut self, felt: &Felt) {
        self.bytes.push(b'"');
        push_hex(&mut self.bytes, felt, self.felts);
        self.bytes.push(b'"');
    }

    fn felts(&mut self, felts: &[Felt]) {
        self.bytes.push(b'[');
        for (index, felt) in felts.iter().enumerate() {
            self.comma(index);
            self.felt(felt);
        }
        self.bytes.push(b']');
    }

    fn felt_member(&mut self, prefix: &str, felt: &Felt) {
        self.raw(prefix);
        self.felt(felt);
    }

    fn number_member(&mut self, prefix: &str, number: u64) {
        self.raw(prefix);
        self.raw(&number.to_string());
    }

    fn hex_member(&mut self, prefix: &str, number: u128) {
        self.raw(prefix);
        self.raw(&format!("\"{number:#x}\""));
    }

    fn finality(&mut self, prefix: &str) {
        self.raw(prefix);
        self.raw("\"ACCEPTED_ON_L2");
        self.finality_digits.push(self.bytes.len() - 1);
        self.raw("\"");
    }
}

/// A felt as `0x` and hex digits.
fn push_hex(out: &mut Vec<u8>, felt: &Felt, spelling: FeltSpelling) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bytes = felt.to_bytes_be();
    let mut digits = [b'0'; 64];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            *high = DIGITS[usize::from(byte >> 4)];
            *low = DIGITS[usize::from(byte & 0x0f)];
        }
    }
    let zeros = match spelling {
        FeltSpelling::Padded => 0,
        // The last digit stays, so that zero is 0x0.
        FeltSpelling::Short => digits.iter().position(|digit| *digit != b'0').unwrap_or(63),
    };
    out.extend_from_slice(b"0x");
    out.extend_from_slice(digits.get(zeros..).unwrap_or_default());
}

/// A felt as text without leading zeros.
pub(crate) fn hex(felt: &Felt) -> String {
    spelled(felt, FeltSpelling::Short)
}

/// A felt as text.
pub(crate) fn spelled(felt: &Felt, spelling: FeltSpelling) -> String {
    let mut bytes = Vec::with_capacity(66);
    push_hex(&mut bytes, felt, spelling);
    bytes.into_iter().map(char::from).collect()
}

fn write_header(out: &mut Writer, block: &SealedBlock, commitments: Commitments) {
    out.felt_member("\"block_hash\":", &block.hash);
    out.felt_member(",\"parent_hash\":", &block.parent_hash);
    out.number_member(",\"block_number\":", block.number);
    out.felt_member(",\"new_root\":", &block.new_root);
    out.number_member(",\"timestamp\":", block.timestamp);
    out.felt_member(",\"sequencer_address\":", &SEQUENCER_ADDRESS);
    write_price(out, ",\"l1_gas_price\":", block.gas_prices.l1);
    write_price(out, ",\"l1_data_gas_price\":", block.gas_prices.l1_data);
    write_price(out, ",\"l2_gas_price\":", block.gas_prices.l2);
    out.raw(",\"l1_da_mode\":\"BLOB\",\"starknet_version\":\"");
    out.raw(STARKNET_VERSION);
    out.raw("\"");
    match (commitments, block.origin) {
        // A light block has none, whatever the specification.
        (_, Origin::Light) | (Commitments::LeftOut, _) => {}
        (Commitments::Included, _) => write_commitments(out, block),
    }
}

/// The members that came with spec 0.10.
fn write_commitments(out: &mut Writer, block: &SealedBlock) {
    out.felt_member(",\"transaction_commitment\":", &block.transaction_commitment);
    out.felt_member(",\"event_commitment\":", &block.event_commitment);
    out.felt_member(",\"receipt_commitment\":", &block.receipt_commitment);
    out.felt_member(",\"state_diff_commitment\":", &block.state_diff_commitment);
    out.raw(&format!(",\"event_count\":{}", block.event_count()));
    out.raw(&format!(",\"transaction_count\":{}", block.transactions.len()));
    out.number_member(",\"state_diff_length\":", block.state_diff_length);
}

fn write_price(out: &mut Writer, prefix: &str, price: GasPrice) {
    out.raw(prefix);
    out.hex_member("{\"price_in_fri\":", price.fri);
    out.hex_member(",\"price_in_wei\":", price.wei);
    out.raw("}");
}

/// The member that says what of this block is not real.
fn write_marks(out: &mut Writer, origin: Origin) {
    match origin {
        Origin::Recorded { number } => {
            out.number_member(",\"obsqra\":{\"source\":\"recorded\",\"recorded_number\":", number);
        }
        Origin::Seeded => out.raw(",\"obsqra\":{\"source\":\"seeded\",\"recorded_number\":null"),
        Origin::Light => out.raw(",\"obsqra\":{\"source\":\"light\",\"recorded_number\":null"),
    }
    out.raw(",\"made_up\":[");
    for (index, name) in made_up_names(origin).enumerate() {
        out.comma(index);
        out.raw("\"");
        out.raw(name);
        out.raw("\"");
    }
    out.raw("]}");
}

fn write_transaction(out: &mut Writer, transaction: &Transaction, hash: HashMember) {
    out.raw("{\"type\":\"INVOKE\",\"version\":\"0x3\"");
    match hash {
        HashMember::Included => out.felt_member(",\"transaction_hash\":", &transaction.hash),
        HashMember::LeftOut => {}
    }
    out.hex_member(",\"nonce\":", u128::from(transaction.nonce));
    out.felt_member(",\"sender_address\":", &transaction.sender);
    out.raw(",\"signature\":");
    out.felts(&transaction.signature);
    out.raw(
        ",\"calldata\":[],\"resource_bounds\":{\
         \"l1_gas\":{\"max_amount\":\"0x11170\",\"max_price_per_unit\":\"0x8d79883d20000\"},\
         \"l2_gas\":{\"max_amount\":\"0x5f5e100\",\"max_price_per_unit\":\"0xba43b7400\"},\
         \"l1_data_gas\":{\"max_amount\":\"0x2710\",\"max_price_per_unit\":\"0x8d79883d20000\"}},\
         \"tip\":\"0x0\",\"paymaster_data\":[],\"account_deployment_data\":[],\
         \"nonce_data_availability_mode\":\"L1\",\"fee_data_availability_mode\":\"L1\"}",
    );
}

fn write_with_receipt(out: &mut Writer, transaction: &Transaction) {
    out.raw("{\"transaction\":");
    write_transaction(out, transaction, HashMember::LeftOut);
    out.felt_member(",\"receipt\":{\"type\":\"INVOKE\",\"transaction_hash\":", &transaction.hash);
    out.hex_member(",\"actual_fee\":{\"amount\":", transaction.actual_fee);
    out.raw(",\"unit\":\"FRI\"},\"execution_status\":\"SUCCEEDED\"");
    out.finality(",\"finality_status\":");
    out.raw(",\"messages_sent\":[],\"events\":[");
    for (index, event) in transaction.events.iter().enumerate() {
        out.comma(index);
        out.raw("{");
        write_event_members(out, event);
        out.raw("}");
    }
    out.number_member(
        "],\"execution_resources\":{\"l1_gas\":0,\"l1_data_gas\":",
        transaction.l1_data_gas,
    );
    out.number_member(",\"l2_gas\":", transaction.l2_gas);
    out.raw("}}}");
}

fn write_event_members(out: &mut Writer, event: &Event) {
    out.felt_member("\"from_address\":", &event.from_address);
    out.raw(",\"keys\":");
    out.felts(&event.keys);
    out.raw(",\"data\":");
    out.felts(&event.data);
}

/// Where an event that `starknet_getEvents` answers with stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventPlace {
    pub(crate) block_hash: Felt,
    pub(crate) block_number: u64,
    pub(crate) transaction_hash: Felt,
    pub(crate) transaction_index: usize,
    pub(crate) event_index: usize,
}

/// An event as `starknet_getEvents` answers it: since spec 0.10 with its place in the block.
pub(crate) fn emitted_event(event: &Event, place: EventPlace, style: Style) -> Vec<u8> {
    let mut out = Writer::new(style.felts, 512);
    out.raw("{");
    write_event_members(&mut out, event);
    out.felt_member(",\"block_hash\":", &place.block_hash);
    out.number_member(",\"block_number\":", place.block_number);
    out.felt_member(",\"transaction_hash\":", &place.transaction_hash);
    if style.spec >= Spec::V0_10 {
        out.raw(&format!(
            ",\"transaction_index\":{},\"event_index\":{}",
            place.transaction_index, place.event_index
        ));
    }
    out.raw("}");
    out.bytes
}
