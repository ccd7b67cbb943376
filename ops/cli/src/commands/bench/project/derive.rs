//! `derive verify` over a log with all its derived facts, against reading the same log and decoding it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use obsqra_devnode::SEEDED_REGISTRY;
use obsqra_events::Fact;
use obsqra_protocols::{Contracts, Registry, decode};
use obsqra_store::{LeaseKeeper, Store, log};
use obsqra_types::{ChainId, Seq};
use obsqra_workers::jobs::propose_allocation::ProposeAllocation;
use obsqra_workers::jobs::score_risk::ScoreRisk;
use obsqra_workers::runtime::{Progress, Role};
use obsqra_workers::verify;
use tokio_util::sync::CancellationToken;

use super::filled::Filled;
use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, rounds};

const LEASE: Duration = Duration::from_secs(3_600);
/// Entries read at a time, as `derive verify` does.
const BATCH: u32 = 4_000;

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let entries = match size {
        Size::Full => 200_000,
        Size::Smoke => 2_000,
    };
    let mut filled = Filled::start().await?;
    filled.fill_to(entries).await?;
    let registry = Arc::new(Registry::parse(SEEDED_REGISTRY)?);
    for protocol in registry.protocols() {
        run(&filled, ScoreRisk::new(&filled.writer, &filled.chain, &protocol.id)).await?;
    }
    run(&filled, ProposeAllocation::new(&filled.writer, &filled.chain)).await?;
    let store = filled.stand.reader().await?;
    let mut scanned = Figure::new("scan_s", "s", "reading and decoding every entry");
    let mut derived = Figure::new("derive_verify_s", "s", "derive verify");
    for round in rounds(ROUNDS) {
        let begun = Instant::now();
        scan(&store, &registry).await?;
        scanned.take(round, begun.elapsed().as_secs_f64());
        let begun = Instant::now();
        verified(&store, &filled.chain).await?;
        derived.take(round, begun.elapsed().as_secs_f64());
    }
    report.bar(Bar {
        name: "derive_vs_decode",
        value: derived.median() / scanned.median(),
        bar: 5.0,
        better: Better::Lower,
    });
    report.figures([scanned, derived]);
    store.close().await;
    filled.stop().await
}

/// Runs a role until it has nothing more to do.
async fn run(filled: &Filled, mut role: impl Role) -> Result<()> {
    let stop = CancellationToken::new();
    let lease =
        LeaseKeeper::acquire(&filled.writer, role.partition(), "bench", LEASE, &stop).await?;
    let lease = lease.context("somebody else derives from the log of this bench")?;
    role.load().await?;
    while role.work(&lease).await? == Progress::Worked {}
    Ok(lease.release().await?)
}

async fn verified(store: &Store, chain: &ChainId) -> Result<()> {
    let found = verify::derive(store, chain, |_, _| {}).await?;
    if found.compared == 0 || found.pending > 0 || !found.discrepancies.is_empty() {
        bail!("the derived facts of the bench do not verify: {found:?}");
    }
    Ok(())
}

async fn scan(store: &Store, registry: &Arc<Registry>) -> Result<u64> {
    let mut contracts = Contracts::new(Arc::clone(registry));
    let (mut read, mut decoded) = (Seq::BEFORE_FIRST, 0);
    loop {
        let entries = log::read_after(store, read, BATCH).await?;
        let Some(last) = entries.last() else {
            return Ok(decoded);
        };
        read = last.seq;
        for entry in &entries {
            let Fact::Event(event) = entry.draft.fact()? else {
                continue;
            };
            let found = decode(&contracts, &event).and_then(|found| found.event);
            if let Some(found) = found {
                decoded += 1;
                if let Some(emitter) = contracts.get(&event.from_address).cloned() {
                    contracts.learn(&emitter, &found);
                }
            }
        }
    }
}
