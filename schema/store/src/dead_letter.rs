//! Messages of the bus that were given up; see the table `dead_letter`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::{Store, StoreError, Transaction, row};

/// Longest reason that is kept, in characters.
pub const MAX_REASON: usize = 1_000;

/// A message that is given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeadLetter {
    /// The stream it was in.
    pub stream: String,
    /// The consumer that delivered it.
    pub consumer: String,
    /// Its number in the stream.
    pub stream_sequence: u64,
    /// When the stream took it, to the microsecond.
    pub taken_at: DateTime<Utc>,
    /// Its subject.
    pub subject: String,
    /// Its headers, each with its first value.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Vec<u8>,
    /// Why it is given up.
    pub reason: String,
    /// How often it was delivered.
    pub attempts: u32,
}

/// A message that was given up, and when.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Buried {
    /// Its number in this table.
    pub id: i64,
    /// When it was given up.
    pub buried_at: DateTime<Utc>,
    /// The message.
    pub letter: DeadLetter,
}

/// Keeps a message; whether it was not there yet. Its first reason stands.
///
/// # Errors
/// When the database fails.
pub async fn save(tx: &mut Transaction, letter: &DeadLetter) -> Result<bool, StoreError> {
    let reason = text(&letter.reason.chars().take(MAX_REASON).collect::<String>());
    let headers: BTreeMap<String, String> =
        letter.headers.iter().map(|(name, value)| (text(name), text(value))).collect();
    let saved = sqlx::query!(
        r#"
        INSERT INTO dead_letter
            (stream, consumer, stream_sequence, taken_at, subject, headers, body, reason, attempts)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (stream, consumer, stream_sequence, taken_at) DO NOTHING
        "#,
        letter.stream,
        letter.consumer,
        row::to_i64(letter.stream_sequence, "stream sequence")?,
        letter.taken_at,
        text(&letter.subject),
        sqlx::types::Json(headers) as _,
        letter.body,
        reason,
        row::to_i32(letter.attempts, "attempts")?,
    )
    .execute(&mut **tx)
    .await?;
    Ok(saved.rows_affected() > 0)
}

/// The database's text holds no zero byte; a message must not be impossible to bury for having one.
fn text(value: &str) -> String {
    value.replace('\0', "\u{fffd}")
}

/// How many are kept of each consumer, in the order of their names.
///
/// # Errors
/// When the database fails.
pub async fn by_consumer(store: &Store) -> Result<Vec<(String, u64)>, StoreError> {
    sqlx::query!(
        r#"
        SELECT consumer, count(*) AS "letters!" FROM dead_letter
        GROUP BY consumer
        ORDER BY consumer
        "#,
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|row| Ok((row.consumer, row::total(row.letters)?)))
    .collect()
}

/// The newest, at most `limit`, newest first.
///
/// # Errors
/// When the database fails or a row cannot be read.
pub async fn newest(store: &Store, limit: u32) -> Result<Vec<Buried>, StoreError> {
    sqlx::query!(
        r#"
        SELECT id, stream, consumer, stream_sequence, taken_at, subject,
               headers AS "headers: sqlx::types::Json<BTreeMap<String, String>>",
               body, reason, attempts, buried_at
        FROM dead_letter
        ORDER BY id DESC
        LIMIT $1
        "#,
        i64::from(limit),
    )
    .fetch_all(&store.pool)
    .await?
    .into_iter()
    .map(|row| {
        let letter = DeadLetter {
            stream: row.stream,
            consumer: row.consumer,
            stream_sequence: row::total(row.stream_sequence)?,
            taken_at: row.taken_at,
            subject: row.subject,
            headers: row.headers.0,
            body: row.body,
            reason: row.reason,
            attempts: row::count(row.attempts)?,
        };
        Ok(Buried { id: row.id, buried_at: row.buried_at, letter })
    })
    .collect()
}
