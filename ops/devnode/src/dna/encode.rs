//! Sealed blocks as messages of `starknet.v2`: felts as four limbs, the most significant first. What the
//! protocol has no field for is left out: the price of L2 gas, counts and commitments.

use std::time::{Duration, UNIX_EPOCH};

use apibara_dna_protocol::dna::stream::Cursor;
use apibara_dna_protocol::starknet::{
    BlockHeader, Event as WireEvent, FieldElement, L1DataAvailabilityMode, ResourcePrice,
    TransactionStatus,
};
use obsqra_events::commitments::GasPrice;
use starknet_types_core::felt::Felt;

use crate::chain::block::{Event, SealedBlock};
use crate::chain::ledger::Head;
use crate::chain::seal::{SEQUENCER_ADDRESS, STARKNET_VERSION};

pub(super) fn element(felt: &Felt) -> FieldElement {
    FieldElement::from_bytes(&felt.to_bytes_be())
}

/// A cursor with its hash.
pub(super) fn cursor(at: Head) -> Cursor {
    Cursor { order_key: at.number, unique_key: at.hash.to_bytes_be().to_vec() }
}

pub(super) fn header(block: &SealedBlock) -> BlockHeader {
    BlockHeader {
        block_hash: Some(element(&block.hash)),
        parent_block_hash: Some(element(&block.parent_hash)),
        block_number: block.number,
        sequencer_address: Some(element(&SEQUENCER_ADDRESS)),
        new_root: Some(element(&block.new_root)),
        timestamp: Some((UNIX_EPOCH + Duration::from_secs(block.timestamp)).into()),
        starknet_version: STARKNET_VERSION.to_owned(),
        l1_gas_price: Some(price(block.gas_prices.l1)),
        l1_data_gas_price: Some(price(block.gas_prices.l1_data)),
        l1_data_availability_mode: L1DataAvailabilityMode::Blob.into(),
    }
}

fn price(price: GasPrice) -> ResourcePrice {
    ResourcePrice {
        price_in_fri: Some(element(&Felt::from(price.fri))),
        price_in_wei: Some(element(&Felt::from(price.wei))),
    }
}

/// Where an event stands in its block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) index: u32,
    pub(super) transaction_index: u32,
    pub(super) transaction_hash: Felt,
    pub(super) index_in_transaction: u32,
}

/// All events of a block and where they stand, in block order.
pub(super) fn events(block: &SealedBlock) -> impl Iterator<Item = (Place, &Event)> {
    let places = (0_u32..).zip(&block.transactions).flat_map(|(transaction_index, transaction)| {
        (0_u32..).zip(&transaction.events).map(move |(index_in_transaction, event)| {
            let transaction_hash = transaction.hash;
            (transaction_index, transaction_hash, index_in_transaction, event)
        })
    });
    (0_u32..).zip(places).map(
        |(index, (transaction_index, transaction_hash, index_in_transaction, event))| {
            (Place { index, transaction_index, transaction_hash, index_in_transaction }, event)
        },
    )
}

/// An event as it goes out for one filter.
pub(super) fn event(place: Place, event: &Event, filter: u32) -> WireEvent {
    WireEvent {
        filter_ids: vec![filter],
        from_address: Some(element(&event.from_address)),
        keys: event.keys.iter().map(element).collect(),
        data: event.data.iter().map(element).collect(),
        event_index: place.index,
        transaction_index: place.transaction_index,
        transaction_hash: Some(element(&place.transaction_hash)),
        transaction_status: TransactionStatus::Succeeded.into(),
        event_index_in_transaction: place.index_in_transaction,
    }
}
