//! A digest of a set of items that grows and shrinks one item at a time.

use obsqra_types::{Hash32, Seq};
use sha2::{Digest, Sha256};

/// The sum modulo 2²⁵⁶ of the SHA-256 of each item.
///
/// Order does not matter, and an item can be taken out again. It finds accidents and differences
/// between two folds of one log; it does not resist someone who may choose many items freely, which
/// nobody can here, since every item comes out of the hash-chained log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SetDigest([u64; 4]);

impl SetDigest {
    /// Adds an item's canonical bytes.
    pub fn add(&mut self, item: &[u8]) {
        self.add_hash(&Sha256::digest(item).into());
    }

    /// Takes an item's canonical bytes out again.
    pub fn remove(&mut self, item: &[u8]) {
        let minus = negate(limbs(&Sha256::digest(item).into()));
        self.0 = sum(self.0, minus);
    }

    /// Adds a log entry: SHA-256(0x02 ‖ seq ‖ content hash).
    pub fn add_entry(&mut self, seq: Seq, content_hash: &Hash32) {
        let mut hasher = Sha256::new();
        hasher.update([2]);
        hasher.update(seq.0.to_be_bytes());
        hasher.update(content_hash.as_bytes());
        self.add_hash(&hasher.finalize().into());
    }

    fn add_hash(&mut self, hash: &[u8; 32]) {
        self.0 = sum(self.0, limbs(hash));
    }

    /// The sum as 32 big-endian bytes.
    #[must_use]
    pub fn to_hash(self) -> Hash32 {
        let mut bytes = [0u8; 32];
        for (chunk, limb) in bytes.chunks_exact_mut(8).zip(self.0) {
            chunk.copy_from_slice(&limb.to_be_bytes());
        }
        Hash32(bytes)
    }

    /// Continues from a stored sum.
    #[must_use]
    pub fn from_hash(hash: &Hash32) -> Self {
        Self(limbs(hash.as_bytes()))
    }
}

// Most significant limb first, as the bytes stand.
fn limbs(bytes: &[u8; 32]) -> [u64; 4] {
    let mut limbs = [0u64; 4];
    for (limb, chunk) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = chunk.iter().fold(0, |value, byte| (value << 8) | u64::from(*byte));
    }
    limbs
}

fn sum(a: [u64; 4], b: [u64; 4]) -> [u64; 4] {
    let mut out = [0u64; 4];
    let mut carry = false;
    for i in (0..4).rev() {
        let (partial, first) = a[i].overflowing_add(b[i]);
        let (total, second) = partial.overflowing_add(u64::from(carry));
        out[i] = total;
        carry = first || second;
    }
    out
}

fn negate(a: [u64; 4]) -> [u64; 4] {
    sum(a.map(|limb| !limb), [0, 0, 0, 1])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn order_does_not_matter_and_removal_undoes(items: Vec<Vec<u8>>, extra: Vec<u8>) {
            let mut forward = SetDigest::default();
            let mut backward = SetDigest::default();
            items.iter().for_each(|item| forward.add(item));
            items.iter().rev().for_each(|item| backward.add(item));
            prop_assert_eq!(forward, backward);
            forward.add(&extra);
            prop_assert_ne!(forward, backward);
            forward.remove(&extra);
            prop_assert_eq!(forward, backward);
            prop_assert_eq!(SetDigest::from_hash(&forward.to_hash()), forward);
        }
    }
}
