//! The node that leads, as long as it does.
//!
//! It answers what a single node answers. Each trouble is told to the pool; when that, or anything
//! else, costs the node its lead, the answer is [`SourceError::LeaderChanged`], at once and for
//! good.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use obsqra_types::{BlockHash, BlockNumber, ChainId, ContractAddress};

use super::compare::kind_of;
use super::selection::{Generation, Lead, NodeIndex, Outcome, Standing};
use super::{NodePool, outcome};
use crate::planner::BlockId;
use crate::source::{HeadWatch, HeadWatchOptions, JsonRpcSource, SourceBlock, SourceError, Spec};

/// A node for as long as it leads.
#[derive(Clone, Debug)]
pub struct Leader {
    pub(super) pool: NodePool,
    pub(super) node: NodeIndex,
    pub(super) source: JsonRpcSource,
    generation: Generation,
}

impl Leader {
    pub(super) fn new(pool: NodePool, lead: Lead, source: &JsonRpcSource) -> Self {
        Self { node: lead.node, source: source.clone(), generation: lead.generation, pool }
    }

    /// The node's address without what may be secret.
    #[must_use]
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The node's kind as the log names it, such as `json-rpc/0.10`.
    #[must_use]
    pub fn kind(&self) -> String {
        kind_of(&self.source)
    }

    /// Which change of leader made it lead.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether it leads still.
    #[must_use]
    pub fn leads(&self) -> bool {
        self.pool.generation() == self.generation
    }

    /// Counts a strike against it: its answers were of use one by one, and do not fit together.
    pub fn blame(&self) {
        self.pool.shared.note(self.node, Outcome::Failed, None);
    }

    /// Watches its head; see [`HeadWatch`].
    #[must_use]
    pub fn watch_heads(&self, options: HeadWatchOptions) -> HeadWatch {
        HeadWatch::start(&self.source, options)
    }

    /// See [`JsonRpcSource::chain_id`].
    ///
    /// # Errors
    /// As there, and [`SourceError::LeaderChanged`].
    pub async fn chain_id(&self) -> Result<ChainId, SourceError> {
        self.ask(self.source.chain_id()).await
    }

    /// See [`JsonRpcSource::spec`].
    ///
    /// # Errors
    /// As there, and [`SourceError::LeaderChanged`].
    pub async fn spec(&self) -> Result<Spec, SourceError> {
        self.ask(self.source.spec()).await
    }

    /// See [`JsonRpcSource::head`].
    ///
    /// # Errors
    /// As there, and [`SourceError::LeaderChanged`].
    pub async fn head(&self) -> Result<Option<BlockId>, SourceError> {
        let head = self.ask(self.source.head()).await?;
        self.pool.shared.note_head(self.node, head);
        Ok(head)
    }

    /// See [`JsonRpcSource::hash_at`].
    ///
    /// # Errors
    /// As there, and [`SourceError::LeaderChanged`].
    pub async fn hash_at(&self, number: BlockNumber) -> Result<Option<BlockHash>, SourceError> {
        self.ask(self.source.hash_at(number)).await
    }

    /// See [`JsonRpcSource::finalized`].
    ///
    /// # Errors
    /// As there, and [`SourceError::LeaderChanged`].
    pub async fn finalized(
        &self,
        known: Option<BlockNumber>,
        head: BlockNumber,
    ) -> Result<Option<BlockId>, SourceError> {
        self.ask(self.source.finalized(known, head)).await
    }

    /// See [`JsonRpcSource::block`].
    ///
    /// # Errors
    /// As there, and [`SourceError::LeaderChanged`].
    pub async fn block(&self, number: BlockNumber) -> Result<SourceBlock, SourceError> {
        self.ask(self.source.block(number)).await
    }

    /// See [`JsonRpcSource::events_in_range`].
    ///
    /// # Errors
    /// As there, and [`SourceError::LeaderChanged`].
    pub async fn events_in_range(
        &self,
        contracts: &BTreeSet<ContractAddress>,
        from: BlockNumber,
        to: BlockId,
    ) -> Result<BTreeMap<BlockNumber, BlockHash>, SourceError> {
        self.ask(self.source.events_in_range(contracts, from, to)).await
    }

    /// Asks as long as the node leads.
    pub(super) async fn ask<T>(
        &self,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let mut changes = self.pool.changes();
        let changed = changes.wait_for(|generation| *generation != self.generation);
        let answered = tokio::select! {
            biased;
            _ = changed => return Err(self.replaced(None)),
            answered = answer => answered,
        };
        answered.map_err(|error| self.heard(error))
    }

    /// Tells the pool of trouble, and what that means for whoever asked.
    pub(super) fn heard(&self, error: SourceError) -> SourceError {
        if self.is_trouble(&error) {
            self.pool.shared.note(self.node, outcome(&error), Some(&error));
        }
        if self.leads() { error } else { self.replaced(Some(error)) }
    }

    /// Whether an error counts against the node. A block that it does not have does when it told of
    /// a head well above: a node that was emptied below. Close to the head it is one of several
    /// behind an address that is late.
    fn is_trouble(&self, error: &SourceError) -> bool {
        match error {
            SourceError::Unreachable { .. }
            | SourceError::Busy { .. }
            | SourceError::Unusable { .. }
            | SourceError::Mismatch(_)
            | SourceError::Contradicted { undecided: false, .. }
            | SourceError::UnknownSpec { .. } => true,
            SourceError::NoBlock { number, .. } => {
                let state = self.pool.shared.state();
                let head = state.notes.get(self.node.0).and_then(|notes| notes.head);
                let lag = self.pool.shared.options.rules.lag_blocks;
                head.is_some_and(|head| number.0.saturating_add(lag) <= head.number.0)
            }
            // Not about this node, or of a stream.
            _ => false,
        }
    }

    fn replaced(&self, because: Option<SourceError>) -> SourceError {
        let leads = self.pool.shared.state().selection.lead(Instant::now()).node;
        SourceError::LeaderChanged {
            from: self.name().to_owned(),
            to: self.pool.shared.name(leads).to_owned(),
            because: because.map(Box::new),
        }
    }

    /// How the node stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.pool.shared.state().selection.standing(self.node, Instant::now())
    }
}
