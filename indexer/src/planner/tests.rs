//! The planner, question by question. What it makes of whole histories is the simulator's part.

use obsqra_types::Felt;

use super::*;

const LIMITS: Limits =
    Limits { ahead: 100, batch_blocks: 3, batch_events: 1_000, branch_blocks: 16 };

fn hash(value: u64) -> BlockHash {
    BlockHash(Felt::from(value))
}

fn id(number: u64, value: u64) -> BlockId {
    BlockId { number: BlockNumber(number), hash: hash(value) }
}

fn offer(number: u64, value: u64, parent: u64) -> Offer {
    let link = BlockLink { id: id(number, value), parent: hash(parent) };
    Offer { link, events: 1 }
}

/// A log of the blocks 0 to 9, with hash 10 × height, final up to 3.
fn position() -> Position {
    Position { first: BlockNumber(0), tip: Some(id(9, 90)), finalized: Some(BlockNumber(3)) }
}

fn planner() -> Planner {
    Planner::new(position(), LIMITS)
}

fn compared(height: u64, node: u64, own: u64) -> Input {
    Input::Compared { height: BlockNumber(height), node: Some(hash(node)), own: Some(hash(own)) }
}

fn fetch(from: u64, to: u64) -> Effect {
    Effect::Fetch { from: BlockNumber(from), to: BlockNumber(to) }
}

fn compare(height: u64) -> Effect {
    Effect::Compare { height: BlockNumber(height), node: None }
}

#[test]
fn a_new_log_starts_at_its_first_block() {
    let new = Position { first: BlockNumber(7), tip: None, finalized: None };
    assert_eq!(Planner::new(new, LIMITS).take(Input::Head(id(9, 1))), [fetch(7, 9)]);
    let few = Limits { ahead: 2, ..LIMITS };
    assert_eq!(Planner::new(new, few).take(Input::Head(id(9, 1))), [fetch(7, 8)]);
    assert_eq!(Planner::new(new, LIMITS).take(Input::Head(id(6, 1))), [Effect::Rest]);
}

#[test]
fn a_head_that_goes_backwards_is_no_reorganisation() {
    let mut planner = planner();
    let compare = Effect::Compare { height: BlockNumber(5), node: Some(hash(50)) };
    assert_eq!(planner.take(Input::Head(id(5, 50))), [compare]);
    assert_eq!(planner.take(compared(5, 50, 50)), [Effect::Drop, Effect::Rest]);
    assert_eq!(planner.take(Input::Head(id(9, 90))), [Effect::Rest]);
}

#[test]
fn blocks_are_appended_in_batches_and_only_in_order() {
    let mut planner = planner();
    assert_eq!(planner.take(Input::Head(id(13, 130))), [fetch(10, 13)]);
    assert_eq!(planner.take(Input::Block(offer(10, 100, 90))), []);
    assert_eq!(planner.take(Input::Block(offer(11, 110, 100))), []);
    let full = planner.take(Input::Block(offer(12, 120, 110)));
    assert_eq!(full, [Effect::Append { blocks: 3 }]);
    let after = Position { tip: Some(id(12, 120)), ..position() };
    assert_eq!(planner.take(Input::Committed(after)), []);
    assert_eq!(planner.take(Input::Block(offer(13, 130, 120))), []);
    assert_eq!(planner.take(Input::EndOfBlocks), [Effect::Append { blocks: 1 }]);
    let after = Position { tip: Some(id(13, 130)), ..position() };
    assert_eq!(planner.take(Input::Committed(after)), [Effect::Look]);
}

#[test]
fn what_links_below_a_break_is_kept() {
    let mut planner = planner();
    planner.take(Input::Head(id(13, 130)));
    planner.take(Input::Block(offer(10, 100, 90)));
    let gap = offer(12, 120, 110);
    assert_eq!(planner.take(Input::Block(gap)), [Effect::Append { blocks: 1 }]);
    let after = Position { tip: Some(id(10, 100)), ..position() };
    let trouble = Trouble::Unlinked { block: gap.link, below: hash(100) };
    assert_eq!(planner.take(Input::Committed(after)), [Effect::Drop, Effect::Fail(trouble)]);
}

#[test]
fn a_node_that_contradicts_itself_is_not_followed() {
    let mut planner = planner();
    planner.take(Input::Head(id(12, 120)));
    let stranger = offer(10, 101, 91);
    assert_eq!(planner.take(Input::Block(stranger)), [Effect::Drop, compare(9)]);
    let trouble = Trouble::Unlinked { block: stranger.link, below: hash(90) };
    assert_eq!(planner.take(compared(9, 90, 90)), [Effect::Drop, Effect::Fail(trouble)]);
}

#[test]
fn the_fork_is_found_by_strides_and_halves() {
    let mut planner = planner();
    planner.take(Input::Head(id(12, 121)));
    planner.take(Input::Block(offer(10, 101, 91)));
    // The chains part above height 5.
    assert_eq!(planner.take(compared(9, 91, 90)), [compare(8)]);
    assert_eq!(planner.take(compared(8, 81, 80)), [compare(6)]);
    assert_eq!(planner.take(compared(6, 61, 60)), [compare(3)]);
    assert_eq!(planner.take(compared(3, 30, 30)), [compare(4)]);
    assert_eq!(planner.take(compared(4, 40, 40)), [compare(5)]);
    assert_eq!(planner.take(compared(5, 50, 50)), [Effect::Drop, fetch(6, 10)]);
    for (number, parent) in [(6, 50), (7, 61), (8, 71)] {
        assert_eq!(planner.take(Input::Block(offer(number, number * 10 + 1, parent))), []);
    }
    let replace = Effect::Replace { fork: id(5, 50), blocks: 3 };
    assert_eq!(planner.take(Input::EndOfBlocks), [replace]);
    let after = Position { tip: Some(id(8, 81)), ..position() };
    assert_eq!(planner.take(Input::Committed(after)), [Effect::Look]);
}

#[test]
fn a_search_takes_few_comparisons() {
    let tip = id(5_000, 5_000);
    let position = Position { first: BlockNumber(0), tip: Some(tip), finalized: None };
    for fork in [0, 1, 2_999, 3_000, 4_998, 4_999] {
        let mut planner = Planner::new(position, LIMITS);
        planner.take(Input::Head(id(5_001, 1)));
        let mut effects = planner.take(Input::Block(offer(5_001, 1, 2)));
        let mut comparisons = 0;
        while let Some(Effect::Compare { height, .. }) = effects.last().copied() {
            comparisons += 1;
            let other = if height.0 <= fork { height.0 } else { 9_999 };
            effects = planner.take(compared(height.0, other, height.0));
        }
        assert_eq!(effects.last().copied(), Some(fetch(fork + 1, 5_001.min(fork + 16))));
        assert!(comparisons <= 26, "{comparisons} comparisons for a fork at {fork}");
    }
}

#[test]
fn nothing_final_is_ever_reverted() {
    let mut planner = planner();
    let compare = Effect::Compare { height: BlockNumber(4), node: Some(hash(41)) };
    assert_eq!(planner.take(Input::Head(id(4, 41))), [compare]);
    let below = Effect::Compare { height: BlockNumber(3), node: None };
    assert_eq!(planner.take(compared(4, 41, 40)), [below]);
    let trouble = Trouble::BelowFinal { number: BlockNumber(3), finalized: BlockNumber(3) };
    assert_eq!(planner.take(compared(3, 31, 30)), [Effect::Drop, Effect::Fail(trouble)]);

    let open = Position { finalized: None, first: BlockNumber(8), ..position() };
    let mut planner = Planner::new(open, LIMITS);
    planner.take(Input::Head(id(8, 81)));
    let trouble = Trouble::NoCommonBlock { first: BlockNumber(8) };
    assert_eq!(planner.take(compared(8, 81, 80)), [Effect::Drop, Effect::Fail(trouble)]);
}

#[test]
fn a_branch_that_is_ours_again_is_left_alone() {
    let mut planner = planner();
    planner.take(Input::Head(id(9, 91)));
    assert_eq!(planner.take(compared(9, 91, 90)), [compare(8)]);
    assert_eq!(planner.take(compared(8, 80, 80)), [Effect::Drop, fetch(9, 9)]);
    planner.take(Input::Block(offer(9, 90, 80)));
    assert_eq!(planner.take(Input::EndOfBlocks), [Effect::Drop, Effect::Look]);
}

#[test]
fn a_chain_that_changes_under_the_search_is_looked_at_again() {
    let mut planner = planner();
    planner.take(Input::Head(id(9, 91)));
    planner.take(compared(9, 91, 90));
    planner.take(compared(8, 80, 80));
    let other = offer(9, 92, 82);
    let trouble = Trouble::Unlinked { block: other.link, below: hash(80) };
    assert_eq!(planner.take(Input::Block(other)), [Effect::Drop, Effect::Fail(trouble)]);
    let mut planner = self::planner();
    planner.take(Input::Head(id(9, 91)));
    planner.take(compared(9, 91, 90));
    let gone = Input::Compared { height: BlockNumber(8), node: None, own: Some(hash(80)) };
    assert_eq!(planner.take(gone), [Effect::Drop, Effect::Rest]);
}

fn streamed(offer: Offer, own: Option<u64>, own_below: Option<u64>) -> Input {
    Input::Streamed { offer, own: own.map(hash), own_below: own_below.map(hash) }
}

#[test]
fn a_stream_appends_when_it_pauses_and_skips_what_the_log_has() {
    let mut planner = planner();
    assert_eq!(planner.take(Input::Pause), []);
    assert_eq!(planner.take(streamed(offer(9, 90, 80), Some(90), Some(80))), [Effect::Drop]);
    assert_eq!(planner.take(streamed(offer(10, 100, 90), None, Some(90))), []);
    assert_eq!(planner.take(Input::Pause), [Effect::Append { blocks: 1 }]);
    let after = Position { tip: Some(id(10, 100)), ..position() };
    assert_eq!(planner.take(Input::Committed(after)), []);
    let gap = offer(12, 120, 110);
    let trouble = Trouble::Unlinked { block: gap.link, below: hash(100) };
    assert_eq!(planner.take(streamed(gap, None, None)), [Effect::Drop, Effect::Fail(trouble)]);
}

#[test]
fn a_stream_replaces_only_with_a_block_that_links() {
    let mut planner = planner();
    let to = Input::Invalidated { to: id(6, 60), own: Some(hash(60)) };
    assert_eq!(planner.take(to), [Effect::Drop], "an announcement alone reverts nothing");
    let replace = Effect::Replace { fork: id(6, 60), blocks: 1 };
    assert_eq!(planner.take(streamed(offer(7, 71, 60), Some(70), Some(60))), [replace]);
    let after = Position { tip: Some(id(7, 71)), ..position() };
    assert_eq!(planner.take(Input::Committed(after)), []);
    assert_eq!(planner.take(streamed(offer(8, 81, 71), None, Some(71))), []);

    let mut planner = self::planner();
    let stranger = offer(7, 71, 61);
    let trouble = Trouble::Unlinked { block: stranger.link, below: hash(60) };
    let effects = planner.take(streamed(stranger, Some(70), Some(60)));
    assert_eq!(effects, [Effect::Drop, Effect::Fail(trouble)]);
    let trouble = Trouble::BelowFinal { number: BlockNumber(3), finalized: BlockNumber(3) };
    let effects = planner.take(streamed(offer(3, 31, 20), Some(30), Some(20)));
    assert_eq!(effects, [Effect::Drop, Effect::Fail(trouble)]);
    let effects = planner.take(Input::Invalidated { to: id(2, 20), own: Some(hash(20)) });
    assert_eq!(effects, [Effect::Drop, Effect::Fail(trouble)]);
}

#[test]
fn a_stream_that_breaks_keeps_what_it_held() {
    let mut planner = planner();
    planner.take(streamed(offer(10, 100, 90), None, Some(90)));
    let competing = streamed(offer(10, 101, 90), None, Some(90));
    let effects = planner.take(competing);
    assert_eq!(effects, [Effect::Append { blocks: 1 }, Effect::OfferAgain]);
    let after = Position { tip: Some(id(10, 100)), ..position() };
    planner.take(Input::Committed(after));
    let replace = Effect::Replace { fork: id(9, 90), blocks: 1 };
    assert_eq!(planner.take(streamed(offer(10, 101, 90), Some(100), Some(90))), [replace]);
}

#[test]
fn a_final_block_counts_when_the_log_has_it() {
    let accepted = |number, own: Option<u64>| Input::Accepted {
        block: id(number, number * 10),
        own: own.map(hash),
    };
    let mut planner = planner();
    assert_eq!(planner.take(accepted(5, Some(50))), [Effect::Finalize(id(5, 50))]);
    assert_eq!(planner.take(accepted(5, Some(51))), []);
    assert_eq!(planner.take(accepted(3, Some(30))), []);
    assert_eq!(planner.take(accepted(10, None)), []);
}
