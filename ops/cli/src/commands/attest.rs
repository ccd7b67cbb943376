//! `obsqra attest`: verifies blocks that were applied unverified, by a node of specification 0.10, or repeats
//! checks from the log alone. A follower may run beside it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use obsqra_events::Difference;
use obsqra_indexer::attest::{AttestOptions, AttestReport, OfflineReport, attest, offline};
use obsqra_store::{Role, Store, chain_tip};
use obsqra_types::{BlockNumber, ChainId, Seq};
use tokio_util::sync::CancellationToken;

use crate::args::AttestArgs;
use crate::config::Settings;
use crate::instance::Instance;
use crate::progress::Pass;
use crate::roles::{self, Roles};

/// Most blocks fetched at once.
const FETCH_AHEAD: usize = 16;
/// Most blocks named one by one.
const NAMED: usize = 20;

pub(super) async fn run(settings: Settings, args: AttestArgs) -> Result<ExitCode> {
    let running = Roles::new()?;
    let instance = Instance::open_database(&settings).await?;
    let done = act(&settings, &instance, &args, running.stop()).await;
    instance.close().await?;
    done
}

async fn act(
    settings: &Settings,
    instance: &Instance,
    args: &AttestArgs,
    stop: &CancellationToken,
) -> Result<ExitCode> {
    let store = instance.store_as(Role::Writer).await?;
    let chain = roles::known_chain(settings, &store)
        .await?
        .context("the log is empty: there is nothing to attest")?;
    let range = range(&store, &chain, args).await?;
    if args.offline {
        let pass = Pass::new();
        let report = offline(&store, &chain, range, stop, |at| at_height(&pass, range, at)).await;
        pass.end();
        return Ok(tell_offline(&report?));
    }
    let urls = settings.rpc_url.as_deref().context(
        "no node is set: set OBSQRA_RPC_URL to one of specification 0.10, or give --rpc-url",
    )?;
    let nodes = roles::nodes(settings, urls, Some(chain.clone()))?;
    let options = AttestOptions {
        chain,
        range,
        keep: settings.keep.into(),
        fetch_ahead: FETCH_AHEAD,
        holder: roles::holder("attest"),
        lease_ttl: Duration::from_millis(settings.lease_ttl_ms),
    };
    let pass = Pass::new();
    let report = attest(&store, &nodes, &options, stop, |at| at_height(&pass, range, at)).await;
    pass.end();
    Ok(tell(&report?, stop.is_cancelled()))
}

fn at_height(pass: &Pass, (first, last): (BlockNumber, BlockNumber), at: BlockNumber) {
    pass.at(Seq(at.0 - first.0 + 1), Seq(last.0 - first.0 + 1));
}

/// The heights asked for, which the log must have.
async fn range(
    store: &Store,
    chain: &ChainId,
    args: &AttestArgs,
) -> Result<(BlockNumber, BlockNumber)> {
    let tip = chain_tip::load(store, chain).await?.context("the log has no block yet")?;
    let from = args.from.map_or(tip.first, BlockNumber);
    let to = args.to.map_or(tip.number, BlockNumber);
    if from > to {
        bail!("--from {from} is above --to {to}");
    }
    if from < tip.first || to > tip.number {
        bail!("the log has blocks {} to {}, not {from} to {to}", tip.first, tip.number);
    }
    Ok((from, to))
}

fn tell(report: &AttestReport, stopped: bool) -> ExitCode {
    println!("{} blocks are verified that were not before", report.verified);
    if report.unverifiable > 0 {
        let reason = report.reason.as_deref().unwrap_or("unknown");
        println!("{} blocks cannot be checked by this node: {reason}", report.unverifiable);
    }
    if report.other_branch > 0 {
        println!("{} blocks are others on the node: it is on another branch", report.other_branch);
    }
    name(&report.incomplete);
    if stopped {
        println!("stopped before the end: run it again for the rest");
    }
    let is_done = report.unverifiable == 0 && report.other_branch == 0;
    if report.incomplete.is_empty() && is_done && !stopped {
        return ExitCode::SUCCESS;
    }
    if !report.incomplete.is_empty() {
        eprintln!(
            "obsqra: the log lacks events of {} blocks, or has others: what it was fed by is not to be trusted",
            report.incomplete.len()
        );
    }
    ExitCode::FAILURE
}

fn tell_offline(report: &OfflineReport) -> ExitCode {
    println!("{} blocks checked again from the log alone", report.repeated);
    if report.not_repeatable > 0 {
        println!(
            "{} verified blocks cannot be: the leaves of their other events were not kept (keep = \"watched_and_leaves\" keeps them)",
            report.not_repeatable
        );
    }
    if report.not_verified > 0 {
        println!("{} blocks were never verified", report.not_verified);
    }
    name(&report.broken);
    if report.broken.is_empty() {
        // Nothing was shown where nothing could be repeated.
        let is_shown = report.repeated > 0;
        return if is_shown { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    eprintln!("obsqra: {} blocks no longer make their hash", report.broken.len());
    ExitCode::FAILURE
}

fn name(blocks: &[(BlockNumber, Difference)]) {
    for (number, Difference { member, stated, computed }) in blocks.iter().take(NAMED) {
        println!("block {number}: {member}: the log has {stated}, it should be {computed}");
    }
    if blocks.len() > NAMED {
        println!("and {} more", blocks.len() - NAMED);
    }
}
