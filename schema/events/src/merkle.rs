//! The Merkle tree over the log (RFC 6962, section 2.1): leaf 0 is the hash of entry 1.
//!
//! A leaf is SHA-256(0x00 ‖ entry hash), an inner node SHA-256(0x01 ‖ left ‖ right); a tree of `n`
//! leaves splits at the largest power of two below `n`, and the root of none is SHA-256 of nothing.
//! A [`Frontier`] holds what is needed to go on: the roots of the perfect subtrees that the leaves so
//! far make up, one for each bit of their number. The left siblings on a leaf's path are the frontier
//! before that leaf, so that a proof needs no leaf further back than the last stored frontier.

use obsqra_types::Hash32;
use sha2::{Digest, Sha256};

/// The hash of a leaf that holds these bytes.
#[must_use]
pub fn leaf_hash(data: &[u8]) -> Hash32 {
    let mut hasher = Sha256::new();
    hasher.update([0]);
    hasher.update(data);
    Hash32(hasher.finalize().into())
}

/// The hash of the node above two others.
#[must_use]
pub fn node_hash(left: &Hash32, right: &Hash32) -> Hash32 {
    let mut hasher = Sha256::new();
    hasher.update([1]);
    hasher.update(left.as_bytes());
    hasher.update(right.as_bytes());
    Hash32(hasher.finalize().into())
}

/// A tree that leaves are added to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of perfect subtrees, the largest first: one for each bit that is set in `size`.
    peaks: Vec<Hash32>,
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many leaves it has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Adds a leaf, given its [`leaf_hash`].
    pub fn push(&mut self, leaf: Hash32) {
        let mut node = leaf;
        for _ in 0..self.size.trailing_ones() {
            // One peak stands for each bit of the size, so there is one to take.
            if let Some(left) = self.peaks.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.peaks.push(node);
        self.size += 1;
    }

    /// The tree's root.
    #[must_use]
    pub fn root(&self) -> Hash32 {
        let mut peaks = self.peaks.iter().rev();
        let Some(smallest) = peaks.next() else {
            return Hash32(Sha256::digest([]).into());
        };
        peaks.fold(*smallest, |right, left| node_hash(left, &right))
    }

    /// The size as 8 big-endian bytes, then the peaks, the largest first.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        bytes
    }

    /// Reads what [`Frontier::encode`] wrote; `None` for other bytes.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (size, peaks) = bytes.split_first_chunk::<8>()?;
        let size = u64::from_be_bytes(*size);
        let (peaks, rest) = peaks.as_chunks::<32>();
        let fits = rest.is_empty() && u32::try_from(peaks.len()) == Ok(size.count_ones());
        fits.then(|| Self { size, peaks: peaks.iter().map(|peak| Hash32(*peak)).collect() })
    }

    /// Level and root of each perfect subtree, the lowest first.
    fn by_level(&self) -> impl Iterator<Item = (u32, Hash32)> {
        let levels = (0..u64::BITS).filter(|level| self.size >> level & 1 == 1);
        levels.zip(self.peaks.iter().rev().copied())
    }
}

/// Collects the siblings on the way from one leaf to the root.
///
/// It begins with a frontier at or before the leaf and takes the leaves after it, in order, up to the
/// end of the tree.
#[derive(Clone, Debug)]
pub struct PathBuilder {
    index: u64,
    tree: Frontier,
    /// Siblings with the level they stand at.
    siblings: Vec<(u32, Hash32)>,
    /// The leaves of the next sibling on the right.
    right: Frontier,
    right_level: u32,
}

impl PathBuilder {
    /// The path of leaf `index` in a tree that begins like `tree`; `None` when the tree is past it.
    #[must_use]
    pub fn new(tree: Frontier, index: u64) -> Option<Self> {
        let right_level = index.trailing_ones();
        (tree.size() <= index).then(|| Self {
            index,
            tree,
            siblings: Vec::new(),
            right: Frontier::new(),
            right_level,
        })
    }

    /// Takes the next leaf.
    pub fn push(&mut self, leaf: Hash32) {
        if self.tree.size() == self.index {
            self.siblings.extend(self.tree.by_level());
        } else if self.tree.size() > self.index {
            self.right.push(leaf);
            if 1u64.checked_shl(self.right_level) == Some(self.right.size()) {
                self.end_right();
            }
        }
        self.tree.push(leaf);
    }

    fn end_right(&mut self) {
        let right = std::mem::take(&mut self.right);
        self.siblings.push((self.right_level, right.root()));
        // The next level at which the leaf's side is the left one.
        let above = self.right_level + 1;
        self.right_level = above + (self.index.checked_shr(above).unwrap_or(0)).trailing_ones();
    }

    /// The siblings, the lowest first, and the root; `None` when the leaf itself was not reached.
    #[must_use]
    pub fn finish(mut self) -> Option<(Vec<Hash32>, Hash32)> {
        if self.tree.size() <= self.index {
            return None;
        }
        if self.right.size() > 0 {
            self.end_right();
        }
        self.siblings.sort_by_key(|(level, _)| *level);
        let path = self.siblings.into_iter().map(|(_, hash)| hash).collect();
        Some((path, self.tree.root()))
    }
}

/// The root that a leaf and its siblings give, in a tree of `size` leaves (RFC 9162, section 2.1.3.2);
/// `None` when there are too many siblings or too few, or the tree has no such leaf.
#[must_use]
pub fn root_of_path(leaf: Hash32, index: u64, size: u64, path: &[Hash32]) -> Option<Hash32> {
    let mut last = size.checked_sub(1).filter(|last| index <= *last)?;
    let mut index = index;
    let mut node = leaf;
    for sibling in path {
        if last == 0 {
            return None;
        }
        if index & 1 == 1 || index == last {
            node = node_hash(sibling, &node);
            // A node without a right sibling is its own parent.
            while index & 1 == 0 && index > 0 {
                index >>= 1;
                last >>= 1;
            }
        } else {
            node = node_hash(&node, sibling);
        }
        index >>= 1;
        last >>= 1;
    }
    (last == 0).then_some(node)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tree of the Certificate Transparency test vectors: eight leaves, the first one empty.
    const LEAVES: [&str; 8] = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    const ROOTS: [&str; 9] = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];

    fn leaves() -> Vec<Hash32> {
        LEAVES.iter().map(|data| leaf_hash(&hex::decode(data).unwrap())).collect()
    }

    /// The definition, word for word.
    fn defined_root(leaves: &[Hash32]) -> Hash32 {
        match leaves {
            [] => Hash32(Sha256::digest([]).into()),
            [leaf] => *leaf,
            _ => {
                let split = 1 << (leaves.len() - 1).ilog2();
                node_hash(&defined_root(&leaves[..split]), &defined_root(&leaves[split..]))
            }
        }
    }

    /// The definition of a path: the siblings from the leaf up.
    fn defined_path(leaves: &[Hash32], index: usize) -> Vec<Hash32> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let split = 1 << (leaves.len() - 1).ilog2();
        let (left, right) = leaves.split_at(split);
        let (mut path, sibling) = if index < split {
            (defined_path(left, index), defined_root(right))
        } else {
            (defined_path(right, index - split), defined_root(left))
        };
        path.push(sibling);
        path
    }

    fn tree(leaves: &[Hash32]) -> Frontier {
        let mut tree = Frontier::new();
        leaves.iter().for_each(|leaf| tree.push(*leaf));
        tree
    }

    #[test]
    fn roots_are_those_of_the_test_vectors() {
        let leaves = leaves();
        for (size, root) in ROOTS.iter().enumerate() {
            assert_eq!(tree(&leaves[..size]).root().to_string(), *root, "{size} leaves");
        }
    }

    #[test]
    fn a_path_is_that_of_the_test_vectors() {
        let mut builder = PathBuilder::new(Frontier::new(), 5).unwrap();
        leaves().into_iter().for_each(|leaf| builder.push(leaf));
        let (path, root) = builder.finish().unwrap();
        let path: Vec<String> = path.iter().map(ToString::to_string).collect();
        let expected = [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(
            (path, root.to_string()),
            (expected.map(str::to_owned).to_vec(), ROOTS[8].to_owned())
        );
    }

    #[test]
    fn bytes_that_no_frontier_has_are_refused() {
        let bytes = tree(&leaves()[..3]).encode();
        assert!(Frontier::decode(&bytes).is_some());
        assert!(Frontier::decode(&bytes[..bytes.len() - 1]).is_none());
        assert!(Frontier::decode(&bytes[..8]).is_none());
        assert!(Frontier::decode(&[&bytes[..], &[0]].concat()).is_none());
        assert!(Frontier::decode(&[]).is_none());
    }

    #[test]
    fn huge_numbers_end_without_a_root() {
        let leaf = Hash32([1; 32]);
        assert_eq!(root_of_path(leaf, 0, 0, &[]), None);
        assert_eq!(root_of_path(leaf, u64::MAX, u64::MAX, &[]), None);
        assert_eq!(root_of_path(leaf, u64::MAX - 1, u64::MAX, &[leaf; 200]), None);
        assert_eq!(root_of_path(leaf, 0, 1, &[]), Some(leaf));
        assert!(PathBuilder::new(Frontier::new(), u64::MAX).unwrap().finish().is_none());
    }

    fn some_leaves() -> impl Strategy<Value = Vec<Hash32>> {
        prop::collection::vec(any::<[u8; 32]>().prop_map(Hash32), 1..70)
    }

    proptest! {
        #[test]
        fn a_frontier_and_what_it_encodes_to_give_the_defined_root(leaves in some_leaves(), more in some_leaves()) {
            let frontier = tree(&leaves);
            prop_assert_eq!(frontier.root(), defined_root(&leaves));
            let mut again = Frontier::decode(&frontier.encode()).unwrap();
            prop_assert_eq!(&again, &frontier);
            more.iter().for_each(|leaf| again.push(*leaf));
            prop_assert_eq!(again.root(), defined_root(&[leaves, more].concat()));
        }

        #[test]
        fn a_path_from_any_frontier_leads_to_the_root_and_no_other_does(
            leaves in some_leaves(),
            pick in any::<prop::sample::Index>(),
            begin in any::<prop::sample::Index>(),
        ) {
            let index = pick.index(leaves.len());
            let begin = begin.index(index + 1);
            let mut builder = PathBuilder::new(tree(&leaves[..begin]), index as u64).unwrap();
            leaves[begin..].iter().for_each(|leaf| builder.push(*leaf));
            let (path, root) = builder.finish().unwrap();
            prop_assert_eq!(root, defined_root(&leaves));
            prop_assert_eq!(&path, &defined_path(&leaves, index));
            let size = leaves.len() as u64;
            let reached = |leaf, at: usize, path: &[Hash32]| root_of_path(leaf, at as u64, size, path);
            prop_assert_eq!(reached(leaves[index], index, &path), Some(root));
            prop_assert_ne!(reached(Hash32([7; 32]), index, &path), Some(root));
            for other in (0..leaves.len()).filter(|other| *other != index) {
                prop_assert_ne!(reached(leaves[index], other, &path), Some(root));
            }
            if let Some((_, shorter)) = path.split_last() {
                prop_assert_ne!(reached(leaves[index], index, shorter), Some(root));
            }
            let longer = [&path[..], &[root]].concat();
            prop_assert_ne!(reached(leaves[index], index, &longer), Some(root));
        }
    }
}
