//! A block out of a DNA message. What JSON-RPC says of the same block and the same contracts is the same
//! to the last felt: an event's place counts over all events of the block, sent or not.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};

use apibara_dna_sdk::proto::{Data, DataFinality};
use apibara_dna_sdk::starknet::{
    Block, BlockHeader, Event, FieldElement, L1DataAvailabilityMode, ResourcePrice,
};
use obsqra_events::{DaMode, EventData, GasPrice};
use obsqra_types::{
    BlockHash, BlockNumber, ContractAddress, EventIndex, Felt, TransactionHash, UnixSeconds,
    felt_from_bytes,
};
use prost::Message;

use super::DnaCursor;
use crate::source::block::{SourceBlock, version};

/// Reads a block.
///
/// # Errors
/// Names the height, as the cursor says it, and the member that is missing, out of range, or contradicts
/// another.
pub(super) fn read_block(
    data: Data,
    watched: &BTreeSet<ContractAddress>,
) -> Result<SourceBlock, String> {
    let cursor = DnaCursor::read(data.end_cursor.clone().ok_or("a block without a cursor")?)?;
    read_at(cursor, data, watched).map_err(|problem| format!("block {}: {problem}", cursor.number))
}

fn read_at(
    cursor: DnaCursor,
    data: Data,
    watched: &BTreeSet<ContractAddress>,
) -> Result<SourceBlock, String> {
    match DataFinality::try_from(data.finality) {
        Ok(DataFinality::Accepted | DataFinality::Finalized) => {}
        Ok(DataFinality::Pending) => return Err("it is pre-confirmed".to_owned()),
        Ok(DataFinality::Unknown) | Err(_) => {
            return Err(format!("its finality {} is unknown", data.finality));
        }
    }
    let [bytes] = data.data.as_slice() else {
        return Err(format!("{} answers came to one filter", data.data.len()));
    };
    let Block { header, events, .. } =
        Block::decode(bytes.as_ref()).map_err(|error| error.to_string())?;
    let block = read_header(header.ok_or("the header is missing")?, read_events(events, watched)?)?;
    if block.number != cursor.number {
        return Err(format!("its header is of block {}", block.number));
    }
    if cursor.hash.is_some_and(|hash| hash != block.hash) {
        return Err("its hash is not that of its cursor".to_owned());
    }
    Ok(block)
}

fn read_header(header: BlockHeader, events: Vec<EventData>) -> Result<SourceBlock, String> {
    let time = header.timestamp.as_ref().ok_or("timestamp is missing")?;
    let timestamp = u64::try_from(time.seconds)
        .ok()
        .map(UnixSeconds)
        .filter(|timestamp| time.nanos == 0 && timestamp.to_datetime().is_some())
        .ok_or_else(|| format!("timestamp {}.{:09} is no date", time.seconds, time.nanos))?;
    Ok(SourceBlock {
        number: BlockNumber(header.block_number),
        hash: BlockHash(felt(header.block_hash.as_ref(), "block_hash")?),
        parent_hash: BlockHash(felt(header.parent_block_hash.as_ref(), "parent_block_hash")?),
        timestamp,
        new_root: felt(header.new_root.as_ref(), "new_root")?,
        sequencer: ContractAddress(felt(header.sequencer_address.as_ref(), "sequencer_address")?),
        da_mode: match header.l1_data_availability_mode() {
            L1DataAvailabilityMode::Blob => DaMode::Blob,
            L1DataAvailabilityMode::Calldata => DaMode::Calldata,
            L1DataAvailabilityMode::Unspecified => {
                return Err("l1_data_availability_mode is unknown".to_owned());
            }
        },
        starknet_version: version(header.starknet_version)?,
        l1_gas: price(header.l1_gas_price.as_ref(), "l1_gas_price")?,
        l1_data_gas: price(header.l1_data_gas_price.as_ref(), "l1_data_gas_price")?,
        l2_gas: None,
        supplied: None,
        transactions: None,
        events,
    })
}

/// The events in block order, each once.
fn read_events(
    events: Vec<Event>,
    watched: &BTreeSet<ContractAddress>,
) -> Result<Vec<EventData>, String> {
    let mut placed: BTreeMap<EventIndex, EventData> = BTreeMap::new();
    for event in events {
        let index = event.event_index;
        let event = read_event(&event).map_err(|problem| format!("event {index}: {problem}"))?;
        if !watched.contains(&event.from_address) {
            let contract = event.from_address;
            return Err(format!("event {index} is of contract {contract}, which is not watched"));
        }
        match placed.entry(event.index) {
            Entry::Vacant(place) => {
                place.insert(event);
            }
            Entry::Occupied(first) if *first.get() == event => {}
            Entry::Occupied(_) => {
                return Err(format!("event {index} came twice with other content"));
            }
        }
    }
    let events: Vec<EventData> = placed.into_values().collect();
    for pair in events.windows(2) {
        let [one, next] = pair else { continue };
        let same_place = one.transaction_index == next.transaction_index;
        let same_hash = one.transaction_hash == next.transaction_hash;
        if one.transaction_index > next.transaction_index || same_place != same_hash {
            return Err(format!(
                "events {} and {} contradict each other about their transactions",
                one.index.0, next.index.0
            ));
        }
    }
    Ok(events)
}

fn read_event(event: &Event) -> Result<EventData, String> {
    let felts = |elements: &[FieldElement], member: &str| {
        elements.iter().map(|element| felt(Some(element), member)).collect::<Result<_, _>>()
    };
    Ok(EventData {
        index: EventIndex(event.event_index),
        transaction_index: event.transaction_index,
        transaction_hash: TransactionHash(felt(
            event.transaction_hash.as_ref(),
            "transaction_hash",
        )?),
        from_address: ContractAddress(felt(event.from_address.as_ref(), "from_address")?),
        keys: felts(&event.keys, "keys")?,
        data: felts(&event.data, "data")?,
    })
}

fn price(price: Option<&ResourcePrice>, member: &str) -> Result<GasPrice, String> {
    let price = price.ok_or_else(|| format!("{member} is missing"))?;
    let narrow = |element: Option<&FieldElement>| {
        u128::try_from(felt(element, member)?).map_err(|_| format!("{member} is beyond 128 bits"))
    };
    Ok(GasPrice {
        fri: narrow(price.price_in_fri.as_ref())?,
        wei: narrow(price.price_in_wei.as_ref())?,
    })
}

/// A felt out of four limbs, the most significant first. A limb that was not sent is zero; an element that
/// was not sent is missing.
fn felt(element: Option<&FieldElement>, member: &str) -> Result<Felt, String> {
    let element = element.ok_or_else(|| format!("{member} is missing"))?;
    felt_from_bytes(&element.to_bytes())
        .ok_or_else(|| format!("{member} is not below the field's prime"))
}

#[cfg(test)]
mod tests;
