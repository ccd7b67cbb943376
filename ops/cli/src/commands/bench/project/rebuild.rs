//! The read models folded from the log's start, stretch by stretch, each beside a bare COPY of the rows that the
//! stretch gave into tables of the same form.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use obsqra_store::projection::copy::{self, Twins};
use obsqra_store::{LeaseKeeper, log};
use obsqra_types::Seq;
use obsqra_workers::projections::Projector;
use obsqra_workers::runtime::{Progress, Role as _};
use tokio_util::sync::CancellationToken;

use super::filled::Filled;
use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, Round, rounds};

const LEASE: Duration = Duration::from_secs(3_600);
/// Samples of growth, each of less than a second.
const GROWTH_ROUNDS: usize = 9;

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let stretch = match size {
        Size::Full => 1_000_000 / (ROUNDS as u64 + 1),
        Size::Smoke => 5_000,
    };
    let mut filled = Filled::start().await?;
    let mut folded = Figure::new("rebuild_entries_per_s", "entries/s", "folding into read models");
    let mut copied = Figure::new("copy_entries_per_s", "entries/s", "bare COPY of the same rows");
    let mut rows_each = Figure::new("rows_an_entry", "rows", "rows that an entry gives");
    let mut projecting = Projecting::start(&filled).await?;
    let twins = Twins::create(&filled.admin).await?;
    let end = filled.fill_to(stretch * (ROUNDS as u64 + 1)).await?;
    let mut from = Seq::BEFORE_FIRST;
    let mut round = Round::WarmUp;
    while from < end {
        let (to, took) = projecting.advance(Seq((from.0 + stretch).min(end.0))).await?;
        let entries = (to.0 - from.0) as f64;
        folded.take(round, entries / took.as_secs_f64());
        let (rows, took) = copy_rows(&filled, &twins, (from, to)).await?;
        copied.take(round, entries / took.as_secs_f64());
        rows_each.take(round, rows as f64 / entries);
        (from, round) = (to, Round::Counted);
    }
    report.bar(Bar {
        name: "project_vs_copy",
        value: folded.median() / copied.median(),
        bar: 0.5,
        better: Better::Higher,
    });
    report.figures([folded, copied, rows_each]);
    projecting.stop().await?;
    filled.stop().await
}

/// What an entry costs after five million of them, against after a hundred thousand: two logs, projected in turn,
/// so that what else the machine does is in both.
pub(super) async fn growth(report: &mut Report, size: Size) -> Result<()> {
    let (early_at, late_at, sample) = match size {
        Size::Full => (100_000, 5_000_000, 20_000),
        Size::Smoke => (4_000, 26_000, 4_000),
    };
    let mut short = Grown::start(early_at, sample).await?;
    let mut long = Grown::start(late_at, sample).await?;
    let mut early = Figure::new("entry_us_at_100k", "us", format!("an entry after {early_at}"));
    let mut late = Figure::new("entry_us_at_5m", "us", format!("an entry after {late_at}"));
    // The first sample of each pays for the pages that the checkpoint left clean.
    for round in rounds(GROWTH_ROUNDS) {
        early.take(round, short.sample(sample).await?);
        late.take(round, long.sample(sample).await?);
    }
    report.bar(Bar {
        name: "growth_5m_vs_100k",
        value: late.median() / early.median(),
        bar: 1.2,
        better: Better::Lower,
    });
    report.figures([early, late]);
    short.stop().await?;
    long.stop().await
}

/// A log that is projected up to where samples are taken.
struct Grown {
    filled: Filled,
    projecting: Projecting,
}

impl Grown {
    /// What was written on the way is on disk: its write-back is not in a sample.
    async fn start(at: u64, sample: u64) -> Result<Self> {
        let mut filled = Filled::start().await?;
        filled.fill_to(at + sample * (GROWTH_ROUNDS as u64 + 2)).await?;
        let mut projecting = Projecting::start(&filled).await?;
        projecting.advance(Seq(at)).await?;
        log::checkpoint(&filled.admin).await?;
        Ok(Self { filled, projecting })
    }

    /// What each of some more entries costs, in microseconds.
    async fn sample(&mut self, entries: u64) -> Result<f64> {
        let from = self.projecting.at;
        let (to, took) = self.projecting.advance(Seq(from.0 + entries)).await?;
        Ok(took.as_secs_f64() * 1e6 / (to.0 - from.0) as f64)
    }

    async fn stop(self) -> Result<()> {
        self.projecting.stop().await?;
        self.filled.stop().await
    }
}

/// The projector at work, as `obsqra project` runs it.
struct Projecting {
    projector: Projector,
    lease: LeaseKeeper,
    at: Seq,
}

impl Projecting {
    async fn start(filled: &Filled) -> Result<Self> {
        let mut projector = Projector::new(&filled.writer, &filled.chain);
        let stop = CancellationToken::new();
        let partition = projector.partition();
        let lease = LeaseKeeper::acquire(&filled.writer, partition, "bench", LEASE, &stop).await?;
        let lease = lease.context("somebody else projects the log of this bench")?;
        projector.load().await?;
        Ok(Self { projector, lease, at: Seq::BEFORE_FIRST })
    }

    /// Projects until a position, or a little past it; where that is, and how long it took.
    async fn advance(&mut self, to: Seq) -> Result<(Seq, Duration)> {
        let begun = Instant::now();
        while self.at < to && self.projector.work(&self.lease).await? == Progress::Worked {
            self.at = self.projector.position();
        }
        Ok((self.at, begun.elapsed()))
    }

    async fn stop(self) -> Result<()> {
        Ok(self.lease.release().await?)
    }
}

/// Copies the rows that some entries gave; how many there are, and how long it took to copy them in.
async fn copy_rows(
    filled: &Filled,
    twins: &Twins,
    (from, to): (Seq, Seq),
) -> Result<(u64, Duration)> {
    let folder = tempfile::tempdir_in(filled.stand.data_dir())?;
    // The server writes and reads the files, under an account of its own.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777))?;
    let rows = copy::out(&filled.admin, folder.path(), (from, to)).await?;
    let begun = Instant::now();
    twins.copy_in(&filled.admin, folder.path()).await?;
    Ok((rows, begun.elapsed()))
}
