//! `obsqra log export`: the form is that of `obsqra_events::export_header` and its siblings.

use std::io::Write;

use anyhow::{Result, bail};
use obsqra_events::{EntryHash, export_checkpoint, export_end, export_entry, export_header};
use obsqra_store::{Store, checkpoint, log};
use obsqra_types::{Hash32, Seq};

/// Entries read at a time, and so the most checkpoints among them.
const BATCH: u32 = 1_000;

/// What is exported, both ends included.
pub(super) struct Range {
    from: Seq,
    to: Seq,
    previous: EntryHash,
}

impl Range {
    /// Checks that the log has the range.
    pub(super) async fn of(store: &Store, from: Seq, to: Option<Seq>) -> Result<Self> {
        let head = log::head(store).await?.seq;
        let to = to.unwrap_or(head);
        if from == Seq::BEFORE_FIRST || from > to || to > head {
            bail!("the log has entries 1 to {head}: {from} to {to} cannot be exported");
        }
        let before = log::entry(store, Seq(from.0 - 1)).await?;
        let previous = before.map_or(Hash32::ZERO, |before| before.hash);
        Ok(Self { from, to, previous })
    }
}

/// Writes the range.
pub(super) async fn write(store: &Store, range: Range, out: &mut (dyn Write + Send)) -> Result<()> {
    let Range { from, to, previous } = range;
    out.write_all(&export_header(from, to, &previous))?;
    let (mut last, mut checkpoints) = (Seq(from.0 - 1), 0);
    while last < to {
        let up_to = Seq(last.0 + u64::from(BATCH)).min(to);
        let entries = log::read_after(store, last, BATCH).await?;
        let found = checkpoint::between(store, last, up_to, BATCH).await?;
        let mut found = found.iter().peekable();
        for entry in entries.iter().take_while(|entry| entry.seq <= to) {
            if entry.seq != last.next() {
                break;
            }
            out.write_all(&export_entry(entry))?;
            last = entry.seq;
            if let Some(stored) = found.next_if(|stored| stored.seq() == last) {
                out.write_all(&export_checkpoint(&stored.signed))?;
                checkpoints += 1;
            }
        }
        if last != up_to {
            bail!("entry {} is missing: `obsqra log verify`", last.next());
        }
    }
    out.write_all(&export_end(to.0 - from.0 + 1, checkpoints))?;
    Ok(())
}
