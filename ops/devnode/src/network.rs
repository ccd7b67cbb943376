//! Several nodes of one chain under a script.
//!
//! The first node makes the chain, the others follow it unless they are told to stand alone. Steps begin when
//! the chain has the blocks that it is to have at once, and run one after the other; a step that cannot be
//! done ends the script, and the nodes go on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::branch::Branch;
use crate::node::{DevNode, DevNodeError, DevNodeOptions, end_task};
use crate::scenario::{Action, Scenario, ScenarioNode, Step, When};
use crate::twin::TwinOptions;

/// Running nodes of one chain, and their script.
#[derive(Debug)]
pub struct Network {
    nodes: Arc<Vec<DevNode>>,
    progress: watch::Receiver<Progress>,
    stop: CancellationToken,
    script: JoinHandle<()>,
}

/// How far the script has come.
#[derive(Debug, Clone, Default)]
struct Progress {
    done: usize,
    failed: Option<Arc<DevNodeError>>,
}

/// A step could not be done; those after it were not tried.
#[derive(Debug, Clone, thiserror::Error)]
#[error("step {step} of the scenario: {source}")]
pub struct StepFailed {
    /// Which one, counted from 1.
    pub step: usize,
    /// Why.
    pub source: Arc<DevNodeError>,
}

impl Network {
    /// Starts a scenario. The first node listens on `listen`, the others on the ports after it, or all on
    /// free ports if that of `listen` is 0.
    pub async fn of_scenario(scenario: Scenario, listen: SocketAddr) -> Result<Self, DevNodeError> {
        let first = DevNodeOptions { listen, ..scenario.first_node() };
        let others = scenario.nodes.into_iter().skip(1).collect();
        Self::start(first, others, scenario.steps).await
    }

    /// Starts a first node, others beside it, and a script over all of them.
    pub async fn start(
        first: DevNodeOptions,
        others: Vec<ScenarioNode>,
        steps: Vec<Step>,
    ) -> Result<Self, DevNodeError> {
        let listen = first.listen;
        let blocks = first.blocks;
        let mut nodes = vec![DevNode::start(first).await?];
        for (other, index) in others.into_iter().zip(1..) {
            let node = beside(nodes.first(), other, port_after(listen, index), blocks).await?;
            nodes.extend(node);
        }
        let nodes = Arc::new(nodes);
        let (sender, progress) = watch::channel(Progress::default());
        let stop = CancellationToken::new();
        let script = Script { nodes: Arc::clone(&nodes), blocks, replaced: BTreeMap::new() };
        let script = tokio::spawn(script.run(steps, sender, stop.clone()));
        Ok(Self { nodes, progress, stop, script })
    }

    /// The nodes, in order.
    pub fn nodes(&self) -> &[DevNode] {
        &self.nodes
    }

    /// How many steps were done.
    pub fn steps_done(&self) -> usize {
        self.progress.borrow().done
    }

    /// Waits until so many steps were done, or until one could not be.
    pub async fn wait_for_steps(&self, count: usize) -> Result<(), StepFailed> {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|now| now.done >= count || now.failed.is_some()).await.ok();
        match reached.and_then(|now| Some((now.done, now.failed.clone()?))) {
            Some((done, source)) => Err(StepFailed { step: done + 1, source }),
            None => Ok(()),
        }
    }

    /// Stops the script and the nodes.
    pub async fn stop(self) {
        self.stop.cancel();
        end_task(self.script).await;
        for node in self.nodes.iter() {
            node.end().await;
        }
    }
}

fn port_after(listen: SocketAddr, index: u16) -> SocketAddr {
    let port = match listen.port() {
        0 => 0,
        port => port.saturating_add(index),
    };
    SocketAddr::new(listen.ip(), port)
}

/// A node beside the first one.
async fn beside(
    first: Option<&DevNode>,
    node: ScenarioNode,
    listen: SocketAddr,
    blocks: u64,
) -> Result<Option<DevNode>, DevNodeError> {
    let Some(first) = first else { return Ok(None) };
    if node.alone {
        // It keeps the blocks of the start: they have to be there.
        first.wait_for_blocks(blocks).await;
    }
    let options = TwinOptions {
        listen,
        spec: node.spec,
        null_tokens: node.null_tokens,
        padded_felts: node.padded_felts,
        lag: node.lag,
        faults: node.faults,
    };
    let twin = first.twin(options).await?;
    if !node.alone {
        twin.follow_from(first);
    }
    Ok(Some(twin))
}

async fn wait_for_blocks(nodes: &[DevNode], count: u64) {
    if let Some(first) = nodes.first() {
        first.wait_for_blocks(count).await;
    }
}

/// Runs the steps.
struct Script {
    nodes: Arc<Vec<DevNode>>,
    /// Blocks that the first node has at once.
    blocks: u64,
    /// What the last reorganisation of a node replaced.
    replaced: BTreeMap<usize, Branch>,
}

impl Script {
    async fn run(
        mut self,
        steps: Vec<Step>,
        progress: watch::Sender<Progress>,
        stop: CancellationToken,
    ) {
        tokio::select! {
            () = stop.cancelled() => return,
            () = wait_for_blocks(&self.nodes, self.blocks) => {}
        }
        for (index, step) in steps.into_iter().enumerate() {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                done = self.step(step) => done,
            };
            match done {
                Ok(()) => progress.send_modify(|now| now.done = index + 1),
                Err(error) => {
                    tracing::error!(step = index + 1, %error, "the scenario ends here");
                    progress.send_modify(|now| now.failed = Some(Arc::new(error)));
                    return;
                }
            }
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), DevNodeError> {
        let nodes = Arc::clone(&self.nodes);
        // A scenario names only nodes that are there.
        let (Some(node), Some(leader)) = (nodes.get(step.node), nodes.first()) else {
            return Ok(());
        };
        match step.when {
            None => {}
            Some(When::AtHeight(number)) => node.wait_for_height(number).await,
            Some(When::AfterMs(millis)) => tokio::time::sleep(When::wait(millis)).await,
            Some(When::AfterCalls { method, count }) => {
                let before = node.calls(&method);
                node.wait_for_calls(&method, before.saturating_add(count)).await;
            }
        }
        match step.action {
            Action::Push(count) => node.push_blocks(count).await.map(|_| ()),
            Action::Reorg { depth, new_len } | Action::Disagree { depth, new_len } => {
                let branch = node.prepare_branch(depth, new_len).await?;
                self.switch(step.node, node, branch).await
            }
            Action::SwitchBack => match self.replaced.remove(&step.node) {
                Some(branch) => self.switch(step.node, node, branch).await,
                None => Ok(()),
            },
            Action::Finalize(number) => {
                node.finalize(number);
                Ok(())
            }
            Action::Fault(fault) => {
                node.faults().inject(fault.fault, fault.scope);
                Ok(())
            }
            Action::ClearFaults => {
                node.faults().clear();
                Ok(())
            }
            Action::StopServing => {
                node.stop_serving().await;
                Ok(())
            }
            Action::StartServing => node.start_serving().await,
            Action::SetLag(blocks) => {
                node.set_lag(blocks);
                Ok(())
            }
            Action::Follow => {
                node.follow_from(leader);
                Ok(())
            }
        }
    }

    async fn switch(
        &mut self,
        index: usize,
        node: &DevNode,
        branch: Branch,
    ) -> Result<(), DevNodeError> {
        let replaced = node.switch_to(branch).await?;
        self.replaced.insert(index, replaced);
        Ok(())
    }
}
