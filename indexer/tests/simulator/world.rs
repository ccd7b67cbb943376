//! Nodes and what they say. The first is the network, whose chain wins in the end.

use std::collections::HashMap;

use obsqra_indexer::planner::{BlockId, BlockLink};
use obsqra_types::{BlockHash, BlockNumber, Felt};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Deepest reorganisation of the made-up network.
const DEEPEST: usize = 60;

/// A node's chain, lowest first.
pub(crate) type Chain = Vec<BlockHash>;

#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) chain: Chain,
    /// Blocks that it has and does not tell of yet.
    pub(crate) lag: usize,
    pub(crate) up: bool,
}

pub(crate) struct World {
    pub(crate) nodes: Vec<Node>,
    /// Every block that ever was, with its parent.
    blocks: HashMap<BlockHash, BlockLink>,
    /// Height up to which all nodes agree for good.
    pub(crate) accepted: usize,
    /// What a reorganisation replaced, to come back.
    replaced: Option<Chain>,
}

impl World {
    pub(crate) fn new(rng: &mut ChaCha8Rng) -> Self {
        let nodes = vec![Node { chain: Vec::new(), lag: 0, up: true }; rng.random_range(1..4)];
        let mut world = Self { nodes, blocks: HashMap::new(), accepted: 0, replaced: None };
        world.extend(0, rng.random_range(5..60));
        let network = world.nodes[0].chain.clone();
        for node in &mut world.nodes {
            node.chain.clone_from(&network);
        }
        world
    }

    pub(crate) fn network(&self) -> &Chain {
        &self.nodes[0].chain
    }

    pub(crate) fn link(&self, hash: BlockHash) -> BlockLink {
        self.blocks[&hash]
    }

    /// Whether there ever was such a block.
    pub(crate) fn knows(&self, link: BlockLink) -> bool {
        self.blocks.get(&link.id.hash) == Some(&link)
    }

    fn extend(&mut self, node: usize, count: usize) {
        for _ in 0..count {
            let chain = &mut self.nodes[node].chain;
            let parent = chain.last().copied().unwrap_or(BlockHash(Felt::ZERO));
            let hash = BlockHash(Felt::from(self.blocks.len() as u64 + 1));
            let id = BlockId { number: BlockNumber(chain.len() as u64), hash };
            self.blocks.insert(hash, BlockLink { id, parent });
            chain.push(hash);
        }
    }

    /// Something happens to the chain or to a node. `first` is the lowest height of the log, which all
    /// keep.
    pub(crate) fn change(&mut self, rng: &mut ChaCha8Rng, first: u64) {
        let keep = self.accepted.max(usize::try_from(first).unwrap());
        let node = rng.random_range(0..self.nodes.len());
        match rng.random_range(0..100) {
            0..35 => self.extend(0, rng.random_range(1..6)),
            35..50 => self.reorganise(rng, 0, keep),
            50..55 => self.back(keep),
            55..65 => self.nodes[node].chain = self.network().clone(),
            65..72 => self.reorganise(rng, node, keep),
            72..82 => self.nodes[node].lag = rng.random_range(0..12),
            82..90 => self.nodes[node].up = rng.random_bool(0.6),
            _ => self.accept(rng),
        }
    }

    fn reorganise(&mut self, rng: &mut ChaCha8Rng, node: usize, keep: usize) {
        let chain = &self.nodes[node].chain;
        let most = chain.len().saturating_sub(keep + 1).min(DEEPEST);
        if most == 0 {
            return;
        }
        let depth = if rng.random_bool(0.7) { most.min(3) } else { most };
        let depth = rng.random_range(1..=depth);
        let before = chain.clone();
        let stays = chain.len() - depth;
        self.nodes[node].chain.truncate(stays);
        self.extend(node, (depth + rng.random_range(0..3)).saturating_sub(1).max(1));
        self.replaced = Some(before);
    }

    /// A chain that was replaced is the network's again.
    fn back(&mut self, keep: usize) {
        let Some(before) = self.replaced.take() else {
            return;
        };
        let common = common(&before, self.network());
        if common > keep {
            self.replaced = Some(std::mem::replace(&mut self.nodes[0].chain, before));
        }
    }

    fn accept(&mut self, rng: &mut ChaCha8Rng) {
        let agreed = self.nodes.iter().map(|node| common(&node.chain, self.network())).min();
        let agreed = agreed.unwrap().saturating_sub(1);
        // What a chain that may come back does not have stays open.
        let agreed = self
            .replaced
            .as_ref()
            .map_or(agreed, |before| agreed.min(common(before, self.network()) - 1));
        if agreed > self.accepted {
            self.accepted = rng.random_range(self.accepted..=agreed);
        }
    }

    /// The faults stop: all nodes have the network's chain, and say so.
    pub(crate) fn calm(&mut self) {
        self.extend(0, 1);
        let network = Node { lag: 0, up: true, ..self.nodes[0].clone() };
        for node in &mut self.nodes {
            node.clone_from(&network);
        }
    }
}

impl Node {
    pub(crate) fn head(&self) -> Option<BlockId> {
        let height = self.chain.len().checked_sub(1 + self.lag)?;
        Some(BlockId { number: BlockNumber(height as u64), hash: self.chain[height] })
    }

    /// What it has at a height that it tells of.
    pub(crate) fn at(&self, number: BlockNumber) -> Option<BlockHash> {
        let head = self.head()?;
        (number <= head.number).then(|| self.chain[usize::try_from(number.0).unwrap()])
    }
}

/// How many blocks two chains have in common.
pub(crate) fn common(one: &Chain, other: &Chain) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}
