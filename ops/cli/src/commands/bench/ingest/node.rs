//! From a node on loopback to committed, checked: `obsqra index` as a process of its own, against what the cores
//! could do if none of them ever waited. The CPU time is that of the node, the follower and the database.

use std::time::Instant;

use anyhow::Result;
use obsqra_devnode::{DevNode, DevNodeOptions};
use obsqra_types::ChainId;

use crate::commands::bench::Size;
use crate::commands::bench::child::{self, cpu_seconds, peak_mib, reached};
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, Round, rounds};
use crate::commands::bench::stand::Stand;
use crate::config::Settings;
use crate::roles::BATCH_EVENTS;

/// Seed of the chain.
const SEED: u64 = 1;

/// Events of a block, events of a sample, and the names of what is measured.
const SIZES: [(u32, u32, [&str; 3]); 3] = [
    (10, 20_000, ["rpc_10_events_per_s", "rpc_10_cpu_us", "rpc_vs_cpu_bound_10"]),
    (100, 60_000, ["rpc_100_events_per_s", "rpc_100_cpu_us", "rpc_vs_cpu_bound_100"]),
    (400, 80_000, ["rpc_400_events_per_s", "rpc_400_cpu_us", "rpc_vs_cpu_bound_400"]),
];

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let mut peak = Figure::new("rss_backfill", "MiB", "peak memory of the follower, largest lane");
    let mut highest = 0.0_f64;
    for (per_block, sample, names) in SIZES {
        let sample = match size {
            Size::Full => sample,
            Size::Smoke => 4 * per_block,
        };
        highest = highest.max(lane(report, (per_block, sample), names).await?);
    }
    peak.take(Round::Counted, highest);
    report.bar(Bar { name: "rss_backfill_mib", value: highest, bar: 300.0, better: Better::Lower });
    report.figures([peak]);
    Ok(())
}

/// A backfill, of which stretches are the samples; the follower's peak memory.
async fn lane(
    report: &mut Report,
    (per_block, sample): (u32, u32),
    [rate_name, cpu_name, bar]: [&'static str; 3],
) -> Result<f64> {
    let what = |how: &str| format!("{how}, {per_block} events a block");
    let mut rate = Figure::new(rate_name, "events/s", what("from a node to committed, checked"));
    let mut cpu = Figure::new(cpu_name, "us", what("CPU time an event of all processes"));
    let mut ratio = Figure::new(bar, "", what("rate over cores / CPU time an event"));
    let stretch = u64::from(sample / per_block);
    // A look finds the follower up to a batch further than asked for. The last blocks are never a sample: there
    // the follower comes to its end.
    let batch = (BATCH_EVENTS / u64::from(per_block)).min(stand_batch());
    let blocks = (stretch + batch + 1) * (ROUNDS as u64 + 2);
    let options = DevNodeOptions::sealed(SEED, per_block, blocks);
    let (stand, node) =
        tokio::try_join!(Stand::start(), async { Ok(DevNode::start(options).await?) })?;
    node.wait_for_height(blocks - 1).await;
    let chain = ChainId::new(node.chain_id())?;
    let store = stand.reader().await?;
    let mut follower = child::obsqra(stand.data_dir(), &node.url(), ["index"])?;
    let cores = std::thread::available_parallelism()?.get() as f64;
    let mut from = reached(&store, &chain, 0, &mut follower).await?;
    let (mut begun, mut used) = (Instant::now(), cpu_seconds()?);
    for round in rounds(ROUNDS) {
        let height = reached(&store, &chain, from + stretch, &mut follower).await?;
        let (took, now_used) = (begun.elapsed().as_secs_f64(), cpu_seconds()?);
        let events = ((height - from) * u64::from(per_block)) as f64;
        let (a_second, an_event) = (events / took, (now_used - used) / events);
        rate.take(round, a_second);
        cpu.take(round, an_event * 1e6);
        ratio.take(round, a_second * an_event / cores);
        (from, begun, used) = (height, Instant::now(), now_used);
    }
    let peak = peak_mib(&follower)?;
    follower.kill().await?;
    node.stop().await;
    store.close().await;
    stand.stop().await?;
    report.bar(Bar { name: bar, value: ratio.median(), bar: 0.8, better: Better::Higher });
    report.figures([rate, cpu]);
    Ok(peak)
}

/// Most blocks in one transaction of a follower as it is set up to be.
fn stand_batch() -> u64 {
    Settings::default().batch_blocks as u64
}
