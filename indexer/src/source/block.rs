//! A block as a source gives it, whole.

use obsqra_events::{DaMode, EventData, GasPrice, SuppliedCommitments};
use obsqra_types::{
    BlockHash, BlockNumber, ContractAddress, EventIndex, Felt, TransactionHash, UnixSeconds,
};
use serde::Deserialize;
use starknet::core::types::{
    BlockWithReceipts, L1DataAvailabilityMode, ResourcePrice, TransactionReceipt,
};

use crate::planner::{BlockId, BlockLink};

/// A block with all its events.
#[derive(Clone, Debug)]
pub struct SourceBlock {
    /// Height.
    pub number: BlockNumber,
    /// Hash.
    pub hash: BlockHash,
    /// The hash of the block below.
    pub parent_hash: BlockHash,
    /// Header timestamp.
    pub timestamp: UnixSeconds,
    /// State root after the block.
    pub new_root: Felt,
    /// Who built it.
    pub sequencer: ContractAddress,
    /// Protocol version.
    pub starknet_version: String,
    /// Data availability mode.
    pub da_mode: DaMode,
    /// Price of L1 gas.
    pub l1_gas: GasPrice,
    /// Price of L1 data gas.
    pub l1_data_gas: GasPrice,
    /// Price of L2 gas.
    pub l2_gas: Option<GasPrice>,
    /// What the header supplies beyond that.
    pub supplied: Option<SuppliedCommitments>,
    /// Transactions received.
    pub transactions: u64,
    /// All events, in block order.
    pub events: Vec<EventData>,
}

impl SourceBlock {
    /// The block as far as linking goes.
    #[must_use]
    pub fn link(&self) -> BlockLink {
        BlockLink { id: BlockId { number: self.number, hash: self.hash }, parent: self.parent_hash }
    }

    /// Puts a parsed block and the header members that the `starknet` types lack together.
    ///
    /// # Errors
    /// Names the member that is out of range or contradicts another.
    pub(super) fn assemble(
        block: BlockWithReceipts,
        extra: HeaderExtension,
    ) -> Result<Self, String> {
        let timestamp = UnixSeconds(block.timestamp);
        if timestamp.to_datetime().is_none() {
            return Err(format!("timestamp {} is no date", block.timestamp));
        }
        let events = events(&block)?;
        let transactions = block.transactions.len() as u64;
        let supplied = extra.supplied()?;
        if let Some(supplied) = &supplied {
            expect("transaction_count", supplied.transaction_count, transactions)?;
            expect("event_count", supplied.event_count, events.len() as u64)?;
        }
        Ok(Self {
            number: BlockNumber(block.block_number),
            hash: BlockHash(block.block_hash),
            parent_hash: BlockHash(block.parent_hash),
            timestamp,
            new_root: block.new_root,
            sequencer: ContractAddress(block.sequencer_address),
            starknet_version: block.starknet_version,
            da_mode: match block.l1_da_mode {
                L1DataAvailabilityMode::Blob => DaMode::Blob,
                L1DataAvailabilityMode::Calldata => DaMode::Calldata,
            },
            l1_gas: gas_price(&block.l1_gas_price, "l1_gas_price")?,
            l1_data_gas: gas_price(&block.l1_data_gas_price, "l1_data_gas_price")?,
            l2_gas: Some(gas_price(&block.l2_gas_price, "l2_gas_price")?),
            supplied,
            transactions,
            events,
        })
    }
}

/// Header members of specification 0.10 that the types of `starknet` 0.17 lack.
#[derive(Debug, Deserialize)]
pub(super) struct HeaderExtension {
    transaction_count: Option<u64>,
    event_count: Option<u64>,
    state_diff_length: Option<u64>,
    transaction_commitment: Option<Felt>,
    event_commitment: Option<Felt>,
    receipt_commitment: Option<Felt>,
    state_diff_commitment: Option<Felt>,
}

impl HeaderExtension {
    /// All of them or none: a header that has only some is not of the specification.
    fn supplied(self) -> Result<Option<SuppliedCommitments>, String> {
        match self {
            Self {
                transaction_count: Some(transaction_count),
                event_count: Some(event_count),
                state_diff_length: Some(state_diff_length),
                transaction_commitment: Some(transaction_commitment),
                event_commitment: Some(event_commitment),
                receipt_commitment: Some(receipt_commitment),
                state_diff_commitment: Some(state_diff_commitment),
            } => Ok(Some(SuppliedCommitments {
                transaction_count,
                event_count,
                state_diff_length,
                transaction_commitment,
                event_commitment,
                receipt_commitment,
                state_diff_commitment,
            })),
            Self {
                transaction_count: None,
                event_count: None,
                state_diff_length: None,
                transaction_commitment: None,
                event_commitment: None,
                receipt_commitment: None,
                state_diff_commitment: None,
            } => Ok(None),
            _ => Err("header has some of the counts and commitments of spec 0.10, not all".into()),
        }
    }
}

fn expect(member: &str, header: u64, received: u64) -> Result<(), String> {
    if header == received {
        return Ok(());
    }
    Err(format!("{member} is {header} in the header, but {received} were received"))
}

fn gas_price(price: &ResourcePrice, member: &str) -> Result<GasPrice, String> {
    let narrow =
        |felt: &Felt| u128::try_from(*felt).map_err(|_| format!("{member} is beyond 128 bits"));
    Ok(GasPrice { fri: narrow(&price.price_in_fri)?, wei: narrow(&price.price_in_wei)? })
}

fn events(block: &BlockWithReceipts) -> Result<Vec<EventData>, String> {
    let mut events = Vec::new();
    for (position, transaction) in block.transactions.iter().enumerate() {
        let receipt = &transaction.receipt;
        let transaction_index =
            u32::try_from(position).map_err(|_| "too many transactions".to_owned())?;
        for event in receipt_events(receipt) {
            let index = u32::try_from(events.len()).map_err(|_| "too many events".to_owned())?;
            events.push(EventData {
                index: EventIndex(index),
                transaction_index,
                transaction_hash: TransactionHash(*receipt.transaction_hash()),
                from_address: ContractAddress(event.from_address),
                keys: event.keys.clone(),
                data: event.data.clone(),
            });
        }
    }
    Ok(events)
}

fn receipt_events(receipt: &TransactionReceipt) -> &[starknet::core::types::Event] {
    match receipt {
        TransactionReceipt::Invoke(receipt) => &receipt.events,
        TransactionReceipt::L1Handler(receipt) => &receipt.events,
        TransactionReceipt::Declare(receipt) => &receipt.events,
        TransactionReceipt::Deploy(receipt) => &receipt.events,
        TransactionReceipt::DeployAccount(receipt) => &receipt.events,
    }
}
