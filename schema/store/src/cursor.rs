//! Cursors: the last position of the log that a partition has dealt with.

use obsqra_types::{Partition, Seq};

use crate::{Store, StoreError, Transaction, row};

/// Where the partition stands; before the first entry when it never moved.
///
/// # Errors
/// When the database fails.
pub async fn load(store: &Store, partition: &Partition) -> Result<Seq, StoreError> {
    let seq = sqlx::query_scalar!(
        "SELECT seq FROM cursor_position WHERE partition = $1",
        partition.to_string(),
    )
    .fetch_optional(&store.pool)
    .await?;
    seq.map_or(Ok(Seq::BEFORE_FIRST), row::seq)
}

/// Moves the cursor inside a unit of progress.
///
/// # Errors
/// When the database fails.
pub async fn advance(
    tx: &mut Transaction,
    partition: &Partition,
    to: Seq,
) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO cursor_position (partition, seq) VALUES ($1, $2)
        ON CONFLICT (partition) DO UPDATE SET seq = excluded.seq
        "#,
        partition.to_string(),
        row::to_i64(to.0, "seq")?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
