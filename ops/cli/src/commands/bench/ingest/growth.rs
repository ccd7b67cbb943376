//! What an event costs in a log of five million entries against one of a hundred thousand, and what such a log
//! takes on disk. The log is filled the way that is measured.

use anyhow::Result;
use obsqra_indexer::completeness::Effort;
use obsqra_store::log;

use super::blocks::Seal;
use super::course::Course;
use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, Report, Round};

const EVENTS: u32 = 100;
/// Entries of a block: itself, its events, its attestation.
const ENTRIES: u64 = EVENTS as u64 + 2;
/// Blocks of a sample: a few transactions.
const SAMPLE_BLOCKS: u64 = 100;
const SAMPLE: u64 = SAMPLE_BLOCKS * ENTRIES;

/// Between which positions samples count.
struct Window {
    from: u64,
    to: u64,
}

impl Window {
    fn round(&self, reached: u64) -> Round {
        let counts = reached > self.from && reached <= self.to;
        if counts { Round::Counted } else { Round::WarmUp }
    }
}

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let (short, long) = match size {
        Size::Full => {
            (Window { from: 50_000, to: 150_000 }, Window { from: 4_900_000, to: 5_000_000 })
        }
        Size::Smoke => {
            (Window { from: SAMPLE, to: 2 * SAMPLE }, Window { from: 2 * SAMPLE, to: 3 * SAMPLE })
        }
    };
    let what =
        |window: &Window| format!("an event between the entries {} and {}", window.from, window.to);
    let mut early = Figure::new("event_us_at_100k", "us", what(&short));
    let mut late = Figure::new("event_us_at_5m", "us", what(&long));
    let mut course = Course::start(EVENTS, Seal::MadeUp).await?;
    let mut reached = 0;
    while reached + SAMPLE <= long.to {
        let batches = course.batches(SAMPLE_BLOCKS as usize);
        let took = course.ingest(batches, Effort::Off).await?;
        reached += SAMPLE;
        let each = took.as_secs_f64() * 1e6 / (SAMPLE_BLOCKS * u64::from(EVENTS)) as f64;
        early.take(short.round(reached), each);
        late.take(long.round(reached), each);
    }
    report.bar(Bar {
        name: "growth_5m_vs_100k",
        value: late.median() / early.median(),
        bar: 1.2,
        better: Better::Lower,
    });
    report.figures([early, late]);
    disk(report, &course).await?;
    course.stop().await
}

/// The files of the tables, after a checkpoint; the write-ahead log is not among them.
async fn disk(report: &mut Report, course: &Course) -> Result<()> {
    log::checkpoint(&course.admin).await?;
    let disk = log::disk(&course.admin).await?;
    let each = |bytes: u64| bytes as f64 / disk.entries as f64;
    report.bar(Bar {
        name: "disk_vs_payload",
        value: each(disk.log + disk.keys) / each(disk.payload),
        bar: 2.0,
        better: Better::Lower,
    });
    let bytes = |name, what: &str, value| Figure::single(name, "bytes", what, each(value));
    report.figures([
        bytes("disk_payload_bytes", "canonical bytes of an entry", disk.payload),
        bytes("disk_log_bytes", "an entry in the log's chunks, indexes included", disk.log),
        bytes("disk_key_bytes", "its share of the key tables, indexes included", disk.keys),
    ]);
    Ok(())
}
