//! Checking blocks against the bare permutations that it takes, both on all cores, and taking blocks in with
//! checking against the slower of taking them in without and of hashing alone.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use obsqra_events::poseidon::permute;
use obsqra_indexer::completeness::{Effort, Outcome, check_all, permutations};
use obsqra_indexer::source::SourceBlock;
use obsqra_types::Felt;
use rayon::prelude::*;

use super::blocks::{Blocks, Seal};
use super::course::Course;
use crate::commands::bench::Size;
use crate::commands::bench::frame::{Bar, Better, Figure, ROUNDS, Report, rounds};

/// Blocks checked together, as the follower does in a backfill.
const TOGETHER: usize = 32;

/// Events of a block, and the names of what is measured with so many.
const SIZES: [(u32, [&str; 6]); 3] = [
    (
        10,
        [
            "check_10_events_per_s",
            "bare_poseidon_10_events_per_s",
            "check_vs_bare_poseidon_10",
            "checked_10_events_per_s",
            "unchecked_10_events_per_s",
            "checked_vs_min_10",
        ],
    ),
    (
        100,
        [
            "check_100_events_per_s",
            "bare_poseidon_100_events_per_s",
            "check_vs_bare_poseidon_100",
            "checked_100_events_per_s",
            "unchecked_100_events_per_s",
            "checked_vs_min_100",
        ],
    ),
    (
        400,
        [
            "check_400_events_per_s",
            "bare_poseidon_400_events_per_s",
            "check_vs_bare_poseidon_400",
            "checked_400_events_per_s",
            "unchecked_400_events_per_s",
            "checked_vs_min_400",
        ],
    ),
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

async fn lane(
    report: &mut Report,
    (per_block, events): (u32, u32),
    names: [&'static str; 6],
) -> Result<()> {
    let [check, bare, check_bar, checked, unchecked, checked_bar] = names;
    let figure =
        |name, how| Figure::new(name, "events/s", format!("{how}, {per_block} events a block"));
    let mut check = figure(check, "checking alone, all cores");
    let mut bare = figure(bare, "as many bare permutations, all cores");
    let mut checked = figure(checked, "from memory to committed, checked");
    let mut unchecked = figure(unchecked, "from memory to committed, not checked");
    let rate = |took: Duration| f64::from(events) / took.as_secs_f64();
    let count = (events / per_block) as usize;
    let blocks = Blocks::new(per_block, Seal::Right).take(count);
    let permutations = permutations(&blocks);
    let mut course = Course::start(per_block, Seal::Right).await?;
    for (turn, round) in rounds(ROUNDS).enumerate() {
        for way in [turn % 2, (turn + 1) % 2] {
            let batches = course.batches(count);
            if way == 0 {
                check.take(round, rate(time_checks(&blocks)?));
                checked.take(round, rate(course.ingest(batches, Effort::Whole).await?));
            } else {
                bare.take(round, rate(time_permutations(permutations)));
                unchecked.take(round, rate(course.ingest(batches, Effort::Off).await?));
            }
        }
    }
    course.verify().await?;
    course.stop().await?;
    report.bar(Bar {
        name: check_bar,
        value: bare.median() / check.median(),
        bar: 1.15,
        better: Better::Lower,
    });
    report.bar(Bar {
        name: checked_bar,
        value: checked.median() / unchecked.median().min(bare.median()),
        bar: 0.8,
        better: Better::Higher,
    });
    report.figures([check, bare, checked, unchecked]);
    Ok(())
}

fn time_checks(blocks: &[SourceBlock]) -> Result<Duration> {
    let begun = Instant::now();
    let findings: Vec<_> = blocks.par_chunks(TOGETHER).flat_map_iter(check_all).collect();
    let took = begun.elapsed();
    if findings.iter().any(|found| found.outcome != Outcome::Verified) {
        bail!("a block of the bench does not verify");
    }
    Ok(took)
}

fn time_permutations(count: usize) -> Duration {
    let mut states = vec![[Felt::ONE, Felt::TWO, Felt::THREE]; count];
    let piece = count.div_ceil(rayon::current_num_threads()).max(1);
    let begun = Instant::now();
    states.par_chunks_mut(piece).for_each(permute);
    let took = begun.elapsed();
    black_box(states);
    took
}
