//! Watched events of canonical blocks, by position.

use chrono::{DateTime, Utc};
use obsqra_types::{
    BlockHash, BlockNumber, ChainId, ContractAddress, EventIndex, Felt, ProtocolId, Seq,
    TransactionHash, UnixSeconds,
};
use serde_json::Value;

use super::{Page, PageRequest, state_key};
use crate::{Store, StoreError, row};

/// A watched event.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Its log entry.
    pub seq: Seq,
    /// The protocol whose contract emitted it.
    pub protocol: ProtocolId,
    /// The decoder's name; `None` where no layout fits.
    pub name: Option<String>,
    /// Who emitted it.
    pub contract: ContractAddress,
    /// Keys, the selector first.
    pub keys: Vec<Felt>,
    /// Data.
    pub data: Vec<Felt>,
    /// Decoded members; `None` where no layout fits.
    pub decoded: Option<Value>,
    /// Its block.
    pub block: BlockNumber,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// The transaction that emitted it.
    pub transaction: TransactionHash,
    /// Its place in the block.
    pub index: EventIndex,
    /// The block's header timestamp.
    pub timestamp: UnixSeconds,
}

/// Which events to read. A list that is `None` does not restrict; an empty one matches nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct EventFilter {
    /// Of one of these protocols.
    pub protocols: Option<Vec<ProtocolId>>,
    /// With one of these names.
    pub names: Option<Vec<String>>,
    /// Of one of these contracts.
    pub contracts: Option<Vec<ContractAddress>>,
    /// The first block, inclusive.
    pub from_block: Option<BlockNumber>,
    /// The last block, inclusive.
    pub to_block: Option<BlockNumber>,
}

/// A filter as the columns that the statement takes.
struct Columns {
    protocols: Option<Vec<String>>,
    contracts: Option<Vec<Vec<u8>>>,
    from_block: i64,
    to_block: i64,
}

impl Columns {
    fn of(filter: &EventFilter) -> Result<Self, StoreError> {
        let height = |number: BlockNumber| row::to_i64(number.0, "block number");
        Ok(Self {
            protocols: filter
                .protocols
                .as_ref()
                .map(|list| list.iter().map(ToString::to_string).collect()),
            contracts: filter
                .contracts
                .as_ref()
                .map(|list| list.iter().map(|contract| row::felt_bytes(&contract.0)).collect()),
            from_block: filter.from_block.map_or(Ok(0), height)?,
            to_block: filter.to_block.map_or(Ok(i64::MAX), height)?,
        })
    }
}

struct EventRow {
    from_seq: i64,
    protocol: String,
    name: Option<String>,
    contract: Vec<u8>,
    keys: Vec<Vec<u8>>,
    data: Vec<Vec<u8>>,
    decoded: Option<Value>,
    from_block: i64,
    block_hash: Vec<u8>,
    transaction_hash: Vec<u8>,
    event_index: i32,
    occurred_at: DateTime<Utc>,
}

impl TryFrom<EventRow> for Event {
    type Error = StoreError;

    fn try_from(found: EventRow) -> Result<Self, StoreError> {
        Ok(Self {
            seq: row::seq(found.from_seq)?,
            protocol: state_key::protocol_id(&found.protocol)?,
            name: found.name,
            contract: row::felt(&found.contract).map(ContractAddress)?,
            keys: felts(&found.keys)?,
            data: felts(&found.data)?,
            decoded: found.decoded,
            block: row::number(found.from_block)?,
            block_hash: row::block_hash(&found.block_hash)?,
            transaction: row::felt(&found.transaction_hash).map(TransactionHash)?,
            index: row::count(found.event_index).map(EventIndex)?,
            timestamp: row::unix_seconds(found.occurred_at)?,
        })
    }
}

fn felts(list: &[Vec<u8>]) -> Result<Vec<Felt>, StoreError> {
    list.iter().map(|bytes| row::felt(bytes)).collect()
}

/// A page of the events that stand at a position, oldest first. Only forward pages are read.
///
/// The blocks that stand at one position follow each other in the log, and a block's events follow the
/// block, so a range of heights is a range of positions: one index serves every page. Events that a block
/// gained later stand at later positions, up to the last supplement of the range.
///
/// # Errors
/// When the database fails.
pub async fn list(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &EventFilter,
    page: &PageRequest,
) -> Result<Page<Event>, StoreError> {
    let columns = Columns::of(filter)?;
    let found = sqlx::query_as!(
        EventRow,
        r#"
        SELECT from_seq, protocol, name, contract, keys, data, decoded, from_block, block_hash,
               transaction_hash, event_index, occurred_at
        FROM event
        WHERE chain_id = $1
          AND from_seq > GREATEST($2::bigint, COALESCE((
              SELECT b.from_seq FROM block b
              WHERE b.chain_id = $1 AND b.from_block >= $5 AND b.from_seq <= $4 AND b.to_seq > $4
              ORDER BY b.from_block
              LIMIT 1
          ), 9223372036854775807))
          AND from_seq < LEAST($3::bigint, GREATEST(COALESCE((
              SELECT b.from_seq FROM block b
              WHERE b.chain_id = $1 AND b.from_block > $6 AND b.from_seq <= $4 AND b.to_seq > $4
              ORDER BY b.from_block
              LIMIT 1
          ), 9223372036854775807), (
              SELECT max(s.seq + s.watched_events) + 1 FROM supplement s
              WHERE s.chain_id = $1 AND s.block_number BETWEEN $5 AND $6
          )))
          AND from_block BETWEEN $5 AND $6
          AND from_seq <= $4 AND to_seq > $4
          AND ($7::text[] IS NULL OR protocol = ANY($7))
          AND ($8::text[] IS NULL OR name = ANY($8))
          AND ($9::bytea[] IS NULL OR contract = ANY($9))
        ORDER BY from_seq
        LIMIT $10
        "#,
        chain.as_str(),
        page.after_seq()?,
        page.before_seq()?,
        row::to_i64(known_at.0, "seq")?,
        columns.from_block,
        columns.to_block,
        columns.protocols.as_deref(),
        filter.names.as_deref(),
        columns.contracts.as_deref(),
        page.limit(),
    )
    .fetch_all(&store.pool)
    .await?;
    let events = found.into_iter().map(Event::try_from).collect::<Result<_, _>>()?;
    Ok(page.page(events))
}
