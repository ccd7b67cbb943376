//! `obsqra bench`: measurements on private servers that come and go with them.
//!
//! A bench compares only what it measured itself, in the same run and in turn. It reports and does not judge:
//! a bar that is missed is told, and the exit code is that of a measurement that was made. One file a bench;
//! what they share is in `frame` and `stand`.

mod child;
mod frame;
mod ingest;
mod log;
mod project;
mod replay;
mod stand;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::args::{BenchArgs, BenchName};
use crate::roles::Roles;
use frame::Report;

/// Longest time of a bench.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// How much is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Size {
    /// What the bars are about.
    Full,
    /// Enough to see that every lane works.
    Smoke,
}

pub(super) async fn run(args: BenchArgs) -> Result<()> {
    let size = if args.smoke { Size::Smoke } else { Size::Full };
    let measuring = async {
        match args.name {
            BenchName::Ingest => ingest::measure(size, args.lane.as_deref()).await,
            BenchName::Log => log::measure(size, args.lane.as_deref()).await,
            BenchName::Project => project::measure(size, args.lane.as_deref()).await,
            BenchName::Replay => replay::measure(size, args.lane.as_deref()).await,
        }
    };
    // Whatever ends it, the servers go with the future that holds them.
    let stop = Roles::new()?;
    let measured = tokio::select! {
        () = stop.stop().cancelled() => bail!("stopped before the end: nothing is reported"),
        measured = tokio::time::timeout(TIME_LIMIT, measuring) => measured,
    };
    let report = measured.with_context(|| {
        format!("not done after {} s: is the machine busy?", TIME_LIMIT.as_secs())
    })??;
    print(&report, args.json)
}

fn print(report: &Report, json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string(&report.json())?);
    } else {
        print!("{}", report.table());
    }
    Ok(())
}
