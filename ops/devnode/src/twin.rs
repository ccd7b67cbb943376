//! Several nodes of one chain: twins that begin with the same blocks, and nodes that follow another one.
//!
//! A twin shares the blocks there are and nothing else: it has its own address, style, faults and
//! reorganisations. A node that follows shows what its leader has, as far as its own lag lets it, until it
//! changes its chain itself: then it goes on from there alone, which is how two nodes come to disagree.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::chain::ledger::Ledger;
use crate::chain::producer::Chain;
use crate::faults::ScriptedFault;
use crate::node::{DevNode, DevNodeError, Shared, style};
use crate::serving::bind;
use crate::spec::Spec;

/// How to run a twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwinOptions {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The specification it answers by.
    pub spec: Spec,
    /// Whether the last page of events has a `continuation_token` of null in place of none.
    pub null_tokens: bool,
    /// Whether felts are written with leading zeros, 64 digits long.
    pub padded_felts: bool,
    /// How many blocks older than its newest one its head is.
    pub lag: u64,
    /// Faults to begin with.
    pub faults: Vec<ScriptedFault>,
}

impl Default for TwinOptions {
    /// A free port of this machine, specification 0.10, no lag and no fault.
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            spec: Spec::default(),
            null_tokens: false,
            padded_felts: false,
            lag: 0,
            faults: Vec::new(),
        }
    }
}

/// Whom a node follows.
#[derive(Debug)]
pub(crate) struct Following {
    leader: Arc<Shared>,
    stop: CancellationToken,
}

impl DevNode {
    /// Starts another node with the blocks this one has. It makes no blocks by itself.
    pub async fn twin(&self, options: TwinOptions) -> Result<Self, DevNodeError> {
        let bound = bind(options.listen).await?;
        let shared = Arc::clone(&self.shared);
        let lag = options.lag;
        let (chain, ledger) = tokio::task::spawn_blocking(move || shared.copy(lag)).await?;
        let style = style(options.spec, options.null_tokens, options.padded_felts);
        Ok(Self::over(Shared::new(chain, ledger, style, options.faults), bound))
    }

    /// From now on this node has what the other one has, whenever that changes; it follows one node at a
    /// time. Two nodes must not follow each other.
    pub fn follow_from(&self, leader: &Self) {
        let stop = self.shared.server.stop.child_token();
        let following = Following { leader: Arc::clone(&leader.shared), stop: stop.clone() };
        if let Some(before) = self.shared.set_following(Some(following)) {
            before.stop.cancel();
        }
        let shared = Arc::clone(&self.shared);
        let leader = Arc::clone(&leader.shared);
        self.keep(tokio::spawn(async move { shared.follow(&leader, &stop).await }));
    }

    /// Ends following: the node keeps what it has and goes on alone.
    pub async fn unfollow(&self) -> Result<(), DevNodeError> {
        Shared::stop_following(&self.shared).await
    }
}

impl Shared {
    /// Follows until told to stop or until the leader is gone.
    async fn follow(&self, leader: &Self, stop: &CancellationToken) {
        let mut heads = leader.heads();
        loop {
            self.mirror(leader, stop);
            tokio::select! {
                () = stop.cancelled() => return,
                changed = heads.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Takes over what the leader has, unless following has ended.
    fn mirror(&self, leader: &Self, stop: &CancellationToken) {
        // Held meanwhile: whoever ends following waits here, and changes the chain only after that.
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        if following.is_some() && !stop.is_cancelled() {
            self.server.context.ledger.mirror(&leader.server.context.ledger);
            self.tell_head();
        }
    }

    fn set_following(&self, following: Option<Following>) -> Option<Following> {
        let mut place = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *place, following)
    }

    fn leader(&self) -> Option<Arc<Self>> {
        let following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        following.as_ref().map(|following| Arc::clone(&following.leader))
    }

    /// A copy of the chain that makes this node's blocks: the leader's while it follows.
    pub(crate) fn source_chain(&self) -> Chain {
        match self.leader() {
            Some(leader) => leader.source_chain(),
            None => self.chain().clone(),
        }
    }

    /// The chain and its blocks as of one moment.
    fn copy(&self, lag: u64) -> (Chain, Ledger) {
        match self.leader() {
            Some(leader) => leader.copy(lag),
            None => {
                let chain = self.chain();
                (chain.clone(), self.server.context.ledger.twin(lag))
            }
        }
    }

    /// Ends following, if there is any: a last look at the leader, whose chain is copied with it.
    pub(crate) async fn stop_following(shared: &Arc<Self>) -> Result<(), DevNodeError> {
        let shared = Arc::clone(shared);
        Ok(tokio::task::spawn_blocking(move || {
            if let Some(before) = shared.set_following(None) {
                before.stop.cancel();
                let chain = {
                    let theirs = before.leader.chain();
                    shared.server.context.ledger.mirror(&before.leader.server.context.ledger);
                    theirs.clone()
                };
                *shared.chain() = chain;
                shared.tell_head();
            }
        })
        .await?)
    }
}
