//! How late a new block is: from the moment a node has it to the moment its entries are committed, with all roles
//! on in a process of their own, against the medians of the stages that it goes through.

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use obsqra_devnode::{DevNode, DevNodeOptions};
use obsqra_servers::scratch_dir;
use obsqra_store::notify::{self, Listener};
use obsqra_store::{Role, Store, chain_tip};
use obsqra_types::ChainId;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Child;

use crate::commands::bench::Size;
use crate::commands::bench::child::{self, reached};
use crate::commands::bench::frame::{Bar, Better, Figure, Report, Round};
use crate::config::Settings;
use crate::instance::Instance;

const SEED: u64 = 1;
const EVENTS: u32 = 400;
const BLOCKS_PER_SECOND: f64 = 2.0;
/// Blocks that are there before, and blocks that everything warms up with.
const BEFORE: u64 = 10;
const WARM_UP: u64 = 10;
/// Stages of a block's way, as the follower measures them.
const STAGES: [&str; 5] = ["fetch", "read", "check", "encode", "commit"];
/// Time between two looks whether the process serves.
const LOOK: Duration = Duration::from_millis(50);
/// Longest wait for a block.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let blocks = match size {
        Size::Full => 140,
        Size::Smoke => 6,
    };
    let options = DevNodeOptions {
        blocks_per_second: BLOCKS_PER_SECOND,
        ..DevNodeOptions::sealed(SEED, EVENTS, BEFORE)
    };
    let node = DevNode::start(options).await?;
    let chain = ChainId::new(node.chain_id())?;
    let folder = scratch_dir()?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let arguments = ["run", "--listen", listen.as_str()];
    let mut process = child::obsqra(folder.path(), &node.url(), arguments)?;
    let metrics = format!("http://{listen}/metrics");
    ready(&metrics, &mut process).await?;
    // The servers are those of the process, and end with it.
    let settings = Settings { data_dir: folder.path().to_owned(), ..Settings::default() };
    let instance = Instance::open_database(&settings).await?;
    let store = instance.store_as(Role::Reader).await?;
    let first = reached(&store, &chain, BEFORE, &mut process).await? + WARM_UP;
    let mut latency =
        Figure::new("latency_ms", "ms", "from a new block to its committed entries, all roles on");
    let mut samples = Vec::new();
    for height in first..first + blocks {
        let took = late(&node, (&store, &chain), height, &mut process).await?;
        let millis = took.as_secs_f64() * 1e3;
        latency.take(Round::Counted, millis);
        samples.push(millis);
    }
    let stages = stages(&metrics).await?;
    store.close().await;
    instance.close().await?;
    end(process).await?;
    node.stop().await;
    samples.sort_by(f64::total_cmp);
    let p99 = samples.get((samples.len() * 99).div_ceil(100) - 1).copied().unwrap_or(f64::NAN);
    let sum: f64 = stages.iter().map(|(_, median)| median).sum();
    report.bar(Bar {
        name: "latency_p99_vs_stages",
        value: p99 / sum,
        bar: 3.0,
        better: Better::Lower,
    });
    report.figures([
        latency,
        Figure::single("latency_p99_ms", "ms", "the 99th of a hundred of them", p99),
    ]);
    report.figures(stages.into_iter().map(|(stage, median)| {
        let what = format!("median of the stage {stage}");
        Figure::single(stage_name(stage), "ms", what, median)
    }));
    Ok(())
}

/// Waits until the process serves.
async fn ready(url: &str, process: &mut Child) -> Result<()> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    loop {
        if client.get(url).send().await.is_ok() {
            return Ok(());
        }
        if let Some(ended) = process.try_wait()? {
            bail!("the process ended before it served: {ended}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Ends a process in order, with the servers that it started.
async fn end(mut process: Child) -> Result<()> {
    let id = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    kill_process(id.context("the process ended")?, Signal::TERM)?;
    process.wait().await?;
    Ok(())
}

fn stage_name(stage: &str) -> &'static str {
    match stage {
        "fetch" => "stage_fetch_ms",
        "read" => "stage_read_ms",
        "check" => "stage_check_ms",
        "encode" => "stage_encode_ms",
        _ => "stage_commit_ms",
    }
}

/// Waits for a block at the node, then for its entries.
async fn late(
    node: &DevNode,
    (store, chain): (&Store, &ChainId),
    height: u64,
    process: &mut Child,
) -> Result<Duration> {
    let mut signal = Listener::new(store, notify::Signal::Log).await?;
    node.wait_for_height(height).await;
    let begun = Instant::now();
    loop {
        if chain_tip::load(store, chain).await?.is_some_and(|tip| tip.number.0 >= height) {
            return Ok(begun.elapsed());
        }
        if let Some(ended) = process.try_wait()? {
            bail!("the process ended before block {height}: {ended}");
        }
        if begun.elapsed() > PATIENCE {
            bail!("block {height} is not in the log after {PATIENCE:?}");
        }
        signal.wait(PATIENCE).await?;
    }
}

/// Medians of the stages in milliseconds, as the process tells them.
async fn stages(url: &str) -> Result<Vec<(&'static str, f64)>> {
    let client = reqwest::Client::builder().no_proxy().build()?;
    let text = client.get(url).send().await?.error_for_status()?.text().await?;
    STAGES
        .iter()
        .map(|&stage| {
            let label =
                format!("obsqra_indexer_stage_seconds{{stage=\"{stage}\",quantile=\"0.5\"}}");
            let value =
                text.lines().find_map(|line| line.strip_prefix(&label)?.trim().parse().ok());
            let seconds: f64 = value.with_context(|| format!("{url} does not tell of {stage}"))?;
            Ok((stage, seconds * 1e3))
        })
        .collect()
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
