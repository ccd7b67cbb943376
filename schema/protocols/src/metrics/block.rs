//! What a fold takes and gives for each block, and where the log that it folded begins and ends.

use std::collections::{BTreeMap, BTreeSet};

use obsqra_events::{EventData, TooManyCauses};
use obsqra_types::{BlockHash, BlockNumber, BlockRef, Hash32, ProtocolId, Seq, UnixSeconds};

use super::anomalies::Anomaly;
use super::conservation::Violation;
use super::inputs::InputsAt;
use super::quotes::TokenPrice;
use super::row::MarketMetrics;

/// One canonical block and its watched events.
#[derive(Clone, Copy, Debug)]
pub struct BlockInput<'a> {
    /// The block.
    pub block: BlockRef,
    /// Its hash.
    pub hash: BlockHash,
    /// Position of the entry that applied it.
    pub applied_seq: Seq,
    /// Its watched events, in order: position, content hash, event.
    pub events: &'a [(Seq, Hash32, EventData)],
}

/// What a block changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockOutput {
    /// Markets whose row differs from the one after the block before, or is their first; by protocol and
    /// market id.
    pub changed_markets: Vec<MarketMetrics>,
    /// The inputs of every protocol that makes markets as of the block.
    pub inputs: BTreeMap<ProtocolId, InputsAt>,
    /// The protocols for which a score is due. After the first block those are all.
    pub inputs_changed: BTreeSet<ProtocolId>,
    /// The protocols whose yield differs. After the first block those are all.
    pub yields_changed: BTreeSet<ProtocolId>,
    /// Prices that differ, or come from another market: those of pools by token, then those of oracles
    /// by protocol and token.
    pub changed_prices: Vec<TokenPrice>,
    /// Conservation rules that markets break from this block on, by protocol, market and rule.
    pub violations: Vec<Violation>,
    /// What calls for attention, by protocol, market and rule; what is about no market comes first.
    pub anomalies: Vec<Anomaly>,
}

/// The newest block of a fold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoldTip {
    /// The block.
    pub block: BlockRef,
    /// Its hash.
    pub hash: BlockHash,
    /// Position of the entry that applied it.
    pub applied_seq: Seq,
    /// Position of the last entry folded.
    pub last_seq: Seq,
}

/// A block does not follow the ones folded before. The state is as it was.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FoldError {
    /// A height was left out or stands twice.
    #[error("block {found} does not follow block {tip}")]
    NotConsecutive {
        /// Newest block folded.
        tip: BlockNumber,
        /// Block handed over.
        found: BlockNumber,
    },
    /// Positions do not rise from block to block and above their block, or events are out of order.
    #[error("block {block}: entry {found} does not stand after entry {last}")]
    SeqNotRising {
        /// Block handed over.
        block: BlockNumber,
        /// Position before.
        last: Seq,
        /// Position handed over.
        found: Seq,
    },
    /// Too many references; the fold cuts them to what is allowed.
    #[error("block {block}: causes of {protocol}")]
    Causes {
        /// Block handed over.
        block: BlockNumber,
        /// Whose inputs.
        protocol: ProtocolId,
        /// What is wrong.
        #[source]
        source: TooManyCauses,
    },
}

/// Where the log begins and ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Span {
    pub(crate) first_block: BlockNumber,
    pub(crate) first_time: UnixSeconds,
    pub(crate) tip: FoldTip,
    /// The greatest timestamp so far. Timestamps do not fall along a chain; should one, the clock stands
    /// still until the next greater one.
    pub(crate) now: UnixSeconds,
}

impl Span {
    /// With the next block.
    pub(crate) fn after(before: Option<Self>, input: &BlockInput<'_>) -> Result<Self, FoldError> {
        let block = input.block.number;
        if let Some(span) = before.filter(|span| block.previous() != Some(span.tip.block.number)) {
            return Err(FoldError::NotConsecutive { tip: span.tip.block.number, found: block });
        }
        let last_applied = before.map_or(Seq::BEFORE_FIRST, |span| span.tip.applied_seq);
        let last_seq = positions_rise(last_applied, input)?;
        let timestamp = input.block.timestamp;
        let BlockInput { block, hash, applied_seq, .. } = *input;
        Ok(Self {
            first_block: before.map_or(block.number, |span| span.first_block),
            first_time: before.map_or(timestamp, |span| span.first_time),
            tip: FoldTip { block, hash, applied_seq, last_seq },
            now: before.map_or(timestamp, |span| span.now.max(timestamp)),
        })
    }
}

/// Blocks stand in the log in their order, and a block's events above it; events that it gained later
/// stand anywhere above. Within a block their own order counts. The highest position comes back.
fn positions_rise(last_applied: Seq, input: &BlockInput<'_>) -> Result<Seq, FoldError> {
    let (block, applied) = (input.block.number, input.applied_seq);
    let rising = |last: Seq, found: Seq| match found > last {
        true => Ok(()),
        false => Err(FoldError::SeqNotRising { block, last, found }),
    };
    rising(last_applied, applied)?;
    let mut highest = applied;
    let mut before = None;
    for (seq, _, event) in input.events {
        rising(applied, *seq)?;
        if before.is_some_and(|(index, _)| event.index <= index) {
            let last = before.map_or(applied, |(_, seq)| seq);
            return Err(FoldError::SeqNotRising { block, last, found: *seq });
        }
        before = Some((event.index, *seq));
        highest = highest.max(*seq);
    }
    Ok(highest)
}
