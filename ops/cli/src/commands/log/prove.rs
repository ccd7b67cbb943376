//! `obsqra log prove` and `obsqra log check-proof`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, anyhow, bail};
use obsqra_events::merkle::{PathBuilder, leaf_hash};
use obsqra_events::{CHECKPOINT_INTERVAL, Proof};
use obsqra_store::checkpoint::{self, StoredCheckpoint};
use obsqra_store::{Store, log};
use obsqra_types::{Hash32, Seq};

use super::wrong_use;
use crate::checkpoint_key;

/// Leaves read at a time.
const LEAVES: u32 = 10_000;

/// The proof of an entry, under a checkpoint or under the first that covers it. Reads the entries from
/// the checkpoint before the entry to that one: a thousand at most, unless a later one is asked for.
pub(super) async fn prove(store: &Store, seq: Seq, under: Option<Seq>) -> Result<String> {
    let head = log::head(store).await?.seq;
    if seq == Seq::BEFORE_FIRST || seq > head {
        bail!("the log has entries 1 to {head}: there is no entry {seq}");
    }
    let entry = log::entry(store, seq).await?;
    let entry = entry.with_context(|| format!("entry {seq} is missing: `obsqra log verify`"))?;
    let covering = covering(store, seq, under).await?;
    let before = Seq(seq.0 - 1);
    let previous = match log::entry(store, before).await? {
        Some(before) => before.hash,
        None => Hash32::ZERO,
    };
    let base = checkpoint::at_or_before(store, before).await?;
    let tree = base.map(|base| base.frontier).unwrap_or_default();
    let mut reached = Seq(tree.size());
    let mut path = PathBuilder::new(tree, before.0).context("the path begins after the entry")?;
    while reached < covering.seq() {
        let links = log::links(store, reached, covering.seq(), LEAVES).await?;
        let last = links.last().map(|link| link.seq);
        reached = last.with_context(|| format!("entry {} is missing", reached.next()))?;
        links.iter().for_each(|link| path.push(leaf_hash(link.hash.as_bytes())));
    }
    let (path, root) = path.finish().context("the checkpoint ends before the entry")?;
    if root != covering.signed.checkpoint.root {
        bail!(
            "the log is not the one that the checkpoint at {} was made of: `obsqra log verify` tells \
             where it differs",
            covering.seq()
        );
    }
    Ok(Proof { entry, previous, path, checkpoint: covering.signed }.to_json())
}

async fn covering(store: &Store, seq: Seq, under: Option<Seq>) -> Result<StoredCheckpoint> {
    if let Some(under) = under {
        if under < seq {
            bail!("a checkpoint at {under} does not cover entry {seq}");
        }
        let found = checkpoint::at_or_before(store, under).await?;
        return found
            .filter(|found| found.seq() == under)
            .with_context(|| format!("there is no checkpoint at {under}"));
    }
    if let Some(found) = checkpoint::covering(store, seq).await? {
        return Ok(found);
    }
    let last = checkpoint::last(store).await?.map_or(Seq::BEFORE_FIRST, |last| last.seq());
    let next = seq.0.div_ceil(CHECKPOINT_INTERVAL).saturating_mul(CHECKPOINT_INTERVAL);
    Err(anyhow!(
        "entry {seq} is newer than the last checkpoint, at {last}: try again when the log has come to \
         {next} or has rested for two seconds (`obsqra checkpoint`, which signs, must be running)"
    ))
}

/// Checks a proof. Ends with 0 when it holds, 1 when it does not, 2 when file or key cannot be read.
pub(crate) fn check(file: &Path, keys: &[String]) -> ExitCode {
    let read = || -> Result<_> {
        let text = std::fs::read(file).with_context(|| format!("proof {}", file.display()))?;
        Ok((text, checkpoint_key::given(keys)?))
    };
    let (text, keys) = match read() {
        Ok(read) => read,
        Err(error) => return wrong_use(&error),
    };
    let proof = String::from_utf8(text)
        .map_err(|_| anyhow!("not a proof: not UTF-8"))
        .and_then(|text| Ok(Proof::parse(&text)?));
    match proof.and_then(|proof| Ok(proof.check(&keys).map(|()| proof)?)) {
        Ok(proof) => {
            println!(
                "entry {} ({}) is in the log that the checkpoint at {} fixes, signed with key {}",
                proof.entry.seq,
                proof.entry.draft.kind.name(),
                proof.checkpoint.checkpoint.seq,
                proof.checkpoint.key
            );
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("obsqra: proof {}: {}", file.display(), crate::problem::sentence(&error));
            ExitCode::FAILURE
        }
    }
}
