//! Links: what chains the entries, without what they say.

use chrono::{DateTime, Utc};
use obsqra_events::{EntryHash, chain_hash};
use obsqra_types::{Hash32, RecordedAt, Seq};

use crate::{Store, StoreError, row};

/// An entry without its fact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Link {
    /// Position.
    pub seq: Seq,
    /// When it was appended.
    pub recorded_at: RecordedAt,
    /// The hash of the fact.
    pub content_hash: Hash32,
    /// The entry's hash.
    pub hash: EntryHash,
}

impl Link {
    /// Whether it is the one after an entry, by its position and its hash.
    #[must_use]
    pub fn follows(&self, seq: Seq, hash: &EntryHash) -> bool {
        let expected = chain_hash(self.seq, self.recorded_at, &self.content_hash, hash);
        self.seq == seq.next() && self.hash == expected
    }
}

struct LinkRow {
    seq: i64,
    recorded_at: DateTime<Utc>,
    content_hash: Vec<u8>,
    hash: Vec<u8>,
}

/// Up to `limit` links after a position and at or before another, in order.
///
/// # Errors
/// When the database fails or an entry cannot be read.
pub async fn links(
    store: &Store,
    after: Seq,
    up_to: Seq,
    limit: u32,
) -> Result<Vec<Link>, StoreError> {
    let rows = sqlx::query_as!(
        LinkRow,
        r#"
        SELECT seq, recorded_at, content_hash, hash
        FROM log WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3
        "#,
        row::to_i64(after.0, "seq")?,
        row::to_i64(up_to.0, "seq")?,
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?;
    rows.into_iter()
        .map(|found| {
            Ok(Link {
                seq: row::seq(found.seq)?,
                recorded_at: row::recorded_at(found.recorded_at),
                content_hash: row::hash32(&found.content_hash)?,
                hash: row::hash32(&found.hash)?,
            })
        })
        .collect()
}
