//! Independent hashes spread over the lanes of one wide permutation.
//!
//! A lane holds one sponge. Sponges differ in length, so a lane takes the next list as soon as its own has
//! ended, and only the last few lists of a batch leave lanes idle. A batch that has become too narrow for
//! its lanes is handed on, states included, to narrower ones.

use starknet_types_core::felt::Felt;

/// Permutations that advance together.
pub(crate) trait Lanes {
    /// How many.
    const COUNT: usize;

    /// Replaces the state of a lane.
    fn set(&mut self, lane: usize, state: &[Felt; 3]);

    /// Adds a block to the first two elements of a lane, at most once between permutations.
    fn absorb(&mut self, lane: usize, block: &[Felt; 2]);

    /// Permutes every lane.
    fn permute(&mut self);

    /// The first element of a lane that was permuted since it was set.
    fn first(&self, lane: usize) -> Felt;

    /// All elements of a lane that was permuted since it was set, or holds zeros.
    fn state(&self, lane: usize) -> [Felt; 3];
}

/// Hashes pairs into `hashes` for as long as more than `floor` are left; returns how many it hashed.
pub(crate) fn hash_pairs<L: Lanes>(
    lanes: &mut L,
    pairs: &[[Felt; 2]],
    hashes: &mut [Felt],
    floor: usize,
) -> usize {
    let mut done = 0;
    while pairs.len() - done > floor {
        let width = L::COUNT.min(pairs.len() - done);
        for (lane, [left, right]) in pairs[done..done + width].iter().enumerate() {
            lanes.set(lane, &[*left, *right, Felt::TWO]);
        }
        lanes.permute();
        for (lane, hash) in hashes[done..done + width].iter_mut().enumerate() {
            *hash = lanes.first(lane);
        }
        done += width;
    }
    done
}

/// Permutes states for as long as more than `floor` are left; returns how many it permuted.
pub(crate) fn permute<L: Lanes>(lanes: &mut L, states: &mut [[Felt; 3]], floor: usize) -> usize {
    let mut done = 0;
    while states.len() - done > floor {
        let width = L::COUNT.min(states.len() - done);
        let batch = &mut states[done..done + width];
        for (lane, state) in batch.iter().enumerate() {
            lanes.set(lane, state);
        }
        lanes.permute();
        for (lane, state) in batch.iter_mut().enumerate() {
            *state = lanes.state(lane);
        }
        done += width;
    }
    done
}

/// Lists on their way to their hashes: those not begun, those between two permutations, and the results
/// in the order of the lists.
pub(crate) struct ListBatch<'a, I> {
    lists: I,
    suspended: Vec<(Sponge<'a>, [Felt; 3])>,
    hashes: Vec<Felt>,
}

impl<'a, I: Iterator<Item = &'a [Felt]>> ListBatch<'a, I> {
    pub(crate) fn new(lists: I) -> Self {
        let hashes = Vec::with_capacity(lists.size_hint().0);
        Self { lists, suspended: Vec::new(), hashes }
    }

    /// The hashes, once a call of [`ListBatch::run`] with a floor of 0 has returned.
    pub(crate) fn into_hashes(self) -> Vec<Felt> {
        self.hashes
    }

    /// Hashes until no list waits and at most `floor` are under way, and suspends those.
    pub(crate) fn run<L: Lanes>(&mut self, lanes: &mut L, floor: usize) {
        let mut slots = Vec::with_capacity(L::COUNT);
        for lane in 0..L::COUNT {
            slots.push(self.next_sponge(lanes, lane));
        }
        let mut active = slots.iter().flatten().count();
        while active > floor {
            self.step(lanes, &mut slots);
            active = slots.iter().flatten().count();
        }
        for (lane, sponge) in slots.into_iter().enumerate() {
            self.suspended.extend(sponge.map(|sponge| (sponge, lanes.state(lane))));
        }
    }

    /// One permutation of every lane, and new lists for the lanes it has finished.
    fn step<L: Lanes>(&mut self, lanes: &mut L, slots: &mut [Option<Sponge<'a>>]) {
        for (lane, slot) in slots.iter_mut().enumerate() {
            if let Some(sponge) = slot {
                lanes.absorb(lane, &sponge.next_block());
            }
        }
        lanes.permute();
        for (lane, slot) in slots.iter_mut().enumerate() {
            if let Some(Sponge { index, rest: None }) = slot {
                self.hashes[*index] = lanes.first(lane);
                *slot = self.next_sponge(lanes, lane);
            }
        }
    }

    fn next_sponge<L: Lanes>(&mut self, lanes: &mut L, lane: usize) -> Option<Sponge<'a>> {
        if let Some((sponge, state)) = self.suspended.pop() {
            lanes.set(lane, &state);
            return Some(sponge);
        }
        let rest = Some(self.lists.next()?);
        let index = self.hashes.len();
        self.hashes.push(Felt::ZERO);
        lanes.set(lane, &[Felt::ZERO; 3]);
        Some(Sponge { index, rest })
    }
}

/// What one sponge has still to absorb. `rest` is `None` once the padded last block is out.
struct Sponge<'a> {
    index: usize,
    rest: Option<&'a [Felt]>,
}

impl Sponge<'_> {
    /// The next two elements of the list followed by 1 and, if need be, 0.
    fn next_block(&mut self) -> [Felt; 2] {
        match self.rest.take().unwrap_or_default() {
            [left, right, rest @ ..] => {
                self.rest = Some(rest);
                [*left, *right]
            }
            [last] => [*last, Felt::ONE],
            [] => [Felt::ONE, Felt::ZERO],
        }
    }
}
