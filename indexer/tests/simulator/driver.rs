//! Who drives the planner: asks a node, holds blocks, writes, and is killed at any moment. It does what
//! the follower does, one question or block a step, so that the world can change between any two.

use obsqra_indexer::planner::{BlockId, BlockLink, Effect, Input, Limits, Offer, Planner, Trouble};
use obsqra_types::{BlockHash, BlockNumber, Felt};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::ledger::Ledger;
use crate::world::{Node, World, common};

pub(crate) struct Driver {
    limits: Limits,
    /// Whether the source sends blocks unasked.
    streams: bool,
    faults: bool,
    leader: usize,
    work: Option<Work>,
    pub(crate) kills: u64,
    pub(crate) troubles: u64,
}

/// A planner at work; lost when the process is killed.
struct Work {
    planner: Planner,
    held: Vec<BlockLink>,
    input: Option<Input>,
    fetch: Option<(BlockNumber, BlockNumber)>,
    /// The last block that a stream sent.
    sent: Option<BlockId>,
    over: bool,
}

impl Driver {
    pub(crate) fn new(rng: &mut ChaCha8Rng) -> Self {
        let limits = Limits {
            ahead: rng.random_range(1..40),
            batch_blocks: rng.random_range(1..8),
            batch_events: rng.random_range(1..20),
            branch_blocks: rng.random_range(1..6),
        };
        let streams = rng.random_bool(0.4);
        Self { limits, streams, faults: true, leader: 0, work: None, kills: 0, troubles: 0 }
    }

    pub(crate) fn calm(&mut self) {
        self.faults = false;
        self.work = None;
    }

    pub(crate) fn step(&mut self, rng: &mut ChaCha8Rng, world: &World, ledger: &mut Ledger) {
        if self.faults {
            if rng.random_bool(0.01) {
                self.kill();
            }
            if rng.random_bool(0.02) {
                // Another node is asked from here on; what the last one said is forgotten.
                self.leader = rng.random_range(0..world.nodes.len());
                self.work = None;
            }
        }
        let node = &world.nodes[self.leader];
        if !node.up {
            self.work = None;
            return;
        }
        let mut work = match self.work.take() {
            Some(work) => work,
            None => Work::new(ledger, self.limits),
        };
        let input = work.input.take().or_else(|| {
            if self.streams {
                work.streamed(node, world, ledger, rng, self.faults)
            } else {
                work.asked(node, world, rng, self.faults)
            }
        });
        if let Some(input) = input {
            for effect in work.planner.take(input) {
                if self.act(&mut work, effect, node, (rng, world, ledger)).is_none() {
                    return;
                }
            }
            if self.streams && rng.random_bool(0.1) {
                self.look_at_finality(&mut work, world, ledger);
            }
        }
        if !work.over || self.streams {
            self.work = Some(work);
        } else {
            self.look_at_finality(&mut work, world, ledger);
        }
    }

    fn kill(&mut self) {
        self.kills += 1;
        self.work = None;
    }

    /// Does one effect; `None` when the process was killed over it or gave up.
    fn act(
        &mut self,
        work: &mut Work,
        effect: Effect,
        node: &Node,
        (rng, world, ledger): (&mut ChaCha8Rng, &World, &mut Ledger),
    ) -> Option<()> {
        match effect {
            Effect::Fetch { from, to } => work.fetch = Some((from, to)),
            Effect::Compare { height, node: said } => {
                work.fetch = None;
                let node = said.or_else(|| node.at(height));
                let own = ledger.at(height);
                work.input = Some(Input::Compared { height, node, own });
            }
            Effect::Append { .. } | Effect::Replace { .. } => {
                if self.faults && rng.random_bool(0.02) {
                    self.kill();
                    return None;
                }
                match effect {
                    Effect::Append { blocks } => {
                        let blocks: Vec<_> = work.held.drain(..blocks).collect();
                        ledger.append(world, &blocks);
                    }
                    Effect::Replace { fork, blocks } => {
                        let blocks: Vec<_> = work.held.drain(..blocks).collect();
                        ledger.replace(world, fork, &blocks);
                    }
                    _ => {}
                }
                if self.faults && rng.random_bool(0.02) {
                    // Committed, and nobody was told.
                    self.kill();
                    return None;
                }
                let effects = work.planner.take(Input::Committed(ledger.position()));
                for effect in effects {
                    self.act(work, effect, node, (rng, world, ledger))?;
                }
            }
            Effect::Drop => work.held.clear(),
            Effect::OfferAgain => {
                let last = *work.held.last().expect("a block was offered");
                work.input = Some(streamed(last, ledger));
            }
            Effect::Finalize(block) => {
                ledger.finalize(block);
                work.planner.finalized(block.number);
            }
            Effect::Look | Effect::Rest => work.over = true,
            Effect::Fail(trouble) => {
                self.troubles += 1;
                let honest = matches!(trouble, Trouble::Unlinked { .. });
                assert!(honest, "{trouble:?}, although all nodes agree on what is final");
                return None;
            }
        }
        Some(())
    }

    fn look_at_finality(&self, work: &mut Work, world: &World, ledger: &mut Ledger) {
        let number = BlockNumber(world.accepted as u64);
        let Some(hash) = world.nodes[self.leader].at(number) else {
            return;
        };
        let own = ledger.at(number);
        let block = BlockId { number, hash };
        for effect in work.planner.take(Input::Accepted { block, own }) {
            if let Effect::Finalize(block) = effect {
                ledger.finalize(block);
                work.planner.finalized(block.number);
            }
        }
    }
}

impl Work {
    fn new(ledger: &Ledger, limits: Limits) -> Self {
        let position = ledger.position();
        Self {
            planner: Planner::new(position, limits),
            held: Vec::new(),
            input: None,
            fetch: None,
            sent: position.tip,
            over: false,
        }
    }

    /// The next answer of a node that is asked.
    fn asked(
        &mut self,
        node: &Node,
        world: &World,
        rng: &mut ChaCha8Rng,
        faults: bool,
    ) -> Option<Input> {
        let Some((next, to)) = self.fetch else {
            return node.head().map(Input::Head);
        };
        let hash = node.at(next).filter(|_| next <= to);
        let Some(hash) = hash else {
            self.fetch = None;
            return Some(Input::EndOfBlocks);
        };
        if faults && rng.random_bool(0.01) {
            self.fetch = None;
            return Some(Input::EndOfBlocks);
        }
        self.fetch = Some((next.next(), to));
        let faults = faults && self.can_tell();
        Some(self.receive(spoilt(world.link(hash), node, world, rng, faults), rng))
    }

    /// The next message of a stream.
    fn streamed(
        &mut self,
        node: &Node,
        world: &World,
        ledger: &Ledger,
        rng: &mut ChaCha8Rng,
        faults: bool,
    ) -> Option<Input> {
        if faults && rng.random_bool(0.1) {
            return Some(Input::Pause);
        }
        let next = match self.sent {
            None => ledger.first(),
            Some(sent) if node.at(sent.number) == Some(sent.hash) => sent.number.next(),
            // A server whose head lies below the cursor waits.
            Some(sent)
                if node.head().is_none_or(|head| head.number < sent.number)
                    && node.chain.get(usize::try_from(sent.number.0).unwrap())
                        == Some(&sent.hash) =>
            {
                return Some(Input::Pause);
            }
            Some(sent) => return Some(self.invalidated(sent, node, world, ledger)),
        };
        let Some(hash) = node.at(next) else {
            return Some(Input::Pause);
        };
        let faults = faults && self.can_tell();
        let link = spoilt(world.link(hash), node, world, rng, faults);
        self.sent = Some(world.link(hash).id);
        self.held.push(link);
        Some(streamed(link, ledger))
    }

    fn invalidated(&mut self, sent: BlockId, node: &Node, world: &World, ledger: &Ledger) -> Input {
        let mut branch = vec![sent.hash];
        let mut at = world.link(sent.hash);
        while at.id.number.0 > 0 {
            at = world.link(at.parent);
            branch.push(at.id.hash);
        }
        branch.reverse();
        let last = common(&branch, &node.chain) - 1;
        let to = world.link(branch[last]).id;
        self.sent = Some(to);
        Input::Invalidated { to, own: ledger.at(to.number) }
    }

    /// The first block of a log links to nothing: only its own contents can show that it is false.
    fn can_tell(&self) -> bool {
        self.planner.position().tip.is_some() || !self.held.is_empty()
    }

    fn receive(&mut self, link: BlockLink, rng: &mut ChaCha8Rng) -> Input {
        self.held.push(link);
        Input::Block(Offer { link, events: rng.random_range(0..6) })
    }
}

fn streamed(link: BlockLink, ledger: &Ledger) -> Input {
    Input::Streamed {
        offer: Offer { link, events: 1 },
        own: ledger.at(link.id.number),
        own_below: link.id.number.previous().and_then(|below| ledger.at(below)),
    }
}

/// The block that was asked for, or something else in its place.
fn spoilt(
    link: BlockLink,
    node: &Node,
    world: &World,
    rng: &mut ChaCha8Rng,
    faults: bool,
) -> BlockLink {
    if !faults || rng.random_bool(0.95) {
        return link;
    }
    let other = rng.random_range(0..node.chain.len());
    match rng.random_range(0..4) {
        0 => BlockLink { parent: BlockHash(Felt::from(u64::MAX)), ..link },
        // A block of another height: a gap, a duplicate, one out of order.
        1 => world.link(node.chain[other]),
        2 => {
            let below = node.chain[usize::try_from(link.id.number.0).unwrap().saturating_sub(1)];
            world.link(below)
        }
        // A block that nobody ever made.
        _ => BlockLink {
            id: BlockId { hash: BlockHash(Felt::from(u64::MAX - 1)), ..link.id },
            parent: BlockHash(Felt::from(u64::MAX)),
        },
    }
}
