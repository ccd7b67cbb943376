//! The position of the last message on each subject, for the `Obsqra-Prev` header.

use std::collections::BTreeMap;

use obsqra_types::{ChainId, Seq};

use crate::{Store, StoreError, Transaction, row};

/// The last position of every subject under which facts are published first.
///
/// # Errors
/// When the database fails.
pub async fn load(store: &Store, chain: &ChainId) -> Result<BTreeMap<String, Seq>, StoreError> {
    sqlx::query!(
        r#"
        SELECT subject, seq
        FROM relay_subject
        WHERE chain_id = $1
          AND NOT starts_with(subject, 'obsqra.v1.' || chain_id || '.final.')
        "#,
        chain.as_str(),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((found.subject, row::seq(found.seq)?)))
    .collect()
}

/// The last position of every subject under which facts are repeated once their block is final.
///
/// # Errors
/// When the database fails.
pub async fn load_final(
    store: &Store,
    chain: &ChainId,
) -> Result<BTreeMap<String, Seq>, StoreError> {
    sqlx::query!(
        r#"
        SELECT subject, seq
        FROM relay_subject
        WHERE chain_id = $1
          AND starts_with(subject, 'obsqra.v1.' || chain_id || '.final.')
        "#,
        chain.as_str(),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|found| Ok((found.subject, row::seq(found.seq)?)))
    .collect()
}

/// Stores the positions of the subjects that a window of messages moved.
///
/// # Errors
/// When the database fails.
pub async fn save(
    tx: &mut Transaction,
    chain: &ChainId,
    moved: &BTreeMap<String, Seq>,
) -> Result<(), StoreError> {
    let subjects: Vec<String> = moved.keys().cloned().collect();
    let seqs: Vec<i64> =
        moved.values().map(|seq| row::to_i64(seq.0, "seq")).collect::<Result<_, _>>()?;
    sqlx::query!(
        r#"
        INSERT INTO relay_subject (chain_id, subject, seq)
        SELECT $1, u.subject, u.seq FROM unnest($2::text[], $3::bigint[]) AS u (subject, seq)
        ON CONFLICT (chain_id, subject) DO UPDATE SET seq = excluded.seq
        "#,
        chain.as_str(),
        &subjects,
        &seqs,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
