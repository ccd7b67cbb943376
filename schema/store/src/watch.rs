//! Widening of the watched set: requests, how far each has come, and which blocks gained events.
//!
//! A request is made by anybody with the writer's rights and taken up by the follower, who alone changes
//! it from then on, in the transactions that append what it says.

use obsqra_types::{BlockNumber, BlockRef, ChainId, ContractAddress, Hash32, Seq};

use crate::{Store, StoreError, Transaction, row};

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchRequest {
    /// The contracts, ascending by their 32 bytes.
    pub contracts: Vec<ContractAddress>,
    /// Names them, see `WatchWidened::digest`.
    pub digest: Hash32,
    /// The registry to adopt at the end, with its version.
    pub registry: Option<(String, Vec<u8>)>,
}

/// How far a widening has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Widening {
    /// The lowest block that lacked the events.
    pub first: BlockNumber,
    /// The highest.
    pub last: BlockNumber,
    /// The lowest that may still lack them.
    pub next: BlockNumber,
    /// The `chain.watch_widened` entry.
    pub widened: Seq,
    /// The `chain.watch_completed` entry, once nothing is missing.
    pub completed: Option<Seq>,
    /// Blocks supplemented.
    pub blocks: u64,
    /// Events that they gained.
    pub events: u64,
}

/// A request and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watch {
    /// What was asked for.
    pub request: WatchRequest,
    /// How far it has come; `None` until the follower takes it up.
    pub widening: Option<Widening>,
}

struct WatchRow {
    digest: Vec<u8>,
    contracts: Vec<Vec<u8>>,
    registry: Option<Vec<u8>>,
    registry_version: Option<String>,
    first_number: Option<i64>,
    last_number: Option<i64>,
    next_number: Option<i64>,
    widened_seq: Option<i64>,
    completed_seq: Option<i64>,
    blocks: i64,
    events: i64,
}

impl TryFrom<WatchRow> for Watch {
    type Error = StoreError;

    fn try_from(found: WatchRow) -> Result<Self, StoreError> {
        let contracts = found
            .contracts
            .iter()
            .map(|bytes| row::felt(bytes).map(ContractAddress))
            .collect::<Result<_, _>>()?;
        let widening =
            match (found.first_number, found.last_number, found.next_number, found.widened_seq) {
                (Some(first), Some(last), Some(next), Some(widened)) => Some(Widening {
                    first: row::number(first)?,
                    last: row::number(last)?,
                    next: row::number(next)?,
                    widened: row::seq(widened)?,
                    completed: found.completed_seq.map(row::seq).transpose()?,
                    blocks: row::total(found.blocks)?,
                    events: row::total(found.events)?,
                }),
                _ => None,
            };
        let request = WatchRequest {
            contracts,
            digest: row::hash32(&found.digest)?,
            registry: found.registry_version.zip(found.registry),
        };
        Ok(Self { request, widening })
    }
}

/// Asks for contracts to be watched; whether the request is new.
///
/// # Errors
/// When the database fails.
pub async fn request(
    store: &Store,
    chain: &ChainId,
    request: &WatchRequest,
) -> Result<bool, StoreError> {
    let contracts: Vec<Vec<u8>> =
        request.contracts.iter().map(|contract| row::felt_bytes(&contract.0)).collect();
    let (version, bytes) = match &request.registry {
        Some((version, bytes)) => (Some(version.as_str()), Some(bytes.as_slice())),
        None => (None, None),
    };
    let done = sqlx::query!(
        r#"
        INSERT INTO watch (chain_id, digest, contracts, registry, registry_version)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (chain_id, digest) DO NOTHING
        "#,
        chain.as_str(),
        request.digest.as_bytes().as_slice(),
        &contracts,
        bytes,
        version,
    )
    .execute(&store.pool)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// All requests of a chain: those taken up in their order, then the oldest first.
///
/// # Errors
/// When the database fails.
pub async fn all(store: &Store, chain: &ChainId) -> Result<Vec<Watch>, StoreError> {
    sqlx::query_as!(
        WatchRow,
        r#"
        SELECT digest, contracts, registry, registry_version, first_number, last_number,
               next_number, widened_seq, completed_seq, blocks, events
        FROM watch
        WHERE chain_id = $1
        ORDER BY widened_seq NULLS LAST, requested_at, digest
        "#,
        chain.as_str(),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(Watch::try_from)
    .collect()
}

/// Whether a request waits or is under way.
///
/// # Errors
/// When the database fails.
pub async fn is_pending(store: &Store, chain: &ChainId) -> Result<bool, StoreError> {
    let pending = sqlx::query_scalar!(
        r#"
        SELECT EXISTS (
            SELECT FROM watch WHERE chain_id = $1 AND completed_seq IS NULL
        ) AS "pending!"
        "#,
        chain.as_str(),
    )
    .fetch_one(&store.pool)
    .await?;
    Ok(pending)
}

/// How far widenings have come, for whoever relies on what is watched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WidenedSoFar {
    /// How many are complete.
    pub completed: u64,
    /// Whether one is under way.
    pub is_under_way: bool,
}

/// How far widenings have come. Under the head lock the answer holds until the commit.
///
/// # Errors
/// When the database fails.
pub async fn widened_so_far(
    tx: &mut Transaction,
    chain: &ChainId,
) -> Result<WidenedSoFar, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT count(*) FILTER (WHERE completed_seq IS NOT NULL) AS "completed!",
               count(*) FILTER (
                   WHERE widened_seq IS NOT NULL AND completed_seq IS NULL
               ) AS "under_way!"
        FROM watch
        WHERE chain_id = $1
        "#,
        chain.as_str(),
    )
    .fetch_one(&mut **tx)
    .await?;
    let completed = row::total(found.completed)?;
    Ok(WidenedSoFar { completed, is_under_way: found.under_way > 0 })
}

/// Notes how far a widening has come, in the transaction that appends what it says.
///
/// # Errors
/// When the database fails.
pub async fn save(
    tx: &mut Transaction,
    chain: &ChainId,
    digest: &Hash32,
    widening: &Widening,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE watch
        SET first_number = $3, last_number = $4, next_number = $5, widened_seq = $6,
            completed_seq = $7, blocks = $8, events = $9
        WHERE chain_id = $1 AND digest = $2
        "#,
        chain.as_str(),
        digest.as_bytes().as_slice(),
        row::to_i64(widening.first.0, "block number")?,
        row::to_i64(widening.last.0, "block number")?,
        row::to_i64(widening.next.0, "block number")?,
        row::to_i64(widening.widened.0, "seq")?,
        widening.completed.map(|seq| row::to_i64(seq.0, "seq")).transpose()?,
        row::to_i64(widening.blocks, "number of blocks")?,
        row::to_i64(widening.events, "number of events")?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// A block that gained events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Supplement {
    /// Position of its `chain.block_supplemented` entry.
    pub seq: Seq,
    /// How many watched events follow that entry.
    pub watched_events: u32,
}

/// Notes a block's supplement, in the transaction that appends it.
///
/// # Errors
/// When the database fails, or the block has a supplement of this widening.
pub async fn save_supplement(
    tx: &mut Transaction,
    chain: &ChainId,
    (block, digest): (BlockRef, &Hash32),
    supplement: Supplement,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO supplement (
            chain_id, block_number, branch_epoch, digest, seq, watched_events
        ) VALUES ($1, $2, $3, $4, $5, $6)
        "#,
        chain.as_str(),
        row::to_i64(block.number.0, "block number")?,
        row::to_i32(block.epoch.0, "branch epoch")?,
        digest.as_bytes().as_slice(),
        row::to_i64(supplement.seq.0, "seq")?,
        row::to_i32(supplement.watched_events, "number of watched events")?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The supplements of the blocks of a range of heights up to a position, with height and branch epoch.
///
/// # Errors
/// When the database fails.
pub async fn supplements(
    store: &Store,
    chain: &ChainId,
    (from, to): (BlockNumber, BlockNumber),
    as_of: Seq,
) -> Result<Vec<(BlockRefKey, Supplement)>, StoreError> {
    sqlx::query!(
        r#"
        SELECT block_number, branch_epoch, seq, watched_events FROM supplement
        WHERE chain_id = $1 AND block_number BETWEEN $2 AND $3 AND seq <= $4
        ORDER BY block_number, branch_epoch, seq
        "#,
        chain.as_str(),
        row::to_i64(from.0, "block number")?,
        row::to_i64(to.0, "block number")?,
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| {
        let place = (row::number(found.block_number)?, row::epoch(found.branch_epoch)?);
        let supplement = Supplement {
            seq: row::seq(found.seq)?,
            watched_events: row::count(found.watched_events)?,
        };
        Ok((place, supplement))
    })
    .collect()
}

/// Height and branch epoch of an applied block.
pub type BlockRefKey = (BlockNumber, obsqra_types::BranchEpoch);
