//! A whole block as `starknet_getBlockWithReceipts` answers it in specifications 0.8, 0.9 and 0.10, as
//! little of it as a [`SourceBlock`] needs.
//!
//! Everything else is passed over unread, which is most of an answer and makes parsing several
//! times as fast as into types that keep it. So members that come and go between editions do not
//! matter, and neither does a transaction of an unknown type: its hash and its events are kept like
//! any other's, because events are what the log is about. An event of another shape, a receipt
//! without a list of events and a felt that is none are errors: there, something would be lost without
//! anybody noticing. Whether header and content belong together is for [`crate::completeness`] to say;
//! what that needs of transactions and receipts is read where it is there.

use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_types::{
    BlockHash, BlockNumber, ContractAddress, EventIndex, Felt, TransactionHash, UnixSeconds,
};
use serde::Deserialize;

use super::felt::{HexFelt, HexU128};
use crate::source::block::{
    SourceBlock, SourceMessage, SourceReceipt, SourceTransaction, TransactionKind, version,
};

/// A block with receipts. A pre-confirmed one has no hash.
#[derive(Debug, Deserialize)]
pub(crate) struct BlockBody {
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
    transaction: Option<SignedBody>,
    receipt: ReceiptBody,
}

/// A transaction; most answers have its hash in the receipt only.
#[derive(Debug, Deserialize)]
struct SignedBody {
    transaction_hash: Option<HexFelt>,
    #[serde(default, rename = "type")]
    kind: KindText,
    #[serde(default, deserialize_with = "some_felts")]
    signature: Option<Vec<Felt>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
enum KindText {
    #[serde(rename = "INVOKE")]
    Invoke,
    #[serde(rename = "L1_HANDLER")]
    L1Handler,
    #[serde(rename = "DEPLOY")]
    Deploy,
    #[default]
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct ReceiptBody {
    transaction_hash: HexFelt,
    events: Vec<EventBody>,
    // What follows is for the commitment to the receipts; before spec 0.8 receipts lack their total gas.
    actual_fee: Option<FeeBody>,
    messages_sent: Option<Vec<MessageBody>>,
    execution_status: Option<StatusText>,
    revert_reason: Option<String>,
    execution_resources: Option<ResourcesBody>,
}

#[derive(Debug, Deserialize)]
struct FeeBody {
    amount: HexU128,
}

#[derive(Debug, Deserialize)]
struct MessageBody {
    from_address: HexFelt,
    to_address: HexFelt,
    #[serde(deserialize_with = "felts")]
    payload: Vec<Felt>,
}

#[derive(Debug, Deserialize)]
struct ResourcesBody {
    l1_gas: Option<u64>,
    l1_data_gas: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum StatusText {
    #[serde(rename = "SUCCEEDED")]
    Succeeded,
    #[serde(rename = "REVERTED")]
    Reverted,
    #[serde(other)]
    Other,
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
    pub(crate) fn assemble(self) -> Result<SourceBlock, String> {
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
        let (transactions, events) = contents(self.transactions)?;
        Ok(SourceBlock {
            number: BlockNumber(number),
            hash: BlockHash(hash.0),
            parent_hash: BlockHash(parent.0),
            timestamp,
            new_root: new_root.0,
            sequencer: ContractAddress(self.sequencer_address.0),
            starknet_version: version(self.starknet_version)?,
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

/// Transactions and events, each in block order.
fn contents(
    bodies: Vec<TransactionBody>,
) -> Result<(Vec<SourceTransaction>, Vec<EventData>), String> {
    let count = bodies.iter().map(|body| body.receipt.events.len()).sum();
    let mut events = Vec::with_capacity(count);
    let mut transactions = Vec::with_capacity(bodies.len());
    for (position, mut body) in bodies.into_iter().enumerate() {
        let transaction_index =
            u32::try_from(position).map_err(|_| "too many transactions".to_owned())?;
        let hash = body.receipt.transaction_hash;
        let stated = body.transaction.as_ref().and_then(|stated| stated.transaction_hash);
        if stated.is_some_and(|stated| stated != hash) {
            return Err(format!("transactions[{position}] and its receipt have two hashes"));
        }
        for event in std::mem::take(&mut body.receipt.events) {
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
        transactions.push(body.transaction(TransactionHash(hash.0)));
    }
    Ok((transactions, events))
}

impl TransactionBody {
    fn transaction(self, hash: TransactionHash) -> SourceTransaction {
        let kind = match self.transaction.as_ref().map_or(KindText::Other, |body| body.kind) {
            KindText::Invoke => TransactionKind::Invoke,
            KindText::L1Handler | KindText::Deploy => TransactionKind::Unsigned,
            KindText::Other => TransactionKind::Other,
        };
        let signature = self.transaction.and_then(|body| body.signature);
        let signature = signature.or((kind == TransactionKind::Unsigned).then(Vec::new));
        SourceTransaction { hash, kind, signature, receipt: self.receipt.receipt() }
    }
}

impl ReceiptBody {
    /// What the commitment covers, where all of it is there.
    fn receipt(self) -> Option<SourceReceipt> {
        let revert_reason = match self.execution_status? {
            StatusText::Succeeded => None,
            StatusText::Reverted => Some(self.revert_reason?),
            StatusText::Other => return None,
        };
        let messages = self.messages_sent?.into_iter().map(|message| SourceMessage {
            from_address: message.from_address.0,
            to_address: message.to_address.0,
            payload: message.payload,
        });
        let resources = self.execution_resources?;
        Some(SourceReceipt {
            actual_fee: self.actual_fee?.amount.0,
            messages: messages.collect(),
            revert_reason,
            l1_gas: resources.l1_gas?,
            l1_data_gas: resources.l1_data_gas?,
        })
    }
}

fn some_felts<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<Felt>>, D::Error> {
    felts(deserializer).map(Some)
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
