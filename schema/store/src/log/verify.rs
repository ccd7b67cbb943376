//! Verification: reads the log again and recomputes every hash.

use obsqra_events::{Entry, chain_hash};
use obsqra_types::{Hash32, RecordedAt, Seq};

use super::read::{beyond_head, read_each};
use super::{entry, head};
use crate::{Head, Store, StoreError};

/// Entries read at a time.
const BATCH: u32 = 5_000;

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
}

/// Verifies the log from a position up to the head as it stands now, calling `progress` with each
/// position reached. Verification from a later position than the first trusts the entry before it.
///
/// # Errors
/// When the database fails. A broken log is a [`Verdict`], not an error.
pub async fn verify(
    store: &Store,
    from: Seq,
    mut progress: impl FnMut(Seq, Seq),
) -> Result<VerifyReport, StoreError> {
    let target = head(store).await?;
    let mut last = before(store, from).await?;
    let mut clock = RecordedAt(i64::MIN);
    let mut entries = 0;
    while last.seq < target.seq {
        let batch = read_each(store, last.seq, BATCH).await?;
        if batch.is_empty() {
            let missing = (last.seq.next(), "entry is missing".to_owned());
            return Ok(report(entries, last, Some(missing)));
        }
        for read in batch {
            let entry = match read {
                Ok(entry) => entry,
                Err(StoreError::Corrupt { seq, problem }) => {
                    return Ok(report(entries, last, Some((seq, problem))));
                }
                Err(other) => return Err(other),
            };
            if let Err(problem) = check(&entry, last, clock) {
                return Ok(report(entries, last, Some((last.seq.next(), problem))));
            }
            last = Head { seq: entry.seq, hash: entry.hash };
            clock = entry.recorded_at;
            entries += 1;
            if entry.seq == target.seq {
                break;
            }
        }
        progress(last.seq, target.seq);
    }
    if last.seq == target.seq && last.hash != target.hash {
        let problem = "log_head holds another hash than the last entry".to_owned();
        return Ok(report(entries, last, Some((target.seq, problem))));
    }
    let beyond = beyond_head(store).await?;
    let stray = beyond.map(|seq| (seq, "entry stands beyond log_head".to_owned()));
    Ok(report(entries, last, stray))
}

async fn before(store: &Store, from: Seq) -> Result<Head, StoreError> {
    let start = Head { seq: Seq(from.0.saturating_sub(1)), hash: Hash32::ZERO };
    match entry(store, start.seq).await? {
        Some(entry) => Ok(Head { seq: entry.seq, hash: entry.hash }),
        None => Ok(start),
    }
}

fn report(entries: u64, last: Head, broken: Option<(Seq, String)>) -> VerifyReport {
    let verdict = match broken {
        Some((seq, problem)) => Verdict::Broken { seq, problem },
        None => Verdict::Intact,
    };
    VerifyReport { entries, last, verdict }
}

fn check(entry: &Entry, previous: Head, clock: RecordedAt) -> Result<(), String> {
    if entry.seq != previous.seq.next() {
        return Err(format!("entry is missing: {} follows {}", entry.seq, previous.seq));
    }
    if entry.recorded_at < clock {
        return Err("recorded_at is before that of the entry before".into());
    }
    if entry.draft.recomputed_content_hash() != entry.draft.content_hash {
        return Err("content hash is not that of the stored fact".into());
    }
    let expected =
        chain_hash(entry.seq, entry.recorded_at, &entry.draft.content_hash, &previous.hash);
    if expected != entry.hash {
        return Err("entry hash does not follow from the entry before".into());
    }
    entry.draft.fact().map_err(|error| error.to_string())?;
    Ok(())
}
