//! Cases of the selection, and what holds for all of them.

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A selection of checked nodes, and the instant it begins at.
fn checked(nodes: usize) -> (Selection, Instant) {
    let (mut selection, now) = (Selection::new(nodes, Rules::default()), Instant::now());
    for node in 0..nodes {
        selection.note(NodeIndex(node), Outcome::Checked, now);
    }
    (selection, now)
}

fn strike(selection: &mut Selection, node: usize, times: usize, now: Instant) {
    for _ in 0..times {
        selection.note(NodeIndex(node), Outcome::Failed, now);
    }
}

fn leader(selection: &mut Selection, now: Instant) -> usize {
    selection.lead(now).node.0
}

fn heads(numbers: &[u64]) -> Vec<Option<BlockNumber>> {
    numbers.iter().map(|number| Some(BlockNumber(*number))).collect()
}

#[test]
fn a_few_strikes_cost_the_lead_and_it_does_not_come_back_by_itself() {
    let (mut selection, now) = checked(3);
    strike(&mut selection, 0, 2, now);
    assert_eq!(leader(&mut selection, now), 0);
    strike(&mut selection, 0, 1, now);
    assert_eq!(leader(&mut selection, now), 1);
    assert_eq!(selection.generation, Generation(1));
    assert_eq!(leader(&mut selection, now + 600 * SECOND), 1);
    assert_eq!(selection.standing(NodeIndex(0), now + 600 * SECOND), Standing::Unchecked);
}

#[test]
fn strikes_far_apart_do_not_add_up() {
    let (mut selection, now) = checked(2);
    for minute in 0..10 {
        strike(&mut selection, 0, 2, now + minute * 61 * SECOND);
    }
    assert_eq!(leader(&mut selection, now + 600 * SECOND), 0);
}

#[test]
fn time_in_the_cold_doubles_up_to_its_longest_and_is_forgotten() {
    let (mut selection, mut now) = checked(2);
    let mut times = Vec::new();
    for _ in 0..9 {
        strike(&mut selection, 0, 3, now);
        let Standing::Cooling(left) = selection.standing(NodeIndex(0), now) else {
            panic!("it is in the cold");
        };
        times.push(left.as_secs());
        now += left;
        selection.note(NodeIndex(0), Outcome::Checked, now);
    }
    assert_eq!(times, [5, 10, 20, 40, 80, 160, 300, 300, 300]);
    now += 301 * SECOND;
    strike(&mut selection, 0, 3, now);
    assert_eq!(selection.standing(NodeIndex(0), now), Standing::Cooling(5 * SECOND));
}

#[test]
fn a_node_that_asks_for_rest_gets_it_and_others_lead_meanwhile() {
    let (mut selection, now) = checked(2);
    selection.note(NodeIndex(0), Outcome::AsksForRest(20 * SECOND), now);
    assert_eq!(leader(&mut selection, now), 1);
    selection.note(NodeIndex(1), Outcome::AsksForRest(10 * SECOND), now);
    let lead = selection.lead(now + SECOND);
    assert_eq!((lead.node.0, lead.rest), (1, Some(9 * SECOND)));
    let lead = selection.lead(now + 10 * SECOND);
    assert_eq!((lead.node.0, lead.rest, lead.standing), (1, None, Standing::Fit));
}

#[test]
fn a_refused_node_leads_only_when_there_is_no_other() {
    let (mut selection, now) = checked(2);
    selection.note(NodeIndex(0), Outcome::Refused, now);
    strike(&mut selection, 1, 3, now);
    assert_eq!(leader(&mut selection, now), 1);
    let mut alone = Selection::new(1, Rules::default());
    alone.note(NodeIndex(0), Outcome::Refused, now);
    assert_eq!(leader(&mut alone, now), 0);
}

#[test]
fn a_leader_that_lags_at_two_probes_is_left_for_one_that_does_not() {
    let (mut selection, now) = checked(3);
    selection.probed(&heads(&[100, 97, 105]), now);
    assert_eq!(leader(&mut selection, now), 0);
    selection.probed(&heads(&[101, 98, 106]), now);
    assert_eq!(leader(&mut selection, now), 2);
    // A lag that passes, and one below the limit, cost nothing.
    let (mut selection, now) = checked(2);
    for pair in [[100, 105], [105, 105], [105, 110], [106, 110], [107, 111]] {
        selection.probed(&heads(&pair), now);
    }
    assert_eq!(leader(&mut selection, now), 0);
}

#[test]
fn a_head_that_is_not_known_changes_nothing() {
    let (mut selection, now) = checked(2);
    for _ in 0..5 {
        selection.probed(&[None, Some(BlockNumber(9))], now);
        selection.probed(&[Some(BlockNumber(9)), None], now);
        selection.probed(&[None, None], now);
    }
    assert_eq!(leader(&mut selection, now), 0);
}

#[derive(Clone, Debug)]
enum Step {
    Note(usize, Outcome),
    Probe(Vec<Option<BlockNumber>>),
    Pass(Duration),
}

fn steps(nodes: usize) -> impl Strategy<Value = Vec<Step>> {
    let outcome = prop_oneof![
        1 => Just(Outcome::Checked),
        1 => Just(Outcome::CheckFailed),
        1 => Just(Outcome::Refused),
        5 => Just(Outcome::Failed),
        1 => (0u64..1_000).prop_map(|seconds| Outcome::AsksForRest(Duration::from_secs(seconds))),
    ];
    let head = proptest::option::of((0u64..50).prop_map(BlockNumber));
    let step = prop_oneof![
        6 => (0..nodes, outcome).prop_map(|(node, outcome)| Step::Note(node, outcome)),
        2 => proptest::collection::vec(head, nodes).prop_map(Step::Probe),
        2 => (0u64..100_000).prop_map(|millis| Step::Pass(Duration::from_millis(millis))),
    ];
    proptest::collection::vec(step, 0..200)
}

fn can_lead(standing: Standing) -> bool {
    matches!(standing, Standing::Fit | Standing::Lagging | Standing::Unchecked)
}

proptest! {
    #[test]
    fn some_node_leads_and_none_from_the_cold_while_another_can(
        (nodes, steps) in (1usize..5).prop_flat_map(|nodes| (Just(nodes), steps(nodes))),
    ) {
        let mut selection = Selection::new(nodes, Rules::default());
        let mut now = Instant::now();
        let mut before = selection.lead(now);
        for step in steps {
            match step {
                Step::Note(node, outcome) => selection.note(NodeIndex(node), outcome, now),
                Step::Probe(heads) => selection.probed(&heads, now),
                Step::Pass(time) => now += time,
            }
            let lead = selection.lead(now);
            prop_assert!(lead.node.0 < nodes);
            prop_assert_eq!(lead, selection.lead(now), "asking changes nothing");
            let others = (0..nodes).map(|node| selection.standing(NodeIndex(node), now));
            let any_fit = others.into_iter().any(can_lead);
            prop_assert!(can_lead(lead.standing) || !any_fit, "{:?} leads", lead);
            prop_assert_eq!(lead.node != before.node, lead.generation != before.generation);
            prop_assert!(lead.generation >= before.generation);
            before = lead;
        }
    }
}
