//! The Starknet Poseidon hash, for one input or for many at once.
//!
//! Gives exactly the results of `starknet_crypto::poseidon_hash` and `poseidon_hash_many`. A single hash
//! is a chain of dependent multiplications; independent hashes are what can be computed side by side, so
//! a caller with many of them hands them over together ([`hash_pairs`], [`hash_lists`]). Everything here
//! runs on the calling thread.
//!
//! Hades has width 3, S-box x³ and 4 + 83 + 4 rounds. `constants` derives its round constants,
//! `scalar` computes one permutation in 64-bit words on any machine, and `ifma` computes sixteen with
//! AVX-512 IFMA where the processor has it, found at run time. The functions assume canonical [`Felt`]s
//! and are not constant-time: they are for public data.

mod constants;
mod field;
#[cfg(target_arch = "x86_64")]
mod ifma;
mod lanes;
mod scalar;

use starknet_types_core::felt::Felt;

#[cfg(target_arch = "x86_64")]
use self::ifma::IfmaLanes as WideLanes;
use self::lanes::ListBatch;
use self::scalar::ScalarLane;
#[cfg(not(target_arch = "x86_64"))]
use self::scalar::ScalarLane as WideLanes;

/// The wide lanes take about as long as this many permutations one by one, however few lanes are in use.
const WIDE_FLOOR: usize = 3;

/// The hash of two elements.
pub fn hash_pair(left: Felt, right: Felt) -> Felt {
    let mut hash = [Felt::ZERO];
    lanes::hash_pairs(&mut ScalarLane::new(), &[[left, right]], &mut hash, 0);
    hash[0]
}

/// The hash of a list.
pub fn hash_many(list: &[Felt]) -> Felt {
    let mut batch = ListBatch::new(std::iter::once(list));
    batch.run(&mut ScalarLane::new(), 0);
    batch.into_hashes()[0]
}

/// The hash of each pair, in order.
pub fn hash_pairs(pairs: &[[Felt; 2]]) -> Vec<Felt> {
    let mut hashes = vec![Felt::ZERO; pairs.len()];
    let done = wide_lanes()
        .map_or(0, |mut wide| lanes::hash_pairs(&mut wide, pairs, &mut hashes, WIDE_FLOOR));
    lanes::hash_pairs(&mut ScalarLane::new(), &pairs[done..], &mut hashes[done..], 0);
    hashes
}

/// The hash of each list, in order. The lists may have any lengths: a lane that ends one begins the next.
pub fn hash_lists<'a>(lists: impl IntoIterator<Item = &'a [Felt]>) -> Vec<Felt> {
    let mut batch = ListBatch::new(lists.into_iter());
    if let Some(mut wide) = wide_lanes() {
        batch.run(&mut wide, WIDE_FLOOR);
    }
    batch.run(&mut ScalarLane::new(), 0);
    batch.into_hashes()
}

/// Permutes each state.
pub fn permute(states: &mut [[Felt; 3]]) {
    let done = wide_lanes().map_or(0, |mut wide| lanes::permute(&mut wide, states, WIDE_FLOOR));
    lanes::permute(&mut ScalarLane::new(), &mut states[done..], 0);
}

#[cfg(target_arch = "x86_64")]
fn wide_lanes() -> Option<WideLanes> {
    WideLanes::detect()
}

#[cfg(not(target_arch = "x86_64"))]
fn wide_lanes() -> Option<WideLanes> {
    None
}

/// How many permutations [`hash_many`] takes for a list of `len` elements.
pub fn permutations_of_list(len: usize) -> usize {
    len / 2 + 1
}

#[cfg(test)]
mod tests;
