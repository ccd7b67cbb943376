//! Scenario files: which nodes there are, and what goes wrong with them, step by step.
//!
//! A file is TOML and is checked whole before anything runs: a member that nobody knows, a step about a node
//! that is not there or a switch back from nowhere refuses it, with the line or the step. Steps run in the
//! order of the file, each when its condition holds; a step without one runs at once. The first one waits
//! until the chain has the blocks that it is to have at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::faults::ScriptedFault;
use crate::node::{DevNodeOptions, Source};
use crate::rpc::METHODS;
use crate::spec::Spec;

/// Most nodes.
pub const MAX_NODES: usize = 16;

/// Most steps.
pub const MAX_STEPS: usize = 1_000;

/// Longest wait of a step, in milliseconds.
pub const MAX_STEP_WAIT_MILLIS: u64 = 600_000;

/// A scenario: a chain, the nodes that serve it, and steps.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// What it shows, in one sentence.
    pub title: String,
    /// The chain of the first node.
    #[serde(default)]
    pub chain: ScenarioChain,
    /// The nodes; one if none is given.
    #[serde(default)]
    pub nodes: Vec<ScenarioNode>,
    /// What happens, in order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// The chain of a scenario; what is left out is as `obsqra devnode` has it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioChain {
    /// Seed of a seeded or light chain.
    pub seed: Option<u64>,
    /// Height at which the incident at zkLend begins on a seeded chain.
    pub incident: Option<u64>,
    /// Makes it a light chain with so many events a block.
    pub light: Option<u32>,
    /// Makes it the recorded chain of this file.
    pub recorded: Option<PathBuf>,
    /// Blocks that are there at once.
    pub blocks: Option<u64>,
    /// Pace of the blocks after those.
    pub blocks_per_second: Option<f64>,
    /// A block is accepted on L1 when so many blocks lie above it.
    pub l1_lag: Option<u64>,
}

/// A node of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScenarioNode {
    /// The specification it answers by.
    pub spec: Spec,
    /// Whether the last page of events has a token of null in place of none.
    pub null_tokens: bool,
    /// Whether felts are written with leading zeros.
    pub padded_felts: bool,
    /// How many blocks older than its newest one its head is.
    pub lag: u64,
    /// Whether it keeps the blocks of the start and does not follow the first node.
    pub alone: bool,
    /// Faults to begin with.
    pub faults: Vec<ScriptedFault>,
}

/// A step of a scenario.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which node it is about, counted from 0.
    #[serde(default)]
    pub node: usize,
    /// When it happens, from the end of the step before; at once if left out.
    pub when: Option<When>,
    /// What happens.
    pub action: Action,
}

/// The condition of a step.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum When {
    /// The node's head has this height, or a greater one.
    AtHeight(u64),
    /// So many milliseconds went by.
    AfterMs(u64),
    /// A method of the node was called so often.
    AfterCalls {
        /// The method.
        method: String,
        /// How often.
        count: u64,
    },
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Makes so many blocks.
    Push(u64),
    /// Replaces the top of the chain; whoever follows the node follows it there.
    Reorg {
        /// Blocks to replace.
        depth: u64,
        /// Blocks in their place.
        new_len: u64,
    },
    /// The same on a node that followed another one and goes its own way from now on.
    Disagree {
        /// Blocks to replace.
        depth: u64,
        /// Blocks in their place.
        new_len: u64,
    },
    /// Goes back to the branch that the last reorganisation replaced.
    SwitchBack,
    /// This block and those below it are accepted on L1.
    Finalize(u64),
    /// Injects a fault.
    Fault(ScriptedFault),
    /// Lets go of all faults that wait.
    ClearFaults,
    /// Closes the node's address.
    StopServing,
    /// Opens it again.
    StartServing,
    /// The node's head is so many blocks older than its newest one.
    SetLag(u64),
    /// Follows the first node again.
    Follow,
}

/// Why a scenario is refused.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read the scenario {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not TOML, or not of the shape of a scenario.
    #[error("not a scenario: {0}")]
    Shape(#[from] toml::de::Error),
    /// Two sources for one chain.
    #[error("chain: light and recorded exclude each other")]
    TwoSources,
    /// An incident where it cannot happen.
    #[error("chain: an incident needs a seeded chain and a height above 0")]
    Incident,
    /// Too many nodes or steps.
    #[error("{count} {what} are too many: at most {most} are allowed")]
    TooMany {
        /// Nodes or steps.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        most: usize,
    },
    /// A step that cannot happen.
    #[error("step {step}: {what}")]
    Step {
        /// Which one, counted from 1.
        step: usize,
        /// What is wrong with it.
        what: BadStep,
    },
}

/// What is wrong with a step.
#[derive(Debug, thiserror::Error)]
pub enum BadStep {
    /// It is about a node that is not there.
    #[error("there is no node {node}, the last one is {last}")]
    NoSuchNode {
        /// The node.
        node: usize,
        /// The last one there is.
        last: usize,
    },
    /// It waits for calls of a method that nobody answers.
    #[error("no method is called {0:?}")]
    UnknownMethod(String),
    /// It waits too long.
    #[error("{0} ms is too long: at most {MAX_STEP_WAIT_MILLIS} are allowed")]
    WaitsTooLong(u64),
    /// A reorganisation that replaces nothing.
    #[error("a depth of 0 replaces nothing")]
    NoDepth,
    /// There is no branch to go back to.
    #[error("no step before it reorganised node {0}: there is nothing to switch back to")]
    NothingToSwitchBackTo(usize),
    /// The first node has nobody to follow.
    #[error("node 0 leads and cannot follow or disagree: name another node")]
    LeaderFollows,
    /// A fault that spoils nothing.
    #[error("the fault's scope has times = 0: it would spoil nothing")]
    FaultNever,
}

impl Scenario {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text)
    }

    /// Checks the text of a file.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let mut scenario: Self = toml::from_str(text)?;
        if scenario.nodes.is_empty() {
            scenario.nodes.push(ScenarioNode::default());
        }
        scenario.check()?;
        Ok(scenario)
    }

    fn check(&self) -> Result<(), ScenarioError> {
        if self.chain.light.is_some() && self.chain.recorded.is_some() {
            return Err(ScenarioError::TwoSources);
        }
        let seeded = self.chain.light.is_none() && self.chain.recorded.is_none();
        if self.chain.incident.is_some_and(|height| height == 0 || !seeded) {
            return Err(ScenarioError::Incident);
        }
        let bounds =
            [("nodes", self.nodes.len(), MAX_NODES), ("steps", self.steps.len(), MAX_STEPS)];
        for (what, count, most) in bounds {
            if count > most {
                return Err(ScenarioError::TooMany { what, count, most });
            }
        }
        for (index, step) in self.steps.iter().enumerate() {
            let before = self.steps.get(..index).unwrap_or_default();
            self.check_step(step, before)
                .map_err(|what| ScenarioError::Step { step: index + 1, what })?;
        }
        Ok(())
    }

    fn check_step(&self, step: &Step, before: &[Step]) -> Result<(), BadStep> {
        let last = self.nodes.len().saturating_sub(1);
        if step.node > last {
            return Err(BadStep::NoSuchNode { node: step.node, last });
        }
        match &step.when {
            Some(When::AfterMs(wait)) if *wait > MAX_STEP_WAIT_MILLIS => {
                return Err(BadStep::WaitsTooLong(*wait));
            }
            Some(When::AfterCalls { method, .. }) if !METHODS.contains(&method.as_str()) => {
                return Err(BadStep::UnknownMethod(method.clone()));
            }
            _ => {}
        }
        match &step.action {
            Action::Reorg { depth: 0, .. } | Action::Disagree { depth: 0, .. } => {
                Err(BadStep::NoDepth)
            }
            Action::Disagree { .. } | Action::Follow if step.node == 0 => {
                Err(BadStep::LeaderFollows)
            }
            Action::Fault(fault) if fault.scope.times == 0 => Err(BadStep::FaultNever),
            Action::SwitchBack if !before.iter().any(|earlier| earlier.reorganises(step.node)) => {
                Err(BadStep::NothingToSwitchBackTo(step.node))
            }
            _ => Ok(()),
        }
    }

    /// The options of the first node, without an address.
    pub(crate) fn first_node(&self) -> DevNodeOptions {
        let chain = &self.chain;
        let node = self.nodes.first().cloned().unwrap_or_default();
        let seed = chain.seed.unwrap_or(1);
        let base = match (&chain.recorded, chain.light) {
            (Some(file), _) => DevNodeOptions::recorded(file),
            (None, Some(events_per_block)) => DevNodeOptions {
                source: Source::Light { seed, events_per_block },
                ..DevNodeOptions::seeded(seed)
            },
            (None, None) => DevNodeOptions {
                source: Source::Seeded { seed, incident: chain.incident },
                ..DevNodeOptions::seeded(seed)
            },
        };
        DevNodeOptions {
            blocks: chain.blocks.unwrap_or(base.blocks),
            blocks_per_second: chain.blocks_per_second.unwrap_or(base.blocks_per_second),
            l1_lag: chain.l1_lag.unwrap_or(base.l1_lag),
            faults: node.faults,
            spec: node.spec,
            null_tokens: node.null_tokens,
            padded_felts: node.padded_felts,
            lag: node.lag,
            ..base
        }
    }
}

impl Step {
    fn reorganises(&self, node: usize) -> bool {
        self.node == node && matches!(self.action, Action::Reorg { .. } | Action::Disagree { .. })
    }
}

impl When {
    /// How long a wait by the clock is.
    pub(crate) fn wait(millis: u64) -> Duration {
        Duration::from_millis(millis.min(MAX_STEP_WAIT_MILLIS))
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_whole() {
        let scenario = Scenario::parse(
            r#"
            title = "all of it"
            chain = { seed = 3, blocks = 10, blocks_per_second = 0.5, l1_lag = 4 }
            nodes = [{ spec = "0.9", lag = 1 }, { alone = true, padded_felts = true }]

            [[steps]]
            when = { after_calls = { method = "starknet_chainId", count = 2 } }
            action = { fault = { fault = { hang = { millis = 5 } }, scope = { times = 1 } } }

            [[steps]]
            node = 1
            when = { at_height = 9 }
            action = { disagree = { depth = 2, new_len = 3 } }

            [[steps]]
            node = 1
            action = "switch_back"
            "#,
        )
        .expect("a scenario");
        assert_eq!(scenario.nodes.len(), 2);
        let first = scenario.first_node();
        assert_eq!((first.blocks, first.l1_lag, first.spec, first.lag), (10, 4, Spec::V0_9, 1));
        assert_eq!(scenario.steps.get(1).map(|step| step.node), Some(1));
        assert_eq!(scenario.steps.get(2).map(|step| step.when.clone()), Some(None));
    }

    #[test]
    fn a_scenario_without_nodes_has_one() {
        assert_eq!(Scenario::parse("title = 'x'").expect("a scenario").nodes.len(), 1);
    }

    #[test]
    fn what_is_wrong_is_named_with_line_or_step() {
        let steps = |action: &str| format!("title = 'x'\n[[steps]]\n{action}\n");
        let cases = [
            ("", "missing field `title`"),
            ("title = 'x'\nnope = 1", "line 2"),
            ("title = 'x'\nchain = { light = 1, recorded = 'f' }", "exclude each other"),
            ("title = 'x'\nnodes = [{ spec = '0.7' }]", "line 2"),
            ("title = 'x'\nchain = { incident = 0 }", "a height above 0"),
            ("title = 'x'\nchain = { incident = 9, light = 1 }", "needs a seeded chain"),
            (&steps("action = { push = -1 }"), "line 3"),
            (&steps("action = 'explode'"), "line 3"),
            (&steps("node = 1\naction = 'clear_faults'"), "step 1: there is no node 1"),
            (&steps("action = 'switch_back'"), "step 1: no step before it"),
            (&steps("action = 'follow'"), "step 1: node 0 leads"),
            (&steps("action = { reorg = { depth = 0, new_len = 1 } }"), "step 1: a depth of 0"),
            (&steps("action = { push = 1 }\nwhen = { after_ms = 600001 }"), "step 1: 600001 ms"),
            (
                &steps(
                    "action = { push = 1 }\nwhen = { after_calls = { method = 'x', count = 1 } }",
                ),
                "step 1: no method is called \"x\"",
            ),
            (
                &steps("action = { fault = { fault = 'server_error', scope = { times = 0 } } }"),
                "step 1: the fault's scope",
            ),
        ];
        for (text, reason) in cases {
            let message = Scenario::parse(text).expect_err(text).to_string();
            assert!(message.contains(reason), "`{reason}` in: {message}");
        }
        let many = format!("title = 'x'\nnodes = [{}]", "{},".repeat(MAX_NODES + 1));
        let message = Scenario::parse(&many).expect_err("too many").to_string();
        assert_eq!(message, "17 nodes are too many: at most 16 are allowed");
    }
}
