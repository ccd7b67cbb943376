//! Prices of tokens, one series for each source.

use super::{HistoryRow, Ranges, RowBytes};
use crate::{Store, StoreError, Transaction};

/// A token's price from a height on; without one, why.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct PriceRow {
    pub chain_id: String,
    pub token: Vec<u8>,
    /// `pools`, or `oracle/<protocol>`.
    pub source: String,
    pub ranges: Ranges,
    pub symbol: String,
    /// USDC per whole token, scale 10⁻¹⁸, in decimal digits.
    pub price_usdc: Option<String>,
    pub protocol: Option<String>,
    pub market: Option<String>,
    pub reason: Option<String>,
}

impl HistoryRow for PriceRow {
    type Key = (String, Vec<u8>, String);

    const READ_MODEL: &'static str = "price";

    fn key(&self) -> Self::Key {
        (self.chain_id.clone(), self.token.clone(), self.source.clone())
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).put(&self.token).text(&self.source).text(&self.symbol);
        for column in [&self.price_usdc, &self.protocol, &self.market, &self.reason] {
            bytes.option(column.as_deref());
        }
    }

    fn log_columns(&self, _bytes: &mut RowBytes) {}
}

struct Found {
    chain_id: String,
    token: Vec<u8>,
    source: String,
    from_block: i64,
    to_block: i64,
    from_seq: i64,
    to_seq: i64,
    symbol: String,
    price_usdc: Option<String>,
    protocol: Option<String>,
    market: Option<String>,
    reason: Option<String>,
}

impl From<Found> for PriceRow {
    fn from(found: Found) -> Self {
        Self {
            chain_id: found.chain_id,
            token: found.token,
            source: found.source,
            ranges: Ranges {
                from_block: found.from_block,
                to_block: found.to_block,
                from_seq: found.from_seq,
                to_seq: found.to_seq,
            },
            symbol: found.symbol,
            price_usdc: found.price_usdc,
            protocol: found.protocol,
            market: found.market,
            reason: found.reason,
        }
    }
}

/// Rows open in both ranges: each token's price now, by source.
///
/// # Errors
/// When the database fails.
pub async fn open(store: &Store, chain: &str) -> Result<Vec<PriceRow>, StoreError> {
    let found = sqlx::query_as!(
        Found,
        r#"
        SELECT chain_id, token, source, from_block, to_block, from_seq, to_seq, symbol,
               price_usdc::text, protocol, market, reason
        FROM price
        WHERE chain_id = $1
          AND to_block = 9223372036854775807 AND to_seq = 9223372036854775807
        "#,
        chain,
    )
    .fetch_all(&store.pool)
    .await?;
    Ok(found.into_iter().map(PriceRow::from).collect())
}

/// Standing rows that begin or end at a height from `lowest` to `highest`: what reverts of the blocks there
/// undo.
///
/// # Errors
/// When the database fails.
pub async fn touching(
    tx: &mut Transaction,
    chain: &str,
    (lowest, highest): (i64, i64),
) -> Result<Vec<PriceRow>, StoreError> {
    let found = sqlx::query_as!(
        Found,
        r#"
        SELECT chain_id, token, source, from_block, to_block, from_seq, to_seq, symbol,
               price_usdc::text, protocol, market, reason
        FROM price
        WHERE chain_id = $1 AND to_seq = 9223372036854775807
          AND (
              from_block BETWEEN $2 AND $3
              OR (to_block BETWEEN $2 AND $3 AND to_block <> 9223372036854775807)
          )
        "#,
        chain,
        lowest,
        highest,
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(found.into_iter().map(PriceRow::from).collect())
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[PriceRow]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        INSERT INTO price (
            chain_id, token, source, from_block, to_block, from_seq, to_seq, symbol, price_usdc,
            protocol, market, reason
        )
        SELECT u.chain_id, u.token, u.source, u.from_block, u.to_block, u.from_seq, u.to_seq,
               u.symbol, u.price_usdc::numeric, u.protocol, u.market, u.reason
        FROM unnest(
            $1::text[], $2::bytea[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[]
        ) AS u (
            chain_id, token, source, from_block, to_block, from_seq, to_seq, symbol, price_usdc,
            protocol, market, reason
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.token.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.source.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.symbol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.price_usdc.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|row| row.protocol.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|row| row.market.clone()).collect::<Vec<_>>() as &[Option<String>],
        &rows.iter().map(|row| row.reason.clone()).collect::<Vec<_>>() as &[Option<String>],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Closes rows, each given with the position that replaces it.
///
/// # Errors
/// When the database fails.
pub async fn close(tx: &mut Transaction, rows: &[(PriceRow, i64)]) -> Result<(), StoreError> {
    sqlx::query!(
        r#"
        UPDATE price AS p SET to_seq = u.to_seq
        FROM unnest(
            $1::text[], $2::bytea[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[]
        ) AS u (chain_id, token, source, from_block, from_seq, to_seq)
        WHERE p.chain_id = u.chain_id AND p.token = u.token AND p.source = u.source
          AND p.from_block = u.from_block AND p.from_seq = u.from_seq
        "#,
        &rows.iter().map(|(row, _)| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.token.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.source.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|(row, _)| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|(_, to_seq)| *to_seq).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}
