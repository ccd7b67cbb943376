//! How much disk the log takes.

use crate::{Store, StoreError, row};

/// Bytes of the log and of what keeps it unique.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disk {
    /// Entries.
    pub entries: u64,
    /// Canonical bytes of all entries.
    pub payload: u64,
    /// Files of the log's chunks, indexes included.
    pub log: u64,
    /// Files of the key tables, indexes included.
    pub keys: u64,
}

/// Counts, which reads the whole log.
///
/// # Errors
/// When the database fails.
pub async fn disk(store: &Store) -> Result<Disk, StoreError> {
    let found = sqlx::query!(
        r#"
        SELECT count(*) AS "entries!",
               coalesce(sum(octet_length(payload)), 0) AS "payload!",
               hypertable_size('log') AS "log!",
               (
                   pg_total_relation_size('block_key') + pg_total_relation_size('derived_key')
                   + pg_total_relation_size('adopted_key')
               ) AS "keys!"
        FROM log
        "#
    )
    .fetch_one(&store.pool)
    .await?;
    Ok(Disk {
        entries: row::total(found.entries)?,
        payload: row::total(found.payload)?,
        log: row::total(found.log)?,
        keys: row::total(found.keys)?,
    })
}

/// Has the database write all of its pages to their files.
///
/// # Errors
/// When the database fails, or the store has not an administrator's rights.
pub async fn checkpoint(store: &Store) -> Result<(), StoreError> {
    sqlx::query!("CHECKPOINT").execute(&store.pool).await?;
    Ok(())
}
