//! A watched event as rows: itself, and what it says that wallets did.

use obsqra_events::EventData;
use obsqra_protocols::{
    Activity, Contracts, ProtocolEvent, Transfer, WatchedContract, decode_from,
};
use obsqra_store::projection::activity::{ActivityRow, MAX_ACTIVITIES_OF_AN_EVENT};
use obsqra_store::projection::event::EventRow;
use obsqra_types::{BlockHash, BlockRef, ChainId, ContractAddress, Felt, Seq};

use super::rows::{bytes, out_of_range, point, signed, signed32, time};
use crate::WorkError;

/// What one watched event comes to.
pub(super) struct EventRows {
    pub(super) event: EventRow,
    /// Of the contract's own protocol. With `private`, at most [`MAX_ACTIVITIES_OF_AN_EVENT`].
    pub(super) activities: Vec<ActivityRow>,
    /// What a transfer is to a privacy pool, after them.
    pub(super) private: Option<ActivityRow>,
    pub(super) transfer: Option<Transfer>,
}

/// `None` for a contract that no protocol owns.
pub(super) fn event(
    chain: &ChainId,
    block: (BlockRef, BlockHash),
    contracts: &Contracts,
    (seq, event): (Seq, &EventData),
) -> Result<Option<EventRows>, WorkError> {
    let Some(emitter) = contracts.get(&event.from_address) else {
        return Ok(None);
    };
    let decoded = decode_from(emitter, event);
    let row = event_row(chain, block, (emitter, decoded.as_ref()), (seq, event))?;
    let transfer = decoded.as_ref().and_then(|decoded| decoded.transfer(emitter));
    let own = decoded.iter().flat_map(|decoded| decoded.activities(emitter));
    let activities = own
        .enumerate()
        .map(|(ordinal, activity)| activity_row(&row, emitter, seq, (ordinal, &activity)))
        .collect::<Result<Vec<_>, _>>()?;
    let private = transfer.as_ref().and_then(|transfer| transfer.private_activity(contracts));
    let private = private
        .map(|(pool, activity)| activity_row(&row, pool, seq, (activities.len(), &activity)))
        .transpose()?;
    Ok(Some(EventRows { event: row, activities, private, transfer }))
}

fn event_row(
    chain: &ChainId,
    (block, hash): (BlockRef, BlockHash),
    (emitter, decoded): (&WatchedContract, Option<&ProtocolEvent>),
    (seq, event): (Seq, &EventData),
) -> Result<EventRow, WorkError> {
    Ok(EventRow {
        chain_id: chain.to_string(),
        ranges: point(block, seq)?,
        branch_epoch: signed32(block.epoch.0, seq)?,
        block_hash: bytes(&hash.0),
        occurred_at: time(block, seq)?,
        protocol: emitter.protocol.to_string(),
        name: decoded.map(|event| event.name().to_owned()),
        contract: bytes(&event.from_address.0),
        transaction_hash: bytes(&event.transaction_hash.0),
        event_index: signed32(event.index.0, seq)?,
        keys: event.keys.iter().flat_map(Felt::to_bytes_be).collect(),
        data: event.data.iter().flat_map(Felt::to_bytes_be).collect(),
        decoded: decoded.map(ProtocolEvent::to_json),
    })
}

/// An activity in the protocol that `of` belongs to: of a transfer to a privacy pool, the pool's and not the
/// token's.
fn activity_row(
    event: &EventRow,
    of: &WatchedContract,
    seq: Seq,
    (ordinal, activity): (usize, &Activity),
) -> Result<ActivityRow, WorkError> {
    let ordinal = i16::try_from(ordinal)
        .ok()
        .filter(|ordinal| i64::from(*ordinal) < MAX_ACTIVITIES_OF_AN_EVENT)
        .ok_or_else(|| out_of_range(seq))?;
    let place = signed(seq.0, seq)?
        .checked_mul(MAX_ACTIVITIES_OF_AN_EVENT)
        .and_then(|first| first.checked_add(ordinal.into()))
        .ok_or_else(|| out_of_range(seq))?;
    let address = |contract: Option<ContractAddress>| contract.map(|contract| bytes(&contract.0));
    Ok(ActivityRow {
        chain_id: event.chain_id.clone(),
        ranges: event.ranges,
        branch_epoch: event.branch_epoch,
        block_hash: event.block_hash.clone(),
        occurred_at: event.occurred_at,
        protocol: of.protocol.to_string(),
        kind: activity.kind.name().to_owned(),
        contract: event.contract.clone(),
        wallet: bytes(&activity.wallet.0),
        counterparty: address(activity.counterparty),
        token: address(activity.token),
        amount: activity.amount.to_string(),
        counter_token: address(activity.counter_token),
        counter_amount: activity.counter_amount.map(|amount| amount.to_string()),
        transaction_hash: event.transaction_hash.clone(),
        event_index: event.event_index,
        ordinal,
        place,
    })
}
