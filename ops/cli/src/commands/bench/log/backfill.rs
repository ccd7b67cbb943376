//! The peak memory of a follower after a long backfill against that of a short one: `obsqra index` as a process
//! of its own, asked before it is stopped. Memory that grows with the length of the chain shows here.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use obsqra_devnode::{DevNode, DevNodeOptions};
use obsqra_store::{Store, chain_tip};
use obsqra_types::ChainId;
use tokio::process::{Child, Command};

use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, Report};
use crate::commands::bench::stand::Stand;

/// Seed of the chain.
const SEED: u64 = 1;
/// Events of a block. The blocks are made as they are asked for: a seeded one takes 5 ms and memory.
const EVENTS: u32 = 2;
/// Time between two looks at how far the follower has come.
const LOOK: Duration = Duration::from_millis(50);

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
    let mut follower = follower(&stand, &node)?;
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

fn follower(stand: &Stand, node: &DevNode) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OBSQRA_") {
            command.env_remove(name);
        }
    }
    command
        .arg("index")
        .arg("--data-dir")
        .arg(stand.data_dir())
        .env("OBSQRA_RPC_URL", node.url())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a follower")
}

/// Waits until the log has a block of this height.
async fn reached(store: &Store, chain: &ChainId, height: u64, follower: &mut Child) -> Result<()> {
    loop {
        if chain_tip::load(store, chain).await?.is_some_and(|tip| tip.number.0 >= height) {
            return Ok(());
        }
        if let Some(ended) = follower.try_wait()? {
            bail!("the follower ended before block {height}: {ended}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The most memory that a process ever had at a time, as the kernel counts it.
fn peak_mib(process: &Child) -> Result<f64> {
    let id = process.id().context("the follower ended")?;
    let file = format!("/proc/{id}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{file} has no VmHWM"))? / 1_024.0)
}
