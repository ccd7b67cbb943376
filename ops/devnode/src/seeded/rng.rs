//! The generator's dice: ChaCha8 keyed by seed, branch and height.
//!
//! A block's draws depend on nothing but its key, so a block can be made again without the blocks of a
//! competing chain, and the same seed gives the same draws on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

/// Draws of one block.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The draws of a block.
    pub(super) fn of_block(seed: u64, branch: u32, height: u64) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"obsqra seeded chain");
        hash.update(seed.to_be_bytes());
        hash.update(branch.to_be_bytes());
        hash.update(height.to_be_bytes());
        Self(ChaCha8Rng::from_seed(hash.finalize().into()))
    }

    /// A number below `bound`, 0 if `bound` is 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.0.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True with a chance of `percent` in 100.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number from −`bound` to `bound`, the sum of two draws so that the middle is likelier.
    pub(super) fn around_zero(&mut self, bound: u32) -> i64 {
        let half = u64::from(bound) / 2;
        let sum = self.between(0, 2 * half) + self.between(0, 2 * half);
        i64::try_from(sum).unwrap_or(0) - i64::try_from(2 * half).unwrap_or(0)
    }

    /// An index below `len`.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(u64::try_from(len).unwrap_or(0))).unwrap_or(0)
    }
}
