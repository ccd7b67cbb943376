//! What to do next, as a pure machine: it is told what a node says and where the log stands, and says
//! what to ask, append or replace. It does no I/O and reads no clock, so that a simulator can drive it.
//!
//! A head that goes backwards is no reorganisation: it takes a competing hash at the same height, whose
//! own chain links down to a block that the log holds. Nothing at or below the last block accepted on L1
//! is ever reverted. A planner is made anew from the log's own position whenever an answer failed or
//! another node answers: what it was told by one node is never mixed with what it is told by another.

mod search;
mod stream;

use obsqra_types::{BlockHash, BlockNumber};

use search::{Finding, Search};

/// A block's place and hash.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockId {
    /// Height.
    pub number: BlockNumber,
    /// Hash.
    pub hash: BlockHash,
}

/// A fetched block as far as linking goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockLink {
    /// Height and hash.
    pub id: BlockId,
    /// The hash of the block below.
    pub parent: BlockHash,
}

/// Where the log stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The first block of the log, or of a new log the height to begin at.
    pub first: BlockNumber,
    /// The newest canonical block in the log.
    pub tip: Option<BlockId>,
    /// The highest block accepted on L1.
    pub finalized: Option<BlockNumber>,
}

/// How much is done at a time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Most blocks asked for before the node's head is looked at again.
    pub ahead: u64,
    /// Most blocks appended at once.
    pub batch_blocks: usize,
    /// Events, kept or not, of the blocks appended at once; the last block may go beyond.
    pub batch_events: u64,
    /// Most replacing blocks appended together with the reverts; the rest follows as usual.
    pub branch_blocks: u64,
}

/// A block that was received, and that whoever drives the planner holds until it is appended or dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Offer {
    /// Its place.
    pub link: BlockLink,
    /// Its events, kept or not.
    pub events: u64,
}

/// What the planner is told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// The node's newest block.
    Head(BlockId),
    /// The next of the blocks asked for.
    Block(Offer),
    /// No more of the blocks asked for.
    EndOfBlocks,
    /// What node and log have at a height that was to be compared; `None` where they have nothing.
    Compared {
        /// The height.
        height: BlockNumber,
        /// The node's hash.
        node: Option<BlockHash>,
        /// The log's.
        own: Option<BlockHash>,
    },
    /// A block that a stream sent without being asked, with what the log has at its height and below.
    Streamed {
        /// The block.
        offer: Offer,
        /// The log's hash at its height.
        own: Option<BlockHash>,
        /// The log's hash one below.
        own_below: Option<BlockHash>,
    },
    /// A stream says that nothing above this block counts any more.
    Invalidated {
        /// The last block that does.
        to: BlockId,
        /// The log's hash at its height.
        own: Option<BlockHash>,
    },
    /// A stream has nothing more to send at the moment.
    Pause,
    /// A block accepted on L1, and the log's hash at its height.
    Accepted {
        /// The block.
        block: BlockId,
        /// The log's hash at its height.
        own: Option<BlockHash>,
    },
    /// What was to be written is committed, and the log stands here.
    Committed(Position),
}

/// What is to be done, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Ask for these heights, both inclusive, and give them in order.
    Fetch {
        /// The lowest.
        from: BlockNumber,
        /// The highest.
        to: BlockNumber,
    },
    /// Look up what node and log have at a height; the node's hash where it is not known yet.
    Compare {
        /// The height.
        height: BlockNumber,
        /// The node's hash, where it said it already.
        node: Option<BlockHash>,
    },
    /// Append the first blocks held.
    Append {
        /// How many.
        blocks: usize,
    },
    /// Revert everything above a block and append the first blocks held, in one transaction.
    Replace {
        /// The highest block that stays.
        fork: BlockId,
        /// How many.
        blocks: usize,
    },
    /// Let go of the blocks held.
    Drop,
    /// Offer the block that was streamed last once more, with what the log has by then.
    OfferAgain,
    /// Note that a block and all below it are final.
    Finalize(BlockId),
    /// Look at the node's head again at once.
    Look,
    /// There is nothing to do until the node has something new.
    Rest,
    /// The node's answers cannot be used, or must not be followed.
    Fail(Trouble),
}

/// Why a node cannot be followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// A block does not link to the one below it.
    Unlinked {
        /// The block.
        block: BlockLink,
        /// The hash that it should name as its parent.
        below: BlockHash,
    },
    /// The node has another block at a height that is final.
    BelowFinal {
        /// The height.
        number: BlockNumber,
        /// The highest final block.
        finalized: BlockNumber,
    },
    /// The node has another first block than the log.
    NoCommonBlock {
        /// The first block of the log.
        first: BlockNumber,
    },
}

/// The machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Planner {
    position: Position,
    limits: Limits,
    phase: Phase,
    /// Blocks that are held, lowest first.
    held: Vec<Offer>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// A head is awaited, or the next block of a stream.
    Idle,
    /// Whether the log has the node's head, which is not above the tip.
    Checking(BlockId),
    /// Blocks above the tip come in.
    Fetching,
    /// A block above the tip names another parent: does the node have another block there?
    Doubting(BlockLink),
    /// Where the chains part.
    Searching(Search),
    /// Replacing blocks come in.
    Branching {
        fork: BlockId,
        /// What the log has above the fork.
        own_above: BlockHash,
    },
    /// Something is being written, and this comes after it.
    Committing(After),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum After {
    Fetch,
    Stream,
    Look,
    Fail(Trouble),
}

impl Planner {
    /// A planner that knows where the log stands and nothing else.
    #[must_use]
    pub fn new(position: Position, limits: Limits) -> Self {
        Self { position, limits, phase: Phase::Idle, held: Vec::new() }
    }

    /// Where the log stands, as last told.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Takes an input; what is to be done comes out. An input that the phase does not await is passed
    /// over: it answers a question that is no longer asked.
    pub fn take(&mut self, input: Input) -> Vec<Effect> {
        match (input, self.phase) {
            (Input::Head(head), Phase::Idle) => self.head(head),
            (Input::Compared { node, own, .. }, Phase::Checking(head)) => {
                self.checked(head, node, own)
            }
            (Input::Block(offer), Phase::Fetching) => self.fetched(offer),
            (Input::EndOfBlocks, Phase::Fetching) => self.end_of_fetch(),
            (Input::Compared { node, own, .. }, Phase::Doubting(above)) => {
                self.doubted(above, node, own)
            }
            (Input::Compared { height, node, own }, Phase::Searching(search)) => {
                self.searched(search, height, node.zip(own))
            }
            (Input::Block(offer), Phase::Branching { fork, .. }) => self.branch(fork, offer),
            (Input::EndOfBlocks, Phase::Branching { fork, own_above }) => {
                self.end_of_branch(fork, own_above)
            }
            (Input::Committed(position), Phase::Committing(after)) => {
                self.committed(position, after)
            }
            (Input::Streamed { offer, own, own_below }, Phase::Idle) => {
                self.streamed(offer, own, own_below)
            }
            (Input::Invalidated { to, own }, Phase::Idle) => self.invalidated(to, own),
            (Input::Pause, Phase::Idle) => self.pause(),
            (Input::Accepted { block, own }, Phase::Idle) => self.accepted(block, own),
            _ => Vec::new(),
        }
    }

    fn next_height(&self) -> BlockNumber {
        self.position.tip.map_or(self.position.first, |tip| tip.number.next())
    }

    fn head(&mut self, head: BlockId) -> Vec<Effect> {
        let next = self.next_height();
        if head.number >= next {
            let most = next.0.saturating_add(self.limits.ahead.max(1) - 1);
            self.phase = Phase::Fetching;
            return vec![Effect::Fetch { from: next, to: BlockNumber(head.number.0.min(most)) }];
        }
        if head.number < self.position.first || self.position.tip == Some(head) {
            return vec![Effect::Rest];
        }
        self.phase = Phase::Checking(head);
        vec![Effect::Compare { height: head.number, node: Some(head.hash) }]
    }

    fn checked(
        &mut self,
        head: BlockId,
        node: Option<BlockHash>,
        own: Option<BlockHash>,
    ) -> Vec<Effect> {
        match node.zip(own) {
            Some((node, own)) if node != own => self.search(head.number, own, head.number),
            _ => self.rest(),
        }
    }

    fn fetched(&mut self, offer: Offer) -> Vec<Effect> {
        let link = offer.link;
        let below = self.held.last().map(|held| held.link.id).or(self.position.tip);
        let Some(below) = below else {
            return if link.id.number == self.position.first {
                self.hold(offer, After::Fetch)
            } else {
                self.unlinked(link, link.parent)
            };
        };
        if continues(link, below) {
            return self.hold(offer, After::Fetch);
        }
        let on_tip = self.held.is_empty() && link.id.number == below.number.next();
        if on_tip {
            self.phase = Phase::Doubting(link);
            return vec![Effect::Drop, Effect::Compare { height: below.number, node: None }];
        }
        self.unlinked(link, below.hash)
    }

    /// Keeps a block that continues what is held, and has it appended when there are enough.
    fn hold(&mut self, offer: Offer, after: After) -> Vec<Effect> {
        self.held.push(offer);
        let events: u64 = self.held.iter().map(|held| held.events).sum();
        if self.held.len() < self.limits.batch_blocks && events < self.limits.batch_events {
            return Vec::new();
        }
        self.append(after)
    }

    fn append(&mut self, after: After) -> Vec<Effect> {
        self.phase = Phase::Committing(after);
        vec![Effect::Append { blocks: self.held.len() }]
    }

    /// What lies below the break links and is kept: the next try begins at the break.
    fn unlinked(&mut self, block: BlockLink, below: BlockHash) -> Vec<Effect> {
        let trouble = Trouble::Unlinked { block, below };
        if self.held.is_empty() { self.fail(trouble) } else { self.append(After::Fail(trouble)) }
    }

    fn end_of_fetch(&mut self) -> Vec<Effect> {
        if self.held.is_empty() {
            self.phase = Phase::Idle;
            return vec![Effect::Look];
        }
        self.append(After::Look)
    }

    fn doubted(
        &mut self,
        above: BlockLink,
        node: Option<BlockHash>,
        own: Option<BlockHash>,
    ) -> Vec<Effect> {
        match (node.zip(own), self.position.tip) {
            (Some((node, own)), _) if node == own => {
                self.fail(Trouble::Unlinked { block: above, below: own })
            }
            (Some((_, own)), Some(tip)) => self.search(tip.number, own, above.id.number),
            // The node's chain became shorter in between.
            _ => self.rest(),
        }
    }

    /// Node and log differ at a height: looks for where they part.
    fn search(&mut self, differs: BlockNumber, own: BlockHash, head: BlockNumber) -> Vec<Effect> {
        let floor = self.position.finalized.unwrap_or(self.position.first).max(self.position.first);
        let search = Search::new(BlockId { number: differs, hash: own }, head, floor);
        self.go_on(search)
    }

    fn searched(
        &mut self,
        mut search: Search,
        height: BlockNumber,
        found: Option<(BlockHash, BlockHash)>,
    ) -> Vec<Effect> {
        let Some((node, own)) = found else {
            // The node's chain became shorter in between: there is nothing to hold on to.
            return self.rest();
        };
        search.compared(BlockId { number: height, hash: own }, node);
        self.go_on(search)
    }

    fn go_on(&mut self, search: Search) -> Vec<Effect> {
        match search.finding() {
            Finding::Compare(height) => {
                self.phase = Phase::Searching(search);
                vec![Effect::Compare { height, node: None }]
            }
            Finding::Fork { fork, own_above } => {
                let most = fork.number.0.saturating_add(self.limits.branch_blocks.max(1));
                let to = BlockNumber(search.head().0.min(most));
                self.phase = Phase::Branching { fork, own_above };
                vec![Effect::Drop, Effect::Fetch { from: fork.number.next(), to }]
            }
            Finding::None { floor } => match self.position.finalized {
                Some(finalized) if floor <= finalized => {
                    self.fail(Trouble::BelowFinal { number: floor, finalized })
                }
                _ => self.fail(Trouble::NoCommonBlock { first: self.position.first }),
            },
        }
    }

    fn branch(&mut self, fork: BlockId, offer: Offer) -> Vec<Effect> {
        let below = self.held.last().map_or(fork, |held| held.link.id);
        if continues(offer.link, below) {
            self.held.push(offer);
            return Vec::new();
        }
        // The node's chain changed under the search: it begins anew.
        self.fail(Trouble::Unlinked { block: offer.link, below: below.hash })
    }

    fn end_of_branch(&mut self, fork: BlockId, own_above: BlockHash) -> Vec<Effect> {
        let Some(first) = self.held.first() else {
            return self.rest();
        };
        // A competing block that links down to the fork is what makes it a reorganisation.
        if first.link.id.hash == own_above {
            self.held.clear();
            self.phase = Phase::Idle;
            return vec![Effect::Drop, Effect::Look];
        }
        self.phase = Phase::Committing(After::Look);
        vec![Effect::Replace { fork, blocks: self.held.len() }]
    }

    fn committed(&mut self, position: Position, after: After) -> Vec<Effect> {
        self.position = position;
        self.held.clear();
        self.phase = match after {
            After::Fetch => Phase::Fetching,
            After::Stream | After::Look | After::Fail(_) => Phase::Idle,
        };
        match after {
            After::Fetch | After::Stream => Vec::new(),
            After::Look => vec![Effect::Look],
            After::Fail(trouble) => self.fail(trouble),
        }
    }

    /// A final block that the log has on another branch is no reason to act: that the branch lost is
    /// found out by following the head.
    fn accepted(&mut self, block: BlockId, own: Option<BlockHash>) -> Vec<Effect> {
        let known = self.position.finalized.is_some_and(|finalized| block.number <= finalized);
        let above = self.position.tip.is_none_or(|tip| block.number > tip.number);
        if known || above || own != Some(block.hash) {
            return Vec::new();
        }
        vec![Effect::Finalize(block)]
    }

    /// The log knows of a final block now.
    pub fn finalized(&mut self, number: BlockNumber) {
        self.position.finalized = self.position.finalized.max(Some(number));
    }

    fn rest(&mut self) -> Vec<Effect> {
        self.held.clear();
        self.phase = Phase::Idle;
        vec![Effect::Drop, Effect::Rest]
    }

    fn fail(&mut self, trouble: Trouble) -> Vec<Effect> {
        self.held.clear();
        self.phase = Phase::Idle;
        vec![Effect::Drop, Effect::Fail(trouble)]
    }
}

fn continues(link: BlockLink, below: BlockId) -> bool {
    link.id.number == below.number.next() && link.parent == below.hash
}

#[cfg(test)]
mod tests;
