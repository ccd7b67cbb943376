//! The Patricia tree over the positions of leaves, level by level, for one block or for many at once.

use starknet_crypto::Felt;

/// Levels of the tree: keys are 64-bit positions.
const TREE_HEIGHT: u64 = 64;

/// The roots of Patricia trees of height 64 whose keys are the positions of the leaves; 0 for one without
/// leaves. `hash_pairs` is the era's hash of two nodes, for many at once: pairs of a level are independent of
/// each other, and so are trees.
pub fn patricia_roots(
    trees: Vec<Vec<Felt>>,
    mut hash_pairs: impl FnMut(&[[Felt; 2]]) -> Vec<Felt>,
) -> Vec<Felt> {
    let mut trees: Vec<Tree> = trees.into_iter().map(Tree::new).collect();
    for height in 0..TREE_HEIGHT {
        if trees.iter().all(Tree::is_chain) {
            // Nothing but single children is left.
            trees.iter_mut().for_each(|tree| tree.rise(TREE_HEIGHT - height));
            break;
        }
        finish(&mut trees, |tree| tree.level.len() % 2 == 1, &mut hash_pairs);
        let pairs: Vec<[Felt; 2]> =
            trees.iter().flat_map(|tree| tree.pairs().iter().copied()).collect();
        let mut hashes = hash_pairs(&pairs).into_iter();
        trees.iter_mut().for_each(|tree| tree.step(&mut hashes));
    }
    finish(&mut trees, |_| true, &mut hash_pairs);
    trees.into_iter().map(|tree| tree.last.map_or(Felt::ZERO, |last| last.hash)).collect()
}

/// How many permutations the root over so many leaves takes.
#[must_use]
pub fn permutations_of_root(leaves: usize) -> usize {
    let (mut width, mut permutations, mut chain) = (leaves, 0, false);
    for _ in 0..TREE_HEIGHT {
        // An unpaired node above single children is finished when it gets a sibling.
        permutations += width / 2;
        if width % 2 == 1 {
            chain = true;
        } else if width > 0 {
            permutations += usize::from(chain);
            chain = false;
        }
        width = width.div_ceil(2);
    }
    permutations + usize::from(chain)
}

/// A node and the run of single-child levels above it, which becomes one edge.
#[derive(Debug, Clone, Copy)]
struct PendingNode {
    hash: Felt,
    levels: u64,
}

/// A level of one tree: pairs, and the last node, which may stand on a run of single-child levels.
struct Tree {
    level: Vec<Felt>,
    last: Option<PendingNode>,
}

impl Tree {
    fn new(mut leaves: Vec<Felt>) -> Self {
        let last = leaves.pop().map(|hash| PendingNode { hash, levels: 0 });
        Self { level: leaves, last }
    }

    fn is_chain(&self) -> bool {
        self.level.is_empty()
    }

    fn rise(&mut self, levels: u64) {
        if let Some(last) = &mut self.last {
            last.levels += levels;
        }
    }

    /// The pairs of this level; the last node is one of them where it has a sibling.
    fn pairs(&self) -> &[[Felt; 2]] {
        self.level.as_chunks::<2>().0
    }

    /// One level up, with the hashes of the pairs.
    fn step(&mut self, hashes: &mut impl Iterator<Item = Felt>) {
        let count = self.pairs().len();
        self.level.clear();
        self.level.extend(hashes.take(count));
        match &mut self.last {
            Some(last) => last.levels += 1,
            None => {
                self.last = self.level.pop().map(|hash| PendingNode { hash, levels: 0 });
            }
        }
    }
}

/// Turns the last nodes that are wanted from runs into edges, and puts those with a sibling beside it.
fn finish(
    trees: &mut [Tree],
    wanted: impl Fn(&Tree) -> bool,
    hash_pairs: &mut impl FnMut(&[[Felt; 2]]) -> Vec<Felt>,
) {
    let is_run = |tree: &Tree| tree.last.is_some_and(|last| last.levels > 0);
    let pairs: Vec<[Felt; 2]> = trees
        .iter()
        .filter(|tree| wanted(tree) && is_run(tree))
        .filter_map(|tree| tree.last.map(|last| [last.hash, Felt::ZERO]))
        .collect();
    let mut hashes = hash_pairs(&pairs).into_iter();
    for tree in trees.iter_mut().filter(|tree| wanted(tree)) {
        if is_run(tree)
            && let (Some(last), Some(hash)) = (&mut tree.last, hashes.next())
        {
            *last = PendingNode { hash: hash + Felt::from(last.levels), levels: 0 };
        }
        if tree.level.len() % 2 == 1
            && let Some(last) = tree.last.take()
        {
            tree.level.push(last.hash);
        }
    }
}
