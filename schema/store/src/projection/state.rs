//! The position that all read models of a chain share, and their state hashes.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_types::{BlockHash, BlockNumber, BlockRef, ChainId, Hash32, Seq};

use crate::{Store, StoreError, Transaction, row};

/// Where a chain's read models stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProjectionState {
    /// Every entry up to here is applied.
    pub seq: Seq,
    /// The newest canonical block applied, and its hash.
    pub block: Option<(BlockRef, BlockHash)>,
    /// The highest block accepted on L1.
    pub finalized: Option<BlockNumber>,
}

impl ProjectionState {
    /// Before the first entry.
    pub const START: Self = Self { seq: Seq::BEFORE_FIRST, block: None, finalized: None };
}

/// The two state hashes of one read model.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StateHashes {
    /// Over the rows open in positions, without positions: equal for equal canonical chains.
    pub canonical: Hash32,
    /// Over all rows: equal for equal logs.
    pub full: Hash32,
}

/// Where the read models stand; [`ProjectionState::START`] when nothing was applied.
///
/// # Errors
/// When the database fails.
pub async fn load(store: &Store, chain: &ChainId) -> Result<ProjectionState, StoreError> {
    load_in(&mut store.begin().await?, chain).await
}

/// As [`load`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn load_in(tx: &mut Transaction, chain: &ChainId) -> Result<ProjectionState, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT seq, block_number, branch_epoch, block_hash, occurred_at, finalized_number
        FROM projection_state WHERE chain_id = $1
        "#,
        chain.as_str(),
    )
    .fetch_optional(&mut **tx)
    .await?;
    let Some(found) = found else {
        return Ok(ProjectionState::START);
    };
    let block = row::block_ref(found.block_number, found.branch_epoch, found.occurred_at)?;
    let hash = found.block_hash.as_deref().map(row::block_hash).transpose()?;
    Ok(ProjectionState {
        seq: row::seq(found.seq)?,
        block: block.zip(hash),
        finalized: found.finalized_number.map(row::number).transpose()?,
    })
}

/// Moves the position.
///
/// # Errors
/// When the database fails.
pub async fn save(
    tx: &mut Transaction,
    chain: &ChainId,
    state: &ProjectionState,
) -> Result<(), StoreError> {
    let block = state.block.as_ref();
    sqlx::query!(
        r#"
        INSERT INTO projection_state (
            chain_id, seq, block_number, branch_epoch, block_hash, occurred_at, finalized_number
        ) VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (chain_id) DO UPDATE
        SET seq = excluded.seq,
            block_number = excluded.block_number,
            branch_epoch = excluded.branch_epoch,
            block_hash = excluded.block_hash,
            occurred_at = excluded.occurred_at,
            finalized_number = excluded.finalized_number
        "#,
        chain.as_str(),
        row::to_i64(state.seq.0, "seq")?,
        block.map(|(block, _)| row::to_i64(block.number.0, "block number")).transpose()?,
        block.map(|(block, _)| row::to_i32(block.epoch.0, "branch epoch")).transpose()?,
        block.map(|(_, hash)| row::felt_bytes(&hash.0)),
        block.map(|(block, _)| row::timestamp(block.timestamp)).transpose()?,
        state.finalized.map(|number| row::to_i64(number.0, "block number")).transpose()?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The state hashes by read model.
///
/// # Errors
/// When the database fails.
pub async fn load_hashes(
    store: &Store,
    chain: &ChainId,
) -> Result<BTreeMap<String, StateHashes>, StoreError> {
    load_hashes_in(&mut store.begin().await?, chain).await
}

/// As [`load_hashes`], inside a transaction.
///
/// # Errors
/// When the database fails.
pub async fn load_hashes_in(
    tx: &mut Transaction,
    chain: &ChainId,
) -> Result<BTreeMap<String, StateHashes>, StoreError> {
    sqlx::query!(
        "SELECT read_model, canonical, full_sum FROM projection_hash WHERE chain_id = $1",
        chain.as_str(),
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(|found| {
        let hashes = StateHashes {
            canonical: row::hash32(&found.canonical)?,
            full: row::hash32(&found.full_sum)?,
        };
        Ok((found.read_model, hashes))
    })
    .collect()
}

/// The chains that have read models, in order.
///
/// # Errors
/// When the database fails.
pub async fn chains(store: &Store) -> Result<Vec<ChainId>, StoreError> {
    sqlx::query_scalar!("SELECT chain_id FROM projection_state ORDER BY chain_id")
        .fetch_all(&store.pool)
        .await?
        .into_iter()
        .map(|chain| ChainId::new(chain).map_err(|_| StoreError::Range("chain id")))
        .collect()
}

/// The read models that are applied up to a position by some rules: a program that did not know one has left it
/// behind.
///
/// # Errors
/// When the database fails.
pub async fn reached(
    store: &Store,
    chain: &ChainId,
    (seq, rules): (Seq, &str),
) -> Result<BTreeSet<String>, StoreError> {
    let found = sqlx::query_scalar!(
        "SELECT read_model FROM projection_hash WHERE chain_id = $1 AND seq = $2 AND rules = $3",
        chain.as_str(),
        row::to_i64(seq.0, "seq")?,
        rules,
    )
    .fetch_all(&store.pool)
    .await?;
    Ok(found.into_iter().collect())
}

/// Stores the state hashes of read models, the position that they stand for, and the rules that the rows follow.
///
/// # Errors
/// When the database fails.
pub async fn save_hashes(
    tx: &mut Transaction,
    chain: &ChainId,
    (seq, rules): (Seq, &str),
    hashes: &[(&'static str, StateHashes)],
) -> Result<(), StoreError> {
    let names: Vec<String> = hashes.iter().map(|(name, _)| (*name).to_owned()).collect();
    let bytes = |hash: fn(&StateHashes) -> &Hash32| {
        hashes.iter().map(|(_, hashes)| hash(hashes).as_bytes().to_vec()).collect::<Vec<_>>()
    };
    sqlx::query!(
        r#"
        INSERT INTO projection_hash (chain_id, read_model, canonical, full_sum, seq, rules)
        SELECT $1, u.read_model, u.canonical, u.full_sum, $2, $3
        FROM unnest($4::text[], $5::bytea[], $6::bytea[]) AS u (read_model, canonical, full_sum)
        ON CONFLICT (chain_id, read_model) DO UPDATE
        SET canonical = excluded.canonical, full_sum = excluded.full_sum, seq = excluded.seq,
            rules = excluded.rules
        "#,
        chain.as_str(),
        row::to_i64(seq.0, "seq")?,
        rules,
        &names,
        &bytes(|hashes| &hashes.canonical),
        &bytes(|hashes| &hashes.full),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Begins a transaction that sees the database as it stands at its first statement, for a comparison
/// that takes its time while the projector goes on.
///
/// # Errors
/// When the database fails.
pub async fn begin_comparison(store: &Store) -> Result<Transaction, StoreError> {
    let mut tx = store.begin().await?;
    sqlx::raw_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ").execute(&mut *tx).await?;
    Ok(tx)
}

/// Shadows the read models with empty temporary tables for the length of a transaction, so that a fold
/// can be run beside the live rows and compared with them.
///
/// Plans are discarded with it: a statement that this connection prepared before was resolved to the live
/// tables, and would go on writing to them.
///
/// # Errors
/// When the database fails.
pub async fn shadow(tx: &mut Transaction) -> Result<(), StoreError> {
    sqlx::raw_sql(
        r#"
        CREATE TEMPORARY TABLE projection_state (LIKE public.projection_state INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE projection_hash (LIKE public.projection_hash INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE block (LIKE public.block INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE event (LIKE public.event INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE market_metrics (LIKE public.market_metrics INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE risk_score (LIKE public.risk_score INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE price (LIKE public.price INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE anomaly (LIKE public.anomaly INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE allocation_snapshot (LIKE public.allocation_snapshot INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE activity (LIKE public.activity INCLUDING ALL) ON COMMIT DROP;
        CREATE TEMPORARY TABLE privacy_pool (LIKE public.privacy_pool INCLUDING ALL) ON COMMIT DROP;
        DISCARD PLANS;
        "#,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Every table of rows with two ranges.
pub const READ_MODELS: [&str; 9] = [
    "block",
    "event",
    "activity",
    "privacy_pool",
    "market_metrics",
    "price",
    "risk_score",
    "anomaly",
    "allocation_snapshot",
];

/// How far a read model's live rows differ from the shadow's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// The read model.
    pub read_model: &'static str,
    /// Live rows that the fold does not give.
    pub only_live: i64,
    /// Rows of the fold that are not live.
    pub only_folded: i64,
}

/// Compares the live rows with the shadow's, row by row. To be called in the transaction of [`shadow`].
///
/// # Errors
/// When the database fails.
pub async fn compare_shadow(
    tx: &mut Transaction,
    chain: &ChainId,
) -> Result<Vec<Difference>, StoreError> {
    let mut differences = Vec::new();
    for read_model in READ_MODELS {
        let one_way = |left: &str, right: &str| {
            // The names are the constants above: nothing of this text comes from outside.
            format!(
                "SELECT count(*) FROM (SELECT * FROM {left}.{read_model} WHERE chain_id = $1 \
                 EXCEPT ALL SELECT * FROM {right}.{read_model} WHERE chain_id = $1) AS d"
            )
        };
        let only_live = count(tx, one_way("public", "pg_temp"), chain).await?;
        let only_folded = count(tx, one_way("pg_temp", "public"), chain).await?;
        differences.push(Difference { read_model, only_live, only_folded });
    }
    Ok(differences)
}

async fn count(tx: &mut Transaction, sql: String, chain: &ChainId) -> Result<i64, StoreError> {
    Ok(sqlx::query_scalar(sqlx::AssertSqlSafe(sql))
        .bind(chain.as_str())
        .fetch_one(&mut **tx)
        .await?)
}
