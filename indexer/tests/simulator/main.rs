//! The planner in a made-up world, driven by a seed: nodes that lag, disagree, reorganise and answer
//! wrongly, a follower that is killed between any two moments, and a log that checks every write.
//!
//! Safety is checked at each write (see `ledger.rs`), liveness at the end: once the faults stop, the log
//! is the network's chain within a bounded number of steps. A failure prints its seed;
//! `OBSQRA_SIMULATOR_SEED=N` runs that one, `OBSQRA_SIMULATOR_SEEDS=N` that many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

mod driver;
mod ledger;
mod world;

use driver::Driver;
use ledger::Ledger;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use world::World;

/// Seeds of one run, where the environment does not say.
const SEEDS: u64 = 10_000;
/// Steps with faults.
const TROUBLED_STEPS: u32 = 400;
/// Steps for each block of the chain, after the faults, within which the log has to be the chain.
const STEPS_PER_BLOCK: usize = 8;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn the_log_becomes_the_chain_whatever_happens() {
    if let Some(seed) = number("OBSQRA_SIMULATOR_SEED") {
        simulate(seed);
        return;
    }
    let seeds = number("OBSQRA_SIMULATOR_SEEDS").unwrap_or(SEEDS);
    let mut seen = Seen::default();
    for seed in 0..seeds {
        let run = std::panic::catch_unwind(|| simulate(seed));
        match run {
            Ok(run) => seen.add(&run),
            Err(_) => panic!("seed {seed} fails: run it alone with OBSQRA_SIMULATOR_SEED={seed}"),
        }
    }
    println!("{seeds} seeds: {seen:?}");
    // A simulator in which nothing happens proves nothing.
    assert!(seen.reorganisations > seeds && seen.kills > seeds && seen.blocks > 10 * seeds);
    assert!(seen.deepest >= 20 && seen.returned > 0 && seen.troubles > 0);
}

/// What happened, so that it can be seen that something did.
#[derive(Default, Debug)]
struct Seen {
    blocks: u64,
    reorganisations: u64,
    /// Blocks that came back under a later branch epoch.
    returned: u64,
    deepest: u64,
    kills: u64,
    troubles: u64,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.reorganisations += other.reorganisations;
        self.returned += other.returned;
        self.deepest = self.deepest.max(other.deepest);
        self.kills += other.kills;
        self.troubles += other.troubles;
    }
}

fn simulate(seed: u64) -> Seen {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut world = World::new(&mut rng);
    let mut ledger = Ledger::new(rng.random_range(0..4));
    let mut driver = Driver::new(&mut rng);
    for _ in 0..TROUBLED_STEPS {
        if rng.random_bool(0.3) {
            world.change(&mut rng, ledger.first().0);
        }
        driver.step(&mut rng, &world, &mut ledger);
    }
    world.calm();
    driver.calm();
    let enough = STEPS_PER_BLOCK * world.network().len() + 200;
    let mut steps = 0;
    while !ledger.is(world.network()) {
        assert!(steps < enough, "the log does not become the chain in {enough} steps");
        driver.step(&mut rng, &world, &mut ledger);
        steps += 1;
    }
    Seen {
        blocks: ledger.applied,
        reorganisations: ledger.reorganisations,
        returned: ledger.returned,
        deepest: ledger.deepest,
        kills: driver.kills,
        troubles: driver.troubles,
    }
}
