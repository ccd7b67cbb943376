//! The checkpointer: signs the log's Merkle root at each thousandth entry and where the log rests.
//!
//! A checkpoint is first stored in the table, in one transaction with the lease's check; then the file
//! gets what it lacks, then the streams. Each step goes on from what is there, so that a process killed
//! between two of them loses nothing and does nothing twice. The file may never hold more than the
//! table: a database that lacks what was signed is an older copy, or another log, and signing its end
//! would put two histories under one key. The role then stops and says so. It signs no entry whose hash
//! does not follow from the one before.

pub mod file;

use std::sync::Arc;
use std::time::{Duration, Instant};

use obsqra_bus::CheckpointStream;
use obsqra_events::merkle::{Frontier, leaf_hash};
use obsqra_events::{CHECKPOINT_INTERVAL, Checkpoint, SigningKey};
use obsqra_store::checkpoint::{self, StoredCheckpoint};
use obsqra_store::log::Link;
use obsqra_store::{LeaseKeeper, Store, StoreError, cursor, lease, log};
use obsqra_types::{Hash32, Partition, Seq};

use self::file::CheckpointFile;
use crate::WorkError;
use crate::runtime::{Progress, Role, WakesOn};

/// Most entries read for one transaction, and so at most ten checkpoints in it.
const BATCH: u32 = 10_000;
/// Most checkpoints written to the file, or published, at a time.
const CATCH_UP: u32 = 500;

/// How checkpoints are made and where they go.
#[derive(Clone, Debug)]
pub struct CheckpointerOptions {
    /// The key that signs.
    pub key: SigningKey,
    /// The file outside the database.
    pub file: CheckpointFile,
    /// Time without a new entry after which the log's end is signed.
    pub rest: Duration,
}

/// Signs the log.
#[derive(Debug)]
pub struct Checkpointer {
    store: Store,
    streams: Vec<CheckpointStream>,
    options: Arc<CheckpointerOptions>,
    /// The tree over every entry read.
    tree: Frontier,
    /// The last entry read.
    last: Option<Link>,
    /// Hash of the last entry read; zeros for none.
    head: Hash32,
    /// The newest checkpoint.
    signed: Option<Checkpoint>,
    grew_at: Instant,
    /// Whether the streams were compared with the table since the role was loaded.
    compared: bool,
}

impl Checkpointer {
    /// Prepares the role; nothing is read yet. `streams` has one for each chain of the log.
    #[must_use]
    pub fn new(
        store: &Store,
        streams: Vec<CheckpointStream>,
        options: CheckpointerOptions,
    ) -> Self {
        Self {
            store: store.clone(),
            streams,
            options: Arc::new(options),
            tree: Frontier::new(),
            last: None,
            head: Hash32::ZERO,
            signed: None,
            grew_at: Instant::now(),
            compared: false,
        }
    }

    /// Reads on, and stores the checkpoints that are due. Returns whether there may be more to read.
    ///
    /// # Errors
    /// When the database fails, the lease is lost, or an entry does not follow from the one before; what
    /// was read then counts for nothing until the role is loaded again.
    pub async fn sign(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        let read =
            log::links(&self.store, Seq(self.tree.size()), Seq(i64::MAX.unsigned_abs()), BATCH);
        let read = read.await?;
        if !read.is_empty() {
            self.grew_at = Instant::now();
        }
        let mut due = Vec::new();
        for link in &read {
            self.take(link)?;
            if link.seq.0.is_multiple_of(CHECKPOINT_INTERVAL) {
                due.extend(self.checkpoint());
            }
        }
        let more = u32::try_from(read.len()).is_ok_and(|count| count == BATCH);
        if !more && self.grew_at.elapsed() >= self.options.rest {
            due.extend(self.checkpoint());
        }
        self.commit(lease, &due).await?;
        Ok(if more || !due.is_empty() { Progress::Worked } else { Progress::Idle })
    }

    fn take(&mut self, link: &Link) -> Result<(), WorkError> {
        let before = Seq(self.tree.size());
        if !link.follows(before, &self.head) {
            let problem = "does not follow from the entry before: it is not signed; \
                           `obsqra log verify` tells what is wrong"
                .to_owned();
            return Err(WorkError::Log { seq: before.next(), problem });
        }
        self.tree.push(leaf_hash(link.hash.as_bytes()));
        self.head = link.hash;
        self.last = Some(*link);
        Ok(())
    }

    /// The checkpoint at the last entry read; `None` when there is one.
    fn checkpoint(&mut self) -> Option<StoredCheckpoint> {
        let last = self.last?;
        if self.signed.is_some_and(|signed| signed.seq >= last.seq) {
            return None;
        }
        let checkpoint = Checkpoint {
            seq: last.seq,
            head: last.hash,
            root: self.tree.root(),
            recorded_at: last.recorded_at,
            previous: self.signed.map_or(Hash32::ZERO, |signed| signed.hash()),
        };
        self.signed = Some(checkpoint);
        let signed = self.options.key.sign(checkpoint);
        Some(StoredCheckpoint { signed, frontier: self.tree.clone() })
    }

    async fn commit(&self, lease: &LeaseKeeper, due: &[StoredCheckpoint]) -> Result<(), WorkError> {
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        for stored in due {
            checkpoint::insert(&mut tx, stored).await?;
        }
        tx.commit().await.map_err(StoreError::from)?;
        metrics::counter!("obsqra_checkpoints_total").increment(due.len() as u64);
        if let Some(last) = due.last() {
            metrics::gauge!("obsqra_checkpoint_seq").set(last.seq().0 as f64);
        }
        Ok(())
    }

    /// Writes to the file what it lacks.
    ///
    /// # Errors
    /// When the file cannot be written, or holds what the table does not.
    pub async fn write_file(&self) -> Result<(), WorkError> {
        loop {
            let end = self.options.file.end().await?;
            let after = end.map_or(Seq::BEFORE_FIRST, |end| end.checkpoint.seq);
            if let Some(end) = end {
                let stored = checkpoint::at_or_before(&self.store, after).await?;
                if stored.is_none_or(|stored| stored.signed != end) {
                    return Err(self.options.file.is_ahead(after).into());
                }
            }
            let lacking = checkpoint::after(&self.store, after, CATCH_UP).await?;
            if lacking.is_empty() {
                return Ok(());
            }
            let lines: Vec<_> = lacking.into_iter().map(|stored| stored.signed).collect();
            self.options.file.append(end, lines).await?;
        }
    }

    /// Publishes what the streams lack.
    ///
    /// # Errors
    /// When a stream cannot be used or the lease is lost.
    pub async fn publish(&self, lease: &LeaseKeeper) -> Result<(), WorkError> {
        loop {
            let from = cursor::load(&self.store, &self.partition()).await?;
            let lacking = checkpoint::after(&self.store, from, CATCH_UP).await?;
            let Some(last) = lacking.last().map(StoredCheckpoint::seq) else {
                return Ok(());
            };
            for stored in &lacking {
                for stream in &self.streams {
                    stream.publish(&stored.signed).await?;
                }
            }
            self.move_cursor(lease, last).await?;
        }
    }

    async fn move_cursor(&self, lease: &LeaseKeeper, to: Seq) -> Result<(), WorkError> {
        let mut tx = self.store.begin().await?;
        lease::check(&mut tx, lease.fence()).await?;
        cursor::advance(&mut tx, &self.partition(), to).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    }

    /// Compares the streams with the table, once after each load.
    async fn compare(&mut self, lease: &LeaseKeeper) -> Result<(), WorkError> {
        if !self.compared {
            self.refill(lease).await?;
            self.compared = true;
        }
        Ok(())
    }

    /// Goes back to where the shortest stream ends, when it holds less than was published.
    async fn refill(&self, lease: &LeaseKeeper) -> Result<(), WorkError> {
        let newest = checkpoint::last(&self.store).await?;
        let newest = newest.map_or(Seq::BEFORE_FIRST, |newest| newest.seq());
        let published = cursor::load(&self.store, &self.partition()).await?;
        let mut end = published;
        for stream in &self.streams {
            stream.ensure().await?;
            let last = stream.last().await?.unwrap_or(Seq::BEFORE_FIRST);
            if last > newest {
                return Err(WorkError::StreamAhead { stream: last, log: newest });
            }
            end = end.min(last);
        }
        if end < published {
            tracing::warn!(
                stream_ends = end.0,
                published = published.0,
                "the stream of checkpoints holds less than was published: filling it again"
            );
            self.move_cursor(lease, end).await?;
        }
        Ok(())
    }
}

impl Role for Checkpointer {
    fn partition(&self) -> Partition {
        Partition::Checkpointer
    }

    fn wakes_on(&self) -> WakesOn {
        WakesOn::Log
    }

    async fn load(&mut self) -> Result<(), WorkError> {
        let newest = checkpoint::last(&self.store).await?;
        self.last = None;
        self.signed = newest.as_ref().map(|newest| newest.signed.checkpoint);
        self.head = self.signed.map_or(Hash32::ZERO, |signed| signed.head);
        self.tree = newest.map(|newest| newest.frontier).unwrap_or_default();
        if let Some(signed) = self.signed
            && (self.tree.size() != signed.seq.0 || self.tree.root() != signed.root)
        {
            let problem = "the checkpoint's frontier is not that of its root".to_owned();
            return Err(WorkError::Log { seq: signed.seq, problem });
        }
        self.grew_at = Instant::now();
        // Before anything is signed: a file that is ahead shows that this log was signed further.
        self.write_file().await?;
        self.compared = false;
        Ok(())
    }

    async fn work(&mut self, lease: &LeaseKeeper) -> Result<Progress, WorkError> {
        // Without the bus the log is signed all the same; only a stream that is ahead forbids it.
        let compared = self.compare(lease).await;
        if let Err(error) = &compared
            && !error.is_transient()
        {
            return compared.map(|()| Progress::Idle);
        }
        let progress = self.sign(lease).await?;
        self.write_file().await?;
        compared?;
        self.publish(lease).await?;
        Ok(progress)
    }
}
