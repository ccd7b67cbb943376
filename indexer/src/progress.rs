//! How far following has come, for people and for metrics.

use obsqra_types::BlockNumber;
use tokio::sync::watch;

/// A snapshot of the follower's work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// The newest block in the log.
    pub tip: Option<BlockNumber>,
    /// The node's head.
    pub node_head: Option<BlockNumber>,
    /// Blocks appended by this process.
    pub blocks: u64,
    /// Watched events appended by this process.
    pub events: u64,
}

impl Progress {
    /// Blocks the node has and the log has not.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let head = self.node_head?.0;
        Some(self.tip.map_or(head.saturating_add(1), |tip| head.saturating_sub(tip.0)))
    }
}

/// Where the follower writes its progress.
pub type ProgressSender = watch::Sender<Progress>;
/// Where others read it.
pub type ProgressReceiver = watch::Receiver<Progress>;
