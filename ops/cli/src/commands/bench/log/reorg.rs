//! A reorganisation of 2,000 blocks against appending 2,000: each from the moment at which a follower can see the
//! blocks to the moment at which the read models stand at the new tip.
//!
//! The follower is stopped while the node makes the blocks, so that making them does not count; relay and
//! projector run all the time, as under `obsqra run`.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use obsqra_devnode::{Branch, DevNode, DevNodeOptions};
use obsqra_indexer::Feed;
use obsqra_store::projection::{block, state};
use obsqra_store::{Store, key};
use obsqra_types::{BlockHash, BlockNumber, ChainId};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, rounds};
use crate::commands::bench::stand::Stand;
use crate::config::Settings;
use crate::roles::{self, Writing};

const SEED: u64 = 1;
/// Blocks below the first that is reverted.
const BASE: u64 = 20;
/// No block is final: all may be reverted.
const NEVER: u64 = 1_000_000;
/// Time between two looks at the position of the read models.
const LOOK: Duration = Duration::from_millis(2);

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let (depth, counted) = match size {
        Size::Full => (2_000, ROUNDS),
        Size::Smoke => (10, 1),
    };
    let mut course = Course::start().await?;
    let mut appended =
        Figure::new("append_s", "s", format!("appending {depth} blocks, to consistent reads"));
    let mut reverted = Figure::new(
        "reorg_s",
        "s",
        format!("replacing {depth} blocks by others, to consistent reads"),
    );
    let Branches { short, long, other } = course.branches(depth).await?;
    for round in rounds(counted) {
        course.node.switch_to(short.clone()).await?;
        course.follow_to_head(1).await?;
        course.node.switch_to(long.clone()).await?;
        appended.take(round, course.follow_to_head(depth).await?.as_secs_f64());
        course.node.switch_to(other.clone()).await?;
        reverted.take(round, course.follow_to_head(depth).await?.as_secs_f64());
    }
    report.bar(Bar {
        name: "reorg_2000_vs_append_2000",
        value: reverted.median() / appended.median(),
        bar: 3.0,
        better: Better::Lower,
    });
    report.figures([appended, reverted]);
    course.stop().await
}

/// Chains above the base, made once: sealing a block takes longer than following it.
struct Branches {
    /// One block.
    short: Branch,
    /// The same and all that is appended to it.
    long: Branch,
    /// As many others.
    other: Branch,
}

/// A node, and all that follows it.
struct Course {
    stand: Stand,
    node: DevNode,
    chain: ChainId,
    writer: Store,
    reader: Store,
    roles: Vec<JoinHandle<Result<()>>>,
    stop: CancellationToken,
}

impl Course {
    async fn start() -> Result<Self> {
        let stand = Stand::start().await?;
        let options = DevNodeOptions {
            blocks: BASE,
            blocks_per_second: 0.0,
            l1_lag: NEVER,
            ..DevNodeOptions::seeded(SEED)
        };
        let node = DevNode::start(options).await?;
        node.wait_for_height(BASE - 1).await;
        let chain = ChainId::new(node.chain_id())?;
        let writing = Writing::open(&stand.instance, &stand.settings, &chain, "bench").await?;
        let stop = CancellationToken::new();
        let (context, writer) = (writing.context, writing.store);
        let relay = roles::relay(context.clone(), chain.clone(), stop.clone());
        let projector = roles::project(context, chain.clone(), stop.clone());
        let roles = vec![tokio::spawn(relay), tokio::spawn(projector)];
        let reader = stand.reader().await?;
        let mut course = Self { stand, node, chain, writer, reader, roles, stop };
        course.follow_to_head(BASE).await?;
        Ok(course)
    }

    /// Leaves the node with the other one.
    async fn branches(&self, depth: u64) -> Result<Branches> {
        self.node.push_blocks(1).await?;
        let aside = self.node.prepare_branch(1, 1).await?;
        let short = self.node.switch_to(aside).await?;
        self.node.switch_to(short.clone()).await?;
        self.node.push_blocks(depth).await?;
        let other = self.node.prepare_branch(depth + 1, depth + 1).await?;
        let long = self.node.switch_to(other.clone()).await?;
        Ok(Branches { short, long, other })
    }

    /// Lets a follower loose until the read models stand at the node's head; how long that took. The newest
    /// `changed` blocks of the read models are then compared with the log's.
    async fn follow_to_head(&mut self, changed: u64) -> Result<Duration> {
        let head = self.node.head().context("the node has no block")?;
        let goal = (BlockNumber(head.number), BlockHash(head.hash));
        let nodes = roles::nodes(&self.stand.settings, &self.node.url(), Some(self.chain.clone()))?;
        let settings = Settings { poll_interval_ms: 50, ..self.stand.settings.clone() };
        let stop = self.stop.child_token();
        let begun = Instant::now();
        let mut following = tokio::spawn(roles::follow(
            settings,
            self.writer.clone(),
            Feed::Nodes(nodes),
            self.chain.clone(),
            stop.clone(),
        ));
        while self.standing().await? != Some(goal) {
            if following.is_finished() {
                (&mut following).await??;
                bail!("the follower ended before block {}", goal.0);
            }
            if self.roles.iter().any(JoinHandle::is_finished) {
                self.end_roles().await?;
                bail!("a role ended before block {}", goal.0);
            }
            tokio::time::sleep(LOOK).await;
        }
        let took = begun.elapsed();
        stop.cancel();
        following.await??;
        self.check(goal.0, changed).await?;
        Ok(took)
    }

    async fn standing(&self) -> Result<Option<(BlockNumber, BlockHash)>> {
        let state = state::load(&self.reader, &self.chain).await?;
        Ok(state.block.map(|(block, hash)| (block.number, hash)))
    }

    /// At each height one row stands, that of the log's canonical block: what was reverted is closed.
    async fn check(&self, tip: BlockNumber, changed: u64) -> Result<()> {
        let from = BlockNumber((tip.0 + 1).saturating_sub(changed));
        let mut expected: Vec<(BlockNumber, BlockHash)> =
            key::canonical(&self.reader, &self.chain, from, tip)
                .await?
                .iter()
                .map(|applied| (applied.block.number, applied.hash))
                .collect();
        expected.reverse();
        let standing = block::standing_from(&self.reader, &self.chain, from).await?;
        if standing != expected {
            bail!("the read models have other blocks than the log from block {from} on");
        }
        Ok(())
    }

    async fn end_roles(&mut self) -> Result<()> {
        self.stop.cancel();
        for role in self.roles.drain(..) {
            role.await??;
        }
        Ok(())
    }

    async fn stop(mut self) -> Result<()> {
        self.end_roles().await?;
        self.node.stop().await;
        self.writer.close().await;
        self.reader.close().await;
        self.stand.stop().await
    }
}
