//! `obsqra` as a process of its own beside a measurement, and what processes cost.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use obsqra_store::{Store, chain_tip};
use obsqra_types::ChainId;
use tokio::process::{Child, Command};

/// Time between two looks at how far a follower has come.
const LOOK: Duration = Duration::from_millis(20);

/// This program with the servers of a data directory and a node, without the settings of the environment.
pub(super) fn obsqra<A: AsRef<OsStr>>(
    data_dir: &Path,
    node: &str,
    arguments: impl IntoIterator<Item = A>,
) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("OBSQRA_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .arg("--data-dir")
        .arg(data_dir)
        .env("OBSQRA_RPC_URL", node)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start a process to measure")
}

/// Waits until the log has a block of this height; the height that it has.
pub(super) async fn reached(
    store: &Store,
    chain: &ChainId,
    height: u64,
    process: &mut Child,
) -> Result<u64> {
    loop {
        if let Some(tip) = chain_tip::load(store, chain).await?
            && tip.number.0 >= height
        {
            return Ok(tip.number.0);
        }
        if let Some(ended) = process.try_wait()? {
            bail!("the process ended before block {height}: {ended}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The most memory that a process ever had at a time, as the kernel counts it.
pub(super) fn peak_mib(process: &Child) -> Result<f64> {
    let id = process.id().context("the process ended")?;
    let file = format!("/proc/{id}/status");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{file} has no VmHWM"))? / 1_024.0)
}

/// CPU time of this process and of all that descend from it, in seconds.
pub(super) fn cpu_seconds() -> Result<f64> {
    let own = std::process::id();
    let all: Vec<Stat> = fs::read_dir("/proc")
        .context("cannot read /proc")?
        .flatten()
        .filter_map(|entry| Stat::read(entry.file_name().to_str()?.parse().ok()?))
        .collect();
    let mut family = vec![own];
    let mut ticks = 0;
    while let Some(parent) = family.pop() {
        ticks += all.iter().filter(|stat| stat.id == parent).map(|stat| stat.ticks).sum::<u64>();
        family.extend(all.iter().filter(|stat| stat.parent == parent).map(|stat| stat.id));
    }
    Ok(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// A line of the kernel about a process.
struct Stat {
    id: u32,
    parent: u32,
    /// Of itself and of children that ended.
    ticks: u64,
}

impl Stat {
    /// `None` for a process that is gone by now.
    fn read(id: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in brackets and may hold anything.
        let (_, rest) = text.rsplit_once(") ")?;
        let members: Vec<&str> = rest.split(' ').collect();
        let number = |place: usize| members.get(place)?.parse::<u64>().ok();
        // State, parent, …; user, system and those of ended children are the 14th to 17th of the line.
        let parent = u32::try_from(number(1)?).ok()?;
        Some(Self { id, parent, ticks: number(11)? + number(12)? + number(13)? + number(14)? })
    }
}
