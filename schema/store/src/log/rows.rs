//! The entries of one append, as the database's `log_append_batch` takes them: hashes and payloads end to end,
//! the other columns once for each run of entries that have them in common, such as the events of a block.
//!
//! All but the hashes is known before the head lock is taken, and is packed before.

use chrono::{DateTime, Utc};
use obsqra_events::{Draft, EntryHash, Kind, chain_hash};
use obsqra_types::{BlockRef, ChainId, Hash32, RecordedAt, Seq};

use super::{Head, Keyed};
use crate::{Fence, StoreError, Transaction, row};

/// Entries to append, in their order. A call takes those of one chain: where the chain changes, the next begins.
#[derive(Debug)]
pub(super) struct Rows {
    calls: Vec<Call>,
}

impl Rows {
    pub(super) fn of<'a>(
        facts: impl Iterator<Item = &'a Keyed> + Clone,
    ) -> Result<Self, StoreError> {
        let drafts = || facts.clone().flat_map(|fact| &fact.drafts);
        let size = Size {
            entries: drafts().count(),
            payload: drafts().map(|draft| draft.payload.len()).sum(),
        };
        let mut rows = Self { calls: Vec::new() };
        drafts().try_for_each(|draft| rows.push(draft, size))?;
        Ok(rows)
    }

    fn push(&mut self, draft: &Draft, size: Size) -> Result<(), StoreError> {
        match self.calls.last_mut().filter(|call| call.chain == draft.chain) {
            Some(call) => call.push(draft),
            None => self.calls.push_mut(Call::new(&draft.chain, size)).push(draft),
        }
    }

    /// Hands the entries to the database, after a head; the head after them.
    pub(super) async fn append(
        self,
        tx: &mut Transaction,
        fence: &Fence,
        (mut head, recorded_at): (Head, DateTime<Utc>),
    ) -> Result<Head, StoreError> {
        for call in self.calls {
            head = call.send(tx, fence, (head, recorded_at)).await?;
        }
        Ok(head)
    }
}

/// What room is made for at once.
#[derive(Clone, Copy, Debug)]
struct Size {
    entries: usize,
    payload: usize,
}

/// What the entries of a run have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Common {
    kind: Kind,
    version: i16,
    block: Option<BlockRef>,
}

/// The entries of one call.
#[derive(Debug)]
struct Call {
    chain: ChainId,
    newest: Option<Common>,
    /// Places, counted from 1.
    run_first: Vec<i32>,
    run_last: Vec<i32>,
    kind: Vec<i16>,
    schema_version: Vec<i16>,
    block_number: Vec<Option<i64>>,
    branch_epoch: Vec<Option<i32>>,
    occurred_at: Vec<Option<DateTime<Utc>>>,
    /// Counted from 1, one for each entry and one for what would come next.
    payload_start: Vec<i32>,
    payload: Vec<u8>,
    content_hash: Vec<u8>,
}

impl Call {
    fn new(chain: &ChainId, size: Size) -> Self {
        let mut payload_start = Vec::with_capacity(size.entries + 1);
        payload_start.push(1);
        Self {
            chain: chain.clone(),
            newest: None,
            run_first: Vec::new(),
            run_last: Vec::new(),
            kind: Vec::new(),
            schema_version: Vec::new(),
            block_number: Vec::new(),
            branch_epoch: Vec::new(),
            occurred_at: Vec::new(),
            payload_start,
            payload: Vec::with_capacity(size.payload),
            content_hash: Vec::with_capacity(size.entries * size_of::<Hash32>()),
        }
    }

    fn push(&mut self, draft: &Draft) -> Result<(), StoreError> {
        let place = row::size(self.payload_start.len(), "number of entries")?;
        let common = Common { kind: draft.kind, version: draft.version, block: draft.block };
        match self.run_last.last_mut().filter(|_| self.newest == Some(common)) {
            Some(last) => *last = place,
            None => self.begin_run(common, place)?,
        }
        self.payload.extend_from_slice(&draft.payload);
        self.payload_start.push(row::size(self.payload.len() + 1, "size of a batch")?);
        self.content_hash.extend_from_slice(draft.content_hash.as_bytes());
        Ok(())
    }

    fn begin_run(&mut self, common: Common, place: i32) -> Result<(), StoreError> {
        let block = common.block.as_ref();
        self.newest = Some(common);
        self.run_first.push(place);
        self.run_last.push(place);
        self.kind.push(common.kind.code());
        self.schema_version.push(common.version);
        self.block_number.push(block.map(|b| row::to_i64(b.number.0, "block number")).transpose()?);
        self.branch_epoch.push(block.map(|b| row::to_i32(b.epoch.0, "branch epoch")).transpose()?);
        self.occurred_at.push(block.map(|b| row::timestamp(b.timestamp)).transpose()?);
        Ok(())
    }

    /// The hash of the last entry before, those of the entries after it, and the head that they lead to.
    fn hashes(&self, head: Head, recorded_at: RecordedAt) -> (Vec<u8>, Head) {
        let mut hashes = Vec::with_capacity(self.content_hash.len() + size_of::<EntryHash>());
        hashes.extend_from_slice(head.hash.as_bytes());
        let mut after = head;
        for content_hash in self.content_hash.as_chunks().0 {
            let seq = after.seq.next();
            let hash = chain_hash(seq, recorded_at, &Hash32(*content_hash), &after.hash);
            hashes.extend_from_slice(hash.as_bytes());
            after = Head { seq, hash };
        }
        (hashes, after)
    }

    async fn send(
        self,
        tx: &mut Transaction,
        fence: &Fence,
        (head, recorded_at): (Head, DateTime<Utc>),
    ) -> Result<Head, StoreError> {
        let Seq(previous) = head.seq;
        let (hashes, after) = self.hashes(head, RecordedAt(recorded_at.timestamp_micros()));
        sqlx::query!(
            r#"
            SELECT log_append_batch(
                $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16
            ) AS "appended: ()"
            "#,
            fence.partition.to_string(),
            fence.epoch.0,
            row::to_i64(previous, "seq")?,
            recorded_at,
            self.chain.as_str(),
            &self.run_first,
            &self.run_last,
            &self.kind,
            &self.schema_version,
            &self.block_number as &[Option<i64>],
            &self.branch_epoch as &[Option<i32>],
            &self.occurred_at as &[Option<DateTime<Utc>>],
            &self.payload_start,
            &self.payload,
            &self.content_hash,
            &hashes,
        )
        .execute(&mut **tx)
        .await
        .map_err(|error| super::append::refusal(error, fence))?;
        Ok(after)
    }
}
