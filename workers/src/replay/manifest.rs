//! What a replay was: the range, the selection, and the root of the entries it gave.
//!
//! The root is an RFC 6962 Merkle root. Leaf `i` holds the `i`-th entry's `seq ‖ recorded_at ‖ content_hash ‖ hash`,
//! integers as 8 big-endian bytes, so that whoever holds the entries can compute it from them alone: equal roots,
//! equal entries. The hashes of the log before and at the end of the range tie it to the log, and where the range
//! was not cut down, entry by entry.

use std::collections::BTreeSet;

use obsqra_events::merkle::{Frontier, leaf_hash};
use obsqra_events::{Entry, EntryHash, Kind};
use obsqra_types::{ChainId, Hash32, Seq};
use serde::Serialize;

use super::Canonical;
use super::selection::Selection;

/// The form of [`Manifest`].
pub const SCHEMA: &str = "obsqra.replay.v1";

/// What a replay was. Positions and counts are decimal strings, heights and seconds numbers.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// The root of the entries.
    pub root: String,
    /// Number of entries.
    pub entries: String,
    /// Position of the first one.
    pub first_seq: Option<String>,
    /// Position of the last one.
    pub last_seq: Option<String>,
    /// Whether every position of the range is among them.
    pub is_whole: bool,
    /// The range.
    pub range: Range,
    /// What it was cut down to.
    pub selection: Told,
}

/// A range of the log, both ends included.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Range {
    /// First position.
    pub from_seq: String,
    /// Last position.
    pub to_seq: String,
    /// Entry hash before the first position; zeros before entry 1.
    pub previous_hash: String,
    /// Entry hash at the last position.
    pub last_hash: String,
}

/// A selection as a manifest tells it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    chain_id: String,
    from_block: Option<u64>,
    to_block: Option<u64>,
    since: Option<u64>,
    until: Option<u64>,
    kinds: Vec<&'static str>,
    protocols: Vec<String>,
    as_of_block: Option<u64>,
    known_at_seq: Option<String>,
}

impl Told {
    /// With the options that were left open filled in.
    pub(super) fn new(
        chain: &ChainId,
        selection: &Selection,
        canonical: Option<&Canonical>,
    ) -> Self {
        let kinds: BTreeSet<Kind> = selection.kinds.iter().copied().collect();
        Self {
            chain_id: chain.to_string(),
            from_block: selection.from_block.map(|number| number.0),
            to_block: selection.to_block.map(|number| number.0),
            since: selection.since.map(|time| time.0),
            until: selection.until.map(|time| time.0),
            kinds: kinds.into_iter().map(Kind::name).collect(),
            protocols: selection.protocols.iter().map(ToString::to_string).collect(),
            as_of_block: canonical.and_then(|canonical| canonical.tip).map(|tip| tip.0),
            known_at_seq: canonical.map(|canonical| canonical.at.to_string()),
        }
    }
}

impl Manifest {
    /// The manifest as one line of JSON, without a line feed.
    ///
    /// # Errors
    /// When it has no JSON form, which strings and numbers always have.
    pub fn line(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// Counts entries and makes their root.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    tree: Frontier,
    first: Option<Seq>,
    last: Option<Seq>,
}

impl Tally {
    /// Takes in the next entry.
    pub fn add(&mut self, entry: &Entry) {
        let mut leaf = [0; 80];
        leaf[..8].copy_from_slice(&entry.seq.0.to_be_bytes());
        leaf[8..16].copy_from_slice(&entry.recorded_at.0.to_be_bytes());
        leaf[16..48].copy_from_slice(entry.draft.content_hash.as_bytes());
        leaf[48..].copy_from_slice(entry.hash.as_bytes());
        self.tree.push(leaf_hash(&leaf));
        self.first = self.first.or(Some(entry.seq));
        self.last = Some(entry.seq);
    }

    /// How many entries were taken in.
    #[must_use]
    pub fn entries(&self) -> u64 {
        self.tree.size()
    }

    /// Their root; SHA-256 of nothing where there is none.
    #[must_use]
    pub fn root(&self) -> Hash32 {
        self.tree.root()
    }

    /// The manifest of what was taken in.
    pub(super) fn finish(
        self,
        (from, to): (Seq, Seq),
        (previous, last): (EntryHash, EntryHash),
        selection: Told,
    ) -> Manifest {
        let positions = (to.0 + 1).saturating_sub(from.0);
        Manifest {
            schema: SCHEMA,
            root: self.root().to_string(),
            entries: self.entries().to_string(),
            first_seq: self.first.map(|seq| seq.to_string()),
            last_seq: self.last.map(|seq| seq.to_string()),
            is_whole: self.entries() == positions,
            range: Range {
                from_seq: from.to_string(),
                to_seq: to.to_string(),
                previous_hash: previous.to_string(),
                last_hash: last.to_string(),
            },
            selection,
        }
    }
}
