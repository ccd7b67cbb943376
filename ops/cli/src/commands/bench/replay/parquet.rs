//! A range of the log into a Parquet file against a bare binary COPY of the same range to nowhere, which is what
//! reading it costs at the least.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use obsqra_store::{Store, log};
use obsqra_types::{ChainId, Seq};
use obsqra_workers::replay::{self, Depth, ParquetEncoder, Plan, Selection};

use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, rounds};
use crate::commands::bench::project::filled::Filled;

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let entries = match size {
        Size::Full => 1_000_000,
        Size::Smoke => 3_000,
    };
    let mut filled = Filled::start().await?;
    let end = filled.fill_to(entries).await?;
    let store = filled.stand.reader().await?;
    let what = "bare binary COPY of the log to nowhere";
    let mut copied = Figure::new("copy_out_rows_per_s", "rows/s", what);
    let mut replayed = Figure::new("parquet_rows_per_s", "rows/s", "replaying into Parquet");
    let mut bytes = Figure::new("parquet_bytes_a_row", "bytes", "a row in the Parquet file");
    let file = filled.stand.data_dir().join("replay.parquet");
    for round in rounds(ROUNDS) {
        let begun = Instant::now();
        let rows = log::copy_out_nowhere(&store, Seq::BEFORE_FIRST, end).await?;
        copied.take(round, rate(rows, begun.elapsed()));
        let begun = Instant::now();
        write(&store, &filled.chain, end, &file).await?;
        replayed.take(round, rate(end.0, begun.elapsed()));
        bytes.take(round, std::fs::metadata(&file)?.len() as f64 / end.0 as f64);
    }
    report.bar(Bar {
        name: "parquet_vs_copy",
        value: replayed.median() / copied.median(),
        bar: 0.5,
        better: Better::Higher,
    });
    report.figures([copied, replayed, bytes]);
    store.close().await;
    filled.stop().await
}

/// As `obsqra replay --format parquet --out` does it, without the wait for the disk.
async fn write(store: &Store, chain: &ChainId, end: Seq, path: &Path) -> Result<()> {
    let selection = Selection { to: Some(end), ..Selection::default() };
    let reader = Plan::new(store, chain, selection, Depth::Raw).await?.read(store).await?;
    let mut file = BufWriter::new(File::create(path)?);
    let manifest = replay::write(reader, ParquetEncoder::new(&mut file)?).await?;
    file.flush()?;
    if !manifest.is_whole {
        bail!("{} of {end} entries were replayed", manifest.entries);
    }
    Ok(())
}

fn rate(rows: u64, took: Duration) -> f64 {
    rows as f64 / took.as_secs_f64()
}
