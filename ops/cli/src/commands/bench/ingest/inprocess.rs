//! Blocks in memory to committed entries, encoded and hashed and checked as a follower's are, against bare COPY
//! of the same rows in transactions of as many blocks.

use anyhow::Result;
use obsqra_indexer::completeness::Effort;

use super::blocks::Seal;
use super::course::Course;
use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, rounds};

/// Events of a block, and the names of what is measured with so many.
const SIZES: [(u32, [&str; 3]); 3] = [
    (10, ["inprocess_10_events_per_s", "copy_10_events_per_s", "inprocess_vs_copy_10"]),
    (100, ["inprocess_100_events_per_s", "copy_100_events_per_s", "inprocess_vs_copy_100"]),
    (400, ["inprocess_400_events_per_s", "copy_400_events_per_s", "inprocess_vs_copy_400"]),
];

pub(super) async fn measure(report: &mut Report, size: Size) -> Result<()> {
    let events = match size {
        Size::Full => 96_000,
        Size::Smoke => 800,
    };
    for (per_block, names) in SIZES {
        lane(report, (per_block, events), names).await?;
    }
    Ok(())
}

/// Each round has both ways one after the other; which is first alternates.
async fn lane(
    report: &mut Report,
    (per_block, events): (u32, u32),
    [ingested_name, copied_name, bar]: [&'static str; 3],
) -> Result<()> {
    let what = |how| format!("{how}, {per_block} events a block");
    let mut ingested = Figure::new(ingested_name, "events/s", what("from memory to committed"));
    let mut copied =
        Figure::new(copied_name, "events/s", what("bare binary COPY of the same rows"));
    let blocks = (events / per_block) as usize;
    let rate = |took: std::time::Duration| f64::from(events) / took.as_secs_f64();
    let mut course = Course::start(per_block, Seal::MadeUp).await?;
    for (turn, round) in rounds(ROUNDS).enumerate() {
        for way in [turn % 2, (turn + 1) % 2] {
            let batches = course.batches(blocks);
            if way == 0 {
                ingested.take(round, rate(course.ingest(batches, Effort::Off).await?));
            } else {
                copied.take(round, rate(course.copy_in(batches).await?));
            }
        }
    }
    course.verify().await?;
    course.stop().await?;
    report.bar(Bar {
        name: bar,
        value: ingested.median() / copied.median(),
        bar: 0.6,
        better: Better::Higher,
    });
    report.figures([ingested, copied]);
    Ok(())
}
