//! What holds of every allocation, on made-up policies and candidates.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use obsqra_policy::{
    Allocation, Candidate, Candidates, Constraint, DropReason, Dropped, Infeasibility, Limits,
    Measured, Policy, Share, allocate,
};
use obsqra_types::{Bps, ProtocolId};
use proptest::prelude::*;
use support::{Made, id, name};

const WHOLE: u32 = 10_000;

fn measured<T: Clone + std::fmt::Debug + 'static>(
    known: impl Strategy<Value = T> + 'static,
) -> impl Strategy<Value = Measured<T>> {
    let absent = Measured::Absent { reason: "no_state".into(), detail: None };
    prop_oneof![40 => known.prop_map(Measured::Known), 1 => Just(absent)]
}

/// Figures that repeat and reach their ends often.
fn any_candidate() -> impl Strategy<Value = Candidate> {
    let apy = prop_oneof![1 => Just(0u32), 5 => 1u32..50, 20 => 500u32..5_000, 1 => Just(u32::MAX)];
    let inputs = (
        measured(5u8..=95),
        measured(apy.prop_map(Bps)),
        measured((0u32..=10_000).prop_map(Bps)),
        measured(0u8..=3),
    );
    inputs.prop_map(|(score, apy, volatility, liquidity_class)| Candidate {
        protocol: id("none"),
        score,
        apy,
        volatility,
        liquidity_class,
    })
}

fn any_candidates(most: usize) -> impl Strategy<Value = Vec<Candidate>> {
    prop::collection::vec(any_candidate(), 0..=most).prop_map(|candidates| {
        let named = candidates.into_iter().enumerate();
        named.map(|(index, one)| Candidate { protocol: id(&name(index)), ..one }).collect()
    })
}

/// Caps down to 1 bps, so that few and small ones bind together.
fn any_made(protocols: usize) -> impl Strategy<Value = Made> {
    let cap = || prop_oneof![2 => 1u32..=WHOLE, 1 => 1u32..1_500, 4 => 2_000u32..5_000];
    let filters = prop_oneof![
        6 => Just((95u8, WHOLE, 0u8)),
        1 => (5u8..=95, 0u32..=WHOLE, 0u8..=3),
    ];
    let caps = prop::collection::btree_map(0..protocols, cap(), 0..=protocols);
    let single = prop_oneof![Just(WHOLE), cap()];
    (protocols / 2..=protocols, filters, single, caps, 1u8..=3).prop_map(
        |(allowed, (max_score, max_volatility, min_liquidity), max_single, caps, least)| Made {
            max_score,
            max_volatility,
            min_liquidity,
            max_single,
            caps: caps.into_iter().map(|(index, bps)| (name(index), bps)).collect(),
            min_diversification: least,
            ..Made::open(allowed)
        },
    )
}

/// A policy that its file's checks let through: what they refuse is made to fit where it can be.
fn any_policy(protocols: usize) -> impl Strategy<Value = Made> {
    let fit = |mut made: Made| {
        let allowed = made.allow.clone();
        let max_single = made.max_single;
        made.caps.retain(|(id, bps)| allowed.contains(id) && *bps < max_single);
        made.try_policy().map(|_| made)
    };
    any_made(protocols).prop_filter_map("the policy can never be met", fit)
}

fn all(candidates: &[Candidate]) -> Candidates {
    Candidates::new(candidates.iter().cloned()).unwrap()
}

/// The weights of those that pass, worked out on their own.
fn weights(limits: &Limits, candidates: &[Candidate]) -> BTreeMap<ProtocolId, u128> {
    let weight = |one: &Candidate| {
        let (score, apy) = (*one.score.known()?, one.apy.known()?.0);
        let is_in = limits.allow.contains(&one.protocol)
            && score <= limits.max_score
            && *one.volatility.known()? <= limits.max_volatility
            && *one.liquidity_class.known()? >= limits.min_liquidity_class
            && apy > 0;
        let weight = u128::from(apy) * 10_000 / (u128::from(score) + 1);
        is_in.then_some((one.protocol.clone(), weight))
    };
    candidates.iter().filter_map(weight).collect()
}

/// Shares where just these are fixed at their caps; `None` when they take the whole or more, when none is
/// left, or when another one then exceeds its cap.
fn with_fixed(
    limits: &Limits,
    weights: &BTreeMap<ProtocolId, u128>,
    fixed: &BTreeSet<&ProtocolId>,
) -> Option<BTreeMap<ProtocolId, u32>> {
    let taken: u32 = fixed.iter().map(|protocol| limits.cap_bps(protocol).0).sum();
    let rest = WHOLE.checked_sub(taken)?;
    let free: Vec<_> = weights.iter().filter(|(protocol, _)| !fixed.contains(protocol)).collect();
    let sum: u128 = free.iter().map(|(_, weight)| **weight).sum();
    let (last, _) = *free.last()?;
    let floor = |weight: u128| u32::try_from(u128::from(rest) * weight / sum).unwrap();
    let mut shares: BTreeMap<_, _> =
        free.iter().map(|(protocol, weight)| ((*protocol).clone(), floor(**weight))).collect();
    let given: u32 = shares.values().sum();
    *shares.get_mut(last).unwrap() += rest - given;
    let fits = shares.iter().all(|(protocol, share)| *share <= limits.cap_bps(protocol).0);
    shares.extend(fixed.iter().map(|id| ((*id).clone(), limits.cap_bps(id).0)));
    fits.then_some(shares)
}

/// Every allocation that some choice of fixed protocols gives.
fn conceivable(policy: &Policy, candidates: &[Candidate]) -> Vec<BTreeMap<ProtocolId, u32>> {
    let weights = weights(policy.limits(), candidates);
    let ids: Vec<_> = weights.keys().collect();
    let chosen = |mask: u32| -> BTreeSet<&ProtocolId> {
        let ids = ids.iter().enumerate();
        ids.filter(|(bit, _)| mask & (1 << bit) != 0).map(|(_, id)| *id).collect()
    };
    let masks = 0..1u32 << ids.len();
    masks.filter_map(|mask| with_fixed(policy.limits(), &weights, &chosen(mask))).collect()
}

fn counted(shares: &BTreeMap<ProtocolId, u32>) -> usize {
    shares.values().filter(|share| **share >= 1_000).count()
}

fn by_id(shares: &[Share]) -> BTreeMap<ProtocolId, u32> {
    shares.iter().map(|one| (one.protocol.clone(), one.share.0)).collect()
}

fn dropped(allocation: &Allocation) -> &[Dropped] {
    match allocation {
        Allocation::Proposed { dropped, .. } | Allocation::Infeasible { dropped, .. } => dropped,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn shares_are_the_whole_and_keep_every_constraint(
        made in any_policy(6), candidates in any_candidates(7),
    ) {
        let policy = made.policy();
        let limits = policy.limits();
        let allocation = allocate(&policy, &all(&candidates));
        let out: BTreeSet<_> = dropped(&allocation).iter().map(|one| &one.protocol).collect();
        prop_assert!(dropped(&allocation).iter().all(|one| !one.reasons.is_empty()));
        if let Allocation::Proposed { shares, binding, .. } = &allocation {
            prop_assert_eq!(shares.iter().map(|one| one.share.0).sum::<u32>(), WHOLE);
            prop_assert_eq!(shares.len() + out.len(), candidates.len());
            let expected = weights(limits, &candidates);
            prop_assert!(expected.keys().eq(shares.iter().map(|one| &one.protocol)));
            for one in shares {
                prop_assert!(one.share <= limits.cap_bps(&one.protocol));
                prop_assert!(!out.contains(&one.protocol));
            }
            prop_assert!(counted(&by_id(shares)) >= usize::from(made.min_diversification));
            let caps = binding.iter().filter(|one| {
                matches!(one.constraint, Constraint::MaxSingle(_) | Constraint::ProtocolCap(_))
            });
            for protocol in caps.flat_map(|one| &one.protocols) {
                prop_assert_eq!(by_id(shares)[protocol], limits.cap_bps(protocol).0);
            }
        }
    }

    #[test]
    fn the_order_of_candidates_does_not_matter(
        made in any_policy(6),
        (candidates, shuffled) in any_candidates(7)
            .prop_flat_map(|given| (Just(given.clone()), Just(given).prop_shuffle())),
    ) {
        let policy = made.policy();
        prop_assert_eq!(
            allocate(&policy, &all(&candidates)), allocate(&policy, &all(&shuffled))
        );
    }

    /// All choices of whom to fix are tried: there is an allocation just when one of them gives it.
    #[test]
    fn it_is_infeasible_only_where_no_choice_of_fixed_protocols_fits(
        made in any_policy(5), candidates in any_candidates(5),
    ) {
        let policy = made.policy();
        let least = usize::from(made.min_diversification);
        let some = conceivable(&policy, &candidates);
        match allocate(&policy, &all(&candidates)) {
            Allocation::Proposed { shares, .. } => prop_assert!(some.contains(&by_id(&shares))),
            Allocation::Infeasible { failure: Infeasibility::NoProtocolLeft, .. } => {
                prop_assert!(weights(policy.limits(), &candidates).is_empty());
            }
            Allocation::Infeasible { failure: Infeasibility::CapsBelowWhole { caps }, .. } => {
                let weights = weights(policy.limits(), &candidates);
                let sum: u32 = weights.keys().map(|id| policy.limits().cap_bps(id).0).sum();
                prop_assert_eq!((caps.0, some.len()), (sum, 0));
            }
            Allocation::Infeasible { failure: Infeasibility::TooFewProtocols { found, .. }, .. } => {
                let found = usize::from(found);
                prop_assert!(found < least && some.iter().any(|shares| counted(shares) == found));
            }
        }
    }

    /// Only where one protocol is enough: a raised cap may leave too few (`known_answers.rs` has a case).
    #[test]
    fn raised_caps_do_not_fall_short(
        made in any_policy(5), candidates in any_candidates(5),
        single in 0u32..5_000, own in 0u32..5_000,
    ) {
        let made = Made { min_diversification: 1, ..made };
        let max_single = (made.max_single + single).min(WHOLE);
        let mut raised = Made { max_single, ..made.clone() };
        for (_, cap) in &mut raised.caps {
            *cap = (*cap + own).min(max_single - 1);
        }
        let before = allocate(&made.policy(), &all(&candidates));
        let after = allocate(&raised.policy(), &all(&candidates));
        if matches!(before, Allocation::Proposed { .. }) {
            prop_assert!(matches!(after, Allocation::Proposed { .. }), "{after:?}");
        }
    }

    #[test]
    fn a_protocol_is_dropped_for_each_reason_there_is_and_no_other(
        made in any_policy(5), candidates in any_candidates(6),
    ) {
        let policy = made.policy();
        let limits = policy.limits();
        let allocation = allocate(&policy, &all(&candidates));
        for one in &candidates {
            let dropped = dropped(&allocation).iter().find(|drop| drop.protocol == one.protocol);
            let reasons = dropped.map_or(&[][..], |drop| &drop.reasons);
            let has = |reason: DropReason| reasons.contains(&reason);
            let is_over = one.score.known().is_some_and(|score| *score > limits.max_score);
            let score = DropReason::Constraint(Constraint::MaxScore(limits.max_score));
            prop_assert_eq!(has(score), is_over);
            let is_listed = limits.allow.contains(&one.protocol);
            prop_assert_eq!(has(DropReason::Constraint(Constraint::AllowList)), !is_listed);
            prop_assert_eq!(has(DropReason::NoYield), one.apy.known() == Some(&Bps(0)));
            let absent = reasons.iter().filter(|one| matches!(one, DropReason::InputAbsent(_)));
            let missing = usize::from(one.score.known().is_none())
                + usize::from(one.apy.known().is_none())
                + usize::from(one.volatility.known().is_none())
                + usize::from(one.liquidity_class.known().is_none());
            prop_assert_eq!(absent.count(), missing);
        }
    }
}
