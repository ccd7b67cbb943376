//! Workers that crash, stall and come back late, over the pure model of a job, on a clock that jumps: whatever
//! the order, each effect is there once, nothing is lost, and no job has two holders at a time.
//!
//! A seed gives a run again. The last test leaves the fence out: a simulation that does not notice is worth nothing.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use obsqra_store::job::{Backoff, Job, JobEvent, JobState, Refusal};
use obsqra_types::JobToken;
use proptest::prelude::*;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

/// Names a seed, to repeat a run that failed.
const SEED: &str = "OBSQRA_TEST_JOB_SEED";
const JOBS: usize = 12;
const WORKERS: usize = 4;
const STEPS: usize = 2_000;
const RUNS: u64 = 300;
const TTL: TimeDelta = TimeDelta::seconds(30);
const MAX_ATTEMPTS: u32 = 6;
const BACKOFF: Backoff =
    Backoff { first: std::time::Duration::from_secs(1), cap: std::time::Duration::from_secs(20) };

fn start() -> DateTime<Utc> {
    DateTime::from_timestamp(1_700_000_000, 0).unwrap()
}

fn fresh(now: DateTime<Utc>) -> Job {
    Job {
        state: JobState::Queued { not_before: now },
        attempts: 0,
        max_attempts: MAX_ATTEMPTS,
        token: JobToken::NEVER_LEASED,
        cancel_requested: false,
        last_error: None,
    }
}

/// What a worker believes that it holds. A stalled one goes on believing it.
#[derive(Default)]
struct Worker {
    held: BTreeMap<usize, JobToken>,
    is_stalled: bool,
}

/// Whether writes are checked against the token. Without it the model must break.
#[derive(Clone, Copy, PartialEq)]
enum Fence {
    Checked,
    LeftOut,
}

struct World {
    dice: ChaCha8Rng,
    fence: Fence,
    now: DateTime<Utc>,
    jobs: Vec<Job>,
    /// Effects that were committed, one count a job.
    effects: Vec<u32>,
    /// Leases and releases so far of each job.
    leases: Vec<u32>,
    releases: Vec<u32>,
    rejected: Vec<bool>,
    workers: Vec<Worker>,
    refused: u32,
}

impl World {
    fn new(seed: u64, fence: Fence) -> Self {
        Self {
            dice: ChaCha8Rng::seed_from_u64(seed),
            fence,
            now: start(),
            jobs: (0..JOBS).map(|_| fresh(start())).collect(),
            effects: vec![0; JOBS],
            leases: vec![0; JOBS],
            releases: vec![0; JOBS],
            rejected: vec![false; JOBS],
            workers: (0..WORKERS).map(|_| Worker::default()).collect(),
            refused: 0,
        }
    }

    /// One job row as the database would write it: all of the step or nothing.
    fn apply(&mut self, job: usize, event: JobEvent) -> Result<JobState, Refusal> {
        let before = self.jobs[job].clone();
        let after = before.clone().step(event)?;
        assert!(after.token >= before.token, "a token never falls");
        let renewed_token = after.token != before.token;
        let is_leased = matches!(after.state, JobState::Leased { .. });
        assert!(!renewed_token || is_leased, "only a lease has a new token");
        let ended = |job: &Job| matches!(job.state, JobState::Done | JobState::Cancelled);
        assert!(!ended(&before), "what has ended does not change");
        self.jobs[job] = after;
        Ok(self.jobs[job].state)
    }

    fn wait(&mut self, job: usize) -> TimeDelta {
        let attempts = self.jobs[job].attempts;
        TimeDelta::from_std(BACKOFF.wait(attempts, self.dice.random())).unwrap()
    }

    fn lease(&mut self, worker: usize) {
        let now = self.now;
        for job in 0..JOBS {
            if self.dice.random_bool(0.5) {
                continue;
            }
            if self.apply(job, JobEvent::Lease { now, ttl: TTL }).is_ok() {
                self.leases[job] += 1;
                let token = self.jobs[job].token;
                self.workers[worker].held.insert(job, token);
                return;
            }
        }
    }

    /// What a worker states: without the fence the newest token, whoever's it is.
    fn stated(&self, job: usize, token: JobToken) -> JobToken {
        match self.fence {
            Fence::Checked => token,
            Fence::LeftOut => self.jobs[job].token,
        }
    }

    fn held(&mut self, worker: usize) -> Option<(usize, JobToken)> {
        let held: Vec<_> =
            self.workers[worker].held.iter().map(|(job, token)| (*job, *token)).collect();
        held.choose(&mut self.dice).copied()
    }

    /// Ends a job in one of the ways that a holder has; the effect shares the transaction of the step.
    fn settle(&mut self, worker: usize) {
        let Some((job, token)) = self.held(worker) else { return };
        self.workers[worker].held.remove(&job);
        let (now, token) = (self.now, self.stated(job, token));
        let roll = self.dice.random_range(0..10);
        let event = match roll {
            0..6 => JobEvent::Complete { token },
            6..8 => {
                let wait = self.wait(job);
                JobEvent::Fail { token, now, wait, reason: "made up".into() }
            }
            8 => JobEvent::Release { token, now },
            _ => JobEvent::Reject { token, reason: "made up".into() },
        };
        match self.apply(job, event) {
            Ok(JobState::Done) => self.effects[job] += 1,
            Ok(JobState::Dead) if roll == 9 => self.rejected[job] = true,
            Ok(_) if roll == 8 => self.releases[job] += 1,
            Ok(_) => {}
            Err(Refusal::Stale) => self.refused += 1,
            Err(other) => panic!("a holder is told that it is stale, not {other}"),
        }
    }

    fn renew(&mut self, worker: usize) {
        for (job, token) in self.workers[worker].held.clone() {
            let (now, token) = (self.now, self.stated(job, token));
            if self.apply(job, JobEvent::Renew { token, now, ttl: TTL }).is_err() {
                self.workers[worker].held.remove(&job);
                self.refused += 1;
            }
        }
    }

    fn take_back(&mut self) {
        let now = self.now;
        for job in 0..JOBS {
            let wait = self.wait(job);
            self.apply(job, JobEvent::Lapse { now, wait }).ok();
        }
    }

    fn step(&mut self) {
        let worker = self.dice.random_range(0..WORKERS);
        match self.dice.random_range(0..100) {
            0..4 => self.workers[worker] = Worker::default(),
            4..8 => self.workers[worker].is_stalled = true,
            8..12 => self.workers[worker].is_stalled = false,
            12..14 => self.now += TimeDelta::seconds(self.dice.random_range(30..600)),
            14..16 => self.now -= TimeDelta::seconds(self.dice.random_range(1..120)),
            16 => {
                let job = self.dice.random_range(0..JOBS);
                if !matches!(self.jobs[job].state, JobState::Done | JobState::Cancelled) {
                    self.apply(job, JobEvent::AskCancel).ok();
                }
            }
            17..40 => self.now += TimeDelta::milliseconds(self.dice.random_range(1..5_000)),
            40..50 => self.take_back(),
            _ if self.workers[worker].is_stalled => {}
            50..70 => self.lease(worker),
            70..80 => self.renew(worker),
            _ => self.settle(worker),
        }
        self.check();
    }

    fn check(&self) {
        for (job, model) in self.jobs.iter().enumerate() {
            let holders = self.workers.iter().filter(|worker| {
                let token = worker.held.get(&job);
                token.is_some_and(|token| self.may_write(job, *token))
            });
            assert!(holders.count() <= 1, "job {job} has two holders that may write");
            assert!(self.effects[job] <= 1, "the effect of job {job} is there twice");
            assert_eq!(self.effects[job] == 1, model.state == JobState::Done, "job {job}");
            assert_eq!(model.token.0, i64::from(self.leases[job]));
            assert_eq!(model.attempts, self.leases[job], "each lease counts");
            let most = MAX_ATTEMPTS + self.releases[job];
            assert!(model.attempts <= most, "job {job} goes on beyond its attempts");
            if model.state == JobState::Dead {
                let spent = model.attempts >= MAX_ATTEMPTS;
                assert!(spent || self.rejected[job], "job {job} is dead before its time");
                assert!(model.last_error.is_some(), "a dead job says why");
            }
        }
    }

    fn may_write(&self, job: usize, token: JobToken) -> bool {
        let token = self.stated(job, token);
        self.jobs[job].clone().step(JobEvent::Complete { token }).is_ok()
    }

    /// From here on nothing goes wrong: every job comes to an end.
    fn run_out(&mut self) {
        for worker in &mut self.workers {
            worker.is_stalled = false;
        }
        for _ in 0..100_000 {
            let is_open =
                |job: &Job| matches!(job.state, JobState::Queued { .. } | JobState::Leased { .. });
            if !self.jobs.iter().any(is_open) {
                return;
            }
            self.now += TimeDelta::seconds(1);
            self.take_back();
            let worker = self.dice.random_range(0..WORKERS);
            self.lease(worker);
            self.settle(worker);
            self.check();
        }
        panic!("a job is lost: {:?}", self.jobs);
    }
}

fn run(seed: u64, fence: Fence) -> (u32, u32) {
    let mut world = World::new(seed, fence);
    for _ in 0..STEPS {
        world.step();
    }
    world.run_out();
    (world.refused, world.effects.iter().sum())
}

#[test]
fn crashes_stalls_and_clock_jumps_lose_nothing_and_do_nothing_twice() {
    let given = std::env::var(SEED).ok().map(|seed| seed.parse().unwrap());
    let first = given.unwrap_or_else(rand::random::<u32>).into();
    let runs = if given.is_some() { 1 } else { RUNS };
    let (mut refused, mut effects) = (0, 0);
    for seed in first..first + runs {
        println!("{SEED}={seed}");
        let (stale, done) = run(seed, Fence::Checked);
        (refused, effects) = (refused + stale, effects + done);
    }
    println!("{runs} runs: {effects} effects, {refused} writes of stale holders refused");
    assert!(given.is_some() || refused > 0, "no holder was ever late: nothing was tried");
}

#[test]
fn the_simulation_notices_when_the_fence_is_left_out() {
    let noticed =
        (0..20).filter(|seed| std::panic::catch_unwind(|| run(*seed, Fence::LeftOut)).is_err());
    let noticed = noticed.count();
    assert!(noticed >= 10, "in {noticed} of 20 runs");
}

fn any_state() -> impl Strategy<Value = JobState> {
    prop_oneof![
        (-100i64..100)
            .prop_map(|at| JobState::Queued { not_before: start() + TimeDelta::seconds(at) }),
        (-100i64..100).prop_map(|at| JobState::Leased { until: start() + TimeDelta::seconds(at) }),
        Just(JobState::Done),
        Just(JobState::Dead),
        Just(JobState::Cancelled),
    ]
}

prop_compose! {
    fn any_job()(
        state in any_state(), attempts in 0u32..10, max_attempts in 1u32..10, token in 0i64..5,
        cancel_requested: bool,
    ) -> Job {
        Job { state, attempts, max_attempts, token: JobToken(token), cancel_requested, last_error: None }
    }
}

fn any_event() -> impl Strategy<Value = JobEvent> {
    let now = start();
    let wait = TimeDelta::seconds(7);
    let reason = || "made up".to_owned();
    (0i64..5, 0usize..10).prop_map(move |(token, which)| {
        let token = JobToken(token);
        match which {
            0 => JobEvent::Lease { now, ttl: TTL },
            1 => JobEvent::Renew { token, now, ttl: TTL },
            2 => JobEvent::Complete { token },
            3 => JobEvent::Fail { token, now, wait, reason: reason() },
            4 => JobEvent::Reject { token, reason: reason() },
            5 => JobEvent::Release { token, now },
            6 => JobEvent::Lapse { now, wait },
            7 => JobEvent::AskCancel,
            8 => JobEvent::RetryDead { now },
            _ => JobEvent::DropDead,
        }
    })
}

fn stated(event: &JobEvent) -> Option<JobToken> {
    match event {
        JobEvent::Renew { token, .. }
        | JobEvent::Complete { token }
        | JobEvent::Fail { token, .. }
        | JobEvent::Reject { token, .. }
        | JobEvent::Release { token, .. } => Some(*token),
        _ => None,
    }
}

proptest! {
    #[test]
    fn only_the_newest_holder_of_a_leased_job_writes(job in any_job(), event in any_event()) {
        let Some(token) = stated(&event) else { return Ok(()) };
        let is_holder = matches!(job.state, JobState::Leased { .. }) && job.token == token;
        match job.step(event) {
            Ok(_) => prop_assert!(is_holder),
            Err(why) => prop_assert!(!is_holder && why == Refusal::Stale),
        }
    }

    #[test]
    fn a_step_counts_attempts_and_tokens_at_a_lease_alone(job in any_job(), event in any_event()) {
        let is_lease = matches!(event, JobEvent::Lease { .. });
        let starts_over = matches!(event, JobEvent::RetryDead { .. });
        let (attempts, token) = (job.attempts, job.token);
        if let Ok(after) = job.step(event) {
            prop_assert_eq!(after.token, if is_lease { token.next() } else { token });
            let expected = if starts_over { 0 } else { attempts + u32::from(is_lease) };
            prop_assert_eq!(after.attempts, expected);
        }
    }

    #[test]
    fn what_was_cancelled_or_done_stays_so(job in any_job(), event in any_event()) {
        let ended = matches!(job.state, JobState::Done | JobState::Cancelled);
        prop_assume!(ended);
        prop_assert!(job.step(event).is_err());
    }

    #[test]
    fn a_failure_is_the_last_one_exactly_when_attempts_are_spent(job in any_job()) {
        let now = start();
        let job = Job { state: JobState::Leased { until: now }, ..job };
        let wait = TimeDelta::seconds(7);
        let events = [
            JobEvent::Fail { token: job.token, now, wait, reason: "made up".into() },
            JobEvent::Lapse { now, wait },
        ];
        for event in events {
            let after = job.clone().step(event).unwrap();
            let expected = match (job.cancel_requested, job.attempts >= job.max_attempts) {
                (true, _) => JobState::Cancelled,
                (false, true) => JobState::Dead,
                (false, false) => JobState::Queued { not_before: now + wait },
            };
            prop_assert_eq!(after.state, expected);
            prop_assert!(after.last_error.is_some());
        }
    }
}

#[test]
fn a_reason_is_cut_and_holds_nothing_that_the_database_refuses() {
    let job =
        Job { state: JobState::Leased { until: start() }, token: JobToken(1), ..fresh(start()) };
    let reason = format!("\0{}", "é".repeat(3_000));
    let after = job.step(JobEvent::Reject { token: JobToken(1), reason }).unwrap();
    assert_eq!(after.last_error.as_deref(), Some("é".repeat(2_000).as_str()));
}
