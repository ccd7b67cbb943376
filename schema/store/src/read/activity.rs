//! What wallets did, in block order.

use chrono::{DateTime, Utc};
use obsqra_types::{
    BlockCursor, BlockHash, BlockNumber, ChainId, ContractAddress, EventIndex, ProtocolId, Seq,
    TransactionHash, U256, UnixSeconds,
};

use super::{Direction, Page, PageRequest, state_key};
use crate::{Store, StoreError, row};

/// One thing that an event says a wallet did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Activity {
    /// Where it stands in the list; names the row.
    pub cursor: BlockCursor,
    /// The event's log entry.
    pub event: Seq,
    /// The protocol whose contract emitted the event.
    pub protocol: ProtocolId,
    /// `deposit`, `withdrawal`, `borrow`, `repay`, `liquidation` or `swap`.
    pub kind: String,
    /// Who emitted the event.
    pub contract: ContractAddress,
    /// Who acted.
    pub wallet: ContractAddress,
    /// The other account that the event names.
    pub counterparty: Option<ContractAddress>,
    /// The token; `None` where neither the event nor the registry names it.
    pub token: Option<ContractAddress>,
    /// How much, in the token's smallest unit.
    pub amount: U256,
    /// What came out of a swap, or was taken in a liquidation.
    pub counter_token: Option<ContractAddress>,
    /// How much of it, in its smallest unit.
    pub counter_amount: Option<U256>,
    /// The block's hash.
    pub block_hash: BlockHash,
    /// The block's header timestamp.
    pub timestamp: UnixSeconds,
    /// The transaction that emitted the event.
    pub transaction: TransactionHash,
    /// The event's place in the block.
    pub index: EventIndex,
    /// The position at which its block was reverted, where that is known at the position read.
    pub reverted_at: Option<Seq>,
}

impl Activity {
    /// Its block.
    #[must_use]
    pub fn block(&self) -> BlockNumber {
        self.cursor.block
    }
}

/// Which activities to read. What is `None` does not restrict; an empty list of kinds matches nothing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ActivityFilter {
    /// Of this wallet.
    pub wallet: Option<ContractAddress>,
    /// In this protocol.
    pub protocol: Option<ProtocolId>,
    /// Of one of these kinds.
    pub kinds: Option<Vec<String>>,
    /// The first block, inclusive.
    pub from_block: Option<BlockNumber>,
    /// The last block, inclusive.
    pub to_block: Option<BlockNumber>,
    /// Those of blocks that were reverted as well.
    pub include_retracted: bool,
}

struct ActivityRow {
    from_block: i64,
    from_seq: i64,
    to_seq: i64,
    block_hash: Vec<u8>,
    occurred_at: DateTime<Utc>,
    protocol: String,
    kind: String,
    contract: Vec<u8>,
    wallet: Vec<u8>,
    counterparty: Option<Vec<u8>>,
    token: Option<Vec<u8>>,
    amount: String,
    counter_token: Option<Vec<u8>>,
    counter_amount: Option<String>,
    transaction_hash: Vec<u8>,
    event_index: i32,
    place: i64,
}

impl ActivityRow {
    fn read(self, known_at: Seq) -> Result<Activity, StoreError> {
        let place = u64::try_from(self.place).map_err(|_| StoreError::Range("place"))?;
        Ok(Activity {
            cursor: BlockCursor { block: row::number(self.from_block)?, place },
            event: row::seq(self.from_seq)?,
            protocol: state_key::protocol_id(&self.protocol)?,
            kind: self.kind,
            contract: address(&self.contract)?,
            wallet: address(&self.wallet)?,
            counterparty: self.counterparty.as_deref().map(address).transpose()?,
            token: self.token.as_deref().map(address).transpose()?,
            amount: amount(&self.amount)?,
            counter_token: self.counter_token.as_deref().map(address).transpose()?,
            counter_amount: self.counter_amount.as_deref().map(amount).transpose()?,
            block_hash: row::block_hash(&self.block_hash)?,
            timestamp: row::unix_seconds(self.occurred_at)?,
            transaction: row::felt(&self.transaction_hash).map(TransactionHash)?,
            index: row::count(self.event_index).map(EventIndex)?,
            reverted_at: Some(row::seq(self.to_seq)?).filter(|reverted| *reverted <= known_at),
        })
    }
}

fn address(bytes: &[u8]) -> Result<ContractAddress, StoreError> {
    row::felt(bytes).map(ContractAddress)
}

fn amount(digits: &str) -> Result<U256, StoreError> {
    U256::from_str_radix(digits, 10).map_err(|_| StoreError::Range("amount"))
}

/// A filter and a page as the columns that a statement takes.
struct Columns {
    wallet: Option<Vec<u8>>,
    from_block: i64,
    to_block: i64,
    known_at: i64,
    after: (i64, i64),
    before: (i64, i64),
}

impl Columns {
    fn of(
        filter: &ActivityFilter,
        known_at: Seq,
        page: &PageRequest<BlockCursor>,
    ) -> Result<Self, StoreError> {
        let height = |number: BlockNumber| row::to_i64(number.0, "block number");
        Ok(Self {
            wallet: filter.wallet.map(|wallet| row::felt_bytes(&wallet.0)),
            from_block: filter.from_block.map_or(Ok(0), height)?,
            to_block: filter.to_block.map_or(Ok(i64::MAX), height)?,
            known_at: row::to_i64(known_at.0, "seq")?,
            after: page.after_row()?,
            before: page.before_row()?,
        })
    }
}

/// A page of the activities known at a position, by block, then by position in the log: what the log gained
/// of a block later comes after the rest of that block.
///
/// # Errors
/// When the database fails.
pub async fn list(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
    filter: &ActivityFilter,
    page: &PageRequest<BlockCursor>,
) -> Result<Page<Activity>, StoreError> {
    let columns = Columns::of(filter, known_at, page)?;
    let found = match page.direction {
        Direction::Forward => oldest(store, chain, filter, &columns, page.limit()).await?,
        Direction::Backward => newest(store, chain, filter, &columns, page.limit()).await?,
    };
    let rows = found.into_iter().map(|found| found.read(known_at)).collect::<Result<_, _>>()?;
    Ok(page.page(rows))
}

async fn oldest(
    store: &Store,
    chain: &ChainId,
    filter: &ActivityFilter,
    columns: &Columns,
    limit: i64,
) -> Result<Vec<ActivityRow>, StoreError> {
    Ok(sqlx::query_as!(
        ActivityRow,
        r#"
        SELECT from_block, from_seq, to_seq, block_hash, occurred_at, protocol, kind, contract,
               wallet, counterparty, token, amount::text AS "amount!", counter_token,
               counter_amount::text, transaction_hash, event_index, place
        FROM activity
        WHERE chain_id = $1
          AND ($2::bytea IS NULL OR wallet = $2)
          AND ($3::text IS NULL OR protocol = $3)
          AND ($4::text[] IS NULL OR kind = ANY($4))
          AND from_block BETWEEN $5 AND $6
          AND from_seq <= $7 AND ($8 OR to_seq > $7)
          AND (from_block, place) > ($9, $10)
          AND (from_block, place) < ($11, $12)
        ORDER BY from_block, place
        LIMIT $13
        "#,
        chain.as_str(),
        columns.wallet.as_deref(),
        filter.protocol.as_ref().map(ProtocolId::as_str),
        filter.kinds.as_deref(),
        columns.from_block,
        columns.to_block,
        columns.known_at,
        filter.include_retracted,
        columns.after.0,
        columns.after.1,
        columns.before.0,
        columns.before.1,
        limit,
    )
    .fetch_all(&store.pool)
    .await?)
}

async fn newest(
    store: &Store,
    chain: &ChainId,
    filter: &ActivityFilter,
    columns: &Columns,
    limit: i64,
) -> Result<Vec<ActivityRow>, StoreError> {
    Ok(sqlx::query_as!(
        ActivityRow,
        r#"
        SELECT from_block, from_seq, to_seq, block_hash, occurred_at, protocol, kind, contract,
               wallet, counterparty, token, amount::text AS "amount!", counter_token,
               counter_amount::text, transaction_hash, event_index, place
        FROM activity
        WHERE chain_id = $1
          AND ($2::bytea IS NULL OR wallet = $2)
          AND ($3::text IS NULL OR protocol = $3)
          AND ($4::text[] IS NULL OR kind = ANY($4))
          AND from_block BETWEEN $5 AND $6
          AND from_seq <= $7 AND ($8 OR to_seq > $7)
          AND (from_block, place) > ($9, $10)
          AND (from_block, place) < ($11, $12)
        ORDER BY from_block DESC, place DESC
        LIMIT $13
        "#,
        chain.as_str(),
        columns.wallet.as_deref(),
        filter.protocol.as_ref().map(ProtocolId::as_str),
        filter.kinds.as_deref(),
        columns.from_block,
        columns.to_block,
        columns.known_at,
        filter.include_retracted,
        columns.after.0,
        columns.after.1,
        columns.before.0,
        columns.before.1,
        limit,
    )
    .fetch_all(&store.pool)
    .await?)
}
