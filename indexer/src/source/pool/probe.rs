//! Looking at the heads of all nodes now and then: who lags, who has come back, who has another block.

use std::time::Instant;

use obsqra_types::BlockNumber;
use tokio_util::sync::CancellationToken;

use super::selection::{NodeIndex, Standing};
use super::{NodePool, in_time, outcome};
use crate::planner::BlockId;
use crate::source::SourceError;

impl NodePool {
    /// Looks at all nodes again and again until `shutdown`. A single node is left to whoever
    /// follows it.
    pub async fn watch(&self, shutdown: &CancellationToken) {
        if self.shared.nodes.len() < 2 {
            shutdown.cancelled().await;
            return;
        }
        while !shutdown.is_cancelled() {
            let round = async {
                self.probe().await;
                tokio::time::sleep(self.shared.options.probe_interval).await;
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = round => {}
            }
        }
    }

    /// Looks at all nodes once, those in the cold aside.
    pub async fn probe(&self) {
        let nodes = (0..self.shared.nodes.len()).map(NodeIndex);
        let heads = futures::future::join_all(nodes.map(|node| self.look(node))).await;
        let numbers: Vec<_> = heads.iter().map(|head| head.map(|head| head.number)).collect();
        self.shared.state().selection.probed(&numbers, Instant::now());
        let leader = self.shared.lead().node;
        let Some(Some(own)) = heads.get(leader.0).copied() else {
            return;
        };
        for (index, head) in heads.into_iter().enumerate() {
            if let Some(head) = head
                && NodeIndex(index) != leader
            {
                self.compare((leader, own), (NodeIndex(index), head)).await;
            }
        }
    }

    /// A node's head; `None` when it has none or cannot be asked.
    async fn look(&self, node: NodeIndex) -> Option<BlockId> {
        let standing = self.shared.state().selection.standing(node, Instant::now());
        match standing {
            Standing::Cooling(_) | Standing::Refused(_) => return None,
            Standing::Unchecked => self.check(node).await.ok()?,
            Standing::Fit | Standing::Lagging => {}
        }
        let source = self.shared.node(node).ok()?;
        let limit = self.shared.options.probe_timeout;
        match in_time(source, "looking at its head", limit, source.head()).await {
            Ok(head) => {
                self.shared.note_head(node, head);
                head
            }
            Err(error) => {
                tracing::debug!(%error, "probe failed");
                self.shared.note(node, outcome(&error), Some(&error));
                None
            }
        }
    }

    /// Compares two nodes at the highest height that both have.
    async fn compare(
        &self,
        (leader, own): (NodeIndex, BlockId),
        (node, head): (NodeIndex, BlockId),
    ) {
        let height = own.number.min(head.number);
        let (own, other) =
            match tokio::try_join!(self.at(leader, own, height), self.at(node, head, height)) {
                Ok((Some(own), Some(other))) => (own, other),
                Ok(_) => return,
                Err(error) => {
                    tracing::debug!(%error, "nodes not compared");
                    return;
                }
            };
        if own.hash == other.hash {
            return;
        }
        let told = self
            .shared
            .state()
            .notes
            .get_mut(node.0)
            .is_some_and(|notes| notes.disagreed_at.replace(height) == Some(height));
        if told {
            return;
        }
        let name = self.shared.name(node).to_owned();
        tracing::warn!(
            block = height.0,
            leader = self.shared.name(leader),
            leaders_hash = %own.hash,
            node = name,
            hash = %other.hash,
            "nodes disagree about a block; the leader is followed"
        );
        metrics::counter!("obsqra_source_disagreements_total", "node" => name).increment(1);
    }

    async fn at(
        &self,
        node: NodeIndex,
        head: BlockId,
        height: BlockNumber,
    ) -> Result<Option<BlockId>, SourceError> {
        if head.number == height {
            return Ok(Some(head));
        }
        let source = self.shared.node(node)?;
        let limit = self.shared.options.probe_timeout;
        let hash = in_time(source, "comparing a block", limit, source.hash_at(height)).await?;
        Ok(hash.map(|hash| BlockId { number: height, hash }))
    }
}
