//! A whole block as `starknet_getBlockWithReceipts` answers it in specifications 0.8, 0.9 and 0.10, as
//! little of it as a [`SourceBlock`] needs.
//!
//! Everything else is passed over unread, which is most of an answer and makes parsing several
//! times as fast as into types that keep it. So members that come and go between editions do not
//! matter, and neither does a transaction of an unknown type: its hash and its events are kept like
//! any other's, because events are what the log is about. An event of another shape, a receipt
//! without a list of events, a felt that is none and counts that contradict what was received are
//! errors: there, something would be lost without anybody noticing.

use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_types::{
    BlockHash, BlockNumber, ContractAddress, EventIndex, Felt, TransactionHash, UnixSeconds,
};
use serde::Deserialize;

use super::felt::{HexFelt, HexU128};
use crate::source::SourceBlock;

/// A block with receipts. A pre-confirmed one has no hash.
#[derive(Debug, Deserialize)]
pub(super) struct BlockBody {
    block_hash: Option<HexFelt>,
    parent_hash: Option<HexFelt>,
    new_root: Option<HexFelt>,
    pub(super) block_number: Option<u64>,
    timestamp: u64,
    sequencer_address: HexFelt,
    starknet_version: String,
    l1_da_mode: DaModeText,
    l1_gas_price: PriceBody,
    l1_data_gas_price: PriceBody,
    // Answers recorded before specification 0.8 lack it.
    l2_gas_price: Option<PriceBody>,
    transactions: Vec<TransactionBody>,
    // From here on members of specification 0.10; some nodes have them earlier.
    transaction_count: Option<u64>,
    event_count: Option<u64>,
    state_diff_length: Option<u64>,
    transaction_commitment: Option<HexFelt>,
    event_commitment: Option<HexFelt>,
    receipt_commitment: Option<HexFelt>,
    state_diff_commitment: Option<HexFelt>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum DaModeText {
    #[serde(rename = "BLOB")]
    Blob,
    #[serde(rename = "CALLDATA")]
    Calldata,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct PriceBody {
    price_in_fri: HexU128,
    price_in_wei: HexU128,
}

#[derive(Debug, Deserialize)]
struct TransactionBody {
    transaction: Option<HashedBody>,
    receipt: ReceiptBody,
}

/// A transaction; most answers have its hash in the receipt only.
#[derive(Debug, Deserialize)]
struct HashedBody {
    transaction_hash: Option<HexFelt>,
}

#[derive(Debug, Deserialize)]
struct ReceiptBody {
    transaction_hash: HexFelt,
    events: Vec<EventBody>,
}

#[derive(Debug, Deserialize)]
struct EventBody {
    from_address: HexFelt,
    #[serde(deserialize_with = "felts")]
    keys: Vec<Felt>,
    #[serde(deserialize_with = "felts")]
    data: Vec<Felt>,
}

impl BlockBody {
    /// The block, checked against itself.
    ///
    /// # Errors
    /// Names the member that is missing, out of range or contradicts another.
    pub(super) fn assemble(self) -> Result<SourceBlock, String> {
        let (Some(hash), Some(number)) = (self.block_hash, self.block_number) else {
            return Err("it has no block_hash or block_number: a pre-confirmed block".to_owned());
        };
        let parent = self.parent_hash.ok_or("it has no parent_hash")?;
        let new_root = self.new_root.ok_or("it has no new_root")?;
        if i64::try_from(number).is_err() {
            return Err(format!("block_number {number} is out of range"));
        }
        let timestamp = UnixSeconds(self.timestamp);
        if timestamp.to_datetime().is_none() {
            return Err(format!("timestamp {} is no date", self.timestamp));
        }
        let supplied = self.supplied()?;
        let transactions = self.transactions.len() as u64;
        let events = events(self.transactions)?;
        if let Some(supplied) = &supplied {
            expect("transaction_count", supplied.transaction_count, transactions)?;
            expect("event_count", supplied.event_count, events.len() as u64)?;
        }
        Ok(SourceBlock {
            number: BlockNumber(number),
            hash: BlockHash(hash.0),
            parent_hash: BlockHash(parent.0),
            timestamp,
            new_root: new_root.0,
            sequencer: ContractAddress(self.sequencer_address.0),
            starknet_version: self.starknet_version,
            da_mode: match self.l1_da_mode {
                DaModeText::Blob => DaMode::Blob,
                DaModeText::Calldata => DaMode::Calldata,
            },
            l1_gas: self.l1_gas_price.price(),
            l1_data_gas: self.l1_data_gas_price.price(),
            l2_gas: self.l2_gas_price.map(PriceBody::price),
            supplied,
            transactions: Some(transactions),
            events,
        })
    }

    /// All of them or none: a header that has only some is of no edition.
    fn supplied(&self) -> Result<Option<SuppliedCommitments>, String> {
        let counts = (self.transaction_count, self.event_count, self.state_diff_length);
        let commitments = (
            self.transaction_commitment,
            self.event_commitment,
            self.receipt_commitment,
            self.state_diff_commitment,
        );
        match (counts, commitments) {
            (
                (Some(transaction_count), Some(event_count), Some(state_diff_length)),
                (Some(transaction), Some(event), Some(receipt), Some(state_diff)),
            ) => Ok(Some(SuppliedCommitments {
                transaction_count,
                event_count,
                state_diff_length,
                transaction_commitment: transaction.0,
                event_commitment: event.0,
                receipt_commitment: receipt.0,
                state_diff_commitment: state_diff.0,
            })),
            ((None, None, None), (None, None, None, None)) => Ok(None),
            _ => Err("header has some of the counts and commitments of spec 0.10, not all".into()),
        }
    }
}

impl PriceBody {
    fn price(self) -> GasPrice {
        GasPrice { fri: self.price_in_fri.0, wei: self.price_in_wei.0 }
    }
}

fn events(transactions: Vec<TransactionBody>) -> Result<Vec<EventData>, String> {
    let count = transactions.iter().map(|transaction| transaction.receipt.events.len()).sum();
    let mut events = Vec::with_capacity(count);
    for (position, body) in transactions.into_iter().enumerate() {
        let transaction_index =
            u32::try_from(position).map_err(|_| "too many transactions".to_owned())?;
        let hash = body.receipt.transaction_hash;
        let stated = body.transaction.and_then(|transaction| transaction.transaction_hash);
        if stated.is_some_and(|stated| stated != hash) {
            return Err(format!("transactions[{position}] and its receipt have two hashes"));
        }
        for event in body.receipt.events {
            let index = u32::try_from(events.len()).map_err(|_| "too many events".to_owned())?;
            events.push(EventData {
                index: EventIndex(index),
                transaction_index,
                transaction_hash: TransactionHash(hash.0),
                from_address: ContractAddress(event.from_address.0),
                keys: event.keys,
                data: event.data,
            });
        }
    }
    Ok(events)
}

fn expect(member: &str, header: u64, received: u64) -> Result<(), String> {
    if header == received {
        return Ok(());
    }
    Err(format!("{member} is {header} in the header, but {received} were received"))
}

/// A list of felts, read without a second list in between.
fn felts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Felt>, D::Error> {
    struct Felts;
    impl<'de> serde::de::Visitor<'de> for Felts {
        type Value = Vec<Felt>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list of felts")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(
            self,
            mut seq: A,
        ) -> Result<Self::Value, A::Error> {
            let mut felts = Vec::new();
            while let Some(HexFelt(felt)) = seq.next_element()? {
                felts.push(felt);
            }
            Ok(felts)
        }
    }
    deserializer.deserialize_seq(Felts)
}

#[cfg(test)]
mod tests;
