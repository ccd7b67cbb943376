//! What wallets did, as watched events say it.
//!
//! A row stands by itself as its event does: nothing replaces it, and only the revert of its block ends it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use obsqra_types::Seq;

use super::{HistoryRow, OPEN, Ranges, RowBytes};
use crate::{StoreError, Transaction, row};

/// Most activities of one event: what leaves room for their places between two positions.
pub const MAX_ACTIVITIES_OF_AN_EVENT: i64 = 16;

/// One thing that an event of a canonical block says a wallet did. `ranges.from_seq` is the event's entry.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub struct ActivityRow {
    pub chain_id: String,
    pub ranges: Ranges,
    pub branch_epoch: i32,
    pub block_hash: Vec<u8>,
    pub occurred_at: DateTime<Utc>,
    pub protocol: String,
    /// `deposit`, `withdrawal`, `borrow`, `repay`, `liquidation` or `swap`.
    pub kind: String,
    /// Who emitted the event.
    pub contract: Vec<u8>,
    pub wallet: Vec<u8>,
    pub counterparty: Option<Vec<u8>>,
    pub token: Option<Vec<u8>>,
    /// In the token's smallest unit, in decimal digits.
    pub amount: String,
    pub counter_token: Option<Vec<u8>>,
    /// In the counter token's smallest unit, in decimal digits.
    pub counter_amount: Option<String>,
    pub transaction_hash: Vec<u8>,
    pub event_index: i32,
    /// Place among the activities of the event, from 0, below [`MAX_ACTIVITIES_OF_AN_EVENT`].
    pub ordinal: i16,
    /// The event's position times [`MAX_ACTIVITIES_OF_AN_EVENT`], and the ordinal.
    pub place: i64,
}

impl HistoryRow for ActivityRow {
    type Key = i64;

    const READ_MODEL: &'static str = "activity";

    fn key(&self) -> i64 {
        self.place
    }

    fn ranges(&self) -> Ranges {
        self.ranges
    }

    fn with_ranges(&self, ranges: Ranges) -> Self {
        Self { ranges, ..self.clone() }
    }

    fn block_columns(&self, bytes: &mut RowBytes) {
        bytes.text(&self.chain_id).put(&self.block_hash).int(self.occurred_at.timestamp());
        bytes.text(&self.protocol).text(&self.kind).put(&self.contract);
        bytes.put(&self.wallet).option(self.counterparty.as_deref());
        bytes.option(self.token.as_deref()).text(&self.amount);
        bytes.option(self.counter_token.as_deref()).option(self.counter_amount.as_deref());
        bytes.put(&self.transaction_hash).int(self.event_index.into()).int(self.ordinal.into());
    }

    // The place follows from the position, which is a range, and the ordinal.
    fn log_columns(&self, bytes: &mut RowBytes) {
        bytes.int(self.branch_epoch.into());
    }
}

/// Inserts rows.
///
/// # Errors
/// When the database fails.
pub async fn insert(tx: &mut Transaction, rows: &[ActivityRow]) -> Result<(), StoreError> {
    let bytes = |column: fn(&ActivityRow) -> &Option<Vec<u8>>| {
        rows.iter().map(|row| column(row).clone()).collect::<Vec<_>>()
    };
    sqlx::query!(
        r#"
        INSERT INTO activity (
            chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash,
            occurred_at, protocol, kind, contract, wallet, counterparty, token, amount,
            counter_token, counter_amount, transaction_hash, event_index, ordinal, place
        )
        SELECT u.chain_id, u.from_block, u.to_block, u.from_seq, u.to_seq, u.branch_epoch,
               u.block_hash, u.occurred_at, u.protocol, u.kind, u.contract, u.wallet,
               u.counterparty, u.token, u.amount::numeric, u.counter_token,
               u.counter_amount::numeric, u.transaction_hash, u.event_index, u.ordinal, u.place
        FROM unnest(
            $1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::integer[],
            $7::bytea[], $8::timestamptz[], $9::text[], $10::text[], $11::bytea[], $12::bytea[],
            $13::bytea[], $14::bytea[], $15::text[], $16::bytea[], $17::text[], $18::bytea[],
            $19::integer[], $20::smallint[], $21::bigint[]
        ) AS u (
            chain_id, from_block, to_block, from_seq, to_seq, branch_epoch, block_hash,
            occurred_at, protocol, kind, contract, wallet, counterparty, token, amount,
            counter_token, counter_amount, transaction_hash, event_index, ordinal, place
        )
        "#,
        &rows.iter().map(|row| row.chain_id.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_block).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.from_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ranges.to_seq).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.branch_epoch).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.block_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.occurred_at).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.protocol.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.kind.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.contract.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.wallet.clone()).collect::<Vec<_>>(),
        &bytes(|row| &row.counterparty) as &[Option<Vec<u8>>],
        &bytes(|row| &row.token) as &[Option<Vec<u8>>],
        &rows.iter().map(|row| row.amount.clone()).collect::<Vec<_>>(),
        &bytes(|row| &row.counter_token) as &[Option<Vec<u8>>],
        &rows.iter().map(|row| row.counter_amount.clone()).collect::<Vec<_>>()
            as &[Option<String>],
        &rows.iter().map(|row| row.transaction_hash.clone()).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.event_index).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.ordinal).collect::<Vec<_>>(),
        &rows.iter().map(|row| row.place).collect::<Vec<_>>(),
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// Which of some positions there are activities of in one of some protocols, standing or closed.
///
/// # Errors
/// When the database fails.
pub async fn known(
    tx: &mut Transaction,
    protocols: &[String],
    seqs: &[i64],
) -> Result<BTreeSet<Seq>, StoreError> {
    // By the key, whose places of one position follow each other.
    sqlx::query_scalar!(
        r#"
        SELECT DISTINCT a.from_seq
        FROM unnest($1::bigint[]) AS s (seq)
        JOIN activity a ON a.place BETWEEN s.seq * 16 AND s.seq * 16 + 15
        WHERE a.protocol = ANY($2)
        "#,
        seqs,
        protocols,
    )
    .fetch_all(&mut **tx)
    .await?
    .into_iter()
    .map(row::seq)
    .collect()
}

/// Closes the standing rows at some heights because their blocks were reverted, each height given with the
/// position that reverted it, and returns them as they were, with that position.
///
/// # Errors
/// When the database fails.
pub async fn close_reverted(
    tx: &mut Transaction,
    chain: &str,
    reverted: &[(i64, i64)],
) -> Result<Vec<(ActivityRow, i64)>, StoreError> {
    let numbers: Vec<i64> = reverted.iter().map(|(number, _)| *number).collect();
    let seqs: Vec<i64> = reverted.iter().map(|(_, seq)| *seq).collect();
    // No join, whose plan would depend on statistics that a young table does not have: one range of the
    // index by height.
    let closed = sqlx::query!(
        r#"
        UPDATE activity
        SET to_seq = ($3::bigint[])[array_position($2::bigint[], from_block)]
        WHERE chain_id = $1 AND from_block BETWEEN $4 AND $5 AND from_block = ANY($2)
          AND to_seq = 9223372036854775807
        RETURNING from_block, to_block, from_seq, to_seq, branch_epoch, block_hash, occurred_at,
                  protocol, kind, contract, wallet, counterparty, token, amount::text AS "amount!",
                  counter_token, counter_amount::text, transaction_hash, event_index, ordinal, place
        "#,
        chain,
        &numbers,
        &seqs,
        numbers.iter().min(),
        numbers.iter().max(),
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(closed
        .into_iter()
        .map(|closed| {
            let ranges = Ranges {
                from_block: closed.from_block,
                to_block: closed.to_block,
                from_seq: closed.from_seq,
                to_seq: OPEN,
            };
            let row = ActivityRow {
                chain_id: chain.to_owned(),
                ranges,
                branch_epoch: closed.branch_epoch,
                block_hash: closed.block_hash,
                occurred_at: closed.occurred_at,
                protocol: closed.protocol,
                kind: closed.kind,
                contract: closed.contract,
                wallet: closed.wallet,
                counterparty: closed.counterparty,
                token: closed.token,
                amount: closed.amount,
                counter_token: closed.counter_token,
                counter_amount: closed.counter_amount,
                transaction_hash: closed.transaction_hash,
                event_index: closed.event_index,
                ordinal: closed.ordinal,
                place: closed.place,
            };
            (row, closed.to_seq)
        })
        .collect())
}
