//! Several nodes of one chain, one of which leads at a time.
//!
//! All questions go to the leader, through a [`Leader`] that is good for one node only: once
//! another leads, it answers nothing but [`SourceError::LeaderChanged`], a question under way
//! included. So whoever takes one [`Leader`] for a piece of work (a look at the head and what
//! follows from it, a search for a fork) cannot mix the answers of two nodes, and begins anew with
//! the next. Which node leads is decided by [`selection`], which is pure. A node that serves
//! another chain, or answers by an unknown edition of the specification, is put out, at the start
//! and whenever it comes back. Where two nodes have different blocks at one height, that is told, and
//! whoever can be checked is right (`compare`): it is not for counting votes.

mod compare;
mod leader;
mod probe;
pub mod selection;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use obsqra_types::{BlockNumber, ChainId};
use tokio::sync::watch;

pub use self::compare::{ReceivedBlock, SourceFinding, UncheckedBlock};
pub use self::leader::Leader;
use self::selection::{Generation, Lead, NodeIndex, Outcome, Rules, Selection, Standing};
use super::{JsonRpcSource, SourceError, Spec};
use crate::planner::BlockId;

/// How nodes are watched and chosen.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// The chain that all must serve; without one, that of the node that is checked first.
    pub chain: Option<ChainId>,
    /// Time between two looks at the heads of all nodes.
    pub probe_interval: Duration,
    /// How long a check of a node or a look at its head may take.
    pub probe_timeout: Duration,
    /// When the lead changes.
    pub rules: Rules,
    /// Whether each block is asked of a second node too, and compared.
    pub compare: bool,
    /// Longest wait for a second node's block. One that takes longer is struck, and soon no longer asked.
    pub compare_timeout: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            chain: None,
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(10),
            rules: Rules::default(),
            compare: true,
            compare_timeout: Duration::from_secs(2),
        }
    }
}

/// The nodes.
#[derive(Clone, Debug)]
pub struct NodePool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    nodes: Vec<JsonRpcSource>,
    options: PoolOptions,
    state: Mutex<State>,
    generation: watch::Sender<Generation>,
}

#[derive(Debug)]
struct State {
    selection: Selection,
    chain: Option<ChainId>,
    notes: Vec<Notes>,
}

/// What is remembered of a node beside how it stands.
#[derive(Clone, Debug, Default)]
struct Notes {
    head: Option<BlockId>,
    trouble: Option<String>,
    disagreed_at: Option<BlockNumber>,
}

/// How a node stands, for people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeStatus {
    /// Its address without what may be secret.
    pub name: String,
    /// The edition of the specification that it answers by, once it said so.
    pub spec: Option<Spec>,
    /// Its newest block, as last heard.
    pub head: Option<BlockId>,
    /// How many strikes count against it.
    pub strikes: usize,
    /// How it stands.
    pub standing: Standing,
    /// Whether it leads.
    pub leads: bool,
    /// The last trouble with it, since it was checked last.
    pub trouble: Option<String>,
}

impl NodePool {
    /// Puts nodes together; nothing is sent yet, and the first leads.
    ///
    /// # Errors
    /// [`SourceError::NoNodes`] when there is none.
    pub fn new(nodes: Vec<JsonRpcSource>, options: PoolOptions) -> Result<Self, SourceError> {
        if nodes.is_empty() {
            return Err(SourceError::NoNodes);
        }
        let state = State {
            selection: Selection::new(nodes.len(), options.rules),
            chain: options.chain.clone(),
            notes: vec![Notes::default(); nodes.len()],
        };
        let (generation, _) = watch::channel(Generation::default());
        let shared = Shared { nodes, options, state: Mutex::new(state), generation };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The node that leads, checked. What was learned from an earlier leader must not be used with it.
    ///
    /// # Errors
    /// When no node can be asked: with what was wrong with the one that was tried last.
    pub async fn leader(&self) -> Result<Leader, SourceError> {
        let mut trouble = None;
        // A turn ends here, or checks a node, after which it is ready, in the cold or put out.
        for _ in 0..=2 * self.shared.nodes.len() {
            let lead = self.shared.lead();
            let source = self.shared.node(lead.node)?;
            if let Some(rest) = lead.rest {
                return Err(trouble.unwrap_or_else(|| SourceError::Busy {
                    node: source.name().to_owned(),
                    what: "choosing a node".to_owned(),
                    status: "it asked for rest, and no other node is fit".to_owned(),
                    retry_after: Some(rest),
                }));
            }
            match (lead.standing, trouble.take()) {
                (Standing::Fit | Standing::Lagging, _) => {
                    return Ok(Leader::new(self.clone(), lead, source));
                }
                // The others are worse, and it was not a good moment for this one.
                (Standing::Cooling(_) | Standing::Refused(_), Some(error)) => return Err(error),
                (_, _) => trouble = self.check(lead.node).await.err(),
            }
        }
        Err(trouble.unwrap_or(SourceError::NoNodes))
    }

    /// The chain that all nodes must serve: the one that was set, else the leader's.
    ///
    /// # Errors
    /// As [`Self::leader`].
    pub async fn chain_id(&self) -> Result<ChainId, SourceError> {
        let known = self.shared.state().chain.clone();
        match known {
            Some(chain) => Ok(chain),
            None => self.leader().await?.chain_id().await,
        }
    }

    /// How often the leader changed.
    #[must_use]
    pub fn generation(&self) -> Generation {
        *self.shared.generation.borrow()
    }

    /// Where changes of leader can be waited for.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Generation> {
        self.shared.generation.subscribe()
    }

    /// All nodes in the order of the settings.
    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        let now = Instant::now();
        let mut state = self.shared.state();
        let leader = state.selection.lead(now).node;
        let nodes = self.shared.nodes.iter().zip(&state.notes).enumerate();
        nodes
            .map(|(index, (source, notes))| NodeStatus {
                name: source.name().to_owned(),
                spec: source.known_spec(),
                head: notes.head,
                strikes: state.selection.strikes(NodeIndex(index), now),
                standing: state.selection.standing(NodeIndex(index), now),
                leads: NodeIndex(index) == leader,
                trouble: notes.trouble.clone(),
            })
            .collect()
    }

    /// Asks a node what it is, and puts it out when it is not of this chain.
    async fn check(&self, node: NodeIndex) -> Result<(), SourceError> {
        let source = self.shared.node(node)?;
        let limit = self.shared.options.probe_timeout;
        let opened = in_time(source, "checking its chain", limit, source.open()).await;
        let checked = opened.and_then(|identity| {
            let mut state = self.shared.state();
            let expected = state.chain.get_or_insert_with(|| identity.chain.clone());
            if *expected == identity.chain {
                return Ok(());
            }
            Err(SourceError::OtherChain {
                node: source.name().to_owned(),
                found: identity.chain,
                expected: expected.clone(),
            })
        });
        match &checked {
            Ok(()) => self.shared.note(node, Outcome::Checked, None),
            Err(error @ (SourceError::OtherChain { .. } | SourceError::UnknownSpec { .. })) => {
                tracing::error!(%error, "node put out");
                self.shared.note(node, Outcome::Refused, Some(error));
            }
            Err(error) => {
                if let Outcome::AsksForRest(rest) = outcome(error) {
                    self.shared.note(node, Outcome::AsksForRest(rest), Some(error));
                } else {
                    self.shared.note(node, Outcome::CheckFailed, Some(error));
                }
            }
        }
        checked
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn node(&self, node: NodeIndex) -> Result<&JsonRpcSource, SourceError> {
        self.nodes.get(node.0).ok_or(SourceError::NoNodes)
    }

    fn name(&self, node: NodeIndex) -> &str {
        self.nodes.get(node.0).map_or("", JsonRpcSource::name)
    }

    /// Who leads; a change is told.
    fn lead(&self) -> Lead {
        let mut state = self.state();
        let lead = state.selection.lead(Instant::now());
        // Still under the lock, so that generations are told in order.
        let changed = self.generation.send_if_modified(|told| {
            let changed = *told != lead.generation;
            *told = lead.generation;
            changed
        });
        drop(state);
        if changed {
            tracing::warn!(node = self.name(lead.node), "another node leads");
            metrics::counter!("obsqra_source_leader_changes_total").increment(1);
        }
        lead
    }

    fn note(&self, node: NodeIndex, outcome: Outcome, error: Option<&SourceError>) {
        {
            let mut state = self.state();
            state.selection.note(node, outcome, Instant::now());
            if let Some(notes) = state.notes.get_mut(node.0) {
                notes.trouble = error.map(ToString::to_string);
            }
        }
        self.lead();
    }

    fn note_head(&self, node: NodeIndex, head: Option<BlockId>) {
        if let Some(notes) = self.state().notes.get_mut(node.0) {
            notes.head = head;
        }
    }
}

/// What an error says about the node that answered with it.
fn outcome(error: &SourceError) -> Outcome {
    match error {
        SourceError::Busy { retry_after: Some(rest), .. } if !rest.is_zero() => {
            Outcome::AsksForRest(*rest)
        }
        SourceError::Mismatch(_) | SourceError::Contradicted { undecided: false, .. } => {
            Outcome::Mismatched
        }
        _ => Outcome::Failed,
    }
}

async fn in_time<T>(
    source: &JsonRpcSource,
    what: &str,
    limit: Duration,
    asked: impl Future<Output = Result<T, SourceError>>,
) -> Result<T, SourceError> {
    tokio::time::timeout(limit, asked).await.unwrap_or_else(|_| {
        Err(SourceError::Unreachable {
            node: source.name().to_owned(),
            what: what.to_owned(),
            problem: format!("no answer within {} ms", limit.as_millis()),
        })
    })
}
