//! Children of factories: contracts that a watched factory's event says were created, and where it says so.
//!
//! The log is the truth. Rows are written in the transaction that appends what they follow from, and can be made
//! anew. A block that is reverted keeps its rows: they count only while the block is canonical, so that nothing
//! has to be taken back.

use obsqra_types::{BlockNumber, BranchEpoch, ChainId, ContractAddress, EventIndex, Seq};

use crate::{Store, StoreError, Transaction, row};

/// A child, and the event that says that it was created.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ChildContract {
    /// Its address.
    pub address: ContractAddress,
    /// Height of the creating event's block.
    pub block: BlockNumber,
    /// Branch of that block.
    pub epoch: BranchEpoch,
    /// Place of the event in the block.
    pub index: EventIndex,
    /// Position of the event's entry.
    pub seq: Seq,
}

struct ChildRow {
    address: Vec<u8>,
    block_number: i64,
    branch_epoch: i32,
    event_index: i64,
    seq: i64,
}

impl TryFrom<ChildRow> for ChildContract {
    type Error = StoreError;

    fn try_from(found: ChildRow) -> Result<Self, StoreError> {
        let index =
            u32::try_from(found.event_index).map_err(|_| StoreError::Range("event index"))?;
        Ok(Self {
            address: ContractAddress(row::felt(&found.address)?),
            block: row::number(found.block_number)?,
            epoch: row::epoch(found.branch_epoch)?,
            index: EventIndex(index),
            seq: row::seq(found.seq)?,
        })
    }
}

/// Since when a chain's children are followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Following {
    /// Children whose creating event lies at or before this position are followed only where a widening of the
    /// watched set brought them.
    pub after: Seq,
    /// Whether the table has all rows that were written.
    pub is_whole: bool,
}

/// Notes children, in the transaction that appends what says so. Of one block the first event counts.
///
/// # Errors
/// When the database fails.
pub async fn save(
    tx: &mut Transaction,
    chain: &ChainId,
    children: &[ChildContract],
) -> Result<(), StoreError> {
    if children.is_empty() {
        return Ok(());
    }
    let (mut addresses, mut numbers, mut epochs) = (Vec::new(), Vec::new(), Vec::new());
    let (mut indices, mut seqs) = (Vec::new(), Vec::new());
    for child in children {
        addresses.push(row::felt_bytes(&child.address.0));
        numbers.push(row::to_i64(child.block.0, "block number")?);
        epochs.push(row::to_i32(child.epoch.0, "branch epoch")?);
        indices.push(i64::from(child.index.0));
        seqs.push(row::to_i64(child.seq.0, "seq")?);
    }
    sqlx::query!(
        r#"
        WITH added AS (
            INSERT INTO child_contract (
                chain_id, address, block_number, branch_epoch, event_index, seq
            )
            SELECT $1, c.address, c.block_number, c.branch_epoch, c.event_index, c.seq
            FROM unnest($2::bytea[], $3::bigint[], $4::integer[], $5::bigint[], $6::bigint[])
                 AS c (address, block_number, branch_epoch, event_index, seq)
            ORDER BY c.seq
            ON CONFLICT (chain_id, address, block_number, branch_epoch) DO NOTHING
            RETURNING address
        )
        UPDATE child_following SET children = children + (SELECT count(*) FROM added)
        WHERE chain_id = $1
        "#,
        chain.as_str(),
        &addresses,
        &numbers,
        &epochs,
        &indices,
        &seqs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// The children whose creating block is canonical as of a position, each with its lowest creating event, in the
/// order of their addresses.
///
/// # Errors
/// When the database fails.
pub async fn canonical_as_of(
    store: &Store,
    chain: &ChainId,
    as_of: Seq,
) -> Result<Vec<ChildContract>, StoreError> {
    // Up to the tip of that time a block is canonical when none of its height has a higher epoch. Reverts behind
    // the last applied block lower the tip: a position may lie between them and the blocks that replace. The kind
    // stands in the text, as in the condition of the index.
    sqlx::query_as!(
        ChildRow,
        r#"
        WITH newest AS (
            SELECT block_number, seq FROM block_key
            WHERE chain_id = $1 AND seq <= $2
            ORDER BY seq DESC
            LIMIT 1
        ), tip AS (
            SELECT LEAST(
                n.block_number,
                (
                    SELECT min(l.block_number) - 1 FROM log l
                    WHERE l.kind = 13 AND l.chain_id = $1 AND l.seq > n.seq AND l.seq <= $2
                )
            ) AS block_number
            FROM newest n
        )
        SELECT DISTINCT ON (c.address)
               c.address, c.block_number, c.branch_epoch, c.event_index, c.seq
        FROM child_contract c
        JOIN tip t ON c.block_number <= t.block_number
        WHERE c.chain_id = $1 AND c.seq <= $2
          AND c.branch_epoch = (
              SELECT max(k.branch_epoch) FROM block_key k
              WHERE k.chain_id = c.chain_id AND k.block_number = c.block_number AND k.seq <= $2
          )
        ORDER BY c.address, c.block_number
        "#,
        chain.as_str(),
        row::to_i64(as_of.0, "seq")?,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(ChildContract::try_from)
    .collect()
}

/// Since when children are followed; `None` before they are.
///
/// # Errors
/// When the database fails.
pub async fn following(store: &Store, chain: &ChainId) -> Result<Option<Following>, StoreError> {
    sqlx::query!(
        r#"
        SELECT f.after_seq, f.children = (
            SELECT count(*) FROM child_contract c WHERE c.chain_id = f.chain_id
        ) AS "is_whole!"
        FROM child_following f
        WHERE f.chain_id = $1
        "#,
        chain.as_str(),
    )
    .fetch_optional(&store.pool)
    .await?
    .map(|found| Ok(Following { after: row::seq(found.after_seq)?, is_whole: found.is_whole }))
    .transpose()
}

/// From this position on children are followed.
///
/// # Errors
/// When the database fails.
pub async fn begin_following(
    tx: &mut Transaction,
    chain: &ChainId,
    after: Seq,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO child_following (chain_id, after_seq) VALUES ($1, $2)
        ON CONFLICT (chain_id) DO NOTHING
        "#,
        chain.as_str(),
        row::to_i64(after.0, "seq")?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Puts rows in place of those that are there.
///
/// # Errors
/// When the database fails.
pub async fn replace(
    tx: &mut Transaction,
    chain: &ChainId,
    children: &[ChildContract],
) -> Result<(), StoreError> {
    sqlx::query!("DELETE FROM child_contract WHERE chain_id = $1", chain.as_str())
        .execute(&mut **tx)
        .await?;
    sqlx::query!("UPDATE child_following SET children = 0 WHERE chain_id = $1", chain.as_str())
        .execute(&mut **tx)
        .await?;
    save(tx, chain, children).await
}

/// Every row of a chain, by address, height and branch.
///
/// # Errors
/// When the database fails.
pub async fn all(store: &Store, chain: &ChainId) -> Result<Vec<ChildContract>, StoreError> {
    sqlx::query_as!(
        ChildRow,
        r#"
        SELECT address, block_number, branch_epoch, event_index, seq FROM child_contract
        WHERE chain_id = $1
        ORDER BY address, block_number, branch_epoch
        "#,
        chain.as_str(),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(ChildContract::try_from)
    .collect()
}
