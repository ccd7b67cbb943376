//! Verification: reads the log again, recomputes every hash and every signed root, and names the first
//! entry that is not as it was appended.
//!
//! The log is read by binary `COPY` in ranges, and hashed on a thread of its own while the server sends
//! the next rows; between the two stands a queue with a bound, so that memory does not grow with the
//! log. Hashes tell an entry that was changed from one that was not; only checkpoints tell a log from
//! one that was cut off or written anew from some place on. Those in the table are always checked,
//! those of a file outside the database where one is given. Whether payloads can be read does not
//! matter for the hashes, and is looked at only when asked for.

mod checker;
mod checkpoints;
mod entries;

use bytes::Bytes;
use futures::StreamExt;
use obsqra_events::merkle::{Frontier, leaf_hash};
use obsqra_events::{PublicKey, SignedCheckpoint};
use obsqra_types::{Hash32, Seq};
use tokio::sync::mpsc;

use self::checker::{Checker, Fault, Work};
use self::checkpoints::{Pairing, Signatures};
use super::copy::copy_range;
use super::links::links;
use super::read::{beyond_head, head};
use crate::checkpoint::{self, StoredCheckpoint};
use crate::{Head, Store, StoreError};

/// Entries of one `COPY`: each sees the log of one moment and holds back what would clean up after it.
const RANGE: u64 = 50_000;
/// Bytes of rows handed to the hashing thread at a time.
const PIECE_BYTES: usize = 256 << 10;
/// Such pieces that may wait for it.
const PIECES_AHEAD: usize = 8;
/// Links read at a time on the way to the first entry to check.
const LINKS: u32 = 10_000;
/// Checkpoints beyond the log's end read at a time.
const CHECKPOINTS: u32 = 1_000;

/// What verification found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Every entry stands as it was appended.
    Intact,
    /// An entry does not; the first such.
    Broken {
        /// Its position.
        seq: Seq,
        /// What is wrong.
        problem: String,
    },
    /// Every entry stands as it was appended, and the log is shorter than what was signed.
    Cut {
        /// The last entry of the log that a checkpoint fixes; 0 when none does.
        proven: Seq,
        /// The last entry that a checkpoint fixes.
        signed: Seq,
    },
}

/// What was found of checkpoints.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointTally {
    /// Checkpoints whose root is that of the log.
    pub matched: u64,
    /// The last of them; 0 when there is none.
    pub proven: Seq,
    /// The last entry that any checkpoint fixes; 0 when there is none.
    pub signed: Seq,
    /// Whether signatures were checked.
    pub signatures: bool,
}

impl CheckpointTally {
    /// Nothing was found yet.
    const NONE: Self = Self {
        matched: 0,
        proven: Seq::BEFORE_FIRST,
        signed: Seq::BEFORE_FIRST,
        signatures: false,
    };
}

/// The result of a verification.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifyReport {
    /// Entries read.
    pub entries: u64,
    /// The last one read.
    pub last: Head,
    /// The result.
    pub verdict: Verdict,
    /// What was found of checkpoints.
    pub checkpoints: CheckpointTally,
}

/// The checkpoints of a file, in its order; an error is a line that cannot be read, in words.
pub type FileCheckpoints = Box<dyn Iterator<Item = Result<SignedCheckpoint, String>> + Send>;

/// What to verify, and against what.
pub struct VerifyOptions {
    /// First position to check; the entry before it is trusted.
    pub from: Seq,
    /// Keys whose signatures count; `None` when signatures are not to be checked.
    pub keys: Option<Vec<PublicKey>>,
    /// Checkpoints kept outside the database.
    pub file: Option<FileCheckpoints>,
    /// Whether each payload is decoded too, and each block's events counted and compared with its digest.
    pub decode: bool,
}

impl std::fmt::Debug for VerifyOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyOptions").field("from", &self.from).finish_non_exhaustive()
    }
}

impl VerifyOptions {
    /// Hashes from a position on, and the roots of the checkpoints in the table.
    #[must_use]
    pub fn hashes(from: Seq) -> Self {
        Self { from, keys: None, file: None, decode: false }
    }
}

/// Verifies the hashes from a position up to the head as it stands now, calling `progress` with each
/// position reached. Verification from a later position than the first trusts the entry before it.
///
/// # Errors
/// When the database fails. A broken log is a [`Verdict`], not an error.
pub async fn verify(
    store: &Store,
    from: Seq,
    progress: impl FnMut(Seq, Seq),
) -> Result<VerifyReport, StoreError> {
    verify_with(store, VerifyOptions::hashes(from), progress).await
}

/// As [`verify`], with all that can be compared.
///
/// # Errors
/// When the database fails.
pub async fn verify_with(
    store: &Store,
    options: VerifyOptions,
    progress: impl FnMut(Seq, Seq),
) -> Result<VerifyReport, StoreError> {
    let VerifyOptions { from, keys, file, decode } = options;
    let target = head(store).await?;
    let signatures = Signatures::new(keys);
    let mut pairing = Pairing::new(file);
    let start = match Start::find(store, from).await? {
        Ok(start) => start,
        Err(broken) => return Ok(broken.report(target, from)),
    };
    let before = pairing.file_up_to(start.last.seq);
    let begun = Checker::begin(signatures, decode, start.last, start.tree, start.base, before);
    let checker = match begun {
        Ok(checker) => checker,
        Err(broken) => return Ok(broken.report(target, from)),
    };
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    let checking = tokio::task::spawn_blocking(move || checker.run(receiver));
    let feed = Feed { store, sender, pairing, after: start.last.seq, target };
    let fed = feed.run(progress).await;
    let checked = match checking.await {
        Ok(checked) => checked,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    fed?;
    conclude(store, checked, target).await
}

/// An entry that is not as it was appended.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Broken {
    seq: Seq,
    problem: String,
}

impl Broken {
    fn new(seq: Seq, problem: impl Into<String>) -> Self {
        Self { seq, problem: problem.into() }
    }

    /// The report where nothing was read.
    fn report(self, target: Head, from: Seq) -> VerifyReport {
        let last = Head { seq: Seq(from.0.saturating_sub(1)).min(target.seq), hash: Hash32::ZERO };
        let verdict = Verdict::Broken { seq: self.seq, problem: self.problem };
        VerifyReport { entries: 0, last, verdict, checkpoints: CheckpointTally::NONE }
    }
}

/// The state before the first entry to check.
struct Start {
    last: Head,
    tree: Frontier,
    base: Option<StoredCheckpoint>,
}

impl Start {
    /// Goes from the newest checkpoint before `from` to the entry before it by hashes alone.
    async fn find(store: &Store, from: Seq) -> Result<Result<Self, Broken>, StoreError> {
        let before = Seq(from.0.saturating_sub(1));
        let base = match checkpoint::at_or_before(store, before).await {
            Ok(base) => base,
            Err(StoreError::Corrupt { seq, problem }) => return Ok(Err(Broken { seq, problem })),
            Err(error) => return Err(error),
        };
        let mut tree = base.as_ref().map(|base| base.frontier.clone()).unwrap_or_default();
        // The checkpoint's own entry is read too, for its hash.
        let mut last = Head { seq: Seq(tree.size().saturating_sub(1)), hash: Hash32::ZERO };
        while last.seq < before {
            let read = links(store, last.seq, before, LINKS).await?;
            if read.is_empty() {
                return Ok(Err(Broken::new(last.seq.next(), "entry is missing")));
            }
            for link in read {
                if link.seq != last.seq.next() {
                    return Ok(Err(Broken::new(last.seq.next(), "entry is missing")));
                }
                if link.seq.0 > tree.size() {
                    tree.push(leaf_hash(link.hash.as_bytes()));
                } else if base.as_ref().is_some_and(|b| b.signed.checkpoint.head != link.hash) {
                    let problem = "entry has another hash than the checkpoint at it";
                    return Ok(Err(Broken::new(link.seq, problem)));
                }
                last = Head { seq: link.seq, hash: link.hash };
            }
        }
        Ok(Ok(Self { last, tree, base }))
    }
}

/// Hands rows and checkpoints to the checker, in order.
struct Feed<'a> {
    store: &'a Store,
    sender: mpsc::Sender<Work>,
    pairing: Pairing,
    after: Seq,
    target: Head,
}

/// The checker has found something and takes no more.
struct Enough;

impl Feed<'_> {
    async fn run(mut self, mut progress: impl FnMut(Seq, Seq)) -> Result<(), StoreError> {
        while self.after < self.target.seq {
            let up_to = Seq(self.after.0.saturating_add(RANGE)).min(self.target.seq);
            if self.checkpoints(up_to).await?.is_err() || self.rows(up_to).await?.is_err() {
                return Ok(());
            }
            self.after = up_to;
            progress(up_to, self.target.seq);
        }
        self.beyond().await
    }

    /// The checkpoints up to a position. The file is read first: what it holds the table held before.
    async fn checkpoints(&mut self, up_to: Seq) -> Result<Result<(), Enough>, StoreError> {
        let file = self.pairing.file_up_to(up_to);
        // At most one checkpoint an entry.
        let limit = u32::try_from(up_to.0 - self.after.0).unwrap_or(u32::MAX);
        let table = checkpoint::between(self.store, self.after, up_to, limit).await;
        self.send_pairs(table, file).await
    }

    async fn send_pairs(
        &mut self,
        table: Result<Vec<StoredCheckpoint>, StoreError>,
        file: Result<Vec<SignedCheckpoint>, String>,
    ) -> Result<Result<(), Enough>, StoreError> {
        let paired = match (table, file) {
            (Ok(table), Ok(file)) => self.pairing.pair(table, file),
            (Err(StoreError::Corrupt { seq, problem }), _) => Err(Broken { seq, problem }).into(),
            (Err(error), _) => return Err(error),
            (_, Err(problem)) => Err(Broken::new(self.after.next(), problem)).into(),
        };
        Ok(self.sender.send(Work::Checkpoints(paired)).await.map_err(|_| Enough))
    }

    async fn rows(&mut self, up_to: Seq) -> Result<Result<(), Enough>, StoreError> {
        let mut rows = copy_range(self.store, self.after, up_to).await?;
        let (mut pieces, mut bytes): (Vec<Bytes>, usize) = (Vec::new(), 0);
        while let Some(piece) = rows.next().await {
            let piece = piece?;
            bytes += piece.len();
            pieces.push(piece);
            if bytes >= PIECE_BYTES {
                bytes = 0;
                let full = std::mem::take(&mut pieces);
                if self.sender.send(Work::Rows(full)).await.is_err() {
                    return Ok(Err(Enough));
                }
            }
        }
        if self.sender.send(Work::Rows(pieces)).await.is_err() {
            return Ok(Err(Enough));
        }
        Ok(self.sender.send(Work::EndOfRange).await.map_err(|_| Enough))
    }

    /// Checkpoints of entries beyond the head as it was at the start: they still have to hang together,
    /// and tell how long the log was.
    async fn beyond(&mut self) -> Result<(), StoreError> {
        loop {
            let file = self.pairing.file_some(CHECKPOINTS);
            let up_to = match &file {
                Ok(file) => file.last().map(|signed| signed.checkpoint.seq),
                Err(_) => None,
            };
            let up_to = up_to.unwrap_or(Seq(i64::MAX.unsigned_abs()));
            let table = checkpoint::between(self.store, self.after, up_to, CHECKPOINTS).await;
            let reached = [
                table.as_ref().ok().and_then(|table| table.last().map(StoredCheckpoint::seq)),
                file.as_ref().ok().and_then(|file| file.last().map(|s| s.checkpoint.seq)),
            ];
            let failed = table.is_err() || file.is_err();
            if self.send_pairs(table, file).await?.is_err() || failed {
                return Ok(());
            }
            match reached.into_iter().flatten().max() {
                Some(reached) => self.after = reached,
                None => return Ok(()),
            }
        }
    }
}

async fn conclude(
    store: &Store,
    checked: checker::Checked,
    target: Head,
) -> Result<VerifyReport, StoreError> {
    let checker::Checked { entries, last, tally, fault } = checked;
    let broken = match fault {
        Some(Fault::Broken(broken)) => Some(broken),
        Some(Fault::NotRows) => {
            let problem = "COPY sent something else than rows of the log";
            return Err(StoreError::Database(sqlx::Error::Protocol(problem.into())));
        }
        None if last.seq < target.seq => Some(Broken::new(last.seq.next(), "entry is missing")),
        None if last.seq == target.seq && last.hash != target.hash && entries > 0 => {
            let problem = "log_head holds another hash than the last entry";
            Some(Broken::new(target.seq, problem))
        }
        None => {
            beyond_head(store).await?.map(|seq| Broken::new(seq, "entry stands beyond log_head"))
        }
    };
    // The head is read after the checkpoints, so that a log that has grown meanwhile is not called short.
    let verdict = match broken {
        Some(Broken { seq, problem }) => Verdict::Broken { seq, problem },
        None if tally.signed > head(store).await?.seq => {
            Verdict::Cut { proven: tally.proven, signed: tally.signed }
        }
        None => Verdict::Intact,
    };
    Ok(VerifyReport { entries, last, verdict, checkpoints: tally })
}
