//! Which of several nodes leads, as a pure function of what was heard of them and when.
//!
//! One leads and keeps leading: nothing is gained by going back to a node that failed, and each
//! change makes the follower plan anew. It loses the lead when it was struck several times within a
//! while, when it gave a block that is not whole, when it asks for time, when it is refused, or when its
//! head stays behind another's. An
//! answer takes no strike away, because a node may answer everything but the one question that
//! matters; time does. Some node always leads, even when all are in trouble: then the one whose
//! time in the cold ends first.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use obsqra_types::BlockNumber;

/// A node's place in the settings, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct NodeIndex(pub usize);

/// Counts the changes of leader.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(pub u64);

/// When a node loses the lead, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Strikes that send a node into the cold.
    pub strikes: usize,
    /// How long a strike counts.
    pub strike_window: Duration,
    /// How long a node stays in the cold for the first time; it doubles with each time that follows.
    pub first_cool_down: Duration,
    /// Longest time in the cold; so long after its last strike a node's past is forgotten.
    pub longest_cool_down: Duration,
    /// Blocks behind the highest head at which a node lags.
    pub lag_blocks: u64,
    /// Probes in a row after which a leader that lags is left.
    pub lag_probes: u32,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            strikes: 3,
            strike_window: Duration::from_secs(60),
            first_cool_down: Duration::from_secs(5),
            longest_cool_down: Duration::from_secs(300),
            lag_blocks: 5,
            lag_probes: 2,
        }
    }
}

/// What was heard of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It serves the right chain by a specification that is understood.
    Checked,
    /// Its chain or specification could not be learned.
    CheckFailed,
    /// It serves another chain or specification.
    Refused,
    /// A question failed.
    Failed,
    /// It gave a block that is not whole: worse than none.
    Mismatched,
    /// It asks to be left alone for so long.
    AsksForRest(Duration),
}

/// How a node stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// It can lead.
    Fit,
    /// It can lead, but its head is behind.
    Lagging,
    /// It can lead once its chain is asked for.
    Unchecked,
    /// It failed too often, or asks for rest, and is left alone for so long.
    Cooling(Duration),
    /// It serves another chain or specification, and is asked again after so long.
    Refused(Duration),
}

/// Who leads.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lead {
    /// The node.
    pub node: NodeIndex,
    /// How often the leader changed before.
    pub generation: Generation,
    /// How it stands.
    pub standing: Standing,
    /// How long it asks to be left alone still.
    pub rest: Option<Duration>,
}

/// The nodes and which of them leads.
#[derive(Clone, Debug)]
pub struct Selection {
    rules: Rules,
    seats: Vec<Seat>,
    leader: usize,
    generation: Generation,
}

#[derive(Clone, Debug, Default)]
struct Seat {
    checked: bool,
    refused: bool,
    cold_until: Option<Instant>,
    rest_until: Option<Instant>,
    /// Newest last; at most as many as send it into the cold.
    strikes: VecDeque<Instant>,
    last_strike: Option<Instant>,
    times_cold: u32,
    lagging_probes: u32,
}

impl Selection {
    /// So many nodes, none of them checked, the first of them leading. No nodes count as one.
    #[must_use]
    pub fn new(nodes: usize, rules: Rules) -> Self {
        let seats = vec![Seat::default(); nodes.max(1)];
        Self { rules, seats, leader: 0, generation: Generation::default() }
    }

    /// Who leads now.
    pub fn lead(&mut self, now: Instant) -> Lead {
        if self.rank(self.leader, now) >= Rank::COLD {
            let best = self.best(now);
            self.change(best);
        }
        Lead {
            node: NodeIndex(self.leader),
            generation: self.generation,
            standing: self.standing(NodeIndex(self.leader), now),
            rest: self.seats.get(self.leader).and_then(|seat| left(seat.rest_until, now)),
        }
    }

    /// Takes in what was heard of a node.
    pub fn note(&mut self, node: NodeIndex, outcome: Outcome, now: Instant) {
        let rules = self.rules;
        let Some(seat) = self.seats.get_mut(node.0) else {
            return;
        };
        match outcome {
            Outcome::Checked => {
                seat.checked = true;
                seat.refused = false;
                seat.cold_until = seat.rest_until;
            }
            Outcome::CheckFailed | Outcome::Mismatched => {
                seat.strike(now, &rules);
                seat.cool(now, &rules);
            }
            Outcome::Refused => {
                seat.checked = false;
                seat.refused = true;
                seat.cold_until = Some(now + rules.longest_cool_down);
            }
            Outcome::Failed => {
                if seat.strike(now, &rules) >= rules.strikes {
                    seat.cool(now, &rules);
                }
            }
            Outcome::AsksForRest(rest) => {
                seat.strike(now, &rules);
                let until = now + rest.min(rules.longest_cool_down);
                seat.rest_until = seat.rest_until.max(Some(until));
                seat.cold_until = seat.cold_until.max(Some(until));
            }
        }
    }

    /// Takes in the heads of a probe, one for each node, `None` where it is not known.
    pub fn probed(&mut self, heads: &[Option<BlockNumber>], now: Instant) {
        let Some(highest) = heads.iter().flatten().max() else {
            return;
        };
        for (seat, head) in self.seats.iter_mut().zip(heads) {
            let Some(head) = head else {
                continue;
            };
            let lags = highest.0.saturating_sub(head.0) >= self.rules.lag_blocks.max(1);
            seat.lagging_probes = if lags { seat.lagging_probes.saturating_add(1) } else { 0 };
        }
        let lagging = self.seats.get(self.leader).map_or(0, |seat| seat.lagging_probes);
        let best = self.best(now);
        if lagging >= self.rules.lag_probes.max(1) && self.rank(best, now) == Rank::FIT {
            self.change(best);
        }
    }

    /// How a node stands.
    #[must_use]
    pub fn standing(&self, node: NodeIndex, now: Instant) -> Standing {
        let Some(seat) = self.seats.get(node.0) else {
            return Standing::Unchecked;
        };
        match left(seat.cold_until, now) {
            Some(left) if seat.refused => Standing::Refused(left),
            Some(left) => Standing::Cooling(left),
            None if !seat.checked => Standing::Unchecked,
            None if seat.lagging_probes > 0 => Standing::Lagging,
            None => Standing::Fit,
        }
    }

    /// How many strikes count against a node.
    #[must_use]
    pub fn strikes(&self, node: NodeIndex, now: Instant) -> usize {
        let counts = |at: &&Instant| now.saturating_duration_since(**at) < self.rules.strike_window;
        self.seats.get(node.0).map_or(0, |seat| seat.strikes.iter().filter(counts).count())
    }

    fn change(&mut self, leader: usize) {
        if leader != self.leader {
            self.leader = leader;
            self.generation.0 += 1;
        }
    }

    /// The node to lead: the best by rank, of equals the one whose time in the cold ends first,
    /// then the next in the order of the settings, counted from the one that leads.
    fn best(&self, now: Instant) -> usize {
        let count = self.seats.len();
        (0..count)
            .map(|step| (self.leader + step) % count)
            .min_by_key(|&index| {
                let rank = self.rank(index, now);
                let cold = self.seats.get(index).and_then(|seat| left(seat.cold_until, now));
                (rank, cold)
            })
            .unwrap_or(self.leader)
    }

    fn rank(&self, index: usize, now: Instant) -> Rank {
        match self.standing(NodeIndex(index), now) {
            Standing::Fit => Rank::FIT,
            Standing::Lagging => Rank(1),
            Standing::Unchecked => Rank(2),
            Standing::Cooling(_) => Rank::COLD,
            Standing::Refused(_) => Rank(4),
        }
    }
}

/// How willingly a node is made leader, the best first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank(u8);

impl Rank {
    const FIT: Self = Self(0);
    const COLD: Self = Self(3);
}

impl Seat {
    /// Counts a strike; how many count now.
    fn strike(&mut self, now: Instant, rules: &Rules) -> usize {
        let since = |at: Instant| now.saturating_duration_since(at);
        if self.last_strike.is_some_and(|at| since(at) > rules.longest_cool_down) {
            self.times_cold = 0;
        }
        self.last_strike = Some(now);
        self.strikes.push_back(now);
        while self.strikes.len() > rules.strikes.max(1) {
            self.strikes.pop_front();
        }
        self.strikes.retain(|at| since(*at) < rules.strike_window);
        self.strikes.len()
    }

    /// Sends it into the cold. It is checked again when it comes back, because what comes back at
    /// an address need not be what was there.
    fn cool(&mut self, now: Instant, rules: &Rules) {
        let doubled = rules.first_cool_down * 2_u32.saturating_pow(self.times_cold.min(16));
        let until = now + doubled.min(rules.longest_cool_down);
        self.cold_until = self.cold_until.max(Some(until));
        self.times_cold = self.times_cold.saturating_add(1);
        self.checked = false;
        self.strikes.clear();
    }
}

/// The time left until an instant; `None` once it has passed.
fn left(until: Option<Instant>, now: Instant) -> Option<Duration> {
    until.and_then(|until| until.checked_duration_since(now)).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests;
