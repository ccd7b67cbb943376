//! Checks that do the work again: `project verify`, `project rebuild`, `derive verify`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use obsqra_store::{Role, Store, StoreOptions};
use obsqra_types::{ChainId, Seq};
use obsqra_workers::projections::{Rebuild, RebuildOptions, Which};
use obsqra_workers::verify::{self, Discrepancy};

use crate::args::ALL_READ_MODELS;
use crate::config::Settings;
use crate::instance::Instance;
use crate::progress::Pass;
use crate::roles;

/// How long a rebuild waits for who reads, over all attempts.
const REBUILD_PATIENCE: Duration = Duration::from_secs(600);

async fn open(settings: &Settings) -> Result<(Instance, Store, ChainId)> {
    let instance = Instance::open_database(settings).await?;
    let mut options = StoreOptions::new(Role::Writer);
    options.idle_in_transaction_timeout = None;
    let store = instance.store(options).await?;
    let chain = roles::known_chain(settings, &store).await?.context("the log is empty")?;
    Ok((instance, store, chain))
}

pub(super) async fn project(settings: Settings) -> Result<ExitCode> {
    let (instance, store, chain) = open(&settings).await?;
    let pass = Pass::new();
    let report = verify::project(&store, &chain, |done, of| pass.at(done, of)).await;
    pass.end();
    instance.close().await?;
    let report = report?;
    for difference in &report.differences {
        println!(
            "{:<16} {} rows only live, {} rows only in the fold",
            difference.read_model, difference.only_live, difference.only_folded
        );
    }
    for read_model in &report.wrong_hashes {
        println!("{read_model:<16} stored state hashes are not those of the fold");
    }
    if report.is_equal() {
        println!("read models equal a fold of the log up to {}", report.seq);
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "obsqra: read models differ from a fold of the log up to {}: `obsqra project rebuild` makes them anew",
        report.seq
    );
    Ok(ExitCode::FAILURE)
}

pub(super) async fn rebuild(settings: Settings, name: &str) -> Result<()> {
    let (instance, store, chain) = open(&settings).await?;
    let which = match name {
        ALL_READ_MODELS => Which::All,
        name => Which::One(name.to_owned()),
    };
    let options = RebuildOptions {
        holder: roles::holder("rebuild"),
        lease_ttl: Duration::from_millis(settings.lease_ttl_ms),
        patience: REBUILD_PATIENCE,
    };
    let pass = Pass::new();
    let rebuilt = async {
        let rebuild = Rebuild::begin(&store, &chain, which, options).await?;
        rebuild.run(|done, of| pass.at(done, of)).await
    };
    let rebuilt = rebuilt.await;
    pass.end();
    instance.close().await?;
    match rebuilt?.seq {
        Seq::BEFORE_FIRST => println!("nothing of {chain} is projected yet"),
        seq => println!("{name}: a fold of the log of {chain} up to {seq} is in place"),
    }
    Ok(())
}

pub(super) async fn derive(settings: Settings) -> Result<ExitCode> {
    let (instance, store, chain) = open(&settings).await?;
    let pass = Pass::new();
    let report = verify::derive(&store, &chain, |done, of| pass.at(done, of)).await;
    pass.end();
    instance.close().await?;
    let report = report?;
    for discrepancy in &report.discrepancies {
        println!("{}", describe(discrepancy));
    }
    if report.of_other_rules > 0 {
        println!(
            "{} derived facts are about blocks from before this program's definitions were adopted, and are not compared",
            report.of_other_rules
        );
    }
    println!(
        "{} derived facts compared up to {}, {} not yet derived, {} discrepancies",
        report.compared,
        report.seq,
        report.pending,
        report.discrepancies.len()
    );
    Ok(if report.discrepancies.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn describe(discrepancy: &Discrepancy) -> String {
    match discrepancy {
        Discrepancy::Differs { seq, subject, block } => {
            format!(
                "entry {seq}: {subject} at block {block} has other bytes than the chain lane gives"
            )
        }
        Discrepancy::Unfounded { seq, subject, block } => {
            format!("entry {seq}: {subject} at block {block} does not follow from the chain lane")
        }
        Discrepancy::Missing { subject, block } => {
            format!("{subject} at block {block} follows from the chain lane and is not in the log")
        }
    }
}
