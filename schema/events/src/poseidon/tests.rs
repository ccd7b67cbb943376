//! Every public function against `starknet-crypto`, and each set of lanes by itself.

use proptest::prelude::*;
use starknet_crypto::{poseidon_hash, poseidon_hash_many, poseidon_permute_comp};
use starknet_types_core::hash::{Poseidon, StarkHash};

use super::field::{Element, MODULUS};
use super::lanes::Lanes;
use super::*;

fn felt(hex: &str) -> Felt {
    Felt::from_hex(hex).expect("a felt")
}

/// A repeatable element that fills all limbs.
fn numbered(number: usize) -> Felt {
    let base = felt("0x5d44a3decb2b2e0cc71071f7b802f45dd792d064f0fc7316c46514f70f9891a");
    base * Felt::from(number) + Felt::from(number * number)
}

fn numbered_list(first: usize, len: usize) -> Vec<Felt> {
    (first..first + len).map(numbered).collect()
}

/// 0, 1, 2, p-1, p-2, and the elements whose Montgomery form has such limbs.
fn edges() -> Vec<Felt> {
    let mut edges: Vec<Felt> = [0_u32, 1, 2].map(Felt::from).to_vec();
    edges.extend([Felt::MAX, Felt::MAX - Felt::ONE]);
    let [_, _, _, top] = MODULUS;
    for raw in [
        [0, 0, 0, 1],
        [0, 0, 0, u64::MAX],
        [0, 0, u64::MAX, 0],
        [0, u64::MAX, u64::MAX, u64::MAX],
        [1 << 59, 0, 0, 0],
        [top - 1, u64::MAX, u64::MAX, u64::MAX],
        [top, 0, 0, 0],
    ] {
        edges.push(Felt::from_raw(raw));
    }
    edges
}

fn permuted(mut state: [Felt; 3]) -> [Felt; 3] {
    poseidon_permute_comp(&mut state);
    state
}

/// The lanes against `starknet-crypto`: edge states, pairs, and lists of mixed lengths.
fn check_lanes<L: Lanes>(mut lanes: L) {
    let edges = edges();
    let mut states = Vec::new();
    for a in &edges {
        for b in &edges {
            states.extend(edges.iter().map(|c| [*a, *b, *c]));
        }
    }
    let expected: Vec<_> = states.iter().copied().map(permuted).collect();
    super::lanes::permute(&mut lanes, &mut states, 0);
    assert_eq!(states, expected);
    for count in 0..3 * L::COUNT {
        check_lists(&mut lanes, count, |index| index * 7 % 12);
    }
    check_lists(&mut lanes, 41, |index| index);
    check_lists(&mut lanes, 41, |index| 40 - index);
    check_lists(&mut lanes, 41, |index| if index % 9 == 0 { 40 } else { 1 });
    for edge in edges {
        check_each_list(&mut lanes, &(0..20).map(|len| vec![edge; len]).collect::<Vec<_>>());
    }
}

fn check_lists<L: Lanes>(lanes: &mut L, count: usize, len: impl Fn(usize) -> usize) {
    let lists: Vec<_> = (0..count).map(|index| numbered_list(index, len(index))).collect();
    check_each_list(lanes, &lists);
}

/// Suspends the last lists half-way, as a change to narrower lanes does.
fn check_each_list<L: Lanes>(lanes: &mut L, lists: &[Vec<Felt>]) {
    let mut batch = ListBatch::new(lists.iter().map(Vec::as_slice));
    batch.run(lanes, L::COUNT / 2);
    batch.run(lanes, 0);
    let expected: Vec<_> = lists.iter().map(poseidon_hash_many).collect();
    assert_eq!(batch.into_hashes(), expected, "{} lists", lists.len());
}

#[test]
fn scalar_lane_equals_the_reference() {
    check_lanes(ScalarLane::new());
}

#[test]
#[cfg(target_arch = "x86_64")]
fn ifma_lanes_equal_the_reference() {
    match ifma::IfmaLanes::detect() {
        Some(lanes) => check_lanes(lanes),
        None => println!("skipped: this processor has no AVX-512 IFMA"),
    }
}

#[test]
fn known_vectors() {
    let (one, two) = (Felt::ONE, Felt::TWO);
    let pair = felt("0x5d44a3decb2b2e0cc71071f7b802f45dd792d064f0fc7316c46514f70f9891a");
    let list = felt("0x371cb6995ea5e7effcd2e174de264b5b407027a75a231a70c2c8d196107f0e7");
    let empty = felt("0x2272be0f580fd156823304800919530eaa97430e972d7213ee13f4fbf7a5dbc");
    assert_eq!(hash_pair(one, two), pair);
    assert_eq!(hash_pairs(&[[one, two]; 9]), [pair; 9]);
    assert_eq!(hash_many(&[one, two]), list);
    assert_eq!(hash_many(&[]), empty);
    assert_eq!(hash_lists([[].as_slice(), &[one, two]]), [empty, list]);
}

#[test]
fn edge_pairs_and_lists_equal_the_reference() {
    let edges = edges();
    for a in &edges {
        for b in &edges {
            assert_eq!(hash_pair(*a, *b), poseidon_hash(*a, *b));
            assert_eq!(hash_many(&[*a, *b]), Poseidon::hash_array(&[*a, *b]));
        }
    }
    assert_eq!(hash_many(&edges), Poseidon::hash_array(&edges));
}

#[test]
fn lists_of_each_length_equal_the_reference() {
    for len in 0..=40 {
        let list = numbered_list(len, len);
        assert_eq!(hash_many(&list), poseidon_hash_many(&list), "length {len}");
        assert_eq!(permutations_of_list(len), (len + 2) / 2);
    }
}

#[test]
fn counts_around_the_lane_widths_equal_the_reference() {
    for count in 0..=50 {
        let pairs: Vec<_> = (0..count).map(|n| [numbered(n), numbered(n + 100)]).collect();
        let expected: Vec<_> = pairs.iter().map(|[a, b]| poseidon_hash(*a, *b)).collect();
        assert_eq!(hash_pairs(&pairs), expected, "{count} pairs");
        let mut states: Vec<_> = pairs.iter().map(|[a, b]| [*a, *b, *a]).collect();
        let expected: Vec<_> = states.iter().copied().map(permuted).collect();
        permute(&mut states);
        assert_eq!(states, expected, "{count} states");
    }
}

#[test]
fn the_round_constants_are_compressed_to_one_a_partial_round() {
    let constants = &*constants::ROUND_CONSTANTS;
    let first = felt("0x6861759ea556a2339dd92f9562a30b9e58e2ad98109ae4780b7fd8eac77fe6f");
    assert_eq!(constants.first[0][0], first);
    assert_eq!(constants.first.len() + constants.partial.len() + constants.last.len(), 91);
}

fn any_felt() -> impl Strategy<Value = Felt> {
    prop_oneof![
        8 => any::<[u8; 32]>().prop_map(|bytes| Felt::from_bytes_be(&bytes)),
        1 => prop::sample::select(edges()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn unreduced_elements_stand_for_the_same_felts(
        a in any_felt(), b in any_felt(), raise_a in 0_u64..9, raise_b in 0_u64..9,
    ) {
        let (x, y) = (Element::from_felt(&a), Element::from_felt(&b));
        let (x, y) = (x.plus_modulus(raise_a), y.plus_modulus(raise_b));
        prop_assert_eq!(x.to_felt(), a);
        prop_assert_eq!(x.add(y).to_felt(), a + b);
        prop_assert_eq!(x.plus_modulus(9).sub(y).to_felt(), a - b);
        prop_assert_eq!(x.double().to_felt(), a.double());
        prop_assert_eq!(x.mul(y).to_felt(), a * b);
        prop_assert_eq!(x.square().to_felt(), a * a);
        prop_assert_eq!(x.cube().to_felt(), a * a * a);
        prop_assert_eq!(x.plus_modulus(1).fold().to_felt(), a);
        #[cfg(target_arch = "x86_64")]
        prop_assert_eq!(x.sixteenth().to_felt() * Felt::from(16), a);
    }

    #[test]
    fn pairs_equal_the_reference(
        pairs in prop::collection::vec([any_felt(), any_felt()], 0..40),
    ) {
        let expected: Vec<_> = pairs.iter().map(|[a, b]| Poseidon::hash(a, b)).collect();
        prop_assert_eq!(hash_pairs(&pairs), expected);
        for [a, b] in pairs {
            prop_assert_eq!(hash_pair(a, b), poseidon_hash(a, b));
        }
    }

    #[test]
    fn lists_equal_the_reference(
        lists in prop::collection::vec(prop::collection::vec(any_felt(), 0..20), 0..40),
    ) {
        let expected: Vec<_> = lists.iter().map(|list| Poseidon::hash_array(list)).collect();
        prop_assert_eq!(hash_lists(lists.iter().map(Vec::as_slice)), expected);
        for list in &lists {
            prop_assert_eq!(hash_many(list), poseidon_hash_many(list));
        }
    }

    #[test]
    fn permutations_equal_the_reference(
        states in prop::collection::vec([any_felt(), any_felt(), any_felt()], 0..40),
    ) {
        let expected: Vec<_> = states.iter().copied().map(permuted).collect();
        let mut permuted = states;
        permute(&mut permuted);
        prop_assert_eq!(permuted, expected);
    }
}
