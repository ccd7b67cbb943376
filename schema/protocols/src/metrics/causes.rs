//! What a protocol's inputs were computed from, as references into the log.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{Cause, Causes, MAX_CAUSES, SetDigest, TooManyCauses};
use obsqra_types::{Hash32, ProtocolId, Seq};

/// A protocol's watched events folded so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EventTally {
    pub(crate) first: Seq,
    pub(crate) last: Seq,
    pub(crate) count: u64,
    pub(crate) digest: SetDigest,
}

impl EventTally {
    /// Of one event.
    pub(crate) fn of(seq: Seq, content_hash: &Hash32) -> Self {
        let mut digest = SetDigest::default();
        digest.add_entry(seq, content_hash);
        Self { first: seq, last: seq, count: 1, digest }
    }

    pub(crate) fn add(&mut self, seq: Seq, content_hash: &Hash32) {
        self.digest.add_entry(seq, content_hash);
        // Events that a block gained later stand further up in the log than those of blocks above it.
        self.first = self.first.min(seq);
        self.last = self.last.max(seq);
        self.count += 1;
    }

    fn window(&self, protocol: &ProtocolId) -> Cause {
        Cause::Window {
            from_seq: self.first,
            to_seq: self.last,
            selector: format!("event protocol={protocol}"),
            count: self.count,
            digest: self.digest.to_hash(),
        }
    }
}

/// What [`causes`] refers to.
pub(crate) struct CauseSources<'a> {
    pub(crate) registry_seq: Seq,
    pub(crate) applied_seq: Seq,
    pub(crate) protocol: &'a ProtocolId,
    /// The protocols whose pools price one of its markets.
    pub(crate) priced_by: BTreeSet<&'a ProtocolId>,
    pub(crate) tallies: &'a BTreeMap<ProtocolId, EventTally>,
    /// The newest state-setting event of each of its counted markets.
    pub(crate) state_seqs: Vec<Seq>,
}

/// The registry, the as-of block, a window for the protocol and for each that prices its markets, and
/// the newest state-setting events, as many as there is room for.
pub(crate) fn causes(sources: CauseSources<'_>) -> Result<Causes, TooManyCauses> {
    let CauseSources { registry_seq, applied_seq, protocol, priced_by, tallies, mut state_seqs } =
        sources;
    let others = priced_by.into_iter().filter(|other| *other != protocol);
    let windows = std::iter::once(protocol)
        .chain(others)
        .filter_map(|protocol| Some(tallies.get(protocol)?.window(protocol)));
    state_seqs.sort_unstable_by(|a, b| b.cmp(a));
    let causes = [Cause::Entry(registry_seq), Cause::Entry(applied_seq)]
        .into_iter()
        .chain(windows)
        .chain(state_seqs.into_iter().map(Cause::Entry))
        .take(MAX_CAUSES)
        .collect();
    Causes::new(causes)
}
