//! The entries of one append, as the database's `log_append_batch` takes them: hashes and payloads end to end,
//! the other columns as arrays.

use chrono::{DateTime, Utc};
use obsqra_events::{Draft, chain_hash};
use obsqra_types::{ChainId, RecordedAt};

use super::Head;
use crate::{Fence, StoreError, Transaction, row};

/// Entries to append, in their order. A call takes those of one chain: where the chain changes, the next begins.
pub(super) struct Rows {
    recorded_at: DateTime<Utc>,
    head: Head,
    calls: Vec<Call>,
}

impl Rows {
    /// No entries yet; the first follows a head.
    pub(super) fn after(head: Head, recorded_at: DateTime<Utc>) -> Self {
        Self { recorded_at, head, calls: Vec::new() }
    }

    /// The last entry so far.
    pub(super) fn head(&self) -> Head {
        self.head
    }

    pub(super) fn extend(&mut self, drafts: &[Draft]) -> Result<(), StoreError> {
        drafts.iter().try_for_each(|draft| self.push(draft))
    }

    fn push(&mut self, draft: &Draft) -> Result<(), StoreError> {
        let seq = self.head.seq.next();
        let recorded_at = RecordedAt(self.recorded_at.timestamp_micros());
        let hash = chain_hash(seq, recorded_at, &draft.content_hash, &self.head.hash);
        let head = self.head;
        let call = match self.calls.last_mut().filter(|call| call.chain == draft.chain) {
            Some(call) => call,
            None => self.calls.push_mut(Call::after(head, &draft.chain)),
        };
        call.push(draft)?;
        call.hashes.extend(hash.as_bytes());
        self.head = Head { seq, hash };
        Ok(())
    }

    /// Hands the entries to the database.
    pub(super) async fn append(
        self,
        tx: &mut Transaction,
        fence: &Fence,
    ) -> Result<(), StoreError> {
        for call in self.calls {
            call.send(tx, fence, self.recorded_at).await?;
        }
        Ok(())
    }
}

/// The entries of one call.
struct Call {
    previous: Head,
    chain: ChainId,
    kind: Vec<i16>,
    schema_version: Vec<i16>,
    block_number: Vec<Option<i64>>,
    branch_epoch: Vec<Option<i32>>,
    occurred_at: Vec<Option<DateTime<Utc>>>,
    payload_start: Vec<i32>,
    payload_length: Vec<i32>,
    payload: Vec<u8>,
    content_hash: Vec<u8>,
    /// Begins with the hash of the entry before the first.
    hashes: Vec<u8>,
}

impl Call {
    fn after(previous: Head, chain: &ChainId) -> Self {
        Self {
            previous,
            chain: chain.clone(),
            kind: Vec::new(),
            schema_version: Vec::new(),
            block_number: Vec::new(),
            branch_epoch: Vec::new(),
            occurred_at: Vec::new(),
            payload_start: Vec::new(),
            payload_length: Vec::new(),
            payload: Vec::new(),
            content_hash: Vec::new(),
            hashes: previous.hash.as_bytes().to_vec(),
        }
    }

    fn push(&mut self, draft: &Draft) -> Result<(), StoreError> {
        let block = draft.block.as_ref();
        self.kind.push(draft.kind.code());
        self.schema_version.push(draft.version);
        self.block_number.push(block.map(|b| row::to_i64(b.number.0, "block number")).transpose()?);
        self.branch_epoch.push(block.map(|b| row::to_i32(b.epoch.0, "branch epoch")).transpose()?);
        self.occurred_at.push(block.map(|b| row::timestamp(b.timestamp)).transpose()?);
        self.payload_start.push(row::size(self.payload.len() + 1, "size of a batch")?);
        self.payload_length.push(row::size(draft.payload.len(), "size of a payload")?);
        self.payload.extend_from_slice(&draft.payload);
        self.content_hash.extend(draft.content_hash.as_bytes());
        Ok(())
    }

    async fn send(
        self,
        tx: &mut Transaction,
        fence: &Fence,
        recorded_at: DateTime<Utc>,
    ) -> Result<(), StoreError> {
        sqlx::query!(
            r#"
            SELECT log_append_batch(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
            ) AS "appended: ()"
            "#,
            fence.partition.to_string(),
            fence.epoch.0,
            row::to_i64(self.previous.seq.0, "seq")?,
            recorded_at,
            self.chain.as_str(),
            &self.kind,
            &self.schema_version,
            &self.block_number as &[Option<i64>],
            &self.branch_epoch as &[Option<i32>],
            &self.occurred_at as &[Option<DateTime<Utc>>],
            &self.payload_start,
            &self.payload_length,
            &self.payload,
            &self.content_hash,
            &self.hashes,
        )
        .execute(&mut **tx)
        .await
        .map_err(|error| super::append::refusal(error, fence))?;
        Ok(())
    }
}
