//! A whole block as the feeder gateway answers it: receipts beside the transactions, commitments in the
//! header from Starknet 0.13.2 on, and no counts, which are taken from what is there.
//!
//! Blocks of that shape are not followed, they are read from files: it is the shape in which blocks of all
//! ages are found with their commitments.

use obsqra_events::commitments::Version;
use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_types::{
    BlockHash, BlockNumber, ContractAddress, EventIndex, Felt, TransactionHash, UnixSeconds,
};
use serde::Deserialize;

use super::block::{
    SourceBlock, SourceMessage, SourceReceipt, SourceTransaction, TransactionKind, version,
};
use super::rpc::felt::{HexFelt, HexU128};

/// A block of the feeder gateway.
#[derive(Debug, Deserialize)]
pub(super) struct FeederBody {
    block_hash: HexFelt,
    parent_block_hash: HexFelt,
    block_number: u64,
    state_root: HexFelt,
    timestamp: u64,
    sequencer_address: Option<HexFelt>,
    starknet_version: Option<String>,
    l1_da_mode: Option<DaModeText>,
    l1_gas_price: Option<PriceBody>,
    l1_data_gas_price: Option<PriceBody>,
    l2_gas_price: Option<PriceBody>,
    transaction_commitment: Option<HexFelt>,
    event_commitment: Option<HexFelt>,
    receipt_commitment: Option<HexFelt>,
    state_diff_commitment: Option<HexFelt>,
    state_diff_length: Option<u64>,
    transactions: Vec<TransactionBody>,
    transaction_receipts: Vec<ReceiptBody>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum DaModeText {
    Blob,
    Calldata,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct PriceBody {
    price_in_fri: HexU128,
    price_in_wei: HexU128,
}

#[derive(Debug, Deserialize)]
struct TransactionBody {
    transaction_hash: HexFelt,
    #[serde(rename = "type")]
    kind: String,
    signature: Option<Vec<HexFelt>>,
}

#[derive(Debug, Deserialize)]
struct ReceiptBody {
    transaction_hash: HexFelt,
    events: Vec<EventBody>,
    actual_fee: Option<HexU128>,
    #[serde(default)]
    l2_to_l1_messages: Vec<MessageBody>,
    execution_status: Option<String>,
    revert_error: Option<String>,
    execution_resources: Option<ResourcesBody>,
}

#[derive(Debug, Deserialize)]
struct EventBody {
    from_address: HexFelt,
    keys: Vec<HexFelt>,
    data: Vec<HexFelt>,
}

#[derive(Debug, Deserialize)]
struct MessageBody {
    from_address: HexFelt,
    to_address: HexFelt,
    payload: Vec<HexFelt>,
}

#[derive(Debug, Deserialize)]
struct ResourcesBody {
    total_gas_consumed: Option<GasBody>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
struct GasBody {
    l1_gas: u64,
    l1_data_gas: u64,
}

impl FeederBody {
    /// The block, checked against itself as far as its shape goes.
    ///
    /// # Errors
    /// Names the member that is out of range or contradicts another.
    pub(super) fn assemble(self) -> Result<SourceBlock, String> {
        if i64::try_from(self.block_number).is_err() {
            return Err(format!("block_number {} is out of range", self.block_number));
        }
        let timestamp = UnixSeconds(self.timestamp);
        if timestamp.to_datetime().is_none() {
            return Err(format!("timestamp {} is no date", self.timestamp));
        }
        let starknet_version = version(self.starknet_version.clone().unwrap_or_default())?;
        if Version::parse(&starknet_version).and_then(Version::era).is_some() {
            self.has_all_hashed()?;
        }
        let events = events(&self.transactions, &self.transaction_receipts)?;
        let supplied = self.supplied(events.len());
        let receipts = self.transaction_receipts.into_iter();
        let transactions =
            self.transactions.into_iter().zip(receipts).map(|(body, receipt)| body.with(receipt));
        let unpriced = GasPrice { fri: 0, wei: 0 };
        Ok(SourceBlock {
            number: BlockNumber(self.block_number),
            hash: BlockHash(self.block_hash.0),
            parent_hash: BlockHash(self.parent_block_hash.0),
            timestamp,
            new_root: self.state_root.0,
            sequencer: ContractAddress(self.sequencer_address.map_or(Felt::ZERO, |felt| felt.0)),
            // The oldest blocks state none of these, and their hash does not cover them.
            starknet_version,
            da_mode: match self.l1_da_mode {
                Some(DaModeText::Blob) => DaMode::Blob,
                Some(DaModeText::Calldata) | None => DaMode::Calldata,
            },
            l1_gas: self.l1_gas_price.map_or(unpriced, PriceBody::price),
            l1_data_gas: self.l1_data_gas_price.map_or(unpriced, PriceBody::price),
            l2_gas: self.l2_gas_price.map(PriceBody::price),
            supplied,
            transactions: Some(transactions.collect()),
            events,
        })
    }

    /// From Starknet 0.13.2 on the hash covers these: one that is missing has no value to stand for it.
    fn has_all_hashed(&self) -> Result<(), String> {
        let members = [
            ("sequencer_address", self.sequencer_address.is_some()),
            ("l1_da_mode", self.l1_da_mode.is_some()),
            ("l1_gas_price", self.l1_gas_price.is_some()),
            ("l1_data_gas_price", self.l1_data_gas_price.is_some()),
        ];
        match members.iter().find(|(_, is_there)| !is_there) {
            Some((name, _)) => Err(format!("{name} is missing")),
            None => Ok(()),
        }
    }

    /// The commitments, with counts of what is there.
    fn supplied(&self, events: usize) -> Option<SuppliedCommitments> {
        Some(SuppliedCommitments {
            transaction_count: self.transactions.len() as u64,
            event_count: events as u64,
            state_diff_length: self.state_diff_length?,
            transaction_commitment: self.transaction_commitment?.0,
            event_commitment: self.event_commitment?.0,
            receipt_commitment: self.receipt_commitment?.0,
            state_diff_commitment: self.state_diff_commitment?.0,
        })
    }
}

impl PriceBody {
    fn price(self) -> GasPrice {
        GasPrice { fri: self.price_in_fri.0, wei: self.price_in_wei.0 }
    }
}

impl TransactionBody {
    fn with(self, receipt: ReceiptBody) -> SourceTransaction {
        let kind = match self.kind.as_str() {
            "INVOKE_FUNCTION" | "INVOKE" => TransactionKind::Invoke,
            "L1_HANDLER" | "DEPLOY" => TransactionKind::Unsigned,
            _ => TransactionKind::Other,
        };
        let unsigned = (kind == TransactionKind::Unsigned).then(Vec::new);
        let signature = self.signature.map(felts).or(unsigned);
        let hash = TransactionHash(self.transaction_hash.0);
        SourceTransaction { hash, kind, signature, receipt: receipt.receipt() }
    }
}

impl ReceiptBody {
    /// What the commitment covers, where all of it is there.
    fn receipt(self) -> Option<SourceReceipt> {
        let gas = self.execution_resources?.total_gas_consumed?;
        let revert_reason = match self.execution_status.as_deref()? {
            "SUCCEEDED" => None,
            "REVERTED" => Some(self.revert_error?),
            _ => return None,
        };
        let messages = self.l2_to_l1_messages.into_iter().map(|message| SourceMessage {
            from_address: message.from_address.0,
            to_address: message.to_address.0,
            payload: felts(message.payload),
        });
        Some(SourceReceipt {
            actual_fee: self.actual_fee?.0,
            messages: messages.collect(),
            revert_reason,
            l1_gas: gas.l1_gas,
            l1_data_gas: gas.l1_data_gas,
        })
    }
}

fn felts(felts: Vec<HexFelt>) -> Vec<Felt> {
    felts.into_iter().map(|felt| felt.0).collect()
}

fn events(
    transactions: &[TransactionBody],
    receipts: &[ReceiptBody],
) -> Result<Vec<EventData>, String> {
    if transactions.len() != receipts.len() {
        return Err(format!(
            "{} transactions, but {} transaction_receipts",
            transactions.len(),
            receipts.len()
        ));
    }
    let mut events = Vec::new();
    for (position, (transaction, receipt)) in transactions.iter().zip(receipts).enumerate() {
        if transaction.transaction_hash != receipt.transaction_hash {
            return Err(format!("transaction_receipts[{position}] is of another transaction"));
        }
        let transaction_index =
            u32::try_from(position).map_err(|_| "too many transactions".to_owned())?;
        for event in &receipt.events {
            let index = u32::try_from(events.len()).map_err(|_| "too many events".to_owned())?;
            events.push(EventData {
                index: EventIndex(index),
                transaction_index,
                transaction_hash: TransactionHash(receipt.transaction_hash.0),
                from_address: ContractAddress(event.from_address.0),
                keys: event.keys.iter().map(|felt| felt.0).collect(),
                data: event.data.iter().map(|felt| felt.0).collect(),
            });
        }
    }
    Ok(events)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn block(version: &str) -> Value {
        let price = json!({ "price_in_fri": "0x1", "price_in_wei": "0x1" });
        json!({
            "block_hash": "0x1", "parent_block_hash": "0x2", "block_number": 3, "state_root": "0x4",
            "timestamp": 5, "starknet_version": version, "sequencer_address": "0x6",
            "l1_da_mode": "BLOB", "l1_gas_price": price, "l1_data_gas_price": price,
            "transactions": [], "transaction_receipts": [],
        })
    }

    fn without(mut block: Value, member: &str) -> Result<SourceBlock, String> {
        block.as_object_mut().unwrap().remove(member);
        serde_json::from_value::<FeederBody>(block).unwrap().assemble()
    }

    #[test]
    fn what_the_hash_covers_is_not_made_up() {
        let hashed = ["sequencer_address", "l1_da_mode", "l1_gas_price", "l1_data_gas_price"];
        for member in hashed {
            let problem = without(block("0.13.2"), member).unwrap_err();
            assert_eq!(problem, format!("{member} is missing"));
            assert!(without(block("0.12.3"), member).is_ok(), "{member}");
        }
        assert!(without(block("0.13.2"), "l2_gas_price").is_ok());
    }
}
