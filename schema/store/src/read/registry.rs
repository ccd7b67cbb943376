//! Which registry stood at a position.

use obsqra_events::AdoptedWhat;
use obsqra_types::{ChainId, Hash32, Seq};

use crate::{Store, StoreError, row};

/// An adopted registry; its bytes are in the log at `seq`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AdoptedRegistry {
    /// Position of the `adopted` entry.
    pub seq: Seq,
    /// SHA-256 of the bytes.
    pub hash: Hash32,
}

/// The newest registry adopted at or before a position.
///
/// # Errors
/// When the database fails.
pub async fn newest(
    store: &Store,
    chain: &ChainId,
    known_at: Seq,
) -> Result<Option<AdoptedRegistry>, StoreError> {
    sqlx::query!(
        r#"
        SELECT seq, bytes_hash
        FROM adopted_key
        WHERE chain_id = $1 AND what = $2 AND seq <= $3
        ORDER BY seq DESC
        LIMIT 1
        "#,
        chain.as_str(),
        AdoptedWhat::Registry.name(),
        row::to_i64(known_at.0, "seq")?,
    )
    .fetch_optional(&store.pool)
    .await?
    .map(|found| {
        Ok(AdoptedRegistry { seq: row::seq(found.seq)?, hash: row::hash32(&found.bytes_hash)? })
    })
    .transpose()
}
