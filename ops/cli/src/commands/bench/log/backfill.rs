//! The peak memory of a follower after a long backfill against that of a short one: `obsqra index` as a process
//! of its own, asked before it is stopped. Memory that grows with the length of the chain shows here.

use std::time::Instant;

use anyhow::{Context, Result};
use obsqra_devnode::{DevNode, DevNodeOptions};
use obsqra_types::ChainId;

use crate::commands::bench::Size;
use crate::commands::bench::child::{self, peak_mib, reached};
use crate::commands::bench::frame::{Bar, Better, Figure, Report};
use crate::commands::bench::stand::Stand;

/// Seed of the chain.
const SEED: u64 = 1;
/// Events of a block. The blocks are made as they are asked for: a seeded one takes 5 ms and memory.
const EVENTS: u32 = 2;

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let (short, long) = match size {
        Size::Full => (20_000, 200_000),
        Size::Smoke => (20, 60),
    };
    let (small, _) = backfill(size, short).await?;
    let (large, rate) = backfill(size, long).await?;
    report.bar(Bar {
        name: "backfill_rss_growth",
        value: large / small,
        bar: 1.2,
        better: Better::Lower,
    });
    let what = |blocks| format!("peak memory of a follower over a backfill of {blocks} blocks");
    report.figures([
        Figure::single("backfill_short_rss_mib", "MiB", what(short), small),
        Figure::single("backfill_long_rss_mib", "MiB", what(long), large),
        Figure::single(
            "backfill_blocks_per_s",
            "blocks/s",
            format!("backfill of {long} blocks"),
            rate,
        ),
    ]);
    Ok(())
}

/// A backfill into a log of its own; the follower's peak memory in MiB, and its blocks a second.
async fn backfill(size: Size, blocks: u64) -> Result<(f64, f64)> {
    let stand = Stand::start().await?;
    let node = node(size, blocks).await?;
    let chain = ChainId::new(node.chain_id())?;
    let store = stand.reader().await?;
    let begun = Instant::now();
    let mut follower = child::obsqra(stand.data_dir(), &node.url(), ["index"])?;
    reached(&store, &chain, blocks - 1, &mut follower).await?;
    let rate = blocks as f64 / begun.elapsed().as_secs_f64();
    let peak = peak_mib(&follower)?;
    // The log goes with its servers: nothing is left that an orderly end would be good for.
    follower.kill().await.context("cannot stop the follower")?;
    node.stop().await;
    store.close().await;
    stand.stop().await?;
    Ok((peak, rate))
}

/// A node with so many blocks.
async fn node(size: Size, blocks: u64) -> Result<DevNode> {
    let options = match size {
        Size::Full => DevNodeOptions::light(SEED, EVENTS, blocks),
        Size::Smoke => DevNodeOptions { blocks, ..DevNodeOptions::seeded(SEED) },
    };
    let node = DevNode::start(DevNodeOptions { blocks_per_second: 0.0, ..options }).await?;
    node.wait_for_height(blocks - 1).await;
    Ok(node)
}
